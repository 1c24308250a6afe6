"""A batch that was stopped keeps its units until two people cleared what it left there.

The thin cell's station frees itself by its own rule. A batch is stopped with its bag on the
hook while others of another patient wait for the station. The World says what hangs there as
the next batch gets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.engine import leases
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import BatchMade, LeaseReleased, Named, RecipeSubmitted
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId, CoiId
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.recipe.model import Hold, Recipe, UnitProcedure
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation import thin
from tests.simulation.test_line_clearance import nothing, recipe_in_two_operations
from tests.simulation.test_side_by_side import BOTH_AT_THE_STATION
from tests.simulation.thin import BAG, BATCH, KIT, OTHER_BAG, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0
NEXT, THIRD = BatchId("B-2"), BatchId("B-3")
SIDE_BY_SIDE = f"{BATCH}/t/a/x/transfer-station/clear"
ALONE = f"{BATCH}/move/once/transfer-station/clear"
SIGNED = f"{BATCH}/move/once/transfer-station/signed/clear"


@asynccontextmanager
async def _bag_on_the_hook(
    cell: EmulatedCell, *, side_by_side: bool = False
) -> AsyncGenerator[Engine]:
    """Yield as the first patient's bag hangs there, two others' batches wait, and people left."""
    async with cell.engine() as engine:
        state, now = engine.core.state, engine.core.clock.utc()
        plain = thin.on_file(now, engine.core.cell.digest)
        (made,) = (one for one in plain if isinstance(one, BatchMade))
        if side_by_side:
            both = thin.on_file(now, engine.core.cell.digest, BOTH_AT_THE_STATION())
            on_file = [one for one in plain if isinstance(one, RecipeSubmitted)]
            await engine.core.record_for_host(*both, *on_file)
        else:
            await engine.core.record_for_host(*plain)
        await engine.start_batch(BATCH, thin.USER)
        others = (Named(name="patient bag", is_=OTHER_BAG), *made.containers[1:])
        for batch in (NEXT, THIRD):
            await engine.make_batch(
                made.model_copy(
                    update={"batch": batch, "coi": CoiId("COI-B"), "containers": others}
                )
            )
            await asyncio.sleep(5)
            await engine.start_batch(batch, thin.USER)
        on_hook = engine.core.bells.until("news", lambda: state.containers[BAG].place == "hook")
        await asyncio.wait_for(on_hook, LONG_S)
        for one in cell.technicians:
            one.is_on_duty = lambda _: False
        yield engine


async def _stop(cell: EmulatedCell, **part: str) -> None:
    await cell.give("supervisor", "stop", batch=BATCH, why="not today", **part)
    await asyncio.sleep(600)


async def _carry_the_bag(cell: EmulatedCell) -> None:
    await cell.give(
        "supervisor", "carry_away", label=f"L-{BAG}", to="quality control", sealed_off=True
    )
    cell.world.hands.seal_off(BAG, by="U-0005")
    cell.world.hands.carry_out(BAG, "quality control", by="U-0005")


async def _cleared(cell: EmulatedCell, engine: Engine, task: str) -> None:
    """Have two people clear the station, and see that the next batch has it and keeps it."""
    state = engine.core.state
    assert cell.world.where(BAG) == "hook"
    assert state.leases["station"].batch == BATCH, "another patient's batch came to a bag there"
    with pytest.raises(RefusedError, match=f"{BAG} at hook"):
        await cell.give("supervisor", "clear_line", task=task)
    await _carry_the_bag(cell)
    for login in ("supervisor", "day-2"):
        assert state.leases["station"].batch == BATCH
        await cell.give(login, "clear_line", task=task)
    await asyncio.sleep(60)
    assert state.leases["station"].batch == NEXT


@pytest.mark.requirement("IDC-07", "PRC-02")
@pytest.mark.parametrize("dies", [False, True])
def test_a_clearance_that_is_open_outlasts_the_stop_of_its_batch(
    tmp_path: Path, dies: bool
) -> None:
    """One unit procedure is stopped and waits for two people; then all of the batch is."""

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with _bag_on_the_hook(cell, side_by_side=True) as engine:
                await _stop(cell, unit_procedure="t/a")
                assert engine.core.state.tasks[SIDE_BY_SIDE].second_person
                await _stop(cell)
                assert engine.core.state.batches[BATCH].status == "stopped"
                if not dies:
                    await _cleared(cell, engine, SIDE_BY_SIDE)
            if dies:
                async with cell.engine() as engine:
                    await asyncio.sleep(3600)
                    await _cleared(cell, engine, SIDE_BY_SIDE)

    run_in_virtual_time(test())


@pytest.mark.requirement("IDC-07", "PRC-02")
@pytest.mark.parametrize("command", ["stop", "abort"])
def test_a_stopped_batch_keeps_the_unit_where_its_bag_hangs(tmp_path: Path, command: str) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell, _bag_on_the_hook(cell) as engine:
            await cell.give("supervisor", command, batch=BATCH, why="not today")
            await asyncio.sleep(600)
            assert engine.core.state.batches[BATCH].status.startswith(command)
            alarms = engine.core.state.alarms
            assert f"held up {NEXT} by {BATCH}/move" in alarms
            await _cleared(cell, engine, ALONE)
            assert alarms[f"held up {NEXT} by {BATCH}/move"].cleared

    run_in_virtual_time(test())


def test_what_is_carried_away_before_a_restart_frees_no_unit_by_itself(tmp_path: Path) -> None:
    """The batch has ended, nothing is left by the record, and nobody has signed."""

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with _bag_on_the_hook(cell) as engine:
                await _stop(cell)
                await _carry_the_bag(cell)
            async with cell.engine() as engine:
                await asyncio.sleep(3600)
                assert engine.core.state.leases["station"].batch == BATCH
                for login in ("supervisor", "day-2"):
                    await cell.give(login, "clear_line", task=ALONE)
                await asyncio.sleep(60)
                assert engine.core.state.leases["station"].batch == NEXT

    run_in_virtual_time(test())


@pytest.mark.parametrize("signs", ["first", "second"])
def test_nobody_signs_free_what_another_batch_has(tmp_path: Path, signs: str) -> None:
    """Planted: the stop gives the station away under the clearance that is open."""

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, _bag_on_the_hook(cell) as engine:
            state = engine.core.state
            await _stop(cell)
            await _carry_the_bag(cell)
            if signs == "second":
                await cell.give("supervisor", "clear_line", task=ALONE)
            names = tuple(name for name, one in state.leases.items() if one.batch == BATCH)
            given_away = LeaseReleased(batch=BATCH, resources=names, clearance="automatic")
            await engine.core.record(BATCH, given_away)
            await asyncio.sleep(60)
            assert state.leases["station"].batch == NEXT
            with pytest.raises(RefusedError, match=f"isn't all batch {BATCH}'s any more"):
                await cell.give(
                    "supervisor" if signs == "first" else "day-2", "clear_line", task=ALONE
                )
            assert state.leases["station"].batch == NEXT
            await engine.core.record(BATCH, given_away)  # even so, it frees nothing of another's
            await asyncio.sleep(60)
            assert state.leases["station"].batch == NEXT

    run_in_virtual_time(test())


def test_the_look_at_what_is_left_is_what_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: nothing is seen there. Another patient's batch comes to the bag on the hook."""
    monkeypatch.setattr(leases.Leases, "_with_something_of", nothing)

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, _bag_on_the_hook(cell) as engine:
            await _stop(cell)
            assert cell.world.where(BAG) == "hook"
            assert engine.core.state.leases["station"].batch == NEXT

    run_in_virtual_time(test())


