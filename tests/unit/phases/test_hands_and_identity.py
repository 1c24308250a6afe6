"""Phases that people carry out: receipt, kit, selection, loading, storing, grading, questions.

Method: each is run on a list of answers; what was asked is compared word by word, and with
what the phase claims of itself.
"""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from orchestrator.kernel.acts import OnInterruption
from orchestrator.kernel.errors import ResultOutOfRangeError
from orchestrator.kernel.quantities import between, hour, mL, mL_per_min
from orchestrator.kernel.tasks import Choice, Entry
from orchestrator.phases.confirm import Confirm
from orchestrator.phases.connect import Connect
from orchestrator.phases.disconnect import Disconnect
from orchestrator.phases.grade_confluence import GradeConfluence
from orchestrator.phases.install_kit import InstallKit
from orchestrator.phases.load import Load
from orchestrator.phases.mix import Mix
from orchestrator.phases.receive import Receive
from orchestrator.phases.select_magnetically import SelectMagnetically
from orchestrator.phases.store import Store
from tests.unit.phases.answers import (
    ALL,
    KIT,
    PROVEN,
    PUMPED,
    STATION,
    Answers,
    chosen,
    done,
    ran,
)

HOLD = 2 * hour
LABELLED = (PROVEN, done(label="CABC"), PROVEN)
"""Scanned where it lies, labelled, and scanned back."""


def a_receipt() -> Receive:
    return Receive(
        container="leukapheresis",
        at="bench",
        volume=between(100 * mL, 300 * mL),
        longest_hold=HOLD,
    )


def test_what_is_received_is_scanned_where_it_lies_labelled_and_scanned_back() -> None:
    answers = Answers([PROVEN, done(volume="185 mL"), *LABELLED])
    report = ran(a_receipt(), answers)
    assert answers.told == [
        "see C-1 at bench",
        "do receive",
        "see C-1 at bench",
        "do apply_label",
        "see C-1 at bench by both labels",
    ]
    assert report == {"volume": "185 mL", "identity": "scanned", "label": "CABC"}
    label = answers.acts("hand_act")[1]
    assert label.report == ("label",)
    assert label.second_person


def test_a_volume_that_is_not_one_is_asked_for_again() -> None:
    answers = Answers([PROVEN, done(volume="a lot"), chosen("", volume="185 mL"), *LABELLED])
    assert ran(a_receipt(), answers)["volume"] == "185 mL"
    assert answers.told[2] == "ask enter"


def test_an_unexpected_volume_goes_on_only_under_a_deviation() -> None:
    answers = Answers([PROVEN, done(volume="80 mL"), *LABELLED, chosen("accept")])
    assert "80 mL" in ran(a_receipt(), answers)["deviation"]
    with pytest.raises(ResultOutOfRangeError, match="80 mL"):
        ran(a_receipt(), Answers([PROVEN, done(volume="80 mL"), *LABELLED, chosen("stop")]))


def test_a_new_kit_is_scanned_beside_the_station_and_where_it_is_docked() -> None:
    answers = Answers(["100", PROVEN, ALL, PROVEN])
    ran(InstallKit(kit=KIT, station=STATION, longest_hold=HOLD), answers)
    assert answers.told == [
        "see pump_count",
        "see K-1 at rack",
        "do install_kit",
        "see K-1 at station",
    ]
    assert answers.acts("hand_act")[0].at == ("station",)


@pytest.mark.parametrize("count", ["0", "11", "99"])
def test_a_pump_whose_count_is_no_base_is_turned_empty_before_a_kit_is_docked(count: str) -> None:
    answers = Answers([count, ALL, PROVEN, ALL, PROVEN])
    ran(InstallKit(kit=KIT, station=STATION, longest_hold=HOLD), answers)
    assert answers.told[:2] == ["see pump_count", "do turn_empty_pump"]
    assert answers.told[3] == "do install_kit"
    (turn,) = answers.acts("turn_empty_pump")
    assert turn.on_interruption is OnInterruption.REPEAT
    assert turn.touches() == ()


def test_both_bags_of_a_selection_are_scanned_on_the_box_and_two_people_see_it() -> None:
    phase = SelectMagnetically(
        source="leukapheresis",
        target="selected cells",
        marker="CD4/CD8",
        longest=6 * hour,
        at="bench",
        longest_hold=HOLD,
    )
    both = (PROVEN, PROVEN)
    answers = Answers([*both, ALL, *both, done(volume="50 mL"), done(), ALL])
    report = ran(phase, answers)
    assert answers.told == [
        "see C-1 at box",
        "see C-2 at box",
        "do load",
        "see C-1 at box",
        "see C-2 at box",
        "do select_magnetically",
        "do discard",
        "do load",
    ]
    _, act, thrown_away, taken_off = answers.acts("hand_act")
    assert (taken_off.containers, taken_off.at) == (("C-2",), ("bench",))
    assert thrown_away.containers == ("C-1",)
    assert act.containers == ("C-1", "C-2")
    assert act.second_person
    assert act.parameters == {"marker": "CD4/CD8"}
    assert report["volume"] == "50 mL"


