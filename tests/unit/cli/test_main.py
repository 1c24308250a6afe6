"""Goal: every call ends in a documented status, with one message where it isn't 0, quickly.

Method: the table of commands is replaced by one that does what a test wants; speed, what is
imported and what a shell sees are looked at from outside, in processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.cli import main as command
from orchestrator.kernel.errors import (
    BrokenChainError,
    ConfigurationRefusedError,
    DeviceFaultError,
    JournalLatchedError,
    OutcomeUnknownError,
    ProcessError,
    RefusedError,
)
from tests.pace import shortest
from tests.unit.cli.builders import PROTOCOL, ROOT, assert_one_message, call, run

HEAVY = ("textual", "opentrons", "hw_mocks", "numpy")


@pytest.fixture
def does(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make ``cellwright act`` do what the test gives."""

    def install(action: int | BaseException | None) -> None:
        def run() -> int | None:
            """Act."""
            if isinstance(action, BaseException):
                raise action
            return action

        monkeypatch.setitem(sys.modules, "orchestrator.cli.act", SimpleNamespace(run=run))
        monkeypatch.setattr(command, "COMMANDS", {"act": ("act", "Act")})

    return install


def test_help_lists_every_command_with_its_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    called = call(capsys, "--help")
    assert called.status == 0
    for name, (_, told) in command.COMMANDS.items():
        assert f"  {name} " in called.out
        assert told in called.out


def test_every_command_of_the_table_has_help_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in command.COMMANDS:
        called = call(capsys, name, "--help")
        assert called.status == 0, name
        assert called.out.startswith(f"Usage: cellwright {name}"), name
        assert "Args:" not in called.out, name


def test_the_reference_page_names_every_command_and_status() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text("utf-8")
    for name in command.COMMANDS:
        assert f"\n### {name}\n" in page, name
    for code, status in command.STATUS_OF.items():
        assert f"| `{code}` | {status} |" in page, code


def test_help_takes_at_most_a_third_of_a_second_and_loads_nothing_heavy() -> None:
    def helped() -> None:
        assert run("--help").status == 0

    assert shortest(helped, at_most_s=0.3) <= 0.3
    assert_loads_nothing_heavy("--help")


def assert_loads_nothing_heavy(*arguments: str) -> None:
    code = (
        "import sys; from orchestrator.cli.main import main; main(sys.argv[1:]); "
        f"print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert ended.stderr.strip() == ""


def test_check_loads_nothing_heavy() -> None:
    assert_loads_nothing_heavy("check", "--json", str(PROTOCOL))
    assert_loads_nothing_heavy(
        "check", "--json", "--cell", "protocols/cells/reference.toml", str(PROTOCOL)
    )


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["chek"], ["check"], ["check", "--no"]])
def test_a_wrong_call_is_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    called = call(capsys, *arguments)
    assert called.status == 2
    assert called.out == ""
    assert_one_message(called, "--help`")


def test_a_misspelt_command_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'check'" in call(capsys, "chek").err


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (RefusedError, 1),
        (ConfigurationRefusedError, 2),
        (DeviceFaultError, 3),
        (OutcomeUnknownError, 1),
        (BrokenChainError, 1),
        (JournalLatchedError, 3),
    ],
)
def test_an_error_is_one_sentence_and_its_status(
    capsys: pytest.CaptureFixture[str], does: Any, kind: type[ProcessError], status: int
) -> None:
    does(kind("pump 5 mL", why="no\x1b[31m pump", do_next="Get one"))
    called = call(capsys, "act")
    assert called.status == status
    assert called.err == "pump 5 mL: no<U+001B>[31m pump. Get one.\n"


def test_errors_of_tasks_side_by_side_are_each_told_once(
    capsys: pytest.CaptureFixture[str], does: Any
) -> None:
    one = RefusedError("a", why="b", do_next="Do c")
    other = JournalLatchedError("d", why="e", do_next="Do f")
    does(ExceptionGroup("tasks", [one, ExceptionGroup("more", [other, one])]))
    called = call(capsys, "act")
    assert called.status == 3
    assert called.err == "a: b. Do c.\nd: e. Do f.\n"


def test_the_status_of_a_code_that_is_not_in_the_table_is_its_family_s() -> None:
    class OtherError(RefusedError):
        code = "refused.port.of-this-test"

    assert command.status_of(OtherError("a", why="b", do_next="c")) == 3


def test_what_a_command_returns_is_its_status(
    capsys: pytest.CaptureFixture[str], does: Any
) -> None:
    does(1)
    assert call(capsys, "act").status == 1
    does(None)
    assert call(capsys, "act").status == 0


def test_a_mistake_of_ours_says_so_without_a_traceback(
    capsys: pytest.CaptureFixture[str], does: Any
) -> None:
    does(ZeroDivisionError("by nought"))
    called = call(capsys, "act")
    assert called.status == 3
    assert_one_message(called, "our mistake (ZeroDivisionError: by nought)", "--debug act")


def test_debug_puts_the_traceback_into_a_file(
    capsys: pytest.CaptureFixture[str], does: Any
) -> None:
    does(ZeroDivisionError("by nought"))
    called = call(capsys, "--debug", "act")
    assert called.status == 3
    assert_one_message(called)
    file = Path(called.err.rstrip().removesuffix(".").rpartition(" ")[2])
    try:
        assert "Traceback" in file.read_text("utf-8")
    finally:
        file.unlink()


def test_a_full_disk_is_the_environment_s(capsys: pytest.CaptureFixture[str], does: Any) -> None:
    does(OSError(28, "No space left on device", "/data/x"))
    called = call(capsys, "act")
    assert called.status == 3
    assert_one_message(called, "/data/x", "No space left on device")


def test_an_interruption_is_quiet(capsys: pytest.CaptureFixture[str], does: Any) -> None:
    does(KeyboardInterrupt())
    called = call(capsys, "act")
    assert (called.status, called.out, called.err) == (130, "", "")


def test_a_reader_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    called = run("models", output=writing)
    os.close(writing)
    assert (called.status, called.err) == (141, "")


def test_output_that_has_no_room_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        called = run("models", output=full)
    assert called.status == 3
    assert_one_message(called, "No space left on device")


def test_python_that_drops_assertions_is_refused() -> None:
    called = run("--help", python=("-O",))
    assert called.status == 3
    assert_one_message(called, "-O")
