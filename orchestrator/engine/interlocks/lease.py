"""One owner: the unit and the places of an act must be leased to this batch."""

from __future__ import annotations

from orchestrator.engine.interlocks.permit import Permit


def lease(permit: Permit) -> str | None:
    """Refuse if another batch owns the unit or a place, or nobody does."""
    for resource in (permit.unit.name, *permit.act.places()):
        held = permit.state.leases.get(resource)
        if held is None:
            if resource == permit.unit.name and permit.unit.lease == "batch":
                continue  # its places are owned one by one
            return f"{resource} isn't leased to batch {permit.batch_name}"
        if held.batch != permit.batch_name:
            return f"{resource} is held for another batch"
    return None
