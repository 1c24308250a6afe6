"""A host whose witness is out of reach, late, full, or knows better than its journal.

Method: an engine of the thin cell, or a host without instruments, copies to a folder that
the test takes away and brings back. The journal's events and the witness's file are looked
at, and whether a batch starts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.engine import witnessing
from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.engine.limits import WITNESS, Limits
from orchestrator.engine.state import HostState
from orchestrator.engine.witnessing import Copier, NotWitnessedError, Witnessing
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import EVENTS, AlarmCleared, AnyEvent, LimitDue, LimitStarted
from orchestrator.journal.journal import Journal, read_checkpoints, read_events
from orchestrator.journal.witness import Witness, framed
from orchestrator.kernel.errors import JournalLatchedError
from orchestrator.kernel.identifiers import HostId
from orchestrator.kernel.instants import SystemClock
from orchestrator.process_cell.config import load_cell
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock
from tests.simulation.thin import BATCH, USER, begin, thin_cell

REFERENCE = Path(__file__).parents[3] / "protocols" / "cells" / "reference.toml"
NAME = HostId("h")
SIGNER = Signer.of_entropy(NAME, bytes)
DAY_S = 86_400


@asynccontextmanager
async def host(
    folder: Path, witness: Path | None, state: HostState, *, is_virtual: bool = True
) -> AsyncGenerator[tuple[Core, Witnessing]]:
    """Yield a host without instruments that copies to ``witness``, watched."""
    clock = virtual_clock() if is_virtual else SystemClock()
    journal: Journal[AnyEvent] = Journal(
        folder / "journal.sqlite", EVENTS, clock=clock, host=NAME, signer=SIGNER, reserve_bytes=4096
    )
    copier = None
    if witness is not None:
        known = state.witnessed is not None
        copier = Copier(Witness(witness, NAME, SIGNER.public, known=known))
        copier.take(journal.notes())
    with journal:
        async with asyncio.TaskGroup() as tasks:
            core = Core(
                journal=journal,
                state=state,
                drivers={},
                clock=clock,
                cell=load_cell(REFERENCE),
                tasks=tasks,
                can_be_suspended=False,
            )
            core.follow()
            alarms = Alarms(core)
            limits = Limits(core, alarms)
            one = Witnessing(core, alarms, limits, copier)
            await one.begin()
            watches = [tasks.create_task(watch()) for watch in (one.watch, limits.watch)]
            yield core, one
            for watching in watches:
                watching.cancel()


async def something(core: Core) -> None:
    """Have something recorded and signed, as the end of a phase is."""
    await core.record_for_host(AlarmCleared(alarm="x"))
    await core.checkpoint()
    await asyncio.sleep(1)


def kinds(folder: Path) -> list[str]:
    return [one.event.kind for one in read_events(folder / "journal.sqlite", EVENTS)]


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """Return an empty witness folder."""
    folder = tmp_path / "witness"
    folder.mkdir()
    return folder


def test_each_checkpoint_is_copied_as_it_is_published(tmp_path: Path, witness: Path) -> None:
    async def main() -> None:
        async with host(tmp_path, witness, HostState()) as (core, _):
            for _ in range(5):
                await something(core)
                notes = read_checkpoints(tmp_path / "journal.sqlite")
                assert (witness / "h.notes").read_bytes() == framed(notes)
            assert core.state.witnessed == 0
            assert not core.state.alarms

    run_in_virtual_time(main())


def test_a_witness_that_is_gone_is_an_alarm_at_once_and_stops_new_batches_after_a_day(
    tmp_path: Path, witness: Path
) -> None:
    away = tmp_path / "away"

    async def main() -> None:
        state = HostState()
        async with host(tmp_path, witness, state) as (core, one):
            await something(core)
            os.rename(witness, away)
            await something(core)
            assert not state.alarms[WITNESS].cleared
            assert str(tmp_path) not in state.alarms[WITNESS].cause
            one.refuse_if_overdue("start batch B-1")
            await asyncio.sleep(DAY_S - 60)
            one.refuse_if_overdue("start batch B-1")
            await asyncio.sleep(60)
            with pytest.raises(NotWitnessedError, match="for more than 1 d"):
                one.refuse_if_overdue("start batch B-1")
            assert "No new batch" in state.alarms[f"limit {WITNESS}"].consequence
            await something(core)
            os.rename(away, witness)
            await asyncio.sleep(61)
            one.refuse_if_overdue("start batch B-1")
            assert all(alarm.cleared for alarm in state.alarms.values())
        notes = read_checkpoints(tmp_path / "journal.sqlite")
        assert (witness / "h.notes").read_bytes() == framed(notes)

    run_in_virtual_time(main())
    assert kinds(tmp_path).count("limit_started") == kinds(tmp_path).count("limit_due") == 1


def test_a_start_without_the_witness_it_had_counts_as_missing(
    tmp_path: Path, witness: Path
) -> None:
    async def main() -> None:
        state = HostState()
        async with host(tmp_path, witness, state) as (core, _):
            await something(core)
        async with host(tmp_path, None, state):
            assert "started without it" in state.alarms[WITNESS].cause
            assert WITNESS in state.limits

    run_in_virtual_time(main())


def test_a_witness_that_was_emptied_is_filled_up_and_told(tmp_path: Path, witness: Path) -> None:
    async def main() -> None:
        state = HostState()
        for _ in range(2):
            async with host(tmp_path, witness, state) as (core, _):
                await something(core)
        (witness / "h.notes").write_bytes(b"")
        async with host(tmp_path, witness, state):
            notes = read_checkpoints(tmp_path / "journal.sqlite")
            assert (witness / "h.notes").read_bytes() == framed(notes)
            assert not state.alarms[witnessing.SHORTENED].cleared

    run_in_virtual_time(main())


def test_a_witness_that_comes_back_and_knows_more_latches_the_journal(
    tmp_path: Path, witness: Path
) -> None:
    """It wasn't there at the start of a journal that had been put back."""
    early, away = tmp_path / "early", tmp_path / "away"
    early.mkdir()

    async def main() -> None:
        async with host(tmp_path, witness, HostState()) as (core, _):
            await something(core)
        (early / "journal.sqlite").write_bytes((tmp_path / "journal.sqlite").read_bytes())
        put_back = HostState(witnessed=0)
        async with host(tmp_path, witness, HostState(witnessed=0)) as (core, _):
            await something(core)
        os.rename(witness, away)
        async with host(early, witness, put_back) as (core, _):
            await something(core)
            assert core.journal.latched is None
            os.rename(away, witness)
            await asyncio.sleep(61)
            assert core.journal.latched is not None
            assert "witness" in core.journal.latched

    with pytest.raises(BaseExceptionGroup) as raised:
        run_in_virtual_time(main())
    assert raised.group_contains(JournalLatchedError)


