"""Goal: the batch record's figures are those that a second, independent reading finds.

Method: ``batch_recomputed`` reads the same rows as plain JSON and adds up in decimals. Two
journals: the thin path, and a whole CAR-T batch, which takes about ten seconds of wall time
since it runs twelve days through the real engine, drivers and emulators.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.cli.recipes import written_recipe
from orchestrator.kernel.quantities import Cells, Duration, Volume
from orchestrator.process_cell.simulation import simulate
from orchestrator.records.batch_record import BatchRecord, batch_record
from orchestrator.records.paper import WIDTH, on_paper
from orchestrator.records.record_model import IdentityEntry
from orchestrator.virtual_time import run_in_virtual_time
from tests.records.batch_recomputed import Recomputed, millilitres, recomputed, seconds_between
from tests.simulation.thin import BATCH, begin, thin_cell

CAR_T = Path(__file__).parents[2] / "protocols" / "car_t_twelve_day.py"


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory) -> tuple[BatchRecord, Recomputed]:
    """Return the thin path's record and its second reading."""
    folder = tmp_path_factory.mktemp("thin")

    async def run() -> None:
        async with thin_cell(folder) as cell, cell.engine() as engine:
            await begin(engine)
            await engine.ended(BATCH)

    run_in_virtual_time(run())
    journal = folder / "journal.sqlite"
    return batch_record(journal, BATCH), recomputed(journal, BATCH)


@pytest.fixture(scope="module")
def car_t(tmp_path_factory: pytest.TempPathFactory) -> tuple[BatchRecord, Recomputed]:
    """Return the record of a CAR-T batch and its second reading."""
    folder = tmp_path_factory.mktemp("car-t")
    outcome = simulate(written_recipe(CAR_T), folder, seed=1)
    journal = folder / "journal.sqlite"
    return batch_record(journal, outcome.batch), recomputed(journal, outcome.batch)


Both = tuple[BatchRecord, Recomputed]


@pytest.mark.requirement("BRR-03")
def test_the_thin_paths_figures_agree(thin: Both) -> None:
    _assert_agree(*thin)


@pytest.mark.requirement("BRR-03", "BRR-04")
@pytest.mark.timeout(120)
def test_a_car_t_batchs_figures_agree(car_t: Both) -> None:
    record, second = car_t
    _assert_agree(record, second)
    assert second.seeded is not None
    assert second.harvested is not None
    assert record.summary.cells_seeded
    seeded = Cells.read(record.summary.cells_seeded).base
    harvested = Cells.read(record.summary.viable_cells_harvested).base
    assert abs(seeded - second.seeded) <= 1  # the record counts whole cells
    assert abs(harvested - second.harvested) <= 1
    fold = second.harvested / second.seeded
    assert Decimal(record.summary.fold_expansion) == fold.quantize(Decimal("0.1"))


@pytest.mark.timeout(120)
def test_a_car_t_record_is_whole(car_t: Both) -> None:
    record, _ = car_t
    assert record.status == "complete"
    assert record.verification.sound
    assert not record.not_begun
    assert all(one.fits for one in record.signatures)
    assert {one.meaning for one in record.recipe.signatures} == {"authored", "reviewed", "approved"}
    assert len(record.counts) >= 5
    assert all(one.within for one in record.counts)
    assert all(one.scanned_back_at for one in record.labels)
    assert {one.formula for phase in record.procedure for one in phase.calculations} >= {
        "volume_holding/1",
        "volume_for_ratio/1",
        "cells_by_weight/1",
    }
    assert all(one.result for phase in record.procedure for one in phase.calculations)
    assert len(record.conditions) == 2
    assert all(len(one.hours) > 250 for one in record.conditions)
    filled = {one.target for one in record.genealogy.parts if one.kind == "split"}
    assert filled < {one.container for one in record.labels}
    assert {one.place for one in record.containers if one.container in filled} == {"dewar/1"}
    assert max(map(len, on_paper(record).splitlines())) <= WIDTH


def _assert_agree(record: BatchRecord, second: Recomputed) -> None:
    summary = record.summary
    assert summary.identity_checks == second.identity_checks
    assert summary.scanned == second.scanned
    assert summary.acts == len(second.acts)
    assert summary.attempts == second.attempts
    assert summary.signatures == second.signatures
    used = {one.container: millilitres(one.used) for one in record.materials if one.used}
    assert used == second.drawn
    moved = sum(Volume.read(one.moved).base for one in record.liquids)
    assert Decimal(moved) / 1_000_000 == sum(second.moved_in.values())
    assert [one.path for one in record.procedure] == list(second.phases)
    for phase in record.procedure:
        began, ended = second.phases[phase.path]
        assert (str(phase.started_at), str(phase.ended_at)) == (began, ended)
        length = Decimal(Duration.read(phase.duration).base) / 1000
        assert abs(length - seconds_between(began, ended)) < Decimal("0.001")
    counted = [(one.seq, Decimal(one.viable_density.split()[0])) for one in record.counts]
    assert counted == second.densities
    proofs = [
        one for phase in record.procedure for one in phase.entries if isinstance(one, IdentityEntry)
    ]
    assert len(proofs) == second.identity_checks
