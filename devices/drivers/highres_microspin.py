r"""Driver of a HighRes MicroSpin centrifuge, on TCP.

Source: MicroSpin user manual 1058675, 6.3, 6.6, 6.7 and 11, and text captured from a
device, both as pylabrobot 0.2.2 (``centrifuge/highres``) quotes them. From the published
manual; not tried on hardware.

Line: TCP port 1000. ASCII lines that end with CR LF.

    request    <command> [arguments]
    answer     ACK! <request> <id>
               data lines
               OK! | ERROR! | ABORTED! <request> <id>
    id         the device's own number of the command, up by one with each
    error      Error <n>: (HH:MM:SS) <code>: <text>, before ERROR!; -12: not understood

    homedstatus, hss   homed | not homed; answers at once
    status, s          Spindle Position: <n>, Door Position: <n>; answers only once the
                       rotor has stopped, so its end is the evidence that it stands still
    home               homes door and spindle; also shuts the door
    spin <g> <acceleration %> <deceleration %> <seconds>
    abort, a           slows down and stops; motion is refused until
    clearbuttonabort, cba
    commandstat, cstat <id>   what became of a command
    version, v         <name>: <value> lines

An ACK! counts only if its id is above all before; an end, only if it echoes the command of
its id. What stands between has no checksum, so status and homing are read until two
answers in a row agree. After a lost answer the line is silent, and ``version`` is asked,
which tells who it is, and the id where the count is now: two in a row that go up
from a lower one show that the ids began anew.

ACK! is no completion: a spin is done by its own OK!. After an interruption the spin's id
is known without having seen its ACK!: the read-back before the intent tells the last id,
and nothing is asked between it and the spin but ``home`` where that is needed. If the
device hasn't counted that far, the spin never arrived. Else ``cstat`` says what became of
it. What it answers for an id that it knows is published nowhere (unconfirmed); it is read
by its words, and anything that isn't plain can't tell.

A spin that was aborted has sedimented a part of the cells for a time that nobody knows.
The door must be shut by ``spin`` itself; this driver never opens it.

Unconfirmed: see the sheet.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from devices.drivers.reads import READ_ATTEMPTS_MAX, not_offered, read_alike
from devices.interfaces.centrifugation import RotorStill, Spin
from devices.interfaces.driver import DeviceIdentity, Settled, Standing
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
    LimitRefusedError,
    OutcomeUnknownError,
    RefusedError,
)
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import (
    Duration,
    Fraction,
    RelativeForce,
    percent,
    second,
    x_g,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from devices.transport.transport import Transport
    from orchestrator.kernel.identifiers import CommandId, EquipmentId

SHEET: Final = "highres_microspin"

REMEMBERED_MAX: Final = 1_000
"""Commands and answers kept: many more than are asked within one act."""

_NEVER_COMPARED: Final = "1000000000"  # the id counts our own questions too
_LOOK_AGAIN_S: Final = 60.0

_END: Final = re.compile(rb"(OK|ERROR|ABORTED)! (.*) ([0-9]{1,10})")
_ERROR: Final = re.compile(rb"Error [0-9]+: \([0-9:]+\) (-?[0-9]+): (.*)")
_FIELD: Final = re.compile(rb"([A-Za-z ]+): *(.*)")
_POSITION: Final = re.compile(r"-?[0-9]{1,10}")
_NOT_UNDERSTOOD: Final = b"-12"
_WORDS: Final = (
    ("aborted", re.compile(rb"abort", re.I)),
    ("failed", re.compile(rb"error|fail|not |unknown", re.I)),
    ("running", re.compile(rb"ack!|running|progress|active|executing|pending|queue", re.I)),
    ("done", re.compile(rb"\bok\b|complete|done|finish|success", re.I)),
)

_OTHERS: Final = re.compile(rb"\b(?:spin|status|home|homedstatus|open|abort|version)\b", re.I)


class Settings(Frozen):
    """What the process cell file says of one centrifuge: nothing, it says all by itself."""


class Ended(NamedTuple):
    """How a command ended, and what it said before."""

    word: str  # OK, ERROR or ABORTED
    data: tuple[bytes, ...]

    @property
    def why(self) -> str:
        """The newest error that it gave, in its words."""
        found = _ERROR.fullmatch(self.data[-1]) if self.data else None
        return found[2].decode("ascii", "replace") if found else "it gives no reason"

    @property
    def not_understood(self) -> bool:
        """Whether it failed before it began: nothing moved."""
        found = _ERROR.fullmatch(self.data[-1]) if self.data else None
        return self.word == "ERROR" and found is not None and found[1] == _NOT_UNDERSTOOD


class HighresMicrospin:
    """One centrifuge on one connection. Implements ``Driver`` for ``centrifugation``."""

    def __init__(self, transport: Transport, *, equipment: EquipmentId, settings: Settings) -> None:
        """Take over the line.

        Args:
            transport: The centrifuge's connection.
            equipment: Its name in the process cell.
            settings: None are needed.
        """
        del settings
        sheet = sheet_of(SHEET)
        self._equipment = equipment
        self._line = Conversation(
            transport,
            lines(b"\r\n", longest=400),
            is_unasked=_is_no_acknowledgement,
            on_unasked=self._take_line,
            greeting=Greeting(self._who, quiet=sheet.figure("reply_within", Duration)),
        )
        self._forces = sheet.range_of("force", RelativeForce)
        self._accelerations = sheet.range_of("acceleration", Fraction)
        self._decelerations = sheet.range_of("deceleration", Fraction)
        self._times = sheet.range_of("at_speed", Duration)
        self._reply_within = sheet.figure("reply_within", Duration)
        self._home_within = sheet.figure("home_within", Duration)
        self._stop_within = sheet.figure("stop_within", Duration)
        self._only_acts_change = {
            "homed": "equal",
            "spindle": str(sheet.number("spindle_play")),
            "door": str(sheet.number("door_play")),
            "last_id": _NEVER_COMPARED,
        }
        self._data: list[bytes] = []
        self._ends: dict[int, asyncio.Future[Ended]] = {}
        self._asked: dict[int, bytes] = {}  # what this connection was acknowledged
        self._was: dict[int, bytes] = {}  # the command that an end names
        self._first = self._newest = 0  # of these, since the ids last began anew
        self._sent_after: dict[CommandId, int] = {}
        self._spun: dict[CommandId, int] = {}

    @property
    def equipment(self) -> EquipmentId:
        return self._equipment

    @property
    def model(self) -> str:
        return SHEET

    @property
    def only_acts_change(self) -> Facts:
        """Return the tolerances: ``last_id`` counts each question and is never compared."""
        return self._only_acts_change

    async def run(self) -> None:
        await self._line.run()
        for end in self._ends.values():
            if not end.done():
                end.set_exception(self._gone("wait for the end of a command"))
                end.exception()  # seen, whether or not somebody waits for it

    async def identify(self) -> DeviceIdentity:
        _, told = await self._twice(b"version", within=self._reply_within, shape=_is_version)
        fields = _fields(told)
        self._line.knows(_who(fields))
        return DeviceIdentity(
            model=fields["Product Name"],
            serial=fields.get("Serial Number", ""),
            firmware=fields["Version"],
        )

    async def standing(self) -> Standing:
        """Wait until the rotor has stopped, and read what only acts change."""
        _, status = await self._twice(b"status", within=None, shape=_is_status)
        fields = _fields(status)
        number, homed = await self._homed()
        values = {"homed": "yes" if homed else "no", "last_id": str(number)}
        values["spindle"] = fields["Spindle Position"]
        values["door"] = fields["Door Position"]
        return Standing(values=values, witness="homed" if homed else "")

    async def prepare(self, act: Act) -> None:
        """Home the centrifuge if it isn't homed.

        Raises:
            LimitRefusedError: A value is beyond the sheet, or finer than whole g, percent
                or seconds. Nothing was written.
            RefusedError: It doesn't home. The rotor stands.
            OutcomeUnknownError: No answer. The rotor wasn't started.
        """
        asked = self._mine(act)
        self._request(asked)
        if self._asked.get(self._newest) == b"homedstatus" and self._end_of(self._newest).done():
            homed = _is_homed(self._end_of(self._newest).result().data)
        else:
            _, homed = await self._homed()
        if homed:
            return
        number = await self._acknowledged(b"home")
        try:
            end = await self._ended(number, self._home_within)
        except TimeoutError:
            raise OutcomeUnknownError(
                f"{self._equipment}: home before a spin",
                why=f"it didn't end within {self._home_within}",
                do_next="Look at the centrifuge; the spin wasn't sent",
            ) from None
        if end.word != "OK":
            raise RefusedError(
                f"{self._equipment}: home before a spin",
                why=end.why,
                do_next="Look into the rotor chamber, clear the fault, and resume",
            )

    async def trigger(self, act: Act, command: CommandId) -> None:
        asked = self._mine(act)
        self._sent_after[command] = self._newest
        try:
            self._spun[command] = await self._acknowledged(self._request(asked), command)
        except NoReplyError as lost:
            raise OutcomeUnknownError(
                self._what(asked),
                why=f"the centrifuge didn't acknowledge within {self._reply_within}",
                do_next="Do not repeat it; its command id shows whether it began",
            ) from lost

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        asked = self._mine(act)
        number = self._spun[command]
        try:
            end = await self._ended(number, asked.at_speed + self._stop_within)
        except TimeoutError:
            return await self.effect_of(act, command, before)
        report = _judge(asked, end)
        return Settled(report=report, standing=await self.standing())

    async def effect_of(self, act: Act, command: CommandId, before: Standing) -> Settled:
        """Wait until the rotor has stopped, and ask what became of the spin's id."""
        asked = self._mine(act)
        now = await self.standing()
        report = await self._became(asked, command, before, now)
        return Settled(report=report, standing=await self.standing())

    async def quieten(self, how: Quieten) -> None:
        """Slow down and stop, unless it is to be left running; then allow motion again.

        Raises:
            OutcomeUnknownError: It doesn't acknowledge. The rotor may turn on.
        """
        if how is Quieten.LEAVE_RUNNING:
            return
        why = f"no acknowledgement in {READ_ATTEMPTS_MAX} attempts"
        for _ in range(READ_ATTEMPTS_MAX):
            try:
                answer = await self._line.halt(
                    b"abort\r\n",
                    within=self._reply_within,
                    fits=self._newly_acknowledges(b"abort"),
                )
                assert answer is not None, "a halt with an answer came back without"
                self._note(_number(answer), b"abort")
                await self._ended(_number(answer), self._stop_within)
                number = await self._acknowledged(b"clearbuttonabort")
                await self._ended(number, self._reply_within)
            except (NoReplyError, TimeoutError):
                continue
            except LineClosedError:
                why = "the line is closed"
                break
            return
        raise OutcomeUnknownError(
            f"{self._equipment}: stop the rotor", why=why, do_next="Press the abort button"
        )

    async def read(self, reading: Reading) -> str:
        if not isinstance(reading, RotorStill):
            raise not_offered(self._equipment, reading.kind)
        await self._twice(b"status", within=None, shape=_is_status)
        return "yes"

    async def close(self) -> None:
        await self._line.close()

    async def _became(
        self, asked: Spin, command: CommandId, before: Standing, now: Standing
    ) -> EffectReport:
        """Return what the device knows of the spin, by its id."""
        last = int(before.values["last_id"])
        was_homed = before.values["homed"] == "yes"
        if was_homed and now.values["homed"] != "yes":
            return CannotTell(why="it was homed and isn't: it restarted")
        if last in self._asked:  # asked on this connection, which has seen all since
            if command not in self._sent_after:
                return NothingDone(why="the spin wasn't sent")
            number = self._spun.get(command, self._sent_after[command] + 1)
            if self._asked.get(number, self._request(asked)) != self._request(asked):
                return NothingDone(why=f"command {number} isn't the spin: it never arrived")
            end = self._ends.get(number)
            if command in self._spun and end is not None and end.done():
                return _judge(asked, end.result())
            return await self._command_became(asked, number, surely=True)
        if self._first <= last:
            return CannotTell(why="its command ids began anew: it restarted")
        number = last + (1 if was_homed else 2)
        if number >= self._first:
            return NothingDone(why=f"it was given no command {number}: the spin never arrived")
        return await self._command_became(asked, number, surely=number + 1 == self._first)

    async def _command_became(self, asked: Spin, number: int, *, surely: bool) -> EffectReport:
        """Ask for a command by its id. ``surely``: nobody else can have had that id."""
        request = self._request(asked)
        for _ in range(READ_ATTEMPTS_MAX):
            try:
                end, last_line = await read_alike(
                    self._line,
                    lambda: self._told_of(number, request),
                    what=f"{self._equipment}: ask what became of command {number}",
                )
            except TimeoutError:
                return CannotTell(why=f"it doesn't say what became of command {number}")
            if last_line is not None:
                return _judge(asked, last_line)
            told = b" ".join(end.data)
            if end.word != "OK":
                return CannotTell(why=f"it doesn't know what became of command {number}")
            if request not in told and (not surely or _OTHERS.search(told)):
                return CannotTell(why=f"command {number} isn't shown to be the spin")
            word = next((word for word, sign in _WORDS if sign.search(told)), "")
            if word == "done":
                return _judge(asked, Ended("OK", ()))
            if word != "running":
                said = told.decode("ascii", "replace") or "nothing"
                return CannotTell(why=f"of command {number} it says: {said}")
            await asyncio.sleep(_LOOK_AGAIN_S)
        return CannotTell(why=f"command {number} runs on, though the rotor stands")

    async def _told_of(self, number: int, request: bytes) -> tuple[Ended, Ended | None]:
        """Return what it says of a command, asked once; apart, if it gives its last line again."""
        self._ends.pop(number, None)  # no line of before: its id may have been another's, damaged
        asked_id = await self._acknowledged(b"commandstat %d" % number)
        end = await self._ended(asked_id, self._reply_within)
        told = self._ends.get(number)
        given = told is not None and told.done() and self._was[number] == request
        return end, told.result() if told is not None and given else None

    async def _homed(self) -> tuple[int, bool]:
        number, told = await self._twice(
            b"homedstatus", within=self._reply_within, shape=_is_homed_status
        )
        return number, _is_homed(told)

    async def _who(self) -> str:
        """Return the serial number; where the ids began anew, forget what was known by id."""
        last = -1
        for _ in range(READ_ATTEMPTS_MAX):
            number = _number(
                await self._line.ask(
                    b"version\r\n", within=self._reply_within, fits=_acknowledges(b"version")
                )
            )
            if number <= self._newest and number == last + 1:
                self._forget()
            last = number
            if number <= self._newest:
                continue
            self._note(number, b"version")
            with contextlib.suppress(TimeoutError):
                end = await self._ended(number, self._reply_within)
                if _is_version(end.data):
                    return _who(_fields(end.data))
        raise NoReplyError(
            f"{self._equipment}: ask who it is after a lost answer",
            why="it doesn't say so whole",
            do_next="Check cable and power",
        )

    async def _twice(
        self,
        request: bytes,
        *,
        within: Duration | None,
        shape: Callable[[tuple[bytes, ...]], bool] = bool,
    ) -> tuple[int, tuple[bytes, ...]]:
        """Return what ``_read`` does, once two answers in a row agree."""
        return await read_alike(
            self._line,
            lambda: self._read(request, within=within, shape=shape),
            alike=lambda earlier, later: earlier[1] == later[1],
            what=f"{self._equipment}: ask {request.decode('ascii')}",
        )

    async def _read(
        self,
        request: bytes,
        *,
        within: Duration | None,
        shape: Callable[[tuple[bytes, ...]], bool] = bool,
    ) -> tuple[int, tuple[bytes, ...]]:
        """Return a question's id and data lines. ``within`` None: as long as the rotor turns."""
        what = f"{self._equipment}: ask {request.decode('ascii')}"
        why = f"no whole answer in {READ_ATTEMPTS_MAX} attempts"
        attempts = 0
        while attempts < READ_ATTEMPTS_MAX:
            attempts += 1
            try:
                number = await self._acknowledged(request)
                end = await self._ended(number, self._stop_within if within is None else within)
            except NoReplyError:
                continue
            except TimeoutError:
                if within is None:
                    attempts = 0  # it turns, or that answer was lost: ask anew
                continue
            except LineClosedError:
                why = "the line is closed"
                break
            if end.word != "OK":
                raise DeviceFaultError(what, why=end.why, do_next="Look at the centrifuge")
            if shape(end.data):
                return number, end.data
        raise OutcomeUnknownError(what, why=why, do_next="Check cable and power, then resume")

    async def _acknowledged(self, request: bytes, trigger: CommandId | None = None) -> int:
        """Send a command and return the id under which the device took it."""
        answer = await self._line.ask(
            request + b"\r\n",
            within=self._reply_within,
            fits=self._newly_acknowledges(request),
            trigger=trigger,
        )
        return self._note(_number(answer), request)

    def _newly_acknowledges(self, request: bytes) -> Callable[[bytes], bool]:
        """Return whether a frame acknowledges ``request`` under an id that is a new one."""
        acknowledges = _acknowledges(request)
        return lambda frame: acknowledges(frame) and _number(frame) > self._newest

    def _forget(self) -> None:
        """Forget what was known by id: it restarted, and the ids are another's now."""
        for known in (self._asked, self._ends, self._was, self._spun, self._sent_after):
            known.clear()
        self._first = self._newest = 0

    def _note(self, number: int, request: bytes) -> int:
        self._data.clear()  # what came before can't belong to it
        self._first, self._newest = self._first or number, number
        self._asked[number] = request
        for known in (self._asked, self._ends, self._was):
            while len(known) > REMEMBERED_MAX:
                del known[next(iter(known))]
        return number

    async def _ended(self, number: int, within: Duration) -> Ended:
        """Return how a command ended.

        Raises:
            TimeoutError: It hasn't, so far.
            OutcomeUnknownError: The line closed.
        """
        end = self._end_of(number)
        if end.done():
            return end.result()
        if self._line.closed:
            raise self._gone("wait for the end of a command")
        async with asyncio.timeout(within.to(second)):
            return await asyncio.shield(end)

    def _end_of(self, number: int) -> asyncio.Future[Ended]:
        if number not in self._ends:
            self._ends[number] = asyncio.get_running_loop().create_future()
        return self._ends[number]

    def _take_line(self, frame: bytes) -> None:
        found = _END.fullmatch(frame.strip())
        if found is None:
            self._data.append(frame.strip())
            del self._data[:-REMEMBERED_MAX]
            return
        number = int(found[3])
        if self._asked.get(number, found[2]) != found[2]:
            return  # it echoes another command than its id's: damaged
        end = self._end_of(number)
        data, self._data = tuple(self._data), []
        self._was[number] = found[2]
        if not end.done():
            end.set_result(Ended(found[1].decode("ascii"), data))

    def _request(self, asked: Spin) -> bytes:
        """Return the command for ``asked``.

        Raises:
            LimitRefusedError: A value is beyond the sheet, or finer than the device's steps.
        """
        for value, allowed in (
            (asked.acceleration, self._accelerations),
            (asked.deceleration, self._decelerations),
        ):
            if value not in allowed:
                raise self._beyond(asked, f"{value} isn't within {allowed}")
        if asked.force not in self._forces:
            raise self._beyond(asked, f"the centrifuge is qualified for {self._forces}")
        if asked.at_speed not in self._times:
            raise self._beyond(asked, f"the centrifuge is qualified for {self._times}")
        try:
            return b"spin %d %d %d %d" % (
                asked.force.steps(1 * x_g),
                asked.acceleration.steps(1 * percent),
                asked.deceleration.steps(1 * percent),
                asked.at_speed.steps(1 * second),
            )
        except ValueError:
            raise self._beyond(asked, "it takes whole g, percent and seconds") from None

    def _mine(self, act: Act) -> Spin:
        if not isinstance(act, Spin):
            raise not_offered(self._equipment, act.kind)
        return act

    def _what(self, asked: Spin) -> str:
        return f"{self._equipment}: spin {asked.force} for {asked.at_speed}"

    def _beyond(self, asked: Spin, why: str) -> LimitRefusedError:
        return LimitRefusedError(
            self._what(asked), why=f"{why} (sheet {SHEET})", do_next="Correct the recipe"
        )

    def _gone(self, what: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"{self._equipment}: {what}",
            why="the line is closed",
            do_next="Check cable and power, then resume",
        )


