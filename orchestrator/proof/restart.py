"""Have the software die at chosen points of a batch, resume, and be judged.

A first run counts the points. The second is the same run; at each chosen point the process
forks, and the child is the run that dies there: journal and wires are severed, the room goes
on alone for a while, a new engine starts on what a power cut could have left of the journal
and goes on to the end of the phase that was cut, or to the procedure's end. No point is
reached by running from the start again. ``docs/decisions`` has the reasons.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, Final, TypeVar

from devices.transport.transport import Transport
from hw_mocks.emulator import Moment
from hw_mocks.ledger_record import ledger_of
from orchestrator.engine.engine import Engine
from orchestrator.engine.state import BatchState, HostState
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import (
    AnyEvent,
    AttemptIntended,
    AttemptUncertain,
    HostStarted,
    PhaseEnded,
    StateChanged,
)
from orchestrator.journal.journal import Journal, Recorded, read_checkpoints
from orchestrator.journal.verify import verify
from orchestrator.kernel.errors import FailedError
from orchestrator.kernel.identifiers import BatchId, CommandId
from orchestrator.kernel.instants import Clock
from orchestrator.kernel.quantities import second
from orchestrator.process_cell.emulated import EmulatedCell, emulated_cell, open_journal
from orchestrator.process_cell.simulation import LONGEST_DAYS, is_over
from orchestrator.proof.boundaries import WatchedJournal, WatchedLine
from orchestrator.proof.choosing import chance
from orchestrator.proof.disk import Disk, Image, put_image
from orchestrator.proof.forks import Forks, Told
from orchestrator.proof.judging import Shown, differences, shown_by
from orchestrator.proof.points import Course, Kind, Point
from orchestrator.proof.story import Story
from orchestrator.records.comparison import LedgerEffect, compare
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock

T = TypeVar("T")

IMAGES: Final = 5
"""Of each point of the journal: none of what wasn't synced, all of it, and drawn parts."""

TO_THE_END_EACH: Final = 50
"""One death in so many goes on to the procedure's end."""

STANDS_STILL_S: Final = 3 * 86_400.0
"""So much longer than the uninterrupted run a resumed one may take; people come within hours."""

LOOK_EVERY_S: Final = 3600.0
LONGEST_S: Final = LONGEST_DAYS * 86_400.0

WALL_S: Final = 120
"""So long a child may take of real time."""


@dataclass(frozen=True, slots=True)
class Uninterrupted:
    """What the first run showed."""

    course: Course
    disk: Disk
    events: list[Recorded[AnyEvent]]
    shown: dict[tuple[str, int], Shown]
    ended_s: float
    phases_ended: dict[str, float]
    """By phase, the second at which it ended."""
    findings: tuple[str, ...]
    wall_s: float


@dataclass(frozen=True, slots=True)
class Proving:
    """What is to be done at the chosen points."""

    seed: int
    dead_s: tuple[float, ...]
    workers: int = 2
    every_image: bool = False
    wall_s: int = WALL_S


