"""What must hold before an act's intent is written: one pure function a file.

Each takes a ``Permit`` and returns why the act is refused, or None. All of them run, and
all refusals are shown and journaled. ``docs/reference/interlocks.md`` prints the list.
"""
