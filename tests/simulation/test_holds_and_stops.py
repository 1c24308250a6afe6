"""Holds, stops, leases and faults on the thin path: what is told to rest rests, and once.

The steps are the thin path's own; recipes put them side by side, one after the other or
behind a hold. Expected: a stop reaches only what it names, nothing ends while an act
runs, and what a crash cuts off is found by the next engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devices.interfaces.driver import MadeReadyError, Settled
from hw_mocks.technicians import Technician
from orchestrator.engine.engine import Engine
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.state import TaskState
from orchestrator.engine.words import PhaseRun
from orchestrator.journal.events import AnyEvent, ContainerQuarantined, RecipeSubmitted
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.acts import CannotTell
from orchestrator.kernel.errors import FailedError, RefusedError
from orchestrator.kernel.identifiers import BatchId, ContainerId, PhasePath, UserId
from orchestrator.kernel.quantities import hour, mL, second
from orchestrator.kernel.tasks import Choice
from orchestrator.phases.confirm import Confirm
from orchestrator.phases.transfer import Transfer
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.recipe.model import (
    Hold,
    Lag,
    Moment,
    Operation,
    Recipe,
    Step,
    Tier,
    Together,
    UnitProcedure,
)
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation import thin
from tests.simulation.thin import BAG, BATCH, KIT, TRANSFERRED, begin, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0
Seen = Callable[[Recorded[AnyEvent]], bool]


def _steps() -> tuple[Any, ...]:
    procedure = thin.thin_recipe().body[0]
    assert isinstance(procedure, UnitProcedure)
    operation = procedure.body[0]
    assert isinstance(operation, Operation)
    return operation.body


VERIFY, CONNECT, TRANSFER = _steps()
ASKED = Step(
    slug="04-confirm",
    name="Confirm",
    phase=Confirm(
        question="Is the vessel clear?",
        choices=(Choice(name="yes", leads_to="it goes on"),),
        second_person=False,
        respond_within=1 * hour,
        longest_hold=2 * hour,
    ),
)


def operation(slug: str, *body: Any) -> Operation:
    return Operation(slug=slug, name=slug, body=body)


def procedure(slug: str, *body: Any) -> UnitProcedure:
    return UnitProcedure(slug=slug, name=slug, body=body)


def recipe_of(*body: Any, lags: tuple[Lag, ...] = ()) -> Callable[[], Recipe]:
    made = Recipe.written(
        Recipe(title="Test", document="TEST-2", version="1", author="test", body=body, lags=lags)
    )
    return lambda: made


def _pumping(recorded: Recorded[AnyEvent]) -> bool:
    event = recorded.event
    return (
        event.kind == "attempt_intended"
        and "03-transfer" in event.path
        and event.asked["kind"] == "pump_volume"
    )


def _ten_seconds_after(engine: Engine, seen: Seen, act: Callable[[], Any]) -> None:
    """Have somebody act once, ten seconds after something was recorded."""
    done: list[int] = []

    def look(recorded: Recorded[AnyEvent]) -> None:
        if not done and seen(recorded):
            done.append(recorded.seq)
            engine.core.tasks.create_task(later())

    async def later() -> None:
        await asyncio.sleep(10)
        await act()

    engine.core.listeners.append(look)


def _kinds(engine: Engine, *kinds: str) -> list[Any]:
    return [
        one.event for one in engine.core.journal.events() if not kinds or one.event.kind in kinds
    ]


def _vessel_mL(cell: EmulatedCell) -> float:
    return cell.world.contents(f"{KIT}/vessel").volume_mL


def _state(engine: Engine, path: str) -> PhaseState:
    return engine.holds.state_of(BATCH, path)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Recipe]], None]:
    """Have the thin cell's batch run another recipe."""
    return lambda recipe: monkeypatch.setattr(thin, "thin_recipe", recipe)


SIDE_BY_SIDE = recipe_of(
    procedure("prep", operation("p", VERIFY, CONNECT)),
    Together(
        slug="t",
        unit_procedures=(
            procedure("a", operation("x", TRANSFER)),
            procedure("b", operation("y", ASKED)),
        ),
    ),
)


