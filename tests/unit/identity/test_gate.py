"""The gate, row by row: each refusal of ``verify``, each break for ``carry``, and no other maker.

Method: a register of plain dictionaries, sound in every row; each test spoils one thing. A
refusal counts only if its message shows nothing of the other patient.
"""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from chain_of_identity.gate import (
    BREAKS,
    Break,
    ContainerScan,
    IdentityGate,
    ProvenContainer,
)
from orchestrator.kernel.errors import IdentityRefusedError
from orchestrator.kernel.identifiers import (
    BatchId,
    CoiId,
    ContainerId,
    EquipmentId,
    PhasePath,
    PlaceId,
)

OURS, THEIRS = CoiId("CHA999926A1B2C3"), CoiId("CHA999926X9Y8Z7")
BATCH, THEIR_BATCH = BatchId("B-000147"), BatchId("B-000862")
BAG, SPARE, THEIR_BAG = ContainerId("C-11"), ContainerId("C-12"), ContainerId("C-9931")
STATION, SHELF, THEIR_SHELF = PlaceId("station"), PlaceId("incubator/3"), PlaceId("incubator/8")
PATH = PhasePath("expand/feed[3]/07-transfer")
LATER = PhasePath("expand/feed[4]/07-transfer")
SCANNER = EquipmentId("S1")
SCANNED_AT = 40


@dataclass
class ToyRegister:
    """Two patients, their bags and shelves, and nothing wrong with ours."""

    labels: dict[str, ContainerId] = field(
        default_factory=lambda: {"LBL-11": BAG, "LBL-12": SPARE, "LBL-9931": THEIR_BAG}
    )
    coi: dict[ContainerId, CoiId] = field(
        default_factory=lambda: {BAG: OURS, SPARE: OURS, THEIR_BAG: THEIRS}
    )
    leased: dict[PlaceId, BatchId] = field(
        default_factory=lambda: {STATION: BATCH, SHELF: BATCH, THEIR_SHELF: THEIR_BATCH}
    )
    batch: dict[ContainerId, BatchId] = field(
        default_factory=lambda: {BAG: BATCH, SPARE: BATCH, THEIR_BAG: THEIR_BATCH}
    )
    place: dict[ContainerId, PlaceId] = field(default_factory=lambda: {BAG: STATION})
    quarantined: set[ContainerId] = field(default_factory=set[ContainerId])
    breaks: dict[Break, int] = field(default_factory=dict[Break, int])

    def container_labelled(self, label: str) -> ContainerId | None:
        return self.labels.get(label)

    def coi_of_container(self, container: ContainerId) -> CoiId | None:
        return self.coi.get(container)

    def holder_of_place(self, place: PlaceId) -> BatchId | None:
        return self.leased.get(place)

    def batch_of_container(self, container: ContainerId) -> BatchId | None:
        return self.batch.get(container)

    def place_of_container(self, container: ContainerId) -> PlaceId | None:
        return self.place.get(container)

    def is_quarantined(self, container: ContainerId) -> bool:
        return container in self.quarantined

    def broken_since(self, container: ContainerId, seq: int) -> Break | None:
        del container
        return next((what for what, at in self.breaks.items() if at > seq), None)


def gate_over(register: ToyRegister) -> IdentityGate:
    return IdentityGate(BATCH, OURS, register)


def scan(label: str = "LBL-11", place: PlaceId = STATION) -> ContainerScan:
    return ContainerScan(label, place, SCANNER)


def proof_from(register: ToyRegister) -> ProvenContainer:
    return gate_over(register).verify(scan(), expected=BAG, path=PATH, seq=SCANNED_AT)


def shows_nothing_of_theirs(refusal: IdentityRefusedError) -> bool:
    texts = [str(refusal), *refusal.as_record().values()]
    theirs = (str(THEIRS), str(THEIR_BATCH), str(THEIR_BAG), "LBL-9931")
    return not any(one in text for text in texts for one in theirs)


@pytest.mark.requirement("IDC-05")
def test_a_scan_of_the_expected_container_is_proof_for_one_place_and_phase() -> None:
    proof = proof_from(ToyRegister())
    assert (proof.batch, proof.container, proof.coi) == (BATCH, BAG, OURS)
    assert (proof.place, proof.path) == (STATION, PATH)
    assert (proof.rests_on, proof.since) == ("scanned", SCANNED_AT)


