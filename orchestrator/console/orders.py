"""What an order takes: which things on file fit a recipe's words, and what is still missing.

A thing fits if it is of the right kind and catalogue, holds enough, and nothing stands
against it: another patient, another batch, quarantine, an expired lot. Of those that fit the
smallest is taken, then the one that expires first; the patient's material is never chosen
between two. What is proposed binds nobody: a person reads it, changes it and signs it, and
what is signed is held to the same rules again (``misfits``), as things stand by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.engine.state import ContainerState, HostState
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Volume
from orchestrator.process_cell.config import CellConfig
from orchestrator.recipe.binding import (
    Binding,
    BoundContainer,
    BoundKit,
    BoundPlace,
    BoundUnit,
    BoundValue,
)
from orchestrator.recipe.model import (
    EmptyBag,
    Kit,
    Material,
    PatientMaterial,
    Reagent,
    Recipe,
    Tube,
)

_OPEN: Final = ("made", "running")

_Fits = Callable[[ContainerState], bool]


@dataclass(slots=True)
class Proposal:
    """A binding for a person to read: complete where ``problems`` is empty."""

    binding: Binding
    lines: list[dict[str, str]]
    problems: list[str]


@dataclass(slots=True)
class Ordering:
    """An order while it is put together."""

    state: HostState
    config: CellConfig
    now: Instant
    coi: str
    use: Mapping[str, str]
    """What the person names for the recipe's words; the rest is chosen."""
    ordered: Mapping[str, str]
    _taken: set[str] = field(default_factory=set[str])
    _lines: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    _problems: list[str] = field(default_factory=list[str])

    def of(self, recipe: Recipe) -> Proposal:
        """Return what could be bound to ``recipe``, and what stands against it."""
        self._refuse_unknown_words(recipe)
        self._taken |= set(self.use.values())
        containers: list[BoundContainer] = []
        kits: list[BoundKit] = []
        for material in recipe.materials:
            if found := self._found(material.name, *_wanted(material, self.coi)):
                containers.append(_bound(material.name, found))
        for kit in recipe.kits:
            if found := self._found(kit.name, *_wanted_kit(kit)):
                kits.append(BoundKit.model_validate({"name": kit.name, "kit": str(found)}))
                containers += [_bound(name, f"{found}/{one}") for name, one in kit.inner.items()]
        units, places = self._units(recipe)
        for one in recipe.ordered:
            if one.name not in self.ordered:
                self._problems.append(
                    f"{one.name!r} isn't stated ({one.bounds.lowest} to {one.bounds.highest})"
                )
        binding = Binding(
            recipe=recipe.digest,
            containers=tuple(containers),
            kits=tuple(kits),
            units=tuple(units),
            places=tuple(places),
            ordered=tuple(BoundValue(name=name, value=one) for name, one in self.ordered.items()),
        )
        if not self._problems:
            self._problems += binding.problems(recipe) or misfits(
                self.state, self.config, recipe, binding, self.coi, self.now
            )
        return Proposal(binding, self._lines, self._problems)

    def of_materials(self, materials: Sequence[Material]) -> list[BoundContainer]:
        """Return what could be bound for words that come to a batch besides."""
        self._taken |= set(self.use.values())
        return [
            _bound(one.name, found)
            for one in materials
            if (found := self._found(one.name, *_wanted(one, self.coi)))
        ]

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what stands against it so far."""
        return tuple(self._problems)

    def _refuse_unknown_words(self, recipe: Recipe) -> None:
        known = [one.name for one in (*recipe.materials, *recipe.kits)]
        for name in self.use:
            if name not in known:
                self._problems.append(f"the recipe has no {name!r}; it has {', '.join(known)}")
        values = [one.name for one in recipe.ordered]
        for name in self.ordered:
            if name not in values:
                has = f"it has {', '.join(values)}" if values else "it has none"
                self._problems.append(f"no value {name!r} is ordered in this recipe; {has}")

    def _found(self, name: str, wanted: str, fits: _Fits, only: bool) -> str:
        """Return the thing for one of the recipe's words; empty, with a problem, if none is."""
        chosen = self.use.get(name)
        if chosen is None:
            fitting = self._fitting(fits)
            free = [one for one in fitting if not why_unfit(self.state, one, self.coi, self.now)]
            if not free or (only and len(free) > 1):
                self._problems.append(self._why_none(name, wanted, fitting, free))
                return ""
            chosen = free[0]
            self._taken.add(chosen)
        elif why := _why_not(self.state, chosen, wanted, fits, self.coi, self.now):
            self._problems.append(f"{name!r}: {why}")
            return ""
        self._lines.append({"name": name, "is": chosen, "holds": self._holds(chosen)})
        return chosen

    def _fitting(self, fits: _Fits) -> list[str]:
        """Return what is of the right kind and not taken, the best first."""

        def order(name: str) -> tuple[int, int, str, str]:
            one = self.state.containers[name]
            lot = self.state.lots.get(one.lot)
            return (one.volume_nl, one.capacity_nl, "" if lot is None else str(lot.expires), name)

        return sorted(
            (
                name
                for name, one in self.state.containers.items()
                if name not in self._taken and fits(one)
            ),
            key=order,
        )

    def _why_none(self, name: str, wanted: str, fitting: list[str], free: list[str]) -> str:
        if free:
            return f"{name!r}: several would do ({', '.join(free)}); say which"
        if fitting:
            why = why_unfit(self.state, fitting[0], self.coi, self.now)
            return f"{name!r}: nothing on file may be used: {why}"
        return f"{name!r}: {wanted} isn't on file"

    def _holds(self, name: str) -> str:
        """Return what a person compares with the thing: its lot and date, or its kind."""
        one = self.state.containers[name]
        lot = self.state.lots.get(one.lot)
        until = one.material
        if lot is not None:
            until = f"lot {one.lot} until {str(lot.expires)[:10]}"
        return f"{Volume.of_base(one.volume_nl)}, {until}" if one.volume_nl else until

    def _units(self, recipe: Recipe) -> tuple[list[BoundUnit], list[BoundPlace]]:
        """Return the cell's units for the recipe's roles, and free places that last a batch."""
        units: list[BoundUnit] = []
        places: list[BoundPlace] = []
        turns: dict[str, int] = {}
        held = {str(one) for one in self.state.leases}
        for batch in self.state.batches.values():
            if batch.status in _OPEN:
                held |= set(batch.places.values())
        for role in recipe.equipment:
            offered = self.config.units_of_kind(role.kind)
            if not offered:
                self._problems.append(f"the cell {self.config.name} has no {role.kind}")
                continue
            turn = turns.get(role.kind, 0)
            turns[role.kind] = turn + 1
            unit = offered[min(turn, len(offered) - 1)]
            units.append(BoundUnit.model_validate({"name": role.name, "equipment": unit.name}))
            told = unit.name
            if unit.lease == "batch" and unit.places:
                place = next((one for one in unit.places if one not in held), unit.places[0])
                waits = ", once it is free" if place in held else ""
                held.add(str(place))
                places.append(BoundPlace(unit=role.name, place=place))
                told = f"{place}{waits}"
            self._lines.append({"name": role.name, "is": told, "holds": ""})
        return units, places


