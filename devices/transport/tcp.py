"""Lines over TCP: the software's end, and the instrument's on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from devices.transport.descriptor import DescriptorLine
from devices.transport.transport import (
    LineClosedError,
    PortRefusedError,
    Recorder,
    Transport,
    TriggerMarks,
)
from orchestrator.kernel.errors import ConfigurationRefusedError
from orchestrator.kernel.quantities import Duration, second
from orchestrator.virtual_time import as_room_loop

LOOPBACK = "127.0.0.1"
CONNECT_WITHIN = 5 * second

Handler = Callable[[Transport], Coroutine[Any, Any, None]]
"""Talks on one accepted line until it is closed; the line is closed when it returns."""


class TcpLine(DescriptorLine):
    """A connection. Implements ``Transport``. Made by ``connect_tcp`` and ``serve_tcp``."""

    def __init__(
        self,
        name: str,
        connection: socket.socket,
        *,
        wire_name: str,
        recorder: Recorder | None,
        marks: TriggerMarks | None,
    ) -> None:
        """Take over the open ``connection``, on the running loop."""
        self._connection = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(
            name, connection.fileno(), wire_name=wire_name, recorder=recorder, marks=marks
        )

    def _release(self) -> None:
        self._connection.close()


def read_tcp_address(address: str) -> tuple[str, int]:
    """Return host and port of ``tcp://host:port``.

    Raises:
        ConfigurationRefusedError: It isn't of that form.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, None
    if parts is None or parts.scheme != "tcp" or not host or not port or parts.path.strip("/"):
        raise ConfigurationRefusedError(
            f"connect to {address}",
            why="it isn't of the form tcp://host:port",
            do_next="Correct the address in the cell file",
        )
    return host, port


async def connect_tcp(
    address: str,
    *,
    name: str | None = None,
    within: Duration = CONNECT_WITHIN,
    recorder: Recorder | None = None,
    marks: TriggerMarks | None = None,
) -> TcpLine:
    """Connect to an instrument.

    Args:
        address: ``tcp://host:port``.
        name: What people call the line; the address if nothing is given.
        within: How long to wait for the connection.
        recorder: Is told every byte, raw.
        marks: The triggers already written on this line, if it was open before.

    Raises:
        ConfigurationRefusedError: The address isn't one.
        PortRefusedError: Nothing listens there, or nothing answers in time.
    """
    host, port = read_tcp_address(address)
    called = name or address
    loop = asyncio.get_running_loop()
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setblocking(False)
    room = as_room_loop(loop)
    wire_name = address
    if room is not None:  # the room has to know of the connection before it is made
        connection.bind((LOOPBACK, 0))
        wire_name = _wire_name(connection.getsockname()[1], port)
        expected = room.wires.expect(wire_name)
    else:
        expected = None
    try:
        async with asyncio.timeout(within.base / 1_000):
            await loop.sock_connect(connection, (host, port))
    except (OSError, TimeoutError) as error:
        connection.close()
        if expected is not None:
            expected.closed = True
        raise _not_connected(called, address, within, error) from error
    except BaseException:
        connection.close()
        if expected is not None:
            expected.closed = True
        raise
    return TcpLine(called, connection, wire_name=wire_name, recorder=recorder, marks=marks)


def _not_connected(name: str, address: str, within: Duration, error: Exception) -> PortRefusedError:
    if isinstance(error, ConnectionRefusedError):
        why = "nothing listens there"
    elif isinstance(error, TimeoutError):
        why = f"no answer within {within}"
    else:
        why = str(error)
    return PortRefusedError(
        f"{name}: connect to {address}",
        why=why,
        do_next="Check the instrument's power and network, then the address in the cell file",
    )


class TcpServer:
    """Accepts connections for an instrument on this machine. Made by ``serve_tcp``."""

    def __init__(
        self,
        listener: socket.socket,
        handler: Handler,
        *,
        group: asyncio.TaskGroup,
        name: str,
        recorder: Recorder | None,
    ) -> None:
        """Accept on ``listener``, on the running loop."""
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._handler = handler
        self._group = group
        self._name = name
        self._recorder = recorder
        self._lines: set[TcpLine] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listener.fileno(), self._accept)

    async def close(self) -> None:
        """Accept no more, and close what was accepted. May be repeated."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
        for line in list(self._lines):
            await line.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            line = TcpLine(
                self._name,
                connection,
                wire_name=_wire_name(peer[1], self.port),
                recorder=self._recorder,
                marks=None,
            )
            self._lines.add(line)
            self._group.create_task(self._serve(line), name=f"{self._name} from {peer[1]}")

    async def _serve(self, line: TcpLine) -> None:
        try:
            with contextlib.suppress(LineClosedError):
                await self._handler(line)
        finally:
            self._lines.discard(line)
            await line.close()


async def serve_tcp(
    port: int,
    handler: Handler,
    *,
    group: asyncio.TaskGroup,
    name: str | None = None,
    recorder: Recorder | None = None,
) -> TcpServer:
    """Listen on this machine's loopback address, each connection in a task of ``group``.

    Args:
        port: Where; 0 for any free one, which the server's ``port`` then tells.
        handler: Talks on one line. That the other end closes it is no error.
        group: Holds the tasks of the connections.
        name: What people call the lines.
        recorder: Is told every byte, raw.

    Raises:
        PortRefusedError: The port is taken, or not ours to open.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    called = name or f"tcp://{LOOPBACK}:{port}"
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(16)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise PortRefusedError(
            f"{called}: listen on port {port}",
            why=error.strerror or os.strerror(error.errno or 0),
            do_next="Stop the program that has it, or give another port",
        ) from error
    return TcpServer(listener, handler, group=group, name=called, recorder=recorder)


def _wire_name(client_port: int, server_port: int) -> str:
    return f"tcp {LOOPBACK}:{client_port} to {server_port}"
