"""What a pump moved in several attempts is told as one: volume, weight and pulses agree."""

from __future__ import annotations

import pytest

from devices.interfaces.fluid_transfer import PumpVolume
from orchestrator.kernel.acts import Effect, OnInterruption, Quieten
from orchestrator.kernel.identifiers import ContainerId
from orchestrator.kernel.quantities import minute, mL, mL_per_min

PUMP = PumpVolume(
    unit="station",
    volume=120 * mL,
    flow=100 * mL_per_min,
    forward=True,
    source=ContainerId("C-1"),
    target=ContainerId("C-2"),
    longest=5 * minute,
    on_interruption=OnInterruption.CONTINUE,
    quieten=Quieten.HALT,
)


def _moved(volume: str, **detail: str) -> Effect:
    return Effect(done=volume, detail={"direction": "forward", **detail})


@pytest.mark.parametrize(
    ("first", "weighed", "pulses"),
    [
        (_moved("67.1 mL", weighed="67 mL", pulses="182710"), "119.9 mL", "326760"),
        (_moved("67.1 mL", weighed="67 mL"), "119.9 mL", "unknown, then 144050"),
        (_moved("67.1 mL", pulses="182710"), "unknown, then 52.9 mL", "326760"),
    ],
)
def test_the_detail_is_that_of_all_attempts(first: Effect, weighed: str, pulses: str) -> None:
    last = _moved("52.9 mL", weighed="52.9 mL", pulses="144050")
    total = PUMP.total((first, last))
    assert total.done == "120 mL"
    assert total.detail == {"direction": "forward", "weighed": weighed, "pulses": pulses}
