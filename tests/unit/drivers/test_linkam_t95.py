"""The T95 driver against printed answers, a stage on paper and the emulator, on virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from devices.drivers.linkam_t95 import LinkamT95, Settings, Status, read_status
from devices.interfaces.controlled_freezing import RampSegment, StageTemperature
from devices.interfaces.driver import Standing
from devices.interfaces.weighing import Weight
from devices.transport.transport import Transport
from orchestrator.kernel.acts import (
    AllDone,
    CannotTell,
    NothingDone,
    OnInterruption,
    PartDone,
    Quieten,
)
from orchestrator.kernel.errors import LimitRefusedError, OutcomeUnknownError, RefusedError
from orchestrator.kernel.identifiers import ContainerId, EquipmentId, PlaceId
from orchestrator.kernel.quantities import RampRate, Temperature, degC, degC_per_min, hour
from orchestrator.virtual_time import run_in_virtual_time
from tests.unit.drivers.paper import FIRST, Paper, at_the_wire, until

TEMPERATURE = StageTemperature(unit="freezer")


def segment(to: Temperature = -40 * degC, rate: RampRate = 1 * degC_per_min) -> RampSegment:
    return RampSegment(
        unit="freezer",
        longest=2 * hour,
        on_interruption=OnInterruption.REPEAT,
        quieten=Quieten.LEAVE_RUNNING,
        containers=(ContainerId("BAG-1"),),
        place=PlaceId("freezer"),
        rate=rate,
        to=to,
    )


def answer(state: int, celsius: float, errors: int = 0x80) -> bytes:
    tenths = round(celsius * 10) & 0xFFFF
    return bytes([state, errors, 0x80, 0x80, 0x80, 0x80]) + b"%04x\r" % tenths


class PaperStage(Paper):
    """Shows states from a list, the last one for ever; acknowledges the rest, or doesn't."""

    def __init__(self, *shown: tuple[int, float], silent_to: bytes = b"") -> None:
        super().__init__(self.reply, split=until(b"\r"))
        self.shown = list(shown)
        self.errors = 0x80
        self.silent_to = silent_to

    def reply(self, request: bytes) -> bytes | None:
        if self.silent_to and request.startswith(self.silent_to):
            return None
        if request == b"T\r":
            shown = self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]
            return answer(*shown, errors=self.errors)
        return b"\r"


def with_stage(paper: Paper, story: Callable[[LinkamT95], Awaitable[None]]) -> None:
    def make(line: Transport) -> LinkamT95:
        return LinkamT95(line, equipment=EquipmentId("F1"), settings=Settings())

    async def main() -> None:
        async with at_the_wire(paper, make) as stage:
            await story(stage)

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (answer(0x01, 21.3), Status("stopped", 0, 21.3 * degC)),
        (b"\x20\x80\x8f\x80\x80\x80fe70\r", Status("cooling", 0, -40 * degC)),
        (b"\x30\x81\x80\x80\x80\x80FFFF\r", Status("holding", 1, -0.1 * degC)),
        (b"\x99\x80\x80\x80\x80\x80fe70\r", None),
        (b"\x20\x00\x80\x80\x80\x80fe70\r", None),
        (b"\x20\x80\x80\x80\x80\x80fe7g\r", None),
        (b"\x20\x80fe70\r", None),
    ],
)
def test_an_answer_to_t_is_read_whole_or_not_at_all(frame: bytes, status: Status | None) -> None:
    assert read_status(frame) == status