def _judge(asked: Spin, end: Ended) -> EffectReport:
    """Return what the end of a spin says."""
    if end.word == "OK":
        return AllDone(effect=Effect(done=str(asked.at_speed), detail={"force": str(asked.force)}))
    if end.not_understood:
        return NothingDone(why=f"it refused the spin: {end.why}")
    if end.word == "ABORTED":
        return CannotTell(why="the spin was aborted; how long it was at speed is unknown")
    return CannotTell(why=f"the spin ended with an error: {end.why}")


def _acknowledges(request: bytes) -> Callable[[bytes], bool]:
    start = b"ACK! " + request + b" "

    def fits(frame: bytes) -> bool:
        return frame.startswith(start) and frame[len(start) :].strip().isdigit()

    return fits


def _number(acknowledgement: bytes) -> int:
    return int(acknowledgement.rsplit(b" ", 1)[1])


def _is_no_acknowledgement(frame: bytes) -> bool:
    return not frame.startswith(b"ACK! ")


def _is_homed(data: tuple[bytes, ...]) -> bool:
    return data[-1:] == (b"homed",)


def _is_version(data: tuple[bytes, ...]) -> bool:
    return {"Product Name", "Version"} <= set(_fields(data))


def _who(fields: dict[str, str]) -> str:
    """Return who it says it is; not every firmware is known to tell a serial number."""
    return " ".join((fields["Product Name"], fields.get("Serial Number", ""), fields["Version"]))


def _is_status(data: tuple[bytes, ...]) -> bool:
    fields = _fields(data)
    return all(
        _POSITION.fullmatch(fields.get(name, "")) for name in ("Spindle Position", "Door Position")
    )


def _is_homed_status(data: tuple[bytes, ...]) -> bool:
    return data[-1:] in ((b"homed",), (b"not homed",))


def _fields(data: tuple[bytes, ...]) -> dict[str, str]:
    found = (_FIELD.fullmatch(line) for line in data)
    return {
        one[1].decode("ascii"): one[2].decode("ascii", "replace").strip() for one in found if one
    }
