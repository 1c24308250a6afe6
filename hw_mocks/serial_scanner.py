r"""Emulator of a barcode scanner on a serial line, held in hand or fixed before a place.

Source: trigger commands in Honeywell N86 manual, 10-4, and 2020/4820 manual, 12-4; acknowledgement
in the same manuals, page 38. RS-232 or USB-CDC.

    label text, then CR      whenever it reads one; no reply is expected
    SYN T CR                 trigger on: look until something was read, SYN U, or the time is over
    SYN U CR                 trigger off
    NAK, with handshake on   send the last text again (ACK: done)

What it reads is the label that is physically there. A text for "nothing read" can be set; as
delivered it says nothing. It has no acts: it changes nothing in the room.

Unconfirmed: that the trigger commands are those of other makers too; the 30 s; that anything else
it is told stays without an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar, Final

from devices.transport.transport import LineClosedError, Transport
from hw_mocks.emulator import Emulator
from hw_mocks.world.world import World

TRIGGER_ON: Final = b"\x16T\r"  # Honeywell N86 manual, 10-4
TRIGGER_OFF: Final = b"\x16U\r"  # the same
NAK: Final = 0x15
LONGEST_REQUEST: Final = 64  # assumed
KEYS: Final = ("TRIGGER",)


class SerialScanner(Emulator):
    """A barcode scanner.

    Args:
        world: The room it stands in.
        equipment: Its name in the room.
        watches: The place before a fixed scanner; None for one that is held in hand.
        suffix: What ends a label text.
        no_read: What it says when its time is over and nothing was read; None for nothing.
        handshake: Whether NAK makes it send the last text again.
        look_every_s: Time between two looks while its trigger is on.
        give_up_after_s: How long it looks.
        reply_after_s: From reading to sending.
    """

    model: ClassVar[str] = "serial_scanner"

    def __init__(
        self,
        world: World,
        equipment: str,
        *,
        watches: str | None = None,
        suffix: bytes = b"\r",
        no_read: str | None = None,
        handshake: bool = False,
        look_every_s: float = 0.1,  # assumed
        give_up_after_s: float = 30.0,  # assumed
        reply_after_s: float = 0.0,
    ) -> None:
        super().__init__(world, equipment)
        self._watches = watches
        self._suffix = suffix
        self._no_read = no_read
        self._handshake = handshake
        self._look_every_s = look_every_s
        self._give_up_after_s = give_up_after_s
        self._reply_after_s = reply_after_s
        self._looking: asyncio.TimerHandle | None = None
        self._look_until_s = 0.0
        self._last = ""
        self._heard = bytearray()
        self._lines: list[asyncio.Queue[str]] = []

    @property
    def is_looking(self) -> bool:
        """Return whether its trigger is on."""
        return self._looking is not None

    @property
    def is_fixed(self) -> bool:
        """Return whether it is mounted before a place, rather than held in hand."""
        return self._watches is not None

    def present(self, text: str) -> None:
        """Hold a label before it and pull its trigger: it reads ``text`` and sends it."""
        self._stop_looking()
        self._say(text)

    async def serve(self, line: Transport) -> None:
        """Speak on ``line`` until it closes."""
        leaving: asyncio.Queue[str] = asyncio.Queue()
        self._lines.append(leaving)
        try:
            async with asyncio.TaskGroup() as tasks:
                speaking = tasks.create_task(self._speak(line, leaving))
                with contextlib.suppress(LineClosedError):
                    while True:
                        for byte in await line.receive():
                            self._hear(byte)
                speaking.cancel()
        finally:
            self._lines.remove(leaving)

    async def _speak(self, line: Transport, leaving: asyncio.Queue[str]) -> None:
        with contextlib.suppress(LineClosedError):
            while True:
                text = await leaving.get()
                if self._reply_after_s > 0.0:
                    await asyncio.sleep(self._reply_after_s)
                await line.send(text.encode("utf-8") + self._suffix)

    def _say(self, text: str) -> None:
        self._last = text
        for line in self._lines:
            line.put_nowait(text)

    def _hear(self, byte: int) -> None:
        if byte == NAK and self._handshake:
            if self._last:
                self._say(self._last)
            return
        if byte == TRIGGER_ON[0] or len(self._heard) >= LONGEST_REQUEST:
            self._heard.clear()
        self._heard.append(byte)
        heard = bytes(self._heard)
        if heard == TRIGGER_ON:
            self._look_until_s = self.world.now() + self._give_up_after_s
            self._stop_looking()
            self._look()
        elif heard == TRIGGER_OFF and self.is_looking:
            self._give_up()

    def _look(self) -> None:
        self._looking = None
        seen = self.world.label_at(self._watches) if self._watches is not None else None
        if seen is not None:
            self._say(seen)
        elif self.world.now() >= self._look_until_s - 1e-6:
            self._give_up()
        else:
            self._looking = self._after(self._look_every_s, self._look)

    def _give_up(self) -> None:
        self._stop_looking()
        if self._no_read is not None:
            self._say(self._no_read)

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def press(self, key: str) -> None:
        """Pull its own trigger: one look at what is before it."""
        if key not in KEYS:
            raise ValueError(
                f"{self.equipment}: {self.model} has no key {key!r}; it has {', '.join(KEYS)}"
            )
        self._look_until_s = self.world.now()
        self._stop_looking()
        self._look()

    def power_cycle(self) -> None:
        """Come up with its trigger off and nothing to send again."""
        self._stop_looking()
        self._last = ""
        self._heard.clear()
