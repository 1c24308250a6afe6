"""Whose turn it is: commands are carried out one after the other, and wait for nothing slow.

What is slow, a password's hash or an instrument's answer, is awaited *aside*: others have their
turn meanwhile, so that no hold waits for it. What a command goes by must be looked at again after.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Turns:
    """Gives one task its turn at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._whose: asyncio.Task[object] | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """Wait for one's turn, and have it."""
        await self._begin()
        try:
            yield
        finally:
            self._end()

    @asynccontextmanager
    async def aside(self) -> AsyncGenerator[None]:
        """Let others have their turn, and wait for one's own after it; who has none goes on."""
        if not self._end():
            yield
            return
        try:
            yield
        finally:
            await self._begin()

    async def _begin(self) -> None:
        await self._lock.acquire()
        self._whose = asyncio.current_task()

    def _end(self) -> bool:
        """End one's turn; return whether one had it: who was cancelled as it waited hasn't."""
        if self._whose is None or self._whose is not asyncio.current_task():
            return False
        self._whose = None
        self._lock.release()
        return True
