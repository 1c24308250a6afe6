"""What an act asks of the physical world, in the words of the World's ledger.

For each kind of act: which effects are its own, how much of them it asks for, and how far
its instrument may miss. Written from what acts and effects mean alone, apart from the
engine that carries acts out, so that the two can't share a mistake.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from devices.interfaces.cell_count import CountCells
from devices.interfaces.centrifugation import Spin
from devices.interfaces.climate import SetClimate
from devices.interfaces.container_transport import PickContainer, PlaceContainer
from devices.interfaces.controlled_freezing import RampSegment
from devices.interfaces.fluid_transfer import PumpVolume, TurnEmptyPump
from devices.interfaces.hands import HandAct, Handwork
from devices.interfaces.valves import SetValves
from devices.interfaces.weighing import Tare
from orchestrator.kernel.acts import Act, OnInterruption
from orchestrator.kernel.quantities import (
    Duration,
    Temperature,
    Volume,
    degC,
    degC_per_min,
    mL,
    percent,
    second,
    uL,
    x_g,
)

HANDS_AIR: Final = "hands"
"""The place of what somebody carries."""

_MOVES: Final = ("moved_thing", "dropped", "discarded", "carried_out", "dragged")
_SET_POINTS: Final = {"set_temperature": "temperature", "set_co2": "co2"}


@dataclass(frozen=True, slots=True)
class LedgerEffect:
    """One line of the World's ledger, as a plain record.

    ``n`` counts from 1; 0 is no effect but says how a thing was found when it came into the
    room. ``consequence`` followed by itself from another effect; no act will name it.
    """

    n: int
    at_from_s: float
    at_to_s: float
    by: str
    kind: str
    things: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    amount: float = 0.0
    unit: str = "1"
    detail: Mapping[str, str | float] = field(default_factory=dict[str, str | float])
    consequence: bool = False

    def __str__(self) -> str:
        what = f" {', '.join(self.things)}" if self.things else ""
        where = f" at {' -> '.join(self.places)}" if self.places else ""
        much = f", {self.amount:.6g} {self.unit}" if self.amount or self.unit != "1" else ""
        return f"{self.by} {self.kind}{what}{where}{much} ({self.at_from_s:.3f} s)"


@dataclass(frozen=True, slots=True)
class StatedError:
    """How far an instrument may miss what was asked, and who says so."""

    absolute: float
    relative: float
    unit: str
    source: str

    def of(self, amount: float) -> float:
        """Return how far off ``amount`` may be: the larger of the two."""
        return max(self.absolute, self.relative * amount)

    def __str__(self) -> str:
        share = f"{self.relative * 100:g} %" if self.relative else ""
        fixed = f"{self.absolute:g} {self.unit}" if self.absolute else ""
        return " or ".join(part for part in (share, fixed) if part) or "none"


_SITE: Final = "set by site, to be confirmed at qualification"
_WHOLE: Final = StatedError(0.0, 0.0, "1", "whole or not at all")

STATED: Final[Mapping[str, StatedError]] = {
    "pump_volume": StatedError(0.3, 0.05, "mL", f"pump tube and balance: {_SITE}"),
    "turn_empty_pump": StatedError(0.05, 0.05, "mL", f"pump head: {_SITE}"),
    "spin": StatedError(5.0, 0.0, "s", f"time at speed: {_SITE}"),
    "ramp_segment": StatedError(0.5, 0.0, "K", f"stage sensor: {_SITE}"),
    "set_climate": StatedError(0.05, 0.0, "K or %", "half of the set point's step of 0.1"),
    "count_cells": StatedError(2.0, 0.0, "uL", f"draw of one count: {_SITE}"),
    "draw_sample": StatedError(0.0, 0.1, "uL", f"syringe by hand: {_SITE}"),
}
"""By kind of act or hand work; what isn't here is whole or not at all."""

RATE_ERROR: Final = 0.05
"""Of a freezing ramp's rate, as a share; set by site."""

