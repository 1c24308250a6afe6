"""A label that nobody knew before: what it takes until it says whose the bag is.

Method: a receipt runs alone, with people at work, as in ``two_patients.py`` but with no slip.
Then a joint, a whole phase and a question that somebody who looked rejects, on the thin path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hw_mocks import technicians
from hw_mocks.technicians import Slips
from orchestrator.engine.engine import Engine
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.words import BOTH_WITHIN
from orchestrator.journal.events import AnyEvent, CommandAnswered, TaskOffered
from orchestrator.kernel.errors import IdentityRefusedError, RefusedError
from orchestrator.kernel.identifiers import TaskId
from orchestrator.kernel.quantities import hour, second
from orchestrator.process_cell.emulated import EmulatedCell, emulated_cell
from orchestrator.process_cell.simulation import REFERENCE_CELL, put_on_file
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BAG, BATCH, KIT, OTHER_BAG, begin, thin_cell
from tests.simulation.two_patients import CAR_T, OURS, SEED, THEIRS, Case, Room, cases

A_RECEIPT = next(one for one in cases(CAR_T) if one.slip == "mislabels")


class _Receipt:
    """The receipt of one bag, once it has begun."""

    def __init__(self, cell: EmulatedCell, engine: Engine, room: Room) -> None:
        self.cell = cell
        self.engine = engine
        self.state = engine.core.state
        self.bag = room.ours.containers[room.case.thing]
        self.other = room.theirs.containers[room.case.thing]
        self.step = room.step
        self.was_called = self.state.containers[self.bag].label

    def of_kind(self, kind: str) -> list[Any]:
        return [one.event for one in self.engine.core.journal.events() if one.event.kind == kind]

    async def until(self, is_so: Callable[[AnyEvent], bool]) -> None:
        await self.engine.core.bells.until(
            "news", lambda: any(is_so(one.event) for one in self.engine.core.journal.events())
        )

    def nobody_verifies(self) -> None:
        for one in self.cell.technicians:
            one.is_on_duty = lambda _: not self.is_reported()

    def everybody_works(self) -> None:
        for one in self.cell.technicians:
            one.is_on_duty = lambda _: True

    def is_reported(self) -> bool:
        return any(one.status == "reported" for one in self.state.tasks.values())

    def reported(self) -> str:
        (name,) = [name for name, one in self.state.tasks.items() if one.status == "reported"]
        return name

    async def until_reported(self) -> str:
        await self.engine.core.bells.until("news", self.is_reported)
        return self.reported()

    async def until_reported_and_left(self) -> str:
        """Return the task that is reported, once nobody works any more but who is told to."""
        self.nobody_verifies()
        task = await self.until_reported()
        for one in self.cell.technicians:
            one.is_on_duty = lambda _: False
        return task

    async def labelled_anew(self) -> None:
        """Have people stick the next label on, beside one that is rejected and still there."""
        self.nobody_verifies()
        task = await self.until_reported()
        read = [self.was_called, self.state.tasks[task].values["label"]]
        await self.cell.give("supervisor", "verify_task", task=task, read=read)
        self.everybody_works()

    @property
    def has_ended(self) -> bool:
        return any(one.path == self.step for one in self.of_kind("phase_ended"))


def received(folder: Path, attempt: Callable[[_Receipt], Awaitable[None]]) -> None:
    """Run ``attempt`` while a bag is received."""

    async def run() -> None:
        slips = Slips()
        async with (
            emulated_cell(folder, REFERENCE_CELL, seed=SEED, slips=slips) as cell,
            cell.engine() as engine,
        ):
            case = Case(CAR_T, A_RECEIPT.path, A_RECEIPT.thing, "mislabels")
            room = Room(case, cell, engine, slips)
            await put_on_file(cell, engine, room.recipe, room.ours, OURS)
            await put_on_file(cell, engine, room.recipe, room.theirs, THEIRS, number=2)
            await cell.give("supervisor", "start_batch", batch=str(OURS))
            await attempt(_Receipt(cell, engine, room))
            await engine.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.console.recipes.check_recipe", lambda *_: [])  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
        run_in_virtual_time(run())


@pytest.mark.requirement("LBL-06")
def test_a_new_label_counts_once_it_was_scanned_with_the_one_before(tmp_path: Path) -> None:
    async def attempt(receipt: _Receipt) -> None:
        bag = receipt.state.containers[receipt.bag]
        await receipt.until(lambda one: one.kind == "scan_awaited" and one.which == "old")
        assert bag.label == receipt.was_called
        assert bag.beside
        new = bag.beside
        await receipt.until(lambda one: one.kind == "scan_awaited" and one.which == "new")
        assert bag.label == receipt.was_called
        await receipt.until(lambda one: one.kind == "identity_proven" and one.read_first != "")
        assert (bag.label, bag.beside) == (new, "")
        (shown,) = [one for one in receipt.of_kind("identity_proven") if one.read_first]
        assert (shown.read_first, shown.label) == (receipt.was_called, new)
        assert shown.scanner not in (None, "S1"), "a fixed scanner sees no two labels"
        assert receipt.cell.world.labels_on(receipt.bag)[-2:] == (receipt.was_called, new)
        verified = [one for one in receipt.of_kind("task_verified") if one.read]
        assert [set(one.read) for one in verified] == [{receipt.was_called, new}]

    received(tmp_path, attempt)


def test_two_labels_that_are_read_far_apart_prove_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(technicians, "NEXT_LABEL_S", BOTH_WITHIN.to(second) + 1.0)

    async def attempt(receipt: _Receipt) -> None:
        await receipt.until(lambda one: one.kind == "scan_awaited" and one.which == "new")
        await receipt.engine.core.sleep(BOTH_WITHIN * 10)
        asked = [one.which for one in receipt.of_kind("scan_awaited") if one.which]
        assert asked[:4] == ["old", "new", "old", "new"]
        assert not [one for one in receipt.of_kind("identity_proven") if one.read_first]
        assert receipt.state.containers[receipt.bag].label == receipt.was_called
        assert not receipt.has_ended

    received(tmp_path, attempt)


@pytest.mark.requirement("IDC-05")
def test_a_second_person_reads_the_labels_and_is_not_told_them(tmp_path: Path) -> None:
    async def attempt(receipt: _Receipt) -> None:
        receipt.nobody_verifies()
        task = await receipt.until_reported()
        view = await receipt.cell.desk.view("work")
        (shown,) = [one for one in view["tasks"] if one["task"] == task]
        new = receipt.state.tasks[task].values["label"]
        assert new not in str(shown)
        assert len(shown["to_read"]) == 2
        before = receipt.state.seq
        with pytest.raises(RefusedError, match="isn't said which labels"):
            await receipt.cell.give("supervisor", "verify_task", task=task)
        assert receipt.state.seq == before
        for read in ([new], [receipt.was_called]):
            with pytest.raises(IdentityRefusedError, match="not all of these"):
                await receipt.cell.give("supervisor", "verify_task", task=task, read=read)
        foreign = receipt.state.containers[receipt.other].label
        with pytest.raises(IdentityRefusedError, match="another patient") as refused:
            await receipt.cell.give("supervisor", "verify_task", task=task, read=[foreign, new])
        assert receipt.other not in str(refused.value)
        assert receipt.state.containers[receipt.other].quarantined
        assert len(receipt.of_kind("identity_refused")) == 3
        assert receipt.state.tasks[task].status == "reported"
        read = [receipt.was_called, new]
        await receipt.cell.give("supervisor", "verify_task", task=task, read=read)
        receipt.everybody_works()
        await receipt.until(lambda one: one.kind == "phase_ended" and one.path == receipt.step)
        assert not [one for one, alarm in receipt.state.alarms.items() if not alarm.cleared]

    received(tmp_path, attempt)


@pytest.mark.requirement("IDC-13")
@pytest.mark.parametrize("who", ["the second person", "who did it"])
def test_what_is_rejected_is_held_until_quality_and_two_people_decided(
    tmp_path: Path, who: str
) -> None:
    async def attempt(receipt: _Receipt) -> None:
        receipt.nobody_verifies()
        task = await receipt.until_reported()
        rejected_label = receipt.state.tasks[task].values["label"]
        login = "supervisor"
        if who == "who did it":
            by = receipt.state.people[receipt.state.tasks[task].reported_by]
            login = by.login
        with pytest.raises(RefusedError, match="isn't said why"):
            await receipt.cell.give(login, "reject_task", task=task, why=" ")
        await receipt.cell.give(login, "reject_task", task=task, why="it is on another bag")
        receipt.everybody_works()
        await receipt.until(lambda one: one.kind == "attempt_reconciled")
        bag = receipt.state.containers[receipt.bag]
        assert "it is on another bag" in bag.quarantined
        assert bag.label == receipt.was_called
        (doubt,) = receipt.of_kind("attempt_uncertain")
        assert "it is on another bag" in doubt.why
        with pytest.raises(RefusedError, match="isn't in quarantine"):
            await receipt.cell.give(
                "quality", "release_container", container=receipt.other, reason="not this one"
            )
        await receipt.engine.core.sleep(2 * hour)
        assert not receipt.has_ended, "nobody let it go on"
        assert bag.label == receipt.was_called
        await receipt.cell.give(
            "quality", "release_container", container=receipt.bag, reason="Both labels are on it"
        )
        await receipt.cell.give("supervisor", "restart", batch=str(OURS), why="released")
        await receipt.until(lambda one: one.kind == "phase_ended" and one.path == receipt.step)
        assert bag.label == rejected_label, "two people found it on, and it was scanned"
        assert not [one for one, alarm in receipt.state.alarms.items() if not alarm.cleared]

    received(tmp_path, attempt)


@pytest.mark.requirement("IDC-13")
@pytest.mark.parametrize("verdict", ["nothing", "all"])
def test_a_label_that_is_rejected_at_the_scanner_is_decided_by_two_people(
    tmp_path: Path, verdict: str
) -> None:
    async def attempt(receipt: _Receipt) -> None:
        task = await receipt.until_reported_and_left()
        first = receipt.state.tasks[task].values["label"]
        read = [receipt.was_called, first]
        await receipt.cell.give("supervisor", "verify_task", task=task, read=read)
        await receipt.engine.core.sleep(5 * second)
        bag = receipt.state.containers[receipt.bag]
        assert bag.beside == first
        await receipt.cell.give("day-1", "reject_task", task=task, why="the label fell off")
        assert (bag.beside, bag.beside_task) == ("", "")
        doubt = f"{task}/doubt"
        assert receipt.state.tasks[doubt].status == "offered"
        with pytest.raises(RefusedError, match="it is done"):
            await receipt.cell.give("day-1", "reject_task", task=task, why="once more")
        with pytest.raises(RefusedError, match="doubt"):
            await receipt.cell.give("supervisor", "restart", batch=str(OURS), why="go on")
        stated = {"label": first} if verdict == "all" else {}
        for login in ("supervisor", "day-2"):
            await receipt.cell.give(login, "reconcile", task=doubt, verdict=verdict, values=stated)
        assert receipt.state.alarms[f"rejected {task}"].cleared
        assert bag.quarantined
        await receipt.cell.give(
            "quality", "release_container", container=receipt.bag, reason="looked at"
        )
        await receipt.cell.give("supervisor", "restart", batch=str(OURS), why="released")
        if verdict == "nothing":
            again = TaskId(f"{task.rpartition('.')[0]}.2")
            await receipt.until(lambda one: one.kind == "task_offered" and one.task == again)
            assert (bag.label, bag.beside) == (receipt.was_called, "")
            return
        receipt.everybody_works()
        await receipt.until(lambda one: one.kind == "phase_ended" and one.path == receipt.step)
        assert bag.label == first

    received(tmp_path, attempt)


@pytest.mark.requirement("IDC-13")
@pytest.mark.parametrize("verdict", ["nothing", "all"])
def test_a_label_is_rejected_at_the_scanner_once_more(tmp_path: Path, verdict: str) -> None:
    """Two people said that it is on, and whoever scans finds that it isn't, or not any more."""

    async def attempt(receipt: _Receipt) -> None:
        cell, state = receipt.cell, receipt.state
        task = await receipt.until_reported_and_left()
        first = state.tasks[task].values["label"]
        bag, doubt, stated = state.containers[receipt.bag], f"{task}/doubt", {"label": first}

        async def decide(verdict: str, values: dict[str, str]) -> None:
            for login in ("supervisor", "day-2"):
                await cell.give(login, "reconcile", task=doubt, verdict=verdict, values=values)
            assert state.alarms[f"rejected {task}"].cleared
            await cell.give(
                "quality", "release_container", container=receipt.bag, reason="looked at"
            )
            await cell.give("supervisor", "restart", batch=str(OURS), why="released")
            await receipt.engine.core.sleep(5 * second)

        await cell.give("day-1", "reject_task", task=task, why="it is on another bag")
        await receipt.engine.core.sleep(5 * second)
        await decide("all", stated)
        assert bag.beside == first
        await cell.give("day-1", "reject_task", task=task, why="it fell off")
        assert (bag.beside, state.tasks[doubt].status) == ("", "offered")
        assert "it fell off" in bag.quarantined
        assert not state.alarms[f"rejected {task}"].cleared
        with pytest.raises(RefusedError, match="it is done"):
            await cell.give("day-1", "reject_task", task=task, why="once more")
        with pytest.raises(RefusedError, match="doubt"):
            await cell.give("supervisor", "restart", batch=str(OURS), why="go on")
        await decide(verdict, stated if verdict == "all" else {})
        if verdict == "all":
            receipt.everybody_works()
        else:
            await receipt.labelled_anew()
        await receipt.until(lambda one: one.kind == "phase_ended" and one.path == receipt.step)
        assert (bag.label == first) == (verdict == "all")
        assert bag.label in cell.world.labels_on(receipt.bag)
        assert len(receipt.of_kind("attempt_reconciled")) == 2

    received(tmp_path, attempt)


