"""What two people decide: what an attempt in doubt did, or what a late report means.

One looks and states it, another confirms it; where they differ, neither statement stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn, cast

from devices.interfaces.controlled_freezing import RampSegment
from devices.interfaces.hands import HandAct
from orchestrator.console.equipment import Equipment
from orchestrator.console.late_reports import decided, refuse_reporter, what_follows
from orchestrator.console.named_tasks import refuse_anothers, require_unchanged, task_named
from orchestrator.console.office import Office
from orchestrator.console.reports import values_of, values_owed
from orchestrator.engine.refused_labels import rejection_alarm
from orchestrator.engine.state import LATE_REPORT, AttemptState, TaskState
from orchestrator.journal.events import (
    AttemptReconciled,
    Signed,
    TaskReopened,
    TaskReported,
    TaskVerified,
)
from orchestrator.kernel.acts import Act, Effect, OnInterruption
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId, CommandId, TaskId, UserId
from orchestrator.kernel.quantities import Quantity, Temperature
from orchestrator.kernel.tasks import DOUBT, LABEL, LATE
from orchestrator.people.roles import require_second_person

MEASURES: Final[Mapping[str, str]] = {"pump_volume": "volume", "spin": "at_speed"}
"""The field that says how much an act asks for; all others are done whole or not at all."""


class Reconciling:
    """Settles what two people look at."""

    def __init__(self, office: Office, equipment: Equipment) -> None:
        self._office = office
        self._core = office.core
        self._engine = office.engine
        self._equipment = equipment

    async def reconcile(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Settle an attempt in doubt: one person looks and states it, another confirms it."""
        name, task = task_named(self._core.state, arguments, "offered", "taken", "reported")
        refuse_anothers(f"reconcile {name}", task, user)
        if name.endswith(LATE):
            return await self._decide_late_report(name, task, user, arguments)
        command = CommandId(name.removesuffix(DOUBT))
        if not name.endswith(DOUBT) or command not in self._core.state.attempts:
            raise RefusedError(
                f"reconcile {name}", why="no attempt is in doubt there", do_next="Look again"
            )
        if task.status != "reported":
            return await self._state_what_was_done(name, command, user, arguments)
        require_second_person(
            f"confirm {name}",
            performer=UserId(task.reported_by),
            verifier=user,
            verifier_roles=self._core.state.people[user].roles,
            called=self._core.state.people[user].printed_name,
        )
        batch, path, number = self._core.state.attempts[command]
        attempt = self._core.state.batches[batch].phases[path].words[number].attempts[-1]
        verdict, done = _stated(name, task, attempt, arguments)
        detail = self._owed(name, command, attempt, verdict, arguments)
        settled, changed = _reconciled(batch, command, verdict, done, detail), task.changed
        second = await self._office.sign(user, arguments, settled, "verified")
        require_unchanged(self._core.state, name, changed)
        if (verdict, {"done": done, **detail}) != (task.choice, task.values):
            await self._reopen(name, user, arguments)
        shown = await self._equipment.shown_after(attempt.equipment, command)
        require_unchanged(self._core.state, name, changed)  # it took a while
        self._owed(name, command, attempt, verdict, arguments)
        first = Signed.model_validate(task.signature)
        seq = await self._core.record(
            batch,
            TaskVerified(task=name, by=user, of=changed),
            settled.model_copy(update={"signatures": (first, second)}),
            *shown,
            *self._engine.alarms.cleared(rejection_alarm(command)),
            answer=arguments["answer"],
        )
        await self._engine.let_go_on(BatchId(batch), path, "two people decided")
        return seq

    async def _state_what_was_done(
        self, name: TaskId, command: CommandId, user: UserId, arguments: dict[str, Any]
    ) -> int:
        batch, path, number = self._core.state.attempts[command]
        attempt = self._core.state.batches[batch].phases[path].words[number].attempts[-1]
        verdict, done = _stated(name, self._core.state.tasks[name], attempt, arguments)
        detail = self._owed(name, command, attempt, verdict, arguments)
        settled = _reconciled(batch, command, verdict, done, detail)
        changed = self._core.state.tasks[name].changed
        signature = await self._office.sign(user, arguments, settled, "performed")
        require_unchanged(self._core.state, name, changed)
        self._owed(name, command, attempt, verdict, arguments)  # a label may be taken by now
        return await self._core.record_for_host(
            TaskReported(
                task=name,
                by=user,
                values={"done": done, **detail},
                choice=verdict,
                signature=signature,
            ),
            answer=arguments["answer"],
        )

    def _owed(
        self,
        name: TaskId,
        command: CommandId,
        attempt: AttemptState,
        verdict: str,
        arguments: Mapping[str, Any],
    ) -> dict[str, str]:
        """Return what the report of an attempt owes, as stated with the verdict."""
        asked = cast("list[str]", attempt.act.get("report", ())) if verdict == "all" else ()
        owed = values_owed(
            self._core.state,
            f"reconcile {name}",
            attempt.act,
            asked,
            values_of(arguments),
            own=(command, name),
            bound=attempt.detail.get(LABEL, ""),
        )
        act = Act.kinds[attempt.act["kind"]].model_validate(attempt.act)
        amiss = act.amiss(owed) if isinstance(act, HandAct) else ""
        if amiss:
            raise RefusedError(
                f"reconcile {name}",
                why=f"nothing goes on by {amiss}, so it can't be that all was done",
                do_next="State nothing, and it is offered anew; or have quality stop the batch",
            )
        return owed

    async def _decide_late_report(
        self, name: TaskId, task: TaskState, user: UserId, arguments: dict[str, Any]
    ) -> int:
        """Say what a late report means: one person looks and states it, another confirms it."""
        late = TaskId(name.removesuffix(LATE))
        refuse_reporter(self._engine, late, user)
        event, changed = decided(self._engine, late, str(arguments.get("verdict"))), task.changed
        if task.status != "reported":
            signature = await self._office.sign(user, arguments, event, "performed")
            require_unchanged(self._core.state, name, changed)
            refuse_reporter(self._engine, late, user)
            decided(self._engine, late, event.verdict)  # the same work may be in hand by now
            return await self._core.record_for_host(
                TaskReported(task=name, by=user, choice=event.verdict, signature=signature),
                answer=arguments["answer"],
            )
        require_second_person(
            f"confirm {name}",
            performer=UserId(task.reported_by),
            verifier=user,
            verifier_roles=self._core.state.people[user].roles,
            called=self._core.state.people[user].printed_name,
        )
        second = await self._office.sign(user, arguments, event, "verified")
        require_unchanged(self._core.state, name, changed)
        refuse_reporter(self._engine, late, user)  # they may have reported it by now
        decided(self._engine, late, event.verdict)
        if event.verdict != task.choice:
            await self._reopen(name, user, arguments)
        first = Signed.model_validate(task.signature)
        seq = await self._core.record(
            event.batch,
            TaskVerified(task=name, by=user, of=changed),
            event.model_copy(update={"signatures": (first, second)}),
            *what_follows(self._engine, event),
            *self._engine.alarms.cleared(f"{LATE_REPORT}{late}"),
            answer=arguments["answer"],
        )
        await self._engine.late_report_decided(late)
        return seq

    async def _reopen(self, name: TaskId, user: UserId, arguments: dict[str, Any]) -> NoReturn:
        """Ask both people again: they stated different things.

        Raises:
            RefusedError: Always; neither statement stands.
        """
        differ = RefusedError(
            f"confirm {name}",
            why="the first person stated something else; neither statement stands",
            do_next="Look together at the material and the instrument, and state it again",
        )
        await self._core.record_for_host(
            TaskReopened(task=name, by=user, why="a second person found it otherwise"),
            answer=arguments["answer"].model_copy(update={"refused": differ.as_record()}),
        )
        raise differ


