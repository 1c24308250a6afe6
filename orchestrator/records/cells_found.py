"""Counts and yields: what the counter found, what that makes in cells, and what was expected.

Cells are carried through the pump's record from each count on. A count says how many
viable cells its container holds (density times the volume it holds then); from there
liquid takes its share of cells along, until the next count. After a spin cells lie at the
bottom: what is drawn off then takes none, until liquid comes in. Nothing is said of growth
or death between counts, so a figure counts only where a count stands close before it.

*Seeded* is what ``seed_and_activate`` brought into the vessel. *Harvested* is the first
count of that vessel after its last incubation; the fold expansion is their ratio. *Out* is
what ``fill_and_seal`` brought into the final bags.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction as Exact
from typing import Final

from devices.interfaces.fluid_transfer import VOLUME_ERROR
from orchestrator.journal import events as ev
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import CellDensity, Cells, Fraction, Volume
from orchestrator.phases.sample_and_count import SampleAndCount
from orchestrator.recipe.model import Recipe, Step, written_path
from orchestrator.records.batch_history import At, BatchHistory
from orchestrator.records.procedure import number_of
from orchestrator.records.record_model import (
    ActEntry,
    CountEntry,
    LiquidEntry,
    PhaseEntry,
    YieldEntry,
)
from orchestrator.records.stated_volume import stated_volume

_NL_PER_ML: Final = 1_000_000


class Expectation(Frozen):
    """A range in which a yield should lie, and who says so."""

    name: str
    lowest: str
    highest: str
    source: str


@dataclass(slots=True)
class CellsFound:
    """What the counts of one batch say."""

    counts: list[CountEntry] = field(default_factory=list[CountEntry])
    seeded: Exact | None = None
    vessel: str = ""
    harvest: CountEntry | None = None
    out: Exact | None = None
    bags: dict[str, Exact] = field(default_factory=dict[str, Exact])

    @property
    def fold(self) -> Exact | None:
        """Return harvested over seeded, where both are known."""
        if not self.seeded or self.harvest is None or not self.harvest.viable_cells:
            return None
        return Cells.read(self.harvest.viable_cells).base / self.seeded


def cells_found(history: BatchHistory, recipe: Recipe | None) -> CellsFound:
    """Follow the cells of a batch through its record."""
    follower = _Follower(history, recipe)
    for one in history.events:
        follower.take(one)
    return follower.found


class _Follower:
    def __init__(self, history: BatchHistory, recipe: Recipe | None) -> None:
        self.found = CellsFound()
        self._history = history
        self._recipe = recipe
        self._cells: dict[str, Exact] = {}
        self._spun: set[str] = set()
        self._incubated = False
        self._source_of: dict[str, str] = {}

    def take(self, at: At) -> None:
        """Take the next event of the batch."""
        event = at.event
        if isinstance(event, ev.PhaseEnded) and self._kind(event.path) == "incubate":
            self._incubated = True
            self.found.harvest = None  # the last incubation decides
        if not isinstance(event, ev.AttemptSettled | ev.AttemptFailed | ev.AttemptReconciled):
            return
        intended: ev.AttemptIntended = self._history.attempts[event.command].intended.event
        act = intended.act or intended.asked
        if event.done:
            self._done(at, intended.path, act, event.done, event.detail)

    def _done(
        self, at: At, path: str, act: Mapping[str, str], done: str, detail: Mapping[str, str]
    ) -> None:
        match act["kind"]:
            case "spin":
                self._spun |= {
                    name for name in self._history.state.containers
                    if name.split("/")[0] == act["container"]
                }  # fmt: skip
            case "pump_volume":
                volume = stated_volume(done)
                if volume is None:  # nobody knows how many cells went with it
                    self._cells.pop(act["source"], None)
                    self._cells.pop(act["target"], None)
                else:
                    self._pumped(at, path, act, volume.base)
            case "count_cells":
                self._counted(at, path, act["sample"], detail)
            case "hand_act":
                self._by_hand(at, act)
            case _:
                pass

    def _by_hand(self, at: At, act: Mapping[str, str]) -> None:
        containers = act["containers"]
        if act["work"] == "draw_sample":
            source, tube = containers[:2]
            self._source_of[tube] = source
            volumes = self._history.volumes[at.seq]
            left = volumes.get(source, 0)
            drawn = volumes.get(tube, 0)
            if source in self._cells and left + drawn:
                self._cells[source] *= Exact(left, left + drawn)
        elif act["work"] == "select_magnetically":
            for name in containers:
                self._cells.pop(name, None)

    def _pumped(self, at: At, path: str, act: Mapping[str, str], moved: int) -> None:
        source, target = act["source"], act["target"]
        before = self._history.volumes[at.seq].get(source, 0) + moved
        takes = Exact(0)
        if source in self._cells and source not in self._spun and before > 0:
            takes = self._cells[source] * Exact(moved, before)
            self._cells[source] -= takes
        if target in self._cells or source in self._cells:
            self._cells[target] = self._cells.get(target, Exact(0)) + takes
        self._spun.discard(target)
        kind = self._kind(path)
        if kind == "seed_and_activate" and source in self._cells:
            self.found.seeded = (self.found.seeded or Exact(0)) + takes
            self.found.vessel = target
        if kind == "fill_and_seal" and source in self._cells:
            self.found.out = (self.found.out or Exact(0)) + takes
            self.found.bags[target] = self.found.bags.get(target, Exact(0)) + takes

    def _counted(self, at: At, path: str, sample: str, detail: Mapping[str, str]) -> None:
        of = self._source_of.get(sample, "")
        step = self._step(path)
        phase = step.phase if step is not None else None
        volume = self._volume_of(of, at)
        cells = ""
        within: bool | None = None
        try:
            density = CellDensity.read(detail.get("viable_density", ""))
            viability = Fraction.read(detail.get("viability", ""))
        except ValueError:
            density = viability = None
        if density is not None and viability is not None:
            if volume is not None:
                exact = Exact(density.base * volume.base, _NL_PER_ML)
                self._cells[of] = exact
                cells = str(Cells.of_base(int(exact)))
            if isinstance(phase, SampleAndCount):
                within = density in phase.density and viability >= phase.viability_at_least
        count = CountEntry(
            seq=at.seq,
            at=at.at,
            path=path,
            sample=sample,
            of=of,
            result=detail.get("result", ""),
            viable_density=detail.get("viable_density", ""),
            viability=detail.get("viability", ""),
            cd3=detail.get("cd3", ""),
            engineered=detail.get("engineered", ""),
            volume="" if volume is None else str(volume),
            viable_cells=cells,
            expected_density=str(phase.density) if isinstance(phase, SampleAndCount) else "",
            expected_viability=f"at least {phase.viability_at_least}"
            if isinstance(phase, SampleAndCount)
            else "",
            within=within,
        )
        self.found.counts.append(count)
        if self._incubated and of and of == self.found.vessel and self.found.harvest is None:
            self.found.harvest = count

    def _volume_of(self, container: str, at: At) -> Volume | None:
        """Return what a container held when its sample was counted, by the pump's record."""
        newest: Volume | None = None
        for seq, volumes in self._history.volumes.items():
            if seq > at.seq:
                break
            if container in volumes:
                newest = Volume.of_base(volumes[container])
        return newest

    def _kind(self, path: str) -> str:
        story = self._history.phases.get(path)
        return "" if story is None else str(story.started.event.phase).partition("/")[0]

    def _step(self, path: str) -> Step | None:
        node = None if self._recipe is None else self._recipe.nodes.get(written_path(path))
        return node if isinstance(node, Step) else None


