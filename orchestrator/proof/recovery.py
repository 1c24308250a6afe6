"""A start after a death that is itself watched: to count its points, or to die at one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import AnyEvent, AttemptIntended, PhaseEnded, TaskReported
from orchestrator.journal.journal import Journal, Recorded
from orchestrator.kernel.instants import Clock
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.proof.points import Kind, Point
from orchestrator.proof.run import Run
from orchestrator.proof.story import Story

GOES_ON: Final = (AttemptIntended, PhaseEnded, TaskReported)
"""What the record shows first when a phase goes on after a restart."""

OPENING: Final = "opening"

LONGEST_S: Final = 3 * 86_400.0
"""A recovery that doesn't go on by then isn't watched any longer."""


class Recovery(Run):
    """One recovery, until the phase goes on or the software dies in it."""

    def __init__(self, story: Story, folder: Path, points: Sequence[Point]) -> None:
        """Recover from the journal in ``folder``, and die at ``points`` of one boundary, if any."""
        super().__init__(story, folder)
        self._points = points

    async def live_on(self, cell: EmulatedCell) -> None:
        """Start an engine in ``cell``, and return when it goes on or has died."""
        if self._points and self._points[0].at.startswith(OPENING):
            return  # it died before there was an engine: the room saw nothing of it
        cell.folder = self.folder
        self.watch(cell)
        with self.disk:
            self.counts = True
            going = asyncio.ensure_future(self._until_it_goes_on(cell))
            await asyncio.wait({going, self.died}, return_when=asyncio.FIRST_COMPLETED)
            self.counts = False
            if not self.died.done():
                await going
                return
            going.cancel()
            await asyncio.wait({going})

    async def _until_it_goes_on(self, cell: EmulatedCell) -> None:
        async with cell.engine() as engine:
            went_on = asyncio.get_running_loop().create_future()

            def look(recorded: Recorded[AnyEvent]) -> None:
                if isinstance(recorded.event, GOES_ON) and not went_on.done():
                    went_on.set_result(None)

            engine.core.listeners.append(look)
            batch = engine.core.state.batches[self.story.batch]
            if batch.status == "made" and not batch.start_asked_by:
                await self.story.start(cell, engine)
            if batch.status in ("made", "running"):
                await asyncio.wait({went_on}, timeout=LONGEST_S)
            self.counts = False

    def opened(self, path: Path, clock: Clock, signer: Signer) -> Journal[AnyEvent]:
        """Open the journal, and note what that does on the disk as a transaction of its own."""
        at = self.course.pass_boundary(OPENING, "")
        first, at_s = self.disk.points + 1, self.now_s()
        journal = super().opened(path, clock, signer)
        operations = [str(one) for one in self.disk.log[first - 1 :]]
        events = range(journal.size + 1, journal.size + 1)
        self.course.transaction(
            at, operations, first=first, events=events, at_s=at_s, what="opening"
        )
        return journal

    def dies_at(self, at: str) -> bool:
        """Return whether it is the boundary to die at."""
        if not self._points or self._points[0].at != at:
            return False
        if self._points[0].kind is Kind.JOURNAL:
            self.die()
        return True

    def dies_within(self, at: str) -> int | None:
        """Return after how many bytes it dies, if that is the boundary to die at."""
        return self._points[0].detail if self._points and self._points[0].at == at else None
