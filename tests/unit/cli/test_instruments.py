"""Goal: models, draw, emulate and exercise speak of the same instruments, over real wires.

Method: each model's emulator in a process of its own, asked over its pty or port in real
time; then ports that are absent, silent, garbled, busy, or another instrument's.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest

from devices.sheets.sheet import models
from tests.unit.cli.builders import CELL, ROOT, assert_one_message, call, run

Out = pytest.CaptureFixture[str]

SERIAL = {
    "watson_marlow_530du",
    "mettler_mt_sics",
    "serial_scanner",
    "thermo_vios_160i",
    "astm_cell_counter",
    "linkam_t95",
}


def test_models_are_those_with_a_sheet(capsys: Out) -> None:
    told = call(capsys, "models", "--json").objects
    assert [one["model"] for one in told] == list(models())
    keys = "model capability transports source tried_on_hardware can_tell_after_crash"
    assert all(list(one) == keys.split() for one in told)
    assert all(model in call(capsys, "models").out for model in models())


def test_a_cell_is_drawn_as_svg_with_its_places_and_the_arm_s_reach(
    capsys: Out, tmp_path: Path
) -> None:
    called = call(capsys, "draw", CELL)
    assert called.status == 0
    root = ElementTree.fromstring(called.out)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = [text for one in root.iter() if (text := one.text)]
    assert "R1 reaches 15 places" in words
    assert "station, transfer-station" in words or "station, transfer station" in words
    file = tmp_path / "cell.svg"
    assert call(capsys, "draw", CELL, "--to", file).out == ""
    assert file.read_text("utf-8") == called.out
    (told,) = call(capsys, "draw", CELL, "--json").objects
    assert [arm["equipment"] for arm in told["arms"]] == ["R1"]


def test_an_arm_whose_teaching_disagrees_with_the_drawing_is_not_drawn(
    capsys: Out, tmp_path: Path
) -> None:
    file = tmp_path / "cell.toml"
    text = CELL.read_text("utf-8")
    assert "x = 2056\ny = 903" in text
    file.write_text(text.replace("x = 2056\ny = 903", "x = 500\ny = 500"), encoding="utf-8")
    assert call(capsys, "draw", file, "--json").objects[0]["arms"] == []


def test_a_cell_that_cannot_be_drawn_is_one_message(capsys: Out, tmp_path: Path) -> None:
    file = tmp_path / "cell.toml"
    file.write_text('name = "bare"\nemulated = true\nunits = []\n')
    called = call(capsys, "draw", file)
    assert called.status == 2
    assert_one_message(called, "drawing")
    assert call(capsys, "draw", tmp_path / "none.toml").status == 3
    assert call(capsys, "draw", CELL, "--to", tmp_path / "no" / "x.svg").status == 3


@contextmanager
def emulated(model: str, at: str) -> Generator[str]:
    """Serve ``model`` in a process of its own; yields where, and ends it in good order."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.main", "emulate", model, "--at", at, "--json"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        assert told["model"] == model
        yield told["at"]
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(10)
        process.stdout.close()
    assert status == 0


@pytest.mark.parametrize("model", models())
def test_each_model_s_driver_exercises_its_emulator(
    capsys: Out, tmp_path: Path, model: str
) -> None:
    """Takes seconds: two processes in real time, and a scanner that sees no label."""
    port = tmp_path / "port"
    at = f"serial:{port}" if model in SERIAL else "tcp://127.0.0.1:0"
    with emulated(model, at) as made:
        called = call(capsys, "exercise", model, "--at", made, "--within", "2", "--json")
    assert called.status == 0, called.out
    (told,) = called.objects
    assert told["passed"] is True
    assert told["identity"]["model"]
    names = [one["check"] for one in told["checks"]]
    assert names[:3] == ["identify", "identify again", "standing"]
    assert len(names) >= 5
    assert names[-1] == "standing again"
    assert all(set(one) == {"check", "ok", "value", "ms"} for one in told["checks"])
    assert not port.is_symlink()


