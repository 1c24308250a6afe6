"""A whole emulated cell in one process: room, people, daemon's engine, on virtual time.

What ``simulate`` and ``demo`` run, and what tests kill. The room and its people outlive
the engine: an engine can be severed, as by a death, and another started on the same
journal and the same room.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from chain_of_identity.pre_printed import roll
from devices.transport.transport import Transport
from hw_mocks.room import Room, furnish
from hw_mocks.seeds import seeded_bytes
from hw_mocks.serial_scanner import SerialScanner
from hw_mocks.technicians import Slips, Technician
from hw_mocks.world import World
from orchestrator.console.desk import Desk
from orchestrator.engine.engine import Engine, fold_journal
from orchestrator.engine.state import HostState
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import EVENTS, AnyEvent, JournalLatched
from orchestrator.journal.journal import Journal
from orchestrator.kernel.desks import Command, Given
from orchestrator.kernel.errors import JournalLatchedError
from orchestrator.kernel.identifiers import CommandId, HostId, UserId
from orchestrator.kernel.instants import Clock
from orchestrator.people.sessions import NoSessionError, token_sha256
from orchestrator.people.users import add_person, hash_secret
from orchestrator.process_cell.build import make_drivers
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.emulated_people import (
    CHEAP_HASHING,
    PEOPLE,
    TECHNICIANS,
    person,
)
from orchestrator.virtual_time import virtual_clock

T = TypeVar("T")

HOST: Final = HostId("emulated")

RESERVE_BYTES: Final = 4096
"""An emulated disk is never full."""

TERMINAL: Final = "emulated"
"""What sessions say of where the people of the cell sit."""


class _Over(Exception):  # noqa: N818 - it isn't an error
    """Ends a task group whose tasks never end by themselves."""


async def until_dropped() -> None:
    """Wait until this task is dropped, as those of a dead process are.

    A task that is being dropped, and would still tidy up by the line, ends at once.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    await asyncio.Event().wait()


class SeverableLine:
    """The software's end of a line; once severed, what it sends goes nowhere."""

    def __init__(self, line: Transport) -> None:
        self._line = line
        self._is_severed = False
        self.name = line.name

    @property
    def closed(self) -> bool:
        """Return whether either end has closed the line."""
        return self._line.closed

    def sever(self) -> None:
        """Let nothing pass any more, in either direction."""
        self._is_severed = True

    async def send(self, data: bytes, *, trigger: CommandId | None = None) -> None:
        """Hand bytes to the line, unless it was severed: then wait for ever."""
        if self._is_severed:
            await until_dropped()
        await self._line.send(data, trigger=trigger)

    async def receive(self) -> bytes:
        """Return what came, unless the line was severed: then wait for ever."""
        received = await self._line.receive()
        if self._is_severed:
            await until_dropped()
        return received

    def listen(self, news: Callable[[], None]) -> None:
        """Have ``news`` called while the line isn't severed."""
        self._line.listen(lambda: None if self._is_severed else news())

    def stop_listening(self) -> None:
        """Let go who listens."""
        self._line.stop_listening()

    def take(self) -> bytes:
        """Return what came, unless the line was severed."""
        return b"" if self._is_severed else self._line.take()

    async def close(self) -> None:
        """Close the line."""
        await self._line.close()


class SeverableConsole:
    """A desk whose daemon can die: what was asked of it then ends as gone."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def sever(self) -> None:
        """Let the daemon be gone."""
        if not self._gone.done():
            self._gone.set_result(None)

    async def view(self, name: str, *, newer_than: int = -1, **arguments: str) -> Mapping[str, Any]:
        """Return a view, or end as gone."""
        return await self._unless_gone(self._desk.view(name, newer_than=newer_than, **arguments))

    async def give(self, command: Command) -> Given:
        """Give a command, or end as gone: then nobody knows whether it was taken."""
        return await self._unless_gone(self._desk.give(command))

    async def log_in(self, login: str, secret: str) -> str:
        """Return a session's token, or end as gone."""
        return await self._unless_gone(self._desk.log_in(login, secret, TERMINAL))

    async def _unless_gone(self, asked: Coroutine[Any, Any, T]) -> T:
        answer = asyncio.ensure_future(asked)
        try:
            await asyncio.wait({answer, self._gone}, return_when=asyncio.FIRST_COMPLETED)
            if self._gone.done():
                raise ConnectionResetError("the daemon is gone")
            return answer.result()
        finally:
            answer.cancel()


