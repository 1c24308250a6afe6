"""The World's ledger as plain records, for whoever compares it with a journal.

Beside the effects it says how things were found: a record with ``n`` 0 and the second of
``since`` for each chamber's first set points and each thing's first place. These are no
effects; without them nobody could tell a set point that was written to the value it had.
"""

from __future__ import annotations

from typing import Any

from hw_mocks.world.world import World


def ledger_of(world: World) -> list[dict[str, Any]]:
    """Return all effects until now, oldest first, after how things were found."""
    world.catch_up()
    found = [*_chambers_found(world), *_things_found(world)]
    return found + [
        {
            "n": effect.n,
            "at_from_s": effect.at_from_s,
            "at_to_s": effect.at_to_s,
            "by": effect.by,
            "kind": effect.kind,
            "things": effect.things,
            "places": effect.places,
            "amount": effect.amount,
            "unit": effect.unit,
            "detail": dict(effect.detail),
            "consequence": effect.consequence,
        }
        for effect in world.ledger
    ]


def _chambers_found(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, chamber in world.chambers.items():
        by = chamber.of or name
        for kind, course, unit in (
            ("set_temperature", chamber.temperature, "degC"),
            ("set_co2", chamber.co2, "percent"),
        ):
            first = course.pieces[0]
            found.append(_found(by, kind, (), (name,), first.from_s, first.start, unit))
    return found


def _things_found(world: World) -> list[dict[str, Any]]:
    """Return each thing's first place, if no effect brought it there."""
    brought = {
        (effect.things[0], effect.places[-1], effect.at_to_s)
        for effect in world.ledger
        if effect.kind in ("moved_thing", "dropped", "discarded", "carried_out", "dragged")
    }
    first: dict[str, tuple[float, str]] = {}
    for stay in world.ownership():
        if stay.thing not in first or stay.from_s < first[stay.thing][0]:
            first[stay.thing] = (stay.from_s, stay.place)
    return [
        _found("", "moved_thing", (thing,), ("", place), since_s, 0.0, "1")
        for thing, (since_s, place) in first.items()
        if (thing, place, since_s) not in brought
    ]


def _found(
    by: str,
    kind: str,
    things: tuple[str, ...],
    places: tuple[str, ...],
    at_s: float,
    amount: float,
    unit: str,
) -> dict[str, Any]:
    return {
        "n": 0,
        "at_from_s": at_s,
        "at_to_s": at_s,
        "by": by,
        "kind": kind,
        "things": things,
        "places": places,
        "amount": amount,
        "unit": unit,
        "detail": {},
        "consequence": False,
    }
