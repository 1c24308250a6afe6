"""Lay the World's ledger beside the journal, act by act: what was repeated, lost, held.

The words are those of design section 6. *Repeated*: more effect than an act asked for,
summed over its attempts, or an effect that neither an act nor an ``OutsideActSeen`` names.
*Lost*: the journal says settled and the World shows less, or the procedure has ended and
an act of the branch taken has no effect. *Held*: an act in doubt that asked for a person.
More and less are beyond the instrument's stated error.

The ledger knows no command, so an effect is given to the act whose instrument or person
did it, whose act it fits, and in whose time it fell: from the intent of an attempt to its
settlement. An effect that only fits a time after it (the device went on by itself, for no
longer than the act claimed to last) is given to the latest such act. What an instrument
did when it was brought to rest is named by ``EquipmentQuieted``; what a person carried
away from a line, by the ``ContainerPlaced`` that says so (``carried_away.py``).

It shares no code with the engine. It judges effects, never durations or growth.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from orchestrator.journal.events import (
    AnyEvent,
    AttemptFailed,
    AttemptIntended,
    AttemptReconciled,
    AttemptSettled,
    AttemptUncertain,
    BatchAmended,
    BatchEnded,
    BatchMade,
    BranchTaken,
    ContainerPlaced,
    EquipmentQuieted,
    EquipmentSeen,
    HandWorkReportedLate,
    OutsideActSeen,
    PersonAdded,
    PhaseEnded,
    PhaseStarted,
    RecipeSubmitted,
    TaskOffered,
    TaskReported,
    TaskTaken,
)
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.acts import Act, AnyAct
from orchestrator.kernel.identifiers import BatchId, CommandId, PhasePath
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import second
from orchestrator.recipe.model import (
    Hold,
    Node,
    Recipe,
    RepeatUntil,
    Step,
    When,
    children,
)
from orchestrator.records.asked import (
    Asked,
    Balance,
    Claim,
    LedgerEffect,
    asked_of,
    standing_key,
    standing_value,
)
from orchestrator.records.carried_away import CarriedAway, Said

__all__ = ["Comparison", "Finding", "JudgedAct", "LedgerEffect", "compare"]

CLOCKS_AGREE_S: Final = 1.0
"""How far the journal's clock and the World's may differ before an effect lies outside an
attempt's time; set here."""

AT_ONCE_S: Final = 0.002
"""Closer than this is the same moment: the journal's instants and the World's are rounded."""

Verdict = Literal[
    "as asked", "part", "nothing to do", "repeated", "lost", "held", "open", "not judged"
]
FindingKind = Literal["repeated", "lost", "unexplained", "held", "not judged"]

