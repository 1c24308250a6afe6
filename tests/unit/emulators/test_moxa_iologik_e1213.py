"""The emulated E1213 answers at the manual's addresses and moves valves only in the World.

Method: raw Modbus TCP frames over a wire in memory on virtual time, written out by hand from the
protocol's specification; valves are judged by the World and its ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from devices.transport.memory import MemoryLine, memory_wire
from hw_mocks.emulator import Moment, Planted
from hw_mocks.moxa_iologik_e1213 import CHANNELS, MoxaIoLogikE1213, SafeState
from hw_mocks.world import World
from orchestrator.virtual_time import run_in_virtual_time


class Bench:
    """The station's valves, all shut."""

    def __init__(self, valves: MoxaIoLogikE1213, line: MemoryLine) -> None:
        self.valves = valves
        self.line = line
        self.world = valves.world
        self.moments: list[tuple[Moment, str]] = []
        valves.on_moment = self._note

    def _note(self, equipment: str, moment: Moment, request: str) -> None:
        assert equipment == "V1"
        self.moments.append((moment, request))

    async def ask(self, message: str) -> str:
        """Return the answer to a message (function code on, in hex), without its header."""
        body = bytes.fromhex(message)
        header = bytes((0x12, 0x34, 0, 0, 0, len(body) + 1, 1))
        await self.line.send(header + body)
        reply = await asyncio.wait_for(self.line.receive(), 5.0)
        assert reply[:4] == b"\x12\x34\0\0"
        assert int.from_bytes(reply[4:6], "big") == len(reply) - 6
        assert reply[6] == 1
        return reply[7:].hex(" ")

    def opened(self) -> list[int]:
        return [n for n in range(CHANNELS) if self.world.is_open("station", n)]

    def effects(self) -> list[tuple[str, str, float]]:
        return [
            (effect.by, effect.places[0], effect.amount)
            for effect in self.world.ledger
            if effect.kind == "valve"
        ]


Story = Callable[[Bench], Awaitable[None]]


