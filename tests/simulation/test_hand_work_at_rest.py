"""A hold or a stop comes while hands are asked for: what nobody has begun is withdrawn.

The World is the judge: the bag is welded to the kit once, whoever had the weld in hand and
whatever the screen said at that moment. What was done is neither lost nor asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hw_mocks.ledger_record import ledger_of
from orchestrator.console.late_reports import late_report
from orchestrator.engine.engine import Engine
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.state import TaskState
from orchestrator.journal.events import (
    AnyEvent,
    AttemptReconciled,
    HandWorkReportedLate,
    LateReportDecided,
)
from orchestrator.kernel.errors import RefusedError, SamePersonError
from orchestrator.kernel.identifiers import TaskId, UserId
from orchestrator.kernel.quantities import mL
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.process_cell.emulated_people import person
from orchestrator.records.batch_record import batch_record
from orchestrator.records.comparison import LedgerEffect, compare
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BAG, BATCH, KIT, TRANSFERRED, begin, recipe_that_docks, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0
SOON_S = 1200.0
"""Longer than two people together look away from their screens."""


def _welds(cell: EmulatedCell) -> int:
    return sum(1 for one in cell.world.ledger if one.kind == "joined" and BAG in one.things)


def _hand_work(engine: Engine, status: str) -> dict[str, TaskState]:
    return {
        name: one
        for name, one in engine.core.state.tasks.items()
        if one.work == "do" and one.ask["work"] == "weld" and one.status == status
    }


def _state(engine: Engine) -> PhaseState:
    return engine.holds.state_of(BATCH, "move")


def _nothing(*_: object) -> tuple[()]:
    return ()


def _nobody(*_: object) -> None:
    """See that nobody has it, or that nothing is over."""


class _Room:
    """The thin cell, with its weld offered, or taken, and not yet made."""

    def __init__(self, cell: EmulatedCell, engine: Engine) -> None:
        self.cell = cell
        self.engine = engine

    def send_people(self, *, to_work: bool) -> None:
        for one in self.cell.technicians:
            one.is_on_duty = lambda _: to_work

    async def until(self, status: str) -> str:
        await asyncio.wait_for(
            self.engine.core.bells.until("news", lambda: bool(_hand_work(self.engine, status))),
            LONG_S,
        )
        return next(iter(_hand_work(self.engine, status)))

    async def command(self, name: str) -> None:
        await self.cell.give("supervisor", name, batch=BATCH, why="a bell rings")

    async def assert_it_ends_with_one_weld(self, how: str = "complete") -> None:
        await asyncio.wait_for(self.engine.ended(BATCH), LONG_S)
        assert self.engine.core.state.batches[BATCH].status == how
        assert not self.engine.core.state.attempts
        assert _welds(self.cell) == (1 if how == "complete" else 0)
        if how == "complete":
            vessel = self.cell.world.contents(f"{KIT}/vessel").volume_mL
            assert vessel == pytest.approx(TRANSFERRED.to(mL), abs=0.5)
        began = self.cell.technicians[0].room_began
        effects = [LedgerEffect(**one) for one in ledger_of(self.cell.world)]
        judged = compare(self.engine.core.journal.events(), effects, start=began)
        assert (judged.repeated_acts, judged.lost_acts) == (0, 0), judged


@asynccontextmanager
async def _at_the_weld(folder: Path, *, taken: bool) -> AsyncGenerator[_Room]:
    """Yield the cell as the weld is offered and nobody is there, or as somebody has it in hand."""
    async with thin_cell(folder) as cell, cell.engine() as engine:
        room = _Room(cell, engine)
        for one in cell.technicians:
            one.is_on_duty = lambda _: taken or not _hand_work(engine, "offered")
        await begin(engine)
        await room.until("taken" if taken else "offered")
        if not taken:
            room.send_people(to_work=False)
        await asyncio.sleep(10)
        yield room


@pytest.mark.requirement("PRC-02")
@pytest.mark.parametrize("command", ["hold", "pause"])
def test_hand_work_that_nobody_took_is_withdrawn_and_offered_anew(
    tmp_path: Path, command: str
) -> None:
    async def test() -> None:
        async with _at_the_weld(tmp_path, taken=False) as room:
            (task,) = _hand_work(room.engine, "offered")
            await room.command(command)
            await asyncio.sleep(1)
            assert _state(room.engine) in (PhaseState.HELD, PhaseState.PAUSED)
            assert list(_hand_work(room.engine, "withdrawn")) == [task]
            with pytest.raises(RefusedError, match="withdrawn"):
                await room.cell.give("day-1", "take_task", task=task)
            room.send_people(to_work=True)
            await asyncio.sleep(SOON_S)
            assert _welds(room.cell) == 0, "somebody welded while it was held"
            await room.command("restart" if command == "hold" else "resume")
            await room.assert_it_ends_with_one_weld()

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
@pytest.mark.parametrize("command", ["stop", "abort"])
def test_a_stop_ends_a_batch_whose_hand_work_nobody_took(tmp_path: Path, command: str) -> None:
    async def test() -> None:
        async with _at_the_weld(tmp_path, taken=False) as room:
            await room.command(command)
            await room.assert_it_ends_with_one_weld("stopped" if command == "stop" else "aborted")

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_who_has_it_in_hand_is_asked_whether_it_was_done(tmp_path: Path) -> None:
    async def test() -> None:
        async with _at_the_weld(tmp_path, taken=True) as room:
            await room.command("hold")
            await asyncio.sleep(1)
            (task,) = _hand_work(room.engine, "taken").values()
            assert task.recalled == "a bell rings"
            assert _state(room.engine) is PhaseState.HOLDING
            await asyncio.sleep(SOON_S)
            assert _state(room.engine) is PhaseState.HELD
            assert _welds(room.cell) == 1
            await room.command("restart")
            await room.assert_it_ends_with_one_weld()

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
@pytest.mark.parametrize("said", [{"choice": "not done"}, {"declined": "I let it be"}])
def test_what_a_person_let_be_is_offered_anew(tmp_path: Path, said: dict[str, str]) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            room = _Room(cell, engine)
            for one in cell.technicians:
                one.is_on_duty = lambda _: not _hand_work(engine, "offered")
            await begin(engine)
            task = await room.until("offered")
            room.send_people(to_work=False)
            await cell.give("day-1", "take_task", task=task)
            await room.command("hold")
            await cell.give("day-1", "report_task", task=task, **said)
            if _hand_work(engine, "reported"):  # another person has to look, here too
                await cell.give("supervisor", "verify_task", task=task)
            await asyncio.sleep(1)
            assert _state(engine) is PhaseState.HELD
            room.send_people(to_work=True)
            await asyncio.sleep(SOON_S)
            assert _welds(cell) == 0
            await room.command("restart")
            await room.assert_it_ends_with_one_weld()

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
@pytest.mark.parametrize("at", ["the same moment", "while it is held", "after it was offered anew"])
def test_a_weld_that_was_made_as_it_was_withdrawn_is_not_lost(tmp_path: Path, at: str) -> None:
    """Somebody welds without having taken it, and says so when the screen has moved on."""

    async def test() -> None:
        async with _at_the_weld(tmp_path, taken=False) as room:
            cell, engine = room.cell, room.engine
            (task,) = _hand_work(engine, "offered")
            cell.world.hands.weld(BAG, KIT, "p1", by="U-0009")
            cell.world.hands.put(BAG, "hook", by="U-0009")
            await room.command("hold")
            if at != "the same moment":
                await asyncio.sleep(5)
            if at == "after it was offered anew":
                await room.command("restart")
                await room.until("offered")
            await cell.give("day-1", "report_task", task=task, values={"weld": "sound"})
            room.send_people(to_work=True)
            if at != "after it was offered anew":
                await asyncio.sleep(SOON_S)
                assert _state(engine) is PhaseState.HELD
                await room.command("restart")
            await room.assert_it_ends_with_one_weld()
            decided = [
                one.event
                for one in engine.core.journal.events()
                if isinstance(one.event, AttemptReconciled)
            ]
            # two people decided where the attempt had been settled as not done
            assert [one.detail for one in decided] == [{"weld": "sound"}] * len(decided)
            assert bool(decided) == (at != "after it was offered anew")

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_what_was_reported_late_is_decided_before_a_restart(tmp_path: Path) -> None:
    async def test() -> None:
        async with _at_the_weld(tmp_path, taken=False) as room:
            cell = room.cell
            (task,) = _hand_work(room.engine, "offered")
            await room.command("hold")
            await asyncio.sleep(5)
            await cell.give("day-1", "report_task", task=task, values={"weld": "sound"})
            with pytest.raises(RefusedError, match="doubt"):
                await room.command("restart")
            room.send_people(to_work=True)
            await asyncio.sleep(SOON_S)
            # the person was wrong: the World shows no weld, and two people said so
            await room.command("restart")
            await room.assert_it_ends_with_one_weld()

    run_in_virtual_time(test())


async def _offered_and_left(cell: EmulatedCell, engine: Engine) -> tuple[_Room, str]:
    """Start the batch, and send people away once hand work is offered; return that task."""
    room = _Room(cell, engine)
    for one in cell.technicians:
        one.is_on_duty = lambda _: not _hand_work(engine, "offered")
    await begin(engine)
    task = await room.until("offered")
    room.send_people(to_work=False)
    return room, task


@pytest.mark.requirement("PRC-09")
def test_hand_work_that_was_offered_as_the_software_died_in_a_hold_is_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                room, _ = await _offered_and_left(cell, engine)
                with monkeypatch.context() as dying:
                    dying.setattr(engine.holds, "_hand_work", _nothing)
                    await room.command("hold")
            async with cell.engine() as engine:
                room = _Room(cell, engine)
                await asyncio.sleep(5)
                assert not _hand_work(engine, "offered")
                assert _state(engine) is PhaseState.HELD
                room.send_people(to_work=True)
                await room.command("restart")
                await room.assert_it_ends_with_one_weld()

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
@pytest.mark.parametrize("after_turns", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("first", ["person", "hold"])
@pytest.mark.parametrize("said", ["take_task", "report_task"])
def test_hand_work_said_in_the_turn_of_its_withdrawal_is_not_lost(
    tmp_path: Path, said: str, first: str, after_turns: int
) -> None:
    """The person and the engine write at once: what hands did isn't asked for again."""

    async def test() -> None:
        async with _at_the_weld(tmp_path, taken=False) as room:
            cell, engine = room.cell, room.engine
            (task,) = _hand_work(engine, "offered")
            (control,) = engine.holds.controls(BATCH)
            cell.world.hands.weld(BAG, KIT, "p1", by="U-0009")
            cell.world.hands.put(BAG, "hook", by="U-0009")
            report = {"values": {"weld": "sound"}}

            async def person() -> None:
                await cell.give("day-1", said, task=task, **(report if "report" in said else {}))

            async def hold() -> None:
                await engine.holds.hold(BATCH, control, "a hold in the same turn")

            one, other = (person, hold) if first == "person" else (hold, person)
            earlier = asyncio.ensure_future(one())
            for _ in range(after_turns):
                await asyncio.sleep(0)
            try:
                await other()
            except RefusedError:  # the withdrawal had been seen: a report still counts
                assert said == "take_task"
            await earlier
            await asyncio.sleep(5)
            if said == "take_task":
                await cell.give("day-1", "report_task", task=task, **report)
            room.send_people(to_work=True)
            await asyncio.sleep(SOON_S)
            assert _state(engine) is PhaseState.HELD
            await room.command("restart")
            await room.assert_it_ends_with_one_weld()
            assert not [one for one in engine.core.state.alarms if one.startswith("late report")]

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-09")
def test_a_late_report_on_record_as_the_software_died_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                room, task = await _offered_and_left(cell, engine)
                cell.world.hands.weld(BAG, KIT, "p1", by="U-0009")
                cell.world.hands.put(BAG, "hook", by="U-0009")
                await room.command("hold")
                await asyncio.sleep(5)

                async def dies(_: object) -> None:
                    """Do nothing more."""

                with monkeypatch.context() as dying:
                    dying.setattr(engine, "reported_late", dies)
                    report = {"values": {"weld": "sound"}}
                    await cell.give("day-1", "report_task", task=task, **report)
            async with cell.engine() as engine:
                room = _Room(cell, engine)
                await asyncio.sleep(5)
                with pytest.raises(RefusedError, match="doubt"):
                    await room.command("restart")
                room.send_people(to_work=True)
                await asyncio.sleep(SOON_S)
                await room.command("restart")
                await room.assert_it_ends_with_one_weld()

    run_in_virtual_time(test())