# What verify refuses ----------------------------------------------------------------------


def unknown_label(register: ToyRegister) -> ContainerScan:
    del register.labels["LBL-11"]
    return scan()


def another_patients_bag(register: ToyRegister) -> ContainerScan:
    del register
    return scan("LBL-9931")


def expected_bag_turns_out_another_patients(register: ToyRegister) -> ContainerScan:
    register.coi[BAG] = THEIRS
    return scan()


def another_bag_of_the_same_patient(register: ToyRegister) -> ContainerScan:
    del register
    return scan("LBL-12")


def bag_bound_to_another_batch(register: ToyRegister) -> ContainerScan:
    register.batch[BAG] = THEIR_BATCH
    return scan()


def bag_in_quarantine(register: ToyRegister) -> ContainerScan:
    register.quarantined.add(BAG)
    return scan()


def place_held_for_another_batch(register: ToyRegister) -> ContainerScan:
    del register
    return scan(place=THEIR_SHELF)


def place_that_nobody_holds(register: ToyRegister) -> ContainerScan:
    del register.leased[STATION]
    return scan()


def reagent_of_another_batch(register: ToyRegister) -> ContainerScan:
    del register.coi[THEIR_BAG]
    return scan("LBL-9931")


@pytest.mark.requirement("IDC-05")
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (unknown_label, "no container of the record carries this label"),
        (another_patients_bag, "another patient"),
        (expected_bag_turns_out_another_patients, "another patient"),
        (another_bag_of_the_same_patient, "it is C-12; this step needs C-11"),
        (bag_bound_to_another_batch, "bound to another batch"),
        (bag_in_quarantine, "in quarantine"),
        (place_held_for_another_batch, "held for another batch"),
        (place_that_nobody_holds, "station isn't leased to batch B-000147"),
        (reagent_of_another_batch, "it was bound to another batch than B-000147"),
    ],
)
def test_verify_refuses_what_is_not_this_batches_here_and_now(
    spoil: Callable[[ToyRegister], ContainerScan], why: str
) -> None:
    register = ToyRegister()
    wrong = spoil(register)
    with pytest.raises(IdentityRefusedError) as refused:
        gate_over(register).verify(wrong, expected=BAG, path=PATH, seq=SCANNED_AT)
    assert why in refused.value.why
    assert shows_nothing_of_theirs(refused.value)


def test_another_patients_bag_is_to_be_quarantined_not_tried_again() -> None:
    with pytest.raises(IdentityRefusedError, match="quarantine it and call quality assurance"):
        gate_over(ToyRegister()).verify(scan("LBL-9931"), expected=BAG, path=PATH, seq=SCANNED_AT)


def test_the_other_patient_is_named_as_the_reason_before_anything_else() -> None:
    """The worst error is told first, whatever else is wrong with the bag."""
    register = ToyRegister(quarantined={THEIR_BAG})
    with pytest.raises(IdentityRefusedError, match="belongs to another patient"):
        gate_over(register).verify(
            scan("LBL-9931", THEIR_SHELF), expected=BAG, path=PATH, seq=SCANNED_AT
        )


@pytest.mark.requirement("IDC-05")
def test_each_combination_of_four_identities_but_the_right_one_is_refused() -> None:
    """Material, label, binding and place, each ours, another's or of nobody."""
    accepted: list[tuple[object, ...]] = []
    refusals: list[IdentityRefusedError] = []
    rows = list(
        product(
            (OURS, THEIRS), (BAG, SPARE, None), (BATCH, THEIR_BATCH), (BATCH, THEIR_BATCH, None)
        )
    )
    assert len(rows) == 36
    for coi, labelled, batch, slot in rows:
        register = ToyRegister()
        register.coi[BAG] = coi
        register.labels = {} if labelled is None else {"LBL-11": labelled}
        register.batch[BAG] = batch
        register.leased = {} if slot is None else {STATION: slot}
        try:
            proof_from(register)
        except IdentityRefusedError as refusal:
            refusals.append(refusal)
        else:
            accepted.append((coi, labelled, batch, slot))
    assert accepted == [(OURS, BAG, BATCH, BATCH)]
    assert all(map(shows_nothing_of_theirs, refusals))


