"""Goal: a limit in seconds can be broken, on whatever machine the tests run."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests import pace


@pytest.fixture(autouse=True)
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "TRIES", 3)


def turn(times: int) -> None:
    for _ in range(times):
        pass


def test_work_above_its_limit_is_tried_again_and_told() -> None:
    ran: list[int] = []
    took_s = pace.shortest(lambda: (ran.append(1), turn(400 * pace.TURNS)), at_most_s=0.1)
    assert len(ran) == pace.TRIES
    assert took_s > 0.1, "400 loops of 0.9 ms are 0.36 s"


def test_work_within_its_limit_is_done_once() -> None:
    ran: list[int] = []
    assert pace.shortest(lambda: ran.append(1), at_most_s=0.1) < 0.1
    assert len(ran) == 1


def test_sleeping_is_told_too() -> None:
    assert pace.shortest(lambda: time.sleep(0.3), at_most_s=0.3) < 0.3
    assert pace.shortest(lambda: time.sleep(0.3), at_most_s=0.01) > 0.01


def test_what_another_process_works_counts() -> None:
    loop = f"for _ in range({400 * pace.TURNS}): pass"
    took_s = pace.shortest(
        lambda: subprocess.run([sys.executable, "-c", loop], check=True), at_most_s=0.05
    )
    assert took_s > 0.05


def test_a_machine_of_half_the_pace_is_given_twice_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "times_slower", lambda: 2.0)
    shown = iter((0.0, 3.0 * pace.WAITING_MOST))
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(shown))
    assert pace.shortest(lambda: None, at_most_s=2.0) == 1.5
