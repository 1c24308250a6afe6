"""Identifier schemes; each passes the same suite."""
