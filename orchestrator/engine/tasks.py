"""The board on which work for people stands, and from which they take and report it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.engine.core import Core
from orchestrator.engine.state import TaskState
from orchestrator.journal.events import TaskOffered
from orchestrator.kernel.identifiers import BatchId, CommandId, PhasePath, TaskId, UserId
from orchestrator.kernel.quantities import Duration
from orchestrator.kernel.tasks import Answer


class Board:
    """Implements ``TaskBoard`` over the journal and its folded state."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def offer_hand_work(
        self, task: TaskId, act: Mapping[str, Any], command: CommandId
    ) -> None:
        batch, path, _ = self._core.state.attempts[command]
        await self._core.record(
            batch,
            TaskOffered(
                task=task,
                batch=BatchId(batch),
                path=PhasePath(path),
                word=None,
                work="do",
                text=act["instruction"],
                ask=dict(act),
                second_person=act["second_person"],
                due=self._core.clock.utc() + Duration.read(act["longest"]),
            ),
        )

    async def reported(self, task: TaskId) -> Answer:
        tasks = self._core.state.tasks
        await self._core.bells.until(
            f"task {task}", lambda: tasks[task].status in ("done", "withdrawn")
        )
        done = tasks[task]
        return Answer(
            values=done.values,
            choice=done.choice,
            by=UserId(done.reported_by),
            verified_by=UserId(done.verified_by) if done.verified_by else None,
        )

    def was_offered(self, task: TaskId) -> bool:
        return task in self._core.state.tasks

    def open_tasks(self) -> dict[str, TaskState]:
        """Return what people owe."""
        return {
            name: task
            for name, task in self._core.state.tasks.items()
            if task.status not in ("done", "withdrawn")
        }
