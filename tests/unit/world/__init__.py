"""The World alone: plumbing, places, ledger, cultures, cold, determinism."""
