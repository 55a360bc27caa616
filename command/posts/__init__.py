"""What members write about products: questions and reviews."""
