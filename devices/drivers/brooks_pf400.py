r"""Driver of a Brooks PreciseFlex PF400 with servo gripper, TCP Command Server (TCS).

Source: TCS 3.0 as pylabrobot 0.2.2 (``arms/precise_flex``) and its 2026 snapshot speak it.
From the published command set; not tried on hardware.

Line: TCP port 10100 (robot 1). One line a request, one a reply, in order; no numbers.

    request   <command> [arguments]\n
    reply     <code>[ <data>]\r\n   code 0 is well; a negative code is an error and its text
    mode 0                           replies for a program; sent first
    sysState      state of power; 20 ready to attach, 21 on and attached, 15 emergency stop
    hp 1 20       power on, wait up to 20 s    attach 1|0
    pd 2800       homed, first of its numbers 0 or 1
    HomeAll_IfNoPlate  home, unattached; -1 done, 0 the gripper holds something
    Profile n speed speed2 accel decel accramp decramp inrange straight
    GraspData width speed force      for the next pick; mm, %, N
    GripOpenPos mm
    locXyz i x y z yaw pitch roll    StationType i access 0 clearance above offset
    locConfig i bits
    PickPlate i 0 0    grip at the station, retreat to its approach; -1 held, 0 no plate
    PlacePlate i 0 0   the reverse; the replies come when it is done
    wherej, destJ 1    joints now, joints of the last move's target; axis 5 is the gripper
    wherec             x y z yaw pitch roll configuration
    IsFullyClosed      -1 if nothing is between closed fingers
    halt               stops at once, power stays; sent as \nhalt\n, so that a broken line
                       before it doesn't swallow it

A reply bears neither number nor echo, and nothing but TCP guards what it says. So each is
taken only in the form that its question has, and what decides is read until two replies
in a row agree. After a lost reply the line is silent, then ``mode 0`` and ``version`` are
asked, whose reply no other question has. After a halt half a second of silence will do.

A motion goes on when the connection drops. TCS keeps no command numbers, so what became of
a pick or place is told by three things together: the arm stands at the last move's target,
it stands off the taught point by the approach's clearance, and the fingers stand at the
tray's width or don't. Where they don't agree, a person looks.

Power is switched on, and the arm is homed, only as a preparation of an act, never on
connecting: the lost homing is what shows that the controller restarted. Power is never
switched off here. An attempt that begins with an arm that isn't homed homes it and ends:
it triggers nothing, so that nothing need be told of it from a position that wasn't known.

Unconfirmed: see the sheet. If PickPlate keeps its connection from answering, as
``waitForEom`` does, a halt on it comes late: the emergency stop is hardware.
"""

from __future__ import annotations

import asyncio
import math
import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pydantic import Field, model_validator

from devices.drivers.reads import READ_ATTEMPTS_MAX, not_offered, read_alike, read_frame
from devices.interfaces.container_transport import GripperHolds, PickContainer, PlaceContainer
from devices.interfaces.driver import DeviceIdentity, MadeReadyError, Settled, Standing
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
    Quieten,
    Reading,
)
from orchestrator.kernel.errors import (
    DeviceFaultError,
    FailedError,
    InterlockRefusedError,
    LimitRefusedError,
    OutcomeUnknownError,
    RefusedError,
)
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import PlaceId
from orchestrator.kernel.quantities import Duration, second

if TYPE_CHECKING:
    from collections.abc import Callable

    from devices.transport.transport import Transport
    from orchestrator.kernel.identifiers import CommandId, EquipmentId

SHEET: Final = "brooks_pf400"

_ON_AND_ATTACHED: Final = 21
_READY_TO_ATTACH: Final = 20
_WAITS_FOR_ENABLE: Final = (6, 7)
_HOMING: Final = 28
_STATES: Final = {
    3: "its power is going off",
    4: "its power is off after a fault",
    5: "its power is off and a fault must be cleared",
    15: "the emergency stop is down",
    16: "it runs its safety diagnostics",
    _HOMING: "it is homing",
}
_REFUSED_AT_REST: Final = {-1009, -1021, -2805, -2851, -2852}
"""Errors that come before any motion: not attached, not homed, unknown command or station."""

_JOINTS: Final = 4  # axis 5 is the gripper, and stops short of its target on a tray
_UNHOMED: Final = "not homed"
"""The witness of an arm that isn't homed: an attempt from there only makes it ready."""

