"""Independent computations: what the product says is compared with these, and they share no code with it."""
