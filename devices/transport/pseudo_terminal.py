"""The instrument's end of a pseudo-terminal: a serial port that another program opens.

The port outlives the programs that open it. What is sent while nobody has it open is
lost, as on a real line, and so is what the last one left unread. A pseudo-terminal has no
baud rate: bytes arrive at once.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import termios
import tty
from pathlib import Path

from devices.transport.descriptor import DescriptorLine
from devices.transport.transport import PortRefusedError, Recorder

_FLAGS = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
_LOCAL = 3  # index of the local modes in what tcgetattr returns


class PseudoTerminal(DescriptorLine):
    """The instrument's end. Implements ``Transport``. Made by ``open_pty``.

    ``receive`` never ends by itself: when the other program closes the port, the line
    waits for the next one.
    """

    def __init__(
        self, name: str, master: int, port: str, link: Path, *, recorder: Recorder | None
    ) -> None:
        """Take over the master side, on the running loop."""
        self.link = link
        self._port = port
        self._edges = select.epoll()
        self._edges.register(master, select.EPOLLIN | select.EPOLLET)
        self._state = select.poll()
        self._state.register(master, 0)
        super().__init__(name, master, wire_name=str(link), recorder=recorder)
        self._count.outlives = True

    @property
    def is_open(self) -> bool:
        """Whether another program has the port open."""
        return not self._closed and not self._state.poll(0)

    def fileno(self) -> int:
        """Return the file that tells of changes; a terminal nobody has open is always ready."""
        return self._edges.fileno()

    def collect(self) -> None:
        """Take in all bytes that have come, without waking anybody."""
        if self._released:
            return
        events = [event for _, event in self._edges.poll(0)]
        if any(event & select.EPOLLOUT for event in events):
            self.flush()
        super().collect()
        if any(event & select.EPOLLHUP for event in events) and not self.is_open:
            self._hang_up()

    def is_over(self) -> bool:
        """Collect, and return whether nobody has the port open and all written is here."""
        if self.is_open:
            return False
        self.collect()
        return True

    def _is_heard(self) -> bool:
        return self.is_open

    def _reads_to_the_end(self) -> bool:
        return True

    def _end_seen(self) -> None:
        """Nobody has the port open now: what is unsent is lost, the line stays."""
        self._drop_unsent()
        self._release_senders()

    def _hang_up(self) -> None:
        """Lose what was left unread, and let the next one set parity again.

        Any real change makes the system accept settings that it drops (see
        ``serial_line``); ECHO does nothing here, since whoever opens a port sets it.
        """
        with contextlib.suppress(OSError, termios.error):
            slave = os.open(self._port, _FLAGS)
            try:
                termios.tcflush(slave, termios.TCIFLUSH)
                attributes = termios.tcgetattr(slave)
                attributes[_LOCAL] ^= termios.ECHO
                termios.tcsetattr(slave, termios.TCSANOW, attributes)
            finally:
                os.close(slave)
        self._edges.poll(0)

    def _watch_writable(self, *, writable: bool) -> None:
        mask = select.EPOLLIN | select.EPOLLET | (select.EPOLLOUT if writable else 0)
        self._edges.modify(self._file, mask)

    def _release(self) -> None:
        self._edges.close()
        os.close(self._file)
        with contextlib.suppress(OSError):
            if os.readlink(self.link) == self._port:
                self.link.unlink()


def open_pty(
    link: str | Path, *, name: str | None = None, recorder: Recorder | None = None
) -> PseudoTerminal:
    """Make a serial port at ``link`` and return the instrument's end.

    Args:
        link: Where other programs find the port. A link that is there is replaced.
        name: What people call the line; the link if nothing is given.
        recorder: Is told every byte, raw.

    Raises:
        PortRefusedError: ``link`` can't be made, or is a file of another kind.
    """
    link = Path(os.path.abspath(link))
    called = name or str(link)
    if link.exists() and not link.is_symlink():
        raise PortRefusedError(
            f"{called}: make a port at {link}",
            why="another file is there",
            do_next="Give another path",
        )
    master, slave = pty.openpty()
    try:
        tty.setraw(slave)
        port = os.ttyname(slave)
        link.unlink(missing_ok=True)
        link.symlink_to(port)
    except OSError as error:
        os.close(master)
        raise PortRefusedError(
            f"{called}: make a port at {link}",
            why=error.strerror or str(error),
            do_next="Give a path in a folder that exists and is ours to write",
        ) from error
    finally:
        os.close(slave)  # from here on the system tells whether somebody has it open
    return PseudoTerminal(called, master, port, link, recorder=recorder)
