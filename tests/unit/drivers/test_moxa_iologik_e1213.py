"""The E1213 driver against Modbus/TCP messages and a block on paper, on virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from pydantic import ValidationError

from devices.drivers.moxa_iologik_e1213 import MoxaIologikE1213, Settings, modbus_tcp
from devices.interfaces.driver import Standing
from devices.interfaces.valves import InterlockInput, SetValves, ValvesOpen
from devices.transport.transport import Transport
from orchestrator.kernel.acts import (
    AllDone,
    CannotTell,
    NothingDone,
    OnInterruption,
    PartDone,
    Quieten,
)
from orchestrator.kernel.errors import (
    DeviceFaultError,
    LimitRefusedError,
    OutcomeUnknownError,
    RefusedError,
)
from orchestrator.kernel.identifiers import ContainerId, EquipmentId
from orchestrator.kernel.quantities import second
from orchestrator.virtual_time import run_in_virtual_time
from tests.unit.drivers.paper import FIRST, Paper, at_the_wire

VALVES = ("p1", "p2", "p3", "p4", "p5", "p6", "vessel", "flush")


def set_valves(*valves: str) -> SetValves:
    return SetValves(
        kit=ContainerId("K-1"),
        unit="transfer station",
        longest=10 * second,
        on_interruption=OnInterruption.REPEAT,
        quieten=Quieten.LEAVE_RUNNING,
        open=tuple(sorted(valves)),
    )


def split_modbus(buffer: bytearray) -> bytes | None:
    if len(buffer) < 6:
        return None
    used = 6 + int.from_bytes(buffer[4:6], "big")
    frame = bytes(buffer[:used])
    del buffer[:used]
    return frame


class PaperBlock(Paper):
    """Eight outputs, eight inputs, an uptime, and what goes wrong with them."""

    def __init__(self) -> None:
        super().__init__(self.reply, split=split_modbus)
        self.outputs = 0
        self.inputs = 0
        self.uptime = 70_000
        self.error = 0
        self.silent_for = 0
        self.takes_writes = True
        self.spoil: Callable[[bytes], bytes] = lambda reply: reply

    def reply(self, request: bytes) -> bytes | None:
        if self.silent_for:
            self.silent_for -= 1
            return None
        if self.error:
            answer = bytes([request[7] | 0x80, self.error])
        else:
            answer = self.carry_out(request[7:])
        length = (len(answer) + 1).to_bytes(2, "big")
        return self.spoil(request[:4] + length + request[6:7] + answer)

    def carry_out(self, message: bytes) -> bytes:
        if message[0] == 15:
            if self.takes_writes:
                self.outputs = message[6]
            return message[:5]
        if message[0] == 1:
            return bytes([1, 1, self.outputs])
        if message[0] == 2:
            return bytes([2, 1, self.inputs])
        return {
            5020: bytes([4, 4]) + self.uptime.to_bytes(4, "big"),
            5000: bytes([4, 20]) + b"E1213".ljust(20, b"\0"),
            5029: bytes([4, 4, 3, 1, 0, 0]),
        }[int.from_bytes(message[1:3], "big")]

    def messages(self) -> list[bytes]:
        return [request[7:] for request in self.written]


def with_block(paper: PaperBlock, story: Callable[[MoxaIologikE1213], Awaitable[None]]) -> None:
    def make(line: Transport) -> MoxaIologikE1213:
        settings = Settings(
            unit_identifier=1,
            outputs={valve: channel for channel, valve in enumerate(VALVES)},
            inputs={"door": 0, "emergency_stop": 1},
        )
        return MoxaIologikE1213(line, equipment=EquipmentId("V1"), settings=settings)

    async def main() -> None:
        async with at_the_wire(paper, make) as block:
            await story(block)

    run_in_virtual_time(main())


def test_an_act_writes_all_outputs_in_one_message_and_reads_them_back() -> None:
    paper = PaperBlock()

    async def story(block: MoxaIologikE1213) -> None:
        act = set_valves("p1", "vessel")
        before = await block.standing()
        assert before == Standing(values={"open": ""}, witness="70000")
        await block.prepare(act)
        await block.trigger(act, FIRST)
        settled = await block.settle(act, FIRST, before)
        assert isinstance(settled.report, AllDone)
        assert settled.report.effect.done == "1"
        assert settled.standing.values == {"open": "p1,vessel"}
        assert paper.triggers == [
            bytes.fromhex("0005 0000 0008 01 0F 0000 0008 01 41".replace(" ", ""))
        ]
        assert paper.messages().count(bytes.fromhex("0100000008")) == 4
        assert await block.read(ValvesOpen(unit="transfer station")) == "p1,vessel"

    with_block(paper, story)


def test_shutting_all_is_an_act_like_any_other() -> None:
    paper = PaperBlock()
    paper.outputs = 0xFF

    async def story(block: MoxaIologikE1213) -> None:
        await block.trigger(set_valves(), FIRST)
        assert paper.outputs == 0

    with_block(paper, story)


def test_an_unknown_valve_is_refused_with_nothing_written() -> None:
    paper = PaperBlock()

    async def story(block: MoxaIologikE1213) -> None:
        with pytest.raises(LimitRefusedError, match="p9"):
            await block.prepare(set_valves("p9"))
        with pytest.raises(LimitRefusedError):
            await block.trigger(set_valves("p9"), FIRST)
        assert paper.written == []

    with_block(paper, story)


def test_a_lost_answer_to_the_write_leaves_doubt_and_is_not_repeated() -> None:
    paper = PaperBlock()

    async def story(block: MoxaIologikE1213) -> None:
        before = await block.standing()
        paper.silent_for = 1
        with pytest.raises(OutcomeUnknownError):
            await block.trigger(set_valves("p1"), FIRST)
        settled = await block.effect_of(set_valves("p1"), FIRST, before)
        assert isinstance(settled.report, NothingDone)
        assert [m[0] for m in paper.messages()].count(15) == 1

    with_block(paper, story)


@pytest.mark.parametrize(
    ("error", "kind"), [(2, DeviceFaultError), (3, DeviceFaultError), (4, OutcomeUnknownError)]
)
def test_an_exception_says_whether_anything_happened(error: int, kind: type[Exception]) -> None:
    paper = PaperBlock()

    async def story(block: MoxaIologikE1213) -> None:
        paper.error = error
        with pytest.raises(kind):
            await block.trigger(set_valves("p1"), FIRST)

    with_block(paper, story)


def other_transaction(reply: bytes) -> bytes:
    return b"\xff" + reply[1:]


def other_unit(reply: bytes) -> bytes:
    return reply[:6] + b"\x02" + reply[7:]


def cut_short(reply: bytes) -> bytes:
    return reply[:-2]


def other_function(reply: bytes) -> bytes:
    return reply[:7] + b"\x05" + reply[8:]


@pytest.mark.parametrize("spoil", [other_transaction, other_unit, cut_short, other_function])
def test_a_damaged_or_strange_answer_is_silence(spoil: Callable[[bytes], bytes]) -> None:
    paper = PaperBlock()

    async def story(block: MoxaIologikE1213) -> None:
        paper.spoil = spoil
        with pytest.raises(OutcomeUnknownError):
            await block.read(ValvesOpen(unit="transfer station"))
        assert paper.messages().count(bytes.fromhex("0100000008")) == 1
        assert paper.messages()[1:], "and who it is was asked before anything else"
        assert set(paper.messages()[1:]) == {bytes.fromhex("041388000a")}

    with_block(paper, story)


def test_a_late_answer_is_never_taken_for_the_next_one() -> None:
    paper = PaperBlock()

    async def story(block: MoxaIologikE1213) -> None:
        await block.standing()
        late = paper.reply(paper.written[0])
        assert late is not None
        paper.outputs = 0x02

        def late_first(request: bytes) -> bytes:
            return late + (paper.reply(request) or b"")

        paper.answer = late_first
        assert await block.read(ValvesOpen(unit="transfer station")) == "p2"

    with_block(paper, story)


@pytest.mark.parametrize(
    ("outputs", "uptime", "verdict"),
    [
        (0x41, 70_010, AllDone),
        (0x41, 5, AllDone),
        (0x02, 70_010, NothingDone),
        (0x40, 70_010, PartDone),
        (0x02, 5, CannotTell),
        (0x00, 5, CannotTell),
    ],
)
def test_what_the_outputs_tell_after_a_crash(outputs: int, uptime: int, verdict: type) -> None:
    paper = PaperBlock()
    paper.outputs, paper.uptime = outputs, uptime
    before = Standing(values={"open": "p2"}, witness="70000")

    async def story(block: MoxaIologikE1213) -> None:
        settled = await block.effect_of(set_valves("p1", "vessel"), FIRST, before)
        assert type(settled.report) is verdict
        assert paper.triggers == []

    with_block(paper, story)


@pytest.mark.parametrize("outputs", [0x02, 0x00])
@pytest.mark.parametrize(
    "before", [Standing(values={"open": "p2"}, witness=""), Standing(values={}, witness="70000")]
)
def test_outputs_tell_nothing_where_nobody_wrote_what_was_before(
    before: Standing, outputs: int
) -> None:
    paper = PaperBlock()
    paper.outputs, paper.uptime = outputs, 70_010

    async def story(block: MoxaIologikE1213) -> None:
        settled = await block.effect_of(set_valves("p1", "vessel"), FIRST, before)
        assert isinstance(settled.report, CannotTell)

    with_block(paper, story)


def test_inputs_are_safe_only_while_they_are_on() -> None:
    paper = PaperBlock()

    async def story(block: MoxaIologikE1213) -> None:
        door = InterlockInput(unit="transfer station", part="door")
        stop = InterlockInput(unit="transfer station", part="emergency_stop")
        assert await block.read(door) == "unsafe"
        paper.inputs = 0b01
        assert await block.read(door) == "safe"
        assert await block.read(stop) == "unsafe"
        with pytest.raises(RefusedError):
            await block.read(InterlockInput(unit="transfer station", part="window"))

    with_block(paper, story)


def test_bringing_it_to_rest_writes_nothing() -> None:
    paper = PaperBlock()

    async def story(block: MoxaIologikE1213) -> None:
        for how in Quieten:
            await block.quieten(how)
        assert paper.written == []

    with_block(paper, story)


def test_it_says_what_it_is() -> None:
    paper = PaperBlock()

    async def story(block: MoxaIologikE1213) -> None:
        identity = await block.identify()
        assert (identity.model, identity.firmware) == ("E1213", "3.1.0")

    with_block(paper, story)


def test_a_closed_connection_is_doubt() -> None:
    paper = PaperBlock()

    async def story(block: MoxaIologikE1213) -> None:
        await block.close()
        with pytest.raises(OutcomeUnknownError, match="closed"):
            await block.standing()

    with_block(paper, story)


def test_garbage_is_skipped_byte_by_byte() -> None:
    frame = bytes.fromhex("000100000004010101FF")
    cut = modbus_tcp(bytearray(frame))
    assert cut is not None
    assert (cut.used, cut.frame) == (10, frame)
    stream = bytearray(b"\x55\x66\x77" + frame)
    skipped = 0
    while (cut := modbus_tcp(stream)) is not None and cut.frame is None:
        del stream[: cut.used]
        skipped += cut.used
    assert skipped == 3
    assert modbus_tcp(bytearray(frame[:9])) is None


@pytest.mark.parametrize(
    ("outputs", "inputs"), [({"p1": 8}, {}), ({"p1": 0, "p2": 0}, {}), ({}, {"door": -1})]
)
def test_wrong_channels_are_refused(outputs: dict[str, int], inputs: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Settings(unit_identifier=1, outputs=outputs, inputs=inputs)
