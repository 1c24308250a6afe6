"""Genealogy: closures both ways agree, accounts come out even, and a journal tells the same.

Method: Hypothesis draws trees of splits, samples, selections and pools from several donors,
with every part exact; closures are compared with paths found by walking, and each account
with a sum made another way. Then one thing is spoiled.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_identity.genealogy import (
    Found,
    Genealogy,
    Lost,
    Moved,
    MoveKind,
    Received,
    Record,
    Unreadable,
)
from devices.interfaces.hands import Handwork
from orchestrator.journal.events import (
    AttemptReconciled,
    AttemptSettled,
    ContainerReceived,
    PhaseStarted,
)
from orchestrator.kernel.identifiers import (
    CoiId,
    ContainerId,
    RecipeDigest,
    UserId,
)
from orchestrator.kernel.quantities import Cells, Volume, mL, uL
from orchestrator.records.genealogy_of import (
    LEFT_ON_THE_BOX,
    PUMPED,
    WEIGHED,
    genealogy_of,
    records_of,
)
from tests.unit.records.diary import BATCH, PATH, Diary, by_hand, pump


def container(name: str) -> ContainerId:
    return ContainerId(name)


BAG, FIRST, SECOND, TUBE = map(container, ("C-bag", "C-first", "C-second", "C-tube"))
COUNTED = Cells.of_base(100_000_000)


@dataclass
class Wood:
    """Random donations, split, sampled, selected and pooled; every part is exact."""

    rng: random.Random
    records: list[Record] = field(default_factory=list[Record])
    held: dict[ContainerId, int] = field(default_factory=dict[ContainerId, int])
    parents: dict[ContainerId, set[ContainerId]] = field(
        default_factory=dict[ContainerId, set[ContainerId]]
    )

    def grow(self, donors: int, moves: int) -> Wood:
        for number in range(donors):
            donor = container(f"D-{number}")
            self.held[donor] = self.rng.randint(1_000, 10**9)
            self.parents[donor] = set()
            self.records.append(
                Received(donor, Volume.of_base(self.held[donor]), self._seq(), donor=True)
            )
        for _ in range(moves):
            self._divide()
        return self

    def _seq(self) -> int:
        return len(self.records) + 1

    def _divide(self) -> None:
        full = [one for one, held in self.held.items() if held >= 10]
        if not full:
            return
        source = self.rng.choice(full)
        kind = self.rng.choice(list(MoveKind))
        empty = container(f"C-{self._seq()}")
        apart = [one for one in self.held if one != source and not self._above(source, one)]
        target = self.rng.choice(apart) if kind is MoveKind.POOL and apart else empty
        part = self.rng.randint(1, self.held[source])
        self.records.append(Moved(source, target, Volume.of_base(part), kind, self._seq()))
        self.held[source] -= part
        self.held[target] = self.held.get(target, 0) + part
        self.parents.setdefault(target, set()).add(source)
        if kind is MoveKind.SELECTION and self.held[source]:
            left = Volume.of_base(self.held[source])
            self.records.append(Lost(source, left, "left on the box", self._seq()))
            self.held[source] = 0

    def _above(self, one: ContainerId, ancestor: ContainerId) -> bool:
        """Return whether ``one`` came from ``ancestor``: pooling back is no tree."""
        return any(up == ancestor or self._above(up, ancestor) for up in self.parents[one])


def grown(seed: int, donors: int, moves: int) -> Wood:
    return Wood(random.Random(seed)).grow(donors, moves)


woods = st.builds(grown, st.integers(0, 2**32), st.integers(1, 4), st.integers(0, 25))


@pytest.mark.requirement("IDC-01")
@given(wood=woods)
def test_what_a_donor_leads_to_is_what_leads_back_to_it(wood: Wood) -> None:
    genealogy = Genealogy(wood.records)
    assert genealogy.orphans == frozenset()
    back = {one: genealogy.backward(one) for one in genealogy.containers}
    for donor in genealogy.donors:
        forward = genealogy.forward(donor)
        assert forward == {one for one, origins in back.items() if donor in origins}
        for leaf in genealogy.leaves:
            assert (leaf in forward) == (donor in genealogy.backward(leaf))
    for leaf in genealogy.leaves:
        assert back[leaf] & genealogy.donors, "each product leads back to a donor"


@pytest.mark.requirement("IDC-10")
@given(wood=woods)
def test_the_parts_of_every_container_add_up_to_it(wood: Wood) -> None:
    genealogy = Genealogy(wood.records)
    assert genealogy.discrepancies() == ()
    for one, held in wood.held.items():
        balance = genealogy.balance(one)
        assert balance is not None
        assert balance.held == Volume.of_base(held)
        assert balance.came_in - balance.went_out - balance.lost == balance.held
    came = [one.volume for one in wood.records if isinstance(one, Received)]
    lost = [one.volume for one in wood.records if isinstance(one, Lost)]
    assert None not in came
    assert sum(wood.held.values()) == sum(one.base for one in came if one is not None) - sum(
        one.base for one in lost
    )


@pytest.mark.requirement("IDC-10")
@settings(max_examples=50)
@given(wood=woods, pick=st.randoms(use_true_random=False), sign=st.sampled_from([1, -1]))
def test_three_percent_that_nobody_explained_are_a_discrepancy(
    wood: Wood, pick: random.Random, sign: int
) -> None:
    before = Genealogy(wood.records)
    one = pick.choice(sorted(wood.held))
    account = before.balance(one)
    assert account is not None
    limit = -(-account.came_in.base * 3 // 100)
    for missing, is_discrepancy in ((limit, True), (limit - 1, False)):
        if sign > 0 and missing > wood.held[one]:
            continue
        found = Found(one, Volume.of_base(wood.held[one] - sign * missing), len(wood.records) + 1)
        after = Genealogy([*wood.records, found]).balance(one)
        assert after is not None
        assert after.is_discrepancy is is_discrepancy
        assert after.unexplained == Volume.of_base(sign * missing)
        assert after.held == found.volume


def parted(*, found: Volume, declared: Volume = 0 * mL) -> Genealogy:
    """100 mL in a bag, 60 mL and 20 mL out of it; then somebody looks into the bag."""
    return Genealogy(
        [
            Received(BAG, 100 * mL, 1, donor=True),
            Moved(BAG, FIRST, 60 * mL, MoveKind.SPLIT, 2),
            Moved(BAG, SECOND, 20 * mL, MoveKind.SPLIT, 3),
            Lost(BAG, declared, "spilt into the waste", 4),
            Found(BAG, found, 5),
        ]
    )


@pytest.mark.requirement("IDC-10")
def test_a_declared_loss_explains_a_shortfall() -> None:
    assert [one.container for one in parted(found=17 * mL).discrepancies()] == [BAG]
    assert parted(found=17 * mL, declared=3 * mL).discrepancies() == ()
    assert parted(found=17_001 * uL).discrepancies() == ()


def test_small_differences_that_add_up_are_a_discrepancy() -> None:
    looked = [Found(BAG, 100 * mL - 2 * n * mL, n + 1) for n in (1, 2)]
    balance = Genealogy([Received(BAG, 100 * mL, 1), *looked]).balance(BAG)
    assert balance is not None
    assert balance.discrepancies == (3,)


def test_more_out_of_a_container_than_came_in_is_a_discrepancy() -> None:
    genealogy = Genealogy(
        [Received(BAG, 10 * mL, 1), Moved(BAG, FIRST, 11 * mL, MoveKind.TRANSFER, 2)]
    )
    (balance,) = genealogy.discrepancies()
    assert (balance.container, balance.discrepancies) == (BAG, (2,))


def test_an_unknown_volume_has_no_account() -> None:
    genealogy = Genealogy([Received(BAG, None, 1), Moved(BAG, FIRST, 1 * mL, MoveKind.SAMPLE, 2)])
    assert genealogy.balance(BAG) is None
    assert genealogy.balance(FIRST) is not None
    with pytest.raises(KeyError):
        genealogy.balance(TUBE)


@pytest.mark.requirement("IDC-10")
def test_cells_are_accounted_for_where_every_move_counted_them() -> None:
    part = Cells.of_base(40_000_000)
    records: list[Record] = [
        Received(BAG, 100 * mL, 1, cells=COUNTED, donor=True),
        Moved(BAG, FIRST, 40 * mL, MoveKind.SPLIT, 2, cells=part),
        Found(BAG, 60 * mL, 3, cells=Cells.of_base(57_000_000)),
    ]
    genealogy = Genealogy(records)
    balance = genealogy.balance_of_cells(BAG)
    assert balance is not None
    assert balance.unexplained == Cells.of_base(3_000_000)
    assert genealogy.discrepancies() == (balance,), "volume is right, 3 % of the cells are gone"
    uncounted = Moved(BAG, TUBE, 1 * mL, MoveKind.SAMPLE, 4)
    assert Genealogy([*records, uncounted]).balance_of_cells(BAG) is None


def test_closures_follow_time() -> None:
    """The sample was taken before the second donation came in."""
    genealogy = Genealogy(
        [
            Received(BAG, 10 * mL, 1, donor=True),
            Received(FIRST, 10 * mL, 2, donor=True),
            Moved(BAG, TUBE, 1 * mL, MoveKind.SAMPLE, 3),
            Moved(FIRST, BAG, 5 * mL, MoveKind.POOL, 4),
        ]
    )
    assert genealogy.forward(FIRST) == {FIRST, BAG}
    assert genealogy.backward(TUBE) == {TUBE, BAG}
    assert [one.source for one in genealogy.into(BAG)] == [FIRST]
    assert [one.target for one in genealogy.out_of(BAG)] == [TUBE]


@pytest.mark.requirement("IDC-01")
def test_material_that_was_never_received_is_an_orphan() -> None:
    genealogy = Genealogy(
        [
            Received(BAG, 10 * mL, 1, donor=True),
            Moved(FIRST, SECOND, 1 * mL, MoveKind.TRANSFER, 2),
            Moved(BAG, TUBE, 1 * mL, MoveKind.SAMPLE, 3),
        ]
    )
    assert genealogy.orphans == {FIRST, SECOND}


@pytest.mark.parametrize(
    "wrong",
    [
        [Received(BAG, 1 * mL, 2), Received(FIRST, 1 * mL, 1)],
        [Moved(BAG, BAG, 1 * mL, MoveKind.TRANSFER, 1)],
        [Moved(BAG, FIRST, 0 * mL - 1 * mL, MoveKind.TRANSFER, 1)],
    ],
)
def test_records_that_can_not_be_are_refused(wrong: list[Record]) -> None:
    with pytest.raises(ValueError, match=r"after event|into itself|below zero"):
        Genealogy(wrong)


# From a journal ---------------------------------------------------------------------------


def arrived(diary: Diary, name: str, what: str, volume: str = "", **more: object) -> None:
    diary.write(
        ContainerReceived.model_validate(
            {
                "container": name,
                "label": f"LBL-{name}",
                "material": what,
                "what": what,
                "coi": CoiId("CHA999926A1B2C3") if what == "patient_material" else None,
                "volume": volume,
                "by": UserId("U-1"),
                **more,
            }
        )
    )


def phase(diary: Diary, kind: str) -> None:
    recipe = RecipeDigest("0" * 64)
    diary.write(PhaseStarted(batch=BATCH, path=PATH, recipe=recipe, phase=f"{kind}/1"))


def reported(diary: Diary, work: Handwork, *containers: str, volume: str) -> None:
    command = diary.intend(by_hand(work, *containers), "people")
    settled = AttemptReconciled(
        batch=BATCH,
        command=command,
        verdict="all",
        done="1",
        detail={"volume": volume},
        signatures=(),
    )
    diary.write(settled)


def a_batch() -> Diary:
    """A bag is received, selected and pumped into a kit's vessel; sampled; filled in two."""
    diary = Diary()
    arrived(diary, "C-1", "patient_material", "100 mL")
    arrived(diary, "C-2", "empty")
    arrived(diary, "K-1", "kit", positions=("vessel", "flush"), volumes=("0 mL", "500 mL"))
    for name in ("C-3", "C-4"):
        arrived(diary, name, "empty")
    arrived(diary, "S-1", "sample_tube")
    reported(diary, Handwork.RECEIVE, "C-1", volume="99 mL")
    reported(diary, Handwork.SELECT_MAGNETICALLY, "C-1", "C-2", volume="60 mL")
    phase(diary, "transfer")
    diary.settle(diary.intend(pump(60.0, source="C-2"), "P1"), done="59 mL")
    diary.settle(diary.intend(pump(20.0, source="K-1/flush"), "P1"), done="20 mL")
    sampled = by_hand(Handwork.DRAW_SAMPLE, "K-1/vessel", "S-1", parameters={"volume": "1 mL"})
    diary.settle(diary.intend(sampled, "people"))
    phase(diary, "fill_and_seal")
    for bag in ("C-3", "C-4"):
        diary.settle(diary.intend(pump(30.0, source="K-1/vessel", target=bag), "P1"), done="30 mL")
    return diary


