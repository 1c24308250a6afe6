"""Have the software die at chosen points of a batch, resume, and be judged.

A first run counts the points. The second is the same run; at each chosen point the process
forks, and the child is the run that dies there: journal and wires are severed, the room goes
on alone for a while, a new engine starts on what a power cut could have left of the journal
and goes on to the end of the phase that was cut, or to the procedure's end. No point is
reached by running from the start again. Decision record 0026 has the reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.engine.engine import Engine
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.proof.afterwards import Afterwards, Proving, as_it_is, torn_images
from orchestrator.proof.forks import Forks, Told
from orchestrator.proof.points import Kind, Point
from orchestrator.proof.run import Run, Uninterrupted
from orchestrator.proof.story import Story
from orchestrator.virtual_time import run_in_virtual_time


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


class _Second(Run):
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
        self._acknowledged = 0

    def ended(self, cell: EmulatedCell, engine: Engine) -> None:
        """Make sure that it was the same run."""
        if self.course.digest != self._first.course.digest:
            raise AssertionError("the same run with the same seed met other boundaries")

    def failed(self, failed: BaseException) -> None:
        """End a child that couldn't do what it was to do."""
        if self._forks.is_child:
            self._forks.leave_failed(failed)

    def dies_at(self, at: str) -> bool:
        """Return whether this is a child that dies at a boundary."""
        chosen = self._plan.get(at)
        if chosen is None or not self._splits_off(chosen):
            return False
        if chosen[0].kind is Kind.JOURNAL:
            self.die()
        return True

    def dies_within(self, at: str) -> int | None:
        """Return after how many bytes this dies, if it is a child that does so here."""
        for point in self._plan.get(at, ()):
            if self._splits_off([point]):
                return point.detail
        return None

    def _splits_off(self, points: list[Point]) -> bool:
        """Fork; return whether this is the child, whose points these are."""
        assert self.journal is not None
        is_journal = points[0].kind is Kind.JOURNAL
        disk = self._first.disk if is_journal else self.disk
        begin = points[0].detail if is_journal else disk.points + 1
        next(disk.torn_images(begin, 0, 0), None)  # so that not each child reads the whole log
        self._points, self._acknowledged = points, self.journal.size
        return self._forks.fork(points[0].name)

    async def resurrect(self, cell: EmulatedCell) -> None:
        """Go on in the child."""
        about = self._points[0].name
        if self._points[0].kind is Kind.JOURNAL:
            torn = torn_images(self._first.disk, self._points, self._proving.seed)
        else:
            torn = as_it_is(self.disk, about)
        after = Afterwards(self.story, self._first, self._proving, self._forks, cell, self.folder)
        await after.go_on(torn, about, acknowledged=self._acknowledged)
        self._forks.leave()