@pytest.mark.requirement("IDC-07")
def test_two_people_take_over_a_clearance_that_would_have_ended_by_itself(tmp_path: Path) -> None:
    """The batch rests between two operations, its kit docked for the second, and is stopped."""
    recipe = recipe_in_two_operations()
    (procedure,) = recipe.body
    assert isinstance(procedure, UnitProcedure)
    first, then = procedure.body
    body = (first, Hold(slug="rest", reason="somebody looks"), then)
    parts = (procedure.model_copy(update={"body": body}),)
    rests = Recipe.written(recipe.model_copy(update={"body": parts}))

    async def test() -> None:
        async with thin_cell(tmp_path, kit_at="rack") as cell, cell.engine() as engine:
            state = engine.core.state
            await thin.begin(engine, rests)
            alarm = f"hold {BATCH}/move/rest"
            resting = engine.core.bells.until("news", lambda: alarm in state.alarms)
            await asyncio.wait_for(resting, LONG_S)
            for one in cell.technicians:
                one.is_on_duty = lambda _: False
            await asyncio.sleep(60)
            assert not state.tasks[ALONE].second_person
            await _stop(cell)
            assert state.batches[BATCH].status == "stopped"
            assert state.tasks[ALONE].status == "withdrawn"
            assert state.leases["station"].batch == BATCH
            assert KIT in cell.world.things_at("station")
            with pytest.raises(RefusedError, match=f"{KIT} at station"):
                await cell.give("supervisor", "clear_line", task=SIGNED)
            for one in cell.technicians:
                one.is_on_duty = lambda _: True
            await asyncio.sleep(4 * 3600)
            assert not state.leases

    run_in_virtual_time(test())


@pytest.mark.requirement("IDC-07")
def test_nothing_is_carried_to_where_something_stands(tmp_path: Path) -> None:
    """The kit stands at the station, its bag hangs on the hook: there is room for one at each."""

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, _bag_on_the_hook(cell) as engine:
            await _stop(cell)
            state = engine.core.state
            await cell.give("supervisor", "carry_away", label=f"L-{KIT}", to="station")
            before = state.seq
            wrong = ((BAG, "station", KIT, True), (KIT, "hook", BAG, False))
            for label, to, there, sealed_off in wrong:
                with pytest.raises(RefusedError, match=f"by the record {there} stands there"):
                    await cell.give(
                        "supervisor", "carry_away", label=f"L-{label}", to=to, sealed_off=sealed_off
                    )
            assert state.seq == before
            await cell.give(
                "supervisor", "carry_away", label=f"L-{BAG}", to="rack", sealed_off=True
            )
            cell.world.hands.seal_off(BAG, by="U-0005")
            cell.world.hands.put(BAG, "rack", by="U-0005")
            await cell.give("supervisor", "carry_away", label=f"L-{KIT}", to="hook")
            cell.world.hands.put(KIT, "hook", by="U-0005")
            for thing in (BAG, KIT):
                assert cell.world.where(thing) == state.containers[thing].place

    run_in_virtual_time(test())
