"""The disk fails at any write or sync of the thin path: nothing moves without a durable intent.

Method: one run counts the disk's operations; then one run for each failure, in which the disk
fails there, the engine ends, the disk is well again, and an engine goes on to the end. The room
is the judge: its ledger is laid beside what a power cut at the failure would have left of
the journal for sure, and at the end beside the whole journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from hw_mocks.ledger_record import ledger_of
from orchestrator.engine.engine import Engine
from orchestrator.journal import journal as journal_module
from orchestrator.journal.events import EVENTS, AnyEvent
from orchestrator.journal.journal import Recorded, read_events
from orchestrator.journal.verify import verify
from orchestrator.kernel.quantities import mL
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.proof.disk import Disk, Failure, Operation, put_image
from orchestrator.records.comparison import Comparison, LedgerEffect, compare
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import (
    BATCH,
    KIT,
    TRANSFERRED,
    USER,
    begin,
    recipe_that_docks,
    thin_cell,
)

pytestmark = [
    pytest.mark.leaves_tasks("engines are left as a failed disk leaves them"),
    pytest.mark.requirement("PRC-09"),
]

FAILURES = {"write": (Failure.FULL, Failure.WRITE), "sync": (Failure.SYNC,)}
WAL_PAGES = 40
"""So many pages between copies into the database that there are some in a short run."""


@dataclass(frozen=True)
class Trouble:
    """One failure of the disk: how, how many operations after the start, how often."""

    failure: Failure
    after: int
    times: int | None

    def __str__(self) -> str:
        often = "until it was well again" if self.times is None else f"{self.times} times"
        return f"{self.failure.value} {self.after} operations after the start, {often}"


@pytest.fixture(autouse=True)
def log_is_copied_often(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(journal_module, "WAL_PAGES_MAX", WAL_PAGES)


async def go_to_the_end(engine: Engine) -> None:
    batch = engine.core.state.batches.get(BATCH)
    if batch is None:
        await begin(engine, recipe_that_docks())
    elif batch.status == "made" and not batch.start_asked_by:
        await engine.start_batch(BATCH, USER)
    await engine.ended(BATCH)


async def run_until_it_latches(cell: EmulatedCell, disk: Disk, trouble: Trouble | None) -> int:
    """Run until the batch or the engine has ended; return where the trouble was counted from."""
    first = disk.points
    async with cell.engine() as engine:
        first = disk.points
        if trouble is not None:
            disk.fail(trouble.failure, at=first + trouble.after, times=trouble.times)
        going = asyncio.ensure_future(go_to_the_end(engine))
        try:
            await asyncio.wait({going})
            await asyncio.sleep(60)  # an engine whose journal latched ends by itself
        finally:
            going.cancel()
    return first


def judged(cell: EmulatedCell, events: Sequence[Recorded[AnyEvent]]) -> Comparison:
    cell.world.catch_up()
    effects = [LedgerEffect(**one) for one in ledger_of(cell.world)]
    return compare(events, effects, start=cell.technicians[0].room_began)


def surely_there(disk: Disk, folder: Path) -> list[Recorded[AnyEvent]]:
    """Return the events that a power cut now would leave, if nothing unsynced reached the disk."""
    folder.mkdir()
    (image,) = disk.torn_images(disk.points + 1, 0, 1)
    put_image(image, folder)
    return list(read_events(folder / disk.journal.name, EVENTS))


async def story(folder: Path, trouble: Trouble) -> None:
    with Disk(folder / "run" / "journal.sqlite") as disk:
        async with thin_cell(folder / "run", kit_at="rack", vfs=disk.name) as cell:
            await run_until_it_latches(cell, disk, trouble)
            failed = [one for one in disk.log if one.failure]
            assert failed, f"{trouble}: the disk didn't fail"
            assert len(cell.latched_with) == 1, (str(trouble), failed[:3], cell.latched_with)
            (told,) = cell.latched_with
            full = trouble.failure is Failure.FULL
            assert ("the disk is full" if full else "a write failed") in told, trouble
            assert "epair the disk and start the daemon again" in told, trouble
            before = judged(cell, surely_there(disk, folder / "durable"))
            assert before.repeated_acts == 0, (trouble, before.findings)

            disk.be_well()
            async with cell.engine() as engine:
                await go_to_the_end(engine)
                assert engine.core.state.batches[BATCH].status == "complete", trouble
                events = list(engine.core.journal.events())
            after = judged(cell, events)
            assert after.agrees, (trouble, after.findings)
            vessel = cell.world.contents(f"{KIT}/vessel").volume_mL
            assert vessel == pytest.approx(TRANSFERRED.to(mL), abs=0.5), trouble
            assert verify(disk.journal).sound, trouble


def without_trouble(folder: Path) -> list[Operation]:
    """Return the disk's operations from the engine's start to the batch's end."""
    started: list[int] = []

    async def run(disk: Disk) -> None:
        async with thin_cell(folder, kit_at="rack", vfs=disk.name) as cell:
            started.append(await run_until_it_latches(cell, disk, None))
            assert not cell.latched_with

    with Disk(folder / "journal.sqlite") as disk:
        run_in_virtual_time(run(disk))
        log = disk.log[started[0] :]
    assert sum(one.kind == "sync" for one in log) > 40, "is the disk still below the journal?"
    assert any(one.file == "journal.sqlite" for one in log), "the log was never copied"
    return log


def troubles(log: Sequence[Operation]) -> list[Trouble]:
    return [
        Trouble(failure, after, times)
        for after, operation in enumerate(log, start=1)
        for failure in FAILURES.get(operation.kind, ())
        for times in (1, None)
    ]


def test_a_disk_that_fails_moves_nothing_without_a_durable_intent(
    tmp_path: Path, seed: int
) -> None:
    every = troubles(without_trouble(tmp_path / "dry"))
    step = len(every) // 9
    for at, trouble in enumerate(every[seed % step :: step]):
        run_in_virtual_time(story(tmp_path / f"{at}", trouble))


def test_what_moved_without_a_durable_intent_is_seen(tmp_path: Path) -> None:
    """The disk lies from the start: all is done, and a power cut would leave no intent."""

    async def lied_to() -> None:
        with Disk(tmp_path / "run" / "journal.sqlite") as disk:
            async with thin_cell(tmp_path / "run", kit_at="rack", vfs=disk.name) as cell:
                await run_until_it_latches(cell, disk, Trouble(Failure.LIE, 1, None))
                assert not cell.latched_with
                assert judged(cell, list(read_events(disk.journal, EVENTS))).agrees
                seen = judged(cell, surely_there(disk, tmp_path / "durable"))
        assert "P1" in " ".join(str(one) for one in seen.findings)
        assert seen.repeated_acts > 0

    run_in_virtual_time(lied_to())


@pytest.mark.release_proof
@pytest.mark.timeout(3600)
def test_a_disk_that_fails_at_any_write_moves_nothing_without_a_durable_intent(
    tmp_path: Path,
) -> None:
    every = troubles(without_trouble(tmp_path / "dry"))
    for at, trouble in enumerate(every):
        run_in_virtual_time(story(tmp_path / f"{at}", trouble))
