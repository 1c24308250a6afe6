r"""Emulator of a HighRes Biosolutions MicroSpin centrifuge.

Sources: MicroSpin user manual 1058675, sections 6.6 and 6.7 (exchange, public commands), 7 and 11
(checks, limits), as quoted by PyLabRobot 0.2.2 together with text and behaviour captured from a
real one. TCP port 1000, several clients; ASCII lines.

    request   command[ arguments]\r\n
    reply     ACK! <request> <id>\r\n, data lines, then OK!|ERROR!|ABORTED! <request> <id>\r\n

The id counts requests of all clients. ERROR! comes after the newest ten entries of the error
stack, which nothing clears: ``Error <n>: (HH:MM:SS) <code>: <text>``.

    version, v                list, ?       info, ??      help <command>
    whoami                    disconnect, d               logcommands yes|no
    errors, e [n]             commandstat, cstat <id>
    homedstatus, hss          ``homed`` or ``not homed``, at once
    status, s                 Spindle Position, Door Position: not before the rotor stands
    home                      also closes the door
    open <1|2>                open the door and present the bucket
    spin, sp <g> <accel %> <decel %> <s>   g 1 to 3000; closes the door; ends when it stands
    abort, a                  OK! at once; what runs or waits ends with ABORTED!, the rotor runs
                              down, and home, open, spin get ABORTED! without data ...
    clearbuttonabort, cba     ... until this

Motion and status wait for the motion before them; all else is answered meanwhile, so a reply must
be told by its id. Not homed after power-up. Below 30 x g or 20 % deceleration the real one may
never report that it stands: ``may_never_stop`` imitates that; only the power ends it.

Unconfirmed: what commandstat says of a known id (here one line ``<request> <id>: `` and RUNNING,
OK, ERROR or ABORTED) and how many it remembers; the texts of errors other than those for unknown
commands, counts of parameters and unknown ids; that ids restart with the power and the error
stack doesn't; times of home, open and acceleration; that one client's requests go on while its
own motion runs; panel keys. Deceleration is fitted to the one time known: 1000 x g at 20 % takes
seven minutes. What the World is told to spin is the time at full speed; ramps are added to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from math import sqrt
from typing import Any, ClassVar, Final

from devices.transport.transport import LineClosedError, Transport
from hw_mocks.emulator import Emulator, Moment, Planted
from hw_mocks.world.world import World
from orchestrator.kernel.instants import Instant
from orchestrator.virtual_time import USUAL_START

RCF_MAX: Final = 3000  # manual 1058675, section 11
RCF_SURELY_SENSED: Final = 30  # observed on a real one
DECEL_SURELY_SENSED: Final = 20
DECEL_FULL_S: Final = 84.0  # fitted: 420 s for 1000 x g at 20 %
ACCEL_FULL_S: Final = 30.0  # assumed: to 1000 x g at 100 %
RAMPS_AT_RCF: Final = 1000.0
ERRORS_SHOWN: Final = 10  # manual 1058675, help of errors
HISTORY_MAX: Final = 100  # assumed
LONGEST_REQUEST: Final = 256  # assumed
CODE_PARAMETER: Final = -12  # observed

DOOR_CLOSED: Final = -258  # observed
DOOR_OPEN: Final = 19_242  # observed
SPINDLE_HOME: Final = 1958  # observed
SPINDLE_TURN: Final = 8192  # assumed: counts per turn

ACTING: Final = frozenset(("home", "open", "spin"))
KEYS: Final = ("OPEN", "ABORT")
ABORT_SAYS: Final = 'Issue the "clearbuttonabort" (cba) command to re-enable the machine'


@dataclass(frozen=True, slots=True)
class _Known:
    """A command that it has."""

    name: str
    alias: str
    fewest: int
    most: int
    says: str
    takes: str


COMMANDS: Final = (
    _Known("clearbuttonabort", "cba", 0, 0, "Leave the aborted state.", ""),
    _Known("commandstat", "cstat", 1, 1, "State of a command.", "<command id>"),
    _Known("disconnect", "d", 0, 0, "Close this connection.", ""),
    _Known("errors", "e", 0, 1, "Newest entries of the error stack.", "[<n>]"),
    _Known("help", "", 1, 1, "What a command takes.", "<command>"),
    _Known("info", "??", 0, 1, "All commands and what they take.", "[all]"),
    _Known("list", "?", 0, 1, "All commands.", "[all]"),
    _Known("logcommands", "", 1, 1, "Log what is received.", "yes|no"),
    _Known("version", "v", 0, 0, "Version of the software.", ""),
    _Known("whoami", "", 0, 0, "Number of this client.", ""),
    _Known("abort", "a", 0, 0, "Stop what runs.", ""),
    _Known("home", "", 0, 0, "Find the home position.", ""),
    _Known("homedstatus", "hss", 0, 0, "Whether it is homed.", ""),
    _Known("open", "", 1, 1, "Open the door at a bucket.", "<bucket>"),
    _Known("spin", "sp", 4, 4, "Spin.", "<G-force> <acceleration> <deceleration> <time>"),
    _Known("status", "s", 0, 0, "Positions, when it stands.", ""),
)
_BY_WORD: Final = {word: known for known in COMMANDS for word in (known.name, known.alias) if word}


@dataclass(slots=True)
class _Client:
    """One connection."""

    number: int
    line: Transport
    heard: bytearray = field(default_factory=bytearray)
    announced: bool = False


@dataclass(slots=True)
class _Command:
    """One request, from its ACK! on."""

    number: int
    text: str
    name: str
    arguments: list[str]
    client: _Client | None
    state: str = "RUNNING"


class _RefusedError(Exception):
    """The command ends with ERROR!, and this entry of the error stack."""

    def __init__(self, text: str, code: int = CODE_PARAMETER) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class HighresMicrospin(Emulator):
    """A MicroSpin whose loaded bucket is one place of the World.

    Args:
        world: The room it stands in.
        equipment: Its name in the room.
        rotor: The place of the bucket that is loaded; the other carries a counterweight.
        home_s: How long it homes.
        open_s: How long door and bucket take.
        close_s: How long the door takes before a spin.
        may_never_stop: Whether the stop isn't sensed after too slow a spin or deceleration.
        started: What its clock shows at the World's second 0.
        reply_after_s: From the end of a request to its ACK!.
    """

    model: ClassVar[str] = "highres_microspin"

    def __init__(
        self,
        world: World,
        equipment: str,
        *,
        rotor: str = "rotor",
        home_s: float = 15.0,  # assumed
        open_s: float = 8.0,  # assumed
        close_s: float = 4.0,  # assumed
        may_never_stop: bool = False,
        started: Instant = USUAL_START,
        reply_after_s: float = 0.0,
    ) -> None:
        super().__init__(world, equipment)
        self.door_open = False
        self._rotor = rotor
        self._home_s = home_s
        self._open_s = open_s
        self._close_s = close_s
        self._may_never_stop = may_never_stop
        self._clock_at_0 = started.as_datetime()
        self._reply_after_s = reply_after_s
        self._errors: list[str] = []
        self._clients: list[_Client] = []
        self._clients_ever = 0
        self._saying: set[asyncio.Task[None]] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._boot()

    def _boot(self) -> None:
        self.homed = False
        self.aborted = False
        self._spindle = 0
        self._next_number = 1
        self._history: deque[_Command] = deque(maxlen=HISTORY_MAX)
        self._waiting: deque[_Command] = deque()
        self._running: _Command | None = None
        self._stands = True  # as its own sensor has it
        self._stops_at_s = 0.0
        self._decel_percent = 100.0
        self._rcf = 0.0
        self._speeding_from_s = 0.0
        self._speeding_s = 0.0

    # ---------------------------------------------------------------- the line

    async def serve(self, line: Transport) -> None:
        """Speak on ``line`` until it closes. Several may be served at once."""
        self._clients_ever += 1
        client = _Client(self._clients_ever, line)
        self._clients.append(client)
        try:
            while True:
                for byte in await line.receive():
                    request = self._hear(client, byte)
                    if request:
                        if self._reply_after_s > 0.0:
                            await asyncio.sleep(self._reply_after_s)
                        await self._take(client, request)
        except LineClosedError:
            pass
        finally:
            self._clients.remove(client)

    def _hear(self, client: _Client, byte: int) -> str | None:
        """Take one byte; return the request if it ended one."""
        if byte in b" \r\n" and not client.announced:
            word = client.heard.decode("ascii", errors="replace").strip()
            known = _BY_WORD.get(word)
            if known is not None and known.name in ACTING:
                client.announced = True
                self._moment(Moment.ARRIVING, known.name)
        if byte == 0x0A:
            request = client.heard.decode("ascii", errors="replace").strip()
            client.heard.clear()
            client.announced = False
            return request
        if len(client.heard) < LONGEST_REQUEST:
            client.heard.append(byte)
        return None

    async def _take(self, client: _Client, request: str) -> None:
        """Acknowledge a request, and answer it or let it wait for its turn."""
        word, *arguments = request.split()
        known = _BY_WORD.get(word)
        name = known.name if known is not None else word
        command = _Command(self._next_number, request, name, arguments, client)
        self._next_number += 1
        self._history.append(command)
        await self._say(client.line, self._line("ACK!", command))
        try:
            if known is None:
                raise _RefusedError(f'Command "{word}" not recognized!')
            if not known.fewest <= len(arguments) <= known.most:
                raise _RefusedError(
                    f'Abnormal number of parameters ({len(arguments)}) for command "{name}".  '
                    f"Min: {known.fewest}, Max: {known.most}"
                )
            if name in ACTING:
                self._check(command)
                if self.aborted:
                    self._end(command, "ABORTED")
                    return
            if name in ACTING or name == "status":
                self._waiting.append(command)
                self._next()
                return
            data = self._answer(command)
        except _RefusedError as refused:
            self._refuse(command, refused)
            return
        self._end(command, "OK", data)
        if name == "disconnect":
            await self._all_said()
            await client.line.close()

    def _line(self, word: str, command: _Command) -> bytes:
        return f"{word} {command.text} {command.number}\r\n".encode("ascii", errors="replace")

    def _end(self, command: _Command, state: str, data: list[str] | None = None) -> None:
        """End a command: note how, and say so to whom it came from."""
        command.state = state
        if command.client is None:
            return
        if command.name in ACTING:
            self._moment(Moment.REPLYING, command.name)
        lines = "".join(f"{line}\r\n" for line in data or []).encode("ascii", errors="replace")
        self._soon(self._say(command.client.line, lines + self._line(f"{state}!", command)))

    def _refuse(self, command: _Command, refused: _RefusedError) -> None:
        at = (self._clock_at_0 + timedelta(seconds=self.world.now())).strftime("%H:%M:%S")
        self._errors.append(f"Error {len(self._errors) + 1}: ({at}) {refused.code}: {refused.text}")
        self._end(command, "ERROR", self._errors[-ERRORS_SHOWN:])

    async def _say(self, line: Transport, text: bytes) -> None:
        """Send, or not: what was received is obeyed on a line that dropped meanwhile, too."""
        with contextlib.suppress(LineClosedError):
            await line.send(text)

    def _soon(self, saying: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(saying)
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)

    async def _all_said(self) -> None:
        await asyncio.gather(*self._saying)

    # ---------------------------------------------------------------- answered at once

    def _answer(self, command: _Command) -> list[str]:
        answers: dict[str, Callable[[_Command], list[str]]] = {
            "version": lambda _: ["Product Name: MicroSpin", "Version: MS-1.3.3"],
            "list": lambda _: [self._listed(known) for known in COMMANDS],
            "info": lambda _: [line for known in COMMANDS for line in self._explained(known)],
            "help": self._help,
            "whoami": lambda asked: [str(asked.client.number if asked.client else 0)],
            "disconnect": lambda _: [],
            "logcommands": self._log_commands,
            "errors": self._show_errors,
            "commandstat": self._command_state,
            "homedstatus": lambda _: ["homed" if self.homed else "not homed"],
            "abort": lambda _: self._abort(self.equipment),
            "clearbuttonabort": lambda _: self._clear_abort(),
        }
        return answers[command.name](command)

    def _listed(self, known: _Known) -> str:
        names = f"{known.name}, {known.alias}" if known.alias else known.name
        return f"{names:<32}- {known.says}"

    def _explained(self, known: _Known) -> list[str]:
        if not known.most:
            takes = "(No parameters)"
        elif known.fewest == known.most:
            takes = f"Parameters({known.most}): {known.takes}"
        else:
            takes = f"Parameters({known.fewest} - {known.most}): {known.takes}"
        return [self._listed(known), f"     {takes}", ""]

    def _help(self, command: _Command) -> list[str]:
        known = _BY_WORD.get(command.arguments[0])
        if known is None:
            raise _RefusedError(
                f"Can't provide information on unrecognized command '{command.arguments[0]}'"
            )
        return self._explained(known)

    def _log_commands(self, command: _Command) -> list[str]:
        if command.arguments[0] not in ("yes", "no"):
            raise _RefusedError(f"yes or no, not {command.arguments[0]}")
        return []

    def _show_errors(self, command: _Command) -> list[str]:
        if not command.arguments:
            return self._errors[-ERRORS_SHOWN:]
        (shown,) = self._whole_numbers(command)
        return self._errors[-shown:] if shown > 0 else []

    def _command_state(self, command: _Command) -> list[str]:
        (number,) = self._whole_numbers(command)
        for past in self._history:
            if past.number == number and past is not command:
                return [f"{past.text} {past.number}: {past.state}"]
        raise _RefusedError(f"Command id {number} not in recorded history.", command.number)

    def _whole_numbers(self, command: _Command) -> list[int]:
        try:
            return [int(argument) for argument in command.arguments]
        except ValueError:
            raise _RefusedError(
                f"{command.name} takes whole numbers, not {' '.join(command.arguments)}"
            ) from None

    def _clear_abort(self) -> list[str]:
        self.aborted = False
        return []

    # ---------------------------------------------------------------- motion

    def _check(self, command: _Command) -> None:
        """Refuse a motion whose arguments can't be."""
        numbers = self._whole_numbers(command)
        if command.name == "open" and numbers[0] not in (1, 2):
            raise _RefusedError(f"bucket {numbers[0]}: there are 1 and 2")
        if command.name == "spin":
            rcf, accel, decel, seconds = numbers
            if not 1 <= rcf <= RCF_MAX:
                raise _RefusedError(f"G-force {rcf}: 1 to {RCF_MAX}")
            if not (1 <= accel <= 100 and 1 <= decel <= 100):
                raise _RefusedError(f"acceleration {accel}, deceleration {decel}: 1 to 100")
            if seconds < 1:
                raise _RefusedError(f"time {seconds}: at least 1")

    def _next(self) -> None:
        """Let what waits have its turn, as far as it can go."""
        while self._waiting and self._running is None and self._stands:
            command = self._waiting.popleft()
            if command.name == "status":
                door = DOOR_OPEN if self.door_open else DOOR_CLOSED
                shown = [f"Spindle Position: {self._spindle}", f"Door Position: {door}"]
                self._end(command, "OK", shown)
            elif command.name != "home" and not self.homed:
                self._refuse(command, _RefusedError("device is not homed"))
            else:
                self._start(command)

    def _start(self, command: _Command) -> None:
        self._running = command
        self.homed = self.homed and command.name != "home"
        fault = None
        if command.client is not None:
            self._moment(Moment.ARRIVED, command.name)
            fault = self._next_fault()
        if command.name == "spin":
            self._start_spin(command, fault)
            return
        seconds = self._home_s if command.name == "home" else self._open_s
        self._timers.append(self._after(seconds / 2.0, lambda: self._halfway(command)))
        self._timers.append(self._after(seconds, lambda: self._moved(command, fault)))

    def _halfway(self, command: _Command) -> None:
        if command.client is not None:
            self._moment(Moment.MOVING, command.name)

    def _moved(self, command: _Command, fault: Planted | None) -> None:
        """Home or open has come to its end."""
        if fault is not Planted.SWALLOWED:
            self.door_open = command.name == "open"
            turned = SPINDLE_TURN // 2 if command.arguments == ["2"] else 0
            self._spindle = SPINDLE_HOME + turned
        self.homed = True  # only a homed one opens
        self._done(command)

    def _start_spin(self, command: _Command, fault: Planted | None) -> None:
        rcf, accel, decel, seconds = self._whole_numbers(command)
        speed = sqrt(rcf / RAMPS_AT_RCF)
        self._rcf, self._decel_percent = float(rcf), float(decel)
        self._stands = False
        ready_s = self._close_s if self.door_open else 0.0
        at_speed_s = ready_s + ACCEL_FULL_S * speed * 100.0 / accel
        ends_s = at_speed_s + seconds * (2 if fault is Planted.DOUBLED else 1)
        stops_s = ends_s + DECEL_FULL_S * speed * 100.0 / decel
        self._speeding_from_s = self.world.now() + ready_s
        self._speeding_s = at_speed_s - ready_s
        self._timers.append(self._after(ready_s, self._close_door))
        if fault is not Planted.SWALLOWED:
            turns = 2 if fault is Planted.DOUBLED else 1
            turning_s = seconds / 2.0 if fault is Planted.HALF else float(seconds)
            self._timers.append(self._after(at_speed_s, lambda: self._turn(rcf, turning_s, turns)))
        halfway_s = at_speed_s + seconds / 2.0
        self._timers.append(self._after(halfway_s, lambda: self._halfway(command)))
        self._timers.append(self._after(stops_s, lambda: self._spun(command)))

    def _turn(self, rcf: int, seconds: float, turns: int) -> None:
        """Turn at full speed, as often as told."""
        self.world.spin_start(self._rotor, rcf_g=float(rcf), by=self.equipment)

        def stop() -> None:
            self.world.spin_stop(self._rotor, self.equipment)
            if turns > 1:
                self._turn(rcf, seconds, turns - 1)

        self._timers.append(self._after(seconds, stop))

    def _close_door(self) -> None:
        self.door_open = False

    def _spun(self, command: _Command) -> None:
        """The rotor stands; if that is sensed, the spin is done."""
        self._spindle = (self._spindle + int(self._rcf)) % SPINDLE_TURN
        if self._stop_is_sensed():
            self._stands = True
            self._done(command)

    def _stop_is_sensed(self) -> bool:
        sure = self._rcf >= RCF_SURELY_SENSED and self._decel_percent >= DECEL_SURELY_SENSED
        return sure or not self._may_never_stop

    def _done(self, command: _Command) -> None:
        self._timers.clear()
        self._running = None
        if command.client is not None:
            self._moment(Moment.ENDED, command.name)
        self._end(command, "OK")
        self._next()

    def _abort(self, by: str) -> list[str]:
        """End all that runs or waits; the rotor runs down on its own."""
        self.aborted = True
        running = self._running
        if running is not None:
            self._halt(by)
            self._end(running, "ABORTED")
        for command in [command for command in self._waiting if command.name in ACTING]:
            self._waiting.remove(command)
            self._end(command, "ABORTED")
        self._next()
        return [ABORT_SAYS]

    def _halt(self, by: str) -> None:
        """Stop driving; a rotor that turns takes its time until it stands."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._running = None
        if self._stands:
            return
        self.world.spin_stop(self._rotor, by)
        sped = (self.world.now() - self._speeding_from_s) / self._speeding_s
        speed = sqrt(self._rcf / RAMPS_AT_RCF) * min(max(sped, 0.0), 1.0)
        runs_down_s = DECEL_FULL_S * speed * 100.0 / self._decel_percent
        self._timers.append(self._after(runs_down_s, self._run_down))

    def _run_down(self) -> None:
        self._timers.clear()
        if self._stop_is_sensed():
            self._stands = True
            self._next()

    # ---------------------------------------------------------------- by hand

    def press(self, key: str) -> None:
        """Press a key of the panel; the names of the keys are in ``KEYS``.

        OPEN opens the door at bucket 1 if it stands; ABORT is the button that ``cba`` clears.
        """
        if key == "ABORT":
            self._abort(f"panel:{self.equipment}")
        elif key == "OPEN":
            if self.homed and self._running is None and self._stands and not self.aborted:
                self._running = _Command(0, key, "open", ["1"], None)
                self._moved(self._running, None)
        else:
            raise ValueError(
                f"{self.equipment}: the panel of {self.model} has no key {key!r}; "
                f"it has {', '.join(KEYS)}"
            )

    def power_cycle(self) -> None:
        """Brake and forget: not homed, ids from 1, no history; every connection drops."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.world.spin_stop(self._rotor, f"mains:{self.equipment}")
        for client in self._clients:
            self._soon(client.line.close())
        self._boot()
