"""Words that everyone speaks; no input, no output."""
