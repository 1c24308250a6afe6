"""A write to the journal fails: what acts comes to rest, what must run on runs on.

The room is the judge: how much of the patient's liquid goes on flowing after the error.
The journal is latched as a failing disk latches it, at the worst moments that there are:
in an act, while an attempt without a reply is looked into, and at a start that found an
act open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devices.interfaces.driver import Driver
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import AnyEvent
from orchestrator.journal.journal import Journal, Recorded
from orchestrator.kernel.errors import OutcomeUnknownError
from orchestrator.kernel.quantities import mL
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import KIT, TRANSFERRED, begin, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0


def _pumping(recorded: Recorded[AnyEvent]) -> bool:
    event = recorded.event
    return (
        event.kind == "attempt_intended"
        and "03-transfer" in event.path
        and event.asked["kind"] == "pump_volume"
    )


def _vessel_mL(cell: EmulatedCell) -> float:
    cell.world.catch_up()
    return cell.world.contents(f"{KIT}/vessel").volume_mL


async def _until(engine: Engine, seen: Callable[[Recorded[AnyEvent]], bool]) -> None:
    came = asyncio.get_running_loop().create_future()
    engine.core.listeners.append(
        lambda one: came.set_result(None) if seen(one) and not came.done() else None
    )
    await asyncio.wait_for(came, LONG_S)


async def _assert_it_flows_no_more(cell: EmulatedCell) -> None:
    before = _vessel_mL(cell)
    assert before < TRANSFERRED.to(mL) - 5, "all had flowed before; the test shows nothing"
    await asyncio.sleep(3600)
    assert _vessel_mL(cell) == pytest.approx(before, abs=0.5)


@pytest.mark.requirement("PRC-09")
def test_an_act_is_halted_when_the_journal_latches(tmp_path: Path) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await begin(engine)
                await _until(engine, _pumping)
                await asyncio.sleep(10)
                engine.core.journal.latch("a write failed: planted")
                await asyncio.sleep(60)
            await _assert_it_flows_no_more(cell)

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-09")
@pytest.mark.parametrize("latches", [True, False], ids=["latches", "planted: it doesn't"])
def test_no_trigger_leaves_once_the_journal_has_latched(tmp_path: Path, latches: bool) -> None:
    """It latches between the durable intent and the trigger, while the pump is made ready."""
    triggers: list[str] = []

    def heard(equipment: str, moment: str, request: str) -> None:
        if "DO" in request:
            triggers.append(f"{equipment} {moment} {request}")

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:

                def latch(recorded: Recorded[AnyEvent]) -> None:
                    if not _pumping(recorded):
                        return
                    cell.room.emulators["P1"].on_moment = heard
                    if latches:
                        loop = asyncio.get_running_loop()
                        loop.call_later(0.005, engine.core.journal.latch, "a write failed: planted")

                engine.core.listeners.append(latch)
                await begin(engine)
                await asyncio.sleep(3600)
            assert (_vessel_mL(cell) < 0.5) == latches

    run_in_virtual_time(test())
    assert bool(triggers) != latches


@pytest.mark.requirement("PRC-09")
def test_an_attempt_that_outlived_its_trigger_is_halted_when_the_journal_latches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pump's line was silent when the attempt was looked into, and hears again later."""
    hears: list[bool] = []

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await begin(engine)
                await _until(engine, _pumping)
                _be_silent_until(hears, engine.core.drivers["P1"], monkeypatch)
                await _until(engine, lambda one: one.event.kind == "attempt_uncertain")
                hears.append(True)
                await asyncio.sleep(10)
                engine.core.journal.latch("a write failed: planted")
                await asyncio.sleep(60)
            await _assert_it_flows_no_more(cell)

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-09")
def test_what_a_start_finds_open_is_halted_when_the_journal_latches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pump kept turning while the software was dead, and the disk is still full."""
    starts: list[str] = []

    async def full(self: Journal[AnyEvent], stream: str, event: AnyEvent) -> int:
        starts.append(event.kind)
        self.latch("the disk is full")
        return await append(self, stream, event)

    append = Journal[AnyEvent].append

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await begin(engine)
                await _until(engine, _pumping)
                await asyncio.sleep(10)
                cell.sever(engine)
            monkeypatch.setattr(Journal, "append", full)
            with pytest.raises(RuntimeError, match="yield"):
                async with cell.engine():
                    raise AssertionError("it started without a journal")
            assert starts == ["host_started"]
            await _assert_it_flows_no_more(cell)

    run_in_virtual_time(test())


def _be_silent_until(hears: list[bool], driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant a dead line: each of the pump's answers is lost as long as ``hears`` is empty."""
    for name in ("settle", "effect_of", "quieten"):
        monkeypatch.setattr(driver, name, _unless_silent(hears, getattr(driver, name)))


def _unless_silent(hears: list[bool], answer: Any) -> Any:
    async def answered(*asked: Any) -> Any:
        if not hears:
            raise OutcomeUnknownError("ask P1", why="no answer (planted)", do_next="Wait")
        return await answer(*asked)

    return answered
