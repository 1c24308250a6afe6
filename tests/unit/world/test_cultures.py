"""Cells grow as the published runs did, by one law, and stop growing when something is missing.

Method: do both processes on the World alone (``cultures.py``) and compare with the run tables: S4
runs A and B, S5, S114 and S38 of ``docs/explanation/world.md``. What the engine makes of the same
processes is tested elsewhere.
"""

from __future__ import annotations

from functools import cache
from math import log
from statistics import median
from time import perf_counter

import pytest

from hw_mocks.world import Donor, materials, parameters, random_donor, run_a, run_b
from hw_mocks.world.culture import car_share, warmth
from tests.unit.world.cultures import msc, t_cells
from tests.unit.world.lab import DAY_S, Lab

TYPICAL = Donor("typical")
SEEDED = 0.9e8


@pytest.mark.parametrize(
    ("donor", "seeded", "fold", "engineered"),
    [(run_a("A"), 0.84e8, 68.3, 4.5e9), (run_b("B"), 0.91e8, 71.4, 3.6e9)],
    ids=["run A", "run B"],
)
def test_both_published_runs_come_out_as_published(
    donor: Donor, seeded: float, fold: float, engineered: float
) -> None:
    harvest = t_cells(donor, seeded=seeded)
    assert harvest.fold == pytest.approx(fold, rel=0.02)
    assert harvest.fold * harvest.car_share * seeded == pytest.approx(engineered, rel=0.03)
    assert harvest.counted_cells / seeded == pytest.approx(fold, rel=0.10)
    assert harvest.counted_cells * harvest.counted_car == pytest.approx(engineered, rel=0.10)
    assert harvest.viability > 0.95


def test_the_median_of_forty_donors_lies_where_the_published_ones_do() -> None:
    """A hundred, through engine and counter, are among the proofs before a release."""
    runs = [t_cells(random_donor(f"D{n}", 2026), seeded=SEEDED) for n in range(40)]
    assert 42.0 < median(run.fold for run in runs) < 72.0
    assert 0.34 < median(run.car_share for run in runs) < 0.61


def test_without_activation_nothing_grows() -> None:
    assert t_cells(TYPICAL, seeded=SEEDED, activated=False).fold < 1.0


def test_without_vector_nothing_is_engineered() -> None:
    harvest = t_cells(TYPICAL, seeded=SEEDED, vector=False)
    assert harvest.car_share == 0.0
    assert harvest.counted_car == 0.0
    assert harvest.fold > 40.0


def test_without_feeds_the_culture_yields_at_least_30_percent_less() -> None:
    fed = t_cells(TYPICAL, seeded=SEEDED)
    assert t_cells(TYPICAL, seeded=SEEDED, fed=False).fold < 0.7 * fed.fold


def test_a_day_at_34_degrees_costs_cells() -> None:
    warm = t_cells(TYPICAL, seeded=SEEDED)
    for day in (2, 6, 10):
        assert t_cells(TYPICAL, seeded=SEEDED, cool_on_day=day).fold < 0.98 * warm.fold


def test_unlimited_perfusion_doubles_at_least_each_22_hours_from_the_first_hour() -> None:
    lab = Lab(TYPICAL)
    world = lab.world
    world.add_kit("K1", place="station")
    lab.add(materials.selected_t_cells(TYPICAL, cells=SEEDED, volume_mL=20.0))
    lab.add(materials.activator(5.0))
    lab.add(materials.medium(500.0))
    seeded = world.contents("K1/vessel").viable
    world.perfuse("K1/vessel", True, "anna")
    lab.put("incubator/1")
    lab.clock.until_day(8.5)
    fold = world.contents("K1/vessel").viable / seeded
    assert fold > 500.0
    assert (lab.clock.at_s / 3600.0) * log(2.0) / log(fold) < 22.0


def test_twelve_days_looked_at_each_minute_take_no_time_and_give_the_same_cells() -> None:
    begun = perf_counter()
    looked_at = t_cells(TYPICAL, seeded=SEEDED, look_every_s=60.0)
    took_s = perf_counter() - begun
    assert looked_at.fold == t_cells(TYPICAL, seeded=SEEDED).fold
    assert took_s < 2.0, "0.3 s on an idle machine"


def test_copies_are_spread_wider_than_by_chance() -> None:
    # Mean copies per cell that each published CAR+ share and copy number per CAR+ cell imply.
    for share, per_positive in ((0.260, 1.45), (0.419, 2.32), (0.397, 2.51)):
        assert car_share(share * per_positive) == pytest.approx(share, abs=0.04)
    assert car_share(0.0) == 0.0


def test_growth_is_best_at_37_degrees_and_nil_in_the_cold_and_the_heat() -> None:
    assert warmth(37.0) == pytest.approx(1.0)
    assert 0.4 < warmth(34.0) < 0.8
    assert warmth(21.0) == warmth(42.0) == 0.0


def test_each_parameter_has_a_unit_and_a_source() -> None:
    found = [held for held in vars(parameters).values() if isinstance(held, parameters.Parameter)]
    assert len(found) > 50
    for parameter in found:
        assert parameter.unit
        assert len(parameter.source) > 2


@cache
def with_all_exchanges() -> float:
    return msc(TYPICAL)


def test_marrow_becomes_as_many_cells_as_published_after_21_days() -> None:
    assert with_all_exchanges() == pytest.approx(6.6e8, rel=0.25)


@pytest.mark.parametrize("day", [3, 6, 9, 11, 16, 18, 20])
def test_a_medium_exchange_left_out_ends_lower(day: int) -> None:
    assert msc(TYPICAL, left_out=day) < 0.98 * with_all_exchanges()


def test_cells_on_a_surface_stop_when_it_is_full() -> None:
    lab = Lab(TYPICAL)
    world = lab.world
    world.add_kit("K1", vessel_kind="adherent_vessel", area_cm2=100.0, place="station")
    lab.add(materials.marrow(TYPICAL, volume_mL=25.0))
    lab.add(materials.msc_medium(1000.0))
    lab.put("incubator/1")
    world.perfuse("K1/vessel", True, "anna")
    lab.clock.wait(30 * DAY_S)
    assert 0.9 < world.confluence("K1/vessel") <= 1.0
    assert world.hands.inspect_confluence("K1/vessel") == world.confluence("K1/vessel")


def test_enzyme_detaches_and_medium_stops_it() -> None:
    lab = Lab(TYPICAL)
    world = lab.world
    world.add_kit("K1", vessel_kind="adherent_vessel", area_cm2=2100.0, place="station")
    lab.add(materials.marrow(TYPICAL, volume_mL=25.0))
    lab.add(materials.msc_medium(500.0))
    lab.put("incubator/1")
    lab.clock.wait(3 * DAY_S)
    lab.put("station")
    lab.pump("p6", "vessel", 600.0, forward=False)
    stuck = world.contents("K1/vessel")
    assert stuck.attached == pytest.approx(stuck.viable, rel=0.01)
    lab.add(materials.enzyme(100.0))
    lab.put("incubator/1")
    lab.clock.wait(900.0)
    assert world.contents("K1/vessel").attached < 0.1 * stuck.attached
    lab.put("station")
    lab.add(materials.msc_medium(100.0))
    lab.clock.wait(1800.0)
    assert world.contents("K1/vessel").solutes["enzyme_units"] < 1.0
