"""Does a rule do what its sentence says? Runs on nothing."""