@pytest.mark.requirement("IDC-13")
@pytest.mark.parametrize("rejected", ["as reported", "at the scanner"])
def test_a_rejected_label_is_reported_of_nothing_any_more(tmp_path: Path, rejected: str) -> None:
    """It was stuck on another bag: nobody knows where it is, so the next of the roll is taken."""

    async def attempt(receipt: _Receipt) -> None:
        cell, state = receipt.cell, receipt.state
        task = await receipt.until_reported_and_left()
        first = state.tasks[task].values["label"]
        if rejected == "at the scanner":
            read = [receipt.was_called, first]
            await cell.give("supervisor", "verify_task", task=task, read=read)
            await receipt.engine.core.sleep(5 * second)
        await cell.give("day-1", "reject_task", task=task, why="it is on another bag")
        await receipt.engine.core.sleep(5 * second)
        for login in ("supervisor", "day-2"):
            await cell.give(login, "reconcile", task=f"{task}/doubt", verdict="nothing", values={})
        await cell.give("quality", "release_container", container=receipt.bag, reason="looked at")
        await cell.give("supervisor", "restart", batch=str(OURS), why="released")
        again = TaskId(f"{task.rpartition('.')[0]}.2")
        await receipt.until(lambda one: one.kind == "task_offered" and one.task == again)
        for login in ("day-1", "on-call"):
            with pytest.raises(RefusedError, match=r"it was reported of .* before") as refused:
                await cell.give(login, "report_task", task=again, values={"label": first})
            assert "the next label of the roll" in str(refused.value)
        await receipt.labelled_anew()
        await receipt.until(lambda one: one.kind == "phase_ended" and one.path == receipt.step)
        bag = state.containers[receipt.bag]
        assert bag.label != first
        assert bag.label == cell.world.labels_on(receipt.bag)[-1]

    received(tmp_path, attempt)