@pytest.mark.requirement("IDC-01", "IDC-10")
def test_a_journal_tells_where_a_donation_went_and_adds_up() -> None:
    diary = a_batch()
    genealogy = genealogy_of(diary.events)
    assert [(str(one.kind), one.source, one.target) for one in genealogy.moves] == [
        ("selection", "C-1", "C-2"),
        ("transfer", "C-2", "K-1/vessel"),
        ("transfer", "K-1/flush", "K-1/vessel"),
        ("sample", "K-1/vessel", "S-1"),
        ("split", "K-1/vessel", "C-3"),
        ("split", "K-1/vessel", "C-4"),
    ]
    assert genealogy.donors == {"C-1"}
    assert genealogy.forward(container("C-1")) == {
        "C-1", "C-2", "C-3", "C-4", "K-1/vessel", "S-1"
    }  # fmt: skip
    assert genealogy.backward(container("C-4")) == {
        "C-1", "C-2", "C-4", "K-1/vessel", "K-1/flush"
    }  # fmt: skip
    assert genealogy.orphans == frozenset()
    assert genealogy.discrepancies() == ()
    vessel = genealogy.balance(container("K-1/vessel"))
    assert vessel is not None
    assert (vessel.came_in, vessel.went_out, vessel.held) == (79 * mL, 61 * mL, 18 * mL)


