"""Spin a container: what every centrifuge promises."""

from __future__ import annotations

from typing import ClassVar, Literal

from orchestrator.kernel.acts import Act, Reading
from orchestrator.kernel.identifiers import ContainerId, PlaceId
from orchestrator.kernel.quantities import Duration, Fraction, RelativeForce


class Spin(Act):
    """Spin what stands in the rotor and stop it again.

    ``Effect.done`` is the time at speed as text; a spin that was cut short has sedimented
    a part of the cells and is HELD.
    """

    capability: ClassVar[str] = "centrifugation"
    kind: Literal["spin"] = "spin"
    container: ContainerId
    place: PlaceId
    force: RelativeForce
    acceleration: Fraction
    deceleration: Fraction
    at_speed: Duration

    def touches(self) -> tuple[ContainerId, ...]:
        return (self.container,)

    def places(self) -> tuple[PlaceId, ...]:
        return (self.place,)


class RotorStill(Reading):
    """``"yes"`` once the rotor has stopped (the device answers only then)."""

    capability: ClassVar[str] = "centrifugation"
    kind: Literal["rotor_still"] = "rotor_still"
