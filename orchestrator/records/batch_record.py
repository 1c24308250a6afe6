"""The batch record, made from the journal alone (21 CFR 211.188).

``batch_record`` reads a journal's file and returns one frozen ``BatchRecord``: what was
done, by whom and with what, what was found, and what stands open. It changes nothing, may
be asked while the batch runs or the daemon is down, and gives the same record for the same
events. On a damaged journal it holds what lies before the damage, and says so.

Of another patient it holds nothing: what isn't this batch's is left out, and a text that
names another patient's batch or container has that name covered.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, cast

from orchestrator.engine.state import HostState
from orchestrator.journal import events as ev
from orchestrator.journal.verify import Verdict, verify
from orchestrator.kernel.errors import RecipeRefusedError
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, Quantity, Volume
from orchestrator.kernel.tasks import OVER
from orchestrator.people.signatures import fits, record_of, signatures_on
from orchestrator.recipe.model import Keep, Reagent, Recipe, written_path
from orchestrator.records.batch_history import (
    AlarmStory,
    At,
    BatchHistory,
    ClockStory,
    history_of,
    read_journal,
)
from orchestrator.records.cells_found import (
    CellsFound,
    Expectation,
    cells_found,
    decimal,
    liquids,
    yields,
)
from orchestrator.records.completeness import NOT_RECORDED, open_items
from orchestrator.records.material_account import genealogy_entry
from orchestrator.records.procedure import Procedure, reading_in_words
from orchestrator.records.record_model import (
    ActEntry,
    AlarmEntry,
    AmendmentEntry,
    AnswerEntry,
    BatchRecord,
    Binding,
    ClearanceEntry,
    ClockEntry,
    ConditionEntry,
    ContainerEntry,
    DeviationEntry,
    EdgeEntry,
    EquipmentEntry,
    HoldEntry,
    HourEntry,
    IdentityEntry,
    IdentityRefusedEntry,
    InterruptionEntry,
    JournalVerification,
    LabelEntry,
    MaterialEntry,
    OpenTask,
    OutsideActEntry,
    PersonEntry,
    PhaseEntry,
    RecipeEntry,
    ReconciliationEntry,
    Shown,
    SignatureEntry,
    Summary,
    TraceEntry,
)
from orchestrator.records.stated_volume import stated_volume

__all__ = ["BatchRecord", "Expectation", "batch_record", "record_of_history"]

_STOPS: Final = {"hold": "restarted", "pause": "resume"}


def batch_record(
    journal: Path,
    batch: str,
    *,
    expected: tuple[Expectation, ...] = (),
    verdict: Verdict | None = None,
) -> BatchRecord:
    """Return the record of one batch.

    Args:
        journal: The journal's file.
        batch: Its identifier.
        expected: Ranges for yields, by the names of ``YieldEntry``, which the recipe doesn't
            state itself.
        verdict: What ``verify`` found, if it was asked already.

    Raises:
        RefusedError: The journal knows no such batch.
    """
    history = history_of(read_journal(journal), batch)
    return record_of_history(history, verdict or verify(journal), expected=expected)


def record_of_history(
    history: BatchHistory, verdict: Verdict, *, expected: tuple[Expectation, ...] = ()
) -> BatchRecord:
    """Return the record that a batch's history makes, beside what ``verify`` found."""
    record = _Assembly(history, verdict).record(expected)
    covered = BatchRecord.model_validate(history.without_others(record.model_dump(mode="json")))
    return covered.model_copy(update={"open": open_items(covered)})


