"""Tests of the procedures that come with the product."""
