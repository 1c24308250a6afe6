"""Run the twelve-day CAR-T batch on the emulated reference cell, and judge it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, CallRefusedError, DataFolder
from orchestrator.cli.printing import say, say_json
from orchestrator.cli.recipes import written_recipe
from orchestrator.cli.timeline import Timeline, told_outcome

PROTOCOL = Path(__file__).parents[2] / "protocols" / "car_t_twelve_day.py"


def run(
    seed: Annotated[int, typer.Option(help="Decides on the donor and on all chance")] = 1,
    wire: Annotated[
        bool,
        typer.Option(
            "--wire", help="Room and daemon as two processes, each instrument on its own wire"
        ),
    ] = False,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> int:
    """Run a whole CAR-T batch, twelve days of virtual time, and print what came of it.

    Every instrument is emulated and none was tried on hardware. The journal, traces and
    saved state are left in a folder of their own, which is named at the end.
    """
    folder = data if data is not None else Path(tempfile.mkdtemp(prefix="cellwright-demo-"))
    if (folder / "journal.sqlite").exists():
        raise CallRefusedError(
            f"run the demo in {folder}",
            why="there is a journal already",
            do_next="Name an empty folder with --data, or none",
        )
    recipe = written_recipe(PROTOCOL)
    timeline = None if as_json else Timeline(recipe)
    if timeline is not None:
        say(f"{recipe.title} ({recipe.document} version {recipe.version}), seed {seed}")
        say("Emulated instruments, written from the published manuals; not tried on hardware.")
        say()
    if wire:
        from orchestrator.cli.wire_demo import simulate_over_wires

        outcome = simulate_over_wires(recipe, PROTOCOL, folder, seed=seed, told=timeline)
    else:
        from orchestrator.process_cell.simulation import simulate

        outcome = simulate(recipe, folder, seed=seed, told=timeline)
    if as_json:
        say_json(outcome.as_json())
    else:
        told_outcome(outcome, folder)
    return 0 if outcome.is_well else 1
