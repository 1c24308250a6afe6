"""Each rule finds what it is for, and only that.

Method: a recipe that no rule minds is changed in one way for each rule. Toy phases claim
what a test wants, since rules read claims only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.kernel.acts import Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.conditions import Condition
from orchestrator.kernel.measured import Bounds, Calculated, Fixed, Measured, Ordered
from orchestrator.kernel.quantities import (
    Quantity,
    Range,
    Volume,
    between,
    day,
    hour,
    minute,
    mL,
    mL_per_min,
    uL,
)
from orchestrator.recipe.check import check_recipe, explain, rules
from orchestrator.recipe.model import (
    EmptyBag,
    EquipmentRole,
    Hold,
    Lag,
    MeasuredValue,
    Moment,
    Operation,
    OrderedValue,
    PatientMaterial,
    Recipe,
    RepeatUntil,
    Step,
    Tier,
    Tube,
    When,
)
from tests.unit.recipe.toys import (
    BAG,
    CELLS,
    KIT,
    MEDIUM,
    OTHER_CELLS,
    STATION,
    claims,
    draws,
    holds,
    joins,
    moves,
    parts,
    receives,
    recipe_of,
    step,
    takes,
)

TEN = between(10 * mL, 10 * mL)
JOINED = step(1, claims(holds("kit"), joins("cells", "p1"), second_person=True))
FILLED = step(2, claims(holds("kit"), draws("cells", TEN, "p1"), receives("vessel", TEN, "vessel")))
VERIFIED = step(9, claims(second_person=True, consumes_patient_material=True))


def codes(recipe: Recipe, cell: Any = None) -> list[str]:
    return [finding.rule for finding in check_recipe(recipe, cell)]


def lag(**others: Any) -> Lag:
    return Lag.model_validate(
        {
            "name": "wait",
            "from_event": Moment(path="main/work/01-toy", edge="end"),
            "to_event": Moment(path="main/work/03-toy", edge="start"),
            "maximum": 1 * hour,
            "tier": Tier.BLOCK,
            "source": "set by site",
        }
        | others
    )


class Cell:
    """A cell whose pump is slow and goes in whole microlitres."""

    def capabilities_of(self, kind: str) -> frozenset[str]:
        return frozenset({"fluid_transfer"} if kind == "transfer_station" else ())

    def limits_of(self, kind: str, capability: str) -> Mapping[str, Range[Any]]:
        del kind, capability
        return {"flow": between(1 * mL_per_min, 50 * mL_per_min)}

    def steps_of(self, kind: str, capability: str) -> Mapping[str, Quantity]:
        del kind, capability
        return {"volume": 1 * uL}


INCUBATED = step(1, claims(moves("kit", to="incubator")))
PUMPING = claims(needs=(("station", "fluid_transfer"),))


def _flushed(volume: Volume) -> Step:
    return step(
        3,
        claims(
            holds("kit"),
            draws("flush", between(volume, volume), "flush"),
            receives("cells", between(volume, volume), "p1"),
        ),
    )


PARTED = step(4, claims(holds("kit"), parts("cells", "p1")))
REJOINED = step(5, claims(holds("kit"), joins("medium", "p1"), second_person=True))


def test_a_port_is_joined_again_once_its_tube_was_flushed() -> None:
    assert codes(recipe_of(JOINED, FILLED, _flushed(3 * mL), PARTED, REJOINED)) == []


def test_a_sound_recipe_has_no_findings() -> None:
    assert codes(recipe_of(JOINED, FILLED)) == []


def broken() -> list[tuple[str, Recipe]]:
    """Return for each rule over a recipe one that breaks it."""
    wide = between(0 * mL, 200 * mL)
    at_least_one = Condition(
        reading=MeasuredValue(name="dose"), lowest="50 mL", highest="", fresh_within=1 * day
    )
    in_five_to_ten = OrderedValue(name="dose", bounds=Bounds(lowest="5 mL", highest="10 mL"))
    wrong_calculation = Calculated(
        formula="volume_holding/1",
        arguments={
            "cells": Fixed(value="100e6 cells"),
            "density": Fixed(value="10e6 cells/mL"),
        },
        round_down_to="100 uL",
        bounds=Bounds(lowest="5 mL", highest="5 mL"),
    )
    proven = EquipmentRole(
        name="station",
        kind="transfer_station",
        capabilities=STATION.capabilities,
        ranges={"flow": Bounds(lowest="1 mL/min", highest="20 mL/min")},
    )
    either = claims(
        holds("cells"), draws("cells", TEN, ""), identity="either", consumes_patient_material=True
    )
    pool = claims(
        draws("cells", TEN), draws("other cells", TEN), receives("bag", between(20 * mL, 20 * mL))
    )
    mixed = Measured(name="never measured", bounds=Bounds(lowest="1 mL", highest="2 mL"))
    long = takes(1 * minute, 3 * day)
    no_hold = step(2, claims(longest_safe_hold=0 * minute))
    return [
        ("U010", recipe_of(step(1, claims(), volume=Fixed(value="10 quarts")))),
        ("U030", recipe_of(_when(at_least_one), ordered=(in_five_to_ten,))),
        ("U040", recipe_of(step(1, claims(), volume=wrong_calculation))),
        ("U040", recipe_of(step(1, claims(), volume=mixed))),
        ("L010", recipe_of(step(1, claims(needs=(("oven", "climate"),))))),
        ("L010", recipe_of(step(1, claims(needs=(("station", "climate"),))))),
        ("L020", recipe_of(step(1, PUMPING, flow=30 * mL_per_min), equipment=(proven,))),
        ("L030", recipe_of(step(1, PUMPING, flow=5000 * mL_per_min))),
        ("I010", recipe_of(step(1, either), VERIFIED)),
        ("I020", recipe_of(step(1, claims(holds("cells"), identity="none")))),
        ("I030", recipe_of(step(1, claims(holds("a stranger"))))),
        ("I040", recipe_of(step(1, pool), materials=(CELLS, OTHER_CELLS, BAG))),
        ("I050", recipe_of(JOINED, FILLED, PARTED, REJOINED)),
        ("I050", recipe_of(JOINED, FILLED, _flushed(1 * mL), PARTED, REJOINED)),
        ("C010", recipe_of(step(1, claims(holds("kit"), draws("cells", TEN, "p1"))))),
        ("C020", recipe_of(step(1, claims(holds("kit"), joins("cells", "p1")), leak_test=False))),
        ("C030", recipe_of(step(1, claims(opens_system=True, second_person=True)))),
        ("C040", recipe_of(step(1, claims(holds("kit"), joins("cells", "p6"))))),
        ("C040", recipe_of(step(1, claims(holds("kit"), joins("cells", "p9"))))),
        ("C050", recipe_of(step(1, claims(holds("kit"), parts("cells", "p1"))))),
        ("C060", recipe_of(JOINED, step(2, claims(moves("kit"))))),
        ("C060", recipe_of(JOINED, step(2, claims(moves("cells"))))),
        ("C070", recipe_of(INCUBATED, step(2, claims(holds("kit", at="station"))))),
        ("C070", recipe_of(INCUBATED, step(2, claims(moves("kit", at="station", to="rotor"))))),
        ("M010", recipe_of(step(1, claims(draws("cells", wide))))),
        ("M020", recipe_of(step(1, claims(receives("bag", wide))))),
        ("M030", recipe_of(step(1, claims(receives("bag"))))),
        (
            "M040",
            recipe_of(
                step(1, claims(holds("kit"), joins("medium", "p1"))),
                step(2, long),
                step(3, claims(holds("kit"), draws("medium", TEN, "p1"))),
            ),
        ),
        ("M050", recipe_of(step(1, claims()), materials=(EmptyBag(name="b", capacity=1 * mL),))),
        ("M050", recipe_of(step(1, claims()), materials=(Tube(name="t", capacity=1 * mL),))),
        ("H010", recipe_of(step(1, claims(), longest_hold=0 * minute))),
        ("H010", recipe_of(no_hold)),
        ("H020", recipe_of(step(1, claims(product_safe_state=" ")))),
        ("H030", recipe_of(JOINED, step(2, long), step(3, claims()), lags=(lag(),))),
        (
            "H070",
            recipe_of(JOINED, step(2, long), step(3, claims()), lags=(lag(tier=Tier.ALARM),)),
        ),
        ("H040", recipe_of(step(1, claims(starts_clocks=("dmso",))))),
        (
            "H040",
            recipe_of(
                step(1, claims(starts_clocks=("dmso",))), step(2, claims(ends_clocks=("dmso",)))
            ),
        ),
        ("H050", recipe_of(JOINED, step(3, claims()), lags=(lag(source=""),))),
        ("H050", recipe_of(JOINED, step(2, claims()), lags=(lag(),))),
        ("H060", recipe_of(JOINED, materials=(PatientMaterial(name="cells", volume=TEN),))),
        ("R010", recipe_of(step(1, None))),
        (
            "R020",
            recipe_of(step(1, claims(receives("bag", TEN), on_interruption=OnInterruption.REPEAT))),
        ),
        (
            "R030",
            recipe_of(
                step(
                    1,
                    claims(
                        receives("bag", TEN),
                        needs=(("station", "fluid_transfer"),),
                        quieten=Quieten.LEAVE_RUNNING,
                    ),
                )
            ),
        ),
        ("S010", _unverified()),
        ("S030", recipe_of(step(1, claims(consumes_patient_material=True)))),
    ]


def _unverified() -> Recipe:
    joined = claims(
        holds("kit"), joins("cells", "p1"), attended=True, consumes_patient_material=True
    )
    return recipe_of(
        Operation(slug="work", name="Work", body=(step(1, joined),)),
        Operation(slug="other", name="Other", body=(VERIFIED,)),
    )


def _when(condition: Condition) -> When:
    return When(
        slug="when",
        name="when",
        condition=condition,
        then=(Operation(slug="work", name="Work", body=(step(1, claims()),)),),
        otherwise=(Hold(slug="hold", reason="too little"),),
    )


BROKEN = broken()


@pytest.mark.parametrize(
    ("code", "recipe"), BROKEN, ids=[f"{number}-{code}" for number, (code, _) in enumerate(BROKEN)]
)
def test_a_rule_finds_what_it_is_for(code: str, recipe: Recipe) -> None:
    assert set(codes(recipe)) == {code}


def test_a_step_that_opens_the_system_needs_a_second_person() -> None:
    assert codes(recipe_of(step(1, claims(opens_system=True)))) == ["C030", "S020"]


@pytest.mark.parametrize(
    ("code", "recipe"),
    [
        ("U020", recipe_of(step(1, PUMPING, volume=Fixed(value="10500 nL")))),
        ("L050", recipe_of(step(1, PUMPING, flow=80 * mL_per_min))),
        ("L040", recipe_of(step(1, claims(needs=(("station", "valves"),))))),
        (
            "L040",
            recipe_of(
                JOINED,
                equipment=(STATION, EquipmentRole(name="oven", kind="oven", capabilities=())),
            ),
        ),
    ],
)
def test_a_cell_is_checked_for_what_it_has(code: str, recipe: Recipe) -> None:
    assert codes(recipe) == []
    assert codes(recipe, Cell()) == [code]


def test_every_rule_is_shown_to_find_something() -> None:
    shown = {code for code, _ in BROKEN} | {"S020", "U020", "L050", "L040"}
    assert shown == {code for code in rules() if not code.startswith("P")}


def test_every_family_has_at_least_two_rules() -> None:
    families = "".join(code[0] for code in rules())
    assert {family: families.count(family) >= 2 for family in "ULICMHRSP"} == dict.fromkeys(
        "ULICMHRSP", True
    )


def test_a_rule_explains_itself() -> None:
    assert explain("m010").startswith("M010: A step never asks for more")


def test_both_ways_are_followed_and_brought_together() -> None:
    """The joint exists on one way only, so it isn't sure after both."""
    condition = Condition(
        reading=MeasuredValue(name="dose"), lowest="6 mL", highest="", fresh_within=1 * day
    )
    ordered = (OrderedValue(name="dose", bounds=Bounds(lowest="5 mL", highest="10 mL")),)
    join = Operation(slug="join", name="Join", body=(JOINED,))
    use = Operation(slug="use", name="Use", body=(FILLED,))
    when = When(slug="when", name="when", condition=condition, then=(join,), otherwise=())
    assert codes(recipe_of(when, use, ordered=ordered)) == ["C010"]
    stops = When(
        slug="when",
        name="when",
        condition=condition,
        then=(join,),
        otherwise=(Hold(slug="hold", reason="too little"),),
    )
    assert codes(recipe_of(stops, use, ordered=ordered)) == []


