"""One file for each kind of phase, with its behaviour version."""
