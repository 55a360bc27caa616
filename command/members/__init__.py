"""Who buys: sign-up, e-mail address, password, profile."""
