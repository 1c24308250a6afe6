"""A batch is amended while the kit lies in the incubator; the room shows what came of it.

Method: the batch of ``one_batch`` runs on the real engine, drivers and emulators until it is
left alone. There it is held, amended by two people, and let go on to its end. Expected: what was
added is in the vessel, what was skipped isn't, what had run stands as it did, and the judge finds
nothing repeated and nothing lost, whether or not the software dies around the amendment.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hw_mocks.scenario import scenario_for
from orchestrator.engine.holds import BOUND
from orchestrator.engine.phase_state import PhaseState
from orchestrator.journal.events import PhaseEnded, PhaseStarted
from orchestrator.kernel.errors import NotAuthorisedError, RefusedError, SamePersonError
from orchestrator.kernel.quantities import Duration, day, hour
from orchestrator.people.signatures import faults
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.process_cell.simulation import BATCH, is_over
from orchestrator.recipe.check import check_file
from orchestrator.records.batch_record import batch_record
from orchestrator.records.paper import on_paper
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.one_batch import (
    SHORT,
    Watched,
    batch_in,
    idle,
    recipe_idle,
    room,
)

pytestmark = pytest.mark.leaves_tasks("a death drops tasks on purpose")

ALONE = "idle/leave-alone"
REASON = "Few cells, so quality asked for it"
FED_mL = 40.0
WAITED = 12 * hour


@cache
def extra_feed() -> str:
    """Return the addendum's recipe, as its author's file writes it."""
    checked = check_file(Path(__file__).parent / "extra_feed.py")
    assert checked.recipe is not None, checked.findings
    return checked.recipe.content.decode()


def added() -> dict[str, Any]:
    """Return what asks for one feed more."""
    return {
        "binding": "recipe",
        "addendum": {"do": "add", "after": ALONE},
        "content": extra_feed(),
    }


def waited(lasting: Duration = WAITED, after: str = ALONE) -> dict[str, Any]:
    """Return what asks for more time in the incubator."""
    addendum = {"do": "wait", "after": after, "lasting": str(lasting)}
    return {"binding": "recipe", "addendum": addendum}


def skipped(out: str) -> dict[str, Any]:
    """Return what asks for a step less."""
    return {"binding": "recipe", "addendum": {"do": "skip", "out": out}}


def repeated(again: str, after: str = "") -> dict[str, Any]:
    """Return what asks for a step again."""
    addendum = {"do": "repeat", "again": again, "after": after}
    return {"binding": "recipe", "addendum": addendum}


def texts(asked: dict[str, Any]) -> dict[str, str]:
    """Return what a view is asked with."""
    told = {name: one if isinstance(one, str) else json.dumps(one) for name, one in asked.items()}
    return {"batch": str(BATCH), **told}


async def bring_extra(cell: EmulatedCell) -> str:
    """Bring a bag of medium that the batch doesn't know, and receive it; return its name."""
    (medium,) = json.loads(extra_feed())["materials"]
    scenario = scenario_for({"materials": [medium], "kits": [], "ordered": []}, seed=1, batch=9)
    (arrival,) = scenario.arrivals
    scenario.bring_into(cell.world)
    await cell.give(
        "day-1",
        "receive_lot",
        lot=arrival.lot,
        material=arrival.material,
        expires="2100-01-01T00:00:00.000000Z",
        in_use=arrival.in_use,
    )
    await cell.give(
        "day-1",
        "receive_material",
        container=arrival.container,
        label=arrival.label,
        material=arrival.material,
        what=arrival.what,
        volume=arrival.volume,
        capacity=arrival.capacity,
        positions=[],
        volumes=[],
        capacities=[],
        lot=arrival.lot,
    )
    return arrival.container


async def held(watched: Watched) -> None:
    """Hold all of the batch, and return when it is at rest."""
    await watched.cell.give("supervisor", "hold", batch=str(BATCH), why="To be amended")
    state = watched.engine.core.state.batches[BATCH]
    async with asyncio.timeout(3_600):
        while any(one.state is PhaseState.HOLDING for one in state.procedures.values()):
            await watched.engine.core.sleep(Duration.of_base(1_000))


