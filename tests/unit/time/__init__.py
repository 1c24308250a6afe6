"""Tests of virtual time and of the room's clock."""
