r"""Driver of a Linkam T95 that ramps a stage with an LN2 pump, on RS-232.

Source: the T95's serial command set as lewis 1.4.0 (``linkam_t95``) and the ESRF's bliss
(``linkam``) use it. From the published command set; not tried on hardware. It is the
labelled surrogate of a controlled-rate freezer, of which no maker publishes a protocol.

Line: 19200 baud, 8N1 (unconfirmed). Each request ends with CR, and so does each answer.
The first command after power-up must be T.

    T         ten bytes: SB1 EB1 PB1 x x x tttt
                  SB1    01 stopped  10 heating  20 cooling  30 holding at the limit
                         40 holding for a time  50 held by command
                  EB1    80 no error; 01 cooling too fast, 02 sensor open, 04 overload,
                         08 no exit, 20 line error are added to it
                  PB1    80 + pump speed, 0 to 30
                  tttt   temperature in tenths of a degree, hex, two's complement
    R1<n>     rate in hundredths of a degree per minute         answer: nothing but CR
    L1<n>     limit in tenths of a degree, may be negative      answer: nothing but CR
    S O H C   start; hold; heat or cool on to the limit         answer: nothing but CR
    E         stop: never sent, since a stage that was stopped warms up

Rate and limit are preparations. Which write is the trigger depends on how the stage
stands. Stopped: ``S``. Held by command, it waits for ``C`` or ``H``: that is the trigger.
Holding at its limit, it sets off as soon as the limit changes (bliss and lewis agree), so
it is first told to hold where it is by ``O``, which changes nothing. Should a stage set off
at its new limit all the same, the intent is on disk by then, and the trigger adds nothing.

No answer has a checksum, a number or an echo. What T tells is read until two answers in a
row agree; after a lost answer the line is silent, T is asked, and the line must be silent
behind its one answer for as long again, since nothing tells that from the lost one.

The stage goes on by itself when the software dies, and holds at its limit when it is
there. What stopped it can't be told: panel and power loss look alike. Rate and limit
can't be read back; each is acknowledged, and is written again if that is lost.

Unconfirmed: the line's settings; the bare CR as the answer to set commands (bliss relies
on both); that ``O`` keeps a stage that holds at its limit from setting off at a new one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from devices.drivers.reads import not_offered, read_alike, read_frame
from devices.interfaces.controlled_freezing import RampSegment, StageTemperature, temperature_of
from devices.interfaces.driver import DeviceIdentity, Settled, Standing
from devices.sheets.sheet import sheet_of
from devices.transport.conversation import Conversation, Greeting, NoReplyError
from devices.transport.framing import Cut
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
from orchestrator.kernel.errors import LimitRefusedError, OutcomeUnknownError, RefusedError
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import (
    Duration,
    RampRate,
    Temperature,
    TemperatureChange,
    degC,
    second,
)

if TYPE_CHECKING:
    from devices.transport.transport import Transport
    from orchestrator.kernel.identifiers import CommandId, EquipmentId

SHEET: Final = "linkam_t95"

ANSWER_MAX: Final = 64

_LOOK_MAX_S: Final = 60.0  # a long ramp is looked at each minute, so that a stop is noticed
_LATE_FIRST_S: Final = 1.0
_LATE_MAX_S: Final = 10.0

_STATES: Final = {
    0x01: "stopped",
    0x10: "heating",
    0x20: "cooling",
    0x30: "holding",
    0x40: "holding",
    0x50: "held",
}
_MOVING: Final = ("heating", "cooling")
_ERRORS: Final = {
    0x01: "cooling too fast",
    0x02: "sensor open",
    0x04: "overload",
    0x08: "no exit",
    0x20: "line error",
}
_BLIND: Final = 0x02 | 0x04
"""With one of these the temperature isn't to be believed. A line error is none of them: it says
that a request came garbled, as half of one does whose sender died, and nothing of the stage."""
_TENTH: Final = 100  # thousandths of a degree


def answers(buffer: bytearray) -> Cut | None:
    """Frame what ends with CR, which stays part of it: an acknowledgement is nothing else."""
    end = buffer.find(b"\r")
    if end < 0:
        return Cut(len(buffer), None, len(buffer)) if len(buffer) > ANSWER_MAX else None
    return Cut(end + 1, bytes(buffer[: end + 1]))


class Settings(Frozen):
    """What the process cell file says of one stage: nothing, its limits are the sheet's."""


