"""Both shipped protocols die at each kind of place, and thirty acts at each place.

Method: the harness that users call. For the protocols of many days two points in each class of
stages (a kind of phase, what is done there, the stage of it), so that as many phases as can be
are cut; for thirty acts every point; and the thin path twice, at every operation of the
journal in its recoveries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from orchestrator.cli.recipes import written_recipe
from orchestrator.process_cell.simulation import REFERENCE_CELL
from orchestrator.proof.choosing import DECIDING
from orchestrator.proof.evidence import Proof
from orchestrator.proof.proving import Asked, proof_of
from orchestrator.proof.story import ProtocolStory
from tests.proof.holds import not_allowed
from tests.release_proof import ROOT, Measured, part

pytestmark = [
    pytest.mark.release_proof,
    pytest.mark.timeout(600),
    pytest.mark.leaves_tasks("a death drops tasks on purpose"),
    pytest.mark.requirement("PRC-09"),
]

SHIPPED: Final = {
    "car-t": ROOT / "protocols" / "car_t_twelve_day.py",
    "marrow": ROOT / "protocols" / "msc_adherent.py",
}
SHORT: Final = Path(__file__).parent / "seed_and_wash.py"
WITHIN_S: Final = 180
ACTING: Final = {"C1", "F1", "I1", "N1", "P1", "R1", "V1", "hands"}
"""What acts. Balances and scanners are read: their stages are those of readings and identity."""


@pytest.mark.parametrize("name", SHIPPED)
def test_each_class_of_stages_of_each_kind_of_phase(name: str) -> None:
    measured = part(f"restart, {name}", lambda: _proven(SHIPPED[name], Asked(classes=True)))
    assert (measured["repeated"], measured["lost"], measured["failed"]) == (0, 0, 0)
    assert measured["holds_that_no_row_allows"] == []
    assert (measured["not_reached"], measured["kinds_of_phase_not_cut"]) == ([], [])
    assert set(measured["acting"]) >= ACTING


def test_thirty_acts_at_every_point() -> None:
    measured = part("restart, thirty acts", lambda: _proven(SHORT, Asked()))
    assert (measured["repeated"], measured["lost"], measured["failed"]) == (0, 0, 0)
    assert (measured["not_reached"], measured["every_deciding_point"]) == ([], True)
    assert measured["seconds"] <= WITHIN_S
    assert measured["held"] == 0


def _proven(protocol: Path, asked: Asked) -> Measured:
    recipe = written_recipe(protocol)
    proof = proof_of(ProtocolStory(recipe, REFERENCE_CELL, seed=asked.seed), recipe, asked)
    assert proof.findings == ()
    return told(proof)


def told(proof: Proof) -> Measured:
    """Return a proof's figures."""
    cut = {path for run in proof.runs for path in run.get("cut", ())}
    kinds = {proof.phase_kinds[path] for path in cut if path in proof.phase_kinds}
    choice = proof.choice
    return {
        "acts": proof.subject.acts,
        "points": len(choice.points),
        "every_deciding_point": all(choice.chosen(one) == choice.there[one] for one in DECIDING),
        "images": proof.images,
        "runs": len(proof.runs),
        "repeated": proof.repeated,
        "lost": proof.lost,
        "failed": proof.failed,
        "held": proof.held,
        "holds_that_no_row_allows": not_allowed(dict(proof.reasons)),
        "stages": proof.stages,
        "not_reached": list(proof.not_reached),
        "kinds_of_phase": len(kinds),
        "kinds_of_phase_not_cut": sorted({*proof.phase_kinds.values()} - kinds),
        "phases_cut": f"{len(cut)} of {len(proof.phase_kinds)}",
        "acting": list(proof.subject.acting),
        "seconds": round(proof.wall_s),
    }
