"""What rules see: a recipe with its phases' claims, and what equipment can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from textwrap import shorten
from typing import Any, Final, Protocol, cast

from orchestrator.kernel.acts import Claims, Contact
from orchestrator.kernel.measured import Calculated, Fixed, Measured, Ordered
from orchestrator.kernel.quantities import Quantity, Range
from orchestrator.recipe.model import EquipmentRole, Kit, Recipe, Step
from orchestrator.recipe.render import step_in_words

MOVES_CONTENTS: Final = (Contact.DRAWS, Contact.RECEIVES)

LONGEST_TOLD: Final = 60
"""How many letters of a step stand in a finding."""


class CellOffers(Protocol):
    """What one process cell has, for the check against it."""

    def capabilities_of(self, kind: str) -> frozenset[str]:
        """Return what the cell's units of this kind can do; empty if there is none."""
        ...

    def limits_of(self, kind: str, capability: str) -> Mapping[str, Range[Any]]:
        """Return the qualified range of each parameter, e.g. ``flow``."""
        ...

    def steps_of(self, kind: str, capability: str) -> Mapping[str, Quantity]:
        """Return the smallest step of each parameter that has one, e.g. ``volume``."""
        ...


@dataclass(frozen=True)
class Parameter:
    """One quantity among a phase's parameters, with the range in which it lies."""

    name: str
    range: Range[Any]


@dataclass(frozen=True)
class View:
    """A recipe with its phases' claims, as rules see it."""

    recipe: Recipe
    cell: CellOffers | None = None

    @cached_property
    def claims(self) -> dict[str, Claims]:
        """The claims of each step that makes any, by path."""
        return {path: claims for path, claims in self._asked.items() if claims is not None}

    @cached_property
    def silent(self) -> tuple[str, ...]:
        """Paths of the steps whose phases claim nothing."""
        return tuple(path for path, claims in self._asked.items() if claims is None)

    @cached_property
    def _asked(self) -> dict[str, Claims | None]:
        return {path: _claims(step) for path, step in self.steps.items()}

    @cached_property
    def steps(self) -> dict[str, Step]:
        """Each step by its path."""
        return dict(self.recipe.steps())

    @cached_property
    def roles(self) -> dict[str, EquipmentRole]:
        """Each equipment role by its name."""
        return {role.name: role for role in self.recipe.equipment}

    @cached_property
    def kits(self) -> dict[str, Kit]:
        """Each kit by its name."""
        return {kit.name: kit for kit in self.recipe.kits}

    @cached_property
    def kit_of(self) -> dict[str, str]:
        """The kit to which each preattached container belongs."""
        return {part: kit.name for kit in self.recipe.kits for part in kit.places}

    @cached_property
    def containers(self) -> frozenset[str]:
        """The name of every container."""
        return frozenset(self.recipe.containers())

    def told(self, path: str) -> str:
        """Return a step as `cellwright read` numbers and tells it, shortened."""
        step = self.steps[path]
        number = step.slug.partition("-")[0].lstrip("0")
        told = shorten(step_in_words(step).rstrip("."), LONGEST_TOLD, placeholder=" ...")
        return f"step {number} ({told})"

    def kit_in(self, claims: Claims) -> Kit | None:
        """Return the kit that a phase works with, if it names one."""
        for touch in claims.touches:
            if touch.container in self.kits:
                return self.kits[touch.container]
        return None


def parameters(step: Step) -> Iterator[Parameter]:
    """Yield the quantities among a phase's parameters; ranges and amounts by their ends."""
    for name in type(step.phase).model_fields:
        yield from _quantities(name, getattr(step.phase, name))


def _quantities(name: str, value: object) -> Iterator[Parameter]:
    if isinstance(value, Quantity):
        yield Parameter(name, Range(value, value))
    elif isinstance(value, Range):
        yield Parameter(name, cast("Range[Any]", value))
    elif isinstance(value, Fixed | Ordered | Measured | Calculated):
        with suppress(TypeError, ValueError):  # rule U010 speaks of these
            lowest = Quantity.read(value.bounds.lowest)
            yield Parameter(name, Range(lowest, Quantity.read(value.bounds.highest)))
    elif isinstance(value, tuple):
        for part in cast("tuple[object, ...]", value):
            part_name = name
            if isinstance(part, Quantity):
                part_name = _IN_TUPLES.get(type(part).__name__, name)
            yield from _quantities(part_name, part)


_IN_TUPLES = {"RampRate": "rate", "Temperature": "temperature"}
"""What the parts of a tuple (a freezing segment) are called where limits are stated."""


def _claims(step: Step) -> Claims | None:
    try:
        return step.phase.claims()
    except (AssertionError, ValueError):
        return None
