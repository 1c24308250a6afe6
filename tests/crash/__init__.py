"""Stop the software at every point, and resume."""
