"""Alarms: a person says that they have seen one."""

from __future__ import annotations

from typing import Any

from orchestrator.console.office import Office
from orchestrator.journal.events import AlarmAcknowledged
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import UserId


class Alarms:
    """Records who has seen an alarm."""

    def __init__(self, office: Office) -> None:
        self._core = office.core

    async def acknowledge(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Record that a person has seen an alarm that stands."""
        alarm = str(arguments["alarm"])
        if alarm not in self._core.state.alarms:
            raise RefusedError(
                f"acknowledge {alarm!r}", why="it doesn't stand", do_next="Look again"
            )
        return await self._core.record_for_host(
            AlarmAcknowledged(alarm=alarm, by=user), answer=arguments["answer"]
        )
