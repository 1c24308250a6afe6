"""Work that somebody took, who is absent: a supervisor ends it, and nothing is lost or doubled.

The thin path's batch, at its weld. The World is the judge: the bag is welded to the kit once,
whether the one who is absent had made the weld or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from devices.drivers.hands import Hands
from devices.interfaces.driver import Settled, Standing
from hw_mocks.ledger_record import ledger_of
from hw_mocks.technicians import Technician
from orchestrator.console.reporting import Reporting
from orchestrator.engine.engine import Engine
from orchestrator.engine.phase_state import PhaseState
from orchestrator.journal.events import BatchMade
from orchestrator.kernel.acts import NothingDone
from orchestrator.kernel.errors import IdentityRefusedError, NotAuthorisedError, RefusedError
from orchestrator.kernel.identifiers import BatchId, UserId
from orchestrator.kernel.quantities import mL
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.records.comparison import LedgerEffect, compare
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation import thin
from tests.simulation.test_holds_and_stops import ASKED, VERIFY, operation, procedure, recipe_of
from tests.simulation.thin import BAG, BATCH, KIT, OTHER_BAG, TRANSFERRED, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0
NEXT = BatchId("B-2")


class _Room:
    """The thin cell, with a task that day-1 has taken; nobody is there but who is told to be."""

    def __init__(self, cell: EmulatedCell, engine: Engine, task: str) -> None:
        self.cell = cell
        self.engine = engine
        self.task = task

    async def take_back(self, why: str = "went home ill") -> None:
        await self.cell.give("supervisor", "take_back_task", task=self.task, why=why)
        await asyncio.sleep(5)

    async def decide(self, verdict: str, **said: Any) -> None:
        for login in ("supervisor", "day-2"):
            await self.cell.give(
                login, "reconcile", task=f"{self.task}/doubt", verdict=verdict, **said
            )

    def all_come_back(self) -> None:
        for one in self.cell.technicians:
            one.is_on_duty = lambda _: True

    def welds(self) -> int:
        ledger = self.cell.world.ledger
        return sum(1 for one in ledger if one.kind == "joined" and BAG in one.things)

    def events(self, kind: str) -> list[Any]:
        return [one.event for one in self.engine.core.journal.events() if one.event.kind == kind]

    async def assert_it_ends_with_one_weld(self) -> None:
        await asyncio.wait_for(self.engine.ended(BATCH), LONG_S)
        assert self.engine.core.state.batches[BATCH].status == "complete"
        assert self.welds() == 1
        vessel = self.cell.world.contents(f"{KIT}/vessel").volume_mL
        assert vessel == pytest.approx(TRANSFERRED.to(mL), abs=0.5)
        began = self.cell.technicians[0].room_began
        effects = [LedgerEffect(**one) for one in ledger_of(self.cell.world)]
        judged = compare(self.engine.core.journal.events(), effects, start=began)
        assert (judged.repeated_acts, judged.lost_acts) == (0, 0), judged


async def _until_taken(
    cell: EmulatedCell, engine: Engine, is_it: Callable[[Any], bool], *, others: bool = False
) -> _Room:
    """Begin, and return when day-1 has taken the task; ``others`` has a second batch wait."""
    tasks = engine.core.state.tasks

    def offered() -> list[str]:
        return [name for name, one in tasks.items() if is_it(one)]

    for one in cell.technicians:
        one.is_on_duty = lambda _: not offered()
    events = thin.on_file(engine.core.clock.utc(), engine.core.cell.digest)
    await engine.core.record_for_host(*events)
    (made,) = (one for one in events if isinstance(one, BatchMade))
    await engine.start_batch(BATCH, thin.USER)
    if others:
        await engine.make_batch(made.model_copy(update={"batch": NEXT}))
        await asyncio.sleep(5)
        await engine.start_batch(NEXT, thin.USER)
    await asyncio.wait_for(engine.core.bells.until("news", lambda: bool(offered())), LONG_S)
    (task,) = offered()
    await cell.give("day-1", "take_task", task=task)
    await asyncio.sleep(3600)
    return _Room(cell, engine, task)


@asynccontextmanager
async def _taken(
    folder: Path, is_it: Callable[[Any], bool], *, others: bool = False
) -> AsyncGenerator[_Room]:
    async with thin_cell(folder) as cell, cell.engine() as engine:
        yield await _until_taken(cell, engine, is_it, others=others)


def _is_the_weld(task: Any) -> bool:
    return task.work == "do" and task.ask["work"] == "weld"


@pytest.mark.requirement("PRC-02")
@pytest.mark.parametrize("was_made", [False, True])
def test_hand_work_taken_from_who_is_absent_is_decided_by_two_people(
    tmp_path: Path, was_made: bool
) -> None:
    async def test() -> None:
        async with _taken(tmp_path, _is_the_weld) as room:
            if was_made:
                room.cell.world.hands.weld(BAG, KIT, "p1", by="U-0006")
                room.cell.world.hands.put(BAG, "hook", by="U-0006")
            await room.take_back()
            assert room.engine.holds.state_of(BATCH, "move") is PhaseState.HELD
            (doubt,) = room.events("attempt_uncertain")
            assert "Dana Yates had it in hand" in doubt.why
            assert "Sam Pryce took it back: went home ill" in doubt.why
            if was_made:
                await room.decide("all", values={"weld": "sound"})
            else:
                await room.decide("nothing")
            room.all_come_back()
            await room.assert_it_ends_with_one_weld()

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_work_taken_back_that_counted_as_not_begun_would_be_asked_for_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: what was taken back is settled as nothing done. It is asked for a second time."""
    settle = Hands.settle

    async def nothing(self: Hands, act: Any, command: Any, before: Standing) -> Settled:
        settled = await settle(self, act, command, before)
        if settled.report.verdict != "cannot tell":
            return settled
        return Settled(report=NothingDone(why="nobody reported it"), standing=settled.standing)

    monkeypatch.setattr(Hands, "settle", nothing)

    async def test() -> None:
        async with _taken(tmp_path, _is_the_weld) as room:
            room.cell.world.hands.weld(BAG, KIT, "p1", by="U-0006")
            room.cell.world.hands.put(BAG, "hook", by="U-0006")
            await room.take_back()
            assert room.events("attempt_uncertain") == []
            await room.cell.give("supervisor", "restart", batch=BATCH, why="go on")
            await asyncio.sleep(5)
            welds = [one for one in room.engine.core.state.tasks.values() if _is_the_weld(one)]
            assert [one.status for one in welds] == ["withdrawn", "offered"]

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02", "IDC-13")
def test_a_report_of_who_was_absent_is_verified_before_the_batch_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They made the weld and say so as two people are asked; its phase ends by what those say.

    It was offered to nobody else, so nothing says that it may have been done twice. Who looks
    afterwards reads another patient's label there.
    """

    async def nobody(*_: object) -> None:
        """Look at no hand work."""

    async def test() -> None:
        async with _taken(tmp_path, _is_the_weld) as room:
            cell, state = room.cell, room.engine.core.state
            cell.world.hands.weld(BAG, KIT, "p1", by="U-0006")
            cell.world.hands.put(BAG, "hook", by="U-0006")
            await room.take_back()
            await cell.give("day-1", "report_task", task=room.task, values={"weld": "sound"})
            await asyncio.sleep(60)
            assert state.tasks[f"{room.task}/doubt"].status == "offered"
            assert not [one for one in state.alarms if one.startswith(("late report", "done anew"))]
            await room.decide("all", values={"weld": "sound"})
            monkeypatch.setattr(Technician, "_verify_hand_work", nobody)
            room.all_come_back()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(room.engine.ended(BATCH), LONG_S)
            assert state.tasks[room.task].status == "reported"
            assert not [one for one in state.tasks.values() if one.status == "offered"]
            with pytest.raises(IdentityRefusedError):
                await cell.give(
                    "day-2", "verify_task", task=room.task, read=[f"L-{OTHER_BAG}", f"L-{KIT}"]
                )
            (refused,) = room.events("identity_refused")
            assert (refused.path, refused.word) == (state.tasks[room.task].path, None)
            assert state.containers[OTHER_BAG].quarantined
            await cell.give("day-2", "verify_task", task=room.task, read=[f"L-{BAG}", f"L-{KIT}"])
            await room.assert_it_ends_with_one_weld()

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-09")
def test_what_was_taken_back_as_the_software_died_is_in_doubt_after_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                room = await _until_taken(cell, engine, _is_the_weld)
                await cell.give("supervisor", "take_back_task", task=room.task, why="ill")
            async with cell.engine() as engine:
                again = _Room(cell, engine, room.task)
                await asyncio.sleep(60)
                assert engine.holds.state_of(BATCH, "move") is PhaseState.HELD
                await again.decide("nothing")
                again.all_come_back()
                await again.assert_it_ends_with_one_weld()

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_a_question_taken_from_who_is_absent_is_offered_to_all_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(procedure("u", operation("p", VERIFY, ASKED)))
    monkeypatch.setattr(thin, "thin_recipe", recipe)

    async def test() -> None:
        async with _taken(tmp_path, lambda one: one.work == "decide") as room:
            state = room.engine.core.state
            await room.take_back()
            assert (state.tasks[room.task].status, state.tasks[room.task].taken_by) == (
                "offered",
                "",
            )
            room.all_come_back()
            await asyncio.wait_for(room.engine.ended(BATCH), LONG_S)
            assert state.batches[BATCH].status == "complete"

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_a_stop_that_waits_for_who_is_absent_is_said_and_can_be_ended(tmp_path: Path) -> None:
    async def test() -> None:
        async with _taken(tmp_path, _is_the_weld, others=True) as room:
            state = room.engine.core.state
            await room.cell.give("supervisor", "stop", batch=BATCH, why="not today")
            await asyncio.sleep(7200)
            assert room.engine.holds.state_of(BATCH, "move") is PhaseState.STOPPING
            alarm = state.alarms[f"held up {NEXT} by {BATCH}/move"]
            assert not alarm.cleared
            assert "is told to stop and hasn't come to its end" in alarm.cause
            await room.take_back()
            await room.decide("nothing")
            await asyncio.wait_for(room.engine.ended(BATCH), LONG_S)
            assert state.batches[BATCH].status == "stopped"
            assert room.welds() == 0
            await asyncio.sleep(5)
            assert state.alarms[f"held up {NEXT} by {BATCH}/move"].cleared
            assert state.leases["station"].batch == NEXT

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_only_a_supervisor_takes_back_what_somebody_else_has_and_says_why(tmp_path: Path) -> None:
    async def test() -> None:
        async with _taken(tmp_path, _is_the_weld) as room:
            with pytest.raises(NotAuthorisedError):
                await room.cell.give("day-2", "take_back_task", task=room.task, why="mine")
            with pytest.raises(RefusedError, match="lacks a reason"):
                await room.take_back(" ")
            await room.cell.give("day-1", "report_task", task=room.task, declined="can't")
            with pytest.raises(RefusedError, match="it is done"):
                await room.take_back()
            assert room.events("task_taken_back") == []

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_a_report_in_the_moment_of_the_taking_back_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with _taken(tmp_path, _is_the_weld) as room:
            cell = room.cell
            cell.world.hands.weld(BAG, KIT, "p1", by="U-0006")
            cell.world.hands.put(BAG, "hook", by="U-0006")
            supervisor = next(
                name
                for name, one in room.engine.core.state.people.items()
                if one.login == "supervisor"
            )
            report = asyncio.ensure_future(
                cell.give("day-1", "report_task", task=room.task, values={"weld": "sound"})
            )
            seen = room.engine.core.state.seq
            arguments = {"task": room.task, "why": "ill", "seen": seen, "answer": None}
            recorded = room.engine.core.record_for_host
            is_recording = asyncio.Event()

            async def record(*events: Any, **answered: Any) -> int:
                if events and events[0].kind == "task_reported":
                    is_recording.set()
                return await recorded(*events, **answered)

            monkeypatch.setattr(type(room.engine.core), "record_for_host", staticmethod(record))
            await is_recording.wait()
            await Reporting(cell.desk.office).take_back(UserId(supervisor), arguments)
            await report
            room.all_come_back()
            await room.assert_it_ends_with_one_weld()
            assert not room.events("attempt_uncertain")

    run_in_virtual_time(test())
