"""What the record says of places and joints must be what an act relies on (H1, H6)."""

from __future__ import annotations

from typing import Final

from devices.interfaces.container_transport import PickContainer, PlaceContainer
from devices.interfaces.fluid_transfer import PumpVolume, TurnEmptyPump
from devices.interfaces.hands import HandAct, Handwork
from orchestrator.engine.interlocks.permit import Permit
from orchestrator.engine.materials import GRIPPER
from orchestrator.engine.state import ContainerState

VALVE_OF: Final = {"waste": "p6"}
"""The valve of a kit's own bag where it has another name than the bag."""

KIT: Final = "kit"
"""What a tray is received as, and with it the bags that are fixed to it."""

_JOINS: Final = (Handwork.WELD, Handwork.CONNECT_ASEPTICALLY)


def occupancy_and_joints(permit: Permit) -> str | None:
    """Refuse an act whose containers aren't where, or joined to what, it takes for granted."""
    match permit.act:
        case PickContainer() as act:
            return _picked(permit, act)
        case PlaceContainer() as act:
            return _placed(permit, act)
        case PumpVolume() as act:
            return _pumped(permit, act)
        case TurnEmptyPump():
            return _turned_empty(permit)
        case HandAct() as act:
            return _by_hand(permit, act)
        case _:
            return None


def _picked(permit: Permit, act: PickContainer) -> str | None:
    place = permit.state.containers[act.container].place
    if place != act.place:
        return f"{act.container} is at {place or 'no recorded place'}, not at {act.place}"
    for name, one in permit.state.containers.items():
        if one.kit == act.container and one.what != KIT:  # its own bags lie on its tray
            return (
                f"{name} hangs at {one.place}, joined to {act.container} at {one.port}; the arm "
                "would drag it along"
            )
    picked = permit.state.containers[act.container]
    if picked.kit:
        return f"{act.container} is joined to {picked.kit}; the arm would tear the joint"
    held = _at(permit, f"{GRIPPER}/{permit.module.equipment}")
    return f"{permit.module.equipment} holds {held[0]}" if held else None


def _placed(permit: Permit, act: PlaceContainer) -> str | None:
    if permit.state.containers[act.container].place != f"{GRIPPER}/{permit.module.equipment}":
        return f"{permit.module.equipment} doesn't hold {act.container} by the record"
    unit = permit.cell.unit_of_place.get(act.place)
    there = _at(permit, act.place)
    if len(there) >= (1 if unit is None else unit.holds):
        return f"{act.place} is occupied by {', '.join(there)}"
    return None


def _pumped(permit: Permit, act: PumpVolume) -> str | None:
    source = permit.state.containers[act.source]
    target = permit.state.containers[act.target]
    if not source.kit or source.kit != target.kit:
        return f"{act.source} and {act.target} aren't joined to one kit"
    kit = permit.state.containers[source.kit]
    if kit.place and kit.place not in permit.unit.places:
        return f"{source.kit} is at {kit.place}, not docked at {permit.unit.name}"
    needed = {_valve(source), _valve(target)}
    if act.open and set(act.open) != needed:
        return f"the path {', '.join(act.open)} doesn't lead from {act.source} to {act.target}"
    return None


def _turned_empty(permit: Permit) -> str | None:
    for place in permit.unit.places:
        for name in _at(permit, place):
            return f"{name} is docked at {place}; the pump is turned only while it is empty"
    return None


def _by_hand(permit: Permit, act: HandAct) -> str | None:
    if not act.containers or act.kit is None:
        return None
    name = act.containers[0]
    container = permit.state.containers[name]
    if act.work in _JOINS:
        if container.kit:
            return f"{name} is joined to {container.kit} at {container.port}"
        for other, one in permit.state.containers.items():
            if one.kit == act.kit and _valve(one) == act.port:
                return f"{other} is joined to {act.kit} at {act.port}"
    if act.work is Handwork.SEAL_OFF and (container.kit, container.port) != (act.kit, act.port):
        return f"{name} isn't joined to {act.kit} at {act.port}"
    return None


def _valve(container: ContainerState) -> str:
    return VALVE_OF.get(container.port, container.port)


def _at(permit: Permit, place: str) -> list[str]:
    return [name for name, one in permit.state.containers.items() if one.place == place]
