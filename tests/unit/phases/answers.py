"""An ``Outside`` made from a list of answers, and what a run must agree with.

A phase is run on it without engine, clock or devices: each word takes the next answer of
the list and is written down as it was asked. ``agree`` then compares what was asked with
what the phase claims of itself.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, overload

from chain_of_identity.gate import Break, IdentityGate, ProvenContainer
from devices.interfaces.fluid_transfer import PumpVolume, TurnEmptyPump
from devices.interfaces.hands import HandAct
from devices.interfaces.scanning import Identify, IdentifyByBoth
from orchestrator.kernel.acts import Act, Contact, Effect, OnInterruption, Quieten, Reading
from orchestrator.kernel.conditions import Condition
from orchestrator.kernel.errors import ProcessError
from orchestrator.kernel.identifiers import (
    BatchId,
    CoiId,
    ContainerId,
    KitId,
    PhasePath,
    PlaceId,
    UserId,
)
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.measured import Amount, Calculated, Fixed, Measured, Ordered
from orchestrator.kernel.quantities import Duration, Volume, second
from orchestrator.kernel.tasks import Answer, Question
from orchestrator.phases.outside import CameFirst
from orchestrator.phases.phase import PhaseModel, Report

START: Final = Instant.read("2026-11-23T08:00:00.000000Z")
KIT: Final = "culture kit"
STATION: Final = "transfer station"

CONTAINERS: Final = {
    "vessel": "K-1/vessel",
    "flush bag": "K-1/flush",
    "waste bag": "K-1/p6",
    "leukapheresis": "C-1",
    "selected cells": "C-2",
    "medium": "C-3",
    "reagent": "C-4",
    "vector": "C-5",
    "buffer": "C-6",
    "enzyme": "C-7",
    "quench": "C-8",
    "cryo medium": "C-9",
    "tube": "T-1",
    "bag one": "B-1",
    "bag two": "B-2",
    "extra waste": "C-10",
}
NEED_NO_PROOF: Final = ("C-3", "C-4", "C-6", "C-7", "C-8", "C-9", "T-1")
"""Reagents of no patient, and tubes: the identity interlock asks no proof of them."""

PLACES: Final = {
    (STATION, ""): "station",
    (STATION, "rack"): "rack",
    (STATION, "hook"): "hook",
    (STATION, "sampling"): "sampling",
    ("incubator", ""): "incubator/3",
    ("centrifuge", ""): "rotor",
    ("counter", ""): "counter",
    ("freezer", ""): "freezer",
    ("dewar", ""): "dewar/2",
    ("bench", ""): "bench",
    ("bench", "box"): "box",
}

_KEY: Final = re.compile(r"[a-z0-9_]+")
_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")


class Plain(Enum):
    """Answers that follow from what was asked."""

    PROVEN = auto()
    ALL = auto()
    WAITED = auto()


PROVEN: Final = Plain.PROVEN
ALL: Final = Plain.ALL
WAITED: Final = Plain.WAITED
PUMPED: Final = (ALL, ALL, ALL)
"""Valves open, the pump turns, valves shut."""
CARRIED: Final = (PROVEN, ALL, ALL)
SPUN: Final = (*CARRIED, PROVEN, ALL, *CARRIED)

Given = Plain | Effect | str | Answer | ProcessError


def done(**detail: str) -> Effect:
    """Return the effect of an act that is whole or not at all."""
    return Effect(done="1", detail=detail)


def chosen(choice: str, **values: str) -> Answer:
    """Return what two people answered."""
    return Answer(choice=choice, values=values, by=UserId("U-1"), verified_by=UserId("U-2"))


@dataclass
class Asked:
    """One word as it was asked."""

    word: str
    what: Any
    proven: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """Return it in a few words: what a test compares."""
        what = self.what
        if isinstance(what, HandAct):
            return f"do {what.work}"
        if isinstance(what, Act):
            return f"do {what.kind}"
        if isinstance(what, Identify):
            how = " or carried" if what.carried_suffices else ""
            return f"see {what.container} at {what.place}{how}"
        if isinstance(what, IdentifyByBoth):
            return f"see {what.container} at {what.place} by both labels"
        if isinstance(what, Reading):
            return f"see {what.kind}"
        if isinstance(what, Question):
            return f"ask {what.kind}"
        return f"{self.word} {what}"


class NobodysRegister:
    """A register that knows nothing: proofs in these tests are recalled, not made."""

    def container_labelled(self, label: str) -> ContainerId | None:
        del label
        return None

    def coi_of_container(self, container: ContainerId) -> CoiId | None:
        del container
        return None

    def holder_of_place(self, place: PlaceId) -> BatchId | None:
        del place
        return None

    def batch_of_container(self, container: ContainerId) -> BatchId | None:
        del container
        return None

    def place_of_container(self, container: ContainerId) -> PlaceId | None:
        del container
        return None

    def is_quarantined(self, container: ContainerId) -> bool:
        del container
        return False

    def broken_since(self, container: ContainerId, seq: int) -> Break | None:
        del container, seq
        return None


@dataclass
class Answers:
    """Implements ``Outside`` by the list it is given; each answer takes ``each_takes``."""

    given: list[Given]
    ordered: Mapping[str, str] = field(default_factory=dict[str, str])
    each_takes: Duration = 1 * second
    asked: list[Asked] = field(default_factory=list[Asked])
    now: Instant = START

    def __post_init__(self) -> None:
        self._gate = IdentityGate(BatchId("B-000147"), CoiId("CHA1"), NobodysRegister())

    @property
    def told(self) -> list[str]:
        """Return what was asked, in order."""
        return [one.told for one in self.asked]

    def acts(self, kind: str) -> list[Any]:
        """Return the acts of one kind."""
        return [one.what for one in self.asked if getattr(one.what, "kind", "") == kind]

    async def do(self, act: Act, *, proven: tuple[ProvenContainer, ...]) -> Effect:
        answer = self._next("do", act, tuple(str(proof.container) for proof in proven))
        if answer is ALL:
            volume = act.volume if isinstance(act, PumpVolume | TurnEmptyPump) else None
            return Effect(done=str(volume) if volume is not None else "1")
        assert isinstance(answer, Effect), f"{answer} is no answer to do {act.kind}"
        return answer

    @overload
    async def see(self, reading: Identify | IdentifyByBoth) -> ProvenContainer: ...
    @overload
    async def see(self, reading: Reading) -> str: ...
    async def see(self, reading: Reading) -> str | ProvenContainer:
        answer = self._next("see", reading)
        if isinstance(reading, Identify | IdentifyByBoth):
            assert answer is PROVEN, f"{answer} is no answer to {reading}"
            return self._gate.recall(
                reading.container,
                place=reading.place,
                path=PhasePath("test/01-phase"),
                rests_on="scanned",
                since=1,
            )
        assert isinstance(answer, str), f"{answer} is no answer to see {reading.kind}"
        return answer

    async def until(self, when: Instant | Condition, *, latest: Instant | None = None) -> CameFirst:
        answer = self._next("until", when)
        assert answer is WAITED, f"{answer} is no answer to until {when}"
        assert latest is None
        assert isinstance(when, Instant)
        self.now = max(self.now, when)
        return CameFirst.INSTANT

    async def ask(self, question: Question) -> Answer:
        answer = self._next("ask", question)
        assert isinstance(answer, Answer), f"{answer} is no answer to {question.text}"
        return answer

    @property
    def last_answered(self) -> Instant:
        return self.now

    def container(self, name: str) -> ContainerId:
        return ContainerId("K-1" if name == KIT else CONTAINERS[name])

    def kit(self, name: str) -> KitId:
        assert name == KIT
        return KitId("K-1")

    def place(self, unit: str, which: str = "") -> PlaceId:
        return PlaceId(PLACES[unit, which])

    def amount(self, amount: Amount) -> str:
        return amount.value if isinstance(amount, Fixed) else self.ordered[_name_of(amount)]

    def _next(self, word: str, what: Any, proven: tuple[str, ...] = ()) -> Given:
        self.asked.append(Asked(word, what, proven))
        assert self.given, f"no answer is left for {self.asked[-1].told}"
        answer = self.given.pop(0)
        if isinstance(answer, ProcessError):
            raise answer
        self.now += self.each_takes
        return answer


def _name_of(amount: Amount) -> str:
    return amount.name if isinstance(amount, Ordered | Measured) else "calculated"


def ran(phase: PhaseModel, answers: Answers) -> Report:
    """Run a phase to its end; each answer must be used, and the run agree with the claims.

    It is run twice: a record's answers must lead to the same questions again.
    """
    again = Answers(list(answers.given), answers.ordered, answers.each_takes)
    report = asyncio.run(_run(phase, answers))
    assert not answers.given, f"nobody asked for {answers.given}"
    assert asyncio.run(_run(phase, again)) == report
    assert again.asked == answers.asked
    agree(phase, answers, report)
    return report


async def _run(phase: PhaseModel, answers: Answers) -> Report:
    return await phase.run(answers)


def agree(phase: PhaseModel, answers: Answers, report: Report) -> None:
    """Assert that the run did what the phase claims, and no more."""
    claims = phase.claims()
    by_id = {str(answers.container(name)): name for name in (KIT, *CONTAINERS)}
    claimed = {touch.container for touch in claims.touches}
    needs = set(claims.needs)
    acts = [one for one in answers.asked if isinstance(one.what, Act)]
    scans = [one.what for one in answers.asked if isinstance(one.what, Identify)]

    for one in acts:
        act: Act = one.what
        for container in act.touches():
            assert by_id[container] in claimed, f"{one.told} touches {container} unclaimed"
            assert _covered(container, one.proven), f"{one.told}: {container} unproven"
        assert (act.unit, act.capability) in needs, f"{one.told} needs {act.capability}"
        for reading in act.evidence():
            assert (reading.unit, reading.capability) in needs
        if isinstance(act, PumpVolume | TurnEmptyPump):
            assert act.quieten is Quieten.HALT
            assert claims.quieten is Quieten.HALT
        if act.on_interruption is OnInterruption.REPEAT:
            assert not isinstance(act, PumpVolume)
    for one in answers.asked:
        if isinstance(one.what, Reading):
            assert (one.what.unit, one.what.capability) in needs
    touched = {by_id[name] for one in acts for name in one.what.touches()}
    for touch in claims.touches:
        if touch.how is not Contact.HOLDS:
            assert touch.container in touched, f"{touch.container} is claimed and not touched"

    _volumes_agree(phase, answers, by_id)
    first_scans = {scan.container: scan for scan in reversed(scans)}
    if claims.identity == "none":
        assert not scans
    elif claims.identity == "fresh":
        assert first_scans
        assert not any(scan.carried_suffices for scan in first_scans.values())
    else:
        assert any(scan.carried_suffices for scan in scans)

    by_hands = [one for one in acts if isinstance(one.what, HandAct)]
    assert claims.attended or not by_hands
    seen_by_two = any(
        isinstance(one.what, HandAct | Question) and one.what.second_person for one in answers.asked
    )
    assert seen_by_two or not claims.second_person
    assert claims.duration.lowest <= claims.duration.highest
    assert claims.product_safe_state
    assert claims.longest_safe_hold == phase.longest_hold
    for name, text in report.items():
        assert _KEY.fullmatch(name), name
        assert type(text) is str, name
    sentence = phase.sentence()
    assert sentence[0].isupper()
    assert sentence.endswith((".", "?"))
    for name in _PLACEHOLDER.findall(sentence):
        assert isinstance(getattr(phase, name), Fixed | Ordered | Measured | Calculated), name
    assert type(phase).model_validate(phase.model_dump(mode="json")) == phase


def _covered(container: ContainerId, proven: tuple[str, ...]) -> bool:
    if container in NEED_NO_PROOF or container in proven:
        return True
    return container.startswith("K-1/") and "K-1" in proven


def _volumes_agree(phase: PhaseModel, answers: Answers, by_id: Mapping[str, str]) -> None:
    moved: Counter[tuple[str, Contact]] = Counter()
    for pump in answers.acts("pump_volume"):
        moved[by_id[pump.source], Contact.DRAWS] += pump.volume.base
        moved[by_id[pump.target], Contact.RECEIVES] += pump.volume.base
    for act in answers.acts("hand_act"):
        if act.work == "draw_sample":
            volume = Volume.read(act.parameters["volume"]).base
            moved[by_id[act.containers[0]], Contact.DRAWS] += volume
            moved[by_id[act.containers[1]], Contact.RECEIVES] += volume
    least: Counter[tuple[str, Contact]] = Counter()
    most: Counter[tuple[str, Contact]] = Counter()
    for touch in phase.claims().touches:
        if touch.volume is not None and touch.how in (Contact.DRAWS, Contact.RECEIVES):
            least[touch.container, touch.how] += touch.volume.lowest.base
            most[touch.container, touch.how] += touch.volume.highest.base
    for which, volume in moved.items():
        assert least[which] <= volume <= most[which], f"{which}: {volume} nL moved unclaimed"
    for which, volume in least.items():
        assert not volume or which in moved, f"{which} is claimed and not moved"
