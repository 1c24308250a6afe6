"""Sessions of a terminal and passwords from files: kept for one account, used by one person."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.at_console import pairs
from orchestrator.cli.options import CallRefusedError, FileRefusedError
from orchestrator.cli.passwords import from_file
from orchestrator.cli.sessions import (
    forget_session,
    keep_screen,
    keep_session,
    kept_screen,
    kept_session,
)
from orchestrator.kernel.instants import SystemClock
from orchestrator.kernel.quantities import minute


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def kept_file(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "state" / "cellwright" / "sessions").iterdir()
    return file


def test_a_session_is_kept_for_this_account_and_this_data_folder_alone(tmp_path: Path) -> None:
    kept = keep_session(tmp_path / "a", "dana", "token")
    assert kept_session(tmp_path / "a") == kept
    assert kept_session(tmp_path / "b") is None
    assert stat.S_IMODE(kept_file(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(kept_file(tmp_path).parent.stat().st_mode) == 0o700
    assert "token'" not in repr(kept)
    forget_session(tmp_path / "a")
    assert kept_session(tmp_path / "a") is None


def test_another_terminal_has_no_session(tmp_path: Path) -> None:
    keep_session(tmp_path, "dana", "token")
    code = (
        "import sys; from pathlib import Path; from orchestrator.cli.sessions import kept_session;"
        "print(kept_session(Path(sys.argv[1])) is None)"
    )
    said: list[str] = []
    for elsewhere in (False, True):
        ended = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            start_new_session=elsewhere, capture_output=True, text=True, check=True,
        )  # fmt: skip
        said.append(ended.stdout.strip())
    assert said == ["False", "True"]


def test_a_session_that_others_can_read_is_refused(tmp_path: Path) -> None:
    keep_session(tmp_path, "dana", "token")
    kept_file(tmp_path).chmod(0o644)
    with pytest.raises(FileRefusedError, match="open to others"):
        kept_session(tmp_path)


def test_a_session_that_nobody_used_for_a_quarter_of_an_hour_isnt_fresh(tmp_path: Path) -> None:
    assert keep_session(tmp_path, "dana", "token").is_fresh
    file = kept_file(tmp_path)
    told = json.loads(file.read_text("utf-8"))
    now = SystemClock().utc()
    for minutes, fresh in ((14, True), (16, False), (-60, False)):
        file.write_text(json.dumps({**told, "used_at": str(now + -minutes * minute)}), "utf-8")
        kept = kept_session(tmp_path)
        assert kept is not None
        assert kept.is_fresh is fresh


def test_an_answer_rests_on_what_was_shown_and_on_nothing_newer(tmp_path: Path) -> None:
    keep_session(tmp_path, "dana", "token")
    assert kept_screen(tmp_path).seen("B-1/a#1", "dana") == -1, "logging in shows nothing"
    keep_screen(tmp_path, kept_screen(tmp_path).after_list(40))
    keep_screen(tmp_path, kept_screen(tmp_path).after_look("B-1/a#1", 50))
    keep_screen(tmp_path, kept_screen(tmp_path).after_deed("B-1/b#1", "dana", 60))
    screen = kept_screen(tmp_path)
    seen = {thing: screen.seen(thing, "dana") for thing in ("B-1/a#1", "B-1/b#1", "B-1/c#1")}
    assert seen == {"B-1/a#1": 50, "B-1/b#1": 60, "B-1/c#1": 40}
    assert screen.seen("B-1/b#1", "devi") == 40, "what she did was shown to nobody else"
    keep_session(tmp_path, "devi", "token")
    assert kept_screen(tmp_path) == screen, "logging in shows nothing"
    assert screen.after_list(45).seen("B-1/a#1", "dana") == 45, "a newer daemon, or an older list"


def test_a_screen_that_was_kept_badly_has_shown_nothing(tmp_path: Path) -> None:
    keep_screen(tmp_path, kept_screen(tmp_path).after_list(40))
    file = kept_file(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for text in ("", "[]", "{}", '{"listed": "x", "shown": {}, "done": {}}'):
        file.write_text(text, "utf-8")
        assert kept_screen(tmp_path).seen("B-1/a#1", "dana") == -1


def test_a_password_file_is_this_accounts_alone(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("marble kettle orchid\nsecond line\n", "utf-8")
    file.chmod(0o600)
    assert from_file(file) == "marble kettle orchid"
    file.chmod(0o640)
    with pytest.raises(FileRefusedError, match="others can read it"):
        from_file(file)
    with pytest.raises(FileRefusedError, match="No such file"):
        from_file(tmp_path / "none")


@pytest.mark.parametrize("text", ["volume", "=3 mL", "volume=", ""])
def test_a_value_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(CallRefusedError, match="isn't of the form NAME=VALUE"):
        pairs([text], option="--enter")


def test_a_value_is_given_once(tmp_path: Path) -> None:
    assert pairs(["a=1 mL", "b = x=y"], option="--enter") == {"a": "1 mL", "b": "x=y"}
    with pytest.raises(CallRefusedError, match="stands there twice"):
        pairs(["a=1", "a=2"], option="--enter")
