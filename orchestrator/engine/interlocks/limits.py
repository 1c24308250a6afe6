"""A block-tier limit that has run out stands in the way of its batch's next act."""

from __future__ import annotations

from orchestrator.engine.interlocks.permit import Permit
from orchestrator.engine.limits import WHY_UNKNOWN, left, ran_since
from orchestrator.engine.state import LimitState


def limits(permit: Permit) -> str | None:
    """Refuse while a block-tier limit of this batch is overrun without a deviation.

    The limit's own clock decides, not whether somebody has taken note that it is due. What
    makes the material safe is allowed.
    """
    if permit.act.makes_safe():
        return None
    for name, limit in permit.state.limits.items():
        if limit.tier != "block" or limit.batch != permit.batch_name or not limit.maximum:
            continue
        if left(limit, permit.state, permit.clock).base > 0 or _is_waived(permit, name, limit):
            continue
        if ran_since(limit.mark, permit.state, permit.clock) is None:
            return f"nobody knows how long the limit {name} has run: {WHY_UNKNOWN}"
        return f"the limit {name} has run out ({limit.maximum}; {limit.source})"
    return None


def _is_waived(permit: Permit, name: str, limit: LimitState) -> bool:
    """Return whether quality has closed a deviation that was opened for this very run of it."""
    return any(
        one.batch == permit.batch_name
        and one.limit == name
        and one.limit_started_seq == limit.started_seq
        and one.closed_by
        for one in permit.state.deviations.values()
    )
