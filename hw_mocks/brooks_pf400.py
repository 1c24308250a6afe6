r"""Emulator of a Brooks PreciseFlex PF400 arm with its TCP Command Server (TCS).

Sources: PyLabRobot 0.2.2, ``arms/precise_flex`` (commands, replies, error codes), and its snapshot
598b58f (data ids, system states, blocking, interruption); Brooks archive page on TCS. TCP port
10100, one interpreter for each connection; several connections may be open.

    request   words separated by spaces, \n; keywords in any case; an empty line is no request
    reply     <code>[ <data>]\r\n; 0 is good, below 0: ``-2805 *Unknown command*``
    mode 1    the data is led by ``<keyword>: ``

    nop | version | mode [0|1] | exit (no reply) | selectRobot [n] | base | tool | payload | mspeed
    hp [0|1 [timeout s; 0 doesn't wait, -1 for ever]] | attach [0|1] | sysState | state
    home | homeAll (not attached) | HomeAll_IfNoPlate -> -1, or 0: it holds something | halt
    pd <id> | pc <id> <value> | sig <n> [v] -> n v
    locAngles i [a1..a5] -> 1 i a1..a5 | locXyz i [x y z yaw pitch roll] -> 0 i x..
    locConfig i [bits] | locZClearance i [z [world]] | hereJ i | hereC i | TeachPlate i [z]
    StationType i [access type clearance above grasp]
    destJ, destC [0|1]  1: target of the present or last move | wherej | wherec -> x..roll config
    Profile n [9 values]; Speed, Speed2, Accel, Decel, AccRamp, DecRamp, InRange, Straight n [v]
    moveJ n a1..a5 | moveC n x y z yaw pitch roll [config] | move i n | moveAppro i n
    MoveOneAxis a v n | movetosafe: start, and answer at once; a move waits for the one before
    waitForEom      answers when the arm stands; nothing else on that connection is heard till then
    GripOpenPos, GripClosePos [v] | GraspData [width speed force] | gripper 1|2 (open, close)
    GraspPlate w s f -> -1, or 0: nothing there | ReleasePlate w s [range] | IsFullyClosed -> -1, 0
    PickPlate i [c t] -> -1, or 0: nothing there | PlacePlate i [c t] | freemode a|-1

    sysState   6 off, 8 coming up, 15 hard E-stop, 20 on, 21 on and attached, 28 homing

Joints: column mm, shoulder, elbow, wrist degrees, gripper mm. A station is the place in the World
where it was taught; loading other coordinates changes the way there, not the place. PickPlate
approaches with open fingers, goes down, grips, and comes back up; PlacePlate likewise. A gripper
that closes on nothing, or loses what it held, ends fully closed, and says so. A collision is -3100:
power drops, attachment and homing are lost, the fault clears itself.

Moments are told of every motion; planted faults wait for the next request that grips or releases.

Unconfirmed: mode 1; state (0 idle, 3 moving); the default mode; that attach stays when a connection
drops and is lost with hp 0; that exchanges go on while homing on another connection; what a halted
home or PickPlate answers (-1045); that PickPlate uses profile 1 and drops what the gripper holds;
codes for wrong arguments (-3001, -3002, -707, -717); that taught stations are loaded at power-up;
that the fingers keep hold without power (``spring_gripper``); the pendant's keys. Assumed: all
speeds below, and that joint 5 is the width between the fingers. Not imitated: rail, pallets, time
to start up. The arm's shape is in ``brooks_pf400_geometry``, what replies are made of in
``brooks_pf400_words``.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from devices.transport.transport import LineClosedError, Transport
from hw_mocks.brooks_pf400_geometry import (
    JOINT_RANGES,
    LEFTY,
    LINKS_MM,
    RIGHTY,
    SINGLE,
    Joints,
    between,
    configuration,
    in_range,
    joints_at,
    place_of,
    raised,
)
from hw_mocks.brooks_pf400_words import (
    TcsRefusedError,
    as_number,
    as_numbers,
    as_text,
    no_arguments,
)
from hw_mocks.emulator import Emulator, Moment, Planted
from hw_mocks.world.ledger import ImpossibleError
from hw_mocks.world.world import FLOOR, World

JOINT_SPEEDS: Final = (500.0, 360.0, 720.0, 900.0, 120.0)  # assumed: mm/s, deg/s, mm/s at 100 %
SAFE: Final[Joints] = (200.0, 0.0, 170.0, -170.0, 130.0)  # assumed: folded
MOTION_MIN_S: Final = 0.2  # assumed: to start, stop and settle
HOMING_S: Final = 20.0  # assumed
POWER_UP_S: Final = 3.0  # assumed
STATIONS_MAX: Final = 100  # assumed
CLEARANCE_MM: Final = 100.0
OPEN_MM: Final = 130.0  # assumed
CLOSED_WITHIN_MM: Final = 2.0  # PyLabRobot 0.2.2, is_gripper_closed
JOG_MM: Final = 5.0  # assumed: one press of the pendant
LONGEST_REQUEST: Final = 1024  # assumed
NO_PLATE_FORCE_N: Final = 0.0

OFF, COMING_UP, EMERGENCY, READY, ATTACHED, HOMING = 6, 8, 15, 20, 21, 28
KEYS: Final = (
    "ESTOP",
    "ESTOP RELEASE",
    "GRIPPER OPEN",
    "GRIPPER CLOSE",
    *(f"J{axis}{way}" for axis in range(1, 5) for way in "+-"),
)
PROFILE_FIELDS: Final = (
    "speed",
    "speed2",
    "accel",
    "decel",
    "accramp",
    "decramp",
    "inrange",
    "straight",
)
USUAL_PROFILE: Final = (50.0, 0.0, 100.0, 100.0, 0.1, 0.1, 10.0, 0.0)  # assumed

_ACTING = re.compile(
    rb"(home|homeall|homeall_ifnoplate|movej|movec|move|moveappro|moveoneaxis|movetosafe|gripper|"
    rb"graspplate|releaseplate|pickplate|placeplate)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Location:
    """A taught location and how it is approached."""

    joints: Joints | None
    xyz: tuple[float, ...] | None = None
    config: int = SINGLE | RIGHTY
    clearance_mm: float = CLEARANCE_MM
    is_world: bool = False
    station: tuple[float, ...] = (1.0, 0.0, CLEARANCE_MM, 0.0, 0.0)


@dataclass(slots=True)
class _Step:
    """One straight piece of a motion, and what is done at its end."""

    to: Joints
    seconds: float
    then: Callable[[], None] | None = None


@dataclass(slots=True)
class _Motion:
    """A motion under way; ``over`` gets None, or the code of what ended it."""

    name: str
    steps: Sequence[_Step]
    start: Joints
    over: asyncio.Future[int | None]
    at: int = 0
    from_s: float = 0.0
    timers: list[asyncio.TimerHandle] = field(default_factory=list[asyncio.TimerHandle])


@dataclass(slots=True)
class _Connection:
    """One interpreter."""

    line: Transport
    verbose: bool = False
    heard: bytearray = field(default_factory=bytearray)
    announced: bool = False


_Answer = Callable[[_Connection, list[str]], Awaitable[str]]


class BrooksPf400(Emulator):
    """A PF400 without rail, with one servo gripper.

    Args:
        world: The room it stands in.
        equipment: Its name in the room, also as the World's gripper.
        stations: The place where each station was taught.
        taught: Joints of stations, where the way there matters; the others are spread about.
        homing_s: How long homing takes.
        power_up_s: How long power takes to come on.
        spring_gripper: Whether the fingers keep hold without power.
        reply_after_s: From the end of a request to its answer, beyond what it does.
    """

    model: ClassVar[str] = "brooks_pf400"

    def __init__(
        self,
        world: World,
        equipment: str,
        *,
        stations: Mapping[int, str],
        taught: Mapping[int, Joints] | None = None,
        homing_s: float = HOMING_S,
        power_up_s: float = POWER_UP_S,
        spring_gripper: bool = True,
        reply_after_s: float = 0.0,
    ) -> None:
        super().__init__(world, equipment)
        self._stations = dict(stations)
        self._taught = dict(taught or {})
        self._homing_s = homing_s
        self._power_up_s = power_up_s
        self._spring_gripper = spring_gripper
        self._reply_after_s = reply_after_s
        self._connections: list[_Connection] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._joints: Joints = SAFE
        self._motion: _Motion | None = None
        self._powering: asyncio.TimerHandle | None = None
        self._gripping = False  # the fingers close by force, on a thing or on each other
        self._boot()
        self._answers = self._all_answers()

    def _boot(self) -> None:
        self.power = False
        self.attached = False
        self.homed = False
        self.emergency = False
        self._coming_up: asyncio.Future[None] | None = None
        self._target: Joints = self._joints
        self._locations = {
            index: _Location(self._taught.get(index) or self._spread(index))
            for index in self._stations
        }
        self._profiles: dict[int, list[float]] = {}
        self._grasp = (120.0, 50.0, 10.0)
        self._open_mm = OPEN_MM
        self._closed_mm = JOINT_RANGES[4][0]
        self._signals: dict[int, int] = {}
        self._mspeed = 100
        self._payload = 0
        self._base = [0.0] * 4
        self._tool = [0.0] * 6

    def _spread(self, index: int) -> Joints:
        """Return where a station stands that nobody gave joints for."""
        order = sorted(self._stations).index(index)
        shoulder = -80.0 + 160.0 * order / max(len(self._stations) - 1, 1)
        return (100.0, shoulder, 60.0, -60.0 - shoulder, OPEN_MM)

    # ---------------------------------------------------------------- what it shows

    @property
    def system_state(self) -> int:
        """Return the power and system state, DataID 234."""
        if self.emergency:
            return EMERGENCY
        if self._coming_up is not None:
            return COMING_UP
        if not self.power:
            return OFF
        if self._motion is not None and self._motion.name.startswith("home"):
            return HOMING
        return ATTACHED if self.attached else READY

    @property
    def joints(self) -> Joints:
        """Return where the joints are, also in the middle of a motion."""
        *arm, fingers = self._arm_joints()
        if self._gripping:
            held = self.world.held_by(self.equipment) is not None
            fingers = self._gripped_mm() if held else self._closed_mm
        return (arm[0], arm[1], arm[2], arm[3], fingers)

    def _gripped_mm(self) -> float:
        lowest, highest = JOINT_RANGES[4]
        return min(max(abs(self._grasp[0]), lowest), highest)

    def _arm_joints(self) -> Joints:
        motion = self._motion
        if motion is None:
            return self._joints
        step = motion.steps[motion.at]
        passed = (self.world.now() - motion.from_s) / step.seconds if step.seconds > 0.0 else 1.0
        return between(self._joints, step.to, min(passed, 1.0))

    # ---------------------------------------------------------------- the line

    async def serve(self, line: Transport) -> None:
        """Speak on ``line`` until it closes. Several may be served at once."""
        connection = _Connection(line)
        self._connections.append(connection)
        try:
            while True:
                for byte in await line.receive():
                    request = self._hear(connection, byte)
                    if request:
                        await self._reply(connection, request)
        except LineClosedError:
            pass
        finally:
            self._connections.remove(connection)

    def _hear(self, connection: _Connection, byte: int) -> str | None:
        """Take one byte; return the request if it ended one."""
        heard = connection.heard
        if byte in b" \r\n" and not connection.announced:
            acting = _ACTING.fullmatch(heard.strip())
            if acting is not None:
                connection.announced = True
                self._moment(Moment.ARRIVING, acting[1].decode("ascii").lower())
        if byte == 0x0A:
            request = heard.decode("latin-1").strip()
            heard.clear()
            connection.announced = False
            return request
        if len(heard) < LONGEST_REQUEST:
            heard.append(byte)
        return None

    async def _reply(self, connection: _Connection, request: str) -> None:
        word, *arguments = request.split()
        name = word.lower()
        if name == "exit":
            await connection.line.close()
            return
        try:
            answer = self._answers.get(name)
            if answer is None:
                raise TcsRefusedError(-2805)
            data = await answer(connection, arguments)
            if connection.verbose and data:
                data = f"{name}: {data}"
            reply = f"0 {data}" if data else "0"
        except TcsRefusedError as refused:
            reply = f"{refused.code} *{refused}*"
        if self._reply_after_s > 0.0:
            await asyncio.sleep(self._reply_after_s)
        if _ACTING.fullmatch(name.encode("latin-1")):
            self._moment(Moment.REPLYING, name)
        with contextlib.suppress(LineClosedError):  # what came is obeyed all the same
            await connection.line.send(f"{reply}\r\n".encode("ascii", errors="replace"))

    def _all_answers(self) -> dict[str, _Answer]:
        answers: dict[str, _Answer] = {
            "hp": self._answer_power,
            "waitforeom": self._answer_wait,
            "home": self._answer_home,
            "homeall": self._answer_home_all,
            "homeall_ifnoplate": self._answer_home_if_no_plate,
            "movej": self._answer_move_joints,
            "movec": self._answer_move_cartesian,
            "move": self._answer_move,
            "moveappro": self._answer_move_approach,
            "moveoneaxis": self._answer_move_axis,
            "movetosafe": self._answer_move_safe,
            "gripper": self._answer_gripper,
            "graspplate": self._answer_grasp,
            "releaseplate": self._answer_release,
            "pickplate": self._answer_pick,
            "placeplate": self._answer_place,
        }
        at_once: dict[str, Callable[[list[str]], str]] = {
            "nop": lambda given: no_arguments(given, ""),
            "version": lambda given: no_arguments(
                given, "TCP Command Server 3.0D4, PARobot Module 3.0D4, SSGrip Module 3.0D4"
            ),
            "sysstate": lambda given: no_arguments(given, str(self.system_state)),
            "state": lambda given: no_arguments(given, "0" if self._motion is None else "3"),
            "halt": lambda given: no_arguments(given, self._halt()),
            "attach": self._attach,
            "selectrobot": self._select_robot,
            "pd": self._parameter,
            "pc": self._set_parameter,
            "sig": self._signal,
            "mspeed": self._monitor_speed,
            "payload": self._set_payload,
            "base": lambda given: self._offsets(given, self._base),
            "tool": lambda given: self._offsets(given, self._tool),
            "locangles": self._location_angles,
            "locxyz": self._location_xyz,
            "locconfig": self._location_config,
            "loczclearance": self._location_clearance,
            "stationtype": self._station_type,
            "herej": lambda given: self._teach(given, cartesian=False),
            "herec": lambda given: self._teach(given, cartesian=True),
            "teachplate": self._teach_plate,
            "destj": lambda given: as_text(self._destination(given)),
            "destc": lambda given: self._cartesian_text(self._destination(given)),
            "wherej": lambda given: no_arguments(given, as_text(self.joints)),
            "wherec": lambda given: no_arguments(given, self._cartesian_text(self.joints)),
            "profile": self._profile,
            "gripopenpos": self._grip_open,
            "gripclosepos": self._grip_close,
            "graspdata": self._grasp_data,
            "isfullyclosed": lambda given: no_arguments(given, str(self._fully_closed())),
            "freemode": self._free_mode,
        }

        def soon(answer: Callable[[list[str]], str]) -> _Answer:
            async def answered(_: _Connection, given: list[str]) -> str:
                return answer(given)

            return answered

        async def mode(connection: _Connection, given: list[str]) -> str:
            if not given:
                return str(int(connection.verbose))
            (chosen,) = as_numbers(given, 1, 1)
            if chosen not in (0.0, 1.0):
                raise TcsRefusedError(-707)
            connection.verbose = bool(chosen)
            return ""

        answers["mode"] = mode
        answers.update({name: soon(answer) for name, answer in at_once.items()})
        for n, name in enumerate(PROFILE_FIELDS):
            answers[name] = soon(lambda given, n=n: self._profile_field(given, n))
        return answers

    # ---------------------------------------------------------------- power and attachment

    async def _answer_power(self, _: _Connection, given: list[str]) -> str:
        if not given:
            return str(int(self.power))
        numbers = as_numbers(given, 1, 2)
        if numbers[0] not in (0.0, 1.0):
            raise TcsRefusedError(-707)
        if not numbers[0]:
            self._power_off(-1046)
            return ""
        if self.emergency:
            raise TcsRefusedError(-1028)
        if not self.power and self._coming_up is None:
            self._coming_up = asyncio.get_running_loop().create_future()
            self._powering = self._after(self._power_up_s, self._power_on)
        within_s = numbers[1] if len(numbers) > 1 else 0.0
        if self._coming_up is not None and within_s != 0.0:
            try:
                within = None if within_s < 0.0 else within_s
                await asyncio.wait_for(asyncio.shield(self._coming_up), within)
            except TimeoutError:
                raise TcsRefusedError(-1025) from None
            if not self.power:
                raise TcsRefusedError(-1025)
        return ""

    def _power_on(self) -> None:
        self.power = True
        self._end_powering()

    def _end_powering(self) -> None:
        if self._powering is not None:
            self._powering.cancel()
            self._powering = None
        if self._coming_up is not None:
            self._coming_up.set_result(None)
            self._coming_up = None

    def _power_off(self, code: int) -> None:
        """Let the joints go limp; what moved stops with ``code``."""
        self._stop(code)
        self._end_powering()
        self.power = False
        self.attached = False
        if not self._spring_gripper:
            self._drop(self.equipment)

    def _attach(self, given: list[str]) -> str:
        if not given:
            return "-1" if self.attached else "0"
        (wanted,) = as_numbers(given, 1, 1)
        if wanted not in (0.0, 1.0):
            raise TcsRefusedError(-707)
        if wanted:
            self._need_power()
        self.attached = bool(wanted)
        return ""

    def _need_power(self) -> None:
        if self.emergency:
            raise TcsRefusedError(-1028)
        if not self.power:
            raise TcsRefusedError(-1046)

    def _need_ready(self) -> None:
        """Refuse what needs an arm with power, attached and homed."""
        self._need_power()
        if not self.attached:
            raise TcsRefusedError(-1009)
        if not self.homed:
            raise TcsRefusedError(-1021)

    def _select_robot(self, given: list[str]) -> str:
        if not given:
            return "1"
        if as_numbers(given, 1, 1) != [1.0]:
            raise TcsRefusedError(-1000)
        return ""

    # ---------------------------------------------------------------- small settings

    def _parameter(self, given: list[str]) -> str:
        wanted = int(as_numbers(given, 1, 4)[0])
        first, second = LINKS_MM
        lowest = ", ".join(as_number(low) for low, _ in JOINT_RANGES)
        highest = ", ".join(as_number(high) for _, high in JOINT_RANGES)
        known = {
            103: "GPL 5.1D4",
            116: "12, 0, 0, 0",
            234: str(self.system_state),
            247: "0",
            2000: "5",
            2800: str(int(self.homed)),
            16050: f"{as_number(first)}, {as_number(second)}",
            16075: highest,
            16076: lowest,
            16077: highest,
            16078: lowest,
        }
        if wanted not in known:
            raise TcsRefusedError(-1501)
        return known[wanted]

    def _set_parameter(self, given: list[str]) -> str:
        if len(given) < 2:
            raise TcsRefusedError(-3002)
        if as_numbers(given[:1], 1, 1) != [247.0]:  # reset of a fatal error; there is none
            raise TcsRefusedError(-1501)
        return ""

    def _signal(self, given: list[str]) -> str:
        number, *value = (int(number) for number in as_numbers(given, 1, 2))
        if value:
            self._signals[number] = value[0]
            return ""
        return f"{number} {self._signals.get(number, 0)}"

    def _monitor_speed(self, given: list[str]) -> str:
        if given:
            self._mspeed = self._percent(given, 1)
            return ""
        return str(self._mspeed)

    def _set_payload(self, given: list[str]) -> str:
        if given:
            self._payload = self._percent(given, 0)
            return ""
        return str(self._payload)

    def _percent(self, given: list[str], lowest: int) -> int:
        (percent,) = as_numbers(given, 1, 1)
        if not lowest <= percent <= 100:
            raise TcsRefusedError(-707)
        return int(percent)

    def _offsets(self, given: list[str], held: list[float]) -> str:
        if not given:
            return as_text(held)
        numbers = as_numbers(given, len(held), len(held))
        if not self.attached:
            raise TcsRefusedError(-1009)
        held[:] = numbers
        return ""

    def _profile(self, given: list[str]) -> str:
        number, *values = as_numbers(given, 1, 9)
        if not values:
            return f"{int(number)} {as_text(self._profile_of(number))}"
        if len(values) != len(PROFILE_FIELDS):
            raise TcsRefusedError(-3002)
        self._profile_of(number)[:] = values
        return ""

    def _profile_field(self, given: list[str], n: int) -> str:
        number, *value = as_numbers(given, 1, 2)
        if not value:
            return f"{int(number)} {as_number(self._profile_of(number)[n])}"
        if n == 0 and value[0] <= 0.0:
            raise TcsRefusedError(-707)
        self._profile_of(number)[n] = value[0]
        return ""

    def _profile_of(self, number: float) -> list[float]:
        return self._profiles.setdefault(int(number), list(USUAL_PROFILE))

    def _free_mode(self, given: list[str]) -> str:
        (axis,) = as_numbers(given, 1, 1)
        if not self.attached:
            raise TcsRefusedError(-1009)
        if not -1 <= axis <= 5:
            raise TcsRefusedError(-1002)
        return ""

    # ---------------------------------------------------------------- locations

    def _location(self, index: float) -> _Location:
        if not 1 <= index <= STATIONS_MAX:
            raise TcsRefusedError(-2851)
        return self._locations.setdefault(int(index), _Location(SAFE))

    def _location_angles(self, given: list[str]) -> str:
        index, *angles = as_numbers(given, 1, 6)
        location = self._location(index)
        if not angles:
            return self._location_text(int(index), location)
        if len(angles) != 5:
            raise TcsRefusedError(-3002)
        location.joints = in_range((angles[0], angles[1], angles[2], angles[3], angles[4]))
        location.xyz = None
        return ""

    def _location_xyz(self, given: list[str]) -> str:
        index, *xyz = as_numbers(given, 1, 7)
        location = self._location(index)
        if not xyz:
            return self._location_text(int(index), location)
        if len(xyz) != 6:
            raise TcsRefusedError(-3002)
        location.xyz = tuple(xyz)
        return ""

    def _location_text(self, index: int, location: _Location) -> str:
        if location.xyz is not None:
            return f"0 {index} {as_text(location.xyz)}"
        return f"1 {index} {as_text(location.joints or SAFE)}"

    def _location_config(self, given: list[str]) -> str:
        index, *bits = (int(number) for number in as_numbers(given, 1, 2))
        location = self._location(index)
        if not bits:
            return f"{index} {location.config}"
        if bits[0] & RIGHTY and bits[0] & LEFTY:
            raise TcsRefusedError(-707)
        location.config = bits[0]
        return ""

    def _location_clearance(self, given: list[str]) -> str:
        index, *values = as_numbers(given, 1, 3)
        location = self._location(index)
        if not values:
            world = int(location.is_world)
            return f"{int(index)} {as_number(location.clearance_mm)} {world}"
        location.clearance_mm = values[0]
        location.is_world = len(values) > 1 and values[1] != 0.0
        return ""

    def _station_type(self, given: list[str]) -> str:
        index, *values = as_numbers(given, 1, 6)
        location = self._location(index)
        if not values:
            return f"{int(index)} {as_text(location.station)}"
        if len(values) != 5:
            raise TcsRefusedError(-3002)
        if values[0] not in (0.0, 1.0) or values[1] not in (0.0, 1.0):
            raise TcsRefusedError(-707)
        location.station = tuple(values)
        location.clearance_mm = values[2]
        return ""

    def _teach(self, given: list[str], *, cartesian: bool) -> str:
        (index,) = as_numbers(given, 1, 1)
        location = self._location(index)
        location.joints = self.joints
        location.xyz = place_of(self.joints) if cartesian else None
        location.config = configuration(self.joints)
        return ""

    def _teach_plate(self, given: list[str]) -> str:
        index, *clearance = as_numbers(given, 1, 2)
        self._teach([str(index)], cartesian=True)
        self._location(index).clearance_mm = clearance[0] if clearance else 50.0
        return ""

    def _joints_of(self, location: _Location) -> Joints:
        if location.xyz is not None:
            return joints_at(location.xyz, location.config, fingers_mm=self.joints[4])
        return location.joints or SAFE

    def _cartesian_text(self, joints: Joints) -> str:
        return f"{as_text(place_of(joints))} {configuration(joints)}"

    def _destination(self, given: list[str]) -> Joints:
        wanted = as_numbers(given, 0, 1)
        if (wanted and wanted[0]) or self._motion is not None:
            return self._target
        return self.joints

    # ---------------------------------------------------------------- motion

    def _seconds(self, start: Joints, to: Joints, profile: float) -> float:
        """Return how long the slowest joint takes."""
        speed = self._profile_of(profile)[0] / 100.0 * self._mspeed / 100.0
        slowest = max(abs(b - a) / v for a, b, v in zip(start, to, JOINT_SPEEDS, strict=True))
        return slowest / speed + MOTION_MIN_S if slowest > 0.0 else 0.0

    async def _at_rest(self) -> None:
        while self._motion is not None:
            await asyncio.shield(self._motion.over)

    async def _my_turn(self) -> None:
        """Wait for the motion before this one; if that was stopped, this one is not begun."""
        while self._motion is not None:
            code = await asyncio.shield(self._motion.over)
            if code is not None:
                raise TcsRefusedError(code)
        self._need_ready()

    def _begin(self, name: str, steps: Sequence[_Step]) -> _Motion:
        over: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._joints = self.joints
        motion = _Motion(name, steps, self._joints, over)
        self._motion = motion
        self._target = steps[-1].to
        self._moment(Moment.ARRIVED, name)
        whole_s = sum(step.seconds for step in steps)
        motion.timers.append(self._after(whole_s / 2.0, lambda: self._moment(Moment.MOVING, name)))
        self._begin_step(motion)
        return motion

    def _begin_step(self, motion: _Motion) -> None:
        motion.from_s = self.world.now()
        step = motion.steps[motion.at]
        motion.timers.append(self._after(step.seconds, lambda: self._end_step(motion)))

    def _end_step(self, motion: _Motion) -> None:
        step = motion.steps[motion.at]
        self._joints = step.to
        if step.then is not None:
            step.then()
        if self._motion is not motion:  # what was done there ended it
            return
        motion.at += 1
        if motion.at < len(motion.steps):
            self._begin_step(motion)
            return
        self._motion = None
        self._moment(Moment.ENDED, motion.name)
        motion.over.set_result(None)

    def _stop(self, code: int) -> None:
        """Stop where it is."""
        motion = self._motion
        if motion is None:
            return
        self._joints = self.joints
        self._motion = None
        for timer in motion.timers:
            timer.cancel()
        motion.over.set_result(code)

    def _halt(self) -> str:
        self._stop(-1045)
        return ""

    async def _start(self, name: str, to: Callable[[], Joints], profile: float) -> str:
        """Start a plain move once the arm stands; don't wait for its end."""
        self._need_ready()
        await self._my_turn()
        goal = in_range(to())
        fingers_mm = self.joints[4]

        def loosened() -> None:
            if goal[4] > fingers_mm + CLOSED_WITHIN_MM:
                self._let_go(self._here(), self.equipment)

        self._begin(name, [_Step(goal, self._seconds(self.joints, goal, profile), loosened)])
        return ""

    async def _run(self, name: str, steps: Sequence[_Step]) -> None:
        """Move through ``steps`` and wait for the end."""
        code = await asyncio.shield(self._begin(name, steps).over)
        if code is not None:
            raise TcsRefusedError(code)

    async def _answer_wait(self, _: _Connection, given: list[str]) -> str:
        no_arguments(given, "")
        await self._at_rest()
        return ""

    async def _answer_home(self, _: _Connection, given: list[str]) -> str:
        no_arguments(given, "")
        self._need_power()
        if not self.attached:
            raise TcsRefusedError(-1009)
        await self._home("home")
        return ""

    async def _answer_home_all(self, _: _Connection, given: list[str]) -> str:
        no_arguments(given, "")
        self._need_power()
        if self.attached:
            raise TcsRefusedError(-1006)
        await self._home("homeall")
        return ""

    async def _answer_home_if_no_plate(self, _: _Connection, given: list[str]) -> str:
        no_arguments(given, "")
        if self._gripping and not self._fully_closed():
            return "0"
        if self.emergency:
            raise TcsRefusedError(-1028)
        self.power = True
        await self._home("homeall_ifnoplate")
        return "-1"

    async def _home(self, name: str) -> None:
        await self._at_rest()
        safe = self._reached(SAFE)

        def found() -> None:
            self.homed = True

        self.homed = False
        await self._run(name, [_Step(safe, self._homing_s, found)])

    async def _answer_move_joints(self, _: _Connection, given: list[str]) -> str:
        profile, *angles = as_numbers(given, 6, 6)
        goal: Joints = (angles[0], angles[1], angles[2], angles[3], angles[4])
        return await self._start("movej", lambda: goal, profile)

    async def _answer_move_cartesian(self, _: _Connection, given: list[str]) -> str:
        profile, *xyz = as_numbers(given, 7, 8)
        config = int(xyz[6]) if len(xyz) > 6 else configuration(self.joints)
        return await self._start(
            "movec", lambda: joints_at(xyz, config, fingers_mm=self.joints[4]), profile
        )

    async def _answer_move(self, _: _Connection, given: list[str]) -> str:
        index, profile = as_numbers(given, 2, 2)
        location = self._location(index)
        return await self._start("move", lambda: self._reached(self._joints_of(location)), profile)

    async def _answer_move_approach(self, _: _Connection, given: list[str]) -> str:
        index, profile = as_numbers(given, 2, 2)
        location = self._location(index)
        return await self._start(
            "moveappro",
            lambda: self._reached(raised(self._joints_of(location), location.clearance_mm)),
            profile,
        )

    async def _answer_move_axis(self, _: _Connection, given: list[str]) -> str:
        axis, value, profile = as_numbers(given, 3, 3)
        if not 1 <= axis <= 5:
            raise TcsRefusedError(-1002)

        def goal() -> Joints:
            joints = list(self.joints)
            joints[int(axis) - 1] = value
            return (joints[0], joints[1], joints[2], joints[3], joints[4])

        return await self._start("moveoneaxis", goal, profile)

    async def _answer_move_safe(self, _: _Connection, given: list[str]) -> str:
        no_arguments(given, "")
        return await self._start("movetosafe", lambda: self._reached(SAFE), 1)

    def _reached(self, joints: Joints) -> Joints:
        """Return ``joints`` with the fingers as they are: places don't move them."""
        return (*joints[:4], self.joints[4])

    # ---------------------------------------------------------------- the gripper

    def _fully_closed(self) -> int:
        return -1 if self.joints[4] <= JOINT_RANGES[4][0] + CLOSED_WITHIN_MM else 0

    def _grip_open(self, given: list[str]) -> str:
        if not given:
            return as_number(self._open_mm)
        self._open_mm = _width(given)
        return ""

    def _grip_close(self, given: list[str]) -> str:
        if not given:
            return as_number(self._closed_mm)
        self._closed_mm = _width(given)
        return ""

    def _grasp_data(self, given: list[str]) -> str:
        if not given:
            return as_text(self._grasp)
        self._grasp = self._checked_grasp(given)
        return ""

    def _checked_grasp(self, given: list[str]) -> tuple[float, float, float]:
        width, speed, force = as_numbers(given, 3, 3)
        if not 1.0 <= speed <= 100.0:
            raise TcsRefusedError(-707)
        return (width, speed, force)

    async def _answer_gripper(self, _: _Connection, given: list[str]) -> str:
        (wanted,) = as_numbers(given, 1, 1)
        if wanted not in (1.0, 2.0):
            raise TcsRefusedError(-707)
        self._need_ready()
        await self._my_turn()
        fault = self._next_fault()
        if wanted == 1.0:
            await self._open("gripper", self._here(), fault)
        else:
            await self._close("gripper", self._here(), fault)
        return ""

    async def _answer_grasp(self, _: _Connection, given: list[str]) -> str:
        grasp = self._checked_grasp(given)
        self._need_ready()
        await self._my_turn()
        self._grasp = grasp
        fault = self._next_fault()
        await self._close("graspplate", self._here(), fault)
        return "-1" if fault in (Planted.SWALLOWED, Planted.HALF) else self._grasped()

    async def _answer_release(self, _: _Connection, given: list[str]) -> str:
        width = as_numbers(given, 2, 3)[0]
        self._need_ready()
        await self._my_turn()
        self._open_mm = width
        await self._open("releaseplate", self._here(), self._next_fault())
        return ""

    async def _open(self, name: str, place: str | None, fault: Planted | None) -> None:
        """Open the fingers where the arm is."""
        opened = (*self.joints[:4], self._open_mm)
        seconds = self._finger_s(self.joints[4], self._open_mm)
        steps = [_Step(opened, seconds, lambda: self._let_go(place, self.equipment, fault))]
        await self._run(name, steps)

    async def _close(self, name: str, place: str | None, fault: Planted | None) -> None:
        """Close the fingers where the arm is."""
        closed = (*self.joints[:4], self._closed_mm)
        seconds = self._finger_s(self.joints[4], self._gripped_mm())
        steps = [_Step(closed, seconds, lambda: self._take(place, self.equipment, fault))]
        await self._run(name, steps)

    def _finger_s(self, start_mm: float, to_mm: float) -> float:
        return abs(to_mm - start_mm) / (JOINT_SPEEDS[4] * self._grasp[1] / 100.0) + MOTION_MIN_S

    def _grasped(self) -> str:
        """Return what a force-controlled grip reports."""
        if self._grasp[2] == NO_PLATE_FORCE_N:
            return "-1"
        return "-1" if self.world.held_by(self.equipment) is not None else "0"

    def _here(self) -> str | None:
        """Return the place whose taught location the arm stands at."""
        here = self.joints[:4]
        for index, place in self._stations.items():
            with contextlib.suppress(TcsRefusedError):
                there = self._joints_of(self._location(index))[:4]
                if all(abs(a - b) < 0.5 for a, b in zip(here, there, strict=True)):
                    return place
        return None

    def _take(self, place: str | None, by: str, fault: Planted | None = None) -> None:
        """Let the fingers close on whatever stands at ``place``."""
        already = self.world.held_by(self.equipment) is not None
        self._gripping = True
        if place is None or already or fault is Planted.SWALLOWED:
            return
        try:
            self.world.grip(self.equipment, place, by)
            if fault is Planted.DOUBLED and self.world.held_by(self.equipment) is not None:
                self.world.release(self.equipment, place, by)
                self.world.grip(self.equipment, place, by)
        except ImpossibleError:
            self._collide()
            return
        if fault is Planted.HALF:
            self._drop(by)

    def _let_go(self, place: str | None, by: str, fault: Planted | None = None) -> None:
        """Let the fingers open over ``place``, or over the floor."""
        if fault is Planted.SWALLOWED:
            return
        held = self.world.held_by(self.equipment)
        if held is not None and (place is None or fault is Planted.HALF):
            self._drop(by)
        elif held is not None and place is not None:
            stands = self.world.release(self.equipment, place, by)
            if stands is None:
                self._collide()
            elif fault is Planted.DOUBLED:
                self.world.grip(self.equipment, place, by)
                self.world.release(self.equipment, place, by)
        self._gripping = False

    def _drop(self, by: str) -> None:
        held = self.world.held_by(self.equipment)
        if held is not None:
            self.world.relocate(held, FLOOR, by, kind="dropped")

    def _collide(self) -> None:
        """Stop on a collision: servo off, attachment and homing lost, nothing left to clear."""
        self._power_off(-3100)
        self.homed = False

    # ---------------------------------------------------------------- pick and place

    async def _answer_pick(self, _: _Connection, given: list[str]) -> str:
        location, place = self._station(given)
        self._need_ready()
        await self._my_turn()
        goal = self._joints_of(location)
        fault = self._next_fault()
        opened_mm, gripped_mm = self._open_mm, self._gripped_mm()
        seconds, down, up = self._visit(location, goal, opened_mm)

        def open_first() -> None:
            if self.world.held_by(self.equipment) is not None:
                self._drop(self.equipment)
            self._gripping = False

        steps = [
            _Step(down, seconds, open_first),
            _Step((*goal[:4], opened_mm), self._seconds(down, (*goal[:4], opened_mm), 1)),
            _Step(
                (*goal[:4], self._closed_mm),
                self._finger_s(opened_mm, gripped_mm),
                lambda: self._take(place, self.equipment, fault),
            ),
            _Step((*up[:4], self._closed_mm), self._seconds(goal, (*up[:4], goal[4]), 1)),
        ]
        await self._run("pickplate", steps)
        return "-1" if fault in (Planted.SWALLOWED, Planted.HALF) else self._grasped()

    async def _answer_place(self, _: _Connection, given: list[str]) -> str:
        location, place = self._station(given)
        self._need_ready()
        await self._my_turn()
        goal = self._joints_of(location)
        fault = self._next_fault()
        fingers_mm, opened_mm = self.joints[4], self._open_mm
        seconds, down, up = self._visit(location, goal, fingers_mm)
        steps = [
            _Step(down, seconds),
            _Step((*goal[:4], fingers_mm), self._seconds(down, (*goal[:4], fingers_mm), 1)),
            _Step(
                (*goal[:4], opened_mm),
                self._finger_s(fingers_mm, opened_mm),
                lambda: self._let_go(place, self.equipment, fault),
            ),
            _Step((*up[:4], opened_mm), self._seconds(goal, (*up[:4], goal[4]), 1)),
        ]
        await self._run("placeplate", steps)
        return ""

    def _station(self, given: list[str]) -> tuple[_Location, str | None]:
        index = as_numbers(given, 1, 3)[0]
        return self._location(index), self._stations.get(int(index))

    def _visit(
        self, location: _Location, goal: Joints, fingers_mm: float
    ) -> tuple[float, Joints, Joints]:
        """Return the time to the approach of a station, and the approach down and up."""
        approach = raised(goal, location.clearance_mm)
        down: Joints = (*approach[:4], fingers_mm)
        return self._seconds(self.joints, down, 1), down, approach

    # ---------------------------------------------------------------- by hand

    def press(self, key: str) -> None:
        """Press a key of the pendant; the names of the keys are in ``KEYS``.

        J1+ to J4- jog one joint a little. The gripper keys work where the arm stands.
        """
        by = f"panel:{self.equipment}"
        if key == "ESTOP":
            self._power_off(-1028)
            self.emergency = True
        elif key == "ESTOP RELEASE":
            self.emergency = False
        elif key == "GRIPPER OPEN":
            self._stop(-1045)
            self._joints = (*self.joints[:4], self._open_mm)
            self._let_go(self._here(), by)
        elif key == "GRIPPER CLOSE":
            self._stop(-1045)
            self._joints = (*self.joints[:4], self._closed_mm)
            self._take(self._here(), by)
        elif key in KEYS:
            self._jog(int(key[1]) - 1, JOG_MM if key.endswith("+") else -JOG_MM)
        else:
            raise ValueError(
                f"{self.equipment}: the panel of {self.model} has no key {key!r}; "
                f"it has {', '.join(KEYS)}"
            )

    def _jog(self, axis: int, by_mm: float) -> None:
        self._stop(-1045)
        joints = list(self.joints)
        lowest, highest = JOINT_RANGES[axis]
        joints[axis] = min(max(joints[axis] + by_mm, lowest), highest)
        self._joints = (joints[0], joints[1], joints[2], joints[3], joints[4])

    def power_cycle(self) -> None:
        """Come up without power, attachment and homing; every connection drops."""
        self._power_off(-1046)
        for connection in self._connections:
            closing = asyncio.get_running_loop().create_task(self._close_line(connection.line))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        self._boot()

    async def _close_line(self, line: Transport) -> None:
        await line.close()


def _width(given: list[str]) -> float:
    (width,) = as_numbers(given, 1, 1)
    lowest, highest = JOINT_RANGES[4]
    if not lowest <= width <= highest:
        raise TcsRefusedError(-707)
    return width
