"""A room that only bytes connect: each emulator on a wire of its own, in a folder.

    FOLDER/clock.sock         the room's clock (``orchestrator.virtual_time``)
    FOLDER/room.sock          what tests and validation people ask for, JSON line by line
    FOLDER/wires/EQUIPMENT    a serial port, linked to a pty
    FOLDER/wires/EQUIPMENT.tcp   the port on this machine that an instrument listens on

What a request asks for stands in ``do``; the answer is one object, ``{"error": ...}`` where
it was refused:

    look                      at_s, joined, digest of the World, moments passed, kills made
    ledger                    all physical effects until now, as ``ledger_of`` writes them
    contents    container     volume_mL, cells, label and place
    advance     seconds       let a room without a daemon go on alone
    plant       equipment, fault        the next acting request is obeyed in a faulty way
    press       equipment, key          a key of the instrument's own panel
    power_cycle equipment
    work        act, by       a person does a task's hand work, its ``ask``; what to report
    scan        scan, by      a person scans what the view ``work`` says is awaited
    read        act, by       a second person reads the labels of what a task was done on
    kill_at     equipment, moment, count, pid   SIGKILL the process at that moment from now
                hears           with the moment ``heard``: the text that the host's bytes
                                bear; an empty one: any bytes
                after_s         so much later by the room's time
    terminal    console       where people find their screen; a daemon says this of itself

A kill is taken only from the process that started this room, and only for another process
that it started: a room ends nobody it wasn't given.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import struct
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, cast

from devices.transport.pseudo_terminal import PseudoTerminal, open_pty
from devices.transport.tcp import TcpServer, serve_tcp
from devices.transport.transport import Direction
from hw_mocks.emulator import Emulator, Moment, OnMoment, Planted
from hw_mocks.ledger_record import ledger_of
from hw_mocks.room import Room
from hw_mocks.serial_scanner import SerialScanner
from hw_mocks.technicians import GONE, HANDS, Slips, Technician
from hw_mocks.world.ledger import ImpossibleError
from hw_mocks.world.world import World
from orchestrator.kernel.desks import Command, Console, Given
from orchestrator.kernel.errors import (
    ConfigurationRefusedError,
    NotAuthorisedError,
    ProcessError,
    RefusedError,
)
from orchestrator.kernel.identifiers import CommandId
from orchestrator.kernel.quantities import Duration
from orchestrator.virtual_time import ClockAuthority

CONTROL: Final = "room.sock"
WIRES: Final = "wires"

TCP_MODELS: Final = frozenset({"brooks_pf400", "highres_microspin", "moxa_iologik_e1213"})
"""Models that are network instruments; all others are serial."""

REQUEST_BYTES_MAX: Final = 65_536
_PEER: Final = struct.Struct("3i")  # process, user and group at the other end: unix(7)


class Terminal(Console, Protocol):
    """A console that people log in at."""

    async def login(self, user: str, password: str) -> str:
        """Return a session for a person."""
        ...

    async def aclose(self) -> None:
        """Hang up."""
        ...


@dataclass(frozen=True, slots=True)
class Hand:
    """One technician of the room: who they are to the daemon, and when they work."""

    login: str
    user: str
    secret: str
    is_on_duty: Callable[[float], bool] = lambda _: True


class SharedScreen:
    """One screen that all people in the room look at: their daemon is asked once.

    What it shows is never older than what any of them has done at it.
    """

    def __init__(self, terminal: Console) -> None:
        self._terminal = terminal
        self._done = -1
        self._latest: dict[str, Mapping[str, Any]] = {}
        self._asking: dict[str, asyncio.Task[Mapping[str, Any]]] = {}

    async def view(self, name: str, *, newer_than: int = -1, **arguments: str) -> Mapping[str, Any]:
        """Return a view that is newer than ``newer_than``."""
        assert not arguments, "the views of the room's people take no arguments"
        while True:
            latest = self._latest.get(name)
            if latest is not None and latest["version"] > max(newer_than, self._done - 1):
                return latest
            asking = self._asking.get(name)
            if asking is None:
                since = -1 if latest is None else max(int(latest["version"]), self._done - 1)
                asking = asyncio.create_task(self._terminal.view(name, newer_than=since))
                self._asking[name] = asking
            try:
                self._latest[name] = await asyncio.shield(asking)
            finally:
                if asking.done() and self._asking.get(name) is asking:
                    del self._asking[name]

    async def give(self, command: Command) -> Given:
        """Give a command."""
        given = await self._terminal.give(command)
        self._done = max(self._done, given.seq)
        return given

    async def close(self) -> None:
        """Look no more."""
        for asking in self._asking.values():
            asking.cancel()


def scanners_of(emulators: Mapping[str, Emulator]) -> dict[str, SerialScanner]:
    """Return the scanners among a room's instruments, by name."""
    return {name: one for name, one in emulators.items() if isinstance(one, SerialScanner)}