# reported late, when others had it in hand or had done it ------------------------------------


WELDED = {"values": {"weld": "sound"}}


def _recorded(engine: Engine, *kinds: type[AnyEvent]) -> list[AnyEvent]:
    return [one.event for one in engine.core.journal.events() if isinstance(one.event, kinds)]


@asynccontextmanager
async def _offered_anew(folder: Path) -> AsyncGenerator[tuple[_Room, str, str]]:
    """Yield the cell with the weld withdrawn and offered anew, nobody there, and both tasks."""
    async with _at_the_weld(folder, taken=False) as room:
        (old,) = _hand_work(room.engine, "offered")
        await room.command("hold")
        await asyncio.sleep(5)
        await room.command("restart")
        yield room, old, await room.until("offered")


async def _at_the_second_offer(cell: EmulatedCell, engine: Engine) -> tuple[_Room, str, str]:
    """Return the room as ``_offered_anew``, in a cell that outlasts its engine."""
    room = _Room(cell, engine)
    for one in cell.technicians:
        one.is_on_duty = lambda _: not _hand_work(engine, "offered")
    await begin(engine)
    old = await room.until("offered")
    room.send_people(to_work=False)
    await room.command("hold")
    await asyncio.sleep(5)
    await room.command("restart")
    return room, old, await room.until("offered")


