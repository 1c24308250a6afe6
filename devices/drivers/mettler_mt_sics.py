r"""Driver of a Mettler Toledo balance that speaks MT-SICS, on RS-232 or TCP.

Source: reference manuals MT-SICS 11780711 and 11781363. From the published manual; not
tried on hardware.

Line: 9600 baud, 8N1 (set at the balance; unconfirmed). Upper case, one space between
parts, CR LF both ways. The next request waits for the answer to the last one.

    S\r\n     S S <value, 10 characters, right-aligned> <unit>   stable weight
              S I  no stable weight   S +  overload   S -  underload   S S Error <n>
    T\r\n     T S <value> <unit>      tared; the value is the tare
              T I  not tared          T +  T -  out of range
    TA\r\n    TA A <value> <unit>     tare in memory        TA I  not now
    I2\r\n    I2 A "<type>"           I3 A "<software>"     I4 A "<serial number>"
    ES ET EL  not understood, damaged, not possible: nothing was done

An answer bears the request's name, and no checksum and no number: weight and tare are read
until two answers in a row agree. After a lost answer the line is silent, and the serial
number is asked for first.

``SI`` (the weight at once, stable or not) is never asked: a weight here is evidence, and
an unstable one is none. ``@`` is never sent, since it may clear the tare.

After power-up the balance sends ``I4 A`` by itself and its tare is lost. A tare that
isn't zero is therefore the power-cycle witness; a tare of zero shows nothing. A balance
at rest has nothing to quiet.

Unconfirmed: the line's settings; how long a balance waits for stability.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from devices.drivers.reads import READ_ATTEMPTS_MAX, not_offered, read_alike, read_frame
from devices.interfaces.driver import DeviceIdentity, Settled, Standing
from devices.interfaces.weighing import Tare, Weight
from devices.sheets.sheet import sheet_of
from devices.transport.conversation import Conversation, Greeting, NoReplyError
from devices.transport.framing import lines
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
from orchestrator.kernel.errors import DeviceFaultError, FailedError, OutcomeUnknownError
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import Duration, Mass, gram

if TYPE_CHECKING:
    from collections.abc import Callable

    from devices.transport.transport import Transport
    from orchestrator.kernel.identifiers import CommandId, EquipmentId

SHEET: Final = "mettler_mt_sics"

_VALUE: Final = rb" +(-?[0-9]{1,9}(?:\.[0-9]{1,6})?) (mg|g|kg)"
_MASS: Final = re.compile(rb"(?:S|T) S" + _VALUE)
_TARE: Final = re.compile(rb"TA A" + _VALUE)
_TEXT: Final = re.compile(rb'I[234] A "([ !#-~]*)"')
_GENERAL: Final = {
    b"ES": "it didn't understand the request",
    b"ET": "the request was damaged on the line",
    b"EL": "it can't do that",
}
_SPECIFIC: Final = {
    b"I": "it found no stable weight",
    b"L": "it doesn't take the value",
    b"+": "it is overloaded",
    b"-": "its load is below its range",
}


class Settings(Frozen):
    """What the process cell file says of one balance: nothing, it says all by itself."""


class MettlerMtSics:
    """One balance on one line. Implements ``Driver`` for ``weighing``."""

    def __init__(self, transport: Transport, *, equipment: EquipmentId, settings: Settings) -> None:
        """Take over the line.

        Args:
            transport: The balance's line.
            equipment: Its name in the process cell.
            settings: None are needed.
        """
        del settings
        sheet = sheet_of(SHEET)
        self._equipment = equipment
        self._reply_within = sheet.figure("reply_within", Duration)
        self._line = Conversation(
            transport,
            lines(b"\r\n", longest=200),
            is_unasked=self._is_restart,
            on_unasked=self._note_restart,
            greeting=Greeting(self._who, quiet=self._reply_within),
        )
        self._stable_within = sheet.figure("stable_within", Duration)
        self._zero_error = sheet.figure("zero_error", Mass)
        self._asks_serial = False
        self._restarts = 0
        self._restarts_at_trigger = 0
        self._only_acts_change = {"tare": "equal"}

    @property
    def equipment(self) -> EquipmentId:
        return self._equipment

    @property
    def model(self) -> str:
        return SHEET

    @property
    def only_acts_change(self) -> Facts:
        return self._only_acts_change

    async def run(self) -> None:
        await self._line.run()

    async def identify(self) -> DeviceIdentity:
        self._asks_serial = True
        try:
            serial = await self._text(b"I4", "serial number")
        finally:
            self._asks_serial = False
        self._line.knows(serial)
        return DeviceIdentity(
            model=await self._text(b"I2", "type"),
            serial=serial,
            firmware=await self._text(b"I3", "software"),
        )

    async def standing(self) -> Standing:
        return _standing(await self._tare())

    async def prepare(self, act: Act) -> None:
        """Nothing needs to be prepared; an act that isn't a tare is refused."""
        self._mine(act)

    async def trigger(self, act: Act, command: CommandId) -> None:
        self._mine(act)
        what = f"{self._equipment}: tare"
        self._restarts_at_trigger = self._restarts
        try:
            answer = await self._line.ask(
                b"T\r\n", within=self._stable_within, fits=_answers(b"T", _MASS), trigger=command
            )
        except NoReplyError as lost:
            raise OutcomeUnknownError(
                what,
                why=f"the balance didn't answer within {self._stable_within}",
                do_next="Do not repeat it; let tare and weight be read",
            ) from lost
        why = _refusal(answer, b"T")
        if why:
            raise FailedError(what, why=why, do_next="Let the load hang still, then tare again")

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        del command, before
        self._mine(act)
        tare = await self._tare()
        report: EffectReport = AllDone(effect=_tared(tare))
        if self._restarts != self._restarts_at_trigger:
            report = CannotTell(why="the balance restarted while it was tared; its tare is lost")
        return Settled(report=report, standing=_standing(tare))

    async def effect_of(self, act: Act, command: CommandId, before: Standing) -> Settled:
        del command
        self._mine(act)
        tare = await self._tare()
        net = Mass.read(await self._weight())
        report = self._judge(Mass.read(before.values["tare"]), tare, net)
        return Settled(report=report, standing=_standing(tare))

    async def quieten(self, how: Quieten) -> None:
        """Do nothing: a balance moves nothing and stops nothing."""
        del how

    async def read(self, reading: Reading) -> str:
        """Return the stable weight as text, e.g. ``"812.41 g"``.

        Raises:
            DeviceFaultError: It is over- or underloaded, or reports a fault.
            OutcomeUnknownError: No answer, or no stable weight, in the allowed attempts.
        """
        if not isinstance(reading, Weight):
            raise not_offered(self._equipment, reading.kind)
        return await self._weight()

    async def close(self) -> None:
        await self._line.close()

    def _judge(self, before: Mass, tare: Mass, net: Mass) -> EffectReport:
        """Return what tare and net weight say of a tare in doubt."""
        if tare == 0 * gram and before != tare:
            return CannotTell(why=f"the tare was {before} and is 0 g: tared empty, or restarted")
        if abs(net) <= self._zero_error:
            return AllDone(effect=_tared(tare))
        if tare == before:
            return NothingDone(why=f"the tare is still {tare}, and the balance reads {net}")
        return CannotTell(why=f"the tare went from {before} to {tare}, and it reads {net}")

    async def _weight(self) -> str:
        """Return the stable weight, twice alike within the balance's repeatability."""

        def alike(earlier: str, later: str) -> bool:
            return abs(Mass.read(earlier) - Mass.read(later)) <= self._zero_error

        what = f"{self._equipment}: weigh"
        return await read_alike(self._line, self._weight_once, alike=alike, what=what)

    async def _weight_once(self) -> str:
        what = f"{self._equipment}: weigh"
        for _ in range(READ_ATTEMPTS_MAX):
            answer = await self._read(b"S", _answers(b"S", _MASS), "weight", self._stable_within)
            why = _refusal(answer, b"S")
            if not why:
                return str(_mass(answer, _MASS))
            if answer in (b"S I", b"ES", b"ET"):
                continue
            raise DeviceFaultError(what, why=why, do_next="Check what hangs on the balance")
        raise OutcomeUnknownError(
            what,
            why=f"no stable weight in {READ_ATTEMPTS_MAX} attempts",
            do_next="Let the load hang still and free of the frame, then resume",
        )

    async def _tare(self) -> Mass:
        what = f"{self._equipment}: read the tare"
        return await read_alike(self._line, self._tare_once, what=what)

    async def _tare_once(self) -> Mass:
        answer = await self._read(b"TA", _answers(b"TA", _TARE), "tare", self._reply_within)
        why = _refusal(answer, b"TA")
        if why:
            raise OutcomeUnknownError(
                f"{self._equipment}: read the tare", why=why, do_next="Ask again in a moment"
            )
        return _mass(answer, _TARE)

    async def _text(self, request: bytes, what: str) -> str:
        def fits(frame: bytes) -> bool:
            return frame[:2] == request and _TEXT.fullmatch(frame) is not None

        async def once() -> bytes:
            return await self._read(request, fits, what, self._reply_within)

        return _quoted(await read_alike(self._line, once, what=f"{self._equipment}: read {what}"))

    async def _who(self) -> str:
        """Return the serial number; its answer isn't the restart that it looks like."""

        def fits(frame: bytes) -> bool:
            return frame[:2] == b"I4" and _TEXT.fullmatch(frame) is not None

        asked_already, self._asks_serial = self._asks_serial, True
        try:
            return _quoted(await self._line.ask(b"I4\r\n", within=self._reply_within, fits=fits))
        finally:
            self._asks_serial = asked_already

    async def _read(
        self, request: bytes, fits: Callable[[bytes], bool], what: str, within: Duration
    ) -> bytes:
        return await read_frame(
            self._line,
            request + b"\r\n",
            within=within,
            fits=fits,
            what=f"{self._equipment}: read the {what}",
        )

    def _is_restart(self, frame: bytes) -> bool:
        return frame.startswith(b"I4 A ") and not self._asks_serial

    def _note_restart(self, frame: bytes) -> None:
        del frame
        self._restarts += 1

    def _mine(self, act: Act) -> None:
        if not isinstance(act, Tare):
            raise not_offered(self._equipment, act.kind)


