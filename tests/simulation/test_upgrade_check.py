"""An upgrade is checked on the open phases of a journal that a death left behind.

Method: the thin path dies at many of its events; the version at hand must agree with what it
recorded itself. Then one kind of phase is changed, as a new version would: the check tells it,
and the daemon, started all the same, has that batch stand still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.main import main
from orchestrator.engine.engine import Engine
from orchestrator.engine.rehearsal import Rehearsed, rehearse
from orchestrator.engine.replay import replayed
from orchestrator.engine.state import HostState
from orchestrator.journal.events import AnyEvent
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.quantities import mL_per_min
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import Report
from orchestrator.phases.transfer import Transfer
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BATCH, CELL, begin, thin_cell, thin_recipe

pytestmark = pytest.mark.leaves_tasks("a crash drops tasks on purpose")

Seen = Callable[[Recorded[AnyEvent]], bool]


async def die_at(cell: EmulatedCell, seen: Seen) -> bool:
    """Run the thin path until an event, and leave its journal; return whether it came."""
    async with cell.engine() as engine:
        died: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def listen(recorded: Recorded[AnyEvent]) -> None:
            if seen(recorded) and not died.done():
                cell.sever(engine)
                died.set_result(None)

        engine.core.listeners.append(listen)
        going = asyncio.ensure_future(_to_the_end(engine))
        await asyncio.wait({died, going}, return_when=asyncio.FIRST_COMPLETED)
        going.cancel()
        return died.done()


async def _to_the_end(engine: Engine) -> None:
    await begin(engine)
    await engine.ended(BATCH)


async def rehearsed(folder: Path) -> list[Rehearsed]:
    """Return what the version at hand says of a journal's open phases."""
    state = replayed(HostState(), folder / "journal.sqlite")
    recipe = thin_recipe()
    recipes = {str(recipe.digest): recipe.content.decode()}
    return await rehearse(state, load_cell(CELL).config, recipes)


def pumps_in_transfer(recorded: Recorded[AnyEvent]) -> bool:
    """Tell the intent that holds the transfer's flow."""
    event = recorded.event
    return (
        event.kind == "attempt_intended"
        and event.path.endswith("03-transfer")
        and event.asked["kind"] == "pump_volume"
    )


def change_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have transfers pump a little faster, as a careless new version would."""
    was: Any = Transfer.run

    async def faster(self: Transfer, outside: Outside) -> Report:
        return await was(self.model_copy(update={"flow": 41 * mL_per_min}), outside)

    monkeypatch.setattr(Transfer, "run", faster)


def test_a_version_agrees_with_what_it_recorded_itself_wherever_it_died(tmp_path: Path) -> None:
    async def one(folder: Path, at: int) -> list[Rehearsed] | None:
        async with thin_cell(folder) as cell:
            died = await die_at(cell, lambda recorded: recorded.seq >= at)
        return await rehearsed(folder) if died else None

    open_phases = 0
    for at in range(30, 400, 2):
        found = run_in_virtual_time(one(tmp_path / str(at), at))
        if found is None:
            break
        assert [one.why for one in found if not one.agrees] == [], at
        open_phases += len(found)
    assert open_phases > 20, "hardly a phase was open; does the thin path still act?"


def test_a_phase_that_asks_otherwise_is_told_and_has_its_batch_stand_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"

    async def story() -> None:
        async with thin_cell(folder) as cell:
            assert await die_at(cell, pumps_in_transfer)
            assert [one.why for one in await rehearsed(folder)] == [""]
            change_transfer(monkeypatch)
            (told,) = await rehearsed(folder)
            assert told.path == "move/once/03-transfer"
            assert "41 mL/min" in told.why
            async with cell.engine() as engine:
                await engine.ended(BATCH)
                assert engine.core.state.batches[BATCH].broken
                assert f"broken {BATCH}" in engine.core.state.alarms

    run_in_virtual_time(story())


def test_the_command_says_so_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path) as cell:
            assert await die_at(cell, pumps_in_transfer)

    run_in_virtual_time(story())
    before = (tmp_path / "journal.sqlite").read_bytes()
    call = ["upgrade", str(CELL), "--check", "--data", str(tmp_path)]
    assert main(call) == 0
    printed = capsys.readouterr().out
    assert "03-transfer (transfer/1): agrees" in printed
    assert "is bound to" not in printed
    with monkeypatch.context() as newer:
        newer.setattr("orchestrator.cli.upgrade.VERSION", "0.2.0")
        assert main(call) == 0
        assert "B-1 is bound to another version: it will be held" in capsys.readouterr().out
    change_transfer(monkeypatch)
    assert main(call) == 1
    told = capsys.readouterr()
    assert "41 mL/min" in told.out
    assert "B-1 would stand still" in told.err
    assert (tmp_path / "journal.sqlite").read_bytes() == before


def test_without_check_nothing_is_upgraded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upgrade", str(CELL), "--data", str(tmp_path)]) == 2
    assert "--check" in capsys.readouterr().err
