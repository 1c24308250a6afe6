r"""Emulator of the Watson-Marlow 530Du cased peristaltic pump.

Source: 530Du manual m-530dun-gb-01, page 40 (historical basic protocol); 630Du manual
m-630dun-en-08, pages 41 and 42 (new enhanced protocol); 520DuN, page 76, and 620DuN, page 82
(the same commands); 323Du, page 27, and 505Du, page 15 (line, echo, panel). Serial 9600 8N2, no
parity.

Basic protocol: ``<n><command>[<argument>]\r``, upper case; ``n`` is 1 to 16, or ``#`` for all
pumps, which then don't answer RS, RT and ZY. Set commands are never acknowledged, and whatever
isn't understood is ignored in silence.

    SPxxx.x   speed, rpm                 RR, RL, RC   clockwise, counter-clockwise, the other way
    SI, SD    one rpm more, less         DO p[,d]     turn p pulses, then d (to 11,000) back
    GO, ST    turn, stop                 TC, RT       clear, return the cumulative pulse count
    ZY        0 stopped, 1 turning       CA, CH       clear the display, home the cursor
    RS        status                     W..~..@      write 1 to 4 lines on the display

    RS -> ``520Du 15.84 520R 9.6MM 220.0 CW P/N 1 123456789 1 !``

Enhanced protocol: ``<n,COMMAND[,argument],CS>``; all zeros as ``n`` is the broadcast. CS is two hex
digits or ``??`` (not checked). The manual's text says ones' complement of the low byte of the sum
(without ``<``, ``>`` and CS); its example ``<1,0,47>`` is the two's complement. This pump takes
both and sends the one it was told to. Here 10 pulses make a revolution, so RT gives tenths of a
revolution. A frame that isn't ended in time is dropped.

    RS -> ``<1,530Du,15.12,520R,9.6,220.0,CW,123456789,12345,1,0,0,0,0,0,0,CS>``

Unconfirmed: that both protocols are served side by side; that ``DO`` in the enhanced protocol
counts in its tenths of a revolution; whether echo is on as delivered (505: on); that a request less
than 10 ms after another is lost; that the count grows in both directions, is lost with the power,
and is the one in RS; that speed and direction outlive the power; what GO and DO do while it turns
(here: GO nothing, DO begins a dose anew); that a speed out of range is ignored; that keys other
than STOP work under remote control, and a MAX key.

Clockwise is forward: from side A of the kit to side B.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from devices.transport.transport import LineClosedError, Transport
from hw_mocks.emulator import Emulator, Moment, Planted
from hw_mocks.world.world import World

SPEED_MIN_RPM: Final = 0.1  # assumed: the step of nSP xxx.x
SPEED_MAX_RPM: Final = 220.0  # 530Du manual, page 40, status example
DRIP_MAX: Final = 11_000  # 620DuN manual, page 82
DISPLAY_LINES_MAX: Final = 4  # 530Du manual, page 40, note 3
ENHANCED_PULSES_PER_REVOLUTION: Final = 10  # 630Du manual, page 41, note 2
FRAME_WITHIN_S: Final = 1.0  # assumed: the manual says "pre-calculated for each baud rate"
GAP_MIN_S: Final = 0.008  # 323Du, page 27: 10 ms; less what a line's jitter may take from them
LONGEST_REQUEST: Final = 256  # assumed
MAX_KEY_S: Final = 1.0  # assumed: how long a finger stays on the MAX key

CR: Final = 0x0D
KEYS: Final = ("START", "STOP", "MAX", "UP", "DOWN", "DIRECTION", "REMOTE")

_BASIC = re.compile(r"(#|[1-9]|1[0-6])(W|[A-Z]{2})(.*)", re.DOTALL)
_BASIC_DISPLAY = re.compile(rb"(?:#|\d{1,2})W")
_BASIC_ACTING = re.compile(rb"(#|[1-9]|1[0-6])(GO|DO)")
_ENHANCED_ACTING = re.compile(rb"<(0+|[1-9]\d?),(GO|DO)")
_SPEED = re.compile(r"\d{1,3}(\.\d)?")
_DOSE = re.compile(r"(\d{1,10})(?:,(\d{1,5}))?")

Complement = Literal["ones", "twos"]


@dataclass(slots=True)
class _Turn:
    """The head turning: for whom, how far still, and what follows."""

    by: str
    request: str
    left: float | None  # pulses; None until it is stopped
    drip: float
    speed_rpm: float
    clockwise: bool
    from_s: float


class WatsonMarlow530Du(Emulator):
    """A 530Du with its head on the segment of one transfer station.

    GO and DO are its acting requests. Neither is answered, so ``REPLYING`` never comes.

    Args:
        world: The room it stands in.
        equipment: Its name in the room.
        station: The transfer station whose tube it turns.
        number: Its number on the line, 1 to 16.
        mL_per_revolution: Of the tube that is loaded; what it displaces, and what it shows.
        pulses_per_revolution: 10,892 in the 530's manual, 10,982 in the 520's and 620's.
        pump_type: As it names itself in the status.
        head: The pump head, as in the status.
        tube_mm: Bore of the tube, as in the status.
        serial_number: As the enhanced status shows it.
        echo: Whether it sends back each byte that it gets.
        complement: The checksum that its enhanced replies carry.
        reply_after_s: From the end of a request to its reply.
    """

    model: ClassVar[str] = "watson_marlow_530du"

    def __init__(
        self,
        world: World,
        equipment: str,
        *,
        station: str = "station",
        number: int = 1,
        mL_per_revolution: float = 15.84,  # 530Du manual, page 40, status example
        pulses_per_revolution: int = 10_892,
        pump_type: str = "530Du",
        head: str = "520R",
        tube_mm: float = 9.6,
        serial_number: str = "123456789",
        echo: bool = False,
        complement: Complement = "twos",
        reply_after_s: float = 0.0,
    ) -> None:
        super().__init__(world, equipment)
        self.leak = False
        self.display: tuple[str, ...] = ()
        self.remote = True
        self.speed_rpm = SPEED_MAX_RPM
        self.clockwise = True
        self._station = station
        self._number = number
        self._mL_per_revolution = mL_per_revolution
        self._pulses_per_revolution = pulses_per_revolution
        self._pump_type = pump_type
        self._head = head
        self._tube_mm = tube_mm
        self._serial_number = serial_number
        self._echo = echo
        self._complement: Complement = complement
        self._reply_after_s = reply_after_s
        self._pulses = 0.0
        self._turn: _Turn | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._heard = bytearray()
        self._announced = False
        self._frame_from_s = 0.0
        self._last_request_s = float("-inf")

    # ---------------------------------------------------------------- what it shows

    @property
    def count(self) -> int:
        """Return the cumulative count of tacho pulses."""
        return int(self._pulses + self._turned() + 1e-6)

    @property
    def is_turning(self) -> bool:
        """Return whether the head turns."""
        return self._turn is not None

    # ---------------------------------------------------------------- the line

    async def serve(self, line: Transport) -> None:
        """Speak on ``line`` until it closes."""
        with contextlib.suppress(LineClosedError):
            while True:
                for byte in await line.receive():
                    if self._echo:
                        await line.send(bytes([byte]))
                    reply = self._hear(byte)
                    if reply is not None:
                        if self._reply_after_s > 0.0:
                            await asyncio.sleep(self._reply_after_s)
                        await line.send(reply.encode("ascii"))

    def _hear(self, byte: int) -> str | None:
        """Take one byte; return a reply if it ended a request that has one."""
        now = self.world.now()
        heard = self._heard
        if heard.startswith(b"<") and now - self._frame_from_s > FRAME_WITHIN_S:
            self._forget_request()
        if byte == ord("<"):
            self._forget_request()
            self._frame_from_s = now
        framed = heard.startswith(b"<") or byte == ord("<")
        if framed:
            ended = byte == ord(">")
        elif _BASIC_DISPLAY.match(heard):
            ended = byte == ord("@")
        else:
            ended = byte == CR
        if not ended:
            if len(heard) >= LONGEST_REQUEST:
                self._forget_request()
            heard.append(byte)
            self._announce(_ENHANCED_ACTING if framed else _BASIC_ACTING)
            return None
        request = bytes(heard)
        self._forget_request()
        if not request:
            return None
        too_soon = now - self._last_request_s < GAP_MIN_S
        self._last_request_s = now
        if too_soon or not request.isascii():
            return None
        text = request.decode("ascii")
        return self._enhanced(text[1:]) if framed else self._basic(text)

    def _forget_request(self) -> None:
        self._heard.clear()
        self._announced = False

    def _announce(self, acting: re.Pattern[bytes]) -> None:
        """Tell, as soon as it can be known, that an acting request is coming in."""
        if self._announced:
            return
        coming = acting.match(self._heard)
        if coming and self._is_meant(coming[1].decode("ascii")) and self.remote:
            self._announced = True
            self._moment(Moment.ARRIVING, coming[2].decode("ascii"))

    def _is_meant(self, address: str) -> bool:
        return address == "#" or int(address) in (0, self._number)

    def _basic(self, text: str) -> str | None:
        said = _BASIC.fullmatch(text)
        if said is None or not self._is_meant(said[1]):
            return None
        address, command, argument = said.groups()
        if command in ("RS", "RT", "ZY") and not argument:
            return None if address == "#" else self._basic_reply(command)
        dose = _DOSE.fullmatch(argument) if command == "DO" else None
        if dose is not None:
            self._obey_dose(float(dose[1]), int(dose[2] or 0))
        elif command == "W":
            self._obey_write(argument)
        elif command != "DO":
            self._obey(command, argument)
        return None

    def _basic_reply(self, command: str) -> str:
        turning = int(self.is_turning)
        if command == "ZY":
            return f"{turning}\r"
        if command == "RT":
            return f"{self.count}\r"
        way = "CW" if self.clockwise else "CCW"
        return (
            f"{self._pump_type} {self._mL_per_revolution:.2f} {self._head} {self._tube_mm:.1f}MM "
            f"{self.speed_rpm:.1f} {way} P/N {self._number} {self.count} {turning} !\r"
        )

    def _enhanced(self, text: str) -> str | None:
        body, comma, given = text.rpartition(",")
        body += comma
        if given not in ("??", *(checksum(body, of) for of in ("ones", "twos"))):
            return None
        address, command, argument = [*body[:-1].split(",", 2), "", ""][:3]
        if not address.isdigit() or not self._is_meant(address):
            return None
        if command in ("RS", "RT", "ZY") and not argument:
            return None if int(address) == 0 else self._enhanced_reply(command)
        dose = _DOSE.fullmatch(argument) if command == "DO" else None
        if dose is not None:
            scale = self._pulses_per_revolution / ENHANCED_PULSES_PER_REVOLUTION
            self._obey_dose(int(dose[1]) * scale, int(dose[2] or 0), scale)
        elif command == "W":
            self._obey_write(argument.removesuffix("@"))
        elif command != "DO":
            self._obey(command, argument)
        return None

    def _enhanced_reply(self, command: str) -> str:
        turning = int(self.is_turning)
        tenths = self.count * ENHANCED_PULSES_PER_REVOLUTION // self._pulses_per_revolution
        if command == "ZY":
            fields = f"{turning}"
        elif command == "RT":
            fields = f"{tenths}"
        else:
            way = "CW" if self.clockwise else "CCW"
            fields = (
                f"{self._pump_type},{self._mL_per_revolution:.2f},{self._head},{self._tube_mm:.1f},"
                f"{self.speed_rpm:.1f},{way},{self._serial_number},{tenths},{turning},"
                f"{int(self.leak)},{int(self.remote)},0,0,0,0"
            )
        body = f"{self._number},{fields},"
        return f"<{body}{checksum(body, self._complement)}>"

    # ---------------------------------------------------------------- what it is told

    def _obey(self, command: str, argument: str) -> None:
        """Obey a set command; what isn't known, or comes while remote is off, is ignored."""
        if not self.remote:
            return
        if command == "SP":
            if _SPEED.fullmatch(argument):
                self._set_speed(float(argument))
            return
        known: dict[str, Callable[[], None]] = {
            "SI": lambda: self._set_speed(self.speed_rpm + 1.0),
            "SD": lambda: self._set_speed(self.speed_rpm - 1.0),
            "RR": lambda: self._set_direction(clockwise=True),
            "RL": lambda: self._set_direction(clockwise=False),
            "RC": lambda: self._set_direction(clockwise=not self.clockwise),
            "GO": self._obey_go,
            "ST": self._stop,
            "TC": self._clear_count,
            "CA": lambda: self._show(()),
            "CH": lambda: None,  # the cursor isn't seen
        }
        if command in known and not argument:
            known[command]()

    def _obey_write(self, argument: str) -> None:
        """Write on the display: 1 to 4 lines between ``~``; a last empty one doesn't count."""
        lines = argument.removesuffix("~").split("~")
        if self.remote and len(lines) <= DISPLAY_LINES_MAX:
            self._show(tuple(lines))

    def _obey_dose(self, pulses: float, drip: int, scale: float = 1.0) -> None:
        if not self.remote or drip > DRIP_MAX:
            return
        fault = self._arrived("DO")
        if fault is Planted.SWALLOWED or pulses == 0.0:
            return
        pulses *= {Planted.DOUBLED: 2.0, Planted.HALF: 0.5}.get(fault, 1.0) if fault else 1.0
        self._stop()
        self._start(self.equipment, "DO", pulses, drip=drip * scale)

    def _obey_go(self) -> None:
        fault = self._arrived("GO")
        if fault is Planted.SWALLOWED or self.is_turning:
            return
        slowed = 0.5 if fault is Planted.HALF else 1.0
        self._start(self.equipment, "GO", None, speed_rpm=self.speed_rpm * slowed)

    def _arrived(self, request: str) -> Planted | None:
        self._moment(Moment.ARRIVED, request)
        return self._next_fault()

    def _set_speed(self, speed_rpm: float) -> None:
        if not SPEED_MIN_RPM <= speed_rpm <= SPEED_MAX_RPM:
            return
        self.speed_rpm = speed_rpm
        if self._turn is not None:
            self._turn_on(speed_rpm, clockwise=self._turn.clockwise)

    def _set_direction(self, *, clockwise: bool) -> None:
        self.clockwise = clockwise
        if self._turn is not None:
            self._turn_on(self._turn.speed_rpm, clockwise=clockwise)

    def _clear_count(self) -> None:
        self._pulses = -self._turned()

    def _show(self, lines: tuple[str, ...]) -> None:
        self.display = lines

    # ---------------------------------------------------------------- the motor

    def _start(
        self,
        by: str,
        request: str,
        pulses: float | None,
        *,
        drip: float = 0.0,
        speed_rpm: float | None = None,
    ) -> None:
        speed_rpm = self.speed_rpm if speed_rpm is None else speed_rpm
        self._turn = _Turn(by, request, pulses, drip, speed_rpm, self.clockwise, self.world.now())
        self._drive()
        halfway_s = 0.0 if pulses is None else pulses / self._pulses_per_s() / 2.0
        self._timers.append(self._after(halfway_s, lambda: self._moment(Moment.MOVING, request)))

    def _turn_on(self, speed_rpm: float, *, clockwise: bool) -> None:
        """Go on at another speed or the other way round."""
        turn = self._settle()
        turn.speed_rpm = speed_rpm
        turn.clockwise = clockwise
        self._drive()

    def _drive(self) -> None:
        turn = self._turn
        assert turn is not None, "only a turning head is driven"
        uL_per_s = turn.speed_rpm / 60.0 * self._mL_per_revolution * 1000.0
        self.world.motor_start(self._station, uL_per_s if turn.clockwise else -uL_per_s, turn.by)
        if turn.left is not None:
            self._timers.append(self._after(turn.left / self._pulses_per_s(), self._dose_over))

    def _dose_over(self) -> None:
        turn = self._turn
        assert turn is not None, "a dose that was stopped has no end left"
        self._pulses += turn.left or 0.0
        turn.left = 0.0
        turn.from_s = self.world.now()
        if turn.drip > 0.0:
            turn.left, turn.drip = turn.drip, 0.0
            turn.clockwise = not turn.clockwise
            self._drive()
            return
        self._stop()

    def _settle(self) -> _Turn:
        """Count what has been turned until now, and forget what was due."""
        turn = self._turn
        assert turn is not None, "only a turning head has turned"
        turned = self._turned()
        self._pulses += turned
        turn.from_s = self.world.now()
        if turn.left is not None:
            turn.left -= turned
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        return turn

    def _stop(self) -> None:
        if self._turn is None:
            return
        turn = self._settle()
        self._turn = None
        self.world.motor_stop(self._station, turn.by)
        self._moment(Moment.ENDED, turn.request)

    def _turned(self) -> float:
        """Return the pulses since the head was last driven."""
        turn = self._turn
        if turn is None:
            return 0.0
        turned = (self.world.now() - turn.from_s) * self._pulses_per_s()
        return turned if turn.left is None else min(turned, turn.left)

    def _pulses_per_s(self) -> float:
        assert self._turn is not None, "a head that stands has no speed"
        return self._turn.speed_rpm / 60.0 * self._pulses_per_revolution

    # ---------------------------------------------------------------- by hand

    def press(self, key: str) -> None:
        """Press a key of the panel; the names of the keys are in ``KEYS``.

        STOP is an emergency stop: it also ends remote control (505Du manual, page 15), until
        REMOTE is chosen again in the menu. MAX turns at full speed while it is held: a second.
        """
        by = f"panel:{self.equipment}"
        if key == "START":
            if not self.is_turning:
                self._start(by, key, None)
        elif key == "STOP":
            self.remote = False
            self._stop()
        elif key == "MAX":
            if not self.is_turning:
                pulses = SPEED_MAX_RPM / 60.0 * self._pulses_per_revolution * MAX_KEY_S
                self._start(by, key, pulses, speed_rpm=SPEED_MAX_RPM)
        elif key == "UP":
            self._set_speed(self.speed_rpm + 1.0)
        elif key == "DOWN":
            self._set_speed(self.speed_rpm - 1.0)
        elif key == "DIRECTION":
            self._set_direction(clockwise=not self.clockwise)
        elif key == "REMOTE":
            self.remote = True
        else:
            raise ValueError(
                f"{self.equipment}: the panel of {self.model} has no key {key!r}; "
                f"it has {', '.join(KEYS)}"
            )

    def power_cycle(self) -> None:
        """Stop, and come up standing: count and display lost, speed and direction kept."""
        self._stop()
        self._pulses = 0.0
        self.display = ()
        self._forget_request()


def checksum(body: str, complement: Complement) -> str:
    """Return the two hex digits that close the enhanced frame with ``body`` (``"1,0,"``)."""
    total = sum(body.encode("ascii"))
    return f"{(~total if complement == 'ones' else -total) & 0xFF:02X}"
