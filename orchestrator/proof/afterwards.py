"""What comes after a death: the journal as a power cut left it, a new engine, the judgement."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple, TypeVar

from devices.transport.transport import Transport
from hw_mocks.ledger_record import ledger_of
from orchestrator.engine.engine import Engine
from orchestrator.engine.state import HostState
from orchestrator.journal.events import (
    AnyEvent,
    AttemptIntended,
    AttemptUncertain,
    HostStarted,
    PhaseEnded,
    StateChanged,
)
from orchestrator.journal.journal import Recorded, read_checkpoints
from orchestrator.journal.verify import verify
from orchestrator.kernel.identifiers import BatchId
from orchestrator.process_cell.emulated import EmulatedCell, open_journal
from orchestrator.process_cell.simulation import is_over
from orchestrator.proof.choosing import chance, shuffled
from orchestrator.proof.disk import Disk, Image, Operation, put_image
from orchestrator.proof.forks import Forks
from orchestrator.proof.judging import differences, shown_by
from orchestrator.proof.points import THEN, Course, Kind, Point
from orchestrator.proof.recovery import Recovery
from orchestrator.proof.run import Uninterrupted, stands, watch_moments
from orchestrator.proof.story import Story
from orchestrator.records.comparison import LedgerEffect, compare
from orchestrator.virtual_time import virtual_clock

T = TypeVar("T")

IMAGES: Final = 5
"""Of each point of the journal: none of what wasn't synced, all of it, and drawn parts."""

TO_THE_END_EACH: Final = 50
"""One death in so many goes on to the procedure's end."""

STANDS_STILL_S: Final = 3 * 86_400.0
"""So much longer than the uninterrupted run a resumed one may take; people come within hours."""

OTHERS_MOST: Final = 4
"""So many second deaths at each recovery that aren't at its journal, drawn by the seed."""

WALL_S: Final = 120
"""So long a child may take of real time."""


@dataclass(frozen=True, slots=True)
class Proving:
    """What is to be done at the chosen points."""

    seed: int
    dead_s: tuple[float, ...]
    workers: int = 2
    every_image: bool = False
    double: bool = False
    then: str | None = None
    """The one second death that is wanted, by its name in the recovery."""
    wall_s: int = WALL_S


class Torn(NamedTuple):
    """One image of the journal: which of a point's it is."""

    point: str
    which: int
    image: Image


@dataclass(frozen=True, slots=True)
class Goal:
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


