"""Have containers set at one place by hand: scanned before they move, and where they stand."""

from __future__ import annotations

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
) -> Report:
    """Return the place, and who did it, once every container was scanned there."""
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
    for container in containers:
        await outside.see(Identify(unit=unit, container=container, place=place))
    return {"place": str(place), **done.detail}