class Crew:
    """The people of the room. They find their screen again when the daemon comes back."""

    def __init__(
        self,
        world: World,
        emulators: Mapping[str, Emulator],
        hands: Sequence[Hand],
        *,
        clock: ClockAuthority,
        open_terminal: Callable[[Path], Terminal],
        slips: Slips,
        tasks: asyncio.TaskGroup,
        on_moment: OnMoment,
    ) -> None:
        self._hands = hands
        self._open_terminal = open_terminal
        self._tasks = tasks
        self._terminal: Terminal | None = None
        self._screen: SharedScreen | None = None
        self._known_at: Path | None = None
        scanners = scanners_of(emulators)
        scanning: set[str] = set()
        self._technicians = [
            Technician(
                name=hand.user,
                session="",
                console=None,
                world=world,
                room_began=clock.clock.utc(),
                scanners=scanners,
                secret=hand.secret,
                slips=slips,
                crew=scanning,
                is_on_duty=hand.is_on_duty,
                on_moment=on_moment,
            )
            for hand in hands
        ]

    async def find_terminal(self, console: Path) -> None:
        """Go to the screen at ``console``, and log in there if nobody has before."""
        await self.leave()
        terminal = self._terminal = self._open_terminal(console)
        begins = self._known_at is None
        try:
            for hand, technician in zip(self._hands, self._technicians, strict=True):
                technician.log_in = partial(terminal.login, hand.login, hand.secret)
                if console != self._known_at:
                    technician.session = await technician.log_in()
        except GONE:
            return  # the next daemon says where it is
        except NotAuthorisedError:
            return  # this daemon has people of its own, and these aren't among them
        self._known_at = console
        screen = self._screen = SharedScreen(terminal)
        for technician in self._technicians:
            technician.console = screen
            if begins:
                self._tasks.create_task(technician.work(), name=f"{technician.name} at work")

    async def leave(self) -> None:
        """Turn away from the screen."""
        if self._screen is not None:
            await self._screen.close()
        if self._terminal is not None:
            await self._terminal.aclose()


@dataclass(slots=True)
class _Kill:
    """A process that is ended when a moment has passed so many times more."""

    equipment: str
    moment: Moment
    passings: int
    pid: int
    hears: bytes
    after_s: float

    def is_due(self, equipment: str, moment: Moment, said: bytes) -> bool:
        """Take note of a moment; return whether it is the one that was waited for."""
        if (equipment, moment) != (self.equipment, self.moment) or self.hears not in said:
            return False
        self.passings -= 1
        return self.passings == 0


