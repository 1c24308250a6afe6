"""A journal replayed at a start gives what folding it gives, and leaves Python as it was."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import apsw
import pytest

from orchestrator.engine.fold import fold
from orchestrator.engine.replay import collector_resting, replayed
from orchestrator.engine.state import HostState
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import EVENTS, HOST, AnyEvent, HostStarted, PersonAdded
from orchestrator.journal.journal import Journal, read_events
from orchestrator.kernel.errors import BrokenChainError
from orchestrator.kernel.identifiers import HostId, UserId
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock


async def written(path: Path, people: int) -> None:
    journal: Journal[AnyEvent] = Journal(
        path,
        EVENTS,
        clock=virtual_clock(),
        host=HostId("cell-a"),
        signer=Signer.of_entropy(HostId("cell-a"), lambda size: b"k" * size),
        reserve_bytes=0,
    )
    with journal:
        await journal.append(HOST, HostStarted(version="1", cell="0" * 64, synchronised=True))
        for number in range(people):
            await asyncio.sleep(1)
            user = UserId(f"U-{number}")
            added = PersonAdded(user=user, login="l", printed_name="P", roles=(), secret="s")
            await journal.append(HOST, added)


def test_replaying_gives_what_folding_each_event_gives(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    run_in_virtual_time(written(path, people=5))
    folded, begun = HostState(), HostState()
    for recorded in read_events(path, EVENTS):
        fold(folded, recorded)
        if recorded.seq <= 3:
            fold(begun, recorded)
    assert folded.seq == 6
    assert len(folded.people) == 5
    assert replayed(HostState(), path) == folded
    assert replayed(begun, path) == folded  # only what it lacks


def test_damage_is_refused_and_the_collector_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    run_in_virtual_time(written(path, people=2))
    connection: Any = apsw.Connection(str(path))
    connection.execute("UPDATE events SET body = replace(body, 'U-0', 'U-9') WHERE seq = 2")
    connection.close()
    assert gc.isenabled()
    with pytest.raises(BrokenChainError, match="event 2"):
        replayed(HostState(), path)
    assert gc.isenabled()


def test_a_collector_that_rested_before_goes_on_resting() -> None:
    with collector_resting():
        with collector_resting():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
