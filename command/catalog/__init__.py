"""What is sold: products, their prices, and what is in stock."""
