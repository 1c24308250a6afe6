"""The emulated PF400 speaks TCS as clients know it and moves things only in the World.

Method: lines over wires in memory on virtual time; what happened is judged by the World's ledger
and by what stands where.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from devices.transport.memory import MemoryLine, memory_wire
from devices.transport.transport import LineClosedError
from hw_mocks.brooks_pf400 import SAFE, BrooksPf400
from hw_mocks.emulator import Moment, Planted
from hw_mocks.world import World
from orchestrator.virtual_time import run_in_virtual_time

STATIONS = {1: "station", 2: "incubator/1", 3: "rotor"}


class Bench:
    """An arm, a tray at station 1, room at 2 and 3, and two connections."""

    def __init__(self, arm: BrooksPf400, lines: list[MemoryLine]) -> None:
        self.arm = arm
        self.lines = lines
        self.moments: list[tuple[Moment, str]] = []
        arm.on_moment = self.note

    def note(self, equipment: str, moment: Moment, request: str) -> None:
        assert equipment == self.arm.equipment
        self.moments.append((moment, request))

    @property
    def world(self) -> World:
        return self.arm.world

    async def send(self, request: str, *, on: int = 0) -> None:
        await self.lines[on].send(f"{request}\n".encode())

    async def reply(self, *, on: int = 0, within_s: float = 300.0) -> str:
        return (await asyncio.wait_for(self.lines[on].receive(), within_s)).decode()

    async def ask(self, request: str, *, on: int = 0) -> str:
        await self.send(request, on=on)
        reply = await self.reply(on=on)
        assert reply.endswith("\r\n")
        return reply[:-2]

    async def start(self) -> None:
        for request in ("mode 0", "hp 1 20", "attach 1", "home"):
            assert await self.ask(request) == "0"
        self.moments.clear()

    def effects(self) -> list[tuple[str, str, tuple[str, ...]]]:
        return [(effect.by, effect.kind, effect.places) for effect in self.world.ledger]


Story = Callable[[Bench], Awaitable[None]]


def at_the_bench(
    story: Story,
    *,
    started: bool = True,
    spring_gripper: bool = True,
    reply_after_s: float = 0.0,
) -> None:
    async def run() -> None:
        world = World(asyncio.get_running_loop().time, seed=1)
        for place in STATIONS.values():
            world.add_place(place)
        world.add_container("T1", kind="culture_bag", capacity_mL=900.0, place="station")
        arm = BrooksPf400(
            world,
            "R1",
            stations=STATIONS,
            spring_gripper=spring_gripper,
            reply_after_s=reply_after_s,
        )
        wires = [memory_wire(f"R1/{n}") for n in (1, 2)]
        async with asyncio.TaskGroup() as tasks:
            for _, instrument in wires:
                tasks.create_task(arm.serve(instrument))
            bench = Bench(arm, [software for software, _ in wires])
            if started:
                await bench.start()
            await story(bench)
            for software, _ in wires:
                await software.close()

    run_in_virtual_time(run())


def test_the_usual_start_brings_power_attachment_and_homing() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("sysState") == "0 6"
        assert await bench.ask("hp") == "0 0"
        assert await bench.ask("attach 1") == "-1046 *Power not enabled*"
        await bench.start()
        assert bench.world.now() == pytest.approx(23.0)
        assert await bench.ask("sysstate") == "0 21"
        assert await bench.ask("ATTACH") == "0 -1"
        assert await bench.ask("pd 2800") == "0 1"
        for request in ("attach 0", "hp 0"):
            assert await bench.ask(request) == "0"
        assert await bench.ask("sysState") == "0 6"
        await bench.send("exit")
        with pytest.raises(LineClosedError):
            await bench.reply()

    at_the_bench(story, started=False)


def test_system_state_follows_power_and_homing() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("hp 1") == "0"
        assert await bench.ask("sysState") == "0 8"
        await asyncio.sleep(3.0)
        assert await bench.ask("sysState") == "0 20"
        await bench.ask("attach 1")
        await bench.send("home")
        await asyncio.sleep(10.0)
        assert await bench.ask("sysState", on=1) == "0 28"
        assert await bench.reply() == "0\r\n"

    at_the_bench(story, started=False)


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ("fly", "-2805 *Unknown command*"),
        ("hp 2", "-707 *Value out-of-range*"),
        ("hp x", "-717 *Invalid number format*"),
        ("hp nan", "-717 *Invalid number format*"),
        ("nop 1", "-3001 *Too many arguments*"),
        ("moveJ 1 2", "-3002 *Too few arguments*"),
        ("moveJ 1 500 0 0 0 100", "-1012 *Joint out-of-range*"),
        ("moveC 1 900 0 100 0 90 180", "-1040 *Position too far*"),
        ("moveC 1 1 0 100 0 90 180", "-1039 *Position too close*"),
        ("MoveOneAxis 9 0 1", "-1002 *Invalid axis number*"),
        ("PickPlate 0 0 0", "-2851 *Invalid Station ID*"),
        ("locAngles 101", "-2851 *Invalid Station ID*"),
        ("pd 1", "-1501 *Unknown Data ID code*"),
        ("pc 1 2", "-1501 *Unknown Data ID code*"),
        ("mspeed 0", "-707 *Value out-of-range*"),
        ("Speed 1 0", "-707 *Value out-of-range*"),
        ("GraspData 120 0 10", "-707 *Value out-of-range*"),
        ("homeAll", "-1006 *Robot already attached*"),
        ("selectRobot 2", "-1000 *Invalid robot number*"),
        ("freemode 7", "-1002 *Invalid axis number*"),
    ],
)
def test_what_it_refuses_and_how(request_: str, reply: str) -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask(request_) == reply
        assert bench.effects() == []

    at_the_bench(story)


def test_motion_needs_power_attachment_and_homing() -> None:
    async def story(bench: Bench) -> None:
        assert (await bench.ask("pickplate 1 0 0")).startswith("-1046 ")
        assert (await bench.ask("hp 1 1")).startswith("-1025 ")
        await bench.ask("hp 1 -1")
        assert (await bench.ask("home")).startswith("-1009 ")
        assert (await bench.ask("moveJ 1 0 0 0 0 100")).startswith("-1009 ")
        await bench.ask("attach 1")
        assert (await bench.ask("gripper 1")).startswith("-1021 ")

    at_the_bench(story, started=False)


def test_settings_are_told_as_they_were_given() -> None:
    async def story(bench: Bench) -> None:
        for told, shown in (
            ("locXyz 1 400 100.5 150 45 90 180", "0 1 400 100.5 150 45 90 180"),
            ("locConfig 1 4097", "1 4097"),
            ("locZClearance 1 80 1", "1 80 1"),
            ("StationType 1 1 0 100 0 10", "1 1 0 100 0 10"),
            ("locAngles 2 100 -20 60 -40 120", "1 2 100 -20 60 -40 120"),
            ("Profile 2 80 0 90 90 0.2 0.2 -1 -1", "2 80 0 90 90 0.2 0.2 -1 -1"),
            ("Speed 2 33", "2 33"),
            ("InRange 2 5", "2 5"),
            ("sig 20001 1", "20001 1"),
        ):
            assert await bench.ask(told) == "0"
            keyword, number, *_ = told.split()
            assert await bench.ask(f"{keyword} {number}") == f"0 {shown}"
        for told in ("GraspData 110 50 10", "mspeed 70", "payload 30", "GripOpenPos 140"):
            assert await bench.ask(told) == "0"
            keyword, rest = told.split(" ", 1)
            assert await bench.ask(keyword) == f"0 {rest}"
        assert await bench.ask("base 1 2 3 4") == "0"
        assert await bench.ask("base") == "0 1 2 3 4"
        assert await bench.ask("tool") == "0 0 0 0 0 0 0"
        assert await bench.ask("selectRobot") == "0 1"
        assert (await bench.ask("pd 116")).startswith("0 12, ")
        assert (await bench.ask("version")).startswith("0 TCP Command Server")
        assert await bench.ask("nop") == "0"
        assert await bench.ask("mode 1") == "0"
        assert await bench.ask("mspeed") == "0 mspeed: 70"

    at_the_bench(story)


def test_a_move_takes_time_in_proportion_to_its_way_and_speed() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("moveJ 1 100 36 170 -170 130")
        assert await bench.ask("state") == "0 3"
        assert await bench.ask("waitForEom") == "0"
        slow_s = bench.world.now() - 23.0
        assert slow_s == pytest.approx(100.0 / 500.0 / 0.5 + 0.2)
        assert await bench.ask("wherej") == "0 100 36 170 -170 130"
        await bench.ask("Speed 1 100")
        before_s = bench.world.now()
        await bench.ask("moveJ 1 200 0 170 -170 130")
        await bench.ask("waitForEom")
        assert bench.world.now() - before_s == pytest.approx((slow_s - 0.2) / 2 + 0.2)
        assert bench.moments[:5] == [
            (Moment.ARRIVING, "movej"),
            (Moment.ARRIVED, "movej"),
            (Moment.REPLYING, "movej"),
            (Moment.MOVING, "movej"),
            (Moment.ENDED, "movej"),
        ]

    at_the_bench(story)


def test_a_move_is_seen_halfway_and_its_target_is_told() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("Speed 1 1")
        await bench.ask("moveJ 1 100 0 170 -170 130")
        await asyncio.sleep(10.1)
        assert await bench.ask("wherej") == "0 150 0 170 -170 130"
        assert await bench.ask("destJ 1") == "0 100 0 170 -170 130"
        assert await bench.ask("destJ") == "0 100 0 170 -170 130"
        await bench.lines[0].close()
        await asyncio.sleep(30.0)
        assert await bench.ask("wherej", on=1) == "0 100 0 170 -170 130"

    at_the_bench(story)


def test_cartesian_moves_reach_what_where_c_says() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("moveC 1 400 100 150 45 90 180 4098") == "0"
        await bench.ask("waitForEom")
        words = (await bench.ask("wherec")).split()
        assert [float(word) for word in words[1:]] == pytest.approx(
            [400, 100, 150, 45, 90, 180, 4098], abs=0.01
        )
        assert (await bench.ask("destC 1")).split() == words
        await bench.ask("hereC 9")
        assert (await bench.ask("locXyz 9")).startswith("0 0 9 400 100 150 45 90 180")
        await bench.ask("TeachPlate 9 60")
        assert await bench.ask("locZClearance 9") == "0 9 60 0"
        await bench.ask("hereJ 9")
        assert (await bench.ask("locAngles 9")).startswith("0 1 9 150 ")
        await bench.ask("moveAppro 9 1")
        await bench.ask("MoveOneAxis 1 10 1")
        await bench.ask("movetosafe")
        await bench.ask("waitForEom")
        assert (await bench.ask("wherej")).startswith(f"0 {SAFE[0]:g} {SAFE[1]:g}")

    at_the_bench(story)


def test_wait_for_eom_parks_its_connection_and_no_other() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("Speed 1 1")
        await bench.ask("moveJ 1 0 0 170 -170 130")
        for request in ("waitForEom", "halt", "wherej"):
            await bench.send(request)
        await asyncio.sleep(5.0)
        assert await bench.ask("state", on=1) == "0 3"
        with pytest.raises(TimeoutError):
            await bench.reply(within_s=5.0)
        assert (await bench.reply()).startswith("0\r\n")
        await asyncio.sleep(1.0)
        assert (await bench.ask("wherej", on=1)).startswith("0 0 ")

    at_the_bench(story)


def test_halt_from_a_second_connection_stops_at_once_and_keeps_power() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("Speed 1 1")
        await bench.ask("moveJ 1 0 0 170 -170 130")
        await bench.send("waitForEom")
        await asyncio.sleep(20.1)
        await bench.lines[1].send(b"gar\nhalt\n")
        assert (await bench.reply(on=1)).startswith("-2805 ")
        assert await bench.reply() == "0\r\n"
        assert (await bench.ask("wherej")).startswith("0 100 ")
        assert (await bench.ask("destJ 1")).startswith("0 0 ")
        assert await bench.ask("hp") == "0 1"

    at_the_bench(story)


def test_a_move_that_waits_for_another_is_not_begun_when_that_is_halted() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("Speed 1 1")
        await bench.ask("moveJ 1 0 0 170 -170 130")
        await bench.send("moveJ 1 200 0 170 -170 130")
        await asyncio.sleep(10.0)
        assert await bench.ask("halt", on=1) == "0"
        assert (await bench.reply()).startswith("-1045 ")
        assert await bench.ask("state") == "0 0"

    at_the_bench(story)


def test_a_pick_and_a_place_carry_the_tray() -> None:
    async def story(bench: Bench) -> None:
        for request in ("GraspData 120 50.0 10.0", "StationType 1 1 0 100 0 10"):
            assert await bench.ask(request) == "0"
        assert await bench.ask("IsFullyClosed") == "0 0"
        assert await bench.ask("pickplate 1 0 0") == "0 -1"
        assert bench.world.held_by("R1") == "T1"
        assert await bench.ask("IsFullyClosed") == "0 0"
        assert (await bench.ask("wherej")).endswith(" 120")
        assert await bench.ask("HomeAll_IfNoPlate") == "0 0"
        assert await bench.ask("placeplate 2 0 0") == "0"
        assert bench.world.at("incubator/1") == "T1"
        assert (await bench.ask("wherej")).endswith(" 130")
        assert bench.effects() == [
            ("R1", "moved_thing", ("station", "gripper:R1")),
            ("R1", "moved_thing", ("gripper:R1", "incubator/1")),
        ]
        assert bench.moments[:5] == [
            (Moment.ARRIVING, "pickplate"),
            (Moment.ARRIVED, "pickplate"),
            (Moment.MOVING, "pickplate"),
            (Moment.ENDED, "pickplate"),
            (Moment.REPLYING, "pickplate"),
        ]
        assert await bench.ask("HomeAll_IfNoPlate") == "0 -1"

    at_the_bench(story)


def test_a_pick_of_nothing_says_so_and_closes_fully() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("PickPlate 2 0 0") == "0 0"
        assert await bench.ask("IsFullyClosed") == "0 -1"
        bench.world.plan_slip("R1")
        assert await bench.ask("PickPlate 1 0 0") == "0 0"
        assert bench.world.where("T1") == "floor"

    at_the_bench(story)


def test_a_pick_goes_on_when_the_line_drops_and_then_stands_at_its_target() -> None:
    async def story(bench: Bench) -> None:
        await bench.send("PickPlate 1 0 0")
        await asyncio.sleep(0.1)
        await bench.lines[0].close()
        assert bench.world.held_by("R1") is None
        await asyncio.sleep(60.0)
        assert bench.world.held_by("R1") == "T1"
        assert await bench.ask("attach", on=1) == "0 -1"
        where = (await bench.ask("wherej", on=1)).split()[1:5]
        assert where == (await bench.ask("destJ 1", on=1)).split()[1:5]

    at_the_bench(story)


def test_step_by_step_with_the_gripper_at_a_taught_location() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("move 1 1")
        assert await bench.ask("GraspPlate 120 50 10") == "0 -1"
        await bench.ask("move 2 1")
        assert await bench.ask("ReleasePlate 130 50") == "0"
        assert bench.world.at("incubator/1") == "T1"
        assert await bench.ask("gripper 2") == "0"
        assert bench.world.held_by("R1") == "T1"
        await bench.ask("movetosafe")
        assert await bench.ask("gripper 1") == "0"
        assert bench.world.where("T1") == "floor"
        assert await bench.ask("GraspPlate 120 50 10") == "0 0"

    at_the_bench(story)


def test_a_place_that_is_taken_is_a_collision_and_needs_a_new_start() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("PickPlate 1 0 0")
        bench.world.add_container("T2", kind="bag", capacity_mL=9.0, place="incubator/1")
        assert await bench.ask("PlacePlate 2 0 0") == "-3100 *Hard envelope error*"
        assert [kind for _, kind, _ in bench.effects()][-2:] == ["collided", "dropped"]
        assert await bench.ask("hp") == "0 0"
        assert await bench.ask("pd 2800") == "0 0"
        await bench.start()

    at_the_bench(story)


def test_a_turning_rotor_is_a_collision() -> None:
    async def story(bench: Bench) -> None:
        bench.world.spin_start("rotor", rcf_g=300.0, by="C1")
        assert (await bench.ask("PickPlate 3 0 0")).startswith("-3100 ")

    at_the_bench(story)


def test_without_a_spring_the_gripper_loses_hold_with_the_power() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("PickPlate 1 0 0")
        await bench.ask("hp 0")
        assert bench.world.where("T1") == "floor"

    at_the_bench(story, spring_gripper=False)


@pytest.mark.parametrize(
    ("fault", "where", "effects"),
    [("swallowed", "station", 0), ("doubled", "gripper:R1", 3), ("half", "floor", 2)],
)
def test_a_planted_fault_of_a_pick_shows_in_the_world(fault: str, where: str, effects: int) -> None:
    async def story(bench: Bench) -> None:
        bench.arm.plant(Planted(fault))
        await bench.ask("moveAppro 1 1")
        assert await bench.ask("PickPlate 1 0 0") == "0 -1"
        assert bench.world.where("T1") == where
        assert len(bench.effects()) == effects

    at_the_bench(story)


@pytest.mark.parametrize(
    ("fault", "where", "effects"),
    [("swallowed", "gripper:R1", 1), ("doubled", "incubator/1", 4), ("half", "floor", 2)],
)
def test_a_planted_fault_of_a_place_shows_in_the_world(
    fault: str, where: str, effects: int
) -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("PickPlate 1 0 0")
        bench.arm.plant(Planted(fault))
        assert await bench.ask("PlacePlate 2 0 0") == "0"
        assert bench.world.where("T1") == where
        assert len(bench.effects()) == effects

    at_the_bench(story)


def test_the_emergency_stop_stops_drops_power_and_is_not_cleared_by_the_wire() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("Speed 1 1")
        await bench.send("PickPlate 1 0 0")
        await asyncio.sleep(1.0)
        bench.arm.press("ESTOP")
        assert await bench.reply() == "-1028 *Hard E-Stop*\r\n"
        assert await bench.ask("sysState") == "0 15"
        assert (await bench.ask("hp 1 20")).startswith("-1028 ")
        bench.arm.press("ESTOP RELEASE")
        await bench.start()
        assert bench.effects() == []

    at_the_bench(story)


def test_the_pendant_moves_the_arm_and_the_gripper_in_its_own_name() -> None:
    async def story(bench: Bench) -> None:
        bench.arm.press("J1+")
        assert (await bench.ask("wherej")).startswith("0 205 ")
        bench.arm.press("GRIPPER CLOSE")
        assert await bench.ask("IsFullyClosed") == "0 -1"
        await bench.ask("gripper 1")
        await bench.ask("move 1 1")
        await bench.ask("waitForEom")
        bench.arm.press("GRIPPER CLOSE")
        assert bench.effects() == [("panel:R1", "moved_thing", ("station", "gripper:R1"))]
        bench.arm.press("GRIPPER OPEN")
        assert bench.world.at("station") == "T1"
        with pytest.raises(ValueError, match="ESTOP"):
            bench.arm.press("TURBO")

    at_the_bench(story)


def test_a_power_cycle_loses_homing_and_attachment_and_drops_the_lines() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("locAngles 1 10 0 0 0 100")
        await bench.ask("PickPlate 1 0 0")
        bench.arm.power_cycle()
        await asyncio.sleep(0.0)
        with pytest.raises(LineClosedError):
            await bench.reply()
        software, instrument = memory_wire("R1/3")
        serving = asyncio.create_task(bench.arm.serve(instrument))
        bench.lines[0] = software
        assert await bench.ask("sysState") == "0 6"
        assert await bench.ask("pd 2800") == "0 0"
        assert not (await bench.ask("locAngles 1")).startswith("0 1 1 10 ")
        assert bench.world.held_by("R1") == "T1"
        await bench.start()
        await software.close()
        await serving

    at_the_bench(story)


def test_it_answers_as_late_as_told() -> None:
    async def story(bench: Bench) -> None:
        await bench.ask("nop")
        assert bench.world.now() == pytest.approx(0.05)

    at_the_bench(story, started=False, reply_after_s=0.05)


def test_garbage_never_stops_it() -> None:
    async def story(bench: Bench) -> None:
        noise = bytes(byte for byte in range(256) if byte != 0x0A)
        await bench.lines[0].send(noise * 9 + b"\n\n\r\n")
        assert (await bench.reply()).startswith("-")
        for request in ("freemode 1", "freemode -1", "pc 247 0", "locConfig 1 3", "mode 7", "hp"):
            await bench.ask(request)
        assert await bench.ask("nop") == "0"

    at_the_bench(story)