OpenJournal = Callable[[Path, Clock, Signer], Journal[AnyEvent]]
"""Opens the journal of an emulated cell for writing."""

Around = Callable[[Transport], Transport]
"""Puts something between the software and the room's end of a line."""


def open_journal(
    path: Path, clock: Clock, signer: Signer, *, vfs: str | None = None
) -> Journal[AnyEvent]:
    """Open the journal at ``path`` as an emulated cell's daemon does."""
    return Journal(
        path,
        EVENTS,
        clock=clock,
        host=HOST,
        signer=signer,
        last_words=lambda why: (HOST, JournalLatched(why=why)),
        reserve_bytes=RESERVE_BYTES,
        vfs=vfs,
    )


class EmulatedCell:
    """One room with its people; engines come and go.

    ``folder`` is where the next engine finds its journal; ``open_journal`` opens it, and
    ``around`` may look at what passes on the lines that are plugged in from then on.
    """

    def __init__(
        self,
        folder: Path,
        cell_file: Path,
        *,
        seed: int,
        people: asyncio.TaskGroup,
        slips: Slips,
        is_on_duty: Mapping[str, Callable[[float], bool]],
        by_urgency: bool,
        vfs: str | None,
    ) -> None:
        """Furnish the room and let people in; nothing of the software runs yet."""
        self.seed = seed
        self.latched_with: list[str] = []
        """What the last engine said when its journal latched; one text, or none if it didn't."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.cell = load_cell(cell_file)
        self._entropy = seeded_bytes(seed)
        self._signer = Signer.stored(folder, HOST, self._entropy)
        self._by_urgency = by_urgency
        self._people = people
        self.open_journal: OpenJournal = partial(open_journal, vfs=vfs)
        self.around: Around = lambda line: line
        self._lines: list[SeverableLine] = []
        self._sessions: dict[str, str] = {}
        self._requests = 0
        table = tomllib.loads(cell_file.read_text())
        self.world = World(asyncio.get_running_loop().time, seed)
        self.world.label_roll = roll(seeded_bytes(seed, "labels"))
        furnish(self.world, table)
        self.room = Room(self.world, table)
        self.desk: Desk
        self.newest: Engine
        """The engine that was started last, be it that it isn't through with starting."""
        self._console: SeverableConsole
        scanners = {
            name: one for name, one in self.room.emulators.items() if isinstance(one, SerialScanner)
        }
        always: Callable[[float], bool] = lambda _: True  # noqa: E731
        crew: set[str] = set()
        self.technicians = [
            Technician(
                name=login,
                session="",
                console=None,
                world=self.world,
                room_began=virtual_clock().utc(),
                scanners=scanners,
                slips=slips,
                crew=crew,
                is_on_duty=is_on_duty.get(login, always),
            )
            for login in TECHNICIANS
        ]

    @property
    def signer(self) -> Signer:
        """Return who signs the journal's checkpoints."""
        return self._signer

    @property
    def journal_path(self) -> Path:
        """Return where the journal lies."""
        return self.folder / "journal.sqlite"

    @asynccontextmanager
    async def engine(self) -> AsyncGenerator[Engine]:
        """Run an engine on the room until the block ends, and leave it as a death would."""
        journal = self.open_journal(self.journal_path, virtual_clock(), self._signer)
        self.latched_with = []
        try:
            async with asyncio.TaskGroup() as tasks:
                engine = await self._start(journal, fold_journal(journal), tasks)
                try:
                    yield engine
                finally:
                    self.sever(engine)
                raise _Over
        except* _Over:
            pass  # how an engine is left
        except* JournalLatchedError as latched:
            self.latched_with = [str(one) for one in latched.exceptions]
        finally:
            journal.close()

    async def _start(
        self, journal: Journal[AnyEvent], state: HostState, tasks: asyncio.TaskGroup
    ) -> Engine:
        engine = Engine(
            journal,
            state,
            lambda board: make_drivers(
                self.cell.config, lambda module: self._line(module.equipment), board
            ),
            clock=virtual_clock(),
            cell=self.cell,
            tasks=tasks,
            can_be_suspended=False,
            folder=self.folder,
            by_urgency=self._by_urgency,
        )
        self.newest = engine
        self.desk = Desk(engine, entropy=self._entropy, cost=CHEAP_HASHING)
        if state.seq == 0:
            await self._let_people_in(engine)
        console = self._console = SeverableConsole(self.desk)
        for login, technician in zip(TECHNICIANS, self.technicians, strict=True):
            technician.console = console
            technician.log_in = partial(console.log_in, login, person(login).secret)
        await engine.start()
        return engine

    async def _let_people_in(self, engine: Engine) -> None:
        by: UserId | None = None
        for one in PEOPLE:
            secret = hash_secret(one.secret, salt=self._entropy(16), cost=CHEAP_HASHING)
            event = add_person(
                engine.core.state.people,
                login=one.login,
                printed_name=one.printed_name,
                roles=one.roles,
                secret=secret,
                by=by,
            )
            await engine.core.record_for_host(event)
            by = by or event.user
            self._sessions[one.login] = await self.desk.log_in(one.login, one.secret, TERMINAL)
        users = {one.login: name for name, one in engine.core.state.people.items()}
        for technician in self.technicians:
            login = technician.name
            technician.name = users[login]
            technician.session = self._sessions[login]
            technician.secret = person(login).secret
            self._people.create_task(technician.work())

    async def give(self, login: str, name: str, **arguments: Any) -> Given:
        """Have a person look, and give a command, with the password where it signs."""
        self._requests += 1
        secret, session = person(login).secret, self._sessions[login]
        command = Command(
            request=f"{login}-{token_sha256(session)[:8]}-{self._requests}",
            seen=(await self.desk.view("people"))["version"],
            session=session,
            name=name,
            arguments=arguments,
            secret=secret,
        )
        try:
            return await self.desk.give(command)
        except NoSessionError:
            session = self._sessions[login] = await self.desk.log_in(login, secret, TERMINAL)
            return await self.desk.give(command.model_copy(update={"session": session}))

    def sever(self, engine: Engine) -> None:
        """Cut every wire and the journal at once, as a death does."""
        engine.latch.disarm()
        engine.core.journal.latch("the software died")
        for line in self._lines:
            line.sever()
        self._lines.clear()
        self._console.sever()

    def _line(self, equipment: str) -> Transport:
        line = SeverableLine(self.around(self.room.plug_in(equipment, self._people)))
        self._lines.append(line)
        return line


@asynccontextmanager
async def emulated_cell(
    folder: Path,
    cell_file: Path,
    *,
    seed: int,
    slips: Slips | None = None,
    is_on_duty: Mapping[str, Callable[[float], bool]] | None = None,
    by_urgency: bool = True,
    vfs: str | None = None,
) -> AsyncGenerator[EmulatedCell]:
    """Yield a room with its people, who stay when engines die.

    ``vfs`` names a registered VFS of SQLite for the journal, for proofs of disk errors.
    """
    try:
        async with asyncio.TaskGroup() as people:
            yield EmulatedCell(
                folder,
                cell_file,
                seed=seed,
                people=people,
                slips=slips or Slips(),
                is_on_duty=is_on_duty or {},
                by_urgency=by_urgency,
                vfs=vfs,
            )
            raise _Over
    except* _Over:
        pass  # how a room is left
