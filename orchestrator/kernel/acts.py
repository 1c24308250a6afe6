"""What is asked of the physical world, and what is known of how far it got.

An *act* is something physical, asked once of one instrument. It is carried out
by one or more *attempts*, each with an intent on disk before it and evidence
after it. After an interruption the engine asks the instrument what an attempt
did; the answer is one of four words (``NothingDone``, ``PartDone``, ``AllDone``,
``CannotTell``), and ``next_step`` is the one table that says what follows.

Follows design sections 3, 4 and 6. Nothing here reads, writes or waits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal, cast

from pydantic import BeforeValidator, Field, SerializeAsAny

from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import ContainerId, PlaceId
from orchestrator.kernel.quantities import Duration, Range, Volume

Facts = Mapping[str, str]
"""What a device showed: names to values as text, e.g. ``{"count": "10982"}``."""

_NOT_IN_KEYS: Final = re.compile(r"[^a-z0-9_]+")


class OnInterruption(StrEnum):
    """What may be done with an act whose attempt was interrupted."""

    REPEAT = "repeat"  # twice equals once and nothing of the patient is consumed
    CONTINUE = "continue"  # the part that was done can be measured; attempt the rest
    HOLD = "hold"  # only a person can tell


class Quieten(StrEnum):
    """How an instrument is brought to rest while the software decides."""

    HALT = "halt"
    HOLD_PRESENT_VALUE = "hold present value"
    LEAVE_RUNNING = "leave running"


class Reading(Frozen):
    """A value that can be read from an instrument without changing anything.

    A subclass lives in its capability's file in ``devices.interfaces``; ``kind`` is
    its name in records, unique among readings.
    """

    capability: ClassVar[str]
    kinds: ClassVar[dict[str, type[Reading]]] = {}

    kind: str
    unit: str = Field(description="The recipe's name of the unit, e.g. 'transfer station'")
    part: str = Field(default="", description="Which of several modules with the capability")

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Make the kind readable back from records."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.kinds[cls.model_fields["kind"].default] = cls


class Effect(Frozen):
    """What an attempt did, as its evidence shows it.

    ``done`` names how much in the act's own measure (a volume, a time, ``"1"`` for an
    act that is whole or not at all). ``detail`` is what else the evidence says.
    """

    done: str
    detail: dict[str, str] = {}


class NothingDone(Frozen):
    """The instrument surely did nothing of it."""

    verdict: Literal["nothing"] = "nothing"
    why: str


class PartDone(Frozen):
    """A known part was done."""

    verdict: Literal["part"] = "part"
    effect: Effect
    why: str


class AllDone(Frozen):
    """All of it was surely done."""

    verdict: Literal["all"] = "all"
    effect: Effect


class CannotTell(Frozen):
    """The instrument can't tell, or it and independent evidence disagree."""

    verdict: Literal["cannot tell"] = "cannot tell"
    why: str


EffectReport = Annotated[
    NothingDone | PartDone | AllDone | CannotTell, Field(discriminator="verdict")
]


class NextStep(StrEnum):
    """What follows when an interrupted attempt has been asked about."""

    DO_IT = "do it"
    SETTLE = "settle"
    DO_IT_AGAIN = "do it again"
    ATTEMPT_THE_REST = "attempt the rest"
    HOLD = "hold"


_NEXT: Mapping[tuple[str, OnInterruption], NextStep] = {
    ("nothing", OnInterruption.REPEAT): NextStep.DO_IT,
    ("nothing", OnInterruption.CONTINUE): NextStep.DO_IT,
    ("nothing", OnInterruption.HOLD): NextStep.DO_IT,
    ("all", OnInterruption.REPEAT): NextStep.SETTLE,
    ("all", OnInterruption.CONTINUE): NextStep.SETTLE,
    ("all", OnInterruption.HOLD): NextStep.SETTLE,
    ("part", OnInterruption.REPEAT): NextStep.DO_IT_AGAIN,
    ("part", OnInterruption.CONTINUE): NextStep.ATTEMPT_THE_REST,
    ("part", OnInterruption.HOLD): NextStep.HOLD,
    ("cannot tell", OnInterruption.REPEAT): NextStep.HOLD,
    ("cannot tell", OnInterruption.CONTINUE): NextStep.HOLD,
    ("cannot tell", OnInterruption.HOLD): NextStep.HOLD,
}


def next_step(report: EffectReport, policy: OnInterruption) -> NextStep:
    """Return what follows an interrupted attempt: the table of design section 6."""
    return _NEXT[report.verdict, policy]


