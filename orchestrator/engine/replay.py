"""Fold what a journal holds, as at each start.

All that is made on the way is either kept in the state or dropped at once, and freed by
its count of references. Python's collector of cycles would find nothing, yet look through
the growing state again and again, for a quarter of the whole time. So it rests meanwhile.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.engine.fold import fold
from orchestrator.engine.state import HostState
from orchestrator.journal.events import EVENTS
from orchestrator.journal.journal import read_events


def replayed(state: HostState, journal: Path) -> HostState:
    """Return ``state``, which is owned, after the events of ``journal`` that it lacks.

    Raises:
        BrokenChainError: An event is damaged, missing or unknown to this version.
    """
    with collector_resting():
        for recorded in read_events(journal, EVENTS, from_seq=state.seq + 1):
            fold(state, recorded)
    return state


@contextmanager
def collector_resting() -> Generator[None]:
    """Let the collector of cycles rest within; it goes on afterwards if it ran before.

    For work that ends by itself and makes no cycles: in there nothing frees them.
    """
    ran = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if ran:
            gc.enable()