_NEVER: Final = float("inf")
_ACTS: Final[TypeAdapter[Act]] = TypeAdapter(AnyAct)
_PEOPLE_ACT: Final = "hand_act"
_CARRYING: Final = "carry_away"
_HANDS: Final = "hands"
_BY_MAINS: Final = "mains:"
_NOT_BY_WIRE: Final = ("panel:", _BY_MAINS)
_REST_KINDS: Final = ("set_temperature", "set_co2")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the comparison names."""

    kind: FindingKind
    text: str
    instrument: str
    act: str = ""
    batch: BatchId | None = None
    path: PhasePath | None = None
    word: int | None = None
    effects: tuple[int, ...] = ()
    at: Instant | None = None

    def __str__(self) -> str:
        where = f"{self.batch} {self.path} word {self.word}: " if self.batch is not None else ""
        what = f" {self.act}" if self.act else ""
        return f"{self.kind}: {where}{self.instrument}{what}: {self.text}"


@dataclass(frozen=True, slots=True)
class JudgedAct:
    """One act with what it asked for and what the World shows of it."""

    batch: BatchId
    path: PhasePath
    word: int
    instrument: str
    kind: str
    people: tuple[str, ...]
    containers: tuple[str, ...]
    places: tuple[str, ...]
    attempts: int
    asked: str
    shown: str
    error: str
    error_source: str
    verdict: Verdict
    effects: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ledger beside the journal."""

    acts: tuple[JudgedAct, ...]
    repeated: tuple[Finding, ...]
    lost: tuple[Finding, ...]
    unexplained: tuple[Finding, ...]
    held: tuple[Finding, ...]
    not_judged: tuple[Finding, ...]
    effects: int

    @property
    def repeated_acts(self) -> int:
        """Acts with more effect than asked, and effects that nothing names."""
        return len(self.repeated) + len(self.unexplained)

    @property
    def lost_acts(self) -> int:
        """Acts that the journal has and the World hasn't."""
        return len(self.lost)

    @property
    def agrees(self) -> bool:
        """Whether nothing was repeated and nothing lost."""
        return not (self.repeated or self.unexplained or self.lost)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was repeated, unexplained or lost."""
        return (*self.repeated, *self.unexplained, *self.lost)


def compare(
    events: Iterable[Recorded[AnyEvent]], ledger: Iterable[LedgerEffect], *, start: Instant
) -> Comparison:
    """Return the World's ledger laid beside the journal.

    Args:
        events: The whole journal of the host, oldest first.
        ledger: The whole ledger of the same room, oldest first.
        start: The instant of the ledger's second 0.
    """
    journal = _Journal(start)
    for recorded in events:
        journal.read(recorded)
    journal.close()
    return _judged(journal, _Matching(journal, ledger))


# The journal, read for its acts ----------------------------------------------------------


@dataclass(slots=True)
class _Attempt:
    """One attempt: from when to when it may have acted, and what the record says of it.

    ``next_s`` is when its instrument was given another act: it does one thing at a time.
    """

    act: _ActSeen
    seq: int
    from_s: float
    to_s: float = _NEVER
    next_s: float = _NEVER
    verdict: str = ""
    done: str = ""
    decided: bool = False
    """Whether people said what became of it."""


@dataclass(slots=True)
class _ActSeen:
    """One act of the journal with all its attempts."""

    batch: BatchId
    path: PhasePath
    word: int
    equipment: str
    kind: str
    act: Act | None
    asked: Asked
    longest_s: float
    seq: int
    attempts: list[_Attempt] = field(default_factory=list[_Attempt])
    people: set[str] = field(default_factory=set[str])
    doubts: list[tuple[Instant, str]] = field(default_factory=list[tuple[Instant, str]])

    @property
    def is_by_hand(self) -> bool:
        """Whether people do it."""
        return self.kind == _PEOPLE_ACT

    def claim(self) -> Claim:
        """Return what the journal says that it did."""
        amount = sum(self.asked.claimed(one.done) for one in self.attempts if one.done)
        counted = sum(one.verdict in ("all", "part") for one in self.attempts)
        last = self.attempts[-1]
        people_say = last.done if last.decided and last.verdict == "part" else ""
        return Claim(last.verdict == "all", amount, counted, len(self.attempts), people_say)


_Key = tuple[BatchId, PhasePath, int]


class _Journal:
    """What the comparison needs of the journal."""

    def __init__(self, start: Instant) -> None:
        self._start = start
        self.acts: dict[_Key, _ActSeen] = {}
        self.attempts: dict[CommandId, _Attempt] = {}
        self.by_equipment: dict[str, list[_Attempt]] = defaultdict(list)
        self.outside: dict[str, list[float]] = defaultdict(list)
        self.quieted: dict[str, list[float]] = defaultdict(list)
        self.doubted: dict[str, list[float]] = defaultdict(list)
        self.equipment: set[str] = set()
        self.people: dict[str, str] = {}
        self.said: list[Said] = []
        self.unintended: list[Finding] = []
        self.complete: set[BatchId] = set()
        self.recipes: dict[str, str] = {}
        self.bound: dict[BatchId, str] = {}
        self.branches: dict[tuple[BatchId, str], str] = {}
        self.phases_started: dict[BatchId, list[PhasePath]] = defaultdict(list)
        self.phases_ended: set[tuple[BatchId, str]] = set()
        self._tasks: dict[str, _Key] = {}
        self._workers: dict[_Key, set[str]] = defaultdict(set)

    def read(self, recorded: Recorded[AnyEvent]) -> None:
        """Take note of one event."""
        at_s = (recorded.at.micros - self._start.micros) / 1e6
        match recorded.event:
            case AttemptIntended() as intended:
                self._intended(intended, recorded.seq, at_s)
            case AttemptSettled() | AttemptReconciled() as known:
                self._ended(known.batch, known.command, known.verdict, known.done, recorded, at_s)
            case AttemptFailed() as failed:
                self._ended(failed.batch, failed.command, "failed", failed.done, recorded, at_s)
            case AttemptUncertain() as doubt:
                attempt = self.attempts.get(doubt.command)
                if attempt is not None:
                    attempt.act.doubts.append((recorded.at, doubt.why))
                    self.doubted[attempt.act.equipment].append(at_s)
            case OutsideActSeen() as outside:
                self.equipment.add(outside.equipment)
                self.outside[outside.equipment].append(at_s)
            case EquipmentQuieted() as quieted:
                self.equipment.add(quieted.equipment)
                self.quieted[quieted.equipment].append(at_s)
            case EquipmentSeen() as seen:
                self.equipment.add(seen.equipment)
            case ContainerPlaced(how="carried") as said:
                self.said.append(_said(said, recorded.at, at_s))
            case PersonAdded() as person:
                self.people[person.login] = person.user
            case TaskOffered(work="do", batch=batch, path=path, word=word) as task if (
                batch is not None and path is not None and word is not None
            ):
                self._tasks[task.task] = (batch, path, word)
            case (TaskTaken() | TaskReported() | HandWorkReportedLate()) as done:
                key = self._tasks.get(done.task)
                if key is not None:
                    self._workers[key].add(done.by)
            case other:
                self._read_procedure(other)

    def _read_procedure(self, event: AnyEvent) -> None:
        match event:
            case RecipeSubmitted():
                self.recipes[event.recipe] = event.content
            case BatchMade():
                self.bound[event.batch] = event.recipe
            case BatchAmended(binding="recipe"):
                self.bound[event.batch] = event.new
            case BatchEnded(how="complete"):
                self.complete.add(event.batch)
            case BranchTaken():
                self.branches[event.batch, event.path] = event.branch
            case PhaseStarted():
                self.phases_started[event.batch].append(event.path)
            case PhaseEnded():
                self.phases_ended.add((event.batch, event.path))
            case _:
                pass

    def _intended(self, event: AttemptIntended, seq: int, at_s: float) -> None:
        key = (event.batch, event.path, event.word)
        act = self.acts.get(key)
        if act is None:
            act = self.acts[key] = _act_seen(event, seq)
        attempt = _Attempt(act, seq, at_s)
        self.attempts[event.command] = attempt
        act.attempts.append(attempt)
        self.by_equipment[event.equipment].append(attempt)
        if not act.is_by_hand:
            self.equipment.add(event.equipment)

    def _ended(
        self,
        batch: BatchId,
        command: CommandId,
        verdict: str,
        done: str,
        recorded: Recorded[AnyEvent],
        at_s: float,
    ) -> None:
        attempt = self.attempts.get(command)
        if attempt is None:
            text = f"the journal settles {command}, which it never intended"
            self.unintended.append(Finding("lost", text, "", batch=batch, at=recorded.at))
            return
        attempt.verdict, attempt.done, attempt.to_s = verdict, done, at_s
        attempt.decided = isinstance(recorded.event, AttemptReconciled)

    def close(self) -> None:
        """Say who did hand work, and when each instrument was given its next act."""
        for key, workers in self._workers.items():
            if key in self.acts:
                self.acts[key].people |= workers
        for attempts in self.by_equipment.values():
            if attempts[0].act.is_by_hand:
                continue
            for later, earlier in pairwise(reversed(attempts)):
                is_another = earlier.act is not later.act
                earlier.next_s = later.from_s if is_another else later.next_s


def _act_seen(event: AttemptIntended, seq: int) -> _ActSeen:
    kind = str(event.asked.get("kind", ""))
    try:
        act = _ACTS.validate_python(event.asked)
    except ValidationError:
        act = None
    asked = asked_of(act, event.equipment)
    longest_s = act.longest.to(second) if act is not None else 0.0
    return _ActSeen(
        event.batch, event.path, event.word, event.equipment, kind, act, asked, longest_s, seq
    )


# Which effect is whose -------------------------------------------------------------------


class _Candidates:
    """The attempts of one instrument by time, so that few are looked at for each effect."""

    def __init__(self, attempts: list[_Attempt]) -> None:
        self._attempts = attempts
        self._from_s = [one.from_s - CLOCKS_AGREE_S for one in attempts]
        self._last_s: list[float] = []
        last_s = -_NEVER
        for one in attempts:
            last_s = max(last_s, _latest_s(one))
            self._last_s.append(last_s)

    def at(self, effect: LedgerEffect) -> list[_Attempt]:
        """Return those in whose time ``effect`` may lie at all, oldest first."""
        until = bisect_right(self._from_s, effect.at_from_s)
        found: list[_Attempt] = []
        while until > 0 and self._last_s[until - 1] >= effect.at_from_s:
            until -= 1
            if _latest_s(self._attempts[until]) >= effect.at_from_s:
                found.append(self._attempts[until])
        return found[::-1]


def _latest_s(attempt: _Attempt) -> float:
    """Return when an effect of ``attempt`` may begin at the latest."""
    goes_on_to_s = attempt.to_s + max(CLOCKS_AGREE_S, attempt.act.longest_s)
    ends_s = min(attempt.to_s, attempt.next_s) + AT_ONCE_S
    return max(ends_s, min(goes_on_to_s, attempt.next_s - AT_ONCE_S))


def _is_within(effect: LedgerEffect, attempt: _Attempt) -> bool:
    """Return whether the effect lies in the attempt's own time."""
    if effect.at_from_s < attempt.from_s - AT_ONCE_S:
        return False
    lasts = effect.at_to_s > effect.at_from_s and attempt.to_s > attempt.from_s
    if lasts or attempt.next_s < attempt.to_s:
        return effect.at_from_s < min(attempt.to_s, attempt.next_s) - AT_ONCE_S
    return effect.at_from_s <= attempt.to_s + AT_ONCE_S


