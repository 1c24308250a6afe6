"""What is recorded when a journal is put back from a backup, beside the restore itself.

What was recorded after the backup is lost, and was done all the same: a dose was given, a bag
was carried, an order was taken back. So nothing goes on by itself from where the backup ends.
What ran is held until a supervisor restarts it; an attempt that was open is in doubt, since the
instrument may have done more than that attempt by now; and an alarm says what may be missing.
Containers and instruments are the fold's part (``JournalRestored``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from orchestrator.engine.phase_state import LEADS_TO, PhaseState
from orchestrator.engine.state import RESTORED, BatchState, HostState, ProcedureState
from orchestrator.journal.events import (
    AlarmRaised,
    AnyEvent,
    AttemptUncertain,
    JournalRestored,
    StateChanged,
    TaskRecalled,
    TaskWithdrawn,
)
from orchestrator.kernel.identifiers import BatchId, CommandId, PhasePath, TaskId
from orchestrator.kernel.instants import Instant
from orchestrator.recipe.model import Recipe, Together

WHY: Final = "the journal was restored from a backup, and what was done after it isn't on record"

_ENDING: Final = (
    PhaseState.COMPLETE,
    PhaseState.STOPPING,
    PhaseState.STOPPED,
    PhaseState.ABORTING,
    PhaseState.ABORTED,
)


def put_at_rest(
    state: HostState, recipe_of: Callable[[str], Recipe]
) -> Iterator[tuple[BatchId, list[AnyEvent]]]:
    """Yield for each batch that ran what holds it, and puts in doubt what was open in it."""
    for name, batch in state.batches.items():
        if batch.status != "running":
            continue
        one = BatchId(name)
        events: list[AnyEvent] = [
            AttemptUncertain(batch=one, command=CommandId(command), why=WHY)
            for command, (whose, path, number) in state.attempts.items()
            if whose == name
            and batch.phases[path].words[number].attempts[-1].verdict != "uncertain"
        ]
        events += held(state, one, recipe_of(batch.recipe), why=WHY, reason=RESTORED)
        yield one, events


def held(
    state: HostState, batch: BatchId, recipe: Recipe, *, why: str, reason: str
) -> Iterator[AnyEvent]:
    """Yield what holds all of a batch that would go on, while it doesn't walk."""
    known = state.batches[batch]
    for procedure in _to_go_on(known, recipe):
        yield from _held(state, batch, known, procedure, why, reason)


def alarm_of(restored: JournalRestored, last: Instant | None) -> AlarmRaised:
    """Return the alarm that stands until a person has seen it."""
    lost = "how many came after it nobody knows, since it had no witness"
    if restored.known is not None:
        count = max(0, restored.known - restored.events)
        until = "" if restored.known_at is None else f", signed at {restored.known_at}"
        lost = f"at least {count} that came after it are missing{until}"
    ended = "" if last is None else f", the last of {last}"
    return AlarmRaised(
        alarm=f"{RESTORED} {restored.epoch}",
        tier="block",
        cause=f"The journal was put back from a backup of {restored.events} events{ended}; {lost}",
        consequence="What they recorded may have been done: doses, joints, moves of containers, "
        "reports of hand work, holds and stops, lots put in quarantine, people added. Whatever "
        "ran is held, and no order to start stands",
        action="Compare each container and instrument with the page of its patient, look at each "
        "instrument, and scan each container. Restart a batch only where nothing was done after "
        "the backup; else stop it and decide on its material. Repeat what was put in quarantine "
        "or added since, and acknowledge this",
    )


def _to_go_on(batch: BatchState, recipe: Recipe) -> list[str]:
    """Return the unit procedures that would go on now, or begin."""
    for part in recipe.body:
        if isinstance(part, Together):
            paths = [f"{part.slug}/{one.slug}" for one in part.unit_procedures]
        else:
            paths = [part.slug]
        left = [one for one in paths if _state_of(batch, one) is not PhaseState.COMPLETE]
        if left:
            return [one for one in left if _state_of(batch, one) not in _ENDING]
    return []


def _state_of(batch: BatchState, path: str) -> PhaseState:
    return batch.procedures.get(path, ProcedureState()).state


def _held(
    state: HostState, name: BatchId, batch: BatchState, procedure: str, why: str, reason: str
) -> Iterator[AnyEvent]:
    path = PhasePath(procedure)
    if _state_of(batch, procedure) is PhaseState.IDLE:  # else it would begin by itself
        yield StateChanged(batch=name, path=path, trigger="start")
    yield StateChanged(batch=name, path=path, trigger="hold", why=why, reason=reason)
    for phase, known in batch.phases.items():
        if phase.startswith(f"{procedure}/") and (known.state, "hold") in LEADS_TO:
            yield StateChanged(batch=name, path=PhasePath(phase), trigger="hold", why=why)
    for task, asked in state.tasks.items():
        if asked.batch != name or asked.work != "do" or not asked.path.startswith(f"{procedure}/"):
            continue
        if asked.status == "offered":
            yield TaskWithdrawn(task=TaskId(task), why=why)
        elif asked.status == "taken" and not asked.recalled:
            yield TaskRecalled(task=TaskId(task), why=why)
