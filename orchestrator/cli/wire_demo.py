"""The demo over real wires: room and daemon as two processes that only bytes connect.

This process starts both, reads the journal while the daemon writes it, and ends both. What
the room holds then is asked of the room, and compared with the record as in memory.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from hw_mocks.scenario import scenario_for
from orchestrator.cli.folders import made_folder
from orchestrator.engine.fold import fold
from orchestrator.engine.state import HostState
from orchestrator.journal.events import EVENTS
from orchestrator.journal.journal import read_events
from orchestrator.kernel.instants import Instant
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.prepared import prepare
from orchestrator.process_cell.simulation import (
    BATCH,
    LONGEST_DAYS,
    REFERENCE_CELL,
    Outcome,
    Told,
    Watched,
    is_over,
    outcome_of,
)
from orchestrator.process_cell.two_processes import (
    Control,
    Part,
    control_of,
    serving,
)
from orchestrator.recipe.model import Recipe
from orchestrator.virtual_time import USUAL_START

LOOK_EVERY_S: Final = 0.2
"""How often the journal is read; the daemon works on meanwhile."""

SILENT_LOOKS: Final = 10
"""After so many without news the room is asked whether its time has run out."""

SECONDS_A_DAY: Final = 86_400


def simulate_over_wires(
    recipe: Recipe, protocol: Path, folder: Path, *, seed: int, told: Told | None = None
) -> Outcome:
    """Return what comes of one batch on the reference cell, run over real wires.

    Args:
        recipe: Written by ``protocol``.
        protocol: The file, which the room reads for what it has to bring.
        folder: Empty; the journal, traces, saved state and recorded wires are left there,
            and in ``room`` what the room leaves.
        seed: Decides on the donor and on all chance of the room.
        told: Is told of each event as soon as it is read from the journal.

    Raises:
        PartEndedError: The daemon or the room ended before the batch had.
    """
    began_s = time.perf_counter()
    folder = made_folder(folder)
    scenario = scenario_for(json.loads(recipe.content), seed=seed)
    prepare(recipe, folder, load_cell(REFERENCE_CELL), scenario, seed)
    watched = Watched(HostState(), recipe)
    cell, place = str(REFERENCE_CELL), folder / "room"
    with ExitStack() as parts:
        brought = ("--seed", str(seed), "--protocol", str(protocol))
        room = parts.enter_context(
            serving("room", cell, "--data", str(place), *brought, log=folder)
        )
        control = parts.enter_context(control_of(place / "room.sock"))
        joined = ("--data", str(folder), "--room", str(place))
        with serving("serve", cell, *joined, log=folder) as daemon:
            ended_at = _follow(folder / "journal.sqlite", daemon, control, watched, told)
            daemon.end()
        effects = control.ledger()
        outcome = outcome_of(
            scenario,
            watched,
            folder,
            days=(ended_at - USUAL_START).base / (1000 * SECONDS_A_DAY),
            began=USUAL_START,
            effects=effects,
            look=control.look,
        )
        room.end()
    outcome.wall_s = time.perf_counter() - began_s
    return outcome


def _follow(
    journal: Path, daemon: Part, control: Control, watched: Watched, told: Told | None
) -> Instant:
    """Read the journal as it grows, until the batch is over; return when it was.

    A batch that stands still is left after ``LONGEST_DAYS`` of the room's time.
    """
    state, at, silent = watched.state, USUAL_START, 0
    while True:
        is_last = daemon.has_ended
        silent += 1
        for recorded in read_events(journal, EVENTS, from_seq=state.seq + 1):
            fold(state, recorded)
            watched(recorded)
            if told is not None:
                told(recorded)
            at, silent = recorded.at, 0
        if BATCH in state.batches and is_over(state, BATCH):
            return at
        if is_last:
            raise daemon.ended_early()
        if silent >= SILENT_LOOKS:
            if control.ask("look")["at_s"] > LONGEST_DAYS * SECONDS_A_DAY:
                return at
            silent = 0
        sys.stdout.flush()
        time.sleep(LOOK_EVERY_S)
