"""A chamber's climate belongs to all who stand in it (design section 8)."""

from __future__ import annotations

from devices.interfaces.climate import SetClimate
from orchestrator.engine.interlocks.permit import Permit


def shared_climate(permit: Permit) -> str | None:
    """Refuse to change set points while another batch holds a place of the chamber."""
    act = permit.act
    if not isinstance(act, SetClimate):
        return None
    wanted = {"temperature": str(act.temperature), "carbon_dioxide": str(act.carbon_dioxide)}
    if all(permit.standing.values.get(name) == value for name, value in wanted.items()):
        return None
    for place in permit.unit.places:
        held = permit.state.leases.get(place)
        if held is not None and held.batch != permit.batch_name:
            return f"another batch stands in {permit.unit.name}; its climate may not change now"
    return None
