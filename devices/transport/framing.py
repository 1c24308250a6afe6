"""Framing: cutting a stream of bytes into frames, and saying what of it is garbage."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

FRAME_BYTES_MAX = 4_096


class Cut(NamedTuple):
    """The next piece of a stream: the first ``used`` bytes, and the frame they hold."""

    used: int
    frame: bytes | None  # None: all of it is garbage
    garbage: int = 0


Framer = Callable[[bytearray], Cut | None]
"""Cuts the next piece off what has come, or returns None if more must come first.

It must not change the buffer, and forgets nothing and remembers nothing.
"""


def lines(terminator: bytes, *, longest: int = FRAME_BYTES_MAX) -> Framer:
    r"""Frame lines that end with ``terminator``; a frame is the line without it.

    Empty lines are skipped. A line that grows beyond ``longest`` is garbage.
    """
    assert terminator, "a line ends with something"
    keep = len(terminator) - 1

    def cut(buffer: bytearray) -> Cut | None:
        end = buffer.find(terminator)
        if end < 0:
            if len(buffer) > longest + keep:
                return Cut(len(buffer) - keep, None, len(buffer) - keep)
            return None
        used = end + len(terminator)
        if end > longest:
            return Cut(used, None, used)
        return Cut(used, bytes(buffer[:end]) if end else None)

    return cut


def frames(start: bytes, end: bytes, *, trailer: int = 0, longest: int = FRAME_BYTES_MAX) -> Framer:
    """Frame what stands from ``start`` to ``end`` and ``trailer`` bytes after it.

    The frame holds all of them. Bytes before ``start`` are garbage, and so is a frame
    that begins again before it ended, or grows beyond ``longest``.

    Args:
        start: E.g. STX, or ``b"<"``.
        end: E.g. ETX, or ``b">"``.
        trailer: How many bytes follow ``end``: a checksum, CR LF.
        longest: The longest frame, all told.
    """
    assert start, "a frame starts with something"
    assert end, "a frame ends with something"

    def cut(buffer: bytearray) -> Cut | None:
        at = buffer.find(start)
        if at < 0:
            spare = max(0, len(buffer) - len(start) + 1)
            return Cut(spare, None, spare) if spare else None
        stop = buffer.find(end, at + len(start))
        again = buffer.rfind(start, at + 1, stop if stop >= 0 else len(buffer))
        if start != end and again > at:
            return Cut(again, None, again)
        if stop < 0 or stop + len(end) + trailer > len(buffer):
            if len(buffer) - at > longest:
                return Cut(at + len(start), None, at + len(start))
            return Cut(at, None, at) if at else None
        used = stop + len(end) + trailer
        if used - at > longest:
            return Cut(used, None, used)
        return Cut(used, bytes(buffer[at:used]), at)

    return cut
