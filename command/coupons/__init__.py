"""Coupons: what staff define, members hold, and orders use."""