FORCE_ERROR_G: Final = 1.0
"""Of a spin: the centrifuge takes whole g (MicroSpin manual 1058675, 6.7)."""

COUNT_DRAWS_UL: Final = 20.0
"""What one count uses up; assumed, as no maker publishes it."""


def tray(thing: str) -> str:
    """Return what is gripped to move ``thing``: the kit of a kit's part, else itself."""
    return thing.partition("/")[0]


def standing_key(effect: LedgerEffect, equipment: str) -> tuple[str, ...] | None:
    """Return what stands differently after ``effect``, or None if it changed no setting."""
    if effect.kind in _MOVES:
        return ("where", tray(effect.things[0]))
    if effect.kind == "valve":
        return ("valve", equipment, effect.places[0].rpartition("/")[2])
    if effect.kind in _SET_POINTS:
        return (_SET_POINTS[effect.kind], equipment)
    if effect.kind == "ramped":
        return ("temperature", equipment)
    return None


def standing_value(effect: LedgerEffect) -> str | float:
    """Return how it stands after ``effect``."""
    if effect.kind in _MOVES:
        return effect.places[-1]
    if effect.kind == "ramped":
        return effect.detail.get("reached_degC", effect.amount)
    return effect.amount


class Standing(Protocol):
    """How things stood before an act, from the ledger."""

    def of(self, key: tuple[str, ...]) -> str | float | None:
        """Return how one thing stood; None if it was never seen."""
        ...

    def keys(self) -> Iterable[tuple[str, ...]]:
        """Return everything whose standing the ledger tells at any time."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What the journal says that an act did.

    ``whole`` says all of it; else ``amount`` is the sum of the parts in the act's own
    measure. ``counted`` is the number of attempts that the journal says did something, of
    ``attempts`` that it intended. ``people_say`` is how far people found it done who were asked
    after its last attempt; empty if none were.
    """

    whole: bool
    amount: float
    counted: int
    attempts: int
    people_say: str = ""


@dataclass(frozen=True, slots=True)
class Balance:
    """An act beside what the World shows of it."""

    asked: str
    shown: str
    more: str = ""
    less: str = ""
    nothing_to_do: bool = False
    has_effect: bool = False


class Asked(ABC):
    """What one act asks of the World, and which effects it has been given."""

    judged: bool = True

    def __init__(self, error: StatedError = _WHOLE) -> None:
        self.error = error
        self.effects: list[LedgerEffect] = []
        self.strays: list[LedgerEffect] = []

    @abstractmethod
    def fits(self, effect: LedgerEffect) -> bool:
        """Return whether the act names this effect."""

    @abstractmethod
    def wants(self, effect: LedgerEffect) -> bool:
        """Return whether the act names it and hasn't had its fill."""

    def goes_with(self, effect: LedgerEffect) -> bool:
        """Return whether it belongs to the act without being what was asked for."""
        del effect
        return False

    def take(self, effect: LedgerEffect) -> None:
        """Count ``effect`` as this act's."""
        self.effects.append(effect)
        if not (self.fits(effect) or self.goes_with(effect)):
            self.strays.append(effect)

    def claimed(self, done: str) -> float:
        """Return a settlement's ``done`` in the act's own measure; 0 for what isn't one."""
        return 1.0 if done == "1" else 0.0

    @abstractmethod
    def balance(self, claim: Claim, before: Standing, *, must_have: bool) -> Balance:
        """Lay what was asked and claimed beside what was shown.

        ``must_have`` says that the procedure has ended, so the act must have its effect.
        """

    def _more(self, more: bool, text: str) -> str:
        """Return what was done too much, or nothing."""
        extra = [f"beside it {stray}" for stray in self.strays]
        return "; ".join(([text] if more else []) + extra)