class Afterwards:
    """Goes on after the death of one process, in this process."""

    def __init__(
        self,
        story: Story,
        first: Uninterrupted,
        proving: Proving,
        forks: Forks,
        cell: EmulatedCell,
        folder: Path,
    ) -> None:
        """Take over ``cell`` as the dead process left it; ``folder`` was its own."""
        self._story = story
        self._first = first
        self._proving = proving
        self._forks = forks
        self._cell = cell
        self._public = folder / "journal.pub"
        self._folder = folder.with_name(f"dead-{os.getpid()}")
        self._goal = self._goal_of(cell.newest)
        self._problems: list[str] = []
        asyncio.get_running_loop().set_exception_handler(self._problem)

    async def go_on(self, torn: Iterable[Torn], about: str, *, acknowledged: int) -> None:
        """Resume on each image, or on one of those that recover alike, and tell what came of it."""
        drawn = f"{self._proving.seed} {about}"
        goes_far = chance(f"{drawn} end", TO_THE_END_EACH) == 0
        try:
            groups = self._alike(torn, acknowledged)
            dead_s = await self._stay_dead(about)
            for group in groups:
                if self._proving.double or self._proving.then is not None:
                    await self._die_again(group, about)
            for last, group in _with_last([] if self._proving.then is not None else groups):
                if last or self._forks.fork_and_wait(about):
                    await self._resume_and_tell(group, dead_s, to_the_end=goes_far)
                    if not last:
                        self._forks.leave()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _stay_dead(self, about: str) -> float:
        """Let the room go on alone."""
        self._let_alone()
        proving = self._proving
        dead_s = proving.dead_s[chance(f"{proving.seed} {about} dead", len(proving.dead_s))]
        await asyncio.sleep(dead_s)
        return dead_s

    def _let_alone(self) -> None:
        watch_moments(self._cell, None)
        self._cell.around = _as_it_is
        self._cell.open_journal = open_journal

    def _goal_of(self, engine: Engine) -> Goal:
        """Return how far to go on, from what was going on at the death."""
        batch = engine.core.state.batches[self._story.batch]
        cut = {str(path) for path, one in batch.phases.items() if one.ended_at is None}
        ended = {str(path) for path in batch.phases} - cut
        now_s = asyncio.get_running_loop().time()
        ends = self._first.phases_ended
        due_s = [ends.get(path, self._first.ended_s) for path in cut]
        if not cut:
            due_s = sorted(at_s for at_s in ends.values() if at_s > now_s)[:1]
        due = max(due_s, default=self._first.ended_s)
        return Goal(self._story.batch, frozenset(cut), frozenset(ended), False, due)

    def _alike(self, torn: Iterable[Torn], acknowledged: int) -> list[list[Torn]]:
        """Return the images, those together that recover to the same journal.

        Each is opened as at a start: one that can't be, or lacks what was acknowledged, is a
        failure here.
        """
        groups: dict[Any, list[Torn]] = {}
        opened: dict[bytes, tuple[int, bytes, int]] = {}
        for one in torn:
            content = _digest(one.image)
            if content not in opened:
                opened[content] = found = self._recovered(one.image)
                if found[0] < acknowledged:
                    raise AssertionError(
                        f"{one.point}, image {one.which}: the journal has {found[0]} events, and "
                        f"{acknowledged} were acknowledged"
                    )
            each = (content, one.point, one.which)
            key = each if self._proving.every_image else opened[content]
            groups.setdefault(key, []).append(one)
        return list(groups.values())

    def _recovered(self, image: Image) -> tuple[int, bytes, int]:
        """Return what a start finds in an image: events, their root, and checkpoints."""
        folder = self._folder / "image"
        _put(image, folder)
        path = folder / "journal.sqlite"
        with open_journal(path, virtual_clock(), self._cell.signer) as journal:
            found = journal.size, journal.root, len(read_checkpoints(path))
        shutil.rmtree(folder)
        return found

    async def _resume_and_tell(
        self, group: Sequence[Torn], dead_s: float, *, to_the_end: bool
    ) -> None:
        began = perf_counter()
        goal = self._goal
        if to_the_end:
            goal = replace(goal, to_the_end=True, due_s=self._first.ended_s)
        folder = self._folder / str(os.getpid())
        _put(group[0].image, folder)
        told = await self._resumed(folder, goal, goal.due_s + dead_s + STANDS_STILL_S)
        if self._problems:
            told["failed"] = "; ".join(self._problems)
        self._forks.tell(
            {
                **told,
                "points": list(dict.fromkeys(one.point for one in group)),
                "images": [[one.point, one.which] for one in group],
                "cut": sorted(goal.cut),
                "dead_s": dead_s,
                "to": "end" if to_the_end else "phase",
                "wall_s": round(perf_counter() - began, 3),
            }
        )

    async def _resumed(self, folder: Path, goal: Goal, latest_s: float) -> dict[str, Any]:
        """Start a new engine on what was left, go on, and return what came of it."""
        cell = self._cell
        cell.folder = folder
        async with cell.engine() as engine:
            batch = engine.core.state.batches[self._story.batch]
            if batch.status == "made" and not batch.start_asked_by:
                await self._story.start(cell, engine)
            reached = asyncio.get_running_loop().create_future()

            def look(_: object = None) -> None:
                if goal.is_reached(engine.core.state) and not reached.done():
                    reached.set_result(None)

            look()
            engine.core.listeners.append(look)
            try:
                async with asyncio.timeout_at(latest_s):
                    await reached
            except TimeoutError:
                return {"failed": f"it stands still: {stands(engine.core.state, batch)}"}
            return self._judged(engine)

    def _judged(self, engine: Engine) -> dict[str, Any]:
        """Return what the comparison and the uninterrupted run say of this one."""
        cell = self._cell
        cell.world.catch_up()
        events = list(engine.core.journal.events())
        ledger = [LedgerEffect(**one) for one in ledger_of(cell.world)]
        comparison = compare(events, ledger, start=cell.technicians[0].room_began)
        ended = {
            str(one.event.path)
            for one in events
            if isinstance(one.event, PhaseEnded) and one.event.batch == self._story.batch
        }
        verdict = verify(cell.journal_path, self._public)
        started = [one.seq for one in events if isinstance(one.event, HostStarted)]
        batch = engine.core.state.batches[self._story.batch]
        return {
            "head": started[-1] - 1,
            "events": len(events),
            "repeated": [str(one) for one in (*comparison.repeated, *comparison.unexplained)],
            "lost": [
                *(str(one) for one in comparison.lost),
                *differences(self._first.shown, shown_by(comparison, ledger, events), ended),
            ],
            "held": _holds(events, started[-1]),
            "failed": f"it is broken: {batch.broken}"
            if batch.broken
            else ""
            if verdict.sound
            else "its journal isn't sound",
        }

    def _problem(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        del loop
        self._problems.append(f"{context.get('message')}: {context.get('exception')!r}")

    # A second death, while the first is recovered from -------------------------------------

    async def _die_again(self, group: Sequence[Torn], about: str) -> None:
        """Die once more at each operation of the recovery's journal, and at a few other points."""
        image = group[0].image
        head = self._recovered(image)[0]
        boundaries, log = await self._counted(image, f"{about} {group[0].which}")
        for points in boundaries:
            name = f"{group[0].point}{THEN}{points[0].name}"
            if self._forks.fork_and_wait(name):
                await self._died_again(group[0], points, log, head)
                self._forks.leave()

    def _second_points(self, course: Course, seed: str) -> Iterator[list[Point]]:
        """Yield the points of a recovery, those of one transaction together."""
        wanted = self._proving.then
        if wanted is not None:
            point = course.named(wanted)
            if point is not None:
                yield [point]
            return
        together: dict[str, list[Point]] = {}
        others: list[Point] = []
        for point in course.points:
            if point.kind is Kind.JOURNAL:
                together.setdefault(point.at, []).append(point)
            else:
                others.append(point)
        yield from together.values()
        count = course.count(Kind.REQUEST)
        if count:
            others.append(course.request(chance(f"{seed} request", count)))
        for point in shuffled(others, seed)[:OTHERS_MOST]:
            yield [point]

    async def _counted(self, image: Image, about: str) -> tuple[list[list[Point]], list[Operation]]:
        """Return where to die in a recovery, and what it does on the disk.

        It is run in another process until the phase goes on: here nothing has happened yet.
        """
        kept = self._folder / "recovery.json"
        if self._forks.fork_and_wait("a recovery that is counted"):
            folder = self._folder / "counted"
            _put(image, folder)
            recovery = Recovery(self._story, folder, ())
            await recovery.live_on(self._cell)
            found = self._second_points(recovery.course, f"{self._proving.seed} {about}")
            told: dict[str, Any] = {
                "points": [[asdict(point) for point in together] for together in found],
                "log": [[*one[:3], one.data.hex(), *one[4:]] for one in recovery.disk.log],
            }
            kept.write_text(json.dumps(told))
            self._forks.leave()
        heard = json.loads(kept.read_text())
        kept.unlink()
        shutil.rmtree(self._folder / "counted")
        points = [[_point(one) for one in together] for together in heard["points"]]
        log = [Operation(*one)._replace(data=bytes.fromhex(one[3])) for one in heard["log"]]
        return points, log

    async def _died_again(
        self, first: Torn, points: Sequence[Point], log: Sequence[Operation], head: int
    ) -> None:
        folder = self._folder / f"again-{os.getpid()}"
        _put(first.image, folder)
        recovery = Recovery(self._story, folder, points)
        await recovery.live_on(self._cell)
        acknowledged = head if recovery.journal is None else recovery.journal.size
        name = f"{first.point}{THEN}{points[0].name}"
        if points[0].kind is Kind.JOURNAL:
            _put(first.image, folder / "before")
            before = Disk(folder / "before" / "journal.sqlite")
            before.log.extend(log)
            found = torn_images(before, points, self._proving.seed)
        else:
            found = as_it_is(recovery.disk, points[0].name)
        torn = [Torn(f"{first.point}{THEN}{one.point}", one.which, one.image) for one in found]
        groups = self._alike(torn, acknowledged)
        dead_s = await self._stay_dead(name)
        for last, group in _with_last(groups):
            if last or self._forks.fork_and_wait(name):
                await self._resume_and_tell(group, dead_s, to_the_end=False)
                self._forks.leave()


def torn_images(disk: Disk, points: Iterable[Point], seed: int) -> Iterator[Torn]:
    """Yield what power cuts at operations of the journal can have left of it."""
    for point in points:
        images = disk.torn_images(point.detail, seed, IMAGES)
        for which in range(1 if point.whole else IMAGES):
            yield Torn(point.name, which, next(images))


def as_it_is(disk: Disk, name: str) -> Iterator[Torn]:
    """Yield the journal as it is now; nothing of it is under way."""
    _, whole = disk.torn_images(disk.points + 1, 0, 2)
    yield Torn(name, 1, whole)


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


def _point(told: Mapping[str, Any]) -> Point:
    fields: dict[str, Any] = {**told, "kind": Kind(told["kind"])}
    return Point(**fields)


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