async def propose(cell: EmulatedCell, asked: dict[str, Any], by: str = "supervisor") -> str:
    """Have a person propose an amendment; return its name."""
    await cell.give(by, "propose_amendment", batch=str(BATCH), reason=REASON, **asked)
    view = await cell.desk.view("amendments", batch=str(BATCH))
    return str(view["amendments"][-1]["amendment"])


async def amend(watched: Watched, asked: dict[str, Any]) -> None:
    """Hold the batch, have it amended by two people, and let it go on."""
    await held(watched)
    name = await propose(watched.cell, asked)
    await watched.cell.give("quality", "verify_amendment", batch=str(BATCH), amendment=name)
    await watched.cell.give("supervisor", "restart", batch=str(BATCH), why="Amended")


def paths(watched: Watched, kind: type[PhaseStarted | PhaseEnded]) -> list[str]:
    """Return the phases of which there is such an event, in their order."""
    return [str(one.path) for one in watched.events if isinstance(one, kind)]


def vessel_mL(cell: EmulatedCell) -> float:
    """Return what is in the culture bag."""
    cell.world.catch_up()
    (kit,) = cell.world.kits
    return cell.world.contents(f"{kit}/vessel").volume_mL


def require_well(watched: Watched) -> None:
    """Check that the batch came to its end and the room shows what was asked for."""
    judged = watched.judged()
    assert (judged.repeated_acts, len(judged.lost)) == (0, 0), judged.findings
    assert watched.engine.core.state.batches[BATCH].status == "complete"


def run(story: Callable[[Watched], Any], folder: Path) -> Watched:
    """Run a batch to where it is left alone, then ``story``; return what was recorded."""

    async def whole() -> Watched:
        async with room(folder) as cell, batch_in(cell) as watched:
            await watched.until(idle)
            await story(watched)
        return watched

    return run_in_virtual_time(whole())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "what has run": (skipped("before/seed"), "has begun"),
    "behind what has gone past": (waited(after="before/seed"), "it isn't an operation that leaves"),
    "no such element": (skipped("before/seeds"), "no element"),
    "a connection that is needed": (
        skipped("<connect>"),
        "M0|C0|I0",
    ),
    "what hasn't run again": (repeated("after/act-with-each-after"), "hasn't run yet"),
    "a port too many": ({**added(), "use": {"medium else": "C-1"}}, "no new 'medium else'"),
    "nothing received for it": (added(), "medium extra"),
}


@pytest.mark.requirement("SIG-12")
def test_a_feed_more_is_made_by_two_people_and_is_in_the_vessel(tmp_path: Path) -> None:
    fed: dict[str, float] = {}

    async def story(watched: Watched) -> None:
        cell, state = watched.cell, watched.engine.core.state.batches[BATCH]
        ordered = state.recipe
        with pytest.raises(RefusedError, match="isn't held by a person"):
            await propose(cell, waited())
        await held(watched)
        await refuse_all(cell)
        assert not state.amendments
        await refuse_who_may_not(cell)
        assert state.recipe == ordered
        bag = await bring_extra(cell)
        before = vessel_mL(cell)
        name = await propose(cell, {**added(), "use": {"medium extra": bag}})
        await cell.give("quality", "verify_amendment", batch=str(BATCH), amendment=name)
        await cell.give("supervisor", "restart", batch=str(BATCH), why="Amended")
        await watched.until(lambda event: event.kind == "phase_ended" and "_3-feed" in event.path)
        fed["mL"] = vessel_mL(cell) - before
        assert await watched.go_on(at_most=3 * day) == "complete"
        require_well(watched)
        require_told(watched, name, bag)

    watched = run(story, tmp_path)
    assert fed["mL"] == pytest.approx(FED_mL, abs=2.0)
    order = paths(watched, PhaseStarted)
    assert [one.rpartition("/")[2] for one in order if "/a2_" in one] == [
        "a2_1-move-container",
        "a2_2-connect",
        "a2_3-feed",
        "a2_4-disconnect",
        "a2_5-move-container",
    ]
    assert len(order) == len(set(order)), "a phase was begun twice"


