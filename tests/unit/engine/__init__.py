"""The engine's own parts, on instruments that only take note."""
