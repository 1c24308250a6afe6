"""An instrument isn't used while nobody knows what it did last."""

from __future__ import annotations

from orchestrator.engine.in_use import doubt_on
from orchestrator.engine.interlocks.permit import Permit


def in_doubt(permit: Permit) -> str | None:
    """Refuse while another attempt on the instrument is open or in doubt."""
    module = permit.module
    if module.capability == "hands" or not permit.state.attempts:
        return None
    if doubt_on(permit.state, module.equipment, permit.batch_name, permit.path) is None:
        return None
    return f"what another attempt on {module.equipment} did isn't decided yet"
