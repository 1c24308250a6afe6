"""What stands against calling a batch record complete: one rule for each item that it owes.

The items are those of 21 CFR 211.188(b) as far as a journal can hold them, and what this
house adds: every act in doubt reconciled by two people, every clock ended, the journal
sound. A rule looks at the record alone and returns a sentence for each gap that it finds.
Rules judge nothing: a deviation that is open is listed, not weighed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from orchestrator.kernel.tasks import VERIFICATION
from orchestrator.records.record_model import ActEntry, BatchRecord, OpenItem, PhaseEntry, WaitEntry

Rule = Callable[[BatchRecord], Iterator[str]]

_TURN: Final = re.compile(r"\[[0-9]+\]")

NOT_RECORDED: Final = (
    "calibration dates of instruments: they stand in the process cell file whose digest is "
    "above; an act past one is refused",
    "which instrument gave an independent weight or a value seen: the journal names the unit's "
    "part (weight_hook), the process cell file the instrument",
    "labels printed, destroyed and returned: only labels applied and scanned back are recorded",
    "area inspection before and after use, beyond the clearances listed",
    "laboratory results that come after the process (sterility, endotoxin, mycoplasma, VCN)",
    "review and release by quality",
)
"""What the record owes by the rules and this version doesn't hold. Printed in each record."""


def open_items(record: BatchRecord) -> tuple[OpenItem, ...]:
    """Return every gap of a record, in the order of the rules."""
    return tuple(
        OpenItem(item=item, text=text) for item, rule in RULES.items() for text in rule(record)
    )


def _journal(record: BatchRecord) -> Iterator[str]:
    verification = record.verification
    if not verification.sound:
        yield f"the journal isn't sound: {'; '.join(verification.problems) or 'no reason given'}"
    if verification.record_to_seq < verification.events:
        yield (
            f"the record rests on events 1 to {verification.record_to_seq} of {verification.events}"
        )
    if verification.anchored_to == "nothing":
        yield "no signed checkpoint vouches for the journal"
    elif verification.unanchored_from is not None:
        yield f"no signed checkpoint covers events from {verification.unanchored_from} on yet"


def _master(record: BatchRecord) -> Iterator[str]:
    recipe = record.recipe
    if not recipe.content_matches:
        yield f"the recipe's bytes don't have the digest {recipe.digest}"
    signed: dict[str, str] = {}
    for one in recipe.signatures:
        signed[one.meaning] = one.signer
    for meaning in ("authored", "reviewed", "approved"):
        if meaning not in signed:
            yield f"the recipe isn't signed as {meaning}"
    if len(set(signed.values())) < len(signed):
        yield "one person signed the recipe with two meanings"


def _signatures(record: BatchRecord) -> Iterator[str]:
    for one in record.signatures:
        if not one.fits:
            yield f"event {one.seq}: the signature of {one.name} ({one.meaning}) wasn't given on it"


def _end(record: BatchRecord) -> Iterator[str]:
    if record.ended_at is None:
        yield f"the batch hasn't ended: {record.status}, {record.state}"
    elif record.status != "complete":
        yield f"the batch ended as {record.status}"


def _amendments(record: BatchRecord) -> Iterator[str]:
    for one in record.amendments:
        if one.status == "proposed":
            yield f"{one.amendment} is proposed, and nobody has decided on it"


def _phases(record: BatchRecord) -> Iterator[str]:
    for phase in record.procedure:
        if phase.ended_at is None:
            yield f"{step(phase)}: has begun and hasn't ended ({phase.state})"
    owed = [one for one in record.not_begun if one.why == "not begun"]
    if owed:
        numbers = ", ".join(one.number for one in owed)
        yield f"{len(owed)} steps of the recipe haven't begun: {numbers}"