def test_what_a_selection_leaves_is_a_declared_loss() -> None:
    """Nobody measured it: it says from what it was calculated."""
    lost = [one for one in records_of(a_batch().events) if isinstance(one, Lost)]
    assert [(one.container, one.volume, one.why, one.calculated) for one in lost] == [
        (
            "C-1",
            39 * mL,
            LEFT_ON_THE_BOX,
            "the account's 99 mL of C-1 and the 60 mL reported of C-2",
        )
    ]
    balance = genealogy_of(a_batch().events).balance(container("C-1"))
    assert balance is not None
    assert (balance.lost, balance.unexplained, balance.held) == (39 * mL, 1 * mL, 0 * mL)


def test_a_selection_may_come_off_the_box_in_more_than_went_on() -> None:
    diary = Diary()
    arrived(diary, "C-1", "patient_material", "20 mL")
    arrived(diary, "C-2", "empty")
    reported(diary, Handwork.SELECT_MAGNETICALLY, "C-1", "C-2", volume="50 mL")
    genealogy = genealogy_of(diary.events)
    balance = genealogy.balance(container("C-2"))
    assert balance is not None
    assert balance.held == 50 * mL
    assert genealogy.discrepancies() == ()
    (gained,) = [
        one
        for one in records_of(diary.events)
        if isinstance(one, Received) and one.container == "C-2" and one.volume == 30 * mL
    ]
    assert gained.calculated == "the account's 20 mL of C-1 and the 50 mL reported of C-2"


