"""What flows follows from valves, joints and what is docked, and the balances agree.

Method: turn the pump of the one station with kits, bags and valves set rightly and wrongly, and ask
the World what is in which bag.
"""

from __future__ import annotations

import pytest

from hw_mocks.world import Donor, Effect, ImpossibleError, materials
from tests.unit.world.lab import FLOW_UL_PER_S, Lab

DEAD_ML = 2.5  # port, pump segment and vessel branch of a kit


def docked(*donors: Donor) -> Lab:
    lab = Lab(*donors)
    lab.world.add_kit("K1", place="station", label="KIT-1")
    return lab


def last(lab: Lab) -> Effect:
    return [effect for effect in lab.world.ledger if effect.kind != "valve"][-1]


def test_a_transfer_moves_what_the_head_displaces_and_both_balances_show_it() -> None:
    lab = docked()
    bag = lab.bag(materials.medium(500.0), place="hook")
    lab.world.hands.weld(bag, "K1", "p1", by="anna")
    hook_g, vessel_g = lab.world.mass_on("W1"), lab.world.mass_on("W2")

    lab.pump("p1", "vessel", 250.0)

    assert hook_g - lab.world.mass_on("W1") == pytest.approx(250.0)
    assert lab.world.mass_on("W2") - vessel_g == pytest.approx(250.0)
    assert lab.world.contents("K1/vessel").materials_mL == pytest.approx(
        {"medium": 250.0 - DEAD_ML, "buffer": DEAD_ML}
    )
    effect = last(lab)
    assert (effect.kind, effect.by, effect.unit) == ("moved_liquid", "P1", "mL")
    assert effect.things == (bag, "K1/vessel")
    assert effect.amount == pytest.approx(250.0)
    assert effect.at_to_s - effect.at_from_s == pytest.approx(250_000.0 / FLOW_UL_PER_S)


def test_the_flow_is_seen_while_the_head_turns() -> None:
    lab = docked()
    bag = lab.bag(materials.medium(500.0), place="hook")
    lab.world.hands.weld(bag, "K1", "p1", by="anna")
    lab.valve("p1", True)
    lab.valve("vessel", True)
    lab.world.motor_start("station", 1000.0, "P1")
    for passed_s in range(1, 11):
        lab.clock.wait(1.0)
        assert lab.world.mass_on("W2") == pytest.approx(40.0 + passed_s)
    lab.world.motor_stop("station", "P1")
    assert [e.kind for e in lab.world.ledger].count("moved_liquid") == 1


@pytest.mark.parametrize(
    ("opened", "reason"),
    [((), "no open path"), (("p1",), "no open path"), (("p2", "vessel"), "no open path")],
    ids=["all shut", "one side only", "a port with nothing on it"],
)
def test_with_no_open_way_the_head_turns_and_nothing_flows(
    opened: tuple[str, ...], reason: str
) -> None:
    lab = docked()
    bag = lab.bag(materials.medium(500.0), place="hook")
    lab.world.hands.weld(bag, "K1", "p1", by="anna")
    for branch in opened:
        lab.valve(branch, True)
    lab.world.motor_start("station", 1000.0, "P1")
    lab.clock.wait(10.0)
    lab.world.motor_stop("station", "P1")

    effect = last(lab)
    assert (effect.kind, effect.amount) == ("turned", pytest.approx(10.0))
    assert effect.detail["reason"] == reason
    assert lab.world.contents("K1/vessel").volume_mL == 0.0


def test_a_kit_that_is_not_docked_is_shut() -> None:
    lab = docked()
    bag = lab.bag(materials.medium(500.0))
    lab.world.hands.weld(bag, "K1", "p1", by="anna")
    lab.put("shelf")
    lab.pump("p1", "vessel", 50.0)
    assert last(lab).kind == "turned"
    assert lab.world.mass_on("W2") == 0.0


