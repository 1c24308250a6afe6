"""A batch that is held on a unit others wait for: people are told how long those can wait.

Only short leases count: what a batch owns from its admission to its end is its own, and
nobody waits for it by surprise. Follows design section 8.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.engine.leases import Leases
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.state import ProcedureState, WaiterState
from orchestrator.journal.events import AnyEvent
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.identifiers import BatchId

_TOLD_BY: Final = frozenset(
    {"state_changed", "lease_wanted", "lease_withdrawn", "lease_granted", "lease_released"}
)
_AT_REST: Final = (PhaseState.HELD, PhaseState.HOLDING)


class HeldUp:
    """Raises and clears the alarms of held batches that others wait for."""

    def __init__(
        self,
        core: Core,
        alarms: Alarms,
        leases: Leases,
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]], str], object],
    ) -> None:
        """Look whenever a hold or a lease changes; ``spawn`` runs what nobody waits for."""
        self._core = core
        self._alarms = alarms
        self._leases = leases
        self._spawn = spawn
        self._looks = False
        core.listeners.append(self._told)

    def _told(self, recorded: Recorded[AnyEvent]) -> None:
        if recorded.event.kind in _TOLD_BY and not self._looks:
            self._looks = True
            self._spawn(self._look, "look at who is held up")

    async def _look(self) -> None:
        self._looks = False
        state = self._core.state
        held = {
            f"held up {waiter.batch} by {name}/{path}": (name, path, procedure, waiter)
            for name, batch in state.batches.items()
            for path, procedure in batch.procedures.items()
            if procedure.state in _AT_REST
            for waiter in (self._next(name, path),)
            if waiter is not None
        }
        for alarm in [one for one in state.alarms if one.startswith("held up ")]:
            if alarm not in held:
                await self._alarms.clear(alarm)
        for alarm, (name, path, procedure, waiter) in held.items():
            await self._raise(alarm, BatchId(name), path, procedure, waiter)

    def _next(self, batch: str, path: str) -> WaiterState | None:
        """Return who waits first for what a unit procedure has for short."""
        owned = {
            resource
            for resource, one in self._core.state.leases.items()
            if one.batch == batch and one.until == "operation" and one.path.startswith(f"{path}/")
        }
        waiting = (one for one in self._leases.in_order() if owned & set(one.resources))
        return next(waiting, None)

    async def _raise(
        self, alarm: str, batch: BatchId, path: str, held: ProcedureState, waiter: WaiterState
    ) -> None:
        due = waiter.least_time_left
        margin = "and no limit runs for it"
        if due is not None:
            margin = f"and has {due - self._core.clock.utc()} left"
        await self._alarms.raise_alarm(
            alarm,
            tier="alarm",
            cause=f"{path} of batch {batch} is held where another batch waits: {held.why}",
            consequence=f"Batch {waiter.batch} waits for {', '.join(waiter.resources)} {margin}",
            action="Decide on the hold, or bring its material off the unit, so that the other can",
            batch=batch,
        )
