"""Wrong bag, wrong kit, wrong tube, wrong port: a sample of every kind, in room and record.

Method: of every kind of phase at which people work, the first contact in the two shipped
procedures is run with each slip that can be made there (``two_patients.py``); the judge is
the World. Then the same with the checks patched out, wherever cells could pass: they must be
in the wrong bag, else the judge sees nothing. All contacts: ``release_proof_identity.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hw_mocks.technicians import Technician
from orchestrator.kernel.acts import Effect
from orchestrator.phases import connect
from orchestrator.phases.outside import Outside
from orchestrator.recipe.model import Step
from tests.simulation.two_patients import (
    CAR_T,
    MSC,
    Case,
    Room,
    cases,
    contacts,
    is_of_the_kit,
    lets_cells_pass,
    nothing_unlike,
    recipe_of,
    run_case,
    without_the_checks,
    wrongly_accepted,
)

PROTOCOLS = (CAR_T, MSC)


def sampled() -> Iterator[Case]:
    """Yield the first case of each kind of phase, slip, thing and source: of a kit, or apart."""
    seen: set[tuple[str, str, bool, bool]] = set()
    for protocol in PROTOCOLS:
        kits = {kit.name for kit in recipe_of(protocol).kits}
        for case in cases(protocol):
            step = recipe_of(protocol).at(case.path)
            assert isinstance(step, Step)
            kind = (step.phase.kind, case.slip, case.thing in kits, is_of_the_kit(case))
            if kind not in seen:
                seen.add(kind)
                yield case


@pytest.mark.parametrize(("protocol", "least"), [(CAR_T, 90), (MSC, 100)])
def test_every_contact_of_a_procedure_is_found_from_its_claims(protocol: str, least: int) -> None:
    found = list(contacts(protocol))
    print(f"{protocol}: {len(found)} contacts, {sum(1 for _ in cases(protocol))} slips")
    assert len(found) >= least, "the procedure lost most of its contacts; are claims still read?"


@pytest.mark.requirement("IDC-05")
@pytest.mark.parametrize("case", [pytest.param(one, id=str(one)) for one in sampled()])
def test_the_other_patients_material_is_refused_or_found_at_the_joint(
    case: Case, tmp_path: Path
) -> None:
    found = run_case(case, tmp_path)
    assert wrongly_accepted(case, found) == [], "\n".join([*found.waits, *found.told])


@pytest.mark.parametrize(
    "case",
    [pytest.param(one, id=str(one)) for one in sampled() if lets_cells_pass(one)],
)
def test_without_the_checks_cells_are_in_the_wrong_bag(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_the_checks(monkeypatch)
    assert run_case(case, tmp_path).mixed, "the judge can't fail here: no cells went wrong"


def a_bag_sealed_off_for_another() -> Case:
    return next(
        one
        for one in sampled()
        if one.slip == "joins" and one.path.rsplit("/", 1)[-1].endswith("disconnect")
    )


def test_people_who_present_what_is_expected_hide_a_slip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_expected(self: Technician, place: str, thing: str) -> str:
        del self, place
        return thing

    case = a_bag_sealed_off_for_another()
    monkeypatch.setattr(Technician, "seen_at", as_expected)
    found = run_case(case, tmp_path)
    assert found.took_effect
    assert "the step ended" in wrongly_accepted(case, found)


def test_a_slip_that_nobody_makes_fails_its_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def right(self: Room) -> None:
        del self

    monkeypatch.setattr(Room, "_slip", right)
    case = a_bag_sealed_off_for_another()
    found = run_case(case, tmp_path)
    assert found.step_ended
    assert any("no effect" in one for one in wrongly_accepted(case, found))


LABELLED_ACROSS = [
    pytest.param(one, id=str(one))
    for protocol in PROTOCOLS
    for one in cases(protocol)
    if one.slip == "mislabels, scanned across"
]


@pytest.mark.parametrize("case", LABELLED_ACROSS)
def test_without_the_second_look_the_other_patients_bag_has_our_label(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.console.verifying.compare", nothing_unlike)
    found = run_case(case, tmp_path)
    assert found.step_ended
    assert found.taken_for_ours, "two scans can't tell whether both labels are on one bag"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_labelling_of_a_procedure_is_a_case(protocol: str) -> None:
    labelled = {one.path for one in cases(protocol) if one.slip == "mislabels"}
    kinds = {
        step.phase.kind.partition("/")[0]
        for path, step in recipe_of(protocol).steps()
        if path in labelled
    }
    assert kinds == {"receive", "fill_and_seal"}


def test_without_the_rinse_the_first_dose_pushes_cells_through_a_wrong_joint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = next(one for one in sampled() if one.slip == "wrong port, cells in line")
    move_liquid = connect.move_liquid

    async def only_the_dose(outside: Outside, *, target_at: str, **told: Any) -> Effect:
        if target_at == "p6":
            return Effect(done=str(told["volume"]))
        return await move_liquid(outside, target_at=target_at, **told)

    monkeypatch.setattr(connect, "move_liquid", only_the_dose)
    assert run_case(case, tmp_path).mixed, "cells stood in the line, and none went wrong"
