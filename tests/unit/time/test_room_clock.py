"""A room and its daemon, two processes over real ptys and TCP, share one clock.

Method: ``room_sides`` runs either side as a process. What both print is compared between
two runs, byte for byte; the daemon is killed in mid-exchange, and the room is asked for
its time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator import virtual_time
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.quantities import Duration, hour, second
from orchestrator.virtual_time import (
    RoomClock,
    RoomRefusedError,
    advance_room,
    room_time,
    run_on_room_clock,
)

CHECKOUT = Path(__file__).parents[3]


def start(
    side: str, folder: Path, *arguments: object, hash_seed: int = 0, into: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.unit.time.room_sides", side, folder, *map(str, arguments)],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        stdout=into,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


class Room:
    """A room in a process of its own, which writes what it says to a file."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.process = process
        self.clock = folder / "clock"
        self.said_at = folder / "said"
        give_up_s = time.monotonic() + 10
        while not self.said_at.read_text().endswith("\n"):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < give_up_s, "the room doesn't start"
            time.sleep(0.005)
        self.port: int = said(self.said_at.read_text())[0]["port"]

    def end(self) -> tuple[list[dict[str, Any]], str]:
        """Kill the room; return what it said, and its complaints."""
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        return said(self.said_at.read_text()), self.process.stderr.read()

    def daemon(self, side: str, *arguments: object, hash_seed: int = 0) -> list[dict[str, Any]]:
        """Run a daemon to its end and return what it said."""
        process = start(side, self.folder, *arguments, hash_seed=hash_seed)
        out, complaints = process.communicate(timeout=20)
        assert process.returncode == 0, complaints
        return said(out)


@contextmanager
def a_room(
    folder: Path, *, ptys: int = 2, tick_s: float = 600, hash_seed: int = 0
) -> Generator[Room]:
    folder.mkdir(exist_ok=True)
    with (folder / "said").open("w") as into:
        process = start("room", folder, ptys, tick_s, hash_seed=hash_seed, into=into.fileno())
    try:
        yield Room(folder, process)
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_two_runs_over_real_wires_are_the_same_on_both_sides(tmp_path: Path) -> None:
    """Two days with three instruments, one slow, two hash seeds: well under five seconds."""
    runs: list[tuple[Any, Any]] = []
    for run in (1, 2):
        with a_room(tmp_path / f"run{run}", hash_seed=run) as room:
            daemon = room.daemon("ask", room.port, hash_seed=run + 10)
            assert room_time(room.clock) == Duration.of_base(172_806_000)
            runs.append((daemon, room.end()[0][1:]))  # the first tells its port
    assert runs[0] == runs[1]
    daemon, room_said = runs[0]
    assert daemon[0]["utc"] == "2026-11-23T08:00:00.000000Z"
    assert daemon[0]["boot"] == "00000000-0000-4000-8000-00000000beef"
    answers = [(word["at_s"], word["answer"]) for word in daemon if "answer" in word]
    assert len(answers) == 18
    assert (1.0, "P1 b-q0 1") in answers
    assert (86_406.0, "P1 b-q2 86406") in answers
    assert daemon[-1] == {"side": "daemon", "at_s": 172_806.0, "done": True}
    assert [word for word in room_said if word["side"] == "culture"][-1]["at_s"] == 172_800.0


def test_a_killed_daemon_leaves_the_room_standing_still_and_the_next_takes_its_time(
    tmp_path: Path,
) -> None:
    with a_room(tmp_path, tick_s=2.5) as room:
        for kill in range(4):
            process = start("hang", room.folder)
            assert process.stdout is not None
            for _ in range(3 + kill):
                assert process.stdout.readline()
            process.kill()
            answers = said(process.communicate()[0])

            stands_at = room_time(room.clock)
            time.sleep(0.05)  # real time, in which a clock that goes on would be seen
            assert room_time(room.clock) == stands_at
            if answers:
                assert stands_at.base >= answers[-1]["at_s"] * 1_000

            went_to = advance_room(room.clock, 2 * hour)
            assert went_to == stands_at + 2 * hour

            daemon = room.daemon("exchange", 3)
            assert daemon[-1]["exchanges"] == 3
            assert daemon[-1]["at_s"] * 1_000 == went_to.base, "P0 answers at once"
        said_by_room, complaints = room.end()
        assert complaints == ""
        alone = [word for word in said_by_room if word["side"] == "culture" and not word["joined"]]
        assert len(alone) >= 4 * 7_200 / 2.5 - 8, "the culture went on while nobody was joined"


