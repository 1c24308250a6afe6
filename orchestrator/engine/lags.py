"""The times between two moments of a recipe, kept as limits (design section 4)."""

from __future__ import annotations

from orchestrator.engine.core import Core
from orchestrator.engine.limits import Limits
from orchestrator.journal.events import LimitEnded, LimitStarted, MomentPassed
from orchestrator.kernel.identifiers import BatchId, PhasePath
from orchestrator.kernel.instants import Instant
from orchestrator.recipe.model import Lag, Recipe, written_path

Noted = MomentPassed | LimitEnded | LimitStarted


class Lags:
    """The lags of one batch."""

    def __init__(self, core: Core, limits: Limits, batch: BatchId, recipe: Recipe) -> None:
        self._core = core
        self._limits = limits
        self._batch = batch
        self._by_end: dict[tuple[str, str], list[Lag]] = {}
        self._by_start: dict[tuple[str, str], list[Lag]] = {}
        for lag in recipe.lags:
            from_event, to_event = lag.from_event, lag.to_event
            self._by_start.setdefault((from_event.path, from_event.edge), []).append(lag)
            self._by_end.setdefault((to_event.path, to_event.edge), []).append(lag)

    def due(self, path: PhasePath) -> Instant | None:
        """Return by when an element must start, by the lags that end with its start."""
        found: list[Instant] = []
        for lag in self._by_end.get((written_path(path), "start"), ()):
            limit = self._core.state.limits.get(self._name(lag))
            if limit is not None and lag.maximum is not None:
                found.append(self._core.clock.utc() + self._limits.left(limit))
        return min(found, key=lambda instant: instant.micros, default=None)

    async def until_minimum(self, path: PhasePath, edge: str) -> None:
        """Wait for what must lie between another moment and this one."""
        if self._has_passed(path, edge):
            return
        for lag in self._by_end.get((written_path(path), edge), ()):
            limit = self._core.state.limits.get(self._name(lag))
            if lag.minimum is not None and limit is not None:
                await self._limits.until_ran(limit.mark, lag.minimum)

    def noted(self, path: PhasePath, edge: str, *, always: bool = False) -> tuple[Noted, ...]:
        """Return what says that an element starts or ended, to be recorded as one.

        Args:
            path: The element.
            edge: ``start`` or ``end``.
            always: Whether the moment is recorded even if no lag names it.
        """
        key = (written_path(path), edge)
        ends = self._by_end.get(key, ())
        starts = self._by_start.get(key, ())
        if self._has_passed(path, edge) or not (ends or starts or always):
            return ()
        ended = [one for lag in ends for one in self._limits.ended(self._name(lag))]
        gone = {one.limit for one in ended}
        return (
            MomentPassed.model_validate({"batch": self._batch, "path": path, "edge": edge}),
            *ended,
            *(
                LimitStarted(
                    limit=self._name(lag),
                    owner=lag.name,
                    batch=self._batch,
                    minimum="" if lag.minimum is None else str(lag.minimum),
                    maximum="" if lag.maximum is None else str(lag.maximum),
                    tier=lag.tier.value,
                    source=lag.source,
                )
                for lag in starts
                if self._name(lag) in gone or self._name(lag) not in self._core.state.limits
            ),
        )

    async def passed(self, path: PhasePath, edge: str) -> None:
        """Record that an element starts or ended, with the limits that end and begin there."""
        noted = self.noted(path, edge)
        if noted:
            await self._core.record(self._batch, *noted)
            await self.after(noted)

    async def after(self, noted: tuple[Noted, ...]) -> None:
        """Have the watch look again, and clear the alarms of limits that ended."""
        for one in noted:
            if isinstance(one, LimitEnded):
                await self._limits.cleared(one.limit)
        self._limits.look_again()

    def _has_passed(self, path: PhasePath, edge: str) -> bool:
        return f"{edge} {path}" in self._core.state.batches[self._batch].moments

    def _name(self, lag: Lag) -> str:
        return f"{self._batch}/{lag.name}"
