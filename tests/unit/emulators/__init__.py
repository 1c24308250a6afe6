"""Tests of the emulated instruments, one file for each model."""