async def refuse_all(cell: EmulatedCell) -> None:
    """Check that what would not do is refused before anybody signs."""
    (connect,) = (
        path
        for path, _ in recipe_idle(SHORT).steps()
        if path.startswith("after/") and path.endswith("-connect")
    )
    for what, (asked, why) in REFUSED.items():
        told = json.loads(json.dumps(asked).replace("<connect>", connect))
        with pytest.raises(RefusedError, match=why):
            await propose(cell, told)
        with suppress(RefusedError):  # where it can't stand, there is nothing to show
            view = await cell.desk.view("amendment", newer_than=-1, **texts(told))
            assert view["against"], what


async def refuse_who_may_not(cell: EmulatedCell) -> None:
    """Check that one person alone makes none, nor a second one while it is proposed."""
    with pytest.raises(NotAuthorisedError):
        await propose(cell, waited(), by="day-1")
    name = await propose(cell, waited())
    with pytest.raises(RefusedError, match="nobody has decided on it"):
        await propose(cell, waited(6 * hour))
    told = {"batch": str(BATCH), "amendment": name}
    with pytest.raises((NotAuthorisedError, SamePersonError)):
        await cell.give("supervisor", "verify_amendment", **told)
    view = await cell.desk.view("amendments", batch=str(BATCH))
    with pytest.raises(RefusedError, match="no other is made of it"):
        await cell.give("reviewer", "review_recipe", recipe=view["amendments"][0]["new"])
    await cell.give("quality", "reject_amendment", **told, why="It can't wait")
    with pytest.raises(RefusedError, match="was rejected already"):
        await cell.give("quality", "verify_amendment", **told)


def require_told(watched: Watched, name: str, bag: str) -> None:
    """Check that the record says who amended what, and that every signature fits."""
    journal = watched.engine.core.journal
    record = batch_record(journal.path, str(BATCH))
    first, made = record.amendments
    assert (first.status, first.why_not) == ("rejected", "It can't wait")
    assert (made.amendment, made.status, made.reason) == (name, "made", REASON)
    assert [one.meaning for one in made.signatures] == ["performed", "verified"]
    assert all(one.fits for one in made.signatures)
    assert any("Feed" in one for one in made.changes)
    assert bag in {one.stands_for for one in record.bound}
    assert not [one for one in record.not_begun if one.why == "not begun"]
    own = [one.event for one in journal.events() if "amend" in one.event.kind]
    assert len(own) == 4
    assert not faults(own)
    assert f"{name} of the recipe" in " ".join(on_paper(record).split())


def test_a_wait_a_skip_and_a_repeat_of_one_batch(tmp_path: Path) -> None:
    recipe = recipe_idle(SHORT)
    after = [path for path, _ in recipe.steps() if path.startswith("after/")]
    (cooling,) = (path for path in after if path.endswith("-precool"))
    (climate,) = (path for path in after if path.endswith("-set-climate"))
    began: list[Any] = []

    async def story(watched: Watched) -> None:
        await amend(watched, waited())
        await amend(watched, skipped(cooling))
        await watched.until(lambda event: event.kind == "phase_ended" and event.path == climate)
        await held(watched)
        with pytest.raises(RefusedError, match="has begun already"):
            await propose(watched.cell, waited())
        name = await propose(watched.cell, repeated(climate))
        await watched.cell.give("supervisor", "restart", batch=str(BATCH), why="Quality is away")
        told = {"batch": str(BATCH), "amendment": name}
        with pytest.raises(RefusedError, match="isn't held by a person"):
            await watched.cell.give("quality", "verify_amendment", **told)
        await held(watched)
        with pytest.raises(RefusedError, match="has begun already"):
            await watched.cell.give("quality", "verify_amendment", **told)
        await watched.cell.give("quality", "reject_amendment", **told, why="Too late")
        await watched.cell.give("supervisor", "restart", batch=str(BATCH), why="As it was")
        await amend(watched, repeated(climate, after=after[-1]))
        assert await watched.go_on(at_most=3 * day) == "complete"
        require_well(watched)
        began.extend(
            next(one.at for one in watched.recorded if is_start_in(one.event, part))
            for part in (ALONE, "after/")
        )

    watched = run(story, tmp_path)
    assert began[1] - began[0] >= 6 * hour + WAITED
    started = paths(watched, PhaseStarted)
    assert cooling not in started
    new = [one.rpartition("/")[2] for one in started if re.search(r"/a\d_", one)]
    assert new[0] == "a1_1-incubate"
    assert [one.partition("-")[2] for one in new[1:]] == ["set-climate"]
    assert len(started) == len(set(started)), "a phase was begun twice"


