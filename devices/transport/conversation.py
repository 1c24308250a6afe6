"""Questions and answers on one line, owned by the instrument's driver.

A conversation cuts the stream into frames, gives each answer to the question that it
fits, routes what comes unasked, lets a halt overtake, and limits waiting. It never sends
again: that a read may be repeated is the driver's knowledge.

After a question without an answer the line is *quarantined*: the next question waits
until nothing has come for as long as the lost answer had, and what comes meanwhile is
thrown away, so that a late answer isn't taken for the next one's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from devices.transport.transport import LineClosedError, Transport
from orchestrator.kernel.errors import OutcomeUnknownError
from orchestrator.kernel.identifiers import CommandId
from orchestrator.kernel.quantities import Duration

FRAME_BYTES_MAX = 4_096
QUIET_ATTEMPTS_MAX = 20
UNASKED_MAX = 1_000


class NoReplyError(OutcomeUnknownError):
    """The question left, or part of it did, and no answer came.

    After a trigger all, some or none of it may have happened. After a read nothing
    happened, and it may be asked again.
    """

    code = "uncertain.no-reply"


class OvertakenError(OutcomeUnknownError):
    """A halt overtook the exchange. How far its command got must be asked."""

    code = "uncertain.overtaken"


# --------------------------------------------------------------------------------------
# Framing


class Cut(NamedTuple):
    """The next piece of a stream: the first ``used`` bytes, and the frame they hold."""

    used: int
    frame: bytes | None  # None: all of it is garbage
    garbage: int = 0


Framer = Callable[[bytearray], Cut | None]
"""Cuts the next piece off what has come, or returns None if more must come first.

