"""A unit is another batch's only when nothing of the last one is left there.

The thin cell's station is given each rule in turn. A second batch waits for it while the
first one's bag and kit stand there. Looked at are the order of the journal, what the record
refuses, and what the emulated people find in the room that the record has otherwise; each
with the control taken out, so that the test is seen to be able to fail.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from hw_mocks.technicians import Technician
from orchestrator.console import clearing
from orchestrator.engine import leases
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import BatchMade, LeaseReleased
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.recipe.model import Operation, Recipe, UnitProcedure
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation import thin
from tests.simulation.thin import BAG, BATCH, KIT, OTHER_BAG, recipe_that_docks, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0
NEXT = BatchId("B-2")
TASK = f"{BATCH}/move/once/transfer-station/clear"
PLACES = ("station", "hook", "rack", "sampling")


def signed_by_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two people clear the station from now on."""
    rule = 'lease = "operation"\nclearance = "automatic"'
    text = thin.CELL.read_text()
    assert text.count(rule) == 1
    other = tmp_path / "cell.toml"
    other.write_text(text.replace(rule, rule.replace("automatic", "two people")))
    monkeypatch.setattr(thin, "CELL", other)


async def _both(engine: Engine, recipe: Recipe | None = None) -> None:
    """Run the first batch to its end while the second waits for the station."""
    now, digest = engine.core.clock.utc(), engine.core.cell.digest
    events = thin.on_file(now, digest, recipe or recipe_that_docks())
    await engine.core.record_for_host(*events)
    (made,) = (one for one in events if isinstance(one, BatchMade))
    await engine.make_batch(made.model_copy(update={"batch": NEXT}))
    await engine.start_batch(BATCH, thin.USER)
    await asyncio.sleep(5)
    await engine.start_batch(NEXT, thin.USER)
    await asyncio.wait_for(engine.ended(BATCH), LONG_S)


def nothing(*_: object) -> tuple[()]:
    """Find nothing, wherever one looks."""
    return ()


def _seqs(engine: Engine, kind: str, batch: str) -> list[int]:
    return [
        one.seq
        for one in engine.core.journal.events()
        if one.event.kind == kind and getattr(one.event, "batch", "") == batch
    ]


def _released(engine: Engine) -> list[LeaseReleased]:
    events: list[Any] = [one.event for one in engine.core.journal.events()]
    return [one for one in events if isinstance(one, LeaseReleased) and one.batch == BATCH]


def standing(cell: EmulatedCell) -> set[str]:
    """Return all that is left at the station's places."""
    return {one for place in PLACES for one in cell.world.things_at(place)}


def _nobody_clears(cell: EmulatedCell, engine: Engine) -> None:
    for one in cell.technicians:
        one.is_on_duty = lambda _: TASK not in engine.core.state.tasks


async def _carry(cell: EmulatedCell, thing: str, to: str = "quality control") -> None:
    """Carry a thing away and say so, as a person does who reads its label."""
    is_joined = cell.world.joint_of(thing) is not None
    await cell.give("supervisor", "carry_away", label=f"L-{thing}", to=to, sealed_off=is_joined)
    for joint in cell.world.joints():
        if thing in (joint.container, joint.kit) and joint.how != "made so":
            cell.world.hands.seal_off(joint.container, by="supervisor")
    cell.world.hands.carry_out(thing, to, by="supervisor")