class Act(Frozen):
    """Something physical, asked of one instrument.

    A subclass lives in its capability's file in ``devices.interfaces`` and says
    which containers and places it touches, which independent evidence shows that
    it was done, and what remains when a part was done.
    """

    capability: ClassVar[str]
    kinds: ClassVar[dict[str, type[Act]]] = {}

    kind: str
    unit: str = Field(description="The recipe's name of the unit, e.g. 'transfer station'")
    part: str = Field(default="", description="Which of several modules with the capability")
    longest: Duration = Field(description="Past this the act is overdue: alarm and wait on")
    on_interruption: OnInterruption
    quieten: Quieten

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Make the kind readable back from records."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.kinds[cls.model_fields["kind"].default] = cls

    def touches(self) -> tuple[ContainerId, ...]:
        """Return the containers whose contents or position this act changes."""
        return ()

    def places(self) -> tuple[PlaceId, ...]:
        """Return the places that this act uses."""
        return ()

    def in_words(self) -> str:
        """Return what the act is called where people read of it."""
        return self.kind.replace("_", " ")

    def makes_safe(self) -> bool:
        """Return whether this act only brings material to rest: shut, parted, set down.

        Such an act is allowed when time has run out for the material: to refuse it would
        leave a held batch joined to the station, or in the gripper, for ever.
        """
        return False

    def evidence(self) -> tuple[Reading, ...]:
        """Return the readings, of other instruments, that show whether it was done."""
        return ()

    def judge(self, report: EffectReport, before: Facts, after: Facts) -> EffectReport:
        """Return ``report`` as independent evidence leaves it.

        ``before`` and ``after`` hold the values of ``evidence()`` by ``evidence_name``.
        A disagreement beyond the instruments' stated errors is ``CannotTell``.
        """
        del before, after
        return report

    def rest_after(self, effect: Effect) -> Act | None:
        """Return the act that does what ``effect`` left undone, or None if nothing is left."""
        del effect
        return None

    def total(self, effects: tuple[Effect, ...]) -> Effect:
        """Return the sum of the effects of this act's attempts, in the order they were made."""
        return effects[-1]


def evidence_name(reading: Reading) -> str:
    """Return the name under which a reading stands in an attempt's evidence: a record's key."""
    return _NOT_IN_KEYS.sub("_", f"{reading.kind}_{reading.part}".lower())


class Contact(StrEnum):
    """What a phase does to a container, for the rules and for the identity suite."""

    DRAWS = "draws"
    RECEIVES = "receives"
    MOVES = "moves"
    JOINS = "joins"
    PARTS = "parts"
    HOLDS = "holds"
    MEASURES = "measures"


class Touch(Frozen):
    """One container that a phase touches."""

    container: str = Field(description="The recipe's name, e.g. 'culture bag'")
    how: Contact
    volume: Range[Volume] | None = None
    at_port: str = ""
    at_unit: str = Field(default="", description="The unit where it must stand as the phase begins")
    to_unit: str = Field(default="", description="The unit where it stands as the phase ends")


class Claims(Frozen):
    """What a phase says of itself, so that a check needs to run nothing (design section 4)."""

    touches: tuple[Touch, ...] = ()
    needs: tuple[tuple[str, str], ...] = Field(
        default=(), description="(unit of the recipe, capability)"
    )
    occupies: tuple[str, ...] = Field(
        default=(), description="Units of which a place is used, though no instrument of theirs"
    )
    duration: Range[Duration]
    opens_system: bool = False
    consumes_patient_material: bool = False
    attended: bool = False
    identity: Literal["fresh", "either", "none"] = "none"
    second_person: bool = Field(
        default=False, description="A second person verifies within the phase itself"
    )
    on_interruption: OnInterruption
    quieten: Quieten
    longest_safe_hold: Duration
    product_safe_state: str
    starts_clocks: tuple[str, ...] = ()
    ends_clocks: tuple[str, ...] = ()


def _reading_of_its_kind(value: Any) -> Any:
    return _of_its_kind(value, Reading, Reading.kinds)


def _act_of_its_kind(value: Any) -> Any:
    return _of_its_kind(value, Act, Act.kinds)


def _of_its_kind(value: Any, base: type[Frozen], kinds: Mapping[str, type[Frozen]]) -> Any:
    if isinstance(value, base):
        return value
    if not isinstance(value, dict):
        raise ValueError("a record must be an object with a kind")
    kind = cast("dict[str, Any]", value).get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(sorted(kinds))}")
    return kinds[kind].model_validate(value)


AnyReading = Annotated[SerializeAsAny[Reading], BeforeValidator(_reading_of_its_kind)]
"""A reading that comes back from a record as its own class."""

AnyAct = Annotated[SerializeAsAny[Act], BeforeValidator(_act_of_its_kind)]
"""An act that comes back from a record as its own class."""


def facts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return ``values`` as facts: each value as its text."""
    return {name: str(value) for name, value in values.items()}
