"""A whole batch of each procedure, through engine, drivers and emulators, judged by the room."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hw_mocks.world import Donor, run_a
from orchestrator.journal.events import EVENTS
from orchestrator.journal.journal import read_events
from orchestrator.kernel.quantities import Volume, day
from orchestrator.process_cell.simulation import BATCH, simulate
from orchestrator.records.batch_record import BatchRecord, batch_record
from orchestrator.records.record_model import IdentityEntry
from tests.pace import times_slower
from tests.records.agreement import (
    assert_agree,
    assert_cells_agree,
    assert_rests_on_weight,
    assert_whole,
)
from tests.records.batch_recomputed import recomputed
from tests.simulation.many import CAR_T, MSC, recipe_of

pytestmark = pytest.mark.timeout(300)  # seconds on an idle machine; tests run beside others

ROOT = Path(__file__).parents[2]
KEPT_KINDS = ("condition_edge", "keep_summary", "trace_sealed")
SENSORS_IN_A_DAY = 3
EVENTS_IN_A_DAY_MOST = 200
RECORD_BYTES_MOST = 20_000_000
CPU_S_MOST = 20.0

ROOT_OF = """
import sys, tempfile
from pathlib import Path
from tests.simulation.many import CAR_T, recipe_of, run_apart
with tempfile.TemporaryDirectory() as folder:
    ran = run_apart(Path(folder), recipe_of(CAR_T), [1], seed=int(sys.argv[1]), days=1.5)
    print(ran[0].merkle_root)
"""


def assert_carried_proofs_name_their_scans(record: BatchRecord) -> None:
    proofs = [
        one for phase in record.procedure for one in phase.entries if isinstance(one, IdentityEntry)
    ]
    scans = {f"carried from {one.seq}": one.container for one in proofs if one.scanner}
    carried = [one for one in proofs if not one.scanner]
    assert carried, "an arm takes a kit out of the incubator while nobody is there"
    assert all(scans[one.rests_on] == one.container for one in carried)
    assert all(one.place != "station" for one in carried), "there the fixed scanner looks"


def assert_material_adds_up(record: BatchRecord) -> None:
    """Compare the accounts with the engine's ledger.

    The ledger counts what the pump says. The account rests on weight where that is better, so
    they agree within the account's own error; exactly, it is recomputed in ``tests/records``.
    """
    found = record.genealogy
    held = {one.container: one.volume for one in record.containers}
    assert found.never_received == ()
    assert {one.kind for one in found.parts} >= {"sample", "split"}
    for one in found.accounts:
        came_in, went_out, lost, unexplained, left = (
            Volume.read(text).base
            for text in (one.came_in, one.went_out, one.lost, one.unexplained, one.held)
        )
        assert came_in - went_out - lost - unexplained == left
        error = Volume.read(one.error).base if one.error else 0
        assert abs(left - Volume.read(held[one.container]).base) <= error, one
        assert not one.discrepancies, one
    products = [one.target for one in found.parts if one.kind == "split"]
    donations = {one.container: one.donations for one in found.accounts}
    assert all(len(donations[one]) == 1 for one in products), "each product leads to its donation"


@pytest.mark.requirement("PRC-09", "IDC-10", "BRR-03", "BRR-04")
def test_run_a_of_the_car_t_process_comes_out_as_published(tmp_path: Path) -> None:
    begun_s = time.process_time()
    outcome = simulate(
        recipe_of(CAR_T),
        tmp_path,
        seed=1,
        donor=run_a("donor-1"),
        ordered={"cells to seed": "84000000 cells"},
    )
    took_s = (time.process_time() - begun_s) / times_slower()
    assert outcome.status == "complete", outcome.still_open
    assert (outcome.comparison.repeated_acts, outcome.comparison.lost_acts) == (0, 0)
    assert outcome.verdict.sound
    assert outcome.holds == 0
    assert 12.0 <= outcome.virtual_days < 13.0

    cleared = [
        event
        for event in (one.event for one in read_events(tmp_path / "journal.sqlite", EVENTS))
        if event.kind == "lease_released" and event.clearance == "two people"
    ]
    assert [len({by.signer for by in one.signatures}) for one in cleared] == [2]

    before_harvest = outcome.largest_count
    assert before_harvest is not None
    assert outcome.fold_expansion == pytest.approx(68.0, rel=0.10)
    assert before_harvest.engineered_cells == pytest.approx(4.5e9, rel=0.10)
    record = batch_record(tmp_path / "journal.sqlite", str(BATCH))
    assert_material_adds_up(record)
    assert_carried_proofs_name_their_scans(record)
    second = recomputed(tmp_path / "journal.sqlite", BATCH)
    assert_agree(record, second)
    assert_cells_agree(record, second)
    assert_whole(record)
    assert_rests_on_weight(record)
    assert took_s <= CPU_S_MOST, "of the processor's time: what else runs here doesn't count"

    events = list(read_events(tmp_path / "journal.sqlite", EVENTS))
    watched = [one for one in events if one.event.kind in KEPT_KINDS]
    sensors = {one.event.equipment for one in watched if one.event.kind == "trace_sealed"}
    days = (watched[-1].at - watched[0].at).to(day)
    assert len(watched) / days / len(sensors) * SENSORS_IN_A_DAY <= EVENTS_IN_A_DAY_MOST
    kept = sum(one.stat().st_size for one in tmp_path.glob("journal.sqlite*"))
    assert kept < RECORD_BYTES_MOST


def test_marrow_becomes_a_dose_of_stromal_cells_in_21_days(tmp_path: Path) -> None:
    outcome = simulate(recipe_of(MSC), tmp_path, seed=1, donor=Donor("donor-1"))
    assert outcome.status == "complete", outcome.still_open
    assert (outcome.comparison.repeated_acts, outcome.comparison.lost_acts) == (0, 0)
    assert outcome.verdict.sound
    assert 20.0 < outcome.virtual_days < 23.0
    washed = outcome.largest_count
    assert washed is not None
    assert washed.cells.base == pytest.approx(6.6e8, rel=0.25)
    record = batch_record(tmp_path / "journal.sqlite", str(BATCH))
    assert_material_adds_up(record)
    assert_carried_proofs_name_their_scans(record)
    assert_agree(record, recomputed(tmp_path / "journal.sqlite", BATCH))
    assert 0.6 * washed.cells.base < outcome.viable_cells_out < washed.cells.base


def test_a_seed_gives_one_root_whatever_the_hash_seed_and_another_seed_another() -> None:
    def started(seed: int, hash_seed: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", ROOT_OF, str(seed)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            stdout=subprocess.PIPE,
            text=True,
        )

    running = [started(7, 1), started(7, 2), started(8, 1)]
    roots = [one.communicate()[0].strip() for one in running]
    assert [one.returncode for one in running] == [0, 0, 0]
    assert len(roots[0]) == 64
    assert roots[0] == roots[1]
    assert roots[0] != roots[2]
