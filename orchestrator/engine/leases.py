"""One owner for each unit and place: who has it, who waits, and who is next.

Short leases are taken all at once for an operation, and no batch takes another while it
holds some, so no circle of waiting can form. Among those who wait, the one with the
least time left goes first; a less urgent one may pass only if it wants nothing that a
more urgent one waits for. Follows design section 8.
"""

from __future__ import annotations

from orchestrator.engine.core import Core
from orchestrator.engine.state import WaiterState
from orchestrator.journal.events import LeaseGranted, LeaseReleased, LeaseWanted, LeaseWithdrawn
from orchestrator.kernel.identifiers import BatchId, CoiId, PhasePath, PlaceId
from orchestrator.kernel.instants import Instant
from orchestrator.process_cell.config import Unit


class Leases:
    """Grants and ends the leases of one cell. ``by_urgency`` off is first come first served."""

    def __init__(self, core: Core, *, by_urgency: bool = True) -> None:
        self._core = core
        self._by_urgency = by_urgency
        self._granting: set[str] = set()

    def of_unit(self, unit: Unit) -> tuple[str, ...]:
        """Return what a lease of the unit covers: the unit and all its places."""
        return (unit.name, *unit.places, *sorted(unit.named_places.values()))

    def holds(self, batch: str, path: str, resources: tuple[str, ...]) -> bool:
        """Return whether all of them were granted to this element of the batch."""
        return self.held(batch, path, resources) == resources

    def held(self, batch: str, path: str, resources: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of them that were granted to this element of the batch."""
        leases = self._core.state.leases
        return tuple(
            name
            for name in resources
            if name in leases and leases[name].batch == batch and leases[name].path == path
        )

    def needed(self, batch: str, path: str, resources: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of them that no element around this one owns already."""
        leases = self._core.state.leases
        return tuple(
            name
            for name in resources
            if name not in leases
            or leases[name].batch != batch
            or not path.startswith(f"{leases[name].path}/")
        )

    async def take(
        self,
        batch: BatchId,
        path: PhasePath,
        resources: tuple[str, ...],
        *,
        until_end_of_batch: bool = False,
        least_time_left: Instant | None = None,
    ) -> None:
        """Return once the batch owns all of ``resources``."""
        if self.holds(batch, path, resources):
            return
        waiter = f"{batch}/{path}"
        if waiter not in self._core.state.waiters and not self._may_have(waiter, resources):
            await self._core.record(
                batch,
                LeaseWanted(
                    batch=batch, path=path, resources=resources, least_time_left=least_time_left
                ),
            )
        await self._core.bells.until("leases", lambda: self._may_have(waiter, resources))
        self._granting.update(resources)  # until the grant is durable and folded
        try:
            await self._core.record(
                batch,
                LeaseGranted(
                    batch=batch,
                    path=path,
                    coi=CoiId(self._core.state.batches[batch].coi),
                    resources=resources,
                    until="batch" if until_end_of_batch else "operation",
                ),
            )
        finally:
            self._granting.difference_update(resources)

    async def withdraw(self, batch: BatchId, path: PhasePath) -> None:
        """Want no more what an element of the batch waits for, if it waits."""
        if f"{batch}/{path}" in self._core.state.waiters:
            await self._core.record(batch, LeaseWithdrawn(batch=batch, path=path))

    def released(
        self, batch: BatchId, resources: tuple[str, ...], clearance: str
    ) -> tuple[LeaseReleased, ...]:
        """Return the event that ends leases of the batch, if there are any."""
        leases = self._core.state.leases
        held = tuple(name for name in resources if name in leases and leases[name].batch == batch)
        if not held:
            return ()
        return (
            LeaseReleased.model_validate(
                {"batch": batch, "resources": held, "clearance": clearance}
            ),
        )

    def all_ended(self, batch: BatchId) -> list[LeaseReleased | LeaseWithdrawn]:
        """Return what ends everything that a batch owns or waits for."""
        state = self._core.state
        found: list[LeaseReleased | LeaseWithdrawn] = [
            LeaseWithdrawn(batch=batch, path=PhasePath(one.path))
            for one in state.waiters.values()
            if one.batch == batch
        ]
        for name in sorted(state.leases):
            unit = self._core.cell.config.unit_of_place.get(PlaceId(name))
            clearance = "automatic" if unit is None else unit.clearance
            found.extend(self.released(batch, (name,), clearance))
        return found

    def _may_have(self, waiter: str, resources: tuple[str, ...]) -> bool:
        state = self._core.state
        if any(name in state.leases or name in self._granting for name in resources):
            return False
        wanted = set(resources)
        for other in self._in_order():
            if other == waiter:
                return True
            if wanted & set(state.waiters[other].resources):
                return False
        return True

    def _in_order(self) -> list[str]:
        waiters = self._core.state.waiters
        return sorted(waiters, key=lambda name: self._rank(waiters[name], name))

    def _rank(self, waiter: WaiterState, name: str) -> tuple[int, int, str]:
        since = waiter.since.micros
        if not self._by_urgency:
            return (0, since, name)
        if waiter.least_time_left is None:
            return (1, since, name)
        return (0, waiter.least_time_left.micros, name)
