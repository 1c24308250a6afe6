"""A unit whose rule asks two people for its clearance is free when two have signed.

The thin cell's station is given that rule. A second batch waits for it: the order of the
journal shows that it gets the station behind both signatures and not with the first
batch's end.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.engine import Engine
from orchestrator.journal.events import BatchMade, LeaseReleased
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation import thin
from tests.simulation.thin import BATCH, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0
NEXT = BatchId("B-2")
TASK = f"{BATCH}/move/once/transfer-station/clear"


@pytest.fixture(autouse=True)
def two_people_clear_the_station(  # pyright: ignore[reportUnusedFunction]
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = 'lease = "operation"\nclearance = "automatic"'
    text = thin.CELL.read_text()
    assert text.count(rule) == 1
    other = tmp_path / "cell.toml"
    other.write_text(text.replace(rule, rule.replace("automatic", "two people")))
    monkeypatch.setattr(thin, "CELL", other)


async def _both(engine: Engine) -> None:
    """Run the first batch to its end while the second waits for the station."""
    now, digest = engine.core.clock.utc(), engine.core.cell.digest
    events = thin.on_file(now, digest)
    await engine.core.record_for_host(*events)
    (made,) = (one for one in events if isinstance(one, BatchMade))
    await engine.make_batch(made.model_copy(update={"batch": NEXT}))
    await engine.start_batch(BATCH, thin.USER)
    await asyncio.sleep(5)
    await engine.start_batch(NEXT, thin.USER)
    await asyncio.wait_for(engine.ended(BATCH), LONG_S)


def _seqs(engine: Engine, kind: str, batch: str) -> list[int]:
    return [
        one.seq
        for one in engine.core.journal.events()
        if one.event.kind == kind and getattr(one.event, "batch", "") == batch
    ]


def _released(engine: Engine) -> list[LeaseReleased]:
    events: list[Any] = [one.event for one in engine.core.journal.events()]
    return [one for one in events if isinstance(one, LeaseReleased) and one.batch == BATCH]


@pytest.mark.requirement("IDC-07")
@pytest.mark.parametrize("dies", [False, True])
def test_the_next_batch_gets_the_unit_behind_two_signatures(tmp_path: Path, dies: bool) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path / "data") as cell:
            async with cell.engine() as engine:

                def nobody_clears(_: float) -> bool:
                    task = engine.core.state.tasks.get(TASK)
                    return task is None

                for one in cell.technicians:
                    one.is_on_duty = nobody_clears
                await _both(engine)
                assert engine.core.state.batches[BATCH].status == "complete"
                await asyncio.sleep(24 * 3600)
                if not dies:
                    await _cleared(cell, engine)
            if dies:
                async with cell.engine() as engine:
                    await asyncio.sleep(3600)
                    await _cleared(cell, engine)

    async def _cleared(cell: Any, engine: Engine) -> None:
        assert engine.core.state.leases["station"].batch == BATCH
        assert not _seqs(engine, "lease_granted", NEXT)
        with pytest.raises(RefusedError, match="two people sign"):
            await cell.give("day-1", "answer_task", task=TASK)
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
def test_technicians_clear_a_line_when_they_see_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path / "data") as cell, cell.engine() as engine:
            await _both(engine)
            await asyncio.sleep(3600)
            (released,) = _released(engine)
            assert len({one.signer for one in released.signatures}) == 2
            assert engine.core.state.leases["station"].batch == NEXT

    run_in_virtual_time(test())