def is_start_in(event: Any, part: str) -> bool:
    """Tell the start of a phase of a part of the procedure."""
    return isinstance(event, PhaseStarted) and event.path.startswith(part)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("recipe_submitted", marks=pytest.mark.release_proof),
        pytest.param("amendment_proposed", marks=pytest.mark.release_proof),
        "batch_amended",
        pytest.param("state_changed", marks=pytest.mark.release_proof),
    ],
)
def test_a_death_around_an_amendment_leaves_the_batch_under_one_recipe(
    tmp_path: Path, kind: str
) -> None:
    async def whole() -> None:
        async with room(tmp_path) as cell:
            async with batch_in(cell) as watched:
                await watched.until(idle)
                await held(watched)
                died = asyncio.get_running_loop().create_future()

                def listen(recorded: Any) -> None:
                    if recorded.event.kind == kind and not died.done():
                        cell.sever(watched.engine)
                        died.set_result(None)

                watched.engine.core.listeners.append(listen)
                going = asyncio.ensure_future(_to_its_making(watched))
                await asyncio.wait({died, going}, return_when=asyncio.FIRST_COMPLETED)
                going.cancel()
                assert died.done()
            async with cell.engine() as engine:
                again = Watched(cell, engine, watched.recorded)
                engine.core.listeners.append(again)
                await _to_its_making(again)
                while not is_over(engine.core.state, BATCH):
                    await engine.core.sleep(1 * hour)
                require_well(again)
                state = engine.core.state.batches[BATCH]
                made = [one for one in state.amendments.values() if one.status == "made"]
                assert len(made) == 1
                assert state.recipe == made[0].new
                ended = [one for one in paths(again, PhaseEnded) if "/a1_" in one or "/a2_" in one]
                assert len(ended) == 1, ended

    run_in_virtual_time(whole())


async def _to_its_making(watched: Watched) -> None:
    """Do what is left to do of an amendment, wherever it stands."""
    cell, state = watched.cell, watched.engine.core.state.batches[BATCH]
    if not state.amendments:
        await propose(cell, waited())
    name, known = list(state.amendments.items())[-1]
    if known.status == "proposed":
        await cell.give("quality", "verify_amendment", batch=str(BATCH), amendment=name)
    if any(one.state is PhaseState.HELD for one in state.procedures.values()):
        await cell.give("supervisor", "restart", batch=str(BATCH), why="Amended")


def test_a_batch_of_another_version_is_held_until_two_people_bind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def whole() -> None:
        async with room(tmp_path) as cell:
            async with batch_in(cell) as watched:
                await watched.until(idle)
                cell.sever(watched.engine)
            with monkeypatch.context() as other:
                other.setattr("orchestrator.engine.engine.VERSION", "0.2.0")
                async with cell.engine() as engine:
                    await engine.core.sleep(1 * hour)
                    procedures = engine.core.state.batches[BATCH].procedures
                    assert set(procedures["idle"].reasons) == {BOUND}
                    with pytest.raises(RefusedError, match=r"bound to version 0\.1\.0"):
                        await cell.give("supervisor", "restart", batch=str(BATCH), why="Go on")
                    cell.sever(engine)
            async with cell.engine() as engine:  # the version that it is bound to
                await engine.core.sleep(1 * hour)
                procedures = engine.core.state.batches[BATCH].procedures
                assert procedures["idle"].state is PhaseState.RUNNING
                cell.sever(engine)
            monkeypatch.setattr("orchestrator.engine.engine.VERSION", "0.2.0")
            async with cell.engine() as engine:
                again = Watched(cell, engine, watched.recorded)
                engine.core.listeners.append(again)
                await engine.core.sleep(1 * hour)
                name = await propose(cell, {"binding": "engine"})
                await cell.give("quality", "verify_amendment", batch=str(BATCH), amendment=name)
                assert engine.core.state.batches[BATCH].engine == "0.2.0"
                assert await again.go_on(at_most=3 * day) == "complete"
                assert not again.engine.core.state.batches[BATCH].broken

    run_in_virtual_time(whole())
