"""A million frames over all serial and TCP drivers: half of them whole, half of them disturbed.

Method: as ``test_frames.py``, 100,000 frames a driver (the pump with its echo on and off). What is
printed beside the zeros: *behind* are late or doubled answers to the same question, which a line
without numbers can't show and the second reading finds out; *damaged* are answers that one reading
took and the second contradicted.
"""

from __future__ import annotations

import pytest

from tests.property.frames import run_frames
from tests.property.paper_instruments import INSTRUMENTS
from tests.release_proof import Measured, part

pytestmark = [
    pytest.mark.release_proof,
    pytest.mark.timeout(600),
    pytest.mark.requirement("REC-14"),
]

FRAMES = 100_000
SEED = 2026


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_of_100_000_frames_none_is_taken_for_anothers(name: str) -> None:
    def measure() -> Measured:
        found = run_frames(INSTRUMENTS[name](), SEED, FRAMES)
        return {
            "frames": found.total,
            "whole_and_in_time": found.frames["intact"],
            "accepted": found.accepted,
            "whole_answers_refused": found.rejected,
            "wrong": found.wrong,
            "crashes": found.crashed,
            "hangs": found.hung,
            "behind": found.behind,
            "damaged": found.damaged,
            "calls": found.calls,
            "calls_given_up": found.unknown,
            "acts": found.acts,
            "acts_that_cannot_be_told": found.cannot_tell,
            "longest_call_s": found.longest_s,
        }

    ran = part(f"frames, {name}", measure)
    assert ran["frames"] >= FRAMES
    assert ran["whole_answers_refused"] == 0
    assert ran["wrong"] == ran["crashes"] == ran["hangs"] == []