def yields(
    found: CellsFound, phases: tuple[PhaseEntry, ...], expected: tuple[Expectation, ...]
) -> tuple[YieldEntry, ...]:
    """Return the yields of a batch, each against what was expected of it."""
    by_name = {one.name: one for one in expected}
    return (*_cell_yields(found, by_name), *_bags(found, phases))


def _cell_yields(found: CellsFound, by_name: Mapping[str, Expectation]) -> Iterator[YieldEntry]:
    if found.seeded is not None:
        yield _row(
            "cells seeded", _cells(found.seeded), by_name, "pumped volume and the last count"
        )
    harvest = found.harvest
    if harvest is not None and harvest.viable_cells:
        how = f"counter, event {harvest.seq}, times what the vessel held"
        yield _row("viable cells harvested", harvest.viable_cells, by_name, how)
        yield _row("viability at harvest", harvest.viability, by_name, f"event {harvest.seq}")
        if harvest.engineered:
            yield _row("engineered at harvest", harvest.engineered, by_name, f"event {harvest.seq}")
            engineered = int(
                Cells.read(harvest.viable_cells).base
                * Exact(Fraction.read(harvest.engineered).base, 100_000)
            )
            how = "engineered part of the viable cells harvested"
            yield _row("engineered cells harvested", str(Cells.of_base(engineered)), by_name, how)
    if found.fold is not None:
        how = "viable cells harvested over cells seeded"
        yield _row("fold expansion", decimal(found.fold, 1), by_name, how)
    if found.out is not None:
        how = "pumped volumes and the last count of the source"
        row = _row("viable cells in final bags", _cells(found.out), by_name, how)
        if harvest is not None and harvest.viable_cells and not row.expected:
            whole = Cells.read(harvest.viable_cells).base
            row = row.model_copy(
                update={
                    "expected": harvest.viable_cells,
                    "expected_from": "viable cells harvested (theoretical)",
                    "percent_of_expected": decimal(found.out * 100 / whole, 1) if whole else "",
                }
            )
        yield row