class WiredRoom:
    """One emulated cell behind its wires. Made by ``wired_room``."""

    def __init__(
        self, folder: Path, room: Room, *, clock: ClockAuthority, tasks: asyncio.TaskGroup
    ) -> None:
        self.crew: Crew | None = None
        self.world = room.world
        self.emulators = room.emulators
        self._folder = folder
        self._clock = clock
        self._tasks = tasks
        self._ports: list[PseudoTerminal] = []
        self._servers: list[TcpServer] = []
        self._passed: Counter[tuple[str, Moment]] = Counter()
        self._kills: list[_Kill] = []
        self._killed: list[dict[str, Any]] = []
        self._asked: Final[Mapping[str, Callable[[Mapping[str, Any]], Awaitable[Any]]]] = {
            "look": self._look,
            "ledger": self._ledger,
            "contents": self._contents,
            "advance": self._advance,
            "plant": self._plant,
            "press": self._press,
            "power_cycle": self._power_cycle,
            "terminal": self._find_terminal,
            "work": self._work,
            "scan": self._scan,
            "read": self._read,
        }
        for emulator in self.emulators.values():
            emulator.on_moment = self.note

    @property
    def wires(self) -> dict[str, str]:
        """Return where each instrument is reached, for people."""
        made = {line.name: f"serial:{line.link}" for line in self._ports}
        names = [name for name in self.emulators if name not in made]
        ports = (f"tcp:127.0.0.1:{server.port}" for server in self._servers)
        return made | dict(zip(names, ports, strict=True))

    async def connect(self) -> None:
        """Make the wire of each instrument.

        Raises:
            PortRefusedError: One can't be made.
        """
        wires = self._folder / WIRES
        wires.mkdir(mode=0o700, exist_ok=True)
        for left_over in wires.iterdir():
            left_over.unlink()
        for name, emulator in self.emulators.items():
            if emulator.model in TCP_MODELS:
                server = await serve_tcp(
                    0, emulator.serve, group=self._tasks, name=name, recorder=self._hear
                )
                self._servers.append(server)
                (wires / f"{name}.tcp").write_text(f"{server.port}\n", "ascii")
            else:
                line = open_pty(wires / name, name=name, recorder=self._hear)
                self._ports.append(line)
                self._tasks.create_task(emulator.serve(line), name=f"{name} on its line")

    async def disconnect(self) -> None:
        """Send people home, and take every wire away."""
        if self.crew is not None:
            await self.crew.leave()
        for server in self._servers:
            await server.close()
        for line in self._ports:
            await line.close()
        for left_over in (self._folder / WIRES).iterdir():
            left_over.unlink()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests on one connection of the control socket."""
        asks = _process_at_other_end(writer)
        try:
            while line := await reader.readline():
                answer = await self._answer(line, asks)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            return  # it hung up, or its line has no end
        finally:
            writer.close()

    async def _answer(self, line: bytes, asks: int) -> dict[str, Any]:
        request: Mapping[str, Any] = {}
        try:
            request = _request(line)
            if request["do"] == "kill_at":
                return self._kill_at(request, asks)
            ask = self._asked.get(str(request["do"]))
            if ask is None:
                known = ", ".join(sorted((*self._asked, "kill_at")))
                raise _refused(str(request["do"]), f"there is no such request; known: {known}")
            return await ask(request)
        except ProcessError as refused:
            return {"error": refused.as_record()}
        except ImpossibleError as impossible:
            return {"error": _refused(str(request["do"]), str(impossible)).as_record()}

    async def _look(self, request: Mapping[str, Any]) -> dict[str, Any]:
        del request
        self.world.catch_up()
        return {
            "at_s": self.world.now(),
            "joined": self._clock.is_joined,
            "digest": self.world.digest(),
            "moments": {f"{name} {moment}": n for (name, moment), n in self._passed.items()},
            "kills": list(self._killed),
        }

    async def _ledger(self, request: Mapping[str, Any]) -> dict[str, Any]:
        del request
        return {"ledger": ledger_of(self.world)}

    async def _contents(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = _text(request, "container")
        self.world.catch_up()
        contents = self.world.contents(name)
        return {
            "volume_mL": contents.volume_mL,
            "viable": contents.viable,
            "donors": self.world.donors_in(name),
            "label": self.world.label_of(name),
            "place": self.world.where(name),
        }

    async def _advance(self, request: Mapping[str, Any]) -> dict[str, Any]:
        seconds = request.get("seconds")
        if not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
            raise _refused("advance", "seconds must be a number that isn't negative")
        await self._clock.advance(Duration.of_base(round(seconds * 1000)))
        return {"at_s": self.world.now()}

    async def _plant(self, request: Mapping[str, Any]) -> dict[str, Any]:
        emulator = self._emulator(request)
        try:
            emulator.plant(Planted(_text(request, "fault")))
        except ValueError as unknown:
            raise _refused("plant", f"{unknown}; known: {', '.join(Planted)}") from unknown
        return {"planted": emulator.equipment}

    async def _press(self, request: Mapping[str, Any]) -> dict[str, Any]:
        emulator = self._emulator(request)
        try:
            emulator.press(_text(request, "key"))
        except ValueError as unknown:
            raise _refused("press", str(unknown)) from unknown
        return {"pressed": emulator.equipment}

    async def _power_cycle(self, request: Mapping[str, Any]) -> dict[str, Any]:
        emulator = self._emulator(request)
        emulator.power_cycle()
        return {"cycled": emulator.equipment}

    async def _find_terminal(self, request: Mapping[str, Any]) -> dict[str, Any]:
        console = Path(_text(request, "console"))
        if self.crew is not None:
            self._tasks.create_task(self.crew.find_terminal(console), name="people go to work")
        return {"terminal": str(console)}

    async def _work(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with _whole("work"):
            return {"values": self._person(request).work_by_hand(_object(request, "act"))}

    async def _scan(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with _whole("scan"):
            return {"scanned": await self._person(request).present(_object(request, "scan"))}

    async def _read(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with _whole("read"):
            return {"labels": self._person(request).read_off(_object(request, "act"))}

    def _person(self, request: Mapping[str, Any]) -> Technician:
        """Return somebody from outside, who has come into the room to use their hands."""
        self.world.catch_up()
        return Technician(
            name=_text(request, "by"),
            session="",
            console=None,
            world=self.world,
            room_began=self._clock.clock.utc(),
            scanners=scanners_of(self.emulators),
        )

    def _emulator(self, request: Mapping[str, Any]) -> Emulator:
        name = _text(request, "equipment")
        emulator = self.emulators.get(name)
        if emulator is None:
            known = ", ".join(self.emulators)
            raise _refused(str(request["do"]), f"there is no {name} here; known: {known}")
        return emulator

    # Kills ----------------------------------------------------------------------------------

    def _kill_at(self, request: Mapping[str, Any], asks: int) -> dict[str, Any]:
        equipment = _text(request, "equipment")
        if equipment != HANDS:
            equipment = self._emulator(request).equipment
        pid, count = request.get("pid"), request.get("count", 1)
        if not isinstance(pid, int) or not isinstance(count, int) or count < 1:
            raise _refused("kill_at", "pid and count must be whole numbers, count at least 1")
        after_s = request.get("after_s", 0)
        if not isinstance(after_s, int | float) or not 0 <= after_s < 1e9:
            raise _refused("kill_at", "after_s must be a number that isn't negative")
        try:
            moment = Moment(_text(request, "moment"))
        except ValueError as unknown:
            raise _refused("kill_at", f"{unknown}; known: {', '.join(Moment)}") from unknown
        hears = request.get("hears") if moment is Moment.HEARD else ""
        if not isinstance(hears, str):
            raise _refused("kill_at", "it lacks hears; an empty text is in all bytes")
        if asks != os.getppid() or pid == os.getpid() or _parent_of(pid) != asks:
            raise _refused(
                "kill_at", "only the process that started the room may name one that it started"
            )
        self._kills.append(_Kill(equipment, moment, count, pid, hears.encode(), after_s))
        return {"armed": f"{equipment} {moment}", "pid": pid}

    def note(self, equipment: str, moment: Moment, request: str) -> None:
        """Take note of a moment of an instrument, or of people's hands."""
        self._passed[equipment, moment] += 1
        self._look_for_kills(equipment, moment, request, b"")

    def _hear(self, line: str, way: Direction, data: bytes, trigger: CommandId | None) -> None:
        """Take note of what the host says on a line, be it an acting request or not."""
        del trigger
        if way is Direction.RECEIVED:
            self._look_for_kills(line, Moment.HEARD, data.decode("ascii", "replace"), data)

    def _look_for_kills(self, equipment: str, moment: Moment, request: str, said: bytes) -> None:
        for kill in [one for one in self._kills if one.is_due(equipment, moment, said)]:
            self._kills.remove(kill)
            if kill.after_s:
                loop = asyncio.get_running_loop()
                loop.call_later(kill.after_s, self._kill, kill, request)
            else:
                self._kill(kill, request)

    def _kill(self, kill: _Kill, request: str) -> None:
        if not _ended(kill.pid):
            return
        self._killed.append(
            {
                "pid": kill.pid,
                "equipment": kill.equipment,
                "moment": kill.moment.value,
                "request": request,
                "at_s": self.world.now(),
            }
        )


