"""Fold events into the host's state: total, and the same on first run and after a crash.

``fold`` owns the state it is given: it changes it and returns it. It reads nothing else,
so equal events give equal states. It judges nothing: an event in the journal happened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from chain_of_identity.gate import Break
from orchestrator.engine.materials import (
    CARRYING,
    SHARED,
    apply_effect,
    bind_kit_positions,
    bind_label,
    label_shown_beside,
    quarantine,
)
from orchestrator.engine.phase_state import LEADS_TO, PhaseState
from orchestrator.engine.state import (
    LATE_REPORT,
    RESTORED,
    AlarmState,
    AmendmentState,
    AnsweredState,
    AttemptState,
    AwaitedScan,
    BatchState,
    ContainerState,
    DeviationState,
    EquipmentState,
    HostState,
    KnownTime,
    LeaseState,
    LimitState,
    LotState,
    Mark,
    PersonState,
    PhaseRecord,
    ProcedureState,
    RecipeState,
    SessionState,
    TaskState,
    WaiterState,
    WordState,
)
from orchestrator.journal import events as ev
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.quantities import Duration, Volume, second
from orchestrator.kernel.tasks import NOT_DONE
from orchestrator.people.sessions import request_of, why_over
from orchestrator.people.users import after_refusal

REQUESTS_KEPT_MOST: Final = 10_000
"""So many answered requests are remembered, to answer a repeated one as the first time.

What rests on a view from before the newest that was forgotten may be one of those.
"""


JUMPED: Final = "clock jumped"
"""The alarm that the wall clock jumped: nobody signs until a person has acknowledged it."""

OFFSET_MOST: Final = 16 * second
"""What a synchronised clock may be off where the record doesn't say: with more, Linux calls it
unsynchronised (NTP_PHASE_LIMIT of its timex.h)."""

_AT_REST: Final = frozenset({"held", "paused", "stopped", "aborted"})
"""Reports after which nobody is asked for a scan any more; what goes on asks again."""


def fold(state: HostState, recorded: Recorded[ev.AnyEvent]) -> HostState:
    """Return ``state`` after one more event."""
    state.seq = recorded.seq
    event = recorded.event
    kind = event.kind
    step = _STEPS.get(kind)
    if step is not None:
        try:
            step(state, recorded, event)
        except (LookupError, ValueError, TypeError, ArithmeticError) as misfit:
            _note_misfit(state, recorded, misfit)
    if kind == "state_changed":
        _note_change(state, recorded)
    return state


def _note_misfit(state: HostState, recorded: Recorded[ev.AnyEvent], misfit: Exception) -> None:
    """Note an event that doesn't fit what is known; its batch must not act on."""
    event = recorded.event
    state.unfolded[recorded.seq] = f"{event.kind}: {type(misfit).__name__}"
    batch = state.batches.get(recorded.stream)
    if batch is not None and not batch.broken:
        batch.broken = f"event {recorded.seq} ({event.kind}) doesn't fit the record before it"


def _note_change(state: HostState, recorded: Recorded[Any]) -> None:
    batch = state.batches.get(recorded.event.batch)
    if batch is not None:
        batch.changed = recorded.seq


def _host_started(state: HostState, at: Recorded[Any], event: ev.HostStarted) -> None:
    if at.boot != state.boot:
        state.boots.append(at.boot)
        state.wall = _shown(at)
    state.boot = at.boot
    state.cell = event.cell
    if event.synchronised:
        _note_time(state, at, event.offset or str(OFFSET_MOST))
    state.last_start = at.seq
    state.ended_well = False
    state.scans.clear()


def _host_stopped(state: HostState, at: Recorded[Any], event: ev.HostStopped) -> None:
    del at, event
    state.ended_well = True


def _journal_witnessed(state: HostState, at: Recorded[Any], event: ev.JournalWitnessed) -> None:
    del at
    state.witnessed = event.events


def _clock_jumped(state: HostState, at: Recorded[Any], event: ev.ClockJumped) -> None:
    del event
    state.wall = _shown(at)
    state.jumped = at.seq


def _clock_synchronised(state: HostState, at: Recorded[Any], event: ev.ClockSynchronised) -> None:
    _note_time(state, at, event.offset)


