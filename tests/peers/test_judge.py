"""The judge of the comparison sees a dose given twice, a dose left out and a turn of nobody's.

Method: ledgers written by hand, each with one fault planted in a job that was done well.
"""

from __future__ import annotations

from dataclasses import replace

from tests.peers.job import ACTS, doses
from tests.peers.judge import ERROR_PULSES, Turn, Verdict, judged

JOB = doses()
WELL = tuple(Turn(float(n), dose.speed_tenths, dose.pulses, True) for n, dose in enumerate(JOB))


def test_a_job_done_well_is_neither_repeated_nor_lost() -> None:
    assert judged(JOB, WELL) == Verdict(repeated=(), lost=(), stray=0, surplus_pulses=0)


def test_a_dose_given_in_two_parts_counts_once() -> None:
    first, second = replace(WELL[7], pulses=200), replace(WELL[7], pulses=345)
    assert judged(JOB, (*WELL[:7], first, second, *WELL[8:])) == judged(JOB, WELL)


def test_a_dose_given_again_is_repeated_also_where_another_is_lost() -> None:
    verdict = judged(JOB, (*WELL[:-1], WELL[3]))
    assert (verdict.repeated, verdict.lost) == ((3,), (ACTS - 1,))
    assert verdict.surplus_pulses == JOB[3].pulses


def test_what_lies_beyond_the_stated_error_is_seen() -> None:
    for by, repeated, lost in (
        (ERROR_PULSES, (), ()),
        (ERROR_PULSES + 1, (0,), ()),
        (-ERROR_PULSES, (), ()),
        (-ERROR_PULSES - 1, (), (0,)),
    ):
        turned = replace(WELL[0], pulses=WELL[0].pulses + by)
        verdict = judged(JOB, (turned, *WELL[1:]))
        assert (verdict.repeated, verdict.lost) == (repeated, lost), by


def test_a_turn_that_no_dose_asked_for_is_a_stray() -> None:
    forward = replace(WELL[0], backward=False)
    unknown = replace(WELL[0], speed_tenths=2200)
    verdict = judged(JOB, (*WELL, forward, unknown))
    assert (verdict.stray, verdict.repeated, verdict.lost) == (2, (), ())
