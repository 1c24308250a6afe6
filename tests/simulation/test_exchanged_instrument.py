"""An instrument that is only read falls silent, and another one answers on its line.

What it says is not used: the procedure is held before anything rests on it. Once the right
one is back and a person has looked, the procedure goes on and no alarm is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devices.interfaces.driver import DeviceIdentity
from orchestrator.engine.engine import Engine
from orchestrator.engine.phase_state import PhaseState
from orchestrator.kernel.errors import OutcomeUnknownError
from orchestrator.recipe.model import Operation, Recipe, UnitProcedure
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation import thin
from tests.simulation.thin import BATCH, begin, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0


def _only_verify() -> Callable[[], Recipe]:
    procedure = thin.thin_recipe().body[0]
    assert isinstance(procedure, UnitProcedure)
    operation = procedure.body[0]
    assert isinstance(operation, Operation)
    made = Recipe.written(
        Recipe(
            title="Test",
            document="TEST-4",
            version="1",
            author="test",
            body=(
                UnitProcedure(
                    slug="u",
                    name="u",
                    body=(Operation(slug="o", name="o", body=operation.body[:1]),),
                ),
            ),
        )
    )
    return lambda: made


def _exchange(engine: Engine, equipment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant another instrument on a line: one answer is lost, then a stranger answers."""
    driver: Any = engine.core.drivers[equipment]
    read = driver.read
    lost: list[str] = []

    async def once_silent(reading: Any) -> str:
        if not lost:
            lost.append(reading.kind)
            raise OutcomeUnknownError(f"ask {equipment}", why="no answer", do_next="Wait")
        return await read(reading)

    async def stranger() -> DeviceIdentity:
        return DeviceIdentity(model="another", serial="666")

    monkeypatch.setattr(driver, "read", once_silent)
    monkeypatch.setattr(driver, "identify", stranger)


@pytest.mark.requirement("EQP-02")
def test_what_another_instrument_says_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thin, "thin_recipe", _only_verify())

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            state = engine.core.state
            with monkeypatch.context() as planted:
                _exchange(engine, "S1", planted)
                await begin(engine)
                await asyncio.sleep(3600)
                assert engine.holds.state_of(BATCH, "u") is PhaseState.HELD
                assert "exchanged S1" in state.alarms
                assert not any(
                    one.event.kind == "identity_proven" for one in engine.core.journal.events()
                )
                engine.recognition.lost("S1")
            await cell.give("supervisor", "look_at_equipment", equipment="S1")
            await cell.give("supervisor", "restart", batch=BATCH, why="the right one is back")
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            assert state.batches[BATCH].status == "complete"
            assert state.alarms["exchanged S1"].cleared

    run_in_virtual_time(test())


@pytest.mark.requirement("EQP-02")
def test_an_instrument_that_was_silent_at_a_start_is_silent_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = [False]

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                identify: Any = type(engine.core.drivers["W1"]).identify

                async def answered(self: Any) -> DeviceIdentity:
                    if silent and silent[0] and self.equipment == "W1":
                        raise OutcomeUnknownError("ask W1", why="no answer", do_next="Wait")
                    return await identify(self)

                monkeypatch.setattr(type(engine.core.drivers["W1"]), "identify", answered)
            silent[0] = True
            async with cell.engine() as engine:
                silent[0] = False
                assert not engine.core.state.alarms["silent W1"].cleared
                await begin(engine)
                await asyncio.wait_for(engine.ended(BATCH), LONG_S)
                assert engine.core.state.batches[BATCH].status == "complete"
                assert engine.core.state.alarms["silent W1"].cleared

    run_in_virtual_time(test())


def _open(engine: Engine, kind: str) -> str:
    """Return the open attempt at an act of a kind, a pump's on the vessel; or nothing."""
    state = engine.core.state
    for command, (batch, path, number) in state.attempts.items():
        act = state.batches[batch].phases[path].words[number].attempts[-1].act
        on_vessel = any(one["part"] == "vessel" for one in act.get("weighed", ()))
        if act["kind"] == kind and (kind != "pump_volume" or on_vessel):
            return str(command)
    return ""


def _assert_two_people_decide(engine: Engine, command: str, equipment: str) -> None:
    said = [
        one.event
        for one in engine.core.journal.events()
        if getattr(one.event, "command", "") == command
    ]
    kinds = [one.kind for one in said]
    assert "attempt_uncertain" in kinds
    assert "attempt_settled" not in kinds
    (doubt,) = [one for one in said if one.kind == "attempt_uncertain"]
    assert f"{equipment} was exchanged" in doubt.why
    assert f"exchanged {equipment}" in engine.core.state.alarms
    assert f"{command}/doubt" in engine.core.state.tasks


@pytest.mark.requirement("EQP-02")
@pytest.mark.parametrize(
    ("kind", "equipment"), [("set_valves", "V1"), ("pump_volume", "P1"), ("pump_volume", "W2")]
)
def test_another_instruments_answer_settles_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, equipment: str
) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await begin(engine)
                await asyncio.wait_for(
                    engine.core.bells.until("news", lambda: bool(_open(engine, kind))), LONG_S
                )
                command = _open(engine, kind)
                driver = type(engine.core.drivers[equipment])
            identify: Any = driver.identify

            async def stranger(self: Any) -> DeviceIdentity:
                if self.equipment == equipment:
                    return DeviceIdentity(model="another", serial="666")
                return await identify(self)

            monkeypatch.setattr(driver, "identify", stranger)
            async with cell.engine() as engine:
                await asyncio.sleep(900)
                _assert_two_people_decide(engine, command, equipment)

    run_in_virtual_time(test())


@pytest.mark.requirement("EQP-02")
def test_an_instrument_that_fell_silent_as_evidence_is_asked_who_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine)
            await asyncio.wait_for(
                engine.core.bells.until("news", lambda: bool(_open(engine, "pump_volume"))), LONG_S
            )
            command = _open(engine, "pump_volume")
            _exchange(engine, "W2", monkeypatch)
            await asyncio.sleep(900)
            _assert_two_people_decide(engine, command, "W2")

    run_in_virtual_time(test())
