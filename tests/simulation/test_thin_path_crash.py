"""The software dies everywhere on the thin path, and at most once more in the recovery.

Method: ``orchestrator.proof``, the harness that users have for their own protocols, on one
transfer whose kit is docked by hand at a pump just powered on. What it can't do is here: to
die at the same place again and again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hw_mocks.world import World
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import AnyEvent, AttemptIntended, AttemptSettled, StateChanged
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.quantities import mL
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.proof.evidence import Proof
from orchestrator.proof.proving import Asked, proof_of
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import (
    BAG,
    BATCH,
    CELL,
    KIT,
    SEED,
    TRANSFERRED,
    USER,
    begin,
    bring,
    on_file,
    recipe_that_docks,
    thin_cell,
)

pytestmark = pytest.mark.leaves_tasks("a crash drops tasks on purpose")


class ThinStory:
    """The thin path. Implements ``Story``."""

    batch = BATCH
    cell_file = CELL
    seed = SEED

    def bring(self, world: World) -> None:
        bring(world, kit_at="rack")

    async def prepare(self, cell: EmulatedCell, engine: Engine) -> None:
        core = engine.core
        facts = on_file(core.clock.utc(), core.cell.digest, recipe_that_docks())
        await core.record_for_host(*facts)

    async def start(self, cell: EmulatedCell, engine: Engine) -> None:
        await engine.start_batch(BATCH, USER)


def proven(asked: Asked) -> Proof:
    proof = proof_of(ThinStory(), recipe_that_docks(), asked)
    assert (proof.repeated, proof.lost, proof.failed) == (0, 0, 0), proof.as_text()
    assert proof.findings == ()
    assert not any("turn_empty_pump" in why for why, _ in proof.reasons), proof.reasons
    return proof


@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(120)
def test_dying_at_a_point_repeats_nothing_and_loses_nothing(seed: int) -> None:
    proof = proven(Asked(seed=seed, cuts=50))
    assert len(proof.runs) >= 50


@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(120)
def test_dying_twice_repeats_nothing_and_loses_nothing(seed: int) -> None:
    proof = proven(Asked(seed=seed, cuts=2, double=True))
    assert len(proof.second_deaths) > 20


@pytest.mark.release_proof
@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(900)
def test_dying_at_every_point_repeats_nothing_and_loses_nothing() -> None:
    assert proven(Asked()).is_proven


@pytest.mark.release_proof
@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(1800)
def test_dying_twice_at_each_operation_of_a_recovery_repeats_nothing() -> None:
    assert proven(Asked(cuts=60, double=True)).images > 5_000


@pytest.mark.requirement("PRC-09")
@pytest.mark.parametrize("act", ["turn_empty_pump", "pump_volume"])
def test_dying_again_and_again_before_a_trigger_holds_nothing(tmp_path: Path, act: str) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path, kit_at="rack") as cell:
            for _ in range(4):
                await _run_until_intent(cell, act)
            async with cell.engine() as engine:
                await _go_to_the_end(engine)
                assert engine.core.state.batches[BATCH].status == "complete"
                events = [one.event for one in engine.core.journal.events()]
            _assert_moved_once(cell)
        verdicts = [one.verdict for one in events if isinstance(one, AttemptSettled)]
        assert verdicts.count("nothing") == 4
        assert not any(isinstance(one, StateChanged) and one.trigger == "hold" for one in events)

    run_in_virtual_time(story())


async def _run_until_intent(cell: EmulatedCell, act: str) -> None:
    """Run an engine till it dies as its pump's ``act`` is intended."""
    died = asyncio.get_running_loop().create_future()
    async with cell.engine() as engine:

        def listen(recorded: Recorded[AnyEvent]) -> None:
            event = recorded.event
            if not isinstance(event, AttemptIntended) or died.done():
                return
            if f"{event.equipment} {event.asked['kind']}" == f"P1 {act}":
                cell.sever(engine)
                died.set_result(None)

        engine.core.listeners.append(listen)
        going = asyncio.ensure_future(_go_to_the_end(engine))
        await asyncio.wait({died, going}, return_when=asyncio.FIRST_COMPLETED)
        going.cancel()


async def _go_to_the_end(engine: Engine) -> None:
    if BATCH not in engine.core.state.batches:
        await begin(engine, recipe_that_docks())
    await engine.ended(BATCH)


def _assert_moved_once(cell: EmulatedCell) -> None:
    bag = cell.world.contents(BAG).volume_mL
    vessel = cell.world.contents(f"{KIT}/vessel").volume_mL
    moved = TRANSFERRED.to(mL)
    assert vessel == pytest.approx(moved, abs=0.5)
    assert bag == pytest.approx(100 + 1 - moved, abs=0.5)
