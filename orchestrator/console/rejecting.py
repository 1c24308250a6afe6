"""A task that isn't as it was reported: nothing goes on by that report."""

from __future__ import annotations

from typing import Any

from orchestrator.console.deviations import deviation
from orchestrator.console.named_tasks import task_named
from orchestrator.console.office import Office
from orchestrator.console.second_looks import in_question, is_unproven_label
from orchestrator.engine.refused_labels import rejection_alarm
from orchestrator.engine.state import TaskState
from orchestrator.engine.words import doubt_offered
from orchestrator.journal.events import (
    AnyEvent,
    AttemptReopened,
    ContainerQuarantined,
    TaskRejected,
    TaskReopened,
)
from orchestrator.kernel.acts import Act
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId, CommandId, PhasePath, TaskId, UserId
from orchestrator.kernel.tasks import DOUBT, OVER


class Rejecting:
    """Has anybody who looked say that it isn't so."""

    def __init__(self, office: Office) -> None:
        self._core = office.core
        self._engine = office.engine

    async def reject(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Let anybody who looked say that it isn't so: nothing goes on by that report."""
        why = str(arguments["why"]).strip()
        named = TaskId(str(arguments["task"]))
        if not why:
            raise RefusedError(
                f"reject task {named}", why="it isn't said why", do_next="Say what is there instead"
            )
        if is_unproven_label(self._core.state, named):
            known = self._core.state.tasks[named]
            return await self._doubt_hand_work(named, known, why, user, arguments)
        name, task = task_named(self._core.state, arguments, "reported", "offered", "taken")
        if task.status != "reported" and task.work != "verify":
            raise RefusedError(
                f"reject task {name}",
                why="nobody has reported it yet",
                do_next="If it can't be done, decline it",
            )
        if in_question(self._core.state, task):
            return await self._doubt_hand_work(name, task, why, user, arguments)
        reopened = TaskReopened(task=name, by=user, why=why)
        if task.work != "verify":
            return await self._core.record_for_host(reopened, answer=arguments["answer"])
        batch = BatchId(task.batch)
        opened = deviation(self._core.state, batch, f"{name} can't be verified: {why}", user)
        return await self._engine.holds.record_held(
            batch,
            reopened,
            opened,
            why=f"what {task.path} did is rejected: {why}",
            by=user,
            answer=arguments["answer"],
        )

    async def _doubt_hand_work(
        self, name: TaskId, task: TaskState, why: str, user: UserId, arguments: dict[str, Any]
    ) -> int:
        """Hold hand work as in doubt, and put what it was done on into quarantine."""
        batch = BatchId(task.batch)
        rejected = TaskRejected(task=name, by=user, why=why)
        doubt = self._core.state.tasks.get(f"{name}{DOUBT}")
        if doubt is not None and doubt.status not in OVER:
            # two people are asked already
            return await self._core.record(batch, rejected, answer=arguments["answer"])
        things = in_question(self._core.state, task)
        work = str(task.ask["work"]).replace("_", " ")
        raised = self._engine.alarms.raised(
            rejection_alarm(name),
            tier="block",
            cause=f"{work} isn't as it was reported: {why}",
            consequence=f"{', '.join(things)} is in quarantine; the unit procedure is held",
            action="Leave everything where it is, and call quality assurance; two people say what "
            "was done, quality releases or discards, then the supervisor restarts",
            batch=batch,
        )
        reopened = self._reopened(name, task, f"{why}, says {user}")
        return await self._engine.holds.record_held(
            batch,
            rejected,
            *(
                ContainerQuarantined(container=one, why=f"{work} was rejected: {why}")
                for one in things
            ),
            *reopened,
            *raised,
            path=task.path,
            why=f"{name} was rejected: {why}",
            by=user,
            doubt=f"doubt {name}" if reopened else "",
            answer=arguments["answer"],
        )

    def _reopened(self, name: TaskId, task: TaskState, why: str) -> tuple[AnyEvent, ...]:
        """Return what puts in doubt again what was settled as done; empty if it wasn't, or is over.

        A report that nobody verified yet is put in doubt by whoever waits for it.
        """
        attempt = self._engine.board.newest_attempt(name)
        if attempt is None or attempt.command != name or attempt.verdict != "all":
            return ()
        batch, path = BatchId(task.batch), PhasePath(task.path)
        known = self._core.state.batches[batch]
        if known.status != "running":
            return ()
        words = known.phases[path].words.items()
        number = next(number for number, word in words if attempt in word.attempts)
        act = Act.kinds[attempt.act["kind"]].model_validate(attempt.act)
        now = self._core.clock.utc()
        return (
            AttemptReopened(
                batch=batch, path=path, word=number, command=CommandId(attempt.command), why=why
            ),
            doubt_offered(batch, path, attempt, act, why, now=now),
        )
