"""The job that everyone is given: sixty doses, each at a speed of its own.

The speed is what tells one dose from another in the pump's ledger of what it turned, so the
judge needs no word from whoever asked for it. Standard library only: each peer imports it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

PUMP_NUMBER: Final = 1
PULSES_PER_REVOLUTION: Final = 10_892
UL_PER_REVOLUTION: Final = 4_000
DOSE_UL: Final = 200
ACTS: Final = 60
SLOWEST_TENTHS: Final = 430
"""Tenths of a revolution per minute; the n-th dose is n tenths faster."""


class Dose(NamedTuple):
    """What one act asks of the pump, backward: from the kit's flush bag to its waste."""

    number: int
    pulses: int
    speed_tenths: int

    @property
    def flow_uL_per_min(self) -> int:
        """Return the flow that the speed gives."""
        return self.speed_tenths * UL_PER_REVOLUTION // 10


def doses(acts: int = ACTS) -> tuple[Dose, ...]:
    """Return the job."""
    pulses = round(DOSE_UL * PULSES_PER_REVOLUTION / UL_PER_REVOLUTION)
    return tuple(Dose(number, pulses, SLOWEST_TENTHS + number) for number in range(acts))
