"""The emulated balance speaks MT-SICS and weighs what hangs on it in the World.

Method: bytes over a wire in memory on virtual time; replies are those of the reference manual's
excerpts; loads are bags that hands hang and liquid that is poured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from devices.transport.memory import MemoryLine, memory_wire
from hw_mocks.emulator import Moment, Planted
from hw_mocks.mettler_mt_sics import COMMANDS, MettlerMtSics
from hw_mocks.world import World
from hw_mocks.world.materials import buffer
from orchestrator.virtual_time import run_in_virtual_time


class Bench:
    """A balance with a hook; a bag of 40 g with 60 mL in it lies ready."""

    def __init__(self, balance: MettlerMtSics, line: MemoryLine) -> None:
        self.balance = balance
        self.line = line
        self.world = balance.world
        self.moments: list[tuple[Moment, str]] = []
        balance.on_moment = self._note

    def _note(self, equipment: str, moment: Moment, request: str) -> None:
        assert equipment == "W1"
        self.moments.append((moment, request))

    async def ask(self, request: str, *, within_s: float = 60.0) -> list[str]:
        await self.line.send(f"{request}\r\n".encode("latin-1"))
        return await self.hear(within_s=within_s)

    async def hear(self, *, within_s: float = 60.0) -> list[str]:
        said = await asyncio.wait_for(self.line.receive(), within_s)
        assert said.endswith(b"\r\n")
        return said.decode("latin-1").split("\r\n")[:-1]

    async def stays_silent(self, *, for_s: float = 3.0) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.line.receive(), for_s)

    def hang(self) -> None:
        self.world.relocate("B1", "hook", "test")

    def take_off(self) -> None:
        self.world.relocate("B1", "hands", "test")

    def pour(self, volume_mL: float) -> None:
        self.world.pour_in("B1", buffer(volume_mL))

    async def settle(self) -> None:
        await self.ask("SI")
        await asyncio.sleep(2.0)
        await self.ask("SI")


Story = Callable[[Bench], Awaitable[None]]


def at_the_bench(
    story: Story,
    *,
    resolution_g: float = 0.01,
    capacity_g: float = 10_100.0,
    has_shield: bool = False,
    has_inner_weight: bool = True,
    reply_after_s: float = 0.0,
) -> None:
    async def run() -> None:
        world = World(asyncio.get_running_loop().time, seed=1)
        world.add_station()
        world.add_container("B1", kind="bag", capacity_mL=600.0, tare_g=40.0, contents=buffer(60.0))
        balance = MettlerMtSics(
            world,
            "W1",
            serial_number="B021002593",
            resolution_g=resolution_g,
            capacity_g=capacity_g,
            has_shield=has_shield,
            has_inner_weight=has_inner_weight,
            reply_after_s=reply_after_s,
        )
        software, instrument = memory_wire("W1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(balance.serve(instrument))
            await asyncio.sleep(0.01)
            await story(Bench(balance, software))
            await software.close()

    run_in_virtual_time(run())


def test_the_printed_reply_to_a_stable_weight() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("S") == ["S S       0.00 g"]
        bench.hang()
        assert await bench.ask("S") == ["S S     100.00 g"]

    at_the_bench(story)


def test_a_reset_answers_with_the_serial_number_and_keeps_the_tare() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("TA 12 g")
        assert await bench.ask("@") == ['I4 A "B021002593"']
        assert await bench.ask("TA") == ["TA A      12.00 g"]

    at_the_bench(story)


def test_what_it_is() -> None:
    async def story(bench: Bench) -> None:
        listed = await bench.ask("I0")
        assert listed[0] == 'I0 B 0 "@"'
        assert listed[-1] == 'I0 A 2 "WS"'
        assert len(listed) == len(COMMANDS)
        assert (await bench.ask("I1"))[0].startswith("I1 A ")
        assert await bench.ask("I2") == ['I2 A "XP10002S Excellence 10100.00 g"']
        assert (await bench.ask("I3"))[0].startswith('I3 A "')
        assert await bench.ask("I4") == ['I4 A "B021002593"']
        assert (await bench.ask("I5"))[0].startswith('I5 A "')
        assert await bench.ask("I10") == ['I10 A "W1"']
        assert await bench.ask('I10 "hook balance"') == ["I10 A"]
        assert await bench.ask("I10") == ['I10 A "hook balance"']
        assert await bench.ask("I11") == ['I11 A "XP10002S"']

    at_the_bench(story)


def test_every_listed_command_is_known_and_refuses_a_wrong_parameter() -> None:
    async def story(bench: Bench) -> None:
        for _, name in COMMANDS:
            values = name in ("SI", "SIR", "SR", "SC")
            assert await bench.ask(f"{name} ?!") == [f"{'S' if values else name} L"], name

    at_the_bench(story, has_shield=True)


@pytest.mark.parametrize("request_", ["si", "XYZ", "", " S", "SI\tX"])
def test_what_is_not_understood(request_: str) -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask(request_) == ["ET" if "\t" in request_ else "ES"]

    at_the_bench(story)


@pytest.mark.parametrize(
    "request_", ["TA  5 g", "TA 5", "TA x g", "TA 5 lb", "TA -1 g", "TA 99999 g", "D text", 'D "t']
)
def test_a_wrong_parameter(request_: str) -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask(request_) == [f"{request_.split()[0]} L"]
        assert await bench.ask("TA") == ["TA A       0.00 g"]

    at_the_bench(story)


def test_garbage_is_answered_and_forgotten() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("\x00\x01\x7f") == ["ET"]
        assert await bench.ask("\xff\xfe") == ["ES"]
        await bench.line.send(b"S" * 400)
        assert await bench.hear() == ["ET"]
        assert (await bench.ask(""))[0] == "ES"
        assert await bench.ask("SI") == ["S S       0.00 g"]

    at_the_bench(story)


def test_a_value_at_once_is_moving_until_the_load_has_settled() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("SI") == ["S S       0.00 g"]
        bench.hang()
        assert await bench.ask("SI") == ["S D     100.00 g"]
        await asyncio.sleep(0.5)
        assert await bench.ask("SI") == ["S D     100.00 g"]
        await asyncio.sleep(0.5)
        assert await bench.ask("SI") == ["S S     100.00 g"]
        bench.pour(0.004)
        assert await bench.ask("SI") == ["S S     100.00 g"]

    at_the_bench(story)


def test_a_stable_value_waits_for_the_settling_time() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("SI")
        bench.hang()
        before_s = bench.world.now()
        assert await bench.ask("S") == ["S S     100.00 g"]
        assert bench.world.now() - before_s == pytest.approx(1.0, abs=1e-3)

    at_the_bench(story)


@pytest.mark.parametrize("request_", ["S", "T", "Z"])
def test_a_load_that_never_settles_ends_in_not_executable(request_: str) -> None:
    async def story(bench: Bench) -> None:
        async def trickle() -> None:
            while True:
                bench.pour(0.1)
                await asyncio.sleep(0.5)

        await bench.settle()
        bench.hang()
        async with asyncio.TaskGroup() as tasks:
            trickling = tasks.create_task(trickle())
            before_s = bench.world.now()
            assert await bench.ask(request_) == [f"{request_} I"]
            assert bench.world.now() - before_s == pytest.approx(20.0, abs=0.01)
            trickling.cancel()

    at_the_bench(story)


def test_a_value_in_time_is_moving_if_it_must_be() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("SI")
        bench.hang()
        assert await bench.ask("SC 400") == ["S D     100.00 g"]
        assert await bench.ask("SC 5000") == ["S S     100.00 g"]

    at_the_bench(story)


def test_while_one_request_waits_others_are_not_executable_but_reset_is() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("SI")
        bench.hang()
        await bench.line.send(b"S\r\n")
        assert await bench.ask("SI") == ["S I"]
        assert await bench.ask("I11") == ["I11 I"]
        assert await bench.ask("@") == ['I4 A "B021002593"']
        await bench.stays_silent()

    at_the_bench(story)


@pytest.mark.parametrize("ending", ["SI", "S", "@"])
def test_repeated_values_go_on_until_told(ending: str) -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("SIR") == ["S S       0.00 g"]
        bench.hang()
        for _ in range(3):
            before_s = bench.world.now()
            assert await bench.hear() == ["S D     100.00 g"]
            assert bench.world.now() - before_s == pytest.approx(0.1, abs=0.011)
        await bench.ask(ending)
        await bench.stays_silent()

    at_the_bench(story)


def test_values_on_change() -> None:
    async def story(bench: Bench) -> None:
        bench.hang()
        assert await bench.ask("SR") == ["S S     100.00 g"]
        bench.pour(5.0)
        await bench.stays_silent()
        bench.pour(10.0)
        assert await bench.hear() == ["S D     115.00 g"]
        assert await bench.hear() == ["S S     115.00 g"]
        assert await bench.ask("@") == ['I4 A "B021002593"']
        assert await bench.ask("SR 1 g") == ["S S     115.00 g"]
        bench.pour(2.0)
        assert await bench.hear() == ["S D     117.00 g"]
        assert await bench.ask("SI") == ["S D     117.00 g"]
        assert await bench.ask("SR 0 g") == ["S L"]

    at_the_bench(story)


def test_taring_when_stable_and_at_once() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("SI")
        bench.hang()
        assert await bench.ask("TI") == ["TI D     100.00 g"]
        assert await bench.ask("TAC") == ["TAC A"]
        assert await bench.ask("T") == ["T S     100.00 g"]
        assert await bench.ask("S") == ["S S       0.00 g"]
        bench.pour(25.0)
        assert await bench.ask("S") == ["S S      25.00 g"]
        assert await bench.ask("TA") == ["TA A     100.00 g"]
        assert await bench.ask("TA 0.05 kg") == ["TA A      50.00 g"]
        assert await bench.ask("S") == ["S S      75.00 g"]
        assert bench.balance.tare_g == 50.0
        bench.take_off()
        assert await bench.ask("S") == ["S S     -50.00 g"]
        assert bench.moments[:4] == [
            (Moment.ARRIVING, "TI"),
            (Moment.ARRIVED, "TI"),
            (Moment.MOVING, "TI"),
            (Moment.ENDED, "TI"),
        ]
        assert (Moment.REPLYING, "T") in bench.moments

    at_the_bench(story)


def test_zeroing_within_its_range_clears_the_tare() -> None:
    async def story(bench: Bench) -> None:
        bench.hang()
        await bench.ask("T")
        assert await bench.ask("Z") == ["Z A"]
        assert await bench.ask("TA") == ["TA A       0.00 g"]
        assert await bench.ask("S") == ["S S       0.00 g"]
        bench.take_off()
        assert await bench.ask("S") == ["S S    -100.00 g"]
        assert await bench.ask("T") == ["T -"]
        assert await bench.ask("TI") == ["TI -"]
        assert await bench.ask("ZI") == ["ZI S"]
        bench.hang()
        bench.pour(150.0)
        assert await bench.ask("Z") == ["Z +"]
        assert await bench.ask("ZI") == ["ZI +"]
        assert await bench.ask("S") == ["S S     250.00 g"]

    at_the_bench(story)


def test_overload_underload_and_a_weighing_cell_in_trouble() -> None:
    async def story(bench: Bench) -> None:
        bench.hang()
        for request in ("S", "SI", "SC 100", "SR"):
            assert await bench.ask(request) == ["S +"]
        assert await bench.ask("T") == ["T +"]
        assert await bench.ask("TI") == ["TI +"]
        assert await bench.ask("Z") == ["Z +"]
        bench.take_off()
        bench.balance.weighing_error = "10b"
        assert await bench.ask("S") == ["S S Error 10b"]
        assert await bench.ask("SI") == ["S S Error 10b"]
        assert [*await bench.ask("T"), *await bench.ask("Z"), *await bench.ask("ZI")] == [
            "T I",
            "Z I",
            "ZI I",
        ]

    at_the_bench(story, capacity_g=99.0)


def test_units_and_resolution() -> None:
    async def story(bench: Bench) -> None:
        bench.hang()
        bench.pour(0.26)
        assert await bench.ask("S") == ["S S      100.3 g"]
        assert await bench.ask("M21 0 1") == ["M21 A"]
        assert await bench.ask("S") == ["S S     0.1003 kg"]
        assert await bench.ask("M21 0 3") == ["M21 A"]
        assert await bench.ask("S") == ["S S     100300 mg"]
        assert await bench.ask("M21") == ["M21 B 0 3", "M21 B 1 0", "M21 A 2 0"]
        assert await bench.ask("M21 0 2") == ["M21 L"]
        bench.balance.power_cycle()
        await bench.hear()
        assert await bench.ask("S") == ["S S     100300 mg"]

    at_the_bench(story, resolution_g=0.1)


def test_display_adjustment_shield_and_temperature() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask('D "HANG BAG"') == ["D A"]
        assert bench.balance.display == "HANG BAG"
        assert await bench.ask("DW") == ["DW A"]
        assert bench.balance.display == ""
        assert await bench.ask("M28") == ["M28 A 1 21.0"]
        assert await bench.ask("WS 1") == ["WS A"]
        assert await bench.ask("WS") == ["WS A 1"]
        assert await bench.ask("WS 4") == ["WS L"]
        assert await bench.ask("C3") == ["C3 B"]
        assert await bench.ask("S") == ["S I"]
        assert await bench.hear() == ["C3 A"]
        bench.hang()
        bench.pour(200.0)
        assert await bench.ask("C3") == ["C3 I"]

    at_the_bench(story, has_shield=True)


def test_what_this_balance_has_not_is_a_logical_error() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("WS 0") == ["EL"]
        assert await bench.ask("C3") == ["EL"]

    at_the_bench(story, has_inner_weight=False)


def test_after_power_up_it_says_its_number_unasked_and_the_tare_is_gone() -> None:
    async def story(bench: Bench) -> None:
        bench.hang()
        await bench.ask("T")
        await bench.ask('D "x"')
        await bench.line.send(b"SIR\r\n")
        bench.balance.power_cycle()
        await bench.line.send(b"S\r\nI4")
        await asyncio.sleep(4.9)
        before = await bench.hear()
        assert before == ['I4 A "B021002593"']
        assert await bench.ask("S") == ["S S     100.00 g"]
        assert await bench.ask("TA") == ["TA A       0.00 g"]
        assert bench.balance.display == ""

    at_the_bench(story)


def test_keys_tare_and_zero_with_no_word_on_the_line() -> None:
    async def story(bench: Bench) -> None:
        bench.hang()
        bench.balance.press("TARE")
        await bench.stays_silent()
        assert await bench.ask("TA") == ["TA A     100.00 g"]
        bench.balance.press("ZERO")
        await bench.stays_silent()
        assert await bench.ask("TA") == ["TA A       0.00 g"]
        assert await bench.ask("S") == ["S S       0.00 g"]
        with pytest.raises(ValueError, match="TARE, ZERO"):
            bench.balance.press("EJECT")
        assert [effect.kind for effect in bench.world.ledger] == ["moved_thing"]

    at_the_bench(story)


@pytest.mark.parametrize(
    ("fault", "tare"),
    [(Planted.SWALLOWED, "0.00"), (Planted.DOUBLED, "100.00"), (Planted.HALF, "50.00")],
)
def test_a_planted_fault_shows_in_the_next_tare_and_not_in_its_reply(
    fault: Planted, tare: str
) -> None:
    async def story(bench: Bench) -> None:
        bench.hang()
        bench.balance.plant(fault)
        assert await bench.ask("T") == ["T S     100.00 g"]
        assert await bench.ask("TA") == [f"TA A {tare:>10} g"]
        assert await bench.ask("T") == ["T S     100.00 g"]
        assert await bench.ask("TA") == ["TA A     100.00 g"]

    at_the_bench(story)


@pytest.mark.parametrize(
    ("fault", "net"),
    [(Planted.SWALLOWED, "100.00"), (Planted.DOUBLED, "0.00"), (Planted.HALF, "50.00")],
)
def test_a_planted_fault_shows_in_the_next_zero(fault: Planted, net: str) -> None:
    async def story(bench: Bench) -> None:
        bench.hang()
        bench.balance.plant(fault)
        assert await bench.ask("Z") == ["Z A"]
        assert await bench.ask("S") == [f"S S {net:>10} g"]

    at_the_bench(story)


def test_a_reply_takes_the_time_it_was_given_and_is_heard_after_a_reconnect() -> None:
    async def story(bench: Bench) -> None:
        before_s = bench.world.now()
        await bench.ask("SI")
        assert bench.world.now() - before_s == pytest.approx(0.25)
        await bench.line.send(b"SI\r\n")
        await asyncio.sleep(0.1)
        await bench.line.close()
        software, instrument = memory_wire("W1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bench.balance.serve(instrument))
            await software.send(b"SI\r\n")
            assert await software.receive() == b"S S       0.00 g\r\n"
            await software.close()

    at_the_bench(story, reply_after_s=0.25)
