"""Driver of the Moxa ioLogik E1213 as a block of pinch valves and an interlock reader.

Source: ioLogik E1200 series manual, Modbus/TCP default address mappings, pages 87, 90 and
91; framing from the Modbus/TCP messaging guide. From the published manual; not tried on
hardware.

Line: TCP port 502. Big-endian.

    frame     transaction(2) 0000 length(2) unit(1) function(1) data
    FC 15     0000 0008 01 <bits>    write outputs CH0 to CH7 at once; answer 0000 0008
    FC 1      0000 0008              outputs: 01 <bits>
    FC 2      0000 0008              inputs: 01 <bits>
    FC 4      139C 0002              uptime in seconds (register 5020), two words
    FC 4      1388 000A              model name (register 5000), two characters a word
    FC 4      13B5 0002              firmware (register 5029): major, minor, patch, -
    error     function + 80h, then 01 function, 02 address, 03 value, 04 failure

The transaction number binds an answer to its request, so a late one is never taken for
another; nothing but TCP guards the values, so outputs, inputs and uptime are read until
two answers in a row agree. After a lost answer the model name is asked for first. An
output that is on holds its valve open; all valves are shut without power. An act writes
all eight outputs in one message, so writing it twice equals once.

An input that is on is safe: door and emergency stop must be wired so that a broken wire
is unsafe. Bringing a valve block to rest leaves its outputs alone, since nothing moves by
itself; shutting valves is an act. The host-connection watchdog isn't armed.

Unconfirmed: the word order of the uptime (high word first is taken, as for the counters);
that outputs are off after a power cycle. An uptime that isn't below the earlier one shows
no restart, unless the device has since been up for longer than it was then: the outputs
themselves decide.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from pydantic import Field, model_validator

from devices.drivers.reads import not_offered, read_alike, read_frame
from devices.interfaces.driver import DeviceIdentity, Settled, Standing
from devices.interfaces.valves import InterlockInput, SetValves, ValvesOpen
from devices.sheets.sheet import sheet_of
from devices.transport.conversation import Conversation, Greeting, NoReplyError
from devices.transport.framing import Cut
from orchestrator.kernel.acts import (
    Act,
    AllDone,
    CannotTell,
    Effect,
    EffectReport,
    Facts,
    NothingDone,
    PartDone,
    Quieten,
    Reading,
)
from orchestrator.kernel.errors import (
    DeviceFaultError,
    LimitRefusedError,
    OutcomeUnknownError,
    RefusedError,
)
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import Duration

if TYPE_CHECKING:
    from devices.transport.transport import Transport
    from orchestrator.kernel.identifiers import CommandId, EquipmentId

SHEET: Final = "moxa_iologik_e1213"

CHANNELS: Final = 8
FRAME_MAX: Final = 254  # unit, function and data of one Modbus message

_HEADER: Final = struct.Struct(">HHHB")
_COUNTED: Final = struct.Struct(">HH")
_ERROR_LENGTH: Final = _HEADER.size + 2
_READ_OUTPUTS: Final = struct.pack(">BHH", 1, 0, CHANNELS)
_READ_INPUTS: Final = struct.pack(">BHH", 2, 0, CHANNELS)
_READ_UPTIME: Final = struct.pack(">BHH", 4, 5020, 2)
_READ_MODEL: Final = struct.pack(">BHH", 4, 5000, 10)
_READ_FIRMWARE: Final = struct.pack(">BHH", 4, 5029, 2)
_WRITE_OUTPUTS: Final = struct.pack(">BHHB", 15, 0, CHANNELS, 1)
_WRITTEN: Final = struct.pack(">BHH", 15, 0, CHANNELS)
_FAILED_WHILE_DOING: Final = 4
_ERRORS: Final = {
    1: "it doesn't know the function",
    2: "it doesn't know the address",
    3: "it doesn't take the value",
    _FAILED_WHILE_DOING: "it failed while carrying it out",
}


def modbus_tcp(buffer: bytearray) -> Cut | None:
    """Frame Modbus/TCP messages: transaction, protocol 0, length, then so many bytes."""
    if len(buffer) < 6:  # the header, up to what the length counts
        return None
    protocol, length = _COUNTED.unpack_from(buffer, 2)
    if protocol != 0 or not 3 <= length <= FRAME_MAX:
        return Cut(1, None, 1)
    used = 6 + length
    return Cut(used, bytes(buffer[:used])) if len(buffer) >= used else None


class Settings(Frozen):
    """What the process cell file says of one block."""

    unit_identifier: int = Field(ge=0, le=255, description="Modbus unit; 1 unless changed")
    outputs: dict[str, int] = Field(description="Valve to output channel, 0 to 7")
    inputs: dict[str, int] = Field(description="'door', 'emergency_stop' to input channel")

    @model_validator(mode="after")
    def _one_each(self) -> Settings:
        for what, channels in (("outputs", self.outputs), ("inputs", self.inputs)):
            if any(not 0 <= channel < CHANNELS for channel in channels.values()):
                raise ValueError(f"{what}: channels are 0 to {CHANNELS - 1}")
            if len(set(channels.values())) < len(channels):
                raise ValueError(f"{what}: two names have the same channel")
        return self


class MoxaIologikE1213:
    """One block on one connection. Implements ``Driver`` for ``valves``."""

    def __init__(self, transport: Transport, *, equipment: EquipmentId, settings: Settings) -> None:
        """Take over the line.

        Args:
            transport: The block's connection.
            equipment: Its name in the process cell.
            settings: Which output drives which valve, and what the inputs watch.
        """
        self._equipment = equipment
        self._settings = settings
        self._reply_within = sheet_of(SHEET).figure("reply_within", Duration)
        self._line = Conversation(
            transport,
            modbus_tcp,
            numbered=True,
            greeting=Greeting(self._who, quiet=self._reply_within),
        )
        self._transaction = 0
        names = {channel: valve for valve, channel in settings.outputs.items()}
        self._names = [names.get(channel, f"output-{channel}") for channel in range(CHANNELS)]
        self._only_acts_change = {"open": "equal"}

    @property
    def equipment(self) -> EquipmentId:
        return self._equipment

    @property
    def model(self) -> str:
        return SHEET

    @property
    def only_acts_change(self) -> Facts:
        return self._only_acts_change

    async def run(self) -> None:
        await self._line.run()

    async def identify(self) -> DeviceIdentity:
        name = _name(await self._twice(_READ_MODEL, 20, "model name"))
        self._line.knows(name)
        major, minor, patch, _ = await self._twice(_READ_FIRMWARE, 4, "firmware version")
        return DeviceIdentity(model=name, firmware=f"{major}.{minor}.{patch}")

    async def standing(self) -> Standing:
        return Standing(values={"open": await self._open()}, witness=await self._witness())

    async def prepare(self, act: Act) -> None:
        """Check that the block drives each valve of the act. Nothing is written."""
        self._bits(_set_valves(self._equipment, act))

    async def trigger(self, act: Act, command: CommandId) -> None:
        asked = _set_valves(self._equipment, act)
        what = self._what(asked)
        frame = self._frame(_WRITE_OUTPUTS + bytes([self._bits(asked)]))
        try:
            answer = await self._line.ask(
                frame,
                within=self._reply_within,
                fits=_Answers(frame, _WRITTEN, 0),
                trigger=command,
            )
        except NoReplyError as lost:
            raise OutcomeUnknownError(
                what,
                why=f"the block didn't answer within {self._reply_within}",
                do_next="Do not repeat it; let the outputs be read back",
            ) from lost
        if answer[7] == 0x80 | _WRITTEN[0]:
            why = _error(answer)
            if answer[8] == _FAILED_WHILE_DOING:
                raise OutcomeUnknownError(what, why=why, do_next="Let the outputs be read back")
            raise DeviceFaultError(what, why=why, do_next="Check the block's set-up")

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        return await self.effect_of(act, command, before)

    async def effect_of(self, act: Act, command: CommandId, before: Standing) -> Settled:
        del command
        asked = _set_valves(self._equipment, act)
        now = await self.standing()
        return Settled(report=self._judge(asked, before, now), standing=now)

    async def quieten(self, how: Quieten) -> None:
        """Leave the outputs as they are: nothing here moves by itself."""
        del how

    async def read(self, reading: Reading) -> str:
        if isinstance(reading, ValvesOpen):
            return await self._open()
        if not isinstance(reading, InterlockInput):
            raise not_offered(self._equipment, reading.kind)
        channel = self._settings.inputs.get(reading.part)
        if channel is None:
            raise RefusedError(
                f"{self._equipment}: read the input {reading.part!r}",
                why=f"the cell file names only {', '.join(sorted(self._settings.inputs))}",
                do_next="Correct the inputs in the cell file",
            )
        bits = await self._twice(_READ_INPUTS, 1, f"input {reading.part}")
        return "safe" if bits[0] >> channel & 1 else "unsafe"

    async def close(self) -> None:
        await self._line.close()

    def _judge(self, asked: SetValves, before: Standing, now: Standing) -> EffectReport:
        wanted = ",".join(sorted(asked.open))
        shown = now.values["open"]
        if shown == wanted:
            return AllDone(effect=Effect(done="1", detail={"open": shown}))
        if not before.witness or "open" not in before.values:
            return CannotTell(
                why=f"open: {shown or 'none'}; nothing on record says what was before"
            )
        if int(now.witness) < int(before.witness):
            return CannotTell(
                why=f"the block restarted ({now.witness} s ago); open now: {shown or 'none'}"
            )
        if shown == before.values["open"]:
            return NothingDone(why=f"open as before: {shown or 'none'}")
        return PartDone(
            effect=Effect(done="0", detail={"open": shown}),
            why=f"open: {shown or 'none'}; wanted: {wanted or 'none'}",
        )

    def _bits(self, asked: SetValves) -> int:
        """Return the output byte, channel 0 in its lowest bit."""
        bits = 0
        for valve in asked.open:
            channel = self._settings.outputs.get(valve)
            if channel is None:
                raise LimitRefusedError(
                    self._what(asked),
                    why=f"the block drives only {', '.join(sorted(self._settings.outputs))}",
                    do_next=f"Correct {valve!r} in the recipe, or the outputs in the cell file",
                )
            bits |= 1 << channel
        return bits

    async def _open(self) -> str:
        bits = (await self._twice(_READ_OUTPUTS, 1, "outputs"))[0]
        return ",".join(sorted(name for n, name in enumerate(self._names) if bits >> n & 1))

    async def _witness(self) -> str:
        return str(int.from_bytes(await self._twice(_READ_UPTIME, 4, "uptime")))

    async def _who(self) -> str:
        """Return the model name: all that a block says of itself, besides its firmware."""
        frame = self._frame(_READ_MODEL)
        fits = _Answers(frame, bytes((_READ_MODEL[0], 20)), 20)
        return _name((await self._line.ask(frame, within=self._reply_within, fits=fits))[9:])

    async def _twice(self, request: bytes, size: int, what: str) -> bytes:
        """Return ``size`` bytes that the block holds, twice alike."""
        return await read_alike(
            self._line,
            lambda: self._read(request, size, what),
            what=f"{self._equipment}: read {what}",
        )

    async def _read(self, request: bytes, size: int, what: str) -> bytes:
        """Return ``size`` bytes that the block holds.

        Raises:
            OutcomeUnknownError: No whole answer.
            DeviceFaultError: The block refuses; nothing changed.
        """
        frame = self._frame(request)
        what = f"{self._equipment}: read {what}"
        answer = await read_frame(
            self._line,
            frame,
            within=self._reply_within,
            fits=_Answers(frame, bytes((request[0], size)), size),
            what=what,
        )
        if answer[7] & 0x80:
            raise DeviceFaultError(what, why=_error(answer), do_next="Check the block's set-up")
        return answer[9:]

    def _frame(self, message: bytes) -> bytes:
        self._transaction = self._transaction % 0xFFFF + 1
        unit = self._settings.unit_identifier
        return _HEADER.pack(self._transaction, 0, 1 + len(message), unit) + message

    def _what(self, asked: SetValves) -> str:
        return f"{self._equipment}: open {', '.join(asked.open) or 'no valve'}, shut all others"


class _Answers:
    """Whether a frame answers ``request``, whole or by an error."""

    __slots__ = ("_bound", "_error", "_length", "_start")

    def __init__(self, request: bytes, start: bytes, more: int) -> None:
        """Expect ``start`` behind the header, and ``more`` bytes after it."""
        unit = request[6:7]
        self._bound = request[:4]
        self._start = unit + start
        self._length = _HEADER.size + len(start) + more
        self._error = unit + bytes((request[7] | 0x80,))

    def __call__(self, frame: bytes) -> bool:
        if not frame.startswith(self._bound):
            return False
        if frame.startswith(self._start, 6):
            return len(frame) == self._length
        return frame.startswith(self._error, 6) and len(frame) == _ERROR_LENGTH


def _name(register: bytes) -> str:
    return register.rstrip(b"\0 ").decode("ascii", "replace")


def _set_valves(equipment: EquipmentId, act: Act) -> SetValves:
    if not isinstance(act, SetValves):
        raise not_offered(equipment, act.kind)
    return act


def _error(answer: bytes) -> str:
    return f"the block says {_ERRORS.get(answer[8], f'error {answer[8]}')}"
