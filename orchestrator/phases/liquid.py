"""Moving liquid through a docked kit: identify, open a path, pump, shut it.

What several kinds of phase do, in one order: the valves of one path are opened, the
pump turns once, all valves are shut. Ports lie on side A of the kit's manifold, vessel
and flush on side B, with the pump between them.
"""

from __future__ import annotations

from typing import Final

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.fluid_transfer import PumpVolume, Weighed
from devices.interfaces.valves import SetValves
from orchestrator.kernel.acts import Effect, OnInterruption, Quieten
from orchestrator.kernel.identifiers import ContainerId
from orchestrator.kernel.quantities import Duration, Flow, Volume, minute, second
from orchestrator.phases.outside import Outside

SIDE_B: Final = ("vessel", "flush")
"""The positions on the pump's far side; all others are ports."""

VALVES_WITHIN: Final = 30 * second
PUMP_MARGIN: Final = 2 * minute
"""Set by site: what a pump may take beyond volume over flow before it is overdue."""


async def move_liquid(
    outside: Outside,
    *,
    station: str,
    source: ContainerId,
    source_at: str,
    target: ContainerId,
    target_at: str,
    volume: Volume,
    flow: Flow,
    proven: tuple[ProvenContainer, ...],
    on_hook: str = "",
    on_interruption: OnInterruption = OnInterruption.CONTINUE,
) -> Effect:
    """Pump ``volume`` from one position of the docked kit to another, and shut the path.

    ``proven`` begins with the proof of the docked kit. ``on_hook`` names the position whose
    bag hangs on the station's hook balance, if one of the two does. Returns the pump's
    settled effect.
    """
    await set_valves(outside, station, proven[0], source_at, target_at)
    weighed = [
        Weighed(part=part, gains=target_at == position)
        for part, position in (("vessel", "vessel"), ("hook", on_hook))
        if position in (source_at, target_at)
    ]
    effect = await outside.do(
        PumpVolume(
            unit=station,
            volume=volume,
            flow=flow,
            forward=source_at not in SIDE_B,
            source=source,
            target=target,
            open=tuple(sorted((source_at, target_at))),
            weighed=tuple(weighed),
            longest=pumping_time(volume, flow) + PUMP_MARGIN,
            on_interruption=on_interruption,
            quieten=Quieten.HALT,
        ),
        proven=proven,
    )
    await set_valves(outside, station, proven[0])
    return effect


async def set_valves(outside: Outside, station: str, kit: ProvenContainer, *positions: str) -> None:
    """Open exactly these positions' valves of the docked kit and shut all others."""
    await outside.do(
        SetValves(
            unit=station,
            kit=kit.container,
            open=tuple(sorted(positions)),
            longest=VALVES_WITHIN,
            on_interruption=OnInterruption.REPEAT,
            quieten=Quieten.LEAVE_RUNNING,
        ),
        proven=(kit,),
    )


def pumping_time(volume: Volume, flow: Flow) -> Duration:
    """Return how long the pump turns."""
    return volume.at(flow)
