"""The job under cellwright: the daemon on real wires, one batch whose phase doses sixty times.

Started anew, the daemon goes on by itself from its journal. The kit is scanned again, since
a proof doesn't outlive the process; the scanner that sees it needs nobody.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final, Literal

from devices.interfaces.fluid_transfer import PumpVolume
from devices.interfaces.scanning import Identify
from orchestrator.engine.engine import VERSION, Engine
from orchestrator.journal.events import (
    AnyEvent,
    BatchMade,
    ContainerReceived,
    LotReceived,
    Named,
    RecipeSubmitted,
    Signed,
    TaskOffered,
    TaskReported,
)
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.acts import Claims, OnInterruption, Quieten
from orchestrator.kernel.identifiers import (
    BatchId,
    CoiId,
    ContainerId,
    HostId,
    LotId,
    TaskId,
    UserId,
)
from orchestrator.kernel.instants import Instant, SystemClock
from orchestrator.kernel.quantities import Flow, Range, hour, minute, second, uL
from orchestrator.kernel.tasks import Choice, Question, TaskKind
from orchestrator.phases.liquid import set_valves
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.process_cell.collector import collect_seldom
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.daemon import running
from orchestrator.recipe.model import Operation, Recipe, Step, UnitProcedure
from tests.peers.job import DOSE_UL, doses
from tests.peers.park import PARKED

CELL: Final = Path(__file__).with_name("cell.toml")
STATION: Final = "transfer-station"
KIT: Final = "K-1"
USER: Final = UserId("U-1")


class Doses(PhaseModel):
    """Open one path, dose through it, shut it."""

    kind: Literal["peer_doses/1"] = "peer_doses/1"

    def claims(self) -> Claims:
        """Claim the station; an interrupted dose is continued."""
        return Claims(
            needs=tuple((STATION, one) for one in ("fluid_transfer", "valves", "scanning")),
            duration=Range(lowest=1 * second, highest=1 * hour),
            second_person=True,
            on_interruption=OnInterruption.CONTINUE,
            quieten=Quieten.HALT,
            longest_safe_hold=self.longest_hold,
            product_safe_state="pump halted, all valves shut",
        )

    def sentence(self) -> str:
        """Say what is done."""
        return "Dose from the flush bag to the waste."

    async def run(self, outside: Outside) -> Report:
        """Prove the kit, then dose."""
        kit = await outside.see(
            Identify(unit=STATION, container=outside.container("kit"), place=outside.place(STATION))
        )
        await set_valves(outside, STATION, kit, "flush", "p6")
        for dose in doses():
            await outside.do(
                PumpVolume(
                    unit=STATION,
                    volume=DOSE_UL * uL,
                    flow=Flow.of_base(dose.flow_uL_per_min * 1000),
                    forward=False,
                    source=outside.container("flush"),
                    target=outside.container("waste"),
                    open=("flush", "p6"),
                    longest=1 * minute,
                    on_interruption=OnInterruption.CONTINUE,
                    quieten=Quieten.HALT,
                ),
                proven=(kit,),
            )
        await set_valves(outside, STATION, kit)
        return {}


class Waits(PhaseModel):
    """Wait for a person's word, and then for nothing more."""

    kind: Literal["peer_waits/1"] = "peer_waits/1"

    def claims(self) -> Claims:
        """Claim nothing of the cell."""
        return Claims(
            needs=(),
            duration=Range(lowest=1 * second, highest=1 * hour),
            second_person=True,
            on_interruption=OnInterruption.REPEAT,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="nothing is touched",
        )

    def sentence(self) -> str:
        """Say what is done."""
        return "Wait for a word."

    async def run(self, outside: Outside) -> Report:
        """Ask once."""
        await outside.ask(
            Question(
                kind=TaskKind.DECIDE,
                text="Go on?",
                choices=(Choice(name="yes", leads_to="the end"),),
                respond_within=1 * hour,
            )
        )
        return {}


def _recipe(phase: PhaseModel) -> Recipe:
    step = Step(slug="01-only", name="Only", phase=phase)
    operation = Operation(slug="only", name="Only", body=(step,))
    return Recipe.written(
        Recipe(
            title="Peers",
            document="PEERS-1",
            version="1",
            author="test",
            body=(UnitProcedure(slug="peers", name="Peers", body=(operation,)),),
        )
    )


