"""Whatever a power cut leaves of the journal: it opens, is sound, and has what was acknowledged.

Method: one small work on the real ``Journal`` over a disk that keeps a log of its operations;
before each of them, images of what a cut there can have left; each is opened and read.
Two planted faults show that a lost event is seen.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.journal import journal as journal_module
from orchestrator.journal.journal import Journal, read_checkpoints, read_events
from orchestrator.journal.verify import verify
from orchestrator.kernel.errors import BrokenChainError, JournalLatchedError, ProcessError
from orchestrator.proof.disk import Disk, Failure, Image, put_image, read_image
from tests.unit.journal.builders import BATCH, TOYS, Noted, Poured, a_journal, opened

IMAGES = 5
LONG = "x" * 3_000
"""Makes an event that takes pages of its own, so that a commit has many pieces."""


@dataclass
class Work:
    """What was done on a disk, and what was acknowledged after which operation."""

    disk: Disk
    appended: list[Poured | Noted] = field(default_factory=list[Poured | Noted])
    events_after: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    checkpoints_after: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def acknowledged(self, point: int) -> tuple[int, int]:
        """Return how many events and checkpoints were acknowledged before an operation."""
        return (
            max((count for after, count in self.events_after if after < point), default=0),
            max((count for after, count in self.checkpoints_after if after < point), default=0),
        )

    async def append(self, journal: Journal[Poured | Noted], *events: Poured | Noted) -> None:
        self.appended += events
        await asyncio.gather(*(journal.append(BATCH, event) for event in events))
        self.events_after.append((self.disk.points, len(self.appended)))

    async def checkpoint(self, journal: Journal[Poured | Noted]) -> None:
        await journal.checkpoint()
        count = len(self.checkpoints_after) + 1
        self.checkpoints_after.append((self.disk.points, count))


async def work_on(disk: Disk, planted: Callable[[Journal[Poured | Noted]], None]) -> Work:
    """Make a journal, append alone and together, copy the log, sign, close; all twice."""
    work = Work(disk)
    for number in range(2):
        with a_journal(disk.journal.parent, vfs=disk.name) as journal:
            planted(journal)
            await work.append(journal, Poured(number=number))
            await work.append(journal, *(Poured(number=one) for one in range(4)))
            await work.checkpoint(journal)
            for one in range(6):
                await work.append(journal, Noted(text=f"{one} {LONG}"), Poured(number=one))
            await work.checkpoint(journal)
            await work.append(journal, Poured(number=number))
    return work


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterable[Work]:
    """The work on a disk without a fault, with copies of the log into the database."""
    monkeypatch.setattr(journal_module, "WAL_PAGES_MAX", 9)
    (tmp_path / "whole").mkdir()
    with Disk(tmp_path / "whole" / "journal.sqlite") as disk:
        yield asyncio.run(work_on(disk, lambda _: None))


def wrong_in(image: Image, folder: Path, appended: list[Poured | Noted], floor: int) -> str:
    """Return what is wrong with a torn image, or nothing.

    Sound before a start, where a journal's header reached the disk; opened by a start; sound
    then; what was acknowledged is there; nothing is there that wasn't appended; goes on.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    put_image(image, folder)
    path = folder / "journal.sqlite"
    if floor and not (verdict := verify(path)).sound:
        return f"unsound before the start: {verdict.problems}"
    try:
        with a_journal(folder) as journal:
            found = [one.event for one in journal.events()]
            if found != appended[: len(found)]:
                return "other events than were appended"
            if len(found) < floor:
                return f"{floor} events were acknowledged, {len(found)} are there"
            asyncio.run(journal.append(BATCH, Noted(text="after the cut")))
    except ProcessError as refused:
        return f"refused: {refused}"
    if not (verdict := verify(path, deep=True, adapter=TOYS)).sound:
        return f"unsound: {verdict.problems}"
    (*_, last) = read_events(path, TOYS)
    return "" if last.event == Noted(text="after the cut") else "it doesn't go on"


def assert_survives(work: Work, scratch: Path, seed: int, points: Iterable[int]) -> int:
    """Try each image of each point; return how many were tried."""
    tried = 0
    for point in points:
        events, checkpoints = work.acknowledged(point)
        for image in work.disk.torn_images(point, seed, IMAGES):
            tried += 1
            where = f"point {point} of {work.disk.points}, image {tried % IMAGES}, seed {seed}"
            assert not wrong_in(image, scratch, work.appended, events), where
            if checkpoints:
                assert len(read_checkpoints(scratch / "journal.sqlite")) >= checkpoints, where
    return tried


def lost(work: Work, scratch: Path, seed: int, points: Iterable[int]) -> list[str]:
    """Return what is wrong in any image of these points."""
    return [
        wrong
        for point in points
        for image in work.disk.torn_images(point, seed, IMAGES)
        if (wrong := wrong_in(image, scratch, work.appended, work.acknowledged(point)[0]))
    ]


@pytest.mark.requirement("PRC-09")
def test_what_was_acknowledged_survives_a_power_cut(work: Work, tmp_path: Path, seed: int) -> None:
    texts = [str(one) for one in work.disk.log]
    assert {one.partition(" ")[0] for one in texts} == {
        "open", "write", "truncate", "sync", "delete"
    }  # fmt: skip
    assert "write journal.sqlite 4096@4096" in texts, "the log was never copied"
    assert "delete journal.sqlite-wal" in texts, "it was never closed"
    first = 1 + seed % 9
    tried = assert_survives(work, tmp_path / "torn", seed, range(first, len(texts) + 2, 9))
    assert tried > 80


