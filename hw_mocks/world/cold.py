"""What freezing does: how many cells survive, by cooling rate and protectant."""

from __future__ import annotations

from math import log

from hw_mocks.world import parameters as p

NUCLEATED_DEGC = -5.0
SOLID_DEGC = -40.0
THAWED_DEGC = -5.0


def survival(cooling_kelvin_per_min: float, dmso_fraction: float) -> float:
    """Return the fraction of viable cells that survive solidification.

    Args:
        cooling_kelvin_per_min: Mean rate from ``NUCLEATED_DEGC`` to ``SOLID_DEGC``.
        dmso_fraction: Volume of DMSO over volume of liquid.
    """
    protected = min(dmso_fraction / p.DMSO_FULL, 1.0)
    survived = p.SURVIVAL_UNPROTECTED + (p.SURVIVAL_FROZEN - p.SURVIVAL_UNPROTECTED) * protected
    if cooling_kelvin_per_min > 1.2 * p.COOLING_BEST:  # 20 %: a bag lags behind its chamber
        survived *= max(1.0 - p.COOLING_HARM * log(cooling_kelvin_per_min / p.COOLING_BEST), 0.1)
    elif cooling_kelvin_per_min < p.COOLING_SLOWEST:
        survived *= 0.8
    return survived