def test_a_room_is_advanced_only_without_a_daemon_and_has_one_daemon(tmp_path: Path) -> None:
    with a_room(tmp_path) as room:
        assert advance_room(room.clock, 90 * second) == 90 * second
        process = start("hang", room.folder)
        assert process.stdout is not None
        assert process.stdout.readline()
        with pytest.raises(RefusedError, match="a daemon is joined"):
            advance_room(room.clock, 1 * second)
        second_one = start("hop", room.folder, 1)
        _, complaints = second_one.communicate(timeout=20)
        assert second_one.returncode != 0
        assert f"another daemon is joined to it, process {process.pid}" in complaints
        process.kill()
        process.communicate()


def test_who_comes_while_the_daemon_keeps_the_turn_is_refused_with_its_process(
    tmp_path: Path,
) -> None:
    with a_room(tmp_path) as room:
        stalled = start("stall", room.folder, 120)
        assert stalled.stdout is not None
        assert stalled.stdout.readline()
        began_s = time.monotonic()
        newcomer = start("hop", room.folder, 1)
        _, complaints = newcomer.communicate(timeout=20)
        assert newcomer.returncode != 0
        assert f"another daemon is joined to it, process {stalled.pid}" in complaints
        assert room_time(room.clock) == 0 * second
        with pytest.raises(RefusedError, match="a daemon is joined"):
            advance_room(room.clock, 1 * second)
        time.sleep(max(0.0, began_s + 3.5 - time.monotonic()))  # a stall is known by real time
        with pytest.raises(RefusedError, match=f"process {stalled.pid}, .* without a word"):
            run_on_room_clock(never, socket_path=room.clock)
        stalled.kill()
        stalled.communicate()
        assert room.daemon("hop", 2)[-1]["hops"] == 2


async def never(clock: RoomClock) -> None:
    raise AssertionError(f"it joined, at {clock.utc()}")


def test_a_room_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_time, "_ANSWER_S", 0.5)
    with a_room(tmp_path) as room:
        os.kill(room.process.pid, signal.SIGSTOP)
        with pytest.raises(RefusedError, match="said nothing for"):
            run_on_room_clock(never, socket_path=room.clock)


def test_an_advance_is_waited_for_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_time, "_ANSWER_S", 0.5)
    with a_room(tmp_path, tick_s=0.1) as room:
        began_s = time.monotonic()
        assert advance_room(room.clock, 4 * hour) == 4 * hour
        assert time.monotonic() - began_s > 0.5, "it was over too soon; the test shows nothing"


def test_a_daemon_whose_room_ended_says_so(tmp_path: Path) -> None:
    with a_room(tmp_path) as room:
        process = start("hang", room.folder)
        assert process.stdout is not None
        assert process.stdout.readline()
        room.end()
        _, complaints = process.communicate(timeout=20)
        assert "RoomLostError" in complaints
        assert "its process ended" in complaints


def test_people_in_the_room_ask_the_daemon_by_its_socket_in_no_virtual_time(
    tmp_path: Path,
) -> None:
    with a_room(tmp_path) as room:
        assert room.daemon("console")[-1] == {"side": "daemon", "asked": 20}
        told = [word for word in room.end()[0] if word["side"] == "technician"]
    assert [float(word["told"]) for word in told] == [word["at_s"] for word in told]
    assert [word["at_s"] for word in told] == [3_600.0 * hour for hour in range(2, 22)]


def test_no_room_is_one_clear_refusal(tmp_path: Path) -> None:
    with pytest.raises(RoomRefusedError, match="Start the room first"):
        room_time(tmp_path / "clock")


def test_more_than_a_pty_holds_goes_through_in_no_virtual_time(tmp_path: Path) -> None:
    with a_room(tmp_path, ptys=1) as room:
        words = room.daemon("lose")
    came = [word for word in words if "bytes" in word]
    assert sum(word["bytes"] for word in came) == len("P0 ") + 20_000 + len(" 0\r")
    assert {word["at_s"] for word in came} == {0.0}


def test_both_jump_thousands_of_times_a_second(tmp_path: Path) -> None:
    """The figure is 18,000 a second on two quiet cores; the limit leaves room for a busy host."""
    with a_room(tmp_path, tick_s=0) as room:
        began_s = time.monotonic()
        room.daemon("hop", 3_000)
        assert time.monotonic() - began_s < 5
        assert room_time(room.clock) == 3_000 * second