def _who_decide(room: _Room) -> tuple[str, str]:
    """Return two who reported no weld."""
    tasks = room.engine.core.state.tasks
    reporters = {one.reported_by for one in tasks.values() if one.ask.get("work") == "weld"}
    bench = ("supervisor", "on-call", "day-2", "day-1")
    first, second, *_ = (one for one in bench if person(one).user not in reporters)
    return first, second


async def _decide(room: _Room, task: str, verdict: str) -> None:
    for login in _who_decide(room):
        await room.cell.give(login, "reconcile", task=f"{task}/late", verdict=verdict)


@pytest.mark.requirement("PRC-09")
@pytest.mark.parametrize("stands", ["taken", "reported", "done", "over"])
def test_what_a_person_says_they_did_is_on_record_whatever_the_screen_says(
    tmp_path: Path, stands: str
) -> None:
    """Somebody else has the weld in hand, or made it: nothing goes on until two people look."""

    async def test() -> None:
        async with _offered_anew(tmp_path) as (room, old, new):
            cell, engine = room.cell, room.engine
            await cell.give("day-2", "take_task", task=new)
            cell.world.hands.weld(BAG, KIT, "p1", by="U-0009")
            cell.world.hands.put(BAG, "hook", by="U-0009")
            if stands != "taken":
                await cell.give("day-2", "report_task", task=new, **WELDED)
            if stands in ("done", "over"):
                read = [f"L-{BAG}", f"L-{KIT}"]
                await cell.give("supervisor", "verify_task", task=new, read=read)
            if stands == "over":
                room.send_people(to_work=True)
                await asyncio.wait_for(_until_over(engine, new), LONG_S)
                room.send_people(to_work=False)
            await cell.give("day-1", "report_task", task=old, **WELDED)
            (late,) = _recorded(engine, HandWorkReportedLate)
            assert isinstance(late, HandWorkReportedLate)
            assert (late.task, late.values) == (old, {"weld": "sound"})
            assert f"late report {old}" in engine.core.state.alarms
            await asyncio.sleep(SOON_S)
            with pytest.raises(RefusedError, match="late report"):
                await room.command("restart")
            with pytest.raises(RefusedError, match="reported after its withdrawal before"):
                await cell.give("day-1", "report_task", task=old, **WELDED)
            if stands == "taken":
                with pytest.raises(RefusedError, match="in hand") as refused:
                    await cell.give("supervisor", "reconcile", task=f"{old}/late", verdict="same")
                assert "Have Devi Ashe report it first" in str(refused.value)
                await cell.give("day-2", "report_task", task=new, **WELDED)
            await cell.give("supervisor", "reconcile", task=f"{old}/late", verdict="same")
            room.send_people(to_work=True)
            await asyncio.sleep(SOON_S)
            (decided,) = _recorded(engine, LateReportDecided)
            assert isinstance(decided, LateReportDecided)
            assert decided.verdict == "same", "the World holds one weld"
            assert [one.meaning for one in decided.signatures] == ["performed", "verified"]
            assert len({one.signer for one in decided.signatures}) == 2
            await room.assert_it_ends_with_one_weld()

    run_in_virtual_time(test())


