"""A batch record as text for paper: 100 columns, what needs a reviewer on the first page.

The first page says what the record is, what stands open, and every departure; the figures
follow, then the procedure step by step, then the tables. A number in brackets is the
journal's number of the event that the line rests on. Times are UTC, cut to whole seconds.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration
from orchestrator.recipe.render import for_people as in_millions
from orchestrator.records.record_model import (
    ActEntry,
    ActRefusedEntry,
    AnswerEntry,
    AttemptEntry,
    BatchRecord,
    ConditionEntry,
    FailureEntry,
    IdentityEntry,
    IdentityRefusedEntry,
    LossEntry,
    PartEntry,
    PhaseEntry,
    SeenEntry,
    SignatureEntry,
    StateEntry,
    WaitEntry,
    YieldEntry,
)

WIDTH: Final = 100

_HOURS_IN_A_LINE: Final = 2
_LAST_COLUMN: Final = 12
"""Columns that the last cell of a table needs at least."""

_MILLION: Final = 1_000_000
_USER: Final = re.compile(r"(?<![\w-])U-[0-9]+(?![\w-])")
_TURNS: Final = re.compile(r"\[[0-9]+\]")
_CELLS: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) (cells(?:/mL)?)")

_OUTCOMES: Final = {
    "all": "all done",
    "part": "done in part",
    "nothing": "nothing done",
    "failed": "FAILED",
    "uncertain": "IN DOUBT",
    "open": "OPEN",
}


def on_paper(record: BatchRecord) -> str:
    """Return the whole record as text, lines of at most 100 columns."""
    paper = _Paper(record)
    lines = [
        *paper.head(),
        *paper.exceptions(),
        *paper.figures(),
        *paper.approvals(),
        *paper.materials(),
        *paper.equipment(),
        *paper.people(),
        *paper.procedure(),
        *paper.counts(),
        *paper.all_yields(),
        *paper.decisions(),
        *paper.clocks(),
        *paper.alarms(),
        *paper.holds(),
        *paper.conditions(),
        *paper.labels(),
        *paper.containers(),
        *paper.genealogy(),
        *paper.clearances(),
        *paper.traces(),
        *paper.signatures(),
        *paper.verification(),
    ]
    return "\n".join(lines) + "\n"


class _Paper:
    def __init__(self, record: BatchRecord) -> None:
        self._record = record
        self._names = {one.user: one.name for one in record.people}

    # the first page -------------------------------------------------------------------------

    def head(self) -> Iterator[str]:
        """Yield what this is a record of."""
        record = self._record
        recipe = record.recipe
        yield "=" * WIDTH
        yield f"BATCH RECORD  {record.batch}".ljust(60) + self._verdict().rjust(WIDTH - 60)
        yield "=" * WIDTH
        signed = {one.meaning: one for one in recipe.signatures}
        yield from _pairs(
            [
                ("Therapy event", record.therapy_event),
                ("Procedure", f"{recipe.document} version {recipe.version}: {recipe.title}"),
                ("Recipe digest", recipe.digest),
                *(
                    (meaning.capitalize(), self._signed(signed.get(meaning)))
                    for meaning in ("authored", "reviewed", "approved")
                ),
                ("Ordered", self._signed(record.order)),
                ("Process cell", f"file digest {record.cell}"),
                ("Engine", f"{record.engine}"),
                ("Made", _time(record.made_at)),
                ("Started by", self._start_asked()),
                ("Started", _time(record.started_at)),
                ("Ended", _time(record.ended_at)),
                ("Status", f"{record.status} (procedure: {record.state})"),
                ("Times", "UTC, cut to whole seconds; [n] is the number of the journal's event"),
            ]
        )

    def _verdict(self) -> str:
        record = self._record
        if not record.verification.sound:
            return "JOURNAL NOT SOUND"
        if record.ended_at is None:
            return "NOT ENDED"
        items = f"{len(record.open)} OPEN ITEM" + ("S" if len(record.open) > 1 else "")
        return items if record.open else "NO OPEN ITEM"

    def exceptions(self) -> Iterator[str]:
        """Yield everything that departs from the plain course, and what stands open."""
        record = self._record
        yield from _heading("EXCEPTIONS")
        yield from self._open()
        none: list[str] = []
        for title, lines in (
            ("Deviations", list(self._deviations())),
            ("Amendments", list(self._amendments())),
            ("Attempts reconciled by people", list(self._reconciliations())),
            ("Attempts that didn't do all at once", list(self._uneven_attempts())),
            ("Identity refused", list(self._identity_refused())),
            ("Acts and phases refused or failed", list(self._refused())),
            ("Holds", list(self._held())),
            (
                "Alarms",
                [f"[{one.seq}] {_time(one.raised_at)} {one.cause}" for one in record.alarms],
            ),
            ("Clocks that ran out", list(self._clocks_run_out())),
            ("Conditions left", list(self._conditions_left())),
            ("Results outside what was expected", list(self._outside_expected())),
            ("Acts from outside", list(self._outside_acts())),
            ("Restarts of the software", list(self._interruptions())),
            ("Material past its time", list(self._past_its_time())),
            ("Entries changed", list(record.changed_entries)),
        ):
            if not lines:
                none.append(title.lower())
                continue
            yield f"{title} ({len(lines)})"
            for line in lines:
                yield from _wrapped(line, "  - ", "    ")
        if none:
            yield from _wrapped(f"None of these: {'; '.join(none)}.", "", "")

    def _open(self) -> Iterator[str]:
        record = self._record
        yield f"Open ({len(record.open)})" if record.open else "Open: nothing."
        for one in record.open:
            text = _USER.sub(lambda found: self._who(found[0]), one.text)
            yield from _wrapped(f"open: {one.item}: {text}", "  - ", "    ")
        yield "Not in this record"
        for text in record.not_recorded:
            yield from _wrapped(text, "  - ", "    ")

    def _deviations(self) -> Iterator[str]:
        for one in self._record.deviations:
            where = f" at {one.path}" if one.path else ""
            closed = "OPEN"
            if one.closed is not None:
                closed = f"closed: {one.closed.reason}; {self._signed(one.closed)}"
            yield (
                f"[{one.seq}] {_time(one.opened_at)} {one.deviation}{where}: {one.text}; opened by "
                f"{self._who(one.opened_by)}; {closed}"
            )

    def _amendments(self) -> Iterator[str]:
        for one in self._record.amendments:
            signed = "; ".join(f"{each.meaning}: {self._signed(each)}" for each in one.signatures)
            decided = {
                "made": signed,
                "rejected": f"rejected: {one.why_not}",
                "proposed": "nobody has decided on it",
            }[one.status]
            yield (
                f"[{one.seq}] {_time(one.proposed_at)} {one.amendment} of the {one.binding}, "
                f"proposed by {self._who(one.proposed_by)} because {one.reason}: "
                f"{' '.join(one.changes)} {decided}"
            )

    def _reconciliations(self) -> Iterator[str]:
        for one in self._record.reconciliations:
            signed = "; ".join(f"{each.meaning}: {self._signed(each)}" for each in one.signatures)
            yield (
                f"[{one.seq}] {_time(one.at)} {one.command} on {one.equipment}: in doubt because "
                f"{one.doubt or 'nothing is recorded'}; decided {one.verdict} "
                f"{one.done}; {signed or 'no signature'}"
            )

    def _uneven_attempts(self) -> Iterator[str]:
        for phase in self._record.procedure:
            for entry in phase.entries:
                if not isinstance(entry, ActEntry):
                    continue
                for one in entry.attempts:
                    if one.outcome != "all" or one.overdue:
                        late = ", overdue" if one.overdue else ""
                        why = f": {one.why}" if one.why else ""
                        yield (
                            f"[{one.seq}] {_time(one.intended_at)} {one.command} on "
                            f"{entry.equipment}: {_OUTCOMES[one.outcome]} {one.done}{late}{why}"
                        )

    def _identity_refused(self) -> Iterator[str]:
        for phase in self._record.procedure:
            for one in phase.entries:
                if isinstance(one, IdentityRefusedEntry):
                    yield (
                        f"[{one.seq}] {_time(one.at)} {one.path}: {one.expected} expected at "
                        f"{one.place} ({one.scanner or 'no scanner'}): {one.why}"
                    )

    def _refused(self) -> Iterator[str]:
        for phase in self._record.procedure:
            for one in phase.entries:
                if isinstance(one, ActRefusedEntry):
                    yield f"[{one.seq}] {_time(one.at)} {one.path}: {'; '.join(one.refusals)}"
                elif isinstance(one, FailureEntry):
                    yield f"[{one.seq}] {_time(one.at)} {phase.path}: {_failure(one.error)}"

    def _held(self) -> Iterator[str]:
        for one in self._record.holds:
            until = f"until {_time(one.until)} ({one.ended})" if one.until else "and still is"
            yield (
                f"[{one.seq}] {one.path}: {one.kind} from {_time(one.since)} {until}: {one.why}"
                f"{self._commanded(one.commanded_by)}"
            )

    def _clocks_run_out(self) -> Iterator[str]:
        for one in self._record.clocks:
            if one.ran_out_at is not None:
                yield (
                    f"[{one.started_seq}] {one.clock}: {one.maximum} ran out at "
                    f"{_time(one.ran_out_at)} ({one.tier})"
                )

    def _conditions_left(self) -> Iterator[str]:
        for condition in self._record.conditions:
            for edge in condition.edges:
                if edge.edge in ("out", "stale"):
                    yield (
                        f"[{edge.seq}] {_time(edge.at)} {condition.name}: {edge.edge}, "
                        f"{edge.value or 'no reading'}"
                    )

    def _outside_expected(self) -> Iterator[str]:
        for one in self._record.counts:
            if one.within is False:
                yield (
                    f"[{one.seq}] {_time(one.at)} count of {one.sample}: {one.viable_density}, "
                    f"viability {one.viability}; expected {one.expected_density}, "
                    f"{one.expected_viability}"
                )
        for one in self._record.yields:
            if one.within is False:
                yield f"{one.name}: {one.found} found, {one.expected} expected"
        for one in self._record.liquids:
            if not one.within:
                yield f"{one.path}: {one.moved} moved, {one.asked} asked"

    def _outside_acts(self) -> Iterator[str]:
        for one in self._record.outside_acts:
            yield (
                f"[{one.seq}] {_time(one.at)} {one.equipment} shows {one.value} {one.shown!r}; "
                f"it was {one.was!r}, and no recorded act explains it"
            )

    def _interruptions(self) -> Iterator[str]:
        for one in self._record.interruptions:
            yield (
                f"[{one.seq}] {_time(one.at)} version {one.version}, cell file {one.cell[:12]}; "
                f"the last event before was at {_time(one.last_event_before)}"
            )

    def _past_its_time(self) -> Iterator[str]:
        for one in self._record.materials:
            if one.expired_in_use:
                yield f"{one.container} ({one.recipe_name}): in use for {one.in_use}, or expired"

    def figures(self) -> Iterator[str]:
        """Yield the figures that the first page ends with."""
        one = self._record.summary
        yield from _heading("FIGURES")
        yield from _pairs(
            [
                ("Phases", f"{one.phases}, with {one.acts} acts in {one.attempts} attempts"),
                (
                    "Identity checks",
                    f"{one.identity_checks}: {one.scanned} scanned, {one.carried} carried; "
                    f"{one.refused} refused",
                ),
                ("Signatures", str(one.signatures)),
                ("Events", str(one.events)),
                ("Cells seeded", for_people(one.cells_seeded)),
                ("Cells harvested", for_people(one.viable_cells_harvested)),
                ("Fold expansion", one.fold_expansion),
                ("Viable cells out", for_people(one.viable_cells_out)),
                ("Viability", one.viability),
                ("Engineered", one.engineered),
            ]
        )

    # who and with what ------------------------------------------------------------------------

    def approvals(self) -> Iterator[str]:
        """Yield what the batch was bound to."""
        yield from _heading("BOUND TO")
        rows = [(one.kind, one.name, one.stands_for) for one in self._record.bound]
        yield from _table(("kind", "in the recipe", "in this batch"), rows)

    def materials(self) -> Iterator[str]:
        """Yield what was used, of which lot."""
        yield from _heading("MATERIALS AND LOTS")
        for one in self._record.materials:
            name = f" = {one.recipe_name}" if one.recipe_name else ""
            yield from _wrapped(
                f"{one.container}{name}: {one.material} ({one.what.replace('_', ' ')}), label "
                f"{one.label}",
                "",
                "  ",
            )
            lot = f"lot {one.lot}, expires {_time(one.expires)}" if one.lot else "no lot"
            received = (
                f"received {_time(one.received_at)} by {self._who(one.received_by)}"
                if one.received_at is not None
                else "its receipt isn't recorded"
            )
            held = f", {one.received_volume}" if one.received_volume else ""
            yield from _wrapped(f"{lot}; {received}{held}", "    ", "    ")
            if one.used:
                limit = f" of {one.in_use_limit} allowed" if one.in_use_limit else ""
                yield from _wrapped(
                    f"{one.used} drawn from {_time(one.opened_at)} to {_time(one.last_used_at)}; "
                    f"in use for {_span(one.in_use)}{limit}",
                    "    ",
                    "    ",
                )

    def equipment(self) -> Iterator[str]:
        """Yield the instruments that acted or scanned."""
        yield from _heading("EQUIPMENT")
        rows = [
            (
                one.equipment,
                one.model,
                one.serial or "none told",
                one.calibration_due or "not recorded",
                str(one.acts),
                str(one.readings),
                one.firmware or "none told",
            )
            for one in self._record.equipment
        ]
        header = ("", "model", "serial", "calibrated to", "acts", "scans", "firmware")
        yield from _table(header, rows)
        for one in self._record.equipment:
            for shown in one.shown[1:]:
                yield from _wrapped(
                    f"[{shown.seq}] {_time(shown.at)} {one.equipment} showed itself anew: "
                    f"{shown.model}, serial {shown.serial or 'none told'}, firmware "
                    f"{shown.firmware or 'none told'}",
                    "  ",
                    "    ",
                )

    def people(self) -> Iterator[str]:
        """Yield the people who stand in this record."""
        yield from _heading("PEOPLE")
        rows = [(one.user, one.name, ", ".join(one.roles)) for one in self._record.people]
        yield from _table(("", "name", "roles"), rows)

    # the procedure ------------------------------------------------------------------------------

    def procedure(self) -> Iterator[str]:
        """Yield the steps in the order in which they began."""
        yield from _heading("PROCEDURE")
        for phase in self._record.procedure:
            yield from self._phase(phase)
        if self._record.not_begun:
            yield "Steps without a phase"
            for one in self._record.not_begun:
                yield from _wrapped(
                    f"{one.number}. {one.sentence} ({one.why}; {one.path})", "  ", "     "
                )

    def _phase(self, phase: PhaseEntry) -> Iterator[str]:
        number = f"{phase.number}. " if phase.number else ""
        yield ""
        yield from _wrapped(f"{number}{phase.sentence or phase.name}", "", " " * len(number))
        yield from _wrapped(f"{phase.path}, {phase.phase}", "    ", "    ")
        took = f", {_span(phase.duration)}" if phase.duration else ""
        yield from _wrapped(
            f"[{phase.started_seq}] {_time(phase.started_at)} to "
            f"{_ended(phase.ended_seq, phase.ended_at)}{took}, {phase.state}",
            "    ",
            "    ",
        )
        done = ", ".join(self._performer(one) for one in phase.performed_by) or "time alone"
        yield from _wrapped(f"performed by {done}", "    ", "      ")
        yield from _wrapped(self._verified(phase), "    ", "      ")
        for one in phase.calculations:
            yield from _wrapped(
                f"calculated {one.amount.replace('_', ' ')}: {for_people(one.told)}",
                "    ",
                "      ",
            )
        for entry in phase.entries:
            match entry:
                case ActEntry():
                    yield from self._act(entry)
                case AnswerEntry():
                    yield from self._answer(entry)
                case IdentityEntry() | IdentityRefusedEntry():
                    yield from _entry(entry.seq, entry.at, _identity(entry))
                case ActRefusedEntry():
                    text = f"REFUSED by interlocks: {'; '.join(entry.refusals)}"
                    yield from _entry(entry.seq, entry.at, text)
                case SeenEntry():
                    part = f" {entry.part}" if entry.part else ""
                    what = f"{entry.reading.replace('_', ' ')}{part} of the {entry.unit}"
                    yield from _entry(entry.seq, entry.at, f"seen: {what}: {entry.value}")
                case WaitEntry():
                    yield from _entry(entry.seq, entry.at, _wait(entry))
                case FailureEntry():
                    yield from _entry(entry.seq, entry.at, f"FAILED: {_failure(entry.error)}")
                case StateEntry():
                    why = f": {entry.why}" if entry.why else ""
                    text = f"state: {entry.trigger}{why}{self._commanded(entry.by)}"
                    yield from _entry(entry.seq, entry.at, text)
        if phase.report:
            yield from _wrapped(f"found: {for_people(_facts(phase.report))}", "    ", "      ")
        if phase.measured:
            yield from _wrapped(f"measured: {for_people(_facts(phase.measured))}", "    ", "      ")

    def _performer(self, who: str) -> str:
        if who in self._names:
            return self._who(who)
        found = next((one for one in self._record.equipment if one.equipment == who), None)
        if found is None or not found.model or found.model == who:
            return who
        return f"{who} ({found.model})"

    def _verified(self, phase: PhaseEntry) -> str:
        one = phase.verification
        if one.by:
            people = ", ".join(self._who(by) for by in one.by)
            at = f", {_time(one.at)}" if one.at is not None else ""
            return f"verified {one.how} by {people}{at}"
        due = f", due {_time(one.due)}" if one.due is not None else ""
        return f"NOT VERIFIED{due}"

    def _act(self, act: ActEntry) -> Iterator[str]:
        if act.equipment == "hands":
            words = act.parameters.get("instruction", act.act)
            told = f"by hand: {words}"
        else:
            said = ("instruction", "volume") if act.asked else ("instruction",)
            plain = {name: text for name, text in act.parameters.items() if name not in said}
            told = f"{act.equipment}: {act.act.replace('_', ' ')}, {_facts(plain)}".rstrip(", ")
        if act.asked:
            weighed = f", weighed {act.weighed}" if act.weighed else ", not weighed"
            told += f"; asked {act.asked}, DONE {act.done or 'nothing'}{weighed}"
        yield from _entry(act.seq, act.at, told)
        for number, attempt in enumerate(act.attempts, start=1):
            several = len(act.attempts) > 1
            yield from self._attempt(attempt, f"attempt {number}: " if several else "")

    def _attempt(self, one: AttemptEntry, which: str) -> Iterator[str]:
        inset = " " * 10
        parts = [f"{which}{_OUTCOMES[one.outcome]}, {_ended(one.ended_seq, one.ended_at)}"]
        if one.remained:
            parts.append(f"remained: {_facts(one.remained)}")
        if one.why:
            parts.append(one.why)
        if one.decided == "people":
            parts.append("decided by two people")
        if one.overdue:
            parts.append("OVERDUE")
        people = [("performed", one.performed_by, one.performed_at)]
        people.append(("verified", one.verified_by, one.verified_at))
        parts += [f"{did} by {self._who(by)} {_clock(at)}" for did, by, at in people if by]
        if one.verified_read:
            parts.append(f"the verifier read {', '.join(one.verified_read)}")
        detail = {
            name: text
            for name, text in one.detail.items()
            if name not in ("performed_by", "verified_by")
        }
        if detail:
            parts.append(for_people(_facts(detail)))
        yield from _wrapped("; ".join(parts), inset, inset + "  ")
        shown = _before_and_after(one)
        if shown:
            yield from _wrapped(shown, inset, inset + "  ")
        if one.proven:
            yield from _wrapped(f"rests on: {'; '.join(one.proven)}", inset, inset + "  ")

    def _answer(self, one: AnswerEntry) -> Iterator[str]:
        said = one.choice or _facts(one.values) or ("answered" if one.answered_by else "NO ANSWER")
        if one.choice and one.values:
            said = f"{one.choice}, {_facts(one.values)}"
        text = f"asked: {one.question} Answer: {said}"
        if one.answered_by:
            text += f"; by {self._who(one.answered_by)} {_clock(one.answered_at)}"
        if one.verified_by:
            text += f"; verified by {self._who(one.verified_by)} {_clock(one.verified_at)}"
        elif one.second_person:
            text += "; NOT VERIFIED"
        yield from _entry(one.seq, one.at, text)
        for declined in one.declined:
            yield from _wrapped(f"declined by {declined}", " " * 10, " " * 12)
        if one.evidence:
            yield from _wrapped(f"shown: {for_people(_facts(one.evidence))}", " " * 10, " " * 12)

    # tables ---------------------------------------------------------------------------------

    def counts(self) -> Iterator[str]:
        """Yield every count."""
        yield from _heading("COUNTS")
        for one in self._record.counts:
            within = {True: "as expected", False: "NOT AS EXPECTED", None: "no expectation"}
            held = f"{one.volume or 'unknown volume'} held {one.viable_cells or 'unknown cells'}"
            engineered = f", engineered {one.engineered}" if one.engineered else ""
            cd3 = f", CD3 {one.cd3}" if one.cd3 else ""
            yield from _entry(
                one.seq,
                one.at,
                for_people(
                    f"{one.sample} of {one.of or 'unknown'}: {one.viable_density} viable, "
                    f"viability {one.viability}{cd3}{engineered}; {held}; result "
                    f"{one.result or 'unnumbered'}"
                ),
            )
            if one.expected_density:
                yield from _wrapped(
                    for_people(
                        f"expected {one.expected_density}, viability {one.expected_viability}: "
                        f"{within[one.within]}"
                    ),
                    " " * 10,
                    " " * 12,
                )
        yield from _none(self._record.counts)

    def all_yields(self) -> Iterator[str]:
        """Yield expected against found."""
        yield from _heading("YIELDS")
        for one in self._record.yields:
            yield from _wrapped(_yield(one), "", "    ")
        yield from _none(self._record.yields)
        if self._record.liquids:
            yield ""
            header = ("liquid moved in step", "asked", "by the pump", "", "by weight")
            rows = [
                (
                    one.number + "".join(_TURNS.findall(one.path)),
                    one.asked,
                    one.moved,
                    f"{one.percent} %" + ("" if one.within else " NOT WITHIN"),
                    f"{one.weighed or '-'} ({one.acts_weighed} of {one.acts} acts)",
                )
                for one in self._record.liquids
            ]
            yield from _table(header, rows)

    def decisions(self) -> Iterator[str]:
        """Yield the ways taken."""
        yield from _heading("DECISIONS")
        for one in self._record.decisions:
            condition = f" ({one.condition})" if one.condition else ""
            yield from _entry(
                one.seq,
                one.at,
                for_people(
                    f"{one.name or one.path}{condition}: {one.branch}, because {one.because}; "
                    f"{one.path}"
                ),
            )
        yield from _none(self._record.decisions)

    def clocks(self) -> Iterator[str]:
        """Yield the clocks, used and left."""
        yield from _heading("CLOCKS")
        for one in self._record.clocks:
            ends = [f"at least {one.minimum}"] if one.minimum else []
            ends += [f"at most {one.maximum}"] if one.maximum else []
            used = f"used {_span(one.used)}, left {_span(one.left) or 'no maximum'}"
            if one.ended_at is None:
                used = "STILL RUNS"
            out = f"; RAN OUT {_time(one.ran_out_at)}" if one.ran_out_at is not None else ""
            yield from _entry(
                one.started_seq,
                one.started_at,
                f"{one.clock}: {' and '.join(ends)}: {used}, ended {_time(one.ended_at)}{out}; "
                f"{one.tier} ({one.source})",
            )
        yield from _none(self._record.clocks)

    def alarms(self) -> Iterator[str]:
        """Yield the alarms, from raised to cleared."""
        yield from _heading("ALARMS")
        for one in self._record.alarms:
            seen = "NOT ACKNOWLEDGED"
            if one.acknowledged_by:
                seen = f"acknowledged by {self._who(one.acknowledged_by)} "
                seen += _time(one.acknowledged_at)
            cleared = f"cleared {_time(one.cleared_at)}" if one.cleared_at else "NOT CLEARED"
            yield from _entry(
                one.seq,
                one.raised_at,
                f"{one.tier}: {one.cause} Consequence: {one.consequence}. Action: {one.action}. "
                f"{seen}; {cleared}",
            )
        yield from _none(self._record.alarms)

    def holds(self) -> Iterator[str]:
        """Yield the holds with how they ended."""
        yield from _heading("HOLDS")
        for line in self._held():
            yield from _wrapped(line, "", "    ")
        yield from _none(self._record.holds)

    def conditions(self) -> Iterator[str]:
        """Yield what was watched, by edges and hours."""
        yield from _heading("CONDITIONS WATCHED")
        for condition in self._record.conditions:
            yield from self._condition(condition)
        yield from _none(self._record.conditions)

    def _condition(self, one: ConditionEntry) -> Iterator[str]:
        allowed = " to ".join(filter(None, (one.lowest_allowed, one.highest_allowed)))
        yield from _wrapped(
            f"{one.name}: {one.reading or one.path}, allowed {allowed or 'unknown'}; found "
            f"{one.lowest or 'nothing'} to {one.highest or 'nothing'} in {one.samples} samples; "
            f"{one.tier} ({one.source}); {one.path}",
            "",
            "    ",
        )
        for edge in one.edges:
            yield from _entry(edge.seq, edge.at, f"{edge.edge}: {edge.value or 'no reading'}")
        hours = [
            f"[{each.seq}] {_time(each.at)[:16]} {each.lowest} to {each.highest} ({each.samples})"
            for each in one.hours
        ]
        if hours:
            yield "    Each hour, by its end: lowest to highest (samples)"
        for start in range(0, len(hours), _HOURS_IN_A_LINE):
            row = hours[start : start + _HOURS_IN_A_LINE]
            if any(len(cell) > WIDTH // _HOURS_IN_A_LINE - 4 for cell in row):
                yield from (f"    {cell}" for cell in row)
            else:
                yield "    " + "".join(f"{cell:48}" for cell in row).rstrip()

    def labels(self) -> Iterator[str]:
        """Yield the labels applied."""
        yield from _heading("LABELS")
        for one in self._record.labels:
            back = _time(one.scanned_back_at) if one.scanned_back_at else "NOT SCANNED BACK"
            yield from _entry(
                one.seq,
                one.at,
                f"{one.label} on {one.container}, applied by {self._who(one.applied_by)}, verified "
                f"by {self._who(one.verified_by) or 'nobody'}; scanned back {back}",
            )
        yield from _none(self._record.labels)

    def containers(self) -> Iterator[str]:
        """Yield where everything is now."""
        yield from _heading("WHERE THE CONTAINERS ARE")
        rows = [
            (
                one.container,
                one.recipe_name,
                one.volume,
                one.place or "not recorded",
                one.label,
                "QUARANTINED"
                if one.quarantined
                else f"at {one.port}"
                if one.port and "/" not in one.container
                else "",
            )
            for one in self._record.containers
        ]
        yield from _table(("", "in the recipe", "holds", "place", "label", "joined"), rows)

    def genealogy(self) -> Iterator[str]:
        """Yield what came of the material, and each container's account."""
        found = self._record.genealogy
        names = {one.container: one.recipe_name for one in found.accounts}
        yield from _heading("WHAT CAME OF THE MATERIAL")
        for part in found.parts:
            yield from _wrapped(
                f"[{part.seq}] {part.kind}: {_amount(part)} of {part.source} "
                f"({names.get(part.source, '')}) into {part.target} "
                f"({names.get(part.target, '')}), {part.measured}",
                "",
                "    ",
            )
        for one in (*found.losses, *found.gains):
            came = "lost" if isinstance(one, LossEntry) else "came in"
            how = f"not measured, calculated from {one.calculated_from}"
            yield from _wrapped(
                f"[{one.seq}] {came}: {one.volume} of {one.container} "
                f"({names.get(one.container, '')}), {one.why}: "
                f"{how if one.calculated_from else 'measured'}",
                "",
                "    ",
            )
        for bad in found.unreadable:
            yield from _wrapped(
                f"[{bad.seq}] UNREADABLE: {bad.text!r} of {bad.container} "
                f"({names.get(bad.container, '')}): {bad.why}",
                "",
                "    ",
            )
        for container in found.never_received:
            yield f"NEVER RECEIVED: {container}"
        yield from _none(
            (*found.parts, *found.losses, *found.gains, *found.unreadable, *found.never_received)
        )
        yield from _heading("WHETHER IT ADDS UP: came in - went out - lost - unexplained = held")
        rows = [
            (
                one.container,
                one.came_in or "unknown",
                one.went_out,
                one.lost,
                f"{one.unexplained} DISCREPANCY" if one.discrepancies else one.unexplained,
                f"{one.held} ± {one.error}" if one.error else one.held,
                ", ".join(one.donations),
            )
            for one in found.accounts
        ]
        header = ("", "came in", "went out", "lost", "unexplained", "held", "of donation")
        yield from _table(header, rows)

    def clearances(self) -> Iterator[str]:
        """Yield how units and places were given back."""
        yield from _heading("CLEARANCES")
        for one in self._record.clearances:
            signed = "; ".join(self._signed(each) for each in one.signatures)
            yield from _entry(
                one.seq,
                one.at,
                f"{', '.join(one.resources)}: {one.clearance}{f', {signed}' if signed else ''}",
            )
        yield from _none(self._record.clearances)

    def traces(self) -> Iterator[str]:
        """Yield the sealed readings that belong to this record."""
        yield from _heading("TRACES OF READINGS")
        for name in dict.fromkeys(f"{one.equipment} {one.reading}" for one in self._record.traces):
            chunks = [
                one for one in self._record.traces if f"{one.equipment} {one.reading}" == name
            ]
            files = ", ".join(dict.fromkeys(one.file for one in chunks))
            yield from _wrapped(
                f"{name} in {files}, {_time(chunks[0].first)} to {_time(chunks[-1].last)}: first "
                "sample of each chunk, samples, SHA-256",
                "",
                "    ",
            )
            for one in chunks:
                seq = f"[{one.seq}]"
                yield f"  {seq:8} {_time(one.first)[:16]} {one.samples:5} {one.sha256}"
        yield from _none(self._record.traces)

    def signatures(self) -> Iterator[str]:
        """Yield every signature with what it was given on."""
        yield from _heading("SIGNATURES")
        for one in self._record.signatures:
            fits = "" if one.fits else "; IT WASN'T GIVEN ON THIS EVENT"
            reason = f"; reason: {one.reason}" if one.reason else ""
            yield from _entry(
                one.seq,
                one.at,
                f"{one.meaning} by {one.name} ({one.signer}) on {one.on.replace('_', ' ')}"
                f"{reason}{fits}",
            )
            yield f"          {one.digest}"

    def verification(self) -> Iterator[str]:
        """Yield what the journal is worth."""
        one = self._record.verification
        yield from _heading("VERIFICATION OF THE JOURNAL")
        covered = "all events"
        if one.unanchored_from is not None:
            covered = f"events before {one.unanchored_from}"
        bad = "" if one.first_bad_seq is None else str(one.first_bad_seq)
        yield from _pairs(
            [
                ("Sound", "yes" if one.sound else "NO"),
                ("Events", f"{one.events}; this record rests on 1 to {one.record_to_seq}"),
                ("Merkle root", one.merkle_root),
                ("Anchored to", one.anchored_to),
                ("Checkpoints cover", covered),
                ("First bad event", bad),
                *(("Problem", text) for text in one.problems),
            ]
        )
        yield from _wrapped(
            "The whole journal is at hand electronically; `cellwright verify` repeats this.",
            "",
            "",
        )

    # people in words ------------------------------------------------------------------------------

    def _who(self, user: str) -> str:
        name = self._names.get(user)
        return user if name is None else f"{name} ({user})"

    def _signed(self, one: SignatureEntry | None) -> str:
        if one is None:
            return "NOT SIGNED"
        fits = "" if one.fits else " (DOES NOT FIT)"
        return f"{one.name} ({one.signer}), {one.meaning} {_time(one.at)}{fits}"

    def _start_asked(self) -> str:
        record = self._record
        if record.start_asked_at is None:
            return "nobody recorded"
        return f"{self._who(record.start_asked_by)}, {_time(record.start_asked_at)}"

    def _commanded(self, user: str) -> str:
        return f"; by {self._who(user)}" if user else ""


