"""The wall clock, compared with the boot-time clock: its jumps, and since when it is right.

Two things come of it. A jump of more than 2 s is on record with an alarm, and nobody signs
until a person has acknowledged it, since a signature says when it was given. And as soon as the
clock says that it is kept to a reference, the moment is on record from which time is reckoned
across a reboot (``limits``).

It is looked at each second on a loop that real time drives, and on every loop with each event
and before each signature. Follows design section 6, "Reboot", and hazard H12.
"""

from __future__ import annotations

from typing import Final

from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.engine.fold import JUMPED
from orchestrator.engine.limits import contradict, strayed
from orchestrator.engine.state import KnownTime
from orchestrator.journal.events import (
    AlarmAcknowledged,
    AlarmRaised,
    AnyEvent,
    ClockDoubted,
    ClockJumped,
    ClockSynchronised,
    HostStarted,
)
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.quantities import Duration, second

JUMP: Final = 2 * second
"""A wall clock that moves by more than this against the boot-time clock has jumped (H12). A leap
second is less, stepped or smeared."""

BETTER_BY: Final = 1 * second
"""A clock that is kept so much better than it was when last noted is noted again. Set by us."""

LOOK_EVERY: Final = 1 * second
"""Design section 6: at least each second."""


class WallClock:
    """Notes jumps of one host's wall clock, and when it is synchronised."""

    def __init__(self, core: Core, alarms: Alarms) -> None:
        self._core = core
        self._alarms = alarms
        self._is_noting = False

    def at_start(self, version: str, cell: str) -> tuple[AnyEvent, ...]:
        """Return what is recorded as the host starts, its clock's state included."""
        core = self._core
        now, offset = self._now(), core.clock.offset()
        known = core.state.known_times.get(core.clock.boot())
        trusted = offset is not None and not self._is_doubtful(known, now, offset)
        return (
            HostStarted(
                version=version,
                cell=cell,
                synchronised=trusted,
                offset=str(offset) if trusted else "",
            ),
            *self._jumped_while_down(now),
        )

    async def watch(self) -> None:
        """Look each second, for ever."""
        while True:
            await self.look()
            await self._core.sleep(LOOK_EVERY)

    def heard(self, recorded: Recorded[AnyEvent]) -> bool:
        """Return whether an event shows that there is something to look at."""
        shown = KnownTime(recorded.at, recorded.boottime.base, 0)
        if isinstance(recorded.event, AlarmAcknowledged) and recorded.event.alarm == JUMPED:
            return True
        state, clock = self._core.state, self._core.clock
        if self._is_noting or state.wall is None:
            return False
        unnoted = not (
            self._core.can_be_suspended
            or recorded.boot in state.known_times
            or recorded.boot in state.doubted
        )
        return _has_jumped(state.wall, shown) or (unnoted and clock.offset() is not None)

    async def look(self) -> None:
        """Record what the wall clock shows that isn't on record."""
        state = self._core.state
        alarm = state.alarms.get(JUMPED)
        if alarm is not None and alarm.acknowledged_by:
            await self._alarms.clear(JUMPED)
        news = () if self._is_noting else (*self._jumped(self._now()), *self._synchronised())
        if not news:
            return
        self._is_noting = True
        try:
            await self._core.record_for_host(*news)
        finally:
            self._is_noting = False

    async def refuse_to_sign(self, what: str, *, but_time: bool = False) -> None:
        """Go on only if the wall clock may date a signature.

        Args:
            what: What is to be signed.
            but_time: Whether it is the time itself, which makes good that nobody knows it.

        Raises:
            RefusedError: It jumped and nobody acknowledged that, or the host was restarted and
                nobody knows whether its clock is right. Nothing happened.
        """
        await self.look()
        core = self._core
        state, now = core.state, self._now()
        if state.jumped or self._jumped(now):
            raise RefusedError(
                what,
                why="the wall clock jumped, and nobody has acknowledged that since: the signature "
                "would bear a time that nobody vouches for",
                do_next=f"Look at the clock, acknowledge the alarm {JUMPED!r}, and sign again",
            )
        if but_time:
            return
        known = state.known_times.get(core.clock.boot())
        if known is None and len(state.boots) > 1 and state.boot not in state.doubted:
            raise RefusedError(
                what,
                why="the host was restarted and its clock isn't synchronised, so nobody knows "
                "what time it is",
                do_next="Have the clock synchronised, or sign the time (`cellwright time`)",
            )
        if known is not None and known.signed and contradict(known, now):
            raise RefusedError(
                what,
                why=f"the host's clock shows {now.at}, which isn't the time that was signed",
                do_next="Set the host's clock, acknowledge that it jumped, and sign again",
            )

    def _now(self) -> KnownTime:
        clock = self._core.clock
        return KnownTime(clock.utc(), clock.boottime().base, 0)

    def _jumped(self, now: KnownTime) -> tuple[AnyEvent, ...]:
        state = self._core.state
        if state.wall is None or state.boot != self._core.clock.boot():
            return ()
        return _as_jump(strayed(state.wall, now)) if _has_jumped(state.wall, now) else ()

    def _jumped_while_down(self, now: KnownTime) -> tuple[AnyEvent, ...]:
        """Return that the clock jumped since the last event, of this boot or an earlier one.

        Of events from before the first start nothing follows: another clock may have dated them.
        """
        core = self._core
        if core.state.boot in ("", core.clock.boot()):
            return self._jumped(now)
        last = next(core.journal.events(core.state.seq)).at
        back = now.at - last
        return _as_jump(back) if back < Duration.of_base(-JUMP.base) else ()

    def _synchronised(self) -> tuple[AnyEvent, ...]:
        core = self._core
        state, boot, offset = core.state, core.clock.boot(), core.clock.offset()
        if offset is None or state.boot != boot:
            return ()
        known = state.known_times.get(boot)
        if self._is_doubtful(known, self._now(), offset):
            if known is None or known.signed:
                return ()  # a person's word stands, or is asked for already
            return (
                ClockDoubted(
                    why=f"it says that it is off by {offset} at most, and said earlier in this "
                    "boot what doesn't agree with that"
                ),
            )
        if known is not None and known.within_ms - offset.base < BETTER_BY.base:
            return ()
        return (ClockSynchronised(offset=str(offset)),)

    def _is_doubtful(self, known: KnownTime | None, now: KnownTime, offset: Duration) -> bool:
        """Return whether a clock that says it is synchronised can't be believed."""
        if known is None:
            return str(self._core.clock.boot()) in self._core.state.doubted
        return contradict(known, KnownTime(now.at, now.ms, offset.base))


def _has_jumped(wall: KnownTime, now: KnownTime) -> bool:
    return abs(strayed(wall, now).base) > JUMP.base


def _as_jump(by: Duration) -> tuple[AnyEvent, ...]:
    """Return the jump and its alarm, which is raised anew where it stands."""
    way = "back" if by.base < 0 else "on"
    return (
        ClockJumped(by=str(by)),
        AlarmRaised(
            alarm=JUMPED,
            tier="alarm",
            cause=f"the wall clock was set {way} by {Duration.of_base(abs(by.base))}",
            consequence="Nobody can sign; limits and waits go on by the boot-time clock. Records "
            "keep their order, and their times before and after don't compare",
            action="Find out who or what set the clock, see that it is right now, and acknowledge "
            "this",
        ),
    )