class _Run:
    """One run of a story, told of its boundaries. Implements ``Passer``."""

    def __init__(self, story: Story, folder: Path) -> None:
        self.story = story
        self.folder = folder
        self.course = Course()
        self.journal: WatchedJournal | None = None
        folder.mkdir(parents=True)
        self.disk = Disk(folder / "journal.sqlite")
        self._counts = False
        self._open: tuple[str, int, range, float, str] | None = None
        self._cell: EmulatedCell
        self._engine: Engine
        self._died: asyncio.Future[None]

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
            self._cell = cell
            cell.open_journal = self._opened
            cell.around = self._around
            story.bring(cell.world)
            loop = asyncio.get_running_loop()
            self._died = loop.create_future()
            async with cell.engine() as engine:
                self._engine = engine
                await story.prepare(cell, engine)
                self._watch_moments(self._moment)
                self._counts = True
                gc.collect()
                gc.freeze()
                await story.start(cell, engine)
                going = asyncio.ensure_future(until_over(engine, story))
                await asyncio.wait({going, self._died}, return_when=asyncio.FIRST_COMPLETED)
                self._counts = False
                if not self._died.done():
                    await going
                    self.ended(cell, engine)
                going.cancel()
            if self._died.done():
                await self.resurrect(cell)

    def ended(self, cell: EmulatedCell, engine: Engine) -> None:
        """Take note of how the run ended."""

    async def resurrect(self, cell: EmulatedCell) -> None:
        """Go on after a death."""
        del cell
        raise AssertionError("nobody dies in this run")

    def _opened(self, path: Path, clock: Clock, signer: Signer) -> Journal[AnyEvent]:
        self.journal = WatchedJournal(path, self, clock=clock, signer=signer, vfs=self.disk.name)
        return self.journal

    def _around(self, line: Transport) -> Transport:
        return WatchedLine(line, self)

    def _watch_moments(self, told: Any) -> None:
        for emulator in self._cell.room.emulators.values():
            emulator.on_moment = told
        for technician in self._cell.technicians:
            technician.on_moment = told

    # The boundaries ----------------------------------------------------------------------

    def transaction(self, what: str, events: int) -> bool:
        """Count a transaction that begins."""
        if not self._counts or self.journal is None:
            return False
        first, size = self.disk.points + 1, self.journal.size
        at = self.course.pass_boundary("transaction", f"{what} {size} {events}")
        after = range(size + 1, size + 1 + events)
        self._open = at, first, after, self._now(), what
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
        if not self._counts or self.journal is None:
            return None
        at = self.course.pass_boundary(f"sent/{line}", sha256(data).hexdigest())
        self.course.sent(at, data, trigger, at_s=self._now(), head=self.journal.size)
        return self.dies_within(at)

    def came(self, line: str, data: bytes) -> bool:
        """Count a reply."""
        if not self._counts or self.journal is None:
            return False
        at = self.course.pass_boundary(f"reply/{line}", sha256(data).hexdigest())
        self.course.came(at, data, at_s=self._now(), head=self.journal.size)
        if self.dies_at(at):
            self.die()
            return True
        return False

    def _moment(self, equipment: str, moment: Moment, request: str) -> None:
        if not self._counts or self.journal is None:
            return
        at = self.course.pass_boundary(f"moment/{equipment}", f"{moment} {request}")
        what = f"{equipment}: {moment} {request}"
        self.course.moment(at, what, at_s=self._now(), head=self.journal.size)
        if self.dies_at(at):
            self.die()

    def die(self) -> None:
        """Sever everything at once."""
        self._counts = False
        if self.journal is not None:
            self.journal.is_left_behind = True
        self._cell.sever(self._engine)
        if not self._died.done():
            self._died.set_result(None)

    def dies_at(self, at: str) -> bool:
        """Return whether this process dies at a boundary."""
        del at
        return False

    def dies_within(self, at: str) -> int | None:
        """Return after how many bytes this process dies, or None."""
        del at
        return None

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


class _First(_Run):
    """The uninterrupted run."""

    found: Uninterrupted

    def ended(self, cell: EmulatedCell, engine: Engine) -> None:
        cell.world.catch_up()
        events = list(engine.core.journal.events())
        ledger = [LedgerEffect(**one) for one in ledger_of(cell.world)]
        began = cell.technicians[0].room_began
        comparison = compare(events, ledger, start=began)
        self.found = Uninterrupted(
            course=self.course,
            disk=self.disk,
            events=events,
            shown=shown_by(comparison, ledger),
            ended_s=self._now(),
            phases_ended={
                str(one.event.path): (one.at - began).to(second)
                for one in events
                if isinstance(one.event, PhaseEnded)
            },
            findings=tuple(str(one) for one in comparison.findings),
            wall_s=0.0,
        )


