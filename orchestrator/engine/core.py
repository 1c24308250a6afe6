"""What the parts of one engine share: the record, the state, devices, time and bells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import BaseModel

from devices.interfaces.driver import Driver
from orchestrator.engine.fold import fold
from orchestrator.engine.state import HostState
from orchestrator.journal.checkpoints import Checkpoint, StateStatement
from orchestrator.journal.events import HOST, AnyEvent, CommandAnswered
from orchestrator.journal.journal import Journal, Recorded
from orchestrator.kernel.errors import JournalLatchedError
from orchestrator.kernel.instants import Clock
from orchestrator.kernel.quantities import Duration
from orchestrator.process_cell.config import LoadedCell

SLEEP_S_MOST = 1.0
"""A clock that can be suspended is looked at this often (design section 6, Reboot)."""


TIME_KNOWN = "time known"
"""The bell that is rung when the time of a boot has come to be known."""


class Bells:
    """Who waits for what to be recorded: a name is rung when the state has it."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def ring(self, name: str) -> None:
        """Wake those who wait for ``name``."""
        for waiting in self._waiting.pop(name, ()):
            if not waiting.done():
                waiting.set_result(None)

    async def until(self, name: str, is_so: Callable[[], bool]) -> None:
        """Return once ``is_so``; it is asked again each time ``name`` is rung."""
        while not is_so():
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(name, []).append(waiting)
            await waiting


