"""That a host ended in good order is the last that it records in its life."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine import keeping
from orchestrator.journal.events import EVENTS, AlarmRaised, AnyEvent
from orchestrator.journal.journal import Recorded, read_checkpoints, read_events
from orchestrator.journal.saved_state import NotSavedError
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import begin, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")


def recorded(cell: EmulatedCell) -> list[Recorded[AnyEvent]]:
    return list(read_events(cell.journal_path, EVENTS))


def test_a_state_that_isnt_saved_at_the_end_is_said_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, saved: Any, **already: Any) -> None:
        del path, saved, already
        raise NotSavedError("save it", why="no space left", do_next="Make room")

    monkeypatch.setattr(keeping, "save_state", full)

    async def run() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await engine.stop()
                await asyncio.sleep(3600)
            *_, alarm, end = recorded(cell)
            assert isinstance(alarm.event, AlarmRaised)
            assert "no space left" in alarm.event.cause
            assert end.event.kind == "host_stopped"
            _, size, *_ = read_checkpoints(cell.journal_path)[-1].split("\n")
            assert int(size) == end.seq, "the end isn't anchored"

    run_in_virtual_time(run())


def test_nothing_follows_the_end_of_a_host_whose_batch_is_at_work(tmp_path: Path) -> None:
    """It ends in the middle of a transfer; people, watches and alarms go on for an hour."""

    async def run() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await begin(engine)
                attempts = engine.core.state.attempts
                await engine.core.bells.until(
                    "news", lambda: any("03-transfer" in one for one in attempts)
                )
                await asyncio.sleep(10)
                await engine.stop()
                late = engine.core.tasks.create_task(
                    engine.alarms.raise_alarm(
                        "late", tier="warn", cause="c", consequence="d", action="e"
                    )
                )
                await asyncio.sleep(3600)
                assert not late.done()
                late.cancel()
            assert recorded(cell)[-1].event.kind == "host_stopped"
            async with cell.engine() as engine:
                await engine.ended(engine_batch(engine))
                assert engine.core.state.batches[engine_batch(engine)].status == "complete"

    run_in_virtual_time(run())


def engine_batch(engine: Any) -> Any:
    (batch,) = engine.core.state.batches
    return batch
