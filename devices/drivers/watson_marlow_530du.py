r"""Driver of the Watson-Marlow 530Du peristaltic pump, basic protocol, on RS-232.

Source: 530Du manual m-530dun-gb-01, page 40; line settings from the 323Du manual, page
27. From the published manual; not tried on hardware.

Line: 9600 baud, 8N2, no handshake (unconfirmed for the 530), at least 10 ms between
commands. ``n`` is the pump's number, 1 to 16.

    request   n<command>[parameter]\r
    nSP xxx.x speed in rpm, to a tenth            no answer
    nRR, nRL  clockwise, counter-clockwise        no answer
    nDO p     set and run one dose of p pulses    no answer
    nST       stop                                no answer
    nRT       the cumulative tacho count          <count>\r     (asked to be in step again)
    nRS       status                              <status>\r
    status    <type> <mL/rev> <head> <tube> <speed> <CW|CCW> P/N <n> <count> <0|1> !

With echo on (a setting of the pump) each request comes back before its answer; it then
shows that the request arrived whole, and an answer without it isn't taken. No answer has
a checksum or a number, so each value is read until two in a row agree. After a lost
answer the line is silent first; then the count is asked for, whose answer has another
form than the status, and the status, which says the pump's type and number. Set commands
have no acknowledgement, so speed and direction are read back before a dose. All else
uses the status alone: it holds count and motion of one moment and can't be taken for
another answer. ``TC`` is never sent, since the count never falls below its base while the
pump has power: that is the power-cycle witness. While the count is 0, or within the play
of a standing pump, there is none; so the head is turned empty before a kit is docked on
it (``TurnEmptyPump``). After a power cycle with a kit docked there is none either until
the next dose has settled: an interrupted dose is then for the balances to decide, else
for people. A restart after which more was pumped by hand than ever before isn't seen by
it; the balance then disagrees.

The pump has no watchdog. Every dose is bounded by its own pulses.

Unconfirmed: echo and line settings; 10,892 or 10,982 pulses per revolution (both are
printed; the cell file says which); that the count grows in both directions; that a
front-panel stop makes the pump ignore set commands (505Du manual, page 15).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import Field

from devices.drivers.reads import READ_ATTEMPTS_MAX, not_offered, read_alike, read_frame
from devices.interfaces.driver import DeviceIdentity, Settled, Standing
from devices.interfaces.fluid_transfer import PumpCount, PumpVolume, TurnEmptyPump
from devices.sheets.sheet import sheet_of
from devices.transport.conversation import Conversation, Greeting, NoReplyError
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
from orchestrator.kernel.errors import LimitRefusedError, OutcomeUnknownError, RefusedError
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import Duration, Flow, Fraction, Volume, second

if TYPE_CHECKING:
    from collections.abc import Callable

    from devices.transport.transport import Transport
    from orchestrator.kernel.identifiers import CommandId, EquipmentId

SHEET: Final = "watson_marlow_530du"

_LOOK_MAX_S: Final = 60.0  # a long dose is looked at each minute, so that a stop is noticed
_LATE_FIRST_S: Final = 1.0
_LATE_MAX_S: Final = 10.0

_STATUS: Final = re.compile(
    rb"(?:[!-~]{1,12} ){4}([0-9]{1,3}(?:\.[0-9])?) (CW|CCW) P/N ([0-9]{1,2}) ([0-9]{1,10}) ([01]) !"
)
_COUNT: Final = re.compile(rb"[0-9]{1,10}")


class Settings(Frozen):
    """What the process cell file says of one pump and its tube."""

    pump_number: int = Field(ge=1, le=16, description="As set at the pump")
    pulses_per_revolution: int = Field(ge=1_000, le=100_000, description="10892 or 10982")
    uL_per_revolution: int = Field(ge=1, le=100_000, description="Calibrated with the kit's tube")
    forward_is_clockwise: bool = Field(description="As the kit's segment lies in the pump head")
    echo: bool = Field(description="As set at the pump")


class Status(NamedTuple):
    """What the pump shows of itself at one moment."""

    speed_tenths: int
    clockwise: bool
    tacho: int
    running: bool


def read_status(line: bytes, pump_number: int) -> Status | None:
    """Return what a status line says, or None if it isn't a whole one of this pump."""
    found = _STATUS.fullmatch(line.strip())
    if found is None or int(found[3]) != pump_number:
        return None
    whole, _, tenth = found[1].partition(b".")
    return Status(
        speed_tenths=10 * int(whole) + int(tenth or b"0"),
        clockwise=found[2] == b"CW",
        tacho=int(found[4]),
        running=found[5] == b"1",
    )


