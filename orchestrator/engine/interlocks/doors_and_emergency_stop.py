"""No motion with a door open or the emergency stop down. Observed, never overridden."""

from __future__ import annotations

from orchestrator.engine.interlocks.permit import Permit
from orchestrator.process_cell.config import MOVING


def doors_and_emergency_stop(permit: Permit) -> str | None:
    """Refuse while a safety input of the unit isn't known to be safe."""
    if permit.act.capability == "hands":
        return None
    if permit.act.capability in MOVING and not permit.inputs:
        return f"{permit.unit.name} has no safety input that could show a closed door"
    for name, shown in permit.inputs.items():
        if shown != "safe":
            return f"the safety input {name} says {shown!r}"
    return None
