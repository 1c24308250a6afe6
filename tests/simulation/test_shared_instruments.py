"""A batch that people must look at keeps no instrument to itself, and none unsafe to use free.

Method: two batches run on the reference cell, whose arm is nobody's for an operation: only the
instrument itself stands between them. One of them is held with a bag in the gripper, or with an
act in doubt; the other then wants the same instrument. The World is the judge of who moved what.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from devices.interfaces.driver import Settled
from hw_mocks.ledger_record import ledger_of
from hw_mocks.scenario import scenario_for
from orchestrator.engine.engine import Engine
from orchestrator.engine.interlocks import in_doubt
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.state import AlarmState
from orchestrator.kernel.acts import CannotTell
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId
from orchestrator.process_cell.emulated import EmulatedCell, emulated_cell
from orchestrator.process_cell.simulation import REFERENCE_CELL, put_on_file
from orchestrator.recipe.check import check_file
from orchestrator.recipe.model import Recipe
from orchestrator.records.comparison import LedgerEffect, compare
from orchestrator.virtual_time import run_in_virtual_time

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

PROCEDURE: Final = Path(__file__).parent / "shared_arm.py"
TO_STATION: Final = "to=station)"
ARM: Final = '    arm = p.equipment("arm", "arm")\n'
FIRST, SECOND = BatchId("B-001"), BatchId("B-002")
SEED: Final = 3
LONG_S: Final = 200_000.0
HOUR_S: Final = 3600.0
OUT, WARM = "out", "warm"

Seen = Callable[[Any], bool]


@cache
def _recipe(to: str) -> Recipe:
    """Return the recipe that carries the kit out to the station, or to the centrifuge."""
    text = PROCEDURE.read_text()
    assert text.count(TO_STATION) == 1
    assert text.count(ARM) == 1
    if to == "centrifuge":
        centrifuge = '    centrifuge = p.equipment("centrifuge", "centrifuge")\n'
        text = text.replace(TO_STATION, "to=centrifuge)").replace(ARM, centrifuge + ARM)
        text = text.replace("TEST-11", "TEST-12")
        text = text.replace("1 * day", "20 * hour").replace("    day,\n", "")
    with TemporaryDirectory() as folder:
        written = Path(folder) / PROCEDURE.name
        written.write_text(text)
        found = check_file(written)
    assert found.recipe is not None, found.findings
    return found.recipe


def _cell_file(folder: Path) -> Path:
    """Return the reference cell, with an arm that no batch has for an operation."""
    text = REFERENCE_CELL.read_text()
    leased = 'kind = "arm"\nlease = "operation"\n'
    assert text.count(leased) == 1
    other = folder / "cell.toml"
    other.write_text(text.replace(leased, leased.replace("operation", "batch")))
    return other


def _nobody(*_: object) -> None:
    """See no doubt."""


class _Room:
    """The cell with its engine, and both batches."""

    def __init__(self, cell: EmulatedCell, engine: Engine) -> None:
        self.cell = cell
        self.engine = engine
        self.kits: dict[str, str] = {}

    async def bring(self, batch: BatchId, number: int) -> None:
        recipe = _recipe("station" if batch == FIRST else "centrifuge")
        scenario = scenario_for(json.loads(recipe.content), seed=SEED, batch=number)
        scenario.bring_into(self.cell.world)
        await put_on_file(self.cell, self.engine, recipe, scenario, batch, number=number)
        (self.kits[batch],) = scenario.kits.values()
        await self.cell.give("supervisor", "start_batch", batch=batch)

    async def until(self, seen: Seen) -> None:
        come: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def look(recorded: Any) -> None:
            if not come.done() and seen(recorded.event):
                come.set_result(None)

        self.engine.core.listeners.append(look)
        await asyncio.wait_for(come, LONG_S)

    def state(self, batch: str, part: str) -> PhaseState:
        return self.engine.holds.state_of(batch, part)

    def alarm(self, held: str, by: str, equipment: str) -> AlarmState | None:
        found = self.engine.core.state.alarms.get(f"held up {held} by {by} on {equipment}")
        return None if found is None or found.cleared else found

    def place(self, batch: str) -> str:
        return self.cell.world.where(self.kits[batch])

    async def command(self, name: str, batch: str, part: str) -> None:
        await self.cell.give(
            "supervisor", name, batch=batch, unit_procedure=part, why="the test says so"
        )

    async def assert_both_end(self) -> None:
        for batch in (FIRST, SECOND):
            await asyncio.wait_for(self.engine.ended(batch), LONG_S)
            assert self.engine.core.state.batches[batch].status == "complete"
        began = self.cell.technicians[0].room_began
        effects = [LedgerEffect(**one) for one in ledger_of(self.cell.world)]
        judged = compare(self.engine.core.journal.events(), effects, start=began)
        assert (judged.repeated_acts, judged.lost_acts) == (0, 0), judged


@asynccontextmanager
async def _two(folder: Path) -> AsyncGenerator[_Room]:
    """Yield both batches as they begin: the first comes out of the incubator hours earlier."""
    async with (
        emulated_cell(folder, _cell_file(folder), seed=SEED) as cell,
        cell.engine() as engine,
    ):
        room = _Room(cell, engine)
        for number, batch in enumerate((FIRST, SECOND), 1):
            if number > 1:
                await asyncio.sleep(8 * HOUR_S)
            await room.bring(batch, number)
        yield room


def _acts(kind: str, batch: str, event_kind: str = "attempt_intended") -> Seen:
    def seen(event: Any) -> bool:
        if event.kind != event_kind:
            return False
        asked = getattr(event, "asked", {"kind": kind})
        return event.batch == batch and asked["kind"] == kind

    return seen


@pytest.mark.requirement("PRC-02", "IDC-07")
def test_an_arm_that_holds_a_held_batchs_bag_is_refused_to_others_with_an_alarm(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with _two(tmp_path) as room:
            picked = room.until(
                lambda event: (
                    event.kind == "attempt_settled"
                    and f"{FIRST}/{OUT}" in event.command
                    and event.verdict == "all"
                )
            )
            await picked
            await room.command("hold", FIRST, OUT)
            await asyncio.sleep(60)
            assert room.state(FIRST, OUT) is PhaseState.HELD
            in_gripper = room.place(FIRST)
            assert "incubator" not in in_gripper
            assert "station" not in in_gripper
            await room.until(lambda event: event.kind == "act_refused" and event.batch == SECOND)
            await asyncio.sleep(60)
            assert room.state(SECOND, OUT) is PhaseState.HELD
            assert room.place(SECOND) == "incubator/2"
            assert room.place(FIRST) == in_gripper
            alarm = room.alarm(f"{SECOND}/{OUT}", FIRST, "R1")
            assert alarm is not None
            assert alarm.batch == FIRST
            assert f"batch {FIRST} has R1 in use: {room.kits[FIRST]} is in its" in alarm.cause
            # let go on too early, it is refused again
            await room.command("restart", SECOND, OUT)
            await asyncio.sleep(60)
            assert room.state(SECOND, OUT) is PhaseState.HELD
            assert room.alarm(f"{SECOND}/{OUT}", FIRST, "R1") is not None
            await room.command("restart", FIRST, OUT)
            await room.until(
                lambda event: event.kind == "phase_ended" and event.path.startswith(OUT)
            )
            assert room.place(FIRST) == "station"
            await room.command("restart", SECOND, OUT)
            await asyncio.sleep(1)
            assert room.alarm(f"{SECOND}/{OUT}", FIRST, "R1") is None
            await room.assert_both_end()
            assert room.place(SECOND) == "rotor"

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02", "IDC-07")
@pytest.mark.parametrize("arm", ["for an operation", "nobody's"])
def test_what_a_stopped_batch_left_in_a_gripper_is_taken_out_of_it(
    tmp_path: Path, arm: str
) -> None:
    """Two people clear an arm that the batch had; of one that is nobody's the alarm says how."""
    cell_file = REFERENCE_CELL if arm == "for an operation" else _cell_file(tmp_path)

    async def test() -> None:
        async with emulated_cell(tmp_path, cell_file, seed=SEED) as cell, cell.engine() as engine:
            room, state = _Room(cell, engine), engine.core.state
            await room.bring(FIRST, 1)
            await asyncio.sleep(8 * HOUR_S)
            await room.bring(SECOND, 2)
            kit = room.kits[FIRST]
            await room.until(lambda _: state.containers[kit].place == "gripper/R1")
            with pytest.raises(RefusedError, match="in its gripper, and goes on"):
                await cell.give("supervisor", "carry_away", label=f"L-{kit}", to="waste bin")
            await cell.give("supervisor", "stop", batch=FIRST, why="not today")
            for one in cell.technicians:
                one.is_on_duty = lambda _: False
            if arm == "for an operation":
                await asyncio.sleep(600)
                await _cleared_by_two(room, kit)
            else:
                await room.until(lambda one: one.kind == "act_refused" and one.batch == SECOND)
                await asyncio.sleep(60)
                alarm = room.alarm(f"{SECOND}/{OUT}", FIRST, "R1")
                assert alarm is not None
                assert alarm.action.startswith("Take it out by hand")
                await cell.give("supervisor", "carry_away", label=f"L-{kit}", to="waste bin")
                cell.world.hands.carry_out(kit, "waste bin", by="U-0005")
                await asyncio.sleep(1)
                assert room.alarm(f"{SECOND}/{OUT}", FIRST, "R1") is None
            for one in cell.technicians:
                one.is_on_duty = lambda _: True
            if arm == "for an operation":  # the gripper shows that it is empty
                await room.until(lambda one: one.kind == "act_refused" and one.batch == SECOND)
            await asyncio.sleep(60)
            await cell.give("supervisor", "look_at_equipment", equipment="R1")
            await room.command("restart", SECOND, OUT)
            await asyncio.wait_for(engine.ended(SECOND), LONG_S)
            assert state.batches[SECOND].status == "complete"
            assert room.place(SECOND) == "rotor"
            assert room.place(FIRST) == "waste bin"
            began = cell.technicians[0].room_began
            effects = [LedgerEffect(**one) for one in ledger_of(cell.world)]
            judged = compare(engine.core.journal.events(), effects, start=began)
            assert (judged.repeated_acts, judged.lost_acts) == (0, 0), judged
            assert not judged.unexplained

    async def _cleared_by_two(room: _Room, kit: str) -> None:
        engine, task = room.engine, f"{FIRST}/{OUT}/carry-out/arm/clear"
        assert engine.core.state.batches[FIRST].status == "stopped"
        assert engine.core.state.leases["arm"].batch == FIRST
        assert room.place(FIRST) == "gripper:R1"
        with pytest.raises(RefusedError, match=f"{kit} at gripper/R1"):
            await room.cell.give("supervisor", "clear_line", task=task)
        for one in room.cell.technicians:
            one.is_on_duty = lambda _: True
        await room.until(lambda one: one.kind == "task_verified" and one.task == task)
        assert room.place(FIRST) == "waste bin"

    run_in_virtual_time(test())


