"""Where things are, who had them, how warm it is, and that the ledger lists effects only."""

from __future__ import annotations

import pytest

from hw_mocks.world import Donor, ImpossibleError, materials
from tests.unit.world.lab import HOUR_S, Lab


def test_an_arm_moves_a_kit_and_the_scanner_reads_what_is_there() -> None:
    lab = Lab()
    world = lab.world
    world.add_kit("K1", place="dock", label="KIT-1")
    assert world.label_at("dock") == "KIT-1"
    assert world.grip("R1", "dock", "R1") == "K1"
    assert world.where("K1/vessel") == "gripper:R1"
    assert world.label_at("dock") is None
    assert world.release("R1", "incubator/3", "R1") == "K1"
    assert world.at("incubator/3") == "K1"
    assert [(e.kind, e.places) for e in world.ledger] == [
        ("moved_thing", ("dock", "gripper:R1")),
        ("moved_thing", ("gripper:R1", "incubator/3")),
    ]


def test_an_empty_place_gives_an_empty_gripper_and_no_effect() -> None:
    lab = Lab()
    assert lab.world.grip("R1", "dock", "R1") is None
    assert lab.world.release("R1", "station", "R1") is None
    assert lab.world.ledger == []


def test_a_taken_place_makes_a_collision() -> None:
    lab = Lab()
    world = lab.world
    world.add_kit("K1", place="dock")
    world.add_kit("K2", place="station")
    world.grip("R1", "dock", "R1")
    assert world.release("R1", "station", "R1") is None
    assert [e.kind for e in world.ledger] == ["moved_thing", "collided", "dropped"]
    assert (world.where("K1"), world.at("station")) == ("floor", "K2")


def test_a_gripper_planned_to_slip_drops_the_thing() -> None:
    lab = Lab()
    lab.world.add_kit("K1", place="dock")
    lab.world.plan_slip("R1")
    assert lab.world.grip("R1", "dock", "R1") is None
    assert lab.world.where("K1") == "floor"


def test_hands_refuse_a_taken_place_and_a_turning_rotor() -> None:
    lab = Lab()
    world = lab.world
    world.add_kit("K1", place="dock")
    world.add_kit("K2", place="rotor")
    with pytest.raises(ImpossibleError, match="taken"):
        world.hands.put("K1", "rotor", by="anna")
    world.spin_start("rotor", rcf_g=300.0, by="C1", seconds=60.0)
    with pytest.raises(ImpossibleError, match="turns"):
        world.hands.take("rotor", by="anna")
    lab.clock.wait(61.0)
    assert world.hands.take("rotor", by="anna") == "K2"


def test_a_spin_cut_short_is_a_shorter_spin() -> None:
    lab = Lab()
    lab.world.add_kit("K1", place="rotor")
    lab.world.spin_start("rotor", rcf_g=300.0, by="C1", seconds=600.0)
    lab.clock.wait(200.0)
    lab.world.spin_stop("rotor", "C1")
    lab.clock.wait(600.0)
    lab.world.catch_up()
    (spun,) = lab.world.ledger
    assert (spun.kind, spun.amount, spun.things) == ("spun", 200.0, ("K1",))


def test_a_spin_that_ends_by_itself_ended_when_it_should() -> None:
    lab = Lab()
    lab.world.add_kit("K1", place="rotor")
    lab.world.spin_start("rotor", rcf_g=300.0, by="C1", seconds=600.0)
    lab.clock.wait(5 * HOUR_S)
    assert not lab.world.is_spinning("rotor")
    assert lab.world.ledger[0].at_to_s == 600.0


def test_reading_scanning_and_writing_the_same_value_are_no_effects() -> None:
    lab = Lab()
    world = lab.world
    world.add_kit("K1", place="station")
    world.set_climate("incubator", temperature_degC=37.0, co2_percent=5.0, by="I1")
    world.set_valve("station", 0, False, "V1")
    world.chamber_door("incubator", False, "anna")
    world.motor_stop("station", "P1")
    world.spin_stop("rotor", "C1")
    world.hold_temperature("freezer", "F1")
    world.hands.put("K1", "station", by="anna")
    world.label_at("station")
    world.mass_on("W1")
    world.contents("K1/vessel")
    world.count("K1/vessel")
    assert world.ledger == []


def test_a_chamber_follows_its_set_point_and_its_contents_follow_it() -> None:
    lab = Lab()
    world = lab.world
    world.add_kit("K1", place="incubator/1")
    world.set_climate("incubator", temperature_degC=34.0, by="I1")
    lab.clock.wait(300.0)  # one time constant of the air
    assert world.chamber_temperature("incubator") == pytest.approx(34.0 + 3.0 * 0.36788, abs=1e-3)
    assert world.temperature_of("K1/vessel") > world.chamber_temperature("incubator")
    lab.clock.wait(5 * HOUR_S)
    assert world.temperature_of("K1/vessel") == pytest.approx(34.0, abs=0.01)
    assert [(e.kind, e.amount) for e in world.ledger] == [("set_temperature", 34.0)]


def test_looking_on_the_way_does_not_change_a_temperature() -> None:
    def warmed(looks: int) -> float:
        lab = Lab()
        lab.world.add_container("B", kind="bag", capacity_mL=100.0, place="dock")
        lab.world.hands.put("B", "incubator/1", by="anna")
        lab.world.set_climate("incubator", temperature_degC=30.0, by="I1")
        for _ in range(looks):
            lab.clock.wait(1800.0 / looks)
            lab.world.temperature_of("B")
        return lab.world.temperature_of("B")

    assert warmed(1) == pytest.approx(warmed(97), abs=1e-9)


