"""The times between two moments of a recipe, kept as limits (design section 4)."""

from __future__ import annotations

from orchestrator.engine.core import Core
from orchestrator.engine.limits import Limits
from orchestrator.journal.events import MomentPassed
from orchestrator.kernel.identifiers import BatchId, PhasePath
from orchestrator.kernel.instants import Instant
from orchestrator.recipe.model import Lag, Recipe, written_path


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

    async def passed(self, path: PhasePath, edge: str) -> None:
        """Note that an element starts or ended; wait first for what must lie between."""
        key = (written_path(path), edge)
        ends = self._by_end.get(key, ())
        starts = self._by_start.get(key, ())
        if not ends and not starts:
            return
        batch = self._core.state.batches[self._batch]
        if f"{edge} {path}" in batch.moments:
            return
        for lag in ends:
            since = self._since(lag)
            if lag.minimum is not None and since is not None:
                await self._core.sleep_until(since + lag.minimum)
        await self._core.record(
            self._batch,
            MomentPassed.model_validate({"batch": self._batch, "path": path, "edge": edge}),
        )
        for lag in ends:
            await self._limits.end(self._name(lag))
        for lag in starts:
            await self._limits.start(
                self._name(lag),
                owner=lag.name,
                batch=self._batch,
                maximum=lag.maximum,
                tier=lag.tier.value,
                source=lag.source,
            )

    def _since(self, lag: Lag) -> Instant | None:
        limit = self._core.state.limits.get(self._name(lag))
        return None if limit is None else limit.started_at

    def _name(self, lag: Lag) -> str:
        return f"{self._batch}/{lag.name}"