def _clock_doubted(state: HostState, at: Recorded[Any], event: ev.ClockDoubted) -> None:
    del event
    state.known_times.pop(at.boot, None)
    state.doubted.append(at.boot)


def _time_signed(state: HostState, at: Recorded[Any], event: ev.TimeSigned) -> None:
    del at
    within = Duration.read(event.within).base
    state.known_times[event.boot] = KnownTime(event.time, event.boottime, within, signed=True)


def _note_time(state: HostState, at: Recorded[Any], offset: str) -> None:
    """Note that the time was known just now, unless it was known better before."""
    within = Duration.read(offset).base
    known = state.known_times.get(at.boot)
    if known is None or within < known.within_ms:
        state.known_times[at.boot] = KnownTime(at.at, at.boottime.base, within)


def _shown(at: Recorded[Any]) -> KnownTime:
    return KnownTime(at.at, at.boottime.base, 0)


def _mark(at: Recorded[Any]) -> Mark:
    return Mark(at.boot, at.boottime.base)


def _journal_restored(state: HostState, at: Recorded[Any], event: ev.JournalRestored) -> None:
    """Believe nothing that may be otherwise by now: places, instruments, orders, sessions."""
    state.epoch = event.epoch
    state.witness_closed = [(one.epoch, one.length, one.sha256) for one in event.witness]
    if state.witnessed is not None or event.witness:
        state.witnessed = 0
    state.ended_well = False
    state.last_start = at.seq  # proofs from before it are spent
    state.sessions.clear()
    state.scans.clear()
    for container in state.containers.values():
        container.breaks[Break.OCCUPANCY_UNKNOWN] = at.seq
        container.changed = at.seq
    for shown in state.equipment.values():
        if shown.values:
            shown.outside[RESTORED] = str(at.at)
    for name, batch in state.batches.items():
        if batch.status == "made":
            batch.start_asked_by = ""
            for place in [one for one, waits in state.waiters.items() if waits.batch == name]:
                del state.waiters[place]


def _equipment_seen(state: HostState, at: Recorded[Any], event: ev.EquipmentSeen) -> None:
    del at
    known = state.equipment.get(event.equipment)
    outside = known.outside if known is not None and event.explained_by is not None else {}
    state.equipment[event.equipment] = EquipmentState(
        event.model, event.serial, event.firmware, event.values, event.witness, outside
    )


def _outside_act_seen(state: HostState, at: Recorded[Any], event: ev.OutsideActSeen) -> None:
    del at
    shown = state.equipment[event.equipment]
    shown.values = {**shown.values, **{one.value: one.seen for one in event.strayed}}
    for one in event.strayed:
        shown.outside.setdefault(one.value, one.was)


def _person_added(state: HostState, at: Recorded[Any], event: ev.PersonAdded) -> None:
    del at
    state.people[event.user] = PersonState(
        event.login, event.printed_name, list(event.roles), event.secret
    )


def _session_opened(state: HostState, at: Recorded[Any], event: ev.SessionOpened) -> None:
    over = [name for name, one in state.sessions.items() if why_over(one, at.boot, at.boottime)]
    for name in over:
        del state.sessions[name]
    opened_ms = at.boottime.base
    state.sessions[event.token_sha256] = SessionState(event.user, at.boot, opened_ms, opened_ms)
    state.people[event.user].refused = 0
    state.people[event.user].refused_at = None


def _session_closed(state: HostState, at: Recorded[Any], event: ev.SessionClosed) -> None:
    del at
    state.sessions.pop(event.token_sha256, None)


def _command_answered(state: HostState, at: Recorded[Any], event: ev.CommandAnswered) -> None:
    seq = at.seq - event.events
    answer = AnsweredState(seq, event.command, event.arguments, event.refused)
    state.answered[request_of(event.by, event.request)] = answer
    if len(state.answered) > REQUESTS_KEPT_MOST:
        oldest = state.answered.pop(next(iter(state.answered)))
        state.forgotten = max(state.forgotten, oldest.seq)
    session = state.sessions.get(event.session)
    if session is not None:
        session.used_ms = at.boottime.base


def _login_refused(state: HostState, at: Recorded[Any], event: ev.LoginRefused) -> None:
    if event.user is not None:
        person = state.people[event.user]
        person.refused, person.refused_at = after_refusal(person, at.at)


