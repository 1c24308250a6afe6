"""A lot that is unknown, expired, short or in quarantine isn't used; it may be parted from."""

from __future__ import annotations

from typing import Final

from devices.interfaces.fluid_transfer import PumpVolume
from orchestrator.engine.interlocks.permit import Permit
from orchestrator.engine.limits import WHY_UNKNOWN, ran_since
from orchestrator.engine.state import ContainerState
from orchestrator.kernel.quantities import Duration, Volume

SPARE: Final = 100
"""An act may ask for one part in this many more than the ledger holds: the balance's error."""


def material(permit: Permit) -> str | None:
    """Refuse a source that may not be used or holds too little, and a target without room."""
    for name in permit.act.touches():
        container = permit.state.containers.get(name)
        if container is None:
            return f"{name} was never received"
        unfit = None if permit.act.makes_safe() else _unfit(permit, name, container)
        if unfit is not None:
            return unfit
    act = permit.act
    if isinstance(act, PumpVolume):
        return _volumes(permit, act)
    return None


def _unfit(permit: Permit, name: str, container: ContainerState) -> str | None:
    if not container.lot:
        return None
    lot = permit.state.lots.get(container.lot)
    if lot is None:
        return f"lot {container.lot} of {name} was never received"
    if lot.quarantined:
        return f"lot {container.lot} of {name} is in quarantine: {lot.quarantined}"
    if permit.now >= lot.expires:
        return f"lot {container.lot} of {name} expired at {lot.expires}"
    if lot.in_use and container.opened is not None:
        open_for = ran_since(container.opened, permit.state, permit.clock)
        if open_for is None:
            return f"nobody knows how long {name} has been open: {WHY_UNKNOWN}"
        if open_for.highest >= Duration.read(lot.in_use):
            return f"{name} was opened at {container.opened_at} and may be used for {lot.in_use}"
    return None


def _volumes(permit: Permit, act: PumpVolume) -> str | None:
    source = permit.state.containers[act.source]
    target = permit.state.containers[act.target]
    asked_nl = act.volume.base
    if asked_nl > source.volume_nl + source.volume_nl // SPARE:
        held = Volume.of_base(source.volume_nl)
        return f"{act.source} holds {held}; {act.volume} is asked"
    if target.capacity_nl and asked_nl > target.capacity_nl - target.volume_nl:
        room = Volume.of_base(target.capacity_nl - target.volume_nl)
        return f"{act.target} has room for {room}; {act.volume} is asked"
    return None
