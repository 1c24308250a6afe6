"""Equipment past its calibration date isn't used (EQP-01), but to make safe."""

from __future__ import annotations

from orchestrator.engine.interlocks.permit import Permit


def calibration(permit: Permit) -> str | None:
    """Refuse once the instrument's calibration is overdue."""
    due = permit.module.calibration_due
    if permit.act.makes_safe():
        return None
    if due is not None and permit.now.as_datetime().date() > due:
        return f"calibration of {permit.module.equipment} was due on {due.isoformat()}"
    return None
