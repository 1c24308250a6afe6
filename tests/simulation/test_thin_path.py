"""One transfer of patient material through all layers; judged by what is in which bag."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hw_mocks.emulator import Moment
from orchestrator.journal.events import (
    AnyEvent,
    AttemptSettled,
    EquipmentQuieted,
    PhaseEnded,
    PhaseStarted,
)
from orchestrator.journal.journal import Recorded, read_checkpoints
from orchestrator.journal.verify import verify
from orchestrator.kernel.quantities import mL
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BATCH, KIT, TRANSFERRED, begin, thin_cell


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


def test_what_a_phase_did_is_anchored_before_the_next_one_begins(tmp_path: Path) -> None:
    async def run() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine)
            await engine.ended(BATCH)
            events = list(engine.core.journal.events())
        anchored = [int(note.splitlines()[1]) for note in read_checkpoints(cell.journal_path)]
        ends = [one.seq for one in events if isinstance(one.event, PhaseEnded)]
        begins = [one.seq for one in events if isinstance(one.event, PhaseStarted)]
        assert len(ends) == len(begins) == 3
        for end, until in zip(ends, [*begins[1:], events[-1].seq + 1], strict=True):
            assert any(end <= size < until for size in anchored), (end, until, anchored)
        assert verify(cell.journal_path, tmp_path / "journal.pub").sound

    run_in_virtual_time(run())


@pytest.mark.requirement("PRC-09")
@pytest.mark.leaves_tasks("a crash drops tasks on purpose")
def test_a_dose_whose_software_died_is_halted_and_its_rest_pumped(tmp_path: Path) -> None:
    async def run() -> None:
        async with thin_cell(tmp_path) as cell:
            await _die_in_the_middle_of_the_dose(cell)
            await asyncio.sleep(10)  # of 90: it turns on meanwhile
            async with cell.engine() as engine:
                await engine.ended(BATCH)
                assert engine.core.state.batches[BATCH].status == "complete"
                events = list(engine.core.journal.events())
            moved = TRANSFERRED.to(mL)
            assert cell.world.contents(f"{KIT}/vessel").volume_mL == pytest.approx(moved, abs=0.5)
        _assert_halted_then_continued(events)

    run_in_virtual_time(run())


async def _die_in_the_middle_of_the_dose(cell: EmulatedCell) -> None:
    died = asyncio.get_running_loop().create_future()
    async with cell.engine() as engine:
        doses = 0

        def strike(equipment: str, moment: Moment, request: str) -> None:
            nonlocal doses
            del equipment, request
            doses += moment is Moment.MOVING
            if doses == 3 and not died.done():  # behind the rinse and the first dose
                cell.sever(engine)
                died.set_result(None)

        cell.room.emulators["P1"].on_moment = strike
        await begin(engine)
        await died
    cell.room.emulators["P1"].on_moment = None


def _assert_halted_then_continued(events: list[Recorded[AnyEvent]]) -> None:
    halts = [
        one.seq
        for one in events
        if isinstance(one.event, EquipmentQuieted) and one.event.equipment == "P1"
    ]
    assert halts, "it was left turning"
    settled = [(one.seq, one.event) for one in events if isinstance(one.event, AttemptSettled)]
    (part,) = ((seq, one) for seq, one in settled if one.verdict == "part")
    assert part[0] > max(halts)
    rest = next(one for seq, one in settled if seq > part[0])
    assert rest.command.split("#")[0] == part[1].command.split("#")[0]
    assert rest.verdict == "all"