def test_one_that_never_answers_blocks_nothing(
    tmp_path: Path, witness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In real time: a pipe that nobody reads keeps whoever opens it."""
    monkeypatch.setattr(witnessing, "ANSWERS_WITHIN_S", 0.2)
    os.mkfifo(witness / "h.notes")

    async def main() -> None:
        state = HostState(witnessed=3)
        loop = asyncio.get_running_loop()
        async with host(tmp_path, witness, state, is_virtual=False) as (core, one):
            assert "doesn't answer within 0.2 s" in state.alarms[WITNESS].cause
            began = loop.time()
            for _ in range(20):
                await core.record_for_host(AlarmCleared(alarm="x"))
                await core.checkpoint()
            assert loop.time() - began < 5
            await one.end()

    asyncio.run(main())


@pytest.mark.leaves_tasks("engines are left as a death leaves them")
def test_a_batch_that_runs_goes_on_and_another_isnt_started(tmp_path: Path) -> None:
    async def run() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine)
            await engine.core.record_for_host(
                LimitStarted(limit=WITNESS, owner=WITNESS, maximum="1 d", tier="block", source="s"),
                LimitDue(limit=WITNESS),
            )
            with pytest.raises(NotWitnessedError):
                await engine.ask_to_start(BATCH, USER)
            await engine.ended(BATCH)
            assert engine.core.state.batches[BATCH].status == "complete"

    run_in_virtual_time(run())