def _begun(within: list[_Attempt]) -> list[_Attempt]:
    """Return, latest first, the attempts that an instrument hadn't ended when it last acted.

    It does one thing at a time: when it has begun the later of two, the earlier is over.
    """
    last = max((n for n, one in enumerate(within) if one.act.asked.effects), default=0)
    return within[last:][::-1]


class _Matching:
    """Each effect given to its act, or found to be nobody's."""

    def __init__(self, journal: _Journal, effects: Iterable[LedgerEffect]) -> None:
        self._journal = journal
        self.unexplained: list[LedgerEffect] = []
        self.carried = CarriedAway(journal.said)
        self.count = 0
        self._standing: dict[tuple[str, ...], list[tuple[LedgerEffect, int | None]]] = {}
        self._candidates = {
            equipment: _Candidates(attempts) for equipment, attempts in journal.by_equipment.items()
        }
        self._by_hand = [
            equipment
            for equipment, attempts in journal.by_equipment.items()
            if attempts[0].act.is_by_hand
        ]
        for effect in effects:
            owner = self._given(effect)
            key = standing_key(effect, _instrument(effect))
            if key is not None:
                self._standing.setdefault(key, []).append((effect, owner))

    def _given(self, effect: LedgerEffect) -> int | None:
        """Give an effect to its act, if it has one; return that act's first event."""
        if effect.n == 0 or effect.consequence:
            return None
        self.count += 1
        doer = _doer(effect)
        is_by_hand = not doer.startswith(_NOT_BY_WIRE) and doer not in self._journal.equipment
        attempt = self._attempt_of(effect, doer)
        is_wanted = attempt is not None and attempt.act.asked.wants(effect)
        if is_by_hand and not is_wanted and self.carried.take(effect):
            return None
        if attempt is not None:
            attempt.act.asked.take(effect)
            return attempt.act.seq
        if is_by_hand and self.carried.take_extra(effect):
            return None
        if not self._is_named_outside(effect):
            self.unexplained.append(effect)
        return None

    def _attempt_of(self, effect: LedgerEffect, by: str) -> _Attempt | None:
        if by.startswith(_NOT_BY_WIRE):
            return None
        by_hand = by not in self._journal.equipment
        if by_hand:
            near = [one for name in self._by_hand for one in self._candidates[name].at(effect)]
            near = [one for one in near if self._may_be_by(by, one.act)]
        elif by in self._candidates:
            near = self._candidates[by].at(effect)
        else:
            near = []
        within = [one for one in near if _is_within(effect, one)]
        latest_first = within[::-1] if by_hand else _begun(within)
        return (
            next((one for one in within if one.act.asked.wants(effect)), None)
            or next((one for one in near[::-1] if one.act.asked.wants(effect)), None)
            or next((one for one in latest_first if one.act.asked.fits(effect)), None)
            or next((one for one in latest_first if one.act.asked.goes_with(effect)), None)
            or self._stray_of(effect, near, within, by_hand=by_hand)
        )

    def _stray_of(
        self,
        effect: LedgerEffect,
        near: list[_Attempt],
        within: list[_Attempt],
        *,
        by_hand: bool,
    ) -> _Attempt | None:
        """Return the attempt that ``effect`` is too much for, if it is for one."""
        if self._is_named_outside(effect):
            return None
        if within and not by_hand:
            return within[-1]
        return next((one for one in near[::-1] if one.act.asked.fits(effect)), None)

    def _may_be_by(self, person: str, act: _ActSeen) -> bool:
        return not act.people or self._journal.people.get(person, person) in act.people

    def _is_named_outside(self, effect: LedgerEffect) -> bool:
        """Return whether the journal says that it saw this without having asked for it.

        What the mains did to an instrument is named by the doubt that it left behind.
        """
        instrument = _instrument(effect)
        named = self._journal.outside.get(instrument, [])
        if effect.kind in _REST_KINDS and effect.by == instrument:
            named = [*named, *self._journal.quieted.get(instrument, [])]
        if effect.by.startswith(_BY_MAINS):
            named = [*named, *self._journal.doubted.get(instrument, [])]
        seen_s = min(
            (at_s for at_s in named if at_s >= effect.at_from_s - CLOCKS_AGREE_S), default=None
        )
        if seen_s is None:
            return False
        # An intent is read before: what an earlier intent didn't see, no later event names.
        intents = self._journal.by_equipment.get(instrument, [])
        return not any(
            effect.at_to_s + CLOCKS_AGREE_S < one.from_s < seen_s - CLOCKS_AGREE_S
            for one in intents
        )

    def standing(self, act: _ActSeen, key: tuple[str, ...]) -> str | float | None:
        """Return how something stood when ``act`` began."""
        for effect, owner in reversed(self._standing.get(key, [])):
            earlier = effect.at_to_s <= act.attempts[0].from_s if owner is None else owner < act.seq
            if earlier or effect.n == 0:
                return standing_value(effect)
        return None

    def where(self, thing: str, at_s: float) -> str | None:
        """Return where a thing stood at a second."""
        places = [
            str(standing_value(effect))
            for effect, _ in self._standing.get(("where", thing), [])
            if effect.at_to_s <= at_s
        ]
        return places[-1] if places else None

    def known(self) -> Iterable[tuple[str, ...]]:
        """Return everything whose standing is known at any time."""
        return self._standing


