"""The process cell: its file, and the one place where everything is put together."""