def test_loaded_bags_are_scanned_before_they_move_and_where_they_stand() -> None:
    phase = Load(containers=("bag one", "bag two"), at="freezer", longest_hold=HOLD)
    answers = Answers([PROVEN, PROVEN, ALL, PROVEN, PROVEN])
    ran(phase, answers)
    assert answers.told == [
        "see B-1 at freezer",
        "see B-2 at freezer",
        "do load",
        "see B-1 at freezer",
        "see B-2 at freezer",
    ]
    assert answers.acts("hand_act")[0].at == ("freezer", "freezer")


def test_stored_bags_are_scanned_back_at_the_batchs_own_place() -> None:
    phase = Store(containers=("bag one",), dewar="dewar", position="rack A", longest_hold=HOLD)
    answers = Answers([PROVEN, ALL, PROVEN])
    report = ran(phase, answers)
    assert answers.told == ["see B-1 at dewar/2", "do store", "see B-1 at dewar/2"]
    assert report == {"position": "rack A", "place": "dewar/2"}


def test_a_new_joint_is_scanned_and_its_line_rinsed_before_the_first_dose_weighs_in() -> None:
    phase = Connect(
        container="leukapheresis",
        kit=KIT,
        port="p1",
        flush="flush bag",
        waste="waste bag",
        waste_at="p6",
        station=STATION,
        by="sterile_weld",
        patient_material=True,
        rinse=5 * mL,
        first_dose=1 * mL,
        flow=20 * mL_per_min,
        longest_hold=HOLD,
    )
    answers = Answers([PROVEN, PROVEN, ALL, PROVEN, done(leak="none"), *PUMPED, *PUMPED, ALL])
    ran(phase, answers)
    pumping = ["do set_valves", "do pump_volume", "do set_valves"]
    assert answers.told == [
        "see K-1 at station",
        "see C-1 at hook",
        "do weld",
        "see C-1 at station/p1",
        "do test_leak",
        *pumping,
        *pumping,
        "do unhang",
    ]
    rinse, dose = answers.acts("pump_volume")
    assert (rinse.source, rinse.target, rinse.volume) == ("K-1/flush", "K-1/p6", 5 * mL)
    assert (dose.source, dose.target, dose.volume) == ("K-1/flush", "C-1", 1 * mL)
    assert [one.part for one in dose.weighed] == ["hook"]


def test_a_bag_is_scanned_at_its_port_before_it_is_sealed_off_and_where_it_was_put() -> None:
    phase = Disconnect(
        container="leukapheresis", kit=KIT, port="p1", station=STATION, longest_hold=HOLD
    )
    answers = Answers([PROVEN, PROVEN, ALL, PROVEN])
    ran(phase, answers)
    assert answers.told == [
        "see K-1 at station",
        "see C-1 at station/p1",
        "do seal_off",
        "see C-1 at rack",
    ]
    assert answers.acts("hand_act")[0].at == ("rack",)


def test_confluence_is_graded_by_one_and_verified_by_another() -> None:
    phase = GradeConfluence(kit=KIT, vessel="vessel", at="bench", longest_hold=HOLD)
    answers = Answers([PROVEN, done(confluence="85 %")])
    assert ran(phase, answers)["confluence"] == "85 %"
    act = answers.acts("hand_act")[0]
    assert act.second_person
    assert act.report == ("confluence",)


@pytest.mark.parametrize("slip", ["", "dense", "130 %", "85 mL"])
def test_a_confluence_that_cannot_be_is_entered_again(slip: str) -> None:
    phase = GradeConfluence(kit=KIT, vessel="vessel", at="bench", longest_hold=HOLD)
    answers = Answers([PROVEN, done(confluence=slip), chosen("", confluence="80 %")])
    assert ran(phase, answers)["confluence"] == "80 %"
    assert answers.asked[-1].what.second_person


def test_mixing_is_offered_for_the_docked_kit() -> None:
    phase = Mix(kit=KIT, station=STATION, vessel="vessel", by="hands", times=5, longest_hold=HOLD)
    answers = Answers([PROVEN, ALL])
    ran(phase, answers)
    assert answers.told == ["see K-1 at station", "do mix"]


def a_question(**others: object) -> Confirm:
    return Confirm.model_validate(
        {"question": "Is the line clear?", "respond_within": 1 * hour, "longest_hold": HOLD}
        | others
    )


def test_a_question_reports_what_was_chosen_entered_and_by_whom() -> None:
    phase = a_question(
        choices=(Choice(name="yes", leads_to="go on"),),
        entries=(Entry(name="sign_on_door"),),
        second_person=True,
    )
    answers = Answers([chosen("yes", sign_on_door="A7")])
    assert ran(phase, answers) == {
        "choice": "yes",
        "sign_on_door": "A7",
        "by": "U-1",
        "verified_by": "U-2",
    }
    assert answers.told == ["ask decide"]


def test_a_question_without_choices_asks_for_an_entry() -> None:
    answers = Answers([chosen("", weight="70 kg")])
    assert ran(a_question(entries=(Entry(name="weight"),)), answers)["weight"] == "70 kg"
    assert answers.told == ["ask enter"]


@pytest.mark.parametrize("name", ["Weight", "body weight", "by", "choice", ""])
def test_an_entry_that_no_report_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="can't be reported"):
        a_question(entries=(Entry(name=name),))
