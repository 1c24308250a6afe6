"""The comparison gives each effect to its act, whoever else works at the time.

Method: ledgers and journals written by hand, side by side; and, with random interleavings of
several batches on shared instruments, faults planted at random, of which just those are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.interfaces.container_transport import PickContainer, PlaceContainer
from devices.interfaces.controlled_freezing import RampSegment
from devices.interfaces.hands import Handwork
from devices.interfaces.weighing import Tare
from orchestrator.journal.events import (
    BatchMade,
    BranchTaken,
    Joint,
    PhaseEnded,
    PhaseStarted,
    RecipeSubmitted,
    Signed,
)
from orchestrator.kernel.acts import Act, OnInterruption, Quieten
from orchestrator.kernel.conditions import Condition
from orchestrator.kernel.identifiers import (
    CoiId,
    CommandId,
    ContainerId,
    KitId,
    PhasePath,
    PlaceId,
    PortId,
    UserId,
)
from orchestrator.kernel.quantities import degC, degC_per_min, hour
from orchestrator.phases.verify_identity import VerifyIdentity
from orchestrator.recipe.model import (
    MeasuredValue,
    Operation,
    Recipe,
    RepeatUntil,
    Step,
    UnitProcedure,
    When,
)
from orchestrator.records.comparison import Comparison, LedgerEffect
from orchestrator.virtual_time import USUAL_START
from tests.unit.records.diary import BATCH, Diary, by_hand, names, pump, turn_empty, valves


class Ledger(list[LedgerEffect]):
    """A ledger written by hand."""

    def add(
        self,
        by: str,
        kind: str,
        at_s: float,
        to_s: float | None = None,
        *,
        things: Iterable[str] = (),
        places: Iterable[str] = (),
        amount: float = 0.0,
        consequence: bool = False,
        detail: dict[str, str | float] | None = None,
    ) -> None:
        until_s = at_s if to_s is None else to_s
        self.append(
            LedgerEffect(
                len(self) + 1,
                at_s,
                until_s,
                by,
                kind,
                tuple(things),
                tuple(places),
                amount,
                "1",
                detail or {},
                consequence,
            )
        )

    def flow(self, at_s: float, to_s: float, amount: float, things: str = "C-1 K-1/vessel") -> None:
        self.add("P1", "moved_liquid", at_s, to_s, things=things.split(), amount=amount)

    def toggle(self, at_s: float, branch: str, is_open: bool, by: str = "V1") -> None:
        self.add(by, "valve", at_s, places=(f"station/{branch}",), amount=float(is_open))

    def move(self, by: str, at_s: float, thing: str, start: str, to: str) -> None:
        self.add(by, "moved_thing", at_s, things=(thing,), places=(start, to))

    def carry(
        self,
        at_s: float,
        to: str = "bin",
        *,
        start: str = "rack",
        by: str = "U-1",
        thing: str = "C-1",
    ) -> None:
        self.add(by, "carried_out", at_s, things=(thing,), places=(start, to))

    def ramp(self, at_s: float, to_s: float, start: float, reached: float, rate: float) -> None:
        detail: dict[str, str | float] = {
            "start_degC": start,
            "reached_degC": reached,
            "rate_kelvin_per_min": rate,
        }
        self.add("F1", "ramped", at_s, to_s, amount=reached - start, detail=detail)


def carry(picks: bool, thing: str, place: str) -> Act:
    kind = PickContainer if picks else PlaceContainer
    return kind(
        unit="arm",
        longest=1 * hour,
        on_interruption=OnInterruption.HOLD,
        quieten=Quieten.HALT,
        container=ContainerId(thing),
        place=PlaceId(place),
    )


def ramp_to(temperature: int) -> RampSegment:
    return RampSegment(
        unit="freezer",
        longest=1 * hour,
        on_interruption=OnInterruption.CONTINUE,
        quieten=Quieten.LEAVE_RUNNING,
        containers=(ContainerId("C-1"),),
        place=PlaceId("freezer"),
        rate=1 * degC_per_min,
        to=temperature * degC,
    )


def turned(at_s: float, amount: float, *, kit: str = "") -> Ledger:
    """Return a ledger of one turn that moved nothing."""
    ledger = Ledger()
    ledger.add("P1", "turned", at_s, at_s + 2, amount=amount, detail={"kit": kit})
    return ledger


def one_act(
    act: Act, equipment: str, ledger: Ledger, *, done: str = "1", verdict: str = "all"
) -> Comparison:
    """Return what is said of one act from second 100 to 200."""
    diary = Diary()
    diary.settle(diary.intend(act, equipment, at_s=100), verdict, done, at_s=200)
    return diary.judged(ledger)


# How much ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "moved", "expected"),
    [
        (60, 60.0, []),
        (60, 62.9, []),
        (60, 57.1, []),
        (60, 63.1, [("repeated", "P1")]),
        (60, 56.9, [("lost", "P1")]),
        (1, 1.29, []),
        (1, 0.71, []),
        (1, 1.31, [("repeated", "P1")]),
        (1, 0.69, [("lost", "P1")]),
    ],
)
def test_more_and_less_are_beyond_five_percent_or_three_tenths_of_a_millilitre(
    asked: float, moved: float, expected: list[tuple[str, str]]
) -> None:
    ledger = Ledger()
    ledger.flow(100, 190, moved)
    said = one_act(pump(asked), "P1", ledger, done=f"{asked} mL")
    assert names(said) == expected
    assert said.acts[0].error == "5 % or 0.3 mL"


def test_a_part_that_was_settled_must_be_there_and_the_rest_is_not_lost() -> None:
    ledger = Ledger()
    ledger.flow(100, 130, 20)
    said = one_act(pump(60), "P1", ledger, done="20 mL", verdict="part")
    assert said.agrees
    assert said.acts[0].verdict == "part"
    assert names(one_act(pump(60), "P1", ledger, done="30 mL", verdict="part")) == [("lost", "P1")]


def test_an_act_says_who_did_it_with_what_and_how_much() -> None:
    ledger = Ledger()
    ledger.flow(100, 190, 60.4)
    (act,) = one_act(pump(60), "P1", ledger, done="60 mL").acts
    assert (act.instrument, act.kind, act.attempts) == ("P1", "pump_volume", 1)
    assert act.containers == ("C-1", "K-1/vessel")
    assert (act.asked, act.shown, act.verdict, act.effects) == (
        "60 mL",
        "60.4 mL",
        "as asked",
        (1,),
    )
    assert act.error_source.startswith("pump tube and balance")


def test_a_finding_reads_as_one_line() -> None:
    said = one_act(pump(60), "P1", Ledger(), done="60 mL")
    assert str(said.lost[0]) == (
        "lost: B-1 move/once/01-transfer word 1: P1 pump_volume: 0 mL for 60 mL"
    )


@pytest.mark.parametrize(
    ("reached", "expected"),
    [(-20.4, []), (-30.0, [("repeated", "F1")]), (-10.0, [("lost", "F1")])],
)
def test_a_ramp_is_judged_by_where_it_came_to(
    reached: float, expected: list[tuple[str, str]]
) -> None:
    ledger = Ledger()
    ledger.ramp(100, 180, 0, reached, 1.0)
    assert names(one_act(ramp_to(-20), "F1", ledger)) == expected


@pytest.mark.parametrize(
    ("people_say", "expected"),
    [("-10 °C", []), ("-9.7 °C", []), ("-12 °C", [("lost", "F1")]), ("-20 °C", [("lost", "F1")])],
)
def test_a_ramp_that_people_found_cut_short_is_over_where_they_say(
    people_say: str, expected: list[tuple[str, str]]
) -> None:
    ledger = Ledger()
    ledger.ramp(100, 140, 0, -10, 1.0)
    diary = Diary()
    command = diary.intend(ramp_to(-20), "F1", at_s=100)
    diary.doubt(command, at_s=150)
    diary.reconcile(command, "part", people_say, at_s=200)
    diary.ended(at_s=300)
    judged = diary.judged(ledger)
    assert names(judged) == expected
    assert [one.instrument for one in judged.held] == ["F1"]


@pytest.mark.parametrize(("doubted_at_s", "expected"), [(150, []), (110, [("unexplained", "F1")])])
def test_what_the_mains_did_is_named_by_the_doubt_that_it_left(
    doubted_at_s: float, expected: list[tuple[str, str]]
) -> None:
    ledger = Ledger()
    ledger.ramp(100, 120, 0, -10, 1.0)
    ledger.add("mains:F1", "set_temperature", 120, 120, places=("freezer",), amount=21)
    diary = Diary()
    command = diary.intend(ramp_to(-20), "F1", at_s=100)
    diary.doubt(command, at_s=doubted_at_s)
    diary.reconcile(command, "part", "-10 °C", at_s=200)
    assert names(diary.judged(ledger)) == expected


def test_a_ramp_that_nobody_was_asked_about_is_not_over_where_its_driver_says() -> None:
    ledger = Ledger()
    ledger.ramp(100, 140, 0, -10, 1.0)
    diary = Diary()
    diary.settle(diary.intend(ramp_to(-20), "F1", at_s=100), "part", "-10 °C", at_s=200)
    diary.ended(at_s=300)
    assert names(diary.judged(ledger)) == [("lost", "F1")]


def test_a_ramp_at_another_rate_is_not_the_one_that_was_asked_for() -> None:
    ledger = Ledger()
    ledger.ramp(100, 180, 0, -20, 2.0)
    assert names(one_act(ramp_to(-20), "F1", ledger)) == [("repeated", "F1"), ("lost", "F1")]


def test_a_ramp_to_where_the_stage_stands_is_nothing_to_do() -> None:
    ledger = Ledger()
    ledger.append(LedgerEffect(0, 0, 0, "F1", "set_temperature", (), ("freezer",), -20.2, "degC"))
    assert [act.verdict for act in one_act(ramp_to(-20), "F1", ledger).acts] == ["nothing to do"]


def test_consequences_and_how_things_were_found_are_no_effects() -> None:
    ledger = Ledger()
    ledger.flow(100, 190, 60)
    ledger.add("F1", "froze", 150, things=("C-4",), consequence=True)
    ledger.append(LedgerEffect(0, 0, 0, "I1", "set_co2", (), ("incubator",), 5.0, "percent"))
    said = one_act(pump(60), "P1", ledger, done="60 mL")
    assert said.agrees
    assert said.effects == 1


# Whose effect --------------------------------------------------------------------------------


def test_two_acts_on_one_instrument_at_the_same_instant_each_have_their_own() -> None:
    diary, ledger = Diary(), Ledger()
    ledger.toggle(10, "p1", True)
    ledger.toggle(10, "vessel", True)
    diary.settle(diary.intend(valves("p1", "vessel"), "V1", word=1, at_s=10), at_s=10)
    diary.settle(diary.intend(valves(), "V1", word=2, at_s=65), at_s=65)
    diary.settle(diary.intend(valves("p2", "vessel"), "V1", word=3, at_s=65), at_s=65)
    for branch, is_open in (("p1", False), ("vessel", False), ("p2", True), ("vessel", True)):
        ledger.toggle(65, branch, is_open)
    said = diary.judged(ledger)
    assert said.agrees, said.findings
    assert [act.effects for act in said.acts] == [(1, 2), (3, 4), (5, 6)]


def test_writing_outputs_to_what_they_are_is_nothing_to_do() -> None:
    diary, ledger = Diary(), Ledger()
    ledger.toggle(10, "p1", True)
    diary.settle(diary.intend(valves("p1"), "V1", word=1, at_s=10), at_s=10)
    diary.settle(diary.intend(valves("p1"), "V1", word=2, at_s=20), at_s=20)
    assert [act.verdict for act in diary.judged(ledger).acts] == ["as asked", "nothing to do"]


def test_a_shut_that_never_came_is_lost_though_the_next_act_shuts_the_valve() -> None:
    diary, ledger = Diary(), Ledger()
    ledger.toggle(10, "p1", True)
    ledger.toggle(30, "p1", False)
    for word, at_s, opened in ((1, 10, ("p1",)), (2, 20, ()), (3, 30, ())):
        diary.settle(diary.intend(valves(*opened), "V1", word=word, at_s=at_s), at_s=at_s)
    assert [(one.kind, one.word) for one in diary.judged(ledger).findings] == [("lost", 2)]


def test_a_doubt_that_was_never_resolved_takes_nothing_from_the_next_act() -> None:
    diary, ledger = Diary(), Ledger()
    diary.doubt(diary.intend(valves("p1"), "V1", batch="B-1", at_s=10), at_s=11)
    diary.settle(diary.intend(valves("p1"), "V1", batch="B-2", at_s=500), at_s=500)
    ledger.toggle(500, "p1", True)
    said = diary.judged(ledger)
    assert said.agrees, said.findings
    assert [act.verdict for act in said.acts] == ["held", "as asked"]
    assert [held.batch for held in said.held] == ["B-1"]


def test_an_attempt_that_went_on_after_the_software_died_is_one_act_with_the_next() -> None:
    diary, ledger = Diary(), Ledger()
    first = diary.intend(pump(60), "P1", at_s=10)
    ledger.flow(10.1, 50, 25)  # it turned on while nobody watched, until it was halted
    diary.settle(first, "part", "25 mL", at_s=120)
    second_one = diary.intend(pump(60), "P1", attempt=2, at_s=300)
    ledger.flow(300.1, 360, 35)
    diary.settle(second_one, "all", "35 mL", at_s=361)
    said = diary.judged(ledger)
    assert said.agrees, said.findings
    assert [(act.attempts, act.effects) for act in said.acts] == [(2, (1, 2))]


def test_attempts_that_overlap_a_death_are_summed() -> None:
    diary, ledger = Diary(), Ledger()
    diary.intend(pump(60), "P1", at_s=10)  # never ended: the software died
    again = diary.intend(pump(60), "P1", attempt=2, at_s=40)
    ledger.flow(10.1, 40, 20)
    ledger.flow(40.1, 130, 60)
    diary.settle(again, "all", "60 mL", at_s=130)
    assert names(diary.judged(ledger)) == [("repeated", "P1")]


def test_what_begins_after_a_hasty_settlement_is_still_the_acts() -> None:
    ledger = Ledger()
    ledger.flow(230, 320, 60)
    assert one_act(pump(60), "P1", ledger, done="60 mL").agrees
    ledger.flow(400, 490, 60)
    assert names(one_act(pump(60), "P1", ledger, done="60 mL")) == [("repeated", "P1")]


def test_what_an_instrument_does_long_after_its_last_act_is_named() -> None:
    ledger = Ledger()
    ledger.flow(100, 190, 60)
    ledger.flow(9000, 9090, 60)
    assert names(one_act(pump(60), "P1", ledger, done="60 mL")) == [("unexplained", "P1")]


def test_what_an_instrument_does_before_its_first_act_is_named() -> None:
    ledger = Ledger()
    ledger.flow(1, 20, 60)
    ledger.flow(100, 190, 60)
    assert names(one_act(pump(60), "P1", ledger, done="60 mL")) == [("unexplained", "P1")]


@pytest.mark.parametrize("dropped_again", [False, True])
def test_a_bag_that_fell_was_not_brought(dropped_again: bool) -> None:
    ledger = Ledger()
    ledger.move("R1", 120, "C-1", "rack", "gripper:R1")
    if dropped_again:
        ledger.add("R1", "dropped", 130, things=("C-1",), places=("gripper:R1", "floor"))
    said = one_act(carry(True, "C-1", "rack"), "R1", ledger)
    assert names(said) == ([("lost", "R1")] if dropped_again else [])


def test_a_kit_is_carried_by_its_tray() -> None:
    ledger = Ledger()
    ledger.move("R1", 120, "K-1", "gripper:R1", "rotor")
    assert one_act(carry(False, "K-1/vessel", "rotor"), "R1", ledger).agrees


def test_people_who_work_at_once_each_have_their_own() -> None:
    diary, ledger = Diary(), Ledger()
    acts = [
        by_hand(Handwork.DRAW_SAMPLE, f"C-{n}", f"T-{n}", parameters={"volume": "1 mL"})
        for n in (1, 2)
    ]
    commands = [
        diary.intend(act, "hands", batch=f"B-{n}", at_s=10) for n, act in enumerate(acts, 1)
    ]
    for n, person in ((1, "U-1"), (2, "U-2")):
        diary.taken(person, batch=f"B-{n}", at_s=20)
    ledger.add("U-2", "sampled", 90, things=("C-2", "T-2"), amount=1000)
    ledger.add("U-1", "sampled", 95, things=("C-1", "T-1"), amount=1000)
    for command in commands:
        diary.settle(command, at_s=100)
    said = diary.judged(ledger)
    assert said.agrees, said.findings
    assert [(act.people, act.effects) for act in said.acts] == [(("U-1",), (2,)), (("U-2",), (1,))]


@pytest.mark.parametrize(
    ("is_reported", "expected"),
    [(True, []), (False, [("unexplained", "U-2"), ("lost", "hands")])],
    ids=["late", "never"],
)
def test_who_reports_late_may_be_who_did_it(
    is_reported: bool, expected: list[tuple[str, str]]
) -> None:
    diary, ledger = Diary(), Ledger()
    act = by_hand(Handwork.DRAW_SAMPLE, "C-1", "T-1", parameters={"volume": "1 mL"})
    command = diary.intend(act, "hands", at_s=10)
    diary.taken("U-1", at_s=20)
    ledger.add("U-2", "sampled", 90, things=("C-1", "T-1"), amount=1000)
    if is_reported:
        diary.late("U-2", at_s=95)
    diary.settle(command, at_s=100)
    assert names(diary.judged(ledger)) == expected


def test_doors_and_what_is_taken_in_hand_belong_to_the_work() -> None:
    diary, ledger = Diary(), Ledger()
    command = diary.intend(by_hand(Handwork.LOAD, "C-1", at=["incubator/1"]), "hands", at_s=10)
    ledger.add("U-1", "door", 20, places=("incubator",), amount=1)
    ledger.move("U-1", 21, "C-1", "rack", "hands")
    ledger.move("U-1", 22, "C-1", "hands", "incubator/1")
    ledger.add("U-1", "door", 23, places=("incubator",), amount=0)
    diary.settle(command, at_s=30)
    assert diary.judged(ledger).agrees
    ledger.add("U-1", "door", 5000, places=("incubator",), amount=1)
    assert names(diary.judged(ledger)) == [("unexplained", "U-1")]


# Carried away from a line --------------------------------------------------------------------


@pytest.mark.parametrize("carried_at_s", [40, 100, 900], ids=["before", "at once", "after"])
def test_what_a_person_says_they_carried_away_names_the_carrying(carried_at_s: float) -> None:
    diary, ledger = Diary(), Ledger()
    diary.carried("C-1", "bin", at_s=100)
    ledger.carry(carried_at_s, by="U-2")
    said = diary.judged(ledger)
    assert said.agrees, said.findings
    assert said.effects == 1


def test_a_carrying_that_nobody_says_is_named() -> None:
    diary, ledger = Diary(), Ledger()
    ledger.carry(100)
    assert names(diary.judged(ledger)) == [("unexplained", "U-1")]


@pytest.mark.parametrize(
    ("thing", "place"), [("C-2", "bin"), ("C-1", "quarantine")], ids=["thing", "place"]
)
def test_another_thing_or_place_than_was_said_is_lost_here_and_named_there(
    thing: str, place: str
) -> None:
    diary, ledger = Diary(), Ledger()
    diary.carried("C-1", "bin", at_s=100)
    ledger.move("U-1", 10, "C-1", "dock", "rack")
    diary.settle(diary.intend(by_hand(Handwork.LOAD, "C-1", at=["rack"]), "hands", at_s=5), at_s=20)
    ledger.carry(100, place, thing=thing)
    said = diary.judged(ledger)
    assert [(one.kind, one.effects) for one in said.findings] == [
        ("unexplained", (2,)),
        ("lost", ()),
    ]
    assert "C-1 was carried to bin" in said.lost[0].text


def test_what_was_said_and_never_carried_is_lost_and_stands_where_it_stood() -> None:
    diary, ledger = Diary(), Ledger()
    ledger.append(LedgerEffect(0, 0, 0, "", "moved_thing", ("C-1",), ("", "rack")))
    diary.carried("C-1", "bin", at_s=100)
    (finding,) = diary.judged(ledger).findings
    assert str(finding) == (
        "lost: hands carry_away: U-1 says that C-1 was carried to bin; it stood at rack"
    )


def test_what_was_said_in_one_shift_and_done_in_another_is_lost_and_done_unsaid() -> None:
    diary, ledger = Diary(), Ledger()
    ledger.append(LedgerEffect(0, 0, 0, "", "moved_thing", ("C-1",), ("", "rack")))
    diary.carried("C-1", "bin", at_s=100)
    ledger.carry(3 * 24 * 3600)
    assert names(diary.judged(ledger)) == [("unexplained", "U-1"), ("lost", "hands")]


@pytest.mark.parametrize("again_at_s", [102, 4000])
def test_what_was_carried_twice_and_said_once_is_repeated(again_at_s: float) -> None:
    diary, ledger = Diary(), Ledger()
    diary.carried("C-1", "bin", at_s=100)
    ledger.carry(101)
    ledger.carry(again_at_s, start="bin")
    (finding,) = diary.judged(ledger).findings
    assert (finding.kind, finding.instrument, finding.effects) == ("repeated", "hands", (2,))


def test_each_saying_names_one_carrying() -> None:
    diary, ledger = Diary(), Ledger()
    diary.carried("C-1", "bin", at_s=100)
    ledger.carry(101)
    diary.settle(
        diary.intend(by_hand(Handwork.LOAD, "C-1", at=["rack"]), "hands", at_s=150), at_s=210
    )
    ledger.move("U-1", 200, "C-1", "bin", "rack")
    diary.carried("C-1", "bin", at_s=300)
    assert [(one.kind, one.at) for one in diary.judged(ledger).findings] == [
        ("lost", diary.events[-1].at)
    ], "it stands at the rack again"
    ledger.carry(301)
    said = diary.judged(ledger)
    assert said.agrees, said.findings


def test_a_thing_that_stands_where_it_was_said_to_be_carried_needs_no_carrying() -> None:
    diary, ledger = Diary(), Ledger()
    diary.carried("C-1", "bin", at_s=100)
    diary.carried("C-1", "bin", at_s=200)
    ledger.carry(101)
    assert diary.judged(ledger).agrees


@pytest.mark.parametrize("stands_at", ["hook", "rack"], ids=["there", "elsewhere"])
def test_what_a_person_found_needs_no_carrying(stands_at: str) -> None:
    diary, ledger = Diary(), Ledger()
    ledger.append(LedgerEffect(0, 0, 0, "", "moved_thing", ("C-1",), ("", stands_at)))
    diary.found("C-1", "hook", at_s=100)
    assert diary.judged(ledger).agrees


@pytest.mark.parametrize("kind", ["carried_out", "moved_thing"])
def test_finding_a_thing_does_not_say_who_carried_it_there(kind: str) -> None:
    diary, ledger = Diary(), Ledger()
    ledger.add("U-2", kind, 90, things=("C-1",), places=("rack", "hook"))
    diary.found("C-1", "hook", at_s=100)
    diary.carried("C-1", "quarantine", at_s=200)
    ledger.carry(200, "quarantine", start="hook")
    (finding,) = diary.judged(ledger).findings
    assert (finding.kind, finding.instrument, finding.effects) == ("unexplained", "U-2", (1,))


def test_a_thing_is_taken_in_hand_and_put_down_within_the_cell_as_was_said() -> None:
    diary, ledger = Diary(), Ledger()
    diary.carried("C-1", "rack", at_s=100)
    ledger.move("U-1", 101, "C-1", "hook", "hands")
    ledger.move("U-1", 102, "C-1", "hands", "rack")
    said = diary.judged(ledger)
    assert said.agrees, said.findings
    ledger.move("U-1", 103, "C-1", "rack", "hands")
    assert [one.effects for one in diary.judged(ledger).unexplained] == [(3,)]


P1 = Joint(kit=KitId("K-1"), port=PortId("p1"))


def _cut(ledger: Ledger, at_s: float, *, thing: str = "C-1", port: str = "p1") -> None:
    ledger.add(
        "U-1", "parted", at_s, things=(thing, "K-1"), places=(f"K-1:{port}",),
        detail={"how": "seal", "port": port},
    )  # fmt: skip


def test_who_says_that_they_sealed_it_off_names_one_cut() -> None:
    diary, ledger = Diary(), Ledger()
    diary.carried("C-1", "bin", at_s=100, sealed_off=P1)
    _cut(ledger, 101)
    ledger.carry(102)
    said = diary.judged(ledger)
    assert said.agrees, said.findings
    _cut(ledger, 103)
    assert [one.effects for one in diary.judged(ledger).findings] == [(3,)], "cut once more"


def test_a_cut_that_nobody_says_is_named() -> None:
    diary, ledger = Diary(), Ledger()
    diary.carried("C-1", "bin", at_s=100)
    _cut(ledger, 101)
    ledger.carry(102)
    assert names(diary.judged(ledger)) == [("unexplained", "U-1")]


@pytest.mark.parametrize(
    ("thing", "port", "at_s"),
    [("C-2", "p1", 101.0), ("C-1", "p2", 101.0), ("C-1", "p1", 3 * 24 * 3600.0)],
    ids=["another bag", "another port", "another day"],
)
def test_another_cut_than_was_said_is_lost_here_and_named_there(
    thing: str, port: str, at_s: float
) -> None:
    diary, ledger = Diary(), Ledger()
    diary.carried("C-1", "bin", at_s=100, sealed_off=P1)
    ledger.carry(102)
    _cut(ledger, at_s, thing=thing, port=port)
    said = diary.judged(ledger)
    assert names(said) == [("unexplained", "U-1"), ("lost", "hands")]
    assert "C-1 was sealed off K-1:p1" in said.lost[0].text


def test_what_an_arm_moves_is_not_what_a_person_says_they_carried() -> None:
    diary, ledger = Diary(), Ledger()
    diary.settle(diary.intend(carry(True, "C-9", "rack"), "R1", at_s=1), "nothing", "", at_s=2)
    diary.carried("C-1", "dock", at_s=100)
    ledger.move("R1", 5000, "C-1", "rack", "dock")
    assert names(diary.judged(ledger)) == [("unexplained", "R1"), ("lost", "hands")]


def test_hand_work_keeps_its_effect_though_somebody_says_they_carried_the_thing() -> None:
    diary, ledger = Diary(), Ledger()
    command = diary.intend(by_hand(Handwork.LOAD, "C-1", at=["dock"]), "hands", at_s=90)
    ledger.move("U-1", 110, "C-1", "rack", "dock")
    diary.carried("C-1", "dock", at_s=115)
    diary.settle(command, at_s=120)
    said = diary.judged(ledger)
    assert said.agrees, said.findings
    assert [act.verdict for act in said.acts] == ["as asked"]


def test_where_a_thing_was_carried_is_where_the_next_act_finds_it() -> None:
    diary, ledger = Diary(), Ledger()
    ledger.append(LedgerEffect(0, 0, 0, "", "moved_thing", ("C-1",), ("", "rack")))
    diary.carried("C-1", "bin", at_s=100)
    ledger.carry(100)
    diary.settle(
        diary.intend(by_hand(Handwork.LOAD, "C-1", at=["rack"]), "hands", at_s=200), at_s=210
    )
    assert names(diary.judged(ledger)) == [("lost", "hands")]


# What else is named ----------------------------------------------------------------------------


def test_an_outside_act_names_what_was_done_since_the_last_intent_and_nothing_before() -> None:
    diary, ledger = Diary(), Ledger()
    ledger.toggle(50, "p3", True, by="panel:V1")
    ledger.toggle(100, "p1", True)
    diary.settle(diary.intend(valves("p1", "p3"), "V1", at_s=100), at_s=100)
    ledger.toggle(150, "p4", True, by="panel:V1")
    diary.outside("V1", at_s=200)
    said = diary.judged(ledger)
    assert [finding.effects for finding in said.unexplained] == [(1,)]


def test_a_power_cycle_that_was_seen_is_named() -> None:
    diary, ledger = Diary(), Ledger()
    ledger.toggle(100, "p1", True)
    diary.settle(diary.intend(valves("p1"), "V1", at_s=100), at_s=100)
    ledger.toggle(8000, "p1", False)
    assert names(diary.judged(ledger)) == [("unexplained", "V1")]
    diary.outside("V1", at_s=8100)
    assert diary.judged(ledger).agrees


def test_an_outside_act_on_one_instrument_names_nothing_of_another() -> None:
    diary, ledger = Diary(), Ledger()
    ledger.toggle(50, "p3", True, by="panel:V1")
    diary.outside("V2", at_s=60)
    assert names(diary.judged(ledger)) == [("unexplained", "V1")]


def test_a_settlement_that_no_intent_began_is_lost() -> None:
    diary = Diary()
    diary.settle(CommandId("B-1/move#1.1"), at_s=5)
    (finding,) = diary.judged([]).lost
    assert "never intended" in finding.text


def test_an_act_without_trace_is_named_and_not_judged() -> None:
    tare = Tare(
        unit="station",
        longest=1 * hour,
        on_interruption=OnInterruption.REPEAT,
        quieten=Quieten.LEAVE_RUNNING,
    )
    said = one_act(tare, "W1", Ledger())
    assert said.agrees
    assert [(one.instrument, one.act) for one in said.not_judged] == [("W1", "tare")]


@pytest.mark.parametrize(("verdict", "lost"), [("nothing", 1), ("all", 1)])
def test_an_act_without_effect_is_lost_once_its_batch_is_complete(verdict: str, lost: int) -> None:
    diary = Diary()
    diary.settle(diary.intend(pump(60), "P1", at_s=10), verdict, "", at_s=20)
    assert diary.judged([]).lost_acts == (verdict == "all")
    diary.ended(at_s=30)
    assert diary.judged([]).lost_acts == lost


def test_an_act_that_is_on_record_as_failed_is_not_lost() -> None:
    diary = Diary()
    diary.fail(diary.intend(pump(60), "P1", at_s=10), at_s=20)
    diary.ended(at_s=30)
    assert diary.judged([]).agrees


# The branch taken ------------------------------------------------------------------------------


def _step(slug: str) -> Step:
    phase = VerifyIdentity(container="kit", at="station", longest_hold=1 * hour)
    return Step(slug=slug, name=slug, phase=phase)


def _branching() -> Recipe:
    reading = MeasuredValue(name="density")
    condition = Condition(reading=reading, lowest="1", highest="2", fresh_within=1 * hour)
    operation = Operation(
        slug="once",
        name="Once",
        body=(
            _step("01-first"),
            When(
                slug="check",
                name="Check",
                condition=condition,
                then=(_step("02-then"),),
                otherwise=(_step("03-otherwise"),),
            ),
            RepeatUntil(
                slug="feed", name="Feed", at_most=3, condition=condition, body=(_step("04-feed"),)
            ),
        ),
    )
    body = (UnitProcedure(slug="move", name="Move", body=(operation,)),)
    return Recipe.written(Recipe(title="T", document="D", version="1", author="a", body=body))


def _ran(*phases: str, branch: str = "then") -> Comparison:
    diary, recipe = Diary(), _branching()
    signed = Signed(
        signer=UserId("U-1"),
        printed_name="A",
        meaning="authored",
        signed_digest=recipe.digest,
        signed_at=USUAL_START,
    )
    diary.write(
        RecipeSubmitted(
            recipe=recipe.digest,
            title="T",
            document="D",
            version="1",
            content=recipe.content.decode(),
            signature=signed,
        )
    )
    made = {
        "batch": BATCH,
        "coi": CoiId("COI-A"),
        "recipe": recipe.digest,
        "cell": "0" * 64,
        "engine": "1",
        "signature": signed,
        **dict.fromkeys(("containers", "kits", "units", "places", "ordered"), ()),
    }
    diary.write(BatchMade.model_validate(made))
    diary.write(
        BranchTaken(
            batch=BATCH, path=PhasePath("move/once/check"), branch=branch, because="density"
        )
    )
    for phase in phases:
        path = PhasePath(f"move/once/{phase}")
        diary.write(
            PhaseStarted(batch=BATCH, path=path, recipe=recipe.digest, phase="verify_identity/1")
        )
        diary.write(PhaseEnded(batch=BATCH, path=path, report={}))
    diary.ended()
    return diary.judged([])


def test_a_phase_of_the_branch_taken_that_never_ran_is_lost() -> None:
    feeds = ("feed[1]/04-feed", "feed[2]/04-feed")
    assert _ran("01-first", "check[then]/02-then", *feeds).agrees
    assert _ran("01-first", "check[otherwise]/03-otherwise", *feeds, branch="otherwise").agrees
    left_out = _ran("01-first", *feeds)
    assert [one.path for one in left_out.lost] == ["move/once/check[then]/02-then"]
    assert [one.path for one in _ran("01-first", "check[then]/02-then").lost] == [
        "move/once/feed[1]/04-feed"
    ]


# Many batches at once --------------------------------------------------------------------------

Fault = Literal["", "swallowed", "doubled", "half", "unsaid"]


@dataclass
class Room:
    """A room that really does what it is told, or what a fault makes of it."""

    chance: Random
    diary: Diary = field(default_factory=Diary)
    ledger: Ledger = field(default_factory=Ledger)
    opened: set[str] = field(default_factory=set[str])
    stands: dict[str, str] = field(default_factory=dict[str, str])
    expected: list[tuple[str, str, int | None]] = field(
        default_factory=list[tuple[str, str, int | None]]
    )
    now_s: float = 0.0
    later: list[tuple[float, Callable[[], None]]] = field(
        default_factory=list[tuple[float, Callable[[], None]]]
    )

    def fault(self, *possible: Fault) -> Fault:
        return self.chance.choice(possible) if self.chance.random() < 0.15 else ""

    def expect(self, kind: str, batch: str, word: int) -> None:
        self.expected.append((kind, batch, word))

    def rest(self, fault: Fault) -> None:
        """Let some time pass, or none at all; after a fault there is always some."""
        self.now_s += self.chance.choice((0.0, 0.2, 30.0)) if not fault else 5.0
        for due in [one for one in self.later if one[0] <= self.now_s]:
            self.later.remove(due)
            due[1]()

    def valves(self, batch: str, word: int, *wanted: str) -> None:
        fault = self.fault("swallowed", "doubled")
        command = self.diary.intend(valves(*wanted), "V1", batch=batch, word=word, at_s=self.now_s)
        changed = sorted(self.opened ^ set(wanted))
        for branch in changed if fault != "swallowed" else ():
            for is_open in [branch in wanted, branch not in wanted, branch in wanted][
                : 3 if fault == "doubled" else 1
            ]:
                self.ledger.toggle(self.now_s, branch, is_open)
        if fault != "swallowed":
            self.opened = set(wanted)
        self.diary.settle(command, at_s=self.now_s)
        if fault and changed:
            self.expect("lost" if fault == "swallowed" else "repeated", batch, word)
        self.rest(fault)

    def pump(self, batch: str, word: int, volume: float) -> None:
        fault = self.fault("swallowed", "doubled", "half")
        parts = [volume]
        if self.chance.random() < 0.3:
            first = round(volume * self.chance.uniform(0.2, 0.8))
            parts = [first, volume - first]
        act = pump(volume, source=f"C-{batch}", target=f"K-{batch}/vessel")
        for n, part in enumerate(parts, 1):
            command = self.diary.intend(
                act, "P1", batch=batch, word=word, attempt=n, at_s=self.now_s
            )
            much = part * {"swallowed": 0.0, "doubled": 2.0, "half": 0.5}.get(fault, 1.0)
            begun_s, self.now_s = self.now_s, self.now_s + much * 1.5
            if much:
                off = 1.0 + self.chance.uniform(-0.02, 0.02)
                things = f"C-{batch} K-{batch}/vessel"
                self.ledger.flow(begun_s, self.now_s, much * off, things)
            verdict = "all" if n == len(parts) else "part"
            self.diary.settle(command, verdict, f"{part} mL", at_s=self.now_s)
            self.rest(fault)
        if fault:
            self.expect("repeated" if fault == "doubled" else "lost", batch, word)

    def carry(self, batch: str, word: int, *, start: str, to: str) -> None:
        """Pick or place the batch's bag; from where it doesn't stand, nothing can be brought."""
        bag = f"C-{batch}"
        stands = self.stands[bag]
        fault = self.fault("swallowed", "doubled") if stands == start else ""
        picks = to.startswith("gripper")
        act = carry(picks, bag, start if picks else to)
        command = self.diary.intend(act, "R1", batch=batch, word=word, at_s=self.now_s)
        ways = [(start, to), (to, start), (start, to)][: 3 if fault == "doubled" else 1]
        for a, b in ways if stands == start and fault != "swallowed" else ():
            self.now_s += 3.0
            self.ledger.move("R1", self.now_s, bag, a, b)
            self.stands[bag] = b
        self.now_s += 3.0
        self.diary.settle(command, at_s=self.now_s)
        if self.stands[bag] != to:
            self.expect("lost", batch, word)
        if fault == "doubled":
            self.expect("repeated", batch, word)
        self.rest(fault)

    def sample(self, batch: str, word: int) -> None:
        """Offer hand work now; it is done and reported while others go on."""
        fault = self.fault("swallowed", "doubled", "half")
        things = (f"C-{batch}", f"T-{batch}-{word}")
        act = by_hand(Handwork.DRAW_SAMPLE, *things, parameters={"volume": "1 mL"})
        command = self.diary.intend(act, "hands", batch=batch, word=word, at_s=self.now_s)
        person = self.chance.choice(("U-1", "U-2", "U-3"))

        def done() -> None:
            times = {"swallowed": 0, "doubled": 2}.get(fault, 1)
            for _ in range(times):
                amount = 500 if fault == "half" else 1000
                self.ledger.add(person, "sampled", self.now_s, things=things, amount=amount)
            self.diary.settle(command, at_s=self.now_s)

        self.later.append((self.now_s + self.chance.uniform(0.0, 300.0), done))
        if fault:
            self.expect("repeated" if fault == "doubled" else "lost", batch, word)
        self.rest(fault)

    def clear(self, batch: str, word: int) -> None:
        """Have somebody carry a bag away, who says so before or after."""
        fault = self.fault("swallowed", "doubled", "unsaid")
        person = self.chance.choice(("U-1", "U-2", "U-3"))
        bag = f"W-{batch}-{word}"

        def say() -> None:
            if fault != "unsaid":
                self.diary.carried(bag, "bin", by=person, at_s=self.now_s)

        def do() -> None:
            for start in ("rack", "bin")[: {"swallowed": 0, "doubled": 2}.get(fault, 1)]:
                self.ledger.carry(self.now_s, start=start, by=person, thing=bag)

        first, then = self.chance.choice(((say, do), (do, say)))
        first()
        self.later.append((self.now_s + self.chance.uniform(0.0, 300.0), then))
        if fault:
            kinds = {"swallowed": "lost", "doubled": "repeated", "unsaid": "unexplained"}
            self.expected.append((kinds[fault], "None", None))
        self.rest(fault)


def _work_of(room: Room, batch: str) -> list[Callable[[], None]]:
    """Return a batch's acts in their order; the next may begin when one has returned."""
    words = count(1)
    acts: list[Callable[[], None]] = []
    for turn in range(room.chance.randint(1, 4)):
        a, b, c = next(words), next(words), next(words)
        port, volume = room.chance.choice(("p1", "p2")), room.chance.randint(5, 200)

        def transfer(
            a: int = a, b: int = b, c: int = c, port: str = port, volume: int = volume
        ) -> None:
            room.valves(batch, a, port, "vessel")
            room.pump(batch, b, volume)
            room.valves(batch, c)

        def move(a: int = next(words), b: int = next(words), back: bool = turn % 2 == 1) -> None:
            here, there = (f"{batch}/b", f"{batch}/a") if back else (f"{batch}/a", f"{batch}/b")
            room.carry(batch, a, start=here, to="gripper:R1")
            room.carry(batch, b, start="gripper:R1", to=there)

        def sample(a: int = next(words)) -> None:
            room.sample(batch, a)

        def clear(a: int = next(words)) -> None:
            room.clear(batch, a)

        acts += room.chance.sample([transfer, move, sample, clear], k=room.chance.randint(1, 4))
    return acts