def _if_dose(then: Step, *otherwise: Step) -> tuple[When, dict[str, Any]]:
    """Return a way that some orders take, and what the recipe declares for it."""
    condition = Condition(
        reading=MeasuredValue(name="dose"), lowest="6 mL", highest="", fresh_within=1 * day
    )
    when = When(
        slug="when",
        name="when",
        condition=condition,
        then=(Operation(slug="then", name="Then", body=(then,)),),
        otherwise=(Operation(slug="otherwise", name="Otherwise", body=otherwise),)
        if otherwise
        else (),
    )
    ordered = (OrderedValue(name="dose", bounds=Bounds(lowest="5 mL", highest="10 mL")),)
    return when, {"ordered": ordered}


def test_a_bag_that_was_joined_on_one_way_only_is_dragged_on_that_way() -> None:
    when, declared = _if_dose(JOINED)
    moved = Operation(slug="move", name="Move", body=(step(4, claims(moves("kit"))),))
    (found,) = check_recipe(recipe_of(when, moved, **declared))
    assert str(found) == (
        "MBR-0:0: C060 'kit' is moved while it is joined to 'cells' at p1, on at least one way. "
        "Write station.disconnect(...) for it above this line."
    )


def test_a_kit_goes_freely_with_its_own_bags_and_once_the_others_are_off() -> None:
    moved = step(6, claims(moves("kit")))
    assert codes(recipe_of(moved)) == []
    assert codes(recipe_of(JOINED, FILLED, PARTED, moved)) == []


