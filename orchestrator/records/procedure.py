"""The numbered procedure of a batch record: each phase with its acts, scans and answers.

Only what the journal says is told; where it says nothing, a field is empty and the record
lists the gap (``completeness``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from orchestrator.engine.phase_state import state_of_parent
from orchestrator.journal import events as ev
from orchestrator.kernel.conditions import Condition
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.measured import Amount, Calculated, Fixed, Measured, Ordered
from orchestrator.kernel.quantities import Volume
from orchestrator.kernel.tasks import VERIFICATION
from orchestrator.recipe.calculations import evaluated, told
from orchestrator.recipe.model import (
    Keep,
    MeasuredValue,
    Recipe,
    RepeatUntil,
    Step,
    When,
    written_path,
)
from orchestrator.recipe.render import step_in_words
from orchestrator.records.batch_history import (
    At,
    AttemptStory,
    BatchHistory,
    PhaseStory,
    TaskStory,
)
from orchestrator.records.record_model import (
    ActEntry,
    ActRefusedEntry,
    AnswerEntry,
    AttemptEntry,
    CalculationEntry,
    DecisionEntry,
    Entry,
    FailureEntry,
    IdentityEntry,
    IdentityRefusedEntry,
    NotBegun,
    PhaseEntry,
    SeenEntry,
    StateEntry,
    Verification,
    WaitEntry,
)
from orchestrator.records.stated_volume import stated_volume

_HOUSEKEEPING: Final = frozenset(
    {
        "kind",
        "unit",
        "longest",
        "on_interruption",
        "quieten",
        "weighed",
        "instruction",
        "report",
        "words",
    }
)


class Procedure:
    """Tells the phases of one batch in the words of its recipe."""

    def __init__(self, history: BatchHistory, recipe: Recipe | None) -> None:
        """Tell ``history``; without ``recipe`` sentences and calculations are left out."""
        self._history = history
        self._recipe = recipe
        self._attempts: dict[tuple[str, int], list[AttemptStory]] = {}
        for story in history.attempts.values():
            intended = story.intended.event
            self._attempts.setdefault((intended.path, intended.word), []).append(story)

    def phases(self) -> tuple[PhaseEntry, ...]:
        """Return the phases in the order in which they began."""
        return tuple(self._phase(path, story) for path, story in self._history.phases.items())

    def state(self) -> str:
        """Return the state of the whole, derived from its phases."""
        batch = self._history.state.batches[self._history.batch]
        return state_of_parent(one.state for one in batch.phases.values()).value

    def not_begun(self) -> tuple[NotBegun, ...]:
        """Return the recipe's steps that have no phase, and why."""
        if self._recipe is None:
            return ()
        begun = {written_path(path) for path in self._history.phases}
        taken: dict[str, set[str]] = {}
        for one in self._history.of_kind(ev.BranchTaken):
            taken.setdefault(written_path(one.event.path), set()).add(one.event.branch)
        return tuple(
            NotBegun(
                number=number_of(path),
                path=path,
                sentence=step_in_words(step),
                why="branch not taken" if _passed_over(path, taken) else "not begun",
            )
            for path, step in self._recipe.steps()
            if path not in begun
        )

    def decisions(self) -> tuple[DecisionEntry, ...]:
        """Return the ways taken, with the condition and the value that decided."""
        return tuple(self._decision(one) for one in self._history.of_kind(ev.BranchTaken))

    # one phase --------------------------------------------------------------------------

    def _phase(self, path: str, story: PhaseStory) -> PhaseEntry:
        event: ev.PhaseStarted = story.started.event
        step = self._step(path)
        entries = tuple(self._entries(path, story))
        ended = story.ended
        state = self._history.state.batches[self._history.batch].phases[path].state
        return PhaseEntry(
            number=number_of(path),
            path=path,
            name=path if step is None else step.name,
            phase=event.phase,
            sentence="" if step is None else step_in_words(step),
            started_at=story.started.at,
            started_seq=story.started.seq,
            ended_at=None if ended is None else ended.at,
            ended_seq=None if ended is None else ended.seq,
            state=state.value,
            duration="" if ended is None else str(ended.at - story.started.at),
            performed_by=_performers(entries),
            verification=self._verification(path, step, entries),
            calculations=() if step is None else tuple(_calculations(step, story.known)),
            entries=entries,
            report={} if ended is None else ended.event.report,
            measured={} if ended is None else {one.name: one.is_ for one in ended.event.measured},
        )

    def _step(self, path: str) -> Step | None:
        node = None if self._recipe is None else self._recipe.nodes.get(written_path(path))
        return node if isinstance(node, Step) else None

    def _verification(
        self, path: str, step: Step | None, entries: tuple[Entry, ...]
    ) -> Verification:
        task = self._history.tasks.get(f"{self._history.batch}/{path}{VERIFICATION}")
        if task is not None:
            verified = task.verified
            return Verification(
                how="afterwards",
                by=() if verified is None else (str(verified.event.by),),
                at=None if verified is None else verified.at,
                due=task.offered.event.due,
            )
        seconds = list(dict.fromkeys(by for _, by in _verifiers(entries)))
        times = [at for at, _ in _verifiers(entries)]
        within = bool(seconds) or (step is not None and step.phase.claims().second_person)
        return Verification(
            how="within the phase" if within else "none",
            by=tuple(seconds),
            at=times[-1] if times else None,
            due=None,
        )

    def _entries(self, path: str, story: PhaseStory) -> Iterator[Entry]:
        acts: set[int] = set()
        for one in story.events:
            event = one.event
            match event:
                case ev.AttemptIntended(word=word) if word not in acts:
                    acts.add(word)
                    yield self._act(path, one)
                case ev.ActRefused():
                    yield ActRefusedEntry(
                        seq=one.seq, at=one.at, path=path, refusals=event.refusals
                    )
                case ev.Seen():
                    reading = event.reading
                    yield SeenEntry(
                        seq=one.seq,
                        at=one.at,
                        reading=str(reading["kind"]),
                        unit=str(reading["unit"]),
                        part=str(reading.get("part", "")),
                        value=event.value,
                    )
                case ev.IdentityProven():
                    yield IdentityEntry(
                        seq=one.seq,
                        at=one.at,
                        container=event.container,
                        place=event.place,
                        label=event.label,
                        scanner=event.scanner or "",
                        rests_on=event.rests_on,
                        read_first=event.read_first,
                    )
                case ev.IdentityRefused():
                    yield IdentityRefusedEntry(
                        seq=one.seq,
                        at=one.at,
                        path=path,
                        expected=event.expected,
                        place=event.place,
                        scanner=event.scanner or "",
                        why=event.why,
                    )
                case ev.WaitStarted():
                    yield _wait(one, story)
                case ev.TaskOffered(word=int()):
                    yield _answer(self._history.tasks[event.task])
                case ev.PhaseFailed():
                    yield FailureEntry(seq=one.seq, at=one.at, error=event.error)
                case ev.StateChanged():
                    yield StateEntry(
                        seq=one.seq,
                        at=one.at,
                        trigger=event.trigger,
                        why=event.why,
                        by=event.by or "",
                    )
                case _:
                    pass

    def _act(self, path: str, first: At) -> ActEntry:
        event: ev.AttemptIntended = first.event
        attempts = tuple(self._attempt(story) for story in self._attempts[path, event.word])
        asked = event.asked
        pumped = _volumes(one.done for one in attempts if _is_pump(asked))
        weighed = _volumes(one.detail.get("weighed", "") for one in attempts)
        plain = [one.done for one in attempts if one.done not in ("", "1")]
        return ActEntry(
            seq=first.seq,
            at=first.at,
            word=event.word,
            act=str(asked.get("work", asked["kind"])),
            equipment=event.equipment,
            firmware=self.firmware_at(event.equipment, first.seq),
            parameters=in_texts(asked),
            asked=str(asked["volume"]) if _is_pump(asked) else "",
            done=str(_sum(pumped)) if pumped else (plain[-1] if plain else ""),
            weighed=str(_sum(weighed)) if weighed else "",
            settled=bool(attempts) and attempts[-1].outcome == "all",
            attempts=attempts,
        )

    def firmware_at(self, equipment: str, seq: int) -> str:
        """Return the firmware that an instrument had shown before an event."""
        shown = [one for one in self._history.shown.get(equipment, []) if one.seq < seq]
        return str(shown[-1].event.firmware) if shown else ""

    def _attempt(self, story: AttemptStory) -> AttemptEntry:
        intended: ev.AttemptIntended = story.intended.event
        ended = story.ended
        event = None if ended is None else ended.event
        doubt = None if story.uncertain is None else story.uncertain.event
        task = self._history.tasks.get(intended.command)
        detail: dict[str, str] = dict(getattr(event, "detail", {}))
        error: dict[str, str] = getattr(event, "error", {})
        reports = [] if task is None else [one for one in task.reports if not one.event.declined]
        report = reports[-1] if reports else None
        verified = None if task is None else task.verified
        shown = event if isinstance(event, ev.AttemptSettled) else doubt
        return AttemptEntry(
            seq=story.intended.seq,
            command=intended.command,
            intended_at=story.intended.at,
            ended_at=None if ended is None else ended.at,
            ended_seq=None if ended is None else ended.seq,
            outcome=cast("Any", _outcome(story)),
            decided=_decided_by(event),
            remained={} if intended.act is None else in_texts(intended.act),
            done=str(getattr(event, "done", "")),
            detail=detail,
            why=str(getattr(event, "why", "")) or _told_error(error) or getattr(doubt, "why", ""),
            before=intended.before,
            after={} if shown is None else shown.after,
            evidence_before=intended.evidence,
            evidence_after={} if shown is None else shown.evidence,
            proven=intended.proven,
            overdue=story.overdue,
            performed_by=_by(report),
            performed_at=None if report is None else report.at,
            verified_by=_by(verified),
            verified_at=None if verified is None else verified.at,
            verified_read=() if verified is None else verified.event.read,
        )

    def _decision(self, one: At) -> DecisionEntry:
        event: ev.BranchTaken = one.event
        nodes = {} if self._recipe is None else self._recipe.nodes
        node = nodes.get(written_path(event.path))
        condition = ""
        if isinstance(node, When | RepeatUntil | Keep):
            condition = condition_in_words(node.condition)
        return DecisionEntry(
            seq=one.seq,
            at=one.at,
            path=event.path,
            name=getattr(node, "name", ""),
            condition=condition,
            branch=event.branch,
            because=event.because,
        )


