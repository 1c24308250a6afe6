r"""Driver of a cell counter that speaks ASTM E1381 and E1394 (CLSI LIS01-A2, LIS02-A2).

Source: ASTM E1381-95 and E1394-97 as in Beckman Coulter C03112-AF, chapters 2 and 3, and
Horiba RAA055DEN. From the published manual; not tried on hardware. No maker of a cell
counter publishes its interface; this is the one that haematology analyzers speak.

Link (E1381): whoever has something to send bids with ENQ. The other answers ACK, NAK
(busy), or bids itself: then the counter goes first.

    frame     STX n text ETX|ETB cc CR LF    n counts 1 to 7, 0; cc is the sum of n to
              ETX modulo 256, two hex digits; text has at most 240 characters
    answers   ACK; NAK, and the frame is sent once more, six times in all
    end       EOT

Message (E1394): records that end with CR, one a frame, fields parted by |, components by ^.

    order     H P O L    O-3 the sample, O-5 the tests as ^^^code
    query     H Q L      Q-3 ^sample, Q-5 ALL
    result    H P O R... L    R-3 the test, R-4 value, R-5 unit, R-9 status, R-13 completed

The frame with the O record is an act's trigger. Bid, header and patient record are
preparations; an order without its L is dropped by the counter. A refused trigger isn't
sent again within its attempt, though E1381 would allow that.

The counter sends a result by itself when it has measured; one that didn't come is asked
for. A result is known by its sample and by its own number: when it was completed (R-13)
or, where that is missing, its message's number (H-3). A higher number than before the
attempt is the attempt's. An answer without a result may mean that the counter still
measures, so it is asked again after the longest time that a count takes.

The checksum is a sum: one damaged frame in 256 passes it, and one with two signs swapped
always. So a result counts once a query has told it again, all alike. After a lost
acknowledgement the message is given up, and the counter, which says nothing of itself, has
to take the next bid first.

A count can't be stopped over this interface, and there is no power-cycle witness: results
are asked for by sample.

Unconfirmed: see the sheet.
"""

from __future__ import annotations

import asyncio
import contextlib
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pydantic import Field, model_validator

from devices.drivers.reads import ALIKE_ATTEMPTS_MAX, READ_ATTEMPTS_MAX, not_offered
from devices.interfaces.cell_count import CountCells, CounterReady
from devices.interfaces.driver import DeviceIdentity, Settled, Standing
from devices.sheets.sheet import sheet_of
from devices.transport.conversation import Conversation, NoReplyError
from devices.transport.framing import Cut
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
    OutcomeUnknownError,
    RefusedError,
)
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import CellDensity, Duration, Fraction, second

if TYPE_CHECKING:
    from devices.transport.transport import Transport
    from orchestrator.kernel.identifiers import CommandId, EquipmentId

SHEET: Final = "astm_cell_counter"

STX: Final = b"\x02"
ETX: Final = b"\x03"
EOT: Final = b"\x04"
ENQ: Final = b"\x05"
ACK: Final = b"\x06"
NAK: Final = b"\x15"
ETB: Final = b"\x17"

FRAME_MAX: Final = 247  # E1381: 240 characters of text and seven around them
SENDS_MAX: Final = 6  # E1381: the first and five repetitions
BIDS_MAX: Final = 60  # ten minutes of a busy counter
RESULTS_MAX: Final = 10_000

_ALONE: Final = ENQ + ACK + NAK + EOT
_HEADER: Final = rb"H|\^&|||cellwright|||||||P|1"
_PATIENT: Final = b"P|1"
_LAST: Final = b"L|1|N"
_ABORTED: Final = ("T", "R", "E", "Q")  # E1394: how a message ends that doesn't say all

_NOT_DONE: Final = "X"
_PENDING: Final = ("I", "P")

_PER_ML: Final = {
    "cells/mL": 1,
    "/mL": 1,
    "10*3/mL": 1_000,
    "10*6/mL": 1_000_000,
    "10^6/mL": 1_000_000,
    "10*3/uL": 1_000_000,
    "10*6/L": 1_000,
    "10*9/L": 1_000_000,
}

Measured = Literal["viable_density", "viability", "cd3", "engineered"]


class Settings(Frozen):
    """What the process cell file says of one counter."""

    tests: dict[Measured, str] = Field(description="What is measured to the counter's test code")

    @model_validator(mode="after")
    def _counts(self) -> Settings:
        missing = {"viable_density", "viability"} - set(self.tests)
        if missing:
            raise ValueError(f"tests: {', '.join(sorted(missing))} is missing")
        if not all(code.isalnum() for code in self.tests.values()):
            raise ValueError("tests: a code has letters and digits alone")
        return self