def misfits(
    state: HostState, config: CellConfig, recipe: Recipe, binding: Binding, coi: str, now: Instant
) -> tuple[str, ...]:
    """Return each of the bound things and units that isn't what the recipe's word means.

    Args:
        state: As it is now: what was proposed from may be older.
        config: The process cell that it is made in.
        recipe: What is made.
        binding: Whole: ``Binding.problems`` finds nothing.
        coi: The therapy event that it is made for.
        now: Lots that have expired by now aren't used.
    """
    words = [(one.name, _wanted(one, coi)) for one in recipe.materials]
    words += [(one.name, _wanted_kit(one)) for one in recipe.kits]
    for kit in recipe.kits:
        words += [(name, _wanted_inside(kit, position)) for name, position in kit.inner.items()]
    found: list[str] = []
    for name, (wanted, fits, _) in words:
        if why := _why_not(state, str(binding.container(name)), wanted, fits, coi, now):
            found.append(f"{name!r}: {why}")
    units = {one.name: str(one.equipment) for one in binding.units}
    places = {one.unit: str(one.place) for one in binding.places}
    return (*found, *wrong_units(config, recipe, units, places))


def _why_not(
    state: HostState, chosen: str, wanted: str, fits: _Fits, coi: str, now: Instant
) -> str:
    if why := why_unfit(state, chosen, coi, now):
        return why
    return "" if fits(state.containers[chosen]) else f"{chosen} isn't {wanted}"


def wrong_units(
    config: CellConfig, recipe: Recipe, units: Mapping[str, str], at: Mapping[str, str]
) -> Iterator[str]:
    """Yield what can't play its role in this cell, or stands at a place that isn't its own.

    Args:
        config: The process cell.
        recipe: Whose roles are played.
        units: Role to unit.
        at: Role to the place that the batch holds there.
    """
    places = dict(at)
    for role in recipe.equipment:
        bound, place = units[role.name], places.pop(role.name, None)
        unit = config.by_unit.get(bound)
        if unit is None or unit.kind != role.kind:
            yield f"{role.name!r}: {bound} isn't a {role.kind} of the cell {config.name}"
        elif unit.lease == "batch" and unit.places:
            if place not in unit.places:
                yield f"{role.name!r}: {place or 'no place'} isn't a place of {bound}"
        elif place is not None:
            yield f"{role.name!r}: a batch holds no place of {bound}"
    for name in places:
        yield f"the recipe has no unit {name!r} to hold a place at"


