"""The thin path: one transfer of patient material through every layer, in memory.

A ``ThinCell`` is a World with one kit and two patients' bags, the emulators on in-memory
lines, and two technicians. Its engine can be dropped and started again on the same
journal and the same room.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from hw_mocks.technicians import Slips
from hw_mocks.world import World, materials, run_a, run_b
from orchestrator.engine.engine import VERSION, Engine
from orchestrator.journal.events import (
    AnyEvent,
    BatchMade,
    ContainerReceived,
    LotReceived,
    Named,
    RecipeSubmitted,
    Signed,
)
from orchestrator.kernel.identifiers import (
    BatchId,
    CoiId,
    ContainerId,
    LotId,
    UserId,
)
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.measured import Fixed
from orchestrator.kernel.quantities import hour, mL, mL_per_min
from orchestrator.phases.connect import Connect
from orchestrator.phases.install_kit import InstallKit
from orchestrator.phases.transfer import Transfer
from orchestrator.phases.verify_identity import VerifyIdentity
from orchestrator.process_cell.emulated import EmulatedCell, emulated_cell
from orchestrator.recipe.model import Operation, Recipe, Step, UnitProcedure

HERE = Path(__file__).parent
CELL = HERE / "thin_cell.toml"
BATCH = BatchId("B-1")
BAG = "C-1"
OTHER_BAG = "C-2"
KIT = "K-1"
SEED = 7
USER = UserId("U-0001")
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
            waste="waste",
            waste_at="p6",
            station=station,
            by="sterile_weld",
            patient_material=True,
            rinse=5 * mL,
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


def recipe_that_docks() -> Recipe:
    """Return the thin path with the docking of its kit before it, at a pump just powered on."""
    recipe = thin_recipe()
    (procedure,) = recipe.body
    assert isinstance(procedure, UnitProcedure)
    (operation,) = procedure.body
    assert isinstance(operation, Operation)
    dock = InstallKit(kit="kit", station="transfer-station", longest_hold=2 * hour)
    steps = (Step(slug="00-install", name="00-install", phase=dock), *operation.body)
    docking = operation.model_copy(update={"body": steps})
    body = (procedure.model_copy(update={"body": (docking,)}),)
    return Recipe.written(recipe.model_copy(update={"body": body}))


@asynccontextmanager
async def thin_cell(
    folder: Path, slips: Slips | None = None, *, kit_at: str = "station", vfs: str | None = None
) -> AsyncGenerator[EmulatedCell]:
    """Yield a room with one kit, docked or on the rack, and two patients' bags at hand."""
    async with emulated_cell(folder, CELL, seed=SEED, slips=slips, vfs=vfs) as cell:
        bring(cell.world, kit_at=kit_at)
        yield cell


def bring(world: World, *, kit_at: str = "station") -> None:
    """Bring both patients' bags, and put the kit where it belongs."""
    for donor in (run_a("donor-a"), run_b("donor-b")):
        world.add_donor(donor)
    world.add_kit(
        KIT,
        label=f"L-{KIT}",
        vessel_label=f"L-{KIT}/vessel",
        flush_label=f"L-{KIT}/flush",
        waste_label=f"L-{KIT}/waste",
        place=kit_at,
    )
    for name, donor in ((BAG, run_a("donor-a")), (OTHER_BAG, run_b("donor-b"))):
        world.add_container(
            name,
            kind="bag",
            capacity_mL=300,
            label=f"L-{name}",
            contents=materials.selected_t_cells(donor, cells=1e8, volume_mL=100),
        )


async def begin(engine: Engine, recipe: Recipe | None = None) -> None:
    """Put recipe and material on file, and start the one batch."""
    now, cell = engine.core.clock.utc(), engine.core.cell.digest
    await engine.core.record_for_host(*on_file(now, cell, recipe))
    await engine.start_batch(BATCH, USER)


def on_file(now: Instant, cell_digest: str, recipe: Recipe | None = None) -> list[AnyEvent]:
    """Return what says that recipe and material were received and the batch made."""
    recipe = recipe or thin_recipe()
    signed = Signed(
        signer=USER,
        printed_name="A",
        meaning="authored",
        signed_digest=recipe.digest,
        signed_at=now,
    )
    return [
        RecipeSubmitted(
            recipe=recipe.digest,
            title=recipe.title,
            document=recipe.document,
            version=recipe.version,
            content=recipe.content.decode(),
            signature=signed,
        ),
        LotReceived(lot=LotId("LOT-1"), material="kit", expires=now + 1000 * hour, by=USER),
        ContainerReceived(
            container=ContainerId(KIT),
            label=f"L-{KIT}",
            material="kit",
            what="kit",
            lot=LotId("LOT-1"),
            positions=("vessel", "flush", "waste"),
            volumes=("0 mL", "200 mL", "0 mL"),
            by=USER,
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
                by=USER,
            )
            for name, coi in ((BAG, "COI-A"), (OTHER_BAG, "COI-B"))
        ),
        BatchMade(
            batch=BATCH,
            coi=CoiId("COI-A"),
            recipe=recipe.digest,
            cell=cell_digest,
            engine=VERSION,
            containers=(
                Named(name="patient bag", is_=BAG),
                Named(name="vessel", is_=f"{KIT}/vessel"),
                Named(name="flush", is_=f"{KIT}/flush"),
                Named(name="waste", is_=f"{KIT}/waste"),
            ),
            kits=(Named(name="kit", is_=KIT),),
            units=(),
            places=(),
            ordered=(),
            signature=signed,
        ),
    ]