def _many_batches(seed: int) -> tuple[Room, Comparison]:
    room = Room(Random(seed))
    batches = [f"B-{n}" for n in range(1, room.chance.randint(2, 5))]
    room.stands = {f"C-{batch}": f"{batch}/a" for batch in batches}
    found = [
        LedgerEffect(0, 0.0, 0.0, "", "moved_thing", (bag,), ("", place))
        for bag, place in room.stands.items()
    ]
    waiting = [_work_of(room, batch) for batch in batches]
    while any(waiting):
        room.chance.choice([acts for acts in waiting if acts]).pop(0)()
    room.now_s += 1000.0
    room.rest("")
    return room, room.diary.judged([*found, *room.ledger])


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_of_many_batches_at_once_just_the_planted_faults_are_named(seed: int) -> None:
    room, said = _many_batches(seed)
    found = sorted((one.kind, str(one.batch), one.word) for one in said.findings)
    assert found == sorted(room.expected), said.findings
    assert said.effects == len(room.ledger)


def test_the_interleavings_hold_every_kind_of_fault_and_acts_at_the_same_moment() -> None:
    kinds, at_once = set[str](), 0
    for seed in range(20):
        room, said = _many_batches(seed)
        kinds |= {f"{one.kind} {one.act}" for one in said.findings}
        intents = [one.at for one in room.diary.events if one.event.kind == "attempt_intended"]
        at_once += len(intents) - len(set(intents))
    assert {f"{kind} {act}" for kind in ("lost", "repeated") for act in ACTS_AT_ONCE} <= kinds
    assert "unexplained " in kinds
    assert at_once > 50


