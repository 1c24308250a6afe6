"""Every slip at every contact of both procedures, with the checks and without them.

Method: as ``test_identity.py``, over all of them. The cases are cut into parts of at most
some minutes; what came of a case is written down at once, under a digest of the source, so
that a proof that was interrupted goes on where it stopped, and one of other source begins
anew. The last part that is run tells the table of all contacts.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from orchestrator.recipe.model import Step
from tests.release_proof import KEPT, source, tell
from tests.simulation.two_patients import (
    CAR_T,
    MSC,
    Case,
    cases,
    contacts,
    lets_cells_pass,
    recipe_of,
    run_case,
    without_the_checks,
    wrongly_accepted,
)

pytestmark = pytest.mark.release_proof

CASES_A_PART: Final = 60
WITHIN_S: Final = 600


def every_case() -> list[Case]:
    return [*cases(CAR_T), *cases(MSC)]


def parts() -> Iterator[Any]:
    for checked in (True, False):
        for at in range(0, len(every_case()), CASES_A_PART):
            word = "checked" if checked else "unchecked"
            yield pytest.param(checked, at, id=f"{word}-{at // CASES_A_PART + 1}")


def kept_at(case: Case, *, checked: bool) -> Path:
    name = hashlib.sha256(f"{case.path} {case}".encode()).hexdigest()[:16]
    return KEPT / source() / "identity" / f"{name}-{'checked' if checked else 'unchecked'}.json"


def outcome_of(case: Case, *, checked: bool, folder: Path) -> dict[str, Any]:
    """Return what came of a case: from an earlier proof of the same source, or run now."""
    kept = kept_at(case, checked=checked)
    if kept.exists():
        return json.loads(kept.read_text())
    with pytest.MonkeyPatch.context() as patch:
        if not checked:
            without_the_checks(patch)
        found = run_case(case, folder)
    outcome = {
        "case": f"{case.path} {case}",
        "slip": case.slip,
        "wrong": wrongly_accepted(case, found),
        "mixed": found.mixed,
        "handled": found.handled,
        "refused": found.refused,
        "presented": found.presented,
        "waits": found.waits,
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    half_written = kept.with_suffix(".part")
    half_written.write_text(json.dumps(outcome))
    half_written.replace(kept)
    return outcome


def phase_kind(case: Case) -> str:
    step = recipe_of(case.protocol).at(case.path)
    assert isinstance(step, Step)
    return step.phase.kind


@pytest.mark.requirement("IDC-05")
@pytest.mark.timeout(WITHIN_S)
@pytest.mark.parametrize(("checked", "at"), list(parts()))
def test_every_slip_at_every_contact(checked: bool, at: int, tmp_path: Path) -> None:
    wrong: list[str] = []
    for number, case in enumerate(every_case()[at : at + CASES_A_PART]):
        outcome = outcome_of(case, checked=checked, folder=tmp_path / str(number))
        if checked:
            wrong += [f"{outcome['case']}: {one}" for one in outcome["wrong"]]
        if not checked and lets_cells_pass(case):
            shown = outcome["mixed"]
            wrong += [] if shown else [f"{outcome['case']}: no cells went wrong, unchecked"]
    tell_all()
    assert wrong == []


def tell_all() -> None:
    """Keep, for the table, what all cases that were run until now came to."""
    rows: Counter[tuple[str, str, str]] = Counter()
    let_through: list[str] = []
    missing = 0
    for case in every_case():
        for checked in (True, False):
            kept = kept_at(case, checked=checked)
            if not kept.exists():
                missing += 1
                continue
            outcome = json.loads(kept.read_text())
            rows[phase_kind(case), case.slip, _came_to(outcome, checked=checked)] += 1
            if checked:
                let_through += outcome["wrong"]
    tell(
        "identity",
        {
            "contacts": [f"{one}: {len(list(contacts(one)))}" for one in (CAR_T, MSC)],
            "runs": rows.total(),
            "not_run_yet": missing,
            "let_through": let_through,
            "each": [
                f"{kind:24} {slip:12} {came_to:44} {count:4}"
                for (kind, slip, came_to), count in sorted(rows.items())
            ],
        },
    )


def _came_to(outcome: dict[str, Any], *, checked: bool) -> str:
    if not checked:
        what = "cells in the wrong bag" if outcome["mixed"] else "no cells moved wrongly"
        return f"unchecked: {what}"
    if outcome["wrong"]:
        return "checked: LET THROUGH"
    if outcome["refused"]:
        return "checked: refused"
    if outcome["waits"]:
        return "checked: stands still with an alarm"
    return "checked: nobody was asked, identity was carried"