class Result(NamedTuple):
    """What a message says of one sample; without values it is only about its order."""

    sample: str
    number: str  # digits; the higher, the later
    message: str
    values: dict[str, tuple[str, str, str]]  # test code to value, unit, status
    status: str = ""  # O-26: F final, I pending in the instrument, X can't be done
    comment: str = ""


def checksum(body: bytes) -> bytes:
    """Return the two digits over what stands from the frame's number to its ETX or ETB."""
    return b"%02X" % (sum(body) % 256)


def frame_of(number: int, record: bytes) -> bytes:
    """Return the frame that carries a whole record."""
    body = b"%d%s\r" % (number % 8, record) + ETX
    assert len(body) <= FRAME_MAX - 5, "a record of ours fits in one frame"
    return STX + body + checksum(body) + b"\r\n"


def link(buffer: bytearray) -> Cut | None:
    """Frame single control characters, and frames from STX to LF as they came."""
    first = bytes(buffer[:1])
    if first in _ALONE:
        return Cut(1, first)
    if first != STX:
        return Cut(1, None, 1)
    end = buffer.find(b"\n")
    for sign in (ENQ, EOT, STX):
        again = buffer.find(sign, 1, end if end >= 0 else len(buffer))
        if again >= 0:
            return Cut(again, None, again)
    if end >= 0:
        return Cut(end + 1, bytes(buffer[: end + 1]))
    return Cut(1, None, 1) if len(buffer) > FRAME_MAX else None


def text_of(frame: bytes) -> tuple[int, bytes, bool] | None:
    """Return a frame's number, its text and whether it ends a record; None if damaged."""
    body, ends = frame[1:-4], frame[-5:-4]
    whole = len(frame) >= 7 and ends in (ETX, ETB) and frame[-2:] == b"\r\n"
    if not whole or frame[-4:-2].upper() != checksum(body) or not body[:1].isdigit():
        return None
    return int(body[:1]), body[1:-1], ends == ETX


def results_in(records: list[str]) -> list[Result]:
    """Return what a message says, one for each of its order records."""
    if not records or not records[0].startswith("H") or len(records[0]) < 5:
        return []
    field, component = records[0][1], records[0][3]
    message = _field(records[0].split(field), 2)
    found: list[Result] = []
    for record in records[1:]:
        fields = record.split(field)
        if fields[0] == "O":
            sample = next((part for part in _field(fields, 2).split(component) if part), "")
            number = message if message.isdigit() else "0"
            found.append(Result(sample, number, message, {}, status=_field(fields, 25)))
        elif fields[0] == "C" and found and not found[-1].comment:
            found[-1] = found[-1]._replace(comment=_field(fields, 3))
        elif fields[0] == "R" and found:
            codes = _field(fields, 2).split(component)
            code = codes[3] if len(codes) > 3 and codes[3] else next(filter(None, codes), "")
            found[-1].values[code] = (_field(fields, 3), _field(fields, 4), _field(fields, 8))
            completed = _field(fields, 12)
            if completed.isdigit() and int(completed) > int(found[-1].number):
                found[-1] = found[-1]._replace(number=completed)
    return found


def is_whole(records: list[str]) -> bool:
    """Return whether a message came to its own end: a sender that gives up ends the link too."""
    if len(records) < 2 or not records[0].startswith("H") or len(records[0]) < 2:
        return False
    fields = records[-1].split(records[0][1])
    return fields[0] == "L" and _field(fields, 2) not in _ABORTED


