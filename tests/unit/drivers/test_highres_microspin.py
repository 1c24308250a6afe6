"""The MicroSpin driver against captured text and a centrifuge on paper, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from devices.drivers.highres_microspin import HighresMicrospin, Settings
from devices.interfaces.centrifugation import RotorStill, Spin
from devices.interfaces.driver import Standing
from devices.transport.transport import Transport
from orchestrator.kernel.acts import AllDone, CannotTell, NothingDone, OnInterruption, Quieten
from orchestrator.kernel.errors import LimitRefusedError, OutcomeUnknownError, RefusedError
from orchestrator.kernel.identifiers import ContainerId, EquipmentId, PlaceId
from orchestrator.kernel.quantities import (
    Duration,
    Fraction,
    RelativeForce,
    hour,
    minute,
    ms,
    percent,
    x_g,
)
from orchestrator.virtual_time import run_in_virtual_time
from tests.unit.drivers.paper import FIRST, Paper, at_the_wire, until

SPIN = "spin 300 100 50 600"
ERROR = "Error 1: (10:02:11) {code}: {text}"


def spin(
    force: RelativeForce = 300 * x_g,
    deceleration: Fraction = 50 * percent,
    at_speed: Duration = 10 * minute,
) -> Spin:
    return Spin(
        unit="centrifuge",
        longest=1 * hour,
        on_interruption=OnInterruption.HOLD,
        quieten=Quieten.LEAVE_RUNNING,
        container=ContainerId("KIT-1"),
        place=PlaceId("rotor"),
        force=force,
        acceleration=100 * percent,
        deceleration=deceleration,
        at_speed=at_speed,
    )


class PaperCentrifuge(Paper):
    """Numbers each command; ends it with the word, after the lines, that the test gives."""

    def __init__(self, *, homed: bool = True, newest: int = 20) -> None:
        super().__init__(self.reply, split=until(b"\r\n"))
        self.homed = homed
        self.newest = newest
        self.says: dict[str, tuple[str, str]] = {}  # command to its word and its data line
        self.mute: set[str] = set()  # commands that are not even acknowledged
        self.endless: set[str] = set()  # commands that are acknowledged and don't end

    def reply(self, request: bytes) -> bytes | None:
        text = request.strip().decode()
        name = text.split()[0]
        self.newest += 1
        if name in self.mute:
            return None
        word, data = self.says.get(name, ("OK", self.data(name)))
        acknowledged = f"ACK! {text} {self.newest}\r\n"
        if name in self.endless:
            return acknowledged.encode()
        if name == "home":
            self.homed = True
        lines = f"{data}\r\n" if data else ""
        return f"{acknowledged}{lines}{word}! {text} {self.newest}\r\n".encode()

    def data(self, name: str) -> str:
        return {
            "homedstatus": "homed" if self.homed else "not homed",
            "status": "Spindle Position: 1958\r\nDoor Position: -258",
            "version": "Product Name: MicroSpin\r\nSerial Number: HRB-1\r\nVersion: MS-1.3.3",
        }.get(name, "")

    @property
    def names(self) -> list[str]:
        return [request.split()[0].decode() for request in self.written]


def with_centrifuge(paper: Paper, story: Callable[[HighresMicrospin], Awaitable[None]]) -> None:
    def make(line: Transport) -> HighresMicrospin:
        return HighresMicrospin(line, equipment=EquipmentId("C1"), settings=Settings())

    async def main() -> None:
        async with at_the_wire(paper, make) as centrifuge:
            await story(centrifuge)

    run_in_virtual_time(main())


def stood(last_id: int, *, homed: bool = True) -> Standing:
    return Standing(
        values={"homed": "yes" if homed else "no", "last_id": str(last_id)},
        witness="homed" if homed else "",
    )


def test_a_spin_follows_the_id_that_was_read_before_it_and_ends_with_its_own_ok() -> None:
    paper = PaperCentrifuge()

    async def story(centrifuge: HighresMicrospin) -> None:
        before = await centrifuge.standing()
        assert before == Standing(
            values={"homed": "yes", "last_id": "24", "spindle": "1958", "door": "-258"},
            witness="homed",
        )
        await centrifuge.prepare(spin())
        await centrifuge.trigger(spin(), FIRST)
        assert paper.names == ["status"] * 2 + ["homedstatus"] * 2 + ["spin"]
        assert paper.written[-1] == SPIN.encode() + b"\r\n"
        assert paper.triggers == paper.written[-1:]
        settled = await centrifuge.settle(spin(), FIRST, before)
        assert isinstance(settled.report, AllDone)
        assert settled.report.effect.done == "10 min"

    with_centrifuge(paper, story)


def test_a_centrifuge_that_isnt_homed_is_homed_first() -> None:
    paper = PaperCentrifuge(homed=False)

    async def story(centrifuge: HighresMicrospin) -> None:
        before = await centrifuge.standing()
        assert (before.witness, before.values["homed"]) == ("", "no")
        await centrifuge.prepare(spin())
        await centrifuge.trigger(spin(), FIRST)
        assert paper.names[4:] == ["home", "spin"]

    with_centrifuge(paper, story)

    failing = PaperCentrifuge(homed=False)
    failing.says["home"] = ("ERROR", ERROR.format(code=-7, text="door is blocked"))

    async def refused(centrifuge: HighresMicrospin) -> None:
        with pytest.raises(RefusedError, match="door is blocked"):
            await centrifuge.prepare(spin())

    with_centrifuge(failing, refused)


@pytest.mark.parametrize(
    "act",
    [
        spin(29 * x_g),
        spin(3001 * x_g),
        spin(deceleration=19 * percent),
        spin(300.5 * x_g),
        spin(at_speed=1500 * ms),
        spin(at_speed=2 * hour),
        spin(deceleration=50.5 * percent),
    ],
)
def test_what_the_sheet_doesnt_allow_is_refused_before_anything_is_written(act: Spin) -> None:
    paper = PaperCentrifuge()

    async def story(centrifuge: HighresMicrospin) -> None:
        with pytest.raises(LimitRefusedError):
            await centrifuge.prepare(act)
        assert paper.written == []

    with_centrifuge(paper, story)


@pytest.mark.parametrize(
    ("word", "line", "verdict"),
    [
        ("ABORTED", "", CannotTell),
        ("ERROR", ERROR.format(code=-12, text="device is not homed"), NothingDone),
        ("ERROR", ERROR.format(code=-31, text="imbalance"), CannotTell),
    ],
)
def test_a_spin_that_ends_otherwise_is_settled_by_how(word: str, line: str, verdict: type) -> None:
    paper = PaperCentrifuge()
    paper.says["spin"] = (word, line)

    async def story(centrifuge: HighresMicrospin) -> None:
        before = await centrifuge.standing()
        await centrifuge.prepare(spin())
        await centrifuge.trigger(spin(), FIRST)
        settled = await centrifuge.settle(spin(), FIRST, before)
        assert isinstance(settled.report, verdict)

    with_centrifuge(paper, story)


def test_a_lost_acknowledgement_is_unknown_and_its_id_is_asked_about() -> None:
    paper = PaperCentrifuge()
    paper.mute = {"spin"}
    paper.says["commandstat"] = ("OK", f"OK! {SPIN} 25")

    async def story(centrifuge: HighresMicrospin) -> None:
        before = await centrifuge.standing()
        await centrifuge.prepare(spin())
        with pytest.raises(OutcomeUnknownError):
            await centrifuge.trigger(spin(), FIRST)
        settled = await centrifuge.effect_of(spin(), FIRST, before)
        assert isinstance(settled.report, AllDone)
        assert b"commandstat 25\r\n" in paper.written
        assert paper.names.count("spin") == 1

    with_centrifuge(paper, story)


def test_a_spin_that_never_arrived_is_known_by_its_id() -> None:
    paper = PaperCentrifuge()
    paper.mute = {"spin"}

    async def story(centrifuge: HighresMicrospin) -> None:
        before = await centrifuge.standing()
        await centrifuge.prepare(spin())
        with pytest.raises(OutcomeUnknownError):
            await centrifuge.trigger(spin(), FIRST)
        paper.newest -= 1  # it was lost on the way there
        settled = await centrifuge.effect_of(spin(), FIRST, before)
        assert isinstance(settled.report, NothingDone)

    with_centrifuge(paper, story)


def test_an_attempt_whose_spin_wasnt_sent_did_nothing() -> None:
    async def story(centrifuge: HighresMicrospin) -> None:
        before = await centrifuge.standing()
        settled = await centrifuge.effect_of(spin(), FIRST, before)
        assert isinstance(settled.report, NothingDone)

    with_centrifuge(PaperCentrifuge(), story)


@pytest.mark.parametrize(
    ("before", "told", "verdict"),
    [
        (stood(20), "", NothingDone),  # the device counted no further
        (stood(19, homed=False), "", NothingDone),  # it was homed, and no spin came
        (stood(19), f"OK! {SPIN} 20", AllDone),
        (stood(18, homed=False), f"{SPIN}: completed", AllDone),
        (stood(19), "completed", AllDone),
        (stood(19), f"ABORTED! {SPIN} 20", CannotTell),
        (stood(19), f"ERROR! {SPIN} 20", CannotTell),
        (stood(19), f"running {SPIN}", CannotTell),
        (stood(19), "OK! status 20", CannotTell),
        (stood(19), "42", CannotTell),
        (stood(15), "completed", CannotTell),  # somebody else spoke, and it doesn't say who
        (stood(15), f"OK! {SPIN} 16", AllDone),
        (stood(19), None, CannotTell),  # not in recorded history
        (stood(30), "", CannotTell),  # the ids began anew
    ],
)
def test_another_connection_learns_from_the_ids_what_a_spin_did(
    before: Standing, told: str | None, verdict: type
) -> None:
    paper = PaperCentrifuge()
    forgotten = ERROR.format(code=24, text="Command id 20 not in recorded history.")
    paper.says["commandstat"] = ("ERROR", forgotten) if told is None else ("OK", told)

    async def story(centrifuge: HighresMicrospin) -> None:
        settled = await centrifuge.effect_of(spin(), FIRST, before)
        assert isinstance(settled.report, verdict)

    with_centrifuge(paper, story)


def test_a_restart_shows_by_the_lost_homing() -> None:
    async def story(centrifuge: HighresMicrospin) -> None:
        settled = await centrifuge.effect_of(spin(), FIRST, stood(19))
        assert isinstance(settled.report, CannotTell)
        assert "restarted" in settled.report.why

    with_centrifuge(PaperCentrifuge(homed=False), story)


def test_a_halt_aborts_and_then_allows_motion_again() -> None:
    paper = PaperCentrifuge()
    paper.says["abort"] = ("OK", 'Issue the "clearbuttonabort" (cba) command')

    async def story(centrifuge: HighresMicrospin) -> None:
        await centrifuge.quieten(Quieten.LEAVE_RUNNING)
        assert paper.written == []
        await centrifuge.quieten(Quieten.HALT)
        assert paper.names == ["abort", "clearbuttonabort"]

    with_centrifuge(paper, story)


def test_the_rotor_is_still_once_status_ends() -> None:
    paper = PaperCentrifuge()
    paper.endless = {"status"}

    async def story(centrifuge: HighresMicrospin) -> None:
        asked = asyncio.ensure_future(centrifuge.read(RotorStill(unit="centrifuge")))
        await asyncio.sleep(100)
        assert not asked.done()
        for number in (21, 22):
            await paper.say(
                b"Spindle Position: 3\r\nDoor Position: 4\r\nOK! status %d\r\n" % number
            )
        assert await asked == "yes"

    with_centrifuge(paper, story)


def test_silence_ends_after_three_attempts_and_names_the_device() -> None:
    paper = PaperCentrifuge()
    paper.mute = {"version"}

    async def story(centrifuge: HighresMicrospin) -> None:
        with pytest.raises(OutcomeUnknownError):
            await centrifuge.identify()
        assert set(paper.names) == {"version"}
        paper.mute = set()
        assert (await centrifuge.identify()).serial == "HRB-1"

    with_centrifuge(paper, story)
