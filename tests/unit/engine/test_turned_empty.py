"""A pump is turned empty only where the record has nothing docked and no valve is open."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.engine.interlocks.occupancy_and_joints import occupancy_and_joints
from orchestrator.engine.interlocks.path import path
from orchestrator.kernel.acts import evidence_name
from tests.unit.records.diary import turn_empty


def permit(*, places: dict[str, str] | None = None, opened: str = "") -> Any:
    """Return what the two interlocks look at."""
    act = turn_empty()
    containers = {
        name: SimpleNamespace(place=place) for name, place in (places or {"K-1": "rack"}).items()
    }
    (valves,) = act.evidence()
    return SimpleNamespace(
        act=act,
        state=SimpleNamespace(containers=containers),
        unit=SimpleNamespace(
            name="station", places=("station", "station/p1"), modules=(), named_places={}
        ),
        evidence={evidence_name(valves): opened},
    )


def test_an_empty_station_allows_it() -> None:
    allowed = permit(places={"K-1": "rack", "K-2": "incubator/1"})
    assert occupancy_and_joints(allowed) is None
    assert path(allowed) is None


@pytest.mark.parametrize("place", ["station", "station/p1"])
def test_whatever_is_docked_by_the_record_forbids_it(place: str) -> None:
    why = occupancy_and_joints(permit(places={"K-2": "rack", "K-1": place}))
    assert why == f"K-1 is docked at {place}; the pump is turned only while it is empty"


def test_an_open_valve_forbids_it_though_nothing_is_docked_by_the_record() -> None:
    why = path(permit(opened="p1,vessel"))
    assert why == "the valves p1,vessel are open; none may be while the pump turns empty"
