"""Modbus on a wire in memory: both sides, exceptions, late answers, broken frames.

Method: the printed examples of the MODBUS Application Protocol Specification V1.1b3,
section 6, as bytes; then client and codec against each other on virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from devices.transport.conversation import NoReplyError
from devices.transport.memory import MemoryLine, memory_wire
from devices.transport.modbus import (
    ModbusClient,
    ModbusFaultError,
    ModbusFunction,
    ModbusRefusal,
    ModbusRefusedError,
    ModbusRequest,
    ModbusServerCodec,
)
from orchestrator.kernel.errors import OutcomeUnknownError
from orchestrator.kernel.identifiers import CommandId
from orchestrator.kernel.quantities import second
from orchestrator.virtual_time import run_in_virtual_time

Answer = Callable[[ModbusServerCodec, ModbusRequest], bytes | None]
Play = Callable[[ModbusClient], Coroutine[Any, Any, None]]


def framed(transaction: int, message: str, unit: int = 1) -> bytes:
    body = bytes.fromhex(message)
    return (
        transaction.to_bytes(2, "big")
        + b"\0\0"
        + (len(body) + 1).to_bytes(2, "big")
        + bytes([unit])
        + body
    )


def with_client(play: Play, far: Callable[[MemoryLine], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        software, instrument = memory_wire("V1")
        client = ModbusClient(software, within=1 * second)
        async with asyncio.TaskGroup() as group:
            group.create_task(client.run())
            playing = group.create_task(far(instrument))
            await play(client)
            playing.cancel()
            await client.close()

    run_in_virtual_time(main())


def answering(answer: Answer) -> Callable[[MemoryLine], Coroutine[Any, Any, None]]:
    async def far(line: MemoryLine) -> None:
        codec = ModbusServerCodec()
        while True:
            for request in codec.feed(await line.receive()):
                reply = answer(codec, request)
                if reply is not None:
                    await line.send(reply)

    return far


Call = Callable[[ModbusClient], Coroutine[Any, Any, object]]

EXAMPLES: list[tuple[Call, str, str, object]] = [
    # 6.1: coils 20 to 38
    (
        lambda client: client.read_coils(0x13, 0x13),
        "01 0013 0013",
        "01 03 CD6B05",
        [bool(int(bit)) for bit in "1011001111010110101"],
    ),
    # 6.2: inputs 197 to 218
    (
        lambda client: client.read_discrete_inputs(0xC4, 0x16),
        "02 00C4 0016",
        "02 03 ACDB35",
        [bool(int(bit)) for bit in "0011010111011011101011"],
    ),
    # 6.3: registers 108 to 110
    (
        lambda client: client.read_holding_registers(0x6B, 3),
        "03 006B 0003",
        "03 06 022B 0000 0064",
        [0x22B, 0, 0x64],
    ),
    # 6.4: input register 9
    (lambda client: client.read_input_registers(8, 1), "04 0008 0001", "04 02 000A", [10]),
    # 6.5: coil 173 on
    (lambda client: client.write_coil(0xAC, on=True), "05 00AC FF00", "05 00AC FF00", None),
    # 6.6: register 2
    (lambda client: client.write_register(1, 3), "06 0001 0003", "06 0001 0003", None),
    # 6.11: ten coils from 20
    (
        lambda client: client.write_coils(0x13, [bool(int(b)) for b in "1011001110"]),
        "0F 0013 000A 02 CD01",
        "0F 0013 000A",
        None,
    ),
    # 6.12: two registers from 2
    (
        lambda client: client.write_registers(1, [0x0A, 0x102]),
        "10 0001 0002 04 000A 0102",
        "10 0001 0002",
        None,
    ),
]


@pytest.mark.parametrize(("call", "request_message", "reply_message", "result"), EXAMPLES)
def test_bytes_are_those_of_the_specifications_examples(
    call: Call,
    request_message: str,
    reply_message: str,
    result: object,
) -> None:
    async def far(line: MemoryLine) -> None:
        assert await line.receive() == framed(1, request_message)
        await line.send(framed(1, reply_message))

    async def play(client: ModbusClient) -> None:
        assert await call(client) == result

    with_client(play, far)


def test_the_codec_reads_what_the_client_writes_and_answers_what_it_reads() -> None:
    coils = [False] * 8
    registers = {0: 7, 1: 8}
    seen: list[ModbusRequest] = []

    def instrument(codec: ModbusServerCodec, request: ModbusRequest) -> bytes:
        seen.append(request)
        assert request.is_sound
        match request.function:
            case ModbusFunction.READ_COILS | ModbusFunction.READ_DISCRETE_INPUTS:
                return codec.bits(request, coils[request.address :][: request.count])
            case ModbusFunction.READ_HOLDING_REGISTERS | ModbusFunction.READ_INPUT_REGISTERS:
                return codec.registers(request, [registers[0], registers[1]][: request.count])
            case ModbusFunction.WRITE_COIL | ModbusFunction.WRITE_COILS:
                coils[request.address : request.address + request.count] = request.bits
            case _:
                registers.update(enumerate(request.registers, request.address))
        return codec.written(request)

    async def play(client: ModbusClient) -> None:
        await client.write_coil(2, on=True, trigger=CommandId("CMD-000001"))
        await client.write_coils(4, [True, False, True])
        assert await client.read_coils(0, 8) == [
            False,
            False,
            True,
            False,
            True,
            False,
            True,
            False,
        ]
        assert await client.read_discrete_inputs(2, 3) == [True, False, True]
        await client.write_register(0, 65_535)
        await client.write_registers(0, [1, 2])
        assert await client.read_holding_registers(0, 2) == [1, 2]
        assert await client.read_input_registers(0, 1) == [1]

    with_client(play, answering(instrument))
    assert [request.transaction for request in seen] == list(range(1, 9))


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (ModbusRefusal.ILLEGAL_ADDRESS, ModbusRefusedError),
        (ModbusRefusal.DEVICE_BUSY, ModbusRefusedError),
        (ModbusRefusal.DEVICE_FAILURE, ModbusFaultError),
        (ModbusRefusal.GATEWAY_NO_RESPONSE, OutcomeUnknownError),
    ],
)
def test_an_exception_says_what_happened_to_the_request(
    refusal: ModbusRefusal, error: type[Exception]
) -> None:
    async def play(client: ModbusClient) -> None:
        with pytest.raises(error, match=f"exception {refusal.value}"):
            await client.write_coil(99, on=True)

    with_client(play, answering(lambda codec, request: codec.refused(request, refusal)))


def test_a_late_answer_bears_the_wrong_number_and_is_dropped() -> None:
    async def far(line: MemoryLine) -> None:
        await line.receive()
        await asyncio.sleep(0.5)
        assert await line.receive() == framed(2, "04 0000 0001")
        await line.send(framed(1, "04 02 0001"))
        await line.send(framed(2, "04 02 0002"))

    async def play(client: ModbusClient) -> None:
        with pytest.raises(NoReplyError):
            await client.read_input_registers(0, 1)
        assert await client.read_input_registers(0, 1) == [2]

    with_client(play, far)


def test_an_answer_to_another_function_settles_nothing() -> None:
    async def far(line: MemoryLine) -> None:
        await line.receive()
        await line.send(framed(1, "04 02 0001"))

    async def play(client: ModbusClient) -> None:
        with pytest.raises(OutcomeUnknownError, match="another function"):
            await client.write_coil(0, on=True)

    with_client(play, far)


def test_a_confirmation_of_something_else_settles_nothing() -> None:
    async def far(line: MemoryLine) -> None:
        await line.receive()
        await line.send(framed(1, "05 0001 FF00"))

    async def play(client: ModbusClient) -> None:
        with pytest.raises(OutcomeUnknownError, match="confirmed something else"):
            await client.write_coil(0, on=True)

    with_client(play, far)


def test_the_codec_finds_the_next_header_after_garbage_and_tells_unsound_requests() -> None:
    codec = ModbusServerCodec()
    stream = b"\xff\xff\xff" + framed(7, "04 0000 0001")
    stream += framed(8, "0F 0000 0003 02 0700")  # two bytes for three coils
    stream += framed(9, "03 0000 0000")
    stream += framed(10, "2B 0E 01 00")  # a function that isn't known here
    stream += framed(11, "05 0003 FF01")  # a coil is written with 0000 or FF00
    stream += framed(12, "05 0003 0001") + framed(13, "05 0003 0000") + framed(14, "05 0003 FF00")
    requests = [request for byte in stream for request in codec.feed(bytes([byte]))]
    assert codec.garbage_bytes >= 3
    assert [(request.transaction, request.is_sound) for request in requests] == [
        (7, True),
        (8, False),
        (9, False),
        (10, True),
        (11, False),
        (12, False),
        (13, True),
        (14, True),
    ]
    assert requests[3].function == 0x2B
    refused = codec.refused(requests[3], ModbusRefusal.ILLEGAL_FUNCTION)
    assert refused == framed(10, "AB 01")