def weighed(
    diary: Diary, asked: float, by_weight: str, source: str, target: str = "K-1/vessel"
) -> None:
    command = diary.intend(pump(asked, source=source, target=target), "P1")
    diary.write(
        AttemptSettled(
            batch=BATCH,
            command=command,
            verdict="all",
            done=f"{asked:g} mL",
            detail={"weighed": by_weight},
            after={},
            witness="",
            evidence={},
        )
    )


@pytest.mark.requirement("IDC-10")
def test_an_account_rests_on_what_a_balance_saw_and_not_on_what_was_asked() -> None:
    diary = Diary()
    arrived(diary, "C-1", "patient_material", "150 mL")
    arrived(diary, "K-1", "kit", positions=("vessel",), volumes=("0 mL",))
    weighed(diary, 100.0, "97.5 mL", source="C-1")
    genealogy = genealogy_of(diary.events)
    (move,) = genealogy.moves
    # 0.3 mL of two weighings and 2 % of density, where the pump's count is good for 5 mL
    assert (move.volume, move.measured) == (97_500 * uL, WEIGHED)
    assert move.error is not None
    assert move.error.of(97_500 * uL) == 2_250 * uL
    for name, held in (("C-1", 52_500 * uL), ("K-1/vessel", 97_500 * uL)):
        balance = genealogy.balance(container(name))
        assert balance is not None
        assert (balance.held, balance.error, balance.discrepancies) == (held, 2_250 * uL, ())


