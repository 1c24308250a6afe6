"""Count cells in a sample: what every counter promises."""

from __future__ import annotations

from typing import ClassVar, Literal

from orchestrator.kernel.acts import Act, Reading
from orchestrator.kernel.identifiers import ContainerId, SampleId


class CountCells(Act):
    """Measure the sample that stands in the counter.

    Counting again on the *same* sample is allowed while sample is left; every result is
    kept. ``Effect.done`` is ``"1"``; ``Effect.detail`` holds ``viable_density`` (cells/mL),
    ``viability`` (%), ``cd3`` (%), ``engineered`` (%) where the counter gives them, and
    ``result`` (the counter's own number of the result).
    """

    capability: ClassVar[str] = "cell_count"
    kind: Literal["count_cells"] = "count_cells"
    sample: SampleId
    tube: ContainerId

    def touches(self) -> tuple[ContainerId, ...]:
        return (self.tube,)


class CounterReady(Reading):
    """``"yes"`` if the counter answers on its line and measures nothing now."""

    capability: ClassVar[str] = "cell_count"
    kind: Literal["counter_ready"] = "counter_ready"