def at_the_bench(
    story: Story,
    *,
    watchdog_s: float | None = None,
    safe_states: tuple[SafeState, ...] = ("off",) * CHANNELS,
    channels: dict[int, str] | None = None,
    reply_after_s: float = 0.0,
) -> None:
    async def run() -> None:
        world = World(asyncio.get_running_loop().time, seed=1)
        world.add_station(channels=channels)
        valves = MoxaIoLogikE1213(
            world,
            "V1",
            watchdog_s=watchdog_s,
            safe_states=safe_states,
            reply_after_s=reply_after_s,
        )
        software, instrument = memory_wire("V1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(valves.serve(instrument))
            await story(Bench(valves, software))
            await software.close()

    run_in_virtual_time(run())


def test_one_coil_opens_and_shuts_its_valve() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("05 0003 ff00") == "05 00 03 ff 00"
        assert bench.opened() == [3]
        assert await bench.ask("01 0000 0008") == "01 01 08"
        assert await bench.ask("05 0003 0000") == "05 00 03 00 00"
        assert bench.opened() == []
        assert bench.effects() == [("V1", "station/p4", 1.0), ("V1", "station/p4", 0.0)]
        assert bench.moments[:5] == [
            (Moment.ARRIVING, "write_coil"),
            (Moment.ARRIVED, "write_coil"),
            (Moment.MOVING, "write_coil"),
            (Moment.ENDED, "write_coil"),
            (Moment.REPLYING, "write_coil"),
        ]

    at_the_bench(story)


@pytest.mark.parametrize("value", ["0001", "00ff", "ff01", "fe00", "1234", "ffff"])
def test_a_coil_takes_on_or_off_and_no_other_value(value: str) -> None:
    """Modbus Application Protocol V1.1b3, 6.5: any other is an illegal data value, exception 03."""

    async def story(bench: Bench) -> None:
        assert await bench.ask(f"05 0003 {value}") == "85 03"
        assert bench.opened() == []
        assert bench.effects() == []

    at_the_bench(story)


def test_several_coils_and_all_outputs_in_one_word() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("0f 0004 0004 01 05") == "0f 00 04 00 04"
        assert bench.opened() == [4, 6]
        assert await bench.ask("03 0020 0001") == "03 02 00 50"
        assert await bench.ask("06 0020 0041") == "06 00 20 00 41"
        assert bench.opened() == [0, 6]
        assert await bench.ask("10 0020 0001 02 0080") == "10 00 20 00 01"
        assert bench.opened() == [7]
        assert bench.valves.outputs == (False,) * 7 + (True,)
        assert await bench.ask("01 0006 0002") == "01 01 02"

    at_the_bench(story)


def test_writing_what_is_so_already_is_no_effect() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("05 0003 ff00")
        await bench.ask("05 0003 ff00")
        await bench.ask("06 0020 0008")
        assert len(bench.effects()) == 1

    at_the_bench(story)


def test_inputs_show_door_and_emergency_stop() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("02 0000 0008") == "02 01 03"
        bench.valves.set_door(is_open=True)
        assert await bench.ask("02 0000 0002") == "02 01 02"
        bench.valves.set_emergency_stop(is_pressed=True)
        assert await bench.ask("04 0030 0001") == "04 02 00 00"
        bench.valves.set_door(is_open=False)
        bench.valves.set_input(7, on=True)
        assert await bench.ask("04 0030 0001") == "04 02 00 81"

    at_the_bench(story)


def test_what_it_is() -> None:
    async def story(bench: Bench) -> None:
        name = await bench.ask("04 1388 000a")
        assert bytes.fromhex(name)[2:].rstrip(b"\0") == b"E1213"
        assert await bench.ask("04 13a5 0002") == "04 04 03 02 00 00"
        assert bytes.fromhex(await bench.ask("04 13b0 001e"))[2:].rstrip(b"\0") == b"V1"
        assert await bench.ask("04 13a3 0002") == "04 04 c0 a8 7f fe"
        assert await bench.ask("04 13a0 0003") == "04 06 00 90 e8 00 00 01"
        assert await bench.ask("04 13a7 0002") == "04 04 01 34 3d c5"

    at_the_bench(story)


def test_uptime_counts_seconds_high_word_first_and_starts_anew_with_the_power() -> None:
    async def story(bench: Bench) -> None:
        await asyncio.sleep(70_000.0)
        assert await bench.ask("04 139c 0002") == "04 04 00 01 11 70"
        await bench.ask("06 0020 00ff")
        bench.valves.power_cycle()
        assert bench.opened() == []
        await asyncio.sleep(12.5)
        assert bench.line.closed
        software, instrument = memory_wire("V1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bench.valves.serve(instrument))
            again = Bench(bench.valves, software)
            assert await again.ask("04 139c 0002") == "04 04 00 00 00 0c"
            assert await again.ask("01 0000 0008") == "01 01 00"
            await software.close()

    at_the_bench(story)


@pytest.mark.parametrize(
    ("message", "exception"),
    [
        ("07", "87 01"),
        ("2b 0e 01 00", "ab 01"),
        ("01 0008 0001", "81 02"),
        ("01 0000 0009", "81 02"),
        ("01 0010 0001", "81 02"),
        ("02 0008 0001", "82 02"),
        ("03 0021 0001", "83 02"),
        ("03 0020 0002", "83 02"),
        ("04 0020 0001", "84 02"),
        ("04 1388 000b", "84 02"),
        ("05 0008 ff00", "85 02"),
        ("06 0021 0001", "86 02"),
        ("0f 0007 0002 01 03", "8f 02"),
        ("10 0020 0002 04 0001 0001", "90 02"),
        ("01 0000 0000", "81 03"),
        ("06 0020 0100", "86 03"),
        ("05 1030 0000", "85 03"),
        ("10 0020 0001 04 0001 0001", "90 03"),
    ],
)
def test_what_is_refused_and_moves_nothing(message: str, exception: str) -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask(message) == exception
        assert bench.effects() == []
        assert await bench.ask("01 0000 0008") == "01 01 00"

    at_the_bench(story)


def test_garbage_is_skipped() -> None:
    async def story(bench: Bench) -> None:
        await bench.line.send(b"GET / HTTP/1.1\r\n\r\n")
        assert await bench.ask("05 0000 ff00") == "05 00 00 ff 00"

    at_the_bench(story)


def test_frames_may_come_in_pieces_or_together() -> None:
    async def story(bench: Bench) -> None:
        frame = bytes.fromhex("0001 0000 0006 01 05 0002 ff00")
        for byte in frame:
            await bench.line.send(bytes([byte]))
            await asyncio.sleep(0.001)
        assert await bench.line.receive() == frame
        await bench.line.send(frame + frame)
        await asyncio.sleep(0.001)
        assert await bench.line.receive() == frame + frame

    at_the_bench(story)


def test_a_silent_host_lets_the_outputs_go_to_their_safe_states() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("06 0020 000f")
        await asyncio.sleep(9.0)
        assert await bench.ask("01 1030 0001") == "01 01 00"
        await asyncio.sleep(9.0)
        assert bench.opened() == [0, 1, 2, 3]
        await asyncio.sleep(2.0)
        assert bench.opened() == [0, 7]
        assert bench.valves.watchdog_alarm
        assert await bench.ask("01 1030 0001") == "01 01 01"
        assert await bench.ask("05 0001 ff00") == "85 04"
        assert await bench.ask("05 1030 ff00") == "05 10 30 ff 00"
        assert await bench.ask("05 0001 ff00") == "05 00 01 ff 00"
        assert bench.opened() == [0, 1, 7]
        bench.valves.power_cycle()
        await asyncio.sleep(100.0)
        assert not bench.valves.watchdog_alarm

    at_the_bench(
        story,
        watchdog_s=10.0,
        safe_states=("hold", "off", "off", "off", "off", "off", "off", "on"),
    )


def test_the_line_may_drop_and_the_valves_stay() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("06 0020 0041")
        await bench.line.close()
        await asyncio.sleep(10_000.0)
        assert bench.opened() == [0, 6]

    at_the_bench(story)


def test_a_key_of_the_web_console_moves_a_valve_in_the_name_of_the_panel() -> None:
    async def story(bench: Bench) -> None:
        bench.valves.press("DO6")
        assert bench.effects() == [("panel:V1", "station/vessel", 1.0)]
        assert await bench.ask("03 0020 0001") == "03 02 00 40"
        bench.valves.press("DO6")
        assert bench.opened() == []
        with pytest.raises(ValueError, match="DO0"):
            bench.valves.press("EJECT")

    at_the_bench(story)


def test_a_channel_without_a_valve_is_only_an_output() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("06 0020 0081") == "06 00 20 00 81"
        assert bench.effects() == [("V1", "station/p1", 1.0)]

    at_the_bench(story, channels={0: "p1"})


@pytest.mark.parametrize(
    ("fault", "opened", "effects", "told"),
    [
        (Planted.SWALLOWED, [], 0, "00"),
        (Planted.DOUBLED, [0, 1, 2, 6], 12, "47"),
        (Planted.HALF, [0, 1], 2, "47"),
    ],
)
def test_a_planted_fault_shows_in_the_world_once_and_not_in_the_reply(
    fault: Planted, opened: list[int], effects: int, told: str
) -> None:
    async def story(bench: Bench) -> None:
        bench.valves.plant(fault)
        assert await bench.ask("0f 0000 0008 01 47") == "0f 00 00 00 08"
        assert bench.opened() == opened
        assert len(bench.effects()) == effects
        assert await bench.ask("01 0000 0008") == f"01 01 {told}"
        await bench.ask("06 0020 0000")
        await bench.ask("06 0020 0047")
        assert bench.opened() == [0, 1, 2, 6]

    at_the_bench(story)


def test_a_reply_takes_the_time_it_was_given() -> None:
    async def story(bench: Bench) -> None:
        before_s = bench.world.now()
        await bench.ask("05 0003 ff00")
        assert bench.world.now() - before_s == pytest.approx(0.25)

    at_the_bench(story, reply_after_s=0.25)
