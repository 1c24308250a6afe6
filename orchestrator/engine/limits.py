"""Every clock of the cell: started, due and ended as events, watched by one sleeper.

The arithmetic of elapsed time stands here and nowhere else. Within one boot it is a
difference of boot-time clocks. Across boots it is an interval, from the difference of
synchronised UTC less and plus what a clock may be off; a maximum uses its upper end.
Where the clock was not synchronised it isn't known, and the limit counts as due until a
person signs a time.

Follows design section 6, "One limit" and "Reboot".
"""

from __future__ import annotations

import asyncio
from typing import Final

from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.engine.state import LimitState
from orchestrator.journal.events import AlarmRaised, LimitDue, LimitEnded
from orchestrator.kernel.identifiers import BatchId
from orchestrator.kernel.instants import Clock
from orchestrator.kernel.quantities import Duration, Range, second

UTC_ERROR: Final = 2 * second
"""What two synchronised clocks may differ by. Set by site (hazards H12: jumps over 2 s)."""

WITNESS: Final = "witness"
"""The clock of a journal without its witness; also the name of its alarm."""

_OF_MATERIAL: Final = (
    "The material is beyond the time that was shown to be safe",
    "Finish the step, or have quality decide",
)

_OF_WITNESS: Final = (
    "No new batch is started; those that run go on",
    "Bring the witness back; what waited for it can be started then",
)


class Limits:
    """Starts, watches and ends the limits of one host."""

    def __init__(self, core: Core, alarms: Alarms) -> None:
        self._core = core
        self._alarms = alarms
        self._changed = asyncio.Event()

    def ended(self, name: str) -> tuple[LimitEnded, ...]:
        """Return the event that ends a clock, if it runs: what it was for has come."""
        limit = self._core.state.limits.get(name)
        if limit is None:
            return ()
        used = self.elapsed(limit)
        return (LimitEnded(limit=name, used="unknown" if used is None else str(used.highest)),)

    async def cleared(self, name: str) -> None:
        """Clear the alarm of a clock that has ended."""
        await self._alarms.clear(f"limit {name}")

    def look_again(self) -> None:
        """Have the watch look at what runs now."""
        self._changed.set()

    async def until_minimum(self, limit: LimitState, minimum: Duration) -> None:
        """Return once a clock has surely run for ``minimum``."""
        while True:
            ran = self.elapsed(limit)
            if ran is None:
                # nobody knows what went before; the clock of this boot is sure
                await self._core.sleep(minimum)
                return
            left = minimum.base - ran.lowest.base
            if left <= 0:
                return
            await self._core.sleep(Duration.of_base(left))

    def elapsed(self, limit: LimitState) -> Range[Duration] | None:
        """Return how long a clock has run, at least and at most; None where nobody knows."""
        return elapsed(limit, self._core.clock)

    def left(self, limit: LimitState) -> Duration:
        """Return how much of a maximum is surely left; none where nobody knows."""
        return left(limit, self._core.clock)

    async def watch(self) -> None:
        """Sleep to the earliest due limit, for ever, and say when one runs out."""
        while True:
            self._changed.clear()
            running = [
                (self.left(limit).base, name)
                for name, limit in self._core.state.limits.items()
                if not limit.due and limit.maximum
            ]
            if not running:
                await self._changed.wait()
                continue
            left_ms, name = min(running)
            if left_ms <= 0:
                await self._run_out(name)
                continue
            await self._sleep(left_ms / 1000)

    async def _sleep(self, left_s: float) -> None:
        within_s = min(left_s, 1.0) if self._core.can_be_suspended else left_s
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _run_out(self, name: str) -> None:
        limit = self._core.state.limits[name]
        consequence, action = _OF_WITNESS if name == WITNESS else _OF_MATERIAL
        await self._core.record_for_host(
            LimitDue(limit=name),
            AlarmRaised(
                alarm=f"limit {name}",
                tier="block" if limit.tier == "block" else "alarm",
                cause=f"{name}: {limit.maximum} has run out ({limit.source})",
                consequence=consequence,
                action=action,
                batch=BatchId(limit.batch) if limit.batch else None,
            ),
        )


def elapsed(limit: LimitState, clock: Clock) -> Range[Duration] | None:
    """Return how long a limit's clock has run, at least and at most; None where nobody knows."""
    if limit.boot == str(clock.boot()):
        ran = Duration.of_base(clock.boottime().base - limit.started_boottime_ms)
        return Range(lowest=ran, highest=ran)
    if not (limit.synchronised and clock.synchronised()):
        return None
    ran = clock.utc() - limit.started_at
    none = Duration.of_base(0)
    return Range(lowest=max(none, ran - UTC_ERROR), highest=max(none, ran + UTC_ERROR))


def left(limit: LimitState, clock: Clock) -> Duration:
    """Return how much of a limit's maximum is surely left; none where nobody knows."""
    ran = elapsed(limit, clock)
    if ran is None:
        return Duration.of_base(0)
    return Duration.read(limit.maximum) - ran.highest
