"""What every line to an instrument promises: bytes out, bytes in, each recorded raw.

A transport never sends again, never reconnects and never interprets. An attempt's
trigger is marked by its ``CommandId``, and a line refuses to write the same mark twice:
that is the last barrier against doing something twice (design section 6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from orchestrator.kernel.errors import FailedError, IntegrityError, RefusedError
from orchestrator.kernel.identifiers import CommandId


class Direction(StrEnum):
    """Which way bytes went, as this side saw it."""

    SENT = "sent"
    RECEIVED = "received"


Recorder = Callable[[str, Direction, bytes, CommandId | None], None]
"""Takes the line's name, the direction, the raw bytes and the trigger's mark, if it has one."""


class PortRefusedError(RefusedError):
    """The port is absent, busy, not ours to open or not what it was said to be."""

    code = "refused.port"


class LineClosedError(FailedError):
    """The line is closed, by us or from the other end. What this call gave it is lost."""

    code = "failed.line-closed"


class TriggerRepeatedError(IntegrityError):
    """An attempt's trigger was about to be written a second time. Nothing was written."""

    code = "integrity.trigger-repeated"


class Transport(Protocol):
    """A line: a stream of bytes each way. One reader, any number of senders."""

    @property
    def name(self) -> str:
        """Return what people call the line, for messages and records."""
        ...

    @property
    def closed(self) -> bool:
        """Return whether either end has closed the line."""
        ...

    async def send(self, data: bytes, *, trigger: CommandId | None = None) -> None:
        """Hand ``data`` to the line, in order, and return when it has been taken.

        Args:
            data: At least one byte.
            trigger: The attempt whose trigger these bytes are. They are written once.

        Raises:
            TriggerRepeatedError: This line has had that trigger. Nothing was written.
            LineClosedError: The line closed. If it was open before the call, some of the
                bytes may have left.
        """
        ...

    async def receive(self) -> bytes:
        """Return the bytes that have come since the last call; wait for at least one.

        Raises:
            LineClosedError: The line is closed and all that came was returned.
        """
        ...

    def listen(self, news: Callable[[], None]) -> None:
        """Have ``news`` called when bytes have come, and when the line has closed.

        It is called at once, wherever the bytes are taken in, and must neither raise nor
        send. Who listens reads by ``take``, and nobody calls ``receive`` until ``stop_listening``.
        """
        ...

    def stop_listening(self) -> None:
        """Let go who listens: what comes is kept for the next reader."""
        ...

    def take(self) -> bytes:
        """Return the bytes that have come since the last call, be it none."""
        ...

    async def close(self) -> None:
        """Close the line. May be repeated."""
        ...


class TriggerMarks:
    """The triggers that were written on one line, however often it was opened."""

    def __init__(self) -> None:
        """Start with none written."""
        self._written: set[CommandId] = set()

    def write(self, trigger: CommandId, *, line: str) -> None:
        """Note that ``trigger`` is about to be written.

        Raises:
            TriggerRepeatedError: It was before.
        """
        if trigger in self._written:
            raise TriggerRepeatedError(
                f"{line}: write the trigger of {trigger}",
                why="it was written before, and an attempt's trigger is written once",
                do_next="Stop, keep the journal, and report it as a fault of the driver",
            )
        self._written.add(trigger)


class LineBase:
    """What all transports share: marks, recording, and bytes waiting for their reader."""

    def __init__(
        self, name: str, *, recorder: Recorder | None = None, marks: TriggerMarks | None = None
    ) -> None:
        """Make an open line.

        Args:
            name: What people call it.
            recorder: Is told every byte, raw, before it leaves and as it comes.
            marks: The triggers already written on this line, if it was open before.
        """
        self._name = name
        self._recorder = recorder
        self._marks = marks if marks is not None else TriggerMarks()
        self._came: list[bytes] = []
        self._reader: asyncio.Future[None] | None = None
        self._news: Callable[[], None] | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """Return what people call the line."""
        return self._name

    @property
    def closed(self) -> bool:
        """Return whether either end has closed the line."""
        return self._closed

    async def receive(self) -> bytes:
        """Return the bytes that have come since the last call; wait for at least one."""
        while not self._came:
            if self._closed:
                raise self._is_closed("receive")
            has_reader = self._reader is not None or self._news is not None
            assert not has_reader, f"{self._name}: two readers on one line"
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self.take()

    def listen(self, news: Callable[[], None]) -> None:
        """Have ``news`` called when bytes have come, and when the line has closed."""
        has_reader = self._reader is not None or self._news is not None
        assert not has_reader, f"{self._name}: two readers on one line"
        self._news = news

    def stop_listening(self) -> None:
        """Let go who listens: what comes is kept for the next reader."""
        self._news = None

    def take(self) -> bytes:
        """Return the bytes that have come since the last call, be it none."""
        came = self._came
        self._came = []
        return came[0] if len(came) == 1 else b"".join(came)

    def _about_to_send(self, data: bytes, trigger: CommandId | None) -> None:
        """Refuse or record what is about to be written."""
        assert data, f"{self._name}: nothing to send"
        if self._closed:
            raise self._is_closed("send")
        if trigger is not None:
            self._marks.write(trigger, line=self._name)
        if self._recorder is not None:
            self._recorder(self._name, Direction.SENT, data, trigger)

    def _take_in(self, data: bytes) -> None:
        """Record what came and keep it for the reader, whom ``_wake`` tells."""
        if self._recorder is not None:
            self._recorder(self._name, Direction.RECEIVED, data, None)
        self._came.append(data)

    def _wake(self) -> None:
        if self._news is not None:
            self._news()
            return
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)

    def _is_closed(self, what: str) -> LineClosedError:
        return LineClosedError(
            f"{self._name}: {what}",
            why="the line is closed",
            do_next="Check cable and power, then connect again",
        )
