"""The row of the freezing rescue table follows from what is surely known, the graver one first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from devices.interfaces.controlled_freezing import RampSegment
from devices.interfaces.driver import Standing
from orchestrator.engine.freezing_rescue import DEFAULT, RescueTable, shipped
from orchestrator.engine.interlocks.never_warmed import never_warmed
from orchestrator.kernel.acts import OnInterruption, Quieten
from orchestrator.kernel.identifiers import ContainerId, PlaceId
from orchestrator.kernel.quantities import (
    Duration,
    Temperature,
    degC,
    degC_per_min,
    hour,
    minute,
)
from orchestrator.phases.freeze import Freeze
from orchestrator.process_cell.config import FreezingRescue

TABLE = RescueTable(FreezingRescue())


def segment(
    to: Temperature = -45 * degC,
    *,
    begins_at: Temperature | None = None,
    containers: tuple[str, ...] = ("BAG-1",),
) -> RampSegment:
    """Return a segment at 1 °C/min."""
    return RampSegment(
        unit="freezer",
        longest=2 * hour,
        on_interruption=OnInterruption.HOLD,
        quieten=Quieten.LEAVE_RUNNING,
        containers=tuple(map(ContainerId, containers)),
        place=PlaceId("freezer"),
        rate=1 * degC_per_min,
        to=to,
        begins_at=begins_at,
    )


@pytest.mark.parametrize(
    ("lasted", "shown", "phase"),
    [
        (5 * minute, "-1.0", "above nucleation"),
        (8 * minute, "3.0", "in the plateau"),  # it may have been at -4 °C
        (5 * minute, "-3.5", "in the plateau"),  # colder than time alone explains
        (20 * minute, "-12.0", "in the plateau"),
        (30 * minute, "-22.0", "on the ramp"),
        (30 * minute, "-18.0", "in the plateau"),  # it warmed
        (60 * minute, "-40.0", "at the end"),
        (60 * minute, "21.0", "in the plateau"),
        (None, "3.0", "in the plateau"),  # nobody knows how long ago it was
        (5 * minute, None, "not to be read"),
    ],
)
def test_the_phase_is_the_graver_of_those_possible(
    lasted: Duration | None, shown: str | None, phase: str
) -> None:
    shows = {"state": "stopped"} | ({} if shown is None else {"temperature": shown})
    assert TABLE.phase(segment(), began_at=4 * degC, lasted=lasted, shown=shows) == phase


def test_a_later_segment_begins_where_the_one_before_it_ended() -> None:
    later = segment(-90 * degC, begins_at=-45 * degC)
    holding = {"state": "holding", "temperature": "-44.0"}
    assert TABLE.why_not_begun(later, holding) == ""
    assert "ended at -45 °C" in TABLE.why_not_begun(later, {**holding, "temperature": "-40.0"})
    assert "stopped" in TABLE.why_not_begun(later, {**holding, "state": "stopped"})
    assert TABLE.why_not_begun(segment(), {"state": "stopped", "temperature": "9.0"}) == ""
    shows = {"state": "stopped", "temperature": "-10.0"}
    phase = TABLE.phase(later, began_at=-10 * degC, lasted=0 * minute, shown=shows)
    assert phase == "in the plateau", "it was at -45 °C before"


def test_no_row_has_a_segment_begun_again_and_each_has_its_reason_and_source() -> None:
    phases = [row.phase for row in shipped().rows]
    assert sorted(phases) == sorted(set(phases))
    for row in shipped().rows:
        assert "nothing" not in row.choices
        assert min(len(row.reason), len(row.do)) > 20
        assert row.source


def test_a_shipped_default_is_told_from_a_temperature_of_the_site() -> None:
    assert set(TABLE.of_phase("on the ramp").rests_on.values()) == {DEFAULT}
    own = RescueTable(FreezingRescue(ice_forms_below=-4 * degC, ice_formed_by=-30 * degC))
    said = own.of_phase("on the ramp").in_words
    assert "ice_forms_below -4 °C set by this site" in said
    assert DEFAULT not in said
    shows = {"state": "stopped", "temperature": "-25.0"}
    phase = own.phase(segment(), began_at=4 * degC, lasted=30 * minute, shown=shows)
    assert phase == "in the plateau"


@pytest.mark.parametrize(
    "stated",
    [
        {"ice_forms_below": "-4 °C"},
        {"ice_forms_below": "-30 °C", "ice_formed_by": "-4 °C"},
        {"ice_froms_below": "-4 °C"},
    ],
)
def test_temperatures_that_bound_no_plateau_are_refused(stated: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        FreezingRescue.model_validate(stated)


def permit(act: RampSegment, shows: dict[str, str], bag_at: str = "rack") -> Any:
    """Return what the interlock looks at."""
    return SimpleNamespace(
        act=act,
        standing=Standing(values=shows),
        module=SimpleNamespace(equipment="F1"),
        state=SimpleNamespace(containers={"BAG-1": SimpleNamespace(place=bag_at)}),
    )


def test_a_loaded_freezer_is_never_warmed() -> None:
    cold = {"state": "holding", "temperature": "-45.0"}
    assert never_warmed(permit(segment(-90 * degC), cold)) is None
    assert "would be warmed to -20 °C" in str(never_warmed(permit(segment(-20 * degC), cold)))
    empty = segment(4 * degC, containers=())
    assert never_warmed(permit(empty, cold)) is None
    assert "BAG-1" in str(never_warmed(permit(empty, cold, bag_at="freezer")))
    assert "isn't known" in str(never_warmed(permit(segment(), {"state": "stopped"})))


def test_a_curve_that_warms_is_no_freezing_curve() -> None:
    with pytest.raises(ValidationError, match="only cools"):
        Freeze(
            containers=("bag",),
            freezer="freezer",
            start=4 * degC,
            segments=((1 * degC_per_min, -45 * degC), (1 * degC_per_min, -12 * degC)),
            longest_hold=1 * hour,
        )
