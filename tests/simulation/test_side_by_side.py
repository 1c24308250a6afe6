"""Unit procedures side by side: what one of them ends or breaks, the others and people see.

The thin path's steps, two unit procedures at one station. Expected: a stopped one gives the
station away as soon as nothing of the batch is left there by the record, and else when two
people have cleared it; what breaks one without a word raises the batch's alarm at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.engine import Engine
from orchestrator.engine.leases import Leases
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.words import PhaseRun
from orchestrator.kernel.errors import RecipeMismatchError, RefusedError
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.recipe.model import Together
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation import thin
from tests.simulation.test_holds_and_stops import (
    ASKED,
    CONNECT,
    TRANSFER,
    VERIFY,
    operation,
    procedure,
    recipe_of,
)
from tests.simulation.thin import BAG, BATCH, begin, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0
BOTH_AT_THE_STATION = recipe_of(
    Together(
        slug="t",
        unit_procedures=(
            procedure("a", operation("x", VERIFY, CONNECT)),
            procedure("b", operation("y", VERIFY)),
        ),
    )
)


def _events(engine: Engine, kind: str) -> list[Any]:
    return [one.event for one in engine.core.journal.events() if one.event.kind == kind]


async def _until(engine: Engine, is_so: Callable[[], bool]) -> None:
    await asyncio.wait_for(engine.core.bells.until("news", is_so), LONG_S)


def _offered(engine: Engine, work: str) -> list[str]:
    return [
        name
        for name, one in engine.core.state.tasks.items()
        if one.work == "do" and one.ask["work"] == work and one.status == "offered"
    ]


async def _stop_the_first(cell: EmulatedCell, *, when: str) -> None:
    await cell.give("supervisor", "stop", batch=BATCH, unit_procedure="t/a", why=f"at the {when}")
    await asyncio.sleep(60)


@pytest.mark.requirement("PRC-02", "IDC-07")
def test_a_stopped_unit_procedure_gives_away_what_it_had_for_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thin, "thin_recipe", BOTH_AT_THE_STATION)

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            state = engine.core.state
            for one in cell.technicians:
                one.is_on_duty = lambda _: not _offered(engine, "weld")
            await begin(engine)
            await _until(engine, lambda: bool(_offered(engine, "weld")))
            assert [one.path for one in state.waiters.values()] == ["t/b/y"]
            await _stop_the_first(cell, when="weld")
            assert engine.holds.state_of(BATCH, "t/a") is PhaseState.STOPPED
            assert not state.waiters
            assert engine.holds.state_of(BATCH, "t/b") is PhaseState.COMPLETE
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            assert state.batches[BATCH].status == "stopped"
            assert not state.leases

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02", "IDC-07")
@pytest.mark.parametrize("dies", [False, True])
def test_where_it_left_something_two_people_clear_before_another_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    """The bag hangs on the hook, by the record and in the World."""
    monkeypatch.setattr(thin, "thin_recipe", BOTH_AT_THE_STATION)

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                state = engine.core.state
                await begin(engine)
                await _until(engine, lambda: state.containers[BAG].place == "hook")
                for one in cell.technicians:
                    one.is_on_duty = lambda _: False
                await _stop_the_first(cell, when="rinse")
                await asyncio.sleep(3600)
                assert cell.world.where(BAG) == "hook"
                await _still_kept(cell, engine)
            if dies:
                async with cell.engine() as engine:
                    await asyncio.sleep(3600)
                    await _still_kept(cell, engine)
                    await _cleared(cell, engine)

    async def _still_kept(cell: EmulatedCell, engine: Engine) -> None:
        state = engine.core.state
        assert engine.holds.state_of(BATCH, "t/a") is PhaseState.STOPPED
        assert [one.path for one in state.waiters.values()] == ["t/b/y"]
        assert state.leases["station"].path == "t/a/x"
        alarm = state.alarms[f"held up {BATCH} by {BATCH}/t/a"]
        assert "was stopped and isn't cleared away" in alarm.cause
        if not dies:
            await _cleared(cell, engine)

    async def _cleared(cell: EmulatedCell, engine: Engine) -> None:
        state = engine.core.state
        task = f"{BATCH}/t/a/x/transfer-station/clear"
        assert [name for name in state.tasks if name.endswith("/clear")] == [task]
        with pytest.raises(RefusedError, match=f"{BAG} at hook"):
            await cell.give("supervisor", "clear_line", task=task)
        await cell.give(
            "supervisor", "carry_away", label=f"L-{BAG}", to="quality control", sealed_off=True
        )
        cell.world.hands.seal_off(BAG, by="U-0005")
        cell.world.hands.carry_out(BAG, "quality control", by="U-0005")
        for login in ("supervisor", "day-2"):
            await cell.give(login, "clear_line", task=task)
        await asyncio.sleep(60)
        assert engine.holds.state_of(BATCH, "t/b") is PhaseState.COMPLETE
        await asyncio.wait_for(engine.ended(BATCH), LONG_S)
        assert state.batches[BATCH].status == "stopped"
        (released, *_) = _events(engine, "lease_released")
        assert len({one.signer for one in released.signatures}) == 2
        assert not state.leases

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_what_a_stopped_unit_procedure_would_keep_keeps_its_sibling_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: nothing is given away. The sibling waits, and the batch never ends."""

    def nothing(*_: object) -> list[Any]:
        return []

    monkeypatch.setattr(thin, "thin_recipe", BOTH_AT_THE_STATION)
    monkeypatch.setattr(Leases, "of_stopped", nothing)

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            for one in cell.technicians:
                one.is_on_duty = lambda _: not _offered(engine, "weld")
            await begin(engine)
            await _until(engine, lambda: bool(_offered(engine, "weld")))
            await _stop_the_first(cell, when="weld")
            await asyncio.sleep(24 * 3600)
            assert engine.core.state.waiters

    run_in_virtual_time(test())


