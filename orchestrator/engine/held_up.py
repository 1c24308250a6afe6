"""A batch that rests on what others wait for: people are told who waits, and how long they can.

What others wait for is a unit that it has for short, or an instrument that it left in doubt
or with a bag in its gripper; whoever wanted that is held. What a batch owns from its admission
to its end is its own, and nobody waits for it by surprise. Follows design section 8.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.engine.in_use import IN_USE, user_of
from orchestrator.engine.leases import Leases
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.state import WaiterState
from orchestrator.journal.events import AnyEvent
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.identifiers import BatchId, EquipmentId

_TOLD_BY: Final = frozenset(
    {
        "state_changed",
        "lease_wanted",
        "lease_withdrawn",
        "lease_granted",
        "lease_released",
        "attempt_settled",
        "attempt_reconciled",
        "attempt_failed",
        "attempt_uncertain",
        "attempt_reopened",
        "container_placed",
    }
)
"""What changes who rests, who waits, what is in doubt, and what an arm has in its gripper."""

_RESTS: Final = {
    PhaseState.HOLDING: "is held",
    PhaseState.HELD: "is held",
    PhaseState.STOPPING: "is told to stop and hasn't come to its end",
    PhaseState.ABORTING: "is told to abort and hasn't come to its end",
    PhaseState.STOPPED: "was stopped and isn't cleared away",
    PhaseState.ABORTED: "was aborted and isn't cleared away",
}


class _HeldUp(NamedTuple):
    """One alarm's words, as long as it stands."""

    batch: BatchId | None
    cause: str
    consequence: str
    action: str


class HeldUp:
    """Raises and clears the alarms of held batches that others wait for."""

    def __init__(
        self,
        core: Core,
        alarms: Alarms,
        leases: Leases,
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]], str], object],
    ) -> None:
        """Look whenever a hold, a lease or what is in doubt changes; ``spawn`` runs looks."""
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
        standing = {**self._on_units(), **self._on_instruments()}
        for alarm, raised in [one for one in state.alarms.items() if one[0].startswith("held up ")]:
            if alarm not in standing or standing[alarm].cause != raised.cause:
                await self._alarms.clear(alarm)
        for alarm, said in standing.items():
            await self._alarms.raise_alarm(alarm, tier="alarm", **said._asdict())

    def _on_units(self) -> dict[str, _HeldUp]:
        """Return who waits for a unit that a batch at rest has for short."""
        found: dict[str, _HeldUp] = {}
        for name, batch in self._core.state.batches.items():
            for path, procedure in batch.procedures.items():
                rests = _RESTS.get(procedure.state)
                waiter = None if rests is None else self._next(name, path)
                if waiter is None:
                    continue
                margin = "and no limit runs for it"
                if waiter.least_time_left is not None:
                    margin = f"and has {waiter.least_time_left - self._core.clock.utc()} left"
                wanted = ", ".join(waiter.resources)
                found[f"held up {waiter.batch} by {name}/{path}"] = _HeldUp(
                    BatchId(name),
                    cause=f"{path} of batch {name} {rests} where another waits: {procedure.why}",
                    consequence=f"Batch {waiter.batch} waits for {wanted} {margin}",
                    action="Decide what it rests for, or bring its material off the unit, so that "
                    "the other can",
                )
        return found

    def _on_instruments(self) -> dict[str, _HeldUp]:
        """Return who was held as another has the instrument that they want in use."""
        config = self._core.cell.config
        found: dict[str, _HeldUp] = {}
        for name, batch in self._core.state.batches.items():
            for path, procedure in batch.procedures.items():
                for reason in procedure.reasons:
                    equipment = reason.removeprefix(IN_USE)
                    if equipment == reason or equipment not in config.by_equipment:
                        continue
                    user = user_of(
                        self._core.state, config.by_equipment[EquipmentId(equipment)], name, path
                    )
                    if user is None:
                        continue
                    owner = self._core.state.batches.get(user.batch)
                    decide = f"Decide on batch {user.batch}"
                    if owner is not None and owner.status not in ("made", "running"):
                        decide = (
                            f"Take it out by hand and say where you carried it (`carry_away`), "
                            f"have a supervisor look at {equipment}"
                        )
                    found[f"held up {name}/{path} by {user.batch} on {equipment}"] = _HeldUp(
                        BatchId(user.batch) if user.batch else None,
                        cause=f"batch {user.batch} has {equipment} in use: {user.left}",
                        consequence=f"{path} of batch {name} is held: it wants {equipment}",
                        action=f"{decide}, then restart {path} of batch {name}",
                    )
        return found

    def _next(self, batch: str, path: str) -> WaiterState | None:
        """Return who waits first for what a unit procedure has for short."""
        owned = {
            resource
            for resource, one in self._core.state.leases.items()
            if one.batch == batch and one.until == "operation" and one.path.startswith(f"{path}/")
        }
        waiting = (one for one in self._leases.in_order() if owned & set(one.resources))
        return next(waiting, None)