def why_unfit(state: HostState, name: str, coi: str, now: Instant) -> str:
    """Return why a thing can't be bound for a therapy event; empty if nothing stands against it."""
    container = state.containers.get(name)
    if container is None:
        return f"{name} was never received"
    if container.coi not in ("", coi):
        return f"{name} belongs to another therapy event"
    if container.what == "patient_material" and not container.coi:
        return f"nobody said whose cells {name} holds"
    if container.batch:
        return f"{name} was bound to another batch"
    if container.quarantined:
        return f"{name} is in quarantine"
    if container.lot and (why := why_unusable(state, container.lot, now)):
        return f"{name}: {why}"
    return ""


def why_unusable(state: HostState, name: str, now: Instant) -> str:
    """Return why nothing of a lot may be used; empty if nothing stands against it."""
    lot = state.lots.get(name)
    if lot is None:
        return f"lot {name} was never received"
    if lot.quarantined:
        return f"lot {name} is in quarantine"
    if now >= lot.expires:
        return f"lot {name} expired at {lot.expires}"
    return ""


def next_batch(state: HostState) -> str:
    """Return a name for the next batch that no batch has."""
    number = len(state.batches) + len(state.closed) + 1
    while f"B-{number:03d}" in state.batches:
        number += 1
    return f"B-{number:03d}"


def _bound(name: str, container: str) -> BoundContainer:
    return BoundContainer.model_validate({"name": name, "container": str(container)})


def _wanted(material: Material, coi: str) -> tuple[str, _Fits, bool]:
    """Return what fits in words, how it is told, and whether it is never chosen for people."""
    match material:
        case PatientMaterial():
            wanted = f"material of {coi}"
            return wanted, lambda one: one.what == "patient_material" and one.coi == coi, True
        case Reagent():
            least = material.volume
            return (
                f"{material.catalogue}, at least {least},",
                lambda one: (
                    (one.what, one.material) == ("reagent", material.catalogue)
                    and one.volume_nl >= least.base
                ),
                False,
            )
        case EmptyBag() | Tube():
            what = "empty" if isinstance(material, EmptyBag) else "sample_tube"
            kind, room = material.catalogue, material.capacity
            return (
                f"an empty {kind or 'container of a kind that the recipe states'} for {room}",
                lambda one: (
                    bool(kind)
                    and (one.what, one.material) == (what, kind)
                    and one.capacity_nl >= room.base
                ),
                False,
            )


def _wanted_kit(kit: Kit) -> tuple[str, _Fits, bool]:
    def fits(one: ContainerState) -> bool:
        return one.what == "kit" and one.material == kit.catalogue and not one.kit

    return f"a kit {kit.catalogue}", fits, False


def _wanted_inside(kit: Kit, position: str) -> tuple[str, _Fits, bool]:
    """Return what a kit's own container holds or has room for, as far as its receipt says."""
    filled = kit.flush_volume if position == "flush" else Volume.of_base(0)
    room = {"vessel": kit.capacity, "waste": kit.waste_capacity}.get(position, filled)

    def fits(one: ContainerState) -> bool:
        has_room = not one.capacity_nl or one.capacity_nl >= room.base
        return one.port == position and one.volume_nl >= filled.base and has_room

    told = f"with {filled}" if filled.base else f"for {room}"
    return f"the {position} of a kit {kit.catalogue} {told}", fits, False


def order_view(
    state: HostState, recipe: Recipe, config: CellConfig, now: Instant, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the view ``order``: what would be bound, and what is missing.

    Raises:
        RefusedError: What was asked isn't two objects of texts.
    """
    use, ordered = asked.get("use", {}), asked.get("ordered", {})
    coi = str(asked.get("coi", ""))
    for one in (use, ordered):
        if not isinstance(one, dict):
            raise RefusedError(
                "show the view 'order'",
                why="use and ordered are objects of texts",
                do_next="Ask as the console's reference page says",
            )
    proposal = Ordering(state, config, now, coi, dict(use), dict(ordered)).of(recipe)
    return {
        "batch": next_batch(state),
        "binding": proposal.binding.model_dump(mode="json"),
        "lines": proposal.lines,
        "problems": proposal.problems,
    }
