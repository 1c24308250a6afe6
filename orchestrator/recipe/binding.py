"""What one batch uses under the recipe's names: pure data, checked against the recipe.

Which instrument of a unit does what is the process cell's matter; here stands only which
of its units, places, kits and containers this batch has, and what its order states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pydantic import Field

from orchestrator.kernel.errors import RecipeRefusedError
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import (
    ContainerId,
    EquipmentId,
    KitId,
    PlaceId,
    RecipeDigest,
)
from orchestrator.kernel.quantities import Quantity
from orchestrator.recipe.model import Recipe


class BoundContainer(Frozen):
    """A container under the recipe's name."""

    name: str
    container: ContainerId


class BoundKit(Frozen):
    """A kit under the recipe's name."""

    name: str
    kit: KitId


class BoundUnit(Frozen):
    """A unit of the process cell under the name of its role."""

    name: str
    equipment: EquipmentId


class BoundPlace(Frozen):
    """A place that the batch holds at a unit; ``which`` tells several apart, e.g. ``hook``."""

    unit: str
    which: str = ""
    place: PlaceId


class BoundValue(Frozen):
    """What the order states, as a quantity in text."""

    name: str
    value: str


class Binding(Frozen):
    """Everything that turns one recipe into one batch's control recipe."""

    recipe: RecipeDigest
    containers: tuple[BoundContainer, ...] = ()
    kits: tuple[BoundKit, ...] = ()
    units: tuple[BoundUnit, ...] = ()
    places: tuple[BoundPlace, ...] = ()
    ordered: tuple[BoundValue, ...] = Field(default=(), description="The order's values")

    def container(self, name: str) -> ContainerId:
        """Return the container under the recipe's name; a kit is one too, by its tray."""
        for bound in self.containers:
            if bound.name == name:
                return bound.container
        for kit in self.kits:
            if kit.name == name:
                return ContainerId(str(kit.kit))
        raise self._unbound("container", name)

    def kit(self, name: str) -> KitId:
        """Return the kit under the recipe's name."""
        for bound in self.kits:
            if bound.name == name:
                return bound.kit
        raise self._unbound("kit", name)

    def unit(self, name: str) -> EquipmentId:
        """Return the unit that plays a role."""
        for bound in self.units:
            if bound.name == name:
                return bound.equipment
        raise self._unbound("unit", name)

    def place(self, unit: str, which: str = "") -> PlaceId:
        """Return the place that the batch holds at a unit."""
        for bound in self.places:
            if (bound.unit, bound.which) == (unit, which):
                return bound.place
        raise self._unbound("place", f"{unit} {which}".strip())

    def value(self, name: str) -> str:
        """Return what the order states."""
        for bound in self.ordered:
            if bound.name == name:
                return bound.value
        raise self._unbound("ordered value", name)

    def problems(self, recipe: Recipe) -> tuple[str, ...]:
        """Return what stands against running ``recipe`` with this binding."""
        return tuple(self._problems(recipe))

    def require(self, recipe: Recipe) -> None:
        """Go on only if nothing stands against it.

        Raises:
            RecipeRefusedError: Something does; nothing is bound.
        """
        problems = self.problems(recipe)
        if problems:
            raise RecipeRefusedError(
                f"make a batch of {recipe.document} version {recipe.version}",
                why="; ".join(problems),
                do_next="Correct the order, or what was received for it",
            )

    def _problems(self, recipe: Recipe) -> Iterator[str]:
        if self.recipe != recipe.digest:
            yield f"it was made for the recipe {self.recipe}, this one is {recipe.digest}"
        yield from _names(
            "container", recipe.containers(), [bound.name for bound in self.containers]
        )
        yield from _names("kit", [kit.name for kit in recipe.kits], [b.name for b in self.kits])
        yield from _names(
            "unit", [role.name for role in recipe.equipment], [b.name for b in self.units]
        )
        yield from _names(
            "ordered value", [o.name for o in recipe.ordered], [b.name for b in self.ordered]
        )
        used = [str(bound.container) for bound in self.containers]
        used += [str(bound.kit) for bound in self.kits]
        for identifier, count in Counter(used).items():
            if count > 1:
                yield f"{identifier} stands for {count} containers"
        yield from self._strangers_in_kits(recipe)
        for ordered in recipe.ordered:
            for bound in self.ordered:
                if bound.name == ordered.name:
                    yield from _outside(bound, ordered.bounds.lowest, ordered.bounds.highest)

    def _strangers_in_kits(self, recipe: Recipe) -> Iterator[str]:
        """Yield what stands for a kit's own container and isn't that one of the bound kit."""
        trays = {bound.name: bound.kit for bound in self.kits}
        own = {
            name: f"{trays[kit.name]}/{position}"
            for kit in recipe.kits
            if kit.name in trays
            for name, position in kit.inner.items()
        }
        for bound in self.containers:
            if str(bound.container) != own.get(bound.name, str(bound.container)):
                yield f"{bound.name!r} is {own[bound.name]} of its kit, not {bound.container}"

    def _unbound(self, what: str, name: str) -> RecipeRefusedError:
        return RecipeRefusedError(
            f"use the {what} {name!r}",
            why="this batch has none under that name",
            do_next="Bind it when the batch is made",
        )


def _names(what: str, needed: list[str] | tuple[str, ...], bound: list[str]) -> Iterator[str]:
    for name in needed:
        if name not in bound:
            yield f"no {what} is bound to {name!r}"
    for name, count in Counter(bound).items():
        if name not in needed:
            yield f"the recipe has no {what} {name!r}"
        if count > 1:
            yield f"{count} of {what} are bound to {name!r}"


def _outside(bound: BoundValue, lowest: str, highest: str) -> Iterator[str]:
    least, most = Quantity.read(lowest), Quantity.read(highest)
    try:
        value = type(least).read(bound.value)
    except ValueError as wrong:
        yield f"{bound.name}: {wrong}"
        return
    if not least <= value <= most:
        yield f"{bound.name}: {value} lies outside {least} to {most}"
