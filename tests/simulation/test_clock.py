"""The thin path under clocks that jump, hosts that reboot and a wall clock nobody vouches for.

A limit runs from the kit's check to the end of the transfer. The software dies in it, the host
is started anew, and the room goes on. Judged by what is in which bag, and by the record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.cli.status import page_of_all, read_known
from orchestrator.engine.engine import Engine
from orchestrator.engine.fold import JUMPED
from orchestrator.engine.holds import TIME_UNKNOWN
from orchestrator.engine.phase_state import PhaseState
from orchestrator.journal.events import (
    EVENTS,
    AlarmRaised,
    AnyEvent,
    BatchEnded,
    ClockJumped,
    DeviationOpened,
    LimitDue,
    LimitEnded,
    TimeSigned,
)
from orchestrator.journal.journal import Recorded, read_events
from orchestrator.kernel.errors import IllegalTransitionError, RefusedError
from orchestrator.kernel.identifiers import BootId
from orchestrator.kernel.quantities import Duration, day, hour, minute, mL, ms, second
from orchestrator.people.signatures import faults
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.recipe.model import Lag, Moment, Recipe, Tier
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock
from tests.simulation.thin import (
    BATCH,
    KIT,
    TRANSFERRED,
    begin,
    thin_cell,
    thin_recipe,
)

NEXT_BOOT = BootId("00000000-0000-4000-8000-0000000000bb")
LIMIT = f"{BATCH}/out of the cold"
DEAD = 20 * minute
RESTS = (PhaseState.HOLDING, PhaseState.HELD)
"""At rest, or as soon as the weld in hand is verified: that is signed, and waits for the time."""

pytestmark = pytest.mark.leaves_tasks("a crash drops tasks on purpose")


def recipe_with_a_limit(maximum: Duration = 3 * hour) -> Recipe:
    limit = Lag(
        name="out of the cold",
        from_event=Moment(path="move/once/01-verify", edge="end"),
        to_event=Moment(path="move/once/03-transfer", edge="end"),
        maximum=maximum,
        tier=Tier.BLOCK,
        source="set by site",
    )
    return Recipe.written(thin_recipe().model_copy(update={"lags": (limit,)}))


async def die_in_the_limit(cell: EmulatedCell, maximum: Duration = 3 * hour) -> None:
    """Run until a while after the limit started, and die; the room goes on for ``DEAD``."""
    async with cell.engine() as engine:
        await begin(engine, recipe_with_a_limit(maximum))
        await engine.core.bells.until("news", lambda: LIMIT in engine.core.state.limits)
        await engine.core.sleep(30 * second)
    await asyncio.sleep(DEAD.to(second))


async def to_the_end(engine: Engine) -> None:
    await engine.ended(BATCH)
    assert engine.core.state.batches[BATCH].status == "complete"


def assert_moved_once(cell: EmulatedCell) -> None:
    vessel = cell.world.contents(f"{KIT}/vessel").volume_mL
    assert vessel == pytest.approx(TRANSFERRED.to(mL), abs=0.5)


def events_of(cell: EmulatedCell) -> list[Recorded[AnyEvent]]:
    return list(read_events(cell.journal_path, EVENTS))


@pytest.mark.requirement("PRC-07")
@pytest.mark.parametrize("stated", [0 * ms, 700 * ms])
def test_a_limit_runs_on_over_a_reboot_with_synchronised_clocks(
    tmp_path: Path, stated: Duration
) -> None:
    async def story() -> None:
        clock, loop = virtual_clock(), asyncio.get_running_loop()
        clock.stated_offset = stated
        async with thin_cell(tmp_path) as cell:
            await die_in_the_limit(cell)
            clock.reboot(NEXT_BOOT)
            clock.step(stated)  # as far off as it says
            async with cell.engine() as engine:
                await engine.core.bells.until("news", lambda: LIMIT not in engine.core.state.limits)
                ended_s = loop.time()
                await to_the_end(engine)
                assert not engine.core.state.alarms
            assert_moved_once(cell)
            events = events_of(cell)
        (started,) = [one for one in events if one.event.kind == "limit_started"]
        (ended,) = [one for one in events if isinstance(one.event, LimitEnded)]
        assert isinstance(ended.event, LimitEnded)
        real_ms = round(ended_s * 1_000) - started.boottime.base
        used_ms = Duration.read(ended.event.used).base
        assert real_ms <= used_ms <= real_ms + 4 * stated.base + 2_000
        assert started.boot != ended.boot

    run_in_virtual_time(story())


async def held(engine: Engine) -> None:
    state = engine.core.state
    await engine.core.bells.until(
        "news", lambda: state.batches[BATCH].procedures["move"].state in RESTS
    )


@pytest.mark.requirement("PRC-07")
def test_nobody_knows_the_time_until_a_person_signs_it(tmp_path: Path) -> None:
    async def story() -> None:
        clock = virtual_clock()
        async with thin_cell(tmp_path) as cell:
            await die_in_the_limit(cell)
            clock.reboot(NEXT_BOOT)
            real = clock.utc()
            clock.is_synchronised = False
            clock.step(Duration.of_base(-(clock.utc().micros // 1_000)))  # it comes up in 1970
            async with cell.engine() as engine:
                state = engine.core.state
                await held(engine)
                assert TIME_UNKNOWN in state.batches[BATCH].procedures["move"].reasons
                assert "what time it is now" in state.alarms["time unknown"].action
                assert not state.limits[LIMIT].due
                (page,) = page_of_all(read_known(cell.journal_path), clock)["patients"][:1]
                assert "unknown: a clock wasn't synchronised" in str(page["limits"])

                with pytest.raises(IllegalTransitionError, match="nobody knows how long"):
                    await cell.give("supervisor", "restart", batch=BATCH, unit_procedure="move")
                await engine.core.record_for_host(
                    DeviationOpened(deviation="D-1", batch=BATCH, path=None, text="it was late")
                )
                assert state.jumped, "1970 is before the last event"
                with pytest.raises(RefusedError, match="jumped"):
                    await cell.give("quality", "close_deviation", deviation="D-1", reason="none")
                await cell.give("day-1", "acknowledge_alarm", alarm=JUMPED)
                with pytest.raises(RefusedError, match="nobody knows what time it is"):
                    await cell.give("quality", "close_deviation", deviation="D-1", reason="none")
                with pytest.raises(RefusedError, match="good within"):
                    await cell.give("day-1", "sign_time", time=str(real), within="1 s")

                await cell.give("day-1", "sign_time", time=str(real), within="2 min")
                with pytest.raises(RefusedError, match="isn't the time that was signed"):
                    await cell.give("quality", "close_deviation", deviation="D-1", reason="none")
                clock.step(real - clock.utc())
                with pytest.raises(RefusedError, match="jumped"):
                    await cell.give("quality", "close_deviation", deviation="D-1", reason="none")
                await cell.give("day-1", "acknowledge_alarm", alarm=JUMPED)
                await cell.give("quality", "close_deviation", deviation="D-1", reason="none")
                await to_the_end(engine)
                assert all(one.cleared for one in state.alarms.values())
            assert_moved_once(cell)
            events = events_of(cell)
        (signed,) = [one.event for one in events if isinstance(one.event, TimeSigned)]
        assert (signed.boot, signed.signature.printed_name) == (NEXT_BOOT, "Dana Yates")
        assert "it stands on two" not in str(faults([one.event for one in events]))

    run_in_virtual_time(story())


@pytest.mark.requirement("PRC-07")
def test_what_is_held_goes_on_by_itself_once_the_clock_is_synchronised(tmp_path: Path) -> None:
    async def story() -> None:
        clock = virtual_clock()
        async with thin_cell(tmp_path) as cell:
            await die_in_the_limit(cell)
            clock.reboot(NEXT_BOOT)
            clock.is_synchronised = False
            async with cell.engine() as engine:
                await held(engine)
            async with cell.engine() as engine:  # and it dies in the hold
                engine.core.can_be_suspended = True  # it looks each second, as on a real loop
                engine.spawn(engine.wall_clock.watch, "watch of the wall clock")
                await engine.core.sleep(1 * minute)
                assert engine.core.state.batches[BATCH].procedures["move"].state in RESTS
                clock.is_synchronised = True
                await to_the_end(engine)
                assert all(one.cleared for one in engine.core.state.alarms.values())
            assert_moved_once(cell)

    run_in_virtual_time(story())


@pytest.mark.requirement("PRC-07")
def test_a_daemon_that_starts_after_the_clock_is_right_lets_go_on(tmp_path: Path) -> None:
    async def story() -> None:
        clock = virtual_clock()
        async with thin_cell(tmp_path) as cell:
            await die_in_the_limit(cell)
            clock.reboot(NEXT_BOOT)
            clock.is_synchronised = False
            async with cell.engine() as engine:
                await held(engine)
            clock.is_synchronised = True
            async with cell.engine() as engine:
                await to_the_end(engine)
            assert_moved_once(cell)

    run_in_virtual_time(story())


@pytest.mark.requirement("PRC-07")
def test_a_limit_that_ran_out_while_the_host_was_down_is_due_at_the_start(tmp_path: Path) -> None:
    async def story() -> None:
        clock = virtual_clock()
        async with thin_cell(tmp_path) as cell:
            await die_in_the_limit(cell, maximum=DEAD)
            clock.reboot(NEXT_BOOT)
            booted = clock.utc()
            async with cell.engine() as engine:
                await held(engine)
                await engine.core.sleep(1 * minute)
            events = events_of(cell)
            due = next(one for one in events if isinstance(one.event, LimitDue))
            assert due.at - booted < 1 * second
            assert cell.world.contents(f"{KIT}/vessel").volume_mL < 5, "nothing more was moved"

    run_in_virtual_time(story())


async def one_jump(cell: EmulatedCell, by: Duration) -> list[Recorded[AnyEvent]]:
    """Run the thin path with a jump of the wall clock in the limit, which somebody acknowledges."""
    async with cell.engine() as engine:

        async def acknowledge() -> None:
            await cell.give("day-1", "acknowledge_alarm", alarm=JUMPED)

        def listen(recorded: Recorded[AnyEvent]) -> None:
            if isinstance(recorded.event, ClockJumped):
                engine.spawn(acknowledge, "somebody acknowledges it")

        engine.core.listeners.append(listen)
        await begin(engine, recipe_with_a_limit())
        await engine.core.bells.until("news", lambda: LIMIT in engine.core.state.limits)
        await engine.core.sleep(30 * second)
        virtual_clock().is_synchronised = False  # as Linux says of a clock that was set
        virtual_clock().step(by)
        await engine.ended(BATCH)
        assert engine.core.state.batches[BATCH].status == "complete"
    return events_of(cell)


@pytest.mark.requirement("DIC-06")
@pytest.mark.parametrize("by", [-3650 * day, -1 * hour, -3 * second, 3 * second, 30 * day], ids=str)
def test_a_jump_is_on_record_and_changes_neither_order_nor_times_that_run(
    tmp_path: Path, by: Duration
) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path / "steady") as cell:
            steady = await one_jump(cell, 0 * ms)
        async with thin_cell(tmp_path / "jumped") as cell:
            jumped = await one_jump(cell, by)
        jumps = [one.event.by for one in jumped if isinstance(one.event, ClockJumped)]
        assert jumps == [str(by)]
        assert lasted(jumped) == pytest.approx(lasted(steady), abs=2_000)
        assert_in_order(jumped)

    run_in_virtual_time(story())


def lasted(events: Sequence[Recorded[AnyEvent]]) -> int:
    ended = next(one for one in events if isinstance(one.event, BatchEnded))
    return ended.boottime.base - events[0].boottime.base


def assert_in_order(events: Sequence[Recorded[AnyEvent]]) -> None:
    """Numbers and the boot-time clock agree; the wall clock went where it was set."""
    assert [one.seq for one in events] == list(range(1, len(events) + 1))
    boottimes = [one.boottime.base for one in events]
    assert boottimes == sorted(boottimes)


def test_records_in_the_order_of_their_times_would_be_found(tmp_path: Path) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path) as cell:
            events = await one_jump(cell, -1 * hour)
        assert_in_order(events)
        with pytest.raises(AssertionError):
            assert_in_order(sorted(events, key=lambda one: one.at.micros))

    run_in_virtual_time(story())


@pytest.mark.requirement("DIC-06")
@pytest.mark.parametrize("by", [-1 * second, 1 * second, -2 * second, 2 * second], ids=str)
def test_a_leap_second_is_no_jump_stepped_or_smeared(tmp_path: Path, by: Duration) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path) as cell:
            events = await one_jump(cell, by)
        assert not [one for one in events if isinstance(one.event, ClockJumped | AlarmRaised)]
        assert not [one for one in events if ":60." in str(one.at)]

    run_in_virtual_time(story())


@pytest.mark.requirement("SIG-01")
def test_nobody_signs_after_a_jump_until_one_acknowledged_it(tmp_path: Path) -> None:
    async def story() -> None:
        clock = virtual_clock()
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine, recipe_with_a_limit())
            opened = DeviationOpened(deviation="D-1", batch=BATCH, path=None, text="it was late")
            await engine.core.record_for_host(opened)
            close = {"deviation": "D-1", "reason": "none"}
            clock.step(1 * hour)  # and nothing is recorded since
            with pytest.raises(RefusedError, match="the wall clock jumped") as refused:
                await cell.give("quality", "close_deviation", **close)
            assert "acknowledge" in refused.value.do_next
            old = (await cell.desk.view("work"))["version"]
            clock.step(1 * hour)
            await engine.wall_clock.look()
            assert old < engine.core.state.jumped, "what was seen was the first jump"
            await cell.give("day-1", "acknowledge_alarm", alarm=JUMPED)
            assert engine.core.state.jumped == 0
            await cell.give("quality", "close_deviation", **close)
            await engine.core.bells.until("news", lambda: JUMPED not in engine.core.state.alarms)

    run_in_virtual_time(story())