class Status(NamedTuple):
    """What the stage shows of itself at one moment."""

    state: str
    errors: int
    temperature: Temperature

    @property
    def moves(self) -> bool:
        """Whether it heats or cools."""
        return self.state in _MOVING

    @property
    def troubles(self) -> str:
        """The errors it reports, in words."""
        return ", ".join(word for bit, word in _ERRORS.items() if self.errors & bit)


def read_status(frame: bytes) -> Status | None:
    """Return what an answer to T says, or None if it isn't a whole one."""
    if len(frame) != 11 or frame[0] not in _STATES or not frame[1] & 0x80:
        return None
    try:
        tenths = int.from_bytes(bytes.fromhex(frame[6:10].decode("ascii")), "big", signed=True)
    except ValueError:
        return None
    return Status(_STATES[frame[0]], frame[1] & 0x7F, Temperature.of_base(tenths * _TENTH))


class LinkamT95:
    """One stage on one line. Implements ``Driver`` for ``controlled_freezing``."""

    def __init__(self, transport: Transport, *, equipment: EquipmentId, settings: Settings) -> None:
        """Take over the line.

        Args:
            transport: The controller's line.
            equipment: Its name in the process cell.
            settings: None are needed.
        """
        del settings
        sheet = sheet_of(SHEET)
        self._equipment = equipment
        self._rates = sheet.range_of("rate", RampRate)
        self._temperatures = sheet.range_of("temperature", Temperature)
        self._rate_step = sheet.figure("rate_step", RampRate)
        self._temperature_step = sheet.figure("temperature_step", TemperatureChange)
        self._limit_error = sheet.figure("limit_error", TemperatureChange)
        self._idle_error = sheet.figure("idle_error", TemperatureChange)
        self._reply_within = sheet.figure("reply_within", Duration)
        self._line = Conversation(
            transport, answers, greeting=Greeting(self._who, quiet=self._reply_within)
        )
        self._second_look_s = sheet.figure("second_look", Duration).to(second)
        self._only_acts_change = {
            "state": "equal",
            "temperature": str(self._idle_error.base // 1_000),
        }
        self._planned = b""
        self._quieted = asyncio.Event()

    @property
    def equipment(self) -> EquipmentId:
        return self._equipment

    @property
    def model(self) -> str:
        return SHEET

    @property
    def only_acts_change(self) -> Facts:
        """Return the tolerances: a resting stage drifts by up to the sheet's ``idle_error``."""
        return self._only_acts_change

    async def run(self) -> None:
        await self._line.run()

    async def identify(self) -> DeviceIdentity:
        """Return the model alone: its answer to T is all that it says of itself."""
        await self._status()
        return DeviceIdentity(model=SHEET)

    async def standing(self) -> Standing:
        return _standing(await self._status())

    async def prepare(self, act: Act) -> None:
        """Keep the stage where it is, and write rate and limit.

        Raises:
            LimitRefusedError: Rate or temperature are beyond the sheet, or finer than the
                stage's steps. Nothing was written.
            RefusedError: The stage moves already, or reports an error. Nothing was written.
            OutcomeUnknownError: No answer. The stage stands as it did.
        """
        asked = self._mine(act)
        rate, limit = self._steps(asked)
        shown = await self._status()
        if shown.moves:
            raise RefusedError(
                self._what(asked),
                why=f"the stage is {shown.state} already, at {shown.temperature}",
                do_next="Find out who started it, let it reach its limit, and resume",
            )
        if shown.errors & _BLIND:
            raise RefusedError(
                self._what(asked),
                why=f"the stage reports {shown.troubles}",
                do_next="Check stage and sensor, then resume",
            )
        if shown.state == "holding":
            await self._set(b"O\r", "hold the present temperature")
        await self._set(b"R1%d\r" % rate, "set the rate")
        await self._set(b"L1%d\r" % limit, "set the limit")
        if shown.state == "stopped":
            self._planned = b"S\r"
        else:
            self._planned = b"C\r" if asked.to <= shown.temperature else b"H\r"

    async def trigger(self, act: Act, command: CommandId) -> None:
        asked = self._mine(act)
        assert self._planned, f"{self._equipment}: triggered without a preparation"
        request, self._planned = self._planned, b""
        self._quieted.clear()
        try:
            await self._line.ask(
                request, within=self._reply_within, fits=_is_acknowledgement, trigger=command
            )
        except NoReplyError as lost:
            raise OutcomeUnknownError(
                self._what(asked),
                why=f"the stage didn't acknowledge within {self._reply_within}",
                do_next="Do not repeat it; state and temperature show whether it set off",
            ) from lost

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        return await self.effect_of(act, command, before)

    async def effect_of(self, act: Act, command: CommandId, before: Standing) -> Settled:
        """Wait until the stage rests, and judge by its state and its temperature.

        It is told to have done nothing only where it rests as it did before: stopped within
        the sheet's ``idle_error``, else within its ``limit_error``. A stopped stage with bags
        in it is never believed: it may have cooled them, lost power and warmed again.
        """
        del command
        asked = self._mine(act)
        shown = await self._until_idle(asked)
        return Settled(report=self._judge(asked, before, shown), standing=_standing(shown))

    async def quieten(self, how: Quieten) -> None:
        """Hold a moving stage where it is, unless it is to be left running. Never stops it.

        Raises:
            OutcomeUnknownError: The stage doesn't answer, or moves on.
        """
        if how is Quieten.LEAVE_RUNNING:
            return
        what = f"{self._equipment}: hold the present temperature"
        do_next = "Press hold at the controller"
        for _ in range(3):
            if not (await self._status()).moves:
                self._quieted.set()
                return
            try:
                await self._line.halt(b"O\r", within=self._reply_within, fits=_is_acknowledgement)
            except NoReplyError:
                continue
            except LineClosedError:
                raise OutcomeUnknownError(what, why="the line is closed", do_next=do_next) from None
        if (await self._status()).moves:
            raise OutcomeUnknownError(what, why="it moves on", do_next=do_next)
        self._quieted.set()

    async def read(self, reading: Reading) -> str:
        """Return the stage's temperature as text, e.g. ``"-40.5 °C"``.

        Raises:
            RefusedError: The sensor is open, so that its number says nothing.
            OutcomeUnknownError: No whole answer in the allowed attempts.
        """
        if not isinstance(reading, StageTemperature):
            raise not_offered(self._equipment, reading.kind)
        shown = await self._status()
        if shown.errors & _BLIND:
            raise RefusedError(
                f"{self._equipment}: read the temperature",
                why=f"the stage reports {shown.troubles}",
                do_next="Check stage and sensor",
            )
        return str(shown.temperature)

    async def close(self) -> None:
        await self._line.close()

    def _judge(self, asked: RampSegment, before: Standing, shown: Status) -> EffectReport:
        """Return what a resting stage says of one segment."""
        detail = {"temperature": str(shown.temperature)}
        if shown.errors:
            detail["reported"] = shown.troubles
        if shown.errors & _BLIND:
            return CannotTell(why=f"the stage reports {shown.troubles}")
        if shown.state == "holding" and _apart(shown.temperature, asked.to) <= self._limit_error:
            return AllDone(effect=Effect(done="1", detail=detail))
        at = f"at {shown.temperature}"
        was = temperature_of(before.values)
        if was is None:
            return CannotTell(why=f"it is {shown.state} {at}; what it was before isn't known")
        if shown.state == "stopped" and asked.containers:
            return CannotTell(why=f"it is stopped {at}: it may have cooled and warmed again")
        drift = self._idle_error if shown.state == "stopped" else self._limit_error
        rests_as_before = shown.state == before.values["state"] or (
            shown.state == "held" and before.values["state"] == "holding"
        )
        if rests_as_before and _apart(shown.temperature, was) <= drift:
            return NothingDone(why=f"it is {shown.state} {at} as before")
        if shown.state == "held":
            return PartDone(effect=Effect(done="0", detail=detail), why=f"it is held {at}")
        if shown.state == "stopped":
            return CannotTell(why=f"it is stopped {at}: by its panel, or it was without power")
        return CannotTell(why=f"it holds {at}, which isn't the limit asked for")

    async def _until_idle(self, asked: RampSegment) -> Status:
        """Return what the stage shows once it rests, having waited as long as it moves.

        A stage that rests away from the limit is looked at twice: it may not have set off.
        One that is stopped drifts on, and bags in it with it: it isn't waited for.
        """
        rested_at: Temperature | None = None
        patience_s = 0.0
        while True:
            self._quieted.clear()
            shown = await self._status()
            if not shown.moves:
                if (
                    _apart(shown.temperature, asked.to) <= self._limit_error
                    or shown.temperature == rested_at
                    or (shown.state == "stopped" and rested_at is not None)
                ):
                    return shown
                rested_at = shown.temperature
                await self._wait(self._second_look_s)
                continue
            rested_at = None
            left_s = _apart(shown.temperature, asked.to).base * 60 / asked.rate.base
            if left_s < _LATE_FIRST_S:
                patience_s = min(max(2 * patience_s, _LATE_FIRST_S), _LATE_MAX_S)
            await self._wait(min(max(left_s, patience_s), _LOOK_MAX_S))

    async def _wait(self, wait_s: float) -> None:
        """Sleep, or until somebody quiets the stage."""
        try:
            async with asyncio.timeout(wait_s):
                await self._quieted.wait()
        except TimeoutError:
            return

    async def _status(self) -> Status:
        """Return what the stage shows, twice alike."""
        what = f"{self._equipment}: read state and temperature"

        async def once() -> Status:
            frame = await read_frame(
                self._line, b"T\r", within=self._reply_within, fits=_is_status, what=what
            )
            status = read_status(frame)
            assert status is not None, "the conversation gave a frame that doesn't fit"
            return status

        return await read_alike(self._line, once, alike=self._is_alike, what=what)

    def _is_alike(self, earlier: Status, later: Status) -> bool:
        apart = _apart(earlier.temperature, later.temperature)
        may_drift = self._idle_error if later.moves else self._limit_error
        return earlier[:2] == later[:2] and apart <= may_drift

    async def _who(self) -> str:
        await self._line.ask(b"T\r", within=self._reply_within, fits=_is_status)
        return SHEET

    async def _set(self, request: bytes, what: str) -> None:
        """Write a value that may arrive twice, until it is acknowledged."""
        await read_frame(
            self._line,
            request,
            within=self._reply_within,
            fits=_is_acknowledgement,
            what=f"{self._equipment}: {what}",
        )

    def _steps(self, asked: RampSegment) -> tuple[int, int]:
        """Return rate and limit in the stage's own steps.

        Raises:
            LimitRefusedError: They are beyond the sheet, or finer than the steps.
        """
        if asked.rate not in self._rates:
            raise self._beyond(asked, f"the stage is qualified for {self._rates}")
        if asked.to not in self._temperatures:
            raise self._beyond(asked, f"the stage is qualified for {self._temperatures}")
        rate, finer = divmod(asked.rate.base, self._rate_step.base)
        if finer:
            raise self._beyond(asked, f"the rate goes in steps of {self._rate_step}")
        limit, finer = divmod(asked.to.base, self._temperature_step.base)
        if finer:
            raise self._beyond(asked, f"the limit goes in steps of {self._temperature_step}")
        return rate, limit

    def _mine(self, act: Act) -> RampSegment:
        if not isinstance(act, RampSegment):
            raise not_offered(self._equipment, act.kind)
        return act

    def _what(self, asked: RampSegment) -> str:
        return f"{self._equipment}: go to {asked.to} at {asked.rate}"

    def _beyond(self, asked: RampSegment, why: str) -> LimitRefusedError:
        return LimitRefusedError(
            self._what(asked),
            why=f"{why} (sheet {SHEET})",
            do_next="Correct rate or temperature in the recipe",
        )


def _standing(shown: Status) -> Standing:
    values = {"state": shown.state}
    if not shown.errors & _BLIND:
        values["temperature"] = f"{shown.temperature.to(degC):.1f}"
    return Standing(
        values=values,
        witness="" if shown.state == "stopped" else "started",
    )


def _apart(one: Temperature, other: Temperature) -> TemperatureChange:
    return abs(one - other)


def _is_status(frame: bytes) -> bool:
    return read_status(frame) is not None


def _is_acknowledgement(frame: bytes) -> bool:
    return frame == b"\r"
