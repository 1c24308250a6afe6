"""Many batches at once: on one cell that they share, or each on a cell of its own.

Everything runs in one process on one virtual loop. What came of it is read from three
sides: the World (cells, who stood where and when), the journal (waits, limits) and the
comparison of both.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from hw_mocks.ledger_record import ledger_of
from hw_mocks.scenario import Scenario, scenario_for
from hw_mocks.technicians import QUALITY_CONTROL, QUARANTINE, WASTE_BIN
from hw_mocks.world.things import Stay
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import EVENTS, AnyEvent
from orchestrator.journal.journal import Recorded, read_events
from orchestrator.journal.verify import verify
from orchestrator.kernel.identifiers import BatchId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, day, hour, minute
from orchestrator.process_cell.config import CellConfig
from orchestrator.process_cell.emulated import EmulatedCell, emulated_cell
from orchestrator.process_cell.simulation import REFERENCE_CELL, put_on_file
from orchestrator.recipe.check import check_file
from orchestrator.recipe.model import Recipe
from orchestrator.records.comparison import LedgerEffect, compare
from orchestrator.virtual_time import run_in_virtual_time

PROTOCOLS: Final = Path(__file__).parents[2] / "protocols"
CAR_T: Final = PROTOCOLS / "car_t_twelve_day.py"
MSC: Final = PROTOCOLS / "msc_adherent.py"

BEGINS_AT_H: Final = 8.0
"""What the wall clock of a virtual loop shows at its start."""
DAY_SHIFT_H: Final = (6.0, 22.0)

SHARED_BY_ALL: Final = ("rack", "hands", "bin", QUALITY_CONTROL, QUARANTINE, WASTE_BIN)
"""Where things of several patients may be at once; nothing is done to them there.

The last three are outside the cell: where people carry what a line is cleared of.
"""

TOGETHER_S: Final = 1.0
"""Stays that overlap by less than this don't count: a clock's grain."""


def is_day(at_s: float) -> bool:
    """Return whether the day shift works, so many seconds after the loop's start."""
    return DAY_SHIFT_H[0] <= (BEGINS_AT_H + at_s / 3600.0) % 24.0 < DAY_SHIFT_H[1]


SHIFTS: Final[Mapping[str, Callable[[float], bool]]] = {
    "day-1": is_day,
    "day-2": is_day,
    "on-call": lambda at_s: not is_day(at_s),
}


@cache
def recipe_of(protocol: Path) -> Recipe:
    """Return the recipe that a protocol file writes."""
    recipe = check_file(protocol).recipe
    assert recipe is not None, f"{protocol} writes no recipe"
    return recipe


@dataclass(frozen=True)
class Start:
    """One batch: its number decides on donor, containers and places."""

    number: int
    after: Duration

    @property
    def batch(self) -> BatchId:
        return BatchId(f"B-{self.number:03d}")


@dataclass
class Clock:
    """One limit that ran."""

    limit: str
    owner: str
    tier: str
    maximum: Duration | None
    used: Duration | None = None
    is_due: bool = False

    @property
    def margin(self) -> Duration | None:
        return None if self.maximum is None or self.used is None else self.maximum - self.used


@dataclass
class Together:
    """What came of several batches on one cell."""

    status: dict[str, str]
    cells: dict[str, float]
    """By batch, the viable cells in its vessel at the count before harvest: as the World has
    them, so without the counter's error."""
    stored_cells: dict[str, float]
    clocks: list[Clock]
    waits: list[tuple[Duration, str]]
    """How long each operation waited for its units, longest first."""
    holds: int
    repeated: int
    lost: int
    is_sound: bool
    merkle_root: str
    events: int
    shared: list[str]
    """Each time things of two patients were where only one may be."""

    @property
    def block_limits_overrun(self) -> list[str]:
        return [one.limit for one in self.clocks if one.tier == "block" and one.is_due]

    @property
    def late_feeds(self) -> list[str]:
        return [one.limit for one in self.feeds if one.is_due]

    @property
    def feeds(self) -> list[Clock]:
        return [one for one in self.clocks if one.owner.startswith(("Feed", "Exchange", "Wash"))]

    @property
    def due(self) -> list[str]:
        return [one.limit for one in self.clocks if one.is_due]

    def smallest_margin(self, clocks: Iterable[Clock]) -> tuple[Duration, str] | None:
        found = [(one.margin, one.limit) for one in clocks if one.margin is not None]
        return min(found, default=None)


