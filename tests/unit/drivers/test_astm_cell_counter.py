"""The ASTM driver against a printed frame and a counter on paper, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pydantic import ValidationError

from devices.drivers.astm_cell_counter import (
    ACK,
    ENQ,
    EOT,
    NAK,
    AstmCellCounter,
    Settings,
    checksum,
    frame_of,
    is_whole,
    link,
    results_in,
    text_of,
)
from devices.interfaces.cell_count import CountCells, CounterReady
from devices.interfaces.driver import Standing
from devices.transport.transport import Transport
from orchestrator.kernel.acts import AllDone, CannotTell, NothingDone, OnInterruption, Quieten
from orchestrator.kernel.errors import (
    DeviceFaultError,
    FailedError,
    OutcomeUnknownError,
    RefusedError,
)
from orchestrator.kernel.identifiers import ContainerId, EquipmentId, SampleId
from orchestrator.kernel.quantities import CellDensity, Fraction, hour, million_per_mL, percent
from orchestrator.virtual_time import run_in_virtual_time
from tests.unit.drivers.paper import FIRST, Paper, at_the_wire

TESTS = {"viable_density": "VCD", "viability": "VIA", "cd3": "CD3"}
COUNT = CountCells(
    unit="counter",
    longest=1 * hour,
    on_interruption=OnInterruption.CONTINUE,
    quieten=Quieten.LEAVE_RUNNING,
    sample=SampleId("S-000417"),
    tube=ContainerId("TUBE-1"),
)
KNOWN = Standing(values={"result": "20261123090000"})


def records(at: str, *, vcd: str = "1.25|10*6/mL", sample: str = "S-000417") -> list[str]:
    return [
        r"H|\^&|7||SIM|||||LIS||P|1|20261123100000",
        "P|1",
        f"O|1|{sample}||^^^ALL|R||||||||||||||||||||F",
        f"R|1|^^^VCD|{vcd}||N||F||||{at}",
        f"R|2|^^^VIA|93.5|%||N||F||||{at}",
        "L|1|N",
    ]


def order_alone(status: str, comment: str = "") -> list[str]:
    order = f"O|1|S-000417||^^^ALL|R||||||||||||||||||||{status}"
    return [r"H|\^&|7", order, *([f"C|1|I|{comment}|I"] if comment else []), "L|1|N"]


NONE = [r"H|\^&|8", "L|1|I"]


def control_or_frame(buffer: bytearray) -> bytes | None:
    piece = link(buffer) if buffer else None
    if piece is None:
        return None
    del buffer[: piece.used]
    return piece.frame or b"?"


class PaperCounter(Paper):
    """Takes messages, and answers a query with the next of its messages, or what it pushed."""

    def __init__(self, *answers: list[str]) -> None:
        super().__init__(self.reply, split=control_or_frame)
        self.answers = list(answers) or [NONE]
        self.pushed: list[str] | None = None
        self.push_after_s = 120.0
        self.refuses: dict[bytes, list[bytes]] = {}  # how a frame begins, to answers in turn
        self.orders = 0
        self.queries = 0
        self.heard: list[bytes] = []
        self.outgoing: list[bytes] = []

    def reply(self, request: bytes) -> bytes | None:
        if request == EOT:
            return self.message_ended()
        if request in (ACK, NAK):
            if not self.outgoing:
                return None
            return self.outgoing.pop(0)
        for start, answers in self.refuses.items():
            if answers and request[2:].startswith(start):
                return answers.pop(0) or None
        if request == ENQ:
            waiting = self.refuses.get(ENQ)
            return (waiting.pop(0) or None) if waiting else ACK
        self.heard.append(request[2:3])
        return ACK

    def message_ended(self) -> bytes | None:
        heard, self.heard = self.heard, []
        if heard == [b"H", b"P", b"O", b"L"]:
            self.orders += 1
            if self.pushed is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(self.push_after_s, self.push, self.pushed)
            return None
        if heard != [b"H", b"Q", b"L"]:
            return None
        self.queries += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return self.session(answer)

    def session(self, message: list[str]) -> bytes:
        frames = [frame_of(n, record.encode()) for n, record in enumerate(message, start=1)]
        self.outgoing = [*frames, EOT]
        return ENQ

    def push(self, message: list[str]) -> None:
        assert self.line is not None
        if self.answers == [NONE]:
            self.answers = [message]
        asyncio.ensure_future(self.line.send(self.session(message)))  # noqa: RUF006

    @property
    def frames(self) -> list[bytes]:
        return [frame for frame in self.written if len(frame) > 1]


def with_counter(paper: Paper, story: Callable[[AstmCellCounter], Awaitable[None]]) -> None:
    def make(line: Transport) -> AstmCellCounter:
        settings = Settings.model_validate({"tests": TESTS})
        return AstmCellCounter(line, equipment=EquipmentId("N1"), settings=settings)

    async def main() -> None:
        async with at_the_wire(paper, make) as counter:
            await story(counter)

    run_in_virtual_time(main())


async def a_result_is_known(paper: PaperCounter) -> None:
    """Let the counter push a result of another sample, then forget what was written."""
    paper.push(records("20261123090000", sample="S-000001"))
    await asyncio.sleep(1)
    paper.written.clear()


def test_the_printed_frame_is_read_and_written() -> None:
    printed = b"\x022P|1|PAT-000417|||Doe^Jane^Q||19800101|F\r\x035E\r\n"
    record = b"P|1|PAT-000417|||Doe^Jane^Q||19800101|F"
    assert text_of(printed) == (2, record + b"\r", True)
    assert frame_of(2, record) == printed
    assert checksum(printed[1:-4]) == b"5E"


@pytest.mark.parametrize(
    "damaged",
    [
        b"\x022P|1|PAT-000417\r\x035E\r\n",
        b"\x02xP|1\r\x0300\r\n",
        b"\x022P|1\r5E\r\n",
        b"\x02\x035E\r\n",
    ],
)
def test_a_damaged_frame_is_none(damaged: bytes) -> None:
    assert text_of(damaged) is None


def test_a_stream_is_cut_into_signs_and_frames_and_garbage_is_left_out() -> None:
    stream = bytearray(b"x\x05\x02cut off\x04" + frame_of(1, b"P|1") + b"\x06")
    cut: list[bytes] = []
    while stream and (piece := link(stream)) is not None:
        del stream[: piece.used]
        if piece.frame:
            cut.append(piece.frame)
    assert cut == [ENQ, EOT, frame_of(1, b"P|1"), ACK]


def test_results_are_read_by_sample_test_and_time_of_completion() -> None:
    (result,) = results_in(records("20261123101500"))
    assert (result.sample, result.number, result.message) == ("S-000417", "20261123101500", "7")
    assert result.values["VCD"] == ("1.25", "10*6/mL", "F")
    assert results_in(["garbage"]) == []


def test_a_count_is_one_trigger_and_is_settled_by_the_pushed_result() -> None:
    paper = PaperCounter()
    paper.pushed = records("20261123101500")

    async def story(counter: AstmCellCounter) -> None:
        before = await counter.standing()
        await counter.prepare(COUNT)
        await counter.trigger(COUNT, FIRST)
        await asyncio.sleep(0.01)  # EOT has no answer
        assert paper.orders == 1
        order = frame_of(3, rb"O|1|S-000417||^^^VCD\^^^VIA\^^^CD3|R||||||N")
        assert paper.triggers == [order]
        settled = await counter.settle(COUNT, FIRST, before)
        assert isinstance(settled.report, AllDone)
        detail = settled.report.effect.detail
        assert CellDensity.read(detail["viable_density"]) == 1.25 * million_per_mL
        assert Fraction.read(detail["viability"]) == 93.5 * percent
        assert detail["result"] == "20261123101500"
        assert settled.standing == await counter.standing()

    with_counter(paper, story)


def test_a_result_that_doesnt_come_is_asked_for() -> None:
    paper = PaperCounter(NONE, NONE, records("20261123101500"))

    async def story(counter: AstmCellCounter) -> None:
        before = await counter.standing()
        await counter.prepare(COUNT)
        await counter.trigger(COUNT, FIRST)
        settled = await counter.settle(COUNT, FIRST, before)
        assert isinstance(settled.report, AllDone)
        assert (paper.orders, paper.queries) == (1, 4)

    with_counter(paper, story)


@pytest.mark.parametrize(
    ("pushed", "word"),
    [
        (order_alone("X", "too little in the tube"), "too little"),
        (records("20261123101500", vcd="1.25|furlong"), "furlong"),
        (records("20261123101500", vcd="lots|cells/mL"), "lots"),
        (records("20261123101500")[:3] + records("20261123101500")[4:], "only VIA"),
    ],
)
def test_what_cant_be_used_is_a_fault_of_the_counter(pushed: list[str], word: str) -> None:
    paper = PaperCounter()
    paper.pushed = pushed

    async def story(counter: AstmCellCounter) -> None:
        before = await counter.standing()
        await counter.prepare(COUNT)
        await counter.trigger(COUNT, FIRST)
        with pytest.raises(DeviceFaultError, match=word):
            await counter.settle(COUNT, FIRST, before)

    with_counter(paper, story)


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([NONE], NothingDone),
        ([records("20261123101500")], AllDone),
        ([NONE, records("20261123101500")], AllDone),
        ([order_alone("I"), order_alone("I"), records("20261123101500")], AllDone),
        ([records("20261123090000")], NothingDone),
        ([records("20261123101500", sample="S-000999")], NothingDone),
        ([order_alone("X", "clogged")], CannotTell),
    ],
)
def test_a_query_says_what_an_interrupted_count_did(
    answers: list[list[str]], verdict: type
) -> None:
    async def story(counter: AstmCellCounter) -> None:
        settled = await counter.effect_of(COUNT, FIRST, KNOWN)
        assert isinstance(settled.report, verdict)

    with_counter(PaperCounter(*answers), story)


def test_a_counter_that_answers_no_query_leaves_it_unknown() -> None:
    paper = PaperCounter()
    paper.message_ended = lambda: None

    async def story(counter: AstmCellCounter) -> None:
        with pytest.raises(OutcomeUnknownError):
            await counter.effect_of(COUNT, FIRST, KNOWN)

    with_counter(paper, story)


def test_a_result_of_the_sample_that_wasnt_known_stops_the_first_attempt() -> None:
    paper = PaperCounter(records("20261123101500"))

    async def story(counter: AstmCellCounter) -> None:
        with pytest.raises(RefusedError, match="already"):
            await counter.prepare(COUNT)
        assert (await counter.standing()).values == {"result": "20261123101500"}
        await counter.prepare(COUNT)
        await counter.trigger(COUNT, FIRST)
        await asyncio.sleep(0.01)  # EOT has no answer
        assert paper.orders == 1

    with_counter(paper, story)


def test_a_refused_preparation_is_sent_again_and_a_refused_trigger_never() -> None:
    paper = PaperCounter()
    paper.refuses = {b"H": [NAK, NAK], b"O": [NAK]}

    async def story(counter: AstmCellCounter) -> None:
        await a_result_is_known(paper)
        await counter.prepare(COUNT)
        with pytest.raises(FailedError, match="refused the order"):
            await counter.trigger(COUNT, FIRST)
        assert [frame[2:3] for frame in paper.frames] == [b"H", b"H", b"H", b"P", b"O"]
        assert paper.orders == 0
        assert await counter.read(CounterReady(unit="counter")) == "yes"

    with_counter(paper, story)


@pytest.mark.parametrize("lost", [b"O", b"L"])
def test_a_lost_acknowledgement_of_the_order_is_unknown(lost: bytes) -> None:
    paper = PaperCounter()
    paper.refuses = {lost: [b""]}

    async def story(counter: AstmCellCounter) -> None:
        await a_result_is_known(paper)
        await counter.prepare(COUNT)
        with pytest.raises(OutcomeUnknownError):
            await counter.trigger(COUNT, FIRST)
        assert [frame[2:3] for frame in paper.frames].count(b"O") == 1
        assert await counter.read(CounterReady(unit="counter")) == "yes"

    with_counter(paper, story)


def test_the_counter_goes_first_where_both_bid() -> None:
    paper = PaperCounter()
    message = records("20261123101500", sample="S-000999")
    frames = [frame_of(n, record.encode()) for n, record in enumerate(message, start=1)]

    async def story(counter: AstmCellCounter) -> None:
        await a_result_is_known(paper)
        paper.refuses = {ENQ: [ENQ]}
        paper.outgoing = [*frames, EOT]
        await counter.prepare(COUNT)
        await counter.trigger(COUNT, FIRST)
        await asyncio.sleep(0.01)  # EOT has no answer
        assert paper.orders == 1
        assert (await counter.standing()).values == {"result": "20261123101500"}

    with_counter(paper, story)


def test_a_counter_that_went_first_and_falls_silent_gives_the_link_back() -> None:
    paper = PaperCounter()

    async def story(counter: AstmCellCounter) -> None:
        paper.refuses = {ENQ: [ENQ]}
        assert await counter.read(CounterReady(unit="counter")) == "no"
        async with asyncio.timeout(60):
            assert await counter.read(CounterReady(unit="counter")) == "yes"

    with_counter(paper, story)


@pytest.mark.parametrize("sent", range(1, 6))
def test_a_message_that_its_sender_gave_up_says_nothing(sent: int) -> None:
    whole = records("20261123101500")
    paper = PaperCounter()

    async def story(counter: AstmCellCounter) -> None:
        await a_result_is_known(paper)
        paper.answers = [whole[:sent]]
        with pytest.raises(OutcomeUnknownError, match="no message came"):
            await counter.effect_of(COUNT, FIRST, KNOWN)
        paper.answers = [whole]
        settled = await counter.effect_of(COUNT, FIRST, KNOWN)
        assert isinstance(settled.report, AllDone)

    with_counter(paper, story)


@pytest.mark.parametrize("ends", ["L|1|T", "L|1|R", "L|1|E", "L|1|Q"])
def test_a_message_that_ends_in_an_error_says_nothing(ends: str) -> None:
    assert is_whole(records("20261123101500"))
    assert is_whole(NONE)
    assert not is_whole([*records("20261123101500")[:-1], ends])


def test_a_busy_counter_isnt_ready_and_takes_no_order() -> None:
    paper = PaperCounter()
    paper.refuses = {ENQ: [NAK] * 100}

    async def story(counter: AstmCellCounter) -> None:
        assert await counter.read(CounterReady(unit="counter")) == "no"
        with pytest.raises(RefusedError, match="busy"):
            await counter.prepare(COUNT)
        assert paper.frames == []

    with_counter(paper, story)


def test_a_counter_that_became_busy_takes_no_order() -> None:
    paper = PaperCounter()

    async def story(counter: AstmCellCounter) -> None:
        await a_result_is_known(paper)
        await counter.prepare(COUNT)
        paper.refuses = {ENQ: [NAK] * 100}
        with pytest.raises(RefusedError, match="busy"):
            await counter.trigger(COUNT, FIRST)
        assert paper.frames == []

    with_counter(paper, story)


def test_a_preparation_that_no_order_follows_leaves_the_counter_free() -> None:
    paper = PaperCounter()

    async def story(counter: AstmCellCounter) -> None:
        await a_result_is_known(paper)
        async with asyncio.timeout(600):
            await counter.prepare(COUNT)  # then a hold comes, and it is prepared anew later
            assert await counter.read(CounterReady(unit="counter")) == "yes"
            await counter.prepare(COUNT)
            await counter.trigger(COUNT, FIRST)
        await asyncio.sleep(0.01)  # EOT has no answer
        assert paper.orders == 1

    with_counter(paper, story)


def test_a_damaged_frame_of_the_counter_is_refused_and_taken_the_second_time() -> None:
    paper = PaperCounter()

    async def story(counter: AstmCellCounter) -> None:
        whole = [frame_of(n, r.encode()) for n, r in enumerate(records("20261123101500"), 1)]
        damaged = whole[3].replace(b"1.25", b"9.25")
        paper.outgoing = [*whole[:3], damaged, *whole[3:4], whole[3], *whole[4:], EOT]
        await paper.say(ENQ)
        await asyncio.sleep(1)
        assert paper.written == [ACK] * 4 + [NAK] + [ACK] * 4
        paper.answers = [records("20261123101500")]
        settled = await counter.effect_of(COUNT, FIRST, KNOWN)
        assert isinstance(settled.report, AllDone)
        density = settled.report.effect.detail["viable_density"]
        assert CellDensity.read(density) == 1.25 * million_per_mL

    with_counter(paper, story)


def test_silence_is_unknown_and_settings_must_name_what_is_counted() -> None:
    async def story(counter: AstmCellCounter) -> None:
        with pytest.raises(OutcomeUnknownError):
            await counter.standing()

    with_counter(Paper(lambda _: None, split=control_or_frame), story)
    with pytest.raises(ValidationError):
        Settings.model_validate({"tests": {"viability": "VIA"}})
    with pytest.raises(ValidationError):
        Settings.model_validate({"tests": {**TESTS, "cd3": "A|B"}})
