"""``cellwright room``: an emulated process cell as a process of its own, on real wires.

World, people and every emulator of the cell, each on its own pty or port, and the clock
that moves them and the daemon that is joined.
"""

from __future__ import annotations

import asyncio
import json
import signal
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from chain_of_identity.pre_printed import roll
from chain_of_identity.schemes.opaque import OpaqueScheme
from chain_of_identity.schemes.scheme import LabelKind
from hw_mocks.room import Room, furnish
from hw_mocks.scenario import Scenario, scenario_for
from hw_mocks.seeds import seeded_bytes
from hw_mocks.wired_room import Hand, wired_room
from hw_mocks.world.world import World
from orchestrator.cli.cells import load
from orchestrator.cli.folders import made_folder
from orchestrator.cli.options import AsJson, CallRefusedError, DataFolder, data_folder, write_file
from orchestrator.cli.printing import say, say_json, tell
from orchestrator.cli.recipes import written_recipe
from orchestrator.console.client import ConsoleClient
from orchestrator.kernel.quantities import Duration
from orchestrator.process_cell.emulated_people import TECHNICIANS, person
from orchestrator.virtual_time import USUAL_START, ClockAuthority, run_room

CLOCK = "clock.sock"

Bring = Callable[[World], None]
"""Puts into the furnished World what is at hand when the room begins."""


def run(
    cell: Annotated[Path, typer.Argument(metavar="CELL", help="The process cell file")],
    data: DataFolder = None,
    seed: Annotated[int, typer.Option(help="Of the room's chance")] = 1,
    protocol: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="P.py",
            help="Bring what one batch of it needs: a donor, material, kits; may be repeated",
        ),
    ] = None,
    delivery: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Put opaque labels on what is brought, and write it down here, for "
            "`cellwright receive list`",
        ),
    ] = None,
    pace: Annotated[
        float,
        typer.Option(
            metavar="N",
            min=0,
            max=1e6,
            help="So many times faster than real time it goes while a daemon is there; 0: it "
            "jumps from one moment to the next",
        ),
    ] = 0,
    people: Annotated[
        bool,
        typer.Option(
            "--people/--no-people",
            help="Whether technicians of its own work there, or you do (`cellwright answer`)",
        ),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Run an emulated cell, its people and its clock until it is stopped (Ctrl-C).

    The instruments are at DIR/wires; `cellwright serve CELL --room DIR` is the daemon for
    them. Without a daemon the room stands still. With --json one object with room and wires
    once they are there.
    """
    config = load(cell).config
    entropy = seeded_bytes(seed)

    def printed(kind: str) -> str:
        return OpaqueScheme().mint(LabelKind(kind), entropy).key

    scenarios = [
        scenario_for(
            json.loads(written_recipe(path, config).content),
            seed=seed,
            batch=number,
            label_of=None if delivery is None else printed,
        )
        for number, path in enumerate(protocol or (), start=1)
    ]
    if delivery is not None:
        write_file(delivery, _delivery_note(scenarios))
    for scenario in scenarios:
        for note in scenario.notes:
            tell(note)

    def bring(world: World) -> None:
        for scenario in scenarios:
            scenario.bring_into(world)

    hold_room(
        cell,
        data_folder(data),
        seed=seed,
        as_json=as_json,
        bring=bring,
        pace=pace or None,
        people=TECHNICIANS if people else (),
    )


def hold_room(
    cell: Path,
    folder: Path,
    *,
    seed: int,
    as_json: bool,
    bring: Bring,
    pace: float | None = None,
    people: Sequence[str] = TECHNICIANS,
) -> None:
    """Run the room in ``folder`` until it is told to end."""
    loaded = load(cell)
    if not loaded.config.emulated:
        raise CallRefusedError(
            f"make a room of {cell}",
            why="the cell file says that its instruments are real",
            do_next="Give the file of an emulated cell",
        )
    table = tomllib.loads(cell.read_text("utf-8"))
    folder = made_folder(folder)

    async def main(clock: ClockAuthority) -> None:
        loop = asyncio.get_running_loop()
        world = World(loop.time, seed)
        world.label_roll = roll(seeded_bytes(seed, "labels"))
        furnish(world, table)
        bring(world)
        hands = [Hand(one.login, one.user, one.secret) for one in map(person, people)]
        await _until_told(folder, Room(world, table), hands, clock, as_json=as_json)

    run_room(main, socket_path=folder / CLOCK, pace=pace)


async def _until_told(
    folder: Path, room: Room, hands: Sequence[Hand], clock: ClockAuthority, *, as_json: bool
) -> None:
    loop = asyncio.get_running_loop()
    ends = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, ends.set)
    try:
        async with wired_room(
            folder, room, hands, clock=clock, open_terminal=ConsoleClient
        ) as wired:
            if as_json:
                say_json({"room": str(folder), "wires": wired.wires})
            else:
                say(f"the room is at {folder}; Ctrl-C ends it")
            print(end="", flush=True)
            await ends.wait()
    finally:
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(ending)


def _delivery_note(scenarios: Sequence[Scenario]) -> str:
    """Return what was brought, a line for each lot and each thing."""
    lines: list[str] = []
    for scenario in scenarios:
        for one in scenario.arrivals:
            if one.lot:
                expires = USUAL_START + Duration.read(one.shelf_life)
                lot = {"lot": one.lot, "material": one.material, "expires": str(expires)}
                lines.append(json.dumps({**lot, "in_use": one.in_use}))
            thing = {
                "label": one.label,
                "what": one.what,
                "material": one.material,
                "lot": one.lot,
                "volume": one.volume,
                "capacity": one.capacity,
                "positions": list(one.positions),
                "volumes": list(one.volumes),
                "capacities": list(one.capacities),
            }
            lines.append(json.dumps({name: value for name, value in thing.items() if value}))
    return "\n".join([*lines, ""])
