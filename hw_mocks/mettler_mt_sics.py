r"""Emulator of a Mettler Toledo balance that speaks MT-SICS.

Source: MT-SICS reference manuals 11780711 (Excellence) and 11781363 (weigh modules), as far as
excerpts show them; NewClassic operating instructions (response of S); T104 manual, page 42 (which
command is of which level). Serial 9600 8N1 or TCP.

    request   ID{ parameter}\r\n, upper case, one space between
    reply     ID status[ <value, 10 characters, right-aligned> unit]\r\n
    status    S stable, D moving, A done, B more follows, I can't now or never stable,
              L parameter wrong, + overload, - underload
    ES        not understood        ET  garbled on the line        EL  can't be obeyed here

    @              cancel what is pending; I4 A "serial number". The tare stays.
    I0 .. I5       commands, level, model and capacity, software, serial number, software number
    I10 ["name"]   name of this balance         I11  type
    S, SC ms       stable value; stable or, after ms, any
    SI             value at once, ``S S`` or ``S D`` (never ``SI``)
    SIR            the same again and again, until S, SI or @
    SR [v unit]    stable value, then again on each change by v (or 12.5 %, at least 30 steps)
    Z, ZI          zero when stable, at once; clears the tare
    T, TI          tare when stable, at once; the reply carries the tare
    TA [v unit]    tell or set the tare         TAC  clear it
    D "text", DW   show a text, show the weight
    C3             adjust with the inner weight: C3 B, then C3 A
    WS [0..3]      draft shield: tell, shut, open right, left, both
    M21 [c u]      units of channels host, display, info: 0 g, 1 kg, 3 mg
    M28            temperature

A weighing cell in trouble answers ``S S Error 10b`` and the like. After power-up the balance says
``I4 A`` unasked; tare, shown text and what was pending are lost.

It looks at its load when asked, not all the time: a load that differs from the one before counts as
changed now, and has settled when it stays the same for the settling time.

Unconfirmed: how long it waits for stability, starts and adjusts; the pace of SIR; the zero range
(2 % of capacity, as for many); that EL answers WS and C3 on a balance without shield or inner
weight; M28's form; that unit and name outlive the power, and that its zero is the maker's own
after power-up, whatever lies on it; that only @ is heard while something is pending.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Final

from devices.transport.transport import LineClosedError, Transport
from hw_mocks.emulator import Emulator, Moment, Planted
from hw_mocks.world.world import ROOM, World

ZERO_RANGE: Final = 0.02  # assumed: of the capacity, either side
SR_SHARE: Final = Decimal("0.125")  # assumed: of the last stable value
SR_STEPS_MIN: Final = 30  # assumed
LONGEST_REQUEST: Final = 256  # assumed
NAME_MAX: Final = 20  # assumed

COMMANDS: Final = (
    *((0, name) for name in ("@", "I0", "I1", "I2", "I3", "I4", "I5", "S", "SI", "SIR", "Z", "ZI")),
    *((1, name) for name in ("D", "DW", "SR", "T", "TA", "TAC", "TI")),
    *((2, name) for name in ("C3", "I10", "I11", "M21", "M28", "SC", "WS")),
)
"""Level and name; levels 0 and 1 by the T104 manual, page 42, the others assumed to be 2."""

UNITS: Final = {"0": ("g", 0), "1": ("kg", -3), "3": ("mg", 3)}
"""Unit codes of M21: name, and the power of ten that turns grams into it."""

SHIELD: Final = ("0", "1", "2", "3")
CHANNELS: Final = ("0", "1", "2")
KEYS: Final = ("TARE", "ZERO")

_TOKENS = re.compile(r'(?: (?:"[^"]*"|[^ "]+))*')
_TOKEN = re.compile(r' ("[^"]*"|[^ "]+)')
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(slots=True)
class _Waiting:
    """A request that waits for a stable load, until a time."""

    name: str
    until_s: float
    then: Callable[[bool], None]


class MettlerMtSics(Emulator):
    """A precision balance.

    Args:
        world: The room it stands in.
        equipment: Its name in the room, by which the World knows what it carries.
        serial_number: As I4 tells it.
        balance_type: As I11 and I2 tell it.
        capacity_g: Above it the balance is overloaded.
        resolution_g: Its step.
        settling_s: How long a load stays the same before it counts as stable.
        stable_within_s: How long S, T and Z wait for that.
        stream_every_s: Time between the values of SIR.
        start_s: From power-up to the first word.
        adjust_s: How long C3 takes.
        has_shield: Whether it has motor doors (WS).
        has_inner_weight: Whether it can adjust itself (C3).
        reply_after_s: From what causes a reply to the reply.
    """

    model: ClassVar[str] = "mettler_mt_sics"

    def __init__(
        self,
        world: World,
        equipment: str,
        *,
        serial_number: str = "B021002593",
        balance_type: str = "XP10002S",
        capacity_g: float = 10_100.0,
        resolution_g: float = 0.01,
        settling_s: float = 1.0,  # assumed
        stable_within_s: float = 20.0,  # assumed
        stream_every_s: float = 0.1,  # assumed
        start_s: float = 5.0,  # assumed
        adjust_s: float = 15.0,  # assumed
        has_shield: bool = False,
        has_inner_weight: bool = True,
        reply_after_s: float = 0.0,
    ) -> None:
        super().__init__(world, equipment)
        self.display = ""
        self.shield = "0"
        self.name = equipment
        self.weighing_error: str | None = None
        self._serial_number = serial_number
        self._balance_type = balance_type
        self._capacity_g = capacity_g
        self._resolution_g = Decimal(repr(resolution_g))
        self._settling_s = settling_s
        self._stable_within_s = stable_within_s
        self._stream_every_s = stream_every_s
        self._start_s = start_s
        self._adjust_s = adjust_s
        self._has_shield = has_shield
        self._has_inner_weight = has_inner_weight
        self._reply_after_s = reply_after_s
        self._channels: dict[str, str] = dict.fromkeys(CHANNELS, "0")
        self._zero = 0  # in steps of the resolution, as all that follows
        self._tare = 0
        self._load = 0
        self._changed_s = float("-inf")
        self._looked = False
        self._on = True
        self._waiting: _Waiting | None = None
        self._adjusting = False
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._heard = bytearray()
        self._lines: list[asyncio.Queue[tuple[str, str]]] = []

    # ---------------------------------------------------------------- the line

    async def serve(self, line: Transport) -> None:
        """Speak on ``line`` until it closes."""
        leaving: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._lines.append(leaving)
        try:
            async with asyncio.TaskGroup() as tasks:
                speaking = tasks.create_task(self._speak(line, leaving))
                with contextlib.suppress(LineClosedError):
                    while True:
                        for byte in await line.receive():
                            self._hear(byte)
                speaking.cancel()
        finally:
            self._lines.remove(leaving)

    async def _speak(self, line: Transport, leaving: asyncio.Queue[tuple[str, str]]) -> None:
        with contextlib.suppress(LineClosedError):
            while True:
                text, acting = await leaving.get()
                if self._reply_after_s > 0.0:
                    await asyncio.sleep(self._reply_after_s)
                if acting:
                    self._moment(Moment.REPLYING, acting)
                await line.send(f"{text}\r\n".encode("latin-1"))

    def _say(self, text: str, acting: str = "") -> None:
        for line in self._lines:
            line.put_nowait((text, acting))

    def _hear(self, byte: int) -> None:
        if not self._on:
            return
        self._heard.append(byte)
        if self._heard.endswith(b"\r\n"):
            request = bytes(self._heard[:-2])
            self._heard.clear()
            self._request(request)
        elif len(self._heard) > LONGEST_REQUEST:
            self._heard.clear()
            self._say("ET")

    def _request(self, request: bytes) -> None:
        if any(byte < 0x20 for byte in request):
            self._say("ET")
            return
        name, _, _ = request.decode("latin-1").partition(" ")
        rest = request.decode("latin-1")[len(name) :]
        known: dict[str, Callable[[list[str]], bool]] = {
            "@": self._cancel,
            "I0": self._tell_commands,
            "I1": lambda given: self._tell(given, 'I1 A "012" "2.30" "2.20" "2.20" ""'),
            "I2": lambda given: self._tell(given, f'I2 A "{self._type_and_capacity()}"'),
            "I3": lambda given: self._tell(given, 'I3 A "1.00 10.28.0.493.142"'),
            "I4": lambda given: self._tell(given, f'I4 A "{self._serial_number}"'),
            "I5": lambda given: self._tell(given, 'I5 A "11780711A"'),
            "I10": self._tell_name,
            "I11": lambda given: self._tell(given, f'I11 A "{self._balance_type}"'),
            "S": self._weigh_stable,
            "SC": self._weigh_in_time,
            "SI": self._weigh_now,
            "SIR": self._weigh_on_and_on,
            "SR": self._weigh_on_change,
            "Z": self._zero_stable,
            "ZI": self._zero_now,
            "T": self._tare_stable,
            "TI": self._tare_now,
            "TA": self._tare_preset,
            "TAC": self._tare_clear,
            "D": self._show_text,
            "DW": self._show_weight,
            "C3": self._adjust,
            "WS": self._move_shield,
            "M21": self._units,
            "M28": self._temperature,
        }
        obey = known.get(name)
        if obey is None:
            self._say("ES")
        elif name != "@" and (self._waiting is not None or self._adjusting):
            self._say(f"{_reply_name(name)} I")
        elif not _TOKENS.fullmatch(rest) or not obey(_TOKEN.findall(rest)):
            self._say(f"{_reply_name(name)} L")

    # ---------------------------------------------------------------- what it is

    def _tell(self, given: list[str], answer: str) -> bool:
        if given:
            return False
        self._say(answer)
        return True

    def _type_and_capacity(self) -> str:
        capacity = self._in_unit(round(Decimal(repr(self._capacity_g)) / self._resolution_g))
        return f"{self._balance_type} Excellence {capacity.strip()}"

    def _cancel(self, given: list[str]) -> bool:
        if given:
            return False
        self._forget_pending()
        self._say(f'I4 A "{self._serial_number}"')
        return True

    def _tell_commands(self, given: list[str]) -> bool:
        if given:
            return False
        for level, name in COMMANDS:
            status = "A" if (level, name) == COMMANDS[-1] else "B"
            self._say(f'I0 {status} {level} "{name}"')
        return True

    def _tell_name(self, given: list[str]) -> bool:
        if not given:
            self._say(f'I10 A "{self.name}"')
            return True
        text = _text(given)
        if text is None or len(text) > NAME_MAX:
            return False
        self.name = text
        self._say("I10 A")
        return True

    # ---------------------------------------------------------------- the load

    @property
    def tare_g(self) -> float:
        """Return the tare in memory."""
        return float(self._tare * self._resolution_g)

    def _look(self) -> bool:
        """Look at the load; return whether it is stable."""
        now = self.world.now()
        load = round(Decimal(repr(self.world.mass_on(self.equipment))) / self._resolution_g)
        if load != self._load:
            self._load = load
            if self._looked:
                self._changed_s = now
        self._looked = True
        return now - self._changed_s >= self._settling_s - 1e-6

    def _range_fault(self) -> str:
        """Return the sign of an overload or underload, or nothing."""
        span = round(Decimal(repr(self._capacity_g)) / self._resolution_g)
        if self._load - self._zero > span:
            return "+"
        return "-" if self._load - self._zero < -span * Decimal(repr(ZERO_RANGE)) else ""

    def _in_unit(self, steps: int, channel: str = "0") -> str:
        """Return a weight in the unit of a channel, as replies carry it."""
        unit, power = UNITS[self._channels[channel]]
        step = self._resolution_g.scaleb(power).normalize()
        exponent = step.as_tuple().exponent
        assert isinstance(exponent, int), "a resolution is a finite number"
        return f"{steps * step:>10.{max(-exponent, 0)}f} {unit}"

    def _value(self, *, stable: bool) -> str:
        """Return the reply that tells the present load."""
        if self.weighing_error is not None:
            return f"S S Error {self.weighing_error}"
        if sign := self._range_fault():
            return f"S {sign}"
        net = self._in_unit(self._load - self._zero - self._tare)
        return f"S {'S' if stable else 'D'} {net}"

    def _when_stable(self, name: str, then: Callable[[bool], None], within_s: float) -> None:
        """Call ``then`` with True as soon as the load is stable, or with False in the end."""
        self._waiting = _Waiting(name, self.world.now() + within_s, then)
        self._look_again()

    def _look_again(self) -> None:
        waiting = self._waiting
        assert waiting is not None, "who waits for nothing has no timer"
        now = self.world.now()
        stable = self._look()
        left_s = waiting.until_s - now
        if stable or left_s <= 1e-6 or self._range_fault() or self.weighing_error:
            self._waiting = None
            waiting.then(stable)
            return
        settled_s = self._changed_s + self._settling_s - now
        self._set_timer("look", min(settled_s, left_s), self._look_again)

    def _set_timer(self, of: str, seconds: float, call: Callable[[], None]) -> None:
        self._stop_timer(of)
        self._timers[of] = self._after(seconds, call)

    def _stop_timer(self, of: str) -> None:
        timer = self._timers.pop(of, None)
        if timer is not None:
            timer.cancel()

    def _stop_stream(self) -> None:
        self._stop_timer("stream")

    def _forget_pending(self) -> None:
        for of in list(self._timers):
            self._stop_timer(of)
        self._waiting = None
        self._adjusting = False

    # ---------------------------------------------------------------- weighing

    def _weigh_stable(self, given: list[str]) -> bool:
        if given:
            return False
        self._stop_stream()

        self._when_stable("S", self._tell_stable, self._stable_within_s)
        return True

    def _tell_stable(self, stable: bool) -> None:
        unusable = self._range_fault() or self.weighing_error
        self._say(self._value(stable=True) if stable or unusable else "S I")

    def _weigh_in_time(self, given: list[str]) -> bool:
        if len(given) != 1 or not given[0].isdecimal():
            return False
        self._when_stable(
            "SC", lambda stable: self._say(self._value(stable=stable)), int(given[0]) / 1000.0
        )
        return True

    def _weigh_now(self, given: list[str]) -> bool:
        if given:
            return False
        self._stop_stream()
        self._say(self._value(stable=self._look()))
        return True

    def _weigh_on_and_on(self, given: list[str]) -> bool:
        if given:
            return False
        self._stream()
        return True

    def _stream(self) -> None:
        self._say(self._value(stable=self._look()))
        self._set_timer("stream", self._stream_every_s, self._stream)

    def _weigh_on_change(self, given: list[str]) -> bool:
        by = self._steps(given) if given else None
        if given and (by is None or by < 1):
            return False
        self._stop_stream()

        def tell(stable: bool) -> None:
            self._tell_stable(stable)
            if stable:
                self._watch(by)

        self._when_stable("SR", tell, self._stable_within_s)
        return True

    def _watch(self, by: int | None) -> None:
        """Tell of the next change from the present stable load, then of the load after it."""
        stood = self._load
        net = abs(stood - self._zero - self._tare)
        least = by if by is not None else max(SR_STEPS_MIN, int(net * SR_SHARE))

        def look() -> None:
            self._look()
            if abs(self._load - stood) < least:
                self._set_timer("stream", self._stream_every_s, look)
                return
            self._say(self._value(stable=False))
            self._set_timer("stream", self._stream_every_s, settle)

        def settle() -> None:
            if not self._look():
                self._set_timer("stream", self._stream_every_s, settle)
                return
            self._say(self._value(stable=True))
            self._watch(by)

        self._set_timer("stream", self._stream_every_s, look)

    # ---------------------------------------------------------------- zero and tare

    def _arrived(self, request: str) -> Planted | None:
        self._moment(Moment.ARRIVING, request)
        self._moment(Moment.ARRIVED, request)
        return self._next_fault()

    def _zero_stable(self, given: list[str]) -> bool:
        if given:
            return False
        fault = self._arrived("Z")

        def zero(stable: bool) -> None:
            usable = (stable or self._range_fault()) and self.weighing_error is None
            answer = self._zero_answer() if usable else "Z I"
            if answer == "Z":
                self._set_zero("Z", fault)
                answer = "Z A"
            self._say(answer, "Z")

        self._when_stable("Z", zero, self._stable_within_s)
        return True

    def _zero_now(self, given: list[str]) -> bool:
        if given:
            return False
        fault = self._arrived("ZI")
        stable = self._look()
        answer = self._zero_answer() if self.weighing_error is None else "Z I"
        if answer == "Z":
            self._set_zero("ZI", fault)
            answer = "Z S" if stable else "Z D"
        self._say(answer.replace("Z", "ZI"), "ZI")
        return True

    def _zero_answer(self) -> str:
        """Return ``Z`` if the load may become the zero, else why it may not."""
        span = float(self._resolution_g) * self._load / self._capacity_g
        if span > ZERO_RANGE:
            return "Z +"
        return "Z -" if span < -ZERO_RANGE else "Z"

    def _set_zero(self, request: str, fault: Planted | None) -> None:
        self._moment(Moment.MOVING, request)
        if fault is not Planted.SWALLOWED:
            self._zero = self._load // 2 if fault is Planted.HALF else self._load
            self._tare = 0
        self._moment(Moment.ENDED, request)

    def _tare_stable(self, given: list[str]) -> bool:
        if given:
            return False
        fault = self._arrived("T")

        def tare(stable: bool) -> None:
            refused = self._tare_refusal()
            if refused:
                self._say(f"T {refused}", "T")
            elif stable:
                self._say(f"T S {self._set_tare('T', fault)}", "T")
            else:
                self._say("T I", "T")

        self._when_stable("T", tare, self._stable_within_s)
        return True

    def _tare_now(self, given: list[str]) -> bool:
        if given:
            return False
        fault = self._arrived("TI")
        stable = self._look()
        refused = self._tare_refusal()
        if refused:
            self._say(f"TI {refused}", "TI")
        else:
            told = self._set_tare("TI", fault)
            self._say(f"TI {'S' if stable else 'D'} {told}", "TI")
        return True

    def _tare_refusal(self) -> str:
        if self.weighing_error is not None:
            return "I"
        return self._range_fault() or ("-" if self._load < self._zero else "")

    def _set_tare(self, request: str, fault: Planted | None, steps: int | None = None) -> str:
        """Take the load, or ``steps``, as the tare; return it as the reply tells it."""
        self._moment(Moment.MOVING, request)
        wanted = self._load - self._zero if steps is None else steps
        if fault is not Planted.SWALLOWED:
            self._tare = wanted // 2 if fault is Planted.HALF else wanted
        self._moment(Moment.ENDED, request)
        return self._in_unit(wanted)

    def _tare_preset(self, given: list[str]) -> bool:
        if not given:
            self._say(f"TA A {self._in_unit(self._tare)}")
            return True
        steps = self._steps(given)
        if steps is None or not 0 <= float(steps * self._resolution_g) <= self._capacity_g:
            return False
        told = self._set_tare("TA", self._arrived("TA"), steps)
        self._say(f"TA A {told}", "TA")
        return True

    def _tare_clear(self, given: list[str]) -> bool:
        if given:
            return False
        self._set_tare("TAC", self._arrived("TAC"), 0)
        self._say("TAC A", "TAC")
        return True

    def _steps(self, given: list[str]) -> int | None:
        """Return a value with its unit in steps of the resolution; None if it isn't one."""
        powers = dict(UNITS.values())
        if len(given) != 2 or not _NUMBER.fullmatch(given[0]) or given[1] not in powers:
            return None
        return round(Decimal(given[0]).scaleb(-powers[given[1]]) / self._resolution_g)

    # ---------------------------------------------------------------- the rest

    def _show_text(self, given: list[str]) -> bool:
        text = _text(given)
        if text is None:
            return False
        self.display = text
        self._say("D A")
        return True

    def _show_weight(self, given: list[str]) -> bool:
        if given:
            return False
        self.display = ""
        self._say("DW A")
        return True

    def _adjust(self, given: list[str]) -> bool:
        if given:
            return False
        if not self._has_inner_weight:
            self._say("EL")
            return True
        self._look()
        if self._zero_answer() != "Z":
            self._say("C3 I")
            return True
        self._say("C3 B")
        self._adjusting = True

        def end() -> None:
            self._adjusting = False
            self._say("C3 A")

        self._set_timer("adjust", self._adjust_s, end)
        return True

    def _move_shield(self, given: list[str]) -> bool:
        if not self._has_shield:
            self._say("EL")
            return True
        if not given:
            self._say(f"WS A {self.shield}")
            return True
        if len(given) != 1 or given[0] not in SHIELD:
            return False
        self.shield = given[0]
        self._say("WS A")
        return True

    def _units(self, given: list[str]) -> bool:
        if not given:
            for channel in CHANNELS:
                status = "A" if channel == CHANNELS[-1] else "B"
                self._say(f"M21 {status} {channel} {self._channels[channel]}")
            return True
        if len(given) != 2 or given[0] not in CHANNELS or given[1] not in UNITS:
            return False
        self._channels[given[0]] = given[1]
        self._say("M21 A")
        return True

    def _temperature(self, given: list[str]) -> bool:
        return self._tell(given, f"M28 A 1 {self.world.chamber_temperature(ROOM):.1f}")

    # ---------------------------------------------------------------- by hand

    def press(self, key: str) -> None:
        """Press TARE or ZERO: as T and Z, when the load is stable, with no word on the line."""
        if key not in KEYS:
            raise ValueError(
                f"{self.equipment}: the panel of {self.model} has no key {key!r}; "
                f"it has {', '.join(KEYS)}"
            )
        if not self._on or self._waiting is not None or self._adjusting:
            return

        def pressed(stable: bool) -> None:
            if not stable or self._range_fault():
                return
            if key == "ZERO" and self._zero_answer() == "Z":
                self._zero = self._load
                self._tare = 0
            elif key == "TARE" and not self._tare_refusal():
                self._tare = self._load - self._zero

        self._when_stable(key, pressed, self._stable_within_s)

    def power_cycle(self) -> None:
        """Come up after the start time with ``I4 A``; zero, tare, display and waiting are lost."""
        self._forget_pending()
        self._heard.clear()
        self._zero = self._tare = 0
        self.display = ""
        self._on = False

        def up() -> None:
            self._on = True
            self._say(f'I4 A "{self._serial_number}"')

        self._set_timer("start", self._start_s, up)


def _reply_name(name: str) -> str:
    """Return the name that a command's refusal carries: values all come back as ``S``."""
    return "S" if name in ("SI", "SIR", "SR", "SC") else name


def _text(given: list[str]) -> str | None:
    """Return the text of one quoted parameter; None if it isn't just that."""
    if len(given) != 1 or not given[0].startswith('"'):
        return None
    return given[0][1:-1]
