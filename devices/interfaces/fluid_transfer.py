"""Move liquid through a closed tube: what every pump promises.

One act turns the pump once, in one direction. Which containers that joins is a
matter of the valves, which are opened by acts of their own before it.

A pump whose count stands at 0 can't show whether it was without power since. So its
head is turned while it is empty, before a kit is docked on it. If the power goes while a
kit is docked, the count is 0 again and the head may not be turned for it: the balances
decide then what an interrupted act moved, and where none sees it, it is held.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from devices.interfaces.valves import ValvesOpen
from devices.interfaces.weighing import Weight
from orchestrator.kernel.acts import (
    Act,
    AllDone,
    CannotTell,
    Effect,
    EffectReport,
    Facts,
    NothingDone,
    PartDone,
    Reading,
    evidence_name,
)
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import ContainerId
from orchestrator.kernel.quantities import Flow, Fraction, Mass, Volume, milligram, percent, uL

WEIGHT_FLOOR: Final = 300 * milligram
"""Two weighings and a drop on the tube; below half of the smallest first dose through a
new joint (1 mL), so that a dose that went elsewhere shows. Set by site, to be confirmed
at qualification."""

COUNT_BASE_LEAST: Final = 100
"""A count below this is no base to tell a power cycle by: a standing pump's play, about
ten pulses, must be small beside it. Set here."""

VOLUME_ERROR: Final = 5 * percent
"""Pump tube tolerance and liquid density together: set by site, to be confirmed likewise."""


class Weighed(Frozen):
    """A balance that carries one of the containers that a transfer joins."""

    part: str = Field(description="Which balance of the unit, e.g. 'vessel'")
    gains: bool = Field(description="Whether its load grows by the transfer")


class PumpVolume(Act):
    """Turn the pump until ``volume`` has passed from ``source`` to ``target``.

    Effect: moves liquid, irreversibly. ``Effect.done`` is the volume moved, as text.
    """

    capability: ClassVar[str] = "fluid_transfer"
    kind: Literal["pump_volume"] = "pump_volume"
    volume: Volume
    flow: Flow
    forward: bool = Field(description="Forward is from the kit's ports to its vessel side")
    source: ContainerId
    target: ContainerId
    open: tuple[str, ...] = Field(default=(), description="The path's valves, alphabetically")
    weighed: tuple[Weighed, ...] = ()

    def touches(self) -> tuple[ContainerId, ...]:
        return (self.source, self.target)

    def evidence(self) -> tuple[Reading, ...]:
        path = (ValvesOpen(unit=self.unit),) if self.open else ()
        return (*self._weights(), *path)

    def _weights(self) -> tuple[Weight, ...]:
        return tuple(Weight(unit=self.unit, part=one.part) for one in self.weighed)

    def judge(self, report: EffectReport, before: Facts, after: Facts) -> EffectReport:
        weighed = self._weighed_volume(before, after)
        if weighed is None:
            return report
        if isinstance(report, CannotTell):
            return self._by_weight(weighed, report.why)
        pumped = 0 * uL if isinstance(report, NothingDone) else Volume.read(report.effect.done)
        stray = abs(weighed.base - pumped.base)
        if stray > _tolerance(pumped).base:
            return CannotTell(why=f"the pump says {pumped}, the balance says {weighed}")
        if isinstance(report, NothingDone):
            return report
        effect = Effect(
            done=report.effect.done, detail={**report.effect.detail, "weighed": str(weighed)}
        )
        return report.model_copy(update={"effect": effect})

    def rest_after(self, effect: Effect) -> PumpVolume | None:
        done = Volume.read(effect.done)
        if done.base + self._step().base > self.volume.base:
            return None
        return self.model_copy(update={"volume": self.volume - done})

    def total(self, effects: tuple[Effect, ...]) -> Effect:
        moved = sum(Volume.read(effect.done).base for effect in effects)
        return Effect(done=str(Volume.of_base(moved)), detail=_detail_of_all(effects))

    def _step(self) -> Volume:
        return Volume.of_base(self.volume.base // 100)

    def _weighed_volume(self, before: Facts, after: Facts) -> Volume | None:
        """Return the mean of what the balances saw pass, at 1 g/mL, or None without a balance."""
        changes: list[int] = []
        for one, reading in zip(self.weighed, self._weights(), strict=True):
            name = evidence_name(reading)
            if name not in before or name not in after:
                return None
            change_ug = Mass.read(after[name]).base - Mass.read(before[name]).base
            changes.append(change_ug if one.gains else -change_ug)
        if not changes:
            return None
        return Volume.of_base(sum(changes) // len(changes))  # 1 ug of water is 1 nL

    def _by_weight(self, weighed: Volume, why: str) -> EffectReport:
        """Decide by the balance alone where the pump can't tell."""
        floor_nl = WEIGHT_FLOOR.base
        if self.volume.base <= 2 * floor_nl:
            return CannotTell(why=f"{why}; {self.volume} is too little for the balance to decide")
        if abs(weighed.base) <= floor_nl:
            return NothingDone(why=f"{why}; the balance saw nothing pass")
        if abs(weighed.base - self.volume.base) <= _tolerance(self.volume).base:
            return AllDone(effect=Effect(done=str(self.volume), detail={"weighed": str(weighed)}))
        if weighed.base < 0 or weighed.base > self.volume.base:
            return CannotTell(why=f"{why}; the balance says {weighed}")
        return PartDone(
            effect=Effect(done=str(weighed), detail={"weighed": str(weighed)}),
            why=f"{why}; by weight",
        )


class TurnEmptyPump(Act):
    """Turn the pump by what ``volume`` would need, with no kit in its head.

    Effect: its count rises above ``COUNT_BASE_LEAST``, so that a power cycle shows from
    then on. Nothing moves: no kit is docked by the record, and no valve is open. Twice
    equals once: REPEAT. ``Effect.done`` is the volume turned for, as text.
    """

    capability: ClassVar[str] = "fluid_transfer"
    kind: Literal["turn_empty_pump"] = "turn_empty_pump"
    volume: Volume = Field(description="What the head would move with a tube in it")
    flow: Flow

    def evidence(self) -> tuple[Reading, ...]:
        return (ValvesOpen(unit=self.unit),)


def _detail_of_all(effects: tuple[Effect, ...]) -> dict[str, str]:
    """Return the detail of all attempts together; what some of them lack, attempt by attempt."""
    names = dict.fromkeys(name for one in effects for name in one.detail)
    return {name: _of_all(name, [one.detail.get(name) for one in effects]) for name in names}


def _of_all(name: str, said: list[str | None]) -> str:
    known = [one for one in said if one is not None]
    if len(known) == len(said) and name == "weighed":
        return str(Volume.of_base(sum(Volume.read(one).base for one in known)))
    if len(known) == len(said) and name == "pulses":
        return str(sum(int(one) for one in known))
    if len(set(said)) == 1:
        return known[0]
    return ", then ".join("unknown" if one is None else one for one in said)


def _tolerance(volume: Volume) -> Volume:
    relative = volume.base * VOLUME_ERROR.base // Fraction.of_base(100_000).base
    return Volume.of_base(max(WEIGHT_FLOOR.base, relative))


class PumpCount(Reading):
    """The pump's cumulative count of tacho pulses, as text."""

    capability: ClassVar[str] = "fluid_transfer"
    kind: Literal["pump_count"] = "pump_count"
