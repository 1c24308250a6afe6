"""Cool a container along a ramp: what every controlled-rate freezer promises.

What such a freezer shows of itself (``Standing.values``) holds ``state``, which is
``stopped`` where nothing keeps its temperature, and ``temperature`` in degrees Celsius,
left out where its sensor isn't to be believed.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from orchestrator.kernel.acts import Act, Effect, Facts, Reading
from orchestrator.kernel.identifiers import ContainerId, PlaceId
from orchestrator.kernel.quantities import RampRate, Temperature


class RampSegment(Act):
    """Take the stage to ``to`` at ``rate`` and hold it there.

    One segment of a curve is one act. Interrupted: the stage goes on by itself, so it is
    left running, waited for and read. ``Effect.done`` is ``"1"``, or the temperature at which
    people say that the cooling of ``containers`` ended; ``Effect.detail`` holds the
    temperature reached.
    """

    capability: ClassVar[str] = "controlled_freezing"
    kind: Literal["ramp_segment"] = "ramp_segment"
    containers: tuple[ContainerId, ...]
    place: PlaceId
    rate: RampRate = Field(description="Always positive; the direction is from here to ``to``")
    to: Temperature
    begins_at: Temperature | None = Field(
        default=None, description="Where the segment before it ended; None where there is none"
    )

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


def is_stopped(shown: Facts) -> bool:
    """Return whether nothing keeps the stage's temperature, by what it shows."""
    return shown.get("state") == "stopped"


def temperature_of(shown: Facts) -> Temperature | None:
    """Return the stage's temperature by what it shows; None if that isn't known."""
    value = shown.get("temperature")
    return None if value is None else Temperature.read(f"{value} °C")
