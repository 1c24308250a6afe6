"""A kind of phase that claims what a test wants, and recipes made of it."""

from __future__ import annotations

from typing import Any, Literal

from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.measured import Amount
from orchestrator.kernel.quantities import (
    Duration,
    Flow,
    Range,
    Volume,
    between,
    day,
    hour,
    minute,
    mL,
)
from orchestrator.phases.phase import PhaseModel
from orchestrator.recipe.model import (
    Element,
    EmptyBag,
    EquipmentRole,
    Kit,
    Operation,
    PatientMaterial,
    Reagent,
    Recipe,
    Step,
    UnitProcedure,
)


class Toy(PhaseModel):
    """Claims what it is told to claim."""

    kind: Literal["toy/1"] = "toy/1"
    says: Claims | None
    flow: Flow | None = None
    volume: Amount | None = None
    leak_test: bool = True

    def claims(self) -> Claims:
        assert self.says is not None, "nothing to say"
        return self.says

    def sentence(self) -> str:
        return "Play."


def claims(*touches: Touch, **others: Any) -> Claims:
    """Return claims that no rule minds, with changes."""
    return Claims.model_validate(
        {
            "touches": touches,
            "duration": between(1 * minute, 10 * minute),
            "identity": "fresh",
            "on_interruption": OnInterruption.HOLD,
            "quieten": Quieten.HALT,
            "longest_safe_hold": 2 * hour,
            "product_safe_state": "valves shut",
        }
        | others
    )


def takes(least: Duration, most: Duration, **others: Any) -> Claims:
    """Return claims of something that takes so long."""
    return claims(duration=Range(least, most), **others)


def draws(container: str, volume: Range[Volume] | None = None, at: str = "") -> Touch:
    return Touch(container=container, how=Contact.DRAWS, volume=volume, at_port=at)


def receives(container: str, volume: Range[Volume] | None = None, at: str = "") -> Touch:
    return Touch(container=container, how=Contact.RECEIVES, volume=volume, at_port=at)


def joins(container: str, at: str) -> Touch:
    return Touch(container=container, how=Contact.JOINS, at_port=at)


def parts(container: str, at: str = "") -> Touch:
    return Touch(container=container, how=Contact.PARTS, at_port=at)


def holds(container: str, *, at: str = "") -> Touch:
    return Touch(container=container, how=Contact.HOLDS, at_unit=at)


def moves(container: str, *, at: str = "", to: str = "") -> Touch:
    return Touch(container=container, how=Contact.MOVES, at_unit=at, to_unit=to)


def step(number: int, says: Claims | None, longest_hold: Duration = 2 * hour, **more: Any) -> Step:
    return Step(
        slug=f"{number:02d}-toy",
        name="Toy",
        phase=Toy.model_validate({"says": says, "longest_hold": longest_hold} | more),
    )


CELLS = PatientMaterial(
    name="cells", volume=between(150 * mL, 300 * mL), longest_since_collection=3 * day
)
OTHER_CELLS = PatientMaterial(
    name="other cells", volume=between(100 * mL, 100 * mL), longest_since_collection=3 * day
)
MEDIUM = Reagent(name="medium", catalogue="medium", volume=900 * mL, in_use=1 * day)
BAG = EmptyBag(name="bag", catalogue="bag", capacity=100 * mL)
KIT = Kit(
    name="kit",
    catalogue="kit",
    ports=("p1", "p2", "p3", "p4", "p5", "p6"),
    vessel="vessel",
    capacity=1000 * mL,
    flush="flush",
    flush_volume=100 * mL,
    waste="waste",
    waste_capacity=2000 * mL,
)
STATION = EquipmentRole(
    name="station",
    kind="transfer_station",
    capabilities=("fluid_transfer", "hands", "scanning", "valves", "weighing"),
)


def recipe_of(*elements: Element, **others: Any) -> Recipe:
    """Return a recipe with one operation, or with these elements where one isn't a step."""
    body: tuple[Any, ...] = elements
    if any(isinstance(element, Step) for element in elements):
        body = (Operation(slug="work", name="Work", body=elements),)
    whole: dict[str, Any] = {
        "title": "Play",
        "document": "MBR-0",
        "version": "1",
        "author": "",
        "materials": (CELLS, MEDIUM, BAG),
        "kits": (KIT,),
        "equipment": (STATION,),
        "body": (UnitProcedure(slug="main", name="Main", body=body),),
    }
    return Recipe.written(Recipe.model_validate(whole | others))
