"""The bench: an emulated pump that lives on while whoever drives it dies.

    python -m tests.peers.pump FOLDER

It runs in real time, with the kit that the pump's tube belongs to, the valves and doors that
cellwright looks at before it pumps, and the scanner that sees the kit. FOLDER gets the ports
``P1`` and ``S1``, ``V1.tcp`` with the valves' port, and ``turns``: the pump's ledger, a line
for each turn of its head when it begins and one when it ends. Each line is said aloud too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tomllib
from pathlib import Path
from typing import Final, TextIO

from devices.transport.pseudo_terminal import open_pty
from devices.transport.tcp import TcpServer, serve_tcp
from hw_mocks.models import MODELS
from hw_mocks.watson_marlow_530du import WatsonMarlow530Du
from hw_mocks.world.world import World
from tests.peers.job import UL_PER_REVOLUTION

CELL: Final = Path(__file__).with_name("cell.toml")
KIT: Final = "K-1"
PUMP: Final = "P1"
VALVES: Final = "V1"
PRIMED_S: Final = 0.05
"""The head is turned that long before anybody comes, as when a kit is docked on it."""


class WatchedWorld(World):
    """A World that writes down each turn of the pump's head, as the head itself counts it."""

    turns: TextIO
    pump: WatsonMarlow530Du
    _turning: tuple[float, float, int] | None = None

    def motor_start(self, station: str, flow_uL_per_s: float, by: str) -> None:
        """Turn, and note since when."""
        self._note_end()
        super().motor_start(station, flow_uL_per_s, by)
        self._turning = (self.now(), flow_uL_per_s, self.pump.count)
        self._note(begins=True)

    def motor_stop(self, station: str, by: str) -> None:
        """Stop, and note how far it was turned."""
        super().motor_stop(station, by)
        self._note_end()

    def _note_end(self) -> None:
        if self._turning is not None:
            self._note(begins=False)
            self._turning = None

    def _note(self, *, begins: bool) -> None:
        assert self._turning is not None
        at_s, flow_uL_per_s, count = self._turning
        line = json.dumps(
            {
                "begins": begins,
                "at_s": at_s,
                "speed_tenths": round(abs(flow_uL_per_s) / UL_PER_REVOLUTION * 600),
                "pulses": self.pump.count - count,
                "backward": flow_uL_per_s < 0,
            }
        )
        self.turns.write(f"{line}\n")
        self.turns.flush()
        print(line, flush=True)


async def _serve(folder: Path, turns: TextIO) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    world = WatchedWorld(loop.time, 1)
    world.turns = turns
    table = tomllib.loads(CELL.read_text("utf-8"))
    (unit,) = (one for one in table["units"] if one["kind"] == "transfer_station")
    (valves,) = (one for one in unit["modules"] if one["equipment"] == VALVES)
    outputs = valves["settings"]["outputs"]
    world.add_station(
        "station",
        pump=PUMP,
        valves=VALVES,
        channels={channel: name for name, channel in outputs.items()},
        balances={},
    )
    world.add_kit(KIT, label=f"L-{KIT}", place="station")
    async with asyncio.TaskGroup() as tasks:
        speaking: list[asyncio.Task[None]] = []
        servers: list[TcpServer] = []
        for module in unit["modules"]:
            name = module["equipment"]
            emulator = MODELS[module["model"]](world, name, unit, module)
            if name == VALVES:
                server = await serve_tcp(0, emulator.serve, group=tasks, name=name)
                servers.append(server)
                (folder / f"{name}.tcp").write_text(str(server.port), encoding="ascii")
            else:
                line = open_pty(folder / name, name=name)
                speaking.append(tasks.create_task(emulator.serve(line)))
            if isinstance(emulator, WatsonMarlow530Du):
                world.pump = emulator
                emulator.press("START")
                await asyncio.sleep(PRIMED_S)
                emulator.press("STOP")
                emulator.press("REMOTE")
        print("ready", flush=True)
        await stop.wait()
        for server in servers:
            await server.close()
        for one in speaking:
            one.cancel()


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))  # a pump isn't slowed by its host
    where = Path(sys.argv[1])
    with (where / "turns").open("a", encoding="ascii") as file:
        asyncio.run(_serve(where, file))
