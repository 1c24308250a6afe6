"""A joint that leaks holds the batch, and is tested again after a restart: nothing passes it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hw_mocks.world import World
from orchestrator.engine.engine import Engine
from orchestrator.engine.phase_state import PhaseState
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BAG, BATCH, begin, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0
CONNECT = "move/once/02-connect"


def _tests(engine: Engine) -> dict[str, str]:
    """Return what was reported of each leak test, by its task; empty while nothing was."""
    return {
        name: one.values.get("leak", "")
        for name, one in engine.core.state.tasks.items()
        if one.work == "do" and one.ask["work"] == "test_leak"
    }


def _is_tight_now(world: World, container: str) -> bool:
    del world, container
    return True


async def _until_held(engine: Engine, times: int) -> None:
    await asyncio.wait_for(
        engine.core.bells.until(
            "news",
            lambda: (
                engine.holds.state_of(BATCH, "move") is PhaseState.HELD
                and list(_tests(engine).values()) == ["found"] * times
            ),
        ),
        LONG_S,
    )


@pytest.mark.requirement("PRC-02")
def test_a_leaking_joint_is_tested_anew_after_each_restart_until_it_is_tight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            cell.world.plan_leak()
            await begin(engine)
            for times in (1, 2):
                await _until_held(engine, times)
                assert not any(BAG in one.things for one in cell.world.ledger
                               if one.kind == "moved_liquid"), "the joint leaks"  # fmt: skip
                held = engine.core.state.batches[BATCH].phases[CONNECT].why
                assert "leak=found" in held
                assert "hand_act" not in held
                if times == 2:
                    monkeypatch.setattr(World, "is_tight", _is_tight_now)
                await cell.give("supervisor", "restart", batch=BATCH, why="clamped, made anew")
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            assert engine.core.state.batches[BATCH].status == "complete"
            assert list(_tests(engine).values()) == ["found", "found", "none"]

    run_in_virtual_time(test())
