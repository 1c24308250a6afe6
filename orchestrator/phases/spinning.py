"""Spin a docked kit: the arm takes it to the centrifuge and back, the cells lie at the bottom."""

from __future__ import annotations

from typing import Final

from devices.interfaces.centrifugation import Spin
from devices.interfaces.scanning import Identify
from orchestrator.kernel.acts import OnInterruption, Quieten
from orchestrator.kernel.quantities import (
    Duration,
    Fraction,
    Range,
    RelativeForce,
    between,
    minute,
    percent,
    second,
)
from orchestrator.phases.carrying import CARRYING_TAKES, carry
from orchestrator.phases.outside import Outside

ACCELERATION: Final = 50 * percent
DECELERATION: Final = 30 * percent
"""Set by site: gentle enough for a pellet to stay where it is. A recipe may say otherwise."""

RUN_UP_AND_DOWN: Final = between(10 * second, 5 * minute)
"""Doors, speeding up and slowing down. Set by site."""


async def spin(
    outside: Outside,
    *,
    station: str,
    arm: str,
    centrifuge: str,
    kit: str,
    force: RelativeForce,
    at_speed: Duration,
    acceleration: Fraction,
    deceleration: Fraction,
) -> None:
    """Carry the kit from the station to the rotor, spin it, and carry it back.

    Interrupted: HOLD; a spin is left to end by itself and then asked about.
    """
    await carry(outside, arm=arm, container=kit, from_=station, to=centrifuge, scanner_of=station)
    tray = outside.container(kit)
    rotor = outside.place(centrifuge)
    proof = await outside.see(
        Identify(unit=station, container=tray, place=rotor, carried_suffices=True)
    )
    await outside.do(
        Spin(
            unit=centrifuge,
            container=tray,
            place=rotor,
            force=force,
            acceleration=acceleration,
            deceleration=deceleration,
            at_speed=at_speed,
            longest=at_speed + RUN_UP_AND_DOWN.highest,
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
        ),
        proven=(proof,),
    )
    await carry(outside, arm=arm, container=kit, from_=centrifuge, to=station, scanner_of=station)


def spinning_time(at_speed: Duration) -> Range[Duration]:
    """Return how long it takes to carry a kit away, spin it and bring it back."""
    return Range(
        2 * CARRYING_TAKES.lowest + RUN_UP_AND_DOWN.lowest + at_speed,
        2 * CARRYING_TAKES.highest + RUN_UP_AND_DOWN.highest + at_speed,
    )


def spinning_needs(arm: str, centrifuge: str) -> tuple[tuple[str, str], ...]:
    """Return what spinning needs beside the station."""
    return ((arm, "container_transport"), (centrifuge, "centrifugation"))
