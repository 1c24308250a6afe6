"""What keeps a daemon from starting: each is one line on standard error and an exit status.

Method: a cell of one balance on a serial port. The port is absent, taken, silent, or has
another balance on it; the balance is emulated in real time behind a pty by a process of its
own, so that the daemon's is as people start it.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devices.transport.serial_line import open_serial
from devices.transport.transport import PortRefusedError
from orchestrator.cli.main import main, status_of
from orchestrator.journal.events import EVENTS, HostStopped
from orchestrator.journal.journal import read_events
from orchestrator.kernel.errors import ConfigurationRefusedError
from orchestrator.kernel.identifiers import HostId
from orchestrator.process_cell.config import CellConfig, load_cell
from orchestrator.process_cell.daemon import (
    NoAnswerAtStartError,
    refuse_emulators_in_production,
    running,
)
from orchestrator.process_cell.lines import open_lines
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock

THIN = Path(__file__).parents[2] / "simulation" / "thin_cell.toml"


def a_cell(folder: Path, address: str, *, emulated: bool = False, serial: str = "1000001") -> Path:
    file = folder / f"cell-{serial}.toml"
    file.write_text(f"""
name = "bench"
emulated = {str(emulated).lower()}

[[units]]
name = "bench"
kind = "bench"
lease = "operation"
clearance = "none"

