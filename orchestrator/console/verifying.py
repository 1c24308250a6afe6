"""A second person's word on a task: they looked, and it is so.

What they read off the things there is compared with the record (``second_looks``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast

from chain_of_identity.gate import IdentityGate
from devices.interfaces.hands import AT
from orchestrator.console.named_tasks import refuse_what_two_sign, require_unchanged, task_named
from orchestrator.console.office import Office
from orchestrator.console.reports import of_the_same_work
from orchestrator.console.second_looks import compare, refuse_no_look, things_to_read
from orchestrator.engine.refused_labels import record_refusal, refusal_alarm
from orchestrator.engine.register import FoldedRegister
from orchestrator.engine.state import TaskState
from orchestrator.journal.events import IdentityRefused, TaskVerified
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId, CoiId, PhasePath, PlaceId, TaskId, UserId
from orchestrator.kernel.tasks import LATE
from orchestrator.people.roles import require_second_person


class Verifying:
    """Has a second person verify what was done."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._core = office.core
        self._engine = office.engine

    async def verify(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Record a second person's signature that it is so."""
        name, task = task_named(self._core.state, arguments, "reported", "offered", "taken")
        refuse_what_two_sign(name)
        if task.status != "reported" and task.work != "verify":
            raise RefusedError(
                f"verify task {name}", why="nobody has reported it yet", do_next="Wait"
            )
        self._require_other_hands(name, task, user)
        changed = task.changed
        read = [label.strip() for label in _texts(arguments, "read")]
        refuse_no_look(task, f"verify task {name}", read)
        event = await self._office.signed(
            user,
            arguments,
            lambda by: TaskVerified(task=name, by=user, of=changed, read=tuple(read), signature=by),
            "verified",
        )
        require_unchanged(self._core.state, name, changed)
        self._require_other_hands(name, task, user)  # the password took a while
        await self._refuse_unlike(name, task, read, arguments)
        settled = (refusal_alarm(task.batch, task.path),) if read else ()
        return await self._core.record_for_host(
            event, *self._engine.alarms.cleared(*settled), answer=arguments["answer"]
        )

    def _require_other_hands(self, name: TaskId, task: TaskState, user: UserId) -> None:
        performers = self._reporters(name, task) if task.reported_by else self._performers(task)
        for performer in sorted(performers):
            require_second_person(
                f"verify task {name}",
                performer=UserId(performer),
                verifier=user,
                verifier_roles=self._core.state.people[user].roles,
                called=self._core.state.people[user].printed_name,
            )

    def _reporters(self, name: TaskId, task: TaskState) -> set[str]:
        """Return who reported hand work, and who said late that they did the same."""
        tasks = self._core.state.tasks
        late = {
            tasks[one].reported_by
            for one in of_the_same_work(self._core.state, name)
            if task.work == "do" and f"{one}{LATE}" in tasks
        }
        return {task.reported_by, *late}

    def _performers(self, task: TaskState) -> set[str]:
        """Return everyone who had a hand in the task's phase, or answered what it asked."""
        return {
            person
            for one in self._core.state.tasks.values()
            if one.work != "verify" and (one.batch, one.path) == (task.batch, task.path)
            for person in one.hands
        }

    async def _refuse_unlike(
        self, name: TaskId, task: TaskState, read: list[str], arguments: dict[str, Any]
    ) -> None:
        """Refuse, and record, labels that aren't those of what the work was done on.

        Raises:
            IdentityRefusedError: They aren't. The task stays unverified.
        """
        if not read:
            return
        batch = BatchId(task.batch)
        register = FoldedRegister(self._core.state, self._core.cell.config)
        gate = IdentityGate(batch, CoiId(self._core.state.batches[batch].coi), register)
        unlike = compare(gate, task, f"verify task {name}", read)
        if unlike is None:
            return
        thing = things_to_read(task)[0]
        at = (
            *task.ask["at"],
            task.ask["parameters"].get(AT, ""),
            self._core.state.containers[thing].place,
            "hands",
        )
        event = IdentityRefused(
            batch=batch,
            path=PhasePath(task.path),
            word=self._engine.board.number_of(name),
            expected=thing,
            place=PlaceId(next(place for place in at if place)),
            scanner=None,
            label_sha256=hashlib.sha256(unlike.label.encode()).hexdigest(),
            why=unlike.refused.why,
        )
        answer = arguments["answer"].model_copy(update={"refused": unlike.refused.as_record()})
        await record_refusal(
            self._core,
            self._engine.alarms,
            event,
            unlike.refused,
            label=unlike.label,
            answer=answer,
        )
        raise unlike.refused


def _texts(arguments: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of texts that a command may hold.

    Raises:
        ValueError: It isn't one.
    """
    given: object = arguments.get(name, [])
    if not isinstance(given, list | tuple):
        raise ValueError(f"{name}: it must be a list of texts")
    texts = cast("list[object]", given)
    if not all(isinstance(one, str) for one in texts):
        raise ValueError(f"{name}: it must be a list of texts")
    return cast("list[str]", texts)
