"""Ports on the command line: the same URL makes a port for an emulator and opens one.

``tcp://HOST:PORT``, or ``serial:PATH`` with, after a question mark, what differs from 9600
8N1: ``serial:/dev/ttyUSB0?baud=19200&parity=E&data_bits=7&stop_bits=2``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError

from devices.transport.pseudo_terminal import open_pty
from devices.transport.serial_line import SerialSettings, open_serial
from devices.transport.tcp import LOOPBACK, Handler, connect_tcp, serve_tcp
from devices.transport.transport import Transport
from orchestrator.cli.options import CallRefusedError

_SETTINGS: Final = TypeAdapter(SerialSettings)
_LOCAL: Final = (LOOPBACK, "localhost")


@dataclass(frozen=True)
class TcpPort:
    """A port of TCP."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp://{self.host}:{self.port}"


@dataclass(frozen=True)
class SerialPort:
    """A serial port."""

    path: Path
    settings: SerialSettings

    def __str__(self) -> str:
        return f"serial:{self.path}"


Port = TcpPort | SerialPort


def read_url(url: str) -> Port:
    """Return the port that ``url`` names.

    Raises:
        CallRefusedError: It names none.
    """
    kind, _, rest = url.partition(":")
    if kind == "tcp":
        host, _, port = rest.removeprefix("//").rpartition(":")
        if host and port.isascii() and port.isdigit() and int(port) < 65_536:
            return TcpPort(host, int(port))
        raise _refused(url, "a TCP port is written tcp://HOST:PORT")
    path, _, settings = rest.removeprefix("//").partition("?")
    if kind != "serial" or not path:
        raise _refused(url, "it is neither tcp://HOST:PORT nor serial:PATH")
    given: dict[str, str | int] = {
        name: int(value) if value.isascii() and value.isdigit() else value
        for name, value in parse_qsl(settings, keep_blank_values=True)
    }
    unknown = sorted(set(given) - set(SerialSettings.__dataclass_fields__))
    if unknown:
        raise _refused(url, f"a serial port has no {', '.join(unknown)}")
    try:
        return SerialPort(Path(path), _SETTINGS.validate_python(given))
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise _refused(url, f"{first['loc'][0]}: {first['msg']}") from wrong


async def open_line(port: Port, *, name: str) -> Transport:
    """Return the open line to what is at ``port``.

    Raises:
        PortRefusedError: It is absent, busy, or not ours to open.
    """
    if isinstance(port, TcpPort):
        return await connect_tcp(str(port), name=name)
    return open_serial(port.path, port.settings, name=name)


@asynccontextmanager
async def served(
    port: Port, handler: Handler, *, group: asyncio.TaskGroup, name: str
) -> AsyncGenerator[Port]:
    """Make ``port`` on this machine and have ``handler`` speak on it; yields the port made.

    Raises:
        PortRefusedError: It is taken, or not ours to make.
        CallRefusedError: It is another machine's.
    """
    if isinstance(port, TcpPort):
        if port.host not in _LOCAL:
            raise _refused(str(port), f"an emulator is served on this machine only ({LOOPBACK})")
        server = await serve_tcp(port.port, handler, group=group, name=name)
        try:
            yield TcpPort(LOOPBACK, server.port)
        finally:
            await server.close()
        return
    line = open_pty(port.path, name=name)
    speaking = group.create_task(handler(line))
    try:
        yield port
    finally:
        speaking.cancel()
        await line.close()


def _refused(url: str, why: str) -> CallRefusedError:
    return CallRefusedError(
        f"use the port {url}",
        why=why,
        do_next="Give --at tcp://HOST:PORT or --at serial:/dev/serial/by-id/...",
    )
