"""The emulated scanner sends the label that is physically there, and nothing else.

Method: bytes over a wire in memory on virtual time; labels stick on things in the World.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from devices.transport.memory import MemoryLine, memory_wire
from hw_mocks.serial_scanner import SerialScanner
from hw_mocks.world import World
from orchestrator.virtual_time import run_in_virtual_time

ON = b"\x16T\r"
OFF = b"\x16U\r"


class Bench:
    """A scanner before the station; a tray with the label K1-7F3Q is in hands."""

    def __init__(self, scanner: SerialScanner, line: MemoryLine) -> None:
        self.scanner = scanner
        self.line = line
        self.world = scanner.world

    async def hear(self) -> bytes:
        return await asyncio.wait_for(self.line.receive(), 60.0)

    async def stays_silent(self, *, for_s: float = 3.0) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.line.receive(), for_s)

    def dock(self) -> None:
        self.world.relocate("K1", "station", "test")


Story = Callable[[Bench], Awaitable[None]]


def at_the_bench(
    story: Story,
    *,
    watches: str | None = "station",
    no_read: str | None = None,
    handshake: bool = False,
    suffix: bytes = b"\r",
    reply_after_s: float = 0.0,
) -> None:
    async def run() -> None:
        world = World(asyncio.get_running_loop().time, seed=1)
        world.add_station()
        world.add_kit("K1", label="K1-7F3Q")
        scanner = SerialScanner(
            world,
            "S1",
            watches=watches,
            no_read=no_read,
            handshake=handshake,
            suffix=suffix,
            reply_after_s=reply_after_s,
        )
        software, instrument = memory_wire("S1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(scanner.serve(instrument))
            await asyncio.sleep(0.01)
            await story(Bench(scanner, software))
            await software.close()

    run_in_virtual_time(run())


def test_what_is_held_before_it_is_sent_with_a_carriage_return() -> None:
    async def story(bench: Bench) -> None:
        bench.scanner.present("B1-Q2ZD")
        assert await bench.hear() == b"B1-Q2ZD\r"
        await bench.stays_silent()

    at_the_bench(story, watches=None)


def test_another_ending_and_text_beyond_ascii() -> None:
    async def story(bench: Bench) -> None:
        bench.scanner.present("Beutel 7 µL")
        assert await bench.hear() == "Beutel 7 µL\r\n".encode()

    at_the_bench(story, watches=None, suffix=b"\r\n")


def test_a_trigger_reads_the_tray_that_is_docked_once() -> None:
    async def story(bench: Bench) -> None:
        bench.dock()
        await bench.line.send(ON)
        assert await bench.hear() == b"K1-7F3Q\r"
        await bench.stays_silent()
        await bench.line.send(ON)
        assert await bench.hear() == b"K1-7F3Q\r"

    at_the_bench(story)


def test_a_trigger_waits_for_a_tray_that_comes() -> None:
    async def story(bench: Bench) -> None:
        await bench.line.send(ON)
        await bench.stays_silent(for_s=10.0)
        assert bench.scanner.is_looking
        bench.dock()
        assert await bench.hear() == b"K1-7F3Q\r"
        assert not bench.scanner.is_looking

    at_the_bench(story)


def test_a_tray_without_a_label_is_not_read() -> None:
    async def story(bench: Bench) -> None:
        bench.world.add_kit("K2", place="station")
        await bench.line.send(ON)
        assert await bench.hear() == b"NR\r"

    at_the_bench(story, no_read="NR")


def test_nothing_read_in_time_is_silence_unless_a_text_is_set() -> None:
    async def silent(bench: Bench) -> None:
        await bench.line.send(ON)
        await bench.stays_silent(for_s=40.0)
        assert not bench.scanner.is_looking

    async def told(bench: Bench) -> None:
        before_s = bench.world.now()
        await bench.line.send(ON)
        assert await bench.hear() == b"NR\r"
        assert bench.world.now() - before_s == pytest.approx(30.0, abs=0.11)

    at_the_bench(silent)
    at_the_bench(told, no_read="NR")


def test_the_trigger_is_switched_off() -> None:
    async def story(bench: Bench) -> None:
        await bench.line.send(ON)
        await asyncio.sleep(1.0)
        await bench.line.send(OFF)
        assert await bench.hear() == b"NR\r"
        bench.dock()
        await bench.stays_silent()
        await bench.line.send(OFF)
        await bench.stays_silent()

    at_the_bench(story, no_read="NR")


@pytest.mark.parametrize("garbage", [b"T\r", b"\x16X\r", b"\x15\x06", b"\xff" * 500, b"\x16", b"U"])
def test_anything_else_stays_without_an_answer(garbage: bytes) -> None:
    async def story(bench: Bench) -> None:
        bench.dock()
        await bench.line.send(garbage)
        await bench.stays_silent()
        await bench.line.send(ON)
        assert await bench.hear() == b"K1-7F3Q\r"

    at_the_bench(story)


def test_with_handshake_a_refused_text_comes_again() -> None:
    async def story(bench: Bench) -> None:
        await bench.line.send(b"\x15")
        await bench.stays_silent()
        bench.scanner.present("B1-Q2ZD")
        assert await bench.hear() == b"B1-Q2ZD\r"
        await bench.line.send(b"\x15")
        assert await bench.hear() == b"B1-Q2ZD\r"
        await bench.line.send(b"\x06")
        await bench.stays_silent()

    at_the_bench(story, handshake=True)


def test_its_own_trigger_looks_once() -> None:
    async def story(bench: Bench) -> None:
        bench.scanner.press("TRIGGER")
        assert await bench.hear() == b"NR\r"
        bench.dock()
        bench.scanner.press("TRIGGER")
        assert await bench.hear() == b"K1-7F3Q\r"
        with pytest.raises(ValueError, match="TRIGGER"):
            bench.scanner.press("EJECT")

    at_the_bench(story, no_read="NR")


def test_a_power_cycle_switches_the_trigger_off() -> None:
    async def story(bench: Bench) -> None:
        await bench.line.send(ON)
        await asyncio.sleep(1.0)
        bench.scanner.power_cycle()
        bench.dock()
        await bench.stays_silent()

    at_the_bench(story)


def test_what_is_read_while_no_line_is_open_is_lost_and_the_next_line_works() -> None:
    async def story(bench: Bench) -> None:
        await bench.line.close()
        await asyncio.sleep(0.01)
        bench.scanner.present("lost")
        software, instrument = memory_wire("S1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bench.scanner.serve(instrument))
            await asyncio.sleep(0.01)
            bench.scanner.present("heard")
            before_s = bench.world.now()
            assert await software.receive() == b"heard\r"
            assert bench.world.now() - before_s == pytest.approx(0.25)
            await software.close()

    at_the_bench(story, reply_after_s=0.25)
