"""Batches side by side: nothing of one is ever written into another's record."""

from __future__ import annotations

from pathlib import Path

import pytest

from hw_mocks.world.things import Stay
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.simulation import REFERENCE_CELL
from tests.simulation.many import (
    CAR_T,
    missing_from,
    recipe_of,
    run_apart,
    shared_places,
    strangers_in,
)


@pytest.mark.timeout(300)
@pytest.mark.requirement("IDC-04")
def test_eight_batches_on_eight_cells_keep_to_their_own_records(tmp_path: Path) -> None:
    records = run_apart(tmp_path, recipe_of(CAR_T), range(1, 9), seed=1, days=2.0)
    assert len({one.merkle_root for one in records}) == 8
    for one in records:
        assert one.status == "running"
        assert (one.repeated, one.lost) == (0, 0)
        assert missing_from(one) == []
        assert strangers_in(one, records) == []
        assert one.kinds["phase_ended"] > 20, "two days hold selection, seeding, transduction"


@pytest.mark.requirement("IDC-07")
def test_two_patients_at_one_place_or_in_one_unit_are_seen() -> None:
    config = load_cell(REFERENCE_CELL).config

    def shared(*stays: Stay) -> int:
        return len(shared_places(stays, config))

    at_station = Stay("station", "K-001-1", ("donor-1",), 0.0, 100.0)
    assert shared(at_station, Stay("station", "K-002-1", ("donor-2",), 100.0, None)) == 0
    assert shared(at_station, Stay("station", "K-002-1", ("donor-2",), 90.0, None)) == 1
    assert shared(at_station, Stay("hook", "C-002-01", ("donor-2",), 50.0, 60.0)) == 1
    assert shared(at_station, Stay("hook", "C-001-01", ("donor-1",), 50.0, 60.0)) == 0
    kept = Stay("incubator/1", "K-001-1", ("donor-1",), 0.0, None)
    assert shared(kept, Stay("incubator/2", "K-002-1", ("donor-2",), 0.0, None)) == 0
    assert shared(kept, Stay("incubator/1", "K-002-1", ("donor-2",), 5.0, None)) == 1
    away = Stay("quality control", "K-001-1", ("donor-1",), 0.0, None)
    assert shared(away, Stay("quality control", "K-002-1", ("donor-2",), 5.0, None)) == 0
