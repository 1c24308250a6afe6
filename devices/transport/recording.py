"""What passed on the lines, raw: kept in a file or in memory, and played back.

The recording is evidence beside the journal, never instead of it. One line of text per
piece: instant, line, ``>`` sent or ``<`` received, bytes in hexadecimal, and the trigger's
mark where there is one; separated by tabs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from devices.transport.transport import Direction, LineBase
from orchestrator.kernel.errors import ConfigurationRefusedError
from orchestrator.kernel.identifiers import CommandId
from orchestrator.kernel.instants import Clock, Instant
from orchestrator.virtual_time import virtual_clock

_SIGNS = {Direction.SENT: ">", Direction.RECEIVED: "<"}
_DIRECTIONS = {sign: direction for direction, sign in _SIGNS.items()}


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that passed on one line at one moment."""

    at: Instant
    line: str
    direction: Direction
    data: bytes
    trigger: CommandId | None = None

    def __str__(self) -> str:
        fields = [str(self.at), self.line, _SIGNS[self.direction], self.data.hex()]
        if self.trigger is not None:
            fields.append(self.trigger)
        return "\t".join(fields)

    @classmethod
    def read(cls, text: str) -> Traffic:
        """Return what ``str`` wrote.

        Raises:
            ValueError: It isn't of that form.
        """
        fields = text.rstrip("\n").split("\t")
        if len(fields) not in (4, 5) or fields[2] not in _DIRECTIONS:
            raise ValueError(f"{text!r} isn't a line of a recording")
        at, line, sign, data, *trigger = fields
        return cls(
            Instant.read(at),
            line,
            _DIRECTIONS[sign],
            bytes.fromhex(data),
            CommandId(trigger[0]) if trigger else None,
        )


class WireLog:
    """Dates what passes and hands it on. Its ``record`` is a transport's ``Recorder``."""

    def __init__(self, clock: Clock, keep: Callable[[Traffic], object]) -> None:
        """Date by ``clock``, and give each piece to ``keep``."""
        self._clock = clock
        self._keep = keep

    def record(
        self, line: str, direction: Direction, data: bytes, trigger: CommandId | None
    ) -> None:
        """Keep one piece."""
        self._keep(Traffic(self._clock.utc(), line, direction, data, trigger))


class WireLogFile:
    """A recording in a file that is only ever added to."""

    def __init__(self, path: Path) -> None:
        """Open the file at ``path``, or make it.

        Raises:
            ConfigurationRefusedError: It can't be written.
        """
        try:
            self._file = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise ConfigurationRefusedError(
                f"record the wires in {path}",
                why=error.strerror or str(error),
                do_next="Give a folder that exists and is ours to write",
            ) from error

    def keep(self, traffic: Traffic) -> None:
        """Add one piece; it is with the system when this returns."""
        self._file.write(f"{traffic}\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def read_recording(path: Path) -> Iterator[Traffic]:
    """Return what a ``WireLogFile`` kept, in order.

    A last line without its end is left out: its writer was killed in it.

    Raises:
        ValueError: A line isn't of the form.
    """
    with path.open(encoding="utf-8") as file:
        for text in file:
            if text.endswith("\n"):
                yield Traffic.read(text)


class PlayedLine(LineBase):
    """A line that answers as one did in a recording. Implements ``Transport``.

    What the software sends must be what it sent then, byte for byte; after each piece
    sent, all that was received before the next one comes.
    """

    def __init__(self, name: str, traffic: Iterable[Traffic]) -> None:
        """Play back ``traffic`` of one line."""
        super().__init__(name)
        self._left = deque(traffic)
        self._sent = bytearray()
        self._play_received()

    @property
    def is_played_out(self) -> bool:
        """Whether everything in the recording has happened."""
        return not self._left and not self._sent

    async def send(self, data: bytes, *, trigger: CommandId | None = None) -> None:
        """Compare ``data`` with the recording.

        Raises:
            AssertionError: Something else was sent then.
        """
        self._about_to_send(data, trigger)
        self._sent += data
        while self._sent:
            assert self._left, f"{self.name}: sent {bytes(self._sent)!r}, recorded nothing more"
            expected = self._left[0].data
            if len(self._sent) < len(expected) and expected.startswith(self._sent):
                return
            assert self._sent.startswith(expected), (
                f"{self.name}: sent {bytes(self._sent)!r}, recorded {expected!r}"
            )
            del self._sent[: len(expected)]
            self._left.popleft()
            self._play_received()

    async def close(self) -> None:
        """Close the line."""
        self._closed = True
        self._wake()

    def _play_received(self) -> None:
        while self._left and self._left[0].direction is Direction.RECEIVED:
            self._take_in(self._left.popleft().data)
        self._wake()


def recorded_in_memory() -> tuple[WireLog, list[Traffic]]:
    """Return a log on the running virtual clock, and the list that it fills. For tests."""
    kept: list[Traffic] = []
    return WireLog(virtual_clock(), kept.append), kept