def _recipe_submitted(state: HostState, at: Recorded[Any], event: ev.RecipeSubmitted) -> None:
    state.recipes[event.recipe] = RecipeState(
        event.title,
        event.document,
        event.version,
        {event.signature.meaning: event.signature.signer},
        at.seq,
    )


def _recipe_signed(state: HostState, at: Recorded[Any], event: ev.RecipeSigned) -> None:
    del at
    state.recipes[event.recipe].signers[event.signature.meaning] = event.signature.signer


def _lot_received(state: HostState, at: Recorded[Any], event: ev.LotReceived) -> None:
    del at
    state.lots[event.lot] = LotState(event.material, event.expires, event.in_use)


def _lot_quarantined(state: HostState, at: Recorded[Any], event: ev.LotQuarantined) -> None:
    del at
    state.lots[event.lot].quarantined = event.why


def _container_received(state: HostState, at: Recorded[Any], event: ev.ContainerReceived) -> None:
    state.containers[event.container] = ContainerState(
        label=event.label,
        material=event.material,
        what=event.what,
        coi=event.coi or "",
        lot=event.lot or "",
        volume_nl=Volume.read(event.volume).base if event.volume else 0,
        capacity_nl=Volume.read(event.capacity).base if event.capacity else 0,
    )
    bind_label(state, event.label, event.container, at.seq)
    bind_kit_positions(state, event, at.seq)


def _container_quarantined(
    state: HostState, at: Recorded[Any], event: ev.ContainerQuarantined
) -> None:
    quarantine(state, event.container, event.why, at.seq)


def _container_placed(state: HostState, at: Recorded[Any], event: ev.ContainerPlaced) -> None:
    container = state.containers[event.container]
    container.place = event.place
    container.changed = at.seq
    container.breaks[Break.MOVED_UNSCANNED] = at.seq
    if container.kit:
        container.kit = container.port = ""
        container.breaks[Break.DISCONNECTED] = at.seq


def _container_released(state: HostState, at: Recorded[Any], event: ev.ContainerReleased) -> None:
    state.containers[event.container].quarantined = ""
    state.containers[event.container].changed = at.seq


def _batch_made(state: HostState, at: Recorded[Any], event: ev.BatchMade) -> None:
    state.batches[event.batch] = BatchState(
        coi=event.coi,
        recipe=event.recipe,
        cell=event.cell,
        containers={one.name: one.is_ for one in event.containers},
        kits={one.name: one.is_ for one in event.kits},
        units={one.name: one.is_ for one in event.units},
        places={one.name: one.is_ for one in event.places},
        ordered={one.name: one.is_ for one in event.ordered},
        made_at=at.at,
        engine=event.engine,
    )
    for named in (*event.containers, *event.kits):
        _assign(state, named.is_, event.batch, event.coi)


def _assign(state: HostState, name: str, batch: str, coi: str) -> None:
    """Give a container to a batch; whose cells it holds was said when it was received."""
    container = state.containers.get(name)
    if container is None:
        return
    inner = [one for one in state.containers.values() if one.kit == name]
    for one in (container, *inner):
        one.batch = one.batch or batch
        if one.what not in SHARED:
            one.coi = one.coi or coi


def _amendment_proposed(state: HostState, at: Recorded[Any], event: ev.AmendmentProposed) -> None:
    proposed = event.proposed
    batch = state.batches[event.batch]
    batch.changed = at.seq
    batch.amendments[event.amendment] = AmendmentState(
        binding=proposed.binding,
        old=proposed.old,
        new=proposed.new,
        at=proposed.at,
        changes=list(proposed.changes),
        reason=proposed.reason,
        proposed_by=proposed.signatures[0].signer,
        proposed_at=at.at,
        seq=at.seq,
    )
    if proposed.binding == "recipe":
        state.recipes[proposed.new].amends = event.batch


def _amendment_rejected(state: HostState, at: Recorded[Any], event: ev.AmendmentRejected) -> None:
    batch = state.batches[event.batch]
    batch.changed = at.seq
    known = batch.amendments[event.amendment]
    known.status, known.decided_by, known.why_not = "rejected", event.by, event.why