@asynccontextmanager
async def wired_room(
    folder: Path,
    room: Room,
    hands: Sequence[Hand],
    *,
    clock: ClockAuthority,
    open_terminal: Callable[[Path], Terminal],
    slips: Slips | None = None,
) -> AsyncGenerator[WiredRoom]:
    """Yield a room behind its wires, with its people and its control socket.

    Args:
        folder: The room's own, absolute; it exists.
        room: World and emulators, furnished.
        hands: Who works there.
        clock: The room's clock, whose loop this runs on.
        open_terminal: Makes a terminal of a daemon's console at a path. Its calls let no
            virtual time pass while bytes are under way.
        slips: What people get wrong.

    Raises:
        PortRefusedError: A wire can't be made.
        ConfigurationRefusedError: The control socket can't be made.
    """
    wired: WiredRoom | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            wired = WiredRoom(folder, room, clock=clock, tasks=tasks)
            wired.crew = Crew(
                room.world,
                room.emulators,
                hands,
                clock=clock,
                open_terminal=open_terminal,
                slips=slips or Slips(),
                tasks=tasks,
                on_moment=wired.note,
            )
            await wired.connect()
            server = await _listening(folder / CONTROL, wired.talk)
            try:
                yield wired
            finally:
                server.close()
                (folder / CONTROL).unlink(missing_ok=True)
            raise _Over
    except* _Over:
        pass  # how a room is left
    finally:
        if wired is not None:
            await wired.disconnect()