@pytest.mark.parametrize(
    ("shown", "written"),
    [
        ((0x01, 4.0), [b"T\r", b"T\r", b"R1100\r", b"L1-400\r", b"S\r"]),
        ((0x30, 4.0), [b"T\r", b"T\r", b"O\r", b"R1100\r", b"L1-400\r", b"C\r"]),
        ((0x50, -60.0), [b"T\r", b"T\r", b"R1100\r", b"L1-400\r", b"H\r"]),
    ],
)
def test_the_trigger_is_one_write_that_fits_how_the_stage_stands(
    shown: tuple[int, float], written: list[bytes]
) -> None:
    paper = PaperStage(shown)

    async def story(stage: LinkamT95) -> None:
        await stage.prepare(segment())
        assert paper.triggers == []
        await stage.trigger(segment(), FIRST)
        assert paper.written == written
        assert paper.triggers == written[-1:]

    with_stage(paper, story)


def test_a_ramp_is_waited_for_and_settled_at_its_limit() -> None:
    paper = PaperStage(*[(0x01, 4.0)] * 4, *[(0x20, 4.0)] * 2, *[(0x20, 3.0)] * 2, (0x30, 3.0))

    async def story(stage: LinkamT95) -> None:
        act = segment(3 * degC)
        before = await stage.standing()
        await stage.prepare(act)
        await stage.trigger(act, FIRST)
        settled = await stage.settle(act, FIRST, before)
        assert isinstance(settled.report, AllDone)
        assert settled.report.effect.detail == {"temperature": "3 °C"}
        assert settled.standing == Standing(
            values={"state": "holding", "temperature": "3.0"}, witness="started"
        )

    with_stage(paper, story)


@pytest.mark.parametrize(
    ("act", "word"),
    [
        (segment(-200 * degC), "qualified"),
        (segment(rate=200 * degC_per_min), "qualified"),
        (segment(-40.05 * degC), "steps"),
        (segment(rate=1.005 * degC_per_min), "steps"),
    ],
)
def test_what_the_sheet_doesnt_allow_is_refused_before_anything_is_written(
    act: RampSegment, word: str
) -> None:
    paper = PaperStage((0x01, 4.0))

    async def story(stage: LinkamT95) -> None:
        with pytest.raises(LimitRefusedError, match=word):
            await stage.prepare(act)
        assert paper.written == []

    with_stage(paper, story)


def test_a_stage_that_moves_or_cant_feel_isnt_started() -> None:
    async def moving(stage: LinkamT95) -> None:
        with pytest.raises(RefusedError, match="cooling already"):
            await stage.prepare(segment())

    with_stage(PaperStage((0x20, 4.0)), moving)

    async def blind(stage: LinkamT95) -> None:
        with pytest.raises(RefusedError, match="sensor open"):
            await stage.prepare(segment())
        with pytest.raises(RefusedError, match="sensor open"):
            await stage.read(TEMPERATURE)

    with_stage(Paper(lambda _: answer(0x01, 4.0, 0x82), split=until(b"\r")), blind)


def test_a_lost_acknowledgement_of_a_preparation_is_asked_for_again() -> None:
    paper = PaperStage((0x01, 4.0), silent_to=b"L1")

    async def story(stage: LinkamT95) -> None:
        with pytest.raises(OutcomeUnknownError):
            await stage.prepare(segment())
        assert paper.written.count(b"L1-400\r") == 3
        assert paper.triggers == []

    with_stage(paper, story)


def test_a_lost_acknowledgement_of_the_trigger_is_unknown_and_never_sent_again() -> None:
    paper = PaperStage((0x01, 4.0), silent_to=b"S")

    async def story(stage: LinkamT95) -> None:
        await stage.prepare(segment())
        with pytest.raises(OutcomeUnknownError):
            await stage.trigger(segment(), FIRST)
        assert paper.written.count(b"S\r") == 1

    with_stage(paper, story)


