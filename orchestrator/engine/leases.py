"""One owner for each unit and place: who has it, who waits, and who is next.

Short leases are taken all at once for an operation, and no batch takes another while it
holds some, so no circle of waiting can form. Among those who wait, the one with the
least time left goes first; a less urgent one may pass only if it wants nothing that a
more urgent one waits for. A lease ends as its unit's rule asks: by itself, or when two
people have signed that the line is clear. A unit at which something stands that its batch
still needs stays the batch's: its own next operation takes it over, or it is free once
that thing is gone. Where a batch was stopped, or ends with something of it left there, two
people clear that first, whatever the unit's rule. Follows design section 8.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from orchestrator.engine.clearing import Needs, left_at
from orchestrator.engine.core import Core
from orchestrator.engine.materials import GRIPPER
from orchestrator.engine.state import LeaseState, TaskState, WaiterState
from orchestrator.journal.events import (
    LeaseGranted,
    LeaseReleased,
    LeaseWanted,
    LeaseWithdrawn,
    TaskOffered,
    TaskWithdrawn,
)
from orchestrator.kernel.identifiers import BatchId, CoiId, PhasePath, TaskId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import hour
from orchestrator.kernel.tasks import CLEARANCE, Question, TaskKind
from orchestrator.process_cell.config import Unit

TWO_PEOPLE: Final = "two people"
"""The clearance that two people sign before a lease ends."""

NO_RULE: Final = "none"
"""The clearance of a unit that nobody is asked to clear: what is stored there stays."""

CLEAR_WITHIN: Final = 8 * hour
"""Set by site: by when two people should have cleared a line."""

CARRY_WITHIN: Final = 1 * hour
"""Set by site: by when what is left at a unit should have been carried away."""


class Leases:
    """Grants and ends the leases of one cell. ``by_urgency`` off is first come first served."""

    def __init__(self, core: Core, needs: Needs, *, by_urgency: bool = True) -> None:
        self._core = core
        self._needs = needs
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

        def may_have() -> bool:
            return self._may_have(waiter, batch, resources)

        if waiter not in self._core.state.waiters and not may_have():
            await self._core.record(
                batch,
                LeaseWanted(
                    batch=batch, path=path, resources=resources, least_time_left=least_time_left
                ),
            )
        await self._core.bells.until("leases", may_have)
        self._granting.update(resources)  # until the grant is durable and folded
        try:
            await self._core.record(
                batch,
                *self._clearances_overtaken(batch, resources),
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
    ) -> list[LeaseReleased | TaskOffered | TaskWithdrawn]:
        """Return what ends leases of the batch, each as its unit's rule asks.

        Where two people must clear the line it is the task to do so, and so it is for the units
        ``to_clear``, whatever their rule; where something stands that is still needed, a task
        that ends by itself. The lease lasts until it is done, and who waits for it waits on.
        """
        by_unit: dict[tuple[str, str], list[str]] = {}
        for name in resources:
            lease = self._core.state.leases.get(name)
            if lease is not None and lease.batch == batch:
                rule, unit = self._rule(name)
                if unit in to_clear or self._is_signed_for(lease, unit):
                    rule = TWO_PEOPLE
                by_unit.setdefault((rule, unit), []).append(name)
        free: dict[str, list[str]] = {}
        tasks: list[TaskOffered | TaskWithdrawn] = []
        for (rule, unit), held in by_unit.items():
            if rule != TWO_PEOPLE and not self._keeps(rule, held):
                free.setdefault(rule, []).extend(held)
            elif rule != NO_RULE:
                tasks.extend(self._asked_to_clear(batch, path, rule, unit, held))
        return [*(_released(batch, rule, held) for rule, held in free.items()), *tasks]

    def _is_signed_for(self, lease: LeaseState, unit: str) -> bool:
        """Return whether two people were asked to clear a leased unit; once asked, they do."""
        tasks = self._core.state.tasks
        names = _clearances_of(lease.batch, lease.path, unit)
        return any(name in tasks and tasks[name].second_person for name in names)

    def _asked_to_clear(
        self, batch: BatchId, path: PhasePath, rule: str, unit: str, held: list[str]
    ) -> Iterator[TaskOffered | TaskWithdrawn]:
        """Return the task to clear a unit, unless it stands; two people take one over from one."""
        tasks = self._core.state.tasks
        task, signed = _clearances_of(batch, path, unit)
        if rule == TWO_PEOPLE and task in tasks and not tasks[task].second_person:
            if tasks[task].status in ("offered", "taken"):
                yield TaskWithdrawn(task=task, why="two people clear it, as its batch ended there")
            task = signed
        if task not in tasks:
            yield self._clearance(task, batch, path, rule, held)

    async def watch(self) -> None:
        """Free, for ever, what was kept only because something stood there, once it is gone."""
        while True:
            await self._core.bells.until("kept leases", lambda: self._emptied() is not None)
            emptied = self._emptied()
            assert emptied is not None, "it was empty a moment ago"
            batch, rule, task, names = emptied
            self._granting.update(names)  # nobody takes over what is being freed
            try:
                await self._core.record(
                    batch,
                    _released(BatchId(batch), rule, names),
                    *(
                        (TaskWithdrawn(task=TaskId(task), why="nothing is left there"),)
                        if task
                        else ()
                    ),
                )
            finally:
                self._granting.difference_update(names)
            self._core.bells.ring("leases")

    def _keeps(self, rule: str, held: Iterable[str]) -> bool:
        """Return whether something stands there that mustn't become another batch's.

        That is all that is stored where nobody clears, and else what its batch still needs.
        """
        here = left_at(self._core.state, self._core.cell.config, tuple(held))
        if rule == NO_RULE:
            return any(not one.place.startswith(f"{GRIPPER}/") for one in here)
        return any(self._needs.is_needed(one.container) for one in here)

    def _emptied(self) -> tuple[str, str, str, list[str]] | None:
        """Return a kept unit at which nothing is left: batch, rule, task, all that is held."""
        state = self._core.state
        kept: dict[tuple[str, str, str, str], list[str]] = {}
        for name, lease in state.leases.items():
            rule, unit = self._rule(name)
            if name in self._granting or rule == TWO_PEOPLE or self._is_signed_for(lease, unit):
                continue
            task = _clearance_of(lease.batch, lease.path, unit)
            if rule == NO_RULE and state.batches[lease.batch].status not in ("made", "running"):
                kept.setdefault((lease.batch, rule, "", unit), []).append(name)
            elif task in state.tasks and _ends_by_itself(state.tasks[task]):
                kept.setdefault((lease.batch, rule, task, unit), []).append(name)
        for (batch, rule, task, _), names in kept.items():
            if not self._keeps(rule, names):
                return batch, rule, task, names
        return None

    def all_ended(
        self, batch: BatchId
    ) -> list[LeaseReleased | LeaseWithdrawn | TaskOffered | TaskWithdrawn]:
        """Return what ends everything that a batch owns or waits for.

        It may have ended anywhere: where the record has something of it left at a unit, two
        people clear that before anybody else gets it; what is stored where nobody clears stays,
        but nothing is stored in a gripper.
        """
        left = self._with_something_of(batch)
        places = {one.place for one in self._core.state.containers.values() if one.batch == batch}
        to_clear = {
            unit.name
            for unit in left
            if unit.clearance != NO_RULE or not places.isdisjoint(_grippers(unit))
        }
        return self._ended_within(batch, "", to_clear)

    def of_stopped(
        self, batch: BatchId, unit_procedure: str
    ) -> list[LeaseReleased | LeaseWithdrawn | TaskOffered | TaskWithdrawn]:
        """Return what ends what a stopped unit procedure has for short, or waits for.

        It may have been stopped anywhere: where the record has something of the batch left at
        a unit, two people clear that before anybody else gets it.
        """
        left = {unit.name for unit in self._with_something_of(batch)}
        return self._ended_within(batch, f"{unit_procedure}/", left)

    def _with_something_of(self, batch: BatchId) -> list[Unit]:
        """Return the units at which, or in whose grippers, the record has something of a batch."""
        places = {
            one.place
            for one in self._core.state.containers.values()
            if one.batch == batch and one.place
        }
        return [
            unit
            for unit in self._core.cell.config.units
            if not places.isdisjoint((*unit.places, *unit.named_places.values()))
            or not places.isdisjoint(_grippers(unit))
        ]

    def _ended_within(
        self, batch: BatchId, part: str, to_clear: Collection[str]
    ) -> list[LeaseReleased | LeaseWithdrawn | TaskOffered | TaskWithdrawn]:
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
        self, task: TaskId, batch: BatchId, path: PhasePath, rule: str, held: list[str]
    ) -> TaskOffered:
        is_signed = rule == TWO_PEOPLE
        within = CLEAR_WITHIN if is_signed else CARRY_WITHIN
        left = left_at(self._core.state, self._core.cell.config, held)
        here = ", ".join(str(one) for one in left)
        question = Question(
            kind=TaskKind.DECIDE,
            text=f"Take everything of batch {batch} away from {', '.join(held)}, and say of each "
            f"thing where you carried it; by the record there is {here or 'nothing'}. "
            + (
                "Clean it, look that nothing is left, and sign; another person looks and signs too"
                if is_signed
                else "What the batch still needs stays, and so does the unit with it"
            ),
            second_person=is_signed,
            respond_within=within,
        )
        return TaskOffered(
            task=task,
            batch=batch,
            path=path,
            word=None,
            work="decide",
            text=question.text,
            ask={**question.model_dump(mode="json"), "resources": held},
            second_person=is_signed,
            due=self._core.clock.utc() + within,
        )

    def _rule(self, name: str) -> tuple[str, str]:
        """Return the clearance that a unit or place needs, and the unit's name."""
        config = self._core.cell.config
        unit = config.by_unit.get(name) or config.unit_of_place.get(name)
        return ("automatic", name) if unit is None else (unit.clearance, unit.name)

    def _stays_with(self, batch: str, name: str) -> TaskId | None:
        """Return the clearance that a batch's own things keep a unit of, if one does.

        Nobody else can have it until they are gone; the batch goes on with them there.
        """
        state = self._core.state
        lease = state.leases.get(name)
        if lease is None or lease.batch != batch:
            return None
        rule, unit = self._rule(name)
        task = state.tasks.get(_clearance_of(batch, lease.path, unit))
        if task is None or task.status != "offered":
            return None
        if task.second_person and rule != TWO_PEOPLE:
            return None  # what was stopped there is cleared first
        if not self._keeps(rule, task.ask["resources"]):
            return None
        return _clearance_of(batch, lease.path, unit)

    def _clearances_overtaken(
        self, batch: BatchId, resources: tuple[str, ...]
    ) -> list[TaskWithdrawn]:
        tasks = {self._stays_with(batch, name) for name in resources} - {None}
        return [
            TaskWithdrawn(task=task, why="the batch goes on there with what it left")
            for task in sorted(one for one in tasks if one is not None)
        ]

    def _may_have(self, waiter: str, batch: str, resources: tuple[str, ...]) -> bool:
        state = self._core.state
        wanted = {name for name in resources if self._stays_with(batch, name) is None}
        if any(name in self._granting for name in resources) or wanted & state.leases.keys():
            return False
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