_MODE: Final = b"mode 0"
_REPLY: Final = re.compile(rb"(0)(?: (.*))?|(-[0-9]{1,5}) (.*[A-Za-z].*)")
_NOTHING: Final = re.compile(rb"")
_FOUND: Final = re.compile(rb"(?:-1|0)?")
_NUMBERS: Final = re.compile(rb"-?[0-9]+(?:[ ,]+-?[0-9]+)*")
_AXES: Final = re.compile(rb"-?[0-9.]+(?: +-?[0-9.]+){4,7}")
_VERSION: Final = re.compile(rb".*[A-Za-z].*")


class Station(Frozen):
    """A taught place: where the gripper stands when it grips, and how it comes there."""

    index: int = Field(ge=1, le=500, description="TCS's number of the station")
    x_mm: float
    y_mm: float
    z_mm: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    configuration: int = Field(ge=0, le=0x1FFF, description="TCS's bits of the arm's posture")
    approach: Literal["vertical", "horizontal"]
    clearance_mm: float = Field(gt=0, description="How far the approach lies off the place")
    above_mm: float = Field(ge=0, description="Height of a horizontal approach; else 0")
    grasp_offset_mm: float = Field(ge=0, description="Added above where a tray is held")


class Settings(Frozen):
    """What the process cell file says of one arm, as it was taught and qualified."""

    stations: dict[PlaceId, Station]
    grip_width_mm: float = Field(gt=0, description="Of the tray, between the fingers")
    open_width_mm: float = Field(gt=0, description="Of the open gripper")
    finger_speed_percent: int
    grip_force_n: float = Field(gt=0)
    profile: int = Field(ge=1, le=20, description="TCS's number of the motion profile")
    speed_percent: int
    acceleration_percent: int

    @model_validator(mode="after")
    def _qualified(self) -> Settings:
        sheet = sheet_of(SHEET)
        for name, limit in (
            ("grip_width_mm", "grip_width_mm"),
            ("open_width_mm", "grip_width_mm"),
            ("grip_force_n", "grip_force_n"),
            ("finger_speed_percent", "percent"),
            ("speed_percent", "percent"),
            ("acceleration_percent", "percent"),
        ):
            lowest, highest = sheet.numbers_of(limit)
            if not lowest <= getattr(self, name) <= highest:
                raise ValueError(f"{name} lies outside {lowest} to {highest} (sheet {SHEET})")
        if self.open_width_mm <= self.grip_width_mm + 2 * float(sheet.number("width_error_mm")):
            raise ValueError("open_width_mm can't be told from grip_width_mm")
        indices = [station.index for station in self.stations.values()]
        if len(set(indices)) < len(indices):
            raise ValueError("stations: two places have the same index")
        return self


class Posture(NamedTuple):
    """How the arm stands at one moment. ``joints`` is empty while it isn't homed."""

    homed: bool
    joints: tuple[float, ...]
    holds: bool


