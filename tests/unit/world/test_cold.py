"""Cells survive a slow frost in DMSO, and little else."""

from __future__ import annotations

import pytest

from hw_mocks.world import Donor, materials
from tests.unit.world.lab import HOUR_S, Lab


def frozen(
    *, rate: float = 1.0, dmso: bool = True, waits_s: float = 300.0, at_s: float = 0.0
) -> tuple[Lab, float]:
    """Freeze a bag; return its lab and the share of viable cells that came through."""
    donor = Donor("ALPHA")
    lab = Lab(donor)
    lab.clock.wait(at_s)
    world = lab.world
    liquid = materials.selected_t_cells(donor, cells=2e9, volume_mL=20.0)
    world.add_container("C1", kind="cryobag", capacity_mL=60.0, contents=liquid)
    protectant = materials.cryo_medium(20.0, dmso_percent=20.0) if dmso else materials.buffer(20.0)
    bag = lab.bag(protectant)
    world.hands.inject(bag, "C1", 20.0, by="anna")
    lab.clock.wait(waits_s)
    world.hands.put("C1", "freezer", by="anna")
    lab.clock.wait(600.0)
    ends_s = world.ramp("freezer", rate_kelvin_per_min=rate, limit_degC=-45.0, by="F1")
    lab.clock.wait(ends_s - lab.clock.at_s + 60.0)
    ends_s = world.ramp("freezer", rate_kelvin_per_min=10.0, limit_degC=-90.0, by="F1")
    lab.clock.wait(ends_s - lab.clock.at_s + 60.0)
    world.hands.store("C1", "dewar/1", by="anna")
    lab.clock.wait(24 * HOUR_S)
    return lab, world.contents("C1").viable / 2e9


def test_slowly_in_dmso_nearly_all_come_through() -> None:
    lab, survived = frozen()
    assert 0.93 < survived < 0.95  # 95 % of those that the DMSO had left
    assert lab.world.temperature_of("C1") == pytest.approx(-150.0, abs=0.1)
    (froze,) = [e for e in lab.world.ledger if e.kind == "froze"]
    assert froze.consequence
    assert froze.by == "F1"
    assert froze.amount == pytest.approx(1.0, rel=0.1)


def test_fast_costs_many_and_no_dmso_nearly_all() -> None:
    _, slowly = frozen()
    _, fast = frozen(rate=10.0)
    _, unprotected = frozen(dmso=False)
    assert fast < 0.75 * slowly
    assert unprotected < 0.1


def test_time_in_dmso_at_room_temperature_costs_cells() -> None:
    _, soon = frozen(waits_s=300.0)
    _, late = frozen(waits_s=2 * HOUR_S)
    assert late < soon - 0.05


def test_nothing_happens_to_frozen_cells_and_thawing_is_noticed() -> None:
    lab, survived = frozen()
    lab.clock.wait(365 * 24 * HOUR_S)
    assert lab.world.contents("C1").viable / 2e9 == survived
    lab.world.hands.take("dewar/1", by="anna")
    lab.clock.wait(HOUR_S)
    lab.world.contents("C1")
    assert [e.kind for e in lab.world.ledger][-1] == "thawed"


def test_when_it_is_done_in_the_day_makes_little_difference() -> None:
    assert frozen(at_s=12_345.0)[1] == pytest.approx(frozen()[1], rel=0.01)