def _batch_amended(state: HostState, at: Recorded[Any], event: ev.BatchAmended) -> None:
    batch = state.batches[event.batch]
    batch.changed = at.seq
    known = batch.amendments[event.amendment]
    known.status, known.decided_by = "made", event.signatures[-1].signer
    match event.binding:
        case "recipe":
            batch.recipe = event.new
        case "engine":
            batch.engine = event.new
        case "cell":
            batch.cell = event.new
        case "equipment":
            batch.serials[event.at] = event.new
    for named in event.containers:
        batch.containers[named.name] = named.is_
        _assign(state, named.is_, event.batch, batch.coi)
    for bounds in event.limits:
        limit = state.limits.get(bounds.limit)
        if limit is not None:
            limit.minimum, limit.maximum, limit.due = bounds.minimum, bounds.maximum, False


def _batch_start_asked(state: HostState, at: Recorded[Any], event: ev.BatchStartAsked) -> None:
    del at
    state.batches[event.batch].start_asked_by = event.by


def _batch_started(state: HostState, at: Recorded[Any], event: ev.BatchStarted) -> None:
    del at
    batch = state.batches[event.batch]
    batch.status = "running"
    batch.serials = {name: one.serial for name, one in state.equipment.items() if one.serial}


def _batch_ended(state: HostState, at: Recorded[Any], event: ev.BatchEnded) -> None:
    del at
    state.batches[event.batch].status = event.how


def _batch_broken(state: HostState, at: Recorded[Any], event: ev.BatchBroken) -> None:
    del at
    batch = state.batches[event.batch]
    batch.broken = f"{event.path}: the record asks {event.recorded}, the phase asks {event.asked}"
    batch.broken_path = event.path


def _batch_stood_still(state: HostState, at: Recorded[Any], event: ev.BatchStoodStill) -> None:
    del at
    batch = state.batches[event.batch]
    batch.broken = event.why
    batch.broken_path = "*"


def _batch_mended(state: HostState, at: Recorded[Any], event: ev.BatchMended) -> None:
    del at
    batch = state.batches[event.batch]
    batch.broken = batch.broken_path = ""


def _state_changed(state: HostState, at: Recorded[Any], event: ev.StateChanged) -> None:
    del at
    batch = state.batches[event.batch]
    phase = batch.phases.get(event.path)
    if phase is None:
        phase = batch.procedures.setdefault(event.path, ProcedureState())
        if event.trigger in ("hold", "pause"):
            phase.reasons[event.reason or event.trigger] = event.why
        if event.trigger in ("restart", "resume"):
            phase.reasons.clear()
    phase.state = LEADS_TO.get((phase.state, event.trigger), phase.state)
    phase.why = event.why
    if event.trigger in _AT_REST:
        state.scans.pop(_place_in_run(event.batch, event.path), None)


def _branch_taken(state: HostState, at: Recorded[Any], event: ev.BranchTaken) -> None:
    del at
    state.batches[event.batch].branches[event.path] = event.branch


def _moment_passed(state: HostState, at: Recorded[Any], event: ev.MomentPassed) -> None:
    state.batches[event.batch].moments[f"{event.edge} {event.path}"] = at.at


def _condition_edge(state: HostState, at: Recorded[Any], event: ev.ConditionEdge) -> None:
    del at
    state.batches[event.batch].watches[event.path] = event.edge


def _trace_sealed(state: HostState, at: Recorded[Any], event: ev.TraceSealed) -> None:
    del at
    name = f"{event.equipment} {event.reading}"
    state.traced[name] = state.traced.get(name, 0) + event.samples


def _phase_started(state: HostState, at: Recorded[Any], event: ev.PhaseStarted) -> None:
    state.batches[event.batch].phases[event.path] = PhaseRecord(event.phase, at.seq, at.at)


def _phase_ended(state: HostState, at: Recorded[Any], event: ev.PhaseEnded) -> None:
    batch = state.batches[event.batch]
    phase = batch.phases[event.path]
    phase.state = PhaseState.COMPLETE
    phase.why = ""
    phase.report = event.report
    phase.ended_at = at.at
    phase.words.clear()
    batch.measured.update({one.name: one.is_ for one in event.measured})


def _phase_failed(state: HostState, at: Recorded[Any], event: ev.PhaseFailed) -> None:
    del at
    phase = state.batches[event.batch].phases[event.path]
    phase.why = event.error.get("why", "")


