"""Whose word a command is: sessions end, signing takes the password, old screens don't count.

Method: each command of the role table at a cell where it is legal, given by somebody who has
a session and nothing else; and verifications by each of the people who had a hand in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.console.batches import SAFE_ON_AN_OLD_VIEW
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import AnyEvent, TaskReopened, TaskReported, TaskTaken
from orchestrator.kernel.errors import NotAuthorisedError, RefusedError, SamePersonError
from orchestrator.kernel.identifiers import TaskId
from orchestrator.kernel.quantities import Duration, minute
from orchestrator.people.roles import SIGNED_AS
from orchestrator.people.sessions import IDLE, LIFETIME, NoSessionError
from orchestrator.people.signatures import faults
from orchestrator.people.users import Present
from orchestrator.process_cell.emulated_people import person
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BATCH
from tests.unit.engine_desk.commands import (
    CASES,
    READY,
    TASK,
    Ready,
    in_doubt_found_otherwise,
    late_report_found_otherwise,
    made_ready,
    offered,
    people_at,
    reported_late,
    task,
)

SIGNED = [case for case in CASES if case.values[0] in SIGNED_AS]
COMPARED = ("take_task", "report_task", "answer_task", "verify_task", "reconcile", "clear_line",
            "restart", "resume", "stop", "abort", "release_container")  # fmt: skip
ON_WHAT_IS_SHOWN = [
    case
    for case in CASES
    if case.values[0] in COMPARED and case.values[1] is not reported_late  # taken on an old view
]


def kinds(engine: Engine, after: int) -> list[str]:
    return [one.event.kind for one in engine.core.journal.events(after + 1)]


@pytest.mark.parametrize("secret", ["", "another password than mine"])
@pytest.mark.parametrize(("name", "ready"), SIGNED)
@pytest.mark.requirement("SIG-06", "SIG-09")
def test_a_session_alone_signs_nothing(
    tmp_path: Path, name: str, ready: Ready, secret: str
) -> None:
    """Least of all somebody else's word: neither statement falls before the signer is known."""

    async def run() -> None:
        async with people_at(tmp_path, name) as cell, cell.engine() as engine:
            command = await made_ready(cell, engine, name, ready)
            before = engine.core.state.seq
            with pytest.raises(NotAuthorisedError, match="they don't belong together"):
                await cell.desk.give(command.model_copy(update={"secret": secret}))
            assert kinds(engine, before) == ["login_refused"]
            refused = ready in (in_doubt_found_otherwise, late_report_found_otherwise)
            try:
                await cell.desk.give(command)
            except RefusedError:
                assert refused
            signed = kinds(engine, before)[1:]
            assert "command_answered" in signed, "the same command signs with the password"
            assert (TaskReopened.model_fields["kind"].default in signed) is refused

    run_in_virtual_time(run())


@pytest.mark.parametrize("seen", [-1, -(2**53 - 1), 0])
@pytest.mark.parametrize(("name", "ready"), ON_WHAT_IS_SHOWN)
@pytest.mark.requirement("SIG-09")
def test_nothing_is_decided_on_no_view_or_an_old_one(
    tmp_path: Path, name: str, ready: Ready, seen: int
) -> None:
    async def run() -> None:
        async with people_at(tmp_path, name) as cell, cell.engine() as engine:
            command = await made_ready(cell, engine, name, ready)
            before = engine.core.state.seq
            why = "it rests on no view" if seen < 0 else "it has changed since the view"
            with pytest.raises(RefusedError, match=why):
                await cell.desk.give(command.model_copy(update={"seen": seen}))
            assert engine.core.state.seq == before

    run_in_virtual_time(run())


@pytest.mark.parametrize(("name", "ready"), CASES)
@pytest.mark.requirement("SIG-09")
def test_on_no_view_nothing_is_taken_but_a_hold_and_a_pause(
    tmp_path: Path, name: str, ready: Ready
) -> None:
    async def run() -> None:
        async with people_at(tmp_path, name) as cell, cell.engine() as engine:
            command = await made_ready(cell, engine, name, ready)
            before = engine.core.state.seq
            on_none = command.model_copy(update={"seen": -1})
            if name in SAFE_ON_AN_OLD_VIEW:
                await cell.desk.give(on_none)
                return
            with pytest.raises(RefusedError, match="it rests on no view"):
                await cell.desk.give(on_none)
            assert engine.core.state.seq == before

    run_in_virtual_time(run())