@pytest.mark.parametrize(
    ("before", "shown", "verdict"),
    [
        (("stopped", "4.0"), [(0x01, 4.2)], CannotTell),
        (("holding", "4.0"), [(0x30, 4.0)], NothingDone),
        (("holding", "4.0"), [(0x50, 4.0)], NothingDone),
        (("holding", "4.0"), [(0x20, -39.5), (0x30, -40.0)], AllDone),
        (("stopped", "4.0"), [(0x30, -40.0)], AllDone),
        (("holding", "4.0"), [(0x50, -20.0)], PartDone),
        (("holding", "4.0"), [(0x01, -20.0)], CannotTell),
        (("stopped", "4.0"), [(0x01, -20.0)], CannotTell),
        (("holding", "4.0"), [(0x30, -20.0)], CannotTell),
    ],
)
def test_state_and_temperature_say_what_an_interrupted_ramp_did(
    before: tuple[str, str], shown: list[tuple[int, float]], verdict: type
) -> None:
    async def story(stage: LinkamT95) -> None:
        stood = Standing(values={"state": before[0], "temperature": before[1]})
        settled = await stage.effect_of(segment(), FIRST, stood)
        assert isinstance(settled.report, verdict)

    with_stage(PaperStage(*shown), story)


def test_an_empty_stage_that_is_stopped_as_before_did_nothing() -> None:
    async def story(stage: LinkamT95) -> None:
        stood = Standing(values={"state": "stopped", "temperature": "4.0"})
        empty = segment().model_copy(update={"containers": ()})
        settled = await stage.effect_of(empty, FIRST, stood)
        assert isinstance(settled.report, NothingDone)

    with_stage(PaperStage((0x01, 4.2)), story)


def test_a_stopped_stage_that_drifts_isnt_waited_for() -> None:
    looks = [(0x01, -20.0 + step) for step in range(30)]
    paper = PaperStage(*(answered for look in looks for answered in (look, look)))

    async def story(stage: LinkamT95) -> None:
        stood = Standing(values={"state": "holding", "temperature": "4.0"})
        settled = await stage.effect_of(segment(), FIRST, stood)
        assert isinstance(settled.report, CannotTell)
        assert paper.written == [b"T\r"] * 4  # looked at twice, each time read twice

    with_stage(paper, story)


def test_a_stage_whose_sensor_is_open_shows_no_temperature() -> None:
    async def story(stage: LinkamT95) -> None:
        assert (await stage.standing()).values == {"state": "stopped"}
        stood = Standing(values={"state": "stopped"})
        settled = await stage.effect_of(segment(), FIRST, stood)
        assert isinstance(settled.report, CannotTell)

    with_stage(Paper(lambda _: answer(0x01, 4.0, 0x82), split=until(b"\r")), story)


def test_a_line_error_says_nothing_of_the_stage() -> None:
    """Half a request of a process that died, and the next one behind it, come garbled."""

    async def story(stage: LinkamT95) -> None:
        before = Standing(values={"state": "holding", "temperature": "4.0"})
        settled = await stage.effect_of(segment(), FIRST, before)
        assert isinstance(settled.report, NothingDone)
        assert await stage.read(TEMPERATURE) == "4 °C"

    paper = PaperStage((0x30, 4.0))
    paper.errors = 0xA0
    with_stage(paper, story)


def test_a_moving_stage_is_held_never_stopped() -> None:
    paper = PaperStage((0x20, -10.0), (0x20, -10.0), (0x50, -10.0))

    async def story(stage: LinkamT95) -> None:
        await stage.quieten(Quieten.LEAVE_RUNNING)
        assert paper.written == []
        await stage.quieten(Quieten.HALT)
        assert paper.written == [b"T\r", b"T\r", b"O\r", b"T\r", b"T\r"]

    with_stage(paper, story)


def test_damaged_answers_are_silence_and_other_readings_arent_offered() -> None:
    paper = Paper(lambda _: b"\x20\x80fe\r", split=until(b"\r"))

    async def story(stage: LinkamT95) -> None:
        with pytest.raises(OutcomeUnknownError):
            await stage.read(TEMPERATURE)
        assert set(paper.written) == {b"T\r"}
        with pytest.raises(RefusedError):
            await stage.read(Weight(unit="freezer"))

    with_stage(paper, story)
