"""The thin path: one transfer of patient material through every layer, in memory.

A ``ThinCell`` is a World with one kit and two patients' bags, the emulators on in-memory
lines, and two technicians. Its engine can be dropped and started again on the same
journal and the same room.
"""

from __future__ import annotations

import asyncio
import hashlib
import tomllib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from devices.transport.transport import Transport
from hw_mocks.room import Room, furnish
from hw_mocks.serial_scanner import SerialScanner
from hw_mocks.technicians import Slips, Technician
from hw_mocks.world import World, materials, run_a, run_b
from orchestrator.console.desk import Desk
from orchestrator.engine.engine import Engine, fold_journal
from orchestrator.engine.state import HostState
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import (
    EVENTS,
    AnyEvent,
    BatchMade,
    ContainerReceived,
    LotReceived,
    Named,
    PersonAdded,
    RecipeSubmitted,
    SessionOpened,
    Signed,
)
from orchestrator.journal.journal import Journal
from orchestrator.kernel.errors import JournalLatchedError
from orchestrator.kernel.identifiers import (
    BatchId,
    CoiId,
    CommandId,
    ContainerId,
    HostId,
    LotId,
    UserId,
)
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.measured import Fixed
from orchestrator.kernel.quantities import hour, mL, mL_per_min
from orchestrator.phases.connect import Connect
from orchestrator.phases.transfer import Transfer
from orchestrator.phases.verify_identity import VerifyIdentity
from orchestrator.process_cell.build import make_drivers
from orchestrator.process_cell.config import load_cell
from orchestrator.recipe.model import Operation, Recipe, Step, UnitProcedure
from orchestrator.virtual_time import virtual_clock

HERE = Path(__file__).parent
CELL = HERE / "thin_cell.toml"
BATCH = BatchId("B-1")
BAG = "C-1"
OTHER_BAG = "C-2"
KIT = "K-1"
PEOPLE = ("U-1", "U-2")
SEED = 7
TRANSFERRED = 60 * mL


def thin_recipe() -> Recipe:
    """Verify, connect and transfer: the whole of the thin path."""
    station = "transfer-station"
    hold = 2 * hour
    steps = (
        VerifyIdentity(container="kit", at=station, longest_hold=hold),
        Connect(
            container="patient bag",
            kit="kit",
            port="p1",
            flush="flush",
            station=station,
            by="sterile_weld",
            patient_material=True,
            first_dose=1 * mL,
            flow=40 * mL_per_min,
            longest_hold=hold,
        ),
        Transfer(
            kit="kit",
            station=station,
            source="patient bag",
            source_at="p1",
            target="vessel",
            target_at="vessel",
            volume=Fixed(value=str(TRANSFERRED)),
            flow=40 * mL_per_min,
            patient_material=True,
            longest_hold=hold,
        ),
    )
    slugs = ("01-verify", "02-connect", "03-transfer")
    return Recipe.written(
        Recipe(
            title="Thin path",
            document="TEST-1",
            version="1",
            author="test",
            body=(
                UnitProcedure(
                    slug="move",
                    name="Move",
                    body=(
                        Operation(
                            slug="once",
                            name="Once",
                            body=tuple(
                                Step(slug=slug, name=slug, phase=phase)
                                for slug, phase in zip(slugs, steps, strict=True)
                            ),
                        ),
                    ),
                ),
            ),
        )
    )


class _DeadError(Exception):
    """Ends the engine's task group."""


class CutLine:
    """A host's end of a line that can be cut: what is sent afterwards goes nowhere."""

    def __init__(self, line: Transport) -> None:
        self._line = line
        self._is_cut = False
        self.name = line.name

    @property
    def closed(self) -> bool:
        return self._line.closed

    def cut(self) -> None:
        self._is_cut = True

    async def send(self, data: bytes, *, trigger: CommandId | None = None) -> None:
        if self._is_cut:
            await asyncio.Event().wait()
        await self._line.send(data, trigger=trigger)

    async def receive(self) -> bytes:
        received = await self._line.receive()
        if self._is_cut:
            await asyncio.Event().wait()
        return received

    async def close(self) -> None:
        await self._line.close()


@asynccontextmanager
async def thin_cell(folder: Path, slips: Slips | None = None) -> AsyncGenerator[ThinCell]:
    """Yield a room with its people, who stay when engines die."""
    try:
        async with asyncio.TaskGroup() as people:
            yield ThinCell(folder, people, slips)
            raise _DeadError
    except* _DeadError:
        pass  # how the room is left