def _performed(record: BatchRecord) -> Iterator[str]:
    for phase in record.procedure:
        waits_only = all(isinstance(one, WaitEntry) for one in phase.entries)
        if phase.ended_at is not None and not waits_only and not phase.performed_by:
            yield f"{step(phase)}: nobody and nothing is named as having performed it"


def _checked(record: BatchRecord) -> Iterator[str]:
    owed = {one.task for one in record.open_tasks}
    own: dict[str, list[str]] = {}
    for phase in record.procedure:
        is_owed = f"{record.batch}/{phase.path}{VERIFICATION}" in owed  # stands under tasks
        if phase.ended_at is not None and not phase.verification.by and not is_owed:
            yield f"{step(phase)}: not verified by a person"
        if phase.verification.how == "afterwards":
            for by in set(phase.verification.by) & set(phase.performed_by):
                own.setdefault(by, []).append(step(phase))
        for act in _acts(record, phase.path):
            for attempt in act.attempts:
                if attempt.verified_by and attempt.verified_by == attempt.performed_by:
                    yield f"{attempt.command}: performed and verified by one person"
    for by, steps in sorted(own.items()):
        yield f"{by} verified, and had performed a part of: {', '.join(steps)}"


def _acts_settled(record: BatchRecord) -> Iterator[str]:
    for phase in record.procedure:
        for act in _acts(record, phase.path):
            last = act.attempts[-1]
            if last.outcome in ("open", "uncertain"):
                yield f"{last.command}: nobody knows yet what it did ({last.why or 'no evidence'})"
            elif phase.ended_at is not None and not act.settled and not _ended_by_people(act):
                yield f"{last.command}: the phase ended, the act is {last.outcome}"


def _ended_by_people(act: ActEntry) -> bool:
    """Return whether two people ended a freezing early: its deviation says so, and stays open."""
    last = act.attempts[-1]
    return act.act == "ramp_segment" and (last.outcome, last.decided) == ("part", "people")


def _measures(record: BatchRecord) -> Iterator[str]:
    for phase in record.procedure:
        for act in _acts(record, phase.path):
            if act.asked and act.settled and not act.done:
                yield f"{act.attempts[-1].command}: no volume is recorded"


def _results(record: BatchRecord) -> Iterator[str]:
    counted = {one.path for one in record.counts}
    for phase in record.procedure:
        counts = phase.phase.startswith("sample_and_count/") and phase.ended_at is not None
        if counts and phase.path not in counted:
            yield f"{step(phase)}: no result of its count"
    for one in record.counts:
        if not (one.viable_density and one.viability):
            yield f"event {one.seq}: the count of {one.sample} has no density or viability"


def _components(record: BatchRecord) -> Iterator[str]:
    for one in record.materials:
        if one.received_at is None:
            yield f"{one.container}: was used and its receipt isn't recorded"
        if one.what in ("reagent", "kit") and not one.lot:
            yield f"{one.container}: no lot"
        if one.lot and one.expires is None:
            yield f"{one.container}: lot {one.lot} has no receipt and no expiry"


def _equipment(record: BatchRecord) -> Iterator[str]:
    for one in record.equipment:
        if not one.shown:
            yield f"{one.equipment}: what it is was never read from it"
    silent = [
        one.equipment
        for one in record.equipment
        if one.shown and not one.serial and one.model != "hands"
    ]
    if silent:
        yield f"no serial number was told by {', '.join(silent)}"


def _identity(record: BatchRecord) -> Iterator[str]:
    for phase in record.procedure:
        for act in _acts(record, phase.path):
            if act.act == "pump_volume" and not act.attempts[-1].proven:
                yield f"{act.attempts[-1].command}: moved liquid without a proof of identity"


def _yield(record: BatchRecord) -> Iterator[str]:
    if record.ended_at is not None and not record.yields and not record.liquids:
        yield "no yield is recorded"
    for one in record.yields:
        if one.within is False:
            yield f"{one.name}: {one.found} found, {one.expected} expected"
    for one in record.liquids:
        if not one.within:
            yield f"{one.path}: {one.moved} moved, {one.asked} asked"


