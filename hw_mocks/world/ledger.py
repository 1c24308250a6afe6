"""The World's ledger: what physically happened, who or what did it, and when.

It is the judge's own record. It knows no command, batch or recipe. Reads, scans, and writing a set
point to the value it already has are not effects and never come here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

EffectKind = Literal[
    "moved_liquid",
    "turned",
    "moved_thing",
    "dropped",
    "collided",
    "spun",
    "set_temperature",
    "set_co2",
    "ramped",
    "door",
    "valve",
    "counted",
    "froze",
    "thawed",
    "joined",
    "parted",
    "labelled",
    "selected",
    "sampled",
    "mixed",
    "discarded",
    "carried_out",
    "perfused",
    "dragged",
]

Detail = Mapping[str, str | float]


class ImpossibleError(Exception):
    """What was tried can't be done in this World. Nothing happened."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One physical effect.

    ``n`` counts from 1. ``by`` is the equipment or person that did it. ``amount`` is in ``unit``.
    ``consequence`` marks what followed by itself from another effect (cells froze because the
    freezer ramped), which nobody commanded and no act will name.
    """

    n: int
    at_from_s: float
    at_to_s: float
    by: str
    kind: EffectKind
    things: tuple[str, ...]
    places: tuple[str, ...]
    amount: float
    unit: str
    detail: Detail = field(default_factory=dict[str, str | float])
    consequence: bool = False
