"""The two processes, done on the World alone, with the volumes and days that the protocols use.

``T_CELL_FEEDS``: day -> (mL drawn off after a spin, mL of fresh medium).
``MSC_*``: days of a medium exchange in each passage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hw_mocks.world import Donor, Mixture, materials
from tests.unit.world.lab import AT_STATION_S, DAY_S, Lab

WASH_DAY = 3
T_CELL_FEEDS: Mapping[int, tuple[float, float]] = {
    WASH_DAY: (90.0, 150.0),
    5: (0.0, 250.0),
    7: (0.0, 500.0),
    8: (0.0, 600.0),
    9: (0.0, 300.0),
    10: (900.0, 900.0),
    11: (900.0, 900.0),
}
HARVEST_DAY = 12
MOI = 5.0
ACTIVATOR_ML_PER_CELL = 17.5e-3 / 1.0e7
REAGENT_ML = 20.0
"""Small doses are diluted to this, since a port's tail keeps half a millilitre of them."""


@dataclass(frozen=True)
class Harvest:
    """What the vessel held at harvest, as the World knows it and as a counter read it."""

    lab: Lab
    fold: float
    car_share: float
    viability: float
    counted_cells: float
    counted_car: float


def t_cells(
    donor: Donor,
    *,
    seeded: float,
    activated: bool = True,
    vector: bool = True,
    fed: bool = True,
    cool_on_day: int | None = None,
    seed: int = 1,
    look_every_s: float | None = None,
) -> Harvest:
    """Run twelve days from selected T cells to harvest."""
    lab = Lab(donor, seed=seed)
    world = lab.world
    world.add_kit("K1", place="station")
    lab.add(materials.selected_t_cells(donor, cells=seeded, volume_mL=20.0))
    lab.add(materials.medium(70.0))
    if activated:
        lab.add(diluted(materials.activator(ACTIVATOR_ML_PER_CELL * seeded)))
    lab.add(materials.medium(10.0))
    lab.clock.wait(AT_STATION_S)
    lab.put("incubator/1")
    for day in range(1, HARVEST_DAY):
        wait(lab, day, look_every_s)
        if cool_on_day is not None and day in (cool_on_day, cool_on_day + 1):
            target = 34.0 if day == cool_on_day else 37.0
            world.set_climate("incubator", temperature_degC=target, by="I1")
        feed = T_CELL_FEEDS.get(day) if fed or day == WASH_DAY else None
        if feed is None and day != 1:
            continue
        lab.put("station")
        if day == 1:
            if vector:
                lab.add(diluted(materials.vector(1.0, titer_tu_per_mL=MOI * seeded)))
            lab.add(materials.medium(10.0))
        elif feed is not None:
            drawn_mL, fresh_mL = feed
            if drawn_mL > 0.0:
                lab.spin_and_draw_off(drawn_mL)
            lab.add(materials.medium(fresh_mL))
            world.add_container(f"T{day}", kind="tube", capacity_mL=2.0)
            world.hands.draw_sample(lab.vessel, f"T{day}", 500.0, by="technician")
        lab.clock.wait(AT_STATION_S)
        lab.put("incubator/1")
    wait(lab, HARVEST_DAY, look_every_s)
    held = world.contents(lab.vessel)
    world.add_container("T-harvest", kind="tube", capacity_mL=2.0)
    world.hands.draw_sample(lab.vessel, "T-harvest", 500.0, by="technician")
    counted = world.analyse("N1", "T-harvest", drawn_uL=100.0, by="N1")
    return Harvest(
        lab=lab,
        fold=held.viable / seeded,
        car_share=held.car / held.viable,
        viability=held.viability,
        counted_cells=counted.viable_per_mL * held.volume_mL,
        counted_car=counted.car_share,
    )


def diluted(reagent: Mixture) -> Mixture:
    """Return a reagent made up with medium."""
    reagent.add(materials.medium(REAGENT_ML - reagent.volume_mL))
    return reagent


def wait(lab: Lab, day: int, look_every_s: float | None) -> None:
    """Wait for a day, with somebody looking now and then."""
    if look_every_s is not None:
        while lab.clock.at_s + look_every_s < day * DAY_S:
            lab.clock.wait(look_every_s)
            lab.world.contents(lab.vessel)
    lab.clock.until_day(day)


MSC_FIRST_EXCHANGES = (3, 6, 9, 11)
MSC_PASSAGE_DAY = 13
MSC_SECOND_EXCHANGES = (16, 18, 20)
MSC_HARVEST_DAY = 21


def msc(donor: Donor, *, left_out: int | None = None, seed: int = 1) -> float:
    """Run marrow through two passages; return the MSC in the harvest bag.

    ``left_out`` is the day of a medium exchange that nobody made.
    """
    lab = Lab(donor, seed=seed)
    world = lab.world
    lab.kit = "K1"
    world.add_kit(
        "K1",
        vessel_kind="adherent_vessel",
        vessel_capacity_mL=700.0,
        area_cm2=2100.0,
        place="station",
    )
    world.add_kit(
        "K2",
        vessel_kind="adherent_vessel",
        vessel_capacity_mL=2100.0,
        area_cm2=21_000.0,
        place="shelf",
    )
    lab.add(materials.marrow(donor, volume_mL=25.0))
    lab.add(materials.msc_medium(540.0))
    lab.put("incubator/1")
    _exchanges(lab, MSC_FIRST_EXCHANGES, 500.0, left_out)
    lab.clock.until_day(MSC_PASSAGE_DAY)
    _detach(lab, 100.0)
    lab.collect("passage")
    lab.put("shelf")
    lab.kit = "K2"
    lab.put("station")
    world.hands.weld("passage", "K2", "p1", by="technician")
    lab.pump("p1", "vessel", 400.0)
    world.hands.seal_off("passage", by="technician")
    lab.add(materials.msc_medium(1700.0))
    lab.put("incubator/1")
    _exchanges(lab, MSC_SECOND_EXCHANGES, 1500.0, left_out)
    lab.clock.until_day(MSC_HARVEST_DAY)
    _detach(lab, 400.0)
    lab.collect("harvest")
    harvested = world.contents("harvest").cells
    return sum(view.viable for view in harvested if view.phenotype == "msc")


def _exchanges(lab: Lab, days: tuple[int, ...], volume_mL: float, left_out: int | None) -> None:
    for day in days:
        lab.clock.until_day(day)
        if day == left_out:
            continue
        lab.put("station")
        lab.pump("p6", "vessel", volume_mL, forward=False)
        lab.add(materials.msc_medium(volume_mL))
        lab.clock.wait(AT_STATION_S)
        lab.put("incubator/1")


def _detach(lab: Lab, enzyme_mL: float) -> None:
    """Draw off the medium, rinse, detach for fifteen minutes in the incubator, stop with medium."""
    lab.put("station")
    lab.pump("p6", "vessel", 3000.0, forward=False)
    lab.add(materials.buffer(enzyme_mL))
    lab.pump("p6", "vessel", 3000.0, forward=False)
    lab.add(materials.enzyme(enzyme_mL))
    lab.put("incubator/1")
    lab.clock.wait(900.0)
    lab.put("station")
    lab.add(materials.msc_medium(enzyme_mL))
