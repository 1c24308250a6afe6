"""Elapsed time over clock jumps, reboots, suspends and leap seconds (H12).

A model host has a true time that nobody reads, and clocks that show it more or less: a wall
clock that somebody sets by up to ten years, that is synchronised for a while and says how well,
that comes up in 1970; a boot-time clock that starts anew. Its journal rows are folded by the
engine's own fold, its clock is looked at by the engine's own ``WallClock``. After each step what
the engine takes for the time since a limit began is held against the truth.

Each property has its planted faults, which the same histories must find.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from orchestrator.engine.fold import fold
from orchestrator.engine.limits import ran_since
from orchestrator.engine.state import HostState, Mark
from orchestrator.engine.wall_clock import WallClock
from orchestrator.journal.events import AnyEvent, LimitStarted, Signed, TimeSigned
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.identifiers import BootId, UserId
from orchestrator.kernel.instants import Clock, Instant
from orchestrator.kernel.quantities import Duration, Range, day, minute, second

HISTORIES: Final = 1_000
STEPS: Final = 16
YEARS_US: Final = 10 * 365 * 86_400 * 1_000_000
DAY_US: Final = 86_400 * 1_000_000
MONDAY: Final = Instant.read("2026-01-05T07:00:00.000000Z").micros

RanSince = Callable[[Mark, HostState, Clock], Range[Duration] | None]


@dataclass
class Host:
    """A host whose true time is known to the test alone. Implements ``Clock``."""

    chance: random.Random
    true_us: int = 0
    """Real time since the beginning of the history."""
    leap_us: int = 0
    """What UTC counts twice: a leap second was inserted."""
    off_us: int = 0
    """How far the wall clock is from UTC."""
    stated: Duration | None = None
    """What who keeps the wall clock says it may be off."""
    booted_us: int = -5_000_000
    boots: int = 1
    events: list[Recorded[AnyEvent]] = field(default_factory=list[Recorded[AnyEvent]])
    state: HostState = field(default_factory=HostState)
    vouched: set[str] = field(default_factory=set[str])
    """Boots of which somebody could say the time."""

    @property
    def real_utc_us(self) -> int:
        """What a perfect clock shows."""
        return MONDAY + self.true_us - self.leap_us

    def utc(self) -> Instant:
        return Instant.of_micros(self.real_utc_us + self.off_us)

    def boottime(self) -> Duration:
        return Duration.of_base((self.true_us - self.booted_us) // 1_000)

    def boot(self) -> BootId:
        return BootId(f"boot-{self.boots}")

    def offset(self) -> Duration | None:
        return self.stated

    def records(self, *events: AnyEvent) -> None:
        for event in events:
            seq = self.state.seq + 1
            row = Recorded(seq, self.utc(), self.boot(), self.boottime(), "host", event)
            self.events.append(row)
            fold(self.state, row)
        assert not self.state.unfolded

    # What the engine's WallClock needs of it

    async def record_for_host(self, *events: AnyEvent) -> int:
        self.records(*events)
        return self.state.seq

    def events_from(self, seq: int) -> Iterator[Recorded[AnyEvent]]:
        return iter(self.events[seq - 1 :])

    def wall_clock(self) -> WallClock:
        core = SimpleNamespace(
            state=self.state,
            clock=self,
            can_be_suspended=True,
            record_for_host=self.record_for_host,
            journal=SimpleNamespace(events=self.events_from),
        )
        return WallClock(cast("Any", core), cast("Any", SimpleNamespace()))

    def starts(self) -> None:
        self.records(*self.wall_clock().at_start("1", "0" * 64))
        self.looks()

    def looks(self) -> None:
        if self.stated is not None:
            self.vouched.add(self.boot())
        finished(self.wall_clock().look())

    # What happens to it

    def goes_on(self) -> None:
        self.true_us += self.chance.randrange(0, 3 * DAY_US)

    def suspends(self) -> None:
        self.true_us += self.chance.randrange(0, DAY_US)

    def jumps(self) -> None:
        """Somebody sets the wall clock, and the kernel calls it unsynchronised from then on."""
        self.off_us += self.chance.randrange(-YEARS_US, YEARS_US)
        self.stated = None

    def is_synchronised(self) -> None:
        """The clock is kept again: it is right but for what it states, read to a millisecond."""
        error_ms = self.chance.choice((0, 5, 300, 4_000))
        self.off_us = self.chance.randrange(-error_ms * 1_000, error_ms * 1_000 + 1)
        self.stated = Duration.of_base(error_ms + 2)

    def is_lost(self) -> None:
        self.stated = None

    def leaps(self) -> None:
        """A leap second is inserted, once: UTC shows a second twice."""
        if not self.leap_us:
            self.leap_us = 1_000_000

    def reboots(self) -> None:
        """Power is gone for a while. The clock comes up right, wrong by years or in 1970."""
        self.true_us += self.chance.randrange(0, 2 * DAY_US)
        self.booted_us = self.true_us
        self.boots += 1
        self.true_us += self.chance.randrange(1_000_000, 90_000_000)
        way = self.chance.randrange(4)
        if way == 0:
            self.is_synchronised()
        elif way == 1:
            self.off_us, self.stated = -self.real_utc_us, None
        elif way == 2:
            self.jumps()
        else:
            self.stated = None
        self.starts()

    def is_told(self) -> None:
        """A person signs what time it is, as well as they know it."""
        known = self.state.known_times.get(self.boot())
        if known is not None and not known.signed:
            return
        self.vouched.add(self.boot())
        error_us = self.chance.randrange(-60_000_000, 60_000_000)
        self.records(
            TimeSigned(
                time=Instant.of_micros(self.real_utc_us + error_us),
                within=str(minute_and_a_bit()),
                boot=self.boot(),
                boottime=self.boottime().base,
                signature=SIGNATURE,
            )
        )


def minute_and_a_bit() -> Duration:
    """A person's word is good to a minute; the bit is our reading of the clocks."""
    return Duration.of_base((1 * minute).base + 2)


