"""People at a cell for tests: a room and its daemon as processes, and commands given in turn.

The room is ``cellwright room`` with nobody in it, the daemon ``cellwright serve``, as people
start them; commands run in this process, on the real socket.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.cli import at_console, user
from orchestrator.cli.main import main
from orchestrator.cli.options import data_folder
from orchestrator.console.client import BlockingConsoleClient
from tests.simulation.wires import RoomProcess

ROOT = Path(__file__).parents[2]
CELL = ROOT / "protocols" / "cells" / "reference.toml"

WITHIN_S = 40.0
"""So long a command is given again at most."""

LOOK_EVERY_S = 0.05
"""How often people look whether the daemon has recorded something new."""


def password_of(login: str) -> str:
    return f"marble kettle {login[:2]} orchid tram"


@dataclass
class Commands:
    """Commands given in a folder, by people who know their passwords."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    status: int = 0
    wrong: set[str] = field(default_factory=set[str])
    """Who types a wrong password."""
    _last: str = ""

    def __post_init__(self) -> None:
        self.monkeypatch.chdir(self.folder)
        self.monkeypatch.setenv("XDG_DATA_HOME", str(self.folder))
        self.monkeypatch.setenv("XDG_STATE_HOME", str(self.folder / "state"))
        for module in (at_console, user):
            self.monkeypatch.setattr(module, "from_keyboard", self._typed)

    def _typed(self, prompt: str, *, instead: str = "") -> str:
        del instead
        if not prompt.startswith("Again"):
            login = prompt.rpartition(" of ")[2].rstrip(": ")
            self._last = "not the password" if login in self.wrong else password_of(login)
        return self._last

    def printed(self, *call: object) -> str:
        """Give a command; return all that it prints, and keep its status."""
        self.capsys.readouterr()
        self.status = main([str(one) for one in call])
        shown = self.capsys.readouterr()
        return shown.out + shown.err

    def printed_once(self, holds: Callable[[str], bool], *call: object) -> str:
        """Give a command, and again after each event, until it holds of what it prints."""
        until_s = time.monotonic() + WITHIN_S
        with BlockingConsoleClient(data_folder(None) / at_console.CONSOLE) as client:
            while True:
                seen = client.view("work")["version"]
                printed = self.printed(*call)
                if holds(printed) or time.monotonic() > until_s:
                    return printed
                while client.view("work")["version"] == seen and time.monotonic() < until_s:
                    time.sleep(LOOK_EVERY_S)

    def typed(self, answers: list[str], *call: object) -> str:
        """Give a command at a keyboard, and type these answers to what it asks."""
        coming = iter(answers)
        with self.monkeypatch.context() as keyboard:
            keyboard.setattr(sys.stdin, "isatty", lambda: True)
            keyboard.setattr("builtins.input", lambda: next(coming))
            return self.printed(*call)

    def add(self, login: str, name: str, *roles: str, by: str = "ada") -> None:
        asked = [part for role in roles for part in ("--role", role)]
        vouched = ["--by", by] if by else []
        said = self.printed("user", "add", login, "--name", name, *asked, *vouched)
        assert self.status == 0, said


@contextmanager
def a_cell_at_work(folder: Path, *, protocol: Path, pace: float) -> Generator[RoomProcess]:
    """Run room and daemon of the reference cell while the block runs."""
    here = folder / "room"
    room_call = ["room", str(CELL), "--data", str(here), "--protocol", str(protocol),
                 "--delivery", str(folder / "delivery.jsonl"), "--pace", str(pace),
                 "--no-people", "--json"]  # fmt: skip
    serve_call = ["serve", str(CELL), "--room", str(here), "--json"]
    with _process(room_call) as room:
        talk = RoomProcess(room, here)
        try:
            with _process(serve_call):
                yield talk
        finally:
            talk.hang_up()


@contextmanager
def _process(call: list[str]) -> Generator[subprocess.Popen[str]]:
    """Run a command until the block ends; it must end in good order then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.main", *call],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise AssertionError(process.communicate(timeout=10)[1])
        yield process
        process.terminate()
        _, complaints = process.communicate(timeout=30)
        assert (process.returncode, complaints) == (0, "")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        time.sleep(0)
