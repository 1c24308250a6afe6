"""Alarms: a person says that they have seen one."""

from __future__ import annotations

from typing import Any

from orchestrator.console.office import Office
from orchestrator.console.old_views import refuse_old_view
from orchestrator.engine.fold import JUMPED
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
        if alarm == JUMPED:  # it may have jumped again since the person looked at it
            refuse_old_view(f"acknowledge {alarm!r}", self._core.state.jumped, arguments)
        return await self._core.record_for_host(
            AlarmAcknowledged(alarm=alarm, by=user), answer=arguments["answer"]
        )
