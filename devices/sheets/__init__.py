"""Sheets: the qualified limits of each model, with their pages."""
