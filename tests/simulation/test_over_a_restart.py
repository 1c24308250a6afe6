"""What a death of the software may not take with it: people's holds; and what it must: proofs.

On the thin path. Expected: what people held stands still until people let it go on, and a
label that was read before the death is read again before anything moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.engine.engine import Engine
from orchestrator.engine.holds import BY_PERSON
from orchestrator.engine.phase_state import PhaseState
from orchestrator.journal.events import (
    AnyEvent,
    AttemptIntended,
    HostStarted,
    IdentityProven,
    PhaseStarted,
)
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.quantities import mL
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BAG, BATCH, KIT, TRANSFERRED, begin, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

HOUR_S = 3_600.0


def _vessel_mL(cell: EmulatedCell) -> float:
    cell.world.catch_up()
    return cell.world.contents(f"{KIT}/vessel").volume_mL


async def _begin_until(
    cell: EmulatedCell, engine: Engine, is_it: Callable[[AnyEvent], bool], *, dies: bool
) -> None:
    """Begin the batch and return at the first such event; the software dies with it, if told."""
    came = asyncio.get_running_loop().create_future()

    def listen(recorded: Recorded[AnyEvent]) -> None:
        if not came.done() and is_it(recorded.event):
            if dies:
                cell.sever(engine)
            came.set_result(None)

    engine.core.listeners.append(listen)
    beginning = asyncio.ensure_future(begin(engine))
    await came
    beginning.cancel()


@pytest.mark.requirement("PRC-09")
def test_what_people_held_is_held_after_a_death(tmp_path: Path) -> None:
    def transfer_began(event: AnyEvent) -> bool:
        return isinstance(event, PhaseStarted) and "03-transfer" in event.path

    async def story() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await _begin_until(cell, engine, transfer_began, dies=False)
                control = engine.holds.control_of(BATCH, "move")
                await engine.holds.hold(BATCH, control, "Dana wants to look at it", BY_PERSON)
                cell.sever(engine)
            before = _vessel_mL(cell)
            async with cell.engine() as engine:
                await asyncio.sleep(HOUR_S)
                procedure = engine.core.state.batches[BATCH].procedures["move"]
                assert procedure.state is PhaseState.HELD
                assert set(procedure.reasons) == {BY_PERSON}
                events = [one.event for one in engine.core.journal.events()]
            assert _vessel_mL(cell) == pytest.approx(before, abs=0.01), "it went on by itself"
            restart = max(at for at, one in enumerate(events) if isinstance(one, HostStarted))
            assert {one.kind for one in events[restart:]} == {"host_started", "state_changed"}

    run_in_virtual_time(story())


@pytest.mark.requirement("IDC-05")
def test_a_bag_is_scanned_again_after_a_death_before_anything_leaves_it(tmp_path: Path) -> None:
    def bag_proven_for_transfer(event: AnyEvent) -> bool:
        if not isinstance(event, IdentityProven) or event.container != BAG:
            return False
        return "03-transfer" in event.path

    async def story() -> list[AnyEvent]:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await _begin_until(cell, engine, bag_proven_for_transfer, dies=True)
            async with cell.engine() as engine:
                await engine.ended(BATCH)
                events = [one.event for one in engine.core.journal.events()]
            assert _vessel_mL(cell) == pytest.approx(TRANSFERRED.to(mL), abs=0.5)
        return events

    events = run_in_virtual_time(story())
    restart = max(at for at, one in enumerate(events) if isinstance(one, HostStarted))
    pumps = next(
        at
        for at, one in enumerate(events)
        if at > restart and isinstance(one, AttemptIntended) and one.equipment == "P1"
    )
    assert any(bag_proven_for_transfer(one) for one in events[restart:pumps])
