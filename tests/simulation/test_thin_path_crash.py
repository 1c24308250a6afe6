"""The software dies at each event of the thin path and at each moment of its instruments.

Method: run once to count the events, then once for each point, dying there; the room goes
on for a while, and a new engine resumes on the same journal. At the point the journal is
latched and every line closed before any task is dropped, so nothing tidies up after
itself. Afterwards the World must hold what it holds without a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from hw_mocks.emulator import Moment
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import (
    AnyEvent,
    AttemptIntended,
    AttemptSettled,
    AttemptUncertain,
    StateChanged,
)
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.quantities import mL
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import (
    BAG,
    BATCH,
    KIT,
    TRANSFERRED,
    USER,
    begin,
    recipe_that_docks,
    thin_cell,
)

DEAD_S = (0.0, 20.0, 3600.0)
"""Not at all, into the middle of the motion, beyond its end."""

pytestmark = pytest.mark.leaves_tasks("a crash drops tasks on purpose")


async def _run_until(
    cell: EmulatedCell, *, at_event: int = 0, at_moment: str = "", at_intent_of: str = ""
) -> int:
    """Run an engine till it dies or its batch has ended; return how many events it knows."""
    died = asyncio.get_running_loop().create_future()
    asked = dict[str, str]()

    async with cell.engine() as engine:

        def die() -> None:
            if not died.done():
                cell.sever(engine)
                died.set_result(None)

        if engine.core.state.seq >= at_event > 0:
            die()

        def listen(recorded: Recorded[AnyEvent]) -> None:
            event = recorded.event
            is_intent = False
            if isinstance(event, AttemptIntended):
                asked[event.equipment] = str(event.asked["kind"])
                is_intent = f"{event.equipment} {event.asked['kind']}" == at_intent_of
            if recorded.seq == at_event or is_intent:
                die()

        engine.core.listeners.append(listen)
        for emulator in cell.room.emulators.values():
            emulator.on_moment = lambda equipment, moment, request: (
                die()
                if at_moment
                in (f"{equipment} {moment}", f"{equipment} {asked.get(equipment)} {moment}")
                else None
            )
        going = asyncio.ensure_future(_go_to_the_end(engine))
        await asyncio.wait({died, going}, return_when=asyncio.FIRST_COMPLETED)
        going.cancel()
    for emulator in cell.room.emulators.values():
        emulator.on_moment = None
    return engine.core.state.seq


async def _go_to_the_end(engine: Engine) -> None:
    batch = engine.core.state.batches.get(BATCH)
    if batch is None:
        await begin(engine, recipe_that_docks())
    elif batch.status == "made" and not batch.start_asked_by:
        await engine.start_batch(BATCH, USER)  # it died before the order to start was on disk
    await engine.ended(BATCH)


async def _die_and_resume(
    cell: EmulatedCell,
    *,
    at_event: int = 0,
    at_moment: str = "",
    again_after: int = 0,
    dead_s: float,
) -> int:
    """Die once, and once more so many events later; return the number of events at first."""
    events = await _run_until(cell, at_event=at_event, at_moment=at_moment)
    await asyncio.sleep(dead_s)
    if again_after:
        await _run_until(cell, at_event=events + again_after)
        await asyncio.sleep(dead_s)
    async with cell.engine() as engine:
        await _go_to_the_end(engine)
        assert engine.core.state.batches[BATCH].status == "complete"
        _assert_no_empty_turn_in_doubt([one.event for one in engine.core.journal.events()])
    return events


def _assert_no_empty_turn_in_doubt(events: Sequence[AnyEvent]) -> None:
    intents = [one for one in events if isinstance(one, AttemptIntended)]
    turns = [one.command for one in intents if one.asked["kind"] == "turn_empty_pump"]
    assert turns, "the pump was never turned empty; does the batch dock its kit?"
    doubts = [one for one in events if isinstance(one, AttemptUncertain)]
    assert not [one for one in doubts if one.command in turns]


def _assert_moved_once(cell: EmulatedCell, where: str) -> None:
    bag = cell.world.contents(BAG).volume_mL
    vessel = cell.world.contents(f"{KIT}/vessel").volume_mL
    moved = TRANSFERRED.to(mL)
    assert vessel == pytest.approx(moved, abs=0.5), where
    assert bag == pytest.approx(100 + 1 - moved, abs=0.5), where


@pytest.mark.requirement("PRC-09")
@pytest.mark.parametrize("dead_s", DEAD_S)
def test_dying_at_any_event_moves_every_millilitre_once(tmp_path: Path, dead_s: float) -> None:
    events = run_in_virtual_time(_count(tmp_path / "dry"))
    assert events > 40, "the thin path lost most of its events; is it still attached?"
    first = 30 + DEAD_S.index(dead_s)
    for at in range(first, events + 1, len(DEAD_S)):  # each event with one of the pauses
        run_in_virtual_time(_one(tmp_path / f"{at}", at_event=at, dead_s=dead_s))


@pytest.mark.requirement("PRC-09")
@pytest.mark.parametrize(("each", "again_after"), [(5, 5), (4, 9), (7, 13)])
def test_dying_twice_moves_every_millilitre_once(
    tmp_path: Path, each: int, again_after: int
) -> None:
    events = run_in_virtual_time(_count(tmp_path / "dry"))
    for at in range(30, events + 1, each):
        run_in_virtual_time(
            _one(tmp_path / f"{at}", at_event=at, again_after=again_after, dead_s=20.0)
        )


@pytest.mark.requirement("PRC-09")
@pytest.mark.parametrize("dead_s", DEAD_S)
@pytest.mark.parametrize(
    "moment",
    [
        f"{equipment} {moment}"
        for equipment in ("P1 turn_empty_pump", "P1 pump_volume", "V1")
        for moment in (Moment.ARRIVING, Moment.ARRIVED, Moment.MOVING, Moment.ENDED)
    ],
)
def test_dying_at_a_moment_of_an_instrument_moves_every_millilitre_once(
    tmp_path: Path, moment: str, dead_s: float
) -> None:
    run_in_virtual_time(_one(tmp_path / "run", at_moment=moment, dead_s=dead_s))


@pytest.mark.requirement("PRC-09")
@pytest.mark.parametrize("act", ["turn_empty_pump", "pump_volume"])
def test_dying_again_and_again_before_a_trigger_holds_nothing(tmp_path: Path, act: str) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path, kit_at="rack") as cell:
            for _ in range(4):
                await _run_until(cell, at_intent_of=f"P1 {act}")
            async with cell.engine() as engine:
                await _go_to_the_end(engine)
                assert engine.core.state.batches[BATCH].status == "complete"
                events = [one.event for one in engine.core.journal.events()]
            _assert_moved_once(cell, "at four intents in turn")
        verdicts = [one.verdict for one in events if isinstance(one, AttemptSettled)]
        assert verdicts.count("nothing") == 4
        assert not any(isinstance(one, StateChanged) and one.trigger == "hold" for one in events)

    run_in_virtual_time(story())


async def _count(folder: Path) -> int:
    async with thin_cell(folder, kit_at="rack") as cell:
        return await _die_and_resume(cell, dead_s=0)


async def _one(
    folder: Path, *, at_event: int = 0, at_moment: str = "", again_after: int = 0, dead_s: float
) -> None:
    async with thin_cell(folder, kit_at="rack") as cell:
        await _die_and_resume(
            cell, at_event=at_event, at_moment=at_moment, again_after=again_after, dead_s=dead_s
        )
        _assert_moved_once(
            cell, f"event {at_event} {at_moment} and {again_after} later, dead for {dead_s} s"
        )
