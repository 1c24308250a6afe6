"""The daemon: journal, lines, engine and console of one host, put together and taken apart.

It starts the same way after a clean end and after a crash. On a room's clock it is the same
daemon: only the clock, the lines' far ends and the people differ.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from devices.transport.recording import WireLog, WireLogFile
from devices.transport.transport import PortRefusedError, Transport
from orchestrator.console.desk import Desk
from orchestrator.console.service import serve_console
from orchestrator.engine.engine import VERSION, Engine
from orchestrator.engine.fold import fold
from orchestrator.engine.keeping import resumed_state
from orchestrator.engine.state import HostState
from orchestrator.engine.witnessing import Copier
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import EVENTS, HOST, AlarmRaised, AnyEvent, JournalLatched
from orchestrator.journal.journal import Journal, Recorded
from orchestrator.journal.witness import Closed, Witness
from orchestrator.kernel.desks import TaskBoard
from orchestrator.kernel.errors import (
    ConfigurationRefusedError,
    FailedError,
    ProcessError,
    RefusedError,
)
from orchestrator.kernel.identifiers import HostId
from orchestrator.kernel.instants import Clock
from orchestrator.people.users import RFC_9106_LOW_MEMORY
from orchestrator.process_cell.build import make_drivers
from orchestrator.process_cell.config import CellConfig, LoadedCell
from orchestrator.process_cell.emulated_people import CHEAP_HASHING, let_people_in
from orchestrator.process_cell.lines import close_lines, open_lines
from orchestrator.virtual_time import standing_still

CONSOLE: Final = "console.sock"
"""Where in the data folder the console is."""

ROOM: Final = "room.sock"
"""Where in a room's folder it can be spoken to."""

TERMINAL: Final = "socket"
"""What sessions opened over the console's socket say of where the person sits."""


GREETED_WITHIN_S: Final = 2.0
"""How long an instrument may take to say its serial number before the engine has it."""


class WrongInstrumentError(PortRefusedError):
    """Another instrument than the cell file's is on the line. It was only asked who it is."""

    code = "refused.port.wrong-instrument"


class NoAnswerAtStartError(FailedError):
    """Nothing on a line answers as the cell file's model. Nothing moved."""

    code = "failed.no-answer-at-start"


class WitnessNotBegunError(RefusedError):
    """A journal that never had a witness can't begin to have this one. Nothing was started."""

    code = "refused.file.witness"


class _Over(Exception):  # noqa: N818 - it isn't an error
    """Ends a task group whose tasks never end by themselves."""


def refuse_emulators_in_production(config: CellConfig) -> None:
    """Refuse to start on real instruments in a process that has emulators loaded.

    Raises:
        ConfigurationRefusedError: It has. Nothing was opened.
    """
    loaded = sorted(name for name in sys.modules if name.partition(".")[0] == "hw_mocks")
    if loaded and not config.emulated:
        raise ConfigurationRefusedError(
            f"start on the cell {config.name}",
            why=f"emulators are loaded ({loaded[0]}), and the cell's instruments are real",
            do_next="Start the daemon in a process of its own, with `cellwright serve`",
        )


@asynccontextmanager
async def running(
    cell: LoadedCell,
    data: Path,
    *,
    host: HostId,
    clock: Clock,
    room: Path | None,
    witness: Path | None = None,
) -> AsyncGenerator[Engine]:
    """Run the daemon inside the block; leave it in good order at the block's end.

    Args:
        cell: The process cell.
        data: The folder of journal, keys, traces, recorded wires and console; it exists.
        host: Whose journal it is.
        clock: The system's, or the room's that this loop runs on.
        room: The folder of the room whose clock this is, or None.
        witness: The folder that checkpoints are copied to, if there is one.

    Raises:
        ConfigurationRefusedError: The cell file doesn't fit. Nothing was started.
        WitnessNotBegunError: The witness isn't there, and never was.
        PortRefusedError: A port is absent, busy, or has another instrument on it.
        NoAnswerAtStartError: An instrument doesn't answer, and no batch needs the daemon.
        JournalInUseError: Another daemon has this journal.
        JournalLatchedError: The journal failed while it ran.
        WitnessContradictsError: The journal is older than its witness, or another.
        WitnessDamagedError: The witness was changed.
    """
    config = cell.config
    refuse_emulators_in_production(config)
    with WireLogFile(data / "wires.log") as wire_log:
        journal, state = _opened(data, host, clock)
        try:
            copier = await _compared(journal, state, witness, host, data)
            record = WireLog(clock, wire_log.keep).record
            lines = await open_lines(config, room=room, recorder=record)
            try:
                await _greet(config, lines)
                async with asyncio.TaskGroup() as tasks:
                    engine = Engine(
                        journal,
                        state,
                        lambda board: make_drivers(config, lambda one: lines[one.equipment], board),
                        clock=clock,
                        cell=cell,
                        tasks=tasks,
                        can_be_suspended=room is None,
                        folder=data,
                        witness=copier,
                    )
                    async with _served(engine, data / CONSOLE, room):
                        yield engine
                    await engine.stop()
                    raise _Over
            finally:
                await close_lines(lines)
        except* _Over:
            pass  # how the group of the engine's tasks is left
        finally:
            journal.close()


