"""Both sides of a room clock with a console between them, for ``test_console_in_a_room``.

The daemon changes its view each hour; the technician in the room waits for the change,
takes the hour's thing ten minutes later, and gives the clock no chance to go wrong: the
culture beside ticks every seven seconds. Each prints what it saw as JSON, one object a line.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from orchestrator.console.client import ConsoleClient, DaemonGoneError
from orchestrator.virtual_time import ClockAuthority, RoomClock, run_on_room_clock, run_room
from tests.unit.console.toy import served, take

HOURS = 24


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def now_s() -> float:
    return round(asyncio.get_running_loop().time(), 6)


async def culture() -> None:
    for _ in range(1_000_000):
        await asyncio.sleep(7)


async def technician(name: str, path: Path) -> None:
    version = -1
    async with ConsoleClient(path) as console:
        while True:
            try:
                shown = await console.view("things", newer_than=version)
                version = int(shown["version"])
                say(side=name, at_s=now_s(), shown=version)
                await asyncio.sleep(600)
                given = await console.give(
                    take(version, f"{name}-{version}", version, f"session-{name}")
                )
                say(side=name, at_s=now_s(), given=given.seq)
                version = given.seq
            except DaemonGoneError as gone:
                say(side=name, at_s=now_s(), gone=type(gone).__name__)
                version = -1
                await asyncio.sleep(3_600)


async def room(authority: ClockAuthority, path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(culture())
        tasks.create_task(technician("anna", path))
        say(side="room", clock=str(authority.clock.boot()))


async def daemon(clock: RoomClock, path: Path) -> None:
    async with served(path) as toy:
        for _ in range(HOURS):
            await asyncio.sleep(3_600)
            await toy.change()
        await asyncio.sleep(1_800)
        say(side="daemon", at_s=now_s(), version=toy.version, taken=sorted(toy.takers))


def main(side: str, clock: Path, path: Path) -> None:
    if side == "room":
        run_room(lambda authority: room(authority, path), socket_path=clock)
    else:
        run_on_room_clock(lambda room_clock: daemon(room_clock, path), socket_path=clock)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