@pytest.mark.requirement("IDC-05")
def test_nothing_is_known_by_a_label_that_no_scans_have_proven(tmp_path: Path) -> None:
    async def attempt(receipt: _Receipt) -> None:
        await receipt.until(lambda one: one.kind == "scan_awaited" and one.which == "old")
        for one in receipt.cell.technicians:
            one.is_on_duty = lambda _: False
        bag = receipt.state.containers[receipt.bag]
        place = bag.place
        with pytest.raises(RefusedError, match="wasn't scanned with the one before"):
            await receipt.cell.give("day-1", "carry_away", label=bag.beside, to="quarantine")
        assert bag.place == place
        assert "before two scans had proven it" in bag.quarantined
        await receipt.cell.give("day-1", "carry_away", label=receipt.was_called, to="quarantine")
        assert bag.place == "quarantine"

    received(tmp_path, attempt)


# what else can be rejected -----------------------------------------------------------------


def at_work(folder: Path, attempt: Callable[[EmulatedCell, Engine], Awaitable[None]]) -> None:
    """Run ``attempt`` as the thin path begins."""

    async def run() -> None:
        async with thin_cell(folder) as cell, cell.engine() as engine:
            await begin(engine)
            await attempt(cell, engine)
            await engine.stop()

    run_in_virtual_time(run())