def test_a_valve_that_shuts_half_way_ends_the_flow_there() -> None:
    lab = docked()
    bag = lab.bag(materials.medium(500.0), place="hook")
    lab.world.hands.weld(bag, "K1", "p1", by="anna")
    lab.valve("p1", True)
    lab.valve("vessel", True)
    lab.world.motor_start("station", 1000.0, "P1")
    lab.clock.wait(30.0)
    lab.valve("p1", False)
    lab.clock.wait(30.0)
    lab.world.motor_stop("station", "P1")

    moved = [e for e in lab.world.ledger if e.kind in ("moved_liquid", "turned")]
    assert [(e.kind, round(e.amount, 6)) for e in moved] == [("moved_liquid", 30), ("turned", 30)]


def test_an_empty_bag_gives_nothing_more_and_a_full_one_takes_nothing_more() -> None:
    lab = docked()
    bag = lab.bag(materials.medium(100.0), place="hook")
    lab.world.hands.weld(bag, "K1", "p1", by="anna")
    lab.pump("p1", "vessel", 150.0)
    assert last(lab).amount == pytest.approx(100.0)
    assert last(lab).detail["displaced_mL"] == pytest.approx(150.0)

    world = lab.world
    world.add_container("small", kind="bag", capacity_mL=20.0)
    world.hands.weld("small", "K1", "p2", by="anna")
    lab.pump("p2", "vessel", 50.0, forward=False)
    assert world.contents("small").volume_mL == pytest.approx(20.0)


def test_tubing_keeps_what_passed_last_until_the_next_flow_pushes_it_on() -> None:
    donor = Donor("ALPHA")
    lab = docked(donor)
    lab.add(materials.selected_t_cells(donor, cells=1.0e8, volume_mL=100.0))
    in_vessel = lab.world.donors_in("K1/vessel")["ALPHA"]
    assert in_vessel == pytest.approx(1.0e8 * (100.0 - DEAD_ML) / 100.0, rel=1e-6)
    assert lab.world.donors_in_tubing("K1")["ALPHA"] == pytest.approx(1.0e8 - in_vessel, rel=1e-6)

    lab.add(materials.medium(50.0))  # through another port: that port's tail keeps its half
    assert lab.world.donors_in("K1/vessel")["ALPHA"] == pytest.approx(0.995e8, rel=1e-6)


def test_flush_goes_out_through_a_new_joint_and_shows_on_the_hook() -> None:
    lab = docked()
    bag = lab.bag(materials.medium(100.0), place="hook")
    lab.world.hands.weld(bag, "K1", "p3", by="anna")
    before_g = lab.world.mass_on("W1")
    lab.pump("p3", "flush", 1.0, forward=False)
    assert lab.world.mass_on("W1") - before_g == pytest.approx(1.0)


def test_a_bag_on_the_wrong_port_is_joined_to_the_wrong_port_and_the_first_dose_shows_it() -> None:
    lab = docked()
    bag = lab.bag(materials.medium(100.0), place="hook")
    lab.world.hands.weld(bag, "K1", "p4", by="anna")  # p3 was asked for
    before_g = lab.world.mass_on("W1")
    lab.pump("p3", "flush", 1.0, forward=False)
    assert lab.world.mass_on("W1") == before_g
    assert last(lab).kind == "turned"


def test_another_bag_joined_than_the_one_on_the_hook_is_seen_by_weight_and_by_cells() -> None:
    alpha, bravo = Donor("ALPHA"), Donor("BRAVO")
    lab = docked(alpha, bravo)
    world = lab.world
    right = materials.selected_t_cells(alpha, cells=1e8, volume_mL=100.0)
    wrong = materials.selected_t_cells(bravo, cells=1e8, volume_mL=100.0)
    lab.bag(right, name="A-bag", place="hook")
    lab.bag(wrong, name="B-bag")
    world.hands.weld("B-bag", "K1", "p1", by="anna")
    before_g = world.mass_on("W1")
    lab.pump("p1", "flush", 1.0, forward=False)
    assert world.mass_on("W1") == before_g
    assert world.donors_in("K1/vessel") == {}

    lab.pump("p1", "vessel", 80.0)  # had nobody looked
    assert list(world.donors_in("K1/vessel")) == ["BRAVO"]
    assert world.touched("K1/vessel") == ("BRAVO",)
    lab.add(materials.selected_t_cells(alpha, cells=1e8, volume_mL=50.0))
    assert world.touched("K1/vessel") == ("ALPHA", "BRAVO")


