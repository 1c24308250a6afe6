"""Wrong bag, wrong kit, wrong tube, wrong port: a sample of every kind, in room and record.

Method: of every kind of phase at which people work, the first contact in the two shipped
procedures is run with each slip that can be made there (``two_patients.py``); the judge is
the World. Then the same at a joint with the checks patched out: cells must be in the wrong
bag, else the judge sees nothing. All contacts: ``release_proof_identity.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.recipe.model import Step
from tests.simulation.two_patients import (
    CAR_T,
    MSC,
    Case,
    cases,
    contacts,
    makes_a_joint,
    recipe_of,
    run_case,
    without_the_checks,
    wrongly_accepted,
)

PROTOCOLS = (CAR_T, MSC)


def sampled() -> Iterator[Case]:
    """Yield the first case of each kind of phase, slip, and thing: a kit or anything else."""
    seen: set[tuple[str, str, bool]] = set()
    for protocol in PROTOCOLS:
        kits = {kit.name for kit in recipe_of(protocol).kits}
        for case in cases(protocol):
            step = recipe_of(protocol).at(case.path)
            assert isinstance(step, Step)
            kind = (step.phase.kind, case.slip, case.thing in kits)
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
    [
        pytest.param(one, id=str(one))
        for one in sampled()
        if makes_a_joint(one) and one.slip in ("brings", "joins", "wrong port, taken")
    ],
)
def test_without_the_checks_cells_are_in_the_wrong_bag(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_the_checks(monkeypatch)
    assert run_case(case, tmp_path).mixed, "the judge can't fail here: no cells went wrong"
