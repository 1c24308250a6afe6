"""Carry a kit or a bag by arm from one unit's place to another's."""

from __future__ import annotations

from typing import Final

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.container_transport import PickContainer, PlaceContainer
from devices.interfaces.scanning import Identify
from orchestrator.kernel.acts import OnInterruption, Quieten
from orchestrator.kernel.quantities import Duration, Range, between, minute, second
from orchestrator.phases.outside import Outside

MOTION_TAKES: Final = between(5 * second, 60 * second)
"""One pick or one place along its taught path. Set by site."""

MOTION_WITHIN: Final = 3 * minute
"""Set by site: past this a pick or a place is overdue."""

CARRYING_TAKES: Final[Range[Duration]] = between(2 * MOTION_TAKES.lowest, 2 * MOTION_TAKES.highest)
"""One pick and one place."""


async def carry(
    outside: Outside, *, arm: str, container: str, from_: str, to: str, scanner_of: str
) -> None:
    """Pick ``container`` up at its place of unit ``from_`` and set it down at ``to``'s.

    It is proven where it stands; an unbroken earlier proof suffices, so that an arm can
    work at night. ``scanner_of`` is the unit whose scanner reads it there, if one must.

    Interrupted: HOLD unless gripper and position tell. The arm is left to end its motion,
    since a motion that was cut short in mid-air tells nothing and needs a person.
    """
    carried = outside.container(container)
    proof = await outside.see(
        Identify(
            unit=scanner_of,
            container=carried,
            place=outside.place(from_),
            carried_suffices=True,
        )
    )
    proven: tuple[ProvenContainer, ...] = (proof,)
    await outside.do(
        PickContainer(
            unit=arm,
            container=carried,
            place=outside.place(from_),
            longest=MOTION_WITHIN,
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
        ),
        proven=proven,
    )
    await outside.do(
        PlaceContainer(
            unit=arm,
            container=carried,
            place=outside.place(to),
            longest=MOTION_WITHIN,
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
        ),
        proven=proven,
    )