async def _until_over(engine: Engine, task: str) -> None:
    path = engine.core.state.tasks[task].path
    phases = engine.core.state.batches[BATCH].phases
    await engine.core.bells.until("news", lambda: phases[path].ended_at is not None)


@pytest.mark.requirement("PRC-09")
def test_a_late_report_of_what_the_other_let_be_is_the_one_that_counts(tmp_path: Path) -> None:
    """Who had it in hand found it done, and says not done: two people decide what was."""

    async def test() -> None:
        async with _offered_anew(tmp_path) as (room, old, new):
            cell, engine = room.cell, room.engine
            await cell.give("day-2", "take_task", task=new)
            cell.world.hands.weld(BAG, KIT, "p1", by="U-0009")
            cell.world.hands.put(BAG, "hook", by="U-0009")
            await cell.give("day-1", "report_task", task=old, **WELDED)
            await cell.give("day-2", "report_task", task=new, choice="not done")
            await cell.give("supervisor", "verify_task", task=new)
            await asyncio.sleep(5)
            await _decide(room, old, "same")
            with pytest.raises(RefusedError, match="doubt"):
                await room.command("restart")
            room.send_people(to_work=True)
            await room.assert_it_ends_with_one_weld()
            (settled,) = _recorded(engine, AttemptReconciled)
            assert isinstance(settled, AttemptReconciled)
            assert settled.detail == {"weld": "sound"}

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-09")
def test_what_a_late_report_put_in_doubt_is_held_after_the_software_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died as two people's word was on disk, and before what that puts in doubt was held."""

    async def dies(_: object) -> None:
        """Do nothing more."""

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                room, old, new = await _at_the_second_offer(cell, engine)
                await cell.give("day-2", "take_task", task=new)
                cell.world.hands.weld(BAG, KIT, "p1", by="U-0009")
                cell.world.hands.put(BAG, "hook", by="U-0009")
                await cell.give("day-1", "report_task", task=old, **WELDED)
                await cell.give("day-2", "report_task", task=new, choice="not done")
                await cell.give("supervisor", "verify_task", task=new)
                await asyncio.sleep(5)
                with monkeypatch.context() as dying:
                    dying.setattr(engine, "late_report_decided", dies)
                    await _decide(room, old, "same")
                    assert not engine.core.state.batches[BATCH].procedures["move"].reasons
            async with cell.engine() as engine:
                room = _Room(cell, engine)
                await asyncio.sleep(60)
                assert _state(engine) is PhaseState.HELD
                with pytest.raises(RefusedError, match="doubt"):
                    await room.command("restart")
                room.send_people(to_work=True)
                await room.assert_it_ends_with_one_weld()

    run_in_virtual_time(test())