@pytest.mark.parametrize(
    ("used_at", "over_at", "why"),
    [
        ([], IDLE, "no command was given in it for 15 min"),
        ([14 * minute], 14 * minute + IDLE, "no command was given in it for 15 min"),
        ([one * minute for one in range(10, 720, 10)], LIFETIME, "it was open for 12 h"),
    ],
    ids=["idle", "used-once", "busy"],
)
@pytest.mark.requirement("SIG-06")
def test_a_leftover_token_opens_nothing_even_after_a_restart(
    tmp_path: Path, used_at: list[Duration], over_at: Duration, why: str
) -> None:
    async def run() -> None:
        async with people_at(tmp_path, "open_deviation") as cell:
            async with cell.engine() as engine:
                (ready,) = READY["open_deviation"]
                command = await made_ready(cell, engine, "open_deviation", ready)
                opened_ms = engine.core.clock.boottime().base

                async def wait_until(since_opened: Duration, running: Engine = engine) -> None:
                    await running.core.sleep_to(opened_ms + since_opened.base)

                for number, use in enumerate(used_at):
                    await wait_until(use)
                    again = command.model_copy(update={"request": f"use-{number}"})
                    await cell.desk.give(again)
            async with cell.engine() as engine:
                await wait_until(Duration.of_base(over_at.base - 1), engine)
                limit = {"arguments": {**command.arguments, "limit": "none"}}
                with pytest.raises(RefusedError, match="no such limit"):
                    await cell.desk.give(command.model_copy(update=limit))
                await wait_until(over_at, engine)
                before = engine.core.state.seq
                with pytest.raises(NoSessionError, match=why):
                    await cell.desk.give(command)
                assert kinds(engine, before) == ["session_closed"]
            async with cell.engine() as engine:
                with pytest.raises(NoSessionError, match="it was closed"):
                    await cell.desk.give(command)
                deviations = len(engine.core.state.deviations)
                assert deviations == len(used_at)

    run_in_virtual_time(run())


SIGNED_ON_TASKS = [case for case in SIGNED if case.values[0] in {*COMPARED} - {"release_container"}]


@pytest.mark.parametrize(("name", "ready"), SIGNED_ON_TASKS)
def test_what_changed_while_the_password_was_looked_at_is_not_signed(
    tmp_path: Path, name: str, ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine goes on meanwhile, whoever else has to wait."""

    async def run() -> None:
        async with people_at(tmp_path, name) as cell, cell.engine() as engine:
            command = await made_ready(cell, engine, name, ready)
            recognise = cell.desk.office.recognise
            asked = TaskId(str(command.arguments["task"]))

            async def slowly(login: str, secret: str, terminal: str) -> Present:
                by = person("supervisor").user
                await engine.core.record_for_host(TaskReopened(task=asked, by=by, why="meanwhile"))
                return await recognise(login, secret, terminal)

            monkeypatch.setattr(cell.desk.office, "recognise", slowly)
            before = engine.core.state.seq
            with pytest.raises(RefusedError, match="it has changed since the view"):
                await cell.desk.give(command)
            assert kinds(engine, before) == ["task_reopened"]

    run_in_virtual_time(run())


# Who had a hand in a phase --------------------------------------------------------------------

PHASE: dict[str, Any] = {"batch": BATCH, "path": "move/once/01-verify"}
VERIFY = TaskId("B-1/move/once/01-verify/verify")


def _did(login: str, work: str) -> list[AnyEvent]:
    return [task(work, **PHASE), TaskReported(task=TASK, by=person(login).user)]


HANDS: dict[str, list[AnyEvent]] = {
    "did": _did("day-1", "do"),
    "answered": _did("day-1", "enter"),
    "decided": _did("day-1", "decide"),
    "said that it isn't so": [
        task("decide", **PHASE),
        TaskReported(task=TASK, by=person("day-1").user, declined="it isn't"),
    ],
    "stated what doesn't stand": [
        *_did("day-1", "decide"),
        TaskReopened(task=TASK, by=person("day-2").user, why="a second person found otherwise"),
    ],
    "began": [task("do", **PHASE), TaskTaken(task=TASK, by=person("day-1").user)],
}


@pytest.mark.parametrize("how", HANDS)
@pytest.mark.requirement("SIG-12")
def test_who_had_a_hand_in_a_phase_does_not_verify_it(tmp_path: Path, how: str) -> None:
    async def run() -> None:
        async with people_at(tmp_path, "hold") as cell, cell.engine() as engine:
            await made_ready(cell, engine, "take_task", offered("day-1", "enter"))
            engine.core.state.tasks.clear()
            events = [*HANDS[how], task("verify", task=VERIFY, **PHASE)]
            await engine.core.record_for_host(*events)
            with pytest.raises(SamePersonError, match="another person verifies"):
                await cell.give("day-1", "verify_task", task=str(VERIFY))
            assert engine.core.state.tasks[VERIFY].status == "offered"
            await cell.give("on-call", "verify_task", task=str(VERIFY))
            assert engine.core.state.tasks[VERIFY].verified_by == person("on-call").user

    run_in_virtual_time(run())


@pytest.mark.requirement("SIG-01", "SIG-02")
def test_a_verification_bears_a_signature_on_what_was_verified(tmp_path: Path) -> None:
    async def run() -> None:
        async with people_at(tmp_path, "verify_task") as cell, cell.engine() as engine:
            *_, ready = READY["verify_task"]
            command = await made_ready(cell, engine, "verify_task", ready)
            changed = engine.core.state.tasks[TASK].changed
            await cell.desk.give(command)
            events = [one.event for one in engine.core.journal.events()]
            (verified,) = [one for one in events if one.kind == "task_verified"]
            assert verified.kind == "task_verified"
            assert verified.of == changed
            assert verified.signature is not None
            assert verified.signature.meaning == "verified"
            assert verified.signature.signer == person("day-2").user
            assert not faults([verified])
            moved = verified.model_copy(update={"of": changed + 1})
            assert faults([moved])

    run_in_virtual_time(run())
