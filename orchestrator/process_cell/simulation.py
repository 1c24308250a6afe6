"""Run a recipe on an emulated cell in virtual time, and say what came of it.

Everything is as in a real cell but the room: the recipe is submitted, reviewed and
approved, material is received by people, and the engine, the drivers and the emulators
are the real ones. What the room holds afterwards is compared with the record.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from hw_mocks.ledger_record import ledger_of
from hw_mocks.scenario import Arrival, Scenario, scenario_for
from hw_mocks.world import Donor
from orchestrator.engine.engine import Engine
from orchestrator.engine.state import AwaitedScan, BatchState, HostState
from orchestrator.journal.events import EVENTS, AnyEvent
from orchestrator.journal.journal import Recorded, read_events
from orchestrator.journal.verify import Verdict, verify
from orchestrator.kernel.desks import Given
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import CellDensity, Cells, Duration, Fraction, Volume, day, hour
from orchestrator.kernel.tasks import OVER
from orchestrator.process_cell.config import CellConfig, LoadedCell
from orchestrator.process_cell.emulated import emulated_cell
from orchestrator.recipe.binding import (
    Binding,
    BoundContainer,
    BoundKit,
    BoundPlace,
    BoundUnit,
    BoundValue,
)
from orchestrator.recipe.model import Recipe
from orchestrator.records.comparison import Comparison, LedgerEffect, compare
from orchestrator.virtual_time import run_in_virtual_time

REFERENCE_CELL: Final = Path(__file__).parents[2] / "protocols" / "cells" / "reference.toml"

LONGEST_DAYS: Final = 60
"""A batch that hasn't ended by then stands still, and the simulation says so."""

NOBODY_SCANS_AFTER: Final = 3 * day
"""Far longer than the people of a simulation take: what is there they scan within hours."""

LOOK_EVERY: Final = 1 * hour

BATCH: Final = BatchId("B-001")

Told = Callable[[Recorded[AnyEvent]], None]

ToldOfThing = Callable[[str], tuple[str, float]]
"""Says of a container where it is, and how many cells of patients it holds."""


class Staffed(Protocol):
    """A cell whose people give commands."""

    @property
    def cell(self) -> LoadedCell:
        """Return the process cell file."""
        ...

    async def give(self, login: str, name: str, **arguments: Any) -> Given:
        """Have a person give a command."""
        ...


@dataclass(frozen=True, slots=True)
class VesselCount:
    """What the counter said of a vessel, and how much the record says it held."""

    at: Instant
    density: CellDensity
    viability: str
    engineered: str
    """The share of the cells that carry the gene, as text; empty where it wasn't told."""
    volume: Volume

    @property
    def cells(self) -> Cells:
        """Return the viable cells in the vessel."""
        return self.volume.holding(self.density)

    @property
    def engineered_cells(self) -> float:
        """Return the viable cells in the vessel that carry the gene."""
        share = Fraction.read(self.engineered).base / 100_000 if self.engineered else 0.0
        return self.cells.base * share


