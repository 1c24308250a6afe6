"""What is done when the journal can't be written any more: bring to rest, and say so once.

Nobody knows then what the disk holds, so nothing may follow. What runs is cut off, so
that no trigger is written behind a halt; then every instrument with an open attempt, also
one that is only being looked into, is quieted as its own phase claims: a pump halts, a
freezer and a chamber are left running. Whoever else meets the error waits until that is
done, so that the lines still live while they are needed.

Follows design sections 5 and 6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from orchestrator.engine.core import Core
from orchestrator.kernel.acts import Quieten
from orchestrator.kernel.errors import JournalLatchedError, ProcessError

CUT_OFF_S_MOST: Final = 0.5
"""So long what runs may take to end before instruments are quieted all the same."""

QUIETEN_S_MOST: Final = 10.0
"""So long a latched engine waits for instruments to come to rest before it ends."""


class Latch:
    """Waits for the journal's latch, for as long as one engine lives."""

    def __init__(self, core: Core, running: Callable[[], Iterable[asyncio.Task[Any]]]) -> None:
        """Watch ``core``'s journal; ``running`` names what is cut off when it latches."""
        self._core = core
        self._running = running
        self._fell = asyncio.Event()
        self._armed = False

    def arm(self) -> None:
        """Begin to watch. Comes before the engine's first event."""
        core = self._core
        self._armed = True
        at_rest = core.at_rest = asyncio.Event()
        core.journal.at_latch(self._fell.set)
        watching = core.tasks.create_task(self._watch())
        # The task group hears of the failure first and ends its own tasks by it; only who
        # asked from outside gets an error of their own. So it is said once.
        watching.add_done_callback(lambda _: at_rest.set())

    def disarm(self) -> None:
        """Do nothing any more when the journal latches: the process counts as dead."""
        self._armed = False

    async def _watch(self) -> None:
        """Bring all to rest once the journal has latched.

        Raises:
            JournalLatchedError: Why, and what was brought to rest.
        """
        try:
            await self._fell.wait()
        finally:
            if self._fell.is_set() and self._armed:
                raise await self._all_to_rest()

    async def _all_to_rest(self) -> JournalLatchedError:
        """Return what is said of the end, when all has come to rest or was waited for."""
        runs = {one for one in self._running() if not one.done()}
        for run in runs:
            run.cancel()
        if runs:
            await asyncio.wait(runs, timeout=CUT_OFF_S_MOST)
        claimed = self._claimed()
        quieting = {
            name: asyncio.ensure_future(self._core.drivers[name].quieten(how))
            for name, how in claimed.items()
        }
        if quieting:
            await asyncio.wait(quieting.values(), timeout=QUIETEN_S_MOST)
        deaf = [name for name, one in quieting.items() if not _came_to_rest(one)]
        rested = [f"{name} ({claimed[name]})" for name in claimed if name not in deaf]
        why = f"{self._core.journal.latched}; nothing more is attempted"
        if rested:
            why += f". Brought to rest: {', '.join(rested)}"
        by_hand = f"Go to {', '.join(deaf)} and bring it to rest by hand; then r" if deaf else "R"
        return JournalLatchedError(
            "record what happens",
            why=why,
            do_next=f"{by_hand}epair the disk and start the daemon again",
        )

    def _claimed(self) -> dict[str, Quieten]:
        """Return how each instrument is brought to rest that may be acting, by its own act."""
        state = self._core.state
        claimed: dict[str, Quieten] = {}
        for batch, path, number in state.attempts.values():
            for attempt in state.batches[batch].phases[path].words[number].attempts:
                if attempt.verdict in ("open", "uncertain"):
                    claimed[attempt.equipment] = Quieten(attempt.act["quieten"])
        return claimed


def _came_to_rest(quieting: asyncio.Future[None]) -> bool:
    """Return whether an instrument heard; one that didn't is waited for no longer."""
    if not quieting.done():
        quieting.cancel()
        return False
    failed = quieting.exception()
    if failed is not None and not isinstance(failed, ProcessError):
        raise failed
    return failed is None
