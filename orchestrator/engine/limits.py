"""Every clock of the cell: started, due and ended as events, watched by one sleeper.

The arithmetic of elapsed time stands here and nowhere else, and it is always an interval: a
maximum uses its upper end, a minimum its lower. Within one boot it is a difference of boot-time
clocks, each read to a millisecond. Across boots it rests on a moment in each of the two boots
at which the time was known (``KnownTime``): what lies between those is a difference of UTC,
less and plus what both clocks may have been off and a leap second; the rest is boot time. What
the wall clock shows at other moments counts for nothing.

Where one of the boots has no such moment, nobody knows how long it was. Its clock wasn't
synchronised, and a person signs a time (``unknown_time``).

Follows design section 6, "One limit" and "Reboot".
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import TIME_KNOWN, Core
from orchestrator.engine.state import HostState, KnownTime, LimitState, Mark
from orchestrator.journal.events import AlarmRaised, LimitDue, LimitEnded
from orchestrator.kernel.identifiers import BatchId
from orchestrator.kernel.instants import Clock
from orchestrator.kernel.quantities import Duration, Range

TICK_MS: Final = 1
"""Boot-time clocks are read to a millisecond."""

WHY_UNKNOWN: Final = "the host was restarted, and a clock wasn't synchronised"
"""Why nobody knows how long something has run."""

LEAP_MS: Final = 1_000
"""UTC may leave out a second between two moments, or count one twice."""

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
        return (LimitEnded(limit=name, used=used(limit, self._core.state, self._core.clock)),)

    async def cleared(self, name: str) -> None:
        """Clear the alarm of a clock that has ended."""
        await self._alarms.clear(f"limit {name}")

    def look_again(self) -> None:
        """Have the watch look at what runs now."""
        self._changed.set()

    async def until_ran(self, mark: Mark, minimum: Duration) -> None:
        """Return once ``minimum`` has surely gone by since ``mark``.

        Where nobody knows what went before this boot, this boot's own time is sure.
        """
        while True:
            ran = self.ran_since(mark)
            sure = self._core.clock.boottime() if ran is None else ran.lowest
            left_ms = minimum.base - sure.base
            if left_ms <= 0:
                return
            await self._sleep_or_known(left_ms, mark, is_known=ran is not None)

    async def until_run_out(self, mark: Mark, maximum: Duration) -> None:
        """Return as soon as ``maximum`` may have gone by since ``mark``.

        While nobody knows, it is waited until a time is known.
        """
        while True:
            ran = self.ran_since(mark)
            if ran is None:
                await self._core.bells.until(TIME_KNOWN, lambda: self.ran_since(mark) is not None)
                continue
            left_ms = maximum.base - ran.highest.base
            if left_ms <= 0:
                return
            await self._core.sleep(Duration.of_base(left_ms))

    async def _sleep_or_known(self, left_ms: int, mark: Mark, *, is_known: bool) -> None:
        """Sleep; where the time isn't known, wake as soon as it is, or to look again."""
        if is_known:
            await self._core.sleep(Duration.of_base(left_ms))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._core.nap_s(left_ms)):
                await self._core.bells.until(TIME_KNOWN, lambda: self.ran_since(mark) is not None)

    def ran_since(self, mark: Mark) -> Range[Duration] | None:
        """Return how long it is since ``mark``, at least and at most; None if nobody knows."""
        return ran_since(mark, self._core.state, self._core.clock)

    def left(self, limit: LimitState) -> Duration:
        """Return how much of a maximum is surely left; none where nobody knows."""
        return left(limit, self._core.state, self._core.clock)

    async def watch(self) -> None:
        """Sleep to the earliest due limit, for ever, and say when one runs out."""
        while True:
            self._changed.clear()
            running = [
                (self.left(limit).base, name)
                for name, limit in self._core.state.limits.items()
                if not limit.due and limit.maximum and self.ran_since(limit.mark) is not None
            ]
            if not running:
                await self._changed.wait()
                continue
            left_ms, name = min(running)
            if left_ms <= 0:
                await self._run_out(name)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._core.nap_s(left_ms)):
                    await self._changed.wait()

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


def ran_since(mark: Mark, state: HostState, clock: Clock) -> Range[Duration] | None:
    """Return how long it is since ``mark``, at least and at most; None where nobody knows.

    In one boot it is 2 ms wide. Across boots it is as wide as what both boots' clocks were
    said to be off, each either way, and 2 s.
    """
    now_ms = clock.boottime().base
    boot = str(clock.boot())
    if mark.boot == boot:
        ran_ms = now_ms - mark.ms
        return _between(max(0, ran_ms - TICK_MS), ran_ms + TICK_MS)
    then, now = state.known_times.get(mark.boot), state.known_times.get(boot)
    if then is None or now is None:
        return None
    apart_ms = (now.at.micros - then.at.micros) // 1_000
    ran_ms = (then.ms - mark.ms) + apart_ms + (now_ms - now.ms)
    doubt_ms = then.within_ms + now.within_ms + LEAP_MS
    if ran_ms + doubt_ms < now_ms:
        return None  # this boot alone is longer: one of both times was wrong
    return _between(max(now_ms, ran_ms - doubt_ms), ran_ms + doubt_ms)


def left(limit: LimitState, state: HostState, clock: Clock) -> Duration:
    """Return how much of a limit's maximum is surely left; none where nobody knows."""
    ran = ran_since(limit.mark, state, clock)
    if ran is None:
        return Duration.of_base(0)
    return Duration.read(limit.maximum) - ran.highest


def used(limit: LimitState, state: HostState, clock: Clock) -> str:
    """Return how much of a limit was used, as the record says it.

    In one boot that is what its clock says, to the millisecond; across boots, what it may be
    at most.
    """
    ran = ran_since(limit.mark, state, clock)
    if ran is None:
        return "unknown"
    if limit.mark.boot == str(clock.boot()):
        return str(ran.highest - Duration.of_base(TICK_MS))
    return str(ran.highest)


def note_time(state: HostState, clock: Clock) -> None:
    """Note in ``state`` when the time of this boot was known, if ``clock`` is right and none is.

    For who reads a journal while no daemon has recorded it: the host may have been restarted.
    """
    boot, offset = str(clock.boot()), clock.offset()
    if offset is not None and boot not in state.known_times and boot not in state.doubted:
        state.known_times[boot] = KnownTime(clock.utc(), clock.boottime().base, offset.base)


def contradict(known: KnownTime, shown: KnownTime) -> bool:
    """Return whether two moments of one boot can't both have been as their clock said."""
    apart_ms = abs((shown.at.micros - known.at.micros) // 1_000 - (shown.ms - known.ms))
    return apart_ms > known.within_ms + shown.within_ms + LEAP_MS


def strayed(shown: KnownTime, now: KnownTime) -> Duration:
    """Return how far the wall clock was set on since then; back if negative. Both are of a boot."""
    apart_us = (now.at.micros - shown.at.micros) - (now.ms - shown.ms) * 1_000
    return Duration.of_base(round(apart_us / 1_000))


def _between(lowest_ms: int, highest_ms: int) -> Range[Duration]:
    return Range(lowest=Duration.of_base(lowest_ms), highest=Duration.of_base(highest_ms))
