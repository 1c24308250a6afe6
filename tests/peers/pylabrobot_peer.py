# pyright: basic, reportMissingImports=false
"""The job under PyLabRobot: a script that calls its pump, with a backend for this model.

It keeps the state of a deck, and no position in a protocol: a script that died is run again.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pylabrobot.pumps import Pump
from pylabrobot.pumps.backend import PumpBackend

from tests.peers.job import PULSES_PER_REVOLUTION, doses
from tests.peers.pump_client import PumpClient


class Wm530Backend(PumpBackend):
    def __init__(self, port: str) -> None:
        self._port = port
        self.speed_tenths = 0

    async def setup(self) -> None:
        self._pump = PumpClient(self._port)

    def run_revolutions(self, num_revolutions: float) -> None:
        self._pump.begin(round(num_revolutions * PULSES_PER_REVOLUTION), self.speed_tenths)

    async def at_rest(self) -> None:
        await asyncio.to_thread(self._pump.end)

    async def stop(self) -> None:
        self._pump.close()


async def main(ports: Path) -> None:
    backend = Wm530Backend(str(ports / "P1"))
    async with Pump(backend) as pump:
        for one in doses():
            backend.speed_tenths = one.speed_tenths
            await pump.run_revolutions(one.pulses / PULSES_PER_REVOLUTION)
            await backend.at_rest()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[3])))
