"""Goal: the batch record's figures are those that a second, independent reading finds.

Method: ``batch_recomputed`` reads the same rows as plain JSON and adds up in decimals. Here the
thin path; whole batches of both processes in ``tests/simulation/test_batches.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.records.batch_record import batch_record
from orchestrator.virtual_time import run_in_virtual_time
from tests.records.agreement import assert_agree
from tests.records.batch_recomputed import recomputed
from tests.simulation.thin import BATCH, begin, thin_cell


@pytest.mark.requirement("BRR-03")
def test_the_thin_paths_figures_agree(tmp_path: Path) -> None:

    async def run() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine)
            await engine.ended(BATCH)

    run_in_virtual_time(run())
    journal = tmp_path / "journal.sqlite"
    assert_agree(batch_record(journal, BATCH), recomputed(journal, BATCH))