def test_a_reagent_of_nobody_can_be_proven_the_right_one() -> None:
    register = ToyRegister(coi={}, batch={})
    assert proof_from(register).container == BAG


# What carry refuses -----------------------------------------------------------------------


def test_an_unbroken_proof_is_carried_and_says_what_it_rests_on() -> None:
    register = ToyRegister()
    carried = gate_over(register).carry(proof_from(register), place=STATION, path=LATER, seq=90)
    assert (carried.path, carried.rests_on, carried.since) == (
        LATER,
        f"carried from {SCANNED_AT}",
        SCANNED_AT,
    )
    again = gate_over(register).carry(carried, place=STATION, path=PATH, seq=95)
    assert again.since == SCANNED_AT, "a chain of carries rests on its scan, not on its last link"


def test_every_break_has_its_words_and_stands_on_the_reference_page() -> None:
    assert set(BREAKS) == set(Break)
    page = (Path(__file__).parents[3] / "docs/reference/identity.md").read_text("utf-8")
    rows = re.findall(r"^\| ([a-z ]+) \| (.+) \|$", page.partition("| break |")[2], re.MULTILINE)
    assert {name for name, _ in rows if name in set(Break)} == set(Break)


@pytest.mark.parametrize("broken", list(Break))
def test_nothing_is_carried_over_a_break(broken: Break) -> None:
    register = ToyRegister()
    proof = proof_from(register)
    register.breaks[broken] = SCANNED_AT + 1
    with pytest.raises(IdentityRefusedError, match="Scan C-11 at station") as refused:
        gate_over(register).carry(proof, place=STATION, path=LATER, seq=90)
    assert refused.value.why == BREAKS[broken]


@pytest.mark.parametrize("broken", list(Break))
def test_a_fresh_scan_mends_a_break(broken: Break) -> None:
    register = ToyRegister(breaks={broken: SCANNED_AT - 1})
    proof = proof_from(register)
    carried = gate_over(register).carry(proof, place=STATION, path=LATER, seq=90)
    assert carried.since == SCANNED_AT


def quarantined_since(register: ToyRegister) -> PlaceId:
    register.quarantined.add(BAG)
    return STATION


def bound_to_another_batch_since(register: ToyRegister) -> PlaceId:
    register.batch[BAG] = THEIR_BATCH
    return STATION


def place_leased_to_another_since(register: ToyRegister) -> PlaceId:
    register.leased[STATION] = THEIR_BATCH
    return STATION


def standing_elsewhere(register: ToyRegister) -> PlaceId:
    register.place[BAG] = SHELF
    return STATION


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (quarantined_since, "in quarantine"),
        (bound_to_another_batch_since, "bound to another batch"),
        (place_leased_to_another_since, "held for another batch"),
        (standing_elsewhere, "by the record it is at incubator/3"),
    ],
)
def test_carry_refuses_what_has_become_unfit(
    spoil: Callable[[ToyRegister], PlaceId], why: str
) -> None:
    register = ToyRegister()
    proof = proof_from(register)
    place = spoil(register)
    with pytest.raises(IdentityRefusedError) as refused:
        gate_over(register).carry(proof, place=place, path=LATER, seq=90)
    assert why in refused.value.why
    assert shows_nothing_of_theirs(refused.value)


def test_another_batches_proof_is_not_carried() -> None:
    register = ToyRegister()
    theirs = IdentityGate(THEIR_BATCH, THEIRS, register).verify(
        scan("LBL-9931", THEIR_SHELF), expected=THEIR_BAG, path=PATH, seq=SCANNED_AT
    )
    with pytest.raises(IdentityRefusedError, match="another batch"):
        gate_over(register).carry(theirs, place=STATION, path=LATER, seq=90)


# Two labels on one bag, and what a second person reads -------------------------------------


