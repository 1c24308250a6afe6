"""One run of a story, told of each boundary that it meets; and the first, uninterrupted one."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Final

from devices.transport.transport import Transport
from hw_mocks.emulator import Moment, OnMoment
from hw_mocks.ledger_record import ledger_of
from orchestrator.engine.engine import Engine
from orchestrator.engine.state import BatchState, HostState
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import AnyEvent, PhaseEnded
from orchestrator.journal.journal import Journal, Recorded
from orchestrator.kernel.errors import FailedError
from orchestrator.kernel.identifiers import CommandId
from orchestrator.kernel.instants import Clock
from orchestrator.kernel.quantities import second
from orchestrator.process_cell.emulated import EmulatedCell, emulated_cell
from orchestrator.process_cell.simulation import LONGEST_DAYS, is_over
from orchestrator.proof.boundaries import WatchedJournal, WatchedLine
from orchestrator.proof.disk import Disk
from orchestrator.proof.judging import PhaseShown, shown_by
from orchestrator.proof.points import Course
from orchestrator.proof.story import Story
from orchestrator.records.comparison import LedgerEffect, compare
from orchestrator.virtual_time import run_in_virtual_time

LOOK_EVERY_S: Final = 3600.0
LONGEST_S: Final = LONGEST_DAYS * 86_400.0


@dataclass(frozen=True, slots=True)
class Uninterrupted:
    """What the first run showed."""

    course: Course
    disk: Disk
    events: list[Recorded[AnyEvent]]
    shown: dict[str, PhaseShown]
    ended_s: float
    phases_ended: dict[str, float]
    """By phase, the second at which it ended."""
    findings: tuple[str, ...]
    wall_s: float


class Run:
    """One run of a story, told of its boundaries. Implements ``Passer``."""

    def __init__(self, story: Story, folder: Path) -> None:
        self.story = story
        self.folder = folder
        self.course = Course()
        self.journal: WatchedJournal | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.disk = Disk(folder / "journal.sqlite")
        self.counts = False
        self._open: tuple[str, int, range, float, str] | None = None
        self.cell: EmulatedCell
        self.died: asyncio.Future[None]

    # The run -----------------------------------------------------------------------------

    async def live(self) -> None:
        """Run the story to its end, or to a death and what comes after it."""
        try:
            await self._live()
        except BaseException as failed:
            self.failed(failed)
            raise

    def failed(self, failed: BaseException) -> None:
        """Take note of an error that ends the run."""

    async def _live(self) -> None:
        story = self.story
        async with emulated_cell(self.folder, story.cell_file, seed=story.seed) as cell:
            self.watch(cell)
            story.bring(cell.world)
            async with cell.engine() as engine:
                await story.prepare(cell, engine)
                self.counts = True
                gc.collect()
                gc.freeze()
                await story.start(cell, engine)
                going = asyncio.ensure_future(until_over(engine, story))
                await asyncio.wait({going, self.died}, return_when=asyncio.FIRST_COMPLETED)
                self.counts = False
                if not self.died.done():
                    await going
                    self.ended(cell, engine)
                going.cancel()
            if self.died.done():
                await self.resurrect(cell)

    def ended(self, cell: EmulatedCell, engine: Engine) -> None:
        """Take note of how the run ended."""

    async def resurrect(self, cell: EmulatedCell) -> None:
        """Go on after a death."""
        del cell
        raise AssertionError("nobody dies in this run")

    def watch(self, cell: EmulatedCell) -> None:
        """Be told of the boundaries of the engines that are started in ``cell`` from now on."""
        self.cell = cell
        self.died = asyncio.get_running_loop().create_future()
        cell.open_journal = self.opened
        cell.around = self._around
        watch_moments(cell, self._moment)

    def opened(self, path: Path, clock: Clock, signer: Signer) -> Journal[AnyEvent]:
        """Open the journal, on the disk that is counted."""
        self.journal = WatchedJournal(path, self, clock=clock, signer=signer, vfs=self.disk.name)
        return self.journal

    def _around(self, line: Transport) -> Transport:
        return WatchedLine(line, self)

    # The boundaries ----------------------------------------------------------------------

    def transaction(self, what: str, events: int) -> bool:
        """Count a transaction that begins."""
        if not self.counts or self.journal is None:
            return False
        first, size = self.disk.points + 1, self.journal.size
        at = self.course.pass_boundary("transaction", f"{what} {size} {events}")
        after = range(size + 1, size + 1 + events)
        self._open = at, first, after, self.now_s(), what
        return self.dies_at(at)

    def transacted(self) -> None:
        """Note the operations of the transaction."""
        if self._open is None:
            return
        at, first, events, at_s, what = self._open
        self._open = None
        operations = [str(one) for one in self.disk.log[first - 1 :]]
        named = f"{what} of event {events.start}" if len(events) == 1 else what
        self.course.transaction(at, operations, first=first, events=events, at_s=at_s, what=named)

    def sending(self, line: str, data: bytes, trigger: CommandId | None) -> int | None:
        """Count what is about to be sent."""
        if not self.counts or self.journal is None:
            return None
        at = self.course.pass_boundary(f"sent/{line}", sha256(data).hexdigest())
        self.course.sent(at, data, trigger, at_s=self.now_s(), head=self.journal.size)
        return self.dies_within(at)

    def came(self, line: str, data: bytes) -> bool:
        """Count a reply."""
        if not self.counts or self.journal is None:
            return False
        at = self.course.pass_boundary(f"reply/{line}", sha256(data).hexdigest())
        self.course.came(at, data, at_s=self.now_s(), head=self.journal.size)
        if self.dies_at(at):
            self.die()
            return True
        return False

    def _moment(self, equipment: str, moment: Moment, request: str) -> None:
        if not self.counts or self.journal is None:
            return
        at = self.course.pass_boundary(f"moment/{equipment}", f"{moment} {request}")
        what = f"{equipment}: {moment} {request}"
        self.course.moment(at, what, at_s=self.now_s(), head=self.journal.size)
        if self.dies_at(at):
            self.die()

    def die(self) -> None:
        """Sever everything at once."""
        self.counts = False
        if self.journal is not None:
            self.journal.is_left_behind = True
        self.cell.sever(self.cell.newest)
        if not self.died.done():
            self.died.set_result(None)

    def dies_at(self, at: str) -> bool:
        """Return whether this process dies at a boundary."""
        del at
        return False

    def dies_within(self, at: str) -> int | None:
        """Return after how many bytes this process dies, or None."""
        del at
        return None

    def now_s(self) -> float:
        """Return the room's time."""
        return asyncio.get_running_loop().time()