@pytest.mark.release_proof
@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(600)
def test_what_was_acknowledged_survives_a_power_cut_at_every_point(
    work: Work, tmp_path: Path, seed: int
) -> None:
    points = work.disk.points + 1
    assert assert_survives(work, tmp_path / "torn", seed, range(1, points + 1)) == IMAGES * points


def test_without_a_sync_at_each_commit_events_are_lost(tmp_path: Path, seed: int) -> None:
    (tmp_path / "whole").mkdir()

    def plant(journal: Journal[Poured | Noted]) -> None:
        connection: Any = vars(journal)["_connection"]
        connection.execute("PRAGMA synchronous = NORMAL")

    with Disk(tmp_path / "whole" / "journal.sqlite") as disk:
        work = asyncio.run(work_on(disk, plant))
        points = [after + 1 for after, _ in work.events_after]
        wrong = lost(work, tmp_path / "torn", seed, points[::3])
    assert any("were acknowledged" in one for one in wrong), wrong


def test_a_sync_that_lies_loses_events(tmp_path: Path, seed: int) -> None:
    (tmp_path / "whole").mkdir()
    with Disk(tmp_path / "whole" / "journal.sqlite") as disk:

        def lie(_: object) -> None:
            disk.fail(Failure.LIE, at=disk.points + 1, times=None)

        work = asyncio.run(work_on(disk, lie))
        points = [after + 1 for after, _ in work.events_after]
        wrong = lost(work, tmp_path / "torn", seed, points[::3])
    assert wrong
    assert all(one.startswith(("unsound", "refused")) or "acknowledged" in one for one in wrong)


async def test_what_is_acknowledged_after_a_failed_sync_and_a_restart_survives_a_cut(
    tmp_path: Path, seed: int
) -> None:
    """A system that failed to sync holds pages that no later sync writes by itself."""
    (tmp_path / "whole").mkdir()
    with Disk(tmp_path / "whole" / "journal.sqlite") as disk:
        work = Work(disk)
        with a_journal(tmp_path / "whole", vfs=disk.name) as journal:
            await work.append(journal, Poured(number=1))
            disk.fail(Failure.SYNC, at=disk.points + 1)
            with pytest.raises(JournalLatchedError, match="a sync fails"):
                await work.append(journal, Poured(number=2))
        with a_journal(tmp_path / "whole", vfs=disk.name) as journal:
            assert journal.size == 2, "the system's memory has it; else the test shows nothing"
            begun = disk.points
            await work.append(journal, Poured(number=3))
        points = range(begun + 1, disk.points + 2)
        assert await asyncio.to_thread(assert_survives, work, tmp_path / "torn", seed, points) > 20


async def test_a_cut_latches_the_journal_and_nothing_passes_it(tmp_path: Path, seed: int) -> None:
    (tmp_path / "whole").mkdir()
    with Disk(tmp_path / "whole" / "journal.sqlite") as disk:
        work = Work(disk)
        with a_journal(tmp_path / "whole", vfs=disk.name) as journal:
            await work.append(journal, Poured(number=1))
            before = read_image(disk.journal)
            cut_at = disk.points + 1
            disk.fail(Failure.CUT, at=cut_at)
            with pytest.raises(JournalLatchedError):
                await work.append(journal, Poured(number=2))
            with pytest.raises(ProcessError):
                list(journal.events())
        assert read_image(disk.journal) == before
        assert disk.points + 1 == cut_at
        tried = await asyncio.to_thread(assert_survives, work, tmp_path / "torn", seed, [cut_at])
        assert tried == IMAGES


async def test_a_start_on_a_disk_that_fails_to_read_is_refused_and_loses_nothing(
    tmp_path: Path,
) -> None:
    refused = 0
    with Disk(tmp_path / "journal.sqlite") as disk:
        journal = a_journal(tmp_path, vfs=disk.name)
        await journal.append_all(BATCH, [Noted(text=f"{one} {LONG}") for one in range(9)])
        journal.latch("left as a death leaves it")
        journal.close()
        for read in range(1, 6):
            disk.fail(Failure.READ, at=disk.reads + read)
            try:
                a_journal(tmp_path, vfs=disk.name).close()
            except ProcessError:
                refused += 1
            disk.be_well()
        with a_journal(tmp_path, vfs=disk.name) as again:
            assert again.size == 9
    assert refused >= 3


@pytest.mark.parametrize(
    ("column", "told"),
    [("checkpoints.note", "checkpoint 2 is damaged"), ("events.leaf", "event 2 ")],
)
async def test_a_value_that_damage_took_away_is_told_and_refused(
    tmp_path: Path, column: str, told: str
) -> None:
    """SQLite doesn't look at NOT NULL when it reads: a torn page can hold an empty value."""
    with a_journal(tmp_path) as journal:
        for number in range(2):
            await journal.append(BATCH, Poured(number=number))
            await journal.checkpoint()
    empty(journal.path, *column.split("."))
    verdict = verify(journal.path)
    assert not verdict.sound
    assert told in " ".join(verdict.problems)
    with pytest.raises(BrokenChainError, match="damaged"):
        a_journal(tmp_path)


def empty(path: Path, table: str, column: str) -> None:
    """Take the value of ``column`` out of the newest row, as damage to its page can."""

    def declare(old: str, new: str) -> None:
        connection = opened(path)
        connection.execute("PRAGMA writable_schema = ON")
        renamed = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = ?"
        connection.execute(renamed, (old, new, table))
        connection.close()

    kind = {"note": "TEXT", "leaf": "BLOB"}[column]
    declare(f"{column} {kind} NOT NULL", f"{column} {kind}")
    connection = opened(path)
    newest = f"rowid = (SELECT max(rowid) FROM {table})"
    connection.execute(f"UPDATE {table} SET {column} = NULL WHERE {newest}")
    connection.close()
    declare(f"{column} {kind}", f"{column} {kind} NOT NULL")
