"""Modbus TCP on a transport: the software's side, and the codec of an instrument's.

Frames and messages are pymodbus'; its clients and servers aren't used, since they open
their own connections and repeat requests by themselves. Each request has a transaction
number of its own and only the answer that bears it is taken, so a late answer is never
another's.

Source: MODBUS Application Protocol Specification V1.1b3 (codes, limits), MODBUS Messaging
on TCP/IP Implementation Guide V1.0b (header).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pymodbus.exceptions import ModbusException
from pymodbus.framer.socket import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    ReadDiscreteInputsResponse,
    WriteMultipleCoilsRequest,
    WriteMultipleCoilsResponse,
    WriteSingleCoilRequest,
    WriteSingleCoilResponse,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
    WriteSingleRegisterResponse,
)

from devices.transport.conversation import Conversation, Counts
from devices.transport.framing import Cut
from devices.transport.transport import Transport
from orchestrator.kernel.errors import DeviceFaultError, OutcomeUnknownError, RefusedError
from orchestrator.kernel.identifiers import CommandId
from orchestrator.kernel.quantities import Duration

FRAME_BYTES_MAX = 260  # messaging guide, 4.1: 7 bytes of header and 253 of message
_HEADER_BYTES = 7  # messaging guide, 3.1.3
_TRANSACTIONS = 0xFFFF


class ModbusFunction(IntEnum):
    """What can be asked of registers and coils; 1.1b3, section 6."""

    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4
    WRITE_COIL = 5
    WRITE_REGISTER = 6
    WRITE_COILS = 15
    WRITE_REGISTERS = 16


class ModbusRefusal(IntEnum):
    """Exception codes; 1.1b3, section 7."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_ADDRESS = 2
    ILLEGAL_VALUE = 3
    DEVICE_FAILURE = 4
    ACKNOWLEDGE = 5
    DEVICE_BUSY = 6
    NEGATIVE_ACKNOWLEDGE = 7
    MEMORY_PARITY = 8
    GATEWAY_PATH_UNAVAILABLE = 10
    GATEWAY_NO_RESPONSE = 11


_NOTHING_DONE: Final = {
    ModbusRefusal.ILLEGAL_FUNCTION: "it doesn't know the function",
    ModbusRefusal.ILLEGAL_ADDRESS: "it has no such address",
    ModbusRefusal.ILLEGAL_VALUE: "it doesn't take the value",
    ModbusRefusal.DEVICE_BUSY: "it is busy",
    ModbusRefusal.NEGATIVE_ACKNOWLEDGE: "it can't do that",
    ModbusRefusal.GATEWAY_PATH_UNAVAILABLE: "the gateway has no path to it",
}
_FAULT: Final = {
    ModbusRefusal.DEVICE_FAILURE: "it failed while carrying it out",
    ModbusRefusal.MEMORY_PARITY: "its memory is damaged",
}
_UNKNOWN: Final = {
    ModbusRefusal.ACKNOWLEDGE: "it accepted the request and is still at it",
    ModbusRefusal.GATEWAY_NO_RESPONSE: "the gateway got no answer from it",
}


class ModbusRefusedError(RefusedError):
    """The instrument refused the request. It did nothing."""

    code = "refused.modbus"


class ModbusFaultError(DeviceFaultError):
    """The instrument reports that it failed. Read back what it did."""

    code = "failed.device-fault.modbus"


def modbus_frames(buffer: bytearray) -> Cut | None:
    """Cut the next Modbus TCP frame off the stream. A ``Framer``."""
    if len(buffer) < FramerSocket.MIN_SIZE:
        return None
    length = int.from_bytes(buffer[4:6], "big") + 6
    protocol = int.from_bytes(buffer[2:4], "big")
    if protocol != 0 or not FramerSocket.MIN_SIZE <= length <= FRAME_BYTES_MAX:
        return Cut(1, None, 1)  # out of step: look for a header from the next byte on
    if len(buffer) < length:
        return None
    return Cut(length, bytes(buffer[:length]))


