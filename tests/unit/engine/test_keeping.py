"""The folded state is saved each so many events, and a large one more rarely."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from orchestrator.engine import keeping
from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.engine.keeping import (
    BYTES_FOR_EACH_EVENT,
    StateKeeper,
    Traces,
    folded_by,
    resumed_state,
)
from orchestrator.engine.state import ContainerState, HostState
from orchestrator.engine.watches import Sample
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import EVENTS, AlarmCleared, AnyEvent
from orchestrator.journal.journal import Journal, read_checkpoints
from orchestrator.journal.saved_state import NotSavedError
from orchestrator.kernel.identifiers import HostId
from orchestrator.process_cell.config import load_cell
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock

REFERENCE = Path(__file__).parents[3] / "protocols" / "cells" / "reference.toml"
EACH = 10
EVENTS_MADE = 100


@asynccontextmanager
async def host(folder: Path, state: HostState) -> AsyncGenerator[Core]:
    """Yield a host with a journal and no instruments."""
    journal: Journal[AnyEvent] = Journal(
        folder / "journal.sqlite",
        EVENTS,
        clock=virtual_clock(),
        host=HostId("h"),
        signer=Signer.of_entropy(HostId("h"), bytes),
    )
    with journal:
        async with asyncio.TaskGroup() as tasks:
            core = Core(
                journal=journal,
                state=state,
                drivers={},
                clock=virtual_clock(),
                cell=load_cell(REFERENCE),
                tasks=tasks,
                can_be_suspended=False,
            )
            core.follow()
            yield core


def saves_of(folder: Path, state: HostState, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how often ``state`` is saved while ``EVENTS_MADE`` events are recorded."""
    monkeypatch.setattr(keeping, "SAVE_EACH", EACH)

    async def main() -> int:
        async with host(folder, state) as core:
            keeper = StateKeeper(folder, core, "test", Alarms(core))
            core.listeners.append(lambda _: keeper.look())
            for number in range(EVENTS_MADE):
                await core.record_for_host(AlarmCleared(alarm=f"alarm {number}"))
                await asyncio.sleep(1)
        return len(read_checkpoints(folder / "journal.sqlite"))

    return run_in_virtual_time(main())


def test_a_small_state_is_saved_each_so_many_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert saves_of(tmp_path, HostState(), monkeypatch) == EVENTS_MADE // EACH


def test_a_large_state_is_saved_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = "x" * BYTES_FOR_EACH_EVENT * EACH * 3
    container = ContainerState(label, "", "bag", "", "", 0, 0)
    state = HostState(containers={"C-1": container})
    saves = saves_of(tmp_path, state, monkeypatch)
    assert 2 <= saves <= EVENTS_MADE // (3 * EACH) + 1


def test_a_state_that_cant_be_saved_raises_an_alarm_and_is_saved_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program reads the file: the host goes on, and saves the next time."""
    save = keeping.save_state
    tried: list[int] = []

    def busy_twice(path: Path, saved: Any, **already: Any) -> None:
        tried.append(saved.seq)
        if len(tried) <= 2:
            raise NotSavedError("save it", why="database is locked", do_next="Wait")
        save(path, saved, **already)

    monkeypatch.setattr(keeping, "save_state", busy_twice)
    state = HostState()
    saves_of(tmp_path, state, monkeypatch)
    assert len(tried) >= EVENTS_MADE // EACH
    assert "locked" in state.alarms["saved state"].cause
    assert state.alarms["saved state"].cleared
    assert (tmp_path / "state.sqlite").exists()


SIGNER = Signer.of_entropy(HostId("h"), bytes)


@dataclass
class SessionThatWas:
    """A session as another version had it: nothing says when it was used."""

    user: str
    boot: str


@dataclass
class StateThatWas:
    """A state of another form."""

    seq: int
    sessions: dict[str, SessionThatWas]
    alarms: dict[str, str]
    gone: str = "what no state has any more"


def saved_in_another_form(folder: Path, sessions: dict[str, SessionThatWas]) -> int:
    """Save a state of another form, vouched for like any; return how many events there are."""

    async def main() -> int:
        async with host(folder, HostState()) as core:
            await core.record_for_host(AlarmCleared(alarm="one"))
            was = StateThatWas(core.state.seq, sessions, {})
            keeper = StateKeeper(folder, core, "test", Alarms(core))
            with pytest.MonkeyPatch.context() as another:
                another.setattr(keeping, "_STATE", _Was(was))
                await keeper.save()
            return core.state.seq

    return run_in_virtual_time(main())


class _Was:
    """Writes that state, whatever state it is given."""

    def __init__(self, was: StateThatWas) -> None:
        self._was = was
        self._form = TypeAdapter(StateThatWas)

    def json_schema(self, *, mode: Any) -> dict[str, Any]:
        return self._form.json_schema(mode=mode)

    def dump_json(self, _: HostState) -> bytes:
        return self._form.dump_json(self._was)


SESSIONS = [{}, {"a" * 64: SessionThatWas("U-1", "b-1")}]
"""The first can be read as a state of today, and lacks what today's state has."""


@pytest.mark.parametrize("sessions", SESSIONS, ids=["readable", "unreadable"])
def test_a_state_of_another_form_is_thrown_away_and_the_journal_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sessions: dict[str, SessionThatWas]
) -> None:
    events = saved_in_another_form(tmp_path, sessions)
    state, tree = resumed_state(tmp_path, SIGNER.public, "test")
    assert (state.seq, tree) == (events, None), "the saved state was used"
    assert "state.sqlite isn't used" in caplog.text


def test_what_cant_be_read_is_thrown_away_though_its_form_is_todays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_form", lambda: "one-form-for-all")
    events = saved_in_another_form(tmp_path, SESSIONS[1])
    state, tree = resumed_state(tmp_path, SIGNER.public, "test")
    assert (state.seq, tree) == (events, None)
    assert "it can't be read (ValidationError)" in caplog.text


def test_what_was_saved_is_used_and_nothing_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a state that is never used would pass for one that is thrown away."""

    async def main() -> HostState:
        async with host(tmp_path, HostState()) as core:
            await core.record_for_host(AlarmCleared(alarm="one"))
            await StateKeeper(tmp_path, core, "test", Alarms(core)).save()
            return core.state

    was = run_in_virtual_time(main())
    with caplog.at_level(logging.WARNING):
        state, tree = resumed_state(tmp_path, SIGNER.public, "test")
    assert tree is not None
    assert (state, caplog.text) == (was, "")
    assert folded_by("1") != folded_by("2")


def test_a_trace_that_cant_be_written_raises_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> HostState:
        async with host(tmp_path, HostState()) as core:
            traces = Traces(tmp_path / "traces", core, Alarms(core))
            sample = Sample("1 mL", core.clock.utc(), core.clock.boottime())
            traces("W1", "weight", sample)
            with monkeypatch.context() as full:
                full.setattr(os, "write", no_space)
                traces("W1", "weight", sample)
            traces("W1", "weight", sample)
            await asyncio.sleep(1)
            await traces.close()
            return core.state

    def no_space(file: int, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    state = run_in_virtual_time(main())
    assert "No space left" in state.alarms["trace W1 weight"].cause