def test_an_exercise_prints_a_table_for_people(capsys: Out, tmp_path: Path) -> None:
    with emulated("linkam_t95", f"serial:{tmp_path}/port") as made:
        called = call(capsys, "exercise", "linkam_t95", "--at", made)
    assert called.status == 0
    assert called.out.startswith("CHECK ")
    assert "stage_temperature" in called.out


def test_another_instrument_at_the_port_is_told(capsys: Out, tmp_path: Path) -> None:
    with emulated("watson_marlow_530du", f"serial:{tmp_path}/port") as made:
        called = call(capsys, "exercise", "mettler_mt_sics", "--at", made, "--within", "1")
    assert called.status == 3
    assert called.out == ""
    assert_one_message(called, "who it is", "which instrument it is")


def test_a_balance_with_another_serial_number_fails(capsys: Out, tmp_path: Path) -> None:
    with emulated("mettler_mt_sics", f"serial:{tmp_path}/port") as made:  # W1's
        called = call(capsys, "exercise", "mettler_mt_sics", "--equipment", "W2", "--at", made)
    assert called.status == 1
    assert_one_message(called, "serial number")


def test_a_port_that_is_absent_is_status_3(capsys: Out, tmp_path: Path) -> None:
    called = call(capsys, "exercise", "linkam_t95", "--at", f"serial:{tmp_path}/none")
    assert called.status == 3
    assert_one_message(called, "no such port")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    called = call(capsys, "exercise", "brooks_pf400", "--at", f"tcp://127.0.0.1:{port}")
    assert called.status == 3
    assert_one_message(called, "nothing listens there")


@pytest.mark.parametrize("says", [b"", b"\x00\xff garbage \r\n"], ids=["silent", "garbled"])
def test_a_port_that_says_nothing_or_nonsense_is_status_3(capsys: Out, says: bytes) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    stop = threading.Event()

    def answer() -> None:
        while not stop.wait(0.05):
            os.write(master, says)

    talking = threading.Thread(target=answer)
    talking.start()
    try:
        called = call(
            capsys, "exercise", "linkam_t95", "--at", f"serial:{os.ttyname(slave)}", "--within", "1"
        )
    finally:
        stop.set()
        talking.join()
        os.close(master)
        os.close(slave)
    assert called.status == 3
    assert_one_message(called, "linkam_t95")


def test_a_port_that_is_taken_is_status_3(capsys: Out) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        called = call(capsys, "emulate", "brooks_pf400", "--at", at)
    assert called.status == 3
    assert_one_message(called)


@pytest.mark.parametrize(
    ("at", "part"),
    [
        ("usb:3", "neither"),
        ("tcp://host", "tcp://HOST:PORT"),
        ("tcp://127.0.0.1:99999", "tcp://HOST:PORT"),
        ("serial:", "neither"),
        ("serial:/dev/x?speed=3", "no speed"),
        ("serial:/dev/x?parity=Q", "parity"),
    ],
)
def test_a_url_that_is_none_is_a_wrong_call(capsys: Out, at: str, part: str) -> None:
    for command in ("exercise", "emulate"):
        called = call(capsys, command, "linkam_t95", "--at", at)
        assert called.status == 2
        assert_one_message(called, part)


def test_a_model_that_is_none_is_told_the_nearest(capsys: Out) -> None:
    called = call(capsys, "exercise", "linkam_t96", "--at", "tcp://127.0.0.1:1")
    assert called.status == 2
    assert_one_message(called, "linkam_t95")
    called = call(capsys, "exercise", "linkam_t95", "--equipment", "F9", "--at", "serial:/x")
    assert called.status == 2
    assert_one_message(called, "--cell")


def test_an_emulator_ends_on_an_interruption() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.main", "emulate", "highres_microspin",
         "--at", "tcp://127.0.0.1:0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # "&" ignores it
    )  # fmt: skip
    assert process.stdout is not None
    assert "C1 (highres_microspin, emulated) is at tcp://127.0.0.1:" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, "", "")


def test_an_emulator_serves_this_machine_only() -> None:
    called = run("emulate", "brooks_pf400", "--at", "tcp://192.0.2.1:4001")
    assert called.status == 2
    assert_one_message(called, "this machine only")
