"""Who has an instrument in use though no act of theirs runs on it.

While people are awaited an instrument isn't locked, and others may use it, unless nobody
knows what it did last, or it is an arm that holds a bag. Follows design sections 6 and 8.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from orchestrator.engine.materials import GRIPPER
from orchestrator.engine.state import HostState
from orchestrator.process_cell.config import Module

IN_USE: Final = "in use "
"""How the reason of a hold begins: the instrument that somebody else has follows."""


class User(NamedTuple):
    """A part of a batch that has an instrument in use, and what it left on it."""

    batch: str
    path: str
    left: str


def user_of(state: HostState, module: Module, batch: str, path: str) -> User | None:
    """Return who else has an instrument in use; None if nobody has, or it is people's hands."""
    if module.capability == "hands":
        return None
    in_doubt = doubt_on(state, module.equipment, batch, path)
    if in_doubt is not None:
        return in_doubt
    gripper = f"{GRIPPER}/{module.equipment}"
    return next(
        (
            User(one.batch, "", f"{name} is in its gripper")
            for name, one in state.containers.items()
            if one.place == gripper and one.batch != batch
        ),
        None,
    )


def doubt_on(state: HostState, equipment: str, batch: str, path: str) -> User | None:
    """Return whose attempt on an instrument has left in doubt what it did, other than one's own."""
    for other, where, number in state.attempts.values():
        if (other, where) != (batch, path):
            attempt = state.batches[other].phases[where].words[number].attempts[-1]
            if attempt.equipment == equipment:
                return User(other, where, f"what its {attempt.act['kind']} did isn't decided yet")
    return None
