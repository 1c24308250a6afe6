"""A decision rests on what is so now, not on a view from before it changed (H13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.kernel.errors import RefusedError


def refuse_old_view(what: str, changed: int, arguments: Mapping[str, Any]) -> None:
    """Refuse a command that rests on no view, or on one older than what it concerns (H13)."""
    if arguments["seen"] < changed:
        raise RefusedError(
            what,
            why="it has changed since the view that this rests on",
            do_next="Look again, and decide on what is shown now",
        )
