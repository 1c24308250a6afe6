"""Goal: a limit in seconds can be broken, on whatever machine the tests run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import pace


def turn(times: int) -> None:
    for _ in range(times):
        pass


def test_work_above_its_limit_is_tried_again_and_told() -> None:
    ran: list[int] = []
    took_s = pace.shortest(lambda: (ran.append(1), turn(160 * pace.TURNS)), at_most_s=0.1)
    assert len(ran) == pace.TRIES
    assert took_s > 0.1, "160 loops of 2.75 ms are 0.44 s"


def test_work_within_its_limit_is_done_once() -> None:
    ran: list[int] = []
    assert pace.shortest(lambda: ran.append(1), at_most_s=0.1) < 0.1
    assert len(ran) == 1


def test_a_machine_of_half_the_pace_is_given_twice_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: Iterator[float] = iter((0.0, 3.0))
    monkeypatch.setattr(pace, "times_slower", lambda: 2.0)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(shown))
    assert pace.shortest(lambda: None, at_most_s=2.0) == 1.5
