"""Both sides of a room clock, as processes of their own, for ``test_room_clock``.

The room serves a pty whose instrument answers each line after a delay and keeps a count;
the daemon asks it. A technician in the
room asks the daemon by its own socket. Each prints what it saw as JSON, one object a line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from devices.transport.conversation import conversing
from devices.transport.framing import lines
from devices.transport.pseudo_terminal import open_pty
from devices.transport.serial_line import SerialSettings, open_serial
from devices.transport.tcp import connect_tcp, serve_tcp
from devices.transport.transport import LineClosedError, Transport
from orchestrator.kernel.identifiers import BootId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import hour, second
from orchestrator.virtual_time import (
    ClockAuthority,
    RoomClock,
    run_on_room_clock,
    run_room,
    standing_still,
)

BOOT = BootId("00000000-0000-4000-8000-00000000beef")
START = Instant.read("2026-11-23T08:00:00.000000Z")
ASKED = 20
TOLD_AT_MOST = 200


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def now_s() -> float:
    return round(asyncio.get_running_loop().time(), 6)


async def instrument(line: Transport, name: str, delay_s: float) -> None:
    """Answer ``text`` with ``name text time``; be silent on ``mute``."""
    rest = b""
    while True:
        rest += await line.receive()
        *whole, rest = rest.split(b"\r")
        for text in whole:
            say(side=name, at_s=now_s(), heard=text.decode(errors="replace"))
            if text == b"mute":
                continue
            if delay_s:
                await asyncio.sleep(delay_s)
            await line.send(name.encode() + b" " + text + f" {now_s():g}\r".encode())


async def technician(folder: Path) -> None:
    """Ask a joined daemon for its time by its own socket, each hour, which takes no time."""
    while not (folder / "console").exists():  # noqa: ASYNC110  another process makes it
        await asyncio.sleep(3_600)
    with standing_still():
        reader, writer = await asyncio.open_unix_connection(folder / "console")
    for _ in range(ASKED):
        await asyncio.sleep(3_600)
        with standing_still():
            writer.write(b"?\n")
            answer = await reader.readline()
        say(side="technician", at_s=now_s(), told=answer.decode().strip())
    writer.close()


async def room(authority: ClockAuthority, folder: Path, ptys: int, tick_s: float) -> None:
    async def culture() -> None:
        while True:
            await asyncio.sleep(tick_s)
            say(side="culture", at_s=now_s(), joined=authority.is_joined)

    async def on_tcp(line: Transport) -> None:
        await instrument(line, "T", 0.0)

    async with asyncio.TaskGroup() as group:
        for index in range(ptys):
            line = open_pty(folder / f"P{index}")
            group.create_task(instrument(line, f"P{index}", float(index)))
        server = await serve_tcp(0, on_tcp, group=group)
        group.create_task(technician(folder))
        if tick_s:
            group.create_task(culture())
        say(side="room", port=server.port)


async def ask_all(clock: RoomClock, folder: Path, port: int) -> None:
    """Ask three instruments at once, over two ptys and TCP, then sleep a day and ask again."""
    say(side="daemon", utc=str(clock.utc()), boot=clock.boot(), boottime=str(clock.boottime()))
    odd = SerialSettings(parity="E", data_bits=7)

    async def talk(line: Transport, name: str) -> None:
        async with conversing(line, lines(b"\r")) as conversation:
            for question in range(3):
                request = f"{name}-q{question}\r".encode()
                answer = await conversation.ask(request, within=5 * second)
                say(side="daemon", at_s=now_s(), answer=answer.decode())

    for _ in range(2):
        async with asyncio.TaskGroup() as group:
            group.create_task(talk(open_serial(folder / "P0"), "a"))
            group.create_task(talk(open_serial(folder / "P1", odd), "b"))
            group.create_task(talk(await connect_tcp(f"tcp://127.0.0.1:{port}"), "c"))
        await asyncio.sleep(24 * 3_600)
    say(side="daemon", at_s=now_s(), done=True)


async def hop(clock: RoomClock, count: int) -> None:
    """Sleep a second, so often: each is a jump that both sides make."""
    for _ in range(count):
        await asyncio.sleep(1)
    say(side="daemon", hops=count, utc=str(clock.utc()))


async def exchange(folder: Path, count: int) -> None:
    """Ask, so often, over one pty."""
    async with conversing(open_serial(folder / "P0"), lines(b"\r")) as conversation:
        for question in range(count):
            await conversation.ask(f"q{question}\r".encode(), within=5 * second)
    say(side="daemon", exchanges=count, at_s=now_s())


async def console(folder: Path) -> None:
    """Tell the time to whoever connects, and poll an instrument meanwhile."""
    asked = 0
    done = asyncio.Event()

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while await reader.readline():
            asked += 1
            writer.write(f"{now_s():g}\n".encode())
            if asked == ASKED:
                done.set()
        writer.close()

    server = await asyncio.start_unix_server(tell, folder / "console")
    async with server, conversing(open_serial(folder / "P0"), lines(b"\r")) as conversation:
        while not done.is_set():
            await conversation.ask(b"poll\r", within=5 * second)
            await asyncio.sleep(60)
    say(side="daemon", asked=asked)


async def hang(folder: Path) -> None:
    """Ask for ever, and be killed in it; tell of the first answers, as many as a pipe holds."""
    async with conversing(open_serial(folder / "P1"), lines(b"\r")) as conversation:
        for question in range(1_000_000):
            answer = await conversation.ask(f"q{question}\r".encode(), within=1 * hour)
            if question < TOLD_AT_MOST:
                say(side="daemon", at_s=now_s(), answer=answer.decode())


async def stall(seconds: float) -> None:
    """Join, and keep the turn for so long, as a daemon does whose process stands still."""
    say(side="daemon", joined=True)
    time.sleep(seconds)  # noqa: ASYNC251  that is what is planted


async def lose(folder: Path) -> None:
    """Ask what is never answered, and find the port's limits true."""
    line = open_serial(folder / "P0")
    async with asyncio.TaskGroup() as group:

        async def read() -> None:
            try:
                while True:
                    came = await line.receive()
                    say(side="daemon", at_s=now_s(), bytes=len(came))
            except LineClosedError:
                say(side="daemon", at_s=now_s(), closed=True)

        group.create_task(read())
        await line.send(b"x" * 20_000 + b"\r")
        await asyncio.sleep(1)
        await line.close()
    await asyncio.sleep(1)


def main(side: str, folder: Path, *arguments: str) -> None:
    socket_path = folder / "clock"
    if side == "room":
        ptys, tick_s = int(arguments[0]), float(arguments[1])
        run_room(
            lambda authority: room(authority, folder, ptys, tick_s),
            socket_path=socket_path,
            start=START,
            boot=BOOT,
        )
    elif side == "ask":
        run_on_room_clock(
            lambda clock: ask_all(clock, folder, int(arguments[0])), socket_path=socket_path
        )
    elif side == "hop":
        run_on_room_clock(lambda clock: hop(clock, int(arguments[0])), socket_path=socket_path)
    elif side == "exchange":
        run_on_room_clock(lambda _: exchange(folder, int(arguments[0])), socket_path=socket_path)
    elif side == "console":
        run_on_room_clock(lambda _: console(folder), socket_path=socket_path)
    elif side == "lose":
        run_on_room_clock(lambda _: lose(folder), socket_path=socket_path)
    elif side == "stall":
        run_on_room_clock(lambda _: stall(float(arguments[0])), socket_path=socket_path)
    elif side == "hang":
        run_on_room_clock(lambda _: hang(folder), socket_path=socket_path)
    else:
        raise SystemExit(f"no such side: {side}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