def _attempt_intended(state: HostState, at: Recorded[Any], event: ev.AttemptIntended) -> None:
    batch, path, number, command = event.batch, event.path, event.word, event.command
    words = state.batches[batch].phases[path].words
    asked, act = event.asked, event.act
    attempt = AttemptState(
        command,
        event.equipment,
        asked if act is None else act,
        event.before,
        event.witness,
        event.evidence,
        at.seq,
        at.at,
        mark=_mark(at),
    )
    word = words.get(number)
    if word is None:
        words[number] = WordState(asked, attempts=[attempt])
    else:
        word.attempts.append(attempt)
    state.attempts[command] = (batch, path, number)


def _attempt_settled(state: HostState, at: Recorded[Any], event: ev.AttemptSettled) -> None:
    batch, attempt = _answered(state, at, event)
    attempt.verdict = event.verdict
    shown = state.equipment.get(attempt.equipment)
    if shown is not None:
        shown.values = event.after
        shown.witness = event.witness
    if event.done:
        apply_effect(state, batch, attempt, at)


def _attempt_reconciled(state: HostState, at: Recorded[Any], event: ev.AttemptReconciled) -> None:
    batch, attempt = _answered(state, at, event)
    attempt.verdict = event.verdict
    if attempt.act["kind"] in CARRYING:
        _occupancy_unknown(state, at, attempt.act)
    if event.done:
        apply_effect(state, batch, attempt, at)


def _attempt_failed(state: HostState, at: Recorded[Any], event: ev.AttemptFailed) -> None:
    batch, attempt = _answered(state, at, event)
    attempt.verdict = "part" if event.done else "nothing"
    attempt.why = event.error.get("why", "")
    if event.done:
        apply_effect(state, batch, attempt, at)


def _answered(
    state: HostState,
    at: Recorded[Any],
    event: ev.AttemptSettled | ev.AttemptReconciled | ev.AttemptFailed,
) -> tuple[str, AttemptState]:
    """Close an attempt and end the doubt about it; return its batch, and it with what it did."""
    batch, path, number = state.attempts.pop(event.command)
    known = state.batches[batch]
    word = known.phases[path].words[number]
    word.answered_at = at.at
    attempt = word.attempts[-1]
    attempt.done = event.done
    attempt.detail = event.detail
    for procedure in known.procedures.values():
        if procedure.reasons:
            procedure.reasons.pop(f"doubt {event.command}", None)
    return batch, attempt


def _occupancy_unknown(state: HostState, at: Recorded[Any], act: dict[str, Any]) -> None:
    """End the identity of what an arm may or may not have carried: only a scan mends it."""
    container = state.containers.get(act["container"])
    if container is not None:
        container.breaks[Break.OCCUPANCY_UNKNOWN] = at.seq


def _attempt_uncertain(state: HostState, at: Recorded[Any], event: ev.AttemptUncertain) -> None:
    batch, path, number = state.attempts[event.command]
    attempt = state.batches[batch].phases[path].words[number].attempts[-1]
    attempt.verdict = "uncertain"
    attempt.why = event.why
    attempt.after = {**event.after, **event.evidence}
    if attempt.act["kind"] in CARRYING:
        _occupancy_unknown(state, at, attempt.act)


def _act_overdue(state: HostState, at: Recorded[Any], event: ev.ActOverdue) -> None:
    del at
    known = state.attempts.get(event.command)
    if known is not None:  # else it ended at the same moment
        batch, path, number = known
        state.batches[batch].phases[path].words[number].attempts[-1].overdue = True


def _attempt_reopened(state: HostState, at: Recorded[Any], event: ev.AttemptReopened) -> None:
    del at
    attempt = state.batches[event.batch].phases[event.path].words[event.word].attempts[-1]
    attempt.verdict = "uncertain"
    attempt.why = event.why
    state.attempts[event.command] = (event.batch, event.path, event.word)


def _seen(state: HostState, at: Recorded[Any], event: ev.Seen) -> None:
    words = state.batches[event.batch].phases[event.path].words
    words[event.word] = WordState(event.reading, {"value": event.value}, at.at)


def _scan_awaited(state: HostState, at: Recorded[Any], event: ev.ScanAwaited) -> None:
    state.scans[_place_in_run(event.batch, event.path)] = AwaitedScan(
        event.batch, event.path, event.container, event.place, event.scanner, at.at, event.which
    )