def test_what_cannot_be_joined_is_not() -> None:
    lab = docked()
    hands = lab.world.hands
    bag, other = lab.bag(materials.buffer(10.0)), lab.bag(materials.buffer(10.0))
    hands.weld(bag, "K1", "p1", by="anna")
    for wrong in (
        lambda: hands.weld(bag, "K1", "p2", by="anna"),
        lambda: hands.weld(other, "K1", "p1", by="anna"),
        lambda: hands.weld(other, "K1", "p6", by="anna"),
        lambda: hands.weld(other, "K1", "p9", by="anna"),
        lambda: hands.weld("K1/flush", "K1", "p2", by="anna"),
    ):
        before = len(lab.world.ledger)
        with pytest.raises(ImpossibleError):
            wrong()
        assert len(lab.world.ledger) == before


def test_welds_and_seals_use_up_the_tubing() -> None:
    lab = docked()
    for _ in range(8):  # 400 mm, 30 mm a weld, 20 mm a seal
        bag = lab.bag(materials.buffer(10.0))
        lab.world.hands.weld(bag, "K1", "p1", by="anna")
        lab.world.hands.seal_off(bag, by="anna")
    bag = lab.bag(materials.buffer(10.0))
    with pytest.raises(ImpossibleError, match="too short"):
        lab.world.hands.weld(bag, "K1", "p1", by="anna")


def test_a_spun_vessel_gives_its_supernatant_and_keeps_its_cells() -> None:
    donor = Donor("ALPHA")
    lab = docked(donor)
    lab.add(materials.selected_t_cells(donor, cells=1e8, volume_mL=200.0))
    before = lab.world.contents("K1/vessel")
    lab.spin_and_draw_off(150.0)
    after = lab.world.contents("K1/vessel")
    assert after.volume_mL == pytest.approx(before.volume_mL - 150.0)
    assert 0.98 < after.viable / before.viable < 0.998

    lab.pump("p6", "vessel", after.volume_mL, forward=False)  # to the last drop: the pellet too
    assert lab.world.contents("K1/vessel").viable < 1.0


def test_an_unspun_vessel_gives_its_cells_with_its_liquid() -> None:
    donor = Donor("ALPHA")
    lab = docked(donor)
    lab.add(materials.selected_t_cells(donor, cells=1e8, volume_mL=200.0))
    before = lab.world.contents("K1/vessel")
    lab.pump("p6", "vessel", before.volume_mL / 2.0, forward=False)
    assert lab.world.contents("K1/vessel").viable == pytest.approx(before.viable / 2.0, rel=1e-4)


def test_a_kit_carried_off_tears_joined_bags_from_their_hooks() -> None:
    lab = docked()
    bag = lab.bag(materials.medium(100.0), place="hook")
    lab.world.hands.weld(bag, "K1", "p1", by="anna")
    lab.world.grip("R1", "station", "R1")
    assert lab.world.where(bag) == "floor"
    assert lab.world.at("hook") is None
    dragged = lab.world.ledger[-1]
    assert (dragged.kind, dragged.consequence) == ("dragged", True)


def test_a_planned_leak_shows_in_the_leak_test_only_of_the_next_joint() -> None:
    lab = docked()
    first, second = lab.bag(materials.buffer(10.0)), lab.bag(materials.buffer(10.0))
    lab.world.plan_leak()
    lab.world.hands.weld(first, "K1", "p1", by="anna")
    lab.world.hands.weld(second, "K1", "p2", by="anna")
    assert (lab.world.is_tight(first), lab.world.is_tight(second)) == (False, True)
