"""The culture through the whole engine: both published runs, a hundred donors, and what is missing.

Method: each is a whole simulated batch, read by the emulated counter. What happens without
activation, vector or feeds, with a cold day, or with one exchange of medium left out is run from
an author's file that leaves it out (``left_out.py``). No phase perfuses without limit: that alone
is done on the World, whose quick tests stand in ``tests/unit/world/test_cultures.py``.
"""

from __future__ import annotations

from math import log
from pathlib import Path
from statistics import median
from typing import Final

import pytest

from hw_mocks.world import Donor, materials, random_donor, run_a, run_b
from orchestrator.kernel.quantities import Volume, mL
from orchestrator.process_cell.simulation import Outcome, VesselCount, simulate
from orchestrator.recipe.model import Recipe
from tests.release_proof import Measured, kept, part
from tests.simulation.left_out import (
    car_t_till_the_count,
    car_t_with_a_day_at_34,
    car_t_without_activation,
    car_t_without_feeds,
    car_t_without_vector,
    msc_without_an_exchange,
)
from tests.simulation.many import CAR_T, MSC, recipe_of
from tests.unit.world.lab import Lab

pytestmark = [pytest.mark.release_proof, pytest.mark.timeout(1200)]

DONORS: Final = 100
DONORS_A_PART: Final = 25
FIRST_DONORS: Final = range(0, DONORS, DONORS_A_PART)
TYPICAL: Final = Donor("typical")
SEEDED: Final = 90_000_000
SEEDED_AS: Final = "90000000 cells"
WASHED: Final = 0.98
"""Two spins lose about 2 % (S36: 86 % or more are recovered)."""
FROZEN: Final = 0.90
"""DMSO and frost cost about 10 % (S100, S104)."""
BAGS: Final = 3
LEFT_IN_THE_LINE_ML: Final = 1.0
"""What of a bag's filling is buffer out of the line, or stays in its tube."""
CRYO_ML: Final = 50.0


@pytest.mark.parametrize(
    ("name", "donor", "seeded", "fold", "engineered"),
    [
        ("run A", run_a("donor-1"), "84000000 cells", 68.0, 4.5e9),
        ("run B", run_b("donor-1"), "91000000 cells", 71.0, 3.6e9),
    ],
)
def test_both_published_runs_come_out_within_10_percent(
    tmp_path: Path, name: str, donor: Donor, seeded: str, fold: float, engineered: float
) -> None:
    def measure() -> Measured:
        outcome = simulate(
            recipe_of(CAR_T), tmp_path, seed=1, donor=donor, ordered={"cells to seed": seeded}
        )
        counted = outcome.largest_count
        assert counted is not None
        return {
            "fold": outcome.fold_expansion,
            "engineered": counted.engineered_cells,
            "well": outcome.is_well,
            "stored": outcome.viable_cells_out,
            "stored_by_the_recoveries": counted.cells.base * _kept_of(outcome),
        }

    ran = part(f"culture, {name}", measure)
    assert ran["well"]
    assert ran["fold"] == pytest.approx(fold, rel=0.10)
    assert ran["engineered"] == pytest.approx(engineered, rel=0.10)
    assert ran["stored"] == pytest.approx(ran["stored_by_the_recoveries"], rel=0.10)


def _kept_of(outcome: Outcome) -> float:
    """Return which share of the cells before harvest the stored bags should hold alive."""
    bags = [act for act in outcome.comparison.acts if act.path.endswith("fill-and-seal")]
    filled = [Volume.read(act.asked) for act in bags if act.kind == "pump_volume"]
    assert len(filled) == BAGS
    cells_mL = sum(one.to(mL) for one in filled) - BAGS * LEFT_IN_THE_LINE_ML
    whole_mL = outcome.counts[-1].volume.to(mL) + CRYO_ML
    return WASHED * cells_mL / whole_mL * FROZEN


def _folds(folder: Path, first: int) -> list[float]:
    folds: list[float] = []
    for number in range(first, first + DONORS_A_PART):
        donor = random_donor(f"D{number}", 2026)
        outcome = simulate(recipe_of(CAR_T), folder / str(number), seed=number, donor=donor)
        assert outcome.is_well, outcome.still_open
        assert outcome.fold_expansion is not None
        folds.append(round(outcome.fold_expansion, 2))
    return folds


