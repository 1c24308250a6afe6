"""Liquid moves only while exactly the valves of its path are open, as the block itself says."""

from __future__ import annotations

from devices.interfaces.fluid_transfer import PumpVolume, TurnEmptyPump
from devices.interfaces.valves import ValvesOpen
from orchestrator.engine.interlocks.permit import Permit
from orchestrator.kernel.acts import evidence_name


def path(permit: Permit) -> str | None:
    """Refuse to pump without a path, or through another than the one that is open."""
    act = permit.act
    if not isinstance(act, PumpVolume | TurnEmptyPump):
        return None
    seen = permit.evidence.get(evidence_name(ValvesOpen(unit=act.unit)), "")
    if isinstance(act, TurnEmptyPump):
        if seen:
            return f"the valves {seen} are open; none may be while the pump turns empty"
        return None
    if not act.open:
        if any(module.capability == "valves" for module in permit.unit.modules):
            return "the act names no path of valves"
        return None
    asked = ",".join(sorted(act.open))
    if seen != asked:
        return f"the valves {seen or '(none)'} are open; the path needs {asked}"
    return None
