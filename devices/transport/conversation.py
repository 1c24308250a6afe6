"""Questions and answers on one line, owned by the instrument's driver.

A conversation cuts the stream into frames, gives each answer to the question that it
fits, routes what comes unasked, lets a halt overtake, and limits waiting. It never sends
again: that a read may be repeated is the driver's knowledge.

After a question without an answer the line is *quarantined*: the next question waits
until nothing has come for as long as the lost answer had, and what comes meanwhile is
thrown away, so that a late answer isn't taken for the next one's. Then the instrument is
asked who it is, before anything else: its answer shows that question and answer are in
step again, and that nobody has put another instrument on the line. A frame that nobody
asked for puts the line into quarantine too: an answer came twice, or one behind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from devices.transport.framing import Framer
from devices.transport.transport import LineClosedError, Transport
from orchestrator.kernel.errors import OutcomeUnknownError
from orchestrator.kernel.identifiers import CommandId
from orchestrator.kernel.quantities import Duration

QUIET_ATTEMPTS_MAX = 20
GREETINGS_MAX = 3
TROUBLES_MAX = 4
LATELY = 20
"""For how many times an answer's limit it is reckoned with that a lost one may come late."""

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


class StrangerError(OutcomeUnknownError):
    """After a lost answer another instrument says who it is. Its word isn't taken."""

    code = "uncertain.stranger"


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


@dataclass(frozen=True, slots=True)
class Greeting:
    """How an instrument is recognised after a lost answer.

    ``who`` asks on the same conversation, by questions that change nothing, and returns
    what the instrument says it is; the same text as long as it is the same instrument.
    Best is a question whose answer has a form of its own: where the lost answer could be
    taken for it, the line has to stay silent behind it for as long again.
    """

    who: Callable[[], Awaitable[str]]
    quiet: Duration
    """How long the line must be silent after a frame that nobody asked for."""


