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
        raised = self.raised(
            name, tier=tier, cause=cause, consequence=consequence, action=action, batch=batch
        )
        if not raised:
            return
        self._raising.add(name)
        try:
            await self._core.record_for_host(*raised)
        finally:
            self._raising.discard(name)

    def raised(
        self,
        name: str,
        *,
        tier: Tier,
        cause: str,
        consequence: str,
        action: str,
        batch: BatchId | None = None,
    ) -> tuple[AlarmRaised, ...]:
        """Return the record that raises it, for what tells of its cause; none if it stands."""
        if name in self._raising or self._stands(name):
            return ()
        return (
            AlarmRaised(
                alarm=name,
                tier=tier,
                cause=cause,
                consequence=consequence,
                action=action,
                batch=batch,
            ),
        )

    async def clear(self, name: str) -> None:
        """Clear it, if it stands."""
        cleared = self.cleared(name)
        if cleared:
            await self._core.record_for_host(*cleared)

    def cleared(self, *names: str) -> tuple[AlarmCleared, ...]:
        """Return the record that clears those of them that stand, for what settles them."""
        return tuple(AlarmCleared(alarm=name) for name in names if self._stands(name))

    def _stands(self, name: str) -> bool:
        standing = self._core.state.alarms.get(name)
        return standing is not None and not standing.cleared
