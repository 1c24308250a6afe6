"""Goal: verify, status and user tell the truth of a data folder, whatever state it is in.

Method: a journal with one batch in doubt, whole, damaged and absent.
"""

from __future__ import annotations

import fcntl
import io
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import user
from orchestrator.cli.options import data_folder
from orchestrator.journal.checkpoints import Signer
from orchestrator.kernel.identifiers import HostId
from orchestrator.people.users import HashingCost, hash_secret
from tests.unit.cli.builders import OTHER, a_data_folder, assert_one_message, call
from tests.unit.journal.builders import entropy, opened

Out = pytest.CaptureFixture[str]

VERDICT = {
    *("sound", "events", "merkle_root", "anchored_to", "unanchored_from", "unwitnessed_from"),
    *("first_bad_seq", "problems"),
}


def test_a_sound_journal_is_status_0(capsys: Out, tmp_path: Path) -> None:
    folder = a_data_folder(tmp_path)
    called = call(capsys, "verify", folder / "journal.sqlite")
    assert called.status == 0
    assert called.err == ""
    assert "own checkpoints only" in called.out
    assert "events from 13 on" in called.out
    (told,) = call(capsys, "verify", folder, "--json").objects
    assert set(told) == VERDICT
    assert told["sound"] is True
    assert told["events"] == 13
    assert told["problems"] == []


@pytest.mark.requirement("REC-03")
def test_an_edited_journal_is_status_1_and_located(capsys: Out, tmp_path: Path) -> None:
    journal = a_data_folder(tmp_path) / "journal.sqlite"
    connection = opened(journal)
    connection.execute("UPDATE events SET body = replace(body, 'COI-B', 'COI-C') WHERE seq = 4")
    connection.close()
    called = call(capsys, "verify", journal, "--json")
    assert called.status == 1
    assert called.objects[0]["sound"] is False
    assert called.objects[0]["first_bad_seq"] == 4
    assert_one_message(called, "from event 4 on")


@pytest.mark.requirement("REC-03")
@pytest.mark.parametrize("at", [0, 60, 68], ids=["SQLite's name", "the format", "the mark"])
def test_a_journal_whose_head_was_written_over_is_status_1(
    capsys: Out, tmp_path: Path, at: int
) -> None:
    """It still is one: its tables or its mark say so."""
    journal = a_data_folder(tmp_path) / "journal.sqlite"
    with journal.open("r+b") as file:
        file.seek(at)
        file.write(bytes(4))
    called = call(capsys, "verify", journal, "--json")
    assert called.status == 1
    assert called.objects[0]["sound"] is False
    assert_one_message(called, "it isn't what was written")


def test_a_journal_behind_its_checkpoint_is_status_1(capsys: Out, tmp_path: Path) -> None:
    journal = a_data_folder(tmp_path) / "journal.sqlite"
    connection = opened(journal)
    connection.execute("DELETE FROM events WHERE seq > 10")
    connection.close()
    called = call(capsys, "verify", journal)
    assert called.status == 1
    assert_one_message(called, "events 11 to 12 are missing")


def test_a_journal_signed_by_another_key_is_status_1(capsys: Out, tmp_path: Path) -> None:
    folder = a_data_folder(tmp_path)
    other = folder / "other"
    other.mkdir(mode=0o700)
    Signer.stored(other, HostId("cell-b"), entropy("other"))
    called = call(capsys, "verify", folder, "--key", other / "journal.pub")
    assert called.status == 1
    assert_one_message(called, "another key")


def test_a_key_file_that_is_no_key_is_status_3(capsys: Out, tmp_path: Path) -> None:
    folder = a_data_folder(tmp_path)
    key = folder / "other.pub"
    name, number, _ = (folder / "journal.pub").read_text().split("+", 2)
    for content in (f"{name}+{number}+AQ==\n".encode(), b"", b"\xff\xfe", b"not a key\n"):
        key.write_bytes(content)
        called = call(capsys, "verify", folder, "--key", key)
        assert (called.status, called.out) == (3, "")
        assert_one_message(called, f"{key}: the file is no key")


