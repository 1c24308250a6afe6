"""What the record has at places that are to be cleared, and what a batch still needs of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from orchestrator.engine.materials import DISCARDED, GRIPPER
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.state import BatchState, HostState
from orchestrator.process_cell.config import CellConfig
from orchestrator.recipe.model import Recipe

TO_QUALITY: Final = "quality control"
TO_QUARANTINE: Final = "quarantine"

OUT_OF_THE_CELL: Final = (DISCARDED, TO_QUALITY, TO_QUARANTINE)
"""Where people carry what is done with, beside the places of the cell."""

_NEVER_GOES_ON: Final = (
    PhaseState.STOPPING,
    PhaseState.STOPPED,
    PhaseState.ABORTING,
    PhaseState.ABORTED,
)

_TURN: Final = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Left:
    """A container or kit that stands, by the record, at a place that is to be cleared."""

    container: str
    place: str

    def __str__(self) -> str:
        return f"{self.container} at {self.place}"


def left_at(state: HostState, cell: CellConfig, leased: Collection[str]) -> tuple[Left, ...]:
    """Return what the record has at places, or in grippers of units, that are ``leased``."""
    units = (one for one in cell.units if one.name in leased)
    wanted = {*leased, *(f"{GRIPPER}/{one.equipment}" for unit in units for one in unit.modules)}
    return tuple(
        Left(name, known.place) for name, known in state.containers.items() if known.place in wanted
    )


class Needs:
    """Tells what running batches still need, from what their recipes haven't done yet."""

    def __init__(self, state: HostState, recipe_by_digest: Callable[[str], Recipe]) -> None:
        self._state = state
        self._read = recipe_by_digest
        self._touched: dict[str, dict[str, set[str]]] = {}
        """Of each recipe on which a batch runs, the names that each of its steps touches."""

    def is_needed(self, container: str) -> bool:
        """Return whether a step that isn't complete names the container, or a part of it."""
        known = self._state.containers.get(container)
        batch = None if known is None else self._state.batches.get(known.batch)
        if batch is None or batch.status not in ("made", "running"):
            return False
        things = (*batch.containers.items(), *batch.kits.items())
        names = {
            name for name, one in things if one == container or one.startswith(f"{container}/")
        }
        done = {_TURN.sub("", path) for path in batch.phases if _is_done(batch, path)}
        stopped = tuple(
            f"{path}/" for path, one in batch.procedures.items() if one.state in _NEVER_GOES_ON
        )
        return any(
            path not in done and not path.startswith(stopped) and names & touched
            for path, touched in self._touched_by(batch.recipe).items()
        )

    def _touched_by(self, recipe: str) -> dict[str, set[str]]:
        known = self._touched.get(recipe)
        if known is None:
            known = self._touched[recipe] = {
                _TURN.sub("", path): {one.container for one in step.phase.claims().touches}
                for path, step in self._read(recipe).steps()
            }
        return known


def _is_done(batch: BatchState, path: str) -> bool:
    """Return whether a phase is complete, and no turn of a repetition can ask for it again."""
    turns = [path[: found.end()] for found in _TURN.finditer(path)]
    return batch.phases[path].state is PhaseState.COMPLETE and all(
        any(
            decided == "until"
            for at, decided in batch.branches.items()
            if _TURN.sub("", at) == _TURN.sub("", turn)
        )
        for turn in turns
    )
