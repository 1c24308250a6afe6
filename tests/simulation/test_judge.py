"""The judge can fail: it names just the fault that was planted, on each instrument and by hand.

Method: emulated instruments and hands act on a World; the journal beside it is written by the
test, as the software would have written it believing that all went well. The bytes are the test's
own too, so neither engine nor drivers take part. ``test_judge_of_the_engine.py`` plants the same
faults below the real engine, and says of balances and scanners why they have no rows;
``test_judge_of_clearing.py`` those of clearing a line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from devices.interfaces.cell_count import CountCells
from devices.interfaces.centrifugation import Spin
from devices.interfaces.climate import SetClimate
from devices.interfaces.container_transport import PickContainer, PlaceContainer
from devices.interfaces.controlled_freezing import RampSegment
from devices.interfaces.hands import HandAct, Handwork
from devices.transport.memory import MemoryLine, memory_wire
from devices.transport.transport import LineClosedError
from hw_mocks.astm_cell_counter import AstmCellCounter, in_frames
from hw_mocks.brooks_pf400 import BrooksPf400
from hw_mocks.emulator import Emulator, Planted
from hw_mocks.highres_microspin import HighresMicrospin
from hw_mocks.linkam_t95 import LinkamT95
from hw_mocks.moxa_iologik_e1213 import MoxaIoLogikE1213
from hw_mocks.thermo_vios_160i import ThermoVios160i, checksum
from hw_mocks.watson_marlow_530du import WatsonMarlow530Du
from hw_mocks.world import World, run_a
from hw_mocks.world.materials import selected_t_cells
from orchestrator.kernel.acts import Act, OnInterruption, Quieten
from orchestrator.kernel.identifiers import ContainerId, PlaceId, SampleId
from orchestrator.kernel.quantities import (
    degC,
    degC_per_min,
    hour,
    percent,
    second,
    x_g,
)
from orchestrator.records.comparison import Comparison
from orchestrator.virtual_time import run_in_virtual_time
from tests.unit.records.diary import Diary, by_hand, names, pump, valves

PULSES = 1000
A_WHILE_S = 6000.0


class Bench:
    """A World with one of each thing, one instrument on a line, and a journal by hand."""

    def __init__(self, world: World, emulator: Emulator, line: MemoryLine) -> None:
        self.world = world
        self.emulator = emulator
        self.line = line
        self.diary = Diary(world.now)

    async def send(self, data: bytes, *, wait_s: float = 0.05) -> None:
        """Send, and let the instrument take it; what it says is not looked at."""
        await self.line.send(data)
        await asyncio.sleep(wait_s)

    async def say(self, *lines: str, end: str = "\r", wait_s: float = 0.05) -> None:
        for line in lines:
            await self.send(f"{line}{end}".encode("latin-1"), wait_s=wait_s)


Story = Callable[[Bench], Awaitable[None]]


@dataclass(frozen=True)
class Instrument:
    """One instrument as the test uses it.

    Args:
        make: Its emulator in a World.
        act: What the journal says was asked.
        trigger: The one message that starts the act.
        prepare: What comes before, and may be repeated.
        done: What the journal says was done.
        key: A key of its panel that does something after the act.
        key_shows: Whether the ledger lists what the key did.
        twice: What the judge says when the trigger was sent again after the act's end.
    """

    name: str
    make: Callable[[World], Emulator]
    act: Act
    trigger: Story
    prepare: Story
    done: str
    key: str
    key_shows: bool = True
    twice: tuple[str, ...] = ("repeated",)

    def __str__(self) -> str:
        return self.name


async def _nothing(bench: Bench) -> None:
    del bench


def _lines(*lines: str, end: str = "\r", wait_s: float = 0.05) -> Story:
    async def said(bench: Bench) -> None:
        await bench.say(*lines, end=end, wait_s=wait_s)

    return said


async def _order(bench: Bench) -> None:
    await bench.send(b"\x05")
    for frame in in_frames([r"H|\^&|||host", "P|1", "O|1|T-1||^^^ALL|R", "L|1|N"]):
        await bench.send(frame)
    await bench.send(b"\x04")


def _telegram(address: str, value: str) -> str:
    body = f"!:{address}:{len(value):02x}:{value}:"
    return f"{body}{checksum(body, 'xor')}"


async def _open_valves(bench: Bench) -> None:
    """Write outputs p1 and vessel in one word."""
    await bench.send(bytes.fromhex("0001 0000 0006 01 06 0020 0041"))


async def _open_the_way(bench: Bench) -> None:
    for channel in (0, 6):
        bench.world.set_valve("station", channel, True, "V1")
    bench.diary.settle(bench.diary.intend(valves("p1", "vessel"), "V1", word=9))
    await bench.say("1SP60.0", "1RR")


async def _hold_the_bag(bench: Bench) -> None:
    """Let the arm have picked what it shall place."""
    await _ready_the_arm(bench)
    picked = bench.diary.intend(PICK, "R1", word=9)
    await bench.say("pickplate 1 0 0", end="\n", wait_s=A_WHILE_S)
    bench.diary.settle(picked)


_ready_the_arm = _lines("mode 0", "hp 1 20", "attach 1", "home", end="\n", wait_s=60.0)

PICK = PickContainer(
    unit="arm",
    longest=1 * hour,
    on_interruption=OnInterruption.HOLD,
    quieten=Quieten.HALT,
    container=ContainerId("C-2"),
    place=PlaceId("rack"),
)
PLACE = PlaceContainer(
    unit="arm",
    longest=1 * hour,
    on_interruption=OnInterruption.HOLD,
    quieten=Quieten.HALT,
    container=ContainerId("C-2"),
    place=PlaceId("dock"),
)
SPIN = Spin(
    unit="centrifuge",
    longest=1 * hour,
    on_interruption=OnInterruption.HOLD,
    quieten=Quieten.LEAVE_RUNNING,
    container=ContainerId("C-3"),
    place=PlaceId("rotor"),
    force=400 * x_g,
    acceleration=100 * percent,
    deceleration=100 * percent,
    at_speed=600 * second,
)
CLIMATE = SetClimate(
    unit="incubator",
    longest=1 * hour,
    on_interruption=OnInterruption.REPEAT,
    quieten=Quieten.LEAVE_RUNNING,
    temperature=36 * degC,
    carbon_dioxide=5 * percent,
)
COUNT = CountCells(
    unit="counter",
    longest=1 * hour,
    on_interruption=OnInterruption.CONTINUE,
    quieten=Quieten.LEAVE_RUNNING,
    sample=SampleId("T-1"),
    tube=ContainerId("T-1"),
)
RAMP = RampSegment(
    unit="freezer",
    longest=2 * hour,
    on_interruption=OnInterruption.CONTINUE,
    quieten=Quieten.LEAVE_RUNNING,
    containers=(ContainerId("C-4"),),
    place=PlaceId("freezer"),
    rate=1 * degC_per_min,
    to=-16 * degC,
)


def _arm(world: World) -> Emulator:
    return BrooksPf400(world, "R1", stations={1: "rack", 2: "dock"})


def _centrifuge(world: World) -> Emulator:
    centrifuge = HighresMicrospin(world, "C1")
    centrifuge.homed = True
    return centrifuge


INSTRUMENTS = (
    Instrument(
        "pump",
        lambda world: WatsonMarlow530Du(
            world, "P1", mL_per_revolution=1.0, pulses_per_revolution=PULSES
        ),
        pump(60),
        _lines("1DO60000", wait_s=A_WHILE_S),
        _open_the_way,
        "60 mL",
        "MAX",
    ),
    Instrument(
        "valves",
        lambda world: MoxaIoLogikE1213(world, "V1"),
        valves("p1", "vessel"),
        _open_valves,
        _nothing,
        "1",
        "DO2",
        twice=(),
    ),
    Instrument(
        "arm picks",
        _arm,
        PICK,
        _lines("pickplate 1 0 0", end="\n", wait_s=A_WHILE_S),
        _ready_the_arm,
        "1",
        "GRIPPER OPEN",
        twice=("lost",),  # the second grip let the bag fall: it isn't where the journal has it
    ),
    Instrument(
        "arm places",
        _arm,
        PLACE,
        _lines("placeplate 2 0 0", end="\n", wait_s=A_WHILE_S),
        _hold_the_bag,
        "1",
        "J1+",
        key_shows=False,
        twice=(),
    ),
    Instrument(
        "centrifuge",
        _centrifuge,
        SPIN,
        _lines("spin 400 100 100 600", end="\r\n", wait_s=A_WHILE_S),
        _nothing,
        "10 min",
        "OPEN",
        key_shows=False,
    ),
    Instrument(
        "incubator",
        lambda world: ThermoVios160i(world, "I1"),
        CLIMATE,
        _lines(_telegram("2010", "36.0")),
        _nothing,
        "1",
        "T+",
        twice=(),
    ),
    Instrument(
        "counter",
        lambda world: AstmCellCounter(world, "N1"),
        COUNT,
        _order,
        _nothing,
        "1",
        "START",
    ),
    Instrument(
        "freezer",
        lambda world: LinkamT95(world, "F1"),
        RAMP,
        _lines("S", wait_s=A_WHILE_S),
        _lines("T", "R1100", "L1-160"),
        "1",
        "STOP",
        twice=(),
    ),
)

every_instrument = pytest.mark.parametrize("instrument", INSTRUMENTS, ids=str)


def _furnished() -> World:
    world = World(asyncio.get_running_loop().time, seed=1)
    donor = run_a("donor-a")
    world.add_donor(donor)
    world.add_station()
    for place in ("rack", "dock", "rotor", "counter", "bench"):
        world.add_place(place)
    world.add_chamber("incubator", temperature_degC=37.0, co2_percent=5.0, of="I1")
    world.add_chamber("freezer", places=["freezer"], temperature_degC=4.0, of="F1")
    world.add_kit("K-1", place="station")
    for bag, place in (("C-1", "hook"), ("C-2", "rack"), ("C-3", "rotor"), ("C-4", "freezer")):
        cells = selected_t_cells(donor, cells=1e8, volume_mL=200.0)
        world.add_container(bag, kind="bag", capacity_mL=400.0, contents=cells, place=place)
    sample = selected_t_cells(donor, cells=1e6, volume_mL=1.0)
    world.add_container("T-1", kind="tube", capacity_mL=2.0, contents=sample, place="counter")
    world.add_container("T-2", kind="tube", capacity_mL=10.0, place="bench")
    world.join("C-1", "K-1", "p1", "weld", "test")
    return world


def at_the_bench(instrument: Instrument, story: Story) -> Comparison:
    """Tell a story at an instrument; return what the judge says of it."""

    async def run() -> Comparison:
        world = _furnished()
        software, wire = memory_wire(instrument.name)
        emulator = instrument.make(world)
        bench = Bench(world, emulator, software)

        async def serve() -> None:
            try:
                await emulator.serve(wire)
            except LineClosedError:
                return

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve())
            await asyncio.sleep(0.0)
            await instrument.prepare(bench)
            await asyncio.sleep(10.0)
            await story(bench)
            world.motor_stop("station", "test")
            await software.close()
        return bench.diary.judged(world)

    return run_in_virtual_time(run())


def _equipment(instrument: Instrument) -> str:
    return {"p": "P1", "v": "V1", "a": "R1", "i": "I1", "f": "F1"}.get(
        instrument.name[0], "C1" if instrument.name == "centrifuge" else "N1"
    )


def _act(instrument: Instrument, *, fault: Planted | None = None) -> Story:
    """Return the story of an act that the journal believes to have gone well."""

    async def story(bench: Bench) -> None:
        if fault is not None:
            bench.emulator.plant(fault)
        command = bench.diary.intend(instrument.act, _equipment(instrument))
        await instrument.trigger(bench)
        await asyncio.sleep(200.0)
        bench.diary.settle(command, done=instrument.done)

    return story


@every_instrument
def test_what_went_well_is_as_asked(instrument: Instrument) -> None:
    said = at_the_bench(instrument, _act(instrument))
    assert said.agrees, said.findings
    assert {act.verdict for act in said.acts} == {"as asked"}


@every_instrument
def test_a_trigger_obeyed_twice_is_named_repeated(instrument: Instrument) -> None:
    said = at_the_bench(instrument, _act(instrument, fault=Planted.DOUBLED))
    assert names(said) == [("repeated", _equipment(instrument))], said.findings
    assert said.repeated_acts == 1
    assert said.repeated[0].word == 1


@every_instrument
def test_a_swallowed_trigger_is_named_lost(instrument: Instrument) -> None:
    said = at_the_bench(instrument, _act(instrument, fault=Planted.SWALLOWED))
    assert names(said) == [("lost", _equipment(instrument))], said.findings


@every_instrument
def test_a_trigger_half_obeyed_is_named_lost(instrument: Instrument) -> None:
    said = at_the_bench(instrument, _act(instrument, fault=Planted.HALF))
    expected = [("lost", _equipment(instrument))]
    if instrument.name == "incubator":  # a set point that nobody asked for stands there too
        expected.insert(0, ("repeated", "I1"))
    assert names(said) == expected, said.findings


@every_instrument
def test_a_settlement_written_without_its_act_is_named_lost(instrument: Instrument) -> None:
    async def story(bench: Bench) -> None:
        command = bench.diary.intend(instrument.act, _equipment(instrument))
        await asyncio.sleep(1.0)
        bench.diary.settle(command, done=instrument.done)

    said = at_the_bench(instrument, story)
    assert names(said) == [("lost", _equipment(instrument))], said.findings


@every_instrument
def test_a_trigger_sent_again_is_named_unless_it_does_nothing(instrument: Instrument) -> None:
    async def story(bench: Bench) -> None:
        command = bench.diary.intend(instrument.act, _equipment(instrument))
        await instrument.trigger(bench)
        await asyncio.sleep(200.0)
        await instrument.trigger(bench)
        await asyncio.sleep(200.0)
        bench.diary.settle(command, done=instrument.done)

    said = at_the_bench(instrument, story)
    expected = [(kind, _equipment(instrument)) for kind in instrument.twice]
    assert names(said) == expected, said.findings


@every_instrument
@pytest.mark.parametrize("noticed", [False, True])
def test_what_was_done_at_the_panel_is_named_unless_the_journal_saw_it(
    instrument: Instrument, noticed: bool
) -> None:
    async def story(bench: Bench) -> None:
        await _act(instrument)(bench)
        await asyncio.sleep(100.0)
        bench.emulator.press(instrument.key)
        await asyncio.sleep(400.0)
        if noticed:
            bench.diary.outside(_equipment(instrument))

    said = at_the_bench(instrument, story)
    named = instrument.key_shows and not noticed
    expected = [("unexplained", _equipment(instrument))] if named else []
    assert names(said) == expected, said.findings
    assert said.repeated_acts == len(expected)


@every_instrument
def test_an_act_in_doubt_that_the_ledger_bears_out_is_held_and_nothing_else(
    instrument: Instrument,
) -> None:
    async def story(bench: Bench) -> None:
        command = bench.diary.intend(instrument.act, _equipment(instrument))
        await instrument.trigger(bench)
        bench.diary.doubt(command, "the software died")
        await asyncio.sleep(A_WHILE_S)
        bench.diary.reconcile(command, "all", instrument.done)

    said = at_the_bench(instrument, story)
    assert said.agrees, said.findings
    assert [(held.instrument, held.text) for held in said.held] == [
        (_equipment(instrument), "the software died")
    ]


PUMP = INSTRUMENTS[0]


def test_a_dose_cut_by_a_death_and_finished_by_a_second_attempt_is_as_asked() -> None:
    async def story(bench: Bench) -> None:
        first = bench.diary.intend(pump(60), "P1")
        await bench.say("1DO60000", wait_s=30.0)
        await bench.say("1ST")
        await asyncio.sleep(500.0)
        bench.diary.settle(first, "part", "30 mL")
        second_one = bench.diary.intend(pump(60), "P1", attempt=2)
        await bench.say("1DO30000", wait_s=60.0)
        bench.diary.settle(second_one, "all", "30 mL")

    said = at_the_bench(PUMP, story)
    assert said.agrees, said.findings
    assert [act.attempts for act in said.acts] == [1, 2]


@pytest.mark.requirement("PRC-09")
def test_a_hasty_second_attempt_while_the_first_still_turns_is_named_repeated() -> None:
    async def story(bench: Bench) -> None:
        first = bench.diary.intend(pump(60), "P1")
        await bench.say("1DO60000", wait_s=30.0)
        bench.diary.settle(first, "nothing", "")  # it was still turning: "busy" isn't "not done"
        second_one = bench.diary.intend(pump(60), "P1", attempt=2)
        await bench.say("1DO60000", wait_s=90.0)
        bench.diary.settle(second_one, "all", "60 mL")

    said = at_the_bench(PUMP, story)
    assert names(said) == [("repeated", "P1")], said.findings
    assert "90" in said.repeated[0].text


def test_liquid_that_went_into_another_bag_is_repeated_there_and_lost_here() -> None:
    async def story(bench: Bench) -> None:
        shunted = bench.diary.intend(valves("flush", "p1"), "V1", word=8)
        for channel, is_open in ((6, False), (7, True)):
            bench.world.set_valve("station", channel, is_open, "V1")
        bench.diary.settle(shunted)
        await asyncio.sleep(5.0)
        command = bench.diary.intend(pump(40), "P1")
        await bench.say("1DO40000", wait_s=60.0)
        bench.diary.settle(command, "all", "40 mL")

    said = at_the_bench(PUMP, story)
    assert names(said) == [("repeated", "P1"), ("lost", "P1")], said.findings


def test_a_head_that_turned_with_every_way_shut_moved_nothing() -> None:
    async def story(bench: Bench) -> None:
        shut = bench.diary.intend(valves(), "V1", word=8)
        for channel in (0, 6):
            bench.world.set_valve("station", channel, False, "V1")
        bench.diary.settle(shut)
        command = bench.diary.intend(pump(60), "P1")
        await bench.say("1DO60000", wait_s=A_WHILE_S)
        bench.diary.settle(command, "all", "60 mL")

    said = at_the_bench(PUMP, story)
    assert names(said) == [("lost", "P1")], said.findings


def test_a_spin_cut_short_at_the_panel_is_less_than_the_journal_says() -> None:
    centrifuge = next(one for one in INSTRUMENTS if one.name == "centrifuge")

    async def story(bench: Bench) -> None:
        command = bench.diary.intend(SPIN, "C1")
        await bench.say("spin 400 100 100 600", end="\r\n", wait_s=200.0)
        bench.emulator.press("ABORT")
        await asyncio.sleep(600.0)
        bench.diary.settle(command, "all", "10 min")

    said = at_the_bench(centrifuge, story)
    assert names(said) == [("lost", "C1")], said.findings


def test_a_ramp_held_where_it_was_by_the_software_is_named_by_the_quieting() -> None:
    freezer = next(one for one in INSTRUMENTS if one.name == "freezer")

    async def story(bench: Bench) -> None:
        first = bench.diary.intend(RAMP, "F1")
        await bench.say("S", wait_s=300.0)
        await bench.say("O")
        bench.diary.quieted("F1")
        bench.diary.settle(first, "part", "")
        again = bench.diary.intend(RAMP, "F1", attempt=2)
        await bench.say("S", wait_s=A_WHILE_S)
        bench.diary.settle(again)

    said = at_the_bench(freezer, story)
    assert said.agrees, said.findings


# By hand -------------------------------------------------------------------------------------

Do = Callable[[World, str], None]


def _puts(thing: str, place: str) -> Do:
    return lambda world, by: world.hands.put(thing, place, by=by)


def _samples(volume_uL: float) -> Do:
    return lambda world, by: world.hands.draw_sample("C-2", "T-2", volume_uL, by=by)


@dataclass(frozen=True)
class Work:
    """One kind of hand work: the act, doing it, and whether doing it again does more."""

    act: HandAct
    do: Do
    can_be_done_again: bool = False

    def __str__(self) -> str:
        return self.act.work


WORKS = (
    Work(
        by_hand(Handwork.WELD, "C-2", kit="K-1", port="p2", at=["bench"]),
        lambda world, by: world.hands.weld("C-2", "K-1", "p2", by=by),
    ),
    Work(
        by_hand(Handwork.CONNECT_ASEPTICALLY, "C-2", kit="K-1", port="p2"),
        lambda world, by: world.hands.aseptic_connect("C-2", "K-1", "p2", by=by),
    ),
    Work(
        by_hand(Handwork.SEAL_OFF, "C-1", kit="K-1", port="p1", at=["dock"]),
        lambda world, by: world.hands.seal_off("C-1", by=by),
    ),
    Work(by_hand(Handwork.RECEIVE, "C-2", at=["dock"]), _puts("C-2", "dock")),
    Work(by_hand(Handwork.INSTALL_KIT, "K-1", kit="K-1", at=["dock"]), _puts("K-1", "dock")),
    Work(by_hand(Handwork.HANG, "C-2", at=["dock"]), _puts("C-2", "dock")),
    Work(by_hand(Handwork.UNHANG, "C-1", at=["dock"]), _puts("C-1", "dock")),
    Work(by_hand(Handwork.LOAD, "C-2", at=["dock"]), _puts("C-2", "dock")),
    Work(by_hand(Handwork.STORE, "C-2", at=["dock"]), _puts("C-2", "dock")),
    Work(by_hand(Handwork.LOAD_COUNTER, "T-2", at=["dock"]), _puts("T-2", "dock")),
    Work(by_hand(Handwork.UNLOAD_COUNTER, "T-1", at=["dock"]), _puts("T-1", "dock")),
    Work(
        by_hand(Handwork.DRAW_SAMPLE, "C-2", "T-2", parameters={"volume": "2 mL"}),
        _samples(2000.0),
        can_be_done_again=True,
    ),
    Work(
        by_hand(Handwork.SELECT_MAGNETICALLY, "C-2", "C-3", parameters={"marker": "CD4/CD8"}),
        lambda world, by: world.hands.select_magnetic("C-2", "C-3", by=by),
        can_be_done_again=True,
    ),
    Work(
        by_hand(Handwork.APPLY_LABEL, "C-2", parameters={"label": "L-1"}),
        lambda world, by: world.hands.stick_label("C-2", "L-1", by=by),
        can_be_done_again=True,
    ),
    Work(
        by_hand(Handwork.MIX, "K-1/vessel", kit="K-1"),
        lambda world, by: world.hands.mix("K-1", by=by),
        can_be_done_again=True,
    ),
    Work(
        by_hand(Handwork.DISCARD, "C-2"),
        lambda world, by: world.hands.discard("C-2", by=by),
    ),
)

every_work = pytest.mark.parametrize("work", WORKS, ids=str)


def by_the_people(*doings: Do, act: Act | None, by: str = "U-1") -> Comparison:
    """Let people do things while the journal believes that ``act``, if any, went well."""

    async def run() -> Comparison:
        world = _furnished()
        diary = Diary(world.now)
        await asyncio.sleep(60.0)
        command = diary.intend(act, "hands") if act is not None else None
        if act is not None:
            diary.taken("U-1")
        for do in doings:
            await asyncio.sleep(120.0)
            do(world, by)
        await asyncio.sleep(30.0)
        if command is not None:
            diary.settle(command)
        return diary.judged(world)

    return run_in_virtual_time(run())


@every_work
def test_hand_work_that_was_done_is_as_asked(work: Work) -> None:
    said = by_the_people(work.do, act=work.act)
    assert said.agrees, said.findings
    assert [(act.verdict, act.people) for act in said.acts] == [("as asked", ("U-1",))]


@every_work
def test_hand_work_that_was_only_reported_is_named_lost(work: Work) -> None:
    assert names(by_the_people(act=work.act)) == [("lost", "hands")]


@pytest.mark.parametrize("work", [work for work in WORKS if work.can_be_done_again], ids=str)
def test_hand_work_that_was_done_twice_is_named_repeated(work: Work) -> None:
    assert names(by_the_people(work.do, work.do, act=work.act)) == [("repeated", "hands")]


@every_work
def test_hand_work_that_nobody_asked_for_is_named(work: Work) -> None:
    assert names(by_the_people(work.do, act=None)) == [("unexplained", "U-1")]


@every_work
def test_what_another_person_did_is_not_the_act_of_who_took_it_on(work: Work) -> None:
    said = by_the_people(work.do, act=work.act, by="U-2")
    assert names(said) == [("unexplained", "U-2"), ("lost", "hands")]


def test_half_a_sample_is_named_lost() -> None:
    act = by_hand(Handwork.DRAW_SAMPLE, "C-2", "T-2", parameters={"volume": "2 mL"})
    assert names(by_the_people(_samples(1000.0), act=act)) == [("lost", "hands")]


def test_the_right_bag_joined_to_the_wrong_port_is_neither_asked_for_nor_done() -> None:
    act = by_hand(Handwork.WELD, "C-2", kit="K-1", port="p2", at=["bench"])
    said = by_the_people(lambda world, by: world.hands.weld("C-2", "K-1", "p3", by=by), act=act)
    assert names(said) == [("unexplained", "U-1"), ("lost", "hands")]


def test_a_thing_that_stands_there_already_needs_no_effect() -> None:
    said = by_the_people(act=by_hand(Handwork.LOAD, "C-2", at=["rack"]))
    assert said.agrees, said.findings
    assert [act.verdict for act in said.acts] == ["nothing to do"]


# Carried away from a line -------------------------------------------------------------------


def _carries(thing: str, to: str) -> Do:
    return lambda world, by: world.hands.carry_out(thing, to, by=by)


def cleared_away(
    *doings: Do, said: tuple[str, ...] = (), found: tuple[str, ...] = ()
) -> Comparison:
    """Let a person say what they carry to quality control, or found there, and do things."""

    async def run() -> Comparison:
        world = _furnished()
        diary = Diary(world.now)
        await asyncio.sleep(60.0)
        for thing in said:
            diary.carried(thing, "quality control")
        for thing in found:
            diary.found(thing, "rack")
        for do in doings:
            await asyncio.sleep(60.0)
            do(world, "U-1")
        return diary.judged(world)

    return run_in_virtual_time(run())


AWAY = _carries("C-2", "quality control")


def test_what_was_carried_away_as_was_said_is_as_it_should_be() -> None:
    said = cleared_away(AWAY, _carries("K-1", "quality control"), said=("C-2", "K-1"))
    assert said.agrees, said.findings
    assert said.effects == 2


def test_what_was_said_to_be_carried_away_and_still_stands_is_named_lost() -> None:
    said = cleared_away(AWAY, said=("C-2", "K-1"))
    assert names(said) == [("lost", "hands")]
    assert "K-1 was carried to quality control; it stood at station" in said.lost[0].text


def test_what_was_carried_away_and_nobody_said_is_named() -> None:
    said = cleared_away(AWAY, _carries("K-1", "quality control"), said=("C-2",))
    assert names(said) == [("unexplained", "U-1")]
    assert "K-1" in said.unexplained[0].text


def test_what_was_carried_away_twice_is_named_repeated() -> None:
    said = cleared_away(AWAY, AWAY, said=("C-2",))
    assert names(said) == [("repeated", "hands")]
    assert said.repeated[0].effects == (2,)


def test_what_was_carried_elsewhere_than_was_said_is_neither_done_nor_said() -> None:
    said = cleared_away(_carries("C-2", "waste bin"), said=("C-2",))
    assert names(said) == [("unexplained", "U-1"), ("lost", "hands")]


def test_what_was_found_was_not_carried() -> None:
    assert cleared_away(found=("C-2",)).agrees
    assert names(cleared_away(_puts("C-1", "dock"), found=("C-2",))) == [("unexplained", "U-1")]
    said = cleared_away(AWAY, said=("C-2",), found=("C-2",))
    assert said.agrees, said.findings


@pytest.mark.parametrize(
    "work", [Handwork.TEST_LEAK, Handwork.INSPECT_CONFLUENCE, Handwork.CLEAR_LINE]
)
def test_work_that_leaves_no_trace_is_named_as_not_judged(work: Handwork) -> None:
    said = by_the_people(act=by_hand(work, "C-2"))
    assert said.agrees
    assert [finding.act for finding in said.not_judged] == [f"hand_act {work}"]