def _open(engine: Engine, work: str, status: str) -> list[str]:
    return [
        name
        for name, one in engine.core.state.tasks.items()
        if one.status == status and (one.work == work or one.ask.get("work") == work)
    ]


async def _left_open(cell: EmulatedCell, engine: Engine, work: str, status: str) -> str:
    for one in cell.technicians:
        one.is_on_duty = lambda _: not _open(engine, work, status)
    await engine.core.bells.until("news", lambda: bool(_open(engine, work, status)))
    return _open(engine, work, status)[0]


@pytest.mark.requirement("IDC-05")
def test_a_joint_is_verified_by_the_labels_of_bag_and_kit(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        task = await _left_open(cell, engine, "weld", "reported")
        for read in ([f"L-{BAG}"], [f"L-{KIT}"], [f"L-{BAG}", f"L-{OTHER_BAG}"]):
            with pytest.raises(IdentityRefusedError):
                await cell.give("supervisor", "verify_task", task=task, read=read)
        labels = [*cell.world.labels_on(KIT), *cell.world.labels_on(BAG)]
        await cell.give("supervisor", "verify_task", task=task, read=labels)
        assert engine.core.state.tasks[task].status == "done"

    at_work(tmp_path, attempt)


@pytest.mark.requirement("PRC-09")
def test_another_patients_label_is_refused_put_aside_and_told_at_once(tmp_path: Path) -> None:
    """What dies after the refusal is on record has put the bag aside as well."""

    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        task = await _left_open(cell, engine, "weld", "reported")
        read = [f"L-{OTHER_BAG}", f"L-{KIT}"]
        with pytest.raises(IdentityRefusedError):
            await cell.give("supervisor", "verify_task", task=task, read=read)
        assert _answered_last(engine) == [
            "identity_refused", "container_quarantined", "alarm_raised"
        ]  # fmt: skip
        await cell.give("supervisor", "verify_task", task=task, read=[f"L-{BAG}", f"L-{KIT}"])
        assert _answered_last(engine) == ["task_verified", "alarm_cleared"]

    at_work(tmp_path, attempt)


def _answered_last(engine: Engine) -> list[str]:
    """Return the kinds of events that were recorded in one with the last command's answer."""
    events = list(engine.core.journal.events())
    answer, number = next(
        (one.event, number)
        for number, one in reversed(list(enumerate(events)))
        if isinstance(one.event, CommandAnswered)
    )
    return [one.event.kind for one in events[number - answer.events : number]]


@pytest.mark.requirement("IDC-13")
def test_a_rejected_joint_lets_nothing_pass(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        task = await _left_open(cell, engine, "weld", "reported")
        await cell.give("day-1", "reject_task", task=task, why="another bag hangs there")
        for one in cell.technicians:
            one.is_on_duty = lambda _: True
        await engine.core.sleep(4 * hour)
        state = engine.core.state
        assert "another bag hangs there" in state.containers[BAG].quarantined
        assert engine.holds.state_of(BATCH, "move") is PhaseState.HELD
        with pytest.raises(RefusedError, match="it is done"):
            await cell.give("day-1", "reject_task", task=task, why="again")
        await cell.give("supervisor", "restart", batch=str(BATCH), why="let us see")
        await engine.core.sleep(4 * hour)
        assert not cell.world.contents(f"{KIT}/vessel").cells, "cells passed a rejected joint"

    at_work(tmp_path, attempt)


@pytest.mark.requirement("PRC-09")
def test_a_rejected_phase_holds_its_batch_under_a_deviation(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        task = await _left_open(cell, engine, "verify", "offered")
        await cell.give("supervisor", "reject_task", task=task, why="the line isn't empty")
        state = engine.core.state
        assert state.tasks[task].status == "offered", "it is still to be verified"
        (deviation,) = state.deviations.values()
        assert "the line isn't empty" in deviation.text
        assert engine.holds.state_of(BATCH, "move") in (PhaseState.HOLDING, PhaseState.HELD)

    at_work(tmp_path, attempt)


def test_other_hand_work_that_is_rejected_is_done_anew(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        for one in cell.technicians:
            one.is_on_duty = lambda _: False
        looked = TaskOffered(
            task=TaskId("B-1/look#1.1"),
            batch=None,
            path=None,
            word=None,
            work="do",
            text="state its confluence",
            ask={"work": "inspect_confluence", "report": [], "containers": [f"{KIT}/vessel"]},
            second_person=True,
        )
        await engine.core.record_for_host(looked)
        named = str(looked.task)
        await cell.give("day-1", "report_task", task=named)
        await cell.give("day-2", "reject_task", task=named, why="that is another field of view")
        assert engine.core.state.tasks[named].status == "offered"
        assert not engine.core.state.containers[KIT].quarantined

    at_work(tmp_path, attempt)
