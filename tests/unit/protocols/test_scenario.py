"""What stands in the room for a batch follows from what its recipe declares."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from hw_mocks.scenario import scenario_for
from hw_mocks.world import run_a
from orchestrator.kernel.identifiers import ContainerId, KitId, LabelText, LotId
from orchestrator.kernel.quantities import Volume, mL
from tests.unit.protocols.play import written
from tests.unit.world.lab import Lab


def document(name: str) -> dict[str, Any]:
    recipe = written(name).recipe
    assert recipe is not None
    return cast("dict[str, Any]", json.loads(recipe.content))


def small(**reagent: Any) -> dict[str, Any]:
    return {
        "materials": [
            {
                "material": "reagent",
                "name": "broth",
                "catalogue": "broth",
                "volume": "100 mL",
                "in_use": "8 h",
                "patient_specific": False,
                **reagent,
            }
        ],
        "kits": [],
        "ordered": [],
    }


@pytest.mark.parametrize("name", ["car_t_twelve_day.py", "msc_adherent.py"])
def test_everything_that_is_declared_is_there_as_its_receipt_says(name: str) -> None:
    told = document(name)
    scenario = scenario_for(told, seed=1)
    recipe = written(name).recipe
    assert recipe is not None
    assert set(scenario.containers) == set(recipe.containers())
    assert set(scenario.kits) == {kit.name for kit in recipe.kits}
    assert scenario.notes == ()
    lab = Lab()
    scenario.bring_into(lab.world)
    for one in scenario.arrivals:
        assert lab.world.label_of(one.container) == LabelText(one.label)
        if one.what == "kit":
            assert KitId(one.container)
            for position, volume in zip(one.positions, one.volumes, strict=True):
                inner = f"{one.container}/{position}"
                assert lab.world.label_of(inner) == f"{one.label}/{position}"
                assert lab.world.contents(inner).volume_mL == Volume.read(volume).to(mL)
        else:
            assert ContainerId(one.container)
            held = lab.world.contents(one.container).volume_mL
            assert held == pytest.approx(Volume.read(one.volume).to(mL), abs=1e-6)
        assert bool(one.lot) == (one.what in ("reagent", "kit"))
        assert not one.lot or LotId(one.lot)


def test_two_batches_share_nothing() -> None:
    told = document("car_t_twelve_day.py")
    lab = Lab()
    made = [scenario_for(told, seed=1, batch=number) for number in (1, 2)]
    for scenario in made:
        scenario.bring_into(lab.world)
    one, other = ({a.container for a in s.arrivals} | {a.lot for a in s.arrivals} for s in made)
    assert one & other == {""}
    assert made[0].donor != made[1].donor


def test_the_same_seed_gives_the_same_donor() -> None:
    told = document("msc_adherent.py")
    assert scenario_for(told, seed=3).donor == scenario_for(told, seed=3).donor
    assert scenario_for(told, seed=3).donor != scenario_for(told, seed=4).donor


def test_the_order_decides_on_the_titer_and_is_silent_in_the_middle() -> None:
    told = document("car_t_twelve_day.py")
    usual = scenario_for(told, seed=1, donor=run_a("A"))
    assert usual.ordered["cells to seed"] == "90e6 cells"
    strong = scenario_for(told, seed=1, ordered={"titer of the vector": "25e6 units/mL"})
    for scenario, titer in ((usual, 22.5e6), (strong, 25e6)):
        lab = Lab()
        scenario.bring_into(lab.world)
        vector = lab.world.contents(scenario.containers["vector"])
        assert vector.solutes["vector_tu"] / vector.volume_mL == pytest.approx(titer)


def test_what_nobody_knows_is_buffer_and_is_noted() -> None:
    scenario = scenario_for(small(), seed=1)
    assert scenario.notes == ("broth: nobody knows 'broth': buffer is brought instead",)
    lab = Lab()
    scenario.bring_into(lab.world)
    assert set(lab.world.contents("C-001-01").materials_mL) == {"buffer"}


def test_a_recipe_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no material of a recipe"):
        scenario_for(small(material="soup"), seed=1)
