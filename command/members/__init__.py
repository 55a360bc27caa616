"""Who buys: sign-up, password, profile."""