class _Assembly:
    """Puts the parts of one record together."""

    def __init__(self, history: BatchHistory, verdict: Verdict) -> None:
        self._history = history
        self._verdict = verdict
        self._made: ev.BatchMade = history.made.event
        self._state: HostState = history.state
        self._recipe = _recipe_in(history)
        self._names = history.containers()

    def record(self, expected: tuple[Expectation, ...]) -> BatchRecord:
        """Return the record without its open items."""
        history = self._history
        procedure = Procedure(history, self._recipe)
        phases = procedure.phases()
        found = cells_found(history, self._recipe)
        signatures = tuple(self._all_signatures())
        equipment = tuple(self._equipment(phases))
        used = {one.equipment for one in equipment}
        return BatchRecord(
            batch=history.batch,
            therapy_event=self._made.coi,
            status=self._status(),
            state=procedure.state(),
            made_at=history.made.at,
            start_asked_by=self._start_asked_by(),
            start_asked_at=_at(history.start_asked),
            started_at=_at(history.started),
            ended_at=_at(history.ended),
            engine=self._made.engine,
            cell=self._made.cell,
            recipe=self._recipe_entry(),
            order=self._signatures_on(history.made)[0],
            bound=tuple(self._bound()),
            people=tuple(self._people(phases, signatures)),
            summary=self._summary(phases, found, signatures, used),
            open=(),
            not_recorded=NOT_RECORDED,
            materials=tuple(self._materials()),
            equipment=equipment,
            procedure=phases,
            not_begun=procedure.not_begun(),
            decisions=procedure.decisions(),
            conditions=tuple(self._conditions()),
            clocks=tuple(self._clock(one) for one in history.clocks),
            alarms=tuple(self._alarms(used)),
            holds=tuple(self._holds()),
            deviations=tuple(self._deviations()),
            reconciliations=tuple(self._reconciliations()),
            amendments=tuple(self._amendments()),
            outside_acts=tuple(self._outside_acts(used)),
            interruptions=tuple(self._interruptions()),
            clearances=tuple(self._clearances()),
            counts=tuple(found.counts),
            yields=yields(found, phases, expected),
            liquids=liquids(phases),
            labels=tuple(self._labels(phases)),
            containers=tuple(self._containers()),
            genealogy=genealogy_entry(history),
            open_tasks=tuple(self._open_tasks()),
            changed_entries=(),
            traces=tuple(self._traces(used)),
            signatures=signatures,
            verification=self._verification(),
        )

    def _status(self) -> str:
        batch = self._state.batches[self._history.batch]
        return "broken" if batch.broken else batch.status

    def _start_asked_by(self) -> str:
        asked = self._history.start_asked
        return "" if asked is None else str(asked.event.by)

    def _is_during(self, at: Instant) -> bool:
        started, ended = self._history.started, self._history.ended
        if started is None or at < started.at:
            return False
        return ended is None or at <= ended.at

    # who and with what ----------------------------------------------------------------------

    def _recipe_entry(self) -> RecipeEntry:
        submitted = self._history.recipe
        digest = self._made.recipe
        if submitted is None:
            return RecipeEntry(
                title="", document="", version="", digest=digest, author="",
                content_matches=False, signatures=(),
            )  # fmt: skip
        event: ev.RecipeSubmitted = submitted.event
        signed = (submitted, *self._history.recipe_signed)
        return RecipeEntry(
            title=event.title,
            document=event.document,
            version=event.version,
            digest=digest,
            author="" if self._recipe is None else self._recipe.author,
            content_matches=sha256(event.content.encode()).hexdigest() == digest,
            signatures=tuple(one for at in signed for one in self._signatures_on(at)),
        )

    def _bound(self) -> Iterator[Binding]:
        made = self._made
        amended = [one.event for one in self._history.of_kind(ev.BatchAmended)]
        besides = tuple(one for event in amended for one in event.containers)
        for kind, named in (
            ("container", (*made.containers, *besides)),
            ("kit", made.kits),
            ("unit", made.units),
            ("place", made.places),
            ("ordered", made.ordered),
        ):
            for one in named:
                yield Binding(kind=kind, name=one.name, stands_for=one.is_)

    def _people(
        self, phases: tuple[PhaseEntry, ...], signatures: tuple[SignatureEntry, ...]
    ) -> Iterator[PersonEntry]:
        users: dict[str, None] = {one.signer: None for one in signatures}
        users[self._start_asked_by()] = None
        for phase in phases:
            users |= dict.fromkeys((*phase.performed_by, *phase.verification.by))
            for entry in phase.entries:
                if isinstance(entry, ActEntry):
                    users |= dict.fromkeys(one.verified_by for one in entry.attempts)
                elif isinstance(entry, AnswerEntry):
                    users |= dict.fromkeys((entry.answered_by, entry.verified_by))
        for one in self._history.alarms:
            if one.acknowledged is not None:
                users[str(one.acknowledged.event.by)] = None
        for container in self._names:
            received = self._history.received.get(container)
            if received is not None:
                users[str(received.event.by)] = None
        for user in sorted(users):
            person = self._history.people.get(user)
            if person is not None:
                yield PersonEntry(user=user, name=person.printed_name, roles=person.roles)

    def _materials(self) -> Iterator[MaterialEntry]:
        limits = {
            one.name: str(one.in_use)
            for one in (() if self._recipe is None else self._recipe.materials)
            if isinstance(one, Reagent)
        }
        drawn = self._drawn()
        for container, name in self._names.items():
            known = self._state.containers.get(container)
            if known is None:
                continue
            own = self._history.received.get(container)
            received = own or self._history.received.get(known.kit)
            lot = self._history.lots.get(known.lot)
            uses = drawn.get(container, [])
            first = uses[0][0] if uses else None
            last = uses[-1][1] if uses else None
            limit = (lot.event.in_use if lot is not None else "") or limits.get(name, "")
            in_use = str(last - first) if first is not None and last is not None else ""
            yield MaterialEntry(
                container=container,
                recipe_name=name,
                what=known.what,
                material=known.material,
                label=known.label,
                lot=known.lot,
                expires=None if lot is None else lot.event.expires,
                received_at=_at(received),
                received_by="" if received is None else str(received.event.by),
                received_volume="" if own is None else own.event.volume,
                used=str(Volume.of_base(sum(volume for _, _, volume in uses))) if uses else "",
                opened_at=first,
                last_used_at=last,
                in_use=in_use,
                in_use_limit=limit,
                expired_in_use=bool(
                    (limit and in_use and Duration.read(in_use) > Duration.read(limit))
                    or (lot is not None and last is not None and last >= lot.event.expires)
                ),
            )

    def _drawn(self) -> dict[str, list[tuple[Instant, Instant, int]]]:
        """Return what the pump drew from each container: from when to when, and nanolitres."""
        drawn: dict[str, list[tuple[Instant, Instant, int]]] = {}
        for story in self._history.attempts.values():
            act: dict[str, Any] = story.intended.event.act or story.intended.event.asked
            done = "" if story.ended is None else story.ended.event.done
            volume = stated_volume(done) if act["kind"] == "pump_volume" else None
            if volume is not None and story.ended is not None:
                moved = (story.intended.at, story.ended.at, volume.base)
                drawn.setdefault(act["source"], []).append(moved)
        return drawn

    def _equipment(self, phases: tuple[PhaseEntry, ...]) -> Iterator[EquipmentEntry]:
        acts: dict[str, list[Instant]] = {}
        readings: dict[str, list[Instant]] = {}
        for phase in phases:
            for entry in phase.entries:
                if isinstance(entry, ActEntry):
                    acts.setdefault(entry.equipment, []).append(entry.at)
                elif isinstance(entry, IdentityEntry | IdentityRefusedEntry) and entry.scanner:
                    readings.setdefault(entry.scanner, []).append(entry.at)
        for name in sorted({*acts, *readings}):
            times = sorted([*acts.get(name, []), *readings.get(name, [])])
            shown = tuple(self._shown(name, times[-1]))
            latest = shown[-1] if shown else None
            yield EquipmentEntry(
                equipment=name,
                model="" if latest is None else latest.model,
                serial="" if latest is None else latest.serial,
                firmware="" if latest is None else latest.firmware,
                shown=shown,
                acts=len(acts.get(name, [])),
                readings=len(readings.get(name, [])),
                first_used=times[0],
                last_used=times[-1],
            )

    def _shown(self, equipment: str, until: Instant) -> Iterator[Shown]:
        told: tuple[str, str, str] | None = None
        for one in self._history.shown.get(equipment, []):
            event: ev.EquipmentSeen = one.event
            identity = (event.model, event.serial, event.firmware)
            if identity != told and one.at <= until:
                told = identity
                yield Shown(
                    at=one.at,
                    model=event.model,
                    serial=event.serial,
                    firmware=event.firmware,
                    seq=one.seq,
                )

    # what was watched -----------------------------------------------------------------------

    def _conditions(self) -> Iterator[ConditionEntry]:
        paths: dict[str, list[At]] = {}
        for one in self._history.of_kind(ev.ConditionEdge, ev.KeepSummary):
            paths.setdefault(one.event.path, []).append(one)
        for path, events in paths.items():
            node = None if self._recipe is None else self._recipe.nodes.get(written_path(path))
            kept = node if isinstance(node, Keep) else None
            hours = tuple(
                HourEntry(
                    seq=one.seq,
                    at=one.at,
                    lowest=one.event.lowest,
                    highest=one.event.highest,
                    samples=one.event.samples,
                )
                for one in events
                if isinstance(one.event, ev.KeepSummary)
            )
            yield ConditionEntry(
                path=path,
                name=path if kept is None else kept.name,
                reading="" if kept is None else reading_in_words(kept.condition),
                lowest_allowed="" if kept is None else kept.condition.lowest,
                highest_allowed="" if kept is None else kept.condition.highest,
                tier="" if kept is None else kept.tier.value,
                source="" if kept is None else kept.source,
                lowest=_extreme([one.lowest for one in hours], highest=False),
                highest=_extreme([one.highest for one in hours], highest=True),
                samples=sum(one.samples for one in hours),
                edges=tuple(
                    EdgeEntry(seq=one.seq, at=one.at, edge=one.event.edge, value=one.event.value)
                    for one in events
                    if isinstance(one.event, ev.ConditionEdge)
                ),
                hours=hours,
            )

    def _clock(self, story: ClockStory) -> ClockEntry:
        event: ev.LimitStarted = story.started.event
        used = "" if story.ended is None else str(story.ended.event.used)
        lag = next(
            (
                one
                for one in (() if self._recipe is None else self._recipe.lags)
                if one.name == event.owner
            ),
            None,
        )
        minimum = event.minimum
        if not minimum and lag is not None and lag.minimum is not None:
            minimum = str(lag.minimum)
        maximum = event.maximum
        if story.amended is not None:
            minimum, maximum = story.amended.minimum, story.amended.maximum
        return ClockEntry(
            clock=event.limit.removeprefix(f"{self._history.batch}/"),
            started_at=story.started.at,
            started_seq=story.started.seq,
            ended_at=_at(story.ended),
            minimum=minimum,
            maximum=maximum,
            used=used,
            left=_left(maximum, used),
            ran_out_at=_at(story.due),
            tier=event.tier,
            source=event.source,
        )

    def _alarms(self, used: set[str]) -> Iterator[AlarmEntry]:
        for story in self._history.alarms:
            event: ev.AlarmRaised = story.raised.event
            if event.batch is None and not self._concerns(story, used):
                continue
            seen = story.acknowledged
            yield AlarmEntry(
                seq=story.raised.seq,
                alarm=event.alarm,
                tier=event.tier,
                cause=event.cause,
                consequence=event.consequence,
                action=event.action,
                raised_at=story.raised.at,
                acknowledged_by="" if seen is None else str(seen.event.by),
                acknowledged_at=_at(seen),
                cleared_at=_at(story.cleared),
            )

    def _concerns(self, story: AlarmStory, used: set[str]) -> bool:
        """Return whether an alarm of the whole cell is about an instrument of this batch."""
        about = str(story.raised.event.alarm).rsplit(" ", 1)[-1]
        return about in used and self._is_during(story.raised.at)

    def _holds(self) -> Iterator[HoldEntry]:
        for path, phase in self._history.phases.items():
            changes = [one for one in phase.events if isinstance(one.event, ev.StateChanged)]
            for index, one in enumerate(changes):
                kind = one.event.trigger
                if kind not in ("hold", "pause", "stop", "abort"):
                    continue
                after = changes[index + 1 :]
                ends = [
                    other
                    for other in after
                    if other.event.trigger in (_STOPS.get(kind, ""), "stop", "abort")
                ]
                commands = [other for other in after if other.event.trigger == "restart"]
                end = ends[0] if ends and kind in _STOPS else None
                by_restart = end is not None and end.event.trigger == "restarted"
                source = commands[0] if by_restart and commands else end
                yield HoldEntry(
                    path=path,
                    kind=kind,
                    since=one.at,
                    seq=one.seq,
                    why=one.event.why,
                    commanded_by=one.event.by or "",
                    until=_at(end),
                    ended=""
                    if source is None
                    else f"{source.event.trigger}: {source.event.why}".rstrip(": "),
                    ended_by="" if source is None else source.event.by or "",
                )

    def _deviations(self) -> Iterator[DeviationEntry]:
        for one in self._history.of_kind(ev.DeviationOpened):
            event: ev.DeviationOpened = one.event
            closed = self._history.closed.get(event.deviation)
            yield DeviationEntry(
                deviation=event.deviation,
                path=event.path or "",
                text=event.text,
                opened_by=event.by or "system",
                opened_at=one.at,
                seq=one.seq,
                closed=None if closed is None else self._signatures_on(closed)[0],
            )

    def _reconciliations(self) -> Iterator[ReconciliationEntry]:
        for one in self._history.of_kind(ev.AttemptReconciled):
            event: ev.AttemptReconciled = one.event
            story = self._history.attempts[event.command]
            yield ReconciliationEntry(
                seq=one.seq,
                at=one.at,
                command=event.command,
                equipment=story.intended.event.equipment,
                doubt="" if story.uncertain is None else story.uncertain.event.why,
                verdict=event.verdict,
                done=event.done,
                signatures=self._signatures_on(one),
            )

        late = {one.event.task: one for one in self._history.of_kind(ev.HandWorkReportedLate)}
        for one in self._history.of_kind(ev.LateReportDecided):
            reported = late[one.event.task].event
            said = "".join(f", {name} {value}" for name, value in reported.values.items())
            yield ReconciliationEntry(
                seq=one.seq,
                at=one.at,
                command=one.event.task,
                equipment="hands",
                doubt=f"reported late by {self._history.name_of(reported.by)}{said}",
                verdict=one.event.verdict,
                done="",
                signatures=self._signatures_on(one),
            )

    def _amendments(self) -> Iterator[AmendmentEntry]:
        for name, story in self._history.amendments.items():
            proposed: ev.BatchAmended = story.proposed.event.proposed
            decided = None if story.decided is None else story.decided.event
            made = isinstance(decided, ev.BatchAmended)
            yield AmendmentEntry(
                seq=story.proposed.seq,
                amendment=name,
                binding=proposed.binding,
                old=proposed.old,
                new=proposed.new,
                at=proposed.at,
                changes=proposed.changes,
                reason=proposed.reason,
                proposed_by=proposed.signatures[0].signer,
                proposed_at=story.proposed.at,
                status="proposed" if decided is None else "made" if made else "rejected",
                decided_at=_at(story.decided),
                why_not=decided.why if isinstance(decided, ev.AmendmentRejected) else "",
                signatures=self._signatures_on(story.decided) if made and story.decided else (),
            )

    def _outside_acts(self, used: set[str]) -> Iterator[OutsideActEntry]:
        for one in self._history.outside:
            event: ev.OutsideActSeen = one.event
            if event.equipment in used and self._is_during(one.at):
                for strayed in event.strayed:
                    yield OutsideActEntry(
                        seq=one.seq,
                        at=one.at,
                        equipment=event.equipment,
                        value=strayed.value,
                        was=strayed.was,
                        shown=strayed.seen,
                    )

    def _interruptions(self) -> Iterator[InterruptionEntry]:
        for one, before in self._history.starts:
            if self._is_during(one.at):
                yield InterruptionEntry(
                    seq=one.seq,
                    at=one.at,
                    version=one.event.version,
                    cell=one.event.cell,
                    last_event_before=before.at,
                )

    def _clearances(self) -> Iterator[ClearanceEntry]:
        for one in self._history.of_kind(ev.LeaseReleased):
            yield ClearanceEntry(
                seq=one.seq,
                at=one.at,
                resources=one.event.resources,
                clearance=one.event.clearance,
                signatures=self._signatures_on(one),
            )

    # what came out ----------------------------------------------------------------------------

    def _labels(self, phases: tuple[PhaseEntry, ...]) -> Iterator[LabelEntry]:
        scans = [
            entry for phase in phases for entry in phase.entries if isinstance(entry, IdentityEntry)
        ]
        for phase in phases:
            for act in phase.entries:
                if not isinstance(act, ActEntry) or act.act != "apply_label" or not act.settled:
                    continue
                last = act.attempts[-1]
                label = last.detail.get("label", "")
                back = [one for one in scans if one.label == label and one.seq > act.seq]
                yield LabelEntry(
                    seq=act.seq,
                    at=act.at,
                    container=act.parameters.get("containers", ""),
                    label=label,
                    applied_by=last.performed_by,
                    verified_by=last.verified_by,
                    scanned_back_at=back[0].at if back else None,
                )

    def _containers(self) -> Iterator[ContainerEntry]:
        for container, name in self._names.items():
            one = self._state.containers.get(container)
            if one is None:
                continue
            kit = self._state.containers.get(one.kit)
            yield ContainerEntry(
                container=container,
                recipe_name=name,
                what=one.what,
                label=one.label,
                volume=str(Volume.of_base(one.volume_nl)),
                place=one.place or ("" if kit is None else kit.place),
                kit=one.kit,
                port=one.port,
                quarantined=one.quarantined,
            )

    def _open_tasks(self) -> Iterator[OpenTask]:
        for name, task in self._state.tasks.items():
            if task.batch == self._history.batch and task.status not in OVER:
                yield OpenTask(
                    task=name, work=task.work, status=task.status, text=task.text, due=task.due
                )

    def _traces(self, used: set[str]) -> Iterator[TraceEntry]:
        watched = {one.reading.split(" of ")[0].replace(" ", "_") for one in self._conditions()}
        for one in self._history.traces:
            event: ev.TraceSealed = one.event
            concerns = event.equipment in used or event.reading.split()[0] in watched
            if concerns and (self._is_during(event.first) or self._is_during(event.last)):
                yield TraceEntry(
                    seq=one.seq,
                    equipment=event.equipment,
                    reading=event.reading,
                    file=event.file,
                    first=event.first,
                    last=event.last,
                    samples=event.samples,
                    sha256=event.sha256,
                )

    # signatures and figures ---------------------------------------------------------------------

    def _signatures_on(self, at: At) -> tuple[SignatureEntry, ...]:
        event = cast("Frozen", at.event)
        record = record_of(event)
        return tuple(
            SignatureEntry(
                on=at.event.kind,
                signer=one.signer,
                name=one.printed_name,
                meaning=one.meaning,
                at=one.signed_at,
                reason=one.reason,
                digest=one.signed_digest,
                fits=fits(one, record),
                seq=at.seq,
            )
            for one in signatures_on(event)
        )

    def _all_signatures(self) -> Iterator[SignatureEntry]:
        for one in self._history.events:
            if not isinstance(one.event, ev.TaskReported):  # it stands again on what it settles
                yield from self._signatures_on(one)

    def _verification(self) -> JournalVerification:
        verdict = self._verdict
        problems = list(verdict.problems)
        if self._history.damage and not problems:
            problems.append(self._history.damage)
        return JournalVerification(
            sound=verdict.sound and not self._history.damage,
            events=verdict.events,
            merkle_root=verdict.merkle_root,
            anchored_to=verdict.anchored_to,
            first_bad_seq=verdict.first_bad_seq,
            problems=tuple(problems),
            unanchored_from=verdict.unanchored_from,
            record_to_seq=self._history.last_seq,
        )

    def _summary(
        self,
        phases: tuple[PhaseEntry, ...],
        found: CellsFound,
        signatures: tuple[SignatureEntry, ...],
        used: set[str],
    ) -> Summary:
        entries = [entry for phase in phases for entry in phase.entries]
        acts = [one for one in entries if isinstance(one, ActEntry)]
        proofs = [one for one in entries if isinstance(one, IdentityEntry)]
        harvest, fold = found.harvest, found.fold
        last = found.counts[-1] if found.counts else None
        return Summary(
            phases=len(phases),
            acts=len(acts),
            attempts=sum(len(one.attempts) for one in acts),
            events=len(self._history.events),
            identity_checks=len(proofs),
            scanned=sum(1 for one in proofs if one.scanner),
            carried=sum(1 for one in proofs if not one.scanner),
            refused=sum(1 for one in entries if isinstance(one, IdentityRefusedEntry)),
            holds=sum(1 for one in self._holds() if one.kind == "hold"),
            deviations=len(tuple(self._deviations())),
            alarms=len(tuple(self._alarms(used))),
            reconciliations=len(tuple(self._reconciliations())),
            signatures=len(signatures),
            cells_seeded=_found(found, "cells seeded"),
            fold_expansion="" if fold is None else decimal(fold, 1),
            viable_cells_harvested="" if harvest is None else harvest.viable_cells,
            viable_cells_out=_found(found, "viable cells in final bags"),
            viability="" if last is None else last.viability,
            engineered="" if last is None else last.engineered,
        )


def _recipe_in(history: BatchHistory) -> Recipe | None:
    """Return the recipe from its bytes in the journal; None where this version can't read it."""
    if history.bound_recipe is None:
        return None
    try:
        return Recipe.read(history.bound_recipe.event.content.encode())
    except RecipeRefusedError:
        return None


def _found(found: CellsFound, name: str) -> str:
    return next((one.found for one in yields(found, (), ()) if one.name == name), "")


def _at(at: At | None) -> Instant | None:
    return None if at is None else at.at


def _left(maximum: str, used: str) -> str:
    """Return what is left of a maximum; negative where more was used."""
    if not maximum or not used or used == "unknown":
        return "unknown" if used == "unknown" else ""
    return str(Duration.of_base(Duration.read(maximum).base - Duration.read(used).base))


def _extreme(texts: list[str], *, highest: bool) -> str:
    values = sorted((Quantity.read(text) for text in texts if text), key=lambda one: one.base)
    if not values:
        return ""
    return str(values[-1] if highest else values[0])