def number_of(path: str) -> str:
    """Return the number that a step's path ends with."""
    slug = path.rsplit("/", 1)[-1]
    return slug.partition("-")[0].lstrip("0")


def reading_in_words(condition: Condition) -> str:
    """Return which reading a condition looks at."""
    reading = condition.reading
    if isinstance(reading, MeasuredValue):
        return reading.name
    return f"{reading.kind.replace('_', ' ')} of the {reading.unit}"


def condition_in_words(condition: Condition) -> str:
    """Return a condition's reading with its limits."""
    low = f"at least {condition.lowest}" if condition.lowest else ""
    high = f"at most {condition.highest}" if condition.highest else ""
    return f"{reading_in_words(condition)} {' and '.join(filter(None, (low, high)))}"


def in_texts(act: Mapping[str, Any]) -> dict[str, str]:
    """Return an act's own parameters as text, without what only the engine needs."""
    found: dict[str, str] = {}
    for name, value in act.items():
        if name == "open" and value == []:
            found[name] = "none"
        if name in _HOUSEKEEPING or value in (None, "", [], {}):
            continue
        if isinstance(value, list):
            found[name] = ", ".join(str(one) for one in cast("list[Any]", value))
        elif isinstance(value, dict):
            for inner, text in cast("dict[str, Any]", value).items():
                found[inner] = str(text)
        elif isinstance(value, bool):
            found[name] = "yes" if value else "no"
        else:
            found[name] = str(value)
    if "instruction" in act:
        found["instruction"] = str(act["instruction"])
    return found


