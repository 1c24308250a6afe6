"""The watch as people start it: what it prints, runs and ends with, and what it never loads."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.cli import watch as watching
from orchestrator.journal.events import HostStopped
from tests.unit.cli.builders import ROOT, a_data_folder, a_story, assert_one_message, call, run

NEVER_LOADED = (
    "devices.drivers",
    "devices.transport",
    "hw_mocks",
    "orchestrator.engine.engine",
    "orchestrator.engine.actor",
    "orchestrator.process_cell.build",
)


def test_one_look_prints_each_alarm_in_a_line_and_says_it_in_its_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_data_folder(tmp_path)
    looked = call(capsys, "watch", "--once", "--data", tmp_path)
    silent, limit = looked.out.splitlines()
    assert looked.status == 3
    assert "ALARM: the daemon is down, and ended without a word; batch B-1 of COI-A" in silent
    assert "medium out of the fridge" in limit
    assert "DR-031" in limit
    assert not (tmp_path / "console.sock").exists()


def test_a_host_that_ended_well_with_nothing_open_raises_no_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_data_folder(tmp_path, [*a_story()[:2], HostStopped()])
    looked = call(capsys, "watch", "--once", "--data", tmp_path)
    assert (looked.status, looked.out.count("\n")) == (0, 1)
    assert looked.out.startswith("no alarm stands; 3 events")


def test_a_damaged_journal_is_an_alarm_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_data_folder(tmp_path, [*a_story()[:5], HostStopped()])
    path = tmp_path / "journal.sqlite"
    path.write_bytes(path.read_bytes().replace(b"Verify twice", b"Verify often"))
    looked = call(capsys, "watch", "--once", "--json", "--data", tmp_path)
    assert [one["alarm"] for one in looked.objects] == ["journal damaged", "daemon silent"]
    assert looked.objects[0]["code"] == "integrity.broken-chain"
    assert looked.status == 3


def test_the_command_is_told_each_alarm_on_its_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_data_folder(tmp_path)
    heard = tmp_path / "heard"
    looked = call(
        capsys, "watch", "--once", "--json", "--data", tmp_path, "--run", f"tee -a {heard}"
    )
    told = [json.loads(line) for line in heard.read_text().splitlines()]
    assert sorted(one["alarm"] for one in told) == sorted(one["alarm"] for one in looked.objects)
    assert {one["state"] for one in told} == {"raised"}


def test_a_command_that_fails_or_hangs_is_said_and_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_data_folder(tmp_path)
    monkeypatch.setattr(watching, "RUN_WITHIN_S", 0.2)
    for command, said in (("false", "it ended with 1"), ("sleep 60", "it took longer")):
        looked = call(capsys, "watch", "--once", "--data", tmp_path, "--run", command)
        assert looked.out.count("ALARM") == 2
        assert looked.err.count(said) == 2
    looked = call(capsys, "watch", "--once", "--data", tmp_path, "--run", "no-such-command")
    assert looked.status == 2
    assert_one_message(looked, "no-such-command")


def test_it_watches_until_it_is_stopped_and_leaves_no_file(tmp_path: Path) -> None:
    a_data_folder(tmp_path)
    before = sorted(tmp_path.iterdir())
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.main", "watch", "--json", "--data", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as watch:
        assert watch.stdout is not None
        first = json.loads(watch.stdout.readline())
        time.sleep(0.2)
        watch.send_signal(signal.SIGTERM)
        rest, complaints = watch.communicate(timeout=20)
    assert first["alarm"] == "limit medium out of the fridge"
    assert (watch.returncode, rest) == (0, "")
    assert complaints == "watching: 13 events, 1 limits run\n"
    assert sorted(tmp_path.iterdir()) == before


def test_it_loads_no_driver_and_nothing_that_acts() -> None:
    looked = (
        "import sys, orchestrator.cli.watch as _; "
        f"print([one for one in sys.modules if one.startswith({NEVER_LOADED!r})])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", looked], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert ended.stdout == "[]\n"


def test_a_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    looked = run("watch", "--once", "--data", tmp_path)
    assert looked.status == 3
    assert_one_message(looked, "there is no such file")