@dataclass(slots=True)
class Outcome:
    """What came of one simulated batch."""

    batch: str
    status: str
    virtual_days: float
    wall_s: float
    phases: int
    events: int
    identity_checks: int
    identity_refused: int
    holds: int
    deviations: list[str]
    counts: list[VesselCount]
    seeded: Cells | None
    viable_cells_out: float
    comparison: Comparison
    verdict: Verdict
    in_phases: Duration
    """From the start of the first phase to the end of the last that has ended."""
    is_stored: bool
    """Whether anything of the batch stands in the store, cells or not."""
    limits: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    still_open: list[str] = field(default_factory=list[str])
    waits_in_vain: AwaitedScan | None = None
    """The scan that nobody could make, so that the simulation ended early."""

    @property
    def fold_expansion(self) -> float | None:
        """Return the largest count of the vessel by what was seeded, if something was."""
        largest = self.largest_count
        if self.seeded is None or largest is None:
            return None
        return largest.cells.base / self.seeded.base

    @property
    def largest_count(self) -> VesselCount | None:
        """Return the count that found most cells in a vessel: the one before harvest."""
        return max(self.counts, key=lambda one: one.cells.base, default=None)

    @property
    def viability_percent(self) -> float | None:
        """Return the last count's viability."""
        if not self.counts:
            return None
        return Fraction.read(self.counts[-1].viability).base / 1000

    @property
    def is_well(self) -> bool:
        """Return whether it ended as its recipe asks, and the record tells the truth."""
        return self.status == "complete" and self.comparison.agrees and self.verdict.sound

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``cellwright demo --json`` prints."""
        fold = self.fold_expansion
        return {
            "virtual_days": round(self.virtual_days, 2),
            "wall_s": round(self.wall_s, 2),
            "phases": self.phases,
            "acts": len(self.comparison.acts),
            "events": self.events,
            "fold_expansion": None if fold is None else round(fold, 1),
            "viable_cells_out": round(self.viable_cells_out),
            "viability_percent": self.viability_percent,
            "identity_checks": self.identity_checks,
            "repeated_acts": self.comparison.repeated_acts,
            "lost_acts": self.comparison.lost_acts,
            "holds": self.holds,
            "deviations": len(self.deviations),
            "verified": self.verdict.sound,
            "merkle_root": self.verdict.merkle_root,
        }


def simulate(
    recipe: Recipe,
    folder: Path,
    *,
    cell_file: Path = REFERENCE_CELL,
    seed: int,
    donor: Donor | None = None,
    ordered: Mapping[str, str] | None = None,
    start: Instant | None = None,
    told: Told | None = None,
) -> Outcome:
    """Return what comes of one batch of ``recipe``, run on an emulated cell.

    Args:
        recipe: Checked; it is submitted and approved by the people of the cell.
        folder: Empty; the journal, traces and saved state are left there.
        cell_file: The process cell, emulated.
        seed: Decides on the donor and on all chance.
        donor: Instead of the one that the seed gives.
        ordered: What the order states, by name; the middle of its range where it is silent.
        start: When the room's time begins.
        told: Is told of each event as it is recorded.
    """
    scenario = scenario_for(json.loads(recipe.content), seed=seed, donor=donor, ordered=ordered)
    running = _simulated(recipe, folder, cell_file, seed, scenario, told or (lambda _: None))
    if start is None:
        return run_in_virtual_time(running)
    return run_in_virtual_time(running, start=start)


async def _simulated(
    recipe: Recipe, folder: Path, cell_file: Path, seed: int, scenario: Scenario, told: Told
) -> Outcome:
    outcome: list[Outcome] = []
    async with emulated_cell(folder, cell_file, seed=seed) as cell:
        scenario.bring_into(cell.world)
        async with cell.engine() as engine:
            watched = Watched(engine.core.state, recipe)
            engine.core.listeners.append(watched)
            engine.core.listeners.append(told)
            began, room_began = time.perf_counter(), cell.technicians[0].room_began
            await put_on_file(cell, engine, recipe, scenario, BATCH)
            await cell.give("supervisor", "start_batch", batch=str(BATCH))
            await _until_ended(engine, BATCH)
            await engine.stop()
            days = (engine.core.clock.utc() - room_began).base / 86_400_000
            cell.world.catch_up()
            effects = [LedgerEffect(**one) for one in ledger_of(cell.world)]
            world = cell.world
            outcome.append(
                outcome_of(
                    scenario,
                    watched,
                    folder,
                    days=days,
                    began=room_began,
                    effects=effects,
                    look=lambda one: (world.where(one), world.contents(one).viable),
                )
            )
            outcome[0].wall_s = time.perf_counter() - began
    return outcome[0]


async def put_on_file(
    cell: Staffed,
    engine: Engine,
    recipe: Recipe,
    scenario: Scenario,
    batch: BatchId,
    *,
    number: int = 1,
) -> None:
    """Have people receive the material, approve the recipe and make the batch."""
    coi = f"COI-{number:03d}"
    for arrival in scenario.arrivals:
        await _receive(cell, arrival, coi, engine.core.clock.utc())
    content = recipe.content.decode()
    if recipe.digest not in engine.core.state.recipes:
        await cell.give("author", "submit_recipe", content=content)
        await cell.give("reviewer", "review_recipe", recipe=recipe.digest)
        await cell.give(
            "quality", "approve_recipe", recipe=recipe.digest, reason="To be simulated, not made"
        )
    binding = bound(recipe, scenario, cell.cell.config, number=number)
    await cell.give(
        "supervisor",
        "make_batch",
        batch=str(batch),
        coi=coi,
        binding=binding.model_dump(mode="json"),
    )


async def _receive(cell: Staffed, arrival: Arrival, coi: str, now: Instant) -> None:
    if arrival.lot:
        expires = now + Duration.read(arrival.shelf_life)
        await cell.give(
            "day-1",
            "receive_lot",
            lot=arrival.lot,
            material=arrival.material,
            expires=str(expires),
            in_use=arrival.in_use,
        )
    told: dict[str, Any] = {
        "container": arrival.container,
        "label": arrival.label,
        "material": arrival.material,
        "what": arrival.what,
        "volume": arrival.volume,
        "capacity": arrival.capacity,
        "positions": list(arrival.positions),
        "volumes": list(arrival.volumes),
        "capacities": list(arrival.capacities),
    }
    if arrival.lot:
        told["lot"] = arrival.lot
    if arrival.what == "patient_material":
        told["coi"] = coi
    await cell.give("day-1", "receive_material", **told)


def bound(recipe: Recipe, scenario: Scenario, config: CellConfig, *, number: int = 1) -> Binding:
    """Return a binding to the cell's units: the batch's own places are its ``number``-th.

    Raises:
        RefusedError: The cell lacks a unit that the recipe needs.
    """
    units: list[BoundUnit] = []
    places: list[BoundPlace] = []
    taken: dict[str, int] = {}
    for role in recipe.equipment:
        offered = config.units_of_kind(role.kind)
        turn = taken.get(role.kind, 0)
        if not offered:
            raise RefusedError(
                f"bind {role.name}",
                why=f"the cell {config.name} has no unit of the kind {role.kind}",
                do_next="Choose another cell with --cell",
            )
        unit = offered[min(turn, len(offered) - 1)]
        taken[role.kind] = turn + 1
        units.append(BoundUnit.model_validate({"name": role.name, "equipment": unit.name}))
        if unit.lease == "batch" and unit.places:
            place = unit.places[(number - 1) % len(unit.places)]
            places.append(BoundPlace(unit=role.name, place=place))
    return Binding(
        recipe=recipe.digest,
        containers=tuple(
            BoundContainer.model_validate({"name": name, "container": container})
            for name, container in scenario.containers.items()
        ),
        kits=tuple(
            BoundKit.model_validate({"name": name, "kit": kit})
            for name, kit in scenario.kits.items()
        ),
        units=tuple(units),
        places=tuple(places),
        ordered=tuple(
            BoundValue(name=name, value=value) for name, value in scenario.ordered.items()
        ),
    )


class Watched:
    """Takes note, as events come, of what can't be told from the end alone.

    It is told of an event after ``state`` was folded with it.
    """

    def __init__(self, state: HostState, recipe: Recipe) -> None:
        self.state = state
        self._vessels = {kit.vessel for kit in recipe.kits}
        self._recipe = recipe
        self.counts: list[VesselCount] = []
        self.holds = 0
        self.identity_checks = 0
        self.identity_refused = 0
        self.limits: list[tuple[str, str, str]] = []

    def __call__(self, recorded: Recorded[AnyEvent]) -> None:
        """Take note of one event, if it matters here."""
        event = recorded.event
        match event.kind:
            case "identity_proven":
                self.identity_checks += 1
            case "identity_refused":
                self.identity_refused += 1
            case "state_changed":
                phases = self.state.batches[event.batch].phases
                self.holds += event.trigger == "held" and event.path not in phases
            case "limit_started":
                self.limits.append((event.limit, event.maximum, ""))
            case "limit_ended":
                self.limits = [
                    (name, most, event.used if name == event.limit and not used else used)
                    for name, most, used in self.limits
                ]
            case "phase_ended":
                self._count(recorded.at, event.path, event.report)
            case _:
                return

    def _count(self, at: Instant, path: str, report: Mapping[str, str]) -> None:
        if "viable_density" not in report:
            return
        node = self._recipe.at(path)
        source = str(getattr(getattr(node, "phase", None), "source", ""))
        if source not in self._vessels:
            return
        state = self.state
        container = next(iter(state.batches.values())).containers[source]
        self.counts.append(
            VesselCount(
                at,
                CellDensity.read(report["viable_density"]),
                report["viability"],
                report.get("engineered", ""),
                Volume.of_base(state.containers[container].volume_nl),
            )
        )


async def _until_ended(engine: Engine, batch: BatchId) -> None:
    """Wait for the batch's end, and for what people owe of it; not for ever."""
    waited_h = 0
    while waited_h < 24 * LONGEST_DAYS:
        await engine.core.sleep(LOOK_EVERY)
        waited_h += 1
        state = engine.core.state
        if is_over(state, batch) or waits_in_vain(state, batch, engine.core.clock.utc()):
            return


