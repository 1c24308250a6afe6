"""The 530Du driver against bytes from the manual and a pump on paper, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from devices.drivers.watson_marlow_530du import Settings, Status, WatsonMarlow530Du, read_status
from devices.interfaces.driver import Settled, Standing
from devices.interfaces.fluid_transfer import (
    COUNT_BASE_LEAST,
    PumpCount,
    PumpVolume,
    TurnEmptyPump,
)
from devices.interfaces.weighing import Tare
from devices.transport.transport import TriggerRepeatedError
from orchestrator.kernel.acts import (
    AllDone,
    CannotTell,
    NothingDone,
    OnInterruption,
    PartDone,
    Quieten,
)
from orchestrator.kernel.errors import LimitRefusedError, OutcomeUnknownError, RefusedError
from orchestrator.kernel.identifiers import ContainerId, EquipmentId
from orchestrator.kernel.quantities import Flow, Volume, hour, mL, mL_per_min, nL, uL
from orchestrator.virtual_time import run_in_virtual_time
from tests.unit.drivers.paper import FIRST, Paper, at_the_wire, until

PPR = 10_982
BASE = 123_456
DOSE = 27_455  # 10 mL at 4 mL a revolution


def settings(*, echo: bool = False) -> Settings:
    return Settings(
        pump_number=1,
        pulses_per_revolution=PPR,
        uL_per_revolution=4_000,
        forward_is_clockwise=True,
        echo=echo,
    )


def pump_volume(
    volume: Volume = 10 * mL, flow: Flow = 80 * mL_per_min, *, forward: bool = True
) -> PumpVolume:
    return PumpVolume(
        unit="transfer station",
        longest=1 * hour,
        on_interruption=OnInterruption.CONTINUE,
        quieten=Quieten.HALT,
        volume=volume,
        flow=flow,
        forward=forward,
        source=ContainerId("C-1"),
        target=ContainerId("C-2"),
    )


class PaperPump(Paper):
    """A pump with a count, a speed and a dose that takes its time."""

    def __init__(self, *, count: int = BASE, echo: bool = False) -> None:
        super().__init__(self.reply, split=until(b"\r"))
        self.count = count
        self.tenths = 5
        self.direction = b"CCW"
        self.echo = echo
        self.dose = 0
        self.began_s = 0.0
        self.is_deaf = False
        self.silent_for = 0
        self.spoil: Callable[[bytes], bytes] = lambda reply: reply
        self.takes: Callable[[int], int] = lambda pulses: pulses

    @property
    def per_s(self) -> float:
        return self.tenths * PPR / 600

    @property
    def shown(self) -> int:
        passed = int((asyncio.get_running_loop().time() - self.began_s) * self.per_s)
        return self.count + min(self.dose, passed)

    @property
    def running(self) -> bool:
        return self.shown < self.count + self.dose

    def rest(self) -> None:
        self.count, self.dose = self.shown, 0

    def reply(self, request: bytes) -> bytes:
        body = b"" if self.is_deaf else self.carry_out(request[1:-1])
        whole = (request if self.echo else b"") + body
        if whole and self.silent_for:
            self.silent_for -= 1
            return b""
        return self.spoil(whole)

    def carry_out(self, command: bytes) -> bytes:
        if command == b"RS":
            return b"530Du 4.00 520R 9.6MM %d.%d %s P/N 1 %d %d !\r" % (
                *divmod(self.tenths, 10),
                self.direction,
                self.shown,
                self.running,
            )
        if command == b"RT":
            return b"%d\r" % self.shown
        if command.startswith(b"DO"):
            self.rest()
            self.dose = self.takes(int(command[2:]))
            self.began_s = asyncio.get_running_loop().time()
        elif command.startswith(b"SP"):
            self.tenths = int(command[2:].replace(b".", b""))
        elif command in (b"RR", b"RL"):
            self.direction = b"CW" if command == b"RR" else b"CCW"
        elif command == b"ST":
            self.rest()
        return b""


def with_pump(paper: PaperPump, story: Callable[[WatsonMarlow530Du], Awaitable[None]]) -> None:
    async def main() -> None:
        def make(line: object) -> WatsonMarlow530Du:
            return WatsonMarlow530Du(
                line,  # type: ignore[arg-type]
                equipment=EquipmentId("P1"),
                settings=settings(echo=paper.echo),
            )

        async with at_the_wire(paper, make) as pump:
            await story(pump)

    run_in_virtual_time(main())


def turn_empty(volume: Volume = 1 * mL) -> TurnEmptyPump:
    return TurnEmptyPump(
        unit="transfer station",
        longest=1 * hour,
        on_interruption=OnInterruption.REPEAT,
        quieten=Quieten.HALT,
        volume=volume,
        flow=40 * mL_per_min,
    )


async def carry_out(pump: WatsonMarlow530Du, act: PumpVolume | TurnEmptyPump) -> Settled:
    before = await pump.standing()
    await pump.prepare(act)
    await pump.trigger(act, FIRST)
    return await pump.settle(act, FIRST, before)


def test_the_manuals_status_is_read() -> None:
    line = b"520Du 15.84 520R 9.6MM 220.0 CW P/N 1 123456789 1 !"
    assert read_status(line, 1) == Status(2_200, clockwise=True, tacho=123_456_789, running=True)


@pytest.mark.parametrize(
    "damaged",
    [
        b"520Du 15.84 520R 9.6MM 220.0 CW P/N 2 123456789 1 !",
        b"520Du 15.84 520R 9.6MM 220.0 CW P/N 1 123456789 1",
        b"520Du 15.84 520R 9.6MM 220.0 XW P/N 1 123456789 1 !",
        b"520Du 15.84 520R 9.6MM 220.0 CW P/N 1 12345678901 1 !",
        b"123456789",
        b"",
    ],
)
def test_another_pumps_or_a_damaged_status_is_silence(damaged: bytes) -> None:
    assert read_status(damaged, 1) is None


@pytest.mark.parametrize("echo", [False, True])
def test_an_act_writes_one_dose_and_is_done_when_the_count_says_so(echo: bool) -> None:
    paper = PaperPump(echo=echo)

    async def story(pump: WatsonMarlow530Du) -> None:
        settled = await carry_out(pump, pump_volume())
        assert isinstance(settled.report, AllDone)
        assert settled.report.effect.done == "10 mL"
        assert settled.report.effect.detail["pulses"] == str(DOSE)
        count = str(BASE + DOSE)
        assert settled.standing == Standing(
            values={"count": count, "running": "0"}, witness=f"count>={count}"
        )
        assert paper.triggers == [b"1DO27455\r"]
        looks = [b"1RS\r"] * 2
        assert paper.written[:8] == [*looks * 2, b"1SP20.0\r", b"1RR\r", *looks]
        assert len(paper.written) == 8 + 1 + 2, "one look at the dose's end is enough"
        assert 7.5 < asyncio.get_running_loop().time() < 7.7

    with_pump(paper, story)


def test_backward_turns_the_other_way() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        await pump.prepare(pump_volume(forward=False))
        assert paper.direction == b"CCW"

    with_pump(paper, story)


def test_commands_keep_their_distance() -> None:
    times: list[float] = []
    paper = PaperPump()
    replied = paper.answer

    def timed(request: bytes) -> bytes | None:
        times.append(asyncio.get_running_loop().time())
        return replied(request)

    paper.answer = timed

    async def story(pump: WatsonMarlow530Du) -> None:
        await carry_out(pump, pump_volume())
        assert all(b - a >= 0.0099 for a, b in pairwise(times))

    with_pump(paper, story)


@pytest.mark.parametrize(
    "act",
    [
        pump_volume(flow=250 * mL_per_min),
        pump_volume(flow=1 * mL_per_min),  # 0.25 rpm: the step gives 0.8 mL/min
        pump_volume(1 * uL),
        pump_volume(10 * mL + 1 * nL),
        pump_volume(20_000 * mL),
    ],
)
def test_what_the_sheet_or_the_steps_dont_allow_is_refused_with_nothing_written(
    act: PumpVolume,
) -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        with pytest.raises(LimitRefusedError):
            await pump.prepare(act)
        with pytest.raises(LimitRefusedError):
            await pump.trigger(act, FIRST)
        assert paper.written == []

    with_pump(paper, story)


def test_an_act_of_another_capability_is_refused() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        tare = Tare(
            unit="transfer station",
            longest=1 * hour,
            on_interruption=OnInterruption.REPEAT,
            quieten=Quieten.HALT,
        )
        with pytest.raises(RefusedError):
            await pump.prepare(tare)
        assert paper.written == []

    with_pump(paper, story)


def test_a_pump_that_turns_already_is_refused() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        paper.dose = 10**9
        with pytest.raises(RefusedError, match="turns already"):
            await pump.prepare(pump_volume())
        assert paper.triggers == []

    with_pump(paper, story)


def test_a_pump_under_its_front_panel_stop_is_refused() -> None:
    paper = PaperPump()
    replied = paper.carry_out
    paper.carry_out = lambda command: replied(command) if command == b"RS" else b""  # type: ignore[method-assign]

    async def story(pump: WatsonMarlow530Du) -> None:
        with pytest.raises(RefusedError, match="front-panel stop"):
            await pump.prepare(pump_volume())

    with_pump(paper, story)


def test_a_trigger_is_never_written_twice() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        await pump.trigger(pump_volume(), FIRST)
        with pytest.raises(TriggerRepeatedError):
            await pump.trigger(pump_volume(), FIRST)
        assert paper.triggers == [b"1DO27455\r"]

    with_pump(paper, story)


def test_a_trigger_without_its_echo_leaves_doubt() -> None:
    paper = PaperPump(echo=True)

    async def story(pump: WatsonMarlow530Du) -> None:
        paper.silent_for = 1
        with pytest.raises(OutcomeUnknownError):
            await pump.trigger(pump_volume(), FIRST)
        assert paper.triggers == [b"1DO27455\r"]
        assert [one for one in paper.written if b"DO" in one] == paper.triggers

    with_pump(paper, story)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_or_damaged_status_is_asked_again(lost: int) -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        paper.silent_for = lost
        assert (await pump.standing()).values["count"] == str(BASE)

    with_pump(paper, story)


def test_three_lost_answers_are_an_unknown_outcome() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        paper.spoil = lambda reply: reply.replace(b"P/N", b"P/M")
        with pytest.raises(OutcomeUnknownError):
            await pump.standing()
        assert paper.written.count(b"1RS\r") >= 3
        assert set(paper.written) == {b"1RS\r", b"1RT\r"}, "it is only asked who it is"

    with_pump(paper, story)


def test_a_line_that_closes_while_a_dose_is_awaited_is_doubt_not_failure() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        before = await pump.standing()
        await pump.prepare(pump_volume())
        await pump.trigger(pump_volume(), FIRST)
        assert paper.line is not None
        await paper.line.close()
        with pytest.raises(OutcomeUnknownError):
            await pump.settle(pump_volume(), FIRST, before)

    with_pump(paper, story)


def test_a_halt_settles_the_part() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        act = pump_volume(200 * mL)
        before = await pump.standing()
        await pump.prepare(act)
        await pump.trigger(act, FIRST)
        async with asyncio.TaskGroup() as group:
            settling = group.create_task(pump.settle(act, FIRST, before))
            await asyncio.sleep(30)
            await pump.quieten(Quieten.HALT)
        report = settling.result().report
        assert isinstance(report, PartDone)
        assert 40 * mL <= Volume.read(report.effect.done) < 40.1 * mL
        assert asyncio.get_running_loop().time() < 31
        assert act.rest_after(report.effect) is not None

    with_pump(paper, story)


def test_a_pump_left_running_is_left_alone() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        await pump.quieten(Quieten.LEAVE_RUNNING)
        assert paper.written == []

    with_pump(paper, story)


def test_a_pump_that_turns_on_after_its_stop_is_said_so() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        paper.dose = 10**9
        paper.rest = lambda: None  # type: ignore[method-assign]
        with pytest.raises(OutcomeUnknownError, match="turns on"):
            await pump.quieten(Quieten.HALT)
        assert paper.written.count(b"1ST\r") == 3

    with_pump(paper, story)


def test_a_stop_that_is_lost_is_repeated() -> None:
    paper = PaperPump(echo=True)
    replied = paper.answer
    stops: list[bytes] = []

    def deaf_once(request: bytes) -> bytes | None:
        if request == b"1ST\r":
            stops.append(request)
            if len(stops) == 1:
                return None
        return replied(request)

    paper.answer = deaf_once

    async def story(pump: WatsonMarlow530Du) -> None:
        paper.dose = 10**9
        await pump.quieten(Quieten.HALT)
        assert len(stops) == 2
        assert not paper.running

    with_pump(paper, story)


def test_a_pump_whose_line_is_closed_cannot_be_stopped_and_says_so() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        await pump.close()
        with pytest.raises(OutcomeUnknownError, match="line is closed"):
            await pump.quieten(Quieten.HALT)

    with_pump(paper, story)


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (BASE, BASE, NothingDone),
        (BASE, BASE + 11, NothingDone),
        (BASE, BASE + 12, PartDone),
        (BASE, BASE + DOSE // 2, PartDone),
        (BASE, BASE + DOSE, AllDone),
        (BASE, BASE + DOSE + 110, AllDone),
        (BASE, BASE + DOSE + 111, CannotTell),
        (BASE, BASE + 2 * DOSE, CannotTell),
        (BASE, BASE - 12, CannotTell),
        (BASE, 0, CannotTell),
        (0, 0, CannotTell),
        (0, DOSE, CannotTell),
    ],
)
def test_what_the_count_tells_after_a_crash(before: int, now: int, verdict: type) -> None:
    paper = PaperPump(count=now)
    witness = f"count>={before}" if before else ""
    was = Standing(values={"count": str(before), "running": "0"}, witness=witness)

    async def story(pump: WatsonMarlow530Du) -> None:
        settled = await pump.effect_of(pump_volume(), FIRST, was)
        assert type(settled.report) is verdict
        assert paper.triggers == []

    with_pump(paper, story)


def test_busy_is_not_done_and_not_nothing() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        before = await pump.standing()
        await pump.prepare(pump_volume())
        await pump.trigger(pump_volume(), FIRST)
        await asyncio.sleep(2)
        settled = await pump.effect_of(pump_volume(), FIRST, before)
        assert isinstance(settled.report, AllDone)
        assert 7.5 < asyncio.get_running_loop().time() < 7.7

    with_pump(paper, story)


def test_a_dose_that_begins_late_is_not_taken_for_none() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        before = await pump.standing()
        await pump.prepare(pump_volume())

        async def begin_late() -> None:
            await asyncio.sleep(0.2)
            paper.carry_out(b"DO27455")

        async with asyncio.TaskGroup() as group:
            group.create_task(begin_late())
            settled = await pump.effect_of(pump_volume(), FIRST, before)
        assert isinstance(settled.report, AllDone)

    with_pump(paper, story)


@pytest.mark.parametrize(("share", "verdict"), [(0, NothingDone), (2, CannotTell)])
def test_a_swallowed_or_doubled_dose_shows_in_settlement(share: int, verdict: type) -> None:
    paper = PaperPump()
    paper.takes = lambda pulses: share * pulses

    async def story(pump: WatsonMarlow530Du) -> None:
        settled = await carry_out(pump, pump_volume())
        assert type(settled.report) is verdict

    with_pump(paper, story)


def test_the_prime_dose_settles_though_the_count_was_zero() -> None:
    paper = PaperPump(count=0)

    async def story(pump: WatsonMarlow530Du) -> None:
        assert (await pump.standing()).witness == ""
        settled = await carry_out(pump, pump_volume())
        assert isinstance(settled.report, AllDone)
        assert settled.standing.witness == f"count>={DOSE}"

    with_pump(paper, story)


EMPTY = 2_746  # 1 mL at 4 mL a revolution


def test_an_empty_turn_is_one_bounded_dose_and_leaves_a_base() -> None:
    paper = PaperPump(count=0)

    async def story(pump: WatsonMarlow530Du) -> None:
        settled = await carry_out(pump, turn_empty())
        assert isinstance(settled.report, AllDone)
        assert settled.report.effect.done == "1 mL"
        assert paper.written.count(b"1DO%d\r" % EMPTY) == 1
        assert settled.standing.witness == f"count>={EMPTY}"
        assert int(await pump.read(PumpCount(unit="transfer station"))) >= COUNT_BASE_LEAST

    with_pump(paper, story)


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (0, 0, NothingDone),
        (0, 11, NothingDone),
        (0, 12, PartDone),
        (0, EMPTY - 12, PartDone),
        (0, EMPTY - 11, AllDone),
        (0, EMPTY, AllDone),
        (0, 2 * EMPTY, AllDone),
        (50, 0, NothingDone),  # without power since
        (50, 50 + EMPTY, AllDone),
    ],
)
def test_an_interrupted_empty_turn_is_never_in_doubt(before: int, now: int, verdict: type) -> None:
    paper = PaperPump(count=now)
    was = Standing(values={"count": str(before), "running": "0"}, witness="")

    async def story(pump: WatsonMarlow530Du) -> None:
        settled = await pump.effect_of(turn_empty(), FIRST, was)
        assert type(settled.report) is verdict
        assert paper.triggers == []

    with_pump(paper, story)


def test_a_swallowed_empty_turn_is_not_taken_for_done() -> None:
    paper = PaperPump(count=0)
    paper.takes = lambda pulses: 0 * pulses

    async def story(pump: WatsonMarlow530Du) -> None:
        settled = await carry_out(pump, turn_empty())
        assert isinstance(settled.report, NothingDone)
        assert settled.standing.witness == ""

    with_pump(paper, story)


@pytest.mark.parametrize(("count", "witness"), [(0, ""), (11, ""), (12, "count>=12")])
def test_a_count_within_a_standing_pumps_play_is_no_witness(count: int, witness: str) -> None:
    paper = PaperPump(count=count)

    async def story(pump: WatsonMarlow530Du) -> None:
        assert (await pump.standing()).witness == witness

    with_pump(paper, story)


def test_a_long_dose_costs_one_look_a_minute() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        settled = await carry_out(pump, pump_volume(800 * mL))
        assert isinstance(settled.report, AllDone)
        assert paper.written.count(b"1RS\r") == 2 * (3 + 10)

    with_pump(paper, story)


def test_count_and_identity_can_be_read() -> None:
    paper = PaperPump()

    async def story(pump: WatsonMarlow530Du) -> None:
        assert await pump.read(PumpCount(unit="transfer station")) == str(BASE)
        assert (await pump.identify()).model == "530Du"
        assert all(b"TC" not in request for request in paper.written)

    with_pump(paper, story)
