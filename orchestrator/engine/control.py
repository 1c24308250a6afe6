"""How a unit procedure is held, paused, stopped and let go on.

A command reaches the phases that run in it. A phase stops at its next safe point: before
its next word, or as soon as the act that runs was quieted and settled. Nothing is
interrupted in the middle of a decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from orchestrator.kernel.errors import StoppedError

T = TypeVar("T")


class UnitControl:
    """The switch of one unit procedure: go, wait, or stop."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.why = ""
        self._go = asyncio.Event()
        self._go.set()
        self._stop = asyncio.Event()
        self._acting: set[Callable[[], None]] = set()

    @property
    def waits(self) -> bool:
        """Return whether phases must stop at their next safe point."""
        return not self._go.is_set()

    @property
    def stops(self) -> bool:
        """Return whether the unit procedure was told to end."""
        return self._stop.is_set()

    def wait(self, why: str) -> None:
        """Have phases stop at their next safe point, and quiet what acts now."""
        self.why = why
        self._go.clear()
        for quieten in tuple(self._acting):
            quieten()

    def go_on(self) -> None:
        """Let phases go on."""
        self.why = ""
        self._go.set()

    def stop(self, why: str) -> None:
        """Have phases end at their next safe point, and quiet what acts now."""
        self._stop.set()
        self.wait(why)
        self._go.set()

    async def passed(self) -> None:
        """Return when phases may go on.

        Raises:
            StoppedError: The unit procedure was told to end; nothing more is done.
        """
        if not self._go.is_set():
            await self._go.wait()
        if self._stop.is_set():
            raise StoppedError(
                self.path, why=self.why or "it was stopped", do_next="Decide on the material"
            )

    async def unless_stopped(self, waiting: Awaitable[T]) -> T:
        """Return what ``waiting`` gives, or end the wait when the unit procedure stops.

        Raises:
            StoppedError: It was told to end.
        """
        waited = asyncio.ensure_future(waiting)
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({waited, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not waited.done():
                await self.passed()
            return await waited
        finally:
            waited.cancel()
            stopped.cancel()

    @contextmanager
    def acting(self, quieten: Callable[[], None]) -> Generator[None]:
        """Have ``quieten`` called if a hold or a stop comes while an act runs."""
        self._acting.add(quieten)
        try:
            yield
        finally:
            self._acting.discard(quieten)
