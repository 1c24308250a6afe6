"""A line on an open file of the system: serial port, socket or pseudo-terminal.

Reads and writes happen on the loop, without threads. On a room's clock the loop collects
and delivers the bytes itself, so that they are counted and handed on in a fixed order
(``orchestrator.virtual_time``).
"""

from __future__ import annotations

import asyncio
import os

from devices.transport.transport import LineBase, Recorder, TriggerMarks
from orchestrator.kernel.identifiers import CommandId
from orchestrator.virtual_time import WireCount, as_room_loop

READ_BYTES_MAX = 65_536


class DescriptorLine(LineBase):
    """A line on an open, non-blocking file. Implements ``Transport`` and ``Wire``."""

    def __init__(
        self,
        name: str,
        file: int,
        *,
        wire_name: str,
        recorder: Recorder | None = None,
        marks: TriggerMarks | None = None,
    ) -> None:
        """Take over ``file``, on the running loop.

        Args:
            name: What people call the line.
            file: The descriptor. ``_release`` closes it.
            wire_name: The word for this wire that both sides of a room's clock use.
            recorder: Is told every byte, raw.
            marks: The triggers already written on this line.
        """
        super().__init__(name, recorder=recorder, marks=marks)
        os.set_blocking(file, False)
        self._file = file
        self._unsent = bytearray()
        self._drained: list[asyncio.Future[None]] = []
        self._has_news = False
        self._released = False
        self._loop = asyncio.get_running_loop()
        self._room = as_room_loop(self._loop)
        if self._room is not None:
            self._count = self._room.wires.open(wire_name, self)
        else:
            self._count = WireCount(wire_name)
            self._loop.add_reader(self.fileno(), self._readable)

    def fileno(self) -> int:
        """Return the file that is readable when there is something to collect."""
        return self._file

    async def send(self, data: bytes, *, trigger: CommandId | None = None) -> None:
        """Write ``data``; wait while the system takes no more."""
        self._about_to_send(data, trigger)
        if not self._is_heard():
            return
        self._count.written += len(data)
        self._unsent += data
        self.flush()
        while self._unsent:
            drained: asyncio.Future[None] = self._loop.create_future()
            self._drained.append(drained)
            await drained
            if self._closed:
                raise self._is_closed("send")

    async def close(self) -> None:
        """Close the file."""
        self._shut()

    def collect(self) -> None:
        """Take in all bytes that have come, without waking anybody."""
        while not self._released:
            try:
                data = os.read(self._file, READ_BYTES_MAX)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # the other end is gone: EIO of a terminal, ECONNRESET of a socket
                data = b""
            if not data:
                self._end_seen()
                return
            self._count.read += len(data)
            self._take_in(data)
            self._has_news = True
            if len(data) < READ_BYTES_MAX and not self._reads_to_the_end():
                return

    def deliver(self) -> None:
        """Wake the reader, if anything was collected."""
        if self._has_news:
            self._has_news = False
            self._wake()

    def flush(self) -> None:
        """Write what the system takes now, and watch for when it takes more."""
        if not self._unsent:
            return
        try:
            written = os.write(self._file, self._unsent)
        except (BlockingIOError, InterruptedError):
            written = 0
        except OSError:
            self._end_seen()
            return
        del self._unsent[:written]
        self._watch_writable(writable=bool(self._unsent))
        if not self._unsent:
            self._release_senders()

    def is_over(self) -> bool:
        """Collect, and return whether the other end is closed and all it wrote is here."""
        self.collect()
        return self._closed

    def _readable(self) -> None:
        self.collect()
        self.deliver()

    def _is_heard(self) -> bool:
        """Return whether anybody is there to hear what is sent."""
        return True

    def _reads_to_the_end(self) -> bool:
        """Return whether ``collect`` must read until there is nothing more."""
        return False

    def _end_seen(self) -> None:
        """The other end closed: nothing more will come or go."""
        self._has_news = True
        self._shut()

    def _watch_writable(self, *, writable: bool) -> None:
        if self._room is not None:
            self._room.wires.watch(self, writable=writable)
        elif writable:
            self._loop.add_writer(self._file, self.flush)
        else:
            self._loop.remove_writer(self._file)

    def _drop_unsent(self) -> None:
        self._count.written -= len(self._unsent)
        self._unsent.clear()

    def _release_senders(self) -> None:
        drained, self._drained = self._drained, []
        for sender in drained:
            if not sender.done():
                sender.set_result(None)

    def _shut(self) -> None:
        if self._released:
            return
        self._released = True
        self._closed = True
        self._drop_unsent()
        if self._room is not None:
            self._room.wires.unwatch(self)
        elif not self._loop.is_closed():
            self._loop.remove_reader(self.fileno())
            self._loop.remove_writer(self._file)
        self._count.closed = True
        self._release()
        self._release_senders()
        if self._room is None or not self._has_news:
            self._wake()

    def _release(self) -> None:
        """Close the file itself."""
        os.close(self._file)
