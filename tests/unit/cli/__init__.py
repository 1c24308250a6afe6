"""The command line: what each command prints, where, and how it ends."""