class _Over(Exception):  # noqa: N818 - it isn't an error
    """Ends a task group whose tasks never end by themselves."""


async def _listening(
    path: Path,
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> asyncio.Server:
    try:
        server = await asyncio.start_unix_server(talk, path, limit=REQUEST_BYTES_MAX)
        path.chmod(0o600)  # noqa: ASYNC240  a socket of this host: nothing to wait for
    except OSError as error:
        raise ConfigurationRefusedError(
            f"open the room's control socket {path}",
            why=error.strerror or str(error),
            do_next="Give a folder that exists, is ours to write and has a short path",
        ) from error
    return server


def _request(line: bytes) -> Mapping[str, Any]:
    try:
        request: object = json.loads(line)
    except ValueError as broken:
        raise _refused("a request", "it isn't one JSON object on a line") from broken
    if not isinstance(request, dict) or "do" not in request:
        raise _refused("a request", "it isn't an object with what to do in `do`")
    return cast("Mapping[str, Any]", request)


def _text(request: Mapping[str, Any], name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise _refused(str(request["do"]), f"it lacks {name}")
    return value


def _object(request: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value: object = request.get(name)
    if not isinstance(value, dict):
        raise _refused(str(request["do"]), f"it lacks {name}, an object")
    return cast("Mapping[str, Any]", value)


@contextmanager
def _whole(what: str) -> Generator[None]:
    """Refuse what stands for a task or a scan and lacks a part of one."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError) as wrong:
        raise _refused(what, f"it isn't as the console shows it ({wrong})") from wrong


def _refused(what: str, why: str) -> RefusedError:
    return RefusedError(
        f"ask the room for {what}", why=why, do_next="Correct the request, and send it again"
    )


def _process_at_other_end(writer: asyncio.StreamWriter) -> int:
    end: socket.socket = writer.get_extra_info("socket")
    told = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid, _, _ = _PEER.unpack(told)
    return pid


def _ended(pid: int) -> bool:
    """End a process, and return when it is dead and has hung up; False if it isn't ours to end.

    The room's own time stands still meanwhile: it doesn't go on by what the dead one had planned.
    """
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if _parent_of(pid) != os.getppid():
            return False  # it has ended, and the number may be another's by now
        signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [])
    finally:
        os.close(process)
    return True


def _parent_of(pid: int) -> int:
    """Return who started a process; 0 if there is none of that number, or it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
    except OSError:
        return 0
    state, parent, *_ = stat.rpartition(")")[2].split()
    return 0 if state in ("Z", "X") else int(parent)