async def _left_in_doubt(room: _Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the first batch's setting of the climate in doubt, with nobody there to decide."""
    driver: Any = room.engine.core.drivers["I1"]
    settle = driver.settle

    async def nobody_knows(act: Any, command: str, before: Any) -> Settled:
        settled = await settle(act, command, before)
        if not str(command).startswith(FIRST):
            return settled
        return Settled(report=CannotTell(why="nobody knows"), standing=settled.standing)

    monkeypatch.setattr(driver, "settle", nobody_knows)
    tasks = room.engine.core.state.tasks
    for one in room.cell.technicians:
        one.is_on_duty = lambda _: not any(name.endswith("/doubt") for name in tasks)
    await room.until(_acts("set_climate", FIRST, "attempt_uncertain"))
    await asyncio.sleep(60)
    assert room.state(FIRST, WARM) is PhaseState.HELD


@pytest.mark.requirement("PRC-02")
def test_an_instrument_in_doubt_is_refused_to_others_until_two_people_have_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with _two(tmp_path) as room:
            await _left_in_doubt(room, monkeypatch)
            await room.until(lambda event: event.kind == "act_refused" and event.batch == SECOND)
            await asyncio.sleep(2 * HOUR_S)  # idle instruments are looked at meanwhile
            assert room.state(SECOND, WARM) is PhaseState.HELD
            alarm = room.alarm(f"{SECOND}/{WARM}", FIRST, "I1")
            assert alarm is not None
            assert f"batch {FIRST} has I1 in use: what its set_climate did" in alarm.cause
            assert not room.engine.core.state.equipment["I1"].outside
            (doubt,) = (one for one in room.engine.core.state.tasks if one.endswith("/doubt"))
            for login in ("supervisor", "day-2"):
                await room.cell.give(login, "reconcile", task=doubt, verdict="all")
            await room.command("restart", SECOND, WARM)
            await asyncio.sleep(60)
            assert room.alarm(f"{SECOND}/{WARM}", FIRST, "I1") is None
            assert room.state(FIRST, WARM) is PhaseState.COMPLETE
            assert room.state(SECOND, WARM) is PhaseState.COMPLETE
            room.cell.world.catch_up()
            assert room.cell.world.chambers["incubator"].target_degC == 37.0

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_the_alarm_of_an_instrument_in_doubt_ends_with_the_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person holds the first batch meanwhile, so that its doubt alone ends."""

    async def test() -> None:
        async with _two(tmp_path) as room:
            await _left_in_doubt(room, monkeypatch)
            await room.until(lambda event: event.kind == "act_refused" and event.batch == SECOND)
            await asyncio.sleep(60)
            await room.command("hold", FIRST, WARM)
            assert room.alarm(f"{SECOND}/{WARM}", FIRST, "I1") is not None
            (doubt,) = (one for one in room.engine.core.state.tasks if one.endswith("/doubt"))
            for login in ("supervisor", "day-2"):
                await room.cell.give(login, "reconcile", task=doubt, verdict="all")
            await asyncio.sleep(60)
            assert room.state(FIRST, WARM) is PhaseState.HELD
            assert room.alarm(f"{SECOND}/{WARM}", FIRST, "I1") is None

    run_in_virtual_time(test())


async def _both_brought(cell: EmulatedCell, engine: Engine) -> _Room:
    """Start both batches, eight hours apart."""
    room = _Room(cell, engine)
    for number, batch in enumerate((FIRST, SECOND), 1):
        await room.bring(batch, number)
        await asyncio.sleep(8 * HOUR_S)
    return room


@pytest.mark.requirement("PRC-02")
def test_a_held_batch_leaves_the_hand_scanner_to_others(tmp_path: Path) -> None:
    """The software was restarted, so each kit is scanned anew where it stands."""

    async def test() -> None:
        async with emulated_cell(tmp_path, _cell_file(tmp_path), seed=SEED) as cell:
            async with cell.engine() as engine:
                room = await _both_brought(cell, engine)
                kits = room.kits
            async with cell.engine() as engine:
                room = _Room(cell, engine)
                room.kits = kits
                for one in cell.technicians:
                    one.is_on_duty = lambda _: False
                awaited = room.until(_awaits(FIRST))
                await awaited
                assert [one.scanner for one in engine.core.state.scans.values()] == ["S7"]
                await room.command("hold", FIRST, OUT)
                await asyncio.sleep(1)
                assert room.state(FIRST, OUT) is PhaseState.HELD
                assert not engine.core.state.scans, "a held batch asks nobody for a scan"
                for one in cell.technicians:
                    one.is_on_duty = lambda _: True
                await asyncio.wait_for(engine.ended(SECOND), LONG_S)
                assert room.place(SECOND) == "rotor"
                assert room.state(FIRST, OUT) is PhaseState.HELD
                assert room.place(FIRST) == "incubator/1"
                await room.command("restart", FIRST, OUT)
                await room.assert_both_end()
                assert room.place(FIRST) == "station"

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_who_waits_long_for_a_scanner_is_told_whom_it_is_kept_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with emulated_cell(tmp_path, _cell_file(tmp_path), seed=SEED) as cell:
            async with cell.engine() as engine:
                await _both_brought(cell, engine)
            async with cell.engine() as engine:
                for one in cell.technicians:
                    one.is_on_duty = lambda _: False
                await asyncio.sleep(24 * HOUR_S)
                late = {
                    alarm.batch: alarm.cause
                    for name, alarm in engine.core.state.alarms.items()
                    if name.startswith("late scan ")
                }
                assert set(late) == {FIRST, SECOND}
                assert f"of batch {FIRST}" in late[SECOND]
                assert "S7 is kept for" not in late[FIRST]

    run_in_virtual_time(test())


def _awaits(batch: str) -> Seen:
    return lambda event: event.kind == "scan_awaited" and event.batch == batch


@pytest.mark.requirement("PRC-02")
def test_the_doubt_on_an_instrument_is_what_keeps_others_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: the interlock sees no doubt. The second batch then acts on what nobody knows."""
    monkeypatch.setattr(in_doubt, "doubt_on", _nobody)

    async def test() -> None:
        async with _two(tmp_path) as room:
            await _left_in_doubt(room, monkeypatch)
            await room.until(_acts("set_climate", SECOND))
            assert room.engine.core.state.attempts

    run_in_virtual_time(test())
