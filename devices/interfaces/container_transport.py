"""Carry a container from place to place: what every arm promises."""

from __future__ import annotations

from typing import ClassVar, Literal

from orchestrator.kernel.acts import Act, Reading
from orchestrator.kernel.identifiers import ContainerId, PlaceId


class PickContainer(Act):
    """Grip ``container`` at ``place`` and lift it clear along the taught path.

    Effect: the arm holds the container. ``Effect.done`` is ``"1"``. Interrupted: HOLD
    unless gripper and position both tell.
    """

    capability: ClassVar[str] = "container_transport"
    kind: Literal["pick_container"] = "pick_container"
    container: ContainerId
    place: PlaceId

    def touches(self) -> tuple[ContainerId, ...]:
        return (self.container,)

    def places(self) -> tuple[PlaceId, ...]:
        return (self.place,)


class PlaceContainer(Act):
    """Set ``container`` down at ``place`` along the taught path, and let it go.

    Effect: the place holds the container, the gripper is empty. ``Effect.done`` is ``"1"``.
    """

    capability: ClassVar[str] = "container_transport"
    kind: Literal["place_container"] = "place_container"
    container: ContainerId
    place: PlaceId

    def touches(self) -> tuple[ContainerId, ...]:
        return (self.container,)

    def places(self) -> tuple[PlaceId, ...]:
        return (self.place,)

    def makes_safe(self) -> bool:
        return True


class GripperHolds(Reading):
    """Whether the gripper holds something: ``"yes"`` or ``"no"``."""

    capability: ClassVar[str] = "container_transport"
    kind: Literal["gripper_holds"] = "gripper_holds"
