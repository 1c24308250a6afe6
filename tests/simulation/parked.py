"""A host with many batches parked in their incubation, after a history of batches that are over.

One batch is run whole in the emulated cell. Its record is written again, under other names, into
one journal: whole, for each batch that is over, and as far as its longest wait, for each that is
parked. Nothing else is made up: the fold, the saved state and the start are the daemon's own.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from hw_mocks.room import Room, furnish
from hw_mocks.world import World
from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.engine.engine import VERSION, Engine
from orchestrator.engine.keeping import StateKeeper, resumed_state
from orchestrator.engine.materials import DISCARDED
from orchestrator.engine.state import BatchState, HostState
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import (
    EVENTS,
    AnyEvent,
    ContainerPlaced,
    HostStopped,
    LeaseReleased,
)
from orchestrator.journal.journal import Journal, Row, read_rows
from orchestrator.journal.merkle import CompactRange
from orchestrator.kernel.identifiers import BatchId, BootId, ContainerId, HostId, PlaceId, UserId
from orchestrator.kernel.instants import Clock, Instant
from orchestrator.kernel.quantities import Duration
from orchestrator.kernel.tasks import LABEL
from orchestrator.process_cell.build import make_drivers
from orchestrator.process_cell.config import LoadedCell, load_cell
from orchestrator.process_cell.simulation import REFERENCE_CELL, simulate
from orchestrator.recipe.model import Recipe
from orchestrator.virtual_time import USUAL_START, run_in_virtual_time, virtual_clock

NAME: Final = HostId("parked")
OUT: Final = "courier"
"""Where a product is that has left the cell."""

SIGNER: Final = Signer.of_entropy(NAME, bytes)

OF_EVERYBODY: Final = frozenset(
    {"host_started", "person_added", "session_opened", "session_closed"}
    | {"equipment_seen", "recipe_submitted", "recipe_signed", "trace_sealed", "command_answered"}
)
"""Kinds of events that belong to no batch, or answer one person's request."""

_NAMES: Final = ("container", "label", "batch", "coi")
"""What each batch has of its own; lots of reagents serve them all."""


@dataclass(frozen=True)
class Story:
    """What one whole batch recorded."""

    shared: tuple[Row, ...]
    """What is recorded once, however many batches there are."""
    own: tuple[Row, ...]
    parked_at: int
    """How many of its own events lie before the end of its longest wait."""
    names: tuple[str, ...]


def story_of(recipe: Recipe, folder: Path) -> Story:
    """Run a batch in the emulated cell, and return what it recorded."""
    outcome = simulate(recipe, folder, seed=1)
    assert outcome.is_well, outcome.comparison
    shared: list[Row] = []
    own: list[Row] = []
    names = {"incubator/1", "dewar/1"}
    longest, parked_at, waits = 0, 0, 0
    for row in read_rows(folder / "journal.sqlite"):
        if row.kind == "host_stopped":
            break
        if row.kind in OF_EVERYBODY:
            shared.append(row)
            continue
        own.append(row)
        body: dict[str, Any] = json.loads(row.body)
        if row.kind == "task_reported" and LABEL in body["values"]:
            names.add(body["values"][LABEL])
        if row.kind in ("container_received", "batch_made"):
            names |= {body[one] for one in _NAMES if body.get(one)}
        if row.kind == "wait_started":
            waits = len(own)
        elif row.kind == "wait_ended":
            lasted = len(own) - waits
            if lasted > longest:
                longest, parked_at = lasted, waits
    assert parked_at, "nothing of this recipe waits"
    by_length = sorted(names, key=len, reverse=True)
    return Story(tuple(shared), tuple(own), parked_at, tuple(by_length))


def told_again(story: Story, number: int, events: int) -> Iterator[Row]:
    """Yield the first ``events`` of a story, as another batch's."""
    every = "|".join(re.escape(one) for one in story.names)
    names = re.compile(rf"(?<![\w-])(?:{every})(?![\w-])")

    def other(found: re.Match[str]) -> str:
        name = found.group()
        return f"{name.rpartition('/')[0]}/{number}" if "/" in name else f"{name}-{number}"

    for row in story.own[:events]:
        yield row._replace(stream=names.sub(other, row.stream), body=names.sub(other, row.body))


class ToldClock:
    """Says of the time what a row says. Implements ``Clock``."""

    def __init__(self) -> None:
        self.at = USUAL_START
        self.boottime_ms = 0

    def utc(self) -> Instant:
        return self.at

    def boottime(self) -> Duration:
        return Duration.of_base(self.boottime_ms)

    def boot(self) -> BootId:
        return BootId("0" * 32)

    def offset(self) -> Duration | None:
        return Duration.of_base(0)