class AstmCellCounter:
    """One counter on one line. Implements ``Driver`` for ``cell_count``."""

    def __init__(self, transport: Transport, *, equipment: EquipmentId, settings: Settings) -> None:
        """Take over the line.

        Args:
            transport: The counter's line.
            equipment: Its name in the process cell.
            settings: Its test codes.
        """
        sheet = sheet_of(SHEET)
        self._equipment = equipment
        self._tests = settings.tests
        self._line = Conversation(transport, link, is_unasked=self._is_unasked)
        self._reply_within = sheet.figure("reply_within", Duration)
        self._frame_within_s = sheet.figure("frame_within", Duration).to(second)
        self._bid_again_s = sheet.figure("bid_again", Duration).to(second)
        self._query_after_s = sheet.figure("query_after", Duration).to(second)
        self._link = asyncio.Lock()  # held while a message of ours is under way
        self._awaits = b""  # which signs, besides ACK and NAK, are answers now
        self._number = 0
        self._receiving = False
        self._link_free = asyncio.Event()
        self._link_free.set()
        self._drops_message: asyncio.TimerHandle | None = None
        self._text = bytearray()
        self._last_number = -1
        self._records: list[str] = []
        self._messages = 0
        self._came = asyncio.Condition()
        self._results: dict[tuple[str, str], Result] = {}
        self._orders: dict[str, tuple[int, Result]] = {}  # sample to message and what it said
        self._ordered_after = 0  # messages that had come before the last order
        self._newest = ""

    @property
    def equipment(self) -> EquipmentId:
        return self._equipment

    @property
    def model(self) -> str:
        return SHEET

    @property
    def only_acts_change(self) -> Facts:
        """Return the tolerances: a result that no act asked for was counted at the panel."""
        return {"result": "equal"}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._line.run(), name=f"reader of {self._line.name}")
            group.create_task(self._listen(), name=f"listener on {self._line.name}")

    async def identify(self) -> DeviceIdentity:
        """Return the model alone: the counter says what it is in its results only."""
        await self._is_ready()
        return DeviceIdentity(model=SHEET)

    async def standing(self) -> Standing:
        """Return the number of the newest result, as far as this connection has seen one."""
        await self._is_ready()
        return Standing(values={"result": self._newest} if self._newest else {})

    async def prepare(self, act: Act) -> None:
        """Look at what the counter holds. The link isn't kept: an order may never follow.

        Raises:
            RefusedError: The counter holds a result of this sample that this
                connection hadn't seen and that the attempt could be taken for. Nothing
                was ordered.
            OutcomeUnknownError: No answer. Nothing was ordered.
        """
        asked = self._mine(act)
        self._order(asked)
        if not self._newest:
            found = await self._query(asked)
            if found:
                raise RefusedError(
                    self._what(asked),
                    why=f"the counter holds {len(found)} of this sample already",
                    do_next="Resume: the next attempt tells its own result from these",
                )

    async def trigger(self, act: Act, command: CommandId) -> None:
        """Bid for the link and send the order, whose frame is the trigger.

        Raises:
            RefusedError: The counter is busy. Nothing was ordered.
            FailedError: It refused the order's frame. Nothing was ordered.
            OutcomeUnknownError: It didn't acknowledge.
        """
        asked = self._mine(act)
        async with self._link:
            await self._bid(self._what(asked))
            await self._send_order(asked, command)

    async def _send_order(self, asked: CountCells, command: CommandId) -> None:
        self._ordered_after = self._messages
        try:
            await self._send(_HEADER)
            await self._send(_PATIENT)
            if not await self._send_once(self._order(asked), command):
                raise FailedError(
                    self._what(asked),
                    why="the counter refused the order as damaged",
                    do_next="Check the line, then let it be ordered again",
                )
            await self._send_last(asked)
        except NoReplyError as lost:
            raise OutcomeUnknownError(
                self._what(asked),
                why=f"the counter didn't acknowledge within {self._reply_within}",
                do_next="Do not repeat it; let the counter be asked for a result",
            ) from lost
        finally:
            await self._end()

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        """Wait for the result.

        Raises:
            DeviceFaultError: The counter couldn't count, or its result can't be used. Some
                of the sample may be spent.
            OutcomeUnknownError: The line closed. The counter goes on by itself.
        """
        asked = self._mine(act)
        while True:
            result = await self._result_after(asked, before, self._query_after_s)
            refused = self._refused(asked)
            if result is None and refused is None:
                return await self.effect_of(act, command, before)
            if result is not None:
                return self._settled(asked, await self._told_again(asked, before, result))
            if refused is not None:
                raise self._unusable(asked, refused.comment or "the count can't be done")

    async def effect_of(self, act: Act, command: CommandId, before: Standing) -> Settled:
        """Ask for results of the sample; if there is none, wait out a count and ask again."""
        del command
        asked = self._mine(act)
        asked_once = False
        while True:
            messages = self._messages
            if await self._query(asked, patient=True) is None:
                raise self._no_message(asked)
            result = self._newer(asked, before)
            order = self._order_since(asked, messages)
            if result is None and (not asked_once or (order and order.status in _PENDING)):
                asked_once = True
                result = await self._result_after(asked, before, self._query_after_s)
                if result is None:
                    continue
            if result is not None:
                return self._settled(asked, await self._told_again(asked, before, result))
            report: EffectReport = NothingDone(
                why=f"the counter has no newer result of {asked.sample}"
            )
            if order is not None and order.status == _NOT_DONE:
                report = CannotTell(why=f"the counter says of a count: {order.comment or 'X'}")
            return Settled(report=report, standing=await self.standing())

    async def quieten(self, how: Quieten) -> None:
        """Do nothing: a count can't be stopped over this interface, and moves nothing else."""
        del how

    async def read(self, reading: Reading) -> str:
        if not isinstance(reading, CounterReady):
            raise not_offered(self._equipment, reading.kind)
        return "yes" if await self._is_ready() else "no"

    async def close(self) -> None:
        await self._line.close()

    # Results ----------------------------------------------------------------------

    def _newer(self, asked: CountCells, before: Standing) -> Result | None:
        """Return the sample's first result after those that were known before."""
        known = int(before.values.get("result", "0"))
        newer = [
            result
            for result in self._results.values()
            if result.sample == asked.sample and int(result.number) > known
        ]
        return min(newer, key=lambda result: int(result.number), default=None)

    async def _told_again(self, asked: CountCells, before: Standing, result: Result) -> Result:
        """Return the attempt's result once two messages in a row tell it alike.

        Raises:
            OutcomeUnknownError: It doesn't answer, no two answers are alike, or it has no
                such result when it is asked again.
        """
        why = "no two of its messages in a row are alike"
        earlier: Result | None = result
        for _ in range(ALIKE_ATTEMPTS_MAX):
            self._forget(asked)
            if await self._query(asked, patient=True) is None:
                raise self._no_message(asked)
            later = self._newer(asked, before)
            if later is None and earlier is None:
                why = "it told a result, and has none when it is asked again"
                break
            if later is not None and earlier is not None and _is_alike(earlier, later):
                return later
            earlier = later
        raise OutcomeUnknownError(
            f"{self._equipment}: ask for results of {asked.sample}",
            why=why,
            do_next="Look at the counter and at the line, then resume",
        )

    def _forget(self, asked: CountCells) -> None:
        """Forget what was told of a sample, so that the next message alone says it."""
        for key in [key for key in self._results if key[0] == asked.sample]:
            del self._results[key]
        known = (int(one.number) for one in self._results.values())
        self._newest = str(max(known, default=0) or "")

    def _no_message(self, asked: CountCells) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"{self._equipment}: ask for results of {asked.sample}",
            why=f"no message came within {self._frame_within_s:g} s",
            do_next="Check cable and counter, then resume",
        )

    def _order_since(self, asked: CountCells, messages: int) -> Result | None:
        """Return what was last said of the sample's order, if that came after so many."""
        came, order = self._orders.get(asked.sample, (0, None))
        return order if came > messages else None

    def _refused(self, asked: CountCells) -> Result | None:
        """Return what the counter said if it can't do the count that was ordered last."""
        order = self._order_since(asked, self._ordered_after)
        return order if order is not None and order.status == _NOT_DONE else None

    async def _result_after(
        self, asked: CountCells, before: Standing, within_s: float
    ) -> Result | None:
        """Return the attempt's result, or None if it hasn't come in time."""
        try:
            async with asyncio.timeout(within_s), self._came:
                while True:
                    result = self._newer(asked, before)
                    if result is not None:
                        return result
                    if self._refused(asked) is not None:
                        return None
                    if self._line.closed:
                        raise self._gone(f"wait for the count of {asked.sample}")
                    await self._came.wait()
        except TimeoutError:
            return None

    def _settled(self, asked: CountCells, result: Result) -> Settled:
        """Return the result as the act's effect.

        Raises:
            DeviceFaultError: It can't be used. Some of the sample is spent.
        """
        detail = {"result": result.number}
        if result.message:
            detail["message"] = result.message
        for name, code in self._tests.items():
            if code in result.values:
                detail[name] = self._value(asked, name, *result.values[code])
        if "viable_density" not in detail or "viability" not in detail:
            raise self._unusable(asked, f"it has only {', '.join(sorted(result.values))}")
        return Settled(
            report=AllDone(effect=Effect(done="1", detail=detail)),
            standing=Standing(values={"result": self._newest}),
        )

    def _value(self, asked: CountCells, name: str, value: str, unit: str, status: str) -> str:
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise self._unusable(asked, f"{name} is {value!r}") from None
        if status == "X" or not number.is_finite() or number < 0:
            raise self._unusable(asked, f"{name} could not be measured")
        if name == "viable_density":
            if unit not in _PER_ML:
                raise self._unusable(asked, f"{name} comes in {unit!r}")
            return str(CellDensity.of_base(int((number * _PER_ML[unit]).to_integral_value())))
        if unit != "%":
            raise self._unusable(asked, f"{name} comes in {unit!r}")
        return str(Fraction.of_base(int((number * 1_000).to_integral_value())))

    def _unusable(self, asked: CountCells, why: str) -> DeviceFaultError:
        return DeviceFaultError(
            self._what(asked),
            why=f"the counter's result can't be used: {why}",
            do_next="Look at the counter, and count again if sample is left",
        )

    async def _query(self, asked: CountCells, *, patient: bool = False) -> list[Result] | None:
        """Ask for the sample's results; None if the counter sends no message at all.

        ``patient``: wait for as long as it is busy.
        """
        what = f"{self._equipment}: ask for results of {asked.sample}"
        async with self._link:
            await self._bid(what, patient=patient)
            messages = self._messages
            try:
                for record in (_HEADER, b"Q|1|^%s||ALL||||||||F" % self._sample(asked), _LAST):
                    await self._send(record)
            finally:
                await self._end()
        try:
            async with asyncio.timeout(self._frame_within_s), self._came:
                await self._came.wait_for(lambda: self._messages > messages or self._line.closed)
        except TimeoutError:
            return None
        return [one for one in self._results.values() if one.sample == asked.sample]

    # Sending ----------------------------------------------------------------------

    async def _is_ready(self) -> bool:
        """Return whether the counter takes a bid; the link is given back at once."""
        async with self._link:
            await self._link_free.wait()
            answer = await self._ask_for_link(f"{self._equipment}: ask whether it is ready")
            if answer == ACK:
                await self._end()
            return answer == ACK

    async def _bid(self, what: str, *, patient: bool = False) -> None:
        """Get the link for a message of ours. ``patient``: however long it is busy.

        Raises:
            RefusedError: The counter stays busy. Nothing was sent.
            OutcomeUnknownError: No answer. Nothing was sent.
        """
        bids = 0
        while patient or bids < BIDS_MAX:
            bids += 1
            await self._link_free.wait()
            answer = await self._ask_for_link(what)
            if answer == ACK:
                self._number = 0
                return
            if answer == NAK:
                await asyncio.sleep(self._bid_again_s)
        raise RefusedError(
            what,
            why=f"it is busy, at each of {BIDS_MAX} bids",
            do_next="Let the counter finish, and resume",
        )

    async def _ask_for_link(self, what: str) -> bytes:
        why = f"no answer in {READ_ATTEMPTS_MAX} attempts of {self._reply_within}"
        self._awaits = ENQ
        try:
            for _ in range(READ_ATTEMPTS_MAX):
                try:
                    answer = await self._line.ask(
                        ENQ, within=self._reply_within, fits=lambda sign: sign in (ACK, NAK, ENQ)
                    )
                except NoReplyError:
                    continue
                except LineClosedError:
                    why = "the line is closed"
                    break
                if answer == ENQ:  # it bids too, and goes first
                    self._begin_to_receive()
                    await self._line.tell(ACK)
                return answer
        finally:
            self._awaits = b""
        raise OutcomeUnknownError(what, why=why, do_next="Check cable and power, then resume")

    async def _send(self, record: bytes) -> None:
        """Send a record that may arrive twice: its frame's number tells the counter.

        Raises:
            OutcomeUnknownError: It wasn't acknowledged. The counter drops what it has.
        """
        self._number += 1
        for _ in range(SENDS_MAX):
            if await self._frame_taken(frame_of(self._number, record), None):
                return
        raise OutcomeUnknownError(
            f"{self._equipment}: send a record",
            why=f"it was refused {SENDS_MAX} times",
            do_next="Check the line, then resume",
        )

    async def _send_once(self, record: bytes, command: CommandId) -> bool:
        self._number += 1
        return await self._frame_taken(frame_of(self._number, record), command)

    async def _frame_taken(self, frame: bytes, trigger: CommandId | None) -> bool:
        self._awaits = EOT  # E1381: taken, and the receiver asks to interrupt
        try:
            answer = await self._line.ask(
                frame,
                within=self._reply_within,
                fits=lambda sign: sign in (ACK, NAK, EOT),
                trigger=trigger,
            )
        finally:
            self._awaits = b""
        return answer != NAK

    async def _send_last(self, asked: CountCells) -> None:
        try:
            await self._send(_LAST)
        except LineClosedError as closed:
            raise self._gone(self._what(asked)) from closed

    async def _end(self) -> None:
        """Give the link back. A counter that doesn't hear it does so itself in time."""
        with contextlib.suppress(LineClosedError, NoReplyError):
            await self._line.tell(EOT)

    # Receiving --------------------------------------------------------------------

    def _is_unasked(self, frame: bytes) -> bool:
        return frame[:1] in (ENQ, EOT, STX) and frame[:1] != self._awaits

    async def _listen(self) -> None:
        """Take what the counter sends, and acknowledge it, until the line closes."""
        try:
            while True:
                await self._take(await self._line.unasked())
        except (LineClosedError, NoReplyError):
            pass
        finally:
            self._stop_receiving()
            async with self._came:
                self._came.notify_all()

    async def _take(self, frame: bytes) -> None:
        if frame == ENQ:
            self._begin_to_receive()
            await self._line.tell(ACK)
        elif frame == EOT:
            if self._receiving and is_whole(self._records):
                self._messages += 1
                self._keep(results_in(self._records))
            self._stop_receiving()
            async with self._came:
                self._came.notify_all()
        elif self._receiving:
            self._wait_for_frame()
            await self._line.tell(ACK if self._is_taken(frame) else NAK)

    def _is_taken(self, frame: bytes) -> bool:
        """Add a frame to the message; False if it is damaged or out of order."""
        read = text_of(frame)
        if read is None:
            return False
        number, text, ends = read
        if number == self._last_number:  # our ACK was lost, and it sent the frame again
            return True
        if number != (self._last_number + 1) % 8:
            return False
        self._last_number = number
        self._text += text
        if ends:
            whole = self._text.decode("latin-1")
            self._records += [record for record in whole.split("\r") if record]
            self._text.clear()
        return True

    def _keep(self, results: list[Result]) -> None:
        for result in results:
            self._orders[result.sample] = (self._messages, result)
            if not result.values:
                continue
            self._results[result.sample, result.number] = result
            if int(result.number) > int(self._newest or "0"):
                self._newest = result.number
        while len(self._results) > RESULTS_MAX:
            del self._results[next(iter(self._results))]
        while len(self._orders) > RESULTS_MAX:
            del self._orders[next(iter(self._orders))]

    def _begin_to_receive(self) -> None:
        self._receiving = True
        self._link_free.clear()
        self._text.clear()
        self._records = []
        self._last_number = 0
        self._wait_for_frame()

    def _wait_for_frame(self) -> None:
        """Drop the message unless its next frame comes in time, whoever took its bid."""
        if self._drops_message is not None:
            self._drops_message.cancel()
        self._drops_message = asyncio.get_running_loop().call_later(
            self._frame_within_s, self._stop_receiving
        )

    def _stop_receiving(self) -> None:
        if self._drops_message is not None:
            self._drops_message.cancel()
            self._drops_message = None
        self._receiving = False
        self._link_free.set()

    # Records ----------------------------------------------------------------------

    def _order(self, asked: CountCells) -> bytes:
        tests = "\\".join(f"^^^{code}" for code in self._tests.values())
        return b"O|1|%s||%s|R||||||N" % (self._sample(asked), tests.encode("ascii"))

    def _sample(self, asked: CountCells) -> bytes:
        sample = str(asked.sample)
        if not sample.isascii() or set(sample) & set("|\\^&\r"):
            raise RefusedError(
                self._what(asked),
                why="the sample's id holds a sign that parts fields",
                do_next="Give samples ids of letters, digits and dashes",
            )
        return sample.encode("ascii")

    def _mine(self, act: Act) -> CountCells:
        if not isinstance(act, CountCells):
            raise not_offered(self._equipment, act.kind)
        return act

    def _what(self, asked: CountCells) -> str:
        return f"{self._equipment}: count the sample {asked.sample}"

    def _gone(self, what: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"{self._equipment}: {what}",
            why="the line is closed",
            do_next="Check cable and power, then resume",
        )


def _is_alike(earlier: Result, later: Result) -> bool:
    return (earlier.number, earlier.values) == (later.number, later.values)


def _field(fields: list[str], index: int) -> str:
    return fields[index] if index < len(fields) else ""