@pytest.mark.parametrize(
    ("ledger", "found"),
    [
        (turned(110, 1.0), []),
        (turned(110, 0.5), [("lost", "P1")]),
        (turned(110, 2.0), [("repeated", "P1")]),
        (Ledger(), [("lost", "P1")]),
        (turned(110, 1.0, kit="K-1"), [("repeated", "P1"), ("lost", "P1")]),
    ],
    ids=["turned", "half", "twice", "not at all", "with a kit docked"],
)
def test_an_empty_turn_is_judged_by_the_head_alone(
    ledger: Ledger, found: list[tuple[str, str]]
) -> None:
    said = one_act(turn_empty(), "P1", ledger, done="1 mL")
    assert names(said) == found, said.findings


def test_liquid_that_moved_while_the_head_was_to_turn_empty_is_named() -> None:
    ledger = Ledger()
    ledger.flow(110, 112, 1.0)
    said = one_act(turn_empty(), "P1", ledger, done="1 mL")
    assert names(said) == [("repeated", "P1"), ("lost", "P1")], said.findings


@pytest.mark.parametrize(("attempts", "found"), [(1, [("repeated", "P1")]), (2, [])])
def test_an_empty_turn_may_be_made_once_in_each_attempt(
    attempts: int, found: list[tuple[str, str]]
) -> None:
    """The first attempt turned the head; the power went, and nothing of it is to be seen."""
    diary = Diary()
    if attempts == 2:
        first = diary.intend(turn_empty(), "P1", at_s=100)
        diary.settle(first, "nothing", "", at_s=104)
    diary.settle(
        diary.intend(turn_empty(), "P1", at_s=105, attempt=attempts), "all", "1 mL", at_s=120
    )
    ledger = turned(101 if attempts == 2 else 106, 1.0)
    ledger.add("P1", "turned", 110, 112, amount=1.0, detail={"kit": ""})
    assert names(diary.judged(ledger)) == found


ACTS_AT_ONCE = (
    "set_valves",
    "pump_volume",
    "pick_container",
    "place_container",
    "hand_act draw_sample",
    "carry_away",
)
