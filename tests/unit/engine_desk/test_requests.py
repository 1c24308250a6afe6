"""A command that is given again is answered as the first time, whatever died in between.

Method: for each command of the role table a cell is brought to where it is legal. It is given,
and the engine dies as soon as something is durable, before anybody has an answer. Another engine
begins on the same journal and room, and the same command is given again, and again after
one more death: it is carried out once, and answered alike. What stands then, of holds, quarantines
and alarms, is what stands where nothing died.
"""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path

import pytest

from orchestrator.engine.core import Core
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import AnyEvent, CommandAnswered
from orchestrator.kernel.desks import Command
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.quantities import second
from orchestrator.people.roles import MAY
from orchestrator.people.sessions import IDLE, NoSessionError
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.process_cell.emulated_people import person
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BATCH, begin, thin_cell
from tests.unit.engine_desk.commands import CASES, READY, Ready, made_ready, people_at


class Death(BaseException):
    """The daemon died. No ``except Exception`` survives it."""


dies_once_recorded: ContextVar[bool] = ContextVar("dies_once_recorded", default=False)


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever asked for it die with the first that becomes durable of what they do."""
    record = Core.record

    async def dying(
        self: Core, stream: str, *events: AnyEvent, answer: CommandAnswered | None = None
    ) -> int:
        seq = await record(self, stream, *events, answer=answer)
        if dies_once_recorded.get():
            raise Death
        return seq

    monkeypatch.setattr(Core, "record", dying)


def test_each_command_of_the_role_table_is_tried() -> None:
    assert set(READY) == set(MAY) - {"view"}


@pytest.mark.usefixtures("deadly")
@pytest.mark.parametrize(("name", "ready"), CASES)
@pytest.mark.requirement("PRC-09")
def test_a_command_whose_answer_died_is_carried_out_once(
    tmp_path: Path, name: str, ready: Ready
) -> None:
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()

    async def run() -> None:
        async with people_at(tmp_path, name) as cell:
            async with cell.engine() as engine:
                command = await made_ready(cell, engine, name, ready)
                dying = dies_once_recorded.set(True)
                with pytest.raises(Death):
                    await cell.desk.give(command)
                dies_once_recorded.reset(dying)
            said: list[str] = []
            for _ in range(2):
                async with cell.engine() as engine:
                    before = engine.core.state.seq
                    said.append(await _answer(cell, command))
                    assert engine.core.state.seq == before, "something was done once more"
            ((seq, answer),) = [
                (one.seq, one.event)
                for one in engine.core.journal.events()
                if isinstance(one.event, CommandAnswered) and one.event.request == "r-1"
            ]
            assert answer.events > 0, "nothing was carried out with it"
            assert answer.command == name
            why = answer.refused.get("why")
            told = str(seq - answer.events) if why is None else f"refused: {why}"
            assert said == [told, told]
            assert _stands(engine) == await _undisturbed(undisturbed, name, ready)

    run_in_virtual_time(run())


@pytest.mark.usefixtures("deadly")
def test_who_logs_in_anew_gives_the_same_command_once(tmp_path: Path) -> None:
    """The daemon died over it, and the session is over by the time that it is back."""
    name = "open_deviation"

    async def run() -> None:
        async with people_at(tmp_path, name) as cell:
            async with cell.engine() as engine:
                command = await made_ready(cell, engine, name, READY[name][0])
                dying = dies_once_recorded.set(True)
                with pytest.raises(Death):
                    await cell.desk.give(command)
                dies_once_recorded.reset(dying)
            async with cell.engine() as engine:
                state = engine.core.state
                (seq,) = (one.seq for one in state.answered.values())
                await engine.core.sleep(IDLE)
                with pytest.raises(NoSessionError):
                    await cell.desk.give(command)
                for _ in range(2):  # another terminal of the same person, too
                    given = await cell.desk.give(await _in_a_new_session(cell, command, "day-1"))
                    assert given.seq == seq
                assert len(state.deviations) == 1, "it was opened once more"
                await cell.desk.give(await _in_a_new_session(cell, command, "day-2"))
                assert len(state.deviations) == 2, "it was taken for another person's"

    run_in_virtual_time(run())


async def _in_a_new_session(cell: EmulatedCell, command: Command, login: str) -> Command:
    session = await cell.desk.log_in(login, person(login).secret, "bench")
    return command.model_copy(update={"session": session})


async def _undisturbed(folder: Path, name: str, ready: Ready) -> dict[str, object]:
    """Return what stands after the same where only a whole command is followed by two deaths."""
    async with people_at(folder, name) as cell:
        async with cell.engine() as engine:
            command = await made_ready(cell, engine, name, ready)
            await _answer(cell, command)
        for _ in range(2):
            async with cell.engine() as engine:
                await _answer(cell, command)
    return _stands(engine)


def _stands(engine: Engine) -> dict[str, object]:
    state = engine.core.state
    return {
        "reasons": {
            f"{name}/{path}": one.reasons
            for name, batch in state.batches.items()
            for path, one in batch.procedures.items()
        },
        "quarantines": {name: one.quarantined for name, one in state.containers.items()},
        "alarms": {name: (one.cause, one.cleared) for name, one in state.alarms.items()},
    }


async def _answer(cell: EmulatedCell, command: Command) -> str:
    try:
        return str((await cell.desk.give(command)).seq)
    except RefusedError as refused:
        return f"refused: {refused.why}"


def test_a_request_is_of_one_command(tmp_path: Path) -> None:
    """Else a person would take a hold for given that wasn't."""

    async def run() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await begin(engine)
            session = await cell.desk.log_in("supervisor", person("supervisor").secret, "bench")
            command = Command(
                request="r-1", seen=-1, session=session, name="hold",
                arguments={"batch": str(BATCH), "why": "to try"},
            )  # fmt: skip
            await engine.core.sleep(1 * second)
            await cell.desk.give(command)
            before = engine.core.state.seq
            with pytest.raises(RefusedError, match="was that of the command hold"):
                await cell.desk.give(command.model_copy(update={"name": "stop"}))
            assert engine.core.state.seq == before

    run_in_virtual_time(run())


