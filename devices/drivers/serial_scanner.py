r"""Driver of a barcode scanner that sends each label as a line.

Source: Honeywell N86 series manual, 10-4 (trigger commands). From the published manual;
not tried on hardware.

    scan      <label>\r   or   <label>\r\n     unasked, at any time
    SYN T CR  (16 54 0D)  scan until a label is read or the scanner's own time is over
    SYN U CR  (16 55 0D)  stop scanning

A fixed scanner is triggered by the host and must stand in manual trigger mode; a hand
scanner is triggered by a person and waited for. A label that came before the question
doesn't count. A line has no checksum and a label no number, so a fixed scanner reads each
label three times, and all must be alike; once more for each time that it was triggered and
gave none, since that label may come late; and then the line must have been silent first.
What a person scans is read once: it must be the label that is expected. What isn't
printable ASCII (and the group separator of GS1), or is longer than this cell's labels, is
refused as an unreadable scan and never shown as it came.

A scanner carries out no acts, has nothing to quiet and needs no witness.

Unconfirmed: the trigger commands on scanners of other makers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pydantic import Field

from devices.drivers.reads import ALIKE_ATTEMPTS_MAX, READ_ATTEMPTS_MAX, not_offered
from devices.interfaces.driver import DeviceIdentity, Settled, Standing
from devices.interfaces.scanning import LabelRead
from devices.sheets.sheet import sheet_of
from devices.transport.conversation import QUIET_ATTEMPTS_MAX, Conversation
from devices.transport.framing import lines
from devices.transport.transport import LineClosedError
from orchestrator.kernel.acts import Act, Facts, Quieten, Reading
from orchestrator.kernel.errors import OutcomeUnknownError, RefusedError
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import LabelText
from orchestrator.kernel.quantities import Duration, second

if TYPE_CHECKING:
    from devices.transport.transport import Transport
    from orchestrator.kernel.identifiers import CommandId, EquipmentId

SHEET: Final = "serial_scanner"

SCAN: Final = b"\x16T\r"
STOP_SCANNING: Final = b"\x16U\r"

LOOKS: Final = 3
"""A label is short: two looks may lose the same sign of it by chance."""

LATE_MAX: Final = 6
"""Late labels that are reckoned with, at most: each costs a look more."""


class Settings(Frozen):
    """What the process cell file says of one scanner."""

    triggered: bool = Field(description="True: fixed, triggered by the host; False: by hand")
    label_length_max: int = Field(ge=1, le=400, description="The cell's longest label")


class SerialScanner:
    """One scanner on one line. Implements ``Driver`` for ``scanning``."""

    def __init__(self, transport: Transport, *, equipment: EquipmentId, settings: Settings) -> None:
        """Take over the line.

        Args:
            transport: The scanner's line.
            equipment: Its name in the process cell.
            settings: Who triggers it, and how long labels are.
        """
        self._equipment = equipment
        self._settings = settings
        self._line = Conversation(
            transport, lines(b"\r"), is_unasked=bool, on_unasked=self._take_label
        )
        sheet = sheet_of(SHEET)
        self._read_within_s = sheet.figure("read_within", Duration).to(second)
        self._late_within_s = sheet.figure("late_within", Duration).to(second)
        self._asked: asyncio.Future[bytes] | None = None
        self._gave: list[tuple[float, bytes]] = []  # what triggers gave lately; b"": nothing
        self._last_label_s = -self._read_within_s  # when one came that nobody waited for
        self._one_label_at_a_time = asyncio.Lock()

    @property
    def equipment(self) -> EquipmentId:
        return self._equipment

    @property
    def model(self) -> str:
        return SHEET

    @property
    def only_acts_change(self) -> Facts:
        return {}

    async def run(self) -> None:
        await self._line.run()
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(self._gone())

    async def identify(self) -> DeviceIdentity:
        """Return the model alone: a scanner on a line says nothing of itself."""
        return DeviceIdentity(model=SHEET)

    async def standing(self) -> Standing:
        return Standing(values={})

    async def prepare(self, act: Act) -> None:
        raise not_offered(self._equipment, act.kind)

    async def trigger(self, act: Act, command: CommandId) -> None:
        raise not_offered(self._equipment, act.kind)

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        raise not_offered(self._equipment, act.kind)

    async def effect_of(self, act: Act, command: CommandId, before: Standing) -> Settled:
        raise not_offered(self._equipment, act.kind)

    async def quieten(self, how: Quieten) -> None:
        """Do nothing: a scanner moves nothing."""
        del how

    async def read(self, reading: Reading) -> str:
        """Return the next label: of a fixed scanner soon, of a hand scanner when it comes.

        Raises:
            RefusedError: The scan isn't a readable label. Scan again.
            OutcomeUnknownError: The fixed scanner sees no label, or the line is closed.
        """
        if not isinstance(reading, LabelRead):
            raise not_offered(self._equipment, reading.kind)
        if self._line.closed:
            raise self._gone()
        async with self._one_label_at_a_time:
            if self._line.closed:
                raise self._gone()
            try:
                scanned = await (self._by_trigger() if self._settings.triggered else self._next())
            except LineClosedError as closed:
                raise self._gone() from closed
        return self._readable(scanned)

    async def close(self) -> None:
        await self._line.close()

    async def _next(self) -> bytes:
        """Return the next label that comes."""
        self._asked = asyncio.get_running_loop().create_future()
        try:
            return await self._asked
        finally:
            self._asked = None

    async def _by_trigger(self) -> bytes:
        """Return the label that as many triggers in a row have read as are needed.

        One more for each that gave none, and for each that gave this label to an earlier
        question: their labels may come late, or once more.
        """
        await self._until_silent()
        alike: list[bytes] = []
        gave: list[tuple[float, bytes]] = []
        unseen = differed = 0
        try:
            while unseen < READ_ATTEMPTS_MAX and differed < ALIKE_ATTEMPTS_MAX:
                await self._line.tell(SCAN)
                try:
                    async with asyncio.timeout(self._read_within_s):
                        label = await self._next()
                except TimeoutError:
                    await self._line.tell(STOP_SCANNING)
                    unseen += 1
                    gave.append((asyncio.get_running_loop().time(), b""))
                    alike.clear()
                    await self._until_silent()
                    continue
                gave.append((asyncio.get_running_loop().time(), label))
                if alike and alike[-1] != label:
                    alike.clear()
                    differed += 1
                alike.append(label)
                late = sum(one in (b"", label) for _, one in self._gave)
                late += sum(one == b"" for _, one in gave)
                if len(alike) >= LOOKS + min(late, LATE_MAX):
                    return label
        finally:
            self._gave += gave
        why = f"none was seen in {READ_ATTEMPTS_MAX} attempts"
        if differed >= ALIKE_ATTEMPTS_MAX:
            why = "no two in a row are alike"
        raise OutcomeUnknownError(
            f"{self._equipment}: read the label before it",
            why=why,
            do_next="Turn the label to the scanner, or scan it by hand",
        )

    async def _until_silent(self) -> None:
        """Wait, where a label may still come late, until none has come for as long as one had."""
        loop = asyncio.get_running_loop()
        for _ in range(QUIET_ATTEMPTS_MAX):
            left_s = self._last_label_s + self._read_within_s - loop.time()
            if left_s <= 0:
                break
            await asyncio.sleep(left_s)
        self._gave = [one for one in self._gave if one[0] + self._late_within_s > loop.time()]

    def _take_label(self, frame: bytes) -> None:
        label = frame.strip(b"\n")
        if not label:
            return
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(label)
        elif self._settings.triggered:  # it came late, or twice
            self._last_label_s = asyncio.get_running_loop().time()
            self._gave.append((self._last_label_s, label))

    def _readable(self, scanned: bytes) -> str:
        try:
            label = LabelText(scanned.decode("ascii"))
        except ValueError:  # UnicodeDecodeError is one
            why = "it holds signs that no label of this product has"
        else:
            if len(label) <= self._settings.label_length_max:
                return str(label)
            why = f"it has {len(label)} signs; labels here have at most "
            why += str(self._settings.label_length_max)
        raise RefusedError(
            f"{self._equipment}: read a label",
            why=why,
            do_next="Scan again; if it stays so, quarantine what bears the label",
        )

    def _gone(self) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"{self._equipment}: read a label",
            why="the line is closed",
            do_next="Check the scanner's cable and power, then resume",
        )
