"""The comparison of a run with its claims is shown able to fail.

Method: a feed whose run is sound is given claims with one thing changed.
"""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.kernel.acts import Claims
from orchestrator.kernel.quantities import hour, mL, mL_per_min
from orchestrator.phases.feed import Feed
from tests.unit.phases.answers import ALL, KIT, PROVEN, PUMPED, STATION, Answers, ran

FEED = Feed(
    kit=KIT,
    station=STATION,
    vessel="vessel",
    medium="medium",
    medium_at="p2",
    volume=100 * mL,
    flow=50 * mL_per_min,
    mode="add",
    longest_hold=2 * hour,
)
CLAIMS = FEED.claims()


@pytest.mark.parametrize(
    "others",
    [
        {"touches": CLAIMS.touches[:2]},
        {"touches": (*CLAIMS.touches, CLAIMS.touches[1])},
        {"touches": tuple(touch.model_copy(update={"volume": None}) for touch in CLAIMS.touches)},
        {"needs": CLAIMS.needs[1:]},
        {"identity": "none"},
        {"identity": "fresh"},
        {"second_person": True},
        {"quieten": "leave running"},
        {"longest_safe_hold": 1 * hour},
        {"product_safe_state": ""},
    ],
)
def test_a_claim_that_the_run_does_not_keep_is_found(
    monkeypatch: pytest.MonkeyPatch, others: dict[str, Any]
) -> None:
    changed = CLAIMS.model_copy(update=others)

    def claims(phase: Feed) -> Claims:
        del phase
        return changed

    monkeypatch.setattr(Feed, "claims", claims)
    with pytest.raises(AssertionError):
        ran(FEED, Answers([PROVEN, *PUMPED]))


def test_answers_that_are_left_or_missing_are_found() -> None:
    with pytest.raises(AssertionError, match="nobody asked"):
        ran(FEED, Answers([PROVEN, *PUMPED, ALL]))
    with pytest.raises(AssertionError, match="no answer is left"):
        ran(FEED, Answers([PROVEN, ALL]))