def write_history(folder: Path, story: Story, *, parked: int, over: int, clean: bool) -> int:
    """Write such a host's record; return its events. Without ``clean`` the host died at the end."""
    folder.mkdir(parents=True)

    async def write() -> int:
        clock = ToldClock()
        with _journal(folder, clock) as journal:
            async with asyncio.TaskGroup() as tasks:
                core = Core(
                    journal=journal,
                    state=HostState(),
                    drivers={},
                    clock=clock,
                    cell=load_cell(REFERENCE_CELL),
                    tasks=tasks,
                    can_be_suspended=False,
                )
                core.follow()
                keeper = StateKeeper(folder, core, VERSION, Alarms(core))
                core.listeners.append(lambda _: keeper.look())
                await _recorded(core, clock, story.shared)
                for number in range(parked + 1, parked + over + 1):
                    await _recorded(core, clock, told_again(story, number, len(story.own)))
                    await _handed_over(core)
                for number in range(1, parked + 1):
                    await _recorded(core, clock, told_again(story, number, story.parked_at))
                if clean:
                    await keeper.save()
                    await core.record_the_end(HostStopped())
            return journal.size

    return run_in_virtual_time(write())


async def _handed_over(core: Core) -> None:
    """Have what is left of batches that are over thrown away, and their product carried out."""
    for name, one in tuple(core.state.containers.items()):
        if (
            one.batch
            and core.state.batches[one.batch].status == "complete"
            and one.place not in ("", OUT, DISCARDED)
        ):
            place = OUT if one.place.startswith("dewar/") else DISCARDED
            await core.record_for_host(
                ContainerPlaced(
                    container=ContainerId(name),
                    label=one.label,
                    place=place,
                    how="carried",
                    why="the batch is over",
                    by=UserId("U-0001"),
                )
            )
    for place, lease in tuple(core.state.leases.items()):
        if core.state.batches[lease.batch].status == "complete":
            batch = BatchId(lease.batch)
            await core.record(
                batch, LeaseReleased(batch=batch, resources=(place,), clearance="none")
            )


async def _recorded(core: Core, clock: ToldClock, rows: Iterable[Row]) -> None:
    for (at, boottime_ms, stream), together in groupby(
        rows, key=lambda row: (row.at_utc, row.boottime, row.stream)
    ):
        clock.at, clock.boottime_ms = Instant.read(at), boottime_ms
        await core.record(stream, *(EVENTS.validate_json(row.body) for row in together))


def _journal(folder: Path, clock: Clock, tree: CompactRange | None = None) -> Journal[AnyEvent]:
    return Journal(
        folder / "journal.sqlite",
        EVENTS,
        clock=clock,
        host=NAME,
        signer=SIGNER,
        tree=tree,
        reserve_bytes=4096,
    )


@dataclass(frozen=True)
class Resumed:
    """How a start went."""

    wall_s: float
    cpu_s: float
    waiting: int
    """Batches that wait in their incubation again."""
    put_away: int
    """Batches that the start found put away, and left so."""
    saved_at: int
    """The last event that the saved state held; 0 if there was none."""


class _Over(Exception):  # noqa: N818 - it isn't an error
    """Ends the task group of an engine."""


def resume(folder: Path, story: Story, *, parked: int) -> Resumed:
    """Start the engine on a host's record, and return when every batch waits again."""
    start = Instant.read(story.own[story.parked_at - 1].at_utc)  # as the wait begins
    return run_in_virtual_time(_resume(folder, parked), start=start)


async def _resume(folder: Path, parked: int) -> Resumed:
    table = tomllib.loads(REFERENCE_CELL.read_text())
    world = World(asyncio.get_running_loop().time, 1)
    furnish(world, table)
    room = Room(world, table)
    cell = _cell_of(parked)
    found: list[Resumed] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            state, tree = resumed_state(folder, SIGNER.public, VERSION)
            saved_at = 0 if tree is None else tree.size
            with _journal(folder, virtual_clock(), tree) as journal:
                engine = Engine(
                    journal,
                    state,
                    lambda board: make_drivers(
                        cell.config, lambda one: room.plug_in(one.equipment, tasks), board
                    ),
                    clock=virtual_clock(),
                    cell=cell,
                    tasks=tasks,
                    can_be_suspended=False,
                    folder=folder,
                )
                await engine.start()
                await asyncio.sleep(1)  # virtual: over as soon as nobody has anything to do
                wall_s = time.perf_counter() - began_s
                cpu_s = time.process_time() - began_cpu_s
                waiting = sum(map(_waits, state.batches.values()))
                found.append(Resumed(wall_s, cpu_s, waiting, len(state.closed), saved_at))
                engine.latch.disarm()
                raise _Over
    except* _Over:
        pass  # how an engine is left here
    return found[0]


def _waits(batch: BatchState) -> bool:
    """Return whether a batch runs, and the one open word of its open phase is a wait."""
    if batch.status != "running" or batch.broken:
        return False
    (phase,) = [one for one in batch.phases.values() if one.ended_at is None]
    (word,) = [one for one in phase.words.values() if one.answer is None]
    return "instant" in word.asked


def _cell_of(batches: int) -> LoadedCell:
    """Return the reference cell with a place in the incubator and the dewar for each batch."""
    cell = load_cell(REFERENCE_CELL)
    units = tuple(
        one.model_copy(
            update={"places": tuple(PlaceId(f"{one.name}/{n + 1}") for n in range(batches))}
        )
        if one.name in ("incubator", "dewar")
        else one
        for one in cell.config.units
    )
    config = cell.config.model_copy(update={"units": units})
    return cell.model_copy(update={"config": config})
