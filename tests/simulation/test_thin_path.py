"""One transfer of patient material through all layers; judged by what is in which bag."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BATCH, KIT, begin, thin_cell


@pytest.mark.requirement("IDC-05")
def test_the_patients_cells_are_moved_into_the_vessel(tmp_path: Path) -> None:
    async def run() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await begin(engine)
                await engine.ended(BATCH)
                assert engine.core.state.batches[BATCH].status == "complete"
            vessel = cell.world.contents(f"{KIT}/vessel")
            assert vessel.volume_mL == pytest.approx(60, abs=0.5)

    run_in_virtual_time(run())
