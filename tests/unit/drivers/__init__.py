"""Drivers against recorded bytes: what each writes, and what it makes of the answers."""
