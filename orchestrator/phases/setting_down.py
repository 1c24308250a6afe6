"""Have containers set at one place by hand: scanned before they move, and where they stand."""

from __future__ import annotations

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.hands import Handwork
from devices.interfaces.scanning import Identify
from orchestrator.kernel.identifiers import ContainerId, PlaceId
from orchestrator.phases.handwork import by_hand
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import Report


async def set_down(
    outside: Outside,
    unit: str,
    work: Handwork,
    instruction: str,
    containers: tuple[ContainerId, ...],
    place: PlaceId,
    parameters: dict[str, str] | None = None,
) -> tuple[Report, tuple[ProvenContainer, ...]]:
    """Return the place and who did it, and the proof of each container's scan there."""
    proven = tuple(
        [
            await outside.see(Identify(unit=unit, container=container, place=place))
            for container in containers
        ]
    )
    done = await by_hand(
        outside,
        unit,
        work,
        instruction,
        proven=proven,
        containers=containers,
        at=(place,) * len(containers),
        parameters=parameters,
    )
    there = tuple(
        [
            await outside.see(Identify(unit=unit, container=container, place=place))
            for container in containers
        ]
    )
    return {"place": str(place), **done.detail}, there
