"""Phases that instruments carry out: climate, time, arm, freezer, and counts of samples.

Method: each is run on a list of answers; what was asked is compared word by word, and with
what the phase claims of itself.
"""

from __future__ import annotations

import pytest

from orchestrator.kernel.acts import OnInterruption, Quieten
from orchestrator.kernel.errors import ResultOutOfRangeError
from orchestrator.kernel.quantities import (
    between,
    day,
    degC,
    degC_per_min,
    hour,
    million_per_mL,
    minute,
    percent,
    second,
    uL,
)
from orchestrator.phases.freeze import Freeze
from orchestrator.phases.incubate import Incubate
from orchestrator.phases.move_container import MoveContainer
from orchestrator.phases.precool import Precool
from orchestrator.phases.sample_and_count import SampleAndCount
from orchestrator.phases.set_climate import SetClimate
from tests.unit.phases.answers import (
    ALL,
    CARRIED,
    KIT,
    PROVEN,
    START,
    STATION,
    WAITED,
    Answers,
    chosen,
    done,
    ran,
)

HOLD = 2 * hour
GOOD = done(viable_density="2e6 cells/mL", viability="96 %", cd3="98 %", result="1")
DYING = done(viable_density="2e6 cells/mL", viability="61 %", cd3="98 %", result="2")
THIN = done(viable_density="0.1e6 cells/mL", viability="96 %", cd3="98 %", result="3")
MUTE = done(result="4")
LOADED = (PROVEN, PROVEN, ALL, PROVEN, ALL, ALL, PROVEN)
"""Kit and tube scanned, tube put to the port and scanned there, filled, loaded, and scanned."""


def test_the_climate_is_set_once_and_left_running() -> None:
    phase = SetClimate(
        incubator="incubator",
        temperature=37 * degC,
        carbon_dioxide=5 * percent,
        longest_hold=HOLD,
    )
    answers = Answers([ALL])
    assert ran(phase, answers) == {"temperature": "37 °C", "carbon_dioxide": "5 %"}
    act = answers.acts("set_climate")[0]
    assert (act.on_interruption, act.quieten) == (OnInterruption.REPEAT, Quieten.LEAVE_RUNNING)


def test_incubation_only_waits_and_to_an_instant() -> None:
    phase = Incubate(kit=KIT, incubator="incubator", duration=1 * day, longest_hold=HOLD)
    answers = Answers([WAITED])
    report = ran(phase, answers)
    assert answers.told == [f"until {START + 1 * day}"]
    assert report["from"] == str(START)


def test_the_arm_picks_up_and_sets_down_what_is_proven_where_it_stands() -> None:
    phase = MoveContainer(
        container=KIT, arm="arm", from_="incubator", to=STATION, longest_hold=HOLD
    )
    answers = Answers([*CARRIED])
    assert ran(phase, answers) == {"place": "station"}
    assert answers.told == [
        "see K-1 at incubator/3 or carried",
        "do pick_container",
        "do place_container",
    ]
    pick, place = (one.what for one in answers.asked[1:])
    assert (pick.place, place.place) == ("incubator/3", "station")
    assert pick.on_interruption is place.on_interruption is OnInterruption.HOLD
    assert pick.quieten is Quieten.LEAVE_RUNNING


def a_count() -> SampleAndCount:
    return SampleAndCount(
        kit=KIT,
        station=STATION,
        source="vessel",
        sample_volume=500 * uL,
        counter="counter",
        tube="tube",
        density=between(1 * million_per_mL, 10 * million_per_mL),
        viability_at_least=80 * percent,
        longest_hold=HOLD,
    )


def test_the_tube_is_scanned_at_the_sample_port_before_the_draw_and_in_the_counter() -> None:
    answers = Answers([*LOADED, GOOD, ALL])
    report = ran(a_count(), answers)
    assert answers.told == [
        "see K-1 at station",
        "see T-1 at sampling",
        "do load",
        "see T-1 at sampling",
        "do draw_sample",
        "do load_counter",
        "see T-1 at counter",
        "do count_cells",
        "do unload_counter",
    ]
    assert report == {
        "sample": "T-1",
        "counts": "1",
        "viable_density": "2e6 cells/mL",
        "viability": "96 %",
        "cd3": "98 %",
        "result": "1",
    }
    assert answers.asked[4].proven == ("K-1", "T-1")
    assert answers.acts("hand_act")[1].parameters == {"volume": "500 uL"}


