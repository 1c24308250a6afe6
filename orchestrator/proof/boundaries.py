"""What is put around the journal and the wires of an emulated cell, to see each boundary.

The product isn't changed for it: the journal's transactions are announced by a subclass of
it, the wires by something between the software and the room. What is announced to decides
whether the process dies there; then nothing of the old process reaches disk or wire again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from devices.transport.transport import Transport
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import EVENTS, AnyEvent
from orchestrator.journal.journal import Journal, Row
from orchestrator.kernel.identifiers import CommandId
from orchestrator.kernel.instants import Clock
from orchestrator.process_cell.emulated import HOST, RESERVE_BYTES, until_dropped


class Passer(Protocol):
    """Is told of each boundary of a run, and says whether the process dies at it."""

    def transaction(self, what: str, events: int) -> bool:
        """Return whether the process dies instead of this transaction."""
        ...

    def transacted(self) -> None:
        """Take note that the transaction was done, and nobody was told."""
        ...

    def sending(self, line: str, data: bytes, trigger: CommandId | None) -> int | None:
        """Return after how many bytes the process dies, or None."""
        ...

    def came(self, line: str, data: bytes) -> bool:
        """Return whether the process dies with this reply unread."""
        ...

    def die(self) -> None:
        """Sever the journal and every wire."""
        ...


class WatchedJournal(Journal[AnyEvent]):
    """The journal, whose transactions are announced."""

    def __init__(
        self, path: Path, passer: Passer, *, clock: Clock, signer: Signer, vfs: str
    ) -> None:
        """Open the journal at ``path`` on the disk named ``vfs``."""
        self._passer = passer
        self.is_left_behind = False
        """Set in a process that died: its handle is another process's, and isn't touched."""
        super().__init__(
            path,
            EVENTS,
            clock=clock,
            host=HOST,
            signer=signer,
            reserve_bytes=RESERVE_BYTES,
            vfs=vfs,
        )

    def close(self) -> None:
        """Close it, unless it was left behind."""
        if not self.is_left_behind:
            super().close()

    def _stored(self, rows: list[Row]) -> bool:
        if self._passer.transaction("append", len(rows)):
            return False
        stored = super()._stored(rows)
        self._passer.transacted()
        return stored

    def _sign(self) -> None:
        if not self._passer.transaction("checkpoint", 0):
            super()._sign()
            self._passer.transacted()

    def _copy_wal(self) -> None:
        if not self._passer.transaction("copy of the log", 0):
            super()._copy_wal()
            self._passer.transacted()


class WatchedLine:
    """A line to an instrument, whose bytes are announced. Implements ``Transport``."""

    def __init__(self, line: Transport, passer: Passer) -> None:
        """Stand between the software and ``line``."""
        self._line = line
        self._passer = passer
        self._unread = b""
        self.name = line.name

    @property
    def closed(self) -> bool:
        """Return whether either end has closed the line."""
        return self._line.closed

    async def send(self, data: bytes, *, trigger: CommandId | None = None) -> None:
        """Hand bytes to the line, or as many as leave before the process dies."""
        left = self._passer.sending(self.name, data, trigger)
        if left is None:
            await self._line.send(data, trigger=trigger)
            return
        if left:
            await self._line.send(data[:left], trigger=trigger)
        self._passer.die()
        await until_dropped()

    async def receive(self) -> bytes:
        """Return what came, unless the process dies with it unread."""
        if self._unread:
            return self.take()
        received = await self._line.receive()
        if self._passer.came(self.name, received):
            await until_dropped()
        return received

    def listen(self, news: Callable[[], None]) -> None:
        """Have ``news`` called when bytes have come, unless the process dies with them unread."""

        def came() -> None:
            data = self._line.take()
            self._unread += data
            if not data or not self._passer.came(self.name, data):
                news()

        self._line.listen(came)

    def stop_listening(self) -> None:
        """Let go who listens."""
        self._line.stop_listening()

    def take(self) -> bytes:
        """Return what came."""
        unread, self._unread = self._unread, b""
        return unread + self._line.take()

    async def close(self) -> None:
        """Close the line."""
        await self._line.close()