@pytest.mark.parametrize("first", FIRST_DONORS)
def test_a_quarter_of_the_donors_run_well_and_the_median_is_as_published(
    tmp_path: Path, first: int
) -> None:
    ran = part(_quarter(first), lambda: {"folds": _folds(tmp_path, first)})
    assert len(ran["folds"]) == DONORS_A_PART
    quarters = [kept(_quarter(one)) for one in FIRST_DONORS]
    folds = [fold for one in quarters if one is not None for fold in one["folds"]]
    if len(folds) == DONORS:  # whichever quarter is run last looks at all of them
        whole = part("culture, all donors", lambda: _spread(folds))
        assert 42.0 < whole["median_fold"] < 72.0


def _quarter(first: int) -> str:
    return f"culture, donors from {first:03d}"


def _spread(folds: list[float]) -> Measured:
    return {
        "donors": len(folds),
        "median_fold": median(folds),
        "lowest_fold": min(folds),
        "highest_fold": max(folds),
    }


def _before_harvest(folder: Path, recipe: Recipe) -> VesselCount:
    """Return the last count of a batch of the typical donor's cells."""
    outcome = simulate(recipe, folder, seed=1, donor=TYPICAL, ordered={"cells to seed": SEEDED_AS})
    assert outcome.is_well, outcome.still_open
    return outcome.counts[-1]


def test_what_is_left_out_costs_what_was_published(tmp_path: Path) -> None:
    def measure() -> Measured:
        counts = {
            name: _before_harvest(tmp_path / name, recipe())
            for name, recipe in (
                ("nothing", car_t_till_the_count),
                ("activation", car_t_without_activation),
                ("vector", car_t_without_vector),
                ("feeds", car_t_without_feeds),
                ("a_warm_day", car_t_with_a_day_at_34),
            )
        }
        return {
            **{f"fold_without_{name}": one.cells.base / SEEDED for name, one in counts.items()},
            "engineered_without_nothing": counts["nothing"].engineered,
            "engineered_without_vector": counts["vector"].engineered,
        }

    ran = part("culture, with something left out", measure)
    assert ran["fold_without_activation"] < 1.0
    assert ran["engineered_without_nothing"] != "0 %"
    assert ran["engineered_without_vector"] == "0 %"
    assert ran["fold_without_feeds"] < 0.7 * ran["fold_without_nothing"]
    assert ran["fold_without_a_warm_day"] < 0.98 * ran["fold_without_nothing"]


def test_marrow_ends_as_published_and_lower_with_one_exchange_left_out(tmp_path: Path) -> None:
    def measure() -> Measured:
        figures: dict[str, float] = {}
        for name, recipe in (
            ("whole", recipe_of(MSC)),
            ("without_exchange", msc_without_an_exchange()),
        ):
            outcome = simulate(recipe, tmp_path / name, seed=1, donor=TYPICAL)
            assert outcome.is_well, outcome.still_open
            figures[f"cells_{name}"] = outcome.counts[-1].cells.base
            figures[f"days_{name}"] = round(outcome.virtual_days, 2)
        return figures

    ran = part("culture, marrow", measure)
    assert ran["cells_whole"] == pytest.approx(6.6e8, rel=0.25)
    assert 20.0 < ran["days_whole"] < 23.0
    assert ran["cells_without_exchange"] < 0.98 * ran["cells_whole"]


def test_with_unlimited_perfusion_cells_double_within_22_hours() -> None:
    ran = part("culture, perfused", lambda: {"doubling_time_h": _doubling_time_h()})
    assert ran["doubling_time_h"] <= 22.0


def _doubling_time_h() -> float:
    """Return the doubling time over eight and a half days of medium that never runs out."""
    lab = Lab(TYPICAL)
    lab.world.add_kit("K1", place="station")
    lab.add(materials.selected_t_cells(TYPICAL, cells=SEEDED, volume_mL=20.0))
    lab.add(materials.activator(5.0))
    lab.add(materials.medium(500.0))
    seeded = lab.world.contents(lab.vessel).viable
    lab.world.perfuse(lab.vessel, True, "technician")
    lab.put("incubator/1")
    lab.clock.until_day(8.5)
    fold = lab.world.contents(lab.vessel).viable / seeded
    return lab.clock.at_s / 3600.0 * log(2.0) / log(fold)
