"""The folded state is saved each so many events, and a large one more rarely."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.engine import keeping
from orchestrator.engine.core import Core
from orchestrator.engine.keeping import BYTES_FOR_EACH_EVENT, StateKeeper
from orchestrator.engine.state import ContainerState, HostState
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import EVENTS, AlarmCleared, AnyEvent
from orchestrator.journal.journal import Journal, read_checkpoints
from orchestrator.kernel.identifiers import HostId
from orchestrator.process_cell.config import load_cell
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock

REFERENCE = Path(__file__).parents[3] / "protocols" / "cells" / "reference.toml"
EACH = 10
EVENTS_MADE = 100


def saves_of(folder: Path, state: HostState, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how often ``state`` is saved while ``EVENTS_MADE`` events are recorded."""
    monkeypatch.setattr(keeping, "SAVE_EACH", EACH)

    async def main() -> int:
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
                keeper = StateKeeper(folder, core, "test")
                core.listeners.append(lambda _: keeper.look())
                for number in range(EVENTS_MADE):
                    await core.record_for_host(AlarmCleared(alarm=f"alarm {number}"))
                    await asyncio.sleep(1)
            return len(read_checkpoints(journal.path))

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
