"""One bag is frozen and stored, in a cell of a freezer and a dewar whose power can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hw_mocks.ledger_record import ledger_of
from hw_mocks.world import materials, run_a
from orchestrator.engine.engine import VERSION, Engine
from orchestrator.journal.events import (
    AnyEvent,
    AttemptIntended,
    BatchMade,
    ContainerReceived,
    Named,
    RecipeSubmitted,
    Signed,
)
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.identifiers import BatchId, CoiId, ContainerId, UserId
from orchestrator.kernel.quantities import degC, degC_per_min, hour
from orchestrator.phases.freeze import Freeze
from orchestrator.phases.load import Load
from orchestrator.phases.precool import Precool
from orchestrator.phases.store import Store
from orchestrator.process_cell.emulated import EmulatedCell, emulated_cell
from orchestrator.recipe.model import Operation, Recipe, Step, UnitProcedure
from orchestrator.records.comparison import Comparison, LedgerEffect, compare

CELL: Final = Path(__file__).with_name("freezing_cell.toml")
BATCH: Final = BatchId("B-1")
BAG: Final = "C-1"
USER: Final = UserId("U-0001")
SEED: Final = 11

FIRST_S: Final = 49 * 60.0
"""How long the curve's first segment takes: 49 K at 1 K/min."""

SECOND_S: Final = 4.5 * 60.0


def recipe() -> Recipe:
    """Cool the empty freezer, load the bag, freeze it in two segments, and store it."""
    hold = 2 * hour
    phases = (
        Precool(freezer="freezer", to=4 * degC, rate=10 * degC_per_min, longest_hold=hold),
        Load(containers=("bag",), at="freezer", longest_hold=hold),
        Freeze(
            containers=("bag",),
            freezer="freezer",
            start=4 * degC,
            segments=((1 * degC_per_min, -45 * degC), (10 * degC_per_min, -90 * degC)),
            longest_hold=hold,
        ),
        Store(containers=("bag",), dewar="dewar", position="A1", longest_hold=hold),
    )
    steps = tuple(
        Step(slug=f"{number:02}", name=type(phase).__name__, phase=phase)
        for number, phase in enumerate(phases, start=1)
    )
    once = Operation(slug="once", name="Once", body=steps)
    return Recipe.written(
        Recipe(
            title="Freezing",
            document="TEST-2",
            version="1",
            author="test",
            body=(UnitProcedure(slug="freeze", name="Freeze", body=(once,)),),
        )
    )


@dataclass
class Freezing:
    """A room with one bag and its freezer; engines come and go."""

    cell: EmulatedCell
    warmed: list[str] = field(default_factory=list[str])
    """Each command that warmed the freezer while the bag lay in it."""
    ramps: list[float] = field(default_factory=list[float])
    """The end of each ramp that was begun while the bag lay in the freezer."""

    @property
    def stage(self) -> Any:
        """Return the emulated freezer."""
        return self.cell.room.emulators["F1"]

    @property
    def stands_at(self) -> float:
        """Return the freezer's temperature, in degrees Celsius."""
        return self.cell.world.chamber_temperature("freezer")

    def watch(self) -> None:
        """Note each ramp that begins with the bag in the freezer."""
        world, ramp = self.cell.world, self.cell.world.ramp

        def noted(chamber: str, *, limit_degC: float, **rest: Any) -> float:
            if world.where(BAG) == "freezer":
                self.ramps.append(limit_degC)
                if limit_degC > self.stands_at + 0.1:
                    self.warmed.append(f"{self.stands_at} to {limit_degC}")
            return ramp(chamber, limit_degC=limit_degC, **rest)

        world.ramp = noted

    async def until_dead(self, when: Callable[[AnyEvent], bool], after_s: float = 0.0) -> None:
        """Run an engine until so long after an event, and leave it as a death would."""
        came = asyncio.get_running_loop().create_future()
        async with self.cell.engine() as engine:

            def listen(recorded: Recorded[AnyEvent]) -> None:
                if when(recorded.event) and not came.done():
                    came.set_result(None)

            engine.core.listeners.append(listen)
            going = asyncio.ensure_future(self.go_to_the_end(engine))
            await asyncio.wait({came, going}, return_when=asyncio.FIRST_COMPLETED)
            assert came.done(), "what it was to die at never came"
            await asyncio.sleep(after_s)
            self.cell.sever(engine)
            going.cancel()

    async def to_the_end(self) -> list[Recorded[AnyEvent]]:
        """Run an engine until the batch has ended; return all that was recorded."""
        async with self.cell.engine() as engine:
            await self.go_to_the_end(engine)
            assert engine.core.state.batches[BATCH].status == "complete"
            return list(engine.core.journal.events())

    async def go_to_the_end(self, engine: Engine) -> None:
        """Begin the batch, where it hasn't begun, and wait for its end."""
        if BATCH not in engine.core.state.batches:
            await engine.core.record_for_host(*_on_file(engine))
            await engine.start_batch(BATCH, USER)
        await engine.ended(BATCH)

    def compared(self, recorded: list[Recorded[AnyEvent]]) -> Comparison:
        """Return what the judge says of record and room."""
        self.cell.world.catch_up()
        effects = [LedgerEffect(**one) for one in ledger_of(self.cell.world)]
        return compare(recorded, effects, start=self.cell.technicians[0].room_began)


def segment(number: int) -> Callable[[AnyEvent], bool]:
    """Return what tells the first intent of a segment of the curve."""
    return lambda event: (
        isinstance(event, AttemptIntended)
        and event.path.endswith("/03")
        and event.asked["to"] == str((-45 * degC, -90 * degC)[number - 1])
    )


@asynccontextmanager
async def freezing(folder: Path) -> AsyncGenerator[Freezing]:
    """Yield a room in which a bag waits to be frozen."""
    async with emulated_cell(folder, CELL, seed=SEED) as cell:
        donor = run_a("donor-a")
        cell.world.add_donor(donor)
        cell.world.add_container(
            BAG,
            kind="bag",
            capacity_mL=100,
            label=f"L-{BAG}",
            contents=materials.selected_t_cells(donor, cells=1e8, volume_mL=20),
        )
        room = Freezing(cell)
        room.watch()
        yield room


def _on_file(engine: Engine) -> tuple[AnyEvent, ...]:
    """Return what says that recipe and bag were received and the batch made."""
    written = recipe()
    signed = Signed(
        signer=USER,
        printed_name="A",
        meaning="authored",
        signed_digest=written.digest,
        signed_at=engine.core.clock.utc(),
    )
    return (
        RecipeSubmitted(
            recipe=written.digest,
            title=written.title,
            document=written.document,
            version=written.version,
            content=written.content.decode(),
            signature=signed,
        ),
        ContainerReceived(
            container=ContainerId(BAG),
            label=f"L-{BAG}",
            material="final product",
            what="patient_material",
            coi=CoiId("COI-A"),
            volume="20 mL",
            capacity="100 mL",
            by=USER,
        ),
        BatchMade(
            batch=BATCH,
            coi=CoiId("COI-A"),
            recipe=written.digest,
            cell=engine.core.cell.digest,
            engine=VERSION,
            containers=(Named(name="bag", is_=BAG),),
            kits=(),
            units=(),
            places=(Named(name="dewar", is_="dewar/1"),),
            ordered=(),
            signature=signed,
        ),
    )
