"""Payments: what the card gateway is asked for, what it answered, and what goes back."""
