"""The journal's checkpoints are copied to its witness, beside all other work.

A witness that can't be reached is an alarm at once. What runs goes on, since it is about
cells that wait for nobody; after a day no new batch is started until the witness has caught
up. A witness that turns out to know a later or another journal latches this one: what it
doesn't hold may have been done.

Follows design section 5, "Integrity".
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import Final

from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.engine.limits import WITNESS, Limits
from orchestrator.journal.events import AnyEvent, JournalWitnessed, LimitStarted
from orchestrator.journal.witness import Witness, WitnessContradictsError, WitnessDamagedError
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.quantities import day
from orchestrator.virtual_time import standing_still

UNWITNESSED_AT_MOST: Final = 1 * day
"""Design section 5; a site may set it lower."""

ANSWERS_WITHIN_S: Final = 10.0
"""Set by site: how long a witness may take for one copy before it counts as not reached."""

LOOK_EACH_S: Final = 60.0
"""So often a witness is looked at, also while nothing is due."""

SHORTENED: Final = "witness shortened"


class NotWitnessedError(RefusedError):
    """The journal has had no witness for too long. Nothing was started."""

    code = "refused.not-witnessed"


class Copier:
    """Copies to a witness in a thread, one copy after the other.

    A folder on another host can keep a thread waiting for ever; the thread is left behind
    then, and the process can end without it.
    """

    def __init__(self, witness: Witness) -> None:
        self.witness: Final = witness
        self._due: list[str] = []
        self._copying: asyncio.Future[None] | None = None

    def take(self, notes: Iterable[str]) -> None:
        """Have the next copy include these."""
        self._due += notes

    async def copy(self) -> None:
        """Return when all that was taken before is on the witness's disk.

        Raises:
            WitnessContradictsError: As from ``Witness.copy``.
            WitnessDamagedError: As from ``Witness.copy``.
            OSError: It can't be reached or written, or doesn't answer in time.
        """
        if self._copying is None:
            self.witness.take(self._due)
            self._due = []
            self._copying = _in_a_thread(self.witness.copy)
        with standing_still():
            await asyncio.wait({self._copying}, timeout=ANSWERS_WITHIN_S)
        if not self._copying.done():
            raise TimeoutError(f"it doesn't answer within {ANSWERS_WITHIN_S:g} s")
        copied, self._copying = self._copying, None
        copied.result()
        if self._due:
            await self.copy()


class Witnessing:
    """Keeps one host's witness up to date, and says where it can't."""

    def __init__(self, core: Core, alarms: Alarms, limits: Limits, copier: Copier | None) -> None:
        """Copy by ``copier``; it has taken what the journal held at its opening."""
        self._core = core
        self._alarms = alarms
        self._limits = limits
        self._copier = copier
        self._news = asyncio.Event()
        self._seen = False
        if copier is not None:
            core.journal.at_checkpoint(self._published)

    async def begin(self) -> None:
        """Look once; a journal that had a witness and has none now misses it."""
        if self._copier is not None:
            await self._look(self._copier)
        elif self._core.state.witnessed is not None:
            await self._missing("the daemon was started without it")

    async def watch(self) -> None:
        """Copy each checkpoint, for ever, and look each minute whether the witness is there."""
        if self._copier is None:
            return
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EACH_S):
                    await self._news.wait()
            self._news.clear()
            await self._look(self._copier)

    async def end(self) -> None:
        """Copy the last checkpoint; where that fails, the next start does it."""
        if self._copier is not None:
            with contextlib.suppress(OSError, WitnessContradictsError, WitnessDamagedError):
                await self._copier.copy()

    def refuse_if_overdue(self, what: str) -> None:
        """Go on with something new only while a witness vouches for what is recorded.

        Raises:
            NotWitnessedError: It has been missing for longer than a day.
        """
        limit = self._core.state.limits.get(WITNESS)
        if limit is None or not (limit.due or self._limits.left(limit).base <= 0):
            return
        raise NotWitnessedError(
            what,
            why=f"the journal's witness has been missing for more than {limit.maximum}, so "
            "nobody could see that its newest records were dropped",
            do_next="Bring the witness back, and start it then; batches that run go on",
        )

    def _published(self, note: str) -> None:
        if self._copier is not None:
            self._copier.take((note,))
            self._news.set()

    async def _look(self, copier: Copier) -> None:
        try:
            await copier.copy()
        except WitnessContradictsError as older:
            self._core.journal.latch(f"{older.why}; {older.do_next}")
            await self._core.refuse_if_latched()
        except WitnessDamagedError as damaged:
            await self._missing(damaged.why)
        except OSError as failed:
            # The text of an OSError names the file, and no event holds a path.
            await self._missing(failed.strerror or (str(failed) if failed.errno is None else ""))
        else:
            await self._there(copier.witness)

    async def _missing(self, why: str) -> None:
        started: tuple[AnyEvent, ...] = ()
        if WITNESS not in self._core.state.limits:
            started = (
                LimitStarted(
                    limit=WITNESS,
                    owner=WITNESS,
                    maximum=str(UNWITNESSED_AT_MOST),
                    tier="block",
                    source="set by site; shipped default",
                ),
            )
        raised = self._alarms.raised(
            WITNESS,
            tier="alarm",
            cause=f"Checkpoints can't be copied to the journal's witness: {why}",
            consequence="Batches go on; after a day without it no new one is started",
            action="Bring the witness back: its disk, its network, or its folder as it was",
        )
        if started or raised:
            await self._core.record_for_host(*started, *raised)
            self._limits.look_again()

    async def _there(self, witness: Witness) -> None:
        news: tuple[AnyEvent, ...] = ()
        if not self._seen:
            before = self._core.state.witnessed or 0
            if witness.found < before:
                news += self._alarms.raised(
                    SHORTENED,
                    tier="alarm",
                    cause=f"The witness vouched for {before} events, and at this start for "
                    f"{witness.found} only; it was filled up again from the journal",
                    consequence="Of what it lost it can't tell whether it was always so",
                    action="Find out who emptied or exchanged it, and acknowledge this",
                )
            news += (JournalWitnessed(events=witness.events),)
        news += self._limits.ended(WITNESS)
        news += self._alarms.cleared(WITNESS, f"limit {WITNESS}")
        self._seen = True
        if news:
            await self._core.record_for_host(*news)


def _in_a_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def resolve(failed: BaseException | None) -> None:
        if done.done():
            return
        if failed is None:
            done.set_result(None)
        else:
            done.set_exception(failed)

    def run() -> None:
        failed: BaseException | None = None
        try:
            work()
        except BaseException as error:
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(resolve, failed)

    threading.Thread(target=run, name="copy to the witness", daemon=True).start()
    return done
