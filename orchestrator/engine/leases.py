"""One owner for each unit and place: who has it, who waits, and who is next.

Short leases are taken all at once for an operation, and no batch takes another while it
holds some, so no circle of waiting can form. Among those who wait, the one with the
least time left goes first; a less urgent one may pass only if it wants nothing that a
more urgent one waits for. A lease ends as its unit's rule asks: by itself, or when two
people have signed that the line is clear. Follows design section 8.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from orchestrator.engine.core import Core
from orchestrator.engine.materials import GRIPPER
from orchestrator.engine.state import TaskState, WaiterState
from orchestrator.journal.events import (
    LeaseGranted,
    LeaseReleased,
    LeaseWanted,
    LeaseWithdrawn,
    TaskOffered,
)
from orchestrator.kernel.identifiers import BatchId, CoiId, PhasePath, TaskId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import hour
from orchestrator.kernel.tasks import Question, TaskKind
from orchestrator.process_cell.config import Unit

TWO_PEOPLE: Final = "two people"
"""The clearance that two people sign before a lease ends."""

CLEARANCE: Final = "/clear"
"""How the name of a task ends that asks two people to clear a line."""

CLEAR_WITHIN: Final = 8 * hour
"""Set by site: by when a line should have been cleared."""


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

    def ended(
        self,
        batch: BatchId,
        path: PhasePath,
        resources: Iterable[str],
        *,
        to_clear: Collection[str] = (),
    ) -> list[LeaseReleased | TaskOffered]:
        """Return what ends leases of the batch, each as its unit's rule asks.

        Where two people must clear the line, it is the task to do so: the lease lasts until
        both have signed, and who waits for it waits on. So it is for the units ``to_clear``,
        whatever their rule.
        """
        by_rule: dict[tuple[str, str], list[str]] = {}
        for name in resources:
            lease = self._core.state.leases.get(name)
            if lease is not None and lease.batch == batch:
                rule, unit = self._rule(name)
                rule = TWO_PEOPLE if unit in to_clear else rule
                by_rule.setdefault((rule, unit if rule == TWO_PEOPLE else ""), []).append(name)
        found: list[LeaseReleased | TaskOffered] = []
        for (rule, unit), held in by_rule.items():
            if rule != TWO_PEOPLE:
                found.append(
                    LeaseReleased.model_validate(
                        {"batch": batch, "resources": tuple(held), "clearance": rule}
                    )
                )
                continue
            task = TaskId(f"{batch}/{path}/{unit}{CLEARANCE}")
            if task not in self._core.state.tasks:
                found.append(self._clearance(task, batch, path, held))
        return found

    def all_ended(self, batch: BatchId) -> list[LeaseReleased | LeaseWithdrawn | TaskOffered]:
        """Return what ends everything that a batch owns or waits for."""
        return self._ended_within(batch, "", ())

    def of_stopped(
        self, batch: BatchId, unit_procedure: str
    ) -> list[LeaseReleased | LeaseWithdrawn | TaskOffered]:
        """Return what ends what a stopped unit procedure has for short, or waits for.

        It may have been stopped anywhere: where the record has something of the batch left at
        a unit, two people clear that before anybody else gets it.
        """
        config = self._core.cell.config
        left: set[str] = set()
        for one in self._core.state.containers.values():
            if one.batch != batch or not one.place:
                continue
            arm = one.place.removeprefix(f"{GRIPPER}/")
            left.update(
                unit.name
                for unit in config.units
                if one.place in (*unit.places, *unit.named_places.values())
                or (arm != one.place and any(module.equipment == arm for module in unit.modules))
            )
        return self._ended_within(batch, f"{unit_procedure}/", left)

    def _ended_within(
        self, batch: BatchId, part: str, to_clear: Collection[str]
    ) -> list[LeaseReleased | LeaseWithdrawn | TaskOffered]:
        state = self._core.state
        by_path: dict[str, list[str]] = {}
        for name in sorted(state.leases):
            lease = state.leases[name]
            if lease.batch == batch and lease.path.startswith(part):
                by_path.setdefault(lease.path, []).append(name)
        return [
            *(
                LeaseWithdrawn(batch=batch, path=PhasePath(one.path))
                for one in state.waiters.values()
                if one.batch == batch and one.path.startswith(part)
            ),
            *(
                one
                for path, names in by_path.items()
                for one in self.ended(batch, PhasePath(path), names, to_clear=to_clear)
            ),
        ]

    def _clearance(
        self, task: TaskId, batch: BatchId, path: PhasePath, held: list[str]
    ) -> TaskOffered:
        question = Question(
            kind=TaskKind.DECIDE,
            text=f"Take everything of batch {batch} away from {', '.join(held)}, clean it, look "
            "that nothing is left, and sign; another person looks and signs too",
            second_person=True,
            respond_within=CLEAR_WITHIN,
        )
        return TaskOffered(
            task=task,
            batch=batch,
            path=path,
            word=None,
            work="decide",
            text=question.text,
            ask={**question.model_dump(mode="json"), "resources": held},
            second_person=True,
            due=self._core.clock.utc() + CLEAR_WITHIN,
        )

    def _rule(self, name: str) -> tuple[str, str]:
        """Return the clearance that a unit or place needs, and the unit's name."""
        config = self._core.cell.config
        unit = config.by_unit.get(name) or config.unit_of_place.get(name)
        return ("automatic", name) if unit is None else (unit.clearance, unit.name)

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

    def in_order(self) -> list[WaiterState]:
        """Return who waits, who goes first at the head."""
        return [self._core.state.waiters[name] for name in self._in_order()]

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


def cleared(task: TaskState) -> LeaseReleased:
    """Return the record that both people sign who cleared a line."""
    return LeaseReleased(
        batch=BatchId(task.batch), resources=tuple(task.ask["resources"]), clearance="two people"
    )