@dataclass
class _Looks:
    """Looks into vessels when they are counted, and counts holds."""

    cell: EmulatedCell
    engine: Engine
    cells: dict[str, float] = field(default_factory=dict[str, float])
    holds: int = 0

    def __call__(self, recorded: Recorded[AnyEvent]) -> None:
        event = recorded.event
        if event.kind == "state_changed":
            self.holds += event.trigger == "held"
        elif event.kind == "phase_ended" and "viable_density" in event.report:
            batch = str(event.batch)
            kits = self.engine.core.state.batches[batch].kits.values()
            cells = sum(self.cell.world.contents(f"{kit}/vessel").viable for kit in kits)
            self.cells[batch] = max(self.cells.get(batch, 0.0), cells)


def run_together(
    folder: Path,
    recipe: Recipe,
    starts: Iterable[Start],
    *,
    seed: int,
    days_most: int = 40,
    shifts: Mapping[str, Callable[[float], bool]] = SHIFTS,
    by_urgency: bool = True,
) -> Together:
    """Return what comes of batches that share one reference cell."""
    return run_in_virtual_time(
        _together(folder, recipe, list(starts), seed, days_most, shifts, by_urgency)
    )


async def _together(
    folder: Path,
    recipe: Recipe,
    starts: list[Start],
    seed: int,
    days_most: int,
    shifts: Mapping[str, Callable[[float], bool]],
    by_urgency: bool,
) -> Together:
    done: list[Together] = []
    async with (
        emulated_cell(
            folder, REFERENCE_CELL, seed=seed, is_on_duty=shifts, by_urgency=by_urgency
        ) as cell,
        cell.engine() as engine,
    ):
        looks = _Looks(cell, engine)
        engine.core.listeners.append(looks)
        began = cell.technicians[0].room_began
        scenarios: dict[str, Scenario] = {}
        for start in starts:
            await engine.core.sleep(began + start.after - engine.core.clock.utc())
            scenarios[start.batch] = await bring_and_start(cell, engine, recipe, start, seed)
        await _until_all_ended(engine, starts, began + days_most * day)
        await engine.stop()
        done.append(_judged(cell, engine, looks, scenarios, began))
    return done[0]


async def bring_and_start(
    cell: EmulatedCell, engine: Engine, recipe: Recipe, start: Start, seed: int
) -> Scenario:
    """Bring one batch's material, put it on file, and start it."""
    scenario = scenario_for(json.loads(recipe.content), seed=seed, batch=start.number)
    scenario.bring_into(cell.world)
    await put_on_file(cell, engine, recipe, scenario, start.batch, number=start.number)
    await cell.give("supervisor", "start_batch", batch=str(start.batch))
    return scenario


async def _until_all_ended(engine: Engine, starts: list[Start], latest: Instant) -> None:
    state = engine.core.state
    while engine.core.clock.utc() < latest and any(
        state.batches[one.batch].status in ("made", "running") for one in starts
    ):
        await engine.core.sleep(1 * hour)


def _judged(
    cell: EmulatedCell,
    engine: Engine,
    looks: _Looks,
    scenarios: Mapping[str, Scenario],
    began: Instant,
) -> Together:
    world = cell.world
    world.catch_up()
    events = list(read_events(cell.journal_path, EVENTS))
    comparison = compare(events, [LedgerEffect(**one) for one in ledger_of(world)], start=began)
    verdict = verify(cell.journal_path, cell.folder / "journal.pub")
    state = engine.core.state
    return Together(
        status={name: state.batches[name].status for name in scenarios},
        cells=looks.cells,
        stored_cells={
            name: sum(
                sum(world.donors_in(one).values())
                for one in scenario.containers.values()
                if "/" not in one and world.where(one).startswith("dewar")
            )
            for name, scenario in scenarios.items()
        },
        clocks=clocks_of(events),
        waits=waits_of(events),
        holds=looks.holds,
        repeated=comparison.repeated_acts,
        lost=comparison.lost_acts,
        is_sound=verdict.sound,
        merkle_root=verdict.merkle_root,
        events=verdict.events,
        shared=shared_places(world.ownership(), cell.cell.config),
    )


def clocks_of(events: Iterable[Recorded[AnyEvent]]) -> list[Clock]:
    """Return every limit that a journal holds, with how much of it was used."""
    running: dict[str, Clock] = {}
    clocks: list[Clock] = []
    for one in events:
        event = one.event
        match event.kind:
            case "limit_started":
                most = Duration.read(event.maximum) if event.maximum else None
                running[event.limit] = Clock(event.limit, event.owner, event.tier, most)
                clocks.append(running[event.limit])
            case "limit_due":
                running[event.limit].is_due = True
            case "limit_ended":
                if event.used != "unknown":
                    running[event.limit].used = Duration.read(event.used)
            case _:
                pass
    return clocks