@pytest.mark.parametrize("content", [b"", b"a text, whatever its name says\n" * 40])
def test_what_is_no_journal_is_status_3_and_has_no_root(
    capsys: Out, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "notes.sqlite"
    file.write_bytes(content)
    called = call(capsys, "verify", file)
    assert (called.status, called.out) == (3, "")
    assert_one_message(called, "this is not a journal")
    file.unlink()
    other = opened(file)
    other.execute("CREATE TABLE notes (text)")
    other.close()
    called = call(capsys, "verify", file, "--json")
    assert (called.status, called.out) == (3, "")
    assert_one_message(called, "a database of another program")


def test_a_file_cut_short_is_status_1(capsys: Out, tmp_path: Path) -> None:
    journal = a_data_folder(tmp_path) / "journal.sqlite"
    journal.write_bytes(journal.read_bytes()[:5_000])
    called = call(capsys, "verify", journal)
    assert_one_message(called)
    assert called.status == 1
    assert "merkle root" not in called.out


def test_status_and_report_of_a_file_cut_short_say_so(capsys: Out, tmp_path: Path) -> None:
    journal = a_data_folder(tmp_path) / "journal.sqlite"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:5_000])
    called = call(capsys, "status", "--data", tmp_path)
    assert called.status == 1
    assert "ended in good order" not in called.out
    assert "The journal can't be read from event 1 on" in called.out
    assert_one_message(called, "cellwright verify")
    called = call(capsys, "report", "B-1", "--data", tmp_path)
    assert called.status == 1
    assert_one_message(called, "can't be read from event 1 on", "cellwright verify")


def test_status_and_report_give_what_lies_before_the_damage(capsys: Out, tmp_path: Path) -> None:
    folder = a_data_folder(tmp_path)
    connection = opened(folder / "journal.sqlite")
    connection.execute("UPDATE events SET body = '{}' WHERE seq = 9")
    connection.close()
    called = call(capsys, "status", "--data", folder)
    assert called.status == 1
    assert "The journal can't be read from event 9 on" in called.out
    assert "Batch B-1" in called.out
    (told,) = call(capsys, "status", "--data", folder, "--json").objects
    assert (told["events"], told["unreadable_from"]) == (8, 9)
    called = call(capsys, "report", "B-1", "--data", folder)
    assert called.status == 1
    assert "B-1" in called.out
    assert_one_message(called, "from event 9 on", "cellwright verify")


@pytest.mark.parametrize("option", [[], ["--key", "none.pub"], ["--witness", "none"]])
def test_a_file_that_is_not_there_is_status_3(
    capsys: Out, tmp_path: Path, option: list[str]
) -> None:
    folder = a_data_folder(tmp_path)
    journal = folder / ("journal.sqlite" if option else "none.sqlite")
    called = call(capsys, "verify", journal, *option)
    assert called.status == 3
    assert called.out == ""
    assert_one_message(called, "there is no such")


def test_a_page_per_patient_says_where_the_cells_are_and_what_to_do(
    capsys: Out, tmp_path: Path
) -> None:
    called = call(capsys, "status", "--data", a_data_folder(tmp_path))
    assert called.status == 0
    pages = " ".join(called.out.split()).split("== Patient ")
    assert len(pages) == 3
    assert "down, ended without a word" in pages[0]
    mine, other = pages[1], pages[2]
    assert mine.startswith("COI-A")
    for part in (
        "Batch B-1: running, running",
        "T-1 version 2: Verify twice",
        "move / once / 02-verify",
        "medium out of the fridge",
        "unknown: a clock wasn't synchronised",
        "P1 overdue",
        "Bring P1 to rest at its own panel.",
        "P1 was told to pump volume (volume 60 mL), and nobody knows how much of it was done.",
        "Don't repeat it.",
        "the container stays where it is, unconnected. See that it is so",
        "That holds for 2 h at most, until 2026-11-23 12:00 UTC (PASSED",
        "Don't begin before the daemon runs: Hang the bag on the hook.",
        "Look at the pump (the pump is late)",
    ):
        assert part in mine, part
    assert other.startswith(OTHER)
    assert "nothing now" in other
    assert "C-1" not in other


def test_status_for_programs_is_one_object(capsys: Out, tmp_path: Path) -> None:
    folder = a_data_folder(tmp_path)
    (told,) = call(capsys, "status", "--data", folder, "--json").objects
    page = told["patients"][0]
    assert [one["container"] for one in page["cells"]] == ["C-1"]
    assert [one["command"] for one in page["in_doubt"]] == ["B-1/move#1.1"]
    (only,) = call(capsys, "status", "--data", folder, "--json", "--patient", OTHER).objects
    assert [one["coi"] for one in only["patients"]] == [OTHER]
    unknown = call(capsys, "status", "--data", folder, "--patient", "COI-Z")
    assert unknown.status == 1
    assert_one_message(unknown)


