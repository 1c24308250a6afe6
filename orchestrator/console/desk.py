"""The console in process: what people may see and ask for, checked person by person.

Every command names its session; the person behind it must have a role that allows it,
and what two people must do is never done by one. A command that isn't legal now is
refused with the reason, and nothing has happened. Follows design sections 7 and 11.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from orchestrator.console.views import VIEWS
from orchestrator.engine.engine import Engine
from orchestrator.engine.state import HostState, TaskState
from orchestrator.journal.events import (
    AlarmAcknowledged,
    AttemptReconciled,
    ContainerReceived,
    DeviationClosed,
    DeviationOpened,
    EquipmentSeen,
    LotQuarantined,
    LotReceived,
    Signed,
    TaskReported,
    TaskTaken,
    TaskVerified,
)
from orchestrator.kernel.canonical import canonical
from orchestrator.kernel.desks import Command, Given
from orchestrator.kernel.errors import NotAuthorisedError, RefusedError, SamePersonError
from orchestrator.kernel.identifiers import BatchId, CommandId, EquipmentId, TaskId, UserId
from orchestrator.people.roles import may
from orchestrator.people.signatures import sign

REQUESTS_KEPT_MOST: Final = 10_000
"""So many answered requests are remembered, to answer a repeated one as the first time."""

_Carry = Callable[[UserId, dict[str, Any]], Awaitable[int]]


class Desk:
    """Implements ``Console`` on an engine in the same process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._core = engine.core
        self._answered: dict[str, Given] = {}
        self._one_at_a_time = asyncio.Lock()
        self._commands: Final[dict[str, _Carry]] = {
            "take_task": self._take_task,
            "report_task": self._report_task,
            "verify_task": self._verify_task,
            "answer_task": self._report_task,
            "reconcile": self._reconcile,
            "hold": self._move("hold"),
            "restart": self._move("restart"),
            "pause": self._move("pause"),
            "resume": self._move("resume"),
            "stop": self._move("stop"),
            "abort": self._move("abort"),
            "acknowledge_alarm": self._acknowledge_alarm,
            "open_deviation": self._open_deviation,
            "close_deviation": self._close_deviation,
            "look_at_equipment": self._look_at_equipment,
            "receive_lot": self._receive_lot,
            "quarantine_lot": self._quarantine_lot,
            "receive_material": self._receive_material,
            "start_batch": self._start_batch,
        }

    async def view(self, name: str, *, newer_than: int = -1, **arguments: str) -> Mapping[str, Any]:
        make = VIEWS.get(name)
        if make is None:
            raise RefusedError(
                f"show the view {name!r}",
                why="there is none of that name",
                do_next=f"Ask for one of {', '.join(sorted(VIEWS))}",
            )
        state = self._core.state
        await self._core.bells.until("news", lambda: state.seq > newer_than)
        return {"version": state.seq, **make(self._engine, arguments)}

    async def give(self, command: Command) -> Given:
        async with self._one_at_a_time:
            return await self._give(command)

    async def _give(self, command: Command) -> Given:
        done = self._answered.get(command.request)
        if done is not None:
            return done
        user = self._who(command)
        roles = self._state.people[user].roles
        if not may(frozenset(roles), command.name):
            raise NotAuthorisedError(
                command.name.replace("_", " "),
                why=f"{self._state.people[user].printed_name} has the roles {', '.join(roles)}",
                do_next="Ask a person whose role allows it",
            )
        if command.seen > self._state.seq:
            raise RefusedError(
                command.name.replace("_", " "),
                why="it rests on a view that this daemon has never shown",
                do_next="Look again, and decide on what is shown now",
            )
        carry = self._commands.get(command.name)
        if carry is None:
            raise RefusedError(
                command.name, why="there is no such command", do_next="Choose one that is shown"
            )
        seq = await carry(user, command.arguments)
        given = Given(seq=seq)
        self._answered[command.request] = given
        if len(self._answered) > REQUESTS_KEPT_MOST:
            del self._answered[next(iter(self._answered))]
        return given

    @property
    def _state(self) -> HostState:
        return self._core.state

    def _who(self, command: Command) -> UserId:
        user = self._state.sessions.get(hashlib.sha256(command.session.encode()).hexdigest())
        if user is None:
            raise NotAuthorisedError(
                command.name.replace("_", " "),
                why="nobody is logged in under this session",
                do_next="Log in",
            )
        return UserId(user)

    def _task(self, arguments: Mapping[str, Any], *legal: str) -> tuple[TaskId, TaskState]:
        name = TaskId(str(arguments["task"]))
        task = self._state.tasks.get(name)
        if task is None or task.status not in legal:
            raise RefusedError(
                f"task {name}",
                why="it isn't there" if task is None else f"it is {task.status}",
                do_next="Look again at what is to be done",
            )
        return name, task

    def signed(self, user: UserId, meaning: str, record: object, reason: str) -> Signed:
        """Return a person's signature over a record's canonical form, now."""
        person = self._state.people[user]
        return sign(
            canonical(record),
            signer=user,
            printed_name=person.printed_name,
            meaning=meaning,  # pyright: ignore[reportArgumentType]
            at=self._core.clock.utc(),
            reason=reason,
        )

    # people's tasks ---------------------------------------------------------------------

    async def _take_task(self, user: UserId, arguments: dict[str, Any]) -> int:
        name, _ = self._task(arguments, "offered")
        return await self._core.record_for_host(TaskTaken(task=name, by=user))

    async def _report_task(self, user: UserId, arguments: dict[str, Any]) -> int:
        name, task = self._task(arguments, "offered", "taken")
        if task.taken_by and task.taken_by != user:
            raise RefusedError(
                f"report task {name}",
                why="another person has taken it",
                do_next="Have that person report it, or hand it back",
            )
        if task.work == "verify":
            raise RefusedError(
                f"report task {name}",
                why="it is a verification",
                do_next="Verify it",
            )
        values = cast("dict[str, str]", arguments.get("values", {}))
        choice = str(arguments.get("choice", ""))
        declined = str(arguments.get("declined", ""))
        if not declined:
            _refuse_incomplete(name, task, values, choice)
        return await self._core.record_for_host(
            TaskReported(task=name, by=user, values=values, choice=choice, declined=declined)
        )

    async def _verify_task(self, user: UserId, arguments: dict[str, Any]) -> int:
        name, task = self._task(arguments, "reported", "offered", "taken")
        if task.status != "reported" and task.work != "verify":
            raise RefusedError(
                f"verify task {name}", why="nobody has reported it yet", do_next="Wait"
            )
        if user == task.reported_by:
            raise SamePersonError(
                f"verify task {name}",
                why="who did it doesn't verify it",
                do_next="Have another person verify it",
            )
        return await self._core.record_for_host(TaskVerified(task=name, by=user))

    async def _reconcile(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Settle an attempt in doubt: the first person states it, the second confirms it."""
        name, task = self._task(arguments, "offered", "taken", "reported")
        if task.status != "reported":
            if str(arguments.get("verdict")) not in ("all", "part", "nothing"):
                raise RefusedError(
                    f"reconcile {name}",
                    why="the verdict must be all, part or nothing",
                    do_next="Look at the material, and say which",
                )
            return await self._core.record_for_host(
                TaskReported(
                    task=name,
                    by=user,
                    values={"done": str(arguments.get("done", ""))},
                    choice=str(arguments["verdict"]),
                )
            )
        if user == task.reported_by:
            raise SamePersonError(
                f"confirm {name}",
                why="two people decide what an act in doubt has done",
                do_next="Have another person look and confirm",
            )
        command = CommandId(name.removesuffix("/doubt"))
        batch, path, number = self._state.attempts[command]
        attempt = self._state.batches[batch].phases[path].words[number].attempts[-1]
        done = task.values.get("done", "")
        record = {"command": str(command), "verdict": task.choice, "done": done}
        after = await self._engine.shown_by(attempt.equipment)
        seq = await self._core.record(
            batch,
            TaskVerified(task=name, by=user),
            AttemptReconciled.model_validate(
                {
                    "batch": batch,
                    "command": command,
                    "verdict": task.choice,
                    "done": done,
                    "after": after.values,
                    "witness": after.witness,
                    "signatures": [
                        self.signed(UserId(task.reported_by), "performed", record, "looked"),
                        self.signed(user, "verified", record, "looked"),
                    ],
                }
            ),
        )
        await self._engine.let_go_on(BatchId(batch), path, "two people decided")
        return seq

    # batches ---------------------------------------------------------------------------------

    def _move(self, trigger: str) -> _Carry:
        async def move(user: UserId, arguments: dict[str, Any]) -> int:
            batch = BatchId(str(arguments["batch"]))
            part = str(arguments.get("unit_procedure", ""))
            why = str(arguments.get("why", ""))
            for control in self._engine.holds.controls(batch):
                if part in ("", control.path):
                    await self._engine.holds.command(batch, control, trigger, why, user)
            return self._state.seq

        return move

    async def _start_batch(self, user: UserId, arguments: dict[str, Any]) -> int:
        del user
        self._core.tasks.create_task(
            self._engine.start_batch(BatchId(str(arguments["batch"])))
        )
        return self._state.seq

    # alarms, deviations, equipment ------------------------------------------------------------

    async def _acknowledge_alarm(self, user: UserId, arguments: dict[str, Any]) -> int:
        alarm = str(arguments["alarm"])
        if alarm not in self._state.alarms:
            raise RefusedError(
                f"acknowledge {alarm!r}", why="it doesn't stand", do_next="Look again"
            )
        return await self._core.record_for_host(AlarmAcknowledged(alarm=alarm, by=user))

    async def _open_deviation(self, user: UserId, arguments: dict[str, Any]) -> int:
        batch = BatchId(str(arguments["batch"]))
        number = len(self._state.deviations) + 1
        return await self._core.record(
            batch,
            DeviationOpened(
                deviation=f"D-{number:04d}",
                batch=batch,
                path=None,
                text=str(arguments["text"]),
                by=user,
            ),
        )

    async def _close_deviation(self, user: UserId, arguments: dict[str, Any]) -> int:
        name = str(arguments["deviation"])
        known = self._state.deviations.get(name)
        if known is None or known.closed_by:
            raise RefusedError(
                f"close deviation {name}",
                why="it isn't there" if known is None else "it is closed",
                do_next="Look again",
            )
        if known.opened_by == user:
            raise SamePersonError(
                f"close deviation {name}",
                why="who opened it doesn't close it",
                do_next="Have quality close it",
            )
        reason = str(arguments["reason"])
        record = {"deviation": name, "text": known.text}
        return await self._core.record(
            BatchId(known.batch),
            DeviationClosed(
                deviation=name, signature=self.signed(user, "approved", record, reason)
            ),
        )

    async def _look_at_equipment(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Take what a device shows now as known, after a person has looked at it."""
        del user
        equipment = EquipmentId(str(arguments["equipment"]))
        driver = self._core.drivers[equipment]
        identity = await driver.identify()
        standing = await driver.standing()
        return await self._core.record_for_host(
            EquipmentSeen(
                equipment=equipment,
                model=identity.model,
                serial=identity.serial,
                firmware=identity.firmware,
                values=standing.values,
                witness=standing.witness,
            )
        )

    # material ----------------------------------------------------------------------------------

    async def _receive_lot(self, user: UserId, arguments: dict[str, Any]) -> int:
        return await self._core.record_for_host(
            LotReceived.model_validate({**arguments, "by": user})
        )

    async def _quarantine_lot(self, user: UserId, arguments: dict[str, Any]) -> int:
        return await self._core.record_for_host(
            LotQuarantined.model_validate({**arguments, "by": user})
        )

    async def _receive_material(self, user: UserId, arguments: dict[str, Any]) -> int:
        return await self._core.record_for_host(
            ContainerReceived.model_validate({**arguments, "by": user})
        )


def _refuse_incomplete(
    name: TaskId, task: TaskState, values: Mapping[str, str], choice: str
) -> None:
    """Refuse a report that lacks what the task asks for."""
    if task.work == "do":
        asked = cast("list[str]", task.ask.get("report", []))
    else:
        asked = [str(entry["name"]) for entry in task.ask.get("entries", [])]
    missing = [one for one in asked if not values.get(one)]
    if missing and choice != "not done":
        raise RefusedError(
            f"report task {name}",
            why=f"it lacks {', '.join(missing)}",
            do_next="Fill in what is missing",
        )
    choices = [str(one["name"]) for one in task.ask.get("choices", [])]
    if choices and choice not in choices:
        raise RefusedError(
            f"answer task {name}",
            why=f"{choice!r} isn't one of {', '.join(choices)}",
            do_next="Choose one of them",
        )