def _grippers(unit: Unit) -> tuple[str, ...]:
    return tuple(f"{GRIPPER}/{one.equipment}" for one in unit.modules)


def _ends_by_itself(task: TaskState) -> bool:
    """Return whether an open clearance is over as soon as nothing is kept there: nobody signs."""
    return not task.second_person and task.status in ("offered", "taken")


def _clearance_of(batch: str, path: str, unit: str) -> TaskId:
    return TaskId(f"{batch}/{path}/{unit}{CLEARANCE}")


def _clearances_of(batch: str, path: str, unit: str) -> tuple[TaskId, TaskId]:
    """Return the names of a unit's clearance, and of the one that two people sign in its place."""
    return _clearance_of(batch, path, unit), TaskId(f"{batch}/{path}/{unit}/signed{CLEARANCE}")


def _released(batch: BatchId, rule: str, held: list[str]) -> LeaseReleased:
    return LeaseReleased.model_validate(
        {"batch": batch, "resources": tuple(held), "clearance": rule}
    )


def cleared(task: TaskState) -> LeaseReleased:
    """Return the record that both people sign who cleared a line."""
    return LeaseReleased(
        batch=BatchId(task.batch), resources=tuple(task.ask["resources"]), clearance="two people"
    )


def stands_for(leases: Mapping[str, LeaseState], task: TaskState) -> bool:
    """Return whether all that a clearance frees is still what its batch had there."""
    held = [leases.get(name) for name in task.ask["resources"]]
    return all(one is not None and (one.batch, one.path) == (task.batch, task.path) for one in held)
