"""Tests of the console: its text gate, its service and its client."""
