"""Rules that a recipe is checked by; each reads claims only."""