def _identity_proven(state: HostState, at: Recorded[Any], event: ev.IdentityProven) -> None:
    state.scans.pop(_place_in_run(event.batch, event.path), None)
    words = state.batches[event.batch].phases[event.path].words
    if event.word is not None and event.word not in words:
        words[event.word] = WordState(
            event.reading,
            {
                "container": event.container,
                "place": event.place,
                "label": event.label,
                "scanner": event.scanner or "",
                "rests_on": event.rests_on,
                "seq": at.seq,
            },
            at.at,
        )
    if event.scanner is not None:
        container = state.containers[event.container]
        container.proven_seq = at.seq
        container.breaks.pop(Break.MOVED_UNSCANNED, None)
        if event.read_first:
            label_shown_beside(state, event.container, event.label)


def _wait_started(state: HostState, at: Recorded[Any], event: ev.WaitStarted) -> None:
    words = state.batches[event.batch].phases[event.path].words
    words[event.word] = WordState(
        {
            "instant": None if event.instant is None else str(event.instant),
            "condition": event.condition,
            "latest": None if event.latest is None else str(event.latest),
        },
        asked_at=at.at,
        mark=_mark(at),
    )


def _wait_ended(state: HostState, at: Recorded[Any], event: ev.WaitEnded) -> None:
    word = state.batches[event.batch].phases[event.path].words[event.word]
    word.answer = {"first": event.first}
    word.answered_at = at.at


def _task_offered(state: HostState, at: Recorded[Any], event: ev.TaskOffered) -> None:
    state.tasks[event.task] = TaskState(
        batch=event.batch or "",
        path=event.path or "",
        word=-1 if event.word is None else event.word,
        work=event.work,
        text=event.text,
        ask=event.ask,
        evidence=event.evidence,
        second_person=event.second_person,
        offered_at=at.at,
        due=event.due,
        changed=at.seq,
    )


def _task_taken(state: HostState, at: Recorded[Any], event: ev.TaskTaken) -> None:
    task = state.tasks[event.task]
    if task.status == "withdrawn":
        return  # nobody asks for it any more: it was taken as it was withdrawn
    task.changed = at.seq
    task.status = "taken"
    task.taken_by = event.by
    task.hands.append(event.by)


def _task_reported(state: HostState, at: Recorded[Any], event: ev.TaskReported) -> None:
    task = state.tasks[event.task]
    task.changed = at.seq
    task.reported_by = event.by
    task.hands.append(event.by)
    task.values = event.values
    task.choice = event.choice
    task.signature = None if event.signature is None else event.signature.model_dump(mode="json")
    if event.declined and task.work == "do":
        task.choice = NOT_DONE
        task.values = {"why": event.declined}
        task.status = "done"
        return
    if event.declined:
        task.status = "offered"
        task.taken_by = ""
        return
    task.status = "reported" if task.second_person else "done"
    _answer_question(state, at, task)


def _task_verified(state: HostState, at: Recorded[Any], event: ev.TaskVerified) -> None:
    task = state.tasks[event.task]
    task.changed = at.seq
    task.status = "done"
    task.verified_by = event.by
    _answer_question(state, at, task)


def _task_reopened(state: HostState, at: Recorded[Any], event: ev.TaskReopened) -> None:
    task = state.tasks[event.task]
    task.changed = at.seq
    task.status = "offered"
    task.taken_by = task.reported_by = task.choice = ""
    task.values = {}
    task.signature = None


def _task_rejected(state: HostState, at: Recorded[Any], event: ev.TaskRejected) -> None:
    """Note that hand work isn't as reported; the label of its report stays taken."""
    task = state.tasks[event.task]
    task.changed = at.seq
    task.rejected = f"{event.why}, says {event.by}"
    task.status = "done"
    for container in state.containers.values():
        if container.beside_task == event.task:
            container.beside = container.beside_task = ""


def _answer_question(state: HostState, at: Recorded[Any], task: TaskState) -> None:
    """Answer the phase's ``ask`` once its task is done."""
    if task.status != "done" or task.word < 0 or task.work not in ("enter", "decide"):
        return
    words = state.batches[task.batch].phases[task.path].words
    words[task.word] = WordState(
        task.ask,
        {
            "values": task.values,
            "choice": task.choice,
            "by": task.reported_by,
            "verified_by": task.verified_by or None,
        },
        at.at,
    )


