"""What stands about in the World: containers, kits, joints, places, chambers, stations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hw_mocks.world.climate import Course
from hw_mocks.world.mixture import Line, Mixture

ContainerKind = Literal[
    "bag",
    "bottle",
    "vial",
    "tube",
    "culture_bag",
    "adherent_vessel",
    "cryobag",
    "waste_bag",
]

GAS_PERMEABLE: tuple[ContainerKind, ...] = ("culture_bag", "adherent_vessel")

THERMAL_LAG_S: dict[ContainerKind, float] = {
    "bag": 900.0,
    "bottle": 1800.0,
    "vial": 240.0,
    "tube": 240.0,
    "culture_bag": 600.0,
    "adherent_vessel": 600.0,
    "cryobag": 120.0,  # flat between the plates of a freezer
    "waste_bag": 1800.0,
}
"""First-order lag of the contents behind the chamber; set, no source."""

CO2_LAG_S = 1800.0
"""Lag of the liquid's carbon dioxide behind the chamber's; set, no source."""


@dataclass(slots=True)
class Container:
    """A bag, bottle, vial, tube or vessel with what it holds."""

    container: str
    kind: ContainerKind
    capacity_mL: float
    tare_g: float
    label: str | None
    contents: Mixture
    area_cm2: float
    tubing_mm: float
    part_of: str | None
    temperature_degC: float
    co2_percent: float
    aged_to_s: float
    pelleted: float = 0.0  # share of the cells that lie in the pellet
    perfused: bool = False
    frozen: bool = False
    nucleated_at_s: float | None = None
    older_labels: list[str] = field(default_factory=list[str])  # beside the newest, in order

    def gross_g(self) -> float:
        """Return the mass that a balance feels."""
        return self.tare_g + self.contents.mass_g


@dataclass(slots=True)
class Kit:
    """A tray with a vessel, a flush bag, a waste bag, ports and the tubing between them."""

    kit: str
    label: str | None
    tare_g: float
    vessel: str
    flush: str
    waste: str
    ports: dict[str, Line]  # side A; a line's left end is the container's
    branches: dict[str, Line]  # side B: vessel and flush; a line's left end is the pump's
    pump_line: Line  # left end: side A
    tubing_mm: dict[str, float]
    older_labels: list[str] = field(default_factory=list[str])  # beside the newest, in order

    def parts(self) -> tuple[str, str, str]:
        """Return the containers that are fixed to the tray."""
        return self.vessel, self.flush, self.waste

    def lines(self) -> list[Line]:
        """Return every piece of tubing of the kit."""
        return [*self.ports.values(), self.pump_line, *self.branches.values()]


@dataclass(frozen=True, slots=True)
class Joint:
    """A container joined to a port of a kit."""

    container: str
    kit: str
    port: str
    how: str
    by: str
    at_s: float
    tight: bool = True


@dataclass(slots=True)
class Place:
    """Where a thing can be: of which equipment, how many things, in which chamber."""

    place: str
    of: str | None
    holds: int
    chamber: str
    things: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Chamber:
    """An incubator, freezer, dewar, fridge or room: its air, and what its controls were told."""

    chamber: str
    of: str | None
    temperature: Course
    co2: Course
    target_degC: float
    target_co2_percent: float
    lag_s: float
    co2_lag_s: float
    door_open: bool = False
    ramping: Ramping | None = None


@dataclass(slots=True)
class Ramping:
    """A ramp under way."""

    by: str
    from_s: float
    start_degC: float
    limit_degC: float
    ends_s: float
    rate_kelvin_per_min: float


@dataclass(slots=True)
class Turning:
    """A pump head that turns, and what it has moved since its present effect began."""

    by: str
    flow_uL_per_s: float
    from_s: float
    integrated_to_s: float
    sources: tuple[str, ...] = ()
    sinks: tuple[str, ...] = ()
    reason: str = ""
    moved_mL: float = 0.0
    displaced_mL: float = 0.0


@dataclass(slots=True)
class Spinning:
    """A rotor that turns with something in it."""

    by: str
    rcf_g: float
    from_s: float
    ends_s: float | None


@dataclass(slots=True)
class Station:
    """Where a kit is docked: a pump on its segment, valves on its tubes, balances."""

    station: str
    place: str
    pump: str
    valves: str
    channels: dict[int, str]  # channel -> branch (port, "vessel" or "flush")
    balances: dict[str, str]  # balance -> place, or "vessel"
    opened: set[str] = field(default_factory=set[str])
    turning: Turning | None = None


@dataclass(frozen=True, slots=True)
class Path:
    """An open way through the docked kit: which containers at side A, which at side B."""

    kit: str
    side_a: tuple[tuple[str, str], ...]  # (port, container)
    side_b: tuple[tuple[str, str], ...]  # (branch, container)


@dataclass(frozen=True, slots=True)
class CellView:
    """Cells of one donor and phenotype in a container."""

    donor: str
    phenotype: str
    viable: float
    dead: float
    activated: float
    car: float
    copies_per_cell: float
    attached: float


@dataclass(frozen=True, slots=True)
class Contents:
    """What a container holds, as the World knows it (no instrument's error in it)."""

    volume_mL: float
    mass_g: float
    viable: float
    dead: float
    cd3: float
    car: float
    attached: float
    dmso_fraction: float
    glucose_millimolar: float
    lactate_millimolar: float
    inhibitor_millimolar: float
    solutes: dict[str, float]
    materials_mL: dict[str, float]
    cells: tuple[CellView, ...]

    @property
    def viability(self) -> float:
        """Return viable over all cells; 0 where there are none."""
        total = self.viable + self.dead
        return self.viable / total if total > 0.0 else 0.0

    @property
    def viable_per_mL(self) -> float:
        """Return the density of viable cells that swim."""
        return (self.viable - self.attached) / self.volume_mL if self.volume_mL > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class Counted:
    """What a counter found in the drop that it was given."""

    viable_per_mL: float
    viability: float
    cd3_share: float
    car_share: float
    drawn_uL: float


@dataclass(frozen=True, slots=True)
class Stay:
    """A thing's stay at a place, and whose cells were in it while it stayed."""

    place: str
    thing: str
    donors: tuple[str, ...]
    from_s: float
    to_s: float | None
