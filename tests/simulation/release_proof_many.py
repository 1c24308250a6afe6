"""Twelve batches on the reference cell, eight hours apart; forty on forty cells; one at night.

Method: twelve CAR-T batches share one cell, with two technicians by day and one on call at
night. Each is also run alone, with the same number, seed, clock and people: what differs is
sharing. Yields are what the World has in the vessel at the count before harvest. The same
with first come first served, to show whether serving by least time left is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from orchestrator.kernel.quantities import Duration, hour
from tests.release_proof import Measured, part
from tests.simulation.many import (
    CAR_T,
    MSC,
    Start,
    Together,
    missing_from,
    recipe_of,
    run_apart,
    run_together,
    strangers_in,
)

pytestmark = [pytest.mark.release_proof, pytest.mark.timeout(1200)]

SEED: Final = 1
BATCHES: Final = 12
APART: Final = 8 * hour
CELLS: Final = 40
YIELD_WITHIN: Final = 0.05
AROUND_THE_CLOCK: Final = tuple(Start(nth + 1, nth * 6 * hour) for nth in range(4))
STARTS: Final = tuple(Start(nth + 1, nth * APART) for nth in range(BATCHES))


def _figures(ran: Together) -> dict[str, Any]:
    wait = ran.waits[0] if ran.waits else None
    return {
        "complete": sum(one == "complete" for one in ran.status.values()),
        "batches": len(ran.status),
        "holds": ran.holds,
        "repeated": ran.repeated,
        "lost": ran.lost,
        "sound": ran.is_sound,
        "events": ran.events,
        "block_limits_overrun": ran.block_limits_overrun,
        "late_feeds": ran.late_feeds,
        "alarm_limits_overrun": [one for one in ran.due if one not in ran.block_limits_overrun],
        "shared_places": ran.shared,
        "longest_wait": "none" if wait is None else f"{_hours(wait[0])}: {wait[1]}",
        "smallest_margin_of_a_feed": _told(ran.smallest_margin(ran.feeds)),
        "smallest_margin_of_a_block_limit": _told(
            ran.smallest_margin([one for one in ran.clocks if one.tier == "block"])
        ),
        "cells": {batch: round(cells) for batch, cells in sorted(ran.cells.items())},
    }


def _hours(duration: Duration) -> str:
    return f"{duration.to(hour):.2f} h"


def _told(margin: tuple[Duration, str] | None) -> str:
    return "none" if margin is None else f"{_hours(margin[0])}: {margin[1]}"


def _shared(tmp_path: Path, *, by_urgency: bool) -> Measured:
    name = "twelve on one cell, " + ("least time left first" if by_urgency else "first come first")
    return part(
        name,
        lambda: _figures(
            run_together(tmp_path, recipe_of(CAR_T), STARTS, seed=SEED, by_urgency=by_urgency)
        ),
    )


def _alone(folder: Path) -> dict[str, float]:
    cells: dict[str, float] = {}
    for start in STARTS:
        ran = run_together(folder / start.batch, recipe_of(CAR_T), [start], seed=SEED)
        assert ran.status == {start.batch: "complete"}
        cells |= ran.cells
    return cells


@pytest.mark.requirement("IDC-07")
def test_twelve_batches_share_a_cell_and_lose_no_clock_and_no_cells(tmp_path: Path) -> None:
    shared = _shared(tmp_path / "shared", by_urgency=True)
    assert shared["complete"] == BATCHES
    assert (shared["repeated"], shared["lost"], shared["sound"]) == (0, 0, True)
    assert shared["block_limits_overrun"] == []
    assert shared["late_feeds"] == []
    alone = part("twelve, each alone on the cell", lambda: {"cells": _alone(tmp_path)})
    differ = {
        batch: round(shared["cells"][batch] / cells - 1.0, 4)
        for batch, cells in alone["cells"].items()
    }
    part("twelve, shared against alone", lambda: {"yields_differ": differ})
    assert all(abs(one) <= YIELD_WITHIN for one in differ.values()), differ
    assert shared["shared_places"] == []


def test_first_come_first_served_is_measured_and_told(tmp_path: Path) -> None:
    served = _shared(tmp_path, by_urgency=False)
    fails = (
        served["complete"] < BATCHES
        or bool(served["block_limits_overrun"])
        or bool(served["late_feeds"])
    )
    said = "fails" if fails else "does not fail"
    part("first come first served", lambda: {"said": said})
    assert served["batches"] == BATCHES


@pytest.mark.requirement("IDC-04")
def test_forty_batches_on_forty_cells_keep_to_their_own_records(tmp_path: Path) -> None:
    def measure() -> Measured:
        records = run_apart(tmp_path, recipe_of(CAR_T), range(1, CELLS + 1), seed=SEED)
        return {
            "complete": sum(one.status == "complete" for one in records),
            "repeated": sum(one.repeated for one in records),
            "lost": sum(one.lost for one in records),
            "missing_identifiers": sum(len(missing_from(one)) for one in records),
            "foreign_identifiers": sum(len(strangers_in(one, records)) for one in records),
            "different_roots": len({one.merkle_root for one in records}),
        }

    forty = part("forty on forty cells", measure)
    assert forty["complete"] == CELLS
    assert (forty["repeated"], forty["lost"]) == (0, 0)
    assert (forty["missing_identifiers"], forty["foreign_identifiers"]) == (0, 0)
    assert forty["different_roots"] == CELLS


def test_marrow_begun_at_any_hour_waits_for_two_people_within_its_limits(tmp_path: Path) -> None:
    """What can't wait for a second person doesn't begin in the evening: no limit runs out."""

    def measure() -> Measured:
        each = [
            run_together(tmp_path / start.batch, recipe_of(MSC), [start], seed=SEED)
            for start in AROUND_THE_CLOCK
        ]
        return {
            "complete": sum(status == "complete" for ran in each for status in ran.status.values()),
            "holds": sum(ran.holds for ran in each),
            "repeated": sum(ran.repeated for ran in each),
            "lost": sum(ran.lost for ran in each),
            "sound": all(ran.is_sound for ran in each),
            "block_limits_overrun": [one for ran in each for one in ran.block_limits_overrun],
        }

    marrow = part("marrow at four hours of the day", measure)
    assert marrow["complete"] == len(AROUND_THE_CLOCK)
    assert (marrow["repeated"], marrow["lost"], marrow["holds"]) == (0, 0, 0)
    assert marrow["sound"]
    assert marrow["block_limits_overrun"] == []
