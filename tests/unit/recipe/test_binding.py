"""What a batch binds is checked against its recipe: whole, unique, within ranges."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.kernel.canonical import canonical
from orchestrator.kernel.errors import RecipeRefusedError
from orchestrator.kernel.identifiers import ContainerId, EquipmentId, KitId, PlaceId
from orchestrator.kernel.measured import Bounds
from orchestrator.recipe.binding import (
    Binding,
    BoundContainer,
    BoundKit,
    BoundPlace,
    BoundUnit,
    BoundValue,
)
from orchestrator.recipe.model import OrderedValue
from tests.unit.recipe.toys import claims, recipe_of, step

RECIPE = recipe_of(
    step(1, claims()),
    ordered=(OrderedValue(name="dose", bounds=Bounds(lowest="5 mL", highest="10 mL")),),
)

INNER = {"vessel": "K-1/vessel", "flush": "K-1/flush", "waste": "K-1/waste"}


def bound(**others: Any) -> Binding:
    whole: dict[str, Any] = {
        "recipe": RECIPE.digest,
        "containers": tuple(
            BoundContainer(name=name, container=ContainerId(INNER.get(name, f"C-{number}")))
            for number, name in enumerate(RECIPE.containers())
        ),
        "kits": (BoundKit(name="kit", kit=KitId("K-1")),),
        "units": (BoundUnit(name="station", equipment=EquipmentId("station-1")),),
        "places": (BoundPlace(unit="station", which="hook", place=PlaceId("hook")),),
        "ordered": (BoundValue(name="dose", value="7 mL"),),
    }
    return Binding.model_validate(whole | others)


def test_a_whole_binding_is_admitted_and_can_be_recorded() -> None:
    binding = bound()
    binding.require(RECIPE)
    assert binding.container("cells") == "C-0"
    assert binding.container("kit") == "K-1"
    assert binding.kit("kit") == "K-1"
    assert binding.unit("station") == "station-1"
    assert binding.place("station", "hook") == "hook"
    assert binding.value("dose") == "7 mL"
    assert Binding.model_validate_json(canonical(binding.model_dump(mode="json"))) == binding


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ({"ordered": ()}, "no ordered value is bound to 'dose'"),
        ({"ordered": (BoundValue(name="dose", value="11 mL"),)}, "11 mL lies outside 5 mL to"),
        ({"ordered": (BoundValue(name="dose", value="7 h"),)}, "isn't a Volume"),
        ({"units": ()}, "no unit is bound to 'station'"),
        ({"kits": ()}, "no kit is bound to 'kit'"),
        ({"recipe": "0" * 64}, "was made for the recipe 000"),
        (
            {"kits": (BoundKit(name="kit", kit=KitId("C-1")),)},
            "C-1 stands for 2 containers",
        ),
        (
            {"containers": (BoundContainer(name="stranger", container=ContainerId("C-9")),)},
            "the recipe has no container 'stranger'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(others: dict[str, Any], why: str) -> None:
    with pytest.raises(RecipeRefusedError, match=why):
        bound(**others).require(RECIPE)


@pytest.mark.parametrize("name", INNER)
@pytest.mark.parametrize("other", ["K-2/vessel", "K-1/p1", "C-9", *INNER.values()])
def test_a_kit_s_own_container_is_no_other(name: str, other: str) -> None:
    own, containers = INNER[name], bound().containers
    swapped = tuple(
        one.model_copy(update={"container": ContainerId(other)}) if one.name == name else one
        for one in containers
    )
    if other == own:
        bound(containers=swapped).require(RECIPE)
        return
    with pytest.raises(RecipeRefusedError, match=f"'{name}' is {own} of its kit, not {other}"):
        bound(containers=swapped).require(RECIPE)


@pytest.mark.parametrize("ask", ["container", "kit", "unit", "place", "value"])
def test_an_unknown_name_is_refused(ask: str) -> None:
    with pytest.raises(RecipeRefusedError, match="none under that name"):
        getattr(bound(), ask)("nowhere")
