"""A task that isn't as it was reported: nothing goes on by that report."""

from __future__ import annotations

from typing import Any

from orchestrator.console.deviations import deviation
from orchestrator.console.holding import hold_all, hold_around
from orchestrator.console.named_tasks import task_named
from orchestrator.console.office import Office
from orchestrator.console.second_looks import in_question, is_unproven_label
from orchestrator.engine.refused_labels import rejection_alarm
from orchestrator.engine.state import TaskState
from orchestrator.journal.events import ContainerQuarantined, TaskRejected, TaskReopened
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId, TaskId, UserId
from orchestrator.kernel.tasks import DOUBT


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
        seq = await self._core.record(batch, reopened, opened, answer=arguments["answer"])
        await hold_all(self._engine, batch, f"what {task.path} did is rejected: {why}", user)
        return seq

    async def _doubt_hand_work(
        self, name: TaskId, task: TaskState, why: str, user: UserId, arguments: dict[str, Any]
    ) -> int:
        """Hold hand work as in doubt, and put what it was done on into quarantine."""
        batch = BatchId(task.batch)
        rejected = TaskRejected(task=name, by=user, why=why)
        doubt = self._core.state.tasks.get(f"{name}{DOUBT}")
        if doubt is not None and doubt.status not in ("done", "withdrawn"):
            # two people are asked already
            return await self._core.record(batch, rejected, answer=arguments["answer"])
        things = in_question(self._core.state, task)
        work = str(task.ask["work"]).replace("_", " ")
        seq = await self._core.record(
            batch,
            rejected,
            *(
                ContainerQuarantined(container=one, why=f"{work} was rejected: {why}")
                for one in things
            ),
            answer=arguments["answer"],
        )
        await hold_around(self._engine, batch, task.path, f"{name} was rejected: {why}", user)
        await self._engine.alarms.raise_alarm(
            rejection_alarm(name),
            tier="block",
            cause=f"{work} isn't as it was reported: {why}",
            consequence=f"{', '.join(things)} is in quarantine; the unit procedure is held",
            action="Leave everything where it is, and call quality assurance; two people say what "
            "was done, quality releases or discards, then the supervisor restarts",
            batch=batch,
        )
        return seq
