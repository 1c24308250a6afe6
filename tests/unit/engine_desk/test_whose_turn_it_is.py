"""Commands wait for nothing slow: not for an instrument, nor for another's password.

And what rests on an older view isn't decided: what a container is in quarantine for, or what an
instrument shows in the middle of an act.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.console.equipment import LOOK_WITHIN
from orchestrator.console.turns import Turns
from orchestrator.journal.events import ContainerQuarantined
from orchestrator.kernel.desks import Command
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import ContainerId
from orchestrator.kernel.quantities import second
from orchestrator.process_cell.emulated_people import person
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BAG, BATCH, begin, thin_cell


@pytest.mark.requirement("PRC-09")
def test_no_hold_waits_for_an_instrument_that_somebody_looks_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine)
            await asyncio.sleep(1)

            async def silent() -> Any:
                await asyncio.sleep(3600)

            monkeypatch.setattr(engine.core.drivers["P1"], "standing", silent)
            loop = asyncio.get_running_loop()
            began = loop.time()
            looking = asyncio.ensure_future(
                cell.give("supervisor", "look_at_equipment", equipment="P1")
            )
            await asyncio.sleep(0.1)
            await cell.give("day-1", "hold", batch=str(BATCH), why="it drips")
            assert loop.time() - began < 1
            assert not looking.done()
            with pytest.raises(RefusedError, match="doesn't say within"):
                await looking
            assert loop.time() - began == pytest.approx(LOOK_WITHIN.to(second), abs=0.5)  # pyright: ignore[reportUnknownMemberType]
            assert not engine.core.lock_of("P1").locked()

    run_in_virtual_time(run())


@pytest.mark.requirement("EQP-02")
def test_a_look_in_the_middle_of_an_act_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine)
            await engine.core.bells.until("news", lambda: engine.core.is_in_doubt("P1"))
            before = [one.event.kind for one in engine.core.journal.events()]
            with pytest.raises(RefusedError, match="it is in use"):
                await cell.give("supervisor", "look_at_equipment", equipment="P1")
            await asyncio.wait_for(engine.ended(BATCH), 4 * 3600)
            after = [one.event.kind for one in engine.core.journal.events()][len(before) :]
            assert "outside_act_seen" not in after

    run_in_virtual_time(run())


@pytest.mark.requirement("SIG-09")
def test_a_release_is_for_what_was_shown_and_every_reason_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            for one in cell.technicians:
                one.is_on_duty = lambda _: False
            await begin(engine)
            bag, quality = ContainerId(BAG), person("quality")
            core = engine.core
            await core.record_for_host(ContainerQuarantined(container=bag, why="it was torn"))
            session = await cell.desk.log_in(quality.login, quality.secret, "q")
            seen = core.state.seq
            await core.record_for_host(ContainerQuarantined(container=bag, why="weld rejected"))
            assert core.state.containers[BAG].quarantined == "it was torn; weld rejected"
            release = Command(
                request="r-1", seen=seen, session=session, name="release_container",
                arguments={"container": BAG, "reason": "it was wrapped anew"},
                secret=quality.secret,
            )  # fmt: skip
            with pytest.raises(RefusedError, match="changed since the view"):
                await cell.desk.give(release)
            assert core.state.containers[BAG].quarantined
            recognise = cell.desk.office.recognise

            async def slowly(login: str, secret: str, terminal: str) -> Any:
                why = "found at another place"
                await core.record_for_host(ContainerQuarantined(container=bag, why=why))
                return await recognise(login, secret, terminal)

            cell.desk.office.recognise = slowly
            with pytest.raises(RefusedError, match="changed since the view"):
                await cell.desk.give(release.model_copy(update={"seen": core.state.seq}))
            assert core.state.containers[BAG].quarantined.count(";") == 2

    run_in_virtual_time(run())


async def test_others_have_their_turn_while_a_password_is_looked_at() -> None:
    turns, let = Turns(), threading.Event()
    order: list[str] = []

    async def signs() -> None:
        async with turns.turn():
            order.append("signs")
            async with turns.aside():
                await asyncio.get_running_loop().run_in_executor(None, let.wait, 5)
            order.append("signed")

    async def holds() -> None:
        async with turns.turn():
            order.append("holds")
            let.set()

    async with asyncio.TaskGroup() as people:
        people.create_task(signs())
        people.create_task(holds())
    assert order == ["signs", "holds", "signed"]


async def test_who_is_cancelled_as_it_waits_ends_nobody_elses_turn() -> None:
    turns = Turns()
    has_it, let, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def steps_aside() -> None:
        async with turns.turn(), turns.aside():
            has_it.set()
            await let.wait()

    async def keeps() -> None:
        async with turns.turn():
            await over.wait()

    async with asyncio.TaskGroup() as people:
        aside = people.create_task(steps_aside())
        await has_it.wait()
        keeping = people.create_task(keeps())
        await asyncio.sleep(0)
        let.set()
        await asyncio.sleep(0)
        aside.cancel()
        await asyncio.sleep(0)
        later = people.create_task(keeps())
        await asyncio.sleep(0)
        assert not keeping.done()
        assert not later.done()
        over.set()
    assert aside.cancelled()
