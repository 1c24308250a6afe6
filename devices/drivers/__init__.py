"""Drivers: one model's language in each file."""
