"""What nobody knows the time of is held: after a reboot whose clock wasn't synchronised.

A batch is held while one of its limits or waits runs since a boot from which no time can be
reckoned to now. It goes on by itself as soon as the clock is synchronised or a person has
signed the time, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.engine.holds import TIME_UNKNOWN, Holds
from orchestrator.engine.limits import WHY_UNKNOWN, Limits
from orchestrator.engine.state import Mark
from orchestrator.journal.events import AnyEvent, StateChanged
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.identifiers import BatchId

ALARM: Final = "time unknown"

_WHY: Final = f"nobody knows how long its limits have run: {WHY_UNKNOWN}"


class UnknownTime:
    """Holds batches whose time isn't known, and lets them go on once it is."""

    def __init__(self, core: Core, alarms: Alarms, holds: Holds, limits: Limits) -> None:
        self._core = core
        self._alarms = alarms
        self._holds = holds
        self._limits = limits

    def heard(self, recorded: Recorded[AnyEvent]) -> bool:
        """Return whether an event asks for a look: a time is known, or a part begins unknown."""
        event = recorded.event
        if event.kind in ("clock_synchronised", "clock_doubted", "time_signed"):
            return True
        return (
            isinstance(event, StateChanged)
            and event.trigger == "start"
            and ALARM in self._core.state.alarms
        )

    async def look(self) -> None:
        """Hold each batch whose time isn't known, and let go on what is held for that alone."""
        state = self._core.state
        running = [BatchId(name) for name, one in state.batches.items() if one.status == "running"]
        unknown = {batch: marks for batch in running if (marks := list(self._unknown(batch)))}
        if unknown:
            await self._say(unknown)
        for batch in running:
            for control in self._holds.controls(batch):
                if batch in unknown:
                    await self._holds.hold(batch, control, _WHY, TIME_UNKNOWN)
                elif TIME_UNKNOWN in control.reasons:
                    await self._holds.let_go_on(
                        batch, control, "the time is known", also=TIME_UNKNOWN
                    )
        if not unknown:
            await self._alarms.clear(ALARM)

    def concerns(self, batch: str) -> bool:
        """Return whether a batch is to be held for it, or was as the daemon ended."""
        procedures = self._core.state.batches[batch].procedures.values()
        return any(self._unknown(batch)) or any(TIME_UNKNOWN in one.reasons for one in procedures)

    def _unknown(self, batch: str) -> Iterator[tuple[Mark, int]]:
        """Yield each start that isn't known of a limit or a wait, with an event of about then."""
        state = self._core.state
        for limit in state.limits.values():
            known = limit.batch != batch or limit.due
            if not known and self._limits.ran_since(limit.mark) is None:
                yield limit.mark, limit.started_seq
        for phase in state.batches[batch].phases.values():
            for word in phase.words.values():
                mark = word.mark if word.answer is None else None
                if mark is not None and self._limits.ran_since(mark) is None:
                    yield mark, phase.started_seq

    async def _say(self, unknown: dict[BatchId, list[tuple[Mark, int]]]) -> None:
        """Raise the alarm, with the times that would make it known."""
        known = self._core.state.known_times
        owed = [] if self._core.clock.boot() in known else ["what time it is now"]
        of = {mark.boot: seq for marks in unknown.values() for mark, seq in marks}
        owed += [
            f"what time it was at event {seq}" for boot, seq in of.items() if boot not in known
        ]
        await self._alarms.raise_alarm(
            ALARM,
            tier="block",
            cause=WHY_UNKNOWN,
            consequence=f"Nobody knows how long limits have run of batch {', '.join(unknown)}, "
            "which is held",
            action="Have the clock synchronised; or sign "
            f"{' and '.join(owed) or 'the time anew'} (`cellwright time`)",
        )