@dataclass(frozen=True, slots=True)
class _Before:
    """How things stood when an act began."""

    matched: _Matching
    act: _ActSeen

    def of(self, key: tuple[str, ...]) -> str | float | None:
        return self.matched.standing(self.act, key)

    def keys(self) -> Iterable[tuple[str, ...]]:
        return self.matched.known()


def _doer(effect: LedgerEffect) -> str:
    """Return who or what began it. A panel or the mains only ever stop a rotor."""
    return _instrument(effect) if effect.kind == "spun" else effect.by


def _instrument(effect: LedgerEffect) -> str:
    """Return whose panel, mains or wire did it."""
    return effect.by.partition(":")[2] if effect.by.startswith(_NOT_BY_WIRE) else effect.by


# The verdicts ----------------------------------------------------------------------------


def _judged(journal: _Journal, matched: _Matching) -> Comparison:
    acts: list[JudgedAct] = []
    found: dict[FindingKind, list[Finding]] = defaultdict(list)
    found["lost"].extend(journal.unintended)
    for act in journal.acts.values():
        balance = act.asked.balance(
            act.claim(),
            _Before(matched, act),
            must_have=act.batch in journal.complete and act.attempts[-1].verdict != "failed",
        )
        acts.append(_judged_act(act, balance))
        if balance.more:
            found["repeated"].append(_finding("repeated", act, balance.more))
        if balance.less:
            found["lost"].append(_finding("lost", act, balance.less))
        if not act.asked.judged:
            found["not judged"].append(_finding("not judged", act, "no trace in the ledger"))
        for at, why in act.doubts:
            found["held"].append(_finding("held", act, why, at=at))
    found["lost"].extend(_phases_left_out(journal))
    for finding in _carried_otherwise(matched):
        found[finding.kind].append(finding)
    for effect in matched.unexplained:
        text = f"no act and no outside act names it: {effect}"
        found["unexplained"].append(
            Finding("unexplained", text, _instrument(effect), effects=(effect.n,))
        )
    return Comparison(
        acts=tuple(acts),
        repeated=tuple(found["repeated"]),
        lost=tuple(found["lost"]),
        unexplained=tuple(found["unexplained"]),
        held=tuple(found["held"]),
        not_judged=tuple(found["not judged"]),
        effects=matched.count,
    )