@pytest.mark.requirement("SIG-12")
@pytest.mark.parametrize("stands", ["reported", "let be", "over"])
def test_who_reported_the_work_does_not_decide_between_the_reports(
    tmp_path: Path, stands: str
) -> None:
    """One says that they made the weld, another that they made it or let it be."""

    async def test() -> None:
        async with _offered_anew(tmp_path) as (room, old, new):
            cell, engine = room.cell, room.engine
            cell.world.hands.weld(BAG, KIT, "p1", by="U-0009")
            cell.world.hands.put(BAG, "hook", by="U-0009")
            said: dict[str, Any] = {"choice": "not done"} if stands == "let be" else WELDED
            await cell.give("day-2", "take_task", task=new)
            if stands == "let be":
                await cell.give("day-1", "report_task", task=old, **WELDED)
            await cell.give("day-2", "report_task", task=new, **said)
            if stands == "over":
                read = [f"L-{BAG}", f"L-{KIT}"]
                await cell.give("supervisor", "verify_task", task=new, read=read)
                room.send_people(to_work=True)
                await asyncio.wait_for(_until_over(engine, new), LONG_S)
                room.send_people(to_work=False)
            if stands != "let be":
                await cell.give("day-1", "report_task", task=old, **WELDED)
            await asyncio.sleep(5)
            before, late = engine.core.state.seq, f"{old}/late"
            for login in ("day-1", "day-2"):
                for command in ({"name": "take_task"}, {"name": "reconcile", "verdict": "same"}):
                    with pytest.raises(SamePersonError) as refused:
                        await cell.give(login, task=late, **command)
                    assert "Ask two of Sam Pryce, Nico Hale" in str(refused.value)
            assert engine.core.state.seq == before
            await cell.give("supervisor", "reconcile", task=late, verdict="same")
            for login in ("day-1", "day-2"):
                with pytest.raises(SamePersonError):
                    await cell.give(login, "reconcile", task=late, verdict="same")
            await cell.give("on-call", "reconcile", task=late, verdict="same")
            (decided,) = _recorded(engine, LateReportDecided)
            assert isinstance(decided, LateReportDecided)
            assert [one.printed_name for one in decided.signatures] == ["Sam Pryce", "Nico Hale"]

    run_in_virtual_time(test())


