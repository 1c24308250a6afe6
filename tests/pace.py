"""Limits in seconds that mean the same on a slow machine, or one that others keep busy.

The figures that a test holds are those of the machine on which they were set. A bare loop,
timed right beside what is measured, tells how much slower this machine is at that moment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

TRIES: Final = 10
WAITING_MOST: Final = 5

TURNS: Final = 50_000
_TURNS_S: Final = 0.0009
"""What that many empty turns of a loop take CPython 3.11 on the machine of the figures."""


def times_slower() -> float:
    """Return how many times as long as there a bare loop takes now; 1 where it's faster.

    The shortest of several loops counts, so that a moment's pause excuses nothing.
    """
    took_s: list[float] = []
    for _ in range(30):
        began_s = time.perf_counter()
        for _ in range(TURNS):
            pass
        took_s.append(time.perf_counter() - began_s)
    return max(1.0, min(took_s) / _TURNS_S)


def shortest(work: Callable[[], object], *, at_most_s: float) -> float:
    """Return what ``work`` took at its shortest, in seconds of the machine of the figures.

    Seconds of the processor count, of this process and of those that it waited for, since
    other tests run beside it; waiting counts once it is ``WAITING_MOST`` times as long. It is
    tried again while it is above ``at_most_s``.
    """
    took_s = float("inf")
    tries = 0
    while tries < TRIES and took_s > at_most_s:
        began_s, worked_s = time.perf_counter(), _processor_s()
        work()
        waited_s = (time.perf_counter() - began_s) / WAITING_MOST
        took_s = min(took_s, max(_processor_s() - worked_s, waited_s) / times_slower())
        tries += 1
    return took_s


def _processor_s() -> float:
    return sum(os.times()[:4])