class First(Run):
    """The uninterrupted run."""

    found: Uninterrupted

    def ended(self, cell: EmulatedCell, engine: Engine) -> None:
        """Keep what it showed."""
        cell.world.catch_up()
        events = list(engine.core.journal.events())
        ledger = [LedgerEffect(**one) for one in ledger_of(cell.world)]
        began = cell.technicians[0].room_began
        comparison = compare(events, ledger, start=began)
        self.found = Uninterrupted(
            course=self.course,
            disk=self.disk,
            events=events,
            shown=shown_by(comparison, ledger, events),
            ended_s=self.now_s(),
            phases_ended={
                str(one.event.path): (one.at - began).to(second)
                for one in events
                if isinstance(one.event, PhaseEnded)
            },
            findings=tuple(str(one) for one in comparison.findings),
            wall_s=0.0,
        )


def uninterrupted(story: Story, folder: Path) -> Uninterrupted:
    """Run a story once, and count its points. Its disk stays registered while it is used."""
    began = perf_counter()
    run = First(story, folder / "first")
    run_in_virtual_time(run.live())
    return replace(run.found, wall_s=perf_counter() - began)


async def until_over(engine: Engine, story: Story) -> None:
    """Return when the batch has ended and nobody owes anything of it."""
    while story.batch not in engine.core.state.batches or not is_over(
        engine.core.state, story.batch
    ):
        if asyncio.get_running_loop().time() > LONGEST_S:
            state = engine.core.state
            raise FailedError(
                f"run {story.batch} once without a death",
                why=f"it hasn't ended after {LONGEST_DAYS} days: "
                f"{stands(state, state.batches[story.batch])}",
                do_next="Run it by `cellwright simulate`, and correct what it waits for",
            )
        await asyncio.sleep(LOOK_EVERY_S)


def watch_moments(cell: EmulatedCell, told: OnMoment | None) -> None:
    """Have ``told`` called at each moment of an instrument or of a person of ``cell``."""
    for emulator in cell.room.emulators.values():
        emulator.on_moment = told
    for technician in cell.technicians:
        technician.on_moment = told


def stands(state: HostState, batch: BatchState) -> str:
    """Return where a batch stands that doesn't go on."""
    parts = [
        f"{path} {phase.state.value} {phase.why}".strip()
        for path, phase in batch.phases.items()
        if phase.ended_at is None
    ]
    parts += [
        f"task {name} {one.status}"
        for name, one in state.tasks.items()
        if one.status not in ("done", "withdrawn")
    ]
    return "; ".join(parts) or batch.status
