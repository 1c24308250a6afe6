"""Tasks in one person's hands: taken, taken back by a supervisor, reported or answered.

What a report may hold, ``reports`` says; when one comes late, ``late_reports``.
"""

from __future__ import annotations

from typing import Any

from orchestrator.console.late_reports import late_report, refuse_reporter, refuse_second_report
from orchestrator.console.named_tasks import refuse_what_two_sign, task_named
from orchestrator.console.office import Office
from orchestrator.console.reports import refuse_report, values_of
from orchestrator.engine.state import TaskState
from orchestrator.journal.events import TaskReported, TaskTaken, TaskTakenBack
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId, TaskId, UserId
from orchestrator.kernel.tasks import LATE, NOT_DONE


class Reporting:
    """Has people take tasks and say what they did."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._core = office.core
        self._engine = office.engine

    async def take(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Give a person a task that is offered."""
        name, _ = task_named(self._core.state, arguments, "offered")
        if name.endswith(LATE):
            refuse_reporter(self._engine, TaskId(name.removesuffix(LATE)), user)
        return await self._core.record_for_host(
            TaskTaken(task=name, by=user), answer=arguments["answer"]
        )

    async def take_back(self, user: UserId, arguments: dict[str, Any]) -> int:
        """End that an absent person has a task: nobody else may report it while they do."""
        name, task = task_named(self._core.state, arguments, "taken")
        why = str(arguments["why"]).strip()
        if task.taken_by == user or not why:
            raise RefusedError(
                f"take back task {name}",
                why="you have it yourself" if why else "it lacks a reason",
                do_next="Report it, or decline it" if why else "Say why it is taken back",
            )
        return await self._core.record_for_host(
            TaskTakenBack(task=name, by=user, why=why), answer=arguments["answer"]
        )

    async def answer(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Record what a person answers to a question, or that they decline.

        Quality may answer, and hasn't done hand work: that is reported by who may report it.
        """
        named = TaskId(str(arguments["task"]))
        known = self._core.state.tasks.get(named)
        if known is not None and known.work == "do":
            raise RefusedError(
                f"answer task {named}",
                why="it is hand work",
                do_next="Have who did it report it (`report_task`)",
            )
        return await self.report(user, arguments)

    async def report(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Record what a person did or answers, or that they decline."""
        named = TaskId(str(arguments["task"]))
        against = self._engine.board.stands_against(named)
        is_said_done = arguments.get("choice", "") != NOT_DONE and not arguments.get("declined")
        if not is_said_done:
            self._refuse_if_withdrawn(named)
        elif against is not None:
            return await self._report_late(named, against, user, arguments)
        name, task = self._reportable(arguments)
        is_late = task.status == "withdrawn"
        if task.taken_by and task.taken_by != user:
            raise RefusedError(
                f"report task {name}",
                why="another person has taken it",
                do_next="Have that person report or decline it, or a supervisor take it back",
            )
        refuse_what_two_sign(name)
        if task.work == "verify":
            raise RefusedError(
                f"report task {name}",
                why="it is a verification",
                do_next="Verify it",
            )
        values = values_of(arguments)
        choice = str(arguments.get("choice", ""))
        declined = str(arguments.get("declined", ""))
        refuse_report(self._core.state, name, values, choice=choice, declined=declined)
        reported = TaskReported(task=name, by=user, values=values, choice=choice, declined=declined)
        if declined and task.work != "do" and task.batch:
            return await self._engine.holds.record_held(  # declined work holds itself
                BatchId(task.batch),
                reported,
                path=task.path,
                why=f"declined to answer: {declined}",
                by=user,
                answer=arguments["answer"],
            )
        seq = await self._core.record_for_host(reported, answer=arguments["answer"])
        if is_late:
            await self._engine.reported_late(name)
        return seq

    def _refuse_if_withdrawn(self, name: TaskId) -> None:
        """Refuse a person's word that hand work wasn't done which nobody asks them for any more.

        It says nothing of the newest offer of the same work, which may be somebody else's.
        """
        known = self._core.state.tasks.get(name)
        if known is not None and known.work == "do" and known.status == "withdrawn":
            raise RefusedError(
                f"report task {name}",
                why="it was withdrawn",
                do_next="Do nothing: nobody asks for it any more",
            )

    def _reportable(self, arguments: dict[str, Any]) -> tuple[TaskId, TaskState]:
        """Return the task that a report is for: of the newest attempt, if it is hand work.

        Hand work that was withdrawn while somebody was at it may still be reported.
        """
        named = TaskId(str(arguments["task"]))
        known = self._core.state.tasks.get(named)
        if known is None or known.status != "withdrawn" or known.work != "do":
            return task_named(self._core.state, arguments, "offered", "taken")
        newest = self._engine.board.newest(named)
        whatever_seen = {"task": newest, "seen": self._core.state.seq}
        return task_named(self._core.state, whatever_seen, "offered", "taken", "withdrawn")

    async def _report_late(
        self, name: TaskId, against: TaskId, user: UserId, arguments: dict[str, Any]
    ) -> int:
        """Record what a person says they did when others had or did it by then."""
        values = values_of(arguments)
        refuse_report(self._core.state, name, values, choice="", declined="")
        refuse_second_report(self._core.state.tasks.get(f"{name}{LATE}"), name)
        events = late_report(self._engine, name, against, user, values)
        seq = await self._core.record(
            self._core.state.tasks[name].batch, *events, answer=arguments["answer"]
        )
        await self._engine.late_report_disputed(name)
        return seq
