"""Who repeated and who lost, by the pump's own ledger alone.

A turn of the head belongs to the dose whose speed it had. A dose that was turned for more
than was asked, all its turns together, is repeated; one that was turned for less is lost.
What lies within the error that the pump and its driver state is neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.peers.job import Dose

ERROR_PULSES: Final = 20
"""Play of a standing pump (11 pulses), and a rest of one part in a hundred that isn't asked."""


@dataclass(frozen=True)
class Turn:
    """One turn of the pump's head, as it was physically made."""

    at_s: float
    speed_tenths: int
    pulses: float
    backward: bool


@dataclass(frozen=True)
class Verdict:
    """What became of the doses of one job. ``stray`` turns belong to none of them."""

    repeated: tuple[int, ...]
    lost: tuple[int, ...]
    stray: int
    surplus_pulses: int


def judged(job: Sequence[Dose], turns: Iterable[Turn]) -> Verdict:
    """Return what the ledger says of a job that was brought to its end."""
    turned: dict[int, float] = {dose.speed_tenths: 0.0 for dose in job}
    stray = 0
    for turn in turns:
        if turn.speed_tenths in turned and turn.backward:
            turned[turn.speed_tenths] += turn.pulses
        else:
            stray += 1
    over = {dose.number: turned[dose.speed_tenths] - dose.pulses for dose in job}
    return Verdict(
        repeated=tuple(number for number, by in over.items() if by > ERROR_PULSES),
        lost=tuple(number for number, by in over.items() if by < -ERROR_PULSES),
        stray=stray,
        surplus_pulses=round(sum(by for by in over.values() if by > ERROR_PULSES)),
    )
