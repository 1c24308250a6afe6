"""Procedures, one in each file."""
