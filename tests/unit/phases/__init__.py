"""Each kind of phase, run on a list of answers and no devices."""
