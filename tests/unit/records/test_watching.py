"""What a follower of a journal says stands, while its writer works, dies and is gone.

Method: a journal with a real writer on the same file, and a clock that the test sets for both.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import (
    EVENTS,
    HOST,
    AlarmCleared,
    AnyEvent,
    BatchMade,
    BatchStarted,
    HostStarted,
    HostStopped,
    JournalLatched,
    LimitDue,
    LimitEnded,
    LimitStarted,
    Signed,
)
from orchestrator.journal.journal import Journal
from orchestrator.kernel.identifiers import BatchId, BootId, CoiId, HostId, RecipeDigest, UserId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, hour, minute, second
from orchestrator.records.watching import SAID_WITHIN, Follower

BATCH = BatchId("B-1")
NOON = Instant.read("2026-11-23T12:00:00.000000Z")
SIGNER = Signer.of_entropy(HostId("h"), bytes)
STARTED = HostStarted(version="0.1.0", cell="0" * 64, synchronised=True, offset="10 ms")
FRIDGE = "B-1/out of the fridge"
LIMIT = LimitStarted(
    limit=FRIDGE, owner="recipe", batch=BATCH, maximum="30 min", tier="block", source="DR-031"
)


class SetClock:
    """A host's clock that stands where it was put."""

    def __init__(self) -> None:
        self.at = NOON
        self.since_boot = 1 * hour
        self.boot_id = BootId("boot-1")
        self.is_synchronised = True

    def utc(self) -> Instant:
        return self.at

    def boottime(self) -> Duration:
        return self.since_boot

    def boot(self) -> BootId:
        return self.boot_id

    def offset(self) -> Duration | None:
        return Duration.of_base(10) if self.is_synchronised else None

    def pass_(self, time: Duration) -> None:
        self.at += time
        self.since_boot += time

    def reboot(self, after: Duration) -> None:
        self.at += after
        self.since_boot = 1 * minute
        self.boot_id = BootId("boot-2")


def a_batch() -> tuple[AnyEvent, ...]:
    signed = Signed(
        signer=UserId("U-1"), printed_name="A", meaning="approved", signed_digest="0" * 64,
        signed_at=NOON,
    )  # fmt: skip
    made = BatchMade(
        batch=BATCH, coi=CoiId("COI-1"), recipe=RecipeDigest("0" * 64), cell="0" * 64,
        engine="0.1.0", containers=(), kits=(), units=(), places=(), ordered=(), signature=signed,
    )  # fmt: skip
    return made, BatchStarted(batch=BATCH)


@asynccontextmanager
async def a_writer(
    folder: Path, clock: SetClock, *events: AnyEvent, epoch: int = 0
) -> AsyncGenerator[Journal[AnyEvent]]:
    """Yield an open journal with these events at its end."""
    with Journal(
        folder / "journal.sqlite",
        EVENTS,
        clock=clock,
        host=HostId("h"),
        signer=SIGNER,
        reserve_bytes=4096,
        epoch=epoch,
    ) as journal:
        await journal.append_all(HOST, list(events))
        yield journal


def names(follower: Follower, silent_since: Instant | None = None) -> set[str]:
    follower.look()
    return set(follower.standing(silent_since))


async def test_a_limit_is_told_at_its_due_time_and_no_sooner(tmp_path: Path) -> None:
    clock = SetClock()
    follower = Follower(tmp_path / "journal.sqlite", clock)
    async with a_writer(tmp_path, clock, STARTED, *a_batch(), LIMIT) as journal:
        clock.pass_(30 * minute - 1 * second)
        assert names(follower) == set()
        clock.pass_(1 * second)
        assert names(follower) == {f"limit {FRIDGE}"}
        (alarm,) = follower.standing(None).values()
        assert (alarm.batches, alarm.since) == (("B-1",), NOON + 30 * minute)
        await journal.append(HOST, LimitEnded(limit=FRIDGE, used="31 min"))
        assert names(follower) == set()


async def test_a_daemon_that_answers_and_records_no_due_limit_is_told(tmp_path: Path) -> None:
    clock = SetClock()
    follower = Follower(tmp_path / "journal.sqlite", clock)
    async with a_writer(tmp_path, clock, STARTED, *a_batch(), LIMIT) as journal:
        clock.pass_(30 * minute + SAID_WITHIN)
        assert names(follower) == {f"limit {FRIDGE}", f"unsaid {FRIDGE}"}
        assert names(follower, NOON) == {f"limit {FRIDGE}", "daemon silent"}
        await journal.append(HOST, LimitDue(limit=FRIDGE))
        assert names(follower) == {f"limit {FRIDGE}"}


@pytest.mark.parametrize(
    ("dead_for", "synchronised", "told"),
    [(20 * minute, True, False), (30 * minute, True, True), (1 * minute, False, True)],
    ids=["time left", "run out", "nobody knows"],
)
async def test_a_reboot_shortens_no_limit(
    tmp_path: Path, dead_for: Duration, synchronised: bool, told: bool
) -> None:
    clock = SetClock()
    async with a_writer(tmp_path, clock, STARTED, *a_batch(), LIMIT):
        pass
    clock.reboot(dead_for)
    clock.is_synchronised = synchronised
    follower = Follower(tmp_path / "journal.sqlite", clock)
    assert (f"limit {FRIDGE}" in names(follower, NOON)) is told


