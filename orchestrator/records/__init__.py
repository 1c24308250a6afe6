"""Documents derived from the journal."""
