"""How a process that records for months sets its garbage collector."""

from __future__ import annotations

import gc
from typing import Final

NEW_OBJECTS: Final = 20_000
"""So many between two looks at the young ones; Python's own 700 are an act's or two."""


def collect_seldom() -> None:
    """Look for garbage seldom, and never again among what is there now.

    What holds itself is rare here, so looking costs more than it finds: a tenth of the time
    with a thousand batches. Call it once all is loaded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, 20, 20)