def test_status_sees_that_a_daemon_runs(capsys: Out, tmp_path: Path) -> None:
    folder = a_data_folder(tmp_path)
    with (folder / "journal.sqlite.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        called = call(capsys, "status", "--data", folder)
    assert "by this host's clock. The daemon: runs." in called.out
    assert "In doubt" not in called.out  # the daemon awaits it


def test_status_of_a_damaged_journal_shows_what_is_sound_and_is_status_1(
    capsys: Out, tmp_path: Path
) -> None:
    folder = a_data_folder(tmp_path)
    connection = opened(folder / "journal.sqlite")
    connection.execute("UPDATE events SET body = '{}' WHERE seq = 13")
    connection.close()
    called = call(capsys, "status", "--data", folder)
    assert called.status == 1
    assert "Batch B-1" in called.out
    assert_one_message(called, "event 13")


def test_status_changes_nothing(capsys: Out, tmp_path: Path) -> None:
    folder = a_data_folder(tmp_path)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    call(capsys, "status", "--data", folder)
    call(capsys, "verify", folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("command", ["status", "user list"])
def test_a_folder_without_a_journal_is_status_3(capsys: Out, tmp_path: Path, command: str) -> None:
    called = call(capsys, *command.split(), "--data", tmp_path)
    assert called.status == 3
    assert_one_message(called, "--data")


def test_without_data_the_user_s_data_folder_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/srv/data")
    assert data_folder(None) == Path("/srv/data/cellwright")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/a")
    assert data_folder(None) == Path("/home/a/.local/share/cellwright")
    assert data_folder(Path("here")) == Path("here")


# People ----------------------------------------------------------------------------------

FIRST = "four words that fit 9"
SECOND = "five words that fit 9"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give lines on standard input; hash at a cost that tests can bear."""

    def cheap(password: str, *, salt: bytes) -> str:
        return hash_secret(password, salt=salt, cost=HashingCost(memory_kib=64, passes=1, lanes=1))

    monkeypatch.setattr(user, "hash_secret", cheap)

    def give(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return give


def add(capsys: Out, folder: Path, login: str, name: str, role: str, *more: str) -> Any:
    return call(
        capsys, "user", "add", login, "--name", name, "--role", role, "--password-stdin",
        "--data", folder, *more,
    )  # fmt: skip


@pytest.mark.requirement("SIG-03", "SIG-04")
def test_the_first_person_is_an_administrator_who_adds_the_others(
    capsys: Out, tmp_path: Path, typed: Any
) -> None:
    folder = tmp_path / "new" / "folder"
    typed(FIRST)
    first = add(capsys, folder, "m.keller", "Maria Keller", "administrator", "--json")
    assert first.status == 0, first.err
    assert first.objects == [
        {
            "user": "U-0001",
            "login": "m.keller",
            "printed_name": "Maria Keller",
            "roles": ["administrator"],
        }
    ]
    typed(SECOND, FIRST)
    second = add(capsys, folder, "tom", "Tom Berg", "technician", "--by", "m.keller")
    assert second.status == 0, second.err
    listed = call(capsys, "user", "list", "--data", folder, "--json").objects
    assert [one["login"] for one in listed] == ["m.keller", "tom"]
    assert "Tom Berg" in call(capsys, "user", "list", "--data", folder).out
    assert call(capsys, "verify", folder).status == 0
    assert FIRST not in json.dumps(listed)


def test_nobody_is_added_with_a_wrong_password_and_the_try_is_recorded(
    capsys: Out, tmp_path: Path, typed: Any
) -> None:
    typed(FIRST)
    add(capsys, tmp_path, "m.keller", "Maria Keller", "administrator")
    typed(SECOND, "not the right one")
    called = add(capsys, tmp_path, "tom", "Tom Berg", "technician", "--by", "m.keller")
    assert called.status == 1
    assert_one_message(called, "don't belong together")
    (told,) = call(capsys, "verify", tmp_path, "--json").objects
    assert told["events"] == 2


@pytest.mark.parametrize(
    ("lines", "role", "status", "part"),
    [
        ((FIRST,), "technician", 1, "only the first person"),
        ((FIRST,), "king", 1, "there is no role king. Give one or more of technician"),
        (("short",), "administrator", 1, "5 characters"),
        ((), "administrator", 2, "standard input ended"),
    ],
)
def test_what_cannot_be_added_is_one_message(
    capsys: Out,
    tmp_path: Path,
    typed: Any,
    lines: tuple[str, ...],
    role: str,
    status: int,
    part: str,
) -> None:
    typed(*lines)
    called = add(capsys, tmp_path, "tom", "Tom Berg", role)
    assert called.status == status
    assert_one_message(called, part)


def test_a_folder_whose_daemon_runs_is_left_alone(capsys: Out, tmp_path: Path, typed: Any) -> None:
    folder = a_data_folder(tmp_path)
    typed(FIRST)
    with (folder / "journal.sqlite.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        called = add(capsys, folder, "tom", "Tom Berg", "administrator")
    assert called.status == 3
    assert_one_message(called, "another cellwright daemon")


def test_a_password_is_not_taken_from_a_pipe_unasked(
    capsys: Out, tmp_path: Path, typed: Any
) -> None:
    typed(FIRST)
    called = call(
        capsys, "user", "add", "tom", "--name", "Tom", "--role", "administrator",
        "--data", tmp_path,
    )  # fmt: skip
    assert called.status == 2
    assert_one_message(called, "--password-stdin")
