"""One batch in which every instrument of the reference cell acts, watched from near.

``every_instrument.py`` is its author's file. Tests press keys, plant faults and look, while the
real engine, drivers, emulators and technicians work.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from hw_mocks.ledger_record import ledger_of
from hw_mocks.scenario import scenario_for
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import AnyEvent, OutsideActSeen
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.quantities import Duration, hour
from orchestrator.process_cell.emulated import EmulatedCell, emulated_cell
from orchestrator.process_cell.simulation import BATCH, REFERENCE_CELL, is_over, put_on_file
from orchestrator.recipe.check import check_file
from orchestrator.recipe.model import Recipe
from orchestrator.records.comparison import Comparison, LedgerEffect, compare

PROCEDURE: Final = Path(__file__).parent / "every_instrument.py"
TEN_DAYS: Final = "10 * day"
SHORT: Final = "6 * hour"
SEED: Final = 1
LONGEST_S: Final = 86_400.0
"""So long an awaited event may take."""

Seen = Callable[[AnyEvent], bool]


@cache
def recipe_idle(idle: str) -> Recipe:
    """Return the recipe, with so long an idle time."""
    if idle == TEN_DAYS:
        found = check_file(PROCEDURE)
    else:
        written = PROCEDURE.read_text()
        assert written.count(TEN_DAYS) == 1
        with TemporaryDirectory() as folder:
            shortened = Path(folder) / PROCEDURE.name
            shortened.write_text(written.replace(TEN_DAYS, idle).replace("    day,\n", ""))
            found = check_file(shortened)
    assert found.recipe is not None, found.findings
    return found.recipe


@dataclass
class Watched:
    """One run of the batch: its room, its engine, and what was recorded."""

    cell: EmulatedCell
    engine: Engine
    recorded: list[Recorded[AnyEvent]] = field(default_factory=list[Recorded[AnyEvent]])
    _awaited: list[tuple[Seen, asyncio.Future[None]]] = field(
        default_factory=list[tuple[Seen, "asyncio.Future[None]"]]
    )

    def __call__(self, recorded: Recorded[AnyEvent]) -> None:
        """Take note of an event."""
        self.recorded.append(recorded)
        for one in [one for one in self._awaited if one[0](recorded.event)]:
            self._awaited.remove(one)
            one[1].set_result(None)

    @property
    def events(self) -> list[AnyEvent]:
        """Return what was recorded since the batch's material came."""
        return [one.event for one in self.recorded]

    async def until(self, seen: Seen) -> None:
        """Return once an event is recorded that is the awaited one."""
        come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append((seen, come))
        async with asyncio.timeout(LONGEST_S):
            await come

    def press(self, equipment: str, key: str) -> None:
        """Press a key of an instrument's panel."""
        self.cell.room.emulators[equipment].press(key)

    async def begin(self, recipe: Recipe) -> None:
        """Bring the material, put it on file, and start the batch."""
        scenario = scenario_for(json.loads(recipe.content), seed=SEED)
        scenario.bring_into(self.cell.world)
        self.engine.core.listeners.append(self)
        await put_on_file(self.cell, self.engine, recipe, scenario, BATCH)
        await self.cell.give("supervisor", "start_batch", batch=str(BATCH))

    async def go_on(self, *, at_most: Duration) -> str:
        """Let time pass until the batch is over or ``at_most`` has; return its status."""
        latest = self.engine.core.clock.utc() + at_most
        while self.engine.core.clock.utc() < latest and not is_over(self.engine.core.state, BATCH):
            await self.engine.core.sleep(1 * hour)
        return self.engine.core.state.batches[BATCH].status

    @property
    def outside(self) -> list[OutsideActSeen]:
        """Return the acts from outside that were recorded."""
        return [one for one in self.events if isinstance(one, OutsideActSeen)]

    @property
    def held(self) -> list[tuple[str, str]]:
        """Return each unit procedure that was held, and why."""
        return [
            (one.path, one.why)
            for one in self.events
            if one.kind == "state_changed" and one.trigger == "held" and "/" not in one.path
        ]

    def judged(self) -> Comparison:
        """Return what the comparison says, as things stand."""
        self.cell.world.catch_up()
        effects = [LedgerEffect(**one) for one in ledger_of(self.cell.world)]
        began = self.cell.technicians[0].room_began
        return compare(self.recorded, effects, start=began)


def idle(event: AnyEvent) -> bool:
    """Tell the moment from which nobody acts, and the kit stands in the incubator."""
    return event.kind == "wait_started"


def offered(work: str) -> Seen:
    """Tell the moment at which a kind of hand work is first to be done."""

    def is_it(event: AnyEvent) -> bool:
        return event.kind == "task_offered" and event.work == "do" and event.ask["work"] == work

    return is_it


def no_differences(*_: object) -> list[tuple[str, str, str]]:
    """Find nothing, in the place of the engine's look for acts from outside."""
    return []


@asynccontextmanager
async def room(folder: Path) -> AsyncGenerator[EmulatedCell]:
    """Yield the reference cell's room."""
    async with emulated_cell(folder, REFERENCE_CELL, seed=SEED) as cell:
        yield cell


@asynccontextmanager
async def batch_in(cell: EmulatedCell, idle_for: str = SHORT) -> AsyncGenerator[Watched]:
    """Yield the batch as it begins; at the end the software dies, and the room goes on."""
    async with cell.engine() as engine:
        watched = Watched(cell, engine)
        await watched.begin(recipe_idle(idle_for))
        yield watched


@asynccontextmanager
async def running(folder: Path, idle_for: str = SHORT) -> AsyncGenerator[Watched]:
    """Yield the batch as it begins, in a room of its own; both are left as they are."""
    async with room(folder) as cell, batch_in(cell, idle_for) as watched:
        yield watched
