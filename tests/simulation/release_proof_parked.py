"""A start with a hundred parked batches takes seconds, however long the host's history is.

Method: two hosts with a hundred CAR-T batches in their culture; the second has ten times the
events, from batches that are over. Each is left once in good order and once dead, and started
again and again on copies of what it left, the two in turn. Of each the least counts: what else
runs on the machine only adds to it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.release_proof import Measured, part
from tests.simulation.many import CAR_T, recipe_of
from tests.simulation.parked import Resumed, Story, resume, story_of, write_history

pytestmark = [pytest.mark.release_proof, pytest.mark.timeout(1800)]

PARKED: Final = 100
OVER: Final = 10
TIMES: Final = 10
STARTS: Final = 7
SECONDS_MOST: Final = 5.0
TIMES_AS_LONG_MOST: Final = 1.3


def _started(folder: Path, story: Story) -> Resumed:
    left = folder.with_name("left")
    shutil.copytree(folder, left)
    try:
        return resume(left, story, parked=PARKED)
    finally:
        shutil.rmtree(left)


def _measured(folder: Path, *, clean: bool) -> Measured:
    story = story_of(recipe_of(CAR_T), folder / "one")
    little, much = folder / "little", folder / "much"
    events = write_history(little, story, parked=PARKED, over=OVER, clean=clean)
    more = OVER + -(-(TIMES - 1) * events // len(story.own))
    events_much = write_history(much, story, parked=PARKED, over=more, clean=clean)
    starts = {one: [_started(one, story)] for one in (little, much)}
    for _ in range(STARTS - 1):
        for one in (little, much):
            starts[one].append(_started(one, story))
    least = {one: min(each.cpu_s for each in found) for one, found in starts.items()}
    return {
        "waiting": sorted({each.waiting for found in starts.values() for each in found}),
        "events": [events, events_much],
        "history": round(events_much / events, 2),
        "read_of_the_journal": [
            events - starts[little][0].saved_at,
            events_much - starts[much][0].saved_at,
        ],
        "put_away": [starts[little][0].put_away, starts[much][0].put_away],
        "seconds_at_most": max(each.wall_s for found in starts.values() for each in found),
        "seconds_at_least": [min(each.wall_s for each in starts[one]) for one in (little, much)],
        "cpu_seconds": [least[little], least[much]],
        "times_as_long": least[much] / least[little],
    }


@pytest.mark.parametrize("clean", [True, False], ids=["ended in good order", "died"])
def test_a_start_grows_with_the_open_batches_and_not_with_history(
    tmp_path: Path, clean: bool
) -> None:
    how = "ended in good order" if clean else "died"
    parked = part(f"parked, a hundred, host {how}", lambda: _measured(tmp_path, clean=clean))
    assert parked["waiting"] == [PARKED]
    assert parked["history"] >= TIMES
    assert parked["seconds_at_most"] <= SECONDS_MOST
    if clean:  # what died reads on from the last save, wherever in its history that was
        assert parked["times_as_long"] <= TIMES_AS_LONG_MOST