def test_a_dose_too_small_for_the_balance_is_told_by_the_pumps_count() -> None:
    diary = Diary()
    arrived(diary, "C-1", "reagent", "5 mL")
    arrived(diary, "K-1", "kit", positions=("vessel",), volumes=("0 mL",))
    weighed(diary, 1.0, "1.2 mL", source="C-1")
    diary.settle(diary.intend(pump(2.0, source="C-1"), "P1"), done="2 mL")
    genealogy = genealogy_of(diary.events)
    told = [(one.volume, one.measured) for one in genealogy.moves]
    assert told == [(1 * mL, PUMPED), (2 * mL, PUMPED)]
    vessel = genealogy.balance(container("K-1/vessel"))
    assert vessel is not None
    assert vessel.error == 150 * uL  # one tube: off to the same side


def test_what_comes_and_goes_by_one_measure_is_off_by_what_stays_and_by_each_weighing() -> None:
    diary = Diary()
    arrived(diary, "C-1", "reagent", "900 mL")
    arrived(diary, "K-1", "kit", positions=("vessel",), volumes=("0 mL",))
    for _ in range(4):
        weighed(diary, 200.0, "200 mL", source="C-1")
        weighed(diary, 190.0, "190 mL", source="K-1/vessel", target="C-1")
    vessel = genealogy_of(diary.events).balance(container("K-1/vessel"))
    assert vessel is not None
    assert vessel.held == 40 * mL
    # 2 % of the 40 mL that stayed, and eight times 0.3 mL each by itself: 0.3 mL * sqrt(8)
    assert 800 * uL + 848 * uL <= vessel.error <= 800 * uL + 849 * uL


@pytest.mark.parametrize("text", ["185 min", "-5 mL", "a lot"])
@pytest.mark.parametrize("work", ["receive", "draw_sample", "select_magnetically"])
def test_a_volume_that_nobody_can_read_is_told_and_breaks_nothing(text: str, work: str) -> None:
    """An older version may have let one on record: the material went there all the same."""
    diary = Diary()
    arrived(diary, "C-1", "patient_material", "100 mL")
    arrived(diary, "C-2", "empty")
    bags = ["C-1"] if work == "receive" else ["C-1", "C-2"]
    reported(diary, Handwork(work), *bags, volume=text)
    genealogy = genealogy_of(diary.events)
    assert genealogy.balance(container("C-1")) is None
    told = [one for one in records_of(diary.events) if isinstance(one, Unreadable)]
    assert [(one.container, one.text) for one in told] == [("C-1", text)]
    if work != "receive":
        assert genealogy.forward(container("C-1")) == {"C-1", "C-2"}
        assert genealogy.balance(container("C-2")) is None


