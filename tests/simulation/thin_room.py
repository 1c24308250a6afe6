"""The thin path's room as a process of its own: ``python -m tests.simulation.thin_room DIR``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from orchestrator.cli.room import hold_room
from tests.simulation.thin import CELL, SEED, bring

if __name__ == "__main__":
    hold_room(CELL, Path(sys.argv[1]), seed=SEED, as_json=True, bring=partial(bring, kit_at="rack"))
