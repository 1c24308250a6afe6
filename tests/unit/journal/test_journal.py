"""What was acknowledged is on disk, in order; where that fails nothing more is recorded.

Method: two toy events, an injected clock, and SQLite on a disk (a VFS) that counts its
writes and syncs and fails on demand. One test kills a process.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import pytest

from orchestrator.journal import journal as journal_module
from orchestrator.journal.checkpoints import StateStatement
from orchestrator.journal.journal import (
    Journal,
    JournalInUseError,
    Recorded,
    read_checkpoints,
    read_events,
    read_rows,
)
from orchestrator.journal.verify import verify
from orchestrator.kernel.errors import BrokenChainError, JournalLatchedError, RefusedError
from orchestrator.kernel.identifiers import HostId
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock
from tests.unit.journal.builders import (
    BATCH,
    TOYS,
    Disk,
    Noted,
    Poured,
    SteppingClock,
    a_journal,
    a_signer,
    last_words,
    opened,
)

Toys = Journal[Poured | Noted]


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk("counting-disk")
    yield disk
    disk.unregister()


def numbers(path: Path) -> list[int]:
    """Return the numbers of all toy events on disk."""
    events = [recorded.event for recorded in read_events(path, TOYS)]
    return [event.number for event in events if isinstance(event, Poured)]


async def test_what_was_appended_comes_back_in_order_with_its_time(tmp_path: Path) -> None:
    with a_journal(tmp_path) as journal:
        assert await journal.append(BATCH, Poured(number=1)) == 1
        assert await journal.append("host", Noted(text='Ünïcode "quoted"\n\\')) == 2
        first, second = journal.events()
        assert (first.seq, first.stream, first.event) == (1, BATCH, Poured(number=1))
        assert (second.seq, second.stream) == (2, "host")
        assert second.event == Noted(text='Ünïcode "quoted"\n\\')
        assert str(second.at) == "2026-11-23T10:00:02.000000Z"
        assert (second.boot, second.boottime.base) == ("boot-1", 2_000)
        assert [recorded.seq for recorded in journal.events(from_seq=2)] == [2]


async def test_a_body_is_stored_as_canonical_text(tmp_path: Path) -> None:
    with a_journal(tmp_path) as journal:
        await journal.append(BATCH, Poured(number=7))
        (row,) = journal.rows()
    assert row.body == '{"kind":"poured","number":7,"volume":"250 mL"}'
    assert row.kind == "poured"


async def test_what_is_appended_in_one_turn_is_one_transaction_with_one_sync(
    tmp_path: Path, disk: Disk
) -> None:
    with a_journal(tmp_path, vfs=disk.name) as journal:
        await journal.append(BATCH, Poured(number=0))
        syncs = disk.count("sync")
        seqs = await asyncio.gather(
            journal.append(BATCH, Poured(number=1)),
            journal.append("host", Noted(text="meanwhile")),
            journal.append_all(BATCH, [Poured(number=2), Poured(number=3)]),
        )
        assert seqs == [2, 3, range(4, 6)]
        assert disk.count("sync") - syncs == 1
        await journal.append(BATCH, Poured(number=4))
        assert disk.count("sync") - syncs == 2


async def test_an_append_is_acknowledged_after_one_more_turn_of_the_loop(tmp_path: Path) -> None:
    with a_journal(tmp_path) as journal:
        appending = asyncio.ensure_future(journal.append(BATCH, Poured(number=1)))
        await asyncio.sleep(0)  # it appends
        assert journal.size == 0
        await asyncio.sleep(0)  # the commit
        assert journal.size == 1
        await asyncio.sleep(0)
        assert appending.done()


async def test_appending_nothing_waits_for_nothing(tmp_path: Path) -> None:
    with a_journal(tmp_path) as journal:
        assert await journal.append_all(BATCH, []) == range(1, 1)


async def test_of_several_events_all_are_appended_or_none(tmp_path: Path) -> None:
    unreadable = Poured.model_construct(number="many")  # pyright: ignore[reportArgumentType]
    with a_journal(tmp_path) as journal:
        with pytest.raises(ValueError, match="number"):
            await journal.append_all(BATCH, [Poured(number=1), unreadable])
        assert await journal.append(BATCH, Poured(number=2)) == 1
        assert numbers(journal.path) == [2]


@pytest.mark.parametrize("stream", ["", 'batch "B"', "back\\slash", "new\nline", "Zelle Ä"])
async def test_a_stream_that_is_not_plain_text_is_refused(tmp_path: Path, stream: str) -> None:
    with a_journal(tmp_path) as journal:
        with pytest.raises(ValueError, match="plain printable"):
            await journal.append(stream, Poured(number=1))
        assert journal.size == 0


async def test_cancelling_the_caller_does_not_take_the_event_back(tmp_path: Path) -> None:
    with a_journal(tmp_path) as journal:
        appending = asyncio.ensure_future(journal.append(BATCH, Poured(number=1)))
        await asyncio.sleep(0)
        appending.cancel()
        await journal.append(BATCH, Poured(number=2))
        assert numbers(journal.path) == [1, 2]


async def test_closing_makes_durable_what_was_appended_and_nothing_comes_after(
    tmp_path: Path,
) -> None:
    journal = a_journal(tmp_path)
    appending = asyncio.ensure_future(journal.append(BATCH, Poured(number=1)))
    await asyncio.sleep(0)
    journal.close()
    journal.close()
    assert await appending == 1
    assert numbers(journal.path) == [1]
    with pytest.raises(JournalLatchedError, match="it was closed"):
        await journal.append(BATCH, Poured(number=2))


@pytest.mark.leaves_tasks("the loop dies with an append under way")
def test_a_crashed_loop_leaves_a_journal_that_goes_on_in_the_next(tmp_path: Path) -> None:
    async def interrupted() -> None:
        asyncio.ensure_future(journal.append(BATCH, Poured(number=1)))  # noqa: RUF006
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    async def after() -> int:
        return await journal.append(BATCH, Poured(number=2))

    with a_journal(tmp_path) as journal:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(interrupted())
        assert asyncio.run(after()) == 2
        assert numbers(journal.path) == [1, 2]


def test_it_lives_on_the_virtual_time_loop(tmp_path: Path) -> None:
    async def a_day() -> list[int]:
        with a_journal(tmp_path, clock=virtual_clock()) as journal:
            for number in range(24):
                await journal.append(BATCH, Poured(number=number))
                await asyncio.sleep(3600)
            times = [recorded.boottime.base for recorded in journal.events()]
            return [later - earlier for earlier, later in pairwise(times)]

    assert run_in_virtual_time(a_day()) == [3_600_000] * 23


async def test_the_same_events_at_the_same_times_give_the_same_root(tmp_path: Path) -> None:
    roots: list[bytes] = []
    for name, first in (("a", 10), ("b", 10), ("c", 11)):
        (tmp_path / name).mkdir()
        clock = SteppingClock(f"2026-11-23T{first}:00:00.000000Z")
        with a_journal(tmp_path / name, clock=clock) as journal:
            await journal.append_all(BATCH, [Poured(number=number) for number in range(5)])
            await journal.append("host", Noted(text="end"))
            roots.append(journal.root)
    assert roots[0] == roots[1] != roots[2]


# Listeners ---------------------------------------------------------------------------


async def test_listeners_hear_of_events_in_order_before_those_who_wait_go_on(
    tmp_path: Path,
) -> None:
    order: list[str] = []

    def listener(recorded: Sequence[Recorded[Poured | Noted]]) -> None:
        order.extend(f"heard {each.seq}" for each in recorded)

    async def appends(number: int) -> None:
        seq = await journal.append(BATCH, Poured(number=number))
        order.append(f"went on after {seq}")

    with a_journal(tmp_path) as journal:
        journal.subscribe(listener)
        await asyncio.gather(appends(1), appends(2))
    assert order == ["heard 1", "heard 2", "went on after 1", "went on after 2"]


async def test_a_listener_that_fails_latches_the_journal(tmp_path: Path) -> None:
    mistakes: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: mistakes.append(context["exception"])
    )

    def listener(recorded: Sequence[Recorded[Poured | Noted]]) -> None:
        raise ZeroDivisionError("the fold is wrong")

    with a_journal(tmp_path) as journal:
        journal.subscribe(listener)
        with pytest.raises(JournalLatchedError, match="the fold is wrong"):
            await journal.append(BATCH, Poured(number=1))
        assert journal.latched is not None
    assert [type(mistake) for mistake in mistakes] == [ZeroDivisionError]


# One writer --------------------------------------------------------------------------


def test_a_second_writer_is_refused_with_one_clear_message(tmp_path: Path) -> None:
    with a_journal(tmp_path), pytest.raises(JournalInUseError) as refused:
        a_journal(tmp_path)
    assert "another cellwright daemon has it open" in str(refused.value)
    a_journal(tmp_path).close()


def test_a_second_writer_is_refused_by_whatever_name_it_calls_the_file(tmp_path: Path) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "journal.sqlite").symlink_to(tmp_path / "journal.sqlite")
    with a_journal(tmp_path), pytest.raises(JournalInUseError):
        a_journal(tmp_path / "link")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="Give a folder that exists"):
        a_journal(tmp_path / "nowhere")


def test_a_journal_that_can_not_be_opened_leaves_its_lock(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"no database at all, but long enough" * 40)
    with pytest.raises(RefusedError, match="it is no SQLite database"):
        a_journal(tmp_path)
    (tmp_path / "journal.sqlite").unlink()
    a_journal(tmp_path).close()


def test_another_database_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "journal.sqlite").execute("CREATE TABLE t(x)")
    with pytest.raises(RefusedError, match="no journal of this format"):
        a_journal(tmp_path)


async def test_the_journal_of_another_host_is_refused(tmp_path: Path) -> None:
    with a_journal(tmp_path) as journal:
        await journal.append(BATCH, Poured(number=1))
    with pytest.raises(RefusedError, match="it is the journal of host cell-a"):
        a_journal(tmp_path, host=HostId("cell-b"))


def test_a_disk_without_room_for_the_reserve_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal_module.os, "posix_fallocate", full)
    with pytest.raises(RefusedError, match="Free room on this disk"):
        a_journal(tmp_path)


# Opening again -----------------------------------------------------------------------


async def some_events(journal: Toys, count: int = 10) -> None:
    await journal.append_all(BATCH, [Poured(number=number) for number in range(count)])


def execute(path: Path, statement: str) -> None:
    connection = opened(path)
    connection.execute(statement)
    connection.close()


async def test_opened_again_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    with a_journal(tmp_path) as journal:
        await some_events(journal)
        root, tree = journal.root, journal.tree
        await journal.append("host", Noted(text="last"))
        last = journal.root
    with a_journal(tmp_path) as journal:
        assert (journal.size, journal.root) == (11, last)
        assert await journal.append(BATCH, Poured(number=11)) == 12
        after = journal.root
    with a_journal(tmp_path, tree=tree) as journal:
        assert tree.root() != root, "the tree given is carried on"
        assert (journal.size, journal.root) == (12, after)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("DELETE FROM events WHERE seq > 8", "read event 9 .* counts 10 events"),
        ("DELETE FROM events WHERE seq = 4", "read event 4 "),
        ("UPDATE events SET leaf = zeroblob(32) WHERE seq = 4", "aren't those of its newest"),
        ("UPDATE checkpoints SET note = replace(note, '10', '11')", "can't be trusted"),
    ],
)
async def test_a_journal_that_does_not_fit_its_newest_checkpoint_is_not_opened(
    tmp_path: Path, damage: str, message: str
) -> None:
    with a_journal(tmp_path) as journal:
        await some_events(journal)
        await journal.checkpoint()
    execute(journal.path, damage)
    with pytest.raises(BrokenChainError, match=message):
        a_journal(tmp_path)


async def test_a_journal_signed_by_another_key_is_not_opened(tmp_path: Path) -> None:
    with a_journal(tmp_path) as journal:
        await some_events(journal)
        await journal.checkpoint()
    with pytest.raises(BrokenChainError, match="signed by another key"):
        a_journal(tmp_path, signer=a_signer("another"))


async def test_saved_state_of_more_events_than_there_are_is_refused(tmp_path: Path) -> None:
    with a_journal(tmp_path) as journal:
        await some_events(journal)
        tree = journal.tree
    execute(journal.path, "DELETE FROM events WHERE seq > 5")
    with pytest.raises(BrokenChainError, match="more events than there are"):
        a_journal(tmp_path, tree=tree)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET body = replace(body, '250', '251') WHERE seq = 4",
        "UPDATE events SET at_utc = '2026-11-23T10:00:00.000000Z' WHERE seq = 4",
        "UPDATE events SET stream = 'batch/B-000148' WHERE seq = 4",
        "UPDATE events SET boottime = boottime + 1 WHERE seq = 4",
        "DELETE FROM events WHERE seq = 4",
    ],
)
@pytest.mark.requirement("REC-03")
async def test_a_damaged_event_is_never_read_as_a_good_one(tmp_path: Path, damage: str) -> None:
    with a_journal(tmp_path) as journal:
        await some_events(journal)
    execute(journal.path, damage)
    reading = read_events(journal.path, TOYS)
    assert [next(reading).seq for _ in range(3)] == [1, 2, 3]
    with pytest.raises(BrokenChainError, match="read event 4 "):
        next(reading)


# Checkpoints -------------------------------------------------------------------------


async def test_a_checkpoint_covers_what_was_appended_before_it(tmp_path: Path) -> None:
    with a_journal(tmp_path) as journal:
        appending = asyncio.ensure_future(some_events(journal))
        await asyncio.sleep(0)
        checkpoint = await journal.checkpoint()
        await appending
        assert (checkpoint.size, checkpoint.root) == (10, journal.root)
        (note,) = read_checkpoints(journal.path)
    assert a_signer().public.open(note) == checkpoint


async def test_the_state_is_asked_for_when_exactly_these_events_are_folded(tmp_path: Path) -> None:
    folded: list[int] = []
    with a_journal(tmp_path) as journal:
        journal.subscribe(lambda recorded: folded.extend(each.seq for each in recorded))
        appending = asyncio.ensure_future(some_events(journal))
        await asyncio.sleep(0)
        checkpoint = await journal.checkpoint(lambda: StateStatement("0.1.0", f"{len(folded)}"))
        await appending
    assert checkpoint.state == StateStatement("0.1.0", "10")
    assert checkpoint.size == 10


async def test_a_state_that_can_not_be_told_latches_the_journal(tmp_path: Path) -> None:
    mistakes: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: mistakes.append(context["exception"])
    )

    def state() -> StateStatement:
        raise ZeroDivisionError("no state")

    with a_journal(tmp_path) as journal, pytest.raises(JournalLatchedError, match="no state"):
        await journal.checkpoint(state)
    assert [type(mistake) for mistake in mistakes] == [ZeroDivisionError]


# Failing disks -----------------------------------------------------------------------


def failing_at(disk: Disk, number: int, error: type[apsw.Error], kinds: set[str]) -> None:
    """Let the operation ``number`` from now on of ``kinds``, and all after it, fail."""
    seen = 0

    def plan(kind: str, file: str) -> None:
        nonlocal seen
        seen += kind in kinds
        if kind in kinds and seen >= number:
            raise error("planned")

    disk.plan = plan
    disk.operations.clear()


async def until_it_fails(journal: Toys) -> list[int]:
    """Append until the journal latches; return what was acknowledged."""
    acknowledged: list[int] = []
    for number in range(50):
        try:
            await asyncio.gather(
                journal.append(BATCH, Poured(number=2 * number)),
                journal.append(BATCH, Poured(number=2 * number + 1)),
            )
            acknowledged += [2 * number, 2 * number + 1]
            if number % 3 == 2:
                await journal.checkpoint()
        except JournalLatchedError:
            break
    return acknowledged


@pytest.mark.parametrize("kind", ["write", "sync"])
@pytest.mark.requirement("REC-01")
async def test_whatever_write_or_sync_fails_nothing_acknowledged_is_lost(
    tmp_path: Path, disk: Disk, kind: str
) -> None:
    """H20: the first error latches, and nothing is written after it."""
    failures = 0
    for number in range(1, 40, 3):
        folder = tmp_path / str(number)
        folder.mkdir()
        with a_journal(folder, vfs=disk.name) as journal:
            failing_at(disk, number, apsw.IOError, {kind})
            acknowledged = await until_it_fails(journal)
            failures += journal.latched is not None
            tried = disk.count(kind)
            with pytest.raises(JournalLatchedError):
                await journal.append(BATCH, Poured(number=99))
            with pytest.raises(JournalLatchedError):
                await journal.checkpoint()
        assert disk.count(kind) == tried == number, "it tried again after the error"
        disk.plan = lambda kind, file: None
        left = numbers(folder / "journal.sqlite")
        assert left[: len(acknowledged)] == acknowledged
        assert verify(folder / "journal.sqlite").sound
        with a_journal(folder) as journal:
            assert await journal.append(BATCH, Poured(number=100)) == len(left) + 1
    assert failures == 13


async def test_an_error_while_the_log_is_copied_latches_too(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "WAL_PAGES_MAX", 4)

    def plan(kind: str, file: str) -> None:
        if file.endswith(".sqlite"):
            raise apsw.IOError("planned")

    with a_journal(tmp_path, vfs=disk.name) as journal:
        disk.plan = plan
        acknowledged = await until_it_fails(journal)
        assert journal.latched is not None
    assert acknowledged
    assert numbers(journal.path)[: len(acknowledged)] == acknowledged


async def test_the_log_is_copied_and_stays_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "WAL_PAGES_MAX", 4)
    with a_journal(tmp_path) as journal:
        for number in range(100):
            await journal.append(BATCH, Poured(number=number))
        assert (tmp_path / "journal.sqlite-wal").stat().st_size < 10 * 4200


async def test_on_a_full_disk_the_reserve_makes_room_for_the_last_words(
    tmp_path: Path, disk: Disk
) -> None:
    reserve = tmp_path / "journal.sqlite.reserve"

    def plan(kind: str, file: str) -> None:
        if kind == "write" and reserve.exists():
            raise apsw.FullError("planned")

    with a_journal(tmp_path, vfs=disk.name, last_words=last_words) as journal:
        await journal.append(BATCH, Poured(number=1))
        assert reserve.stat().st_blocks * 512 >= 64 * 1024
        disk.plan = plan
        with pytest.raises(JournalLatchedError, match="the disk is full"):
            await journal.append(BATCH, Poured(number=2))
        with pytest.raises(JournalLatchedError, match="the disk is full"):
            await journal.append(BATCH, Poured(number=3))
    assert [recorded.event for recorded in read_events(journal.path, TOYS)] == [
        Poured(number=1),
        Noted(text="the disk is full"),
    ]
    verdict = verify(journal.path)
    assert verdict.sound
    assert len(read_checkpoints(journal.path)) == 1
    with a_journal(tmp_path) as journal:
        assert await journal.append(BATCH, Poured(number=2)) == 3


async def test_a_disk_that_stays_full_still_gives_one_clear_message(
    tmp_path: Path, disk: Disk
) -> None:
    with a_journal(tmp_path, vfs=disk.name, last_words=last_words) as journal:
        await journal.append(BATCH, Poured(number=1))
        failing_at(disk, 1, apsw.FullError, {"write"})
        with pytest.raises(JournalLatchedError, match="the disk is full"):
            await journal.append(BATCH, Poured(number=2))
    disk.plan = lambda kind, file: None
    assert numbers(journal.path) == [1]


async def test_latched_from_outside_it_writes_nothing_more(tmp_path: Path, disk: Disk) -> None:
    with a_journal(tmp_path, vfs=disk.name) as journal:
        await journal.append(BATCH, Poured(number=1))
        appending = asyncio.ensure_future(journal.append(BATCH, Poured(number=2)))
        await asyncio.sleep(0)
        operations = len(disk.operations)
        journal.latch("the full check found damage")
        with pytest.raises(JournalLatchedError, match="the full check found damage"):
            await appending
    assert len(disk.operations) == operations
    assert numbers(journal.path) == [1]


# A killed process --------------------------------------------------------------------


def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover: another process

        async def append_for_ever() -> None:
            journal = a_journal(tmp_path)
            for number in range(10_000):
                await journal.append(BATCH, Poured(number=number))
                os.write(tell, number.to_bytes(4, "big"))
                if number == 500:
                    asyncio.ensure_future(journal.append(BATCH, Poured(number=0)))  # noqa: RUF006
                    await asyncio.sleep(0)
                    os._exit(9)

        try:
            asyncio.run(append_for_ever())
        finally:
            os._exit(1)
    os.close(tell)
    with os.fdopen(told, "rb") as reports:
        reported = reports.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    acknowledged = [
        int.from_bytes(reported[at : at + 4], "big") for at in range(0, len(reported), 4)
    ]
    assert acknowledged == list(range(501))
    with a_journal(tmp_path) as journal:
        assert numbers(journal.path) == acknowledged
        assert journal.size == 501


def test_rows_are_yielded_as_stored(tmp_path: Path) -> None:
    with a_journal(tmp_path) as journal:
        assert list(journal.rows()) == []
        assert list(read_rows(journal.path)) == []
