"""Tests of people: users, roles, sessions and signatures, one file for each."""
