"""A batch acts only while it runs."""

from __future__ import annotations

from orchestrator.engine.interlocks.permit import Permit
from orchestrator.engine.phase_state import PhaseState


def mode(permit: Permit) -> str | None:
    """Refuse while the batch isn't running or the phase isn't in RUNNING."""
    if permit.batch.status != "running":
        return f"batch {permit.batch_name} is {permit.batch.status}"
    if permit.batch.broken:
        return f"batch {permit.batch_name} is broken: {permit.batch.broken}"
    state = permit.batch.phases[permit.path].state
    if state is not PhaseState.RUNNING:
        return f"the phase is {state.value}"
    return None
