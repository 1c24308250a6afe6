"""A disk that says it has written and hasn't: found at the next start, and nothing is repeated.

Method: from the moment before the dose of the thin path on, each sync lies; the batch goes on to
its end, and the power is cut. What is left is the journal as it was before the dose. A witness that
was told meanwhile knows of more, and the start is refused. Without one the journal is sound, ends
early and says so; the pump's own count disagrees, and the procedure is held.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from hw_mocks.ledger_record import ledger_of
from orchestrator.engine.phase_state import PhaseState
from orchestrator.journal.checkpoints import PublicKey
from orchestrator.journal.events import EVENTS, AnyEvent, OutsideActSeen, PhaseStarted
from orchestrator.journal.journal import Recorded, read_checkpoints, read_events
from orchestrator.journal.verify import verify
from orchestrator.journal.witness import Witness, WitnessContradictsError
from orchestrator.process_cell.emulated import HOST, EmulatedCell, open_journal
from orchestrator.proof.disk import Disk, Failure, put_image
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BATCH, begin, thin_cell

pytestmark = [
    pytest.mark.leaves_tasks("engines are left as a power cut leaves them"),
    pytest.mark.requirement("PRC-09"),
]

DAY_S = 86_400


async def power_cut_after_lies(
    cell: EmulatedCell, disk: Disk, witness: Path, failure: Failure | None
) -> int:
    """Run the batch over a lying disk, cut the power, put back what is left; return the events."""
    public = PublicKey.read((cell.folder / "journal.pub").read_text())
    copying = Witness(witness, HOST, public, known=False)

    def lie(recorded: Recorded[AnyEvent]) -> None:
        event = recorded.event
        if failure and isinstance(event, PhaseStarted) and "03-transfer" in event.path:
            disk.fail(failure, at=disk.points + 1, times=None)

    async with cell.engine() as engine:
        engine.core.listeners.append(lie)
        engine.core.journal.at_checkpoint(lambda note: copying.take((note,)))
        await begin(engine)
        await engine.ended(BATCH)
        await engine.core.checkpoint()
        assert engine.core.state.batches[BATCH].status == "complete"
        copying.copy()
        events = engine.core.state.seq
        (image,) = disk.torn_images(disk.points + 1, 0, 1)
    for name in os.listdir(cell.folder):
        if name.startswith("journal.sqlite"):
            os.unlink(cell.folder / name)
    put_image(image, cell.folder)
    cell.open_journal = open_journal  # on another disk
    return events


def compared(cell: EmulatedCell, witness: Path) -> None:
    """Compare the journal with its witness as a start of the daemon does."""
    public = PublicKey.read((cell.folder / "journal.pub").read_text())
    one = Witness(witness, HOST, public, known=True)
    one.take(read_checkpoints(cell.journal_path))
    one.copy()


@pytest.mark.parametrize("failure", [Failure.LIE, None])
def test_lost_events_are_found_by_the_witness_and_by_the_instrument(
    tmp_path: Path, failure: Failure | None
) -> None:
    witness = tmp_path / "witness"
    witness.mkdir()

    async def story(disk: Disk) -> None:
        async with thin_cell(tmp_path / "run", vfs=disk.name) as cell:
            events = await power_cut_after_lies(cell, disk, witness, failure)
            verdict = verify(cell.journal_path)
            assert verdict.sound, verdict.problems
            if failure is None:  # planted: an honest disk keeps all, and nothing is found
                assert verdict.events == events
                compared(cell, witness)
                return
            assert verdict.events < events
            assert not verify(cell.journal_path, witness=witness).sound
            shutil.copytree(witness, tmp_path / "before")
            with pytest.raises(WitnessContradictsError, match="put back to an earlier state"):
                compared(cell, witness)

            cell.world.catch_up()
            before = list(ledger_of(cell.world))
            async with cell.engine() as engine:
                await asyncio.sleep(DAY_S)
                procedure = engine.core.state.batches[BATCH].procedures["move"]
                assert procedure.state is PhaseState.HELD, procedure
            cell.world.catch_up()
            assert list(ledger_of(cell.world)) == before, "what was lost was done again"
            strayed = [
                one.event.equipment
                for one in read_events(cell.journal_path, EVENTS)
                if isinstance(one.event, OutsideActSeen)
            ]
            assert "P1" in strayed

    with Disk(tmp_path / "run" / "journal.sqlite") as disk:
        run_in_virtual_time(story(disk))


def test_what_no_checkpoint_covers_is_shown_as_unanchored(tmp_path: Path) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await engine.core.checkpoint()
            anchored = engine.core.state.seq
            await begin(engine)
            assert engine.core.state.seq > anchored
            assert verify(cell.journal_path).unanchored_from == anchored + 1
            await asyncio.sleep(61)
            assert (verify(cell.journal_path).unanchored_from or 10**6) > anchored + 10

    run_in_virtual_time(story())
