"""Virtual time: asyncio's own words work, days pass in no time, and a stuck run says so.

Method: small programs on ``run_in_virtual_time``, judged by the loop's time and by order.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest

from orchestrator.kernel.identifiers import BootId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, day, hour, ms, second
from orchestrator.virtual_time import (
    StuckError,
    VirtualTimeLoop,
    run_in_virtual_time,
    standing_still,
    virtual_clock,
)

MONDAY = Instant.read("2026-11-23T08:00:00.000000Z")
OTHER_BOOT = BootId("00000000-0000-4000-8000-0000000000aa")


def now_s() -> float:
    return asyncio.get_running_loop().time()


def test_twelve_days_pass_at_once() -> None:
    async def wait() -> tuple[Instant, Duration]:
        await asyncio.sleep(12 * 86_400)
        clock = virtual_clock()
        return clock.utc(), clock.boottime()

    began_s = time.monotonic()
    utc, boottime = run_in_virtual_time(wait(), start=MONDAY)
    assert time.monotonic() - began_s < 1
    assert utc == MONDAY + 12 * day
    assert boottime == 12 * day


def test_tasks_wake_in_the_order_of_their_times_and_then_of_their_asking() -> None:
    woke: list[str] = []

    async def sleeper(name: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        woke.append(f"{name} {now_s():g}")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for name, delay_s in (("late", 3), ("b", 2), ("a", 1), ("also b", 2)):
                group.create_task(sleeper(name, delay_s))

    run_in_virtual_time(main())
    assert woke == ["a 1", "b 2", "also b 2", "late 3"]


def test_a_timeout_ends_a_wait_at_its_moment() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.25):
                await asyncio.get_running_loop().create_future()
        return now_s()

    assert run_in_virtual_time(main()) == 0.25


def test_time_stays_on_whole_microseconds_whatever_is_added_up() -> None:
    async def main() -> tuple[int, Duration]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        for _ in range(10):
            await asyncio.sleep(0.1)
        return loop.time_us, virtual_clock().boottime()

    assert run_in_virtual_time(main()) == (1_000_000, 1 * second)


def test_a_timer_is_never_seen_before_its_time() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(3_000 * 86_400)
        for step in range(1, 200):
            due_s = loop.time() + step * 0.001_237
            await asyncio.sleep(due_s - loop.time())
            assert loop.time() >= due_s - 1e-6

    run_in_virtual_time(main())


@pytest.mark.leaves_tasks("a stuck run is given up as it stands")
def test_a_stuck_run_names_its_tasks_and_where_they_wait() -> None:
    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(never(), name="reader of P1")

    with pytest.raises(StuckError, match=r"stuck: no timer is set.*reader of P1 in .*never"):
        run_in_virtual_time(main())


def test_an_exception_in_a_callback_is_raised_at_the_end() -> None:
    def fail() -> None:
        raise ValueError("in a callback")

    async def main() -> None:
        asyncio.get_running_loop().call_later(1, fail)
        await asyncio.sleep(2)

    with pytest.raises(ValueError, match="in a callback"):
        run_in_virtual_time(main())


def test_work_in_a_thread_takes_no_virtual_time() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(asyncio.sleep(3_600))
            await loop.run_in_executor(None, time.sleep, 0.02)
            at_s = loop.time()
            ticking.cancel()
        return at_s

    assert run_in_virtual_time(main()) == 0


def test_time_stands_still_while_something_real_is_awaited() -> None:
    async def main() -> tuple[float, bytes]:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        came: asyncio.Future[bytes] = loop.create_future()
        loop.add_reader(reading, lambda: came.done() or came.set_result(os.read(reading, 10)))
        try:
            async with asyncio.TaskGroup() as group:
                ticking = group.create_task(asyncio.sleep(3_600))
                asked = threading.Timer(0.02, os.write, (writing, b"done"))
                asked.start()
                with standing_still():
                    answer = await came
                at_s = loop.time()
                ticking.cancel()
            asked.join()
        finally:
            loop.remove_reader(reading)
            os.close(reading)
            os.close(writing)
        return at_s, answer

    assert run_in_virtual_time(main()) == (0, b"done")


def test_a_reboot_restarts_boot_time_and_a_step_moves_only_the_wall_clock() -> None:
    async def main() -> None:
        clock = virtual_clock()
        await asyncio.sleep(3_600)
        clock.reboot(OTHER_BOOT)
        clock.step(-1 * hour)
        await asyncio.sleep(0.5)
        assert clock.utc() == MONDAY + 500 * ms
        assert clock.boottime() == 500 * ms
        assert clock.boot() == OTHER_BOOT
        assert clock.offset() == Duration.of_base(0)
        clock.stated_offset = 3 * ms
        assert clock.offset() == 3 * ms
        clock.is_synchronised = False
        assert clock.offset() is None

    run_in_virtual_time(main(), start=MONDAY)


def test_in_suspend_time_goes_on_while_the_loop_stands() -> None:
    async def main() -> None:
        clock, loop = virtual_clock(), asyncio.get_running_loop()
        await asyncio.sleep(1)
        clock.suspend(1 * hour)
        assert (clock.utc(), clock.boottime()) == (MONDAY + 3_601_000 * ms, 3_601_000 * ms)
        assert loop.time() == 1

    run_in_virtual_time(main(), start=MONDAY)


def test_two_runs_of_the_same_program_are_the_same_to_the_last_microsecond() -> None:
    async def main() -> list[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        seen: list[tuple[str, int]] = []

        async def tick(name: str, every_s: float) -> None:
            for _ in range(50):
                await asyncio.sleep(every_s)
                seen.append((name, loop.time_us))

        async with asyncio.TaskGroup() as group:
            for index in range(20):
                group.create_task(tick(f"t{index}", 0.1 + index / 7))
        return seen

    assert run_in_virtual_time(main()) == run_in_virtual_time(main())
