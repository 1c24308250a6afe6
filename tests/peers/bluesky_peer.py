# pyright: basic, reportMissingImports=false
"""The job under Bluesky: a plan with a checkpoint before each dose, run by its RunEngine.

A paused plan is resumed from its checkpoint within the process. The messages live in memory,
so a plan whose process died is run again.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bluesky import Msg, RunEngine
from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp

from tests.peers.job import Dose, doses
from tests.peers.pump_client import PumpClient


class DoseStatus:
    """Implements ``bluesky.protocols.Status``."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._callbacks: list[Callable[[DoseStatus], None]] = []
        self._lock = threading.Lock()
        self._failed: Exception | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    @property
    def done(self) -> bool:
        return self._ended.is_set()

    @property
    def success(self) -> bool:
        return self.done and self._failed is None

    def exception(self, timeout: float | None = 0.0) -> Exception | None:
        self._ended.wait(timeout)
        return self._failed

    def add_callback(self, callback: Callable[[DoseStatus], None]) -> None:
        with self._lock:
            if not self.done:
                self._callbacks.append(callback)
                return
        callback(self)

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as failed:
            self._failed = failed
        with self._lock:
            self._ended.set()
        for callback in self._callbacks:
            callback(self)


class DosingPump:
    """Implements ``bluesky.protocols.Movable``: set to a dose, it has given it."""

    name = "pump"
    parent = None

    def __init__(self, port: str) -> None:
        self._pump = PumpClient(port)

    def set(self, value: Dose) -> DoseStatus:
        return DoseStatus(lambda: self._pump.dose(value))


@bpp.run_decorator()
def job(pump: DosingPump) -> Iterator[Msg]:
    for one in doses():
        yield from bps.checkpoint()
        yield from bps.abs_set(pump, one, wait=True)


if __name__ == "__main__":
    RunEngine({})(job(DosingPump(str(Path(sys.argv[3]) / "P1"))))
