"""Capabilities: what every instrument of a kind promises."""
