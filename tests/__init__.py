"""The tests. They do not ship."""
