"""A serial port, opened by a path that stays: ``/dev/serial/by-id/...``.

A pseudo-terminal carries whole bytes and no parity: asked for parity or seven data bits a
second time it refuses (glibc reads the settings back and finds them dropped). On one of
those, framing is therefore not asked for at all.
"""

from __future__ import annotations

import errno
import os
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import serial

from devices.transport.descriptor import DescriptorLine
from devices.transport.transport import PortRefusedError, Recorder, TriggerMarks
from orchestrator.kernel.errors import RefusedError

_PTY_SLAVE_MAJORS = range(136, 144)  # Linux, Documentation/admin-guide/devices.txt


@dataclass(frozen=True, slots=True)
class SerialSettings:
    """How bytes are framed on the line, as the instrument's manual says."""

    baud: int = 9_600
    data_bits: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1

    def __str__(self) -> str:
        return f"{self.baud} {self.data_bits}{self.parity}{self.stop_bits}"


class SerialLine(DescriptorLine):
    """An open serial port, ours alone. Implements ``Transport``. Made by ``open_serial``."""

    def __init__(
        self,
        name: str,
        port: serial.Serial,
        path: Path,
        *,
        recorder: Recorder | None,
        marks: TriggerMarks | None,
    ) -> None:
        """Take over the open ``port``, on the running loop."""
        self._port = port
        super().__init__(name, port.fileno(), wire_name=str(path), recorder=recorder, marks=marks)

    def _release(self) -> None:
        self._port.close()


def open_serial(
    path: str | Path,
    settings: SerialSettings | None = None,
    *,
    name: str | None = None,
    recorder: Recorder | None = None,
    marks: TriggerMarks | None = None,
) -> SerialLine:
    """Open the port at ``path``, and throw away what came before.

    Args:
        path: The port, by its stable name.
        settings: As the manual says; 9600 8N1 if nothing is given.
        name: What people call the line; the path if nothing is given.
        recorder: Is told every byte, raw.
        marks: The triggers already written on this line, if it was open before.

    Raises:
        PortRefusedError: It is absent, busy, not ours to open, or not a serial port.
    """
    path = Path(os.path.abspath(path))
    settings = settings or SerialSettings()
    called = name or str(path)
    try:
        framed = not _is_pseudo_terminal(path)
        port = serial.Serial(
            str(path),
            baudrate=settings.baud,
            bytesize=settings.data_bits if framed else serial.EIGHTBITS,
            parity=settings.parity if framed else serial.PARITY_NONE,
            stopbits=settings.stop_bits,
            timeout=0,
            exclusive=True,
        )
    except (serial.SerialException, OSError, ValueError, termios.error) as error:
        raise _refused(called, path, settings, error) from error
    try:
        _block_on_nothing_read(port.fileno())
    except termios.error as error:
        port.close()
        raise _refused(called, path, settings, error) from error
    return SerialLine(called, port, path, recorder=recorder, marks=marks)


def _block_on_nothing_read(file: int) -> None:
    """Make "nothing there" differ from "hung up": with VMIN 0 both read as no bytes."""
    attributes = termios.tcgetattr(file)
    attributes[6][termios.VMIN] = 1
    attributes[6][termios.VTIME] = 0
    termios.tcsetattr(file, termios.TCSANOW, attributes)


def _is_pseudo_terminal(path: Path) -> bool:
    return os.major(path.stat().st_rdev) in _PTY_SLAVE_MAJORS


def _refused(name: str, path: Path, settings: SerialSettings, error: Exception) -> RefusedError:
    what = f"{name}: open {path} at {settings}"
    cause = error.__context__ if isinstance(error.__context__, termios.error) else error
    number = cause.args[0] if isinstance(cause, termios.error) else getattr(cause, "errno", None)
    if number == errno.ENOENT:
        return PortRefusedError(
            what,
            why="no such port",
            do_next="Check the cable and the instrument's power, then the path in the cell file",
        )
    if number in (errno.EACCES, errno.EPERM):
        return PortRefusedError(
            what,
            why="this account may not open it",
            do_next="Add the account to the group that owns the port",
        )
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(error):
        return PortRefusedError(
            what,
            why="another program has it open",
            do_next="Stop that program; a port has one owner",
        )
    if number in (errno.ENOTTY, errno.EINVAL, errno.ENXIO, errno.ENODEV):
        return PortRefusedError(
            what,
            why=f"it isn't a serial port with these settings ({error})",
            do_next="Correct path and settings in the cell file",
        )
    return PortRefusedError(what, why=str(error), do_next="Correct the path in the cell file")
