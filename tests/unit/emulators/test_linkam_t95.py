"""The emulated T95 speaks as its drivers know it and cools only the World's freezer.

Method: bytes over a wire in memory on virtual time; what happened is judged by the World's ledger
and the freezer's temperature.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from devices.transport.memory import MemoryLine, memory_wire
from hw_mocks.emulator import Moment, Planted
from hw_mocks.linkam_t95 import LinkamT95
from hw_mocks.world import Effect, World
from orchestrator.virtual_time import run_in_virtual_time


class Bench:
    """A freezer at 4 degC and its programmer."""

    def __init__(self, freezer: LinkamT95, line: MemoryLine) -> None:
        self.freezer = freezer
        self.line = line
        self.moments: list[tuple[Moment, str]] = []
        freezer.on_moment = self.note

    def note(self, equipment: str, moment: Moment, request: str) -> None:
        assert equipment == self.freezer.equipment
        self.moments.append((moment, request))

    @property
    def world(self) -> World:
        return self.freezer.world

    def degC(self) -> float:
        return self.world.chamber_temperature("freezer")

    async def ask(self, request: str) -> bytes:
        await self.line.send(f"{request}\r".encode("latin-1"))
        return await asyncio.wait_for(self.line.receive(), 5.0)

    async def tell(self, *requests: str) -> None:
        for request in requests:
            assert await self.ask(request) == b"\r"

    async def ramp(self, rate: int, limit: int) -> None:
        await self.ask("T")
        await self.tell(f"R1{rate}", f"L1{limit}", "S")

    def effects(self) -> list[Effect]:
        self.world.catch_up()
        return self.world.ledger


Story = Callable[[Bench], Awaitable[None]]


def at_the_bench(story: Story, *, reply_after_s: float = 0.0) -> None:
    async def run() -> None:
        world = World(asyncio.get_running_loop().time, seed=1)
        world.add_chamber("freezer", places=["freezer"], temperature_degC=4.0, of="F1")
        freezer = LinkamT95(world, "F1", reply_after_s=reply_after_s)
        software, instrument = memory_wire("F1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(freezer.serve(instrument))
            await story(Bench(freezer, software))
            await software.close()

    run_in_virtual_time(run())


def test_status_is_ten_bytes_and_a_carriage_return() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("T") == b"\x01\x80\x80\x80\x80\x800028\r"

    at_the_bench(story)


def test_before_its_first_status_it_neither_answers_nor_obeys() -> None:
    async def story(bench: Bench) -> None:
        for request in (b"R1100\r", b"L1-200\r", b"S\r"):
            await bench.line.send(request)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(bench.line.receive(), 2.0)
        assert bench.freezer.limit_tenths is None
        assert bench.moments == []

    at_the_bench(story)


def test_one_degree_a_minute_down_to_minus_forty_is_a_straight_line() -> None:
    async def story(bench: Bench) -> None:
        await bench.ramp(100, -400)
        for minutes in range(45):
            assert bench.degC() == pytest.approx(4.0 - minutes)
            await asyncio.sleep(60.0)
        status = await bench.ask("T")
        assert (status[0], status[6:]) == (0x30, b"fe70\r")
        (effect,) = bench.effects()
        assert (effect.by, effect.kind, effect.places) == ("F1", "ramped", ("freezer",))
        assert effect.amount == pytest.approx(-44.0)
        assert effect.at_to_s - effect.at_from_s == pytest.approx(44 * 60.0)
        assert bench.moments == [
            (Moment.ARRIVING, "S"),
            (Moment.ARRIVED, "S"),
            (Moment.REPLYING, "S"),
            (Moment.MOVING, "S"),
            (Moment.ENDED, "S"),
        ]

    at_the_bench(story)


def test_half_way_it_shows_that_it_cools_with_its_pump_and_goes_on_without_a_line() -> None:
    async def story(bench: Bench) -> None:
        await bench.ramp(1000, -200)
        await asyncio.sleep(60.0)
        assert await bench.ask("T") == b"\x20\x80\x94\x80\x80\x80ffc4\r"
        await bench.line.close()
        await asyncio.sleep(600.0)
        assert bench.degC() == pytest.approx(-20.0)

    at_the_bench(story)


def test_heating_runs_without_nitrogen() -> None:
    async def story(bench: Bench) -> None:
        await bench.ramp(500, 140)
        await asyncio.sleep(60.0)
        status = await bench.ask("T")
        assert (status[0], status[2]) == (0x10, 0x80)
        assert bench.degC() == pytest.approx(9.0)

    at_the_bench(story)


def test_a_pump_held_too_slow_by_hand_is_told_as_cooling_too_fast() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("T")
        await bench.tell("Pm0", "P1", "R11000", "L1-1000", "S")
        assert (await bench.ask("T"))[1:3] == b"\x81\x81"
        await bench.tell("Pa0")
        assert (await bench.ask("T"))[1:3] == b"\x80\x94"

    at_the_bench(story)


@pytest.mark.parametrize(
    "request_",
    ["", "t", "X", "R10", "R115001", "L1-2001", "L16001", "R2100", "L1--5", "P\x7f", "Ss"],
)
def test_what_it_does_not_understand_is_answered_and_marked(request_: str) -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("T")
        await bench.tell(request_)
        assert (await bench.ask("T"))[:2] == b"\x01\xa0"
        await bench.tell("R1100")
        assert (await bench.ask("T"))[1] == 0x80
        assert bench.effects() == []

    at_the_bench(story)


def test_start_without_rate_and_limit_does_nothing() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("T")
        await bench.tell("S", "H", "C")
        assert (await bench.ask("T"))[0] == 0x01

    at_the_bench(story)


def test_rate_and_limit_wait_for_the_next_start() -> None:
    async def story(bench: Bench) -> None:
        await bench.ramp(100, 0)
        await bench.tell("R1200", "L1-100")
        await asyncio.sleep(600.0)
        assert bench.degC() == pytest.approx(0.0)
        await bench.tell("S")
        await asyncio.sleep(300.0)
        assert bench.degC() == pytest.approx(-10.0)

    at_the_bench(story)


def test_heat_and_cool_start_only_their_own_way() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("T")
        await bench.tell("R1100", "L1-100", "H")
        assert (await bench.ask("T"))[0] == 0x01
        await bench.tell("C")
        assert (await bench.ask("T"))[0] == 0x20

    at_the_bench(story)


def test_hold_stays_where_it_is_and_stop_lets_go() -> None:
    async def story(bench: Bench) -> None:
        await bench.ramp(100, -400)
        await asyncio.sleep(600.0)
        await bench.tell("O")
        assert (await bench.ask("T"))[0] == 0x50
        await asyncio.sleep(3600.0)
        assert bench.degC() == pytest.approx(-6.0)
        await bench.tell("E")
        assert (await bench.ask("T"))[0] == 0x01
        await asyncio.sleep(6 * 3600.0)
        assert bench.degC() == pytest.approx(21.0, abs=0.1)

    at_the_bench(story)


@pytest.mark.parametrize(
    ("fault", "reached"), [("swallowed", 4.0), ("doubled", -16.0), ("half", -1.0)]
)
def test_a_planted_fault_shows_in_the_world_and_not_in_the_status(
    fault: str, reached: float
) -> None:
    async def story(bench: Bench) -> None:
        bench.freezer.plant(Planted(fault))
        await bench.ramp(1000, -60)
        await asyncio.sleep(600.0)
        assert (await bench.ask("T"))[0] == 0x30
        assert sum(effect.amount for effect in bench.effects()) == pytest.approx(reached - 4.0)

    at_the_bench(story)


def test_the_panel_acts_in_its_own_name() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("T")
        await bench.tell("R1100", "L1-100")
        bench.freezer.press("START")
        assert (await bench.ask("T"))[0] == 0x20
        await asyncio.sleep(60.0)
        bench.freezer.press("HOLD")
        assert (await bench.ask("T"))[0] == 0x50
        bench.freezer.press("STOP")
        assert (await bench.ask("T"))[0] == 0x01
        assert {effect.by for effect in bench.effects()} == {"panel:F1"}
        with pytest.raises(ValueError, match="HOLD"):
            bench.freezer.press("DEFROST")

    at_the_bench(story)


def test_a_power_cycle_stops_it_and_loses_what_was_set() -> None:
    async def story(bench: Bench) -> None:
        await bench.ramp(100, -400)
        await asyncio.sleep(600.0)
        bench.freezer.power_cycle()
        assert (await bench.ask("T"))[0] == 0x01
        await bench.tell("S")
        await asyncio.sleep(3600.0)
        assert (await bench.ask("T"))[0] == 0x01
        assert bench.degC() > -6.0
        assert bench.effects()[0].amount == pytest.approx(-10.0)

    at_the_bench(story)


def test_it_answers_as_late_as_told() -> None:
    async def story(bench: Bench) -> None:
        before_s = bench.world.now()
        await bench.ask("T")
        assert bench.world.now() - before_s == pytest.approx(0.3)

    at_the_bench(story, reply_after_s=0.3)


def test_garbage_never_stops_it() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("T")
        await bench.line.send(bytes(byte for byte in range(256) if byte != 0x0D) * 3 + b"\r")
        assert await asyncio.wait_for(bench.line.receive(), 5.0) == b"\r"
        assert (await bench.ask("T"))[0] == 0x01

    at_the_bench(story)
