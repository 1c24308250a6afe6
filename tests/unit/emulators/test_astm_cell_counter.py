"""The emulated cell counter speaks E1381 and E1394 and counts only the World's tube.

Method: bytes over a wire in memory on virtual time, with a host made of the standard's rules; what
happened is judged by the World's ledger and the tube.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from devices.transport.memory import MemoryLine, memory_wire
from hw_mocks.astm_cell_counter import AstmCellCounter, checksum, in_frames
from hw_mocks.emulator import Moment, Planted
from hw_mocks.world import Effect, Mixture, Population, World, run_a
from hw_mocks.world.materials import buffer
from orchestrator.virtual_time import run_in_virtual_time

ENQ, ACK, NAK, EOT = b"\x05", b"\x06", b"\x15", b"\x04"


class Bench:
    """A counter with a tube of 200 uL in its place, and a host's end of its line."""

    def __init__(self, counter: AstmCellCounter, line: MemoryLine) -> None:
        self.counter = counter
        self.line = line
        self.came = b""
        self.moments: list[tuple[Moment, str]] = []
        counter.on_moment = self.note

    def note(self, equipment: str, moment: Moment, request: str) -> None:
        assert equipment == self.counter.equipment
        self.moments.append((moment, request))

    @property
    def world(self) -> World:
        return self.counter.world

    async def next(self, count: int = 1, within_s: float = 600.0) -> bytes:
        while len(self.came) < count:
            self.came += await asyncio.wait_for(self.line.receive(), within_s)
        taken, self.came = self.came[:count], self.came[count:]
        return taken

    async def frame(self, within_s: float = 600.0) -> bytes:
        while b"\n" not in self.came:
            self.came += await asyncio.wait_for(self.line.receive(), within_s)
        end = self.came.index(b"\n") + 1
        return await self.next(end)

    async def send(self, data: bytes) -> bytes:
        await self.line.send(data)
        return await self.next()

    async def tell(self, *records: str) -> None:
        assert await self.send(ENQ) == ACK
        for frame in in_frames(["H|\\^&|||host", *records, "L|1|N"]):
            assert await self.send(frame) == ACK
        await self.line.send(EOT)

    async def order(self, sample: str) -> None:
        await self.tell("P|1", f"O|1|{sample}||^^^ALL|R")

    async def message(self) -> list[str]:
        """Receive one message as a good host does."""
        assert await self.next() == ENQ
        await self.line.send(ACK)
        return await self.rest()

    async def rest(self) -> list[str]:
        text = b""
        while True:
            if not self.came:
                self.came += await asyncio.wait_for(self.line.receive(), 60.0)
            if self.came[:1] == EOT:
                await self.next()
                return text.decode().split("\r")[:-1]
            frame = await self.frame()
            assert frame[-4:-2].decode() == checksum(frame[1:-4])
            text += frame[2:-5]
            await self.line.send(ACK)

    def counted(self) -> list[Effect]:
        return [effect for effect in self.world.ledger if effect.kind == "counted"]


Story = Callable[[Bench], Awaitable[None]]