def test_a_receipt_or_a_pumped_volume_that_nobody_can_read_is_told() -> None:
    diary = Diary()
    arrived(diary, "C-1", "patient_material", "ten")
    arrived(diary, "K-1", "kit", positions=("vessel",), volumes=("none",))
    diary.settle(diary.intend(pump(60.0, source="C-1"), "P1"), done="sixty")
    told = [one for one in records_of(diary.events) if isinstance(one, Unreadable)]
    assert [one.text for one in told] == ["ten", "none", "sixty"]
    genealogy = genealogy_of(diary.events)
    assert genealogy.forward(container("C-1")) == {"C-1", "K-1/vessel"}
    assert genealogy.balance(container("K-1/vessel")) is None


def test_a_selection_from_a_bag_of_unknown_contents_leaves_no_difference_to_tell() -> None:
    diary = Diary()
    arrived(diary, "C-1", "patient_material", "ten")
    arrived(diary, "C-2", "empty")
    reported(diary, Handwork.SELECT_MAGNETICALLY, "C-1", "C-2", volume="60 mL")
    assert not [one for one in records_of(diary.events) if isinstance(one, Lost)]
    genealogy = genealogy_of(diary.events)
    assert [(one.source, one.target, one.volume) for one in genealogy.moves] == [
        ("C-1", "C-2", 60 * mL)
    ]


def test_a_bag_that_came_with_less_than_its_papers_say_is_a_discrepancy() -> None:
    diary = Diary()
    arrived(diary, "C-1", "patient_material", "100 mL")
    reported(diary, Handwork.RECEIVE, "C-1", volume="97 mL")
    (balance,) = genealogy_of(diary.events).discrepancies()
    assert (balance.container, balance.unexplained) == ("C-1", 3 * mL)


def test_a_bag_without_papers_holds_what_was_read_off_it() -> None:
    diary = Diary()
    arrived(diary, "C-1", "patient_material")
    reported(diary, Handwork.RECEIVE, "C-1", volume="97 mL")
    genealogy = genealogy_of(diary.events)
    balance = genealogy.balance(container("C-1"))
    assert balance is not None
    assert (balance.held, balance.discrepancies) == (97 * mL, ())


def test_an_attempt_in_doubt_moves_nothing_until_people_decide() -> None:
    diary = Diary()
    arrived(diary, "C-1", "patient_material", "100 mL")
    arrived(diary, "K-1", "kit", positions=("vessel",), volumes=("0 mL",))
    command = diary.intend(pump(60.0), "P1")
    diary.doubt(command)
    assert genealogy_of(diary.events).moves == ()
    diary.reconcile(command, "part", done="25 mL")
    assert [one.volume for one in genealogy_of(diary.events).moves] == [25 * mL]


def test_two_donations_in_one_bag_are_pooled() -> None:
    diary = Diary()
    for name in ("C-1", "C-2"):
        arrived(diary, name, "patient_material", "100 mL")
    diary.settle(diary.intend(pump(60.0, source="C-1", target="C-2"), "P1"), done="60 mL")
    diary.settle(diary.intend(pump(10.0, source="C-2", target="C-1"), "P1"), done="10 mL")
    kinds = [one.kind for one in genealogy_of(diary.events).moves]
    assert kinds == [MoveKind.POOL, MoveKind.TRANSFER], "what goes back is pooled no second time"


def test_a_sample_that_was_not_drawn_moves_nothing() -> None:
    diary = Diary()
    arrived(diary, "C-1", "patient_material", "100 mL")
    drawing = by_hand(Handwork.DRAW_SAMPLE, "C-1", "S-1", parameters={"volume": "1 mL"})
    diary.fail(diary.intend(drawing, "people"))
    assert genealogy_of(diary.events).moves == ()
