"""The loop that jumps, and the clock that a room drives.

``VirtualTimeLoop`` is an asyncio loop whose time is data: with nothing ready it goes to
the next timer instead of sleeping. ``asyncio.sleep``, ``asyncio.timeout`` and
``TaskGroup`` work unchanged. Time moves in whole microseconds, so that two loops that
were told the same time have the same time.

``RoomTimeLoop`` is the same loop for two processes, daemon and room, that meet over real
wires. One of them runs at a time. The daemon runs until it would sleep, then yields its
*turn*: its next wake-up and, for each wire, how many bytes it has written and read. The
room collects those bytes to the last one before it runs; when it would sleep too, it
gives the turn back if it has written anything, and else jumps both to the earlier
wake-up. So no jump can happen while a byte is under way, and who reads what and when
depends on nothing but the two programs.

Neither loop may be used where time is real: a thread that this loop didn't start, or
another program, knows nothing of virtual time (``standing_still`` is for those).
Follows design sections 2 (decision 8) and 9 (the room).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import select
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import Executor
from pathlib import Path
from types import CoroutineType, FrameType
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple, final

from orchestrator.kernel.errors import FailedError, RefusedError
from orchestrator.kernel.identifiers import BootId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

USUAL_START: Final = Instant.read("2026-01-05T08:00:00.000000Z")
USUAL_BOOT: Final = BootId("00000000-0000-4000-8000-000000000001")

_US_PER_S: Final = 1_000_000
_ROUNDING_US: Final = 0.01  # what float arithmetic may add to a wake-up after years of seconds
_RESOLUTION_S: Final = 1e-7  # timers this near to the present are due; above any rounding
_GLANCE_EVERY: Final = 64  # turns between looks at the self-pipe when nothing else is open

_Events = list[tuple[selectors.SelectorKey, int]]


class StuckError(AssertionError):
    """Every task waits and no timer is set: the simulation can't go on. A mistake of ours."""


class RoomLostError(FailedError):
    """The room's process ended while the daemon ran on its clock."""

    code = "failed.room-lost"


class RoomRefusedError(RefusedError):
    """A room isn't there, is taken, or can't be made where it was wanted. Nothing happened."""

    code = "refused.room"


