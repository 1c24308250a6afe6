"""A line that damages, delays, doubles and mixes what an instrument answers, and its judge.

Method: an instrument on paper answers each request truly, by the manual's grammar, and the
line does to each frame what its seed says. The judge keeps its own book: which request was
open when, what was sent for which, and what was true in which *epoch*. What the instrument
holds changes between two calls of the driver and never within one, so a value tells by itself
when it was true. The driver's own counts are never looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

import pytest

from devices.interfaces.driver import Driver, Settled, Standing
from devices.transport.conversation import Conversation, NoReplyError
from devices.transport.memory import memory_wire
from devices.transport.transport import Direction, Transport
from orchestrator.kernel.acts import Act, AllDone, CannotTell, NothingDone, PartDone
from orchestrator.kernel.errors import DeviceFaultError, OutcomeUnknownError, ProcessError
from orchestrator.kernel.identifiers import CommandId
from orchestrator.virtual_time import run_in_virtual_time

CALL_LIMIT_S: Final = 4 * 3600.0
"""No call may wait for longer on a line like this one; virtual time."""

AN_EXCHANGE: Final = "_put"
"""The conversation's word for one request and its answer, from sending to end."""

DAMAGED_SHARE_MAX: Final = 0.02
"""Of damaged frames, how many may pass a checksum of eight bits; a 256th is the mean."""

DISTURBANCES: Final = (
    "bits",
    "cut",
    "doubled",
    "doubled late",
    "spliced",
    "late",
    "out of order",
    "lost",
)
ROUGHNESS: Final = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 1.0)
"""Which share of the frames is disturbed, drawn anew for each call: a half, all told."""

Check = Callable[[], Awaitable[object]]


class Instrument(Protocol):
    """An instrument on paper: it answers truly, and its truth is the test's to change."""

    model: str
    reply_within_s: float
    acted: int
    """How often it has done what a trigger asks."""
    names_question: bool
    """Whether an answer bears what it answers, or has a form that no other question's has."""
    has_checksum: bool

    def make(self, line: Transport) -> Driver:
        """Return its driver on ``line``."""
        ...

    def split(self, buffer: bytearray) -> bytes | None:
        """Take the next request off the buffer."""
        ...

    def answer(self, request: bytes) -> Sequence[bytes]:
        """Return the frames that truly answer a request, and do what it asks."""
        ...

    def turn(self, chance: Random) -> None:
        """Begin an epoch: change all that can be read, beyond any tolerance."""
        ...

    def act(self, chance: Random) -> Act | None:
        """Return an act that wasn't done yet; None if the instrument has no acts."""
        ...

    def question(self, request: bytes) -> bytes:
        """Return what of a request its answer names."""
        ...

    def effect_wrong(self, settled: Settled) -> str:
        """Return what is wrong with what is said of how much was done."""
        ...

    async def wrong(self, driver: Driver, chance: Random) -> str:
        """Ask for something, and return what is wrong with the answer; empty if it is true."""
        ...


