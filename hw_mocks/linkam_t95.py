r"""Emulator of a Linkam T95 programmer with the LNP95 nitrogen pump: a surrogate freezer.

No maker of controlled-rate freezers publishes a wire protocol; this one drives a real cooling
ramp. Sources: the command table of ``linkam_t95`` in lewis 1.4.0; status and error bits in the
drivers ``linkam_TMS94_T95`` of ESRF bliss and ``i_linkam_t9x`` of MX. Serial 19200 8N1.

    request   command\r, upper case                  reply   \r, after T ten bytes before it

    T           status: SB1 EB1 PB1 GS1 GS2 GS3 and four hex digits
    R1nnnnn     rate, 1 to 15000 hundredths of a degC/min
    L1[-]nnnn   limit, -2000 to 6000 tenths of a degC
    S, E        start towards the limit, stop
    H, C        start, but only if that heats, only if that cools
    O           hold the present temperature
    Pa0, Pm0    pump automatic, manual         Pc      its speed by hand, c = chr(0x30 + 0 to 30)

    SB1   01 stopped, 10 heating, 20 cooling, 30 holding at the limit, 50 holding by O
    EB1   80 + 01 cools faster than its pump can + 20 the last request wasn't understood
    PB1   80 + pump speed, 0 to 30
    GS    80 80 80
    then  the temperature in tenths of a degC, two's complement: ``ff38`` is -20.0

Before its first T after power-up it neither obeys nor answers. R1 and L1 are preparations: they
are taken by the next S, H or C.

Unconfirmed: the line's parameters; that a ramp under way keeps its rate and limit when R1 or L1
come; that S without rate and limit does nothing; that what isn't understood is answered as if it
were; the form of the GS bytes; lower-case hex digits; that stopped means left to the room; that
rate, limit and pump mode are lost with the power; the panel's keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from math import ceil
from typing import ClassVar, Final

from devices.transport.transport import LineClosedError, Transport
from hw_mocks.emulator import Emulator, Moment, Planted
from hw_mocks.world.world import ROOM, World

RATE_MAX: Final = 15_000  # lewis 1.4.0; hundredths of a degC/min
LIMIT_LOWEST: Final = -2_000  # lewis 1.4.0; tenths of a degC
LIMIT_HIGHEST: Final = 6_000
PUMP_MAX: Final = 30
PUMP_PER_KELVIN_PER_MIN: Final = 2.0  # assumed: what its automatic gives for a rate
LONGEST_REQUEST: Final = 64  # assumed
KEYS: Final = ("START", "STOP", "HOLD")

STOPPED: Final = 0x01
HEATING: Final = 0x10
COOLING: Final = 0x20
AT_LIMIT: Final = 0x30
HOLDING: Final = 0x50

CR: Final = 0x0D
ACTING: Final = frozenset("SEHCO")

_NUMBER = re.compile(r"([RL])1(-?\d{1,5})")


@dataclass(frozen=True, slots=True)
class _Ramp:
    """A ramp as the programmer believes that it runs."""

    status: int
    rate_kelvin_per_min: float
    ends_s: float


class LinkamT95(Emulator):
    """A T95 with LNP95 whose stage is one chamber of the World.

    Args:
        world: The room it stands in.
        equipment: Its name in the room.
        chamber: The chamber that it cools.
        reply_after_s: From the end of a request to its reply.
    """

    model: ClassVar[str] = "linkam_t95"

    def __init__(
        self,
        world: World,
        equipment: str,
        *,
        chamber: str = "freezer",
        reply_after_s: float = 0.0,
    ) -> None:
        super().__init__(world, equipment)
        self._chamber = chamber
        self._reply_after_s = reply_after_s
        self._heard = bytearray()
        self._timers: list[asyncio.TimerHandle] = []
        self._forget()

    def _forget(self) -> None:
        self.rate_hundredths: int | None = None
        self.limit_tenths: int | None = None
        self._spoken_to = False
        self._status = STOPPED
        self._ramp: _Ramp | None = None
        self._not_understood = False
        self._pump_by_hand: int | None = None

    # ---------------------------------------------------------------- what it shows

    @property
    def status(self) -> int:
        """Return SB1."""
        if self._ramp is None:
            return self._status
        return AT_LIMIT if self.world.now() >= self._ramp.ends_s else self._ramp.status

    @property
    def pump_speed(self) -> int:
        """Return the speed of the nitrogen pump."""
        return self._pump_needed() if self._pump_by_hand is None else self._pump_by_hand

    def _pump_needed(self) -> int:
        if self._ramp is None or self.status != COOLING:
            return 0
        return min(PUMP_MAX, ceil(self._ramp.rate_kelvin_per_min * PUMP_PER_KELVIN_PER_MIN))

    def _status_bytes(self) -> bytes:
        errors = 0x80 | int(self.pump_speed < self._pump_needed()) | 0x20 * self._not_understood
        tenths = round(self.world.chamber_temperature(self._chamber) * 10.0)
        shown = f"{tenths & 0xFFFF:04x}".encode("ascii")
        return bytes((self.status, errors, 0x80 | self.pump_speed, 0x80, 0x80, 0x80)) + shown

    # ---------------------------------------------------------------- the line

    async def serve(self, line: Transport) -> None:
        """Speak on ``line`` until it closes."""
        with contextlib.suppress(LineClosedError):
            while True:
                for byte in await line.receive():
                    reply, acted = self._hear(byte)
                    if reply is None:
                        continue
                    if self._reply_after_s > 0.0:
                        await asyncio.sleep(self._reply_after_s)
                    if acted is not None:
                        self._moment(Moment.REPLYING, acted)
                    with contextlib.suppress(LineClosedError):  # what came is obeyed all the same
                        await line.send(reply)

    def _hear(self, byte: int) -> tuple[bytes | None, str | None]:
        """Take one byte; return the reply if it ended a request, and what was acted on."""
        if byte != CR:
            if not self._heard and chr(byte) in ACTING and self._spoken_to:
                self._moment(Moment.ARRIVING, chr(byte))
            if len(self._heard) < LONGEST_REQUEST:
                self._heard.append(byte)
            return None, None
        request = self._heard.decode("latin-1")
        self._heard.clear()
        if request == "T":
            self._spoken_to = True
            return self._status_bytes() + b"\r", None
        if not self._spoken_to:
            return None, None
        self._not_understood = not self._obey(request)
        return b"\r", request if request in ACTING else None

    # ---------------------------------------------------------------- what it is told

    def _obey(self, request: str) -> bool:
        """Obey one request; return whether it was understood."""
        number = _NUMBER.fullmatch(request)
        if number is not None:
            return self._prepare(number[1], int(number[2]))
        if request in ACTING:
            self._moment(Moment.ARRIVED, request)
            self._act(request, self.equipment, self._next_fault())
            if request in "EO":
                self._moment(Moment.ENDED, request)
            return True
        if request == "Pa0":
            self._pump_by_hand = None
        elif request == "Pm0":
            self._pump_by_hand = self.pump_speed
        elif len(request) == 2 and request[0] == "P" and 0 <= ord(request[1]) - 0x30 <= PUMP_MAX:
            if self._pump_by_hand is not None:
                self._pump_by_hand = ord(request[1]) - 0x30
        else:
            return False
        return True

    def _prepare(self, which: str, number: int) -> bool:
        if which == "R" and 1 <= number <= RATE_MAX:
            self.rate_hundredths = number
        elif which == "L" and LIMIT_LOWEST <= number <= LIMIT_HIGHEST:
            self.limit_tenths = number
        else:
            return False
        return True

    def _act(self, request: str, by: str, fault: Planted | None) -> None:
        if request == "O":
            self._hold(by, fault)
        elif request == "E":
            self._stop(by, fault)
        elif self.rate_hundredths is not None and self.limit_tenths is not None:
            here_degC = self.world.chamber_temperature(self._chamber)
            way = self.limit_tenths / 10.0 - here_degC
            if request == "S" or (request == "H" and way > 0.0) or (request == "C" and way < 0.0):
                self._start(request, by, self.rate_hundredths / 100.0, way, fault)

    def _start(
        self, request: str, by: str, rate: float, way_kelvin: float, fault: Planted | None
    ) -> None:
        """Ramp by ``way_kelvin`` from here; it believes so whatever the fault makes of it."""
        self._cancel()
        here_degC = self.world.chamber_temperature(self._chamber)
        seconds = abs(way_kelvin) / rate * 60.0
        heats = HEATING if way_kelvin > 0.0 else COOLING
        self._ramp = _Ramp(heats, rate, self.world.now() + seconds)
        if fault is not Planted.SWALLOWED:
            done = {Planted.DOUBLED: 2.0, Planted.HALF: 0.5}.get(fault, 1.0) if fault else 1.0
            limit_degC = round(here_degC + done * way_kelvin, 9)
            self.world.ramp(self._chamber, rate_kelvin_per_min=rate, limit_degC=limit_degC, by=by)
        self._timers = [
            self._after(seconds / 2.0, lambda: self._moment(Moment.MOVING, request)),
            self._after(seconds, lambda: self._at_limit(request)),
        ]

    def _at_limit(self, request: str) -> None:
        self.world.catch_up()
        self._moment(Moment.ENDED, request)

    def _hold(self, by: str, fault: Planted | None) -> None:
        self._cancel()
        self._ramp, self._status = None, HOLDING
        if fault is not Planted.SWALLOWED:
            here_degC = self.world.chamber_temperature(self._chamber)
            self.world.hold_temperature(self._chamber, by)
            self.world.set_climate(self._chamber, by=by, temperature_degC=here_degC)

    def _stop(self, by: str, fault: Planted | None) -> None:
        """Let go of the stage: from here on it follows the room."""
        self._cancel()
        was_stopped = self._ramp is None and self._status == STOPPED
        self._ramp, self._status = None, STOPPED
        if fault is not Planted.SWALLOWED and not was_stopped:
            room_degC = self.world.chamber_temperature(ROOM)
            self.world.set_climate(self._chamber, by=by, temperature_degC=room_degC)

    def _cancel(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    # ---------------------------------------------------------------- by hand

    def press(self, key: str) -> None:
        """Press a key of its touch panel; the names of the keys are in ``KEYS``."""
        requests = dict(zip(KEYS, "SEO", strict=True))
        if key not in requests:
            raise ValueError(
                f"{self.equipment}: the panel of {self.model} has no key {key!r}; "
                f"it has {', '.join(KEYS)}"
            )
        self._act(requests[key], f"panel:{self.equipment}", None)

    def power_cycle(self) -> None:
        """Stop and forget rate, limit and pump; what it held goes to the room's temperature."""
        self._stop(f"mains:{self.equipment}", None)
        self._forget()
        self._heard.clear()
