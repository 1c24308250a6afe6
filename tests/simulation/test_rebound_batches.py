"""A batch that meets another cell file, or another instrument, goes on once two people bind it.

On the thin path. Expected: nothing more is moved before, whoever lets it go on; after it the
whole transfer is in the vessel, once.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from devices.drivers.mettler_mt_sics import MettlerMtSics
from devices.interfaces.driver import DeviceIdentity
from orchestrator.engine.engine import Engine
from orchestrator.engine.holds import BOUND
from orchestrator.engine.phase_state import PhaseState
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.quantities import mL, second
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BATCH, CELL, KIT, TRANSFERRED, begin, on_file, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

HOUR_S = 3_600.0
BALANCE = "W1"
SERIAL = "1000001"
STRANGER = "1000666"


def vessel_mL(cell: EmulatedCell) -> float:
    """Return what is in the vessel."""
    cell.world.catch_up()
    return cell.world.contents(f"{KIT}/vessel").volume_mL


async def until_connected(engine: Engine) -> None:
    """Begin the batch, and return as its bag is joined."""
    joined = asyncio.get_running_loop().create_future()

    def listen(recorded: Any) -> None:
        event = recorded.event
        if event.kind == "phase_ended" and "connect" in event.path and not joined.done():
            joined.set_result(None)

    engine.core.listeners.append(listen)
    beginning = asyncio.ensure_future(begin(engine))
    await joined
    beginning.cancel()


async def amend(cell: EmulatedCell, **asked: str) -> None:
    """Have two people bind the batch anew."""
    told = {"batch": str(BATCH), "reason": "The old one is at its maker's", **asked}
    await cell.give("supervisor", "propose_amendment", **told)
    view = await cell.desk.view("amendments", batch=str(BATCH))
    name = view["amendments"][-1]["amendment"]
    await cell.give("quality", "verify_amendment", batch=str(BATCH), amendment=name)


@pytest.mark.requirement("EQP-02")
def test_an_exchanged_instrument_is_used_once_two_people_bind_the_batch_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await until_connected(engine)
                await cell.give("supervisor", "hold", batch=str(BATCH), why="The balance is dead")
                with pytest.raises(RefusedError, match=f"bound to {BALANCE} with the serial"):
                    await amend(cell, binding="equipment", equipment=BALANCE)
                cell.sever(engine)
            before = vessel_mL(cell)
            exchange(cell, tmp_path, monkeypatch)
            async with cell.engine() as engine:
                await cell.give("supervisor", "look_at_equipment", equipment=BALANCE)
                await asyncio.sleep(HOUR_S)
                await amend(cell, binding="cell")
                await cell.give("supervisor", "restart", batch=str(BATCH), why="There is another")
                await asyncio.sleep(HOUR_S)
                assert engine.holds.state_of(BATCH, "move") is PhaseState.HELD
                told = " ".join(str(one.event) for one in engine.core.journal.events())
                assert f"the batch is bound to {BALANCE} with the serial number" in told
                assert vessel_mL(cell) == pytest.approx(before, abs=0.1)
                await cell.give("supervisor", "hold", batch=str(BATCH), why="To be amended")
                await amend(cell, binding="equipment", equipment=BALANCE)
                await cell.give("supervisor", "restart", batch=str(BATCH), why="Bound to it")
                await asyncio.wait_for(engine.ended(BATCH), 200_000.0)
                assert engine.core.state.batches[BATCH].serials[BALANCE] == STRANGER
                assert vessel_mL(cell) - before == pytest.approx(TRANSFERRED.to(mL), abs=1.0)

    run_in_virtual_time(story())


def exchange(cell: EmulatedCell, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put another balance on the line, and its serial number into the cell file."""
    file = folder / "cell.toml"
    file.write_text(CELL.read_text().replace(SERIAL, STRANGER))
    cell.cell = load_cell(file)
    identify = MettlerMtSics.identify

    async def stranger(self: MettlerMtSics) -> DeviceIdentity:
        known = await identify(self)
        is_it = self.equipment == BALANCE
        return known.model_copy(update={"serial": STRANGER}) if is_it else known

    monkeypatch.setattr(MettlerMtSics, "identify", stranger)


def test_a_batch_that_was_made_under_another_version_does_nothing_before_it_is_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                now, digest = engine.core.clock.utc(), engine.core.cell.digest
                await engine.core.record_for_host(*on_file(now, digest))
                cell.sever(engine)
            monkeypatch.setattr("orchestrator.engine.engine.VERSION", "0.2.0")
            async with cell.engine() as engine:
                await cell.give("supervisor", "start_batch", batch=str(BATCH))
                await asyncio.sleep(HOUR_S)
                state = engine.core.state.batches[BATCH]
                assert set(state.procedures["move"].reasons) == {BOUND}
                assert not state.phases
                await amend(cell, binding="engine")
                await asyncio.wait_for(engine.ended(BATCH), 200_000.0)
                assert vessel_mL(cell) == pytest.approx(TRANSFERRED.to(mL), abs=1.0)

    run_in_virtual_time(story())


def test_a_batch_of_another_cell_file_is_held_until_two_people_bind_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await until_connected(engine)
                cell.sever(engine)
            before = vessel_mL(cell)
            cell.cell = cell.cell.model_copy(update={"digest": "f" * 64})
            async with cell.engine() as engine:
                await asyncio.sleep(HOUR_S)
                state = engine.core.state.batches[BATCH]
                assert set(state.procedures["move"].reasons) == {BOUND}
                with pytest.raises(RefusedError, match="another process cell file"):
                    await cell.give("supervisor", "restart", batch=str(BATCH), why="Go on")
                assert vessel_mL(cell) == pytest.approx(before, abs=0.1)
                await amend(cell, binding="cell")
                await engine.core.sleep(1 * second)
                assert state.cell == "f" * 64
                await asyncio.wait_for(engine.ended(BATCH), 200_000.0)
                assert vessel_mL(cell) - before == pytest.approx(TRANSFERRED.to(mL), abs=1.0)

    run_in_virtual_time(story())
