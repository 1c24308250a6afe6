"""What somebody must be told of a cell whose daemon may be down, from its journal alone.

A ``Follower`` reads a journal as it grows, keeps the clocks that run in it, and says which
alarms stand at this moment. It writes nothing, locks nothing and keeps no file open between
two looks, so that a daemon that ends meanwhile leaves its folder as it would without it.
What has been said and to whom is the business of who asks.

Follows design section 6, "One limit".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.engine.fold import fold
from orchestrator.engine.limits import left, note_time, ran_since
from orchestrator.engine.state import HostState, LimitState
from orchestrator.journal.events import EVENTS
from orchestrator.journal.journal import Row, has_writer, read_events, read_row
from orchestrator.kernel.errors import (
    BrokenChainError,
    JournalLatchedError,
    LimitRefusedError,
)
from orchestrator.kernel.instants import Clock, Instant
from orchestrator.kernel.quantities import Duration, second

SAID_WITHIN: Final = 30 * second
"""How long after a clock has run out its daemon may take to record that. Set by site."""

DAMAGED_LOOKS: Final = 2
"""A journal that can't be read is looked at again: its daemon may just have begun a new log."""

SILENT: Final = "failed.daemon-gone"
"""The code of the error that a daemon which doesn't answer is told by."""


@dataclass(frozen=True, slots=True)
class StandingAlarm:
    """One alarm that stands. ``name`` is the same as long as it does."""

    name: str
    code: str
    """Of the error that it would be, by which commands end."""
    what: str
    do_next: str
    batches: tuple[str, ...] = ()
    since: Instant | None = None


class Follower:
    """Follows the journal of one host."""

    def __init__(self, journal: Path, clock: Clock) -> None:
        """Follow ``journal``; ``clock`` is that of the host on which this runs."""
        self.state = HostState()
        self._journal = journal
        self._clock = clock
        self._last: Row | None = None
        self._last_at: Instant | None = None
        self._damage: BrokenChainError | None = None
        self._damaged_looks = 0
        self._exchanged = ""
        self._epoch_before = 0
        self._latched = ""

    def look(self) -> None:
        """Read what is new."""
        try:
            self._read_on()
        except BrokenChainError as damage:
            self._damage = damage
            self._damaged_looks += 1
        else:
            self._damage = None
            self._damaged_looks = 0

    def _read_on(self) -> None:
        if self._last is not None:
            self._notice_another_journal(self._last)
        before = self.state.seq
        for recorded in read_events(self._journal, EVENTS, from_seq=before + 1):
            fold(self.state, recorded)
            self._last_at = recorded.at
            if recorded.event.kind == "journal_latched":
                self._latched = recorded.event.why
            elif recorded.event.kind == "host_started":
                self._latched = ""
        if self.state.seq != before:
            self._last = read_row(self._journal, self.state.seq)

    def _notice_another_journal(self, last: Row) -> None:
        """Begin anew where the last event that was read isn't there any more."""
        found = read_row(self._journal, last.seq)
        if found is not None and found.leaf == last.leaf:
            return
        first = read_row(self._journal, 1)
        self.state = HostState()
        self._last = self._last_at = None
        self._latched = ""
        self._exchanged = (
            f"event {last.seq}, which was read before, isn't in the journal any more"
            if first is not None
            else "the journal is empty, and was not"
        )
        self._epoch_before = last.epoch

    def is_restored(self) -> bool:
        """Return whether the journal that took another's place says that it was restored."""
        return self._last is not None and self._last.epoch > self._epoch_before

    def has_another_clock(self) -> bool:
        """Return whether the daemon runs on a clock that isn't this host's, as in a room."""
        return (
            not self.state.ended_well
            and self.state.boot != str(self._clock.boot())
            and has_writer(self._journal)
        )

    def standing(self, silent_since: Instant | None) -> dict[str, StandingAlarm]:
        """Return the alarms that stand now.

        Args:
            silent_since: Since when the daemon has not answered; None while it does.
        """
        every = [*self._of_journal(), *self._of_daemon(silent_since)]
        every += self._of_limits(answers=silent_since is None)
        return {one.name: one for one in every}

    def _of_journal(self) -> Iterator[StandingAlarm]:
        if self._damage is not None and self._damaged_looks >= DAMAGED_LOOKS:
            yield StandingAlarm(
                "journal damaged",
                BrokenChainError.code,
                f"the journal can't be read from event {self.state.seq + 1} on: {self._damage.why}",
                "Touch nothing in the data folder; keep the material safe as `cellwright status` "
                "says, and call who looks after the host",
                self._open_batches(),
                self._last_at,
            )
        if self._exchanged and not self.is_restored():
            yield StandingAlarm(
                "journal exchanged",
                BrokenChainError.code,
                f"another journal lies in the data folder: {self._exchanged}",
                "Start no daemon on it; find out who put it there, and run `cellwright verify` "
                "with the witness",
                self._open_batches(),
            )
        if self._latched:
            yield StandingAlarm(
                "journal latched",
                JournalLatchedError.code,
                f"nothing can be recorded any more: {self._latched}",
                "Keep the material safe as `cellwright status` says; repair the disk and start "
                "the daemon again",
                self._open_batches(),
                self._last_at,
            )

    def _of_daemon(self, silent_since: Instant | None) -> Iterator[StandingAlarm]:
        if silent_since is None:
            return
        batches = self._open_batches()
        if has_writer(self._journal):
            what = "the daemon runs and doesn't answer"
        elif not self.state.ended_well or self._damage is not None:
            what = "the daemon is down, and ended without a word"
        elif batches:
            what = "the daemon was ended in good order, and batches are open"
        else:
            return  # nobody waits for it
        yield StandingAlarm(
            "daemon silent",
            SILENT,
            what,
            "Start it again; until it runs do what `cellwright status` says for each patient",
            batches,
            silent_since,
        )

    def _of_limits(self, *, answers: bool) -> Iterator[StandingAlarm]:
        is_ours = not self.has_another_clock()
        note_time(self.state, self._clock)
        for name, limit in self.state.limits.items():
            if not limit.maximum:
                continue
            over = Duration.of_base(-left(limit, self.state, self._clock).base)
            if not limit.due and not (is_ours and over.base >= 0):
                continue
            yield self._of_limit(name, limit)
            if answers and is_ours and not limit.due and over >= SAID_WITHIN:
                yield StandingAlarm(
                    f"unsaid {name}",
                    SILENT,
                    f"{name} has run out, and the daemon hasn't recorded it: it answers, and "
                    "may not work any more",
                    "Look at the cell; hold the batch, and start the daemon again",
                    _named(limit),
                    limit.started_at + Duration.read(limit.maximum),
                )

    def _of_limit(self, name: str, limit: LimitState) -> StandingAlarm:
        if limit.due or ran_since(limit.mark, self.state, self._clock) is not None:
            what = f"{name}: {limit.maximum} has run out ({limit.source})"
        else:
            what = (
                f"{name}: nobody knows how much of {limit.maximum} is left, as the host was "
                f"restarted and its clock isn't kept to a reference ({limit.source})"
            )
        return StandingAlarm(
            f"limit {name}",
            LimitRefusedError.code,
            what,
            "Finish the step if the daemon runs; else do what `cellwright status` says, write "
            "down what you do and when, and have quality decide",
            _named(limit),
            limit.started_at + Duration.read(limit.maximum),
        )

    def _open_batches(self) -> tuple[str, ...]:
        return tuple(
            name for name, one in self.state.batches.items() if one.status in ("made", "running")
        )


def _named(limit: LimitState) -> tuple[str, ...]:
    return (limit.batch,) if limit.batch else ()
