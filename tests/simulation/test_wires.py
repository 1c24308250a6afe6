"""Daemon and room as two processes: ptys and TCP between them, and the room's clock.

Method: the thin path runs once in memory and once over real wires, each judged by the
World; both must have asked the instruments for the same, phase by phase. The room's control
socket is asked for what tests and validation people need of it.
"""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.journal.events import HostStopped
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BAG, BATCH, KIT, begin, recipe_that_docks, thin_cell
from tests.simulation.wires import (
    a_daemon,
    a_room,
    acts_by_phase,
    journal_of,
    judged,
    put_on_file,
    stop,
    wait_for_the_end,
)

WITHIN_S = 20.0


def _worked_s() -> float:
    """Return the processor time of all processes that have ended; a busy host adds nothing."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def _in_memory(folder: Path) -> None:
    async with thin_cell(folder, kit_at="rack") as cell, cell.engine() as engine:
        await begin(engine, recipe_that_docks())
        await engine.ended(BATCH)


@pytest.mark.requirement("PRC-09")
def test_over_wires_each_phase_asks_for_the_same_as_in_memory(tmp_path: Path) -> None:
    run_in_virtual_time(_in_memory(tmp_path / "memory"))
    data = tmp_path / "data"
    put_on_file(data)
    with a_room(tmp_path / "room") as room:
        before_s = _worked_s()
        with a_daemon(data, room.folder, "-X", "importtime") as daemon:
            assert wait_for_the_end(data, daemon)
            imported = stop(daemon)
        vessel = room.ask("contents", container=f"{KIT}/vessel")
        ledger = room.ask("ledger")["ledger"]

    assert _worked_s() - before_s < WITHIN_S
    by_wire = acts_by_phase(data / "journal.sqlite")
    assert by_wire == acts_by_phase(tmp_path / "memory" / "journal.sqlite")
    assert sum(map(len, by_wire.values())) >= 6, "the thin path lost most of its acts"
    assert vessel["volume_mL"] == pytest.approx(60, abs=0.5)
    comparison = judged(data / "journal.sqlite", ledger)
    assert comparison.agrees, comparison.findings
    assert not comparison.held
    assert "apsw" in imported
    assert "hw_mocks" not in imported, "a daemon on wires speaks bytes only"
    assert isinstance(list(journal_of(data))[-1].event, HostStopped)


def test_a_daemon_whose_room_ends_says_so_in_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    put_on_file(data)
    with a_room(tmp_path / "room") as room, a_daemon(data, room.folder) as daemon:
        assert daemon.stdout is not None
        assert json.loads(daemon.stdout.readline())["cell"] == "thin"
        room.end()
        _, complaints = daemon.communicate(timeout=10)
    assert daemon.returncode == 3
    assert complaints.count("\n") == 1, complaints
    assert "its process ended. Start the room again" in complaints


def test_a_room_is_asked_line_by_line_and_refuses_in_words(tmp_path: Path) -> None:
    with a_room(tmp_path / "room") as room:
        assert (room.folder / "room.sock").stat().st_mode & 0o777 == 0o600
        assert sorted(path.name for path in (room.folder / "wires").iterdir()) == [
            "P1", "S1", "S2", "V1.tcp", "W1", "W2",
        ]  # fmt: skip
        assert room.ask("contents", container=BAG)["volume_mL"] == pytest.approx(100)
        before = room.ask("look")
        assert before["at_s"] == 0
        assert room.ask("advance", seconds=90)["at_s"] == 90
        assert room.ask("press", equipment="P1", key="START") == {"pressed": "P1"}
        assert room.ask("look")["digest"] != before["digest"]
        assert room.ask("plant", equipment="P1", fault="swallowed") == {"planted": "P1"}
        assert room.ask("power_cycle", equipment="V1") == {"cycled": "V1"}
        refused: tuple[tuple[dict[str, Any], str], ...] = (
            ({"do": "dance"}, "there is no such request"),
            ({"do": "contents", "container": "C-9"}, "no container C-9"),
            ({"do": "plant", "equipment": "P1", "fault": "gone"}, "known: swallowed"),
            ({"do": "press", "equipment": "P9", "key": "START"}, "there is no P9"),
            ({"do": "press", "equipment": "P1", "key": "NONE"}, "has no key"),
            ({"do": "advance", "seconds": -1}, "isn't negative"),
            ({"do": "kill_at", "equipment": "P1", "moment": "noon", "pid": 1}, "known: arriving"),
            ({"do": "kill_at", "equipment": "P1", "moment": "ended", "pid": 1}, "that it started"),
            ({"do": "kill_at", "equipment": "P1", "moment": "heard", "pid": 1}, "it lacks hears"),
            (
                {"do": "kill_at", "equipment": "hands", "moment": "ended", "pid": 1, "after_s": -1},
                "isn't negative",
            ),
        )
        for request, why in refused:
            assert why in room.ask(**request)["error"]["why"]


def test_a_room_takes_a_kill_from_nobody_but_who_started_it(tmp_path: Path) -> None:
    stranger = """
import json, os, socket, sys
end = socket.socket(socket.AF_UNIX)
end.connect(sys.argv[1])
request = {"do": "kill_at", "equipment": "P1", "moment": "ended", "pid": int(sys.argv[2])}
end.sendall(json.dumps(request).encode() + b"\\n")
print(end.makefile().readline())
"""
    with a_room(tmp_path / "room") as room:
        control = str(room.folder / "room.sock")
        with subprocess.Popen(["sleep", "30"]) as sleeper:
            arguments = [sys.executable, "-c", stranger, control, str(sleeper.pid)]
            said = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
            assert "only the process that started the room" in json.loads(said)["error"]["why"]
            armed = room.ask("kill_at", equipment="P1", moment="ended", pid=sleeper.pid)
            assert armed["pid"] == sleeper.pid
            sleeper.kill()


def test_what_isnt_json_is_refused_and_the_room_goes_on(tmp_path: Path) -> None:
    with a_room(tmp_path / "room") as room, socket.socket(socket.AF_UNIX) as end:
        end.connect(str(room.folder / "room.sock"))
        for line in (b"\n", b"[]\n", b"\xff\xfe\n", b"{}\n"):
            end.sendall(line)
            assert b"refused" in end.recv(4096)
        assert "at_s" in room.ask("look")