def _labelling(record: BatchRecord) -> Iterator[str]:
    for one in record.labels:
        if one.scanned_back_at is None:
            yield f"{one.container}: label {one.label} was applied and not scanned back"


def _clearances(record: BatchRecord) -> Iterator[str]:
    for one in record.clearances:
        if one.clearance == "two people" and len({by.signer for by in one.signatures}) != 2:
            yield f"event {one.seq}: {', '.join(one.resources)} cleared without two signatures"


def _places(record: BatchRecord) -> Iterator[str]:
    for one in record.containers:
        if one.quarantined:
            yield f"{one.container}: in quarantine: {one.quarantined}"


def _accounts(record: BatchRecord) -> Iterator[str]:
    for one in record.genealogy.accounts:
        if one.discrepancies:
            events = ", ".join(map(str, one.discrepancies))
            yield f"{one.container}: its volumes don't add up at event {events}"
    for one in record.genealogy.unreadable:
        yield f"{one.container}: event {one.seq} states {one.text!r}, which is no volume: {one.why}"
    for container in record.genealogy.never_received:
        yield f"{container}: material moved there that was never received"


def _investigations(record: BatchRecord) -> Iterator[str]:
    for one in record.deviations:
        if one.closed is None:
            yield f"deviation {one.deviation} is open: {one.text}"


def _reconciliations(record: BatchRecord) -> Iterator[str]:
    for one in record.reconciliations:
        meanings = [signature.meaning for signature in one.signatures]
        people = {signature.signer for signature in one.signatures}
        if meanings != ["performed", "verified"] or len(people) != 2:
            yield f"{one.command}: reconciled without the signatures of two people"


def _alarms(record: BatchRecord) -> Iterator[str]:
    for one in record.alarms:
        if not one.acknowledged_by:
            yield f"event {one.seq}: alarm not acknowledged: {one.cause}"
        if one.cleared_at is None:
            yield f"event {one.seq}: alarm not cleared: {one.cause}"


def _clocks(record: BatchRecord) -> Iterator[str]:
    for one in record.clocks:
        if one.ended_at is None:
            yield f"{one.clock}: still runs"


def _holds(record: BatchRecord) -> Iterator[str]:
    for one in record.holds:
        if one.until is None and one.kind in ("hold", "pause"):
            yield f"{one.path}: held since {one.since}: {one.why}"


def _tasks(record: BatchRecord) -> Iterator[str]:
    for one in record.open_tasks:
        yield f"{one.task} ({one.work}, {one.status}): {one.text}"


def step(phase: PhaseEntry) -> str:
    """Return how people name a phase: its step's number with the turns of repetitions."""
    turns = "".join(_TURN.findall(phase.path))
    return f"step {phase.number}{turns}" if phase.number else phase.path


def _acts(record: BatchRecord, path: str) -> Iterator[ActEntry]:
    phase = record.phase_at(path)
    for entry in () if phase is None else phase.entries:
        if isinstance(entry, ActEntry):
            yield entry


RULES: Final[dict[str, Rule]] = {
    "journal": _journal,
    "master recipe": _master,
    "signatures": _signatures,
    "end of the batch": _end,
    "amendments": _amendments,
    "phases": _phases,
    "acts": _acts_settled,
    "performed by": _performed,
    "verified by": _checked,
    "measures": _measures,
    "in-process results": _results,
    "components": _components,
    "equipment": _equipment,
    "identity": _identity,
    "yield": _yield,
    "labelling": _labelling,
    "line clearance": _clearances,
    "containers": _places,
    "genealogy": _accounts,
    "deviations": _investigations,
    "reconciliations": _reconciliations,
    "alarms": _alarms,
    "clocks": _clocks,
    "holds": _holds,
    "tasks": _tasks,
}
"""Item to rule. ``docs/reference/batch-record.md`` lists them."""