class Line:
    """The far end of a wire, and the book of what went over it."""

    def __init__(self, instrument: Instrument, chance: Random) -> None:
        """Put ``instrument`` at the end of a line; ``chance`` says what happens to frames."""
        self.instrument = instrument
        self.software, self._end = memory_wire(instrument.model, recorder=self._record)
        self._chance = chance
        self._buffer = bytearray()
        self._held: list[bytes] = []
        self._before = b""
        self._open = b""
        self._owed: list[bytes] = []  # frames sent whole and in time for the open request
        self._torn = False  # what came since it was asked may be glued to what comes next
        self.roughness = 0.0
        self.triggers: Counter[CommandId] = Counter()
        self.frames: Counter[str] = Counter()
        self._answers: dict[bytes, set[bytes]] = {}  # what each frame truly answers
        self._sent: set[bytes] = set()
        self.accepted = self.rejected = self.behind = self.foreign = self.damaged = 0
        self.loses_request = False
        self._end.listen(self._hear)

    def _record(
        self, line: str, direction: Direction, data: bytes, trigger: CommandId | None
    ) -> None:
        del line
        if direction is Direction.SENT:
            self._open, self._owed, self._torn = data, [], False
            if trigger is not None:
                self.triggers[trigger] += 1

    def _hear(self) -> None:
        self._buffer += self._end.take()
        while (request := self.instrument.split(self._buffer)) is not None:
            if self.loses_request:
                self.loses_request = False
                continue
            delay_s = self._delay_s()
            for number, frame in enumerate(self.instrument.answer(request)):
                delay_of_this_s = delay_s + number * 0.001 if delay_s else 0.0
                self.send(frame, delay_of_this_s, answers=self._open)

    def _delay_s(self) -> float:
        """Return how long an answer takes, of all of its frames."""
        return self._chance.choice((0.0, 0.0, 0.002, 0.3 * self.instrument.reply_within_s))

    def say(self, frame: bytes) -> None:
        """Send a frame that nobody asked for: none is owed it, whatever request is open."""
        self.send(frame, answers=None)

    def send(self, frame: bytes, delay_s: float = 0.0, *, answers: bytes | None) -> None:
        """Send a frame as the line pleases. A frame that is held back goes after the next."""
        chance = self._chance
        self._sent.add(frame)
        for one in {frame, frame.rstrip(b"\r\n")}:
            self._answers.setdefault(one, set()).add(self.instrument.question(self._open))
        held, self._held = self._held, []
        if chance.random() >= self.roughness:
            self.frames["intact"] += 1
            self._deliver(frame, delay_s, answers=answers)
        else:
            what = chance.choice(DISTURBANCES)
            self.frames[what] += 1
            self._disturb(what, frame, delay_s, answers)
        for one in held:
            self._deliver(one, chance.choice((0.001, 0.5 * self.instrument.reply_within_s)))
        self._before = frame

    def _disturb(self, what: str, frame: bytes, delay_s: float, answers: bytes | None) -> None:
        chance, within_s = self._chance, self.instrument.reply_within_s
        match what:
            case "bits":
                self._deliver(flipped(frame, chance), delay_s)
            case "cut":
                at = chance.randrange(len(frame))
                self._deliver(chance.choice((frame[:at], frame[at + 1 :])), delay_s)
            case "doubled":
                self._deliver(frame, delay_s, answers=answers)
                self._deliver(frame, delay_s)
            case "doubled late":
                self._deliver(frame, delay_s, answers=answers)
                self._deliver(frame, chance.uniform(0.0, 4.0) * within_s)
            case "spliced":
                at, other = chance.randrange(len(frame)), self._before or frame
                self._deliver(frame[:at] + other[chance.randrange(len(other)) :], delay_s)
            case "late":
                self._deliver(frame, chance.uniform(1.01, 6.0) * within_s)
            case "out of order":
                self._held.append(frame)
            case _:
                pass

    def _deliver(self, frame: bytes, delay_s: float, *, answers: bytes | None = None) -> None:
        if not frame:
            return
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._arrive, frame, answers)
        else:
            asyncio.get_running_loop().call_soon(self._arrive, frame, answers)

    def _arrive(self, frame: bytes, answers: bytes | None) -> None:
        if self._end.closed:
            return
        if frame not in self._sent:
            self._torn = True
        elif answers is not None and answers == self._open and not self._torn:
            self._owed += [frame, frame.rstrip(b"\r\n")]
        _at_once(self._end.send(frame))

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Enter into the book what each question was answered with."""
        put: Callable[..., Awaitable[bytes]] = getattr(Conversation, AN_EXCHANGE)

        async def watched(talk: Conversation, request: bytes, *how: Any) -> bytes:
            _, fits, echo, _ = how
            try:
                answer = await put(talk, request, *how)
            except NoReplyError:
                if echo is None:
                    self.rejected += any(fits(frame) for frame in self._owed)
                raise
            if answer in self._owed:
                self.accepted += 1
            elif answer not in self._answers:
                self.damaged += 1
            elif self.instrument.question(request) in self._answers[answer]:
                self.behind += 1
            else:
                self.foreign += 1
            return answer

        patch.setattr(Conversation, AN_EXCHANGE, watched)


def flipped(frame: bytes, chance: Random) -> bytes:
    """Return ``frame`` with one to eight of its bits turned, no two of them the same."""
    bits = bytearray(frame)
    for at in chance.sample(range(8 * len(frame)), min(8 * len(frame), chance.randint(1, 8))):
        bits[at // 8] ^= 1 << at % 8
    return bytes(bits)


def _at_once(sending: Coroutine[Any, Any, None]) -> None:
    """Send on a wire in memory from where nobody can wait: it never does."""
    try:
        sending.send(None)
    except StopIteration:
        return
    raise AssertionError("a wire in memory doesn't wait")


@dataclass(slots=True)
class Found:
    """What one run of frames showed."""

    frames: Counter[str] = field(default_factory=Counter[str])
    accepted: int = 0
    rejected: int = 0
    behind: int = 0  # late or doubled ones to the same question: found out by the second reading
    foreign: int = 0
    damaged: int = 0
    calls: int = 0
    unknown: int = 0
    acts: int = 0
    cannot_tell: int = 0
    longest_s: float = 0.0
    wrong: list[str] = field(default_factory=list[str])
    crashed: list[str] = field(default_factory=list[str])
    hung: list[str] = field(default_factory=list[str])

    @property
    def total(self) -> int:
        """Return how many frames the instrument sent."""
        return self.frames.total()

    @property
    def is_well(self) -> bool:
        """Return whether nothing was found that must not be."""
        return not (self.rejected or self.wrong or self.crashed or self.hung)

    def told(self) -> str:
        """Return what was found, in lines."""
        return "\n".join((f"{self.rejected} rejected", *self.wrong, *self.crashed, *self.hung))


def run_frames(instrument: Instrument, seed: int, frames: int) -> Found:
    """Talk until so many frames were sent, and return what was found."""
    found = Found()
    with pytest.MonkeyPatch.context() as patch:
        run_in_virtual_time(_talk(instrument, Random(seed), frames, found, patch))
    return found


async def _talk(
    instrument: Instrument,
    chance: Random,
    frames: int,
    found: Found,
    patch: pytest.MonkeyPatch,
) -> None:
    line = Line(instrument, chance)
    line.watch(patch)
    if hasattr(instrument, "say"):
        instrument.say = line.say  # pyright: ignore[reportAttributeAccessIssue]
    driver = instrument.make(line.software)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(driver.run())
        await asyncio.sleep(0)
        while line.frames.total() < frames:
            if reading.done():
                found.crashed.append(f"{instrument.model}: its reader ended: {reading}")
                break
            instrument.turn(chance)
            line.roughness = chance.choice(ROUGHNESS)
            act = instrument.act(chance) if chance.random() < 0.2 else None
            if act is None:
                await _call(found, line, lambda: _asked(instrument, driver, chance, found))
            else:
                await _call(found, line, lambda act=act: _acted(line, driver, act, chance, found))
            await asyncio.sleep(chance.choice((0.0, 0.0, 0.01, 1.0, 30.0)))
        await driver.close()
    found.frames += line.frames
    found.accepted += line.accepted
    found.rejected += line.rejected
    found.behind += line.behind
    found.foreign += line.foreign
    found.damaged += line.damaged
    if instrument.names_question and line.foreign:
        found.wrong.append(f"{instrument.model}: {line.foreign} answers to other questions taken")
    hurt = sum(line.frames[what] for what in ("bits", "cut", "spliced"))
    if instrument.has_checksum and line.damaged > DAMAGED_SHARE_MAX * hurt:
        found.wrong.append(f"{instrument.model}: {line.damaged} of {hurt} damaged answers taken")
    found.wrong += [f"{one} was written {n} times" for one, n in line.triggers.items() if n > 1]


async def _call(found: Found, line: Line, call: Check) -> None:
    """Make a call, and note if it crashes or hangs."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    found.calls += 1
    at = f"{line.instrument.model}, after {line.frames.total()} frames"
    try:
        async with asyncio.timeout(CALL_LIMIT_S):
            await call()
    except TimeoutError:
        found.hung.append(f"{at}: {line.roughness}")
    except ProcessError:
        found.unknown += 1
    except Exception as crash:
        found.crashed.append(f"{at}: {crash!r}")
    found.longest_s = max(found.longest_s, loop.time() - began_s)