It must not change the buffer, and forgets nothing and remembers nothing.
"""


def lines(terminator: bytes, *, longest: int = FRAME_BYTES_MAX) -> Framer:
    r"""Frame lines that end with ``terminator``; a frame is the line without it.

    Empty lines are skipped. A line that grows beyond ``longest`` is garbage.
    """
    assert terminator, "a line ends with something"
    keep = len(terminator) - 1

    def cut(buffer: bytearray) -> Cut | None:
        end = buffer.find(terminator)
        if end < 0:
            if len(buffer) > longest + keep:
                return Cut(len(buffer) - keep, None, len(buffer) - keep)
            return None
        used = end + len(terminator)
        if end > longest:
            return Cut(used, None, used)
        return Cut(used, bytes(buffer[:end]) if end else None)

    return cut


def frames(start: bytes, end: bytes, *, trailer: int = 0, longest: int = FRAME_BYTES_MAX) -> Framer:
    """Frame what stands from ``start`` to ``end`` and ``trailer`` bytes after it.

    The frame holds all of them. Bytes before ``start`` are garbage, and so is a frame
    that begins again before it ended, or grows beyond ``longest``.

    Args:
        start: E.g. STX, or ``b"<"``.
        end: E.g. ETX, or ``b">"``.
        trailer: How many bytes follow ``end``: a checksum, CR LF.
        longest: The longest frame, all told.
    """
    assert start, "a frame starts with something"
    assert end, "a frame ends with something"

    def cut(buffer: bytearray) -> Cut | None:
        at = buffer.find(start)
        if at < 0:
            spare = max(0, len(buffer) - len(start) + 1)
            return Cut(spare, None, spare) if spare else None
        stop = buffer.find(end, at + len(start))
        again = buffer.rfind(start, at + 1, stop if stop >= 0 else len(buffer))
        if start != end and again > at:
            return Cut(again, None, again)
        if stop < 0 or stop + len(end) + trailer > len(buffer):
            if len(buffer) - at > longest:
                return Cut(at + len(start), None, at + len(start))
            return Cut(at, None, at) if at else None
        used = stop + len(end) + trailer
        if used - at > longest:
            return Cut(used, None, used)
        return Cut(used, bytes(buffer[at:used]), at)

    return cut


# --------------------------------------------------------------------------------------
# Talking


def any_frame(frame: bytes) -> bool:
    """Take any frame as the answer."""
    return bool(frame)


def no_frame(frame: bytes) -> bool:
    """Take no frame."""
    return not frame


@dataclass(slots=True)
class Counts:
    """What came on the line that nobody had asked for."""

    garbage_bytes: int = 0
    strays: int = 0  # whole frames that fitted no question and aren't unasked ones
    late: int = 0  # those of them that came in quarantine
    out_of_step: int = 0  # lost answers that came behind the next question's
    unheard: int = 0  # unasked frames that nobody took in time


@dataclass(slots=True, eq=False)
class _Question:
    fits: Callable[[bytes], bool]
    answer: asyncio.Future[bytes]
    overtaken: list[Callable[[bytes], bool]] = field(default_factory=list)  # answered first


class Conversation:
    """One line's questions and answers. Its reader must run: see ``run``."""

    def __init__(
        self,
        line: Transport,
        framer: Framer,
        *,
        is_unasked: Callable[[bytes], bool] = no_frame,
        on_unasked: Callable[[bytes], None] | None = None,
        numbered: bool = False,
    ) -> None:
        """Talk on ``line``, which nobody else reads.

        Args:
            line: The line. The conversation doesn't close it, except by ``close``.
            framer: Cuts its stream into frames.
            is_unasked: Tells, of every frame, whether the instrument sends it by itself:
                a scan, an alarm, a stream of weights. Asked before any question is.
            on_unasked: Takes them; if nobody is given, ``unasked`` waits for them.
            numbered: Each answer bears its question's number, which ``fits`` looks at. A
                late one can't be mistaken then, and the line needs no quarantine.
        """
        self._line = line
        self._framer = framer
        self._is_unasked = is_unasked
        self._on_unasked = on_unasked
        self._numbered = numbered
        self._buffer = bytearray()
        self._unasked: asyncio.Queue[bytes | None] = asyncio.Queue(UNASKED_MAX)
        self._turn = asyncio.Lock()
        self._halt_turn = asyncio.Lock()
        self._halts = 0
        self._no_halt = asyncio.Event()
        self._no_halt.set()
        self._asked: _Question | None = None
        self._halting: _Question | None = None
        self._owed: Callable[[bytes], bool] | None = None  # what a lost answer would fit
        self._quiet_s = 0.0  # how long the line must be silent; 0: not quarantined
        self._patience_s = 0.0  # how long the lost answer had
        self._last_frame_s = 0.0
        self._lost = False
        self._over: asyncio.Future[None] | None = None  # the end of ``run``
        self.counts = Counts()

    @property
    def name(self) -> str:
        """Return the line's name."""
        return self._line.name

    @property
    def closed(self) -> bool:
        """Return whether the line is closed."""
        return self._lost or self._line.closed

    @property
    def is_quarantined(self) -> bool:
        """Return whether a late answer may still come."""
        return self._quiet_s > 0

    async def run(self) -> None:
        """Read the line until it is closed. Start it once, in the driver's task group."""
        over = self._over = asyncio.get_running_loop().create_future()
        self._line.listen(self._hear)
        try:
            self._hear()
            await over
        finally:
            self._line.stop_listening()
            self._lost = True
            for question in (self._asked, self._halting):
                if question is not None and not question.answer.done():
                    question.answer.set_exception(_silence(self.name, "the line closed"))
            if self._on_unasked is None:
                if self._unasked.full():
                    self._unasked.get_nowait()
                self._unasked.put_nowait(None)

    async def close(self) -> None:
        """Close the line; ``run`` then ends."""
        await self._line.close()

    async def ask(
        self,
        request: bytes,
        *,
        within: Duration,
        fits: Callable[[bytes], bool] = any_frame,
        trigger: CommandId | None = None,
    ) -> bytes:
        """Send ``request`` and return its answer.

        Waits for its turn first: one exchange at a time.

        Args:
            request: The whole frame, as it goes out.
            within: How long the answer may take, from when the request was sent.
            fits: Tells whether a frame is the answer. Others are counted and dropped.
            trigger: The attempt whose trigger this is. It is written once.

        Raises:
            LineClosedError: The line was closed before. Nothing was sent.
            NoReplyError: No answer came in time, or the line closed meanwhile. A trigger
                may have taken effect in whole, in part or not at all.
            OvertakenError: A halt overtook it. The same is unknown.
            TriggerRepeatedError: The trigger was written before. Nothing was sent.
        """
        async with self._turn:
            if self._halts or self.is_quarantined:
                await self._wait_until_clear()
            question = self._question(fits)
            self._asked = question
            try:
                return await self._exchange(question, request, within, trigger)
            finally:
                self._asked = None

    async def tell(self, request: bytes, *, trigger: CommandId | None = None) -> None:
        """Send ``request``, which has no answer.

        Raises:
            LineClosedError: The line was closed before. Nothing was sent.
            NoReplyError: The line closed while sending. Part of it may have arrived.
            TriggerRepeatedError: The trigger was written before. Nothing was sent.
        """
        async with self._turn:
            await self._wait_until_clear()
            await self._send(request, trigger)

    async def halt(
        self,
        request: bytes,
        *,
        within: Duration,
        fits: Callable[[bytes], bool] | None = any_frame,
    ) -> bytes | None:
        """Send a halt now, before any exchange in flight has ended.

        That exchange ends with ``OvertakenError``. A frame that fits it is taken to be
        its answer and dropped, once, so that its "done" is never read as "halted".

        Args:
            request: The whole frame. Halting twice is halting once, so it may be repeated.
            within: How long the answer may take.
            fits: Tells whether a frame is the halt's answer. None: it has none.

        Returns:
            The answer, or None if it has none.

        Raises:
            LineClosedError: The line was closed before. Nothing was sent.
            NoReplyError: No answer came. Whether it halted is unknown; repeat it.
        """
        self._halts += 1
        self._no_halt.clear()
        try:
            async with self._halt_turn:
                question = self._question(fits or no_frame)
                self._overtake(question)
                if fits is None:
                    await self._send(request, None)
                    return None
                self._halting = question
                try:
                    return await self._exchange(question, request, within, None)
                finally:
                    self._halting = None
        finally:
            self._halts -= 1
            if self._halts == 0:
                self._no_halt.set()

    async def unasked(self) -> bytes:
        """Return the next frame that the instrument sent by itself; wait for it.

        Raises:
            LineClosedError: The line is closed and no such frame is left.
        """
        assert self._on_unasked is None, f"{self.name}: unasked frames go to their taker"
        frame = await self._unasked.get()
        if frame is None:
            self._unasked.put_nowait(None)  # for whoever asks next
            raise LineClosedError(
                f"{self.name}: wait for what comes unasked",
                why="the line is closed",
                do_next="Check cable and power, then connect again",
            )
        return frame

    def _question(self, fits: Callable[[bytes], bool]) -> _Question:
        return _Question(fits, asyncio.get_running_loop().create_future())

    def _overtake(self, halt: _Question) -> None:
        asked = self._asked
        if self._owed is not None:
            halt.overtaken.append(self._owed)
        if asked is not None and not asked.answer.done():
            halt.overtaken.append(asked.fits)
            asked.answer.set_exception(
                OvertakenError(
                    f"{self.name}: an exchange in flight",
                    why="a halt overtook it",
                    do_next="Ask the instrument how far it got",
                )
            )

    async def _exchange(
        self, question: _Question, request: bytes, within: Duration, trigger: CommandId | None
    ) -> bytes:
        late: asyncio.TimerHandle | None = None
        try:
            await self._send(request, trigger)
            if not question.answer.done():
                loop = asyncio.get_running_loop()
                late = loop.call_later(within.base / 1_000, self._too_late, question, within)
            return await question.answer
        except asyncio.CancelledError:
            self._quarantine(question, within)
            raise
        finally:
            if late is not None:
                late.cancel()
            if question.answer.done() and not question.answer.cancelled():
                if isinstance(question.answer.exception(), OvertakenError):
                    self._quarantine(question, within)
            else:
                question.answer.cancel()

    def _too_late(self, question: _Question, within: Duration) -> None:
        if not question.answer.done():
            self._quarantine(question, within)
            question.answer.set_exception(_silence(self.name, f"no answer within {within}"))

    async def _send(self, request: bytes, trigger: CommandId | None) -> None:
        open_before = not self.closed
        try:
            await self._line.send(request, trigger=trigger)
        except LineClosedError as closed:
            if open_before:
                raise _silence(self.name, "the line closed while sending") from closed
            raise

    def _quarantine(self, question: _Question, within: Duration) -> None:
        if self._numbered:
            return
        # The answer to an earlier halt is as good as the answer to this one: none is owed.
        self._owed = None if question is self._halting else question.fits
        self._patience_s = within.base / 1_000
        self._quiet_s = max(self._quiet_s, self._patience_s)
        self._last_frame_s = asyncio.get_running_loop().time()

    async def _wait_until_clear(self) -> None:
        """Wait while a halt is in flight, and until a quarantined line is silent."""
        loop = asyncio.get_running_loop()
        await self._no_halt.wait()
        for _ in range(QUIET_ATTEMPTS_MAX):
            if not self.is_quarantined or self.closed:
                return
            left_s = self._last_frame_s + self._quiet_s - loop.time()
            if left_s > 0:
                await asyncio.sleep(left_s)
                await self._no_halt.wait()
            else:
                self._quiet_s = 0.0
                self.counts.garbage_bytes += len(self._buffer)
                self._buffer.clear()
        if self.is_quarantined:
            raise _silence(self.name, "it doesn't fall silent after a lost answer")

    def _hear(self) -> None:
        """Take what has come; a mistake of ours in it ends ``run``."""
        over = self._over
        if over is None or over.done():
            return
        try:
            self._buffer += self._line.take()
            self._sort()
        except Exception as mistake:
            over.set_exception(mistake)
            return
        if self._line.closed:
            over.set_result(None)

    def _sort(self) -> None:
        """Cut what has come into frames, and give each to whom it belongs."""
        while self._buffer:
            piece = self._framer(self._buffer)
            if piece is None:
                return
            assert 0 < piece.used <= len(self._buffer), "a framer must use up something"
            del self._buffer[: piece.used]
            self.counts.garbage_bytes += piece.garbage
            if piece.frame is not None:
                self._give(piece.frame)

    def _give(self, frame: bytes) -> None:
        if self._is_unasked(frame):
            self._give_unasked(frame)
            return
        halting = self._halting
        if halting is not None and not halting.answer.done():
            for index, fits in enumerate(halting.overtaken):
                if fits(frame):
                    del halting.overtaken[index]
                    self._owed = None
                    self._stray(frame)
                    return
            if halting.fits(frame):
                halting.answer.set_result(frame)
                return
        asked = self._asked
        if (
            asked is not None
            and not asked.answer.done()
            and not self.is_quarantined
            and asked.fits(frame)
        ):
            asked.answer.set_result(frame)
            return
        self._stray(frame)

    def _stray(self, frame: bytes) -> None:
        self.counts.strays += 1
        if self.is_quarantined:
            self.counts.late += 1
            self._last_frame_s = asyncio.get_running_loop().time()
        elif self._owed is not None and self._owed(frame):
            # The answer that was lost has come after all, behind a question that has been
            # asked since: that one's answer may have been this one's.
            self.counts.out_of_step += 1
            self._owed = None
            self._quiet_s = self._patience_s
            self._last_frame_s = asyncio.get_running_loop().time()

    def _give_unasked(self, frame: bytes) -> None:
        if self._on_unasked is not None:
            self._on_unasked(frame)
            return
        if self._unasked.full():
            self._unasked.get_nowait()
            self.counts.unheard += 1
        self._unasked.put_nowait(frame)


def _silence(line: str, why: str) -> NoReplyError:
    return NoReplyError(
        f"{line}: wait for an answer",
        why=why,
        do_next="Check cable and power; what a command did must be asked, not guessed",
    )


@asynccontextmanager
async def conversing(
    line: Transport,
    framer: Framer,
    *,
    is_unasked: Callable[[bytes], bool] = no_frame,
    on_unasked: Callable[[bytes], None] | None = None,
) -> AsyncGenerator[Conversation]:
    """Hold a conversation on ``line`` inside, and close the line at the end."""
    async with asyncio.TaskGroup() as group:
        conversation = Conversation(line, framer, is_unasked=is_unasked, on_unasked=on_unasked)
        group.create_task(conversation.run(), name=f"reader of {line.name}")
        try:
            yield conversation
        finally:
            await conversation.close()
