"""What becomes of a wrong scan, of work that people can't do, and of what they won't answer.

The thin path's batch, with technicians who bring the wrong bag, or decline. Expected: the
alarm of a refused scan is cleared by the right one; what was declined holds with its reason,
is offered again after a restart, and the batch ends as if nothing had been.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hw_mocks.technicians import Slips, Technician
from orchestrator.engine.engine import Engine
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.register import FoldedRegister
from orchestrator.kernel.identifiers import PlaceId
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.process_cell.simulation import REFERENCE_CELL
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation import thin
from tests.simulation.test_holds_and_stops import ASKED, VERIFY, operation, procedure, recipe_of
from tests.simulation.thin import BAG, BATCH, KIT, OTHER_BAG, begin, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")


async def _until_held(engine: Engine) -> str:
    """Return why the first unit procedure is held, as soon as it is."""
    procedures = engine.core.state.batches[BATCH].procedures
    await engine.core.bells.until(
        "news", lambda: any(one.state is PhaseState.HELD for one in procedures.values())
    )
    return next(one.why for one in procedures.values() if one.state is PhaseState.HELD)


def test_the_alarm_of_a_wrong_scan_is_cleared_by_the_right_one(tmp_path: Path) -> None:
    slips = Slips(brings={BAG: OTHER_BAG})

    async def run() -> None:
        async with thin_cell(tmp_path, slips=slips) as cell, cell.engine() as engine:
            await begin(engine)
            await engine.ended(BATCH)
            kinds = [one.event.kind for one in engine.core.journal.events()]
            assert kinds.count("identity_refused") == 1
            assert kinds.count("alarm_raised") == 1
            (alarm,) = engine.core.state.alarms.values()
            assert (alarm.tier, alarm.cleared) == ("block", True)

    run_in_virtual_time(run())


def test_declined_hand_work_holds_with_its_reason_and_is_offered_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            cell.world.hands.weld(OTHER_BAG, KIT, "p1", by="somebody before")
            await begin(engine)
            assert "p1 of K-1 is taken" in await _until_held(engine)
            welds = [one for one in engine.core.state.tasks.values() if "Weld" in one.text]
            assert [(one.status, one.choice) for one in welds] == [("done", "not done")]
            cell.world.hands.seal_off(OTHER_BAG, by="somebody before")
            await cell.give("supervisor", "restart", batch=str(BATCH))
            await engine.ended(BATCH)
            welds = [one for one in engine.core.state.tasks.values() if "Weld" in one.text]
            assert [one.choice for one in welds] == ["not done", ""]
            _assert_moved(cell)

    run_in_virtual_time(run())


def _assert_moved(cell: EmulatedCell) -> None:
    moved_mL = cell.world.contents(f"{KIT}/vessel").volume_mL
    assert moved_mL == pytest.approx(60.0, abs=1.0)


def test_a_declined_question_holds_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe_of(procedure("a", operation("x", VERIFY, ASKED)))
    monkeypatch.setattr(thin, "thin_recipe", asked)
    answer = vars(Technician)["_answer"]
    declined: list[str] = []

    async def decline_once(self: Any, task: Mapping[str, Any]) -> None:
        if declined:
            await answer(self, task)
            return
        declined.append(task["task"])
        await self._give("report_task", task=task["task"], declined="I can't see the vessel")

    monkeypatch.setattr(Technician, "_answer", decline_once)

    async def run() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine)
            assert "I can't see the vessel" in await _until_held(engine)
            await cell.give("supervisor", "restart", batch=str(BATCH))
            await engine.ended(BATCH)
            assert engine.core.state.batches[BATCH].status == "complete"

    run_in_virtual_time(run())


def test_a_gripper_is_leased_with_its_arm(tmp_path: Path) -> None:
    async def run() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine)
            await _until_leased(engine, "transfer-station")
            state = engine.core.state
            register = FoldedRegister(state, load_cell(REFERENCE_CELL).config)
            assert register.holder_of_place(PlaceId("gripper/R1")) is None
            state.leases["arm"] = state.leases["transfer-station"]
            assert register.holder_of_place(PlaceId("gripper/R1")) == BATCH
            assert register.holder_of_place(PlaceId("station/p1")) == BATCH
            assert register.holder_of_place(PlaceId("dock")) is None

    run_in_virtual_time(run())


async def _until_leased(engine: Engine, unit: str) -> None:
    await engine.core.bells.until("news", lambda: unit in engine.core.state.leases)