def _bags(found: CellsFound, phases: tuple[PhaseEntry, ...]) -> Iterator[YieldEntry]:
    """Yield the cells in each final bag, against the dose where its volume was made from one."""
    ordered: dict[str, str] = {}
    for phase in phases:
        doses = [one.result for one in phase.calculations if one.formula == "cells_by_weight/1"]
        for entry in phase.entries:
            if doses and isinstance(entry, ActEntry) and entry.act == "pump_volume":
                ordered[entry.parameters["target"]] = doses[-1]
    for bag, cells in found.bags.items():
        dose = ordered.get(bag, "")
        yield YieldEntry(
            name=f"viable cells in {bag}",
            found=_cells(cells),
            expected=dose,
            expected_from="the order's dose and body weight" if dose else "",
            percent_of_expected=decimal(cells * 100 / Cells.read(dose).base, 1) if dose else "",
            within=None,
            how="pumped volumes and the last count of the source",
        )


def liquids(phases: tuple[PhaseEntry, ...]) -> tuple[LiquidEntry, ...]:
    """Return what the pump was asked and what it moved, for each phase that pumped."""
    found: list[LiquidEntry] = []
    for phase in phases:
        acts = [one for one in phase.entries if isinstance(one, ActEntry) and one.asked]
        asked = sum(Volume.read(one.asked).base for one in acts)
        if not asked:
            continue
        volumes = [stated_volume(one.done) for one in acts]
        moved = sum(one.base for one in volumes if one is not None)
        weighed = [Volume.read(one.weighed).base for one in acts if one.weighed]
        found.append(
            LiquidEntry(
                number=number_of(phase.path),
                path=phase.path,
                asked=str(Volume.of_base(asked)),
                moved=str(Volume.of_base(moved)),
                percent=decimal(Exact(moved * 100, asked), 1),
                within=abs(moved - asked) * 100_000 <= VOLUME_ERROR.base * asked,
                weighed=str(Volume.of_base(sum(weighed))) if weighed else "",
                acts=len(acts),
                acts_weighed=len(weighed),
            )
        )
    return tuple(found)


def _row(name: str, found: str, by_name: Mapping[str, Expectation], how: str) -> YieldEntry:
    expected = by_name.get(name)
    within: bool | None = None
    if expected is not None:
        value = _number(found)
        within = _number(expected.lowest) <= value <= _number(expected.highest)
    return YieldEntry(
        name=name,
        found=found,
        expected="" if expected is None else f"{expected.lowest} to {expected.highest}",
        expected_from="" if expected is None else expected.source,
        percent_of_expected="",
        within=within,
        how=how,
    )


def _number(text: str) -> Decimal:
    """Return the number that a quantity or a bare number begins with."""
    return Decimal(text.split()[0])


def _cells(exact: Exact) -> str:
    return str(Cells.of_base(int(exact)))


def decimal(exact: Exact, places: int) -> str:
    """Return a ratio as decimal text, rounded half to even once, without binary fractions."""
    return str(
        (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(Decimal(1).scaleb(-places))
    )