def at_the_bench(story: Story) -> None:
    async def run() -> None:
        world = World(asyncio.get_running_loop().time, seed=1)
        donor = run_a("D1")
        world.add_donor(donor)
        world.add_place("counter", of="N1")
        cells = buffer(0.2)
        cells.cells[(donor.donor, "cd4_t")] = Population(viable=190_000.0, dead=10_000.0)
        world.add_container("T1", kind="tube", capacity_mL=1.5, contents=cells, place="counter")
        counter = AstmCellCounter(world, "N1")
        software, instrument = memory_wire("N1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(counter.serve(instrument))
            await story(Bench(counter, software))
            await software.close()

    run_in_virtual_time(run())


def test_the_golden_frame_has_its_checksum_and_is_acknowledged() -> None:
    golden = b"\x022P|1|PAT-000417|||Doe^Jane^Q||19800101|F\r\x035E\r\n"
    assert checksum(golden[1:-4]) == "5E"

    async def story(bench: Bench) -> None:
        assert await bench.send(ENQ) == ACK
        assert await bench.send(in_frames(["H|\\^&"])[0]) == ACK
        assert await bench.send(golden) == ACK

    at_the_bench(story)


def test_an_order_counts_the_tube_and_the_result_comes_unasked() -> None:
    async def story(bench: Bench) -> None:
        await bench.order("S-1")
        await asyncio.sleep(0.0)
        assert bench.counter.is_counting
        records = await bench.message()
        assert bench.world.now() == pytest.approx(120.0)
        assert records[0] == r"H|\^&|1||N1|||||HOST||P|1|20260105080200"
        assert records[2].split("|")[:6] == ["O", "1", "S-1", "1", "^^^ALL", "R"]
        assert records[2].split("|")[25] == "F"
        results = [record.split("|") for record in records if record.startswith("R")]
        assert [result[2] for result in results] == ["^^^VCD", "^^^VIA", "^^^CD3", "^^^CAR"]
        assert [result[4] for result in results] == ["cells/mL", "%", "%", "%"]
        assert {result[12] for result in results} == {"20260105080200"}
        assert float(results[0][3]) == pytest.approx(950_000, rel=0.3)
        assert float(results[1][3]) == pytest.approx(95.0, abs=3.0)
        assert float(results[2][3]) == 100.0
        assert float(results[3][3]) == 0.0
        assert records[-1] == "L|1|N"
        (effect,) = bench.counted()
        assert (effect.by, effect.things, effect.amount) == ("N1", ("T1",), 20.0)
        assert bench.world.contents("T1").volume_mL == pytest.approx(0.18)
        assert bench.moments == [
            (Moment.ARRIVING, "ORDER"),
            (Moment.ARRIVED, "ORDER"),
            (Moment.MOVING, "ORDER"),
            (Moment.ENDED, "ORDER"),
            (Moment.REPLYING, "ORDER"),
        ]

    at_the_bench(story)


def test_a_query_gives_the_last_result_and_says_what_is_pending_or_unknown() -> None:
    async def story(bench: Bench) -> None:
        await bench.order("S-1")
        await bench.tell("Q|1|^S-1||ALL")
        pending = await bench.message()
        assert pending[2].split("|")[25] == "I"
        assert [record[0] for record in pending] == ["H", "P", "O", "L"]
        first = await bench.message()
        await bench.tell("Q|1|S-1^||ALL")
        again = await bench.message()
        assert again[2:7] == first[2:7]
        assert again[0].split("|")[2] == "3"
        await bench.tell("Q|1|^S-9||ALL")
        unknown = await bench.message()
        assert unknown[2].split("|")[25] == "Y"
        assert unknown[-1] == "L|1|I"
        assert len(bench.counted()) == 1

    at_the_bench(story)


def test_counting_again_is_another_run_and_a_query_gives_the_last() -> None:
    async def story(bench: Bench) -> None:
        for run in ("1", "2"):
            await bench.order("S-1")
            assert (await bench.message())[2].split("|")[3] == run
        await bench.tell("Q|1|^ALL||ALL")
        assert (await bench.message())[2].split("|")[3] == "2"

    at_the_bench(story)


def test_results_outlive_the_line() -> None:
    async def story(bench: Bench) -> None:
        await bench.order("S-1")
        await bench.line.close()
        await asyncio.sleep(300.0)
        assert len(bench.counted()) == 1
        bench.line, instrument = memory_wire("N1")
        serving = asyncio.create_task(bench.counter.serve(instrument))
        await bench.tell("Q|1|^S-1||ALL")
        records = await bench.message()
        assert [record[0] for record in records] == ["H", "P", "O", "R", "R", "R", "R", "L"]
        await bench.line.close()
        await serving

    at_the_bench(story)


def test_a_power_cycle_forgets_results_and_numbers() -> None:
    async def story(bench: Bench) -> None:
        await bench.order("S-1")
        await asyncio.sleep(60.0)
        bench.counter.power_cycle()
        await asyncio.sleep(300.0)
        await bench.tell("Q|1|^S-1||ALL")
        records = await bench.message()
        assert records[0].split("|")[2] == "1"
        assert records[2].split("|")[25] == "Y"
        assert len(bench.counted()) == 1

    at_the_bench(story)


@pytest.mark.parametrize(("empty", "why"), [(True, "no tube"), (False, "too little in the tube")])
def test_what_cannot_be_counted_is_reported_as_not_done(empty: bool, why: str) -> None:
    async def story(bench: Bench) -> None:
        bench.world.hands.take("counter", by="test")
        if not empty:
            bench.world.add_container(
                "T2", kind="tube", capacity_mL=1.5, contents=Mixture(), place="counter"
            )
        await bench.order("S-1")
        records = await bench.message()
        assert records[2].split("|")[25] == "X"
        assert records[3] == f"C|1|I|{why}|I"
        assert bench.counted() == []

    at_the_bench(story)


def test_an_order_while_it_counts_is_not_done() -> None:
    async def story(bench: Bench) -> None:
        await bench.order("S-1")
        await bench.order("S-2")
        records = await bench.message()
        assert records[2].split("|")[2:4] == ["S-2", ""]
        assert records[2].split("|")[25] == "X"
        assert (await bench.message())[2].split("|")[2] == "S-1"
        assert len(bench.counted()) == 1

    at_the_bench(story)


def test_a_damaged_frame_is_refused_and_taken_when_it_comes_again() -> None:
    async def story(bench: Bench) -> None:
        frames = in_frames(["H|\\^&", "O|1|S-1", "L|1"])
        assert await bench.send(ENQ) == ACK
        assert await bench.send(frames[0].replace(b"^", b"~")) == NAK
        assert await bench.send(frames[0]) == ACK
        assert await bench.send(frames[0]) == ACK  # our ACK was lost; it isn't taken twice
        assert await bench.send(frames[2]) == NAK
        assert await bench.send(frames[1].lower()) == NAK
        assert await bench.send(b"\x02" + b"x" * 300) == NAK
        assert await bench.send(frames[1]) == ACK
        assert await bench.send(frames[2]) == ACK
        await bench.line.send(EOT)
        assert (await bench.message())[2].startswith("O|1|S-1|1|")
        assert len(bench.counted()) == 1

    at_the_bench(story)


def test_a_message_without_its_end_is_dropped() -> None:
    async def story(bench: Bench) -> None:
        frames = in_frames(["H|\\^&", "O|1|S-1", "L|1"])
        for end in (EOT, b""):
            assert await bench.send(ENQ) == ACK
            for frame in frames[:2]:
                assert await bench.send(frame) == ACK
            if end:
                await bench.line.send(end)
            await asyncio.sleep(31.0)
        await bench.line.send(EOT)
        await asyncio.sleep(300.0)
        assert bench.counted() == []
        assert await bench.send(ENQ) == ACK
        await bench.line.send(frames[0][:9])
        assert await bench.send(ENQ) == ACK  # the host begins anew
        await bench.line.send(EOT)

    at_the_bench(story)


def test_long_records_come_in_parts() -> None:
    frames = in_frames(["H|\\^&", "C|1|I|" + "x" * 500])
    assert [frame[1:2] for frame in frames] == [b"1", b"2", b"3", b"4"]
    assert [frame[-5] for frame in frames] == [3, 0x17, 0x17, 3]
    assert max(len(frame) for frame in frames) == 247
    many = in_frames([f"C|{n}" for n in range(10)])
    assert b"".join(frame[1:2] for frame in many) == b"1234567012"

    async def story(bench: Bench) -> None:
        assert await bench.send(ENQ) == ACK
        for frame in in_frames(["H|\\^&", "O|1|S-1||" + "x" * 500, "L|1"]):
            assert await bench.send(frame) == ACK
        await bench.line.send(EOT)
        assert (await bench.message())[2].startswith("O|1|S-1|1|")

    at_the_bench(story)


def test_a_frame_that_the_host_refuses_comes_six_times_and_then_eot() -> None:
    async def story(bench: Bench) -> None:
        await bench.order("S-1")
        assert await bench.next() == ENQ
        await bench.line.send(ACK)
        first = await bench.frame()
        for _ in range(5):
            await bench.line.send(NAK)
            assert await bench.frame() == first
        await bench.line.send(NAK)
        assert await bench.next() == EOT
        with pytest.raises(TimeoutError):
            await bench.next(within_s=300.0)
        await bench.tell("Q|1|^S-1||ALL")
        assert (await bench.message())[2].split("|")[25] == "F"

    at_the_bench(story)


def test_one_refused_frame_is_sent_again_and_the_message_goes_on() -> None:
    async def story(bench: Bench) -> None:
        await bench.order("S-1")
        assert await bench.next() == ENQ
        await bench.line.send(ACK)
        first = await bench.frame()
        await bench.line.send(b"?")
        assert await bench.frame() == first
        await bench.line.send(ACK)
        assert len(await bench.rest()) == 7

    at_the_bench(story)


def test_a_busy_host_is_asked_again_after_ten_seconds_and_at_last_left() -> None:
    async def story(bench: Bench) -> None:
        await bench.order("S-1")
        assert await bench.next() == ENQ
        asked_s = [bench.world.now()]
        for _ in range(5):
            await bench.line.send(NAK)
            assert await bench.next() == ENQ
            asked_s.append(bench.world.now())
        await bench.line.send(NAK)
        assert await bench.next() == EOT
        gaps = [b - a for a, b in pairwise(asked_s)]
        assert gaps == pytest.approx([10.0] * 5)

    at_the_bench(story)


def test_a_silent_host_is_left_after_fifteen_seconds() -> None:
    async def story(bench: Bench) -> None:
        await bench.order("S-1")
        assert await bench.next() == ENQ
        before_s = bench.world.now()
        assert await bench.next() == EOT
        assert bench.world.now() - before_s == pytest.approx(15.0)

    at_the_bench(story)


def test_in_contention_the_counter_asks_again_after_a_second() -> None:
    async def story(bench: Bench) -> None:
        await bench.order("S-1")
        assert await bench.next() == ENQ
        before_s = bench.world.now()
        await bench.line.send(ENQ)
        assert await bench.next() == ENQ
        assert bench.world.now() - before_s == pytest.approx(1.0)
        await bench.line.send(ACK)
        assert len(await bench.rest()) == 8

    at_the_bench(story)


def test_while_it_pauses_the_host_may_send_first() -> None:
    async def story(bench: Bench) -> None:
        await bench.order("S-1")
        assert await bench.next() == ENQ
        await bench.line.send(NAK)
        await asyncio.sleep(2.0)
        await bench.tell("Q|1|^S-1||ALL")
        for _ in range(2):
            assert (await bench.message())[2].split("|")[25] == "F"

    at_the_bench(story)


def test_a_host_may_interrupt_with_eot() -> None:
    async def story(bench: Bench) -> None:
        await bench.order("S-1")
        assert await bench.next() == ENQ
        await bench.line.send(ACK)
        await bench.frame()
        assert await bench.send(EOT) == EOT

    at_the_bench(story)


@pytest.mark.parametrize(
    ("fault", "drawn"), [("swallowed", []), ("doubled", [20.0, 20.0]), ("half", [10.0])]
)
def test_a_planted_fault_shows_in_the_world_and_not_in_the_message(
    fault: str, drawn: list[float]
) -> None:
    async def story(bench: Bench) -> None:
        bench.counter.plant(Planted(fault))
        await bench.order("S-1")
        assert (await bench.message())[2].split("|")[25] == "F"
        assert [effect.amount for effect in bench.counted()] == drawn

    at_the_bench(story)


def test_the_panel_counts_in_its_own_name() -> None:
    async def story(bench: Bench) -> None:
        bench.counter.press("START")
        records = await bench.message()
        assert records[2].split("|")[2:4] == ["", "1"]
        assert bench.counted()[0].by == "panel:N1"
        assert bench.moments == []
        with pytest.raises(ValueError, match="START"):
            bench.counter.press("RINSE")

    at_the_bench(story)


def test_garbage_never_stops_it() -> None:
    async def story(bench: Bench) -> None:
        await bench.line.send(bytes(byte for byte in range(256) if byte != 0x05) * 3)
        assert await bench.send(ENQ) == ACK
        noise = bytes(byte for byte in range(256) if byte not in (2, 4, 5))
        assert await bench.send(b"\x02" + noise * 2) == NAK
        await asyncio.sleep(31.0)
        bench.came = b""
        await bench.tell("Z|1", "O", "Q")
        assert (await bench.message())[0].startswith("H|")

    at_the_bench(story)
