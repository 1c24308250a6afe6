"""Instruments: what they promise, what they speak and over which wires."""