@dataclass(slots=True)
class Core:
    """One engine's shared parts. ``sleeps_by_itself`` is false on clocks that jump."""

    journal: Journal[AnyEvent]
    state: HostState
    drivers: Mapping[str, Driver]
    clock: Clock
    cell: LoadedCell
    tasks: asyncio.TaskGroup
    can_be_suspended: bool
    bells: Bells = field(default_factory=Bells)
    is_over: bool = False
    """The host's last event is on record, or on its way there: nothing follows it."""
    at_rest: asyncio.Event | None = None
    """Set when all has come to rest after the journal latched; None before a start."""
    locks: dict[str, asyncio.Lock] = field(default_factory=dict[str, asyncio.Lock])
    listeners: list[Callable[[Recorded[AnyEvent]], None]] = field(
        default_factory=list[Callable[[Recorded[AnyEvent]], None]]
    )

    def follow(self) -> None:
        """Fold what the journal makes durable, and ring for those who wait for it."""
        self.journal.subscribe(self._recorded)

    def _recorded(self, news: Sequence[Recorded[AnyEvent]]) -> None:
        for one in news:
            fold(self.state, one)
        self.bells.ring("news")
        for one in news:
            for name in rung_by(one.event):
                self.bells.ring(name)
            for listener in self.listeners:
                listener(one)

    async def record(
        self, stream: str, *events: AnyEvent, answer: CommandAnswered | None = None
    ) -> int:
        """Make events durable, all of them or none; return the first one's number.

        Never returns once the host ended.

        Args:
            stream: What they concern.
            events: What happened.
            answer: Recorded with them and after them, where they carry out a person's command.
        """
        if self.is_over:
            await asyncio.Event().wait()
        if answer is not None:
            events = (*events, answer.model_copy(update={"events": len(events)}))
        try:
            if len(events) == 1:
                return await self.journal.append(stream, events[0])
            return (await self.journal.append_all(stream, events)).start
        except JournalLatchedError:
            await self._rest()
            raise

    async def checkpoint(self, state: Callable[[], StateStatement] | None = None) -> Checkpoint:
        """Sign what is durable; see ``Journal.checkpoint``."""
        try:
            return await self.journal.checkpoint(state)
        except JournalLatchedError:
            await self._rest()
            raise

    async def refuse_if_latched(self) -> None:
        """Go on only while events can be recorded.

        Raises:
            JournalLatchedError: They can't; all has come to rest.
        """
        if self.journal.latched is not None:
            await self._rest()
            raise JournalLatchedError(
                "go on",
                why=self.journal.latched,
                do_next="Repair the disk and start the daemon again",
            )

    async def _rest(self) -> None:
        """Return when what may act was brought to rest: the lines are needed until then."""
        if self.at_rest is not None:
            await self.at_rest.wait()

    async def record_for_host(
        self, *events: AnyEvent, answer: CommandAnswered | None = None
    ) -> int:
        """Make events of the host durable, as ``record``."""
        return await self.record(HOST, *events, answer=answer)

    async def record_the_end(self, event: AnyEvent) -> None:
        """Make the host's last event durable, and sign what is on record then."""
        self.is_over = True
        try:
            await self.journal.append(HOST, event)
            await self.journal.checkpoint()
        except JournalLatchedError:
            await self._rest()
            raise

    def lock_of(self, equipment: str) -> asyncio.Lock:
        """Return the lock under which one instrument carries out one act at a time."""
        lock = self.locks.get(equipment)
        if lock is None:
            lock = self.locks[equipment] = asyncio.Lock()
        return lock

    def is_in_doubt(self, equipment: str) -> bool:
        """Return whether what an attempt did on an instrument isn't known yet."""
        batches = self.state.batches
        return any(
            batches[batch].phases[path].words[number].attempts[-1].equipment == equipment
            for batch, path, number in self.state.attempts.values()
        )

    def is_busy(self, equipment: str) -> bool:
        """Return whether an act runs on an instrument, or was left in doubt on it."""
        return self.lock_of(equipment).locked() or self.is_in_doubt(equipment)

    async def sleep(self, duration: Duration) -> None:
        """Return after ``duration``."""
        await self.sleep_to(self.clock.boottime().base + duration.base)

    async def sleep_to(self, boottime_ms: int) -> None:
        """Return when the boot-time clock shows ``boottime_ms`` or more."""
        while True:
            left_ms = boottime_ms - self.clock.boottime().base
            if left_ms <= 0:
                return
            await asyncio.sleep(self.nap_s(left_ms))

    @contextmanager
    def unless_within(self, left: Duration, late: Callable[[], object]) -> Generator[None]:
        """Have ``late`` called once if the block lasts longer than ``left``."""
        loop = asyncio.get_running_loop()
        due_ms = self.clock.boottime().base + max(0, left.base)

        def look() -> None:
            nonlocal timer
            left_ms = due_ms - self.clock.boottime().base
            if left_ms <= 0:
                late()
            else:
                timer = loop.call_later(self.nap_s(left_ms), look)

        timer = loop.call_later(self.nap_s(max(0, left.base)), look)
        try:
            yield
        finally:
            timer.cancel()

    def nap_s(self, left_ms: int) -> float:
        """Return how long to sleep before the boot-time clock is looked at again."""
        left_s = left_ms / 1000
        return min(left_s, SLEEP_S_MOST) if self.can_be_suspended else left_s


_MAY_EMPTY_PLACES = frozenset(
    {"attempt_settled", "attempt_reconciled", "attempt_failed", "container_placed"}
    | {"task_offered", "batch_ended"}
)
"""Kinds of events by which a place can become empty, or a lease be kept at an empty one."""


@cache
def _fields(kind: type[BaseModel]) -> frozenset[str]:
    return frozenset(kind.model_fields)


def rung_by(event: Any) -> tuple[str, ...]:
    """Return the names of the bells that an event rings."""
    names: list[str] = []
    if "task" in _fields(event.__class__) and event.task is not None:
        names.append(f"task {event.task}")
    if event.kind == "attempt_reconciled":
        names.append(f"command {event.command}")
    if event.kind in ("lease_granted", "lease_released", "lease_wanted", "lease_withdrawn"):
        names.append("leases")
    if event.kind in _MAY_EMPTY_PLACES:
        names.append("kept leases")
    if event.kind in ("host_started", "clock_synchronised", "time_signed"):
        names.append(TIME_KNOWN)
    if event.kind in ("phase_started", "phase_ended"):
        names.append("moments")
    return tuple(names)