def _identity(one: IdentityEntry | IdentityRefusedEntry) -> str:
    if isinstance(one, IdentityRefusedEntry):
        return (
            f"identity REFUSED: {one.expected} expected at {one.place} "
            f"({one.scanner or 'no scanner'}): {one.why}"
        )
    labels = f"label {one.label}"
    if one.read_first:
        labels = f"labels {one.read_first}, then {one.label}"
    how = f"scanned by {one.scanner}, {labels}" if one.scanner else one.rests_on
    return f"identity: {one.container} at {one.place}: {how}"


def _wait(one: WaitEntry) -> str:
    came = f"came first: {one.came_first}, {_time(one.ended_at)}" if one.ended_at else "WAITS"
    return f"waited for {for_people(one.waited_for)}; {came}"


def _yield(one: YieldEntry) -> str:
    text = f"{one.name}: found {for_people(one.found)}"
    if one.expected:
        text += f"; expected {for_people(one.expected)} ({one.expected_from})"
    if one.percent_of_expected:
        text += f"; {one.percent_of_expected} %"
    if one.within is not None:
        text += "; within" if one.within else "; NOT WITHIN"
    return f"{text}; by {one.how}"


def _before_and_after(one: AttemptEntry) -> str:
    changes: list[str] = []
    for before, after in ((one.before, one.after), (one.evidence_before, one.evidence_after)):
        for name in dict.fromkeys((*before, *after)):
            was, now = before.get(name, "not shown"), after.get(name, "not shown")
            words = name.replace("_", " ")
            changes.append(f"{words} {was or 'none'} -> {now or 'none'}")
    return f"evidence: {'; '.join(changes)}" if changes else ""