@dataclass(slots=True, eq=False)
class _Question:
    fits: Callable[[bytes], bool]
    answer: asyncio.Future[bytes]
    echo: Callable[[bytes], bool] | None = None  # what must come first
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
        greeting: Greeting | None = None,
    ) -> None:
        """Talk on ``line``, which nobody else reads.

        Args:
            line: The line. The conversation doesn't close it, except by ``close``.
            framer: Cuts its stream into frames.
            is_unasked: Tells, of every frame, whether the instrument sends it by itself:
                a scan, an alarm, a stream of weights. Asked before any question is.
            on_unasked: Takes them; if nobody is given, ``unasked`` waits for them.
            numbered: Each answer bears its question's number, which ``fits`` looks at. A
                late one can't be mistaken then, and the line needs not be silent first.
            greeting: How the instrument is recognised after a lost answer, before anything
                else is asked. None: it says nothing of itself.
        """
        self._line = line
        self._framer = framer
        self._is_unasked = is_unasked
        self._on_unasked = on_unasked
        self._numbered = numbered
        self._greeting = greeting
        self._who = ""  # what it said it is; empty: it wasn't asked yet
        self._must_greet = False
        self._greets: asyncio.Task[object] | None = None  # who asks it, past all others
        self._troubles: deque[float] = deque(maxlen=TROUBLES_MAX)  # till when each counts
        self._in_step = False  # an answer came that can't have been the lost one
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

    def knows(self, who: str) -> None:
        """Note who the instrument said it is, when somebody asked for that alone."""
        self._who = who

    def troubles(self) -> int:
        """Return how often an answer was lost or came unwanted lately, ``TROUBLES_MAX`` at most.

        The more, the likelier a late answer is still under way.
        """
        if not self._troubles:
            return 0
        now_s = asyncio.get_running_loop().time()
        return sum(till_s >= now_s for till_s in self._troubles)

    def mistrust(self) -> None:
        """Put the line into quarantine: two answers that should agree don't."""
        self._disturb()

    async def drain(self, quiet: Duration) -> None:
        """Drop what comes, until nothing has come for so long: behind a halt without answer.

        It takes the place of the silence that an overtaken exchange would ask for. The
        instrument still has to say who it is before anything else is asked.
        """
        async with self._turn:
            await self._no_halt.wait()
            if not self._numbered:
                self._quiet_s = quiet.base / 1_000
                self._last_frame_s = asyncio.get_running_loop().time()
            await self._until_silent()

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
        echo: Callable[[bytes], bool] | None = None,
        trigger: CommandId | None = None,
    ) -> bytes:
        """Send ``request`` and return its answer.

        Waits for its turn first: one exchange at a time.

        Args:
            request: The whole frame, as it goes out.
            within: How long the answer may take, from when the request was sent.
            fits: Tells whether a frame is the answer. Others are counted and dropped.
            echo: Tells whether a frame is the request's echo, without which no answer counts.
            trigger: The attempt whose trigger this is. It is written once.

        Raises:
            LineClosedError: The line was closed before. Nothing was sent.
            NoReplyError: No answer came in time, or the line closed meanwhile. A trigger
                may have taken effect in whole, in part or not at all.
            OvertakenError: A halt overtook it. The same is unknown.
            StrangerError: After a lost answer another instrument answers. This wasn't sent.
            TriggerRepeatedError: The trigger was written before. Nothing was sent.
        """
        if self._greets is not None and asyncio.current_task() is self._greets:
            self._disturb_if_torn()
            await self._until_silent()
            return await self._put(request, within, fits, echo, trigger)
        async with self._turn:
            await self._until_clear()
            return await self._put(request, within, fits, echo, trigger)

    async def _put(
        self,
        request: bytes,
        within: Duration,
        fits: Callable[[bytes], bool],
        echo: Callable[[bytes], bool] | None,
        trigger: CommandId | None,
    ) -> bytes:
        question = self._question(fits)
        question.echo = echo
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
            StrangerError: After a lost answer another instrument answers. This wasn't sent.
            TriggerRepeatedError: The trigger was written before. Nothing was sent.
        """
        async with self._turn:
            await self._until_clear()
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
        self._must_greet = self._greeting is not None
        self._note_trouble(within.base / 1_000)
        if self._numbered:
            self._drop()  # what it holds can't become the next answer
            return
        # The answer to an earlier halt is as good as the answer to this one: none is owed.
        self._owed = None if question is self._halting else question.fits
        self._patience_s = within.base / 1_000
        self._quiet_s = max(self._quiet_s, self._patience_s)
        self._last_frame_s = asyncio.get_running_loop().time()

    def _disturb(self) -> None:
        """Put a line into quarantine on which something came that nobody had asked for."""
        if self._greeting is None:
            return
        self._note_trouble(self._greeting.quiet.base / 1_000)
        if self._numbered:
            return
        self._must_greet = True
        self._quiet_s = max(self._quiet_s, self._greeting.quiet.base / 1_000)
        self._last_frame_s = asyncio.get_running_loop().time()

    def _disturb_if_torn(self) -> None:
        """See that a piece of a frame that came before a question isn't glued to its answer."""
        if self._buffer:
            self._disturb()
            if self._numbered or self._greeting is None:
                self._drop()

    def _note_trouble(self, patience_s: float) -> None:
        self._troubles.append(asyncio.get_running_loop().time() + LATELY * patience_s)

    def _drop(self) -> None:
        self.counts.garbage_bytes += len(self._buffer)
        self._buffer.clear()

    async def _until_clear(self) -> None:
        """Wait while a halt is in flight; where an answer was lost, be silent and greet."""
        if self._halts:
            await self._no_halt.wait()
        self._disturb_if_torn()
        if not (self.is_quarantined or self._must_greet):
            return
        for _ in range(GREETINGS_MAX):
            await self._until_silent()
            if self.closed or self._greeting is None or not self._must_greet:
                return
            try:
                await self._recognise(self._greeting)
            except NoReplyError:
                continue
            await self._no_halt.wait()
            self._disturb_if_torn()
            if not (self.is_quarantined or self._must_greet):
                return
        raise _silence(self.name, "after a lost answer it doesn't say who it is")

    async def _recognise(self, greeting: Greeting) -> None:
        """Ask the instrument who it is; it may be asked on if it is the one it was."""
        owed, patience_s = self._owed, self._patience_s
        self._in_step = self._numbered or owed is None
        self._greets = asyncio.current_task()
        try:
            who = await greeting.who()
        finally:
            self._greets = None
        if not self._in_step:  # the lost answer may have been taken for this one
            strays = self.counts.strays
            await asyncio.sleep(patience_s)
            if self.counts.strays != strays:
                self._disturb()
        if self.is_quarantined:
            return
        self._must_greet = False
        self._owed = None
        known, self._who = self._who, who
        if known and known != who:
            raise StrangerError(
                f"{self.name}: go on after a lost answer",
                why=f"{who!r} answers; it was {known!r}",
                do_next="Check which instrument is on which line",
            )

    async def _until_silent(self) -> None:
        """Wait until a quarantined line is silent, and drop what came."""
        loop = asyncio.get_running_loop()
        for _ in range(QUIET_ATTEMPTS_MAX):
            if not self.is_quarantined or self.closed:
                return
            left_s = self._last_frame_s + self._quiet_s - loop.time()
            if left_s > 0:
                await asyncio.sleep(left_s)
                await self._no_halt.wait()
            else:
                self._quiet_s = 0.0
                self._drop()
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
        if asked is not None and not asked.answer.done():
            if asked.echo is not None:
                if asked.echo(frame):
                    asked.echo = None
                    return
            elif asked.fits(frame):
                if self._owed is None or not self._owed(frame):
                    self._in_step = True
                asked.answer.set_result(frame)
                return
        self._stray(frame)

    def _stray(self, frame: bytes) -> None:
        self.counts.strays += 1
        if self.is_quarantined:
            self.counts.late += 1
            self._note_trouble(self._quiet_s)
            self._last_frame_s = asyncio.get_running_loop().time()
        elif self._greeting is not None and not self._numbered:
            self._disturb()
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
    greeting: Greeting | None = None,
) -> AsyncGenerator[Conversation]:
    """Hold a conversation on ``line`` inside, and close the line at the end."""
    async with asyncio.TaskGroup() as group:
        conversation = Conversation(
            line, framer, is_unasked=is_unasked, on_unasked=on_unasked, greeting=greeting
        )
        group.create_task(conversation.run(), name=f"reader of {line.name}")
        try:
            yield conversation
        finally:
            await conversation.close()