@pytest.mark.requirement("SIG-12")
def test_who_reports_work_late_does_not_verify_what_the_other_reported(tmp_path: Path) -> None:
    async def test() -> None:
        async with _offered_anew(tmp_path) as (room, old, new):
            cell, tasks = room.cell, room.engine.core.state.tasks
            cell.world.hands.weld(BAG, KIT, "p1", by="U-0009")
            cell.world.hands.put(BAG, "hook", by="U-0009")
            await cell.give("day-2", "report_task", task=new, **WELDED)
            await cell.give("day-1", "report_task", task=old, **WELDED)
            read = [f"L-{BAG}", f"L-{KIT}"]
            with pytest.raises(SamePersonError):
                await cell.give("day-1", "verify_task", task=new, read=read)
            assert tasks[new].status == "reported"
            await cell.give("on-call", "verify_task", task=new, read=read)
            assert tasks[new].status == "done"

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-09")
@pytest.mark.parametrize("said", [{"choice": "not done"}, {"declined": "I let it be"}])
def test_what_was_withdrawn_is_not_let_be_for_who_was_offered_it_anew(
    tmp_path: Path, said: dict[str, str]
) -> None:
    """A screen that is behind still shows the first offer; nobody speaks for the second."""

    async def test() -> None:
        async with _offered_anew(tmp_path) as (room, old, new):
            cell, state = room.cell, room.engine.core.state
            before = state.seq
            with pytest.raises(RefusedError, match="it was withdrawn"):
                await cell.give("day-1", "report_task", task=old, **said)
            assert state.seq == before
            assert (state.tasks[new].status, state.tasks[new].reported_by) == ("offered", "")
            room.send_people(to_work=True)
            await room.assert_it_ends_with_one_weld()

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-09", "IDC-13")
def test_what_was_done_twice_goes_into_quarantine(tmp_path: Path) -> None:
    async def test() -> None:
        async with _offered_anew(tmp_path) as (room, old, new):
            cell, engine = room.cell, room.engine
            await cell.give("day-2", "report_task", task=new, **WELDED)
            await cell.give("day-1", "report_task", task=old, **WELDED)
            await cell.give("on-call", "reconcile", task=f"{old}/late", verdict="twice")
            with pytest.raises(RefusedError, match="stated something else"):
                await cell.give("supervisor", "reconcile", task=f"{old}/late", verdict="same")
            await _decide(room, old, "twice")
            record = batch_record(engine.core.journal.path, BATCH)
            (told,) = record.reconciliations
            assert (told.verdict, len(told.signatures)) == ("twice", 2)
            assert told.doubt.endswith(", weld sound")
            assert engine.core.state.containers[BAG].quarantined
            (deviation,) = engine.core.state.deviations.values()
            assert "done twice" in deviation.text

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-09")
@pytest.mark.parametrize("died", ["after its hold", "before its hold"])
def test_a_late_report_holds_after_the_software_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, died: str
) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                room, old, new = await _at_the_second_offer(cell, engine)
                cell.world.hands.weld(BAG, KIT, "p1", by="U-0009")
                cell.world.hands.put(BAG, "hook", by="U-0009")
                await cell.give("day-2", "report_task", task=new, **WELDED)

                async def dies(_: object) -> None:
                    """Do nothing more."""

                with monkeypatch.context() as dying:
                    if died == "before its hold":
                        dying.setattr(engine, "late_report_disputed", dies)
                    await cell.give("day-1", "report_task", task=old, **WELDED)
                    await asyncio.sleep(1)
                is_said = f"late report {old}" in engine.core.state.alarms
                assert is_said == (died == "after its hold")
            async with cell.engine() as engine:
                room = _Room(cell, engine)
                await asyncio.sleep(5)
                assert not engine.core.state.alarms[f"late report {old}"].cleared
                with pytest.raises(RefusedError, match="late report"):
                    await room.command("restart")
                await cell.give("supervisor", "reconcile", task=f"{old}/late", verdict="same")
                room.send_people(to_work=True)
                await room.assert_it_ends_with_one_weld()
                assert engine.core.state.alarms[f"late report {old}"].cleared

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-09")
def test_a_late_report_holds_whoever_waits_for_its_answer(tmp_path: Path) -> None:
    """The terminal is gone as the report is on disk: nobody comes back to its command."""

    async def test() -> None:
        async with _offered_anew(tmp_path) as (room, old, new):
            engine = room.engine
            await room.cell.give("day-2", "take_task", task=new)
            by, values = UserId("U-0006"), {"weld": "sound"}
            report = late_report(engine, TaskId(old), TaskId(new), by, values)
            await engine.core.record(BATCH, *report)
            await asyncio.sleep(5)
            assert not engine.core.state.alarms[f"late report {old}"].cleared
            with pytest.raises(RefusedError, match="late report"):
                await room.command("restart")

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-09")
def test_work_that_ended_in_the_moment_of_its_report_has_an_alarm_until_a_person_has_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with _offered_anew(tmp_path) as (room, old, new):
            cell, engine = room.cell, room.engine
            room.send_people(to_work=True)
            await asyncio.wait_for(_until_over(engine, new), LONG_S)
            room.send_people(to_work=False)
            with monkeypatch.context() as racing:
                racing.setattr(engine.board, "stands_against", _nobody)
                await cell.give("day-1", "report_task", task=old, **WELDED)
                await asyncio.sleep(5)
            alarm = f"done anew {old}"
            assert "may have been done twice" in engine.core.state.alarms[alarm].consequence
            await cell.give("supervisor", "acknowledge_alarm", alarm=alarm)
            await asyncio.sleep(5)
            assert alarm not in engine.core.state.alarms

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-09", "SIG-12")
def test_a_batch_ends_once_two_people_have_said_what_a_late_report_means(tmp_path: Path) -> None:
    """All its phases are complete and verified; somebody says that they made the weld as well."""

    async def test() -> None:
        async with _offered_anew(tmp_path) as (room, old, _):
            cell, state = room.cell, room.engine.core.state
            for one in cell.technicians:
                one.is_on_duty = lambda _: (
                    f"{BATCH}/move/once/03-transfer/verify" not in state.tasks
                )
            done = room.engine.core.bells.until(
                "news", lambda: _state(room.engine) is PhaseState.COMPLETE
            )
            await asyncio.wait_for(done, LONG_S)
            await asyncio.sleep(60)
            assert state.batches[BATCH].status == "running"
            await cell.give("day-1", "report_task", task=old, **WELDED)
            for name in [one for one in state.tasks if state.tasks[one].work == "verify"]:
                for login in ("supervisor", "day-2", "day-1"):
                    if state.tasks[name].status != "done":
                        with suppress(SamePersonError):
                            await cell.give(login, "verify_task", task=name)
                assert state.tasks[name].status == "done"
            await asyncio.sleep(SOON_S)
            assert state.batches[BATCH].status == "running"
            await _decide(room, old, "mistaken")
            await room.assert_it_ends_with_one_weld()
            assert state.alarms[f"late report {old}"].cleared

    run_in_virtual_time(test())


