"""A technician in the room works at the console of a daemon that runs on the room's clock.

Method: both sides are processes; a day passes twice, and what both saw, and when by the
room's clock, is compared and is exact. The console's bytes are counted by nobody.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.unit.console.room_sides import HOURS

CHECKOUT = Path(__file__).parents[3]


def start(side: str, folder: Path, hash_seed: int, into: int) -> subprocess.Popen[str]:
    at = (str(folder / "clock"), str(folder / "console" / "socket"))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.unit.console.room_sides", side, *at],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        stdout=into,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def a_day(folder: Path, run: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what room and daemon said in one run."""
    folder.mkdir()
    told = (folder / "room", folder / "daemon")
    with told[0].open("w") as room_says, told[1].open("w") as daemon_says:
        room = start("room", folder, run, room_says.fileno())
        try:
            give_up_s = time.monotonic() + 10
            while not told[0].read_text().endswith("\n"):
                assert room.poll() is None, room.communicate()[1]
                assert time.monotonic() < give_up_s, "the room doesn't start"
                time.sleep(0.01)
            daemon = start("daemon", folder, run + 10, daemon_says.fileno())
            _, complaints = daemon.communicate(timeout=30)
            assert daemon.returncode == 0, complaints
            assert room.poll() is None, room.communicate()[1]
        finally:
            room.kill()
            _, complaints = room.communicate()
    assert not complaints
    return said(told[0]), said(told[1])


def test_news_reach_the_room_at_their_moment_and_answers_take_no_time(tmp_path: Path) -> None:
    """A day, twice, each with two processes to start: over a second of real time."""
    runs = [a_day(tmp_path / f"run{run}", run) for run in (1, 2)]
    assert runs[0] == runs[1]
    room, daemon = runs[0]
    assert daemon[-1]["taken"], "the technician never took anything"
    assert daemon[-1]["at_s"] == HOURS * 3_600 + 1_800
    news = [word["at_s"] for word in room if "shown" in word]
    # The first look is at once; then each change is seen in the moment in which it is made.
    assert news[-HOURS:] == [hour * 3_600.0 for hour in range(1, HOURS + 1)]
    taken = [word["at_s"] for word in room if "given" in word]
    assert taken[-HOURS:] == [hour * 3_600.0 + 600 for hour in range(1, HOURS + 1)]
