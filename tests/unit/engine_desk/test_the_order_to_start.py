"""Who has a batch started is on disk before the answer, and a death after it loses nothing.

Method: a person starts a batch through the desk, and the engine is severed at once, before the
batch is admitted. Another engine begins on the same journal and room.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hw_mocks.scenario import scenario_for
from orchestrator.console.desk import Desk
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import EVENTS, BatchStartAsked
from orchestrator.journal.journal import read_events
from orchestrator.kernel.desks import Command, Given
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId
from orchestrator.kernel.quantities import minute, second
from orchestrator.process_cell.emulated import emulated_cell
from orchestrator.process_cell.emulated_people import PEOPLE
from orchestrator.process_cell.simulation import REFERENCE_CELL, put_on_file
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BATCH, on_file, thin_cell
from tests.simulation.two_patients import CAR_T, recipe_of


async def supervisor(desk: Desk) -> str:
    """Return a supervisor's session."""
    secret = next(one.secret for one in PEOPLE if one.login == "supervisor")
    return await desk.log_in("supervisor", secret, "bench")


def start(session: str, batch: str, request: str = "start-1") -> Command:
    return Command(
        request=request,
        seen=1,
        session=session,
        name="start_batch",
        arguments={"batch": batch},
        secret="",
    )


def orders_to_start(engine: Engine) -> list[tuple[int, BatchStartAsked]]:
    return [
        (one.seq, one.event)
        for one in engine.core.journal.events()
        if isinstance(one.event, BatchStartAsked)
    ]


def started(engine: Engine) -> int:
    return sum(one.event.kind == "batch_started" for one in engine.core.journal.events())


@pytest.mark.requirement("PRC-09")
def test_an_order_to_start_that_was_answered_outlives_the_engine(tmp_path: Path) -> None:
    async def run() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                now, digest = engine.core.clock.utc(), engine.core.cell.digest
                await engine.core.record_for_host(*on_file(now, digest))
                session = await supervisor(cell.desk)
                given: Given = await cell.desk.give(start(session, BATCH))
                state = engine.core.state
                ((seq, order),) = orders_to_start(engine)
                assert given.seq == seq
                assert state.people[order.by].printed_name == "Sam Pryce"
                assert state.batches[BATCH].status == "made", "the death is to come before"
            async with cell.engine() as engine:
                assert await cell.desk.give(start(session, BATCH)) == given
                with pytest.raises(RefusedError, match="it was started"):
                    await cell.desk.give(start(session, BATCH, "start-2"))
                await engine.ended(BATCH)
                assert engine.core.state.batches[BATCH].status == "complete"
                assert await cell.desk.give(start(session, BATCH)) == given
                assert len(orders_to_start(engine)) == 1
                assert started(engine) == 1

    run_in_virtual_time(run())


def test_a_batch_that_nobody_had_started_is_not_admitted(tmp_path: Path) -> None:
    async def run() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                now, digest = engine.core.clock.utc(), engine.core.cell.digest
                await engine.core.record_for_host(*on_file(now, digest))
            async with cell.engine() as engine:
                await engine.ended(BATCH)
                await engine.core.sleep(1 * minute)
                assert engine.core.state.batches[BATCH].status == "made"
                await cell.give("supervisor", "start_batch", batch=str(BATCH))
                await engine.ended(BATCH)
                assert engine.core.state.batches[BATCH].status == "complete"

    run_in_virtual_time(run())


@pytest.mark.parametrize("by_hand", [False, True])
def test_an_admission_that_fails_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    admit = Engine._admit  # pyright: ignore[reportPrivateUsage]
    tried: list[str] = []

    async def fails_at_first(self: Engine, batch: BatchId) -> None:
        tried.append(batch)
        if len(tried) < 3:
            raise KeyError("a place that the cell file lost")
        await admit(self, batch)

    monkeypatch.setattr(Engine, "_admit", fails_at_first)

    async def run() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            state = engine.core.state
            now, digest = engine.core.clock.utc(), engine.core.cell.digest
            await engine.core.record_for_host(*on_file(now, digest))
            await cell.give("supervisor", "start_batch", batch=str(BATCH))
            await engine.core.sleep(5 * second)
            alarm = state.alarms[f"admission {BATCH}"]
            assert not alarm.cleared
            assert "a place that the cell file lost" in alarm.cause
            assert state.batches[BATCH].status == "made"
            if by_hand:
                for count in (2, 3):
                    await cell.give("supervisor", "start_batch", batch=str(BATCH))
                    await engine.core.sleep(1 * second)
                    assert len(tried) == count
            else:
                await engine.core.sleep(3 * minute)
            assert state.batches[BATCH].status == "running"
            assert state.alarms[f"admission {BATCH}"].cleared
            with pytest.raises(RefusedError, match="it was started"):
                await cell.give("supervisor", "start_batch", batch=str(BATCH))
            await engine.ended(BATCH)
            assert state.batches[BATCH].status == "complete"
            assert started(engine) == 1

    run_in_virtual_time(run())


def test_an_order_to_start_waits_for_no_place_of_another_batch(tmp_path: Path) -> None:
    async def run() -> None:
        recipe, names = recipe_of(CAR_T), (BatchId("B-001"), BatchId("B-002"))
        async with emulated_cell(tmp_path, REFERENCE_CELL, seed=7) as cell:
            async with cell.engine() as engine:
                places = len(cell.cell.config.by_unit["incubator"].places)
                for number, name in enumerate(names, 1):
                    scenario = scenario_for(json.loads(recipe.content), seed=7, batch=number)
                    scenario.bring_into(cell.world)
                    turn = 1 + places * (number - 1)  # both at the same place
                    await put_on_file(cell, engine, recipe, scenario, name, number=turn)
                    before = engine.core.clock.utc()
                    await cell.give("supervisor", "start_batch", batch=str(name))
                    assert (engine.core.clock.utc() - before).base < 1000
            async with cell.engine() as engine:
                await engine.core.sleep(1 * minute)
                state = engine.core.state
                assert [state.batches[one].status for one in names] == ["running", "made"]
                assert [one.batch for one in state.waiters.values()] == [names[1]]
                with pytest.raises(RefusedError, match="it was started"):
                    await cell.give("supervisor", "start_batch", batch=str(names[1]))
        asked = [one.event for one in read_events(cell.journal_path, EVENTS)]
        assert sum(isinstance(one, BatchStartAsked) for one in asked) == 2

    run_in_virtual_time(run())
