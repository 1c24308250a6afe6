"""What a person says they did, when others had it in hand, or did it, by then.

What a person says they did to a patient's bag is recorded whatever the screen says. Where it
can't count as it stands, nothing goes on until two people have looked and signed what it
means: that the work was done once (``same``), that it was done besides (``twice``), or that
the person did nothing (``mistaken``). Follows design sections 6 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast

from orchestrator.console.reports import of_the_same_work
from orchestrator.engine.engine import Engine
from orchestrator.engine.state import TaskState
from orchestrator.engine.words import DECIDE_WITHIN
from orchestrator.journal.events import (
    AnyEvent,
    ContainerQuarantined,
    DeviationOpened,
    HandWorkReportedLate,
    LateReportDecided,
    TaskOffered,
)
from orchestrator.kernel.errors import RefusedError, SamePersonError
from orchestrator.kernel.identifiers import BatchId, ContainerId, PhasePath, TaskId, UserId
from orchestrator.kernel.tasks import LATE, Choice, Question, TaskKind
from orchestrator.people.roles import may

VERDICTS: Final[Mapping[str, str]] = {
    "same": "it was done once: the report is of what stands on record, or of what nobody else did",
    "twice": "it was done besides: its containers go into quarantine, and a deviation is opened",
    "mistaken": "who reported it did nothing: the record stands",
}
"""What two people may say of a late report, and what each leads to."""


def late_report(
    engine: Engine,
    task: TaskId,
    against: TaskId,
    by: UserId,
    values: Mapping[str, str],
) -> tuple[AnyEvent, ...]:
    """Return the record of what a person says they did, and the question what it means."""
    known = engine.core.state.tasks[task]
    batch, path = BatchId(known.batch), PhasePath(known.path)
    report = HandWorkReportedLate(
        batch=batch,
        path=path,
        task=task,
        by=by,
        values=dict(values),
        against=against,
    )
    stands = engine.core.state.tasks[against]
    evidence = {
        "reported_late_by": str(by),
        **values,
        "newest_task": str(against),
        "it_is": "over" if against == task else stands.status,
    }
    what = f"{known.text}: reported late. Look at the material, and say what was done."
    question = Question(
        kind=TaskKind.DECIDE,
        text=what,
        choices=tuple(Choice(name=one, leads_to=leads) for one, leads in VERDICTS.items()),
        evidence=evidence,
        second_person=True,
        respond_within=DECIDE_WITHIN,
    )
    offered = TaskOffered(
        task=TaskId(f"{task}{LATE}"),
        batch=batch,
        path=path,
        word=None,
        work="decide",
        text=what,
        ask={
            **question.model_dump(mode="json"),
            "act": known.ask,
            "equipment": "hands",
            "intended_at": str(known.offered_at),
        },
        evidence=evidence,
        second_person=True,
        due=engine.core.clock.utc() + DECIDE_WITHIN,
    )
    return (report, offered)


def refuse_second_report(state_task: TaskState | None, task: TaskId) -> None:
    """Refuse to ask once more what a late report means that is on record already."""
    if state_task is not None:
        raise RefusedError(
            f"report task {task}",
            why="it was reported after its withdrawal before; two people decide what it means",
            do_next="Tell them what you did as well",
        )


def refuse_reporter(engine: Engine, task: TaskId, by: UserId) -> None:
    """Refuse who reported the work, late or not, to decide between their report and another's.

    Raises:
        SamePersonError: They reported it; who may decide is named. Nothing happened.
    """
    state = engine.core.state
    reporters = {state.tasks[one].reported_by for one in of_the_same_work(state, task)} - {""}
    if by not in reporters:
        return
    others = [
        one.printed_name
        for name, one in state.people.items()
        if name not in reporters and may(one.roles, "reconcile")
    ]
    raise SamePersonError(
        f"reconcile {task}{LATE}",
        why=f"{state.people[by].printed_name} reported this work, and the two who say what the "
        "reports mean reported neither",
        do_next=f"Ask two of {', '.join(others)}",
    )


def decided(engine: Engine, task: TaskId, verdict: str) -> LateReportDecided:
    """Return the record that both people sign.

    Raises:
        RefusedError: There is no such verdict, or the work is still in somebody's hands.
    """
    what = f"reconcile {task}{LATE}"
    if verdict not in VERDICTS:
        raise RefusedError(
            what,
            why=f"the verdict must be one of {', '.join(VERDICTS)}",
            do_next="Look at the material, and say what was done",
        )
    state = engine.core.state
    newest = state.tasks[engine.board.newest(task)]
    if newest.status == "taken":
        raise RefusedError(
            what,
            why="somebody has the same work in hand, and hasn't said yet whether it was done",
            do_next=f"Have {state.people[newest.taken_by].printed_name} report it first",
        )
    return LateReportDecided(
        batch=BatchId(state.tasks[task].batch),
        task=task,
        verdict=cast("Literal['same', 'twice', 'mistaken']", verdict),
        signatures=(),
    )


def what_follows(engine: Engine, event: LateReportDecided) -> tuple[AnyEvent, ...]:
    """Return what is recorded with a verdict, in the same moment."""
    state = engine.core.state
    known = state.tasks[event.task]
    match event.verdict:
        case "mistaken":
            return ()
        case "same":
            return engine.reopened(event.task)
        case "twice":
            why = f"{_work(known.ask)} was done twice, by a late report of {event.task}"
            return (
                *(
                    ContainerQuarantined(container=ContainerId(one), why=why)
                    for one in known.ask.get("containers", ())
                ),
                DeviationOpened(
                    deviation=f"D-{len(state.deviations) + 1:04d}",
                    batch=event.batch,
                    path=PhasePath(known.path),
                    text=why,
                ),
            )


def _work(act: Mapping[str, Any]) -> str:
    return str(act.get("work", "hand work")).replace("_", " ")