class ThinCell:
    """One room and one data folder; engines come and go."""

    def __init__(self, folder: Path, people: asyncio.TaskGroup, slips: Slips | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.cell = load_cell(CELL)
        table = tomllib.loads(CELL.read_text())
        self.world = World(loop.time, SEED)
        furnish(self.world, table)
        for donor in (run_a("donor-a"), run_b("donor-b")):
            self.world.add_donor(donor)
        self._bring_things()
        self.room = Room(self.world, table)
        folder.mkdir(exist_ok=True)
        self.journal_path = folder / "journal.sqlite"
        self.signer = Signer.of_entropy(HostId("thin"), lambda count: bytes(range(count)))
        self._people = people
        crew: set[str] = set()
        self.technicians = [
            Technician(
                name=person,
                session=f"token {person}",
                console=None,
                world=self.world,
                room_began=virtual_clock().utc(),
                scanners={"S2": cast("SerialScanner", self.room.emulators["S2"])},
                slips=slips or Slips(),
                crew=crew,
            )
            for person in PEOPLE
        ]
        for technician in self.technicians:
            people.create_task(technician.work())
        self.lines: list[CutLine] = []
        self.desk: Desk

    def _bring_things(self) -> None:
        world = self.world
        world.add_kit(
            KIT,
            label=f"L-{KIT}",
            vessel_label=f"L-{KIT}/vessel",
            flush_label=f"L-{KIT}/flush",
            waste_label=f"L-{KIT}/waste",
            place="station",
        )
        for name, donor in ((BAG, run_a("donor-a")), (OTHER_BAG, run_b("donor-b"))):
            world.add_container(
                name,
                kind="bag",
                capacity_mL=300,
                label=f"L-{name}",
                contents=materials.selected_t_cells(donor, cells=1e8, volume_mL=100),
            )

    @asynccontextmanager
    async def engine(self) -> AsyncGenerator[Engine]:
        """Run an engine on the room until the block ends; nothing is tidied up after it."""
        clock = virtual_clock()
        journal: Journal[AnyEvent] = Journal(
            self.journal_path,
            EVENTS,
            clock=clock,
            host=HostId("thin"),
            signer=self.signer,
            reserve_bytes=4096,
        )
        state = fold_journal(journal)
        try:
            async with asyncio.TaskGroup() as tasks:
                yield await self._start(journal, state, tasks)
                raise _DeadError
        except* (_DeadError, JournalLatchedError):
            journal.close()

    async def _start(
        self, journal: Journal[AnyEvent], state: HostState, tasks: asyncio.TaskGroup
    ) -> Engine:
        clock = virtual_clock()
        fresh = state.seq == 0
        engine = Engine(
            journal,
            state,
            lambda board: make_drivers(
                self.cell.config,
                lambda module: self._line(module.equipment),
                board,
            ),
            clock=clock,
            cell=self.cell,
            tasks=tasks,
            can_be_suspended=False,
        )
        if fresh:
            await self._on_file(engine, clock.utc())
        self.desk = Desk(engine, entropy=lambda count: bytes(count))
        for technician in self.technicians:
            technician.console = self.desk
        await engine.start()
        if fresh:
            await engine.start_batch(BATCH)
        return engine

    def _line(self, equipment: str) -> Transport:
        line = CutLine(self.room.plug_in(equipment, self._people))
        self.lines.append(line)
        return line

    def sever(self, engine: Engine) -> None:
        """Cut every wire and the journal at once, as a death does."""
        engine.core.journal.latch("the software died")
        for line in self.lines:
            line.cut()
        self.lines.clear()
        for technician in self.technicians:
            technician.console = None

    async def _on_file(self, engine: Engine, now: Instant) -> None:
        recipe = thin_recipe()
        user = UserId("U-1")
        signed = Signed(
            signer=user,
            printed_name="A",
            meaning="authored",
            signed_digest=recipe.digest,
            signed_at=now,
        )
        events: list[AnyEvent] = [
            PersonAdded(
                user=UserId(person),
                login=person,
                printed_name=f"Person {person}",
                roles=("technician", "verifier"),
                secret="",
            )
            for person in PEOPLE
        ]
        events += [
            SessionOpened(
                user=UserId(person),
                token_sha256=hashlib.sha256(f"token {person}".encode()).hexdigest(),
                terminal="test",
            )
            for person in PEOPLE
        ]
        events += [
            RecipeSubmitted(
                recipe=recipe.digest,
                title=recipe.title,
                document=recipe.document,
                version=recipe.version,
                content=recipe.content.decode(),
                signature=signed,
            ),
            LotReceived(lot=LotId("LOT-1"), material="kit", expires=now + 1000 * hour, by=user),
            ContainerReceived(
                container=ContainerId(KIT),
                label=f"L-{KIT}",
                material="kit",
                what="kit",
                lot=LotId("LOT-1"),
                positions=("vessel", "flush", "waste"),
                volumes=("0 mL", "200 mL", "0 mL"),
                by=user,
            ),
            *(
                ContainerReceived(
                    container=ContainerId(name),
                    label=f"L-{name}",
                    material="selected cells",
                    what="patient_material",
                    coi=CoiId(coi),
                    volume="100 mL",
                    capacity="300 mL",
                    by=user,
                )
                for name, coi in ((BAG, "COI-A"), (OTHER_BAG, "COI-B"))
            ),
            BatchMade(
                batch=BATCH,
                coi=CoiId("COI-A"),
                recipe=recipe.digest,
                cell=self.cell.digest,
                engine="test",
                containers=(
                    Named(name="patient bag", is_=BAG),
                    Named(name="vessel", is_=f"{KIT}/vessel"),
                    Named(name="flush", is_=f"{KIT}/flush"),
                ),
                kits=(Named(name="kit", is_=KIT),),
                units=(),
                places=(),
                ordered=(),
                signature=signed,
            ),
        ]
        await engine.core.record_for_host(*events)