@pytest.mark.requirement("LBL-06")
@pytest.mark.parametrize(
    ("second", "why"),
    [
        (scan("LBL-13", SHELF), "one place by one scanner"),
        (ContainerScan("LBL-13", STATION, EquipmentId("S2")), "one place by one scanner"),
        (scan("LBL-12"), "isn't the label that was reported"),
        (scan("LBL-9931"), "isn't the label that was reported"),
    ],
)
def test_two_scans_that_do_not_belong_together_are_refused(second: ContainerScan, why: str) -> None:
    gate = gate_over(ToyRegister())
    gate.verify_beside(scan(), scan("LBL-13"), expected=BAG, label="LBL-13")
    with pytest.raises(IdentityRefusedError) as refused:
        gate.verify_beside(scan(), second, expected=BAG, label="LBL-13")
    assert why in refused.value.why
    assert shows_nothing_of_theirs(refused.value)


@pytest.mark.requirement("IDC-05")
@pytest.mark.parametrize(
    ("label", "why"),
    [("LBL-404", "no container"), ("LBL-9931", "another patient"), ("LBL-12", "it is C-12")],
)
def test_what_a_second_person_reads_must_be_one_of_the_things(label: str, why: str) -> None:
    gate = gate_over(ToyRegister())
    assert gate.read_off("LBL-11", things=(BAG,), where="a look") == BAG
    with pytest.raises(IdentityRefusedError) as refused:
        gate.read_off(label, things=(BAG,), where="a look")
    assert why in refused.value.why
    assert shows_nothing_of_theirs(refused.value)


# Nobody else makes a proof ----------------------------------------------------------------


def whole(made_by: object) -> ProvenContainer:
    return ProvenContainer(BATCH, BAG, OURS, STATION, PATH, "scanned", SCANNED_AT, made_by)


@pytest.mark.parametrize("made_by", [None, object(), True, "gate", IdentityGate])
def test_the_constructor_makes_no_proof(made_by: object) -> None:
    with pytest.raises(TypeError, match="ask the IdentityGate"):
        whole(made_by)


def test_a_proof_is_not_turned_into_another_by_replace() -> None:
    proof = proof_from(ToyRegister())
    with pytest.raises((TypeError, ValueError)):
        replace(proof, container=SPARE)
    with pytest.raises((TypeError, ValueError)):
        replace(proof, container=SPARE, made_by=object())


def test_a_proof_can_not_be_changed() -> None:
    proof = proof_from(ToyRegister())
    with pytest.raises((AttributeError, TypeError)):
        proof.container = SPARE  # pyright: ignore[reportAttributeAccessIssue]
    assert not hasattr(proof, "made_by"), "what lets the gate make one must not be stored"


def through_pickle(proof: Any) -> Any:
    return pickle.loads(pickle.dumps(proof))


@pytest.mark.parametrize("remake", [copy.copy, copy.deepcopy, through_pickle])
def test_a_proof_is_not_made_by_copying_or_restoring_one(remake: Callable[[Any], Any]) -> None:
    proof = proof_from(ToyRegister())
    with pytest.raises(TypeError):
        remake(proof)


# After a restart --------------------------------------------------------------------------


@pytest.mark.requirement("IDC-14")
def test_a_proof_recalled_after_a_restart_is_spent() -> None:
    register = ToyRegister()
    before = proof_from(register)
    register.breaks[Break.RESTART] = SCANNED_AT + 20
    gate = gate_over(register)

    recalled = gate.recall(
        BAG, place=STATION, path=PATH, rests_on=before.rests_on, since=before.since
    )

    assert recalled == before, "the record says the same as before"
    with pytest.raises(IdentityRefusedError, match="the software was restarted since"):
        gate.carry(recalled, place=STATION, path=LATER, seq=90)

    fresh = gate.verify(scan(), expected=BAG, path=LATER, seq=91)
    assert gate.carry(fresh, place=STATION, path=PATH, seq=92).since == 91


def test_a_proof_recalled_without_a_restart_still_holds() -> None:
    register = ToyRegister()
    gate = gate_over(register)
    recalled = gate.recall(BAG, place=STATION, path=PATH, rests_on="scanned", since=SCANNED_AT)
    assert gate.carry(recalled, place=STATION, path=LATER, seq=90).since == SCANNED_AT