@pytest.mark.requirement("PRC-02")
def test_stopping_one_unit_procedure_lets_its_sibling_end_its_act(
    tmp_path: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: Any = Technician.__dict__["_task"]

    async def leave_questions(self: Technician, task: Any, boxes: Any) -> Any:
        if task["work"] in ("enter", "decide"):
            return False
        return await answered(self, task, boxes)

    monkeypatch.setattr(Technician, "_task", leave_questions)
    use(SIDE_BY_SIDE)

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            _ten_seconds_after(
                engine,
                _pumping,
                lambda: cell.give(
                    "supervisor", "stop", batch=BATCH, unit_procedure="t/b", why="not needed"
                ),
            )
            await begin(engine)
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            batch = engine.core.state.batches[BATCH]
            assert batch.status == "stopped"
            assert _state(engine, "t/a") is PhaseState.COMPLETE
            assert _state(engine, "t/b") is PhaseState.STOPPED
            assert _vessel_mL(cell) == pytest.approx(TRANSFERRED.to(mL), abs=0.5)
            assert not engine.core.state.attempts
            assert not engine.core.state.leases
            gone = [one for one in engine.core.state.tasks.values() if one.status == "withdrawn"]
            assert gone, "the question nobody need answer still stands"

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_a_stop_in_an_act_settles_it_before_the_batch_ends(tmp_path: Path) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            _ten_seconds_after(
                engine, _pumping, lambda: cell.give("supervisor", "stop", batch=BATCH, why="enough")
            )
            await begin(engine)
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            assert engine.core.state.batches[BATCH].status == "stopped"
            assert not engine.core.state.attempts
            assert _vessel_mL(cell) < TRANSFERRED.to(mL) - 5
            kinds = [one.kind for one in _kinds(engine, "lease_released", "batch_ended")]
            assert kinds[-1] == "batch_ended"

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_an_abort_is_recorded_as_one(tmp_path: Path) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            _ten_seconds_after(
                engine, _pumping, lambda: cell.give("supervisor", "abort", batch=BATCH, why="fire")
            )
            await begin(engine)
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            assert engine.core.state.batches[BATCH].status == "aborted"

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
@pytest.mark.parametrize("died_at", ["batch_ended", "stopped"])
def test_a_stopped_batch_ends_after_a_death(tmp_path: Path, died_at: str) -> None:
    def is_it(recorded: Recorded[AnyEvent]) -> bool:
        event = recorded.event
        return event.kind == died_at or getattr(event, "trigger", "") == died_at

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            died = asyncio.get_running_loop().create_future()
            async with cell.engine() as engine:

                def look(recorded: Recorded[AnyEvent]) -> None:
                    if is_it(recorded) and not died.done():
                        cell.sever(engine)
                        died.set_result(None)

                engine.core.listeners.append(look)
                _ten_seconds_after(
                    engine, _pumping, lambda: cell.give("supervisor", "stop", batch=BATCH, why="so")
                )
                await begin(engine)
                await asyncio.wait_for(died, LONG_S)
            async with cell.engine() as engine:
                await asyncio.wait_for(engine.ended(BATCH), LONG_S)
                state = engine.core.state
                assert state.batches[BATCH].status == "stopped"
                assert state.leases["station"].batch == BATCH, "its bag hangs there"
                await asyncio.sleep(4 * 3600)
                assert not state.leases
                released = _kinds(engine, "lease_released")
                assert released[-1].clearance == "two people"

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_a_hold_of_the_batch_reaches_the_unit_procedure_that_runs(tmp_path: Path, use: Any) -> None:
    use(
        recipe_of(
            procedure("one", operation("p", VERIFY, CONNECT)),
            procedure("two", operation("x", TRANSFER)),
        )
    )

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            _ten_seconds_after(
                engine, _pumping, lambda: cell.give("supervisor", "hold", batch=BATCH, why="wait")
            )
            await begin(engine)
            await asyncio.sleep(LONG_S)
            assert _state(engine, "two") is PhaseState.HELD
            held_at = _vessel_mL(cell)
            assert held_at < TRANSFERRED.to(mL) - 5
            user = UserId(next(iter(engine.core.state.people)))
            for batch, part in ((BATCH, "tow"), (BATCH, "one"), (BatchId("B-9"), "")):
                with pytest.raises(RefusedError):
                    await engine.holds.command_all(batch, part, "hold", "misspelt", user)
            await cell.give("supervisor", "restart", batch=BATCH, why="go on")
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            assert engine.core.state.batches[BATCH].status == "complete"
            assert _vessel_mL(cell) == pytest.approx(TRANSFERRED.to(mL), abs=0.5)

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
@pytest.mark.parametrize("command", ["restart", "stop"])
@pytest.mark.parametrize("dies", [False, True])
def test_a_recipes_hold_can_be_restarted_and_stopped(
    tmp_path: Path, use: Any, command: str, dies: bool
) -> None:
    use(
        recipe_of(
            procedure(
                "u",
                operation("p", VERIFY, CONNECT),
                Hold(slug="look", reason="Look at the vessel"),
                operation("x", TRANSFER),
            )
        )
    )

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await begin(engine)
                await asyncio.sleep(LONG_S)
                assert _state(engine, "u") is PhaseState.HELD
                if not dies:
                    await _decided(cell, engine)
            if dies:
                async with cell.engine() as engine:
                    await asyncio.sleep(60)
                    await _decided(cell, engine)

    async def _decided(cell: EmulatedCell, engine: Engine) -> None:
        await cell.give("supervisor", command, batch=BATCH, why="seen")
        await asyncio.wait_for(engine.ended(BATCH), LONG_S)
        how = "complete" if command == "restart" else "stopped"
        assert engine.core.state.batches[BATCH].status == how

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_a_hold_arrives_while_a_question_waits(tmp_path: Path, use: Any) -> None:
    use(recipe_of(procedure("u", operation("p", VERIFY, ASKED))))

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            for technician in cell.technicians:
                technician.is_on_duty = lambda _: engine.core.state.seq < 30
            await begin(engine)
            await engine.core.bells.until(
                "news",
                lambda: any(
                    one.work == "enter" or one.work == "decide"
                    for one in engine.core.state.tasks.values()
                ),
            )
            await cell.give("supervisor", "hold", batch=BATCH, why="wait")
            await asyncio.sleep(1)
            assert _state(engine, "u") is PhaseState.HELD
            phase = engine.core.state.batches[BATCH].phases["u/p/04-confirm"]
            assert phase.state is PhaseState.HELD

    run_in_virtual_time(test())


def test_an_unforeseen_error_stands_one_batch_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Transfer.run

    async def wrong(self: Transfer, outside: Any) -> Any:
        raise ZeroDivisionError("a slip of the pen")

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            monkeypatch.setattr(Transfer, "run", wrong)
            async with cell.engine() as engine:
                await begin(engine)
                await asyncio.wait_for(engine.ended(BATCH), LONG_S)
                assert "slip of the pen" in engine.core.state.batches[BATCH].broken
                assert f"broken {BATCH}" in engine.core.state.alarms
                await asyncio.sleep(3600)  # the host lives
            monkeypatch.setattr(Transfer, "run", right)
            async with cell.engine() as engine:
                await asyncio.wait_for(engine.ended(BATCH), LONG_S)
                assert engine.core.state.batches[BATCH].status == "complete"
                assert _vessel_mL(cell) == pytest.approx(TRANSFERRED.to(mL), abs=0.5)

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-09")
def test_a_resumed_operation_keeps_its_lease(tmp_path: Path, use: Any) -> None:
    use(recipe_of(procedure("u", operation("one", VERIFY, CONNECT), operation("two", TRANSFER))))

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            died = asyncio.get_running_loop().create_future()
            async with cell.engine() as engine:

                def look(recorded: Recorded[AnyEvent]) -> None:
                    if _pumping(recorded) and not died.done():
                        cell.sever(engine)
                        died.set_result(None)

                engine.core.listeners.append(look)
                await begin(engine)
                await asyncio.wait_for(died, LONG_S)
            async with cell.engine() as engine:
                await asyncio.wait_for(engine.ended(BATCH), LONG_S)
                assert engine.core.state.batches[BATCH].status == "complete"
                leases = _kinds(engine, "lease_granted", "lease_released")
                kinds = [one.kind for one in leases]
                assert kinds == ["lease_granted", "lease_granted", "lease_released"], (
                    "the second operation goes on with what the first one left there"
                )

    run_in_virtual_time(test())


def test_one_who_waits_for_a_lease_and_is_stopped_waits_no_more(tmp_path: Path) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await engine.core.record_for_host(
                *thin.on_file(engine.core.clock.utc(), engine.core.cell.digest)
            )
            other = next(one for one in _kinds(engine, "batch_made"))
            second = other.model_copy(update={"batch": BatchId("B-2")})
            await engine.make_batch(second)
            await engine.start_batch(BATCH, thin.USER)
            await asyncio.sleep(5)
            await engine.start_batch(BatchId("B-2"), thin.USER)
            await asyncio.sleep(5)
            assert [one.batch for one in engine.core.state.waiters.values()] == ["B-2"]
            await cell.give("supervisor", "stop", batch="B-2", why="not today")
            await asyncio.wait_for(engine.ended(BatchId("B-2")), LONG_S)
            assert not engine.core.state.waiters
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            assert engine.core.state.batches[BATCH].status == "complete"

    run_in_virtual_time(test())


@pytest.mark.parametrize(("minimum", "maximum"), [(2 * hour, None), (None, 3 * hour)])
def test_a_lag_bounds_the_time_between_two_steps(
    tmp_path: Path, use: Any, minimum: Any, maximum: Any
) -> None:
    use(
        recipe_of(
            procedure("u", operation("one", VERIFY, CONNECT, TRANSFER)),
            lags=(
                Lag(
                    name="wash",
                    from_event=Moment(path="u/one/01-verify", edge="end"),
                    to_event=Moment(path="u/one/03-transfer", edge="start"),
                    minimum=minimum,
                    maximum=maximum,
                    tier=Tier.BLOCK,
                    source="set by site",
                ),
            ),
        )
    )

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine)
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            batch = engine.core.state.batches[BATCH]
            assert batch.status == "complete"
            lasted = batch.moments["start u/one/03-transfer"] - batch.moments["end u/one/01-verify"]
            assert minimum is None or lasted >= minimum
            assert not engine.core.state.limits
            assert not _kinds(engine, "limit_due")

    run_in_virtual_time(test())


