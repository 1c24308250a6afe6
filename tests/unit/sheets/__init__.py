"""Sheets: strict reading."""
