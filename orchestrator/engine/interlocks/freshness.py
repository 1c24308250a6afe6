"""A scan made for an earlier phase doesn't count, unless identity was carried (H1)."""

from __future__ import annotations

from orchestrator.engine.interlocks.permit import Permit


def freshness(permit: Permit) -> str | None:
    """Refuse a proof by scan that is older than the phase that uses it."""
    for proof in permit.proven:
        if proof.path != permit.path:
            return f"the proof of {proof.container} was made for another phase"
        if proof.rests_on == "scanned" and proof.since < permit.phase_started:
            return f"the scan of {proof.container} is older than this phase"
    return None