def _passed_over(path: str, taken: Mapping[str, set[str]]) -> bool:
    """Return whether a decision led past a step: another branch was taken, and never its own."""
    for branch in ("then", "otherwise"):
        before, mark, _ = path.partition(f"[{branch}]")
        ways = taken.get(before, set())
        if mark and ways and branch not in ways:
            return True
    return False


def _performers(entries: tuple[Entry, ...]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for entry in entries:
        if isinstance(entry, ActEntry):
            for attempt in entry.attempts:
                found[attempt.performed_by or entry.equipment] = None
        elif isinstance(entry, IdentityEntry) and entry.scanner:
            found[entry.scanner] = None
        elif isinstance(entry, AnswerEntry) and entry.answered_by:
            found[entry.answered_by] = None
    return tuple(found)


def _verifiers(entries: tuple[Entry, ...]) -> list[tuple[Instant | None, str]]:
    found: list[tuple[Instant | None, str]] = []
    for entry in entries:
        if isinstance(entry, ActEntry):
            found += [(one.verified_at, one.verified_by) for one in entry.attempts]
        elif isinstance(entry, AnswerEntry):
            found.append((entry.verified_at, entry.verified_by))
    return [(at, by) for at, by in found if by]


def _calculations(step: Step, known: Mapping[str, str]) -> Iterator[CalculationEntry]:
    """Yield each calculated amount of a step, the inner ones of a nested formula first."""

    def value(amount: Amount) -> str:
        match amount:
            case Fixed():
                return amount.value
            case Ordered() | Measured():
                return known[amount.name]
            case Calculated():
                return evaluated(amount, value)

    def each(name: str, amount: Calculated) -> Iterator[CalculationEntry]:
        for inner, argument in amount.arguments.items():
            if isinstance(argument, Calculated):
                yield from each(inner, argument)
        try:
            result = value(amount)
            words = told(amount, value, result)
        except (KeyError, ValueError) as missing:
            words, result = f"{amount.formula}: can't be computed from the record ({missing})", ""
        yield CalculationEntry(amount=name, formula=amount.formula, told=words, result=result)

    for name in type(step.phase).model_fields:
        amount = getattr(step.phase, name)
        if isinstance(amount, Calculated):
            yield from each(name, amount)


def _wait(one: At, story: PhaseStory) -> WaitEntry:
    event: ev.WaitStarted = one.event
    ends = [
        other
        for other in story.events
        if isinstance(other.event, ev.WaitEnded) and other.event.word == event.word
    ]
    if event.condition is not None:
        condition = Condition.model_validate(event.condition)
        words = condition_in_words(condition)
        words += f", at the latest {event.latest}" if event.latest is not None else ""
    else:
        words = str(event.instant)
    return WaitEntry(
        seq=one.seq,
        at=one.at,
        waited_for=words,
        ended_at=ends[0].at if ends else None,
        came_first=ends[0].event.first if ends else "",
    )


def _answer(task: TaskStory) -> AnswerEntry:
    offered: ev.TaskOffered = task.offered.event
    report = task.reports[-1] if task.reports else None
    said = None if report is None or report.event.declined else report
    return AnswerEntry(
        seq=task.offered.seq,
        at=task.offered.at,
        task=offered.task,
        question=offered.text,
        evidence=offered.evidence,
        choice="" if said is None else said.event.choice,
        values={} if said is None else said.event.values,
        declined=tuple(
            f"{one.event.by}: {one.event.declined}" for one in task.reports if one.event.declined
        ),
        second_person=offered.second_person,
        answered_by=_by(said),
        answered_at=None if said is None else said.at,
        verified_by=_by(task.verified),
        verified_at=None if task.verified is None else task.verified.at,
    )


def _outcome(story: AttemptStory) -> str:
    if story.ended is None:
        return "open" if story.uncertain is None else "uncertain"
    if isinstance(story.ended.event, ev.AttemptFailed):
        return "failed"
    return str(story.ended.event.verdict)


def _decided_by(event: Any) -> Any:
    if isinstance(event, ev.AttemptReconciled):
        return "people"
    return "nobody" if event is None else "evidence"


def _told_error(error: Mapping[str, str]) -> str:
    return ": ".join(error[name] for name in ("what", "why") if error.get(name))


def _by(at: At | None) -> str:
    return "" if at is None else str(at.event.by)


def _is_pump(act: Mapping[str, Any]) -> bool:
    return act["kind"] == "pump_volume"


def _volumes(texts: Iterable[str]) -> list[Volume]:
    """Return the volumes among the texts."""
    return [one for one in map(stated_volume, texts) if one is not None]


def _sum(volumes: list[Volume]) -> Volume:
    return Volume.of_base(sum(one.base for one in volumes))