def test_a_joined_bag_that_is_sampled_is_proven_where_the_tube_is_put_to_it() -> None:
    phase = a_count().model_copy(update={"source": "leukapheresis"})
    both = (PROVEN, PROVEN)
    answers = Answers([PROVEN, *both, ALL, *both, ALL, ALL, PROVEN, GOOD, ALL])
    ran(phase, answers)
    assert answers.told[1:6] == [
        "see C-1 at sampling",
        "see T-1 at sampling",
        "do load",
        "see C-1 at sampling",
        "see T-1 at sampling",
    ]
    assert answers.asked[6].proven == ("K-1", "C-1", "T-1")


@pytest.mark.parametrize("result", [DYING, THIN, MUTE])
def test_an_unexpected_count_goes_on_only_as_two_people_decide(result: object) -> None:
    assert isinstance(result, type(GOOD))
    answers = Answers([*LOADED, result, chosen("accept"), ALL])
    report = ran(a_count(), answers)
    assert report["deviation"]
    assert report["counts"] == "1"
    question = answers.asked[8].what
    assert question.second_person
    assert [choice.name for choice in question.choices] == ["accept", "repeat", "stop"]


def test_the_same_sample_is_counted_again_with_its_own_result() -> None:
    answers = Answers([*LOADED, DYING, chosen("repeat"), GOOD, ALL])
    report = ran(a_count(), answers)
    assert report["viability"] == "96 %"
    assert report["counts"] == "2"
    assert "deviation" not in report
    first, second = answers.acts("count_cells")
    assert first == second


def test_a_third_unexpected_count_is_not_repeated() -> None:
    again = chosen("repeat")
    answers = Answers([*LOADED, DYING, again, DYING, again, DYING, chosen("accept"), ALL])
    assert ran(a_count(), answers)["counts"] == "3"
    last = [one.what for one in answers.asked if one.word == "ask"][-1]
    assert [choice.name for choice in last.choices] == ["accept", "stop"]


def test_people_may_stop_at_a_count() -> None:
    with pytest.raises(ResultOutOfRangeError, match="viability 61 %"):
        ran(a_count(), Answers([*LOADED, DYING, chosen("stop")]))


def a_curve() -> Freeze:
    return Freeze(
        containers=("bag one", "bag two"),
        freezer="freezer",
        start=4 * degC,
        segments=((1 * degC_per_min, -45 * degC), (10 * degC_per_min, -90 * degC)),
        longest_hold=HOLD,
    )


def test_each_segment_of_a_curve_is_one_act() -> None:
    answers = Answers([PROVEN, PROVEN, "4.4 °C", done(reached="-45 °C"), done(reached="-90 °C")])
    report = ran(a_curve(), answers)
    assert answers.told == [
        "see B-1 at freezer or carried",
        "see B-2 at freezer or carried",
        "see stage_temperature",
        "do ramp_segment",
        "do ramp_segment",
    ]
    ramps = answers.acts("ramp_segment")
    assert [(ramp.rate, ramp.to) for ramp in ramps] == list(a_curve().segments)
    assert {(ramp.on_interruption, ramp.quieten) for ramp in ramps} == {
        (OnInterruption.HOLD, Quieten.LEAVE_RUNNING)
    }
    assert report["segment_2_reached"] == "-90 °C"


def test_a_curve_claims_the_time_of_its_segments_and_ends_the_dmso_clock() -> None:
    claims = a_curve().claims()
    assert claims.duration.lowest == 49 * minute + 4 * minute + 30 * second
    assert claims.ends_clocks == ("dmso",)


def test_bags_in_a_freezer_that_is_too_cold_are_a_decision() -> None:
    accepted = Answers([PROVEN, PROVEN, "-20 °C", chosen("accept"), ALL, ALL])
    assert "-20 °C" in ran(a_curve(), accepted)["deviation"]
    with pytest.raises(ResultOutOfRangeError, match="-20 °C"):
        ran(a_curve(), Answers([PROVEN, PROVEN, "-20 °C", chosen("stop")]))


def test_an_empty_freezer_is_brought_to_the_start_of_the_curve() -> None:
    phase = Precool(freezer="freezer", to=4 * degC, rate=5 * degC_per_min, longest_hold=HOLD)
    answers = Answers([done(reached="4 °C")])
    assert ran(phase, answers) == {"to": "4 °C", "reached": "4 °C"}
    assert answers.acts("ramp_segment")[0].containers == ()
