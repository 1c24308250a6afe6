"""Alarms: raised, acknowledged and cleared as events, each with what to do about it.

An alarm needs a person's response; what needs none isn't one (ISA-18.2).
"""

from __future__ import annotations

from typing import Literal

from orchestrator.engine.core import Core
from orchestrator.journal.events import AlarmCleared, AlarmRaised
from orchestrator.kernel.identifiers import BatchId

Tier = Literal["warn", "alarm", "block"]


class Alarms:
    """Raises and clears the alarms of one host."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._raising: set[str] = set()

    async def raise_alarm(
        self,
        name: str,
        *,
        tier: Tier,
        cause: str,
        consequence: str,
        action: str,
        batch: BatchId | None = None,
    ) -> None:
        """Raise it, unless it stands already."""
        standing = self._core.state.alarms.get(name)
        if name in self._raising or (standing is not None and not standing.cleared):
            return
        self._raising.add(name)
        try:
            await self._core.record_for_host(
                AlarmRaised(
                    alarm=name,
                    tier=tier,
                    cause=cause,
                    consequence=consequence,
                    action=action,
                    batch=batch,
                )
            )
        finally:
            self._raising.discard(name)

    async def clear(self, name: str) -> None:
        """Clear it, if it stands."""
        standing = self._core.state.alarms.get(name)
        if standing is not None and not standing.cleared:
            await self._core.record_for_host(AlarmCleared(alarm=name))