def waits_of(events: Iterable[Recorded[AnyEvent]]) -> list[tuple[Duration, str]]:
    """Return how long each operation waited for its units, longest first."""
    wanted: dict[str, Instant] = {}
    waits: list[tuple[Duration, str]] = []
    for one in events:
        event = one.event
        if event.kind == "lease_wanted":
            wanted[f"{event.batch}/{event.path}"] = one.at
        elif event.kind == "lease_granted":
            who = f"{event.batch}/{event.path}"
            if who in wanted:
                waits.append((one.at - wanted.pop(who), who))
    return sorted(waits, reverse=True)


def shared_places(stays: Iterable[Stay], config: CellConfig) -> list[str]:
    """Return where things of two patients were at once: at one place, or in one unit.

    A unit that is leased for an operation belongs to one patient as a whole; of an
    incubator or a dewar, each place does.
    """
    owned: dict[str, list[Stay]] = {}
    for stay in stays:
        if stay.donors and stay.place not in SHARED_BY_ALL:
            owned.setdefault(_owned_as(stay.place, config), []).append(stay)
    found: list[str] = []
    for owner, there in owned.items():
        there.sort(key=lambda stay: stay.from_s)
        for nth, first in enumerate(there):
            ends_s = float("inf") if first.to_s is None else first.to_s
            for other in there[nth + 1 :]:
                if other.from_s >= ends_s - TOGETHER_S:
                    break
                if set(other.donors) != set(first.donors):
                    found.append(
                        f"{owner}: {first.thing} and {other.thing} at {other.from_s:.0f} s"
                    )
    return found


def _owned_as(place: str, config: CellConfig) -> str:
    for unit in config.units:
        if place in unit.places or place in unit.named_places.values():
            return unit.name if unit.lease == "operation" else place
    return place


@dataclass(frozen=True)
class Apart:
    """One batch on a cell of its own."""

    number: int
    status: str
    own: frozenset[str]
    """Every identifier that belongs to this batch alone."""
    record: str
    """The whole journal, as text."""
    merkle_root: str
    repeated: int
    lost: int
    events: int
    kinds: Mapping[str, int]


def run_apart(
    folder: Path, recipe: Recipe, numbers: Iterable[int], *, seed: int, days: float | None = None
) -> list[Apart]:
    """Run a batch on each of many cells, side by side; for so many days, or to their end."""

    async def all_of_them() -> list[Apart]:
        async with asyncio.TaskGroup() as cells:
            running = [
                cells.create_task(_apart(folder / f"cell-{number}", recipe, number, seed, days))
                for number in numbers
            ]
        return [one.result() for one in running]

    return run_in_virtual_time(all_of_them())


async def _apart(folder: Path, recipe: Recipe, number: int, seed: int, days: float | None) -> Apart:
    start = Start(number, 0 * minute)
    done: list[Apart] = []
    async with emulated_cell(folder, REFERENCE_CELL, seed=seed) as cell, cell.engine() as engine:
        began = cell.technicians[0].room_began
        scenario = await bring_and_start(cell, engine, recipe, start, seed)
        latest = began + Duration.of_base(round((40.0 if days is None else days) * 86_400_000))
        await _until_all_ended(engine, [start], latest)
        await engine.stop()
        done.append(_record_of(cell, engine, start, scenario, began))
    return done[0]


def _record_of(
    cell: EmulatedCell, engine: Engine, start: Start, scenario: Scenario, began: Instant
) -> Apart:
    cell.world.catch_up()
    events = list(read_events(cell.journal_path, EVENTS))
    effects = [LedgerEffect(**one) for one in ledger_of(cell.world)]
    comparison = compare(events, effects, start=began)
    kinds: dict[str, int] = {}
    for one in events:
        kinds[one.event.kind] = kinds.get(one.event.kind, 0) + 1
    lots = {one.lot for one in scenario.arrivals if one.lot}
    labels = {one.label for one in scenario.arrivals}
    return Apart(
        number=start.number,
        status=engine.core.state.batches[start.batch].status,
        own=frozenset(
            {
                str(start.batch),
                f"COI-{start.number:03d}",
                *scenario.containers.values(),
                *scenario.kits.values(),
                *lots,
                *labels,
            }
        ),
        record="\n".join(one.event.model_dump_json() for one in events),
        merkle_root=verify(cell.journal_path, cell.folder / "journal.pub").merkle_root,
        repeated=comparison.repeated_acts,
        lost=comparison.lost_acts,
        events=len(events),
        kinds=kinds,
    )


def strangers_in(one: Apart, others: Iterable[Apart]) -> list[str]:
    """Return the identifiers of other batches that a record holds."""
    return [
        identifier
        for other in others
        if other.number != one.number
        for identifier in sorted(other.own)
        if identifier in one.record
    ]


def missing_from(one: Apart) -> list[str]:
    """Return a batch's own identifiers that its record doesn't hold."""
    return [identifier for identifier in sorted(one.own) if identifier not in one.record]