async def test_a_silent_daemon_is_told_with_what_it_was_doing(tmp_path: Path) -> None:
    clock = SetClock()
    follower = Follower(tmp_path / "journal.sqlite", clock)
    async with a_writer(tmp_path, clock, STARTED):
        follower.look()
        (alarm,) = follower.standing(NOON).values()
        assert "runs and doesn't answer" in alarm.what
    (alarm,) = follower.standing(NOON).values()
    assert "ended without a word" in alarm.what
    async with a_writer(tmp_path, clock, *a_batch(), HostStopped()):
        pass
    follower.look()
    (alarm,) = follower.standing(NOON).values()
    assert ("in good order" in alarm.what, alarm.batches) == (True, ("B-1",))
    assert follower.standing(None) == {}


async def test_an_end_in_good_order_with_nothing_open_is_no_alarm(tmp_path: Path) -> None:
    clock = SetClock()
    async with a_writer(tmp_path, clock, STARTED, HostStopped()):
        pass
    assert names(Follower(tmp_path / "journal.sqlite", clock), NOON) == set()


async def test_it_follows_over_log_copies_restarts_and_leaves_no_file(tmp_path: Path) -> None:
    """The writer's log is deleted at its end, though it was followed all the time."""
    clock = SetClock()
    follower = Follower(tmp_path / "journal.sqlite", clock)
    for _ in range(2):
        async with a_writer(tmp_path, clock, STARTED) as journal:
            for number in range(1_200):  # more pages than a log may have
                await journal.append(HOST, AlarmCleared(alarm=f"{number}"))
                if number % 100 == 0:
                    follower.look()
            size = journal.size
        assert names(follower) == set()
        assert follower.state.seq == size
        left = set(os.listdir(tmp_path))
        assert left == {"journal.sqlite", "journal.sqlite.lock", "journal.sqlite.reserve"}


async def test_it_locks_nothing_and_reads_for_a_writer_that_died(tmp_path: Path) -> None:
    """The folder is taken as a death leaves it: with its log."""
    clock = SetClock()
    (tmp_path / "lives").mkdir()
    async with a_writer(tmp_path / "lives", clock, STARTED, *a_batch(), LIMIT):
        shutil.copytree(tmp_path / "lives", tmp_path / "died")
    died = tmp_path / "died"
    assert (died / "journal.sqlite-wal").stat().st_size
    clock.pass_(1 * hour)
    follower = Follower(died / "journal.sqlite", clock)
    assert names(follower, NOON) == {f"limit {FRIDGE}", "daemon silent"}
    async with a_writer(died, clock, STARTED, LimitEnded(limit=FRIDGE, used="1 h")):
        assert names(follower) == set()


async def test_damage_is_told_on_the_second_look_and_names_the_first_bad_event(
    tmp_path: Path,
) -> None:
    clock = SetClock()
    async with a_writer(tmp_path, clock, STARTED, *a_batch(), LIMIT):
        pass
    path = tmp_path / "journal.sqlite"
    path.write_bytes(path.read_bytes().replace(b"DR-031", b"DR-032"))
    follower = Follower(path, clock)
    assert names(follower) == set()
    follower.look()
    (alarm,) = follower.standing(None).values()
    assert ("from event 4 on" in alarm.what, alarm.code) == (True, "integrity.broken-chain")
    path.unlink()
    assert names(follower) == {"journal damaged"}


async def test_another_journal_is_told_unless_it_says_that_it_was_restored(tmp_path: Path) -> None:
    clock = SetClock()
    (tmp_path / "older").mkdir()
    follower = Follower(tmp_path / "journal.sqlite", clock)
    async with a_writer(tmp_path, clock, STARTED):
        pass
    shutil.copy(tmp_path / "journal.sqlite", tmp_path / "older" / "journal.sqlite")
    async with a_writer(tmp_path, clock, STARTED, *a_batch(), LIMIT):
        assert names(follower) == set()
    shutil.copy(tmp_path / "older" / "journal.sqlite", tmp_path / "journal.sqlite")
    assert names(follower) == {"journal exchanged"}
    assert follower.state.limits == {}
    async with a_writer(tmp_path, clock, STARTED, epoch=1):
        assert names(follower) == set()


async def test_a_latched_journal_is_told_until_the_next_start(tmp_path: Path) -> None:
    clock = SetClock()
    follower = Follower(tmp_path / "journal.sqlite", clock)
    async with a_writer(
        tmp_path, clock, STARTED, JournalLatched(why="the disk is full")
    ) as journal:
        follower.look()
        (alarm,) = follower.standing(None).values()
        assert ("disk is full" in alarm.what, alarm.code) == (True, "integrity.journal-latched")
        await journal.append(HOST, STARTED)
        assert names(follower) == set()


async def test_on_a_rooms_clock_only_what_the_daemon_says_is_due(tmp_path: Path) -> None:
    rooms, ours = SetClock(), SetClock()
    ours.boot_id = BootId("boot-of-the-host")
    ours.pass_(10_000 * hour)
    follower = Follower(tmp_path / "journal.sqlite", ours)
    async with a_writer(tmp_path, rooms, STARTED, *a_batch(), LIMIT) as journal:
        assert names(follower) == set()
        await journal.append(HOST, LimitDue(limit=FRIDGE))
        assert names(follower) == {f"limit {FRIDGE}"}
