"""The twelve procedural states of ISA-88, what may be commanded, and how parents follow.

The table says what is legal and does nothing. The engine journals a trigger first and
applies it second, so what is on disk is never behind what happened. After a crash the
journal may end in RUNNING; doubt is then the reason of a hold, not a thirteenth state.

Source: ISA-88 state table as in requirement PRC-02: of 96 pairs of state and command 25
are legal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from transitions import Machine, MachineError

from orchestrator.kernel.errors import IllegalTransitionError


class PhaseState(StrEnum):
    """A procedural element's state."""

    IDLE = "idle"
    RUNNING = "running"
    COMPLETE = "complete"
    PAUSING = "pausing"
    PAUSED = "paused"
    HOLDING = "holding"
    HELD = "held"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ABORTING = "aborting"
    ABORTED = "aborted"


S: Final = PhaseState

_GOING: Final = [S.RUNNING, S.PAUSING, S.PAUSED, S.RESTARTING]
_STOPPABLE: Final = [*_GOING, S.HOLDING, S.HELD]

COMMANDS: Final[list[dict[str, Any]]] = [
    {"trigger": "start", "source": [S.IDLE], "dest": S.RUNNING},
    {"trigger": "pause", "source": [S.RUNNING], "dest": S.PAUSING},
    {"trigger": "resume", "source": [S.PAUSED], "dest": S.RUNNING},
    {"trigger": "hold", "source": _GOING, "dest": S.HOLDING},
    {"trigger": "restart", "source": [S.HELD], "dest": S.RESTARTING},
    {"trigger": "stop", "source": _STOPPABLE, "dest": S.STOPPING},
    {"trigger": "abort", "source": [*_STOPPABLE, S.STOPPING, S.STOPPED], "dest": S.ABORTING},
    {"trigger": "reset", "source": [S.COMPLETE, S.STOPPED, S.ABORTED], "dest": S.IDLE},
]
"""What a person or the engine may command."""

REPORTS: Final[list[dict[str, Any]]] = [
    {"trigger": "completed", "source": [S.RUNNING], "dest": S.COMPLETE},
    {"trigger": "paused", "source": [S.PAUSING], "dest": S.PAUSED},
    {"trigger": "held", "source": [S.HOLDING], "dest": S.HELD},
    {"trigger": "restarted", "source": [S.RESTARTING], "dest": S.RUNNING},
    {"trigger": "stopped", "source": [S.STOPPING], "dest": S.STOPPED},
    {"trigger": "aborted", "source": [S.ABORTING], "dest": S.ABORTED},
]
"""What the element itself reports when it has got there."""

LEADS_TO: Final[Mapping[tuple[PhaseState, str], PhaseState]] = {
    (source, row["trigger"]): row["dest"]
    for row in [*COMMANDS, *REPORTS]
    for source in row["source"]
}
"""The same table for the fold, which applies triggers that were legal when journaled."""


class PhaseLife:
    """The machine at the command's edge: it refuses what the table doesn't have."""

    state: PhaseState

    def __init__(self, initial: PhaseState = PhaseState.IDLE) -> None:
        self._machine = Machine(
            model=self,
            states=PhaseState,
            initial=initial,
            transitions=[*COMMANDS, *REPORTS],
            auto_transitions=False,  # else every state grows a to_<state>() back door
        )

    def apply(self, trigger: str) -> None:
        """Move to the state that ``trigger`` leads to.

        Raises:
            IllegalTransitionError: It isn't legal in the present state. Nothing happened.
        """
        before = self.state
        try:
            moved: bool = self._machine.events[trigger].trigger(self)
        except (MachineError, KeyError) as refused:
            legal = ", ".join(sorted(self._machine.get_triggers(before)))
            raise IllegalTransitionError(
                f"{trigger} the phase",
                why=f"it is {before.value}; legal now: {legal or 'nothing'}",
                do_next="Give one of those, or wait",
            ) from refused
        if not moved:
            raise IllegalTransitionError(
                f"{trigger} from {before}",
                why="a guard of the state table refused without a word",
                do_next="Report this: the table has no guards",
            )


_PARENT_IS: Final = (
    S.ABORTING,
    S.ABORTED,
    S.STOPPING,
    S.HOLDING,
    S.HELD,
    S.RESTARTING,
    S.PAUSING,
    S.PAUSED,
    S.RUNNING,
)


def state_of_parent(children: Iterable[PhaseState]) -> PhaseState:
    """Return a parent's state: the most abnormal of its children's.

    All idle is idle, all complete is complete; a stopped child among ended ones makes
    the parent stopped; ended beside idle ones is running.
    """
    present = set(children)
    if not present or present == {S.IDLE}:
        return S.IDLE
    for state in _PARENT_IS:
        if state in present:
            return state
    if present == {S.COMPLETE}:
        return S.COMPLETE
    if S.STOPPED in present:
        return S.STOPPED
    return S.RUNNING
