"""What an operation must own, when an attempt is overdue, and that a command is done once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from devices.interfaces.driver import Settled
from orchestrator.console.desk import Desk
from orchestrator.engine.engine import Engine
from orchestrator.engine.state import BatchState
from orchestrator.kernel.desks import Command
from orchestrator.kernel.errors import OutcomeUnknownError
from orchestrator.kernel.quantities import hour
from orchestrator.phases.move_container import MoveContainer
from orchestrator.process_cell.emulated import emulated_cell
from orchestrator.process_cell.simulation import REFERENCE_CELL
from orchestrator.recipe.model import Operation, Step
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BATCH, begin, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0


def test_an_operation_that_only_carries_a_kit_to_the_station_owns_the_station(
    tmp_path: Path,
) -> None:
    move = MoveContainer(
        container="kit",
        arm="arm",
        from_="incubator",
        to="transfer-station",
        longest_hold=1 * hour,
    )
    operation = Operation(slug="o", name="o", body=(Step(slug="s", name="s", phase=move),))

    async def test() -> None:
        async with (
            emulated_cell(tmp_path, REFERENCE_CELL, seed=1) as cell,
            cell.engine() as engine,
        ):
            now = engine.core.clock.utc()
            batch = BatchState("COI-1", "r", "c", {}, {}, {}, {}, {}, now)
            engine.core.state.batches["B-1"] = batch
            owned = engine.units_of("B-1", operation)
            assert {"arm", "transfer-station", "station"} <= set(owned)
            assert not any(name.startswith("incubator") for name in owned)

    run_in_virtual_time(test())


def test_an_attempt_that_is_looked_into_can_be_overdue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is lost, and the instrument stays busy for a day before it tells."""

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            driver: Any = engine.core.drivers["P1"]
            settles, tells = driver.settle, driver.effect_of

            async def lost(*asked: Any) -> Settled:
                await settles(*asked)
                raise OutcomeUnknownError("settle", why="no answer (planted)", do_next="Wait")

            async def busy(*asked: Any) -> Settled:
                await asyncio.sleep(24 * 3600)
                return await tells(*asked)

            monkeypatch.setattr(driver, "settle", lost)
            monkeypatch.setattr(driver, "effect_of", busy)
            await begin(engine)
            await asyncio.wait_for(engine.ended(BATCH), 100 * 24 * 3600)
            kinds = [one.event.kind for one in engine.core.journal.events()]
            pumped = sum(
                1
                for one in engine.core.journal.events()
                if one.event.kind == "attempt_intended" and one.event.equipment == "P1"
            )
            assert kinds.count("act_overdue") == pumped
            standing = [
                name
                for name, one in engine.core.state.alarms.items()
                if name.startswith("overdue ") and not one.cleared
            ]
            assert not standing, "what has ended isn't overdue any more"

    run_in_virtual_time(test())


def test_a_command_that_is_given_again_after_a_death_is_answered_and_not_done_again(
    tmp_path: Path,
) -> None:
    async def given(desk: Desk, session: str) -> int:
        command = Command(
            request="hold-1",
            seen=-1,
            session=session,
            name="hold",
            arguments={"batch": str(BATCH), "why": "a bell rings"},
        )
        return (await desk.give(command)).seq

    def holds(engine: Engine) -> int:
        return sum(
            1
            for one in engine.core.journal.events()
            if one.event.kind == "state_changed"
            and (one.event.trigger, one.event.path) == ("hold", "move")
            and one.event.why == "a bell rings"
        )

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await begin(engine)
                await asyncio.sleep(5)
                session = next(iter(cell.technicians)).session
                await given(cell.desk, session)
            async with cell.engine() as engine:
                await asyncio.sleep(5)
                await cell.give("supervisor", "restart", batch=BATCH, why="go on")
                await asyncio.sleep(1)
                await given(cell.desk, session)
                await asyncio.sleep(1)
                assert holds(engine) == 1
                await asyncio.wait_for(engine.ended(BATCH), LONG_S)

    run_in_virtual_time(test())


def test_an_attempt_that_ends_as_it_becomes_overdue_breaks_no_batch(tmp_path: Path) -> None:
    """The software was dead for an hour: what is found open is overdue and settled at once."""

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                began = asyncio.get_running_loop().create_future()

                def look(recorded: Any) -> None:
                    if recorded.event.kind == "attempt_intended" and not began.done():
                        began.set_result(None)
                        cell.sever(engine)

                engine.core.listeners.append(look)
                await begin(engine)
                await asyncio.wait_for(began, LONG_S)
            await asyncio.sleep(24 * 3600)
            async with cell.engine() as engine:
                await asyncio.wait_for(engine.ended(BATCH), LONG_S)
                assert engine.core.state.batches[BATCH].status == "complete"
                assert not engine.core.state.unfolded

    run_in_virtual_time(test())