def test_an_open_door_lets_heat_and_gas_out() -> None:
    lab = Lab()
    world = lab.world
    world.chamber_door("incubator", True, "anna")
    lab.clock.wait(300.0)
    assert world.chamber_co2("incubator") < 0.6
    assert world.chamber_temperature("incubator") < 33.0
    world.chamber_door("incubator", False, "anna")
    lab.clock.wait(HOUR_S)
    assert world.chamber_co2("incubator") == pytest.approx(5.0, abs=0.01)


def test_a_ramp_is_straight_and_one_cut_short_says_how_far_it_came() -> None:
    lab = Lab()
    world = lab.world
    ends_s = world.ramp("freezer", rate_kelvin_per_min=1.0, limit_degC=-45.0, by="F1")
    assert ends_s == pytest.approx(49 * 60.0)
    lab.clock.wait(10 * 60.0)
    assert world.chamber_temperature("freezer") == pytest.approx(-6.0)
    world.hold_temperature("freezer", "F1")
    lab.clock.wait(HOUR_S)
    assert world.chamber_temperature("freezer") == pytest.approx(-6.0)
    assert [e.kind for e in world.ledger] == ["ramped", "set_temperature"]
    assert world.ledger[0].amount == pytest.approx(-10.0)


def test_a_ramp_that_ran_out_is_written_with_its_own_end() -> None:
    lab = Lab()
    lab.world.ramp("freezer", rate_kelvin_per_min=10.0, limit_degC=-90.0, by="F1")
    lab.clock.wait(24 * HOUR_S)
    lab.world.catch_up()
    (ramped,) = lab.world.ledger
    assert ramped.at_to_s == pytest.approx(9.4 * 60.0)
    assert ramped.detail["reached_degC"] == -90.0


def test_ownership_says_whose_cells_were_where_and_when() -> None:
    alpha = Donor("ALPHA")
    lab = Lab(alpha)
    lab.world.add_kit("K1", place="station")
    lab.add(materials.selected_t_cells(alpha, cells=1e8, volume_mL=100.0))
    lab.clock.wait(60.0)
    lab.put("incubator/1")
    lab.clock.wait(HOUR_S)
    stays = [stay for stay in lab.world.ownership() if stay.thing == "K1"]
    assert [(stay.place, stay.donors) for stay in stays] == [
        ("station", ("ALPHA",)),
        ("incubator/1", ("ALPHA",)),
    ]
    assert stays[0].to_s == stays[1].from_s
    assert stays[1].to_s is None


def test_a_new_label_is_what_a_scanner_reads_and_the_old_one_stays_beside_it() -> None:
    lab = Lab()
    bag = lab.bag(materials.buffer(10.0), place="dock")
    lab.world.hands.stick_label(bag, "CW-0001", by="anna")
    lab.world.hands.stick_label(bag, "CW-0002", by="boris")
    assert lab.world.label_at("dock") == "CW-0002"
    assert lab.world.labelled("CW-0001") == lab.world.labelled("CW-0002") == [bag]
    assert lab.world.labels_on(bag) == ("CW-0001", "CW-0002")
    assert lab.world.ledger[-1].detail == {"label": "CW-0002", "beside": "CW-0001"}


def test_a_count_uses_up_what_it_drew_and_is_near_the_truth() -> None:
    donor = Donor("ALPHA")
    lab = Lab(donor)
    bag = lab.bag(materials.selected_t_cells(donor, cells=1e8, volume_mL=100.0))
    world = lab.world
    world.add_container("T1", kind="tube", capacity_mL=2.0)
    world.hands.draw_sample(bag, "T1", 500.0, by="anna")
    first = world.analyse("N1", "T1", drawn_uL=100.0, by="N1")
    second = world.analyse("N1", "T1", drawn_uL=100.0, by="N1")
    assert first.viable_per_mL == pytest.approx(1e6, rel=0.2)
    assert first.viable_per_mL != second.viable_per_mL
    assert first.viability > 0.98
    assert world.contents("T1").volume_mL == pytest.approx(0.3)
    with pytest.raises(ImpossibleError):
        world.analyse("N1", "T1", drawn_uL=400.0, by="N1")


def test_magnetic_selection_recovers_and_purifies_as_published() -> None:
    recoveries: list[float] = []
    for seed in range(40):
        donor = Donor("ALPHA")
        lab = Lab(donor, seed=seed)
        bag = lab.bag(materials.apheresis(donor, t_cells=2e9, volume_mL=180.0))
        lab.world.add_container("out", kind="bag", capacity_mL=100.0)
        lab.world.hands.select_magnetic(bag, "out", by="anna")
        held = lab.world.contents("out")
        assert held.cd3 / held.viable >= 0.98
        assert lab.world.contents(bag).volume_mL == 0.0
        assert lab.world.total_mass_g() == pytest.approx(lab.world.brought_in_g, rel=1e-12)
        recoveries.append(held.cd3 / 2e9)
    assert sum(recoveries) / 40 == pytest.approx(0.55, abs=0.03)
    assert 0.03 < max(recoveries) - min(recoveries) < 0.25
