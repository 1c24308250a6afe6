r"""Emulator of a cell counter that speaks ASTM E1381 (link) and E1394 (records).

Sources: ASTM E1381-95 (CLSI LIS1-A) and E1394-97 (LIS2-A2), as quoted by the host interface manual
of the cobas e 411, page 22 (establishment, contention), and by the driver of labmcp-astm-lis
0.1.3 (frames, records). No maker of cell counters publishes a protocol; this is the one that
haematology analysers speak. Serial, 9600 8N1, or TCP.

    establish   ENQ -> ACK, or NAK: again after 10 s, or ENQ (both want to send): the counter asks
                again after 1 s, the host waits longer; while it pauses it takes the host's ENQ
    frame       STX FN text ETX|ETB C1 C2 CR LF -> ACK, or NAK: the same again, six times in all
    end         EOT

    FN          1 to 7, then 0, from 1 in each message       text   240 characters at most; ETB
    C1 C2       sum from FN to ETX or ETB, modulo 256, capital hex   ends a part of a record
    silence     15 s for the sender, who ends; 30 s for the receiver, who drops the message

Records end with CR, fields are separated by ``|``, components by ``^``. Delimiters are those of H.
From the host:

    order    H, P, O|1|<sample>||^^^ALL|R, L     count the tube that stands in the counter
    query    H, Q|1|^<sample>||ALL, L            the last result of a sample; ``ALL``: of any

From the counter, unasked when a count is done, or after a query:

    H|\^&|<message number>||<equipment>|||||HOST||P|1|<yyyymmddhhmmss>
    P|1
    O|1|<sample>|<run>|^^^ALL|R||||||||||||||||||||<report type>
    R|1|^^^VCD|<viable density>|cells/mL||N||F||||<completed>
    R|2|^^^VIA|<viability>|%||N||F||||...     R|3|^^^CD3|..|%     R|4|^^^CAR|..|%
    L|1|N

Report types: F result; I being counted; X not done (then C|1|I|<why>|I and no R); Y unknown
sample (then L|1|I). Message and run number count up from 1; they and the results, a hundred of
them, outlive the line and not the power. A tube is drawn from when counting begins.

Assumed where the standards leave it to the maker: test codes, units, time and volume of a count;
run number as the instrument's specimen id; a message is taken at its EOT; an order that comes
while it counts, or finds no tube, or too little in it, is X; a result that the host doesn't take
stays for a query and isn't sent again by itself; what a power cycle loses; the panel's START,
which counts under no sample.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Final

from devices.transport.transport import LineClosedError, Transport
from hw_mocks.emulator import Emulator, Moment, Planted
from hw_mocks.world.ledger import ImpossibleError
from hw_mocks.world.things import Counted
from hw_mocks.world.world import World
from orchestrator.kernel.instants import Instant
from orchestrator.virtual_time import USUAL_START

STX: Final = 0x02
ETX: Final = 0x03
EOT: Final = 0x04
ENQ: Final = 0x05
ACK: Final = 0x06
NAK: Final = 0x15
ETB: Final = 0x17
CR: Final = 0x0D
LF: Final = 0x0A

TEXT_MAX: Final = 240  # E1381-95, 6.3.1
FRAME_MAX: Final = TEXT_MAX + 7
SENDINGS_MAX: Final = 6  # E1381-95, 6.5.1
SENDER_WAITS_S: Final = 15.0  # E1381-95, 6.5.2
RECEIVER_WAITS_S: Final = 30.0
AFTER_NAK_S: Final = 10.0  # E1381-95, 6.2
AFTER_CONTENTION_S: Final = 1.0
MEASURING_S: Final = 120.0  # assumed
DRAWN_UL: Final = 20.0  # assumed
RESULTS_MAX: Final = 100  # assumed
MESSAGE_MAX: Final = 64_000  # assumed: characters of one message
KEYS: Final = ("START",)

COUNTS: Final = "ORDER"
"""The acting request, as moments name it."""


@dataclass(slots=True)
class _Run:
    """One count: of which sample, and what came of it."""

    number: int
    sample: str
    counted: Counted | None = None
    not_done: str = ""
    done: datetime | None = None


@dataclass(slots=True)
class _Incoming:
    """A message that the host is sending."""

    expects: int = 1
    text: str = ""
    announced: bool = False


@dataclass(slots=True)
class _Outgoing:
    """A message that the counter is sending."""

    frames: list[bytes]
    acts: bool  # whether it reports an ordered count
    at: int = -1  # which frame; -1 is ENQ
    sendings: int = 0


@dataclass(slots=True)
class _Link:
    """One line and where the exchange on it stands."""

    line: Transport
    incoming: _Incoming | None = None
    outgoing: _Outgoing | None = None
    heard: bytearray = field(default_factory=bytearray)
    timer: asyncio.TimerHandle | None = None


class AstmCellCounter(Emulator):
    """A counter with one place for a tube.

    Args:
        world: The room it stands in.
        equipment: Its name in the room.
        place: Where its tube stands.
        measuring_s: From the order to the result.
        drawn_uL: What a count uses up.
        started: What its clock shows at the World's second 0.
    """

    model: ClassVar[str] = "astm_cell_counter"

    def __init__(
        self,
        world: World,
        equipment: str,
        *,
        place: str = "counter",
        measuring_s: float = MEASURING_S,
        drawn_uL: float = DRAWN_UL,
        started: Instant = USUAL_START,
    ) -> None:
        super().__init__(world, equipment)
        self._place = place
        self._measuring_s = measuring_s
        self._drawn_uL = drawn_uL
        self._clock_at_0 = started.as_datetime()
        self._link: _Link | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._forget()

    def _forget(self) -> None:
        self._messages = 0
        self._runs = 0
        self._results: deque[_Run] = deque(maxlen=RESULTS_MAX)
        self._counting: _Run | None = None
        self._outbox: deque[_Outgoing] = deque()

    @property
    def is_counting(self) -> bool:
        """Return whether a count is under way."""
        return self._counting is not None

    # ---------------------------------------------------------------- the line

    async def serve(self, line: Transport) -> None:
        """Speak on ``line`` until it closes."""
        link = _Link(line)
        self._link = link
        try:
            while True:
                for byte in await line.receive():
                    self._hear(link, byte)
        except LineClosedError:
            pass
        finally:
            self._wait(link, None)
            self._outbox.clear()
            if self._link is link:
                self._link = None

    def _send(self, link: _Link, data: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._sent(link.line, data))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _sent(self, line: Transport, data: bytes) -> None:
        with contextlib.suppress(LineClosedError):
            await line.send(data)

    def _wait(self, link: _Link, seconds: float | None) -> None:
        """Be patient for so long from now on, or no longer."""
        if link.timer is not None:
            link.timer.cancel()
        link.timer = None
        if seconds is not None:
            link.timer = self._after(seconds, lambda: self._waited(link))

    def _waited(self, link: _Link) -> None:
        link.timer = None
        if link.incoming is not None:
            link.incoming = None
            link.heard.clear()
            self._send_next(link)
        elif link.outgoing is not None:
            if link.outgoing.at < 0 and link.outgoing.sendings < 0:
                link.outgoing.sendings = -link.outgoing.sendings
                self._send_frame(link, link.outgoing)
            else:
                self._give_up(link)

    def _hear(self, link: _Link, byte: int) -> None:
        if link.outgoing is not None:
            self._hear_answer(link, link.outgoing, byte)
        elif link.incoming is not None:
            self._hear_message(link, link.incoming, byte)
        elif byte == ENQ:
            self._begin_receiving(link)

    # ---------------------------------------------------------------- receiving

    def _begin_receiving(self, link: _Link) -> None:
        link.incoming = _Incoming()
        link.heard.clear()
        self._send(link, bytes([ACK]))
        self._wait(link, RECEIVER_WAITS_S)

    def _hear_message(self, link: _Link, message: _Incoming, byte: int) -> None:
        heard = link.heard
        if not heard:
            if byte == EOT:
                link.incoming = None
                self._wait(link, None)
                self._take(message.text)
                self._send_next(link)
            elif byte == STX:
                heard.append(byte)
            elif byte == ENQ:
                self._begin_receiving(link)
            return
        if byte in (ENQ, EOT, STX):  # none can stand in a text: the host begins or ends anew
            heard.clear()
            self._hear_message(link, message, byte)
            return
        heard.append(byte)
        self._announce(message, heard)
        ended = byte == LF and len(heard) >= 7 and heard[-2] == CR and heard[-5] in (ETX, ETB)
        if not ended and len(heard) <= FRAME_MAX:
            return
        frame = bytes(heard)
        heard.clear()
        self._wait(link, RECEIVER_WAITS_S)
        self._send(link, bytes([ACK if ended and self._take_frame(message, frame) else NAK]))

    def _announce(self, message: _Incoming, heard: bytearray) -> None:
        """Tell of the first byte of an order record."""
        begins = not message.text or message.text.endswith("\r")
        if not message.announced and len(heard) == 3 and begins and heard[2] == ord("O"):
            message.announced = True
            self._moment(Moment.ARRIVING, COUNTS)

    def _take_frame(self, message: _Incoming, frame: bytes) -> bool:
        """Take a frame's text; return whether it was good."""
        body, given = frame[1:-4], frame[-4:-2]
        if given.decode("latin-1") != checksum(body) or not body[:1].isdigit():
            return False
        number = int(body[:1])
        if number == (message.expects - 1) % 8 and message.text:
            return True  # sent again because our ACK was lost
        if number != message.expects or len(message.text) > MESSAGE_MAX:
            return False
        message.expects = (number + 1) % 8
        message.text += body[1:-1].decode("latin-1")
        return True

    # ---------------------------------------------------------------- what it is told

    def _take(self, text: str) -> None:
        """Obey a whole message: orders and queries."""
        records = [record for record in text.split("\r") if record]
        if not records or len(records[0]) < 5 or records[0][0] != "H" or records[-1][0] != "L":
            return
        between, component = records[0][1], records[0][3]
        for record in records:
            fields = [*record.split(between), "", ""]
            if fields[0] == "O":
                self._take_order(fields[2].split(component)[0])
            elif fields[0] == "Q":
                asked = [part for part in fields[2].split(component) if part]
                self._take_query(asked[0] if asked else "")

    def _take_order(self, sample: str) -> None:
        self._moment(Moment.ARRIVED, COUNTS)
        if self._counting is not None:
            run = _Run(0, sample, not_done="counting another sample", done=self._clock())
            self._report(run, "X", acts=True)
            return
        self._count(sample, self.equipment, self._next_fault())

    def _take_query(self, sample: str) -> None:
        counting = self._counting
        if counting is not None and sample in (counting.sample, "ALL"):
            self._report(counting, "I", acts=False)
            return
        for run in reversed(self._results):
            if sample in (run.sample, "ALL"):
                self._report(run, "X" if run.not_done else "F", acts=False)
                return
        self._report(_Run(0, sample), "Y", acts=False)

    # ---------------------------------------------------------------- counting

    def _count(self, sample: str, by: str, fault: Planted | None) -> None:
        """Draw from the tube that stands in the counter, and count for a while."""
        self._runs += 1
        run = _Run(self._runs, sample)
        tube = self.world.at(self._place)
        drawn_uL = self._drawn_uL / 2.0 if fault is Planted.HALF else self._drawn_uL
        try:
            if tube is None:
                raise ImpossibleError("no tube")
            if fault is Planted.SWALLOWED:
                run.counted = self.world.count(tube, drawn_uL=drawn_uL, counter=self.equipment)
            else:
                for _ in range(2 if fault is Planted.DOUBLED else 1):
                    run.counted = self.world.analyse(self.equipment, tube, drawn_uL=drawn_uL, by=by)
        except ImpossibleError as impossible:
            run.not_done = "too little in the tube" if tube is not None else str(impossible)
            self._finish(run, by)
            return
        self._counting = run
        ordered = by == self.equipment
        self._timers = [self._after(self._measuring_s, lambda: self._counted(run, by))]
        if ordered:
            halfway_s = self._measuring_s / 2.0
            self._timers.append(self._after(halfway_s, lambda: self._moment(Moment.MOVING, COUNTS)))

    def _counted(self, run: _Run, by: str) -> None:
        self._counting = None
        if by == self.equipment:
            self._moment(Moment.ENDED, COUNTS)
        self._finish(run, by)

    def _finish(self, run: _Run, by: str) -> None:
        run.done = self._clock()
        self._results.append(run)
        self._report(run, "X" if run.not_done else "F", acts=by == self.equipment)

    def _clock(self) -> datetime:
        return self._clock_at_0 + timedelta(seconds=self.world.now())

    # ---------------------------------------------------------------- sending

    def _report(self, run: _Run, report_type: str, *, acts: bool) -> None:
        """Send what is known of a count, when the line is free; without a line it is kept."""
        link = self._link
        if link is None:
            return
        self._messages += 1
        frames = in_frames(self._records(run, report_type))
        self._outbox.append(_Outgoing(frames, acts))
        self._send_next(link)

    def _records(self, run: _Run, report_type: str) -> list[str]:
        stamp = f"{self._clock():%Y%m%d%H%M%S}"
        number = str(run.number) if run.number else ""
        records = [
            rf"H|\^&|{self._messages}||{self.equipment}|||||HOST||P|1|{stamp}",
            "P|1",
            f"O|1|{run.sample}|{number}|^^^ALL|R{'|' * 20}{report_type}",
        ]
        if report_type == "X":
            records.append(f"C|1|I|{run.not_done}|I")
        if report_type == "F" and run.counted is not None and run.done is not None:
            seen = run.counted
            for n, (test, value, unit) in enumerate(
                (
                    ("VCD", f"{seen.viable_per_mL:.0f}", "cells/mL"),
                    ("VIA", f"{seen.viability * 100.0:.1f}", "%"),
                    ("CD3", f"{seen.cd3_share * 100.0:.1f}", "%"),
                    ("CAR", f"{seen.car_share * 100.0:.1f}", "%"),
                ),
                start=1,
            ):
                done = f"{run.done:%Y%m%d%H%M%S}"
                records.append(f"R|{n}|^^^{test}|{value}|{unit}||N||F||||{done}")
        records.append(f"L|1|{'I' if report_type == 'Y' else 'N'}")
        return records

    def _send_next(self, link: _Link) -> None:
        if link.incoming is None and link.outgoing is None and self._outbox:
            link.outgoing = self._outbox.popleft()
            if link.outgoing.acts:
                self._moment(Moment.REPLYING, COUNTS)
            self._send_frame(link, link.outgoing)

    def _send_frame(self, link: _Link, message: _Outgoing) -> None:
        message.sendings += 1
        self._send(link, bytes([ENQ]) if message.at < 0 else message.frames[message.at])
        self._wait(link, SENDER_WAITS_S)

    def _hear_answer(self, link: _Link, message: _Outgoing, byte: int) -> None:
        if message.sendings < 0:  # pausing before it asks again
            if byte == ENQ:
                self._outbox.appendleft(message)
                message.sendings = -message.sendings
                link.outgoing = None
                self._begin_receiving(link)
            return
        if byte == ACK or (byte == EOT and message.at >= 0):
            message.at += 1
            message.sendings = 0
            if byte == EOT or message.at == len(message.frames):
                self._give_up(link)
            else:
                self._send_frame(link, message)
        elif byte in (NAK, ENQ) and message.at < 0:
            if message.sendings >= SENDINGS_MAX:
                self._give_up(link)
            else:
                message.sendings = -message.sendings
                self._wait(link, AFTER_NAK_S if byte == NAK else AFTER_CONTENTION_S)
        elif message.at >= 0:
            if message.sendings >= SENDINGS_MAX:
                self._give_up(link)
            else:
                self._send_frame(link, message)

    def _give_up(self, link: _Link) -> None:
        """End the message, sent or not."""
        link.outgoing = None
        self._wait(link, None)
        self._send(link, bytes([EOT]))
        self._send_next(link)

    # ---------------------------------------------------------------- by hand

    def press(self, key: str) -> None:
        """Press START: count the tube that stands there, under no sample."""
        if key not in KEYS:
            raise ValueError(
                f"{self.equipment}: the panel of {self.model} has no key {key!r}; "
                f"it has {', '.join(KEYS)}"
            )
        if self._counting is None:
            self._count("", f"panel:{self.equipment}", None)

    def power_cycle(self) -> None:
        """Forget results and numbers; a count under way is lost with what it drew."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._forget()
        link = self._link
        if link is not None:
            self._wait(link, None)
            link.incoming, link.outgoing = None, None
            link.heard.clear()


def checksum(body: bytes) -> str:
    """Return the two hex digits for a frame's bytes from its number to ETX or ETB."""
    return f"{sum(body) & 0xFF:02X}"


def in_frames(records: list[str]) -> list[bytes]:
    """Return the frames that carry ``records``: one each, or several for a long one."""
    parts: list[tuple[bytes, int]] = []
    for record in records:
        text = f"{record}\r".encode("latin-1", errors="replace")
        pieces = [text[at : at + TEXT_MAX] for at in range(0, len(text), TEXT_MAX)]
        parts += [(piece, ETB) for piece in pieces[:-1]] + [(pieces[-1], ETX)]
    frames: list[bytes] = []
    for n, (text, end) in enumerate(parts, start=1):
        body = b"%d" % (n % 8) + text + bytes([end])
        frames.append(bytes([STX]) + body + checksum(body).encode("ascii") + b"\r\n")
    return frames
