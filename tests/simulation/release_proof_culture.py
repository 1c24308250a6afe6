"""The culture through the whole engine: both published runs, a hundred donors, and what is missing.

Method: runs A and B and each donor are whole simulated batches, read by the emulated counter.
What happens without activation, vector or feeds, in the cold and with unlimited perfusion is
done on the World, with the volumes and days of the procedure (``tests/unit/world/cultures.py``):
no procedure that passes its check leaves these out.
"""

from __future__ import annotations

from math import log
from pathlib import Path
from statistics import median
from typing import Final

import pytest

from hw_mocks.world import Donor, materials, random_donor, run_a, run_b
from orchestrator.process_cell.simulation import simulate
from tests.release_proof import Measured, part
from tests.simulation.many import CAR_T, recipe_of
from tests.unit.world.cultures import t_cells
from tests.unit.world.lab import Lab

pytestmark = [pytest.mark.release_proof, pytest.mark.timeout(1200)]

DONORS: Final = 100
DONORS_A_PART: Final = 25
TYPICAL: Final = Donor("typical")
SEEDED: Final = 0.9e8


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
        }

    ran = part(f"culture, {name}", measure)
    assert ran["well"]
    assert ran["fold"] == pytest.approx(fold, rel=0.10)
    assert ran["engineered"] == pytest.approx(engineered, rel=0.10)


def _folds(folder: Path, first: int) -> list[float]:
    folds: list[float] = []
    for number in range(first, first + DONORS_A_PART):
        donor = random_donor(f"D{number}", 2026)
        outcome = simulate(recipe_of(CAR_T), folder / str(number), seed=number, donor=donor)
        assert outcome.is_well, outcome.still_open
        assert outcome.fold_expansion is not None
        folds.append(round(outcome.fold_expansion, 2))
    return folds


@pytest.mark.parametrize("first", range(0, DONORS, DONORS_A_PART))
def test_a_quarter_of_the_donors_run_well(tmp_path: Path, first: int) -> None:
    ran = part(f"culture, donors from {first:03d}", lambda: {"folds": _folds(tmp_path, first)})
    assert 42.0 < median(ran["folds"]) < 72.0


def test_what_is_missing_costs_what_was_published() -> None:
    def measure() -> Measured:
        whole = t_cells(TYPICAL, seeded=SEEDED)
        return {
            "fold": whole.fold,
            "fold_without_activation": t_cells(TYPICAL, seeded=SEEDED, activated=False).fold,
            "engineered_share_without_vector": t_cells(
                TYPICAL, seeded=SEEDED, vector=False
            ).car_share,
            "fold_without_feeds": t_cells(TYPICAL, seeded=SEEDED, fed=False).fold,
            "fold_with_a_day_at_34_degC": t_cells(TYPICAL, seeded=SEEDED, cool_on_day=6).fold,
            "doubling_time_h_perfused": _doubling_time_h(),
        }

    ran = part("culture, with something missing", measure)
    assert ran["fold_without_activation"] < 1.0
    assert ran["engineered_share_without_vector"] == 0.0
    assert ran["fold_without_feeds"] < 0.7 * ran["fold"]
    assert ran["fold_with_a_day_at_34_degC"] < ran["fold"]
    assert ran["doubling_time_h_perfused"] <= 22.0


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
