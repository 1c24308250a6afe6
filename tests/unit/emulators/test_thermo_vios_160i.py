"""The emulated VIOS 160i speaks as its manuals print and warms only the World's incubator.

Method: telegrams over a wire in memory on virtual time; frames and records are the manuals' own
examples; what happened is judged by the World's ledger and the incubator's air.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest

from devices.transport.memory import MemoryLine, memory_wire
from hw_mocks.emulator import Moment, Planted
from hw_mocks.thermo_vios_160i import (
    Checksum,
    ThermoVios160i,
    checksum,
    error_entry,
    logger_record,
)
from hw_mocks.world import Effect, World
from orchestrator.virtual_time import run_in_virtual_time


class Bench:
    """An incubator at 37 degC and 5 % CO2."""

    def __init__(self, incubator: ThermoVios160i, line: MemoryLine, kind: Checksum) -> None:
        self.incubator = incubator
        self.line = line
        self.kind: Checksum = kind
        self.moments: list[tuple[Moment, str]] = []
        incubator.on_moment = self.note

    def note(self, equipment: str, moment: Moment, request: str) -> None:
        assert equipment == self.incubator.equipment
        self.moments.append((moment, request))

    @property
    def world(self) -> World:
        return self.incubator.world

    async def raw(self, telegram: bytes) -> str:
        await self.line.send(telegram)
        return (await asyncio.wait_for(self.line.receive(), 5.0)).decode()

    async def ask(self, mark: str, address: str, payload: str = "") -> str:
        """Exchange a telegram; return the payload of the reply."""
        body = f"{mark}:{address}:{len(payload):02x}:{payload}:"
        reply = await self.raw(f"{body}{checksum(body, self.kind)}\r".encode())
        assert reply.endswith("\r")
        assert reply[-3:-1] == checksum(reply[:-3], self.kind)
        assert reply.startswith(f"!:{address}:{len(reply) - 14:02x}:")
        return reply[10:-4]

    async def read(self, address: str) -> str:
        return await self.ask("?", address)

    async def write(self, address: str, payload: str) -> str:
        return await self.ask("!", address, payload)

    async def log(self, address: str = "2400") -> list[str]:
        payload = await self.read(address)
        return [payload[at : at + 32] for at in range(0, len(payload), 32)]

    def effects(self) -> list[Effect]:
        return self.world.ledger


Story = Callable[[Bench], Awaitable[None]]


def at_the_bench(
    story: Story,
    *,
    kind: Checksum = "xor",
    has_oxygen: bool = False,
    logger_cycle_s: float = 60.0,
    reply_after_s: float = 0.0,
) -> None:
    async def run() -> None:
        world = World(asyncio.get_running_loop().time, seed=1)
        world.add_chamber("incubator", temperature_degC=37.0, co2_percent=5.0, of="I1")
        incubator = ThermoVios160i(
            world,
            "I1",
            checksum=kind,
            has_oxygen=has_oxygen,
            logger_cycle_s=logger_cycle_s,
            reply_after_s=reply_after_s,
        )
        software, instrument = memory_wire("I1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(incubator.serve(instrument))
            await story(Bench(incubator, software, kind))
            await software.close()

    run_in_virtual_time(run())


@pytest.mark.parametrize(
    "frame",
    [
        "?:0010:00::c1",
        "?:0011:00::c0",
        "?:0012:00::c3",
        "?:3010:00::c2",
        "!:0010:11:31.07.10;01:02:23:e2",
        "!:0011:08:31.07.10:d2",
    ],
)
def test_the_printed_frames_have_the_inverted_xor(frame: str) -> None:
    assert checksum(frame[:-2], "xor") == frame[-2:]


def test_the_clean_room_version_has_a_crc() -> None:
    assert checksum("?:2010:00::", "crc8") == "a6"
    assert checksum("123456789", "crc8") == "f4"  # the CRC's usual check value

    async def story(bench: Bench) -> None:
        assert await bench.raw(b"?:2010:00::a6\r") != ""
        assert await bench.read("0001") == "50111927"
        assert await bench.raw(b"?:0010:00::c1\r") == f"!:0010:02:?0:{bench_crc('?0')}\r"

    def bench_crc(payload: str) -> str:
        return checksum(f"!:0010:02:{payload}:", "crc8")

    at_the_bench(story, kind="crc8")


def test_the_printed_records() -> None:
    at = datetime(2006, 1, 11, 15, 55, 34)  # noqa: DTZ001  the incubator knows no zone
    assert logger_record(0x01, at, 0, (37.5, 4.0, 21.2, 0.0)) == "010b01060f3700000177002800d40000"
    assert error_entry(1, at, 0x8000, 0x0002) == "10b01060f372280000002"


def test_general_parameters() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.read("0001") == "50111927"
        await asyncio.sleep(3723.0)
        assert await bench.read("0010") == "09:02:03;05:01:26"
        assert await bench.read("0011") == "05:01:26"
        assert await bench.read("0012") == "09:02:03"
        assert await bench.read("2410") == "00:01:00"
        assert await bench.read("2100") == "00;+000:00;00.00.00;00:00"
        assert (await bench.read("2105")).startswith("00;")
        assert await bench.read("2140") == "11"
        assert await bench.read("2141") == "00"
        assert await bench.read("2300") == ""

    at_the_bench(story)


def test_the_clock_can_be_set() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.write("0010", "10:20:30;01:02:27") == ""
        assert await bench.read("0010") == "10:20:30;01:02:27"
        assert await bench.write("0012", "11:00:00") == ""
        assert await bench.write("0011", "03:04:28") == ""
        assert await bench.read("0010") == "11:00:00;03:04:28"
        assert await bench.write("0012", "25:00:00") == "?3"
        assert bench.moments == []

    at_the_bench(story)


def test_a_set_point_is_acknowledged_and_the_air_follows() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.read("2010") == "+037.00;+037.00;+000.00"
        assert await bench.raw(b"!:2010:07:+034.00:" + b"%b\r" % xor("!:2010:07:+034.00:")) == (
            f"!:2010:00::{checksum('!:2010:00::', 'xor')}\r"
        )
        assert await bench.read("2010") == "+034.00;+037.00;+000.00"
        await asyncio.sleep(3600.0)
        assert await bench.read("2010") == "+034.00;+034.00;+000.00"
        assert await bench.write("2020", "+007.50;+000.00;+000.00") == ""
        await asyncio.sleep(3600.0)
        assert await bench.read("2020") == "+007.50;+007.50;+000.00"
        assert [(e.by, e.kind, e.amount) for e in bench.effects()] == [
            ("I1", "set_temperature", 34.0),
            ("I1", "set_co2", 7.5),
        ]
        assert bench.moments[:4] == [
            (Moment.ARRIVING, "2010"),
            (Moment.ARRIVED, "2010"),
            (Moment.ENDED, "2010"),
            (Moment.REPLYING, "2010"),
        ]

    def xor(body: str) -> bytes:
        return checksum(body, "xor").encode()

    at_the_bench(story)


def test_the_same_set_point_again_is_no_effect() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.write("2010", "37.0") == ""
        assert bench.effects() == []

    at_the_bench(story)


@pytest.mark.parametrize(
    ("address", "payload"),
    [("2010", "9.9"), ("2010", "55.1"), ("2010", "37.05"), ("2010", "warm"), ("2020", "-0.1")],
)
def test_a_value_outside_its_limits_is_error_3(address: str, payload: str) -> None:
    async def story(bench: Bench) -> None:
        assert await bench.write(address, payload) == "?3"
        assert bench.effects() == []

    at_the_bench(story)


def test_unknown_parameters_are_error_1() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.read("0005") == "?1"
        assert await bench.read("2030") == "?1"
        assert await bench.write("0001", "12345678") == "?1"
        assert await bench.write("2030", "5.0") == "?1"

    at_the_bench(story)


def test_oxygen_where_it_is_fitted() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.write("2030", "5.0") == ""
        assert await bench.read("2030") == "+005.00;+021.00;+000.00"

    at_the_bench(story, has_oxygen=True)


@pytest.mark.parametrize(
    "telegram",
    [
        b"?:0010:00::c2\r",
        b"?:0010:00::C1\r",
        b"?:0010:01::c1\r",
        b"?:0010::c1\r",
        b"?:0010:00::c1 \r",
    ],
)
def test_a_wrong_telegram_is_error_0_of_its_address(telegram: bytes) -> None:
    async def story(bench: Bench) -> None:
        assert await bench.raw(telegram) == f"!:0010:02:?0:{checksum('!:0010:02:?0:', 'xor')}\r"

    at_the_bench(story)


def test_capital_letters_are_not_allowed() -> None:
    async def story(bench: Bench) -> None:
        body = "!:2010:0A:+037.00   :"
        reply = await bench.raw(f"{body}{checksum(body, 'xor')}\r".encode())
        assert reply.startswith("!:2010:02:?0:")
        assert (await bench.raw(b"nonsense\r")).startswith("!:0000:02:?0:")

    at_the_bench(story)


def test_the_logger_notes_each_minute_and_what_happened_between() -> None:
    async def story(bench: Bench) -> None:
        await asyncio.sleep(130.0)
        await bench.write("2010", "37.5")
        await asyncio.sleep(20.0)
        bench.world.chamber_door("incubator", True, "technician")
        await asyncio.sleep(20.0)
        bench.world.chamber_door("incubator", False, "technician")
        bench.incubator.power_cycle()
        records = await bench.log()
        assert [record[:12] for record in records] == [
            "0105011a0801",
            "0105011a0802",
            "1005011a0802",
            "3105011a0802",
            "3205011a0802",
            "3005011a0802",
            "ff0000000000",
        ]
        assert records[0] == "0105011a0801" + "0000" + "0172" + "0032" + "00d2" + "0000"
        assert records[2][16:] == "0177" + "0032" + "00d2" + "0000"
        assert records[5][16:] == "0177" + "0032" + "00d2" + "0000"

    at_the_bench(story)


def test_the_logger_is_read_without_loss_and_repeats_the_last() -> None:
    async def story(bench: Bench) -> None:
        await asyncio.sleep(60.0 * 16 + 1.0)
        first = await bench.log()
        second = await bench.log("2401")
        assert (len(first), len(second)) == (7, 7)
        assert await bench.log("2402") == second
        third = await bench.log("2401")
        assert [record[:2] for record in third] == ["01", "01", "ff"]
        minutes = [int(record[10:12], 16) for record in [*first, *second, *third[:-1]]]
        assert minutes == list(range(1, 17))
        assert [record[:2] for record in await bench.log("2401")] == ["ff"]
        await asyncio.sleep(60.0)
        assert [record[:2] for record in await bench.log("2401")] == ["01", "ff"]
        assert await bench.log("2400") == first

    at_the_bench(story)


def test_a_long_log_keeps_its_newest_ten_thousand() -> None:
    async def story(bench: Bench) -> None:
        await asyncio.sleep(30 * 86_400.0)
        assert (await bench.log())[0][:12] == "011c011a0915"

    at_the_bench(story)


def test_errors_go_to_memory_and_log_newest_first() -> None:
    async def story(bench: Bench) -> None:
        for _ in range(24):
            await asyncio.sleep(1.0)
            bench.incubator.fail(1)
        newest = (await bench.read("2300")).split(":")
        older = (await bench.read("2301")).split(":")
        assert (len(newest), len(older)) == (11, 11)
        assert newest[0] == "10501" + "1a" + "080018" + "80000002"
        assert older[-1][11:13] == "03"
        assert (await bench.log())[0][:16] == "200501" + "1a0800" + "8000"
        bench.incubator.recover()
        with pytest.raises(ValueError, match="loop 7"):
            bench.incubator.fail(7)

    at_the_bench(story)


@pytest.mark.parametrize(
    ("fault", "effects"),
    [("swallowed", []), ("doubled", [38.0, 37.0, 38.0]), ("half", [37.5])],
)
def test_a_planted_fault_shows_in_the_world_and_not_on_the_wire(
    fault: str, effects: list[float]
) -> None:
    async def story(bench: Bench) -> None:
        bench.incubator.plant(Planted(fault))
        assert await bench.write("2010", "38.0") == ""
        assert (await bench.read("2010")).startswith("+038.00;")
        assert [effect.amount for effect in bench.effects()] == effects

    at_the_bench(story)


def test_the_touch_screen_changes_what_the_wire_shows_and_is_logged() -> None:
    async def story(bench: Bench) -> None:
        for key in ("T+", "CO2-"):
            bench.incubator.press(key)
        assert (await bench.read("2010")).startswith("+037.10;")
        assert (await bench.read("2020")).startswith("+004.90;")
        assert {effect.by for effect in bench.effects()} == {"panel:I1"}
        assert [record[:2] for record in await bench.log()] == ["10", "11", "ff"]
        with pytest.raises(ValueError, match="CO2"):
            bench.incubator.press("LAMP")

    at_the_bench(story)


def test_it_answers_as_late_as_told() -> None:
    async def story(bench: Bench) -> None:
        before_s = bench.world.now()
        await bench.read("0001")
        assert bench.world.now() - before_s == pytest.approx(0.2)

    at_the_bench(story, reply_after_s=0.2)


def test_garbage_never_stops_it() -> None:
    async def story(bench: Bench) -> None:
        reply = await bench.raw(bytes(byte for byte in range(256) if byte != 0x0D) * 4 + b"\r\r")
        assert reply.startswith("!:0000:02:?0:")
        assert await bench.read("0001") == "50111927"

    at_the_bench(story)