def test_where_a_kit_stands_is_told_with_the_step_that_set_it_there() -> None:
    used = step(3, claims(holds("kit", at="station")))
    (found,) = check_recipe(recipe_of(INCUBATED, used, step(4, claims(holds("kit", at="station")))))
    assert str(found) == (
        "MBR-0:0: C070 'kit' stands at 'incubator' since step 1 (Play), and this step needs it at "
        "'station'; move it there above this line."
    )


def test_a_kit_may_stand_where_one_way_left_it() -> None:
    back = claims(moves("kit", at="incubator", to="station"))
    used = Operation(slug="use", name="Use", body=(step(4, claims(holds("kit", at="station"))),))
    away = Operation(slug="away", name="Away", body=(INCUBATED,))
    when, declared = _if_dose(step(2, back))
    (found,) = check_recipe(recipe_of(away, when, used, **declared))
    assert (found.rule, "may stand at 'incubator'" in found.text) == ("C070", True)
    when, declared = _if_dose(step(2, back), step(3, back))
    assert codes(recipe_of(away, when, used, **declared)) == []


def test_a_kit_that_was_set_down_nowhere_may_be_anywhere() -> None:
    assert codes(recipe_of(step(1, claims(holds("kit", at="station"))))) == []


def test_a_repetition_that_leaves_the_kit_away_is_found_in_its_second_turn() -> None:
    condition = Condition(
        reading=MeasuredValue(name="dose"), lowest="6 mL", highest="", fresh_within=1 * day
    )
    ordered = (OrderedValue(name="dose", bounds=Bounds(lowest="5 mL", highest="10 mL")),)
    turn = (
        step(1, claims(holds("kit", at="station"))),
        step(2, claims(moves("kit", at="station", to="incubator"))),
    )
    for at_most, expected in ((1, []), (2, ["C070"])):
        body = (Operation(slug="turn", name="Turn", body=turn),)
        again = RepeatUntil(
            slug="again", name="again", at_most=at_most, condition=condition, body=body
        )
        assert codes(recipe_of(again, ordered=ordered)) == expected