def _answers(name: bytes, value: re.Pattern[bytes]) -> Callable[[bytes], bool]:
    """Return whether a frame is a whole answer to ``name``: a value, or why there is none."""

    def fits(frame: bytes) -> bool:
        if value.fullmatch(frame) is not None:
            return frame.startswith(name + b" ")
        return frame in _GENERAL or _refusal(frame, name) != ""

    return fits


def _refusal(answer: bytes, name: bytes) -> str:
    """Return why the balance didn't do it, or nothing if it did."""
    if answer in _GENERAL:
        return _GENERAL[answer]
    if answer.startswith(name + b" S Error "):
        return f"it reports error {answer.rsplit(b' ', 1)[1].decode('ascii', 'replace')}"
    for sign, why in _SPECIFIC.items():
        if answer == name + b" " + sign:
            return why
    return ""


def _mass(answer: bytes, value: re.Pattern[bytes]) -> Mass:
    found = value.fullmatch(answer)
    assert found is not None, "the conversation gave a frame that doesn't fit"
    return Mass.read(f"{found[1].decode('ascii')} {found[2].decode('ascii')}")


def _quoted(answer: bytes) -> str:
    found = _TEXT.fullmatch(answer)
    assert found is not None, "the conversation gave a frame that doesn't fit"
    return found[1].decode("ascii")


def _tared(tare: Mass) -> Effect:
    return Effect(done="1", detail={"tare": str(tare)})


def _standing(tare: Mass) -> Standing:
    return Standing(values={"tare": str(tare)}, witness="" if tare == 0 * gram else f"tare={tare}")