class ModbusClient:
    """The software's side. Its ``run`` must run, as a conversation's."""

    def __init__(self, line: Transport, *, within: Duration, unit: int = 1) -> None:
        """Talk on ``line``, which nobody else reads.

        Args:
            line: The line.
            within: How long an answer may take.
            unit: The unit identifier; 1 where the instrument doesn't look at it.
        """
        self._framer = FramerSocket(DecodePDU(is_server=False))
        self._talk = Conversation(line, modbus_frames, numbered=True)
        self._within = within
        self._unit = unit
        self._transaction = 0

    @property
    def counts(self) -> Counts:
        """What came that nobody had asked for."""
        return self._talk.counts

    @property
    def closed(self) -> bool:
        """Return whether the line is closed."""
        return self._talk.closed

    async def run(self) -> None:
        """Read the line until it is closed. Start it once, in the driver's task group."""
        await self._talk.run()

    async def close(self) -> None:
        """Close the line."""
        await self._talk.close()

    async def read_coils(self, address: int, count: int) -> list[bool]:
        """Return ``count`` coils from ``address`` on. Raises as ``write_coil``; safe to repeat."""
        reply = await self._ask(ReadCoilsRequest(address=address, count=count))
        return self._bits(reply, count)

    async def read_discrete_inputs(self, address: int, count: int) -> list[bool]:
        """Return ``count`` inputs from ``address`` on. Raises as ``read_coils``."""
        reply = await self._ask(ReadDiscreteInputsRequest(address=address, count=count))
        return self._bits(reply, count)

    async def read_holding_registers(self, address: int, count: int) -> list[int]:
        """Return ``count`` registers from ``address`` on. Raises as ``read_coils``."""
        reply = await self._ask(ReadHoldingRegistersRequest(address=address, count=count))
        return self._registers(reply, count)

    async def read_input_registers(self, address: int, count: int) -> list[int]:
        """Return ``count`` input registers from ``address`` on. Raises as ``read_coils``."""
        reply = await self._ask(ReadInputRegistersRequest(address=address, count=count))
        return self._registers(reply, count)

    async def write_coil(self, address: int, *, on: bool, trigger: CommandId | None = None) -> None:
        """Set one coil.

        Args:
            address: From 0.
            on: What to set it to.
            trigger: The attempt whose trigger this is.

        Raises:
            ModbusRefusedError: The instrument refused. Nothing happened.
            ModbusFaultError: It reports a fault. Read back what it did.
            OutcomeUnknownError: No answer, or one that doesn't settle it.
            LineClosedError: The line was closed before. Nothing was sent.
        """
        reply = await self._ask(WriteSingleCoilRequest(address=address, bits=[on]), trigger)
        self._echoes(reply, reply.address == address and list(reply.bits[:1]) == [on])

    async def write_coils(
        self, address: int, values: Sequence[bool], *, trigger: CommandId | None = None
    ) -> None:
        """Set coils from ``address`` on, in one request. Raises as ``write_coil``."""
        request = WriteMultipleCoilsRequest(address=address, bits=list(values))
        reply = await self._ask(request, trigger)
        self._echoes(reply, (reply.address, reply.count) == (address, len(values)))

    async def write_register(
        self, address: int, value: int, *, trigger: CommandId | None = None
    ) -> None:
        """Set one register, 0 to 65535. Raises as ``write_coil``."""
        request = WriteSingleRegisterRequest(address=address, registers=[value])
        reply = await self._ask(request, trigger)
        self._echoes(reply, reply.address == address and list(reply.registers) == [value])

    async def write_registers(
        self, address: int, values: Sequence[int], *, trigger: CommandId | None = None
    ) -> None:
        """Set registers from ``address`` on, in one request. Raises as ``write_coil``."""
        request = WriteMultipleRegistersRequest(address=address, registers=list(values))
        reply = await self._ask(request, trigger)
        self._echoes(reply, (reply.address, reply.count) == (address, len(values)))

    async def halt_by_coils(self, address: int, values: Sequence[bool]) -> None:
        """Set coils at once, overtaking a request in flight. Raises as ``write_coil``."""
        request = WriteMultipleCoilsRequest(address=address, bits=list(values))
        frame = self._frame(request)
        reply = await self._talk.halt(
            frame, within=self._within, fits=_answers(request.transaction_id)
        )
        assert reply is not None, "a halt that waits for an answer returns it"
        self._decoded(request, reply)

    async def _ask(self, request: ModbusPDU, trigger: CommandId | None = None) -> ModbusPDU:
        frame = self._frame(request)
        reply = await self._talk.ask(
            frame,
            within=self._within,
            fits=_answers(request.transaction_id),
            trigger=trigger,
        )
        return self._decoded(request, reply)

    def _frame(self, request: ModbusPDU) -> bytes:
        self._transaction = self._transaction % _TRANSACTIONS + 1
        request.transaction_id = self._transaction
        request.dev_id = self._unit
        return self._framer.buildFrame(request)

    def _decoded(self, request: ModbusPDU, frame: bytes) -> ModbusPDU:
        what = f"{self._talk.name}: Modbus function {request.function_code} at {request.address}"
        try:
            _, reply = self._framer.handleFrame(frame, 0, 0)
        except ModbusException as error:
            raise self._nonsense(what, str(error)) from error
        if isinstance(reply, ExceptionResponse):
            raise _refusal(what, reply.exception_code)
        if reply is None or reply.function_code != request.function_code:
            raise self._nonsense(what, "its answer is to another function")
        return reply

    def _bits(self, reply: ModbusPDU, count: int) -> list[bool]:
        if len(reply.bits) != (count + 7) // 8 * 8:
            raise self._nonsense(f"{self._talk.name}: read {count} bits", "another number came")
        return list(reply.bits[:count])

    def _registers(self, reply: ModbusPDU, count: int) -> list[int]:
        if len(reply.registers) != count:
            raise self._nonsense(
                f"{self._talk.name}: read {count} registers", "another number came"
            )
        return list(reply.registers)

    def _echoes(self, reply: ModbusPDU, as_asked: bool) -> None:
        if not as_asked:
            raise self._nonsense(
                f"{self._talk.name}: write", f"it confirmed something else: {reply}"
            )

    def _nonsense(self, what: str, why: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            what, why=why, do_next="Read back what was done, and check what is connected"
        )