def _signed(recipe: Recipe, now: Instant) -> Signed:
    return Signed(
        signer=USER,
        printed_name="test",
        meaning="authored",
        signed_digest=recipe.digest,
        signed_at=now,
    )


def _on_file(recipe: Recipe, now: Instant) -> list[AnyEvent]:
    lot = LotId("LOT-1")
    return [
        RecipeSubmitted(
            recipe=recipe.digest,
            title=recipe.title,
            document=recipe.document,
            version=recipe.version,
            content=recipe.content.decode(),
            signature=_signed(recipe, now),
        ),
        LotReceived(lot=lot, material="kit", expires=now + 1000 * hour, by=USER),
        ContainerReceived(
            container=ContainerId(KIT),
            label=f"L-{KIT}",
            material="kit",
            what="kit",
            lot=lot,
            positions=("vessel", "flush", "waste"),
            volumes=("0 mL", "200 mL", "0 mL"),
            by=USER,
        ),
    ]


def _made(batch: BatchId, recipe: Recipe, cell: str, now: Instant) -> BatchMade:
    parts = ("vessel", "flush", "waste")
    return BatchMade(
        batch=batch,
        coi=CoiId(f"COI-{batch}"),
        recipe=recipe.digest,
        cell=cell,
        engine=VERSION,
        containers=tuple(Named(name=part, is_=f"{KIT}/{part}") for part in parts),
        kits=(Named(name="kit", is_=KIT),),
        units=(),
        places=(),
        ordered=(),
        signature=_signed(recipe, now),
    )


async def _begun(engine: Engine, phase: PhaseModel, batches: list[BatchId]) -> None:
    """Put everything on file and start the batches, unless a life before this one did."""
    core, recipe = engine.core, _recipe(phase)
    now = core.clock.utc()
    if not core.state.batches:
        made = [_made(batch, recipe, core.cell.digest, now) for batch in batches]
        await core.record_for_host(*_on_file(recipe, now), *made)
    for batch in batches:
        if core.state.batches[batch].status == "made":
            await engine.start_batch(batch, USER)


async def _dosed(engine: Engine) -> None:
    batch = BatchId("B-1")
    await _begun(engine, Doses(longest_hold=1 * hour), [batch])
    await engine.ended(batch)
    status = engine.core.state.batches[batch].status
    assert status == "complete", status


async def _parked(engine: Engine) -> None:
    asked = asyncio.Event()

    def look(recorded: Recorded[AnyEvent]) -> None:
        if isinstance(recorded.event, TaskOffered) and len(_asked(engine)) == PARKED:
            asked.set()

    engine.core.listeners.append(look)
    await _begun(engine, Waits(longest_hold=1 * hour), _all())
    await asked.wait()
    print("parked", flush=True)
    await asyncio.sleep(3600)


async def _gone_on(engine: Engine) -> None:
    for task in _asked(engine):
        await engine.core.record_for_host(TaskReported(task=task, by=USER, choice="yes"))
    for batch in _all():
        await engine.ended(batch)
    assert all(engine.core.state.batches[one].status == "complete" for one in _all())
    print("gone on", flush=True)


def _all() -> list[BatchId]:
    return [BatchId(f"B-{number}") for number in range(1, PARKED + 1)]


def _asked(engine: Engine) -> list[TaskId]:
    return [TaskId(task) for task, one in engine.core.state.tasks.items() if one.work == "decide"]


async def _main(what: str, folder: Path, ports: Path) -> None:
    cell = folder / "cell.toml"
    text = CELL.read_text("utf-8").replace("FOLDER", os.fspath(ports))
    cell.write_text(text.replace("VALVES", (ports / "V1.tcp").read_text("ascii")), "utf-8")
    data = folder / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    work = {"dose": _dosed, "park": _parked, "go-on": _gone_on}[what]
    loaded = load_cell(cell)
    async with running(
        loaded, data, host=HostId("peers"), clock=SystemClock(), room=None
    ) as engine:
        collect_seldom()
        await work(engine)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
