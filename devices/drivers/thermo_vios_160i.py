r"""Driver of a Thermo Heracell VIOS 160i (or VIOS CR, Steri-Cycle i160), on RS-232 or USB.

Source: VIOS 160i manual, 12-4 to 12-7; VIOS CR manual, pages 182 to 186; Steri-Cycle i160
manual, pages 170 to 181; Isotemp manual, page 48 (printed telegrams). From the published
manual; not tried on hardware.

Line: baud rate as set at the touch screen, 8N1 (unconfirmed). Lower-case ASCII.

    read      ?:aaaa:00::cc\r        answer  !:aaaa:bb:<bb bytes>:cc\r
    write     !:aaaa:bb:<bytes>:cc\r answer  !:aaaa:bb::cc\r
    error     !:aaaa:02:?n:cc\r      0 telegram, 1 parameter, 2 memory, 3 value
    cc        VIOS, Steri-Cycle: 0xFF exclusive-or all bytes before cc, two hex digits
              VIOS CR: CRC-8 with 0x07 (start value 0x00 unconfirmed)

    0001      version of the main board
    2010      temperature   set;actual;...   (layout unconfirmed, as the Isotemp's 3010)
    2020      carbon dioxide, the same
    2400      data logger: first records, at most seven of 16 bytes as 32 hex digits each
    2401      the next records     2402 the last telegram once more
    record    event, day, month, year, hour, minute, status(2), values(8)
              01 periodic, 30 power reset, 31 door open, 32 door closed, ff end of the log

An act has one trigger, and setting a climate needs two writes. What stands already isn't
written. Where both differ, carbon dioxide is written as a preparation, since writing it
twice is writing it once, and the temperature is the trigger. A set point is written in
the form in which the device shows its own.

An answer bears its parameter's address and a checksum of eight bits, which one damaged
answer in 256 passes and swapped bytes always: set points are read until two answers in a
row agree. After a lost answer the line is silent, and the version is asked for first.

The logger is read on from where it was, so what happened while the software was dead is
seen afterwards. Each telegram is asked for once more by 2402 and counts if both agree.
With records each minute that takes two hundred telegrams a day: set the logger's cycle to
an hour. Times are the device's own, without a zone.

Climate is left running whatever happens: there is nothing to quiet.

Unconfirmed: see the sheet.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pydantic import Field

from devices.drivers.reads import READ_ATTEMPTS_MAX, not_offered, read_alike, read_frame
from devices.interfaces.climate import (
    ChamberCarbonDioxide,
    ChamberTemperature,
    ClimateEvents,
    SetClimate,
)
from devices.interfaces.driver import DeviceIdentity, Settled, Standing
from devices.sheets.sheet import sheet_of
from devices.transport.conversation import Conversation, Greeting, NoReplyError, OvertakenError
from devices.transport.framing import lines
from devices.transport.transport import LineClosedError
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
)
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import (
    Duration,
    Fraction,
    Temperature,
    TemperatureChange,
    degC,
    percent,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from devices.transport.transport import Transport
    from orchestrator.kernel.identifiers import CommandId, EquipmentId

SHEET: Final = "thermo_vios_160i"

_VERSION: Final = b"0001"
_TEMPERATURE: Final = b"2010"
_CARBON_DIOXIDE: Final = b"2020"
_FIRST_RECORDS: Final = b"2400"
_NEXT_RECORDS: Final = b"2401"
_SAME_RECORDS: Final = b"2402"
_RECORDS_A_TELEGRAM: Final = 7
_RECORD_BYTES: Final = 16
_RECORDS_ATTEMPTS_MAX: Final = 6 * READ_ATTEMPTS_MAX
_DRIFT: Final = Decimal("0.5")
"""What a measured value may change within two answers in a row: K or %."""

_TELEGRAM: Final = re.compile(rb"!:([0-9a-f]{4}):([0-9a-f]{2}):(.*):([0-9a-f]{2})", re.DOTALL)
_SHOWN: Final = re.compile(r"([+-]?)([0-9]{1,4})(?:\.([0-9]{1,3}))?")
_ERRORS: Final = {
    b"?0": "the telegram came damaged",
    b"?1": "it doesn't know the parameter",
    b"?2": "its memory failed",
    b"?3": "the value is outside its limits",
}
_MEMORY: Final = b"?2"
_DAMAGED: Final = b"?0"
_EVENTS: Final = {0x30: "power_reset", 0x31: "door_open", 0x32: "door_closed"}
_POWER_RESET: Final = 0x30
_END_OF_LOG: Final = 0xFF


def inverted_xor(telegram: bytes) -> int:
    """Return the checksum of VIOS and Steri-Cycle over what stands before it."""
    checksum = 0xFF
    for byte in telegram:
        checksum ^= byte
    return checksum


def crc8(telegram: bytes) -> int:
    """Return the checksum of the VIOS CR over what stands before it."""
    crc = 0
    for byte in telegram:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


_CHECKSUMS: Final = {"inverted xor": inverted_xor, "crc-8": crc8}


class Settings(Frozen):
    """What the process cell file says of one incubator."""

    checksum: Literal["inverted xor", "crc-8"] = Field(
        description="'crc-8' for the cleanroom model (VIOS CR), else 'inverted xor'"
    )


class Loop(NamedTuple):
    """What a control loop shows: its set point as written, and what is measured."""

    shown: str
    set_point: Decimal
    actual: Decimal


class ThermoVios160i:
    """One incubator on one line. Implements ``Driver`` for ``climate``."""

    def __init__(self, transport: Transport, *, equipment: EquipmentId, settings: Settings) -> None:
        """Take over the line.

        Args:
            transport: The incubator's line.
            equipment: Its name in the process cell.
            settings: Which checksum it speaks.
        """
        sheet = sheet_of(SHEET)
        self._equipment = equipment
        self._checksum = _CHECKSUMS[settings.checksum]
        self._temperatures = sheet.range_of("temperature", Temperature)
        self._carbon_dioxides = sheet.range_of("carbon_dioxide", Fraction)
        self._temperature_step = sheet.figure("temperature_step", TemperatureChange)
        self._carbon_dioxide_step = sheet.figure("carbon_dioxide_step", Fraction)
        self._reply_within = sheet.figure("reply_within", Duration)
        self._line = Conversation(
            transport,
            lines(b"\r", longest=300),
            greeting=Greeting(self._who, quiet=self._reply_within),
        )
        self._telegrams_max = int(sheet.number("logger_telegrams"))
        self._only_acts_change = {"temperature": "equal", "carbon_dioxide": "equal"}
        self._planned: tuple[bytes, str] | None = None
        self._log_read = False
        self._next_is_owed = False  # the next telegram was asked for, and its answer lost
        self._last_records: bytes = b""
        self._last_reset = "no power reset in its log"
        self._events: list[str] = []

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
        what = f"{self._equipment}: read the version"
        version = await read_alike(self._line, lambda: self._read(_VERSION, "version"), what=what)
        self._line.knows(_text(version))
        return DeviceIdentity(model=SHEET, firmware=_text(version))

    async def _who(self) -> str:
        """Return the main board's version: all that it says of itself."""
        answer = await self._line.ask(
            self._telegram(b"?", _VERSION, b""),
            within=self._reply_within,
            fits=self._answers(_VERSION),
        )
        return _text(answer[10:-3])

    async def standing(self) -> Standing:
        temperature, carbon_dioxide = await self._loops()
        await self._read_log_on()
        return Standing(
            values={
                "temperature": str(temperature.set_point * degC),
                "carbon_dioxide": str(carbon_dioxide.set_point * percent),
            },
            witness=self._last_reset,
        )

    async def prepare(self, act: Act) -> None:
        """See what differs; if both do, write the set point of carbon dioxide.

        Raises:
            LimitRefusedError: A set point is beyond the sheet, or finer than the
                incubator's steps. Nothing was written.
            DeviceFaultError: The incubator doesn't take the carbon dioxide. Nothing changed.
            OutcomeUnknownError: No answer. The set point of carbon dioxide may stand already.
        """
        asked = self._mine(act)
        temperature, carbon_dioxide = await self._loops()
        degrees = self._written(asked, temperature, Decimal(asked.temperature.base) / 1_000)
        gas = self._written(asked, carbon_dioxide, Decimal(asked.carbon_dioxide.base) / 1_000)
        if asked.carbon_dioxide == carbon_dioxide.set_point * percent:
            self._planned = (_TEMPERATURE, degrees)
        elif asked.temperature == temperature.set_point * degC:
            self._planned = (_CARBON_DIOXIDE, gas)
        else:
            answer = await read_frame(
                self._line,
                self._telegram(b"!", _CARBON_DIOXIDE, gas.encode("ascii")),
                within=self._reply_within,
                fits=self._accepts(_CARBON_DIOXIDE),
                what=f"{self._equipment}: set carbon dioxide to {asked.carbon_dioxide}",
            )
            self._refuse_error(answer, self._what(asked))
            self._planned = (_TEMPERATURE, degrees)

    async def trigger(self, act: Act, command: CommandId) -> None:
        asked = self._mine(act)
        what = self._what(asked)
        assert self._planned is not None, f"{self._equipment}: triggered without a preparation"
        (address, value), self._planned = self._planned, None
        try:
            answer = await self._line.ask(
                self._telegram(b"!", address, value.encode("ascii")),
                within=self._reply_within,
                fits=self._accepts(address),
                trigger=command,
            )
        except NoReplyError as lost:
            raise OutcomeUnknownError(
                what,
                why=f"the incubator didn't answer within {self._reply_within}",
                do_next="Do not repeat it; let the set points be read back",
            ) from lost
        self._refuse_error(answer, what)

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        return await self.effect_of(act, command, before)

    async def effect_of(self, act: Act, command: CommandId, before: Standing) -> Settled:
        del command
        asked = self._mine(act)
        now = await self.standing()
        return Settled(report=_judge(asked, before, now), standing=now)

    async def quieten(self, how: Quieten) -> None:
        """Do nothing: climate is left running."""
        del how

    async def read(self, reading: Reading) -> str:
        if isinstance(reading, ChamberTemperature):
            return str((await self._loop(_TEMPERATURE)).actual * degC)
        if isinstance(reading, ChamberCarbonDioxide):
            return str((await self._loop(_CARBON_DIOXIDE)).actual * percent)
        if not isinstance(reading, ClimateEvents):
            raise not_offered(self._equipment, reading.kind)
        await self._read_log_on()
        events, self._events = self._events, []
        return " | ".join(events)

    async def close(self) -> None:
        await self._line.close()

    async def _loops(self) -> tuple[Loop, Loop]:
        return await self._loop(_TEMPERATURE), await self._loop(_CARBON_DIOXIDE)

    async def _loop(self, address: bytes) -> Loop:
        """Return what a control loop shows, twice alike."""
        name = "temperature" if address == _TEMPERATURE else "carbon dioxide"
        return await read_alike(
            self._line,
            lambda: self._loop_once(address, name),
            alike=_is_alike,
            what=f"{self._equipment}: read the {name}",
        )

    async def _loop_once(self, address: bytes, name: str) -> Loop:
        value = await self._read(address, name)
        try:
            fields = value.decode("ascii").split(";")
            return Loop(fields[0], Decimal(fields[0]), Decimal(fields[1]))
        except (UnicodeDecodeError, IndexError, InvalidOperation):
            raise DeviceFaultError(
                f"{self._equipment}: read the {name}",
                why=f"it answers {value!r}, which isn't set;actual",
                do_next="Check the model in the process cell file",
            ) from None

    async def _read_log_on(self) -> None:
        """Take in what the data logger has recorded since it was read, from the first on."""
        for _ in range(self._telegrams_max):
            is_of_before = self._next_is_owed and self._log_read
            records = await self._records()
            if self._log_read and records == self._last_records:
                return
            self._log_read, self._last_records = True, records
            more = self._take_records(records)
            is_full = len(records) == _RECORDS_A_TELEGRAM * 2 * _RECORD_BYTES
            if not more or not (is_full or is_of_before):
                return

    async def _records(self) -> bytes:
        """Return the next telegram of records, once 2402 has told it the same way."""
        address = _NEXT_RECORDS if self._log_read else _FIRST_RECORDS
        what = f"{self._equipment}: read the data logger"
        why = f"no whole answer, twice alike, in {_RECORDS_ATTEMPTS_MAX} of {self._reply_within}"
        told: bytes | None = None
        agree, at_once = 0, False
        asked = _SAME_RECORDS if self._next_is_owed and self._log_read else address
        self._next_is_owed = True  # until a new one is told twice
        for _ in range(_RECORDS_ATTEMPTS_MAX):
            try:
                answer = await self._line.ask(
                    self._telegram(b"?", asked, b""),
                    within=self._reply_within,
                    fits=self._answers(asked),
                )
            except (NoReplyError, OvertakenError):
                if asked == _NEXT_RECORDS:
                    asked = _SAME_RECORDS
                continue
            except LineClosedError:
                why = "the line is closed"
                break
            self._refuse_error(answer, what)
            records = answer[10:-3]
            if records != told:
                if told is not None:
                    self._line.mistrust()
                told, agree, at_once = records, 0, asked != _SAME_RECORDS
            agree, asked = agree + 1, _SAME_RECORDS
            is_news = records != self._last_records or not self._log_read
            if agree < (2 if is_news else 3) + self._line.troubles():
                continue
            if is_news:
                self._next_is_owed = False
                return records
            if at_once:  # nothing new; were all of them late ones, it is asked for again
                return records
            asked, told = address, None  # the question for the next was lost, not its answer
        raise OutcomeUnknownError(what, why=why, do_next="Check cable and power, then resume")

    def _take_records(self, records: bytes) -> bool:
        """Keep what the records tell, and return whether more may follow."""
        try:
            data = bytes.fromhex(records.decode("ascii"))
        except ValueError:
            raise DeviceFaultError(
                f"{self._equipment}: read the data logger",
                why="a record isn't in hex",
                do_next="Check the model in the process cell file",
            ) from None
        for start in range(0, len(data) - _RECORD_BYTES + 1, _RECORD_BYTES):
            event, day, month, year, hour, minute = data[start : start + 6]
            if event == _END_OF_LOG:
                return False
            if event in _EVENTS:
                at = f"20{year:02d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}"
                self._events.append(f"{_EVENTS[event]} {at}")
                if event == _POWER_RESET:
                    self._last_reset = f"power reset {at}"
        return True

    def _written(self, asked: SetClimate, loop: Loop, value: Decimal) -> str:
        """Return ``value`` in the form in which the device shows its own set point."""
        self._check(asked)
        form = _SHOWN.fullmatch(loop.shown)
        if form is None:
            raise DeviceFaultError(
                self._what(asked),
                why=f"it shows its set point as {loop.shown!r}, in no form that can be written",
                do_next="Check the model in the process cell file",
            )
        sign, whole, decimals = form[1], form[2], form[3] or ""
        width = len(whole) + (1 + len(decimals) if decimals else 0)
        text = f"{value:.{len(decimals)}f}"
        if Decimal(text) != value:
            raise self._beyond(asked, f"the incubator shows no more than {loop.shown}")
        return ("+" if sign else "") + text.rjust(width, "0")

    def _check(self, asked: SetClimate) -> None:
        if asked.temperature not in self._temperatures:
            raise self._beyond(asked, f"the incubator is qualified for {self._temperatures}")
        if asked.carbon_dioxide not in self._carbon_dioxides:
            raise self._beyond(asked, f"the incubator is qualified for {self._carbon_dioxides}")
        if asked.temperature.base % self._temperature_step.base:
            raise self._beyond(asked, f"temperature goes in steps of {self._temperature_step}")
        if asked.carbon_dioxide.base % self._carbon_dioxide_step.base:
            raise self._beyond(
                asked, f"carbon dioxide goes in steps of {self._carbon_dioxide_step}"
            )

    async def _read(self, address: bytes, what: str) -> bytes:
        what = f"{self._equipment}: read the {what}"
        answer = await read_frame(
            self._line,
            self._telegram(b"?", address, b""),
            within=self._reply_within,
            fits=self._answers(address),
            what=what,
        )
        self._refuse_error(answer, what)
        return answer[10:-3]

    def _telegram(self, kind: bytes, address: bytes, value: bytes) -> bytes:
        body = b"%s:%s:%02x:%s:" % (kind, address, len(value), value)
        return body + b"%02x\r" % self._checksum(body)

    def _answers(self, address: bytes) -> Callable[[bytes], bool]:
        """Return whether a frame is a whole answer to a read: a value, or an error.

        ``?0`` says that the question came damaged: it is silence, and is asked again.
        """

        def fits(frame: bytes) -> bool:
            found = self._checked(frame, address)
            return found is not None and len(found[3]) == int(found[2], 16) and found[3] != _DAMAGED

        return fits

    def _accepts(self, address: bytes) -> Callable[[bytes], bool]:
        """Return whether a frame is a whole answer to a write.

        Whether its length is that of the answer or of what was written isn't printed.
        """

        def fits(frame: bytes) -> bool:
            found = self._checked(frame, address)
            return found is not None and (not found[3] or found[3] in _ERRORS)

        return fits

    def _checked(self, frame: bytes, address: bytes) -> re.Match[bytes] | None:
        found = _TELEGRAM.fullmatch(frame)
        if found is None or found[1] != address:
            return None
        return found if self._checksum(frame[:-2]) == int(found[4], 16) else None

    def _refuse_error(self, answer: bytes, what: str) -> None:
        """Raise what an answer with an error means."""
        error = answer[10:-3]
        if error not in _ERRORS:
            return
        why = f"the incubator says: {_ERRORS[error]}"
        if error == _MEMORY:
            raise OutcomeUnknownError(what, why=why, do_next="Let the set points be read back")
        raise DeviceFaultError(what, why=why, do_next="Check set points and model")

    def _mine(self, act: Act) -> SetClimate:
        if not isinstance(act, SetClimate):
            raise not_offered(self._equipment, act.kind)
        return act

    def _what(self, asked: SetClimate) -> str:
        return f"{self._equipment}: set {asked.temperature} and {asked.carbon_dioxide} CO2"

    def _beyond(self, asked: SetClimate, why: str) -> LimitRefusedError:
        return LimitRefusedError(
            self._what(asked),
            why=f"{why} (sheet {SHEET})",
            do_next="Correct the set points in the recipe",
        )


def _text(version: bytes) -> str:
    return version.decode("ascii", "replace")


def _is_alike(earlier: Loop, later: Loop) -> bool:
    return earlier.shown == later.shown and abs(earlier.actual - later.actual) <= _DRIFT


def _judge(asked: SetClimate, before: Standing, now: Standing) -> EffectReport:
    """Return what the set points say of an act."""
    wanted = {
        "temperature": str(asked.temperature),
        "carbon_dioxide": str(asked.carbon_dioxide),
    }
    shown = now.values
    if shown == wanted:
        return AllDone(effect=Effect(done="1", detail=dict(shown)))
    text = f"{shown['temperature']} and {shown['carbon_dioxide']} CO2"
    if now.witness != before.witness:
        return CannotTell(why=f"the set points are {text}, and since then: {now.witness}")
    if shown == before.values:
        return NothingDone(why=f"the set points are {text} as before")
    if all(shown[name] in (wanted[name], before.values[name]) for name in wanted):
        return PartDone(effect=Effect(done="0", detail=dict(shown)), why=f"it is set to {text}")
    return CannotTell(why=f"the set points are {text}, neither as before nor as asked")