def waits_in_vain(state: HostState, batch: BatchId, now: Instant) -> AwaitedScan | None:
    """Return a scan of the batch that nobody of the simulation can make, if it awaits one."""
    for scan in state.scans.values():
        if scan.batch == batch and now - scan.since > NOBODY_SCANS_AFTER:
            return scan
    return None


def is_over(state: HostState, batch: BatchId) -> bool:
    """Return whether a batch goes on no more, and people owe nothing of it."""
    known = state.batches[batch]
    owed = any(task.batch == batch and task.status not in OVER for task in state.tasks.values())
    return bool(known.broken) or (known.status not in ("made", "running") and not owed)


def _in_ms(days: float) -> Duration:
    return Duration.of_base(round(days * 86_400_000))


def _from_first_to_last(batch: BatchState) -> Duration:
    ended = [phase.ended_at for phase in batch.phases.values() if phase.ended_at is not None]
    if not ended:
        return Duration.of_base(0)
    return max(ended) - min(phase.started_at for phase in batch.phases.values())


def outcome_of(
    scenario: Scenario,
    watched: Watched,
    folder: Path,
    *,
    days: float,
    began: Instant,
    effects: list[LedgerEffect],
    look: ToldOfThing,
) -> Outcome:
    """Return what came of the one batch whose journal is in ``folder``.

    Args:
        scenario: What stood in the room.
        watched: Was told of every event.
        folder: The journal's and its public key's.
        days: Of virtual time, from the room's beginning to the batch's end.
        began: When the room's time began.
        effects: The World's ledger.
        look: Tells where a container is and what it holds.
    """
    state = watched.state
    journal = folder / "journal.sqlite"
    made = state.batches[BATCH]
    seeded = made.ordered.get("cells to seed")
    found = [look(container) for container in scenario.containers.values() if "/" not in container]
    return Outcome(
        batch=str(BATCH),
        status=made.status,
        virtual_days=days,
        wall_s=0.0,
        phases=sum(1 for phase in made.phases.values() if phase.ended_at is not None),
        events=state.seq,
        identity_checks=watched.identity_checks,
        identity_refused=watched.identity_refused,
        holds=watched.holds,
        deviations=[one.text for one in state.deviations.values()],
        counts=watched.counts,
        seeded=None if seeded is None else Cells.read(seeded),
        viable_cells_out=sum(cells for place, cells in found if place.startswith("dewar")),
        in_phases=_from_first_to_last(made),
        is_stored=any(place.startswith("dewar") for place, _ in found),
        comparison=compare(read_events(journal, EVENTS), effects, start=began),
        verdict=verify(journal, folder / "journal.pub"),
        limits=watched.limits,
        still_open=[
            f"{path}: {phase.state.value} {phase.why}".strip()
            for path, phase in made.phases.items()
            if phase.ended_at is None
        ],
        waits_in_vain=waits_in_vain(state, BATCH, began + _in_ms(days)),
    )
