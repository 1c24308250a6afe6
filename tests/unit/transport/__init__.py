"""Tests of transports and conversations."""