def _task_withdrawn(state: HostState, at: Recorded[Any], event: ev.TaskWithdrawn) -> None:
    """Withdraw a task, as far as nobody had begun it: hands are faster than a record.

    What a person had taken at that moment is asked back; what they had reported counts.
    """
    task = state.tasks[event.task]
    if task.status == "done" or (task.work == "do" and task.status == "reported"):
        return
    if task.work == "do" and task.status == "taken":
        task.recalled = task.recalled or event.why
        return
    task.changed = at.seq
    task.status = "withdrawn"


def _task_recalled(state: HostState, at: Recorded[Any], event: ev.TaskRecalled) -> None:
    del at  # a report that rests on the view before it still counts
    state.tasks[event.task].recalled = event.why


def _task_taken_back(state: HostState, at: Recorded[Any], event: ev.TaskTakenBack) -> None:
    """Take a task from who has it: a question is offered again, hand work is in doubt."""
    task = state.tasks[event.task]
    if task.status != "taken":
        return  # it was reported in the same moment, and that counts
    task.changed = at.seq
    if task.work == "do":
        task.status = "withdrawn"
        task.taken_back = event.why
        task.taken_back_by = event.by
    else:
        task.status = "offered"
        task.taken_by = ""


def _hand_work_reported_late(
    state: HostState, at: Recorded[Any], event: ev.HandWorkReportedLate
) -> None:
    """Keep what a person says they did; it changes nothing until two people decide."""
    task = state.tasks[event.task]
    task.changed = at.seq
    task.reported_by = event.by
    task.hands.append(event.by)
    task.values = event.values


def _late_report_decided(state: HostState, at: Recorded[Any], event: ev.LateReportDecided) -> None:
    del at
    for procedure in state.batches[event.batch].procedures.values():
        procedure.reasons.pop(f"{LATE_REPORT}{event.task}", None)


def _lease_wanted(state: HostState, at: Recorded[Any], event: ev.LeaseWanted) -> None:
    state.waiters[_place_in_run(event.batch, event.path)] = WaiterState(
        event.batch, event.path, list(event.resources), at.at, event.least_time_left
    )


def _lease_withdrawn(state: HostState, at: Recorded[Any], event: ev.LeaseWithdrawn) -> None:
    del at
    state.waiters.pop(_place_in_run(event.batch, event.path), None)


def _lease_granted(state: HostState, at: Recorded[Any], event: ev.LeaseGranted) -> None:
    state.waiters.pop(_place_in_run(event.batch, event.path), None)
    for resource in event.resources:
        state.leases[resource] = LeaseState(event.batch, event.coi, event.path, event.until, at.at)


def _lease_released(state: HostState, at: Recorded[Any], event: ev.LeaseReleased) -> None:
    del at
    for resource in event.resources:
        lease = state.leases.get(resource)
        if lease is not None and lease.batch == event.batch:  # nobody frees what is another's
            del state.leases[resource]


def _limit_started(state: HostState, at: Recorded[Any], event: ev.LimitStarted) -> None:
    state.limits[event.limit] = LimitState(
        owner=event.owner,
        batch=event.batch or "",
        minimum=event.minimum,
        maximum=event.maximum,
        tier=event.tier,
        source=event.source,
        mark=_mark(at),
        started_at=at.at,
        started_seq=at.seq,
    )


def _limit_due(state: HostState, at: Recorded[Any], event: ev.LimitDue) -> None:
    del at
    limit = state.limits.get(event.limit)
    if limit is not None:
        limit.due = True


def _limit_ended(state: HostState, at: Recorded[Any], event: ev.LimitEnded) -> None:
    del at
    state.limits.pop(event.limit, None)


def _alarm_raised(state: HostState, at: Recorded[Any], event: ev.AlarmRaised) -> None:
    state.alarms[event.alarm] = AlarmState(
        event.tier, event.cause, event.consequence, event.action, event.batch or "", at.at
    )


def _alarm_acknowledged(state: HostState, at: Recorded[Any], event: ev.AlarmAcknowledged) -> None:
    del at
    alarm = state.alarms[event.alarm]
    alarm.acknowledged_by = event.by
    if event.alarm == JUMPED:
        state.jumped = 0
    if alarm.cleared:
        del state.alarms[event.alarm]


