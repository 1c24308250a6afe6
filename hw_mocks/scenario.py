"""What stands in the room for one batch: the patient's material, reagents, kits, bags, tubes.

Made from what a recipe declares, read as a plain document, so that any protocol can be
simulated and not only those that come with the product. What goes into the World is real
there: cells of a donor, medium with glucose, vector with a titer. What people would write
on receipt stands beside it, as plain records for whoever keeps the journal.

A reagent is known by its catalogue name (``REAGENTS``), a kit by its own (``KITS``), the
patient's material by a word in its name. Anything else is buffer, and its record says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hw_mocks.world import materials
from hw_mocks.world.donors import Donor, random_donor
from hw_mocks.world.mixture import Mixture
from hw_mocks.world.things import ContainerKind
from hw_mocks.world.world import World
from orchestrator.kernel.quantities import Quantity, Titer, Volume, mL, units_per_mL

APHERESIS_ML: Final = 185.0
APHERESIS_T_CELLS: Final = 2.6e9
"""Medians of S99 and S69."""

MARROW_ML: Final = 25.0
"""S38."""

ACTIVATOR_UL_PER_ML: Final = 8.75
"""A working solution: 17.5 uL, the dose for 10 million cells (S8), in 2 mL of medium."""

USUAL_TITER: Final = 2.2e7
"""Transducing units in a mL of vector, where no order states them. Assumed."""

LARGER: Final = 1.1
"""How much larger than its contents a filled bag is. Assumed."""

SHELF_LIFE: Final = "180 d"
"""From receipt until a lot expires. Assumed."""

_Made = Callable[[float, Mapping[str, str]], Mixture]


def _activator(volume_mL: float, ordered: Mapping[str, str]) -> Mixture:
    del ordered
    made = materials.activator(volume_mL * ACTIVATOR_UL_PER_ML / 1000.0)
    made.add(materials.medium(volume_mL - made.volume_mL))
    return made


def _vector(volume_mL: float, ordered: Mapping[str, str]) -> Mixture:
    """Return vector of the titer that the order states: it is what its certificate says."""
    titers = [value for text in ordered.values() if isinstance(value := _read(text), Titer)]
    titer = titers[0].to(units_per_mL) if titers else USUAL_TITER
    return materials.vector(volume_mL, titer_tu_per_mL=titer)


REAGENTS: Final[Mapping[str, _Made]] = {
    "t-cell-medium": lambda volume_mL, _: materials.medium(volume_mL),
    "expansion-medium": lambda volume_mL, _: materials.medium(volume_mL),
    "msc-medium": lambda volume_mL, _: materials.msc_medium(volume_mL),
    "activation-reagent": _activator,
    "vector": _vector,
    "detachment-enzyme": lambda volume_mL, _: materials.enzyme(volume_mL),
    "dmso-20-percent": lambda volume_mL, _: materials.cryo_medium(volume_mL, dmso_percent=20.0),
    "dmso-10-percent": lambda volume_mL, _: materials.cryo_medium(volume_mL),
    "wash-buffer": lambda volume_mL, _: materials.buffer(volume_mL),
    "rinse-buffer": lambda volume_mL, _: materials.buffer(volume_mL),
    "buffer": lambda volume_mL, _: materials.buffer(volume_mL),
}
"""What comes under each catalogue name."""

KITS: Final[Mapping[str, tuple[ContainerKind, float]]] = {
    "car-t-kit": ("culture_bag", 0.0),
    "culture-kit": ("culture_bag", 0.0),
    "msc-kit-1": ("adherent_vessel", 2100.0),
    "msc-kit-2": ("adherent_vessel", 21_000.0),
}
"""Each kit's vessel, and the surface in cm2 on which cells can grow."""