def _judged_act(act: _ActSeen, balance: Balance) -> JudgedAct:
    return JudgedAct(
        batch=act.batch,
        path=act.path,
        word=act.word,
        instrument=act.equipment,
        kind=_act_name(act),
        people=tuple(sorted({*act.people, *(e.by for e in act.asked.effects if act.is_by_hand)})),
        containers=tuple(act.act.touches()) if act.act is not None else (),
        places=tuple(act.act.places()) if act.act is not None else (),
        attempts=len(act.attempts),
        asked=balance.asked,
        shown=balance.shown,
        error=str(act.asked.error),
        error_source=act.asked.error.source,
        verdict=_verdict(act, balance),
        effects=tuple(effect.n for effect in act.asked.effects),
    )


def _verdict(act: _ActSeen, balance: Balance) -> Verdict:
    claim = act.claim()
    if balance.more:
        return "repeated"
    if balance.less:
        return "lost"
    if not act.asked.judged:
        return "not judged"
    if not act.attempts[-1].verdict:
        return "held" if act.doubts else "open"
    if not claim.whole:
        return "part"
    return "nothing to do" if balance.nothing_to_do else "as asked"


def _said(event: ContainerPlaced, at: Instant, at_s: float) -> Said:
    joint = None if event.sealed_off is None else (event.sealed_off.kit, event.sealed_off.port)
    return Said(at, at_s, event.container, event.place, event.by, joint=joint)


