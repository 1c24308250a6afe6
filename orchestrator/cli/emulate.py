"""``cellwright emulate``: one emulated instrument on a port, in real time.

For people who write a client of their own. It stands in a room that is furnished as the
process cell file says, with nobody in it and nothing brought.
"""

from __future__ import annotations

import asyncio
import signal
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from hw_mocks.emulator import Emulator
from hw_mocks.models import MODELS
from hw_mocks.room import furnish
from hw_mocks.world.world import World
from orchestrator.cli.cells import with_model
from orchestrator.cli.options import AsJson, CallRefusedError
from orchestrator.cli.printing import say, say_json
from orchestrator.cli.wires import Port, read_url, served


def run(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As `cellwright models` lists it")],
    at: Annotated[
        str,
        typer.Option(metavar="URL", help="tcp://127.0.0.1:PORT (0: any), or serial:PATH"),
    ],
    cell: Annotated[
        Path | None,
        typer.Option(metavar="CELL", help="The cell file that describes it; else a shipped one"),
    ] = None,
    equipment: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which of several; else the first")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the room's chance")] = 1,
    as_json: AsJson = False,
) -> None:
    """Serve one emulated instrument on a port in real time, until it is stopped (Ctrl-C).

    serial:PATH makes a pseudo-terminal and a link to it at PATH. One line is printed once
    the port is there; with --json an object with model, equipment and at.
    """
    port = read_url(at)
    file, module = with_model(model, cell, equipment)
    if model not in MODELS:
        raise CallRefusedError(
            f"emulate {model}",
            why=f"it has no emulator; known: {', '.join(MODELS)}",
            do_next="Name one of these",
        )
    asyncio.run(
        _serve(tomllib.loads(file.read_text("utf-8")), module.equipment, port, seed, as_json)
    )


async def _serve(
    table: dict[str, Any], equipment: str, port: Port, seed: int, as_json: bool
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    try:
        emulator = _emulator(table, equipment, World(loop.time, seed))
        async with (
            asyncio.TaskGroup() as tasks,
            served(port, emulator.serve, group=tasks, name=equipment) as made,
        ):
            if as_json:
                say_json({"model": emulator.model, "equipment": equipment, "at": str(made)})
            else:
                say(f"{equipment} ({emulator.model}, emulated) is at {made}; Ctrl-C stops it")
            print(end="", flush=True)
            await stop.wait()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _emulator(table: dict[str, Any], equipment: str, world: World) -> Emulator:
    furnish(world, table)
    unit, module = next(
        (unit, module)
        for unit in table["units"]
        for module in unit.get("modules", [])
        if module["equipment"] == equipment
    )
    return MODELS[module["model"]](world, equipment, unit, module)
