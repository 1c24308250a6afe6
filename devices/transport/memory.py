"""A wire in memory: what one end sends, the other receives, at the same virtual time."""

from __future__ import annotations

from devices.transport.transport import LineBase, Recorder, TriggerMarks
from orchestrator.kernel.identifiers import CommandId


class MemoryLine(LineBase):
    """One end of a wire in memory. Implements ``Transport``. Made by ``memory_wire``."""

    _other: MemoryLine

    async def send(self, data: bytes, *, trigger: CommandId | None = None) -> None:
        """Hand ``data`` to the other end; it is there before this returns."""
        self._about_to_send(data, trigger)
        self._other._take_in(data)  # noqa: SLF001  the same class
        self._other._wake()  # noqa: SLF001

    async def close(self) -> None:
        """Close both ends; what was sent before can still be received."""
        for end in (self, self._other):
            end._closed = True  # noqa: SLF001
            end._wake()  # noqa: SLF001

    def join(self, other: MemoryLine) -> None:
        """Make ``other`` the far end."""
        self._other = other


def memory_wire(
    name: str,
    *,
    recorder: Recorder | None = None,
    marks: TriggerMarks | None = None,
) -> tuple[MemoryLine, MemoryLine]:
    """Return both ends of a wire without delay or loss.

    Args:
        name: What people call the line; both ends bear it.
        recorder: Is told what passes, as the first end sees it.
        marks: The triggers that the first end has written before.

    Returns:
        The software's end and the instrument's. Bytes of one ``send`` may come together
        with those of the next, as on any stream.
    """
    software = MemoryLine(name, recorder=recorder, marks=marks)
    instrument = MemoryLine(name)
    software.join(instrument)
    instrument.join(software)
    return software, instrument
