"""Holding what a person's word casts doubt on."""

from __future__ import annotations

from contextlib import suppress

from orchestrator.engine.control import UnitControl
from orchestrator.engine.engine import Engine
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId, UserId


async def hold_all(engine: Engine, batch: BatchId, why: str, user: UserId) -> None:
    """Hold every unit procedure of a batch that runs."""
    for control in engine.holds.controls(batch):
        await _hold(engine, batch, control, why, user)


async def hold_around(engine: Engine, batch: BatchId, path: str, why: str, user: UserId) -> None:
    """Hold the unit procedure that a path is in."""
    for control in engine.holds.controls(batch):
        if path.startswith(f"{control.path}/"):
            await _hold(engine, batch, control, why, user)


async def _hold(
    engine: Engine, batch: BatchId, control: UnitControl, why: str, user: UserId
) -> None:
    with suppress(RefusedError):  # it is held, or ends, already
        await engine.holds.command(batch, control, "hold", why, user)