def test_a_request_is_of_one_command_with_its_arguments(tmp_path: Path) -> None:
    """Else a person would take what they wrote last for recorded, and the first is."""
    name = "open_deviation"

    async def run() -> None:
        async with people_at(tmp_path, name) as cell:
            async with cell.engine() as engine:
                command = await made_ready(cell, engine, name, READY[name][0])
                first = await cell.desk.give(command)
            async with cell.engine() as engine:
                before = engine.core.state.seq
                other = {**command.arguments, "text": "the bag leaks"}
                with pytest.raises(RefusedError, match="with other arguments"):
                    await cell.desk.give(command.model_copy(update={"arguments": other}))
                assert await cell.desk.give(command) == first
                assert engine.core.state.seq == before
                assert len(engine.core.state.deviations) == 1

    run_in_virtual_time(run())


def test_nothing_of_a_password_is_kept(tmp_path: Path) -> None:
    """Its hash would let who has the journal try passwords at leisure."""
    name, kept = "add_person", set[str]()

    async def run(folder: Path, password: str) -> None:
        async with people_at(folder, name) as cell, cell.engine() as engine:
            command = await made_ready(cell, engine, name, READY[name][0])
            arguments = {**command.arguments, "password": password}
            await cell.desk.give(command.model_copy(update={"arguments": arguments}))
            (answered,) = (
                one.event
                for one in engine.core.journal.events()
                if isinstance(one.event, CommandAnswered)
            )
            kept.add(answered.arguments)

    for number, password in enumerate(("marble kettle orchid tram", "violet anchor pepper sled")):
        folder = tmp_path / str(number)
        folder.mkdir()
        run_in_virtual_time(run(folder, password))
    assert len(kept) == 1


def test_a_request_whose_answer_is_forgotten_is_not_carried_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand others came since; a hold is taken once more, since it does no harm."""
    monkeypatch.setattr("orchestrator.engine.fold.REQUESTS_KEPT_MOST", 3)
    name = "open_deviation"

    async def run() -> None:
        async with people_at(tmp_path, name) as cell:
            async with cell.engine() as engine:
                state = engine.core.state
                command = await made_ready(cell, engine, name, READY[name][0])
                first = await cell.desk.give(command)
                for _ in range(2):
                    await cell.give("day-1", name, batch=str(BATCH), text="others")
                assert await cell.desk.give(command) == first, "it is remembered"
                await cell.give("day-1", name, batch=str(BATCH), text="one more")
                assert len(state.answered) == 3
            async with cell.engine() as engine:
                before, opened = engine.core.state.seq, len(engine.core.state.deviations)
                with pytest.raises(RefusedError, match="its answer be forgotten"):
                    await cell.desk.give(command)
                assert (engine.core.state.seq, len(engine.core.state.deviations)) == (
                    before,
                    opened,
                )
                await engine.start_batch(BATCH, person("supervisor").user)
                await engine.core.sleep(1 * second)
                held = command.model_copy(
                    update={"name": "hold", "seen": -1, "request": "r-2",
                            "arguments": {"batch": str(BATCH), "why": "to try"}}
                )  # fmt: skip
                assert (await cell.desk.give(held)).seq > before
                await cell.give("day-1", name, batch=str(BATCH), text="on what is shown now")

    run_in_virtual_time(run())
