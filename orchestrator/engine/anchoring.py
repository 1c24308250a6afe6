"""A checkpoint for each minute in which something was recorded.

Phases take hours, and what is recorded between two checkpoints is vouched for by nothing. So
the first event after a checkpoint starts a minute, at whose end what came is signed. Where
nothing is recorded nothing is waited for, and nothing wakes. Follows design section 5,
"Integrity".
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from orchestrator.engine.core import Core
from orchestrator.journal.events import AnyEvent
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.quantities import minute

ANCHORED_WITHIN: Final = 1 * minute
"""Design section 5: so long an event may be on record without a checkpoint."""


class Anchoring:
    """Signs what was recorded, a minute after its first event at the latest."""

    def __init__(
        self, core: Core, spawn: Callable[[Callable[[], Coroutine[Any, Any, None]], str], object]
    ) -> None:
        """Look at each event of ``core``; ``spawn`` runs the minute."""
        self._core = core
        self._spawn = spawn
        self._runs = False
        self._anchored = 0
        core.listeners.append(self._recorded)
        core.journal.at_checkpoint(self._signed)

    def _recorded(self, recorded: Recorded[AnyEvent]) -> None:
        del recorded
        if not self._runs and not self._core.is_over:  # the host's end is signed with it
            self._runs = True
            self._spawn(self._anchor, "checkpoint of each minute")

    def _signed(self, note: str) -> None:
        del note
        self._anchored = self._core.journal.size

    async def _anchor(self) -> None:
        await self._core.sleep(ANCHORED_WITHIN)
        self._runs = False
        if self._anchored < self._core.journal.size and not self._core.is_over:
            await self._core.checkpoint()
