"""Say at once what to do where a freezer stops with bags in it whose curve is complete.

Nothing is held: the next step is to take them out, and each minute of waiting warms them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from devices.interfaces.controlled_freezing import RampSegment, is_stopped, temperature_of
from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.engine.freezing_rescue import RescueTable
from orchestrator.engine.phase_state import PhaseState
from orchestrator.journal.events import (
    AlarmAcknowledged,
    AnyEvent,
    DeviationOpened,
    OutsideActSeen,
)
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.identifiers import BatchId, PhasePath
from orchestrator.phases.freeze import Freeze

STOPPED: Final = "freezer stopped after "
"""How the alarm begins: the freezing of which batch is over follows."""

_FREEZE: Final[str] = Freeze.model_fields["kind"].default

Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]], str], object]


class LeftInFreezer:
    """Listens for freezers that were stopped from outside."""

    def __init__(self, core: Core, alarms: Alarms, table: RescueTable, spawn: Spawn) -> None:
        self._core = core
        self._alarms = alarms
        self._table = table
        self._spawn = spawn
        core.listeners.append(self._look)

    def _look(self, recorded: Recorded[AnyEvent]) -> None:
        event = recorded.event
        if isinstance(event, AlarmAcknowledged) and event.alarm.startswith(STOPPED):
            self._spawn(partial(self._alarms.clear, event.alarm), f"end of {event.alarm}")
        if not isinstance(event, OutsideActSeen):
            return
        module = self._core.cell.config.by_equipment.get(event.equipment)
        shown = self._core.state.equipment[event.equipment].values
        if module is None or module.capability != RampSegment.capability or not is_stopped(shown):
            return
        places = self._core.cell.config.unit_of(module).places
        for batch, path in self._left_in(frozenset(map(str, places))):
            say = partial(self._say, event.equipment, batch, path)
            self._spawn(say, f"{event.equipment} stopped after the freezing of {batch}")

    def _left_in(self, places: frozenset[str]) -> list[tuple[BatchId, PhasePath]]:
        """Return each running batch with bags there, and its last freezing, if that is over."""
        there = {one.batch for one in self._core.state.containers.values() if one.place in places}
        found: list[tuple[BatchId, PhasePath]] = []
        for name in sorted(there - {""}):
            batch = self._core.state.batches[name]
            freezings = [
                (path, one.state) for path, one in batch.phases.items() if one.phase == _FREEZE
            ]
            if batch.status == "running" and freezings:
                path, state = freezings[-1]
                if state is PhaseState.COMPLETE:
                    found.append((BatchId(name), PhasePath(path)))
        return found

    async def _say(self, equipment: str, batch: BatchId, path: PhasePath) -> None:
        stands_at = temperature_of(self._core.state.equipment[equipment].values)
        seen = "its temperature isn't known" if stands_at is None else f"seen at {stands_at}"
        rescue = self._table.of_phase("after it")
        name = f"{STOPPED}{batch}/{path}"
        if name not in self._core.state.deviations:
            await self._core.record(
                batch,
                DeviationOpened(
                    deviation=name,
                    batch=batch,
                    path=path,
                    text=f"{equipment} was stopped with frozen bags in it; {seen}",
                ),
            )
        await self._alarms.raise_alarm(
            name,
            tier="block",
            cause=f"{equipment} is stopped, and the bags of {batch} lie in it",
            consequence=rescue.row.reason,
            action=rescue.row.do,
            batch=batch,
        )