def _stated(
    name: TaskId, task: TaskState, attempt: AttemptState, arguments: Mapping[str, Any]
) -> tuple[str, str]:
    """Return verdict and amount as stated of an attempt, in the act's own measure.

    Raises:
        RefusedError: The act could not have done that, or it isn't among what was asked.
    """
    verdict, done = str(arguments.get("verdict")), str(arguments.get("done", ""))
    act = Act.kinds[attempt.act["kind"]].model_validate(attempt.act)
    if isinstance(act, RampSegment) and act.containers:
        return _stated_of_freezing(name, task, verdict, done)
    measure = MEASURES.get(act.kind)
    whole = str(getattr(act, measure)) if measure else "1"
    match verdict:
        case "all":
            return verdict, whole
        case "nothing":
            return verdict, ""
        case "part" if measure:
            asked = cast("Quantity", getattr(act, measure))
            try:
                amount = type(asked).read(done)
            except ValueError as unreadable:
                why = str(unreadable)
            else:
                rest = act.rest_after(Effect(done=done))
                again = act.on_interruption is OnInterruption.REPEAT
                if 0 < amount.base < asked.base and (rest is not None or again):
                    return verdict, str(amount)
                why = f"a part of {asked} is more than nothing and leaves a rest"
        case "part":
            why = f"{act.in_words()} is done whole or not at all"
        case _:
            why = "the verdict must be all, part or nothing"
    raise RefusedError(
        f"reconcile {name}", why=why, do_next="Look at the material, and say how much was done"
    )


def _stated_of_freezing(name: TaskId, task: TaskState, verdict: str, done: str) -> tuple[str, str]:
    """Return verdict and the temperature where cooling ended, as the rescue table allows.

    Raises:
        RefusedError: The table's row doesn't offer it, or it isn't a temperature.
    """
    offered = [str(one["name"]) for one in task.ask["choices"]]
    if verdict not in offered:
        raise RefusedError(
            f"reconcile {name}",
            why=f"freezing was interrupted {task.evidence['interrupted']}, and a segment that was "
            "begun is never begun again",
            do_next=f"Look at the freezer and the bags, and state {' or '.join(offered)}",
        )
    if verdict == "all":
        return verdict, "1"
    try:
        return verdict, str(Temperature.read(done))
    except ValueError as unreadable:
        raise RefusedError(
            f"reconcile {name}",
            why=str(unreadable),
            do_next='State the temperature at which cooling ended, e.g. "-38 °C"',
        ) from unreadable


def _reconciled(
    batch: str, command: CommandId, verdict: str, done: str, detail: Mapping[str, str]
) -> AttemptReconciled:
    """Return the record that both people sign."""
    return AttemptReconciled.model_validate(
        {
            "batch": batch,
            "command": command,
            "verdict": verdict,
            "done": done,
            "detail": detail,
            "signatures": (),
        }
    )
