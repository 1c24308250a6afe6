"""Phases that pump: seeding, vector, feeding, washing, detaching, formulating, filling.

Method: each is run on a list of answers; what was asked is compared word by word, and with
what the phase claims of itself (volumes, ports, containers, proofs).
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.kernel.acts import Contact
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.measured import Bounds, Fixed, Measured
from orchestrator.kernel.quantities import (
    Duration,
    between,
    hour,
    minute,
    mL,
    mL_per_min,
    second,
    x_g,
)
from orchestrator.phases.concentrate import Concentrate
from orchestrator.phases.detach import Detach
from orchestrator.phases.feed import Feed
from orchestrator.phases.fill_and_seal import FillAndSeal
from orchestrator.phases.formulate import Formulate
from orchestrator.phases.seed_and_activate import SeedAndActivate
from orchestrator.phases.transduce import Transduce
from orchestrator.phases.wash import Wash
from tests.unit.phases.answers import (
    ALL,
    CARRIED,
    KIT,
    PROVEN,
    PUMPED,
    SPUN,
    START,
    STATION,
    WAITED,
    Answers,
    chosen,
    done,
    ran,
)

AT_STATION: Any = {
    "kit": KIT,
    "station": STATION,
    "vessel": "vessel",
    "flow": 50 * mL_per_min,
    "longest_hold": 2 * hour,
}
KIT_SCAN = "see K-1 at station or carried"
PUMPING = ["do set_valves", "do pump_volume", "do set_valves"]


def moved(answers: Answers) -> list[str]:
    """Return what was pumped, in order."""
    return [f"{pump.volume} {pump.source} > {pump.target}" for pump in answers.acts("pump_volume")]


def paths(answers: Answers) -> list[tuple[str, ...]]:
    """Return which valves were opened, in order."""
    return [act.open for act in answers.acts("set_valves") if act.open]


def seeding() -> SeedAndActivate:
    return SeedAndActivate(
        **AT_STATION,
        cells="selected cells",
        cells_at="p1",
        cell_volume=Measured(name="seed", bounds=Bounds(lowest="5 mL", highest="40 mL")),
        medium="medium",
        medium_at="p2",
        medium_volume=100 * mL,
        reagent="reagent",
        reagent_at="p3",
        reagent_volume=Fixed(value="2 mL"),
    )


def test_medium_comes_last_so_that_it_drives_cells_and_reagent_in() -> None:
    answers = Answers([PROVEN, PROVEN, *PUMPED, *PUMPED, *PUMPED], ordered={"seed": "20 mL"})
    report = ran(seeding(), answers)
    assert answers.told[:2] == [KIT_SCAN, "see C-2 at station/p1 or carried"]
    assert moved(answers) == [
        "20 mL C-2 > K-1/vessel",
        "2 mL C-4 > K-1/vessel",
        "100 mL C-3 > K-1/vessel",
    ]
    assert paths(answers) == [("p1", "vessel"), ("p3", "vessel"), ("p2", "vessel")]
    assert report == {"cells": "20 mL", "reagent": "2 mL", "medium": "100 mL"}


def test_an_amount_is_named_in_the_procedure_by_its_placeholder() -> None:
    assert "{cell_volume} of the selected cells" in seeding().sentence()


def vector() -> Transduce:
    return Transduce(**AT_STATION, vector="vector", vector_at="p4", volume=Fixed(value="10 mL"))


def test_vector_is_scanned_and_its_dose_confirmed_by_two_before_it_moves() -> None:
    answers = Answers([PROVEN, PROVEN, chosen("give"), *PUMPED])
    report = ran(vector(), answers)
    assert answers.told == [
        "see K-1 at station",
        "see C-5 at station/p4",
        "ask decide",
        *PUMPING,
    ]
    assert answers.asked[2].what.second_person
    assert report == {"volume": "10 mL", "confirmed_by": "U-1", "verified_by": "U-2"}


def test_without_confirmation_no_vector_moves() -> None:
    answers = Answers([PROVEN, PROVEN, chosen("stop")])
    with pytest.raises(RefusedError, match="didn't confirm"):
        ran(vector(), answers)


def adding(**others: Any) -> Feed:
    return Feed(
        **(
            AT_STATION
            | {"medium": "medium", "medium_at": "p2", "volume": 150 * mL, "mode": "add"}
            | others
        )
    )


EXCHANGE: Any = {
    "mode": "exchange",
    "waste": "waste bag",
    "waste_at": "p6",
    "settle": 10 * minute,
    "remove": 100 * mL,
}


def test_a_feed_adds_and_needs_nobody() -> None:
    answers = Answers([PROVEN, *PUMPED])
    assert ran(adding(), answers) == {"volume": "150 mL"}
    assert answers.told == [KIT_SCAN, *PUMPING]
    assert not adding().claims().attended


def test_an_exchange_lets_cells_settle_then_draws_then_adds() -> None:
    answers = Answers([WAITED, PROVEN, *PUMPED, *PUMPED])
    report = ran(adding(**EXCHANGE), answers)
    assert answers.told == [f"until {START + 10 * minute}", KIT_SCAN, *PUMPING, *PUMPING]
    assert moved(answers) == ["100 mL K-1/vessel > K-1/p6", "150 mL C-3 > K-1/vessel"]
    assert report == {"removed": "100 mL", "volume": "150 mL"}


def test_waste_that_is_no_part_of_the_kit_is_proven_at_its_port() -> None:
    answers = Answers([WAITED, PROVEN, PROVEN, *PUMPED, *PUMPED])
    ran(adding(**EXCHANGE | {"waste": "extra waste", "waste_at": "p5"}), answers)
    assert answers.told[2] == "see C-10 at station/p5 or carried"


@pytest.mark.parametrize(
    "others",
    [
        {"mode": "exchange"},
        EXCHANGE | {"settle": Duration.of_base(0)},
        EXCHANGE | {"remove": 0 * mL},
        EXCHANGE | {"mode": "add"},
        {"settle": 10 * minute},
    ],
)
def test_a_feed_that_does_not_say_what_it_exchanges_is_refused(others: Any) -> None:
    with pytest.raises(ValidationError):
        adding(**others)


SPINNING: Any = {
    "arm": "arm",
    "centrifuge": "centrifuge",
    "force": 300 * x_g,
    "spin": 10 * minute,
    "waste": "waste bag",
    "waste_at": "p6",
    "keep": 20 * mL,
}
SPIN_TOLD = [
    KIT_SCAN,
    "do pick_container",
    "do place_container",
    "see K-1 at rotor or carried",
    "do spin",
    "see K-1 at rotor or carried",
    "do pick_container",
    "do place_container",
]


def test_concentrating_spins_then_draws_off_to_waste() -> None:
    phase = Concentrate(**AT_STATION, **SPINNING, draw=400 * mL)
    answers = Answers([*SPUN, PROVEN, *PUMPED])
    assert ran(phase, answers) == {"volume": "400 mL"}
    assert answers.told == [*SPIN_TOLD, KIT_SCAN, *PUMPING]
    assert [act.place for act in answers.acts("pick_container")] == ["station", "rotor"]
    assert [act.place for act in answers.acts("place_container")] == ["rotor", "station"]
    assert answers.acts("spin")[0].container == "K-1"


def test_what_must_stay_above_the_cells_is_claimed() -> None:
    claims = Concentrate(**AT_STATION, **SPINNING, draw=400 * mL).claims()
    kept = [touch for touch in claims.touches if touch.how is Contact.HOLDS and touch.volume]
    assert [(one.container, one.volume) for one in kept] == [("vessel", between(20 * mL, 20 * mL))]


@pytest.mark.parametrize("cycles", [1, 3])
def test_each_wash_cycle_spins_draws_off_and_adds_as_much(cycles: int) -> None:
    phase = Wash(
        **AT_STATION,
        **SPINNING,
        cycles=cycles,
        volume=200 * mL,
        buffer="buffer",
        buffer_at="p3",
    )
    answers = Answers([*SPUN, PROVEN, *PUMPED, *PUMPED] * cycles)
    report = ran(phase, answers)
    assert answers.told == [*SPIN_TOLD, KIT_SCAN, *PUMPING, *PUMPING] * cycles
    assert moved(answers) == ["200 mL K-1/vessel > K-1/p6", "200 mL C-6 > K-1/vessel"] * cycles
    assert report[f"added_{cycles}"] == "200 mL"


def detaching(**others: Any) -> Detach:
    return Detach(
        **(
            AT_STATION
            | {
                "arm": "arm",
                "incubator": "incubator",
                "enzyme": "enzyme",
                "enzyme_at": "p3",
                "enzyme_volume": 50 * mL,
                "contact": between(5 * minute, 15 * minute),
                "quench": "quench",
                "quench_at": "p4",
                "quench_volume": 50 * mL,
                "waste": "waste bag",
                "waste_at": "p6",
            }
            | others
        )
    )


def test_enzyme_is_quenched_as_soon_as_the_shortest_contact_has_passed() -> None:
    answers = Answers([PROVEN, *PUMPED, *CARRIED, WAITED, *CARRIED, PROVEN, *PUMPED])
    report = ran(detaching(), answers)
    all_in = START + 4 * second
    assert answers.told == [
        KIT_SCAN,
        *PUMPING,
        KIT_SCAN,
        "do pick_container",
        "do place_container",
        f"until {all_in + 5 * minute}",
        "see K-1 at incubator/3 or carried",
        "do pick_container",
        "do place_container",
        KIT_SCAN,
        *PUMPING,
    ]
    assert moved(answers) == ["50 mL C-7 > K-1/vessel", "50 mL C-8 > K-1/vessel"]
    assert "deviation" not in report
    assert detaching().claims().starts_clocks == detaching().claims().ends_clocks == ("enzyme",)


def test_medium_is_drawn_off_before_the_enzyme_where_the_recipe_says_so() -> None:
    answers = Answers([PROVEN, *PUMPED, *PUMPED, *CARRIED, WAITED, *CARRIED, PROVEN, *PUMPED])
    ran(detaching(remove=300 * mL), answers)
    assert moved(answers)[0] == "300 mL K-1/vessel > K-1/p6"


def test_an_enzyme_that_acted_too_long_is_reported() -> None:
    words = [PROVEN, *PUMPED, *CARRIED, WAITED, *CARRIED, PROVEN, *PUMPED]
    report = ran(detaching(), Answers([*words], each_takes=2 * minute))
    assert "15 min" in report["deviation"]


def test_a_contact_time_in_which_no_quench_can_come_is_refused() -> None:
    with pytest.raises(ValidationError, match="brought back"):
        detaching(contact=between(5 * minute, 7 * minute))


def test_formulation_starts_the_dmso_clock() -> None:
    phase = Formulate(**AT_STATION, cryo="cryo medium", cryo_at="p5", volume=Fixed(value="20 mL"))
    answers = Answers([PROVEN, *PUMPED])
    report = ran(phase, answers)
    assert answers.told == [KIT_SCAN, *PUMPING]
    assert report == {"volume": "20 mL", "first_contact": str(START + 1 * second)}
    assert phase.claims().starts_clocks == ("dmso",)


def filling(**others: Any) -> FillAndSeal:
    station: dict[str, Any] = {name: one for name, one in AT_STATION.items() if name != "vessel"}
    given: dict[str, Any] = {
        "source": "vessel",
        "bags": ("bag one", "bag two"),
        "ports": ("p1", "p2"),
        "volume": Fixed(value="20 mL"),
    }
    return FillAndSeal(**(station | given | others))


def test_a_bag_is_labelled_and_scanned_back_while_it_hangs_at_its_port() -> None:
    first, second = (
        (PROVEN, PROVEN, *PUMPED, done(label=label), PROVEN, ALL) for label in ("C1", "C2")
    )
    answers = Answers([*first, *second])
    report = ran(filling(), answers)
    assert answers.told == [
        word
        for bag, port in (("B-1", "p1"), ("B-2", "p2"))
        for word in (
            "see K-1 at station",
            f"see {bag} at station/{port}",
            *PUMPING,
            "do apply_label",
            f"see {bag} at station/{port} by both labels",
            "do seal_off",
        )
    ]
    assert moved(answers) == ["20 mL K-1/vessel > B-1", "20 mL K-1/vessel > B-2"]
    label, seal = answers.acts("hand_act")[:2]
    assert label.report == ("label",)
    assert label.second_person
    assert seal.at == ("rack",)
    assert report["bag_2"] == "20 mL"
    assert report["bag_2_label"] == "C2"


@pytest.mark.parametrize(
    "others",
    [
        {"ports": ("p1",)},
        {"ports": ("p1", "p1")},
        {"bags": ("bag one", "bag one")},
        {"bags": (), "ports": ()},
    ],
)
def test_bags_and_ports_that_do_not_match_are_refused(others: Any) -> None:
    with pytest.raises(ValidationError):
        filling(**others)
