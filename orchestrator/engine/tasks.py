"""The board on which work for people stands, and from which they take and report it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.engine.core import Core
from orchestrator.engine.state import AttemptState, TaskState, WordState
from orchestrator.journal.events import TaskOffered
from orchestrator.kernel.identifiers import BatchId, CommandId, PhasePath, TaskId, UserId
from orchestrator.kernel.quantities import Duration
from orchestrator.kernel.tasks import DOUBT, NOT_DONE, OVER, REJECTED, Answer


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

    async def reported(self, task: TaskId) -> Answer | None:
        tasks = self._core.state.tasks
        await self._core.bells.until(f"task {task}", lambda: tasks[task].status in OVER)
        done = tasks[task]
        if done.status == "withdrawn":
            return None
        if done.rejected:
            return Answer(
                values={"why": done.rejected}, choice=REJECTED, by=UserId(done.reported_by)
            )
        return Answer(
            values=done.values,
            choice=done.choice,
            by=UserId(done.reported_by),
            verified_by=UserId(done.verified_by) if done.verified_by else None,
        )

    def why_taken_back(self, task: TaskId) -> str:
        known = self._core.state.tasks[task]
        if not known.taken_back:
            return ""
        people = self._core.state.people
        had, took = (people[one].printed_name for one in (known.taken_by, known.taken_back_by))
        return f"{had} had it in hand and didn't report it; {took} took it back: {known.taken_back}"

    def was_offered(self, task: TaskId) -> bool:
        return task in self._core.state.tasks

    def newest(self, task: TaskId) -> TaskId:
        """Return the task of the newest attempt at the same hand work."""
        word = self._word_of(task)
        return task if word is None else TaskId(str(word.attempts[-1].command))

    async def settlement(self, task: TaskId) -> AttemptState | None:
        """Return the attempt that a task is the trigger of, once it isn't open any more."""
        word = self._word_of(task)
        if word is None:
            return None
        attempt = next(one for one in word.attempts if one.command == task)
        await self._core.bells.until("news", lambda: attempt.verdict != "open")
        return attempt

    def stands_against(self, task: TaskId) -> TaskId | None:
        """Return the task because of which a report of hand work can't count as it stands.

        Its work was withdrawn, and by now somebody else has it in hand or reports it, or its
        phase has ended. None where the report counts, at once or for two people to decide.
        """
        known = self._core.state.tasks.get(task)
        if known is None or known.work != "do" or known.status != "withdrawn":
            return None
        if self._word_of(task) is None:
            return task
        newest = self.newest(task)
        is_free = self._core.state.tasks[newest].status in ("offered", "withdrawn")
        return None if is_free else newest

    def newest_attempt(self, task: TaskId) -> AttemptState | None:
        """Return the newest attempt at the same hand work; None once its phase has ended."""
        word = self._word_of(task)
        return None if word is None else word.attempts[-1]

    def is_passed_over(self, task: str) -> bool:
        """Return whether hands report work as done whose attempt was settled as not begun."""
        known = self._core.state.tasks.get(task)
        if known is None or known.work != "do" or known.status not in ("reported", "done"):
            return False
        word = self._word_of(TaskId(task))
        if known.choice == NOT_DONE or word is None or f"{task}{DOUBT}" in self._core.state.tasks:
            return False
        return any(one.command == task and one.verdict == "nothing" for one in word.attempts)

    def number_of(self, task: TaskId) -> int | None:
        """Return which word of its phase a task is an act of; None once the phase has ended."""
        for number, word in self._words_around(task).items():
            if any(one.command == task for one in word.attempts):
                return number
        return None

    def _word_of(self, task: TaskId) -> WordState | None:
        """Return the word of a task's act; None once its phase has ended."""
        number = self.number_of(task)
        return None if number is None else self._words_around(task)[number]

    def _words_around(self, task: TaskId) -> dict[int, WordState]:
        known = self._core.state.tasks.get(task)
        batch = None if known is None else self._core.state.batches.get(known.batch)
        phase = None if known is None or batch is None else batch.phases.get(known.path)
        return {} if phase is None else phase.words

    def open_tasks(self) -> dict[str, TaskState]:
        """Return what people owe."""
        return {
            name: task for name, task in self._core.state.tasks.items() if task.status not in OVER
        }
