"""The emulated 530Du speaks as its manual prints and moves liquid only in the World.

Method: bytes over a wire in memory on virtual time; frames are the manual's own examples; what
happened is judged by the World's ledger and the balance's place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from devices.transport.memory import MemoryLine, memory_wire
from hw_mocks.emulator import Moment, Planted
from hw_mocks.watson_marlow_530du import Complement, WatsonMarlow530Du, checksum
from hw_mocks.world import Effect, World
from hw_mocks.world.materials import buffer
from orchestrator.virtual_time import run_in_virtual_time

PULSES = 10_892


class Bench:
    """A docked kit with 500 mL in a bag at p1, its ways to the vessel open, and the pump."""

    def __init__(self, pump: WatsonMarlow530Du, line: MemoryLine) -> None:
        self.pump = pump
        self.line = line
        self.moments: list[tuple[Moment, str]] = []
        pump.on_moment = self._note

    def _note(self, equipment: str, moment: Moment, request: str) -> None:
        assert equipment == "P1"
        self.moments.append((moment, request))

    @property
    def world(self) -> World:
        return self.pump.world

    async def tell(self, *requests: str) -> None:
        for request in requests:
            await self.line.send(f"{request}\r".encode())
            await asyncio.sleep(0.01)

    async def ask(self, request: str) -> str:
        await self.line.send(request.encode())
        reply = await asyncio.wait_for(self.line.receive(), 5.0)
        await asyncio.sleep(0.01)
        return reply.decode()

    async def stays_silent(self, request: bytes) -> None:
        await self.line.send(request)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.line.receive(), 3.0)

    def moved_mL(self, container: str = "K1/vessel") -> float:
        return self.world.contents(container).volume_mL

    def turned(self) -> list[Effect]:
        self.world.motor_stop("station", "test")
        kinds = ("moved_liquid", "turned")
        return [effect for effect in self.world.ledger if effect.kind in kinds]


Story = Callable[[Bench], Awaitable[None]]


def at_the_bench(
    story: Story,
    *,
    pump_type: str = "530Du",
    mL_per_revolution: float = 1.0,
    echo: bool = False,
    complement: Complement = "twos",
    reply_after_s: float = 0.0,
) -> None:
    async def run() -> None:
        world = World(asyncio.get_running_loop().time, seed=1)
        world.add_station()
        world.add_kit("K1", place="station")
        world.add_container("B1", kind="bag", capacity_mL=600.0, contents=buffer(500.0))
        world.join("B1", "K1", "p1", "weld", "test")
        for channel in (0, 6):
            world.set_valve("station", channel, True, "test")
        pump = WatsonMarlow530Du(
            world,
            "P1",
            mL_per_revolution=mL_per_revolution,
            pump_type=pump_type,
            echo=echo,
            complement=complement,
            reply_after_s=reply_after_s,
        )
        software, instrument = memory_wire("P1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pump.serve(instrument))
            await story(Bench(pump, software))
            await software.close()

    run_in_virtual_time(run())


def test_the_printed_status_of_the_basic_protocol() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("1DO123456789")
        await asyncio.sleep(4000.0)
        await bench.tell("1GO")
        bench.pump.press("STOP")
        bench.pump.press("START")
        status = await bench.ask("1RS\r")
        name, count = status.split("P/N 1 ")[0], int(status.split()[8])
        assert name == "520Du 15.84 520R 9.6MM 220.0 CW "
        assert 123_456_789 <= count < 123_456_789 + PULSES
        assert status.endswith(f"P/N 1 {count} 1 !\r")

    at_the_bench(story, pump_type="520Du", mL_per_revolution=15.84)


def test_the_printed_frame_of_the_enhanced_protocol_is_the_twos_complement() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("<1,ZY,??>") == "<1,0,47>"

    at_the_bench(story)


def test_the_text_of_the_manual_says_ones_complement_and_a_pump_may_do_so() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("<1,ZY,??>") == "<1,0,46>"

    at_the_bench(story, complement="ones")


def test_the_printed_status_of_the_enhanced_protocol() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell(f"1DO{PULSES * 1234 + PULSES // 2 + 2}")
        await asyncio.sleep(400.0)
        bench.pump.press("START")
        status = await bench.ask("<1,RS,??>")
        body = "1,530Du,15.12,520R,9.6,220.0,CW,123456789,12345,1,0,1,0,0,0,0,"
        assert status == f"<{body}{checksum(body, 'twos')}>"

    at_the_bench(story, mL_per_revolution=15.12)


def test_a_dose_turns_exactly_its_pulses_in_its_time_and_says_nothing() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("1RR", "1SP60.0", f"1DO{PULSES * 100}")
        assert await bench.ask("1ZY\r") == "1\r"
        await asyncio.sleep(49.98)
        assert bench.moved_mL() == pytest.approx(50.0, abs=0.01)
        assert int(await bench.ask("1RT\r")) == pytest.approx(PULSES * 50, rel=1e-3)
        await asyncio.sleep(60.0)
        assert await bench.ask("1ZY\r") == "0\r"
        assert await bench.ask("1RT\r") == f"{PULSES * 100}\r"
        (effect,) = bench.turned()
        assert (effect.by, effect.kind) == ("P1", "moved_liquid")
        assert effect.amount == pytest.approx(100.0, abs=0.001)
        assert effect.at_to_s - effect.at_from_s == pytest.approx(100.0, abs=1e-4)
        assert bench.moments == [
            (Moment.ARRIVING, "DO"),
            (Moment.ARRIVED, "DO"),
            (Moment.MOVING, "DO"),
            (Moment.ENDED, "DO"),
        ]

    at_the_bench(story)


def test_the_motion_goes_on_when_the_line_drops() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("1SP60.0", f"1DO{PULSES * 100}")
        await bench.line.close()
        await asyncio.sleep(200.0)
        assert bench.moved_mL() == pytest.approx(100.0, abs=0.001)
        software, instrument = memory_wire("P1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bench.pump.serve(instrument))
            await software.send(b"1RT\r")
            assert await software.receive() == f"{PULSES * 100}\r".encode()
            await software.close()

    at_the_bench(story)


def test_a_stop_ends_a_dose_where_it_is() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("1SP60.0", f"1DO{PULSES * 100}")
        await asyncio.sleep(29.99)
        await bench.tell("1ST")
        assert await bench.ask("1ZY\r") == "0\r"
        assert int(await bench.ask("1RT\r")) == pytest.approx(PULSES * 30, abs=PULSES * 0.01)
        await asyncio.sleep(100.0)
        assert bench.moved_mL() == pytest.approx(30.0, abs=0.02)
        assert bench.moments[-1] == (Moment.ENDED, "DO")

    at_the_bench(story)


def test_counter_clockwise_goes_from_side_b_to_side_a_and_counts_up() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("1SP60.0", f"1DO{PULSES * 10}")
        await asyncio.sleep(20.0)
        await bench.tell("1RL", f"1DO{PULSES * 4}")
        await asyncio.sleep(10.0)
        assert bench.moved_mL() == pytest.approx(6.0, abs=0.001)
        assert await bench.ask("1RT\r") == f"{PULSES * 14}\r"
        assert " CCW " in await bench.ask("1RS\r")
        await bench.tell("1RC")
        assert " CW " in await bench.ask("1RS\r")

    at_the_bench(story)


def test_a_drip_is_turned_back_after_the_dose() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("1SP60.0", f"1DO{PULSES * 10},{PULSES}")
        await asyncio.sleep(20.0)
        assert bench.moved_mL() == pytest.approx(9.0, abs=0.001)
        assert await bench.ask("1RT\r") == f"{PULSES * 11}\r"
        assert " CW " in await bench.ask("1RS\r")

    at_the_bench(story)


def test_go_turns_until_stop_and_a_new_speed_counts_at_once() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("1SP60.0", "1GO", "1GO")
        await asyncio.sleep(9.98)
        await bench.tell("1SP120.0")
        await asyncio.sleep(9.99)
        await bench.tell("1RC")
        await asyncio.sleep(4.99)
        await bench.tell("1ST")
        assert bench.moved_mL() == pytest.approx(10.0 + 20.0 - 10.0, abs=0.05)

    at_the_bench(story)


def test_speed_by_steps_within_its_range() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("1SP219.5", "1SI", "1SD")
        assert bench.pump.speed_rpm == 218.5
        for wrong in ("1SP0.0", "1SP220.1", "1SP12.34", "1SP-5", "1SP 60", "1SP", "1SPx"):
            await bench.tell(wrong)
        assert bench.pump.speed_rpm == 218.5

    at_the_bench(story)


def test_clearing_the_count_even_while_it_turns() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("1SP60.0", f"1DO{PULSES * 2}")
        await asyncio.sleep(0.99)
        await bench.tell("1TC")
        await asyncio.sleep(5.0)
        assert int(await bench.ask("1RT\r")) == pytest.approx(PULSES, rel=0.02)
        await bench.tell("1TC")
        assert await bench.ask("1RT\r") == "0\r"

    at_the_bench(story)


def test_the_display_takes_one_to_four_lines_ended_by_an_at_sign() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("1W520Du@")
        assert bench.pump.display == ("520Du",)
        await bench.tell("1W520Du~@")
        assert bench.pump.display == ("520Du",)
        await bench.tell("1Wa~b~c~d~e@", "1CH")
        assert bench.pump.display == ("520Du",)
        await bench.line.send(b"<1,W,WASH~2 OF 3@,??>")
        await asyncio.sleep(0.02)
        assert bench.pump.display == ("WASH", "2 OF 3")
        await bench.tell("1CA")
        assert bench.pump.display == ()
        assert await bench.ask("1ZY\r") == "0\r"

    at_the_bench(story)


def test_the_enhanced_protocol_doses_and_counts_in_tenths_of_a_revolution() -> None:
    async def story(bench: Bench) -> None:
        for request in ("<1,SP,60.0,??>", f"<1,DO,125,{checksum('1,DO,125,', 'ones')}>"):
            await bench.line.send(request.encode())
            await asyncio.sleep(0.01)
        await asyncio.sleep(20.0)
        assert bench.moved_mL() == pytest.approx(12.5, abs=0.001)
        assert await bench.ask("<01,RT,??>") == f"<1,125,{checksum('1,125,', 'twos')}>"
        assert await bench.ask(f"<1,ZY,{checksum('1,ZY,', 'twos')}>") == "<1,0,47>"
        assert bench.moments[0] == (Moment.ARRIVING, "DO")

    at_the_bench(story)


def test_broadcasts_are_obeyed_but_never_answered() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("#SP60.0")
        await bench.line.send(b"<00,GO,??>")
        await asyncio.sleep(0.02)
        assert bench.pump.is_turning
        for request in (b"#RS\r", b"#RT\r", b"#ZY\r", b"<0,ZY,??>"):
            await bench.stays_silent(request)

    at_the_bench(story)


@pytest.mark.parametrize(
    "request_",
    [
        b"1go\r",
        b"2GO\r",
        b"17GO\r",
        b"GO\r",
        b"1GO \r",
        b"1XX\r",
        b"1RT1\r",
        b"1DO\r",
        b"1DOx\r",
        b"1DO1000,11001\r",
        b"1DO12345678901\r",
        b"<1,GO,00>",
        b"<2,GO,??>",
        b"<1,go,??>",
        b"<1>",
        b"<1,??>",
        b"<,,,,>",
        b"<>",
        b"<x,GO,??>",
        b"\xff\x00\xfe1GO\r",
        b"\r\r\r@\r",
        b"1" * 700 + b"GO\r",
    ],
)
def test_what_is_not_understood_is_ignored_in_silence(request_: bytes) -> None:
    async def story(bench: Bench) -> None:
        await bench.stays_silent(request_)
        assert not bench.pump.is_turning
        assert (Moment.ARRIVED, "GO") not in bench.moments
        assert await bench.ask("1ZY\r") == "0\r"

    at_the_bench(story)


def test_a_request_less_than_ten_milliseconds_after_another_is_lost() -> None:
    async def story(bench: Bench) -> None:
        await bench.line.send(b"1SP60.0\r1GO\r")
        await asyncio.sleep(0.01)
        assert not bench.pump.is_turning
        await bench.tell("1GO")
        assert bench.pump.is_turning

    at_the_bench(story)


def test_what_a_killed_host_left_half_said_spoils_the_next_request_once() -> None:
    async def story(bench: Bench) -> None:
        await bench.line.send(b"1DO50")
        await asyncio.sleep(1.0)
        assert bench.moments == [(Moment.ARRIVING, "DO")]
        await bench.tell("1GO", "1GO")
        assert bench.moments[1:3] == [(Moment.ARRIVING, "GO"), (Moment.ARRIVED, "GO")]
        assert bench.pump.is_turning

    at_the_bench(story)


def test_a_frame_that_is_not_ended_in_time_is_dropped() -> None:
    async def story(bench: Bench) -> None:
        await bench.line.send(b"<1,GO,")
        await asyncio.sleep(1.5)
        await bench.stays_silent(b"??>")
        assert not bench.pump.is_turning
        await bench.tell("", "1GO")
        assert bench.pump.is_turning

    at_the_bench(story)


def test_echo_sends_each_byte_back_before_the_reply() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("1ZY\r") == "1ZY\r0\r"
        assert await bench.ask("1SP60.0\r") == "1SP60.0\r"

    at_the_bench(story, echo=True)


def test_a_reply_takes_the_time_it_was_given() -> None:
    async def story(bench: Bench) -> None:
        before_s = bench.world.now()
        assert await bench.ask("1ZY\r") == "0\r"
        assert bench.world.now() - before_s == pytest.approx(0.26)

    at_the_bench(story, reply_after_s=0.25)


def test_the_stop_key_ends_remote_control_and_says_so_only_in_the_enhanced_status() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("1SP60.0", f"1DO{PULSES * 100}")
        await asyncio.sleep(9.99)
        bench.pump.press("STOP")
        assert bench.moved_mL() == pytest.approx(10.0, abs=0.05)
        await bench.tell("1GO", f"1DO{PULSES}", "1SP10.0", "1TC", "1Wx@")
        assert not bench.pump.is_turning
        assert bench.pump.speed_rpm == 60.0
        assert bench.pump.display == ()
        assert (await bench.ask("<1,RS,??>")).split(",")[9:11] == ["0", "0"]
        bench.pump.press("REMOTE")
        await bench.tell("1GO")
        assert bench.pump.is_turning

    at_the_bench(story)


def test_keys_move_liquid_in_the_name_of_the_panel() -> None:
    async def story(bench: Bench) -> None:
        bench.pump.press("MAX")
        await asyncio.sleep(2.0)
        await bench.tell("1SP60.0")
        bench.pump.press("UP")
        bench.pump.press("DIRECTION")
        bench.pump.press("DOWN")
        bench.pump.press("START")
        bench.pump.press("START")
        await asyncio.sleep(1.0)
        bench.pump.press("STOP")
        first, second = bench.turned()
        assert first.by == second.by == "panel:P1"
        assert first.amount == pytest.approx(220.0 / 60.0, abs=0.001)
        assert second.amount == pytest.approx(1.0, abs=0.001)
        assert bench.moved_mL() == pytest.approx(220.0 / 60.0 - 1.0, abs=0.001)
        assert int(await bench.ask("1RT\r")) == pytest.approx(PULSES * 280 / 60, rel=1e-4)
        with pytest.raises(ValueError, match="START, STOP, MAX"):
            bench.pump.press("EJECT")

    at_the_bench(story)


def test_a_power_cycle_stops_it_and_loses_the_count() -> None:
    async def story(bench: Bench) -> None:
        await bench.tell("1SP60.0", "1Wrunning@", f"1DO{PULSES * 100}")
        await asyncio.sleep(9.99)
        bench.pump.power_cycle()
        await asyncio.sleep(100.0)
        assert bench.moved_mL() == pytest.approx(10.0, abs=0.05)
        assert await bench.ask("1RT\r") == "0\r"
        assert await bench.ask("1ZY\r") == "0\r"
        assert bench.pump.display == ()

    at_the_bench(story)


@pytest.mark.parametrize(
    ("fault", "moved_mL"),
    [(Planted.SWALLOWED, 0.0), (Planted.DOUBLED, 20.0), (Planted.HALF, 5.0)],
)
def test_a_planted_fault_shows_in_the_world_for_one_dose(fault: Planted, moved_mL: float) -> None:
    async def story(bench: Bench) -> None:
        bench.pump.plant(fault)
        await bench.tell("1SP60.0", f"1DO{PULSES * 10}")
        await asyncio.sleep(60.0)
        assert sum(effect.amount for effect in bench.turned()) == pytest.approx(moved_mL, abs=1e-3)
        await bench.tell(f"1DO{PULSES * 10}")
        await asyncio.sleep(60.0)
        assert bench.moved_mL() == pytest.approx(moved_mL + 10.0, abs=0.001)

    at_the_bench(story)


@pytest.mark.parametrize(("fault", "flow"), [(Planted.SWALLOWED, 0.0), (Planted.HALF, 0.5)])
def test_a_planted_fault_of_go(fault: Planted, flow: float) -> None:
    async def story(bench: Bench) -> None:
        bench.pump.plant(fault)
        await bench.tell("1SP60.0", "1GO")
        await asyncio.sleep(9.99)
        await bench.tell("1ST")
        assert bench.moved_mL() == pytest.approx(flow * 10.0, abs=0.02)

    at_the_bench(story)