@pytest.mark.requirement("SIG-12")
def test_who_reports_work_late_does_not_verify_its_phase(tmp_path: Path) -> None:
    """Somebody says that they docked the kit, which others did; they are no second person."""

    async def test() -> None:
        async with thin_cell(tmp_path, kit_at="rack") as cell, cell.engine() as engine:
            room, tasks = _Room(cell, engine), engine.core.state.tasks

            def docked() -> list[str]:
                return [
                    name
                    for name, one in tasks.items()
                    if one.work == "do" and one.ask["work"] == "install_kit"
                ]

            def owed() -> list[str]:
                return [name for name in tasks if name.endswith("00-install/verify")]

            for one in cell.technicians:
                one.is_on_duty = lambda _: not docked()
            await begin(engine, recipe_that_docks())
            await asyncio.wait_for(engine.core.bells.until("news", lambda: bool(docked())), LONG_S)
            (old,) = docked()
            await asyncio.sleep(5)
            await room.command("hold")
            await asyncio.sleep(60)
            await room.command("restart")
            for one in cell.technicians:
                one.is_on_duty = lambda _: not owed()
            await asyncio.wait_for(engine.core.bells.until("news", lambda: bool(owed())), LONG_S)
            room.send_people(to_work=False)
            await asyncio.sleep(60)
            (verify,) = owed()
            hands = {
                by for one in tasks.values() if one.path == tasks[verify].path for by in one.hands
            }
            (supervisor,) = (
                name for name, one in engine.core.state.people.items() if one.login == "supervisor"
            )
            assert supervisor not in hands, "they had docked it; the test shows nothing"
            await cell.give("supervisor", "report_task", task=old, values={})
            with pytest.raises(SamePersonError):
                await cell.give("supervisor", "verify_task", task=verify)
            assert tasks[verify].status == "offered"

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_a_late_report_makes_nobody_else_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine takes its time to settle the attempt: others command meanwhile."""

    async def test() -> None:
        async with _at_the_weld(tmp_path, taken=False) as room:
            cell, engine = room.cell, room.engine
            (task,) = _hand_work(engine, "offered")

            async def never(_: object) -> None:
                await asyncio.sleep(LONG_S)

            with monkeypatch.context() as slow:
                slow.setattr(engine.board, "settlement", never)
                await room.command("hold")
                await asyncio.sleep(5)
                late = asyncio.ensure_future(
                    cell.give("day-1", "report_task", task=task, values={"weld": "sound"})
                )
                await asyncio.sleep(5)
                async with asyncio.timeout(60):
                    with pytest.raises(RefusedError, match="doubt"):
                        await room.command("restart")
                    await late

    run_in_virtual_time(test())


def test_overdue_hand_work_says_who_is_waited_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with _at_the_weld(tmp_path, taken=False) as room:
            await asyncio.sleep(31 * 60)
            (alarm,) = (
                one
                for name, one in room.engine.core.state.alarms.items()
                if name.startswith("overdue ")
            )
            assert alarm.cause.startswith("hand work (weld) takes longer than")
            assert alarm.action.startswith("Nobody has taken it yet")
            assert "instrument" not in alarm.action

    run_in_virtual_time(test())