def _answers(transaction: int) -> _Answers:
    return _Answers(transaction.to_bytes(2, "big"))


@dataclass(frozen=True, slots=True)
class _Answers:
    """Whether a frame bears a request's transaction number."""

    transaction: bytes

    def __call__(self, frame: bytes) -> bool:
        return frame[:2] == self.transaction


def _refusal(what: str, code: int) -> RefusedError | DeviceFaultError | OutcomeUnknownError:
    if code in _NOTHING_DONE:
        return ModbusRefusedError(
            what,
            why=f"{_NOTHING_DONE[ModbusRefusal(code)]} (exception {code})",
            do_next="Correct address or value, or wait until it is idle",
        )
    if code in _FAULT:
        return ModbusFaultError(
            what,
            why=f"{_FAULT[ModbusRefusal(code)]} (exception {code})",
            do_next="Read back what was done, and see to the instrument",
        )
    why = _UNKNOWN[ModbusRefusal(code)] if code in _UNKNOWN else "an exception that isn't defined"
    return OutcomeUnknownError(
        what, why=f"{why} (exception {code})", do_next="Read back what was done"
    )


# --------------------------------------------------------------------------------------
# The instrument's side


@dataclass(frozen=True, slots=True)
class ModbusRequest:
    """What a client asked, as it came."""

    transaction: int
    unit: int
    function: int
    """A ``ModbusFunction``, or the number of one that isn't known here."""
    address: int = 0
    count: int = 0
    bits: tuple[bool, ...] = ()
    registers: tuple[int, ...] = ()
    is_sound: bool = True
    """False if its counts or its value contradict a rule or limit: refuse it as ILLEGAL_VALUE."""


