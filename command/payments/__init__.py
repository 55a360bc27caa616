"""Payments: the money of an order, as the card gateway takes it and gives it back."""