_Turning = PumpVolume | TurnEmptyPump


class Dose(NamedTuple):
    """What an act asks of this pump, in its own steps."""

    pulses: int
    speed_tenths: int
    clockwise: bool


class WatsonMarlow530Du:
    """One pump on one line. Implements ``Driver`` for ``fluid_transfer``."""

    def __init__(self, transport: Transport, *, equipment: EquipmentId, settings: Settings) -> None:
        """Take over the line.

        Args:
            transport: The pump's line.
            equipment: Its name in the process cell.
            settings: Its number, its tube and how it is set up.
        """
        sheet = sheet_of(SHEET)
        self._equipment = equipment
        self._settings = settings
        self._address = b"%d" % settings.pump_number
        self._flows = sheet.range_of("flow", Flow)
        self._volumes = sheet.range_of("volume", Volume)
        lowest, highest = sheet.numbers_of("speed_rpm")
        self._speed_tenths = (int(10 * lowest), int(10 * highest))
        self._volume_step = sheet.figure("volume_step", Volume)
        self._flow_error = sheet.figure("flow_error", Fraction)
        self._idle_count = int(sheet.number("idle_count"))
        self._dose_count = int(sheet.number("dose_count"))
        self._gap_s = sheet.figure("command_gap", Duration).to(second)
        self._reply_within = sheet.figure("reply_within", Duration)
        self._line = Conversation(
            transport,
            lines(b"\r", longest=200),
            greeting=Greeting(self._who, quiet=self._reply_within),
        )
        self._second_look_s = sheet.figure("second_look", Duration).to(second)
        self._only_acts_change = {"count": str(self._idle_count), "running": "equal"}
        self._next_send_s: float | None = None  # somebody may have sent just before us
        self._shown: Status | None = None
        self._quieted = asyncio.Event()

    @property
    def equipment(self) -> EquipmentId:
        return self._equipment

    @property
    def model(self) -> str:
        return SHEET

    @property
    def only_acts_change(self) -> Facts:
        """Return the tolerances: the count's is the sheet's ``idle_count``."""
        return self._only_acts_change

    async def run(self) -> None:
        await self._line.run()

    async def identify(self) -> DeviceIdentity:
        model = await read_alike(self._line, self._type, what=f"{self._equipment}: read its type")
        self._line.knows(self._named(model))
        return DeviceIdentity(model=model)

    async def standing(self) -> Standing:
        return self._standing(await self._status())

    async def prepare(self, act: Act) -> None:
        """Set speed and direction, which has no acknowledgement, and read them back.

        Raises:
            LimitRefusedError: The flow or the volume is beyond the sheet, or finer than
                the pump's steps. Nothing was written.
            RefusedError: The pump turns already, or doesn't take what it is told. Nothing
                of the material moved.
            OutcomeUnknownError: No answer. Nothing of the material moved.
        """
        asked = self._mine(act)
        dose = self.dose(asked)
        shown = await self._status()
        for _ in range(READ_ATTEMPTS_MAX):
            if shown.running:
                raise RefusedError(
                    self._what(asked),
                    why="the pump turns already",
                    do_next="Find out who started it, stop it, and resume",
                )
            if (shown.speed_tenths, shown.clockwise) == (dose.speed_tenths, dose.clockwise):
                return
            await self._set(b"SP%d.%d" % divmod(dose.speed_tenths, 10))
            await self._set(b"RR" if dose.clockwise else b"RL")
            shown = await self._status()
        raise RefusedError(
            self._what(asked),
            why=f"told {_speed(dose)}, the pump shows {_speed(shown)}",
            do_next="Release the pump's front-panel stop and give it back to remote control",
        )

    async def trigger(self, act: Act, command: CommandId) -> None:
        asked = self._mine(act)
        dose = self.dose(asked)
        self._quieted.clear()
        await self._keep_gap()
        try:
            await self._say(b"DO%d" % dose.pulses, command)
        except NoReplyError as lost:
            raise OutcomeUnknownError(
                self._what(asked),
                why="the dose command left and its echo didn't come back whole",
                do_next="Do not repeat it; count and balance show what was moved",
            ) from lost

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        del command
        asked = self._mine(act)
        dose = self.dose(asked)
        await self._wait(min(self._turning_s(dose.pulses, dose.speed_tenths), _LOOK_MAX_S))
        shown = await self._until_idle(dose, before)
        moved = shown.tacho - int(before.values["count"])
        if isinstance(asked, TurnEmptyPump):
            report = self._judge_empty(asked, dose, moved)
        elif not before.witness and self._is_all(moved, dose):
            # A restart within the dose would have left fewer pulses on the count.
            report = AllDone(effect=self._effect(asked, moved, asked.volume))
        else:
            report = self._judge(asked, dose, before, shown)
        return Settled(report=report, standing=self._standing(shown))

    async def effect_of(self, act: Act, command: CommandId, before: Standing) -> Settled:
        del command
        asked = self._mine(act)
        dose = self.dose(asked)
        shown = await self._until_idle(dose, before)
        if isinstance(asked, TurnEmptyPump):
            report = self._judge_empty(asked, dose, shown.tacho - int(before.values["count"]))
        else:
            report = self._judge(asked, dose, before, shown)
        return Settled(report=report, standing=self._standing(shown))

    async def quieten(self, how: Quieten) -> None:
        """Stop the pump, unless it is to be left running. It has no value to hold but rest.

        Raises:
            OutcomeUnknownError: The pump doesn't answer, or turns on.
        """
        if how is Quieten.LEAVE_RUNNING:
            return
        why = f"it turns on after {READ_ATTEMPTS_MAX} stop commands"
        for _ in range(READ_ATTEMPTS_MAX):
            await self._keep_gap()
            stop = self._address + b"ST\r"
            fits = self._echo_of(stop) if self._settings.echo else None
            try:
                await self._line.halt(stop, within=self._reply_within, fits=fits)
            except NoReplyError:  # the status shows whether it arrived
                pass
            except LineClosedError:
                why = "the line is closed"
                break
            self._note_sent()
            if not (await self._status()).running:
                self._quieted.set()
                return
        raise OutcomeUnknownError(
            f"{self._equipment}: stop", why=why, do_next="Press the pump's stop key"
        )

    async def read(self, reading: Reading) -> str:
        if not isinstance(reading, PumpCount):
            raise not_offered(self._equipment, reading.kind)
        return str((await self._status()).tacho)

    async def close(self) -> None:
        await self._line.close()

    def dose(self, act: _Turning) -> Dose:
        """Return ``act`` in pulses and tenths of rpm.

        The dose is the nearest whole pulse; the speed is the next step at or below.

        Raises:
            LimitRefusedError: It is beyond the sheet, or finer than the pump's steps.
        """
        per_revolution_nL = self._settings.uL_per_revolution * 1_000
        if act.flow not in self._flows:
            raise self._beyond(act, f"the pump is qualified for {self._flows}")
        if act.volume not in self._volumes:
            raise self._beyond(act, f"the pump is qualified for {self._volumes}")
        if act.volume.base % self._volume_step.base:
            raise self._beyond(act, f"the volume isn't a whole number of {self._volume_step}")
        speed_tenths = act.flow.base * 10 // per_revolution_nL
        if not self._speed_tenths[0] <= speed_tenths <= self._speed_tenths[1]:
            raise self._beyond(act, f"with this tube that is {speed_tenths / 10} rpm")
        given = Flow.of_base(speed_tenths * per_revolution_nL // 10)
        if act.flow - given > self._flow_error.of(act.flow):
            raise self._beyond(act, f"the speed's next step of 0.1 rpm gives {given}")
        pulses = _nearest(act.volume.base * self._settings.pulses_per_revolution, per_revolution_nL)
        if pulses < 3 * self._idle_count:
            raise self._beyond(act, f"that is {pulses} pulses, too few to count surely")
        forward = isinstance(act, TurnEmptyPump) or act.forward
        return Dose(pulses, speed_tenths, forward == self._settings.forward_is_clockwise)

    def _judge(
        self, asked: PumpVolume, dose: Dose, before: Standing, shown: Status
    ) -> EffectReport:
        """Return what the count says of one dose, of a pump that stands."""
        base = int(before.values["count"])
        moved = shown.tacho - base
        if not before.witness:
            return CannotTell(
                why=f"the count was {base} before and is {shown.tacho}; a restart wouldn't show"
            )
        if moved < -self._idle_count:
            return CannotTell(
                why=f"the count fell from {base} to {shown.tacho}: the pump was without power"
            )
        if moved <= self._idle_count:
            return NothingDone(why=f"the count stayed at {shown.tacho}")
        if self._is_all(moved, dose):
            return AllDone(effect=self._effect(asked, moved, asked.volume))
        if moved > dose.pulses:
            return CannotTell(why=f"the count rose by {moved} pulses in a dose of {dose.pulses}")
        return self._part(asked, dose, moved)

    def _judge_empty(self, asked: TurnEmptyPump, dose: Dose, moved: int) -> EffectReport:
        """Return what the count says of an empty turn, of a pump that stands.

        Never doubt: what isn't surely done is done again, for nothing is moved by it.
        """
        if moved <= self._idle_count:
            return NothingDone(why=f"the count changed by {moved} pulses, so none is sure")
        if moved < dose.pulses - self._idle_count:
            return self._part(asked, dose, moved)
        return AllDone(effect=self._effect(asked, moved, asked.volume))

    def _part(self, asked: _Turning, dose: Dose, moved: int) -> PartDone:
        per_revolution_nL = self._settings.uL_per_revolution * 1_000
        volume = Volume.of_base(moved * per_revolution_nL // self._settings.pulses_per_revolution)
        return PartDone(
            effect=self._effect(asked, moved, volume.round_down_to(self._volume_step)),
            why=f"{moved} of {dose.pulses} pulses were turned",
        )

    def _standing(self, shown: Status) -> Standing:
        is_base = shown.tacho > self._idle_count
        return Standing(
            values={"count": str(shown.tacho), "running": "1" if shown.running else "0"},
            witness=f"count>={shown.tacho}" if is_base else "",
        )

    def _is_all(self, moved: int, dose: Dose) -> bool:
        return dose.pulses - self._idle_count <= moved <= dose.pulses + self._dose_count

    def _effect(self, asked: _Turning, moved: int, volume: Volume) -> Effect:
        forward = isinstance(asked, TurnEmptyPump) or asked.forward
        direction = "forward" if forward else "backward"
        return Effect(done=str(volume), detail={"pulses": str(moved), "direction": direction})

    async def _until_idle(self, dose: Dose, before: Standing) -> Status:
        """Return what the pump shows once it stands, having waited as long as it turns.

        A pump that stands before its dose is full is looked at twice: it may not have
        begun yet.
        """
        full = int(before.values["count"]) + dose.pulses
        stood_at = counted = -1
        patience_s = 0.0
        while True:
            self._quieted.clear()
            shown = await self._status()
            left = full - shown.tacho
            if not shown.running:
                if left <= self._idle_count or shown.tacho == stood_at:
                    return shown
                stood_at = shown.tacho
                await self._wait(self._second_look_s)
                continue
            stood_at = -1
            if left <= 0 or shown.tacho == counted:
                patience_s = min(max(2 * patience_s, _LATE_FIRST_S), _LATE_MAX_S)
            counted = shown.tacho
            turning_s = self._turning_s(max(left, 0), shown.speed_tenths)
            await self._wait(min(max(turning_s, patience_s), _LOOK_MAX_S))

    def _turning_s(self, pulses: int, speed_tenths: int) -> float:
        """Return how long ``pulses`` take, and two command gaps more."""
        a_minute = self._settings.pulses_per_revolution * max(speed_tenths, 1) / 10
        return pulses * 60 / a_minute + 2 * self._gap_s

    async def _wait(self, wait_s: float) -> None:
        """Sleep, or until somebody quiets the pump."""
        try:
            async with asyncio.timeout(wait_s):
                await self._quieted.wait()
        except TimeoutError:
            return

    async def _status(self) -> Status:
        """Return what the pump shows, twice alike."""

        def alike(earlier: Status, later: Status) -> bool:
            if earlier[:2] + earlier[3:] != later[:2] + later[3:]:
                return False
            if not later.running:
                return earlier.tacho == later.tacho
            return self._is_later(earlier.tacho, later.tacho)

        what = f"{self._equipment}: read status"
        return await read_alike(self._line, self._status_once, alike=alike, what=what)

    def _is_later(self, earlier: int, later: int) -> bool:
        """Whether a count may have become ``later`` since, at the pump's highest speed."""
        a_second = self._settings.pulses_per_revolution * self._speed_tenths[1] // 600
        return earlier <= later <= earlier + 2 * a_second * self._reply_within.base // 1_000

    async def _status_once(self) -> Status:
        await self._read(b"RS", self._is_status)
        assert self._shown is not None, "the conversation gave a frame that doesn't fit"
        return self._shown

    async def _type(self) -> str:
        line = await self._read(b"RS", self._is_status)
        return line.strip().split(b" ", 1)[0].decode("ascii")

    def _named(self, model: str) -> str:
        return f"{model} {self._settings.pump_number}"

    async def _who(self) -> str:
        """Ask for count and status, which have different forms, and return type and number."""
        line = b""
        for command, fits in ((b"RT", _is_count), (b"RS", self._is_status)):
            await self._keep_gap()
            request = self._address + command + b"\r"
            try:
                line = await self._line.ask(
                    request, within=self._reply_within, fits=fits, echo=self._echo(request)
                )
            finally:
                self._note_sent()
        await self._keep_gap()  # what waited for this is sent next
        return self._named(line.strip().split(b" ", 1)[0].decode("ascii"))

    def _is_status(self, frame: bytes) -> bool:
        """Tell whether a frame is this pump's status, and keep what it says."""
        self._shown = read_status(frame, self._settings.pump_number)
        return self._shown is not None

    async def _read(self, command: bytes, fits: Callable[[bytes], bool]) -> bytes:
        await self._keep_gap()
        request = self._address + command + b"\r"
        try:
            return await read_frame(
                self._line,
                request,
                within=self._reply_within,
                fits=fits,
                echo=self._echo(request),
                what=f"{self._equipment}: read status",
            )
        finally:
            self._note_sent()

    async def _set(self, command: bytes) -> None:
        """Send a command that may arrive twice. Silence shows in the status read after it."""
        await self._keep_gap()
        with contextlib.suppress(NoReplyError):
            await self._say(command, None)

    async def _say(self, command: bytes, trigger: CommandId | None) -> None:
        request = self._address + command + b"\r"
        if self._settings.echo:
            await self._line.ask(
                request, within=self._reply_within, fits=self._echo_of(request), trigger=trigger
            )
        else:
            await self._line.tell(request, trigger=trigger)
        self._note_sent()

    def _echo(self, request: bytes) -> Callable[[bytes], bool] | None:
        return self._echo_of(request) if self._settings.echo else None

    def _echo_of(self, request: bytes) -> Callable[[bytes], bool]:
        return lambda frame: frame.strip() == request[:-1]

    async def _keep_gap(self) -> None:
        left_s = self._gap_s
        if self._next_send_s is not None:
            left_s = self._next_send_s - asyncio.get_running_loop().time()
        if left_s > 0:
            await asyncio.sleep(left_s)

    def _note_sent(self) -> None:
        self._next_send_s = asyncio.get_running_loop().time() + self._gap_s

    def _mine(self, act: Act) -> _Turning:
        if not isinstance(act, PumpVolume | TurnEmptyPump):
            raise not_offered(self._equipment, act.kind)
        return act

    def _what(self, act: _Turning) -> str:
        done = "turn empty for" if isinstance(act, TurnEmptyPump) else "pump"
        return f"{self._equipment}: {done} {act.volume} at {act.flow}"

    def _beyond(self, act: _Turning, why: str) -> LimitRefusedError:
        return LimitRefusedError(
            self._what(act),
            why=f"{why} (sheet {SHEET})",
            do_next="Correct volume or flow in the recipe, or the tube in the cell file",
        )


def _speed(shown: Status | Dose) -> str:
    return (
        f"{shown.speed_tenths / 10} rpm {'clockwise' if shown.clockwise else 'counter-clockwise'}"
    )


def _is_count(frame: bytes) -> bool:
    return _COUNT.fullmatch(frame.strip()) is not None


def _nearest(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
