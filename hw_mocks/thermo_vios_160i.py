r"""Emulator of a Thermo Heracell VIOS 160i CO2 incubator, and of its clean-room version CR.

Sources: VIOS 160i manual, pages 170 and 171 (telegrams, errors, general parameters); VIOS 160i CR
manual, pages 182, 183, 186 (its checksum, error memory); Steri-Cycle i160 manual, pages 173, 178,
180 and 181 (addresses 2xxx, logger, its events: the same annex); Heracell 240i manual, pages 176
and 177 (example record); Isotemp 178L manual, page 48 (printed frames). RS-232 or USB, 9600 baud
and more, 8N1. All ASCII; "capital letters are not allowed", in hex digits neither.

    read    ?:aaaa:00::cc\r  or  ?:aaaa:bb:XXXX:cc\r      -> !:aaaa:bb:XXXX:cc\r
    write   !:aaaa:bb:XXXX:cc\r                           -> !:aaaa:00::cc\r
    error   !:aaaa:02:?n:cc\r   0 telegram or checksum, 1 unknown, 2 memory, 3 outside limits

    aaaa address, bb length of the payload, cc checksum of all before it: two hex digits each.
    cc   inverted XOR; in the CR version CRC-8, x^8+x^2+x+1, from 0

    0001   board version                        0010   hh:mm:ss;dd:mm:yy, settable
    0011   dd:mm:yy, settable                   0012   hh:mm:ss, settable
    2010   temperature, settable: set;actual;reference, ``+037.00;+036.98;+000.00``
    2020   CO2, settable, the same form         2030   O2, settable if the option is fitted
    2100   decontamination: not running         2105   auto-start: not running
    2140   CO2 gas changer                      2141   O2 gas changer
    2300   newest 11 entries of the error memory, newest first, ``:`` between    2301   older 11
    2400   data logger: pointer to the first record, up to 7 records   2401   up to 7 more
    2402   the last 7 again                     2410   cycle of the logger, hh:mm:ss

    error   loop(1) day month year hour minute second status(2) error(2): 21 hex digits
    record  event day month year hour minute status(2) T CO2 O2 rh in tenths(2 each): 32 digits

Events made here: 01 periodic, 10 and 11 set point changed (new set values follow), 20 and 21
error, 30 power reset (set values follow), 31 and 32 door open and closed, ff end of the log
(nothing else in it). The doors are opened by hands, in the World; the log shows them.

Unconfirmed: the layout of 2010 to 2030 (the sister device's 3010, less its sample sensor) and
what a write to them carries (here: the set value, alone or before a ``;``); which address an
error reply bears when none could be read (0000); that an error memory without entries has an
empty payload; that a write to what can't be written is error 1; that a checksum in capitals is
error 0; that ff closes each telegram that reaches the log's end; that set points, both memories
and the logger's pointer outlive the power; the touch screen's keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor
from typing import ClassVar, Final, Literal

from devices.transport.transport import LineClosedError, Transport
from hw_mocks.emulator import Emulator, Moment, Planted
from hw_mocks.world.world import World
from orchestrator.kernel.instants import Instant
from orchestrator.virtual_time import USUAL_START

TEMPERATURE_LOWEST_DEGC: Final = 10.0  # assumed
TEMPERATURE_HIGHEST_DEGC: Final = 55.0  # assumed, as on the data sheets of the family
CO2_HIGHEST_PERCENT: Final = 20.0  # assumed, as on the data sheets of the family
AIR_O2_PERCENT: Final = 21.0
LOGGER_CYCLE_S: Final = 60.0  # Heracell 240i manual, page 176
LOGGER_RECORDS_MAX: Final = 10_000  # assumed
RECORDS_PER_TELEGRAM: Final = 7  # Steri-Cycle i160 manual, page 178
ERRORS_MAX: Final = 22  # VIOS 160i CR manual, page 186
ERRORS_PER_TELEGRAM: Final = 11
LONGEST_TELEGRAM: Final = 300  # assumed; the longest legal one has 269 characters
ACTUAL_ABOVE_BAND: Final = 0x0002  # the manual's example of an error entry
DEVICE_ERROR: Final = 0x8000

CR: Final = 0x0D
KEYS: Final = ("T+", "T-", "CO2+", "CO2-")
KEY_STEP: Final = 0.1

PERIODIC: Final = 0x01
SET_POINT_CHANGED: Final = {"2010": 0x10, "2020": 0x11}
NEW_ERROR: Final = {1: 0x20, 2: 0x21}
POWER_RESET: Final = 0x30
DOOR_OPEN: Final = 0x31
DOOR_CLOSED: Final = 0x32
END_OF_LOG: Final = f"{0xFF:02x}{0:030x}"

Checksum = Literal["xor", "crc8"]

_TELEGRAM = re.compile(r"([?!]):([0-9a-f]{4}):([0-9a-f]{2}):(.*):([0-9a-f]{2})", re.DOTALL)
_ADDRESS = re.compile(r"[?!]:([0-9a-f]{4}):")
_ACTING: Final = (b"!:2010", b"!:2020")
"""How telegrams begin that change a set point; all of one length."""
_SET_VALUE = re.compile(r"([+-]?\d{1,3}(?:\.\d{1,3})?)(?:;.*)?")
_DATE_FORMATS: Final = {"0010": "%H:%M:%S;%d:%m:%y", "0011": "%d:%m:%y", "0012": "%H:%M:%S"}


@dataclass(frozen=True, slots=True)
class _Event:
    """A record of the logger that isn't a periodic one."""

    number: int  # of the record, counted over the logger's whole life
    text: str


