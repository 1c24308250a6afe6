"""Whole procedures on virtual time, with faults."""