@pytest.mark.requirement("IDC-07")
@pytest.mark.parametrize("dies", [False, True])
def test_the_next_batch_gets_the_unit_behind_two_signatures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    signed_by_two(tmp_path, monkeypatch)

    async def test() -> None:
        async with thin_cell(tmp_path / "data", kit_at="rack") as cell:
            async with cell.engine() as engine:
                _nobody_clears(cell, engine)
                await _both(engine)
                assert engine.core.state.batches[BATCH].status == "complete"
                await asyncio.sleep(24 * 3600)
                if not dies:
                    await _cleared(cell, engine)
            if dies:
                async with cell.engine() as engine:
                    await asyncio.sleep(3600)
                    await _cleared(cell, engine)

    async def _cleared(cell: EmulatedCell, engine: Engine) -> None:
        assert engine.core.state.leases["station"].batch == BATCH
        assert not _seqs(engine, "lease_granted", NEXT)
        with pytest.raises(RefusedError, match="two people sign"):
            await cell.give("day-1", "answer_task", task=TASK)
        for thing in (BAG, KIT):
            with pytest.raises(RefusedError, match=f"by the record there is .*{thing} at"):
                await cell.give("supervisor", "clear_line", task=TASK)
            is_joined = thing == BAG
            told = "it is joined to port p1" if is_joined else "it is joined to no kit"
            with pytest.raises(RefusedError, match=told):
                await cell.give(
                    "supervisor", "carry_away", label=f"L-{thing}", to="quality control",
                    sealed_off=not is_joined,
                )  # fmt: skip
            await _carry(cell, thing)
            assert not engine.core.state.containers[BAG].kit
        await cell.give("supervisor", "clear_line", task=TASK)
        with pytest.raises(RefusedError):
            await cell.give("supervisor", "clear_line", task=TASK)
        assert not _released(engine), "one person sufficed"
        await cell.give("day-2", "clear_line", task=TASK)
        await asyncio.sleep(1)
        (released,) = _released(engine)
        assert released.clearance == "two people"
        assert [one.meaning for one in released.signatures] == ["performed", "verified"]
        assert len({one.signer for one in released.signatures}) == 2
        assert engine.core.state.leases["station"].batch == NEXT
        assert _seqs(engine, "lease_granted", NEXT) > _seqs(engine, "lease_released", BATCH)

    run_in_virtual_time(test())


@pytest.mark.requirement("IDC-07")
def test_technicians_carry_away_what_is_left_before_the_next_batch_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_by_two(tmp_path, monkeypatch)

    async def test() -> None:
        async with thin_cell(tmp_path / "data", kit_at="rack") as cell, cell.engine() as engine:
            stood: list[set[str]] = []

            def look(recorded: Any) -> None:
                if recorded.event.kind == "lease_granted" and recorded.event.batch == NEXT:
                    stood.append(standing(cell))

            engine.core.listeners.append(look)
            await _both(engine)
            await asyncio.sleep(3600)
            (released,) = _released(engine)
            assert len({one.signer for one in released.signatures}) == 2
            assert engine.core.state.leases["station"].batch == NEXT
            assert stood == [set()], "something was left for the next batch"
            assert cell.world.where(BAG) == cell.world.where(KIT) == "quality control"
            assert not engine.core.state.deviations

    run_in_virtual_time(test())


