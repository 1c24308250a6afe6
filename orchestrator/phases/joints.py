"""Prove a docked kit, and the bags of this patient that hang at its ports.

A kit's own vessel, flush and waste bag are proven with it. A bag that was joined to it is
looked for at its port, where a hand scanner reaches it: the station's fixed scanner only
sees the tray's label.
"""

from __future__ import annotations

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.scanning import Identify
from orchestrator.kernel.identifiers import ContainerId, PlaceId
from orchestrator.phases.outside import Outside


async def prove_joined(
    outside: Outside,
    *,
    station: str,
    kit: str,
    joined: tuple[tuple[str, str], ...] = (),
    carried_suffices: bool = True,
) -> tuple[ProvenContainer, ...]:
    """Return a proof of the docked kit, then of each ``(container, port)`` beside it."""
    tray = outside.container(kit)
    docked_at = outside.place(station)
    proven = [
        await outside.see(
            Identify(
                unit=station,
                container=tray,
                place=docked_at,
                carried_suffices=carried_suffices,
            )
        )
    ]
    for name, port in joined:
        container = outside.container(name)
        if is_part_of(container, tray):
            continue
        proven.append(
            await outside.see(
                Identify(
                    unit=station,
                    container=container,
                    place=at_port(docked_at, port),
                    carried_suffices=carried_suffices,
                )
            )
        )
    return tuple(proven)


def at_port(docked_at: PlaceId, port: str) -> PlaceId:
    """Return the place of what hangs at a port of the docked kit."""
    return PlaceId(f"{docked_at}/{port}")


def is_part_of(container: ContainerId, kit: ContainerId) -> bool:
    """Return whether a container belongs to the kit's assembly, and is proven with it."""
    return container.startswith(f"{kit}/")
