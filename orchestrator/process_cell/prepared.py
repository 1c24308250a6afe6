"""A batch put on file, and started, in a journal that no daemon has opened yet.

An idle daemon on a room's clock lets days pass at once, while people would still be
receiving material. So people, recipe, material and batch are on file before the daemon's
first start, by the same commands through the same desk; it then goes on from there as from
any other start. No instrument is touched.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hw_mocks.scenario import Scenario
from hw_mocks.seeds import seeded_bytes
from orchestrator.console.desk import Desk
from orchestrator.engine.engine import ADMISSION, Engine
from orchestrator.engine.state import HostState
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import EVENTS, AnyEvent, BatchStarted
from orchestrator.journal.journal import Journal
from orchestrator.kernel.desks import Command, Given
from orchestrator.people.sessions import token_sha256
from orchestrator.process_cell.config import LoadedCell
from orchestrator.process_cell.emulated import HOST
from orchestrator.process_cell.emulated_people import (
    CHEAP_HASHING,
    PEOPLE,
    let_people_in,
    person,
)
from orchestrator.process_cell.simulation import BATCH, put_on_file
from orchestrator.recipe.model import Recipe
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock


def prepare(recipe: Recipe, folder: Path, cell: LoadedCell, scenario: Scenario, seed: int) -> None:
    """Write the journal of a batch of ``recipe`` that is about to take its first step.

    Args:
        recipe: Checked; it is submitted and approved by the people of the cell.
        folder: Of the journal and its keys; it exists and has no journal.
        cell: The process cell file, emulated.
        scenario: What stands in the room.
        seed: Decides on all chance.
    """
    run_in_virtual_time(_prepared(recipe, folder, cell, scenario, seed))


class _Office:
    """The people of the cell at a desk, before any instrument is reached."""

    def __init__(self, cell: LoadedCell, desk: Desk) -> None:
        self.cell = cell
        self._desk = desk
        self._sessions: dict[str, str] = {}
        self._requests = 0

    async def open(self) -> None:
        """Have everybody log in."""
        for one in PEOPLE:
            self._sessions[one.login] = await self._desk.log_in(one.login, one.secret, "emulated")

    async def give(self, login: str, name: str, **arguments: Any) -> Given:
        """Have a person give a command, with the password where it signs."""
        self._requests += 1
        session = self._sessions[login]
        return await self._desk.give(
            Command(
                request=f"{login}-{token_sha256(session)[:8]}-{self._requests}",
                seen=(await self._desk.view("people"))["version"],
                session=session,
                name=name,
                arguments=arguments,
                secret=person(login).secret,
            )
        )


async def _prepared(
    recipe: Recipe, folder: Path, cell: LoadedCell, scenario: Scenario, seed: int
) -> None:
    entropy = seeded_bytes(seed)
    journal: Journal[AnyEvent] = Journal(
        folder / "journal.sqlite",
        EVENTS,
        clock=virtual_clock(),
        host=HOST,
        signer=Signer.stored(folder, HOST, entropy),
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            engine = Engine(
                journal,
                HostState(),
                lambda _: {},
                clock=virtual_clock(),
                cell=cell,
                tasks=tasks,
                can_be_suspended=False,
                folder=folder,
            )
            await let_people_in(engine.core, entropy)
            office = _Office(cell, Desk(engine, entropy=entropy, cost=CHEAP_HASHING))
            await office.open()
            await put_on_file(office, engine, recipe, scenario, BATCH)
            places = tuple(sorted(engine.core.state.batches[BATCH].places.values()))
            if places:
                await engine.leases.take(BATCH, ADMISSION, places, until_end_of_batch=True)
            await engine.core.record(BATCH, BatchStarted(batch=BATCH))
        await journal.checkpoint()
    finally:
        journal.close()