@pytest.mark.parametrize("fault", ["", "the record isn't asked"])
def test_a_bag_left_behind_is_refused_by_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The bag hangs on the rack, and two people in a hurry sign that nothing is left."""
    signed_by_two(tmp_path, monkeypatch)
    if fault:
        monkeypatch.setattr(clearing, "refuse_what_is_left", nothing)

    async def test() -> None:
        async with thin_cell(tmp_path / "data", kit_at="rack") as cell, cell.engine() as engine:
            _nobody_clears(cell, engine)
            await _both(engine)
            await _carry(cell, KIT)
            for person in ("supervisor", "day-2"):
                told = "" if fault else f"there is {BAG} at rack. .*carry_away"
                with nullcontext() if fault else pytest.raises(RefusedError, match=told):
                    await cell.give(person, "clear_line", task=TASK)
            await asyncio.sleep(60)
            assert standing(cell) >= {BAG}
            freed = engine.core.state.leases["station"].batch == NEXT
            assert freed == bool(fault), "the next patient's batch has a station with a bag on it"

    run_in_virtual_time(test())


@pytest.mark.parametrize("fault", ["", "they don't look"])
def test_a_look_finds_what_the_record_does_not_know_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The other patient's bag hangs on the hook after the first signature, unrecorded."""
    signed_by_two(tmp_path, monkeypatch)
    if fault:
        monkeypatch.setattr(Technician, "_standing_at", nothing)

    async def test() -> None:
        async with thin_cell(tmp_path / "data", kit_at="rack") as cell, cell.engine() as engine:
            state = engine.core.state
            is_signed_once = False

            def hang_it_there(recorded: Any) -> None:
                nonlocal is_signed_once
                event = recorded.event
                if event.kind == "task_reported" and event.task == TASK and not is_signed_once:
                    is_signed_once = True
                    cell.world.hands.put(OTHER_BAG, "hook", by="somebody")

            engine.core.listeners.append(hang_it_there)
            if fault:
                _nobody_clears(cell, engine)
            await _both(engine)
            if fault:
                await _carry(cell, BAG)
                await _carry(cell, KIT)
                for one in cell.technicians:
                    one.is_on_duty = lambda _: True
            await asyncio.sleep(2 * 3600)
            assert is_signed_once
            assert state.leases["station"].batch == NEXT, "it is cleared in the end"
            if fault:
                assert cell.world.at("hook") == OTHER_BAG, "somebody did look"
                return
            kinds = {one.event.kind for one in engine.core.journal.events()}
            assert "task_reopened" in kinds, "the first signature stands"
            assert state.containers[OTHER_BAG].quarantined
            assert state.containers[OTHER_BAG].place == "quarantine"
            assert cell.world.where(OTHER_BAG) == "quarantine"
            (deviation,) = state.deviations.values()
            assert deviation.opened_by in state.people
            assert "at hook" in deviation.text
            assert OTHER_BAG not in deviation.text, "the batch's record tells another's label"
            (released,) = _released(engine)
            assert len({one.signer for one in released.signatures}) == 2

    run_in_virtual_time(test())


def recipe_in_two_operations() -> Recipe:
    """Return the thin path, with its transfer in an operation of its own."""
    recipe = recipe_that_docks()
    (procedure,) = recipe.body
    assert isinstance(procedure, UnitProcedure)
    (operation,) = procedure.body
    assert isinstance(operation, Operation)
    first = operation.model_copy(update={"body": operation.body[:-1]})
    then = operation.model_copy(update={"slug": "then", "body": operation.body[-1:]})
    body = (procedure.model_copy(update={"body": (first, then)}),)
    return Recipe.written(recipe.model_copy(update={"body": body}))


@pytest.mark.parametrize("fault", ["", "a unit is freed whatever stands there"])
def test_a_unit_stays_with_the_batch_that_still_needs_what_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Its kit stays docked from one operation to the next, and another batch waits."""
    if fault:
        monkeypatch.setattr(leases, "left_at", nothing)

    async def test() -> None:
        async with thin_cell(tmp_path / "data", kit_at="rack") as cell, cell.engine() as engine:
            state = engine.core.state
            throwing: list[asyncio.Task[None]] = []

            async def throw_it_away() -> None:
                with pytest.raises(RefusedError, match="still needs it"):
                    await cell.give("supervisor", "carry_away", label=f"L-{KIT}", to="waste bin")

            def at_the_end_of_the_first(recorded: Any) -> None:
                if recorded.event.kind == "task_offered" and recorded.event.task == TASK:
                    throwing.append(asyncio.ensure_future(throw_it_away()))

            engine.core.listeners.append(at_the_end_of_the_first)
            with pytest.raises(TimeoutError) if fault else nullcontext():
                await _both(engine, recipe_in_two_operations())
            next_came = _seqs(engine, "lease_granted", NEXT)
            if fault:
                assert next_came
                assert KIT in standing(cell), "the next batch came to an empty station"
                return
            await asyncio.gather(*throwing)
            assert throwing, "nobody tried to throw it away"
            assert state.batches[BATCH].status == "complete"
            assert state.tasks[TASK].status == "withdrawn", "it went on there"
            (released,) = _released(engine)
            assert released.clearance == "automatic"
            assert not next_came or next_came > _seqs(engine, "lease_released", BATCH)

    run_in_virtual_time(test())