class _WrongTelegramError(Exception):
    """The telegram is answered by one of the four errors."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class ThermoVios160i(Emulator):
    """A VIOS 160i whose interior is one chamber of the World.

    Args:
        world: The room it stands in.
        equipment: Its name in the room.
        chamber: The chamber that it keeps.
        checksum: ``xor`` for the 160i, ``crc8`` for the CR.
        version: Of its board, eight digits.
        has_oxygen: Whether the O2 control is fitted.
        logger_cycle_s: Time between two periodic records, as chosen on its screen.
        started: What its clock shows at the World's second 0.
        reply_after_s: From the end of a telegram to its reply.
    """

    model: ClassVar[str] = "thermo_vios_160i"

    def __init__(
        self,
        world: World,
        equipment: str,
        *,
        chamber: str = "incubator",
        checksum: Checksum = "xor",
        version: str = "50111927",  # VIOS 160i manual, page 170
        has_oxygen: bool = False,
        logger_cycle_s: float = LOGGER_CYCLE_S,
        started: Instant = USUAL_START,
        reply_after_s: float = 0.0,
    ) -> None:
        super().__init__(world, equipment)
        self.set_degC = world.chambers[chamber].target_degC
        self.set_co2_percent = world.chambers[chamber].target_co2_percent
        self.set_o2_percent = AIR_O2_PERCENT
        self._chamber = chamber
        self._checksum: Checksum = checksum
        self._version = version
        self._has_oxygen = has_oxygen
        self._cycle_s = logger_cycle_s
        self._clock_at_0 = started.as_datetime()
        self._reply_after_s = reply_after_s
        self._heard = bytearray()
        self._errors: list[str] = []  # newest first
        self._status = 0
        self._events: list[_Event] = []
        self._log_from_s = world.now()
        self._ledger_seen = len(world.ledger)
        self._pointer = 0
        self._last_records: list[str] = []

    # ---------------------------------------------------------------- the line

    async def serve(self, line: Transport) -> None:
        """Speak on ``line`` until it closes."""
        with contextlib.suppress(LineClosedError):
            while True:
                for byte in await line.receive():
                    telegram = self._hear(byte)
                    if not telegram:
                        continue
                    reply, acted = self._answer(telegram)
                    if self._reply_after_s > 0.0:
                        await asyncio.sleep(self._reply_after_s)
                    if acted is not None:
                        self._moment(Moment.REPLYING, acted)
                    with contextlib.suppress(LineClosedError):  # what came is obeyed all the same
                        await line.send(reply.encode("ascii"))

    def _hear(self, byte: int) -> str | None:
        """Take one byte; return the telegram if it ended one."""
        if byte != CR:
            if len(self._heard) < LONGEST_TELEGRAM:
                self._heard.append(byte)
                if len(self._heard) == len(_ACTING[0]) and self._heard.startswith(_ACTING):
                    self._moment(Moment.ARRIVING, self._heard[2:].decode("ascii"))
            return None
        telegram = self._heard.decode("latin-1")
        self._heard.clear()
        return telegram

    def _answer(self, telegram: str) -> tuple[str, str | None]:
        """Return the reply, and the address that was acted on, if it was."""
        acted = None
        try:
            asks, address, payload = self._taken_apart(telegram)
            if asks:
                given = self._read(address)
            else:
                given = ""
                acted = self._write(address, payload)
        except _WrongTelegramError as wrong:
            known = _ADDRESS.match(telegram)
            address = known[1] if known is not None else "0000"
            given = f"?{wrong.code}"
        body = f"!:{address}:{len(given):02x}:{given}:"
        return f"{body}{checksum(body, self._checksum)}\r", acted

    def _taken_apart(self, telegram: str) -> tuple[bool, str, str]:
        parts = _TELEGRAM.fullmatch(telegram)
        if parts is None or not telegram.isascii():
            raise _WrongTelegramError(0)
        kind, address, length, payload, given = parts.groups()
        if int(length, 16) != len(payload) or given != checksum(telegram[:-2], self._checksum):
            raise _WrongTelegramError(0)
        return kind == "?", address, payload

    # ---------------------------------------------------------------- read

    def _read(self, address: str) -> str:
        if address in _DATE_FORMATS:
            return self._clock().strftime(_DATE_FORMATS[address])
        if address == "2010":
            return self._loop_text(self.set_degC, self.world.chamber_temperature(self._chamber))
        if address == "2020":
            return self._loop_text(self.set_co2_percent, self.world.chamber_co2(self._chamber))
        if address == "2030" and self._has_oxygen:
            return self._loop_text(self.set_o2_percent, AIR_O2_PERCENT)
        if address in ("2300", "2301"):
            first = 0 if address == "2300" else ERRORS_PER_TELEGRAM
            return ":".join(self._errors[first : first + ERRORS_PER_TELEGRAM])
        if address in ("2400", "2401", "2402"):
            return self._read_logger(address)
        hours, left = divmod(round(self._cycle_s), 3600)
        fixed = {
            "0001": self._version,
            "2100": "00;+000:00;00.00.00;00:00",
            "2105": "00;00.0;+000:00;00.00.00;00:00",
            "2140": "11",  # cylinder A in use, its pressure good
            "2141": "00",
            "2410": f"{hours:02}:{left // 60:02}:{left % 60:02}",
        }
        if address not in fixed:
            raise _WrongTelegramError(1)
        return fixed[address]

    def _loop_text(self, set_value: float, actual: float) -> str:
        return f"{set_value:+07.2f};{actual:+07.2f};{0.0:+07.2f}"

    def _clock(self, at_s: float | None = None) -> datetime:
        return self._clock_at_0 + timedelta(seconds=self.world.now() if at_s is None else at_s)

    # ---------------------------------------------------------------- written

    def _write(self, address: str, payload: str) -> str | None:
        if address in _DATE_FORMATS:
            self._set_clock(address, payload)
            return None
        if address == "2030" and self._has_oxygen:
            self.set_o2_percent = self._set_value(payload, 1.0, AIR_O2_PERCENT)
            return None
        if address == "2010":
            wanted = self._set_value(payload, TEMPERATURE_LOWEST_DEGC, TEMPERATURE_HIGHEST_DEGC)
        elif address == "2020":
            wanted = self._set_value(payload, 0.0, CO2_HIGHEST_PERCENT)
        else:
            raise _WrongTelegramError(1)
        self._moment(Moment.ARRIVED, address)
        self._change(address, wanted, self.equipment, self._next_fault())
        self._moment(Moment.ENDED, address)
        return address

    def _set_value(self, payload: str, lowest: float, highest: float) -> float:
        """Return the set value that a write carries; its step is a tenth."""
        said = _SET_VALUE.fullmatch(payload)
        if said is None:
            raise _WrongTelegramError(3)
        value = float(said[1])
        if not lowest <= value <= highest or round(value, 1) != value:
            raise _WrongTelegramError(3)
        return value

    def _set_clock(self, address: str, payload: str) -> None:
        now = self._clock()
        try:
            said = datetime.strptime(payload, _DATE_FORMATS[address]).replace(tzinfo=now.tzinfo)
        except ValueError:
            raise _WrongTelegramError(3) from None
        if address != "0012":
            now = now.replace(year=said.year, month=said.month, day=said.day)
        if address != "0011":
            now = now.replace(hour=said.hour, minute=said.minute, second=said.second)
        self._clock_at_0 += now - self._clock()

    def _change(self, address: str, wanted: float, by: str, fault: Planted | None) -> None:
        """Take a new set point; what it shows is what it was told, whatever was done."""
        before = self.set_degC if address == "2010" else self.set_co2_percent
        if address == "2010":
            self.set_degC = wanted
        else:
            self.set_co2_percent = wanted
        done: dict[Planted | None, tuple[float, ...]] = {
            None: (wanted,),
            Planted.SWALLOWED: (),
            Planted.DOUBLED: (wanted, before, wanted),
            Planted.HALF: ((before + wanted) / 2.0,),
        }
        for value in done[fault]:
            if address == "2010":
                self.world.set_climate(self._chamber, by=by, temperature_degC=value)
            else:
                self.world.set_climate(self._chamber, by=by, co2_percent=value)
        if wanted != before:
            self._log(SET_POINT_CHANGED[address], self._set_values())

    # ---------------------------------------------------------------- data logger

    def _set_values(self) -> tuple[float, float, float, float]:
        return self.set_degC, self.set_co2_percent, self.set_o2_percent, 0.0

    def _actual_values(self, at_s: float) -> tuple[float, float, float, float]:
        held = self.world.chambers[self._chamber]
        return held.temperature.at(at_s), held.co2.at(at_s), AIR_O2_PERCENT, 0.0

    def _periodic_until(self, at_s: float) -> int:
        return floor((at_s - self._log_from_s) / self._cycle_s + 1e-9)

    def _log(self, event: int, values: tuple[float, ...], at_s: float | None = None) -> None:
        """Append an event; doors that hands opened or closed before it come first."""
        if at_s is None:
            self._log_doors()
            at_s = self.world.now()
        number = self._periodic_until(at_s) + len(self._events)
        self._events.append(_Event(number, self._record(event, at_s, values)))

    def _log_doors(self) -> None:
        ledger = self.world.ledger
        for effect in ledger[self._ledger_seen :]:
            if effect.kind == "door" and effect.places == (self._chamber,):
                event = DOOR_OPEN if effect.amount else DOOR_CLOSED
                self._log(event, self._actual_values(effect.at_from_s), effect.at_from_s)
        self._ledger_seen = len(ledger)

    def _record(self, event: int, at_s: float, values: tuple[float, ...]) -> str:
        at = self._clock(at_s)
        return logger_record(event, at, self._status, values)

    def _read_logger(self, address: str) -> str:
        if address == "2402":
            return "".join(self._last_records)
        self._log_doors()
        total = self._periodic_until(self.world.now()) + len(self._events)
        first = max(0, total - LOGGER_RECORDS_MAX)
        self._pointer = first if address == "2400" else max(self._pointer, first)
        until = min(self._pointer + RECORDS_PER_TELEGRAM, total)
        records = [self._record_of(number) for number in range(self._pointer, until)]
        self._pointer = until
        if len(records) < RECORDS_PER_TELEGRAM:
            records.append(END_OF_LOG)
        self._last_records = records
        return "".join(records)

    def _record_of(self, number: int) -> str:
        """Return one record; periodic ones are made when they are asked for."""
        before = bisect_left(self._events, number, key=lambda event: event.number)
        if before < len(self._events) and self._events[before].number == number:
            return self._events[before].text
        at_s = self._log_from_s + (number - before + 1) * self._cycle_s
        return self._record(PERIODIC, at_s, self._actual_values(at_s))

    # ---------------------------------------------------------------- errors

    def fail(self, loop: int, error: int = ACTUAL_ABOVE_BAND) -> None:
        """Let a control loop (1 temperature, 2 CO2) report an error.

        Raises:
            ValueError: There is no such loop.
        """
        if loop not in NEW_ERROR:
            raise ValueError(f"{self.equipment}: no control loop {loop}; there are 1 and 2")
        self._status |= DEVICE_ERROR
        self._errors.insert(0, error_entry(loop, self._clock(), self._status, error))
        del self._errors[ERRORS_MAX:]
        self._log(NEW_ERROR[loop], (0.0, 0.0, 0.0, 0.0))

    def recover(self) -> None:
        """Let the error that stands go; the error memory keeps its entry."""
        self._status = 0

    # ---------------------------------------------------------------- by hand

    def press(self, key: str) -> None:
        """Press a key of the touch screen: one step of a set point, taken over at once."""
        if key not in KEYS:
            raise ValueError(
                f"{self.equipment}: the panel of {self.model} has no key {key!r}; "
                f"it has {', '.join(KEYS)}"
            )
        step = KEY_STEP if key.endswith("+") else -KEY_STEP
        if key.startswith("T"):
            lowest, highest = TEMPERATURE_LOWEST_DEGC, TEMPERATURE_HIGHEST_DEGC
            address, before = "2010", self.set_degC
        else:
            lowest, highest = 0.0, CO2_HIGHEST_PERCENT
            address, before = "2020", self.set_co2_percent
        wanted = min(max(round(before + step, 1), lowest), highest)
        self._change(address, wanted, f"panel:{self.equipment}", None)

    def power_cycle(self) -> None:
        """Go on with the set points that it keeps, and note the power reset in the log."""
        self._heard.clear()
        self._log(POWER_RESET, self._set_values())


def checksum(before: str, kind: Checksum) -> str:
    """Return the two hex digits that close the telegram that begins with ``before``."""
    data = before.encode("latin-1")
    if kind == "xor":
        xor = 0xFF
        for byte in data:
            xor ^= byte
        return f"{xor:02x}"
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return f"{crc:02x}"


def logger_record(event: int, at: datetime, status: int, values: tuple[float, ...]) -> str:
    """Return a record of the data logger: T, CO2, O2 and rh in tenths at its end."""
    head = f"{event:02x}{at.day:02x}{at.month:02x}{at.year % 100:02x}{at.hour:02x}{at.minute:02x}"
    return f"{head}{status:04x}" + "".join(f"{round(v * 10.0) & 0xFFFF:04x}" for v in values)


def error_entry(loop: int, at: datetime, status: int, error: int) -> str:
    """Return an entry of the error memory."""
    day = f"{at.day:02x}{at.month:02x}{at.year % 100:02x}"
    return f"{loop:x}{day}{at.hour:02x}{at.minute:02x}{at.second:02x}{status:04x}{error:04x}"