class _Second(_Run):
    """The same run again, that dies at chosen points, each time in a process of its own."""

    def __init__(
        self,
        story: Story,
        folder: Path,
        first: Uninterrupted,
        chosen: Sequence[Point],
        proving: Proving,
        forks: Forks,
    ) -> None:
        super().__init__(story, folder)
        self._first = first
        self._proving = proving
        self._forks = forks
        self._plan: dict[str, list[Point]] = {}
        for point in chosen:
            self._plan.setdefault(point.at, []).append(point)
        self._points: list[Point] = []
        self._head = 0
        self._problems: list[str] = []
        self._goal: _Goal

    def ended(self, cell: EmulatedCell, engine: Engine) -> None:
        if self.course.digest != self._first.course.digest:
            raise AssertionError("the same run with the same seed met other boundaries")

    def dies_at(self, at: str) -> bool:
        chosen = self._plan.get(at)
        if chosen is None:
            return False
        if not self._splits_off(chosen, at):
            return False
        if self._points[0].kind is Kind.JOURNAL:
            self.die()
        return True

    def dies_within(self, at: str) -> int | None:
        for point in self._plan.get(at, ()):
            if self._splits_off([point], at):
                return point.detail
        return None

    def _splits_off(self, points: list[Point], at: str) -> bool:
        """Fork; return whether this is the child, whose points these are."""
        disk = self._first.disk if points[0].kind is Kind.JOURNAL else self.disk
        begin = points[0].detail if points[0].kind is Kind.JOURNAL else disk.points + 1
        next(disk.torn_images(begin, 0, 0), None)  # the log is read once, by the parent
        if not self._forks.fork(points[0].name):
            return False
        self._points = points
        assert self.journal is not None
        self._head = self.journal.size
        asyncio.get_running_loop().set_exception_handler(self._problem)
        return True

    def failed(self, failed: BaseException) -> None:
        if self._forks.is_child:
            self._forks.leave_failed(self._points[0].name if self._points else "?", failed)

    def _problem(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        self._problems.append(f"{context.get('message')}: {context.get('exception')!r}")

    # After a death -----------------------------------------------------------------------

    async def resurrect(self, cell: EmulatedCell) -> None:
        self._watch_moments(None)
        cell.around = _as_it_is
        cell.open_journal = open_journal
        proving = self._proving
        drawn = f"{proving.seed} {self._points[0].name}"
        self._goal = self._goal_of(to_the_end=chance(f"{drawn} end", TO_THE_END_EACH) == 0)
        dead_s = proving.dead_s[chance(f"{drawn} dead", len(proving.dead_s))]
        folder = self.folder.with_name(f"dead-{os.getpid()}")
        try:
            groups = self._by_what_is_left(folder, cell)
            await asyncio.sleep(dead_s)
            for last, (images, names) in _with_last(groups):
                about = names[0][0]
                if last or self._forks.fork_and_wait(about):
                    told = await self._resumed(cell, images[0], folder / str(os.getpid()), dead_s)
                    told = {**told, "points": list(dict.fromkeys(n for n, _ in names))}
                    self._forks.tell({**told, "images": [list(one) for one in names]})
                    if not last:
                        self._forks.leave()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._forks.leave()

    def _goal_of(self, *, to_the_end: bool) -> _Goal:
        """Return how far this process goes on, from what was going on as it died."""
        batch = self._engine.core.state.batches[self.story.batch]
        cut = {str(path) for path, one in batch.phases.items() if one.ended_at is None}
        ended = {str(path) for path in batch.phases} - cut
        now_s = asyncio.get_running_loop().time()
        ends = self._first.phases_ended
        due_s = [ends.get(path, self._first.ended_s) for path in cut]
        if not cut:
            due_s = sorted(at_s for at_s in ends.values() if at_s > now_s)[:1]
        return _Goal(
            self.story.batch,
            frozenset(cut),
            frozenset(ended),
            to_the_end,
            self._first.ended_s if to_the_end else max(due_s, default=self._first.ended_s),
        )

    def _by_what_is_left(
        self, folder: Path, cell: EmulatedCell
    ) -> list[tuple[list[Image], list[tuple[str, int]]]]:
        """Return the images of the points, those together that recover to the same journal.

        Each is opened as at a start: an image that can't be is a failure here.
        """
        groups: dict[Any, tuple[list[Image], list[tuple[str, int]]]] = {}
        opened: dict[bytes, tuple[int, bytes, int]] = {}
        for name, which, image in self._images():
            content = _digest(image)
            if content not in opened:
                opened[content] = self._recovered(image, folder / "image", cell)
            key = (content, name, which) if self._proving.every_image else opened[content]
            images, names = groups.setdefault(key, ([], []))
            images.append(image)
            names.append((name, which))
        return list(groups.values())

    def _images(self) -> Iterator[tuple[str, int, Image]]:
        if self._points[0].kind is not Kind.JOURNAL:
            disk = self.disk
            found = list(disk.torn_images(disk.points + 1, self._proving.seed, 2))
            yield self._points[0].name, 1, found[1]
            return
        for point in self._points:
            count = 1 if point.whole else IMAGES
            images = self._first.disk.torn_images(point.detail, self._proving.seed, IMAGES)
            for which in range(count):
                yield point.name, which, next(images)

    def _recovered(self, image: Image, folder: Path, cell: EmulatedCell) -> tuple[int, bytes, int]:
        """Return what a start finds in an image: events, their root, and checkpoints."""
        _put(image, folder)
        path = folder / "journal.sqlite"
        with open_journal(path, virtual_clock(), cell.signer) as journal:
            found = journal.size, journal.root, len(read_checkpoints(path))
        shutil.rmtree(folder)
        if found[0] < self._head:
            raise AssertionError(
                f"the journal has {found[0]} events, and {self._head} were acknowledged"
            )
        return found

    async def _resumed(
        self, cell: EmulatedCell, image: Image, folder: Path, dead_s: float
    ) -> dict[str, Any]:
        """Start a new engine on what was left, go on, and return what came of it."""
        began = perf_counter()
        _put(image, folder)
        cell.folder = folder
        async with cell.engine() as engine:
            batch = engine.core.state.batches[self.story.batch]
            if batch.status == "made" and not batch.start_asked_by:
                await self.story.start(cell, engine)
            reached = asyncio.get_running_loop().create_future()

            def look(_: object = None) -> None:
                if self._goal.is_reached(engine.core.state) and not reached.done():
                    reached.set_result(None)

            look()
            engine.core.listeners.append(look)
            latest_s = self._goal.due_s + dead_s + STANDS_STILL_S
            try:
                async with asyncio.timeout_at(latest_s):
                    await reached
            except TimeoutError:
                told = {"failed": f"it stands still: {_stands(engine.core.state, batch)}"}
            else:
                told = self._judged(cell, engine)
        if self._problems:
            told["failed"] = "; ".join(self._problems)
        to = "end" if self._goal.to_the_end else "phase"
        wall_s = round(perf_counter() - began, 3)
        cut = sorted(self._goal.cut)
        return {**told, "cut": cut, "dead_s": dead_s, "to": to, "wall_s": wall_s}

    def _judged(self, cell: EmulatedCell, engine: Engine) -> dict[str, Any]:
        """Return what the comparison and the uninterrupted run say of this one."""
        cell.world.catch_up()
        events = list(engine.core.journal.events())
        ledger = [LedgerEffect(**one) for one in ledger_of(cell.world)]
        comparison = compare(events, ledger, start=cell.technicians[0].room_began)
        ended = {
            str(one.event.path)
            for one in events
            if isinstance(one.event, PhaseEnded) and one.event.batch == self.story.batch
        }
        verdict = verify(cell.journal_path, self.folder / "journal.pub")
        started = [one.seq for one in events if isinstance(one.event, HostStarted)]
        batch = engine.core.state.batches[self.story.batch]
        return {
            "head": started[-1] - 1,
            "events": len(events),
            "repeated": [str(one) for one in (*comparison.repeated, *comparison.unexplained)],
            "lost": [
                *(str(one) for one in comparison.lost),
                *differences(self._first.shown, shown_by(comparison, ledger), ended),
            ],
            "held": _holds(events, started[-1]),
            "failed": f"it is broken: {batch.broken}"
            if batch.broken
            else ""
            if verdict.sound
            else "its journal isn't sound",
        }


@dataclass(frozen=True, slots=True)
class _Goal:
    """How far a run goes on: to the end of the phases that were cut, or of the procedure."""

    batch: BatchId
    cut: frozenset[str]
    ended: frozenset[str]
    to_the_end: bool
    due_s: float

    def is_reached(self, state: HostState) -> bool:
        """Return whether it has gone so far."""
        batch = state.batches[self.batch]
        if is_over(state, self.batch):
            return True
        if self.to_the_end or batch.broken:
            return bool(batch.broken)
        now = {str(path) for path, one in batch.phases.items() if one.ended_at is not None}
        return self.cut <= now if self.cut else bool(now - self.ended)


def prove(
    story: Story, first: Uninterrupted, chosen: Sequence[Point], proving: Proving, folder: Path
) -> list[Told]:
    """Return what came of a death at each of ``chosen``, in no order.

    Args:
        story: The same that ``first`` was of.
        first: The uninterrupted run.
        chosen: Points of its course.
        proving: How.
        folder: Where journals are made; best in memory.
    """
    told: list[Told] = []
    own = folder / "second"
    forks = Forks(proving.workers, folder=own, wall_s=proving.wall_s, told=told.append)
    second = _Second(story, own, first, chosen, proving, forks)
    with second.disk:
        try:
            run_in_virtual_time(second.live())
        finally:
            forks.wait()
    return told


def uninterrupted(story: Story, folder: Path) -> Uninterrupted:
    """Run a story once, and count its points. Its disk stays registered while it is used."""
    began = perf_counter()
    run = _First(story, folder / "first")
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
                f"{_stands(state, state.batches[story.batch])}",
                do_next="Run it by `cellwright simulate`, and correct what it waits for",
            )
        await asyncio.sleep(LOOK_EVERY_S)