class _NoTrace(Asked):
    """An act that leaves no trace of its own in the ledger."""

    judged = False

    def __init__(self, containers: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._things = frozenset(tray(one) for one in containers)

    def fits(self, effect: LedgerEffect) -> bool:
        return False

    def wants(self, effect: LedgerEffect) -> bool:
        return False

    def goes_with(self, effect: LedgerEffect) -> bool:
        return _is_on_the_way(effect, self._things)

    def balance(self, claim: Claim, before: Standing, *, must_have: bool) -> Balance:
        return Balance(asked="nothing that the ledger lists", shown="nothing")


class _Amount(Asked):
    """So much of one kind of effect, summed over all attempts."""

    def __init__(
        self,
        asked: float,
        unit: str,
        fits: Callable[[LedgerEffect], bool],
        *,
        error: StatedError = _WHOLE,
        measure: Callable[[LedgerEffect], float] = lambda _: 1.0,
        read: Callable[[str], float] | None = None,
        goes_with: Callable[[LedgerEffect], bool] = lambda _: False,
        again_for_each_attempt: bool = False,
        harmless_twice: bool = False,
    ) -> None:
        super().__init__(error)
        self._asked = asked
        self._unit = unit
        self._fits = fits
        self._measure = measure
        self._read = read
        self._goes_with = goes_with
        self._again = again_for_each_attempt
        self._harmless_twice = harmless_twice

    @property
    def shown(self) -> float:
        """The sum of what the World shows."""
        return sum(self._measure(effect) for effect in self.effects if self._fits(effect))

    def fits(self, effect: LedgerEffect) -> bool:
        return self._fits(effect)

    def wants(self, effect: LedgerEffect) -> bool:
        return self._fits(effect) and self.shown < self._asked - self.error.of(self._asked)

    def goes_with(self, effect: LedgerEffect) -> bool:
        return self._goes_with(effect)

    def claimed(self, done: str) -> float:
        if self._read is None:
            return self._asked * super().claimed(done)
        try:
            return self._read(done)
        except ValueError:
            return 0.0

    def balance(self, claim: Claim, before: Standing, *, must_have: bool) -> Balance:
        shown = self.shown
        times = claim.counted if self._again else claim.attempts if self._harmless_twice else 1
        most = self._asked * max(times, 1)
        least = self._asked if claim.whole else min(claim.amount, self._asked)
        more = shown > most + self.error.of(most) + 1e-9
        less = shown < least - self.error.of(least) - 1e-9 or (must_have and shown == 0.0)
        asked_text, shown_text = self._text(self._asked), self._text(shown)
        return Balance(
            asked=asked_text,
            shown=shown_text,
            more=self._more(more, f"{shown_text} for {self._text(most)} asked"),
            less=f"{shown_text} for {self._text(least or self._asked)}" if less else "",
            has_effect=shown > 0.0,
        )

    def _text(self, amount: float) -> str:
        return f"{amount:.6g} {self._unit}"


class _Settings(Asked):
    """How things shall stand after the act.

    Each is set once at most, and not at all if it stands so already.
    """

    def __init__(
        self,
        targets: Mapping[tuple[str, ...], str | float],
        key: Callable[[LedgerEffect], tuple[str, ...] | None],
        *,
        error: StatedError = _WHOLE,
        others: Callable[[tuple[str, ...]], str | float | None] = lambda _: None,
        unseen: str | float | None = None,
        comes_from: str = "",
        goes_with: Callable[[LedgerEffect], bool] = lambda _: False,
    ) -> None:
        super().__init__(error)
        self._targets = dict(targets)
        self._key = key
        self._others = others
        self._unseen = unseen
        self._comes_from = comes_from
        self._goes_with = goes_with
        self._set: set[tuple[str, ...]] = set()

    def _target(self, key: tuple[str, ...] | None) -> str | float | None:
        if key is None:
            return None
        return self._targets.get(key, self._others(key))

    def fits(self, effect: LedgerEffect) -> bool:
        target = self._target(self._key(effect))
        if target is None or not self._equal(standing_value(effect), target):
            return False
        return not self._comes_from or effect.places[0] == self._comes_from

    def wants(self, effect: LedgerEffect) -> bool:
        return self.fits(effect) and self._key(effect) not in self._set

    def goes_with(self, effect: LedgerEffect) -> bool:
        return self._goes_with(effect)

    def take(self, effect: LedgerEffect) -> None:
        wanted = self.wants(effect)
        super().take(effect)
        key = self._key(effect)
        if wanted and key is not None:
            self._set.add(key)
        elif self.fits(effect):
            self.strays.append(effect)

    def balance(self, claim: Claim, before: Standing, *, must_have: bool) -> Balance:
        own: dict[tuple[str, ...], str | float] = {}
        for effect in self.effects:
            key = self._key(effect)
            if key is not None:
                own[key] = standing_value(effect)
        wrong: list[str] = []
        for key in dict.fromkeys((*self._targets, *own, *before.keys())):
            target = self._target(key)
            if target is None:
                continue
            stands = own.get(key)
            if stands is None:
                stands = before.of(key)
            stands = self._unseen if stands is None else stands
            if stands is None or not self._equal(stands, target):
                wrong.append(f"{_text(key, stands)}, not {_text(key, target)}")
        less = (claim.whole or must_have) and bool(wrong)
        asked = ", ".join(_text(key, target) for key, target in self._targets.items())
        return Balance(
            asked=asked or "all shut",
            shown=", ".join(_text(key, value) for key, value in own.items()) or "nothing",
            more=self._more(more=False, text=""),
            less="; ".join(wrong) if less else "",
            nothing_to_do=not own and not wrong,
            has_effect=bool(own),
        )

    def _equal(self, one: str | float, other: str | float) -> bool:
        if isinstance(one, str) or isinstance(other, str):
            return one == other
        return abs(one - other) <= self.error.absolute + 1e-9


def _text(key: tuple[str, ...], stands: str | float | None) -> str:
    """Return how something stands, in words."""
    match key[0], stands:
        case _, None:
            return f"{key[-1]} was never seen"
        case "valve", _:
            return f"{key[-1]} {'open' if stands else 'shut'}"
        case "where", _:
            return f"{key[-1]} at {stands}"
        case setting, _:
            return f"{setting} {stands}"


class _Ramp(Asked):
    """A chamber taken to a temperature at a rate, over all attempts and never past it."""

    def __init__(self, act: RampSegment, equipment: str) -> None:
        super().__init__(STATED["ramp_segment"])
        self._equipment = equipment
        self._to = act.to.to(degC)
        self._rate = act.rate.to(degC_per_min)

    @property
    def shown(self) -> float:
        """The way that was gone, in K, both directions added."""
        return sum(abs(effect.amount) for effect in self.effects if self.fits(effect))

    def fits(self, effect: LedgerEffect) -> bool:
        if effect.kind != "ramped":
            return False
        start = float(effect.detail["start_degC"])
        rate = float(effect.detail["rate_kelvin_per_min"])
        turned_away = effect.amount * (self._to - start) < 0.0
        return not turned_away and abs(rate - self._rate) <= RATE_ERROR * self._rate

    def wants(self, effect: LedgerEffect) -> bool:
        if not self.fits(effect):
            return False
        asked = self._way(None)
        return asked is None or self.shown < asked - self.error.absolute

    def _way(self, stood: float | None) -> float | None:
        """Return how far it is from where the act found the chamber."""
        first = next((effect for effect in self.effects if self.fits(effect)), None)
        start = float(first.detail["start_degC"]) if first is not None else stood
        return None if start is None else abs(self._to - start)

    def balance(self, claim: Claim, before: Standing, *, must_have: bool) -> Balance:
        """Lay a ramp beside its way; one that people found cut short is over where they say."""
        stood = before.of(("temperature", self._equipment))
        asked = self._way(float(stood) if stood is not None else None)
        shown, error = self.shown, self.error.absolute + 1e-9
        more = asked is not None and shown > asked + error
        short = asked is None or shown < asked - error
        if claim.people_say and asked is not None:
            left = abs(self._to - Temperature.read(claim.people_say).to(degC))
            less = shown < asked - left - error
        else:
            less = (claim.whole or must_have) and short
        return Balance(
            asked=f"to {self._to:g} °C at {self._rate:g} K/min",
            shown=f"{shown:.4g} K",
            more=self._more(more, f"{shown:.4g} K for {asked or 0.0:.4g} K asked"),
            less=f"{shown:.4g} K on the way to {self._to:g} °C" if less else "",
            nothing_to_do=not self.effects and not short,
            has_effect=shown > 0.0,
        )


def asked_of(act: Act | None, equipment: str) -> Asked:
    """Return what ``act`` asks of the World when ``equipment`` does it.

    An act that this version can't read (None) asks nothing, and isn't judged.
    """
    match act:
        case PumpVolume():
            return _pumped(act)
        case TurnEmptyPump():
            return _turned_empty(act)
        case SetValves():
            return _valves(act, equipment)
        case SetClimate():
            targets = {
                ("temperature", equipment): act.temperature.to(degC),
                ("co2", equipment): act.carbon_dioxide.to(percent),
            }
            return _Settings(targets, _setting_of(equipment), error=STATED["set_climate"])
        case Spin():
            return _spun(act)
        case PickContainer():
            return _carried(act.container, act.place, f"gripper:{equipment}")
        case PlaceContainer():
            return _carried(act.container, f"gripper:{equipment}", act.place)
        case RampSegment():
            return _Ramp(act, equipment)
        case CountCells():
            return _Amount(
                COUNT_DRAWS_UL,
                "uL",
                lambda effect: effect.kind == "counted" and effect.things == (act.tube,),
                error=STATED["count_cells"],
                measure=lambda effect: effect.amount,
                again_for_each_attempt=act.on_interruption is OnInterruption.CONTINUE,
            )
        case HandAct():
            return _by_hand(act)
        case Tare():
            return _NoTrace()
        case None:
            return _NoTrace()
        case _:
            return _NoTrace(tuple(act.touches()))


def _setting_of(equipment: str) -> Callable[[LedgerEffect], tuple[str, ...] | None]:
    return lambda effect: standing_key(effect, equipment)


def _pumped(act: PumpVolume) -> _Amount:
    return _Amount(
        act.volume.to(mL),
        "mL",
        lambda effect: effect.kind == "moved_liquid" and effect.things == (act.source, act.target),
        error=STATED["pump_volume"],
        measure=lambda effect: effect.amount,
        read=lambda done: Volume.read(done).to(mL),
        goes_with=lambda effect: effect.kind == "turned",
    )


def _turned_empty(act: TurnEmptyPump) -> _Amount:
    """The head alone turns, once an attempt. What it does to a docked kit is never asked."""
    return _Amount(
        act.volume.to(mL),
        "mL turned empty",
        lambda effect: effect.kind == "turned" and not effect.detail.get("kit"),
        error=STATED["turn_empty_pump"],
        measure=lambda effect: effect.amount,
        read=lambda done: Volume.read(done).to(mL),
        harmless_twice=True,
    )


def _valves(act: SetValves, equipment: str) -> _Settings:
    return _Settings(
        {("valve", equipment, name): 1.0 for name in act.open},
        _setting_of(equipment),
        others=lambda key: 0.0 if key[:2] == ("valve", equipment) else None,
        unseen=0.0,
    )


def _spun(act: Spin) -> _Amount:
    def fits(effect: LedgerEffect) -> bool:
        return (
            effect.kind == "spun"
            and [tray(thing) for thing in effect.things] == [tray(act.container)]
            and abs(float(effect.detail["rcf_g"]) - act.force.to(x_g)) <= FORCE_ERROR_G
        )

    return _Amount(
        act.at_speed.to(second),
        "s",
        fits,
        error=STATED["spin"],
        measure=lambda effect: effect.amount,
        read=lambda done: Duration.read(done).to(second),
    )


def _carried(thing: str, start: str, to: str) -> _Settings:
    """A pick or a place: what is dropped or collides on the way was not brought there."""
    carried = tray(thing)
    return _Settings(
        {("where", carried): to},
        _setting_of(""),
        comes_from=start,
        goes_with=lambda effect: (
            effect.kind in ("dropped", "collided") and tray(effect.things[0]) == carried
        ),
    )


_JOINS: Final = {Handwork.WELD: "weld", Handwork.CONNECT_ASEPTICALLY: "aseptic connector"}
_PUTS: Final = (
    Handwork.RECEIVE,
    Handwork.INSTALL_KIT,
    Handwork.HANG,
    Handwork.UNHANG,
    Handwork.LOAD,
    Handwork.STORE,
    Handwork.LOAD_COUNTER,
    Handwork.UNLOAD_COUNTER,
)


def _is_on_the_way(effect: LedgerEffect, things: frozenset[str]) -> bool:
    """Return whether it only opens the way: a chamber's door, or a thing taken in hand."""
    if effect.kind == "door":
        return True
    taken = effect.kind == "moved_thing" and effect.places[-1] == HANDS_AIR
    return taken and tray(effect.things[0]) in things


def _by_hand(act: HandAct) -> Asked:
    things = frozenset(tray(one) for one in (*act.containers, *((act.kit,) if act.kit else ())))

    def goes_with(effect: LedgerEffect) -> bool:
        put = effect.kind == "moved_thing" and effect.places[-1] in act.at
        own = bool(effect.things) and tray(effect.things[0]) in things
        return _is_on_the_way(effect, things) or (put and own)

    def once(fits: Callable[[LedgerEffect], bool], *, repeats: bool = False) -> _Amount:
        return _Amount(1.0, "times", fits, goes_with=goes_with, again_for_each_attempt=repeats)

    match act.work:
        case Handwork.WELD | Handwork.CONNECT_ASEPTICALLY:
            return once(
                lambda effect: (
                    effect.kind == "joined"
                    and effect.things == (act.containers[0], act.kit)
                    and effect.detail.get("port") == act.port
                    and effect.detail.get("how") == _JOINS[act.work]
                )
            )
        case Handwork.SEAL_OFF:
            return once(
                lambda effect: (
                    effect.kind == "parted"
                    and effect.things[0] == act.containers[0]
                    and (not act.port or effect.detail.get("port") == act.port)
                )
            )
        case Handwork.DRAW_SAMPLE if "volume" in act.parameters:
            return _Amount(
                Volume.read(act.parameters["volume"]).to(uL),
                "uL",
                lambda effect: effect.kind == "sampled" and effect.things == act.containers,
                error=STATED["draw_sample"],
                measure=lambda effect: effect.amount,
                goes_with=goes_with,
            )
        case Handwork.SELECT_MAGNETICALLY:
            return once(
                lambda effect: effect.kind == "selected" and effect.things == act.containers
            )
        case Handwork.APPLY_LABEL:
            return once(
                lambda effect: (
                    effect.kind == "labelled"
                    and effect.things[0] == act.containers[0]
                    and effect.detail.get("label")
                    == act.parameters.get("label", effect.detail.get("label"))
                )
            )
        case Handwork.MIX:
            return once(
                lambda effect: effect.kind == "mixed" and tray(effect.things[0]) in things,
                repeats=act.on_interruption is OnInterruption.REPEAT,
            )
        case Handwork.DISCARD:
            return _Settings(
                {("where", tray(one)): "bin" for one in act.containers},
                _setting_of(""),
                goes_with=lambda effect: _is_on_the_way(effect, things),
            )
        case work if work in _PUTS and act.at:
            places = act.at if len(act.at) == len(act.containers) else act.at[:1] * 100
            return _Settings(
                {
                    ("where", tray(one)): place
                    for one, place in zip(act.containers, places, strict=False)
                },
                _setting_of(""),
                goes_with=lambda effect: _is_on_the_way(effect, things),
            )
        case _:
            return _NoTrace(tuple(things))
