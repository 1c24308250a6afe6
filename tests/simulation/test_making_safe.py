"""Time has run out for a batch: what makes its material safe is done, and nothing else.

A lot expires, or a block-tier limit runs out, while a bag is joined to the docked kit. The
World is the judge: the valves are shut and the bag comes off, but no more liquid moves
until quality has closed a deviation that names the limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.engine import Engine
from orchestrator.engine.phase_state import PhaseState
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import hour, minute, mL
from orchestrator.phases.disconnect import Disconnect
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.recipe.model import Lag, Moment, Operation, Recipe, Step, Tier, UnitProcedure
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation import thin
from tests.simulation.thin import BAG, BATCH, KIT, TRANSFERRED, begin, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0
LIMIT = f"{BATCH}/out of the cold"
PART = Step(
    slug="04-disconnect",
    name="Disconnect",
    phase=Disconnect(
        container="patient bag",
        kit="kit",
        port="p1",
        station="transfer-station",
        longest_hold=2 * hour,
    ),
)


def _recipe(*steps: Step, lags: tuple[Lag, ...] = ()) -> Callable[[], Recipe]:
    made = Recipe.written(
        Recipe(
            title="Test",
            document="TEST-3",
            version="1",
            author="test",
            body=(
                UnitProcedure(
                    slug="u", name="u", body=(Operation(slug="o", name="o", body=steps),)
                ),
            ),
            lags=lags,
        )
    )
    return lambda: made


def _steps() -> tuple[Any, ...]:
    procedure = thin.thin_recipe().body[0]
    assert isinstance(procedure, UnitProcedure)
    operation = procedure.body[0]
    assert isinstance(operation, Operation)
    return operation.body


VERIFY, CONNECT, TRANSFER = _steps()


def _parted(cell: EmulatedCell) -> bool:
    return any(one.kind == "parted" and BAG in one.things for one in cell.world.ledger)


def _vessel_mL(cell: EmulatedCell) -> float:
    cell.world.catch_up()
    return cell.world.contents(f"{KIT}/vessel").volume_mL


@pytest.mark.requirement("PRC-02")
def test_a_kit_that_expires_while_it_is_docked_is_shut_and_its_bag_comes_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            steps = VERIFY, CONNECT, TRANSFER, PART
            monkeypatch.setattr(thin, "thin_recipe", _recipe(*steps))
            pumps: list[Instant] = []

            def look(recorded: Any) -> None:
                event = recorded.event
                begins = event.kind == "attempt_intended" and "03-transfer" in event.path
                if begins and event.asked["kind"] == "pump_volume" and not pumps:
                    pumps.append(recorded.at)
                    engine.core.state.lots["LOT-1"].expires = recorded.at + 1 * minute

            engine.core.listeners.append(look)
            await begin(engine)
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            assert pumps, "the lot never expired"
            assert engine.core.state.batches[BATCH].status == "complete"
            assert _vessel_mL(cell) == pytest.approx(TRANSFERRED.to(mL), abs=0.5)
            assert _parted(cell)

    run_in_virtual_time(test())


def _out_of_the_cold(maximum: Any) -> Lag:
    return Lag(
        name="out of the cold",
        from_event=Moment(path="u/o/01-verify", edge="end"),
        to_event=Moment(path="u/o/03-transfer", edge="start"),
        maximum=maximum,
        tier=Tier.BLOCK,
        source="set by site",
    )


@pytest.mark.requirement("PRC-02")
def test_a_bag_whose_time_has_run_out_comes_off_the_station(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit runs out between the weld and the disconnection."""
    lag = _out_of_the_cold(1 * hour)
    monkeypatch.setattr(thin, "thin_recipe", _recipe(VERIFY, CONNECT, PART, TRANSFER, lags=(lag,)))

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:

            def look(recorded: Any) -> None:
                event = recorded.event
                if event.kind == "phase_ended" and event.path.endswith("02-connect"):
                    for one in cell.technicians:
                        one.is_on_duty = lambda now: now > 3 * 3600

            engine.core.listeners.append(look)
            await begin(engine)
            await engine.core.bells.until(
                "news", lambda: bool(engine.core.state.limits) and _is_due(engine)
            )
            assert not _parted(cell), "it was disconnected before the limit ran out"
            await asyncio.sleep(6 * 3600)
            assert _parted(cell), "it stays joined for ever"

    run_in_virtual_time(test())


def _is_due(engine: Engine) -> bool:
    return engine.core.state.limits[LIMIT].due


@pytest.mark.requirement("PRC-02")
@pytest.mark.parametrize("named", [LIMIT, ""])
def test_only_a_deviation_for_the_limit_lets_liquid_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """A text that happens to hold the limit's name waives nothing."""
    lag = Lag.model_validate(
        {**_out_of_the_cold(2 * minute).model_dump(), "to_event": {"path": "u/o", "edge": "end"}}
    )
    monkeypatch.setattr(thin, "thin_recipe", _recipe(VERIFY, CONNECT, TRANSFER, lags=(lag,)))

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine)
            await asyncio.sleep(6 * 3600)
            assert engine.holds.state_of(BATCH, "u") is PhaseState.HELD
            before = _vessel_mL(cell)
            assert before < 5
            text = f"{LIMIT} is overrun; the cells were seen to be well"
            await cell.give("supervisor", "open_deviation", batch=BATCH, text=text, limit=named)
            (deviation,) = engine.core.state.deviations
            await cell.give("quality", "close_deviation", deviation=deviation, reason="counted")
            await cell.give("supervisor", "restart", batch=BATCH, why="under deviation")
            await asyncio.sleep(6 * 3600)
            moved = _vessel_mL(cell) - before
            if named:
                assert engine.core.state.batches[BATCH].status == "complete"
                assert moved > TRANSFERRED.to(mL) - 2
            else:
                assert engine.holds.state_of(BATCH, "u") is PhaseState.HELD
                assert moved < 0.5

    run_in_virtual_time(test())