def _no_scanner(run: PhaseRun, reading: Any) -> Any:
    raise RecipeMismatchError(
        f"identify {reading.container} at {reading.place}",
        why=f"no scanner of the cell reaches it from {run.path}",
        do_next="Name one in the process cell file",
    )


@pytest.mark.requirement("PRC-02")
def test_a_phase_that_no_scanner_serves_breaks_its_batch_with_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                with monkeypatch.context() as planted:
                    planted.setattr(PhaseRun, "_scanner", _no_scanner)
                    await begin(engine)
                    await asyncio.wait_for(engine.ended(BATCH), LONG_S)
                state = engine.core.state
                assert "no scanner of the cell reaches it" in state.batches[BATCH].broken
                assert not state.alarms[f"broken {BATCH}"].cleared
                assert len(_events(engine, "batch_stood_still")) == 1
            async with cell.engine() as engine:  # the cell file has one by now
                await asyncio.wait_for(engine.ended(BATCH), LONG_S)
                assert engine.core.state.batches[BATCH].status == "complete"
                assert engine.core.state.alarms[f"broken {BATCH}"].cleared

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_that_a_branch_broke_is_said_while_its_sibling_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(
        procedure("prep", operation("p", VERIFY, CONNECT)),
        Together(
            slug="t",
            unit_procedures=(
                procedure("a", operation("x", TRANSFER)),
                procedure("b", operation("y", ASKED)),
            ),
        ),
    )
    monkeypatch.setattr(thin, "thin_recipe", recipe)

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:

            async def breaks(*_: object) -> Any:
                await _until(engine, lambda: bool(engine.core.state.attempts))
                raise RecipeMismatchError("go on", why="the recipe isn't what it was", do_next="!")

            monkeypatch.setattr(type(ASKED.phase), "run", breaks)
            await begin(engine)
            state = engine.core.state
            await _until(engine, lambda: f"broken {BATCH}" in state.alarms)
            assert "the recipe isn't what it was" in state.batches[BATCH].broken
            assert state.attempts, "the sibling had ended; the test shows nothing"
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            assert len(_events(engine, "batch_stood_still")) == 1
            assert not state.attempts

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
@pytest.mark.parametrize("command", ["hold", "restart"])
def test_what_is_commanded_of_all_is_on_record_of_all_in_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """One of three comes to its end as the first one comes to rest: the third is held too."""
    three = recipe_of(
        Together(
            slug="t",
            unit_procedures=tuple(procedure(one, operation("x", ASKED)) for one in "abc"),
        )
    )
    monkeypatch.setattr(thin, "thin_recipe", three)
    paths = [f"t/{one}" for one in "abc"]

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            for one in cell.technicians:
                one.is_on_duty = lambda _: False
            await begin(engine)
            await asyncio.sleep(5)
            if command == "restart":
                await cell.give("day-1", "hold", batch=BATCH, why="it drips")
                await asyncio.sleep(5)
            report, ended = engine.holds._report, list[str]()  # pyright: ignore[reportPrivateUsage]

            async def first_has_come(batch: Any, path: str, trigger: str, why: str = "") -> None:
                await report(batch, path, trigger, why)
                if not ended and path == "t/a":
                    ended.append(path)
                    await report(batch, "t/b", "completed")

            monkeypatch.setattr(engine.holds, "_report", first_has_come)
            await cell.give("supervisor", command, batch=BATCH, why="it drips")
            await asyncio.sleep(5)
            assert ended
            now = [engine.holds.state_of(BATCH, one) for one in ("t/a", "t/c")]
            assert now == [PhaseState.HELD if command == "hold" else PhaseState.RUNNING] * 2
            events = [one.event for one in engine.core.journal.events()]
            last = max(n for n, one in enumerate(events) if one.kind == "command_answered")
            answered: Any = events[last]
            assert answered.command == command
            moved = events[last - answered.events : last]
            assert [
                one.path for one in moved if one.kind == "state_changed" and one.path in paths
            ] == paths

    run_in_virtual_time(test())
