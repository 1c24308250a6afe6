"""No motion with a door open or the emergency stop down. Observed, never overridden."""

from __future__ import annotations

from orchestrator.engine.interlocks.permit import Permit


def doors_and_emergency_stop(permit: Permit) -> str | None:
    """Refuse while a safety input of the unit isn't known to be safe."""
    if permit.act.capability == "hands":
        return None
    for name, shown in permit.inputs.items():
        if shown != "safe":
            return f"the safety input {name} says {shown!r}"
    return None
