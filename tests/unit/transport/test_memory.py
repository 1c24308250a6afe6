"""Wires in memory and what all lines share: marks, recording, one reader, closing.

Method: both ends of one wire on virtual time.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from devices.transport.memory import memory_wire
from devices.transport.recording import recorded_in_memory
from devices.transport.transport import (
    Direction,
    LineClosedError,
    TriggerMarks,
    TriggerRepeatedError,
)
from orchestrator.kernel.identifiers import CommandId
from orchestrator.kernel.instants import Instant
from orchestrator.virtual_time import run_in_virtual_time

TRIGGER = CommandId("CMD-000001")
START = Instant.read("2026-11-23T08:00:00.000000Z")


def test_what_one_end_sends_the_other_receives_in_order() -> None:
    async def main() -> None:
        software, instrument = memory_wire("P1")
        await software.send(b"one ")
        await software.send(b"two")
        assert await instrument.receive() == b"one two"
        await instrument.send(b"yes")
        assert await software.receive() == b"yes"

    run_in_virtual_time(main())


def test_an_attempts_trigger_is_written_once_even_on_a_line_opened_again() -> None:
    async def main() -> None:
        marks = TriggerMarks()
        first, instrument = memory_wire("P1", marks=marks)
        await first.send(b"GO", trigger=TRIGGER)
        assert await instrument.receive() == b"GO"
        with pytest.raises(TriggerRepeatedError, match=r"CMD-000001.*written once"):
            await first.send(b"GO", trigger=TRIGGER)
        await first.close()
        again, far = memory_wire("P1", marks=marks)
        with pytest.raises(TriggerRepeatedError):
            await again.send(b"GO", trigger=TRIGGER)
        await again.send(b"?")
        assert await far.receive() == b"?", "nothing of the trigger was written"

    run_in_virtual_time(main())


def test_every_byte_is_recorded_raw_with_its_moment_and_mark() -> None:
    async def main() -> None:
        log, kept = recorded_in_memory()
        software, instrument = memory_wire("P1", recorder=log.record)
        await software.send(b"\x02GO\x03", trigger=TRIGGER)
        await asyncio.sleep(1.5)
        await instrument.send(b"\xff")
        assert [str(traffic) for traffic in kept] == [
            "2026-11-23T08:00:00.000000Z\tP1\t>\t02474f03\tCMD-000001",
            "2026-11-23T08:00:01.500000Z\tP1\t<\tff",
        ]
        assert kept[0].direction is Direction.SENT

    run_in_virtual_time(main(), start=START)


def test_a_closed_line_gives_what_came_before_and_then_refuses() -> None:
    async def main() -> None:
        software, instrument = memory_wire("P1")
        await instrument.send(b"last words")
        await instrument.close()
        assert software.closed
        assert await software.receive() == b"last words"
        with pytest.raises(LineClosedError, match="P1: receive: the line is closed"):
            await software.receive()
        with pytest.raises(LineClosedError):
            await software.send(b"?")

    run_in_virtual_time(main())


def test_closing_wakes_the_reader() -> None:
    async def main() -> None:
        software, instrument = memory_wire("P1")

        async def read() -> None:
            with pytest.raises(LineClosedError):
                await software.receive()

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            await asyncio.sleep(1)
            await instrument.close()

    run_in_virtual_time(main())


def test_a_line_has_one_reader() -> None:
    async def main() -> None:
        software, _ = memory_wire("P1")
        async with asyncio.TaskGroup() as group:
            group.create_task(software.receive())
            group.create_task(software.receive())

    with pytest.raises(ExceptionGroup) as caught:
        run_in_virtual_time(main())
    assert caught.group_contains(AssertionError, match="two readers")


def test_who_listens_is_told_of_bytes_and_of_the_end_at_once() -> None:
    async def main() -> None:
        software, instrument = memory_wire("P1")
        heard: list[bytes] = []
        software.listen(lambda: heard.append(software.take()))
        await instrument.send(b"one")
        assert heard == [b"one"], "told without a turn of the loop"
        await instrument.close()
        assert heard == [b"one", b""]
        assert software.closed

    run_in_virtual_time(main())


def test_who_waits_and_who_listens_are_two_readers() -> None:
    async def main() -> None:
        software, _ = memory_wire("P1")
        software.listen(lambda: None)
        with pytest.raises(AssertionError, match="two readers"):
            software.listen(lambda: None)
        with pytest.raises(AssertionError, match="two readers"):
            await software.receive()

    run_in_virtual_time(main())


def test_a_wire_in_memory_is_cheap() -> None:
    """The figure is 97,000 exchanges a second; the limit leaves room for a busy host."""
    count = 5_000

    async def main() -> None:
        software, instrument = memory_wire("P1")

        async def echo() -> None:
            for _ in range(count):
                await instrument.send(await instrument.receive())

        async with asyncio.TaskGroup() as group:
            group.create_task(echo())
            for _ in range(count):
                await software.send(b"?")
                await software.receive()

    began_s = time.perf_counter()
    run_in_virtual_time(main())
    assert count / (time.perf_counter() - began_s) > 10_000
