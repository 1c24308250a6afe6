"""What commands print: answers on standard output, messages on standard error.

Text that came from outside (a file, a journal, an instrument) is made visible on its way
out: no control character reaches a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.console.text_gate import shown


def say(text: str = "") -> None:
    """Print an answer for people, line by line."""
    for line in text.split("\n"):
        print(shown(line))


def say_json(value: Mapping[str, Any]) -> None:
    """Print an answer for programs: one object on one line."""
    print(json.dumps(value, ensure_ascii=False))


def tell(message: str) -> None:
    """Print a message on standard error, in one line."""
    try:
        print(shown(" ".join(message.split("\n"))), file=sys.stderr, flush=True)
    except OSError:
        return  # nobody listens there; the exit status still tells


def in_columns(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of texts with their columns below each other."""
    table = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
