"""The emulated room: a physical World, emulators that act on it through bytes, technicians.

Never loaded by a production start.
"""