def test_a_repetition_is_followed_to_its_last_turn() -> None:
    condition = Condition(
        reading=MeasuredValue(name="dose"), lowest="6 mL", highest="", fresh_within=1 * day
    )
    ordered = (OrderedValue(name="dose", bounds=Bounds(lowest="5 mL", highest="10 mL")),)
    fifteen = between(50 * mL, 50 * mL)
    drawn = Operation(slug="draw", name="Draw", body=(step(1, claims(draws("cells", fifteen))),))

    def turns(at_most: int) -> Recipe:
        repeat = RepeatUntil(
            slug="again", name="again", at_most=at_most, condition=condition, body=(drawn,)
        )
        return recipe_of(repeat, ordered=ordered)

    assert codes(turns(3)) == []
    assert codes(turns(4)) == ["M010"]


def test_the_time_between_two_turns_is_measured() -> None:
    condition = Condition(
        reading=MeasuredValue(name="dose"), lowest="6 mL", highest="", fresh_within=1 * day
    )
    ordered = (OrderedValue(name="dose", bounds=Bounds(lowest="5 mL", highest="10 mL")),)
    body = (
        Operation(slug="feed", name="Feed", body=(step(1, claims()),)),
        Operation(slug="grow", name="Grow", body=(step(2, takes(2 * day, 2 * day)),)),
    )
    repeat = RepeatUntil(slug="again", name="again", at_most=4, condition=condition, body=body)

    def with_lag(most: Any) -> Recipe:
        between_feeds = lag(
            from_event=Moment(path="main/again/feed", edge="end"),
            to_event=Moment(path="main/again/feed", edge="start"),
            maximum=most,
        )
        return recipe_of(repeat, ordered=ordered, lags=(between_feeds,))

    assert codes(with_lag(2 * day)) == []
    assert codes(with_lag(47 * hour)) == ["H030"]


