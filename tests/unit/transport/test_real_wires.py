"""Serial ports, pseudo-terminals and TCP on the real loop: opening, losing, closing.

Method: a pseudo-terminal stands for the serial port; loopback for the network. Real time
passes, milliseconds of it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
import serial

from devices.transport.conversation import conversing
from devices.transport.framing import lines
from devices.transport.pseudo_terminal import PseudoTerminal, open_pty
from devices.transport.serial_line import SerialSettings, open_serial
from devices.transport.tcp import connect_tcp, read_tcp_address, serve_tcp
from devices.transport.transport import (
    Direction,
    LineClosedError,
    PortRefusedError,
    Transport,
    TriggerRepeatedError,
)
from orchestrator.kernel.errors import ConfigurationRefusedError
from orchestrator.kernel.identifiers import CommandId
from orchestrator.kernel.quantities import second


async def received(line: Transport, count: int) -> bytes:
    came = b""
    async with asyncio.timeout(2):
        while len(came) < count:
            came += await line.receive()
    return came


async def until_closed(terminal: PseudoTerminal) -> None:
    async with asyncio.timeout(2):
        while terminal.is_open:  # noqa: ASYNC110  the system tells of it by no event of its own
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.005)


# Serial ports


async def test_bytes_pass_both_ways_and_every_byte_value_unchanged(tmp_path: Path) -> None:
    terminal = open_pty(tmp_path / "P1")
    line = open_serial(tmp_path / "P1")
    everything = bytes(range(256))
    await line.send(everything)
    assert await received(terminal, 256) == everything
    await terminal.send(everything)
    assert await received(line, 256) == everything
    await line.close()
    await terminal.close()
    assert not (tmp_path / "P1").is_symlink()


async def test_a_port_outlives_the_programs_that_open_it(tmp_path: Path) -> None:
    terminal = open_pty(tmp_path / "P1")
    for number in range(3):
        line = open_serial(tmp_path / "P1")
        await line.send(b"%d" % number)
        assert await received(terminal, 1) == b"%d" % number
        await terminal.send(b"unread")
        await line.close()
        await until_closed(terminal)
        assert not terminal.is_open
        await terminal.send(b"while nobody has it open")
    line = open_serial(tmp_path / "P1")
    assert terminal.is_open
    await terminal.send(b"fresh")
    assert await received(line, 5) == b"fresh", "what was sent before is lost, as on a real line"
    await line.close()
    await terminal.close()


async def test_a_port_that_nobody_has_open_costs_nothing(tmp_path: Path) -> None:
    terminal = open_pty(tmp_path / "P1")
    line = open_serial(tmp_path / "P1")
    await line.close()
    await until_closed(terminal)
    cpu_s = os.times().user + os.times().system
    await asyncio.sleep(0.2)
    assert os.times().user + os.times().system - cpu_s < 0.1, "the loop spins on the hang-up"
    await terminal.close()


async def test_parity_and_seven_bits_survive_a_second_opening(tmp_path: Path) -> None:
    """A pseudo-terminal refuses them the second time; a driver that reconnects must not fail."""
    terminal = open_pty(tmp_path / "N1")
    for _ in range(3):
        line = open_serial(tmp_path / "N1", SerialSettings(4_800, 7, "E", 1))
        await line.send(b"ENQ")
        assert await received(terminal, 3) == b"ENQ"
        await line.close()
        await until_closed(terminal)
    for _ in range(3):  # another's program, which asks for parity itself
        port = serial.Serial(str(tmp_path / "N1"), parity="E", bytesize=7)
        port.close()
        await until_closed(terminal)
    await terminal.close()


async def test_more_than_the_line_holds_waits_for_the_other_end(tmp_path: Path) -> None:
    terminal = open_pty(tmp_path / "P1")
    line = open_serial(tmp_path / "P1")
    for sender, reader in ((line, terminal), (terminal, line)):
        async with asyncio.TaskGroup() as group:
            group.create_task(sender.send(b"x" * 50_000))
            assert len(await received(reader, 50_000)) == 50_000
    await line.close()
    await terminal.close()


async def test_a_trigger_is_recorded_and_written_once(tmp_path: Path) -> None:
    kept: list[tuple[str, Direction, bytes, CommandId | None]] = []

    def record(line: str, direction: Direction, data: bytes, trigger: CommandId | None) -> None:
        kept.append((line, direction, data, trigger))

    terminal = open_pty(tmp_path / "P1")
    line = open_serial(tmp_path / "P1", name="P1", recorder=record)
    trigger = CommandId("CMD-000001")
    await line.send(b"GO\r", trigger=trigger)
    with pytest.raises(TriggerRepeatedError):
        await line.send(b"GO\r", trigger=trigger)
    assert await received(terminal, 3) == b"GO\r"
    await terminal.send(b"OK")
    await received(line, 2)
    assert kept == [
        ("P1", Direction.SENT, b"GO\r", trigger),
        ("P1", Direction.RECEIVED, b"OK", None),
    ]
    await line.close()
    await terminal.close()


async def test_an_instrument_that_goes_away_closes_the_line(tmp_path: Path) -> None:
    terminal = open_pty(tmp_path / "P1")
    line = open_serial(tmp_path / "P1")
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_closed(line))
        await asyncio.sleep(0.01)
        await terminal.close()
        await reading
    assert line.closed
    with pytest.raises(LineClosedError):
        await line.send(b"?")


async def _closed(line: Transport) -> None:
    with pytest.raises(LineClosedError):
        async with asyncio.timeout(2):
            await line.receive()


async def test_an_absent_port_a_busy_one_and_a_file_each_get_one_clear_message(
    tmp_path: Path,
) -> None:
    with pytest.raises(PortRefusedError, match=r"P1: open .*no such port.*Check the cable"):
        open_serial(tmp_path / "P1", name="P1")
    terminal = open_pty(tmp_path / "P1")
    line = open_serial(tmp_path / "P1")
    with pytest.raises(PortRefusedError, match="another program has it open"):
        open_serial(tmp_path / "P1")
    await line.close()
    await terminal.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(PortRefusedError, match="isn't a serial port"):
        open_serial(tmp_path / "file")
    with pytest.raises(PortRefusedError, match="another file is there"):
        open_pty(tmp_path / "file")
    with pytest.raises(PortRefusedError, match="folder that exists"):
        open_pty(tmp_path / "nowhere" / "P1")


async def test_a_stale_link_of_a_killed_room_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "P1").symlink_to("/dev/pts/9999999")
    terminal = open_pty(tmp_path / "P1")
    line = open_serial(tmp_path / "P1")
    await line.close()
    await terminal.close()


# TCP


async def test_tcp_passes_bytes_and_tells_both_ends_of_the_close() -> None:
    ended: asyncio.Queue[bool] = asyncio.Queue()

    async def echo(line: Transport) -> None:
        try:
            while True:
                await line.send(await line.receive())
        finally:
            ended.put_nowait(line.closed)

    async with asyncio.TaskGroup() as group:
        server = await serve_tcp(0, echo, group=group, name="R1")
        for _ in range(2):
            line = await connect_tcp(f"tcp://127.0.0.1:{server.port}", name="R1")
            await line.send(b"x" * 100_000)
            assert await received(line, 100_000) == b"x" * 100_000
            await line.close()
            async with asyncio.timeout(2):
                assert await ended.get()
        last = await connect_tcp(f"tcp://127.0.0.1:{server.port}")
        await last.send(b"?")
        await received(last, 1)
        await server.close()
        await _closed(last)
    assert await ended.get()


async def test_nothing_listening_a_taken_port_and_a_wrong_address_are_refused() -> None:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    with pytest.raises(PortRefusedError, match=r"R1: connect to .*nothing listens there"):
        await connect_tcp(f"tcp://127.0.0.1:{port}", name="R1", within=1 * second)
    async with asyncio.TaskGroup() as group:
        with pytest.raises(PortRefusedError, match=f"listen on port {port}"):
            await serve_tcp(port, _closed, group=group)
    taken.close()
    for address in ("127.0.0.1:80", "http://127.0.0.1:80", "tcp://127.0.0.1", "tcp://h:99999"):
        with pytest.raises(ConfigurationRefusedError, match="tcp://host:port"):
            read_tcp_address(address)


async def test_a_conversation_runs_on_a_real_port(tmp_path: Path) -> None:
    terminal = open_pty(tmp_path / "W1")

    async def balance() -> None:
        while True:
            assert await terminal.receive() == b"SI\r\n"
            await terminal.send(b"S S      1.0000 g\r\n")

    async with asyncio.TaskGroup() as group:
        weighing = group.create_task(balance())
        async with conversing(open_serial(tmp_path / "W1"), lines(b"\r\n")) as talk:
            for _ in range(20):
                assert await talk.ask(b"SI\r\n", within=2 * second) == b"S S      1.0000 g"
        weighing.cancel()
    await terminal.close()
