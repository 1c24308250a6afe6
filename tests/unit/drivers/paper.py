"""An instrument on paper: the far end of a wire that answers requests by a written script.

It is no emulator: it does what the test says, also what no instrument would do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from devices.interfaces.driver import Driver
from devices.transport.memory import MemoryLine, memory_wire
from devices.transport.transport import Direction, LineClosedError, Transport
from orchestrator.kernel.identifiers import CommandId

FIRST = CommandId("B-000147/expand/01-transfer#1.1")


class Runs(Driver, Protocol):
    async def run(self) -> None: ...


D = TypeVar("D", bound=Runs)


class Paper:
    """Answers each request, split off by ``split``, with what ``answer`` returns."""

    def __init__(
        self,
        answer: Callable[[bytes], bytes | None],
        *,
        split: Callable[[bytearray], bytes | None],
    ) -> None:
        self.answer = answer
        self.split = split
        self.written: list[bytes] = []
        self.triggers: list[bytes] = []
        self.line: MemoryLine | None = None

    def record(
        self, line: str, direction: Direction, data: bytes, trigger: CommandId | None
    ) -> None:
        del line
        if direction is Direction.SENT and trigger is not None:
            self.triggers.append(data)

    async def serve(self, line: MemoryLine) -> None:
        buffer = bytearray()
        while True:
            try:
                buffer += await line.receive()
            except LineClosedError:
                return
            while (request := self.split(buffer)) is not None:
                self.written.append(request)
                reply = self.answer(request)
                if reply and not line.closed:
                    await line.send(reply)

    async def say(self, data: bytes) -> None:
        """Send something unasked, and let it arrive."""
        assert self.line is not None
        await self.line.send(data)
        await asyncio.sleep(0.001)


def until(terminator: bytes) -> Callable[[bytearray], bytes | None]:
    """Split requests that end with ``terminator``, which stays part of them."""

    def split(buffer: bytearray) -> bytes | None:
        end = buffer.find(terminator)
        if end < 0:
            return None
        request = bytes(buffer[: end + len(terminator)])
        del buffer[: len(request)]
        return request

    return split


@asynccontextmanager
async def at_the_wire(paper: Paper, make: Callable[[Transport], D]) -> AsyncGenerator[D]:
    """Hold a driver, running, whose instrument is ``paper``."""
    software, instrument = memory_wire("wire", recorder=paper.record)
    paper.line = instrument
    async with asyncio.TaskGroup() as group:
        driver = make(software)
        group.create_task(driver.run())
        group.create_task(paper.serve(instrument))
        try:
            yield driver
        finally:
            await driver.close()