class ModbusServerCodec:
    """Requests out of a stream, and answers as bytes. Knows no coils and no registers."""

    def __init__(self) -> None:
        self._framer = FramerSocket(DecodePDU(is_server=True))
        self._buffer = bytearray()
        self.garbage_bytes = 0

    def feed(self, data: bytes) -> Iterator[ModbusRequest]:
        """Return the requests that ``data`` completes, in order."""
        self._buffer += data
        while (piece := modbus_frames(self._buffer)) is not None:
            del self._buffer[: piece.used]
            self.garbage_bytes += piece.garbage
            if piece.frame is not None:
                yield self._request(piece.frame)

    def bits(self, request: ModbusRequest, values: Sequence[bool]) -> bytes:
        """Answer a reading of coils or discrete inputs."""
        kind = {
            ModbusFunction.READ_COILS: ReadCoilsResponse,
            ModbusFunction.READ_DISCRETE_INPUTS: ReadDiscreteInputsResponse,
        }[ModbusFunction(request.function)]
        return self._answer(request, kind(bits=list(values)))

    def registers(self, request: ModbusRequest, values: Sequence[int]) -> bytes:
        """Answer a reading of registers."""
        kind = {
            ModbusFunction.READ_HOLDING_REGISTERS: ReadHoldingRegistersResponse,
            ModbusFunction.READ_INPUT_REGISTERS: ReadInputRegistersResponse,
        }[ModbusFunction(request.function)]
        return self._answer(request, kind(registers=list(values)))

    def written(self, request: ModbusRequest) -> bytes:
        """Confirm a writing."""
        match ModbusFunction(request.function):
            case ModbusFunction.WRITE_COIL:
                reply: ModbusPDU = WriteSingleCoilResponse(
                    address=request.address, bits=list(request.bits)
                )
            case ModbusFunction.WRITE_REGISTER:
                reply = WriteSingleRegisterResponse(
                    address=request.address, registers=list(request.registers)
                )
            case ModbusFunction.WRITE_COILS:
                reply = WriteMultipleCoilsResponse(address=request.address, count=request.count)
            case ModbusFunction.WRITE_REGISTERS:
                reply = WriteMultipleRegistersResponse(address=request.address, count=request.count)
            case other:
                raise AssertionError(f"{other.name} writes nothing")
        return self._answer(request, reply)

    def refused(self, request: ModbusRequest, refusal: ModbusRefusal) -> bytes:
        """Answer with an exception."""
        return self._answer(request, ExceptionResponse(request.function, refusal))

    def _answer(self, request: ModbusRequest, reply: ModbusPDU) -> bytes:
        reply.transaction_id = request.transaction
        reply.dev_id = request.unit
        return self._framer.buildFrame(reply)

    def _request(self, frame: bytes) -> ModbusRequest:
        transaction = int.from_bytes(frame[:2], "big")
        unit, function = frame[6], frame[_HEADER_BYTES]
        if function not in set(ModbusFunction):
            return ModbusRequest(transaction, unit, function)
        try:
            _, pdu = self._framer.handleFrame(frame, 0, 0)
        except ModbusException:
            pdu = None
        if pdu is None:
            return ModbusRequest(transaction, unit, function, is_sound=False)
        bits = tuple(bool(bit) for bit in pdu.bits)
        registers = tuple(pdu.registers)
        count = pdu.count
        if function in (ModbusFunction.WRITE_COIL, ModbusFunction.WRITE_REGISTER):
            count = 1
        return ModbusRequest(
            transaction,
            unit,
            function,
            pdu.address,
            count,
            bits,
            registers,
            is_sound=_is_sound(function, count, len(bits), len(registers), frame),
        )


_COIL_VALUES: Final = (b"\x00\x00", b"\xff\x00")  # 1.1b3, 6.5: off, on, and no other

_COUNT_MAX: Final = {  # 1.1b3, section 6
    ModbusFunction.READ_COILS: 2_000,
    ModbusFunction.READ_DISCRETE_INPUTS: 2_000,
    ModbusFunction.READ_HOLDING_REGISTERS: 125,
    ModbusFunction.READ_INPUT_REGISTERS: 125,
    ModbusFunction.WRITE_COIL: 1,
    ModbusFunction.WRITE_REGISTER: 1,
    ModbusFunction.WRITE_COILS: 1_968,
    ModbusFunction.WRITE_REGISTERS: 123,
}


def _is_sound(function: int, count: int, bits: int, registers: int, frame: bytes) -> bool:
    if not 1 <= count <= _COUNT_MAX[ModbusFunction(function)]:
        return False
    body_bytes = len(frame) - _HEADER_BYTES - 1
    if function == ModbusFunction.WRITE_COILS:
        return bits == count and body_bytes == 5 + (count + 7) // 8
    if function == ModbusFunction.WRITE_REGISTERS:
        return registers == count and body_bytes == 5 + 2 * count
    if function == ModbusFunction.WRITE_COIL and frame[-2:] not in _COIL_VALUES:
        return False
    return body_bytes == 4
