"""The arm picks up nothing that is joined to what stays behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from devices.interfaces.container_transport import PickContainer
from orchestrator.engine.interlocks.occupancy_and_joints import occupancy_and_joints
from orchestrator.kernel.acts import OnInterruption, Quieten
from orchestrator.kernel.identifiers import ContainerId, PlaceId
from orchestrator.kernel.quantities import minute


def thing(place: str, kit: str = "", port: str = "", *, what: str = "reagent") -> Any:
    return SimpleNamespace(place=place, kit=kit, port=port, what=what)


def permit(picked: str, place: str, **containers: Any) -> Any:
    """Return what the interlock looks at: a kit K with its own bags, and what else there is."""
    kit = {
        "K": thing("station", what="kit"),
        "K/vessel": thing("", "K", "vessel", what="kit"),
        "K/waste": thing("sampling", "K", "waste", what="kit"),
    }
    return SimpleNamespace(
        act=PickContainer(
            unit="arm",
            container=ContainerId(picked),
            place=PlaceId(place),
            longest=1 * minute,
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
        ),
        state=SimpleNamespace(containers=kit | containers),
        module=SimpleNamespace(equipment="R1"),
    )


def test_a_kit_goes_with_its_own_bags() -> None:
    assert occupancy_and_joints(permit("K", "station")) is None
    sealed_off = permit("K", "station", B=thing("rack"))
    assert occupancy_and_joints(sealed_off) is None


def test_a_kit_with_a_bag_on_the_rack_stays() -> None:
    why = occupancy_and_joints(permit("K", "station", B=thing("rack", "K", "p2")))
    assert why == "B hangs at rack, joined to K at p2; the arm would drag it along"


def test_a_bag_of_another_kit_keeps_nothing() -> None:
    other = permit("K", "station", B=thing("rack", "K-2", "p2"))
    assert occupancy_and_joints(other) is None


def test_a_bag_that_is_joined_stays() -> None:
    why = occupancy_and_joints(permit("B", "rack", B=thing("rack", "K", "p2")))
    assert why == "B is joined to K; the arm would tear the joint"