def _alarm_cleared(state: HostState, at: Recorded[Any], event: ev.AlarmCleared) -> None:
    del at
    alarm = state.alarms.get(event.alarm)
    if alarm is None:
        return
    alarm.cleared = True
    if alarm.acknowledged_by:
        del state.alarms[event.alarm]


def _deviation_opened(state: HostState, at: Recorded[Any], event: ev.DeviationOpened) -> None:
    limit = state.limits.get(event.limit)
    state.deviations[event.deviation] = DeviationState(
        event.batch,
        event.path or "",
        event.text,
        event.by or "system",
        at.at,
        limit=event.limit,
        limit_started_seq=0 if limit is None else limit.started_seq,
    )


def _deviation_closed(state: HostState, at: Recorded[Any], event: ev.DeviationClosed) -> None:
    del at
    state.deviations[event.deviation].closed_by = event.signature.signer


def _place_in_run(batch: str, path: str) -> str:
    return f"{batch}/{path}"


_Step = Callable[[HostState, Recorded[Any], Any], None]

_STEPS: Final = cast(
    "dict[str, _Step]",
    {
        "host_started": _host_started,
        "host_stopped": _host_stopped,
        "journal_witnessed": _journal_witnessed,
        "clock_jumped": _clock_jumped,
        "clock_synchronised": _clock_synchronised,
        "clock_doubted": _clock_doubted,
        "time_signed": _time_signed,
        "journal_restored": _journal_restored,
        "equipment_seen": _equipment_seen,
        "outside_act_seen": _outside_act_seen,
        "person_added": _person_added,
        "session_opened": _session_opened,
        "session_closed": _session_closed,
        "login_refused": _login_refused,
        "command_answered": _command_answered,
        "recipe_submitted": _recipe_submitted,
        "recipe_signed": _recipe_signed,
        "lot_received": _lot_received,
        "lot_quarantined": _lot_quarantined,
        "container_received": _container_received,
        "container_quarantined": _container_quarantined,
        "container_placed": _container_placed,
        "container_released": _container_released,
        "batch_made": _batch_made,
        "amendment_proposed": _amendment_proposed,
        "amendment_rejected": _amendment_rejected,
        "batch_amended": _batch_amended,
        "batch_start_asked": _batch_start_asked,
        "batch_started": _batch_started,
        "batch_ended": _batch_ended,
        "batch_broken": _batch_broken,
        "batch_stood_still": _batch_stood_still,
        "batch_mended": _batch_mended,
        "state_changed": _state_changed,
        "branch_taken": _branch_taken,
        "moment_passed": _moment_passed,
        "condition_edge": _condition_edge,
        "trace_sealed": _trace_sealed,
        "phase_started": _phase_started,
        "phase_ended": _phase_ended,
        "phase_failed": _phase_failed,
        "attempt_intended": _attempt_intended,
        "attempt_settled": _attempt_settled,
        "attempt_reconciled": _attempt_reconciled,
        "attempt_failed": _attempt_failed,
        "attempt_uncertain": _attempt_uncertain,
        "attempt_reopened": _attempt_reopened,
        "act_overdue": _act_overdue,
        "seen": _seen,
        "scan_awaited": _scan_awaited,
        "identity_proven": _identity_proven,
        "wait_started": _wait_started,
        "wait_ended": _wait_ended,
        "task_offered": _task_offered,
        "task_taken": _task_taken,
        "task_reported": _task_reported,
        "task_verified": _task_verified,
        "task_reopened": _task_reopened,
        "task_rejected": _task_rejected,
        "task_withdrawn": _task_withdrawn,
        "task_recalled": _task_recalled,
        "task_taken_back": _task_taken_back,
        "hand_work_reported_late": _hand_work_reported_late,
        "late_report_decided": _late_report_decided,
        "lease_wanted": _lease_wanted,
        "lease_withdrawn": _lease_withdrawn,
        "lease_granted": _lease_granted,
        "lease_released": _lease_released,
        "limit_started": _limit_started,
        "limit_due": _limit_due,
        "limit_ended": _limit_ended,
        "alarm_raised": _alarm_raised,
        "alarm_acknowledged": _alarm_acknowledged,
        "alarm_cleared": _alarm_cleared,
        "deviation_opened": _deviation_opened,
        "deviation_closed": _deviation_closed,
    },
)