class BrooksPf400:
    """One arm on one connection. Implements ``Driver`` for ``container_transport``."""

    def __init__(self, transport: Transport, *, equipment: EquipmentId, settings: Settings) -> None:
        """Take over the line.

        Args:
            transport: The arm's connection.
            equipment: Its name in the process cell.
            settings: Its taught stations, its gripper and its profile.
        """
        sheet = sheet_of(SHEET)
        self._equipment = equipment
        self._settings = settings
        self._reply_within = sheet.figure("reply_within", Duration)
        self._line = Conversation(
            transport,
            lines(b"\r\n", longest=400),
            greeting=Greeting(self._who, quiet=self._reply_within),
        )
        self._power_within = sheet.figure("power_within", Duration)
        self._home_within = sheet.figure("home_within", Duration)
        self._move_within = sheet.figure("move_within", Duration)
        self._still_after_s = sheet.figure("still_after", Duration).to(second)
        self._halt_quiet = sheet.figure("halt_quiet", Duration)
        self._pause_s = sheet.figure("pause_longest", Duration).to(second)
        self._still_error = float(sheet.number("still_error"))
        self._position_error = float(sheet.number("position_error"))
        self._clearance_error_mm = float(sheet.number("clearance_error_mm"))
        self._width_error_mm = float(sheet.number("width_error_mm"))
        tolerance = str(sheet.number("position_error"))
        self._only_acts_change = {
            "holds": "equal",
            **{f"joint_{number + 1}": tolerance for number in range(_JOINTS)},
        }
        self._mode_set = False
        self._prepared: Posture | None = None
        self._shown_unhomed = False  # since it was last made ready

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
        version = await read_alike(
            self._line,
            lambda: self._read(b"version", _VERSION),
            what=f"{self._equipment}: read its version",
        )
        self._line.knows(_text(version))
        return DeviceIdentity(model=SHEET, firmware=_text(version))

    async def standing(self) -> Standing:
        """Return joints and gripper; of an arm that isn't homed neither can be told."""
        posture = await self._posture()
        self._shown_unhomed = self._shown_unhomed or not posture.homed
        return _standing(posture)

    async def prepare(self, act: Act) -> None:
        """Power, attach and home the arm where needed, and load station, grip and profile.

        Homing moves the arm, and is refused by the arm itself while it holds something.

        Raises:
            LimitRefusedError: The place isn't taught. Nothing was written.
            InterlockRefusedError: Emergency stop, fault or power stand against it.
                Nothing moved.
            MadeReadyError: It was shown not to be homed, and is now. No container moved.
            RefusedError: The gripper holds something before a pick, or nothing before a
                placement. Nothing moved.
            OutcomeUnknownError: No answer. No container moved.
        """
        asked, station = self._mine(act)
        await self._make_ready(asked)
        if self._shown_unhomed:
            self._shown_unhomed = False
            raise MadeReadyError(
                self._what(asked),
                why="the arm wasn't homed, and has been homed",
                do_next="Begin anew, from where it stands now",
            )
        posture = await self._posture()
        self._prepared = posture
        if posture.holds is isinstance(asked, PickContainer):
            raise RefusedError(
                self._what(asked),
                why=f"the gripper {'holds something' if posture.holds else 'is empty'} already",
                do_next="Look at the arm, and put right what it holds",
            )
        index, mine = station.index, self._settings
        pose = (station.x_mm, station.y_mm, station.z_mm)
        turn = (station.yaw_deg, station.pitch_deg, station.roll_deg)
        access = 1 if station.approach == "vertical" else 0
        off = (station.clearance_mm, station.above_mm, station.grasp_offset_mm)
        speed, ramp = mine.speed_percent, mine.acceleration_percent
        for words in (
            ("Profile", mine.profile, speed, speed, ramp, ramp, 0.1, 0.1, 0, 0),
            ("GripOpenPos", mine.open_width_mm),
            ("GraspData", mine.grip_width_mm, mine.finger_speed_percent, mine.grip_force_n),
            ("locXyz", index, *pose, *turn),
            ("StationType", index, access, 0, *off),
            ("locConfig", index, station.configuration),
        ):
            await self._set(_words(*words))

    async def trigger(self, act: Act, command: CommandId) -> None:
        """Send the pick or place, whose reply comes when it is done."""
        asked, station = self._mine(act)
        verb = b"PickPlate" if isinstance(asked, PickContainer) else b"PlacePlate"
        try:
            reply = await self._line.ask(
                b"%s %d 0 0\n" % (verb, station.index),
                within=self._move_within,
                fits=_shaped(_FOUND),
                trigger=command,
            )
        except NoReplyError as lost:
            raise OutcomeUnknownError(
                self._what(asked),
                why=f"the arm didn't answer within {self._move_within}",
                do_next="Do not repeat it; position and gripper show how far it came",
            ) from lost
        code, data = _parts(reply)
        if code in _REFUSED_AT_REST and await self._stands_as_prepared():
            raise self._fault(self._what(asked), code, data)
        if code != 0:
            raise OutcomeUnknownError(
                self._what(asked),
                why=f"the arm reports error {code} {data.decode('ascii', 'replace')}".strip(),
                do_next="Look at the arm; clear the error, then resume",
            )
        if verb == b"PickPlate" and data.strip() == b"0":
            await self._until_still(self._pause_s)
            if (await self._posture()).holds:
                raise OutcomeUnknownError(
                    self._what(asked),
                    why="the arm says that there is no tray, and its gripper holds something",
                    do_next="Do not repeat it; look at the arm",
                )
            raise FailedError(
                self._what(asked),
                why="the gripper closed on nothing: there is no tray",
                do_next="Look what stands at the place; the gripper is empty",
            )

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        """Judge by target and gripper; that the arm stands clear is said by its reply.

        A reply that was another's may come early, so the arm must rest for longer than it
        does within a motion.
        """
        del command
        asked, _ = self._mine(act)
        await self._until_still(self._pause_s)
        posture = await self._posture()
        done = posture.holds is isinstance(asked, PickContainer)
        if done and await self._is_at_target(posture):
            report: EffectReport = AllDone(effect=_effect(posture))
        else:
            report = CannotTell(why=f"the arm says it is done, but {_told(posture)}")
        return Settled(report=report, standing=_standing(posture))

    async def effect_of(self, act: Act, command: CommandId, before: Standing) -> Settled:
        """Wait until the arm rests; judge by target, clearance and gripper together.

        A pick rests for a moment while it grips, so the arm must rest for longer than that.
        """
        del command
        asked, station = self._mine(act)
        await self._until_still(self._pause_s)
        posture = await self._posture()
        report = await self._judge(asked, station, before, posture)
        return Settled(report=report, standing=_standing(posture))

    async def quieten(self, how: Quieten) -> None:
        """Stop the arm where it is, unless it is to be left running. Power stays on.

        Raises:
            OutcomeUnknownError: It doesn't answer, or moves on.
        """
        if how is Quieten.LEAVE_RUNNING:
            return
        what = f"{self._equipment}: halt"
        for _ in range(READ_ATTEMPTS_MAX):
            try:
                await self._line.halt(b"\nhalt\n", within=self._reply_within, fits=None)
            except (LineClosedError, NoReplyError):
                raise OutcomeUnknownError(
                    what, why="the line is closed", do_next="Press the emergency stop"
                ) from None
            await self._line.drain(self._halt_quiet)
            first = await self._axes(b"wherej")
            await asyncio.sleep(self._still_after_s)
            if self._is_same(first, await self._axes(b"wherej"), self._still_error):
                return
        raise OutcomeUnknownError(what, why="it moves on", do_next="Press the emergency stop")

    async def read(self, reading: Reading) -> str:
        """Return whether the gripper holds something.

        Raises:
            RefusedError: The arm isn't homed, so that the width says nothing.
            OutcomeUnknownError: No answer in the allowed attempts.
        """
        if not isinstance(reading, GripperHolds):
            raise not_offered(self._equipment, reading.kind)
        posture = await self._posture()
        if not posture.homed:
            raise RefusedError(
                f"{self._equipment}: read whether the gripper holds something",
                why="the arm isn't homed",
                do_next="Look at the gripper",
            )
        return "yes" if posture.holds else "no"

    async def close(self) -> None:
        await self._line.close()

    async def _judge(
        self,
        asked: PickContainer | PlaceContainer,
        station: Station,
        before: Standing,
        posture: Posture,
    ) -> EffectReport:
        """Return what an arm at rest says of one act."""
        if before.witness == _UNHOMED:
            return NothingDone(why="the arm wasn't homed before: it was to be homed, no more")
        if not before.witness:
            return CannotTell(why="nothing on record says how the arm stood before")
        if not posture.homed:
            return CannotTell(why="the arm was homed and isn't: its controller restarted")
        told = _told(posture)
        was = tuple(float(before.values[f"joint_{n + 1}"]) for n in range(_JOINTS))
        held = before.values["holds"] == "yes"
        if posture.holds is held and self._is_same(was, posture.joints, self._position_error):
            return NothingDone(why=f"the arm stands where it stood, and {told}")
        picks = isinstance(asked, PickContainer)
        if posture.holds is not picks or held is picks:
            return CannotTell(why=f"the arm moved, and {told}")
        if not await self._is_at_target(posture):
            return CannotTell(why=f"the arm stopped short of its target, and {told}")
        apart_mm = await self._apart_mm(station)
        clear_mm = station.clearance_mm
        farthest_mm = clear_mm + station.above_mm + station.grasp_offset_mm
        error_mm = self._clearance_error_mm
        if not clear_mm - error_mm <= apart_mm <= farthest_mm + error_mm:
            return CannotTell(
                why=f"{told}, but the arm stands {apart_mm:.0f} mm off {asked.place}, where"
                f" its approach lies {clear_mm:.0f} mm off"
            )
        return AllDone(effect=_effect(posture))

    async def _make_ready(self, asked: PickContainer | PlaceContainer) -> None:
        state = await self._state_when_homed()
        if state in _STATES:
            raise self._not_ready(asked, _STATES[state])
        if state not in (_ON_AND_ATTACHED, _READY_TO_ATTACH):
            await self._set(b"hp 1 20", self._power_within)
        homed = await self._is_homed()
        attached = await self._number(b"attach") != 0
        if not homed:
            if attached:
                await self._set(b"attach 0")
                attached = False
            homing = await self._read(b"HomeAll_IfNoPlate", _FOUND, self._home_within)
            if homing.strip() == b"0":
                raise RefusedError(
                    self._what(asked),
                    why="the arm isn't homed and its gripper holds something",
                    do_next="Take what it holds out of the gripper by hand, then resume",
                )
        if not attached:
            await self._set(b"attach 1")
        state = await self._number(b"sysState")
        if state != _ON_AND_ATTACHED:
            raise self._not_ready(asked, f"its state is {state}, not {_ON_AND_ATTACHED}")

    async def _state_when_homed(self) -> int:
        """Return the state of the arm, waiting for a homing that is under way to end."""
        waited_s = 0.0
        state = await self._number(b"sysState")
        while state == _HOMING and waited_s < self._home_within.to(second):
            await asyncio.sleep(self._still_after_s)
            waited_s += self._still_after_s
            state = await self._number(b"sysState")
        return state

    async def _posture(self) -> Posture:
        """Return how the arm stands, twice alike."""

        def alike(earlier: Posture, later: Posture) -> bool:
            if (earlier.homed, earlier.holds) != (later.homed, later.holds):
                return False
            return self._is_same(earlier.joints, later.joints, self._still_error)

        what = f"{self._equipment}: read how it stands"
        return await read_alike(self._line, self._posture_once, alike=alike, what=what)

    async def _posture_once(self) -> Posture:
        if not await self._number_once(b"pd 2800"):
            return Posture(homed=False, joints=(), holds=False)
        axes = await self._axes(b"wherej")
        shut = await self._number_once(b"IsFullyClosed") != 0
        at_width = abs(axes[_JOINTS] - self._settings.grip_width_mm) <= self._width_error_mm
        return Posture(homed=True, joints=axes[:_JOINTS], holds=at_width and not shut)

    async def _stands_as_prepared(self) -> bool:
        """Whether the arm rests where it did before its trigger: it was refused, surely."""
        await self._until_still(self._pause_s)
        now, before = await self._posture(), self._prepared
        if before is None or not now.homed:
            return not now.homed  # and so can't have moved
        still = self._is_same(before.joints, now.joints, self._position_error)
        return still and before.holds is now.holds

    async def _is_at_target(self, posture: Posture) -> bool:
        target = await read_alike(
            self._line,
            lambda: self._axes(b"destJ 1"),
            what=f"{self._equipment}: read its last target",
        )
        return self._is_same(posture.joints, target[:_JOINTS], self._position_error)

    async def _apart_mm(self, station: Station) -> float:
        """Return how far the gripper stands off where it grips at ``station``."""
        x, y, z, *_ = await read_alike(
            self._line,
            lambda: self._axes(b"wherec"),
            what=f"{self._equipment}: read its position",
        )
        return math.dist((x, y, z), (station.x_mm, station.y_mm, station.z_mm))

    async def _until_still(self, for_s: float) -> None:
        """Wait until no axis has moved for so long. An arm that isn't homed doesn't move."""
        if not await self._is_homed():
            return
        axes = await self._axes(b"wherej")
        still_s = 0.0
        while still_s < for_s:
            await asyncio.sleep(self._still_after_s)
            now = await self._axes(b"wherej")
            still_s += self._still_after_s
            if not self._is_same(axes, now, self._still_error):
                still_s = 0.0
            axes = now

    async def _axes(self, request: bytes) -> tuple[float, ...]:
        told = await self._read(request, _AXES)
        try:
            axes = tuple(float(part) for part in told.split())
        except ValueError:
            raise self._strange(request, told) from None
        if len(axes) <= _JOINTS:
            raise self._strange(request, told)
        return axes

    async def _is_homed(self) -> bool:
        return await self._number(b"pd 2800") != 0

    async def _number(self, request: bytes) -> int:
        """Return the number that a question has for an answer, twice alike."""
        return await read_alike(
            self._line,
            lambda: self._number_once(request),
            what=f"{self._equipment}: {request.decode('ascii')}",
        )

    async def _number_once(self, request: bytes) -> int:
        told = await self._read(request, _NUMBERS)
        try:
            return int(told.replace(b",", b" ").split()[-1 if request == b"sysState" else 0])
        except (ValueError, IndexError):
            raise self._strange(request, told) from None

    def _is_same(self, one: tuple[float, ...], other: tuple[float, ...], error: float) -> bool:
        return all(abs(a - b) <= error for a, b in zip(one, other, strict=False))

    async def _who(self) -> str:
        """Set the mode, and return the version: all that the arm says of itself."""
        await self._line.ask(_MODE + b"\n", within=self._reply_within, fits=bool)
        version = await self._line.ask(
            b"version\n", within=self._reply_within, fits=_shaped(_VERSION)
        )
        return _text(_parts(version)[1])

    async def _set(self, request: bytes, within: Duration | None = None) -> None:
        """Send what may be sent twice, and see that it is taken. Raises as ``_read``."""
        await self._read(request, _NOTHING, within)

    async def _read(
        self, request: bytes, shape: re.Pattern[bytes], within: Duration | None = None
    ) -> bytes:
        """Send what may be sent twice, and return the data of its reply.

        Raises:
            DeviceFaultError: The arm refuses it. No container moved.
            OutcomeUnknownError: No reply in the allowed attempts. No container moved.
        """
        if not self._mode_set:
            await self._exchange(_MODE, self._reply_within, bool)
            self._mode_set = True
        code, data = _parts(
            await self._exchange(
                request, self._reply_within if within is None else within, _shaped(shape)
            )
        )
        if code != 0:
            raise self._fault(f"{self._equipment}: {request.decode('ascii')}", code, data)
        return data

    async def _exchange(
        self, request: bytes, within: Duration, fits: Callable[[bytes], bool]
    ) -> bytes:
        return await read_frame(
            self._line,
            request + b"\n",
            within=within,
            fits=fits,
            what=f"{self._equipment}: {request.decode('ascii')}",
        )

    def _mine(self, act: Act) -> tuple[PickContainer | PlaceContainer, Station]:
        if not isinstance(act, PickContainer | PlaceContainer):
            raise not_offered(self._equipment, act.kind)
        station = self._settings.stations.get(act.place)
        if station is None:
            raise LimitRefusedError(
                self._what(act),
                why=f"the arm is taught only {', '.join(sorted(self._settings.stations))}",
                do_next="Teach the place, and enter it in the process cell file",
            )
        return act, station

    def _what(self, asked: PickContainer | PlaceContainer) -> str:
        if isinstance(asked, PickContainer):
            return f"{self._equipment}: pick {asked.container} at {asked.place}"
        return f"{self._equipment}: place {asked.container} at {asked.place}"

    def _not_ready(self, asked: PickContainer | PlaceContainer, why: str) -> InterlockRefusedError:
        return InterlockRefusedError(
            self._what(asked), why=why, do_next="Make the arm ready at its cell, then resume"
        )

    def _fault(self, what: str, code: int, data: bytes) -> DeviceFaultError:
        return DeviceFaultError(
            what,
            why=f"the arm reports error {code} {data.decode('ascii', 'replace')}".strip(),
            do_next="Look at the arm and clear the error, then resume",
        )

    def _strange(self, request: bytes, told: bytes) -> DeviceFaultError:
        return DeviceFaultError(
            f"{self._equipment}: {request.decode('ascii')}",
            why=f"it answers {told!r}",
            do_next="Check the arm's software, and its number of axes",
        )


