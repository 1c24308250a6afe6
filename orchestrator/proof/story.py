"""What is proven: one batch in a room of its own, the same each time that it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from hw_mocks.scenario import scenario_for
from hw_mocks.world import World
from orchestrator.engine.engine import Engine
from orchestrator.kernel.identifiers import BatchId
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.process_cell.simulation import BATCH, put_on_file
from orchestrator.recipe.model import Recipe


class Story(Protocol):
    """One batch, from what stands in the room to the order to start it."""

    @property
    def batch(self) -> BatchId:
        """Return the batch."""
        ...

    @property
    def cell_file(self) -> Path:
        """Return the process cell file, emulated."""
        ...

    @property
    def seed(self) -> int:
        """Return what decides on all chance."""
        ...

    def bring(self, world: World) -> None:
        """Bring the material into the room."""
        ...

    async def prepare(self, cell: EmulatedCell, engine: Engine) -> None:
        """Put material, recipe and batch on file; nobody dies here."""
        ...

    async def start(self, cell: EmulatedCell, engine: Engine) -> None:
        """Order the batch to be started."""
        ...


class ProtocolStory:
    """A protocol as its author wrote it. Implements ``Story``."""

    def __init__(
        self,
        recipe: Recipe,
        cell_file: Path,
        *,
        seed: int,
        ordered: Mapping[str, str] | None = None,
    ) -> None:
        """Have a batch of ``recipe`` made on the cell of ``cell_file``."""
        self.batch = BATCH
        self.cell_file = cell_file
        self.seed = seed
        self._recipe = recipe
        self._scenario = scenario_for(json.loads(recipe.content), seed=seed, ordered=ordered)

    def bring(self, world: World) -> None:
        """Bring what the recipe declares."""
        self._scenario.bring_into(world)

    async def prepare(self, cell: EmulatedCell, engine: Engine) -> None:
        """Have the people of the cell put all on file."""
        await put_on_file(cell, engine, self._recipe, self._scenario, self.batch)

    async def start(self, cell: EmulatedCell, engine: Engine) -> None:
        """Have the supervisor order the start."""
        await cell.give("supervisor", "start_batch", batch=str(self.batch))