def _facts(values: Mapping[str, str]) -> str:
    return "; ".join(f"{name.replace('_', ' ')} {text or 'none'}" for name, text in values.items())


def _failure(error: Mapping[str, str]) -> str:
    """Return an error as people read it where it comes up."""
    told = f"{error['what']}: {error['why'].rstrip('.')}. {error['do_next'].rstrip('.')}."
    return f"{told} ({error['code']})"


def _time(at: Instant | None) -> str:
    return "-" if at is None else str(at)[:19].replace("T", " ")


def _clock(at: Instant | None) -> str:
    return "" if at is None else f"at {str(at)[11:19]}"


def _ended(seq: int | None, at: Instant | None) -> str:
    return "NOT ENDED" if at is None else f"[{seq}] {_time(at)}"


def _span(text: str) -> str:
    """Return a recorded duration as people say it; what is none stays as it is."""
    try:
        return Duration.read(text).in_words()
    except ValueError:
        return text


def for_people(text: str) -> str:
    """Return ``text`` with cells in millions: ``4795.758 million cells``."""

    def in_words(found: re.Match[str]) -> str:
        count = Decimal(found[1])
        millions = (count / 1_000_000).quantize(Decimal("0.001")).normalize()
        return found[0] if count < _MILLION else f"{millions:f} million {found[2]}"

    return _CELLS.sub(in_words, in_millions(text))


