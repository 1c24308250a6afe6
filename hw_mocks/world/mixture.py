"""What a container or a piece of tubing holds, and how it is divided and pooled.

Every amount here is extensive (millilitres, grams, cells, millimoles), so pooling is addition and
drawing is proportion. What is drawn and what stays are computed as ``part`` and ``whole - part``;
so nothing is made or lost beyond the last bit of a float.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

TypeOfCell = tuple[str, str]
"""Whose cells, and which: (donor, phenotype)."""

SMALLEST_ML = 1e-12
"""Less than this is the last bit of a float, not a volume."""

T_CELLS = ("cd4_t", "cd8_t")
PHENOTYPES = ("cd4_t", "cd8_t", "b", "nk", "monocyte", "msc")

SOLUTES = (
    "glucose_mmol",
    "lactate_mmol",
    "inhibitor_mmol",
    "vector_tu",
    "activator_uL",
    "cytokine_ng",
    "enzyme_units",
    "dmso_mL",
)
"""Dissolved things that the physics knows. Their unit is the end of their name."""


@dataclass(slots=True)
class Population:
    """Cells of one donor and one phenotype; all fields are numbers of cells but ``copies``.

    ``activated``, ``car`` and ``attached`` are parts of ``viable``; ``copies`` counts the vector
    genomes integrated in the viable cells. Dead cells are never attached.
    """

    viable: float = 0.0
    dead: float = 0.0
    activated: float = 0.0
    car: float = 0.0
    copies: float = 0.0
    attached: float = 0.0

    def suspended(self) -> float:
        """Return the viable cells that swim."""
        return max(self.viable - self.attached, 0.0)

    def take(self, fraction: float) -> Population:
        """Remove and return ``fraction`` of the cells that swim."""
        swimming = self.suspended()
        of_viable = fraction * swimming / self.viable if self.viable > 0.0 else 0.0
        part = Population(
            viable=self.viable * of_viable,
            dead=self.dead * fraction,
            activated=self.activated * of_viable,
            car=self.car * of_viable,
            copies=self.copies * of_viable,
        )
        self.viable -= part.viable
        self.dead -= part.dead
        self.activated -= part.activated
        self.car -= part.car
        self.copies -= part.copies
        return part

    def add(self, other: Population) -> None:
        """Pool ``other`` into this population."""
        self.viable += other.viable
        self.dead += other.dead
        self.activated += other.activated
        self.car += other.car
        self.copies += other.copies
        self.attached += other.attached

    def thin_viable(self, surviving: float) -> None:
        """Kill all but the fraction ``surviving`` of the viable cells."""
        self.dead += self.viable * (1.0 - surviving)
        self.viable *= surviving
        self.activated *= surviving
        self.car *= surviving
        self.copies *= surviving
        self.attached *= surviving


@dataclass(slots=True)
class Mixture:
    """A liquid with what is dissolved and what swims in it."""

    volume_mL: float = 0.0
    mass_g: float = 0.0
    solutes: dict[str, float] = field(default_factory=dict[str, float])
    materials: dict[str, float] = field(default_factory=dict[str, float])
    cells: dict[TypeOfCell, Population] = field(default_factory=dict[TypeOfCell, Population])

    def take(self, volume_mL: float, *, cells_per_share: float = 1.0) -> Mixture:
        """Remove and return ``volume_mL`` (all of it, if there is less).

        ``cells_per_share`` is the share of cells drawn over the share of liquid drawn: 1 from a
        mixed container, far below 1 from the top of a spun one.
        """
        if self.volume_mL <= 0.0 or volume_mL <= 0.0:
            return Mixture()
        if volume_mL >= self.volume_mL:
            share, of_cells = 1.0, 1.0
        else:
            share = volume_mL / self.volume_mL
            of_cells = min(share * cells_per_share, 1.0)
        part = Mixture(self.volume_mL * share, self.mass_g * share)
        self.volume_mL -= part.volume_mL
        self.mass_g -= part.mass_g
        for mine, theirs in ((self.solutes, part.solutes), (self.materials, part.materials)):
            for name, amount in mine.items():
                theirs[name] = amount * share
                mine[name] = amount - theirs[name]
        for key, population in self.cells.items():
            part.cells[key] = population.take(of_cells)
        return part

    def add(self, other: Mixture) -> None:
        """Pool ``other`` into this mixture."""
        self.volume_mL += other.volume_mL
        self.mass_g += other.mass_g
        for name, amount in other.solutes.items():
            self.solutes[name] = self.solutes.get(name, 0.0) + amount
        for name, amount in other.materials.items():
            self.materials[name] = self.materials.get(name, 0.0) + amount
        for key, population in other.cells.items():
            mine = self.cells.get(key)
            if mine is None:
                mine = self.cells[key] = Population()
            mine.add(population)

    def copy(self) -> Mixture:
        """Return an independent copy."""
        twin = Mixture()
        twin.add(self)
        return twin

    def solute(self, name: str) -> float:
        """Return the amount of one dissolved thing, in the unit that its name ends with."""
        return self.solutes.get(name, 0.0)

    def viable(self) -> float:
        """Return all viable cells."""
        return sum(population.viable for population in self.cells.values())

    def dead(self) -> float:
        """Return all dead cells."""
        return sum(population.dead for population in self.cells.values())

    def donors(self) -> dict[str, float]:
        """Return, for each donor, how many of their cells (viable and dead) are in here.

        Less than half a cell is none.
        """
        found: dict[str, float] = {}
        for (donor, _), population in sorted(self.cells.items()):
            found[donor] = found.get(donor, 0.0) + population.viable + population.dead
        return {donor: number for donor, number in found.items() if number >= 0.5}


class Line:
    """A piece of tubing: liquid goes through it as slugs, first in first out, both ways round.

    What passed last stays in it (its dead volume) until the next flow pushes it on.
    """

    SLUGS_MAX = 6

    def __init__(self, dead_volume_mL: float, filled_with: Mixture | None = None) -> None:
        self.dead_volume_mL = dead_volume_mL
        self.slugs: deque[Mixture] = deque()  # left end: the container's (or side A's) end
        if filled_with is not None and filled_with.volume_mL > 0.0:
            self.slugs.append(filled_with)

    def volume_mL(self) -> float:
        """Return how much liquid stands in the tubing."""
        return sum(slug.volume_mL for slug in self.slugs)

    def push(self, entering: Iterable[Mixture], *, at_left: bool) -> list[Mixture]:
        """Let slugs in at one end, in order; return what leaves at the other, in order."""
        for slug in entering:
            if slug.volume_mL > 0.0:
                (self.slugs.appendleft if at_left else self.slugs.append)(slug)
        leaving: list[Mixture] = []
        excess = self.volume_mL() - self.dead_volume_mL
        while excess > SMALLEST_ML:
            last = self.slugs[-1] if at_left else self.slugs[0]
            if last.volume_mL <= excess:
                excess -= last.volume_mL
                leaving.append(self.slugs.pop() if at_left else self.slugs.popleft())
            else:
                leaving.append(last.take(excess))
                break
        while len(self.slugs) > self.SLUGS_MAX:
            first, second = self.slugs.popleft(), self.slugs.popleft()
            first.add(second)
            self.slugs.appendleft(first)
        return leaving

    def contents(self) -> Mixture:
        """Return a pooled copy of what stands in the tubing."""
        pooled = Mixture()
        for slug in self.slugs:
            pooled.add(slug)
        return pooled
