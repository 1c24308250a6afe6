"""Tests of the comparison of ledger and journal."""
