"""Hold, pause and stop a unit procedure, and let it go on, each by the ISA-88 table.

A unit procedure has a state of its own, so that it can be held where no phase of it runs.
It comes to rest when every phase of it has. It is held for one or several reasons, each
with a name; a person's restart takes all of them away but an act in doubt, and the
answer to a doubt takes away that doubt alone.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, Final

from orchestrator.engine.control import UnitControl
from orchestrator.engine.core import Core
from orchestrator.engine.phase_state import LEADS_TO, PhaseLife, PhaseState
from orchestrator.engine.state import LATE_REPORT, ProcedureState, TaskState
from orchestrator.journal.events import (
    AnyEvent,
    CommandAnswered,
    StateChanged,
    TaskOffered,
    TaskRecalled,
    TaskReopened,
    TaskReported,
    TaskWithdrawn,
)
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.errors import IllegalTransitionError, RefusedError
from orchestrator.kernel.identifiers import BatchId, PhasePath, TaskId, UserId
from orchestrator.kernel.tasks import CLEARANCE, DOUBT, LATE, OVER

BY_PERSON = "person"
"""The reason of a hold that a person commanded."""

TIME_UNKNOWN = "time unknown"
"""The reason for which a unit procedure is held until a time is known."""

BOUND = "bound to another"
"""The reason for which a batch is held that is bound to another version or cell file."""

BROKEN = "broken"
"""The reason of every unit procedure of a batch that stands still."""

_ARRIVES = {
    PhaseState.HOLDING: "held",
    PhaseState.PAUSING: "paused",
    PhaseState.RESTARTING: "restarted",
    PhaseState.STOPPING: "stopped",
    PhaseState.ABORTING: "aborted",
}

_AT_REST = (PhaseState.HELD, PhaseState.HOLDING)
_ENDING = (PhaseState.STOPPING, PhaseState.STOPPED, PhaseState.ABORTING, PhaseState.ABORTED)
_ENDED = (PhaseState.COMPLETE, PhaseState.STOPPED, PhaseState.ABORTED)


_TO_AN_END: Final = ("stop", "abort")
_TO_REST: Final = ("hold", "pause", *_TO_AN_END)
"""Commands on which nobody may begin anything any more, hands included."""

_DECIDED: Final = "decided"
"""A reason to stay still that lasts from people's decision to the restart's record."""


class Holds:
    """Moves a unit procedure and the phases of it through their states together."""

    def __init__(
        self, core: Core, spawn: Callable[[Callable[[], Coroutine[Any, Any, None]], str], object]
    ) -> None:
        """Work on ``core``; ``spawn`` runs what nobody waits for."""
        self._core = core
        self._spawn = spawn
        self._controls: dict[tuple[str, str], UnitControl] = {}
        self._arriving: set[tuple[str, str]] = set()
        core.listeners.append(self._look_at_hand_work)

    def control_of(self, batch: str, unit_procedure: str) -> UnitControl:
        """Return the switch of a unit procedure, set as its record says."""
        control = self._controls.get((batch, unit_procedure))
        if control is not None:
            return control
        control = self._controls[batch, unit_procedure] = UnitControl(unit_procedure)
        known = self._core.state.batches[batch]
        procedure = known.procedures.get(unit_procedure, ProcedureState())
        for reason, why in procedure.reasons.items():
            control.wait(why, reason)
        if known.broken:
            control.wait(known.broken, BROKEN)
        if procedure.state in _ENDING:
            control.stop(procedure.why)
        return control

    def controls(self, batch: str) -> list[UnitControl]:
        """Return the switches of a batch's unit procedures that run."""
        procedures = self._core.state.batches[batch].procedures
        return [
            one
            for (name, path), one in self._controls.items()
            if name == batch and path in procedures and procedures[path].state not in _ENDED
        ]

    def state_of(self, batch: str, unit_procedure: str) -> PhaseState:
        """Return a unit procedure's state; idle before it has begun."""
        procedure = self._core.state.batches[batch].procedures.get(unit_procedure)
        return PhaseState.IDLE if procedure is None else procedure.state

    async def begin(self, batch: BatchId, control: UnitControl) -> None:
        """Begin a unit procedure, or go on with it where the record has come to."""
        if self.state_of(batch, control.path) is PhaseState.IDLE:
            await self._report(batch, control.path, "start")
        if control.waits:  # what was offered as the software died
            await self._recall_hand_work(batch, control)
        await self._unit_arrived(batch, control)
        if self.state_of(batch, control.path) in _AT_REST and not control.reasons:
            # the answer to its doubt was the last that the record has
            await self._restart(batch, [control], "what it was held for is decided")

    async def complete(self, batch: BatchId, control: UnitControl) -> None:
        """Record that a unit procedure has done all it had to."""
        await control.passed(lambda: self._unit_arrived(batch, control))
        await self._report(batch, control.path, "completed")

    async def hold(
        self, batch: BatchId, control: UnitControl, why: str, reason: str = "hold"
    ) -> None:
        """Hold a unit procedure, by the engine itself, for a reason of its own."""
        if control.ends or reason in control.reasons:
            return
        control.wait(why, reason)
        await self._core.record(batch, *self._moved(batch, control, "hold", why, None, reason))
        control.ring()
        await self._unit_arrived(batch, control)

    def leave(self, batch: str, why: str) -> None:
        """Have all of a batch come to rest and be left: it stands still."""
        for (name, path), control in self._controls.items():
            if name == batch:
                control.leave(why)
                self._spawn(
                    partial(self._recall_hand_work, BatchId(batch), control, why), f"rest of {path}"
                )

    def mended(self, batch: str) -> None:
        """Let what was held because its batch stood still go on."""
        for (name, _), control in self._controls.items():
            if name == batch:
                control.clear((BROKEN,))

    def forget(self, batch: str) -> None:
        """Forget the switches of a batch that doesn't run."""
        for key in [key for key in self._controls if key[0] == batch]:
            del self._controls[key]

    async def arrived(self, batch: BatchId, path: PhasePath) -> None:
        """Record that a phase has come to the state that it was on its way to."""
        phase = self._core.state.batches[batch].phases[path]
        trigger = _ARRIVES.get(phase.state)
        if trigger is not None:
            await self._report(batch, path, trigger, phase.why)
        for control in self.controls(batch):
            if _belongs(path, control.path):
                await self._unit_arrived(batch, control)

    def is_on_its_way(self, batch: str, path: str) -> bool:
        """Return whether a phase's state is one that must be arrived from."""
        return self._core.state.batches[batch].phases[path].state in _ARRIVES

    async def stay(self, batch: BatchId, control: UnitControl, path: PhasePath) -> None:
        """Stay at a safe point while the unit procedure is held or paused.

        Raises:
            StoppedError: It was stopped or aborted.
            RecipeMismatchError: The batch stands still.
        """
        await control.passed(lambda: self.arrived(batch, path))

    async def stay_between(self, batch: BatchId, control: UnitControl) -> None:
        """Stay where no phase runs, as ``stay``."""
        await control.passed(lambda: self._unit_arrived(batch, control))

    async def command_all(
        self,
        batch: BatchId,
        unit_procedure: str,
        trigger: str,
        why: str,
        by: UserId,
        answer: CommandAnswered | None = None,
    ) -> None:
        """Carry out a person's command on one unit procedure, or on all that it is legal for.

        Args:
            batch: The batch.
            unit_procedure: Its path; empty means all that run.
            trigger: What is commanded.
            why: The person's reason.
            by: Who commands it.
            answer: Recorded with the events that carry it out. All are on record in the same
                moment or none is, whatever one of them comes to meanwhile or dies.

        Raises:
            RefusedError: There is nothing of that name that runs. Nothing happened.
            IllegalTransitionError: None of it may do that now. Nothing happened.
        """
        what = f"{trigger} {unit_procedure or 'all'} of batch {batch}"
        if batch not in self._core.state.batches:
            raise RefusedError(what, why="there is no such batch", do_next="Look at the batches")
        running = self.controls(batch)
        chosen = [one for one in running if unit_procedure in ("", one.path)]
        if not chosen:
            names = ", ".join(one.path for one in running) or "nothing"
            raise IllegalTransitionError(
                what, why=f"it doesn't run; what runs: {names}", do_next="Choose one that runs"
            )
        refused: list[RefusedError] = []
        legal: list[UnitControl] = []
        for control in chosen:
            try:
                self._require_legal(batch, control, trigger)
                legal.append(control)
            except RefusedError as one:
                refused.append(one)
        if not legal:
            raise refused[0]
        if trigger in ("restart", "resume"):
            await self._restart(batch, legal, why, trigger, by, answer)
            return
        for control in legal:
            control.wait(why, BY_PERSON)
        moved = [self._moved(batch, one, trigger, why, by, BY_PERSON) for one in legal]
        await self._core.record(batch, *(event for one in moved for event in one), answer=answer)
        for control in legal:
            control.ring()
            await self._unit_arrived(batch, control)
            if trigger in _TO_AN_END:
                control.stop(why)

    async def record_held(
        self,
        batch: BatchId,
        *events: AnyEvent,
        path: str = "",
        why: str,
        by: UserId,
        doubt: str = "",
        answer: CommandAnswered | None = None,
    ) -> int:
        """Record what a person's word casts doubt on, and in the same moment hold what rests on it.

        Args:
            batch: The batch.
            events: What the person says, and what else follows on it.
            path: Of what is doubted: its unit procedure is held; empty means all that run.
            why: The reason of the hold.
            by: Who says it.
            doubt: The reason of a second hold, which ends when people have decided it.
            answer: Recorded last.
        """
        held: list[tuple[UnitControl, str]] = []
        for control in self.controls(batch):
            if path and not _belongs(path, control.path):
                continue
            if self._may_be_held(batch, control):
                held.append((control, BY_PERSON))
            if doubt and not control.ends:
                held.append((control, doubt))
        for control, reason in held:
            control.wait(why, reason)
        seq = await self._core.record(
            batch,
            *events,
            *(
                one
                for control, reason in held
                for one in self._moved(batch, control, "hold", why, by, reason)
            ),
            answer=answer,
        )
        for control, _ in held:
            control.ring()
            await self._unit_arrived(batch, control)
        return seq

    def _may_be_held(self, batch: BatchId, control: UnitControl) -> bool:
        try:
            self._require_legal(batch, control, "hold")
        except RefusedError:  # it is held, or ends, already
            return False
        return True

    async def let_go_on(
        self, batch: BatchId, control: UnitControl, why: str, *, also: str = ""
    ) -> None:
        """Take away what is decided, and the reason ``also``; go on if nothing else holds it."""
        attempts = self._core.state.attempts
        control.reasons[_DECIDED] = why  # phases stay still until the restart is on record
        control.clear(
            reason
            for reason in control.reasons
            if (reason.startswith("doubt ") and reason.removeprefix("doubt ") not in attempts)
            or self._is_decided(reason)
            or reason == also
        )
        if set(control.reasons) != {_DECIDED} or control.ends:
            control.clear((_DECIDED,))
            return
        if self.state_of(batch, control.path) is PhaseState.HOLDING:
            self._spawn(
                partial(self._restart_once_held, batch, control, why), f"restart {control.path}"
            )
            return
        await self._restart(batch, [control], why)

    def _is_decided(self, reason: str) -> bool:
        """Return whether a reason is a late report of which two people said what it means."""
        asked = self._core.state.tasks.get(f"{reason.removeprefix(LATE_REPORT)}{LATE}")
        return reason.startswith(LATE_REPORT) and asked is not None and asked.status == "done"

    async def _restart_once_held(self, batch: BatchId, control: UnitControl, why: str) -> None:
        """Restart a unit procedure as soon as what still acts in it has come to rest."""
        await self._core.bells.until(
            "news", lambda: self.state_of(batch, control.path) is not PhaseState.HOLDING
        )
        if set(control.reasons) == {_DECIDED} and not control.ends:
            await self._restart(batch, [control], why)
        else:
            control.clear((_DECIDED,))

    async def _restart(
        self,
        batch: BatchId,
        controls: Sequence[UnitControl],
        why: str,
        trigger: str = "restart",
        by: UserId | None = None,
        answer: CommandAnswered | None = None,
    ) -> None:
        had = [(control, tuple(control.reasons)) for control in controls]
        moved = [
            event
            for control in controls
            if (self.state_of(batch, control.path), trigger) in LEADS_TO
            for event in self._moved(batch, control, trigger, why, by, "")
        ]
        if moved:
            await self._core.record(batch, *moved, answer=answer)
        for control, reasons in had:
            control.ring()
            await self._unit_arrived(batch, control)
            control.clear(reasons)
            await self._unit_arrived(batch, control)

    def _require_legal(self, batch: BatchId, control: UnitControl, trigger: str) -> None:
        what = f"{trigger} {control.path} of batch {batch}"
        if BROKEN in control.reasons and trigger in ("restart", "resume"):
            raise IllegalTransitionError(
                what, why="the batch stands still", do_next="Look at its alarm"
            )
        doubts = [one for one in control.reasons if one.startswith("doubt ")]
        if doubts and trigger in ("restart", "resume"):
            raise IllegalTransitionError(
                what,
                why=f"an act is in {doubts[0]}",
                do_next="Have two people say what was done; it then goes on",
            )
        if TIME_UNKNOWN in control.reasons and trigger in ("restart", "resume"):
            raise IllegalTransitionError(
                what,
                why=control.reasons[TIME_UNKNOWN],
                do_next="Have the clock synchronised, or sign the time (`cellwright time`); it "
                "then goes on",
            )
        if BOUND in control.reasons and trigger in ("restart", "resume"):
            raise IllegalTransitionError(
                what,
                why=control.reasons[BOUND],
                do_next=f"Have two people bind it anew (`cellwright amend {batch}`); it then goes "
                "on. Or start the daemon as it was",
            )
        late = [one for one in control.reasons if one.startswith(LATE_REPORT)]
        if late and trigger in ("restart", "resume"):
            raise IllegalTransitionError(
                what,
                why=f"nobody has decided yet what the {late[0]} means",
                do_next="Have two people say whether it was done twice; it then goes on",
            )
        state = self.state_of(batch, control.path)
        if trigger == "hold" and state in _AT_REST and BY_PERSON not in control.reasons:
            return  # held for another reason: a person's hold outlasts it
        PhaseLife(state).apply(trigger)

    def _moved(
        self,
        batch: BatchId,
        control: UnitControl,
        trigger: str,
        why: str,
        by: UserId | None,
        reason: str,
    ) -> list[AnyEvent]:
        """Return what is recorded of a unit procedure that moves, and of what is in it."""
        phases = self._core.state.batches[batch].phases
        moved: list[AnyEvent] = [
            StateChanged(
                batch=batch,
                path=PhasePath(control.path),
                trigger=trigger,
                why=why,
                by=by,
                reason=reason,
            ),
            *(
                StateChanged(batch=batch, path=PhasePath(path), trigger=trigger, why=why, by=by)
                for path, phase in phases.items()
                if _belongs(path, control.path) and (phase.state, trigger) in LEADS_TO
                if phase.state not in _ENDED
            ),
        ]
        if trigger in _TO_REST:
            moved += self._hand_work(batch, control.path, why)
        if trigger in _TO_AN_END:
            moved += self._questions(batch, control.path, why)
        return moved

    async def _unit_arrived(self, batch: BatchId, control: UnitControl) -> None:
        """Record that a unit procedure has come to rest, if all its phases have."""
        key = (str(batch), control.path)
        trigger = _ARRIVES.get(self.state_of(batch, control.path))
        if trigger is None or key in self._arriving:
            return
        phases = self._core.state.batches[batch].phases
        if any(
            _belongs(path, control.path) and one.state in _ARRIVES for path, one in phases.items()
        ):
            return
        self._arriving.add(key)
        try:
            why = self._core.state.batches[batch].procedures[control.path].why
            await self._report(batch, control.path, trigger, why)
        finally:
            self._arriving.discard(key)

    async def _report(self, batch: BatchId, path: str, trigger: str, why: str = "") -> None:
        await self._core.record(
            batch, StateChanged(batch=batch, path=PhasePath(path), trigger=trigger, why=why)
        )

    def _hand_work(
        self, batch: str, unit_procedure: str, why: str
    ) -> list[TaskWithdrawn | TaskRecalled]:
        """Return what ends hand work that nobody has begun, and asks who has.

        What a person has in hand can't be undone by a screen: they say whether it was done.
        """
        found: list[TaskWithdrawn | TaskRecalled] = []
        for name, task in self._tasks_of(batch, unit_procedure):
            if task.work != "do":
                continue
            if task.status == "offered":
                found.append(TaskWithdrawn(task=name, why=why or "its unit procedure rests"))
            elif task.status == "taken" and not task.recalled:
                found.append(TaskRecalled(task=name, why=why or "its unit procedure rests"))
        return found

    def _questions(self, batch: str, unit_procedure: str, why: str) -> list[TaskWithdrawn]:
        """Return what withdraws the questions that needn't be answered any more.

        A doubt and a late report must still be decided, and a line cleared.
        """
        return [
            TaskWithdrawn(task=name, why=why or "it was stopped")
            for name, task in self._tasks_of(batch, unit_procedure)
            if task.work in ("enter", "decide") and not name.endswith((DOUBT, LATE, CLEARANCE))
        ]

    def _tasks_of(self, batch: str, unit_procedure: str) -> Iterator[tuple[TaskId, TaskState]]:
        for name, task in self._core.state.tasks.items():
            is_open = task.status not in OVER
            if is_open and task.batch == batch and _belongs(task.path, unit_procedure):
                yield TaskId(name), task

    async def _recall_hand_work(self, batch: BatchId, control: UnitControl, why: str = "") -> None:
        why = why or next(iter(control.reasons.values()), "")
        events = self._hand_work(batch, control.path, why)
        if control.waits and events:
            await self._core.record(batch, *events)

    def _look_at_hand_work(self, recorded: Recorded[AnyEvent]) -> None:
        """Withdraw hand work that was offered, or handed back, while its unit procedure rests."""
        event = recorded.event
        if not (
            (isinstance(event, TaskOffered) and event.work == "do")
            or (isinstance(event, TaskReported) and event.declined)
            or isinstance(event, TaskReopened)
        ):
            return
        task = self._core.state.tasks[event.task]
        for (batch, path), control in self._controls.items():
            if batch == task.batch and control.waits and _belongs(task.path, path):
                self._spawn(
                    partial(self._recall_hand_work, BatchId(batch), control), f"rest of {path}"
                )


def _belongs(path: str, unit_procedure: str) -> bool:
    return path.startswith(f"{unit_procedure}/")