def test_what_a_bag_holds_can_be_stated_where_no_step_states_it() -> None:
    stated = EmptyBag(
        name="bag", catalogue="bag", capacity=100 * mL, filled=between(20 * mL, 30 * mL)
    )
    filling, drawing = claims(receives("bag")), claims(draws("bag", between(25 * mL, 25 * mL)))
    recipe = recipe_of(step(1, filling), step(2, drawing), materials=(CELLS, MEDIUM, stated))
    assert codes(recipe) == ["M010"]


def test_a_message_has_its_numbers() -> None:
    asked = claims(draws("cells", between(5 * mL, 200 * mL)))
    found = check_recipe(recipe_of(step(1, asked)))
    assert found[0].text == (
        "may ask for 200 mL of 'cells', which may hold only 150 mL. "
        "Narrow the expected range, or ask for less."
    )


def test_an_ordered_amount_must_be_declared() -> None:
    unknown = Ordered(name="dose", bounds=Bounds(lowest="1 mL", highest="2 mL"))
    assert codes(recipe_of(step(1, claims(), volume=unknown))) == ["U040"]


def test_moving_a_container_needs_no_joint() -> None:
    moved = claims(Touch(container="cells", how=Contact.MOVES))
    assert codes(recipe_of(step(1, moved), kits=(KIT,))) == []
