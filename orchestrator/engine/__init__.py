"""The engine: states, acts, reconciliation, leases, limits and tasks."""