def _holds(events: Sequence[Recorded[AnyEvent]], since: int) -> list[str]:
    """Return why people were asked, or what was held, after a restart."""
    equipment: dict[str, str] = {}
    found: list[str] = []
    for one in events:
        match one.event:
            case AttemptIntended(command=command, equipment=by, asked=asked):
                equipment[command] = f"{by} {asked.get('work') or asked['kind']}"
            case AttemptUncertain(command=command, why=why) if one.seq >= since:
                found.append(f"{equipment[command]}: {why}")
            case StateChanged(trigger="hold", why=why, reason=reason) if (
                one.seq >= since and not reason.startswith("doubt ")
            ):
                found.append(why)
            case _:
                pass
    return found


def _stands(state: HostState, batch: BatchState) -> str:
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


def _put(image: Image, folder: Path) -> None:
    folder.mkdir(parents=True)
    put_image(image, folder)


def _as_it_is(line: Transport) -> Transport:
    return line


def _digest(image: Image) -> bytes:
    content = sha256()
    for name in sorted(image):
        content.update(f"{name} {len(image[name])} ".encode())
        content.update(image[name])
    return content.digest()


def _with_last(groups: Sequence[T]) -> Iterator[tuple[bool, T]]:
    for number, group in enumerate(groups, start=1):
        yield number == len(groups), group
