"""A maximum counts by the longest that may have gone by, a minimum by the shortest.

Expected, by hand: the other boot's time was known 60 s ago, within 300 ms; so is this one's.
With a leap second what has run since is 60 s less or more 1.6 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.engine.limits import Limits
from orchestrator.engine.state import HostState, KnownTime, LimitState, Mark
from orchestrator.kernel.quantities import Duration, minute, ms, second
from orchestrator.virtual_time import run_in_virtual_time
from tests.unit.engine.test_keeping import host

OTHER_BOOT = "11111111-1111-4111-8111-111111111111"
MARK = Mark(OTHER_BOOT, 1_000)
AGO, WITHIN_MS = 60 * second, 300
LONGEST, SHORTEST = 61_600 * ms, 58_400 * ms
LIMIT = 10 * minute


def _across_boots(core: Core) -> Limits:
    now = core.clock.utc()
    then = now + (-1) * AGO
    here = core.clock.boottime().base
    core.state.known_times[OTHER_BOOT] = KnownTime(then, MARK.ms, WITHIN_MS)
    core.state.known_times[str(core.clock.boot())] = KnownTime(now, here, WITHIN_MS)
    return Limits(core, Alarms(core))


def _slept(folder: Path, wait: Callable[[Limits], Awaitable[None]]) -> Duration:
    async def main() -> Duration:
        async with host(folder, HostState()) as core:
            limits = _across_boots(core)
            began_s = asyncio.get_running_loop().time()
            await wait(limits)
            return round((asyncio.get_running_loop().time() - began_s) * 1_000) * ms

    return run_in_virtual_time(main())


@pytest.mark.requirement("PRC-07")
def test_a_maximum_has_left_what_is_left_of_the_longest_that_may_have_run(tmp_path: Path) -> None:
    async def main() -> Duration:
        async with host(tmp_path, HostState()) as core:
            limits = _across_boots(core)
            return limits.left(
                LimitState(
                    owner="L",
                    batch="",
                    minimum="",
                    maximum=str(LIMIT),
                    tier="block",
                    source="test",
                    mark=MARK,
                    started_at=core.clock.utc(),
                )
            )

    assert run_in_virtual_time(main()) == LIMIT - LONGEST


@pytest.mark.requirement("PRC-07")
def test_a_maximum_runs_out_at_the_earliest_that_it_may_have(tmp_path: Path) -> None:
    slept = _slept(tmp_path, lambda limits: limits.until_run_out(MARK, LIMIT))
    assert slept == LIMIT - LONGEST


@pytest.mark.requirement("PRC-07")
def test_a_minimum_has_run_when_it_surely_has(tmp_path: Path) -> None:
    slept = _slept(tmp_path, lambda limits: limits.until_ran(MARK, LIMIT))
    assert slept == LIMIT - SHORTEST
