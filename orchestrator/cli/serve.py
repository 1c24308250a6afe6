"""``cellwright serve``: the daemon of one process cell, with its console on a Unix socket."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.cells import load
from orchestrator.cli.folders import made_folder
from orchestrator.cli.options import AsJson, CallRefusedError, DataFolder, data_folder
from orchestrator.cli.printing import say, say_json
from orchestrator.cli.user import host_of
from orchestrator.kernel.instants import Clock, SystemClock
from orchestrator.process_cell.collector import collect_seldom
from orchestrator.process_cell.config import LoadedCell
from orchestrator.process_cell.daemon import (
    CONSOLE,
    refuse_emulators_in_production,
    running,
)
from orchestrator.process_cell.emulated_people import PEOPLE
from orchestrator.process_cell.lines import refuse_unopenable
from orchestrator.virtual_time import run_on_room_clock


def run(
    cell: Annotated[Path, typer.Argument(metavar="CELL", help="The process cell file")],
    data: DataFolder = None,
    room: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The folder of the room that the cell is emulated in, if it is"
        ),
    ] = None,
    witness: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder under another account or host that checkpoints are copied to",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the daemon of a process cell until it is stopped (Ctrl-C or SIGTERM).

    Batches that run are left as they are when it stops, and go on at its next start. Nothing
    is made in DIR while the cell file, its ports or the room are seen to be wrong. With
    --json one object with cell, console and events once it serves.
    """
    loaded = load(cell)
    refuse_emulators_in_production(loaded.config)
    folder = data_folder(data)
    if witness is not None:
        witness = _elsewhere(witness.resolve(), folder.resolve())
    if room is None:
        serving = _until_told(loaded, folder, SystemClock(), None, witness, as_json=as_json)
        asyncio.run(serving)
        return
    there = room.resolve()
    run_on_room_clock(
        lambda clock: _until_told(loaded, folder, clock, there, witness, as_json=as_json),
        socket_path=there / "clock.sock",
    )


def _elsewhere(witness: Path, data: Path) -> Path:
    if witness.is_relative_to(data):
        raise CallRefusedError(
            f"copy checkpoints to {witness}",
            why="it lies in the data folder, and who puts back one puts back the other",
            do_next="Name a folder under another account or host",
        )
    return witness


async def _until_told(
    cell: LoadedCell,
    folder: Path,
    clock: Clock,
    room: Path | None,
    witness: Path | None,
    *,
    as_json: bool,
) -> None:
    refuse_unopenable(cell.config, room=room)
    data = made_folder(folder)  # what can be known to be wrong is, by now: else nothing is made
    fresh = not (data / "journal.sqlite").exists()
    loop = asyncio.get_running_loop()
    ends = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, ends.set)
    try:
        async with running(
            cell, data, host=host_of(data), clock=clock, room=room, witness=witness
        ) as engine:
            collect_seldom()
            if as_json:
                said = {"cell": cell.config.name, "console": str(data / CONSOLE)}
                say_json({**said, "events": engine.core.state.seq})
            else:
                say(f"cell {cell.config.name}: console at {data / CONSOLE}; Ctrl-C stops it")
                if room is not None and fresh:
                    say(
                        "The people of the emulated cell were let in, each with the password "
                        '"LOGIN of the emulated cell" (docs/reference/room.md): '
                        f"{', '.join(one.login for one in PEOPLE)}"
                    )
            print(end="", flush=True)
            await ends.wait()
    finally:
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(ending)