async def _asked(instrument: Instrument, driver: Driver, chance: Random, found: Found) -> None:
    wrong = await instrument.wrong(driver, chance)
    if wrong:
        found.wrong.append(f"{instrument.model}: {wrong}")


async def _acted(line: Line, driver: Driver, act: Act, chance: Random, found: Found) -> None:
    """Carry out an act as the engine does, and compare what is said of it with what was done."""
    instrument = line.instrument
    found.acts += 1
    command = CommandId(f"B-000147/expand/01-act#{found.acts}.1")
    before = await driver.standing()
    await driver.prepare(act)
    acted_before = instrument.acted
    line.loses_request = chance.random() < 0.2 * line.roughness
    refused = False
    settled: Settled | None = None
    try:
        await driver.trigger(act, command)
    except OutcomeUnknownError:
        pass
    except ProcessError:
        refused = True
    else:
        with contextlib.suppress(OutcomeUnknownError, DeviceFaultError):
            settled = await driver.settle(act, command, before)
    finally:
        line.loses_request = False
    if settled is None and not refused:
        settled = await _reconciled(line, driver, act, command, before)
    acted = instrument.acted - acted_before
    wrong = _judged(refused, settled, acted)
    if not wrong and settled is not None:
        wrong = instrument.effect_wrong(settled)
    found.cannot_tell += settled is not None and isinstance(settled.report, CannotTell)
    if wrong:
        report = settled.report if settled is not None else "refused"
        found.wrong.append(f"{instrument.model}: {wrong}: {report}")


async def _reconciled(
    line: Line, driver: Driver, act: Act, command: CommandId, before: Standing
) -> Settled:
    """Ask what became of an act: first on the rough line, then on ever smoother ones."""
    while True:
        try:
            return await driver.effect_of(act, command, before)
        except (OutcomeUnknownError, DeviceFaultError):
            line.roughness = max(0.0, line.roughness - 0.25)
            await asyncio.sleep(60)


def _judged(refused: bool, settled: Settled | None, acted: int) -> str:
    """Return what is wrong with what was said of an act that was done so often."""
    if acted > 1:
        return f"it was done {acted} times"
    if refused:
        return "it was done, and said to be refused" if acted else ""
    assert settled is not None, "neither settled nor refused"
    match settled.report:
        case AllDone():
            return "" if acted else "said to be done, and it wasn't"
        case NothingDone():
            return "said not to be done, and it was" if acted else ""
        case PartDone():
            return "said to be done in part, and it was done" if acted else ""
        case _:
            return ""
