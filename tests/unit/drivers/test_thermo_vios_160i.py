"""The VIOS driver against the manual's printed telegrams and an incubator on paper."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import pytest

from devices.drivers.thermo_vios_160i import Settings, ThermoVios160i, crc8, inverted_xor
from devices.interfaces.climate import (
    ChamberCarbonDioxide,
    ChamberTemperature,
    ClimateEvents,
    SetClimate,
)
from devices.interfaces.driver import Standing
from devices.transport.transport import Transport
from orchestrator.kernel.acts import (
    AllDone,
    CannotTell,
    NothingDone,
    OnInterruption,
    PartDone,
    Quieten,
)
from orchestrator.kernel.errors import (
    DeviceFaultError,
    LimitRefusedError,
    OutcomeUnknownError,
)
from orchestrator.kernel.identifiers import EquipmentId
from orchestrator.kernel.quantities import Fraction, Temperature, degC, minute, percent
from orchestrator.virtual_time import run_in_virtual_time
from tests.unit.drivers.paper import FIRST, Paper, at_the_wire, until

NO_RESET = "no power reset in its log"
PERIODIC = "010b01060f3700000177002800d40000"  # the record that the manual prints
POWER = "300b01060f3800000177002800d40000"
DOOR = "310b01060f3900000177002800d40000"


def climate(temperature: Temperature = 37 * degC, gas: Fraction = 5 * percent) -> SetClimate:
    return SetClimate(
        unit="incubator",
        longest=5 * minute,
        on_interruption=OnInterruption.REPEAT,
        quieten=Quieten.LEAVE_RUNNING,
        temperature=temperature,
        carbon_dioxide=gas,
    )


def stands(temperature: str, gas: str, witness: str = NO_RESET) -> Standing:
    return Standing(values={"temperature": temperature, "carbon_dioxide": gas}, witness=witness)


class PaperIncubator(Paper):
    """Keeps its set points as it is told, and hands out its log seven records at a time."""

    def __init__(self, *, log: list[str] | None = None, checksum: Callable[[bytes], int]) -> None:
        super().__init__(self.reply, split=until(b"\r"))
        self.set_points = {"2010": "+037.00", "2020": "+005.0"}
        self.log = log or []
        self.at = 0
        self.sent = ""
        self.checksum = checksum
        self.lose: list[bytes] = []
        self.error = ""

    def reply(self, request: bytes) -> bytes | None:
        kind, address, _, rest = request.decode().split(":", 3)
        value = rest.rsplit(":", 1)[0]
        told = self.tell(kind, address, value)
        body = f"!:{address}:{len(told):02x}:{told}:".encode()
        if self.lose and request.startswith(self.lose[0]):
            self.lose.pop(0)
            return None
        return body + b"%02x\r" % self.checksum(body)

    def tell(self, kind: str, address: str, value: str) -> str:
        if kind == "!":
            if self.error:
                return self.error
            self.set_points[address] = value
            return ""
        if address in self.set_points:
            return f"{self.set_points[address]};{self.set_points[address]};+000.00"
        if address in ("2400", "2401"):
            self.at = 0 if address == "2400" else self.at
            self.sent = "".join(self.log[self.at : self.at + 7])
            self.at = min(self.at + 7, len(self.log))
        return "50111927" if address == "0001" else self.sent

    @property
    def writes(self) -> list[bytes]:
        return [request[:6] for request in self.written if request.startswith(b"!")]


def an_incubator(log: list[str] | None = None) -> PaperIncubator:
    return PaperIncubator(log=log, checksum=inverted_xor)


def with_incubator(
    paper: Paper,
    story: Callable[[ThermoVios160i], Awaitable[None]],
    checksum: Literal["inverted xor", "crc-8"] = "inverted xor",
) -> None:
    def make(line: Transport) -> ThermoVios160i:
        return ThermoVios160i(
            line, equipment=EquipmentId("I1"), settings=Settings(checksum=checksum)
        )

    async def main() -> None:
        async with at_the_wire(paper, make) as incubator:
            await story(incubator)

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("telegram", "digits"),
    [
        (b"?:0010:00::", "c1"),
        (b"?:0011:00::", "c0"),
        (b"?:0012:00::", "c3"),
        (b"?:3010:00::", "c2"),
        (b"!:0010:11:31.07.10;01:02:23:", "e2"),
        (b"!:0011:08:31.07.10:", "d2"),
        (b"?:2010:00::", "c3"),
        (b"?:2020:00::", "c0"),
    ],
)
def test_the_checksum_is_that_of_printed_telegrams(telegram: bytes, digits: str) -> None:
    assert f"{inverted_xor(telegram):02x}" == digits


def test_the_cleanroom_model_has_another_checksum() -> None:
    assert crc8(b"?:2010:00::") == 0xA6

    async def story(incubator: ThermoVios160i) -> None:
        assert await incubator.read(ChamberTemperature(unit="incubator")) == "37 °C"
        assert paper.written == [b"?:2010:00::a6\r"] * 2

    paper = PaperIncubator(checksum=crc8)
    with_incubator(paper, story, "crc-8")


@pytest.mark.parametrize(
    ("act", "writes"),
    [
        (climate(34 * degC), [b"!:2010"]),
        (climate(gas=6 * percent), [b"!:2020"]),
        (climate(34 * degC, 6 * percent), [b"!:2020", b"!:2010"]),
        (climate(), [b"!:2010"]),
    ],
)
def test_only_what_differs_is_written_and_one_write_is_the_trigger(
    act: SetClimate, writes: list[bytes]
) -> None:
    paper = an_incubator()

    async def story(incubator: ThermoVios160i) -> None:
        before = await incubator.standing()
        await incubator.prepare(act)
        await incubator.trigger(act, FIRST)
        settled = await incubator.settle(act, FIRST, before)
        assert isinstance(settled.report, AllDone)
        assert settled.standing == stands(str(act.temperature), str(act.carbon_dioxide))
        assert paper.writes == writes
        assert [trigger[:6] for trigger in paper.triggers] == writes[-1:]

    with_incubator(paper, story)


def test_a_set_point_is_written_in_the_form_in_which_it_is_shown() -> None:
    paper = an_incubator()

    async def story(incubator: ThermoVios160i) -> None:
        act = climate(36.5 * degC, 5.5 * percent)
        await incubator.prepare(act)
        await incubator.trigger(act, FIRST)
        assert paper.set_points == {"2010": "+036.50", "2020": "+005.5"}

    with_incubator(paper, story)


@pytest.mark.parametrize(
    ("act", "word"),
    [
        (climate(60 * degC), "qualified"),
        (climate(gas=21 * percent), "qualified"),
        (climate(37.05 * degC), "steps"),
        (climate(gas=5.05 * percent), "steps"),
    ],
)
def test_what_the_sheet_doesnt_allow_is_refused_and_nothing_written(
    act: SetClimate, word: str
) -> None:
    paper = an_incubator()

    async def story(incubator: ThermoVios160i) -> None:
        with pytest.raises(LimitRefusedError, match=word):
            await incubator.prepare(act)
        assert paper.writes == []

    with_incubator(paper, story)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("?0", DeviceFaultError),
        ("?1", DeviceFaultError),
        ("?2", OutcomeUnknownError),
        ("?3", DeviceFaultError),
    ],
)
def test_an_error_in_answer_to_the_trigger_is_told_by_what_it_leaves(
    error: str, kind: type[Exception]
) -> None:
    paper = an_incubator()

    async def story(incubator: ThermoVios160i) -> None:
        await incubator.prepare(climate(34 * degC))
        paper.error = error
        with pytest.raises(kind):
            await incubator.trigger(climate(34 * degC), FIRST)
        assert paper.writes == [b"!:2010"]

    with_incubator(paper, story)


def test_a_lost_answer_to_the_trigger_is_unknown_and_then_read_back() -> None:
    paper = an_incubator()

    async def story(incubator: ThermoVios160i) -> None:
        before = await incubator.standing()
        await incubator.prepare(climate(34 * degC))
        paper.lose = [b"!:2010"]
        with pytest.raises(OutcomeUnknownError):
            await incubator.trigger(climate(34 * degC), FIRST)
        settled = await incubator.effect_of(climate(34 * degC), FIRST, before)
        assert isinstance(settled.report, AllDone)
        assert paper.writes == [b"!:2010"]

    with_incubator(paper, story)


@pytest.mark.parametrize(
    ("shown", "log", "verdict"),
    [
        (("+037.00", "+005.0"), [], NothingDone),
        (("+034.00", "+006.0"), [], AllDone),
        (("+034.00", "+006.0"), [POWER], AllDone),
        (("+037.00", "+006.0"), [], PartDone),
        (("+037.00", "+005.0"), [POWER], CannotTell),
        (("+030.00", "+005.0"), [], CannotTell),
    ],
)
def test_the_set_points_say_what_an_interrupted_act_did(
    shown: tuple[str, str], log: list[str], verdict: type
) -> None:
    paper = an_incubator(log)
    paper.set_points["2010"], paper.set_points["2020"] = shown

    async def story(incubator: ThermoVios160i) -> None:
        act = climate(34 * degC, 6 * percent)
        settled = await incubator.effect_of(act, FIRST, stands("37 °C", "5 %"))
        assert isinstance(settled.report, verdict)

    with_incubator(paper, story)


def test_the_log_is_read_on_and_tells_each_event_once() -> None:
    paper = an_incubator([PERIODIC] * 9 + [DOOR])
    events = ClimateEvents(unit="incubator")

    async def story(incubator: ThermoVios160i) -> None:
        assert await incubator.read(events) == "door_open 2006-01-11T15:57"
        assert await incubator.read(events) == ""
        paper.log += [PERIODIC, POWER]
        assert (await incubator.standing()).witness == "power reset 2006-01-11T15:56"
        assert await incubator.read(events) == "power_reset 2006-01-11T15:56"
        assert [request[2:6] for request in paper.written].count(b"2400") == 1

    with_incubator(paper, story)


@pytest.mark.parametrize("lost", [[b"?:2400"], [b"?:2401"], [b"?:2401", b"?:2402"]])
def test_a_telegram_of_the_log_that_was_lost_is_asked_for_again(lost: list[bytes]) -> None:
    paper = an_incubator([PERIODIC] * 8 + [DOOR])
    paper.lose = lost

    async def story(incubator: ThermoVios160i) -> None:
        told = await incubator.read(ClimateEvents(unit="incubator"))
        assert told == "door_open 2006-01-11T15:57"

    with_incubator(paper, story)


def test_what_is_measured_is_read_and_damage_is_silence() -> None:
    paper = an_incubator()

    async def story(incubator: ThermoVios160i) -> None:
        assert await incubator.read(ChamberCarbonDioxide(unit="incubator")) == "5 %"
        assert (await incubator.identify()).firmware == "50111927"
        paper.checksum = crc8
        with pytest.raises(OutcomeUnknownError):
            await incubator.read(ChamberTemperature(unit="incubator"))
        asked = paper.written.index(b"?:2010:00::c3\r")
        assert set(paper.written[asked + 1 :]) == {b"?:0001:00::c1\r"}, "who it is, and no more"

    with_incubator(paper, story)
