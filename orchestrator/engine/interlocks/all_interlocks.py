"""The interlocks, in the order in which their refusals are shown."""

from __future__ import annotations

from typing import Final

from orchestrator.engine.interlocks.calibration import calibration
from orchestrator.engine.interlocks.doors_and_emergency_stop import doors_and_emergency_stop
from orchestrator.engine.interlocks.freshness import freshness
from orchestrator.engine.interlocks.identity import identity
from orchestrator.engine.interlocks.in_doubt import in_doubt
from orchestrator.engine.interlocks.lease import lease
from orchestrator.engine.interlocks.limits import limits
from orchestrator.engine.interlocks.material import material
from orchestrator.engine.interlocks.mode import mode
from orchestrator.engine.interlocks.never_warmed import never_warmed
from orchestrator.engine.interlocks.occupancy_and_joints import occupancy_and_joints
from orchestrator.engine.interlocks.outside_act import outside_act
from orchestrator.engine.interlocks.path import path
from orchestrator.engine.interlocks.permit import Interlock, Permit
from orchestrator.engine.interlocks.shared_climate import shared_climate

INTERLOCKS: Final[tuple[Interlock, ...]] = (
    identity,
    doors_and_emergency_stop,
    mode,
    lease,
    in_doubt,
    material,
    occupancy_and_joints,
    path,
    shared_climate,
    never_warmed,
    limits,
    calibration,
    freshness,
    outside_act,
)


def refusals(permit: Permit) -> tuple[str, ...]:
    """Return why the act is refused: every reason, or none."""
    return tuple(why for why in (interlock(permit) for interlock in INTERLOCKS) if why is not None)