def _words(*words: str | float) -> bytes:
    return " ".join(one if isinstance(one, str) else f"{one:g}" for one in words).encode("ascii")


def _shaped(shape: re.Pattern[bytes]) -> Callable[[bytes], bool]:
    """Return whether a frame is an error, or a reply whose data has the question's form."""

    def fits(frame: bytes) -> bool:
        found = _REPLY.fullmatch(frame.strip())
        if found is None:
            return False
        return found[1] is None or shape.fullmatch((found[2] or b"").strip()) is not None

    return fits


def _text(version: bytes) -> str:
    return version.decode("ascii", "replace").strip()


def _parts(reply: bytes) -> tuple[int, bytes]:
    found = _REPLY.fullmatch(reply.strip())
    assert found is not None, "the conversation gave a frame that doesn't fit"
    return (0, found[2] or b"") if found[1] else (int(found[3]), found[4])


def _standing(posture: Posture) -> Standing:
    if not posture.homed:
        return Standing(values={}, witness=_UNHOMED)
    joints = {f"joint_{n + 1}": f"{joint:.3f}" for n, joint in enumerate(posture.joints)}
    return Standing(values={"holds": _holds(posture), **joints}, witness="homed")


def _effect(posture: Posture) -> Effect:
    return Effect(done="1", detail={"holds": _holds(posture)})


def _holds(posture: Posture) -> str:
    return "yes" if posture.holds else "no"


def _told(posture: Posture) -> str:
    return "the gripper holds something" if posture.holds else "the gripper holds nothing"