def _heading(text: str) -> Iterator[str]:
    yield ""
    yield f"-- {text} ".ljust(WIDTH, "-")


def _amount(part: PartEntry) -> str:
    if not part.volume:
        return "an unknown volume"
    return f"{part.volume} ± {part.error}" if part.error else part.volume


def _none(rows: Sequence[object]) -> Iterator[str]:
    if not rows:
        yield "None."


def _entry(seq: int, at: Instant, text: str) -> Iterator[str]:
    yield from _wrapped(f"[{seq}] {_time(at)} {text}", "    ", " " * 10)


def _pairs(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    filled = [(name, value) for name, value in rows if value]
    width = max(len(name) for name, _ in filled) + 2
    for name, value in filled:
        yield from _wrapped(value, f"{name:{width}}", " " * width)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows in columns; the last column goes on in the next line."""
    if not rows:
        yield "None."
        return
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    indent = sum(widths[:-1]) + 2 * len(widths[:-1])
    if indent > WIDTH - _LAST_COLUMN:
        for row in rows:
            named = [
                f"{name} {cell}".strip() for name, cell in zip(header, row, strict=True) if cell
            ]
            yield from _wrapped("; ".join(named), "", "    ")
        return
    for row in (header, *rows):
        cells = zip(row[:-1], widths[:-1], strict=True)
        before = "".join(f"{cell:{width}}  " for cell, width in cells)
        yield from _wrapped(row[-1], before, " " * indent)


def _wrapped(text: str, first: str, then: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=then, break_on_hyphens=False
    ) or [first.rstrip()]
