"""How what a container holds changes by itself: it warms, cools, grows, freezes and thaws.

Steps end on whole multiples of their length since the start, and a look that changes nothing takes
whole steps only; so looking often or seldom gives the same cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import floor

from hw_mocks.world import cold, culture
from hw_mocks.world.donors import Donor
from hw_mocks.world.ledger import Detail, EffectKind
from hw_mocks.world.mixture import Mixture
from hw_mocks.world.things import CO2_LAG_S, GAS_PERMEABLE, THERMAL_LAG_S, Chamber, Container

CULTURE_STEP_S = 600.0
FAST_STEP_S = 60.0


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that befell a container by itself."""

    kind: EffectKind
    from_s: float
    to_s: float
    amount: float
    unit: str
    detail: Detail


def age(
    held: Container,
    chamber: Chamber,
    now_s: float,
    donors: Mapping[str, Donor],
    *,
    exactly: bool,
) -> Iterator[Happened]:
    """Let a container live up to now; with ``exactly``, through a last part of a step too.

    Nothing happens but while the returned iterator is consumed.
    """
    lag_s = THERMAL_LAG_S[held.kind]
    course = chamber.temperature
    if not lives(held.contents):
        if exactly:
            held.temperature_degC = course.follow(
                held.aged_to_s, held.temperature_degC, now_s, lag_s
            )
            held.aged_to_s = now_s
        return
    breathes = held.kind in GAS_PERMEABLE
    while held.aged_to_s < now_s:
        begun_s = held.aged_to_s
        step_s = FAST_STEP_S if _changes_fast(held) else CULTURE_STEP_S
        ends_s = (floor(begun_s / step_s) + 1) * step_s
        if ends_s > now_s:
            if not exactly:
                return
            ends_s = now_s
        before_degC = held.temperature_degC
        middle_s = 0.5 * (begun_s + ends_s)
        middle_degC = course.follow(begun_s, before_degC, middle_s, lag_s)
        held.temperature_degC = course.follow(middle_s, middle_degC, ends_s, lag_s)
        if breathes:
            held.co2_percent = chamber.co2.follow(begun_s, held.co2_percent, ends_s, CO2_LAG_S)
        yield from _freeze_or_thaw(held, before_degC, begun_s, ends_s)
        if not held.frozen:
            around = culture.Surroundings(
                middle_degC,
                held.co2_percent if breathes else None,
                held.area_cm2,
                held.perfused,
            )
            culture.advance(held.contents, around, (ends_s - begun_s) / 3600.0, donors)
        held.aged_to_s = ends_s


def lives(liquid: Mixture) -> bool:
    """Return whether anything in the liquid changes by itself."""
    if liquid.solutes.get("vector_tu", 0.0) > 0.0:
        return True
    return any(cells.viable > 0.0 or cells.dead > 0.0 for cells in liquid.cells.values())


def _changes_fast(held: Container) -> bool:
    """Return whether minutes matter: enzyme, DMSO in the liquid state, or freezing."""
    if held.frozen:
        return False
    solutes = held.contents.solutes
    return (
        held.temperature_degC < 0.0
        or solutes.get("enzyme_units", 0.0) > 0.0
        or solutes.get("dmso_mL", 0.0) > 0.0
    )


def _freeze_or_thaw(
    held: Container, before_degC: float, begun_s: float, ends_s: float
) -> Iterator[Happened]:
    """Notice in one step that the contents became solid, or liquid again."""
    after_degC = held.temperature_degC
    if held.frozen:
        if after_degC > cold.THAWED_DEGC:
            held.frozen = False
            held.nucleated_at_s = None
            yield Happened("thawed", begun_s, ends_s, after_degC, "degC", {})
        return
    if after_degC > cold.NUCLEATED_DEGC:
        held.nucleated_at_s = None
        return

    def crossed(level_degC: float) -> float:
        span = before_degC - after_degC
        share = (before_degC - level_degC) / span if span > 0.0 else 1.0
        return begun_s + min(max(share, 0.0), 1.0) * (ends_s - begun_s)

    if held.nucleated_at_s is None:
        held.nucleated_at_s = crossed(cold.NUCLEATED_DEGC)
    if after_degC > cold.SOLID_DEGC:
        return
    took_min = max(crossed(cold.SOLID_DEGC) - held.nucleated_at_s, 0.1) / 60.0
    rate = (cold.NUCLEATED_DEGC - cold.SOLID_DEGC) / took_min
    volume_mL = held.contents.volume_mL
    dmso = held.contents.solute("dmso_mL") / volume_mL if volume_mL > 0.0 else 0.0
    survived = cold.survival(rate, dmso)
    for population in held.contents.cells.values():
        population.thin_viable(survived)
    held.frozen = True
    yield Happened(
        "froze", held.nucleated_at_s, ends_s, rate, "K/min", {"survived": survived, "dmso": dmso}
    )