class _JumpingSelector(selectors.EpollSelector):
    """A selector that leaves waiting to its loop."""

    wait: Callable[[float | None], _Events]

    def select(self, timeout: float | None = None) -> _Events:
        return self.wait(timeout)

    def poll(self, timeout: float | None) -> _Events:
        """Wait on the real files, in real time."""
        return super().select(timeout)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that goes to the next timer instead of sleeping.

    With real files open (a pipe, a socket) it looks at them before each jump; bytes that
    come later than that come at a later virtual time. Work handed to
    ``run_in_executor`` takes no virtual time: the clock stands still until it is done.

    Raises:
        StuckError: From ``run_until_complete``, if every task waits, no timer is set and
            nothing outside can wake one.
    """

    _clock_resolution: float
    _ready: deque[asyncio.Handle]

    def __init__(self, *, start: Instant = USUAL_START, boot: BootId = USUAL_BOOT) -> None:
        """Make a loop at time zero.

        Args:
            start: What the wall clock shows at time zero.
            boot: The boot that ``boottime`` counts from.
        """
        self._now_us = 0
        self._now_s = 0.0
        self._held = 0
        self._turns = 0
        self._jumping = _JumpingSelector()
        self._jumping.wait = self._wait
        super().__init__(self._jumping)
        self._clock_resolution = _RESOLUTION_S
        self._without_files = len(self._jumping.get_map())
        self.clock: VirtualClock = VirtualClock(self, start, boot=boot)

    def time(self) -> float:
        """Return the seconds of virtual time since the loop was made."""
        return self._now_s

    @property
    def time_us(self) -> int:
        """The same in whole microseconds."""
        return self._now_us

    @contextlib.contextmanager
    def standing_still(self) -> Generator[None]:
        """Let no virtual time pass inside: something real is awaited here."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Run ``func`` in a worker; the clock stands still until it is done."""
        working = super().run_in_executor(executor, func, *args)
        self._held += 1
        working.add_done_callback(self._release)
        return working

    async def shutdown_default_executor(self, *timeout: float) -> None:
        """Wait, in real time, until the workers have ended."""
        ended: Any = super().shutdown_default_executor
        with self.standing_still():
            await ended(*timeout)  # Python 3.12 says how long at most

    def _release(self, _done: asyncio.Future[Any]) -> None:
        self._held -= 1

    def _set_now(self, now_us: int) -> None:
        self._now_us = now_us
        self._now_s = now_us / _US_PER_S

    def _wake_us(self, timeout: float) -> int:
        wake_us = math.ceil((self._now_s + timeout) * _US_PER_S - _ROUNDING_US)
        return max(wake_us, self._now_us)

    def _has_files(self) -> bool:
        return len(self._jumping.get_map()) > self._without_files

    def _wait(self, timeout: float | None) -> _Events:
        """Stand in for the selector: what happens when the loop would look or sleep."""
        self._turns += 1
        events: _Events = []
        if self._has_files() or self._turns % _GLANCE_EVERY == 0:
            events = self._jumping.poll(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self._held or (timeout is None and self._has_files()):
            return self._jumping.poll(None)
        if timeout is None:
            raise StuckError(_stuck("no timer is set", asyncio.all_tasks(self)))
        self._set_now(self._wake_us(timeout))
        return events


class VirtualClock:
    """What a virtual or room loop shows on its clocks. Implements ``Clock``."""

    def __init__(self, loop: VirtualTimeLoop, start: Instant, *, boot: BootId = USUAL_BOOT) -> None:
        """Show ``start`` at the loop's time zero."""
        self._loop = loop
        self._start_us = start.micros
        self._booted_us = 0
        self._boot = boot
        self.is_synchronised = True
        self.stated_offset = Duration.of_base(0)

    def utc(self) -> Instant:
        """Return ``start`` and the loop's time since."""
        return Instant.of_micros(self._start_us + self._loop.time_us)

    def boottime(self) -> Duration:
        """Return the whole milliseconds since the boot."""
        return Duration.of_base((self._loop.time_us - self._booted_us) // 1_000)

    def boot(self) -> BootId:
        """Return the boot that was given."""
        return self._boot

    def offset(self) -> Duration | None:
        """Return ``stated_offset``, none until it is set; None while ``is_synchronised`` isn't."""
        return self.stated_offset if self.is_synchronised else None

    def reboot(self, boot: BootId) -> None:
        """Count boot time from now, as a host does that was switched off and on."""
        self._boot = boot
        self._booted_us = self._loop.time_us

    def step(self, by: Duration) -> None:
        """Set the wall clock on, or back if negative; boot time doesn't notice."""
        self._start_us += by.base * 1_000

    def suspend(self, lasting: Duration) -> None:
        """Let time go on while the loop's own clock stands, as in a host's suspend.

        Only for a loop by itself: a room would know nothing of it.
        """
        self._start_us += lasting.base * 1_000
        self._booted_us -= lasting.base * 1_000

    def as_told(self) -> bytes:
        """Return what a daemon needs to show the same."""
        offset_ms = self.stated_offset.base
        head = _CLOCK.pack(self._start_us, self._booted_us, self.is_synchronised, offset_ms)
        return head + self._boot.encode()

    def take_over(self, told: bytes) -> None:
        """Show what another loop's clock shows, by its ``as_told``."""
        self._start_us, self._booted_us, self.is_synchronised, ms = _CLOCK.unpack_from(told)
        self.stated_offset = Duration.of_base(ms)
        self._boot = BootId(told[_CLOCK.size :].decode())


def virtual_clock() -> VirtualClock:
    """Return the clock of the running virtual or room loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop), "this loop runs on real time: give a SystemClock"
    return loop.clock


@contextlib.contextmanager
def standing_still() -> Generator[None]:
    """Let no virtual time pass inside, whatever the loop; nothing to do on a real one."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, VirtualTimeLoop):
        with loop.standing_still():
            yield
    else:
        yield


def run_in_virtual_time(
    main: Coroutine[Any, Any, T],
    *,
    start: Instant = USUAL_START,
    boot: BootId = USUAL_BOOT,
) -> T:
    """Run ``main`` on a loop of its own that jumps, and return its result.

    An exception in a callback, which asyncio would only log, is raised at the end.

    Raises:
        StuckError: Every task waits and no timer is set.
    """
    return _run_on(VirtualTimeLoop(start=start, boot=boot), main)


def _run_on(loop: VirtualTimeLoop, main: Coroutine[Any, Any, T]) -> T:
    swallowed: list[BaseException] = []

    def keep(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        problem = context.get("exception")
        if isinstance(problem, asyncio.CancelledError):
            return  # a server's connection that was open when the loop ended (Python 3.11)
        if isinstance(problem, BaseException):
            swallowed.append(problem)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(keep)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(main)
    if swallowed:
        raise swallowed[0]
    return result


def _stuck(why: str, tasks: Iterable[asyncio.Task[Any]]) -> str:
    waiting = sorted(_where(task) for task in tasks)
    return f"the simulation is stuck: {why}. Waiting: {'; '.join(waiting) or 'nothing'}"


def _where(task: asyncio.Task[Any]) -> str:
    """Return the name of ``task`` and the innermost line that it waits on."""
    coroutine: Any = task.get_coro()
    while isinstance(inner := getattr(coroutine, "cr_await", None), CoroutineType):
        coroutine = inner  # pyright: ignore[reportUnknownVariableType]
    frame: FrameType | None = getattr(coroutine, "cr_frame", None)
    if frame is None:
        return task.get_name()
    code = frame.f_code
    return f"{task.get_name()} in {code.co_qualname} ({code.co_filename}:{frame.f_lineno})"


# --------------------------------------------------------------------------------------
# Wires and their counts


@final
class WireCount:
    """What one side knows of one wire: bytes written and read, and whether it is closed."""

    __slots__ = ("closed", "name", "outlives", "read", "written")

    def __init__(self, name: str) -> None:
        """Start from nothing written and nothing read."""
        self.name = name
        self.written = 0  # handed to send(), whether or not the system has taken it yet
        self.read = 0
        self.closed = False  # here; a socket closes when it sees that the other end has
        self.outlives = False  # a pseudo-terminal stays open when the other end closes

    def start_anew(self) -> None:
        """Forget the counts: another daemon is on the other side."""
        self.written = 0
        self.read = 0


class Wire(Protocol):
    """One end of a real wire, as the room's clock handles it.

    None of the methods may run anybody's code but its own: bytes are taken in by
    ``collect`` at any time, and handed on by ``deliver`` when it is this side's turn.
    """

    def fileno(self) -> int:
        """Return the file that becomes readable when there is something to collect."""
        ...

    def collect(self) -> None:
        """Take in all bytes that have come, without waking anybody."""
        ...

    def deliver(self) -> None:
        """Wake who waits for what was collected, if anything was."""
        ...

    def flush(self) -> None:
        """Give the system what it hadn't taken of the bytes sent."""
        ...

    def is_over(self) -> bool:
        """Collect, and return whether the other end is closed and all it wrote is here."""
        ...


class WireCounts:
    """All wires of one process that runs on a room's clock. Transports register here."""

    def __init__(self) -> None:
        """Start without wires."""
        self._poll = select.epoll()
        self._wires: dict[int, Wire] = {}
        self._counts: dict[str, WireCount] = {}
        self._by_name: dict[str, Wire] = {}

    def open(self, name: str, wire: Wire) -> WireCount:
        """Watch ``wire`` and return its counts, going on from the last opening's.

        Args:
            name: The same word on both sides: a path, or both ends of a connection.
            wire: The end that was opened.
        """
        count = self.expect(name)
        count.closed = False
        self._by_name[name] = wire
        self._wires[wire.fileno()] = wire
        self._poll.register(wire.fileno(), select.EPOLLIN)
        return count

    def expect(self, name: str) -> WireCount:
        """Count ``name`` from before it is open, so that the other side waits for it."""
        return self._counts.setdefault(name, WireCount(name))

    def watch(self, wire: Wire, *, writable: bool) -> None:
        """Say whether ``flush`` is to be called when the system takes bytes again."""
        mask = select.EPOLLIN | (select.EPOLLOUT if writable else 0)
        self._poll.modify(wire.fileno(), mask)

    def unwatch(self, wire: Wire) -> None:
        """Watch the wire no more: nothing will come. Its counts stay."""
        if self._wires.pop(wire.fileno(), None) is not None:
            self._poll.unregister(wire.fileno())

    def counts(self) -> list[WireCount]:
        """Return the counts of all wires, in the order of their first opening."""
        return list(self._counts.values())

    def forget(self, name: str) -> None:
        """Drop the counts of a wire that won't come back."""
        self._counts.pop(name, None)
        self._by_name.pop(name, None)

    def find(self, name: str) -> WireCount | None:
        """Return the counts of one wire, or None if it was never opened here."""
        return self._counts.get(name)

    def deliver(self, names: Iterable[str]) -> None:
        """Hand on what was collected, in the order of ``names``."""
        for name in names:
            wire = self._by_name.get(name)
            if wire is not None:
                wire.deliver()

    def deliver_all(self) -> None:
        """Hand on what was collected, in the order of the wires' first opening."""
        self.deliver(list(self._counts))

    def is_over(self, name: str) -> bool:
        """Return whether the other end of a wire is closed and all it wrote is collected."""
        wire = self._by_name.get(name)
        return wire is None or wire.is_over()

    def fileno(self) -> int:
        """Return the file that is readable when any wire, or the clock, has something."""
        return self._poll.fileno()

    def add_clock(self, file: int) -> None:
        """Watch the other side's clock messages together with the wires."""
        self._poll.register(file, select.EPOLLIN)

    def remove_clock(self, file: int) -> None:
        """Watch them no more."""
        self._poll.unregister(file)

    def wait(self, timeout_s: float | None) -> bool:
        """Collect and flush what is there, in real time; return whether anything was."""
        events = self._poll.poll(timeout_s)
        for file, event in events:
            wire = self._wires.get(file)
            if wire is None:
                continue
            if event & select.EPOLLOUT:
                wire.flush()
            if event & ~select.EPOLLOUT:
                wire.collect()
        return bool(events)

    def close(self) -> None:
        """Stop watching."""
        self._poll.close()


class _Pacer(Protocol):
    """Who decides when a room loop that would sleep goes on."""

    def wait(self, wake_us: int | None) -> _Events: ...

    def look(self) -> None: ...

    def close(self) -> None: ...


class RoomTimeLoop(VirtualTimeLoop):
    """A loop whose time is moved by, or together with, another process over real wires.

    Made by ``run_room`` in the room and by ``run_on_room_clock`` in the daemon.
    """

    def __init__(self, *, start: Instant = USUAL_START, boot: BootId = USUAL_BOOT) -> None:
        """Make a loop at time zero, not yet paced by anybody."""
        super().__init__(start=start, boot=boot)
        self.wires = WireCounts()
        self.pacer: _Pacer | None = None
        self._jumping.register(self.wires.fileno(), selectors.EVENT_READ, self.wires)
        self._own = {self.wires.fileno()}

    @property
    def is_ready(self) -> bool:
        """Whether a callback waits to be run."""
        return bool(self._ready)

    @property
    def is_held(self) -> bool:
        """Whether something real is awaited, so that no time may pass."""
        return self._held > 0

    def set_time(self, now_us: int) -> None:
        """Go on to ``now_us``. For its pacer."""
        assert now_us >= self._now_us, f"room time went back: {self._now_us} to {now_us} us"
        self._set_now(now_us)

    def watch(self, file: int) -> None:
        """Watch a file of the pacer's among those that aren't the program's."""
        self._jumping.register(file, selectors.EVENT_READ, self)
        self._own.add(file)

    def outside(self, timeout_s: float | None) -> _Events:
        """Wait in real time; take in bytes and clock messages; return the program's events."""
        events = self._jumping.poll(timeout_s)
        if not events:
            return events
        theirs: _Events = []
        ours = False
        for event in events:
            if event[0].fd in self._own:
                ours = True
            else:
                theirs.append(event)
        if ours:
            self.wires.wait(0)
            if self.pacer is not None:
                self.pacer.look()
        return theirs

    def _wait(self, timeout: float | None) -> _Events:
        pacer = self.pacer
        assert pacer is not None, "a room loop runs only with somebody who moves its time"
        events = self.outside(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        return pacer.wait(None if timeout is None else self._wake_us(timeout))

    def close(self) -> None:
        """Close the loop, its wires' poll and its part of the clock."""
        if not self.is_closed():
            if self.pacer is not None:
                self.pacer.close()
            self._jumping.unregister(self.wires.fileno())
            self.wires.close()
        super().close()


# --------------------------------------------------------------------------------------
# What the two sides tell each other, one message each on a socket that keeps messages whole

_JOIN, _WELCOME, _REFUSED, _PATIENCE = b"J", b"W", b"X", b"P"
_NAME, _YIELD, _ASK, _GO = b"N", b"Y", b"A", b"G"
_ADVANCE, _TELL, _NOW = b"V", b"?", b"="

_VERSION: Final = 3
_MESSAGE_MAX: Final = 65_536
_TURN: Final = struct.Struct("!cQqBH")  # kind, turn, wake-up or time, held, wires that follow
_WIRE: Final = struct.Struct("!HQQB")  # index, written, read, closed
_NUMBER: Final = struct.Struct("!cQ")
_WELCOMED: Final = struct.Struct("!cQ")  # kind, room's time; the room's clock follows
_PEER: Final = struct.Struct("3i")  # process, user and group at the other end: unix(7)
_CLOCK: Final = struct.Struct("!qq?Q")  # wall clock at time zero, boot, synchronised, offset
_STALL_S: Final = 10.0
_STALLED_S: Final = 3.0
"""A turn takes milliseconds; who has had it for so long is said to stall."""
_LEAVING_S: Final = 1.0
_GLANCE_S: Final = 0.001
_HELLO_S: Final = 1.0
_ANSWER_S: Final = 15.0
"""How long a room may take to say anything at all to who calls it: it is at rest or jumping."""


class _Reported:
    """What the other side last said of one wire, and what we last said of it."""

    __slots__ = ("closed", "name", "read", "said", "written")

    def __init__(self, name: str) -> None:
        self.name = name
        self.written = 0
        self.read = 0
        self.closed = False
        self.said: tuple[int, int, bool] = (0, 0, False)

    def hear(self, written: int, read: int, *, closed: bool) -> None:
        self.written = written
        self.read = read
        self.closed = closed


class _Shared:
    """The wires that both sides know, in the order in which the daemon opened them."""

    def __init__(self, wires: WireCounts) -> None:
        self.wires = wires
        self.known: list[_Reported] = []

    def changes(self) -> bytes:
        """Return what is new on our side since it was last told, and count it as told."""
        told: list[bytes] = []
        for index, reported in enumerate(self.known):
            own = self.wires.find(reported.name)
            if own is None:
                continue
            now = (own.written, own.read, own.closed)
            if now != reported.said:
                reported.said = now
                told.append(_WIRE.pack(index, *now))
        return b"".join(told)

    def has_news(self) -> bool:
        """Return whether our side has written or closed since it last told."""
        for reported in self.known:
            own = self.wires.find(reported.name)
            if own is not None and (
                own.written != reported.said[0] or own.closed != reported.said[2]
            ):
                return True
        return False

    def hear(self, message: bytes) -> None:
        """Take over the wires that follow the head of a turn."""
        told: Iterable[tuple[int, int, int, int]] = _WIRE.iter_unpack(message[_TURN.size :])
        for index, written, read, closed in told:
            self.known[int(index)].hear(written, read, closed=bool(closed))

    def missing(self) -> list[str]:
        """Return, in words, each wire on which bytes or an end are still under way to us."""
        words: list[str] = []
        for reported in self.known:
            own = self.wires.find(reported.name)
            if not _has_settled(reported, own):
                read = own.read if own is not None else "nothing: it isn't open here"
                words.append(f"{reported.name} (written {reported.written}, read {read})")
        return words

    def settled(self) -> bool:
        """Return whether nothing is under way to us."""
        return all(_has_settled(wire, self.wires.find(wire.name)) for wire in self.known)

    def waits_only_for_openings(self) -> bool:
        """Return whether all that is under way is on wires that aren't open here yet."""
        owns = ((wire, self.wires.find(wire.name)) for wire in self.known)
        return all(own is None or _has_settled(wire, own) for wire, own in owns)

    def lost(self) -> list[str]:
        """Return, in words, each wire on which the other side missed bytes of ours."""
        words: list[str] = []
        for reported in self.known:
            own = self.wires.find(reported.name)
            if own is None or own.closed or reported.closed:
                continue
            if own.written != reported.read:
                words.append(f"{reported.name} (written {own.written}, read {reported.read})")
        return words

    def tidy(self) -> list[str]:
        """Forget the counts of connections that both sides have closed; return their names."""
        gone: list[str] = []
        for reported in self.known:
            own = self.wires.find(reported.name)
            if own is not None and own.closed and reported.closed and reported.said[2]:
                self.wires.forget(reported.name)
                gone.append(reported.name)
        return gone

    def deliver(self) -> None:
        """Hand on what was collected, in the daemon's order of opening, then the rest."""
        self.wires.deliver([reported.name for reported in self.known])
        self.wires.deliver_all()


def _has_settled(reported: _Reported, own: WireCount | None) -> bool:
    if own is None:
        return reported.closed
    if own.closed:
        return True
    if reported.closed and not own.outlives:
        return False
    return own.read == reported.written


def _receive(end: socket.socket) -> bytes | None:
    """Return the next message, b"" if the other side is gone, None if there is none now."""
    try:
        return end.recv(_MESSAGE_MAX, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""


# --------------------------------------------------------------------------------------
# The room's side


class _Daemon:
    """The daemon that is joined, as the room sees it."""

    def __init__(self, end: socket.socket, wires: WireCounts) -> None:
        self.end = end
        self.shared = _Shared(wires)
        self.turn = 0
        self.runs = True  # it has the turn
        self.runs_since_s = time.monotonic()
        self.asks = False  # it wants the turn: something outside has come to it
        self.is_held = False
        self.wake_us: int | None = None


class ClockAuthority:
    """Moves the time of a room and of the daemon that is joined to it.

    Without a daemon the room stands still, unless it is told to ``advance``.
    """

    def __init__(self, loop: RoomTimeLoop, path: Path, *, pace: float | None = None) -> None:
        """Listen at ``path`` for one daemon, and for requests to advance.

        Args:
            loop: The room's.
            path: Where daemons join.
            pace: How many times faster than real time it goes with a daemon; None to jump.

        Raises:
            RoomRefusedError: The socket can't be made there, or another room
                listens there.
        """
        self._loop = loop
        self._path = path
        self._daemon: _Daemon | None = None
        self._waiting: list[socket.socket] = []  # joins that wait for an advance to end
        self._leaving: list[str] = []  # wires of a daemon that is gone
        self._leaving_until_s = 0.0
        self._advance_to_us: int | None = None
        self._advanced: Callable[[], None] = _nothing
        self._pace = pace
        self._paced_from = (0.0, 0)  # real seconds and room's microseconds at the same moment
        self.jumps = 0
        self._listener = _listen(path)
        loop.watch(self._listener.fileno())
        self._callers = select.epoll()  # the daemon that has the turn, and who wants to be one
        self._callers.register(self._listener.fileno(), select.EPOLLIN)
        self._callers.register(loop.wires.fileno(), select.EPOLLIN)
        loop.pacer = self

    @property
    def clock(self) -> VirtualClock:
        """The room's clock, which a joined daemon shares."""
        return self._loop.clock

    @property
    def is_joined(self) -> bool:
        """Whether a daemon runs on this room's clock now."""
        return self._daemon is not None

    async def advance(self, duration: Duration) -> None:
        """Let the room go on alone for ``duration``.

        Raises:
            RefusedError: A daemon is joined, or another advance isn't over. No time
                passed.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._advance(duration.base * 1_000, lambda: done.cancelled() or done.set_result(None))
        await done

    def _advance(self, by_us: int, advanced: Callable[[], Any]) -> None:
        if self._daemon is not None or self._advance_to_us is not None:
            raise RefusedError(
                f"advance the room by {by_us / _US_PER_S} s",
                why="a daemon is joined to it"
                if self._daemon is not None
                else "it is advancing already",
                do_next="Stop the daemon first"
                if self._daemon is not None
                else "Wait until that is over",
            )
        self._advance_to_us = self._loop.time_us + by_us
        self._advanced = advanced

    # Called by the loop

    def wait(self, wake_us: int | None) -> _Events:
        """Return when the room's loop has something to do."""
        loop = self._loop
        while not loop.is_ready and (wake_us is None or loop.time_us < wake_us):
            daemon = self._daemon
            if daemon is None:
                events = self._alone(wake_us)
            elif daemon.runs:
                events = self._until_it_yields(daemon)
            elif not daemon.shared.settled():
                events = self._collect(daemon)
            else:
                daemon.shared.deliver()
                events = loop.outside(0)
                if not events and not loop.is_ready and self._daemon is daemon:
                    events = self._together(daemon, wake_us)
            if events:
                return events
        return []

    def look(self) -> None:
        """Take in what has come from a daemon, and from those who want to be one."""
        daemon = self._daemon
        while daemon is not None and self._daemon is daemon and self._hear(daemon):
            pass
        self._greet_all()
        if self._daemon is None and not self._leaving:
            self._loop.wires.deliver_all()

    def close(self) -> None:
        """Stop listening, and let a joined daemon know."""
        if self._daemon is not None:
            self._loop.wires.remove_clock(self._daemon.end.fileno())
            self._daemon.end.close()
            self._daemon = None
        for end in self._waiting:
            end.close()
        self._callers.close()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    # Alone

    def _alone(self, wake_us: int | None) -> _Events:
        """Stand still, or go on towards the end of an advance."""
        loop = self._loop
        if self._leaving:
            self._see_off()
        elif self._advance_to_us is None and self._waiting:
            self._join(self._waiting.pop(0))
        elif self._advance_to_us is None or loop.is_held:
            return loop.outside(None)
        elif loop.time_us >= self._advance_to_us:
            self._advance_to_us = None
            self._advanced()
        else:
            due = wake_us is not None and wake_us <= self._advance_to_us
            loop.set_time(wake_us if due and wake_us is not None else self._advance_to_us)
            self.jumps += 1
        return []

    def _see_off(self) -> None:
        """Take in the last bytes of a daemon that is gone, up to the end of each wire."""
        wires = self._loop.wires
        while not all(wires.is_over(name) for name in self._leaving):
            if time.monotonic() > self._leaving_until_s:
                break  # a process that it started still has the wire open
            wires.wait(_GLANCE_S)
        self._leaving = []
        wires.deliver_all()

    # With a daemon

    def _until_it_yields(self, daemon: _Daemon) -> _Events:
        wires = self._loop.wires
        while self._daemon is daemon and daemon.runs:
            files = [file for file, _ in self._callers.poll()]
            if wires.fileno() in files:
                wires.wait(0)
                self._hear(daemon)
            if self._listener.fileno() in files:
                self._greet_all()  # who calls is answered now: the daemon may run for ever
        return []

    def _collect(self, daemon: _Daemon) -> _Events:
        """Take in the bytes that the daemon says it wrote; accept what it opened."""
        loop, shared = self._loop, daemon.shared
        deadline_s = time.monotonic() + _STALL_S
        while self._daemon is daemon and not shared.settled():
            events = loop.outside(max(0.0, deadline_s - time.monotonic()))
            if not events and daemon.asks and shared.waits_only_for_openings():
                events = loop.outside(0)  # a connection that was made has come by now
                if not events:
                    self._go(daemon)
                    return []
            if events or loop.is_ready:
                return events
            if time.monotonic() >= deadline_s:
                raise StuckError(f"the room waits for bytes: {'; '.join(shared.missing())}")
        return []

    def _together(self, daemon: _Daemon, wake_us: int | None) -> _Events:
        """Both would sleep and nothing is under way: give the turn back, or jump."""
        loop = self._loop
        if daemon.shared.has_news() or daemon.asks:
            self._go(daemon)
            return []
        wakes = [wake for wake in (wake_us, daemon.wake_us) if wake is not None]
        if loop.is_held or daemon.is_held or not wakes:
            return loop.outside(None)
        if lost := daemon.shared.lost():
            raise StuckError(f"bytes that the room wrote were never read: {'; '.join(lost)}")
        due_us = max(loop.time_us, min(wakes))
        if self._pace is not None and loop.time_us < due_us:
            events = self._keep_pace(self._pace, due_us)
            if events or loop.time_us < due_us or self._daemon is not daemon:
                return events
        loop.set_time(due_us)
        self.jumps += 1
        if wake_us is None or loop.time_us < wake_us:  # at the same moment the room goes first
            self._go(daemon)
        return []

    def _keep_pace(self, pace: float, due_us: int) -> _Events:
        """Sleep until a moment is due in real time, or until something comes from outside."""
        loop = self._loop
        real_s, room_us = self._paced_from
        now_us = room_us + round((time.monotonic() - real_s) * pace * _US_PER_S)
        if now_us >= due_us:
            events: _Events = []
        else:
            events = loop.outside((due_us - now_us) / (pace * _US_PER_S))
            now_us = room_us + round((time.monotonic() - real_s) * pace * _US_PER_S)
        loop.set_time(min(due_us, max(loop.time_us, now_us)))
        return events

    def _go(self, daemon: _Daemon) -> None:
        """Give the daemon the turn, at the room's present time."""
        daemon.shared.tidy()
        changes = daemon.shared.changes()
        head = _TURN.pack(_GO, daemon.turn + 1, self._loop.time_us, 0, len(changes) // _WIRE.size)
        daemon.turn += 1
        daemon.runs = True
        daemon.runs_since_s = time.monotonic()
        daemon.asks = False
        try:
            daemon.end.send(head + changes)
        except ConnectionError:
            self._leave(daemon)

    def _hear(self, daemon: _Daemon) -> bool:
        """Take one message of the daemon's; return whether there was one."""
        message = _receive(daemon.end)
        if message is None:
            return False
        kind = message[:1]
        if kind == _NAME:
            daemon.shared.known.append(_Reported(message[1:].decode()))
        elif kind == _YIELD:
            _, turn, wake_us, held, _ = _TURN.unpack_from(message)
            assert daemon.runs, "the daemon yielded a turn that it hadn't"
            assert turn == daemon.turn, "the daemon yielded a turn of long ago"
            daemon.shared.hear(message)
            daemon.wake_us = None if wake_us < 0 else wake_us
            daemon.is_held = bool(held)
            daemon.runs = False
        elif kind == _ASK:
            daemon.asks = daemon.asks or not daemon.runs
        else:
            self._leave(daemon)
        return True

    def _leave(self, daemon: _Daemon) -> None:
        """The daemon is gone, perhaps killed: stand still at the present time."""
        wires = self._loop.wires
        wires.remove_clock(daemon.end.fileno())
        daemon.end.close()
        self._daemon = None
        self._leaving = [reported.name for reported in daemon.shared.known]
        self._leaving_until_s = time.monotonic() + _LEAVING_S

    # Newcomers

    def _greet_all(self) -> None:
        while True:
            try:
                end, _ = self._listener.accept()
            except BlockingIOError:
                return
            self._greet(end)

    def _greet(self, end: socket.socket) -> None:
        end.settimeout(_HELLO_S)
        try:
            message = end.recv(_MESSAGE_MAX)
        except (TimeoutError, ConnectionError):
            message = b""
        kind = message[:1]
        if kind == _JOIN and len(message) == _NUMBER.size:
            self._greet_daemon(end, version=_NUMBER.unpack(message)[1])
        elif kind == _ADVANCE and len(message) == _NUMBER.size:
            try:
                self._advance(_NUMBER.unpack(message)[1], lambda: self._tell_now(end))
                _ask_for_patience(end)
            except RefusedError as refused:
                _refuse(end, refused.why)
        elif kind == _TELL:
            self._tell_now(end)
        else:
            _refuse(end, "it said nothing that a room understands")

    def _greet_daemon(self, end: socket.socket, *, version: int) -> None:
        if version != _VERSION:
            _refuse(end, f"the room speaks version {_VERSION}, the daemon {version}")
        elif self._daemon is not None or self._waiting:
            _refuse(end, f"another daemon is joined to it{self._who_and_how_long()}")
        else:
            self._waiting.append(end)
            _ask_for_patience(end)

    def _who_and_how_long(self) -> str:
        """Return which process is joined, and that it has had the turn for suspiciously long."""
        daemon = self._daemon
        end = self._waiting[0] if daemon is None else daemon.end
        pid, _, _ = _PEER.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        named = f", process {pid}"
        if daemon is None or not daemon.runs:
            return named
        had_s = time.monotonic() - daemon.runs_since_s
        if had_s < _STALLED_S:
            return named
        return f"{named}, which has had the turn for {had_s:.0f} s without a word"

    def _join(self, end: socket.socket) -> None:
        """Give the newcomer the room's present time, and the turn."""
        loop = self._loop
        for count in loop.wires.counts():
            if count.closed:
                loop.wires.forget(count.name)
            else:
                count.start_anew()
        end.setblocking(True)
        try:
            end.send(_WELCOMED.pack(_WELCOME, loop.time_us) + loop.clock.as_told())
        except ConnectionError:
            end.close()
            return
        loop.wires.add_clock(end.fileno())
        self._daemon = _Daemon(end, loop.wires)
        self._paced_from = (time.monotonic(), loop.time_us)

    def _tell_now(self, end: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            end.send(_NUMBER.pack(_NOW, self._loop.time_us))
        end.close()


def _nothing() -> None:
    """Do nothing: nobody waits for the end of an advance."""


def _ask_for_patience(end: socket.socket) -> None:
    """Tell a caller that it was heard, and is answered when the room has advanced."""
    with contextlib.suppress(ConnectionError):  # it gave up: seen when it is answered
        end.send(_PATIENCE)


def _refuse(end: socket.socket, why: str) -> None:
    with contextlib.suppress(ConnectionError):
        end.send(_REFUSED + why.encode())
    end.close()


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            listener.connect(str(path))
            raise RoomRefusedError(
                f"room clock at {path}",
                why="another room listens there",
                do_next="Stop that room, or give this one another folder",
            )
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen(4)
    except OSError as error:
        listener.close()
        raise RoomRefusedError(
            f"room clock at {path}",
            why=error.strerror or str(error),
            do_next="Give a folder that exists, is ours to write and has a short path",
        ) from error
    except RoomRefusedError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


# --------------------------------------------------------------------------------------
# The daemon's side


def _call(path: Path, message: bytes, what: str) -> tuple[socket.socket, bytes]:
    """Send the first message to a room and return its answer.

    A room that asks for patience is waited for as long as it advances.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        end.settimeout(_ANSWER_S)
        end.connect(str(path))
        end.send(message)
        answer = end.recv(_MESSAGE_MAX)
        end.settimeout(None)
        if answer[:1] == _PATIENCE:
            answer = end.recv(_MESSAGE_MAX)
    except TimeoutError as silent:
        end.close()
        raise RoomRefusedError(
            what,
            why=f"the room said nothing for {_ANSWER_S:.0f} s",
            do_next="Look what the room's process does; end it and start the room again",
        ) from silent
    except OSError as error:
        end.close()
        absent = isinstance(error, FileNotFoundError | ConnectionRefusedError)
        raise RoomRefusedError(
            what,
            why="no room listens there" if absent else error.strerror or str(error),
            do_next="Start the room first with `cellwright room`, and name its folder",
        ) from error
    except BaseException:
        end.close()
        raise
    if answer[:1] in (_REFUSED, b""):
        end.close()
        raise RoomRefusedError(
            what,
            why=answer[1:].decode() or "the room ended",
            do_next="Stop the other daemon, or start the room again",
        )
    return end, answer


class RoomClock:
    """The daemon's part of a room's clock: takes turns with the room. Implements ``Clock``."""

    def __init__(self, loop: RoomTimeLoop, path: Path) -> None:
        """Join the room that listens at ``path`` and take over its present time.

        Waits while the room advances.

        Raises:
            RoomRefusedError: No room listens there.
            RefusedError: Another daemon is joined to it.
        """
        self._loop = loop
        self._end, answer = _call(path, _NUMBER.pack(_JOIN, _VERSION), f"join the room at {path}")
        loop.set_time(_WELCOMED.unpack_from(answer)[1])
        loop.clock.take_over(answer[_WELCOMED.size :])
        loop.pacer = self
        loop.wires.add_clock(self._end.fileno())
        self._path = path
        self._shared = _Shared(loop.wires)
        self._named: set[str] = set()
        self._turn = 0
        self._runs = True
        self._lost: RoomLostError | None = None
        self._program: asyncio.Task[Any] | None = None

    async def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Return what ``main`` returns; cancel it when the room ends.

        Raises:
            RoomLostError: The room's process ended.
        """
        self._program = asyncio.current_task()
        try:
            return await main
        except BaseException:
            if self._lost is not None:  # whatever else went wrong then: its wires are gone too
                raise self._lost from None
            raise

    def utc(self) -> Instant:
        """Return the room's wall time."""
        return self._loop.clock.utc()

    def boottime(self) -> Duration:
        """Return the time since the room's boot."""
        return self._loop.clock.boottime()

    def boot(self) -> BootId:
        """Return the room's boot, which outlives the daemon."""
        return self._loop.clock.boot()

    def offset(self) -> Duration | None:
        """Return what the room says: none, its time is the reference."""
        return self._loop.clock.offset()

    # Called by the loop

    def wait(self, wake_us: int | None) -> _Events:
        """Yield the turn; return when the room gives it back and its bytes are here.

        Once the room is lost, time goes on without it, so that what runs can be taken apart.
        """
        loop = self._loop
        if self._lost is not None:
            if loop.is_held or wake_us is None:
                return loop.outside(None)
            loop.set_time(wake_us)
            return []
        self._yield(wake_us)
        asked = False
        while not self._runs and self._lost is None:
            if asked:
                loop.wires.wait(None)
                self.look()
            elif loop.outside(None) and not self._runs:
                self._send(_ASK)
                asked = True
        deadline_s = time.monotonic() + _STALL_S
        while self._lost is None and not self._shared.settled():
            loop.wires.wait(max(0.0, deadline_s - time.monotonic()))
            self.look()
            if time.monotonic() >= deadline_s:
                missing = "; ".join(self._shared.missing())
                raise StuckError(f"the daemon waits for bytes: {missing}")
        self._shared.deliver()
        return loop.outside(0)

    def look(self) -> None:
        """Take the room's messages."""
        while self._lost is None and (message := _receive(self._end)) is not None:
            if message[:1] != _GO:
                self._lose()
                return
            _, turn, now_us, _, _ = _TURN.unpack_from(message)
            assert not self._runs, "the room gave a turn that the daemon had"
            assert turn == self._turn + 1, "a turn is missing"
            self._turn = turn
            self._shared.hear(message)
            self._loop.set_time(now_us)
            self._runs = True

    def _lose(self) -> None:
        """The room's process has ended: have the program end too."""
        self._lost = RoomLostError(
            f"room at {self._path}",
            why="its process ended",
            do_next="Start the room again, then the daemon",
        )
        self._loop.wires.remove_clock(self._end.fileno())
        if self._program is not None:
            self._loop.call_soon(self._program.cancel)

    def close(self) -> None:
        """Leave the room, which then stands still."""
        if self._lost is None:
            self._loop.wires.remove_clock(self._end.fileno())
        self._end.close()

    def _yield(self, wake_us: int | None) -> None:
        self._named.difference_update(self._shared.tidy())
        for count in self._loop.wires.counts():
            if count.name not in self._named:
                self._named.add(count.name)
                self._shared.known.append(_Reported(count.name))
                self._send(_NAME + count.name.encode())
        changes = self._shared.changes()
        head = _TURN.pack(
            _YIELD,
            self._turn,
            -1 if wake_us is None else wake_us,
            self._loop.is_held,
            len(changes) // _WIRE.size,
        )
        self._runs = False
        self._send(head + changes)

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # its end is told when we next receive
            self._end.send(message)


# --------------------------------------------------------------------------------------
# Running on a room's clock


def run_room(
    main: Callable[[ClockAuthority], Coroutine[Any, Any, T]],
    *,
    socket_path: Path,
    start: Instant = USUAL_START,
    boot: BootId = USUAL_BOOT,
    pace: float | None = None,
) -> T:
    """Run ``main`` as the room that has the clock, and return its result.

    Args:
        main: Builds World and emulators and lives until the room is to end.
        socket_path: Where daemons join, and where ``advance_room`` asks.
        start: What the wall clock shows at the room's beginning.
        boot: The host boot that every daemon is told, however often it starts.
        pace: How many times faster than real time it goes with a daemon, for people who work
            in it; None to jump from one moment to the next.

    Raises:
        RoomRefusedError: The socket can't be made, or another room listens there.
    """
    loop = RoomTimeLoop(start=start, boot=boot)
    try:
        authority = ClockAuthority(loop, socket_path, pace=pace)
    except RefusedError:
        loop.close()
        raise
    return _run_on(loop, main(authority))


def run_on_room_clock(
    main: Callable[[RoomClock], Coroutine[Any, Any, T]], *, socket_path: Path
) -> T:
    """Run ``main`` as the daemon of the room that listens at ``socket_path``.

    Raises:
        RoomRefusedError: No room listens there, or another daemon is joined to it.
        RoomLostError: The room's process ended.
    """
    loop = RoomTimeLoop()
    try:
        clock = RoomClock(loop, socket_path)
    except RefusedError:
        loop.close()
        raise
    return _run_on(loop, clock.run(main(clock)))


def advance_room(socket_path: Path, duration: Duration) -> Duration:
    """Let a room without a daemon go on alone; return its time when that is over.

    Blocks in real time: call it from a script or a test, not from a loop.

    Raises:
        RoomRefusedError: No room listens there, a daemon is joined to it, or it is
            advancing already.
    """
    asked = _NUMBER.pack(_ADVANCE, duration.base * 1_000)
    return _time_told(socket_path, asked, f"advance the room by {duration}")


def room_time(socket_path: Path) -> Duration:
    """Return the time since a room began. Blocks in real time.

    Raises:
        RoomRefusedError: No room listens there.
    """
    return _time_told(socket_path, _TELL, f"ask the room at {socket_path} for its time")


def _time_told(socket_path: Path, message: bytes, what: str) -> Duration:
    end, answer = _call(socket_path, message, what)
    end.close()
    return Duration.of_base(_NUMBER.unpack(answer)[1] // 1_000)


def as_room_loop(loop: asyncio.AbstractEventLoop) -> RoomTimeLoop | None:
    """Return the loop if it runs on a room's clock, for transports that count bytes."""
    return loop if isinstance(loop, RoomTimeLoop) else None