def test_a_batch_is_started_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine)
            for batch in (BATCH, BatchId("B-9")):
                with pytest.raises(RefusedError):
                    await engine.start_batch(batch, thin.USER)
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            assert len(_kinds(engine, "batch_started")) == 1
            assert isinstance(_kinds(engine, "recipe_submitted")[0], RecipeSubmitted)

    run_in_virtual_time(test())


def test_a_batch_held_where_another_waits_raises_an_alarm_with_its_margin(tmp_path: Path) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await engine.core.record_for_host(
                *thin.on_file(engine.core.clock.utc(), engine.core.cell.digest)
            )
            made = next(one for one in _kinds(engine, "batch_made"))
            await engine.make_batch(made.model_copy(update={"batch": BatchId("B-2")}))
            await engine.start_batch(BATCH, thin.USER)
            await asyncio.sleep(5)
            await cell.give("supervisor", "hold", batch=BATCH, why="wait")
            await asyncio.sleep(600)
            name = f"held up B-2 by {BATCH}/move"
            assert name not in engine.core.state.alarms, "nobody waits yet"
            taking = asyncio.ensure_future(
                engine.leases.take(
                    BatchId("B-2"),
                    PhasePath("move/once"),
                    ("station",),
                    least_time_left=engine.core.clock.utc() + 3 * hour,
                )
            )
            await asyncio.sleep(5)
            alarm = engine.core.state.alarms[name]
            assert alarm.batch == BATCH
            assert "Batch B-2 waits for station and has" in alarm.consequence
            await cell.give("supervisor", "restart", batch=BATCH, why="go on")
            await asyncio.sleep(5)
            assert engine.core.state.alarms[name].cleared
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            await taking

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_an_instrument_that_is_never_ready_is_held_after_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An act's preparation moves hardware each time: it isn't repeated without a person."""

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            prepared: list[str] = []

            async def prepare(act: Any) -> None:
                prepared.append(act.kind)
                await asyncio.sleep(20)
                raise MadeReadyError("home it", why="it wasn't homed", do_next="Wait")

            monkeypatch.setattr(engine.core.drivers["P1"], "prepare", prepare)
            await begin(engine)
            await asyncio.sleep(6 * 3600)
            assert _state(engine, "move") is PhaseState.HELD
            assert "wasn't homed" in engine.core.state.batches[BATCH].procedures["move"].why
            assert len(prepared) == 2
            await cell.give("supervisor", "restart", batch=BATCH, why="look again")
            await asyncio.sleep(3600)
            assert len(prepared) == 4

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
def test_a_hold_while_a_scan_is_awaited_refuses_no_act(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proofs: Any = PhaseRun.fresh_proofs

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            held: list[int] = []

            async def scanned(run: PhaseRun, number: int, proven: Any) -> Any:
                if not held:
                    held.append(number)
                    await cell.give("supervisor", "hold", batch=BATCH, why="a bell rings")
                return await proofs(run, number, proven)

            monkeypatch.setattr(PhaseRun, "fresh_proofs", scanned)
            await begin(engine)
            await asyncio.sleep(600)
            assert held
            assert _state(engine, "move") is PhaseState.HELD
            assert not _kinds(engine, "act_refused")
            assert not _kinds(engine, "attempt_intended")
            await cell.give("supervisor", "restart", batch=BATCH, why="go on")
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            assert engine.core.state.batches[BATCH].status == "complete"

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
@pytest.mark.parametrize("ends", ["failed", "doubt and stop"])
def test_an_attempt_that_ends_otherwise_is_overdue_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            state = engine.core.state
            driver: Any = engine.core.drivers["P1"]

            async def trigger(act: Any, command: str) -> None:
                del command
                await asyncio.sleep(act.longest.to(second) + 60)
                raise FailedError("run the pump", why="it says no", do_next="Look at it")

            async def settle(act: Any, command: str, before: Any) -> Settled:
                del command
                await asyncio.sleep(act.longest.to(second) + 60)
                return Settled(report=CannotTell(why="nobody knows"), standing=before)

            if ends == "failed":
                monkeypatch.setattr(driver, "trigger", trigger)
            else:
                monkeypatch.setattr(driver, "settle", settle)
            await begin(engine)

            def overdue() -> list[str]:
                return [name for name in state.alarms if name.startswith("overdue ")]

            await asyncio.wait_for(engine.core.bells.until("news", lambda: bool(overdue())), LONG_S)
            for technician in cell.technicians:
                technician.is_on_duty = lambda _: False
            await asyncio.sleep(600)
            assert overdue()
            if ends == "doubt and stop":
                await cell.give("supervisor", "stop", batch=BATCH, why="enough")
                for technician in cell.technicians:
                    technician.is_on_duty = lambda _: True
                await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            assert all(state.alarms[name].cleared for name in overdue())

    run_in_virtual_time(test())


@pytest.mark.requirement("PRC-02")
@pytest.mark.parametrize("taken", [False, True])
def test_a_branch_that_breaks_is_said_at_once_and_its_siblings_hand_work_ends(
    tmp_path: Path, use: Any, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """The sibling waits for hands: nobody is asked to begin what nobody will use."""
    use(
        recipe_of(
            Together(
                slug="t",
                unit_procedures=(
                    procedure("a", operation("x", VERIFY, CONNECT, TRANSFER)),
                    procedure("b", operation("y", ASKED)),
                ),
            )
        )
    )

    async def test() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                state = engine.core.state
                status = "taken" if taken else "offered"

                def welds(*status: str) -> list[TaskState]:
                    return [
                        one
                        for one in state.tasks.values()
                        if one.work == "do" and one.ask["work"] == "weld" and one.status in status
                    ]

                async def breaks(self: Confirm, outside: Any) -> Any:
                    del self, outside
                    await engine.core.bells.until("news", lambda: bool(welds(status)))
                    raise KeyError("a slip of the pen")

                with monkeypatch.context() as planted:
                    planted.setattr(Confirm, "run", breaks)
                    for technician in cell.technicians:
                        technician.is_on_duty = lambda _: taken or not welds("offered")
                    await begin(engine)
                    await asyncio.wait_for(
                        engine.core.bells.until("news", lambda: bool(welds(status))), LONG_S
                    )
                    await asyncio.sleep(5)
                    assert "slip of the pen" in state.batches[BATCH].broken
                    assert not state.alarms[f"broken {BATCH}"].cleared
                    if taken:
                        assert [one.recalled for one in welds("taken")] != [""]
                    else:
                        assert welds("withdrawn")
                        assert not welds("offered")
                    await asyncio.wait_for(engine.ended(BATCH), LONG_S)
                    assert len(_kinds(engine, "batch_stood_still")) == 1
                    assert not state.attempts
            for technician in cell.technicians:
                technician.is_on_duty = lambda _: True
            async with cell.engine() as engine:
                await asyncio.wait_for(engine.ended(BATCH), LONG_S)
                assert engine.core.state.batches[BATCH].status == "complete"
                joined = [one for one in cell.world.ledger if one.kind == "joined"]
                assert sum(1 for one in joined if BAG in one.things) == 1

    run_in_virtual_time(test())


@pytest.mark.requirement("IDC-13")
def test_nothing_is_pumped_into_a_kit_that_came_into_quarantine(tmp_path: Path) -> None:
    """It was proven as the phase began, its valves are open, and its label turns up elsewhere."""

    async def test() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            torn = ContainerQuarantined(container=ContainerId(KIT), why="found elsewhere")
            told: list[int] = []

            def look(recorded: Recorded[AnyEvent]) -> None:
                event = recorded.event
                if not told and event.kind == "attempt_settled" and "03-transfer" in event.command:
                    told.append(recorded.seq)
                    engine.core.tasks.create_task(engine.core.record_for_host(torn))

            engine.core.listeners.append(look)
            await begin(engine)
            refused = engine.core.bells.until("news", lambda: bool(_kinds(engine, "act_refused")))
            await asyncio.wait_for(refused, LONG_S)
            (one,) = _kinds(engine, "act_refused")
            assert one.refusals == (
                f"{KIT}, of which {KIT}/vessel is part, is in quarantine: found elsewhere",
            )
            await asyncio.sleep(3600)
            assert _state(engine, "move") is PhaseState.HELD
            assert _vessel_mL(cell) == 0

    run_in_virtual_time(test())
