"""A host that was suspended: the loop's clock stood still, the boot-time clock didn't."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.engine.limits import Limits
from orchestrator.engine.state import HostState
from orchestrator.journal.events import LimitStarted
from orchestrator.kernel.quantities import Duration, hour, minute, second
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock
from tests.unit.engine.test_keeping import host

LIMIT = LimitStarted(limit="L", owner="L", maximum="10 min", tier="block", source="test")


async def woken_after(core: Core, folder: Path) -> dict[str, float]:
    """Suspend the host for an hour in all that is timed; return when each woke, in loop time."""
    del folder
    loop = asyncio.get_running_loop()
    woken: dict[str, float] = {}
    limits = Limits(core, Alarms(core))
    watch = asyncio.create_task(limits.watch())
    await core.record_for_host(LIMIT)
    limits.look_again()

    async def sleeper() -> None:
        await core.sleep(30 * minute)
        woken["sleep"] = loop.time()

    async def waiter() -> None:
        await limits.until_ran(core.state.limits["L"].mark, 30 * minute)
        woken["minimum"] = loop.time()

    async def reminded() -> None:
        with core.unless_within(30 * minute, lambda: woken.setdefault("late", loop.time())):
            await asyncio.sleep(2 * 3_600)

    tasks = [asyncio.create_task(one()) for one in (sleeper, waiter, reminded)]
    await asyncio.sleep(60)
    virtual_clock().suspend(1 * hour)
    await core.bells.until("news", lambda: core.state.limits["L"].due)
    woken["limit"] = loop.time()
    await asyncio.wait(tasks)
    watch.cancel()
    return woken


@pytest.mark.requirement("PRC-07")
@pytest.mark.parametrize("looks", [True, False], ids=["looks each second", "planted fault"])
def test_what_ran_out_in_suspend_is_due_at_once_on_wake(tmp_path: Path, looks: bool) -> None:
    async def main() -> dict[str, float]:
        async with host(tmp_path, HostState()) as core:
            core.can_be_suspended = looks
            return await woken_after(core, tmp_path)

    woken = run_in_virtual_time(main())
    assert set(woken) == {"sleep", "minimum", "late", "limit"}
    on_time = {what for what, at_s in woken.items() if at_s <= 60 + 1.01}
    assert on_time == (set(woken) if looks else set())


def test_a_limit_is_due_no_later_than_its_maximum_in_suspend_or_not(tmp_path: Path) -> None:
    async def main() -> Duration:
        async with host(tmp_path, HostState()) as core:
            limits = Limits(core, Alarms(core))
            watch = asyncio.create_task(limits.watch())
            await core.record_for_host(LIMIT)
            limits.look_again()
            await core.bells.until("news", lambda: core.state.limits["L"].due)
            watch.cancel()
            return core.clock.boottime()

    assert 10 * minute - 1 * second < run_in_virtual_time(main()) <= 10 * minute