def _opened(data: Path, host: HostId, clock: Clock) -> tuple[Journal[AnyEvent], Any]:
    """Return the journal, open for writing, and the state that it folds to."""
    signer = Signer.stored(data, host, os.urandom)
    state, tree = resumed_state(data, signer.public, VERSION)
    journal = Journal(
        data / "journal.sqlite",
        EVENTS,
        clock=clock,
        host=host,
        signer=signer,
        tree=tree,
        last_words=lambda why: (HOST, JournalLatched(why=why)),
    )
    for recorded in journal.events(state.seq + 1):  # another daemon's last, until its lock fell
        fold(state, recorded)
    return journal, state


async def _compared(
    journal: Journal[AnyEvent], state: HostState, witness: Path | None, host: HostId, data: Path
) -> Copier | None:
    """Return what copies to the witness, once it agrees with the journal or isn't reached."""
    if witness is None:
        return None
    public = Signer.stored(data, host, os.urandom).public
    known = state.witnessed is not None
    closed = tuple(Closed(*one) for one in state.witness_closed)
    copier = Copier(Witness(witness, host, public, known=known, epoch=journal.epoch, closed=closed))
    copier.take(journal.notes())
    try:
        await copier.copy()
    except OSError as failed:
        if not known:
            raise WitnessNotBegunError(
                f"begin to copy checkpoints to {witness}",
                why=failed.strerror or str(failed),
                do_next="Name a folder that is there and that this user may write to",
            ) from failed
    return copier  # one that isn't reached is told by the engine, and tried again


@asynccontextmanager
async def _served(engine: Engine, socket: Path, room: Path | None) -> AsyncGenerator[None]:
    """Start the engine, and offer it to people while the block runs."""
    core = engine.core
    cost = RFC_9106_LOW_MEMORY if room is None else CHEAP_HASHING
    desk = Desk(engine, entropy=os.urandom, cost=cost)
    if room is not None and not core.state.people:
        await let_people_in(core, os.urandom)
    silent: list[AlarmRaised] = []

    def listen(recorded: Recorded[AnyEvent]) -> None:
        event = recorded.event
        if isinstance(event, AlarmRaised) and event.alarm.startswith("silent "):
            silent.append(event)

    core.listeners.append(listen)
    await engine.start()
    core.listeners.remove(listen)
    if silent and not any(one.status == "running" for one in core.state.batches.values()):
        await engine.stop()
        raise NoAnswerAtStartError(
            f"start on the cell {core.cell.config.name}",
            why="; ".join(f"{one.alarm.removeprefix('silent ')}: {one.cause}" for one in silent),
            do_next="Check power, cable, and model and address in the process cell file",
        )
    login = partial(_log_in, desk)
    async with serve_console(desk, socket, login=login, logout=desk.log_out):
        if room is not None:
            await _tell_room(room / ROOM, socket)
        yield


async def _log_in(desk: Desk, user: str, password: str) -> str:
    return await desk.log_in(user, password, TERMINAL)


async def _tell_room(control: Path, console: Path) -> None:
    """Tell the people of the room where their terminal is."""
    with standing_still():
        reader, writer = await asyncio.open_unix_connection(control)
        try:
            request = {"do": "terminal", "console": os.fspath(console)}
            writer.write(json.dumps(request).encode() + b"\n")
            await reader.readline()
        finally:
            writer.close()


# Who is on the line -------------------------------------------------------------------------


async def _greet(config: CellConfig, lines: dict[str, Transport]) -> None:
    """Ask each instrument whose serial number the cell file says for it, all at once.

    One that doesn't answer is left to the engine, which says so when it sees it.

    Raises:
        WrongInstrumentError: One is another than the cell file's.
    """
    board = cast("TaskBoard", None)  # hands aren't greeted
    drivers = make_drivers(config, lambda one: lines[one.equipment], board)
    asked = [module for module in config.modules if module.serial]
    readers = [asyncio.create_task(drivers[module.equipment].run()) for module in asked]
    try:
        said = await asyncio.gather(
            *(_serial(drivers[module.equipment].identify) for module in asked)
        )
    finally:
        for reader in readers:
            reader.cancel()  # the line stays open, for the driver that will own it
        await asyncio.gather(*readers, return_exceptions=True)
    for module, serial in zip(asked, said, strict=True):
        if serial is not None and serial != module.serial:
            raise WrongInstrumentError(
                f"greet {module.equipment} at {module.address}",
                why=f"it says serial number {serial or 'none'}; the cell file has {module.serial}",
                do_next="Connect the right instrument, or correct the process cell file",
            )


async def _serial(identify: Callable[[], Awaitable[Any]]) -> str | None:
    try:
        async with asyncio.timeout(GREETED_WITHIN_S):
            return str((await identify()).serial)
    except (ProcessError, TimeoutError):
        return None
