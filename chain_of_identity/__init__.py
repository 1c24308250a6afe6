"""Whose material it is: labels, scans, proofs and genealogy."""
