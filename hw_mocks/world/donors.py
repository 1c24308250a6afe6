"""Donors: what differs from one patient's cells to the next's."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from hw_mocks.world.noise import generator


@dataclass(frozen=True, slots=True)
class Donor:
    """One person's cells.

    ``growth`` multiplies the growth rate, ``transducibility`` the copies that one bound vector
    unit leaves; 1 is the typical donor. ``cd4_share`` is CD4+ over all T cells.
    ``colony_forming`` multiplies the MSC in a millilitre of marrow.
    """

    donor: str
    growth: float = 1.0
    transducibility: float = 1.0
    cd4_share: float = 0.72
    colony_forming: float = 1.0


GROWTH_SPREAD = 0.05
"""Standard deviation of ln(growth); fitted to S5 (median fold 53, range 42 to 65, two sites)."""
TRANSDUCIBILITY_SPREAD = 0.45
"""Standard deviation of ln(transducibility); fitted to S5 (CAR+ 34 to 61 %)."""
RUN_A_GROWTH = 1.12
RUN_A_TRANSDUCIBILITY = 8.48
RUN_B_GROWTH = 1.21
RUN_B_TRANSDUCIBILITY = 1.70


def run_a(donor: str) -> Donor:
    """Return the donor of S4 run A: both factors fitted to 68.3-fold and 77.7 % CAR+."""
    return Donor(donor, RUN_A_GROWTH, RUN_A_TRANSDUCIBILITY)


def run_b(donor: str) -> Donor:
    """Return the donor of S4 run B: both factors fitted to 71.4-fold and 55.1 % CAR+."""
    return Donor(donor, RUN_B_GROWTH, RUN_B_TRANSDUCIBILITY)


def random_donor(donor: str, seed: int) -> Donor:
    """Return the donor that ``seed`` and ``donor`` always give."""
    chance = generator(seed, f"donor/{donor}")
    growth, transducibility, cd4, colonies = (float(value) for value in chance.normal(size=4))
    return Donor(
        donor,
        growth=exp(GROWTH_SPREAD * growth),
        transducibility=exp(TRANSDUCIBILITY_SPREAD * transducibility),
        cd4_share=min(max(0.75 + 0.05 * cd4, 0.6), 0.9),  # CD4/CD8 of 2.5 to 5.5 in S5
        colony_forming=exp(0.25 * colonies),
    )