EMPTIES: Final[Mapping[str, ContainerKind]] = {
    "bag": "bag",
    "transfer-bag": "bag",
    "cryobag": "cryobag",
    "tube": "tube",
}
"""What comes empty under each catalogue name; a cryobag is for freezing, and flat."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One thing as its receipt is written. Volumes are text, e.g. ``"185 mL"``."""

    name: str
    """The recipe's name of it."""
    container: str
    label: str
    what: str
    """``patient_material``, ``reagent``, ``kit``, ``empty`` or ``sample_tube``."""
    material: str
    lot: str = ""
    in_use: str = ""
    shelf_life: str = ""
    volume: str = "0 mL"
    capacity: str = ""
    positions: tuple[str, ...] = ()
    """A kit's inner containers, ``<container>/<position>``."""
    volumes: tuple[str, ...] = ()
    capacities: tuple[str, ...] = ()
    patient_specific: bool = False
    note: str = ""
    """What a person should know, e.g. that nobody knows this reagent."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One batch's material: the donor, what arrives, what the order states."""

    donor: Donor
    arrivals: tuple[Arrival, ...]
    ordered: Mapping[str, str]
    """Each ordered value, as text."""
    containers: Mapping[str, str]
    """Every container by the recipe's name, those that are part of a kit too."""
    kits: Mapping[str, str]
    """Every kit by the recipe's name."""
    _brought: tuple[Callable[[World], None], ...] = field(repr=False)

    def bring_into(self, world: World) -> None:
        """Bring donor and material into the room, into people's hands."""
        world.add_donor(self.donor)
        for bring in self._brought:
            bring(world)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of this material."""
        return tuple(f"{one.name}: {one.note}" for one in self.arrivals if one.note)


def scenario_for(
    recipe: Mapping[str, Any],
    *,
    seed: int,
    batch: int = 1,
    donor: Donor | None = None,
    ordered: Mapping[str, str] | None = None,
    label_of: Callable[[str], str] | None = None,
) -> Scenario:
    """Return what stands in the room for one batch of a recipe.

    Args:
        recipe: The recipe's document, as its canonical JSON reads back.
        seed: Decides on the donor.
        batch: Its number; all its containers, kits and lots carry it.
        donor: Instead of the one that seed and batch give.
        ordered: What the order states, by name; the middle of its range where it is silent.
        label_of: Gives the label that is printed on a thing of a kind (``container``, ``kit``
            or ``sample``), by which it is known then; else names that tell batch and number.
    """
    patient = donor or random_donor(f"donor-{batch}", seed)
    stated = {**_middles(recipe), **(ordered or {})}
    making = _Making(batch=batch, donor=patient, ordered=stated, label_of=label_of)
    for material in recipe["materials"]:
        making.material(material)
    for kit in recipe["kits"]:
        making.kit(kit)
    return Scenario(
        donor=patient,
        arrivals=tuple(making.arrivals),
        ordered=stated,
        containers=making.containers,
        kits=making.kits,
        _brought=tuple(making.brought),
    )


@dataclass(slots=True)
class _Making:
    """A scenario while it is put together."""

    batch: int
    donor: Donor
    ordered: Mapping[str, str]
    label_of: Callable[[str], str] | None = None
    arrivals: list[Arrival] = field(default_factory=list[Arrival])
    containers: dict[str, str] = field(default_factory=dict[str, str])
    kits: dict[str, str] = field(default_factory=dict[str, str])
    brought: list[Callable[[World], None]] = field(default_factory=list[Callable[[World], None]])

    def material(self, told: Mapping[str, Any]) -> None:
        match told["material"]:
            case "patient_material":
                self._patient_material(told)
            case "reagent":
                self._reagent(told)
            case "empty_bag":
                self._empty(told, "empty", "bag")
            case "tube":
                self._empty(told, "sample_tube", "tube")
            case other:
                raise ValueError(f"no material of a recipe is {other!r}")

    def _patient_material(self, told: Mapping[str, Any]) -> None:
        name = str(told["name"])
        least = Volume.read(told["volume"]["lowest"])
        most = Volume.read(told["volume"]["highest"])
        is_marrow = "marrow" in name
        usual = Volume.of_base(round((MARROW_ML if is_marrow else APHERESIS_ML) * 1_000_000))
        volume = min(max(usual, least), most)
        volume_mL = volume.to(mL)

        def contents() -> Mixture:
            if is_marrow:
                return materials.marrow(self.donor, volume_mL=volume_mL)
            return materials.apheresis(self.donor, t_cells=APHERESIS_T_CELLS, volume_mL=volume_mL)

        known = is_marrow or "apheresis" in name
        self._container(
            name,
            what="patient_material",
            material="marrow" if is_marrow else "apheresis",
            kind="bag",
            volume=volume,
            capacity=_larger(volume),
            contents=contents,
            note="" if known else "its name tells nothing: an apheresis product is brought",
        )

    def _reagent(self, told: Mapping[str, Any]) -> None:
        volume = Volume.read(told["volume"])
        catalogue = str(told["catalogue"])
        made = REAGENTS.get(catalogue)

        def contents() -> Mixture:
            volume_mL = volume.to(mL)
            return materials.buffer(volume_mL) if made is None else made(volume_mL, self.ordered)

        self._container(
            str(told["name"]),
            what="reagent",
            material=catalogue,
            kind="bag",
            volume=volume,
            capacity=_larger(volume),
            contents=contents,
            in_use=str(told["in_use"]),
            patient_specific=bool(told["patient_specific"]),
            note="" if made else f"nobody knows {catalogue!r}: buffer is brought instead",
        )

    def _empty(self, told: Mapping[str, Any], what: str, usual: ContainerKind) -> None:
        catalogue = str(told["catalogue"])
        known = EMPTIES.get(catalogue)
        self._container(
            str(told["name"]),
            what=what,
            material=catalogue,
            kind=known or usual,
            note="" if known else f"nobody knows {catalogue!r}: a plain {usual} is brought instead",
            volume=Volume.of_base(0),
            capacity=Volume.read(told["capacity"]),
            contents=Mixture,
        )

    def _container(
        self,
        name: str,
        *,
        what: str,
        material: str,
        kind: ContainerKind,
        volume: Volume,
        capacity: Volume,
        contents: Callable[[], Mixture],
        in_use: str = "",
        patient_specific: bool = False,
        note: str = "",
    ) -> None:
        container = number = f"C-{self.batch:03}-{len(self.containers) + 1:02}"
        label = f"L-{container}"
        if self.label_of is not None:
            container = label = self.label_of("sample" if what == "sample_tube" else "container")
        from_lot = what == "reagent"
        self.containers[name] = container
        self.arrivals.append(
            Arrival(
                name=name,
                container=container,
                label=label,
                what=what,
                material=material,
                lot=f"LOT-{number}" if from_lot else "",
                in_use=in_use,
                shelf_life=SHELF_LIFE if from_lot else "",
                volume=str(volume),
                capacity=str(capacity),
                patient_specific=patient_specific,
                note=note,
            )
        )

        def bring(world: World) -> None:
            world.add_container(
                container,
                kind=kind,
                capacity_mL=capacity.to(mL),
                label=label,
                contents=contents(),
            )

        self.brought.append(bring)

    def kit(self, told: Mapping[str, Any]) -> None:
        kit = number = f"K-{self.batch:03}-{len(self.kits) + 1}"
        label = f"L-{kit}"
        if self.label_of is not None:
            kit = label = self.label_of("kit")
        catalogue = str(told["catalogue"])
        vessel_kind, area_cm2 = KITS.get(catalogue, ("culture_bag", 0.0))
        flush = Volume.read(told["flush_volume"])
        positions = ("vessel", "flush", "waste")
        self.kits[str(told["name"])] = kit
        for position in positions:
            self.containers[str(told[position])] = f"{kit}/{position}"
        self.arrivals.append(
            Arrival(
                name=str(told["name"]),
                container=kit,
                label=label,
                what="kit",
                material=catalogue,
                lot=f"LOT-{number}",
                shelf_life=SHELF_LIFE,
                positions=positions,
                volumes=("0 mL", str(flush), "0 mL"),
                capacities=(
                    str(told["capacity"]),
                    str(_larger(flush)),
                    str(told["waste_capacity"]),
                ),
                note=""
                if catalogue in KITS
                else f"nobody knows {catalogue!r}: a kit with a culture bag is brought",
            )
        )

        def bring(world: World) -> None:
            world.add_kit(
                kit,
                vessel_kind=vessel_kind,
                vessel_capacity_mL=Volume.read(told["capacity"]).to(mL),
                area_cm2=area_cm2,
                flush_mL=flush.to(mL),
                flush_capacity_mL=_larger(flush).to(mL),
                waste_capacity_mL=Volume.read(told["waste_capacity"]).to(mL),
                ports=tuple(told["ports"]),
                waste_port=told["ports"][-1],
                label=label,
                vessel_label=f"{label}/vessel",
                flush_label=f"{label}/flush",
                waste_label=f"{label}/waste",
            )

        self.brought.append(bring)


def _middles(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Return the middle of what each ordered value may be."""
    found: dict[str, str] = {}
    for one in recipe["ordered"]:
        lowest = Quantity.read(one["bounds"]["lowest"])
        highest = Quantity.read(one["bounds"]["highest"])
        found[str(one["name"])] = str(type(lowest).of_base((lowest.base + highest.base) // 2))
    return found


def _read(text: str) -> Quantity | None:
    try:
        return Quantity.read(text)
    except ValueError:
        return None


def _larger(volume: Volume) -> Volume:
    """Return the size of a bag that comes with ``volume`` in it, with room for a first dose."""
    return Volume.of_base(round(volume.base * LARGER) + 5_000_000)