SIGNATURE: Final = Signed(
    signer=UserId("U-0001"),
    printed_name="A",
    meaning="performed",
    signed_digest="0" * 64,
    signed_at=Instant.of_micros(MONDAY),
)


def finished(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run what never waits."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


def limit_started() -> LimitStarted:
    return LimitStarted(limit="L", owner="L", maximum=str(30 * day), tier="block", source="test")


def findings(seed: int, ran: RanSince, met: dict[str, int]) -> Iterator[str]:
    """Live through one history; yield where the engine's time and the truth disagree."""
    chance = random.Random(seed)
    host = Host(chance)
    if chance.random() < 0.7:
        host.is_synchronised()
    host.starts()
    host.goes_on()
    host.looks()
    host.records(limit_started())
    began_us, mark = host.true_us, host.state.limits["L"].mark
    steps = (
        host.goes_on, host.suspends, host.jumps, host.is_synchronised, host.is_lost, host.leaps,
        host.reboots, host.is_told,
    )  # fmt: skip
    for number in range(STEPS):
        step = chance.choice(steps)
        step()
        host.looks()
        met[step.__name__] = met.get(step.__name__, 0) + 1
        where = f"seed {seed}, step {number} ({step.__name__})"
        yield from disagreements(host, mark, host.true_us - began_us, ran, where, met)


def disagreements(
    host: Host, mark: Mark, truth_us: int, ran: RanSince, where: str, met: dict[str, int]
) -> Iterator[str]:
    known, now = host.state.known_times, str(host.boot())
    found = ran(mark, host.state, host)
    met["known" if found is not None else "unknown"] = (
        met.get("known" if found is not None else "unknown", 0) + 1
    )
    if found is None:
        if mark.boot == now or {mark.boot, now} <= host.vouched:
            yield f"{where}: nobody knows the time, and its clocks were synchronised"
        return
    if mark.boot != now and not {mark.boot, now} <= host.vouched:
        yield f"{where}: the time is known, and nobody vouched for a clock"
    if found.highest.base * 1_000 < truth_us:
        yield f"{where}: a maximum of {found.highest} is shorter than real, {truth_us} us"
    if found.lowest.base * 1_000 > truth_us:
        yield f"{where}: a minimum of {found.lowest} is longer than real, {truth_us} us"
    width = found.highest - found.lowest
    if mark.boot == now:
        stated_ms, most = 0, 1 * second
    else:
        stated_ms, most = 2 * (known[mark.boot].within_ms + known[now].within_ms), 2 * second
    if width.base > stated_ms + most.base:
        yield f"{where}: the interval is {width} wide, {stated_ms} ms stated"


def all_findings(ran: RanSince, met: dict[str, int] | None = None) -> list[str]:
    met = {} if met is None else met
    return [one for seed in range(HISTORIES) for one in findings(seed, ran, met)]


@pytest.mark.requirement("DIC-06")
def test_elapsed_time_holds_the_real_time_over_jumps_reboots_and_suspends() -> None:
    met: dict[str, int] = {}
    found = all_findings(ran_since, met)
    print(met)
    assert not found, found[:5]
    for what in ("jumps", "reboots", "suspends", "leaps", "is_told"):
        assert met[what] > 1_000, f"too few histories have {what}: {met}"
    assert met["known"] > 2 * met["unknown"] > 1_000, met


def by_the_wall_clock(mark: Mark, state: HostState, clock: Clock) -> Range[Duration] | None:
    """A planted fault: the time since is a difference of wall clocks."""
    ran = clock.utc() - state.limits["L"].started_at
    return Range(ran, ran)


def in_the_middle(mark: Mark, state: HostState, clock: Clock) -> Range[Duration] | None:
    """A planted fault: the interval is taken for its middle."""
    ran = ran_since(mark, state, clock)
    if ran is None:
        return None
    middle = Duration.of_base((ran.lowest.base + ran.highest.base) // 2)
    return Range(middle, middle)


def by_one_boots_offset(mark: Mark, state: HostState, clock: Clock) -> Range[Duration] | None:
    """A planted fault: only the present clock's offset counts, with no leap second."""
    ran, known = ran_since(mark, state, clock), state.known_times.get(mark.boot)
    if ran is None or known is None or mark.boot == str(clock.boot()):
        return ran
    less = Duration.of_base(known.within_ms + 1_000)
    lowest = ran.lowest + less
    return Range(lowest, max(lowest, ran.highest - less))


def whatever_is_known(mark: Mark, state: HostState, clock: Clock) -> Range[Duration] | None:
    """A planted fault: what isn't known is taken to be no time at all."""
    return ran_since(mark, state, clock) or Range(Duration.of_base(0), Duration.of_base(0))


def never_known(mark: Mark, state: HostState, clock: Clock) -> Range[Duration] | None:
    """A planted fault: every reboot asks a person."""
    return ran_since(mark, state, clock) if mark.boot == str(clock.boot()) else None


@pytest.mark.parametrize(
    ("planted", "as_"),
    [
        (by_the_wall_clock, "shorter than real"),
        (in_the_middle, "longer than real"),
        (by_one_boots_offset, "shorter than real"),
        (whatever_is_known, "nobody vouched"),
        (never_known, "its clocks were synchronised"),
    ],
)
def test_a_planted_fault_is_found(planted: RanSince, as_: str) -> None:
    met: dict[str, int] = {}
    found = (one for seed in range(200) for one in findings(seed, planted, met))
    print(next(one for one in found if as_ in one))


def test_a_clock_that_contradicts_itself_is_believed_no_more_until_a_person_signs() -> None:
    host = Host(random.Random(1))
    host.is_synchronised()
    host.starts()
    host.records(limit_started())
    mark = host.state.limits["L"].mark
    host.off_us = 3_600_000_000  # and it says all the while that it is kept
    host.looks()
    kinds = [one.event.kind for one in host.events]
    assert kinds[-3:] == ["clock_jumped", "alarm_raised", "clock_doubted"]
    host.looks()
    assert len(host.events) == len(kinds), "the same is recorded once"
    host.off_us, host.booted_us, host.boots = 0, host.true_us, 2
    host.starts()
    assert ran_since(mark, host.state, host) is None
