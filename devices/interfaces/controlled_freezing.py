"""Cool a container along a ramp: what every controlled-rate freezer promises."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from orchestrator.kernel.acts import Act, Effect, Reading
from orchestrator.kernel.identifiers import ContainerId, PlaceId
from orchestrator.kernel.quantities import RampRate, Temperature


class RampSegment(Act):
    """Take the stage to ``to`` at ``rate`` and hold it there.

    One segment of a curve is one act. Interrupted: the stage goes on by itself, so it is
    left running, waited for and read. ``Effect.done`` is ``"1"``, ``Effect.detail`` holds
    the temperature reached.
    """

    capability: ClassVar[str] = "controlled_freezing"
    kind: Literal["ramp_segment"] = "ramp_segment"
    containers: tuple[ContainerId, ...]
    place: PlaceId
    rate: RampRate = Field(description="Always positive; the direction is from here to ``to``")
    to: Temperature

    def touches(self) -> tuple[ContainerId, ...]:
        return self.containers

    def places(self) -> tuple[PlaceId, ...]:
        return (self.place,)

    def rest_after(self, effect: Effect) -> RampSegment | None:
        return self if effect.done == "0" else None


class StageTemperature(Reading):
    """The stage's temperature as text."""

    capability: ClassVar[str] = "controlled_freezing"
    kind: Literal["stage_temperature"] = "stage_temperature"
