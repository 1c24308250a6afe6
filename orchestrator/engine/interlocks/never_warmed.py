"""What is frozen, or being frozen, is never warmed by a command."""

from __future__ import annotations

from typing import Final

from devices.interfaces.controlled_freezing import RampSegment, temperature_of
from orchestrator.engine.interlocks.permit import Permit
from orchestrator.kernel.quantities import kelvin

WITHIN: Final = 1 * kelvin
"""Set by site: two stated errors of the stage's sensor; so near it doesn't warm."""


def never_warmed(permit: Permit) -> str | None:
    """Refuse to take a freezer that holds anything above where it stands."""
    act = permit.act
    if not isinstance(act, RampSegment):
        return None
    loaded = sorted(
        {*act.containers, *(_standing_at(permit, act.place) if not act.containers else ())}
    )
    if not loaded:
        return None
    stands_at = temperature_of(permit.standing.values)
    if stands_at is None:
        return f"the temperature of {permit.module.equipment} isn't known, and {loaded[0]} is in it"
    if act.to > stands_at + WITHIN:
        return (
            f"{permit.module.equipment} stands at {stands_at}, and {loaded[0]} in it would be "
            f"warmed to {act.to}"
        )
    return None


def _standing_at(permit: Permit, place: str) -> tuple[str, ...]:
    return tuple(name for name, one in permit.state.containers.items() if one.place == place)