[[units.modules]]
equipment = "W1"
capability = "weighing"
model = "mettler_mt_sics"
address = "{address}"
serial = "{serial}"
""")
    return file


def served(data: Path, cell: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.main", "serve", str(cell), "--data", str(data),
         "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def refusal(data: Path, cell: Path, *options: str) -> tuple[int, str]:
    """Return the exit status and the one line on standard error."""
    with served(data, cell, *options) as process:
        said, complaints = process.communicate(timeout=40)
    assert said == ""
    assert complaints.count("\n") == 1, complaints
    return process.returncode, complaints


@contextmanager
def a_balance(folder: Path) -> Generator[Path]:
    """Emulate a balance with serial number 1000001 at a port, in real time."""
    port = folder / "port"
    own = a_cell(folder, "emulated", emulated=True).rename(folder / "own.toml")
    emulate = ["emulate", "mettler_mt_sics", "--at", f"serial:{port}", "--cell", str(own), "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.main", *emulate], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield port
        process.terminate()


def test_an_absent_port_is_one_message(tmp_path: Path) -> None:
    data = tmp_path / "data"
    status, complaint = refusal(data, a_cell(tmp_path, f"serial:{tmp_path}/none"))
    assert status == 3
    assert "W1" in complaint
    assert "no such port" in complaint
    assert not data.exists()
    nobody = a_cell(tmp_path, "tcp:127.0.0.1:1")
    assert "nothing listens there" in refusal(data, nobody)[1]


def test_a_port_that_another_program_has_is_one_message(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    port = os.ttyname(slave)

    async def hold_it_and_try() -> tuple[int, str]:
        line = open_serial(port)
        try:
            return refusal(tmp_path / "data", a_cell(tmp_path, f"serial:{port}"))
        finally:
            await line.close()

    try:
        status, complaint = run_in_virtual_time(hold_it_and_try())
    finally:
        os.close(master)
        os.close(slave)
    assert status == 3
    assert "another program has it open" in complaint


def test_a_silent_instrument_is_one_message_and_nothing_is_lost(tmp_path: Path) -> None:
    """In virtual time, since a driver asks thrice and waits long."""
    master, slave = pty.openpty()
    cell = load_cell(a_cell(tmp_path, f"serial:{os.ttyname(slave)}", emulated=True))
    data = tmp_path / "data"
    data.mkdir(mode=0o700)

    async def start() -> None:
        host = HostId("bench")
        async with running(cell, data, host=host, clock=virtual_clock(), room=None):
            raise AssertionError("it serves")

    try:
        with pytest.raises(BaseExceptionGroup) as raised:
            run_in_virtual_time(start())
    finally:
        os.close(master)
        os.close(slave)
    (silent,) = raised.value.exceptions
    assert isinstance(silent, NoAnswerAtStartError)
    assert status_of(silent) == 3
    assert "W1" in silent.why
    assert "Check power, cable" in silent.do_next
    last = list(read_events(data / "journal.sqlite", EVENTS))[-1]
    assert isinstance(last.event, HostStopped)


def test_on_its_own_instrument_it_serves_and_on_another_it_refuses(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_balance(tmp_path) as port:
        with served(data, a_cell(tmp_path, f"serial:{port}")) as process:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert ready["console"] == str(data / "console.sock")
            assert (data / "console.sock").stat().st_mode & 0o777 == 0o600
            assert (data / "journal.pub").exists()
            process.send_signal(signal.SIGTERM)
            _, complaints = process.communicate(timeout=20)
        assert (process.returncode, complaints) == (0, "")
        assert not (data / "console.sock").exists()

        other = a_cell(tmp_path, f"serial:{port}", serial="1000002")
        status, complaint = refusal(data, other)
    assert status == 3
    assert "it says serial number 1000001; the cell file has 1000002" in complaint


@pytest.mark.parametrize(
    ("address", "emulated", "why"),
    [
        ("emulated", True, "there is no room for it"),
        ("emulated", False, "and the cell isn't"),
        ("usb:1", False, "neither serial:PATH nor tcp:HOST:PORT"),
        ("serial:/dev/none?pace=1", False, "a serial port has no pace"),
        ("serial:/dev/none?parity=X", False, "parity"),
    ],
)
def test_a_wrong_address_is_refused_before_anything_is_open(
    tmp_path: Path, address: str, emulated: bool, why: str
) -> None:
    config = load_cell(a_cell(tmp_path, address, emulated=emulated)).config
    with pytest.raises(ConfigurationRefusedError, match=why):
        run_in_virtual_time(open_lines(config, room=None))


def test_a_room_of_another_cell_has_no_wire_for_it(tmp_path: Path) -> None:
    config = load_cell(a_cell(tmp_path, "emulated", emulated=True)).config
    with pytest.raises(PortRefusedError, match="has no wire for it"):
        run_in_virtual_time(open_lines(config, room=tmp_path))
    real = load_cell(a_cell(tmp_path, "serial:/dev/none", emulated=True)).config
    with pytest.raises(ConfigurationRefusedError, match="a room's clock doesn't reach"):
        run_in_virtual_time(open_lines(real, room=tmp_path))


def test_a_room_that_isnt_there_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "room").mkdir()
    arguments = ["serve", str(THIN), "--data", str(tmp_path / "data")]
    assert main([*arguments, "--room", str(tmp_path / "room")]) == 3
    told = capsys.readouterr().err
    assert "no room listens there. Start the room first" in told
    assert not (tmp_path / "data").exists()


def test_a_second_room_in_one_folder_is_a_busy_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as first:
        first.bind(str(tmp_path / "clock.sock"))
        first.listen(1)
        assert main(["room", str(THIN), "--data", str(tmp_path)]) == 3
    assert "another room listens there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "emulated", "why"),
    [
        ("emulated", True, "there is no room for it"),
        ("usb:1", False, "neither serial:PATH nor tcp:HOST:PORT"),
        ("tcp:nowhere", False, "isn't of the form tcp://host:port"),
        ("serial:/dev/none?parity=X", False, "parity"),
    ],
)
def test_a_start_that_is_refused_leaves_no_folder(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    emulated: bool,
    why: str,
) -> None:
    for name in [one for one in sys.modules if one.partition(".")[0] == "hw_mocks"]:
        monkeypatch.delitem(sys.modules, name)
    data = tmp_path / "data"
    cell = a_cell(tmp_path, address, emulated=emulated)
    assert main(["serve", str(cell), "--data", str(data)]) == 2
    assert why in capsys.readouterr().err
    assert not data.exists()


def test_a_production_start_refuses_a_process_with_emulators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "hw_mocks", sys)
    with pytest.raises(ConfigurationRefusedError, match="emulators are loaded"):
        refuse_emulators_in_production(CellConfig(name="real", emulated=False, units=()))
    refuse_emulators_in_production(CellConfig(name="training", emulated=True, units=()))