def _carried_otherwise(matched: _Matching) -> Iterator[Finding]:
    """Yield what people said that they carried or cut and didn't, or carried more than once."""
    for said, where in matched.carried.not_carried(matched.where):
        text = f"{said.by} says that {said.thing} was carried to {said.place}; it stood at {where}"
        yield Finding("lost", text, _HANDS, act=_CARRYING, at=said.at)
    for said in matched.carried.not_cut():
        joint = ":".join(said.joint or ())
        text = f"{said.by} says that {said.thing} was sealed off {joint}; nobody did it"
        yield Finding("lost", text, _HANDS, act=_CARRYING, at=said.at)
    for said in matched.carried.said:
        if said.extra:
            again = "; ".join(str(effect) for effect in said.extra)
            text = f"beside what {said.by} says was carried to {said.place}: {again}"
            effects = tuple(effect.n for effect in said.extra)
            yield Finding("repeated", text, _HANDS, act=_CARRYING, effects=effects, at=said.at)


def _act_name(act: _ActSeen) -> str:
    work = getattr(act.act, "work", None)
    return f"{act.kind} {work}" if work is not None else act.kind


def _finding(kind: FindingKind, act: _ActSeen, text: str, *, at: Instant | None = None) -> Finding:
    return Finding(
        kind,
        text,
        act.equipment,
        act=_act_name(act),
        batch=act.batch,
        path=act.path,
        word=act.word,
        effects=tuple(effect.n for effect in act.asked.effects),
        at=at,
    )


# The branch taken ------------------------------------------------------------------------


def _phases_left_out(journal: _Journal) -> Iterator[Finding]:
    """Yield each phase of the branch taken that a complete batch never ended."""
    for batch in sorted(journal.complete):
        wanted = dict.fromkeys(str(path) for path in journal.phases_started[batch])
        content = journal.recipes.get(journal.bound.get(batch, ""))
        if content is not None:
            recipe = Recipe.read(content.encode())
            taken = _Taken(journal.branches, batch, list(wanted))
            for part in recipe.body:
                wanted |= dict.fromkeys(taken.steps(part.slug, part))
        for path in wanted:
            if (batch, path) not in journal.phases_ended:
                text = f"{path} lies on the branch taken and never ended, though the batch did"
                yield Finding("lost", text, "", batch=batch, path=PhasePath(path))


class _Taken:
    """Which steps a batch had to do, by the branches and turns that its journal holds."""

    def __init__(
        self, branches: Mapping[tuple[BatchId, str], str], batch: BatchId, started: list[str]
    ) -> None:
        self._branches = branches
        self._batch = batch
        self._started = started

    def steps(self, path: str, node: Node) -> Iterator[str]:
        """Yield the run's path of each step below ``node``."""
        match node:
            case Step():
                yield path
            case Hold():
                return
            case When():
                branch = self._branches.get((self._batch, path))
                for below, child in children(path, node):
                    if branch is not None and below.startswith(f"{path}[{branch}]/"):
                        yield from self.steps(below, child)
            case RepeatUntil():
                for turn in range(1, self._turns(path) + 1):
                    for below, child in children(f"{path}[{turn}]", node):
                        yield from self.steps(below, child)
            case _:
                for below, child in children(path, node):
                    yield from self.steps(below, child)

    def _turns(self, path: str) -> int:
        turn = re.compile(re.escape(path) + r"\[([0-9]+)\]")
        begun = (turn.match(started) for started in self._started)
        return max((int(one[1]) for one in begun if one is not None), default=1)
