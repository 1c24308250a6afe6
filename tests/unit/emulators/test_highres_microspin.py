"""The emulated MicroSpin speaks as it was heard to speak and spins only the World's rotor.

Method: lines over wires in memory on virtual time; what happened is judged by the World's ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from devices.transport.memory import MemoryLine, memory_wire
from devices.transport.transport import LineClosedError
from hw_mocks.emulator import Moment, Planted
from hw_mocks.highres_microspin import COMMANDS, HighresMicrospin
from hw_mocks.world import Effect, World
from hw_mocks.world.materials import buffer
from orchestrator.virtual_time import run_in_virtual_time

SPIN = "spin 1000 100 100 600"
SPIN_S = 30.0 + 600.0 + 84.0


class Client:
    """One connection; keeps the lines that come out of turn."""

    def __init__(self, line: MemoryLine) -> None:
        self.line = line
        self.came = ""

    async def send(self, request: str) -> None:
        await self.line.send(f"{request}\r\n".encode())

    async def next(self, within_s: float = 3600.0) -> str:
        while "\r\n" not in self.came:
            self.came += (await asyncio.wait_for(self.line.receive(), within_s)).decode()
        line, self.came = self.came.split("\r\n", 1)
        return line

    async def ask(self, request: str) -> list[str]:
        """Return the lines from ACK! to the end."""
        await self.send(request)
        lines = [await self.next()]
        while lines[-1].split(" ")[0] not in ("OK!", "ERROR!", "ABORTED!"):
            lines.append(await self.next())
        return lines


class Bench:
    """A centrifuge with a bag in its bucket, and two clients."""

    def __init__(self, spin: HighresMicrospin, clients: list[Client]) -> None:
        self.spin = spin
        self.first, self.second = clients
        self.moments: list[tuple[Moment, str]] = []
        spin.on_moment = self.note

    def note(self, equipment: str, moment: Moment, request: str) -> None:
        assert equipment == self.spin.equipment
        self.moments.append((moment, request))

    @property
    def world(self) -> World:
        return self.spin.world

    def spun(self) -> list[Effect]:
        self.world.catch_up()
        return [effect for effect in self.world.ledger if effect.kind == "spun"]


Story = Callable[[Bench], Awaitable[None]]


def at_the_bench(
    story: Story, *, may_never_stop: bool = False, reply_after_s: float = 0.0, homed: bool = True
) -> None:
    async def run() -> None:
        world = World(asyncio.get_running_loop().time, seed=1)
        world.add_place("rotor", of="C1")
        world.add_container(
            "B1", kind="bag", capacity_mL=300.0, contents=buffer(200.0), place="rotor"
        )
        centrifuge = HighresMicrospin(
            world, "C1", may_never_stop=may_never_stop, reply_after_s=reply_after_s
        )
        centrifuge.homed = homed
        wires = [memory_wire(f"C1/{n}") for n in (1, 2)]
        async with asyncio.TaskGroup() as tasks:
            for _, instrument in wires:
                tasks.create_task(centrifuge.serve(instrument))
            await asyncio.sleep(0.0)
            await story(Bench(centrifuge, [Client(software) for software, _ in wires]))
            for software, _ in wires:
                await software.close()

    run_in_virtual_time(run())


def test_ids_count_the_requests_of_all_clients_and_the_echo_is_what_was_sent() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.first.ask("hss") == ["ACK! hss 1", "not homed", "OK! hss 1"]
        assert await bench.second.ask("homedstatus") == [
            "ACK! homedstatus 2",
            "not homed",
            "OK! homedstatus 2",
        ]
        assert await bench.first.ask("whoami") == ["ACK! whoami 3", "1", "OK! whoami 3"]
        assert (await bench.second.ask("whoami"))[1] == "2"

    at_the_bench(story, homed=False)


def test_every_listed_command_is_known() -> None:
    async def story(bench: Bench) -> None:
        assert len(await bench.first.ask("?")) == len(COMMANDS) + 2
        assert len(await bench.first.ask("info")) == 3 * len(COMMANDS) + 2
        assert (await bench.first.ask("help sp"))[2] == (
            "     Parameters(4): <G-force> <acceleration> <deceleration> <time>"
        )
        assert (await bench.first.ask("help errors"))[2] == "     Parameters(0 - 1): [<n>]"
        assert (await bench.first.ask("version"))[-1].startswith("OK!")
        assert (await bench.first.ask("logcommands yes"))[-1].startswith("OK!")

    at_the_bench(story)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ("od", 'Command "od" not recognized!'),
        ("SPIN 1 1 1 1", 'Command "SPIN" not recognized!'),
        ("open", 'Abnormal number of parameters (0) for command "open".  Min: 1, Max: 1'),
        ("sp 1", 'Abnormal number of parameters (1) for command "spin".  Min: 4, Max: 4'),
        ("open 3", "bucket 3: there are 1 and 2"),
        ("open x", "open takes whole numbers, not x"),
        ("spin 3001 100 100 10", "G-force 3001: 1 to 3000"),
        ("spin 300 0 100 10", "acceleration 0, deceleration 100: 1 to 100"),
        ("spin 300 100 100 0", "time 0: at least 1"),
        ("help fly", "Can't provide information on unrecognized command 'fly'"),
        ("logcommands maybe", "yes or no, not maybe"),
    ],
)
def test_a_refusal_shows_its_entry_of_the_error_stack(request_: str, text: str) -> None:
    async def story(bench: Bench) -> None:
        assert await bench.first.ask(request_) == [
            f"ACK! {request_} 1",
            f"Error 1: (08:00:00) -12: {text}",
            f"ERROR! {request_} 1",
        ]
        assert bench.spun() == []

    at_the_bench(story)


def test_the_error_stack_stays_and_shows_ten() -> None:
    async def story(bench: Bench) -> None:
        for _ in range(11):
            await bench.first.ask("od")
        lines = await bench.first.ask("od")
        assert len(lines) == 12
        assert lines[1].startswith("Error 3:")
        assert len(await bench.first.ask("errors 3")) == 5
        assert len(await bench.first.ask("e")) == 12
        assert len(await bench.first.ask("e 0")) == 2

    at_the_bench(story)


def test_it_must_be_homed_before_it_moves() -> None:
    async def story(bench: Bench) -> None:
        assert (await bench.first.ask(SPIN))[1].endswith("device is not homed")
        assert (await bench.first.ask("open 1"))[-1].startswith("ERROR!")
        before_s = bench.world.now()
        assert await bench.first.ask("home") == ["ACK! home 3", "OK! home 3"]
        assert bench.world.now() - before_s == pytest.approx(15.0)
        assert (await bench.first.ask("hss"))[1] == "homed"

    at_the_bench(story, homed=False)


def test_open_presents_a_bucket_and_spin_closes_the_door() -> None:
    async def story(bench: Bench) -> None:
        await bench.first.ask("home")
        assert (await bench.first.ask("s"))[1:3] == [
            "Spindle Position: 1958",
            "Door Position: -258",
        ]
        await bench.first.ask("open 2")
        assert (await bench.first.ask("s"))[1:3] == [
            "Spindle Position: 6054",
            "Door Position: 19242",
        ]
        before_s = bench.world.now()
        await bench.first.ask(SPIN)
        assert bench.world.now() - before_s == pytest.approx(SPIN_S + 4.0)
        assert (await bench.first.ask("s"))[2] == "Door Position: -258"

    at_the_bench(story)


def test_a_spin_turns_what_stands_there_for_its_time_and_ends_when_it_stands() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.first.ask(SPIN) == [f"ACK! {SPIN} 1", f"OK! {SPIN} 1"]
        assert bench.world.now() == pytest.approx(SPIN_S)
        (effect,) = bench.spun()
        assert (effect.by, effect.things, effect.places) == ("C1", ("B1",), ("rotor",))
        assert effect.amount == pytest.approx(600.0)
        assert effect.detail == {"rcf_g": 1000.0}
        assert bench.moments == [
            (Moment.ARRIVING, "spin"),
            (Moment.ARRIVED, "spin"),
            (Moment.MOVING, "spin"),
            (Moment.ENDED, "spin"),
            (Moment.REPLYING, "spin"),
        ]

    at_the_bench(story)


def test_seven_minutes_to_stop_from_1000_g_at_20_percent() -> None:
    async def story(bench: Bench) -> None:
        await bench.first.ask("spin 1000 100 20 10")
        assert bench.world.now() == pytest.approx(30.0 + 10.0 + 420.0)

    at_the_bench(story)


def test_status_waits_for_the_rotor_and_all_else_does_not() -> None:
    async def story(bench: Bench) -> None:
        await bench.first.send(SPIN)
        await asyncio.sleep(100.0)
        assert bench.world.is_spinning("rotor")
        assert (await bench.second.ask("hss"))[-1] == "OK! hss 2"
        assert bench.world.now() == pytest.approx(100.0)
        assert (await bench.second.ask("status"))[-1] == "OK! status 3"
        assert bench.world.now() == pytest.approx(SPIN_S)
        assert not bench.world.is_spinning("rotor")

    at_the_bench(story)


def test_commandstat_knows_what_ran_runs_and_was_never_heard_of() -> None:
    async def story(bench: Bench) -> None:
        await bench.first.ask("hss")
        await bench.first.send(SPIN)
        await asyncio.sleep(1.0)
        assert (await bench.second.ask("cstat 1"))[1] == "hss 1: OK"
        assert (await bench.second.ask("cstat 2"))[1] == f"{SPIN} 2: RUNNING"
        assert (await bench.second.ask("commandstat 77"))[1] == (
            "Error 1: (08:00:01) 5: Command id 77 not in recorded history."
        )
        await asyncio.sleep(SPIN_S)
        assert (await bench.second.ask("cstat 2"))[1] == f"{SPIN} 2: OK"
        assert (await bench.second.ask("cstat x"))[-1].startswith("ERROR!")
        for _ in range(100):
            await bench.second.ask("hss")
        assert (await bench.second.ask("cstat 2"))[-1].startswith("ERROR!")

    at_the_bench(story)


def test_abort_answers_at_once_latches_and_lets_the_rotor_run_down() -> None:
    async def story(bench: Bench) -> None:
        await bench.first.send(SPIN)
        assert await bench.first.next() == f"ACK! {SPIN} 1"
        await asyncio.sleep(130.0)
        lines = await bench.second.ask("abort")
        assert lines[0] == "ACK! abort 2"
        assert "clearbuttonabort" in lines[1]
        assert lines[2] == "OK! abort 2"
        assert await bench.first.next() == f"ABORTED! {SPIN} 1"
        assert bench.world.now() == pytest.approx(130.0)
        assert await bench.first.ask("open 1") == ["ACK! open 1 3", "ABORTED! open 1 3"]
        assert (await bench.first.ask("cba"))[-1] == "OK! cba 4"
        await bench.second.ask("s")
        assert bench.world.now() == pytest.approx(130.0 + 84.0)
        assert (await bench.first.ask("open 1"))[-1].startswith("OK!")
        assert (await bench.first.ask("cstat 1"))[1].endswith("ABORTED")
        (effect,) = bench.spun()
        assert effect.amount == pytest.approx(100.0)

    at_the_bench(story)


def test_one_client_may_abort_its_own_spin_and_what_waits_is_aborted_too() -> None:
    async def story(bench: Bench) -> None:
        for request in (SPIN, "open 1", "abort"):
            await bench.first.send(request)
        lines = [await bench.first.next() for _ in range(7)]
        assert lines[:3] == [f"ACK! {SPIN} 1", "ACK! open 1 2", "ACK! abort 3"]
        assert f"ABORTED! {SPIN} 1" in lines
        assert "ABORTED! open 1 2" in lines
        assert lines[-1] == "OK! abort 3"
        assert bench.spun() == []

    at_the_bench(story)


def test_after_too_slow_a_spin_the_stop_may_never_be_reported() -> None:
    async def story(bench: Bench) -> None:
        await bench.first.send("spin 20 100 100 60")
        await asyncio.sleep(86_400.0)
        assert await bench.first.next() == "ACK! spin 20 100 100 60 1"
        await bench.first.send("status")
        assert await bench.first.next() == "ACK! status 2"
        with pytest.raises(TimeoutError):
            await bench.first.next(within_s=3600.0)
        assert (await bench.second.ask("abort"))[-1].startswith("OK!")
        assert bench.spun()[0].amount == pytest.approx(60.0)

    at_the_bench(story, may_never_stop=True)


def test_the_spin_goes_on_when_the_line_drops() -> None:
    async def story(bench: Bench) -> None:
        await bench.first.send(SPIN)
        await bench.first.line.close()
        await asyncio.sleep(SPIN_S)
        assert (await bench.second.ask("cstat 1"))[1].endswith("OK")
        assert bench.spun()[0].amount == pytest.approx(600.0)

    at_the_bench(story)


@pytest.mark.parametrize(
    ("fault", "seconds"), [("swallowed", []), ("doubled", [600.0, 600.0]), ("half", [300.0])]
)
def test_a_planted_fault_shows_in_the_world_and_not_in_the_reply(
    fault: str, seconds: list[float]
) -> None:
    async def story(bench: Bench) -> None:
        bench.spin.plant(Planted(fault))
        assert (await bench.first.ask(SPIN))[-1].startswith("OK!")
        assert [effect.amount for effect in bench.spun()] == pytest.approx(seconds)

    at_the_bench(story)


def test_the_panel_opens_the_door_and_its_abort_button_latches() -> None:
    async def story(bench: Bench) -> None:
        bench.spin.press("OPEN")
        assert (await bench.first.ask("s"))[2] == "Door Position: 19242"
        await bench.first.send(SPIN)
        await asyncio.sleep(100.0)
        bench.spin.press("ABORT")
        await asyncio.sleep(0.0)
        assert await bench.first.next() == f"ACK! {SPIN} 2"
        assert await bench.first.next() == f"ABORTED! {SPIN} 2"
        assert bench.spun()[0].by == "panel:C1"
        assert (await bench.first.ask("home"))[-1].startswith("ABORTED!")
        with pytest.raises(ValueError, match="ABORT"):
            bench.spin.press("IMBALANCE")

    at_the_bench(story)


def test_a_power_cycle_drops_everyone_and_forgets_home_ids_and_history() -> None:
    async def story(bench: Bench) -> None:
        await bench.first.ask("od")
        await bench.first.send(SPIN)
        await asyncio.sleep(100.0)
        bench.spin.power_cycle()
        await asyncio.sleep(0.0)
        assert await bench.first.next() == f"ACK! {SPIN} 2"
        with pytest.raises(LineClosedError):
            await bench.first.next()
        software, instrument = memory_wire("C1/3")
        serving = asyncio.create_task(bench.spin.serve(instrument))
        client = Client(software)
        assert await client.ask("hss") == ["ACK! hss 1", "not homed", "OK! hss 1"]
        assert (await client.ask("cstat 2"))[-1].startswith("ERROR!")
        assert len(await client.ask("e")) == 4
        assert not bench.world.is_spinning("rotor")
        await software.close()
        await serving

    at_the_bench(story)


def test_disconnect_ends_the_connection_after_its_reply() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.first.ask("d") == ["ACK! d 1", "OK! d 1"]
        with pytest.raises(LineClosedError):
            await bench.first.next()

    at_the_bench(story)


def test_it_answers_as_late_as_told() -> None:
    async def story(bench: Bench) -> None:
        await bench.first.ask("hss")
        assert bench.world.now() == pytest.approx(0.1)

    at_the_bench(story, reply_after_s=0.1)


def test_garbage_never_stops_it() -> None:
    async def story(bench: Bench) -> None:
        await bench.first.line.send(bytes(byte for byte in range(256) if byte != 0x0A) * 3 + b"\n")
        while not (await bench.first.next()).startswith("ERROR!"):
            pass
        await bench.first.line.send(b"\r\n\n")
        assert (await bench.first.ask("hss"))[-1].startswith("OK! hss")

    at_the_bench(story)
