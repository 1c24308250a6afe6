"""A block-tier limit that has run out stands in the way of its batch's next act."""

from __future__ import annotations

from orchestrator.engine.interlocks.permit import Permit


def limits(permit: Permit) -> str | None:
    """Refuse while a block-tier limit of this batch is overrun without a deviation."""
    for name, limit in permit.state.limits.items():
        if limit.due and limit.tier == "block" and limit.batch == permit.batch_name:
            waived = any(
                one.batch == permit.batch_name and name in one.text and one.closed_by
                for one in permit.state.deviations.values()
            )
            if not waived:
                return f"the limit {name} has run out ({limit.maximum}; {limit.source})"
    return None
