"""A journal is backed up while it is in use, and put back only as an act of two people.

Method: a data folder with people lives through short lives, each witnessed, and is backed up in
between. What is restored is compared by its root and by what a start of the daemon says of it
(the line of its cell isn't there: a start that accepts the journal ends with the absent port).
Deaths are of forked processes, before each call that changes names or makes something durable.
"""

from __future__ import annotations

import asyncio
import io
import os
import resource
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from devices.transport.transport import PortRefusedError
from orchestrator.cli import main as command
from orchestrator.engine.replay import replayed
from orchestrator.engine.state import HostState
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import EVENTS, HOST, AlarmCleared, AnyEvent, JournalRestored
from orchestrator.journal.journal import Journal, read_checkpoints, read_events, read_rows
from orchestrator.journal.verify import verify
from orchestrator.journal.witness import Witness, WitnessContradictsError, WitnessDamagedError
from orchestrator.kernel.identifiers import HostId, UserId
from orchestrator.kernel.instants import SystemClock
from orchestrator.people.signatures import faults
from orchestrator.people.users import add_person, hash_secret
from orchestrator.process_cell.emulated_people import CHEAP_HASHING
from tests.unit.cli.builders import Called, call
from tests.unit.cli.test_witnessed_start import a_start

NAME = HostId("bench")
ROLES = {
    "ada": "administrator",
    "sam": "supervisor",
    "mia": "maintenance",
    "quinn": "qualified_person",
    "tom": "technician",
}


def password(login: str) -> str:
    return f"nobody guesses {login} here"


def opened(data: Path) -> Journal[AnyEvent]:
    data.mkdir(mode=0o700, exist_ok=True)
    signer = Signer.stored(data, NAME, os.urandom)
    return Journal(
        data / "journal.sqlite", EVENTS, clock=SystemClock(), host=NAME, signer=signer,
        reserve_bytes=4096,
    )  # fmt: skip


async def _life(data: Path, witness: Path | None, events: int) -> None:
    with opened(data) as journal:
        if not journal.size:
            people: dict[str, Any] = {}
            for login, role in ROLES.items():
                added = add_person(
                    people,
                    login=login,
                    printed_name=login.title(),
                    roles=[role],
                    secret=hash_secret(password(login), salt=bytes(16), cost=CHEAP_HASHING),
                    by=UserId(next(iter(people))) if people else None,
                )
                await journal.append(HOST, added)
                people = replayed(HostState(), journal.path).people
        for number in range(events):
            await journal.append(HOST, AlarmCleared(alarm=f"alarm {number}"))
        await journal.checkpoint()
        if witness is not None:
            public = Signer.stored(data, NAME, os.urandom).public
            copying = Witness(witness, NAME, public, known=False, epoch=journal.epoch)
            copying.take(journal.notes())
            copying.copy()


def a_life(data: Path, witness: Path | None = None, events: int = 3) -> None:
    """Have a few events recorded and signed, the people's first, and copied to a witness."""
    asyncio.run(_life(data, witness, events))


def backed_up(capsys: pytest.CaptureFixture[str], data: Path, to: Path) -> dict[str, Any]:
    called = call(capsys, "backup", "--data", data, "--to", to, "--json")
    assert called.status == 0, called.err
    (told,) = called.objects
    return told


def restore(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    data: Path,
    backup: Path,
    *more: object,
    by: tuple[str, str] = ("sam", "quinn"),
    typed: tuple[str, str] | None = None,
) -> Called:
    """Call ``restore`` with two people, each with the right password unless told otherwise."""
    typed = typed or (password(by[0]), password(by[1]))
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(typed) + "\n"))
    people = ("--performed-by", by[0], "--verified-by", by[1], "--password-stdin")
    return call(capsys, "restore", "--from", backup, "--data", data, *people, *more)


def root(journal: Path) -> str:
    verdict = verify(journal)
    assert verdict.sound, verdict.problems
    return verdict.merkle_root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data folder with people and a few events."""
    a_life(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """Return an empty witness folder."""
    (tmp_path / "witness").mkdir()
    return tmp_path / "witness"


# Backup --------------------------------------------------------------------------------------


def test_a_backup_beside_a_daemon_holds_what_is_durable_and_keeps_nothing_waiting(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    async def busy() -> None:
        with opened(data) as journal:
            for number in range(20):
                await journal.append_all(
                    HOST, [AlarmCleared(alarm=f"busy {number} {n}") for n in range(30)]
                )
                to = tmp_path / f"{number}.sqlite"
                told = backed_up(capsys, data, to)
                assert (told["events"], told["merkle_root"]) == (
                    journal.size,
                    journal.root.hex(),
                )
                beside = [one for one in os.listdir(tmp_path) if one.startswith(to.name)]
                assert beside == [to.name], "one file, nothing beside it"
            assert journal.latched is None
            alone = shutil.copy(journal.path, tmp_path / "alone.sqlite")
            short = verify(Path(alone))
            assert not short.sound or short.events < journal.size, "its log was left behind"

    asyncio.run(busy())


def test_an_existing_file_is_never_written_over(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    to = tmp_path / "backup.sqlite"
    to.write_text("precious")
    called = call(capsys, "backup", "--data", data, "--to", to)
    assert called.status == 3
    assert "there already" in called.err
    assert to.read_text() == "precious"


def test_a_full_disk_leaves_no_file_under_the_name(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        called = call(capsys, "backup", "--data", data, "--to", tmp_path / "backup.sqlite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert called.status == 3
    assert "back up again" in called.err
    assert not list(tmp_path.glob("backup*"))
    assert root(data / "journal.sqlite")


def test_a_journal_that_is_not_what_was_written_is_not_backed_up(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    with sqlite3.connect(data / "journal.sqlite") as edited:
        edited.execute("UPDATE events SET stream = 'other' WHERE seq = 6")
    called = call(capsys, "backup", "--data", data, "--to", tmp_path / "backup.sqlite")
    assert called.status == 1
    assert "event 6" in called.err
    assert not list(tmp_path.glob("backup*"))


# Restore -------------------------------------------------------------------------------------


def test_it_is_shown_what_is_missing_and_only_a_signed_restore_is_accepted(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    witness: Path,
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup.sqlite"
    a_life(data, witness)
    backed_up(capsys, data, backup)
    a_life(data, witness, events=5)
    newest = root(data / "journal.sqlite")

    shown = call(
        capsys, "restore", "--from", backup, "--data", data, "--witness", witness, "--dry-run"
    )
    assert shown.status == 0
    assert "at least events 9 to 13" in shown.out
    assert root(data / "journal.sqlite") == newest, "looking changes nothing"

    planted = tmp_path / "unsigned"
    shutil.copytree(data, planted)
    shutil.copy(backup, planted / "journal.sqlite")
    assert isinstance(a_start(planted, witness), WitnessContradictsError)

    called = restore(capsys, monkeypatch, data, backup, "--witness", witness, "--json")
    assert called.status == 0, called.err
    (told,) = called.objects
    assert (told["events"], told["missing_from"], told["known"], told["epoch"]) == (8, 9, 13, 1)
    kept = Path(told["kept"])
    assert root(kept) == newest
    events = list(read_events(data / "journal.sqlite", EVENTS))
    restored = events[8].event
    assert isinstance(restored, JournalRestored)
    assert [one.printed_name for one in restored.signatures] == ["Sam", "Quinn"]
    assert not faults([restored])
    epochs = [row.epoch for row in read_rows(data / "journal.sqlite")]
    assert epochs == [0] * 8 + [1] * (len(epochs) - 8)
    verdict = verify(data / "journal.sqlite", witness=witness, deep=True)
    assert verdict.sound, verdict.problems
    assert verdict.unwitnessed_from is None
    assert isinstance(a_start(data, witness), PortRefusedError)

    back = tmp_path / "back"
    shutil.copytree(data, back)
    shutil.copy(kept, back / "journal.sqlite")
    refused = a_start(back, witness)
    assert isinstance(refused, WitnessContradictsError)
    assert "from before a restore" in refused.why
    assert not verify(back / "journal.sqlite", witness=witness).sound


def test_each_restore_of_one_backup_is_an_epoch_of_its_own(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    witness: Path,
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup.sqlite"
    a_life(data, witness)
    backed_up(capsys, data, backup)
    for epoch in (1, 2, 3):
        called = restore(capsys, monkeypatch, data, backup, "--witness", witness, "--json")
        assert called.status == 0, called.err
        assert called.objects[0]["epoch"] == epoch
        assert isinstance(a_start(data, witness), PortRefusedError)
        verdict = verify(data / "journal.sqlite", witness=witness)
        assert verdict.sound, verdict.problems
    names = sorted(one.name for one in witness.iterdir())
    assert names == ["bench+1.notes", "bench+2.notes", "bench+3.notes", "bench.notes"]
    assert len(list(data.glob("journal-before-epoch-*.sqlite"))) == 3


def test_who_goes_on_with_the_old_journal_is_found_at_the_next_start(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    witness: Path,
) -> None:
    data, backup, old = tmp_path / "data", tmp_path / "backup.sqlite", tmp_path / "old"
    a_life(data, witness)
    backed_up(capsys, data, backup)
    shutil.copytree(data, old)
    assert restore(capsys, monkeypatch, data, backup, "--witness", witness).status == 0
    held = (witness / "bench.notes").read_bytes()
    a_life(old)
    own = read_checkpoints(old / "journal.sqlite")
    (witness / "bench.notes").write_bytes("".join(f"{note}\n" for note in own).encode())
    refused = a_start(data, witness)
    assert isinstance(refused, WitnessContradictsError)
    assert "grew since the restore" in refused.why
    (witness / "bench.notes").write_bytes(b"x" + held[1:])
    assert isinstance(a_start(data, witness), WitnessDamagedError)


@pytest.mark.parametrize(
    ("by", "typed", "told"),
    [
        (("sam", "quinn"), ("wrong", "wrong too"), "don't belong together"),
        (("sam", "quinn"), (password("sam"), "wrong"), "don't belong together"),
        (("sam", "nobody"), None, "don't belong together"),
        (("sam", "sam"), None, "another person"),
        (("tom", "quinn"), None, "needs the role"),
        (("ada", "quinn"), None, "needs the role"),
        (("sam", "mia"), None, "needs the role"),
        (("quinn", "sam"), None, "needs the role"),
    ],
)
def test_whoever_may_not_sign_changes_nothing(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    data: Path,
    tmp_path: Path,
    by: tuple[str, str],
    typed: tuple[str, str] | None,
    told: str,
) -> None:
    backup = tmp_path / "backup.sqlite"
    backed_up(capsys, data, backup)
    a_life(data)
    before = (data / "journal.sqlite").read_bytes()
    called = restore(capsys, monkeypatch, data, backup, by=by, typed=typed)
    assert called.status == 1
    assert told in called.err
    assert (data / "journal.sqlite").read_bytes() == before
    assert not (data / "restoring").exists()
    assert restore(capsys, monkeypatch, data, backup, by=("mia", "quinn")).status == 0


def test_a_foreign_an_unsound_and_an_unsigned_file_are_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    data: Path,
    tmp_path: Path,
) -> None:
    foreign = tmp_path / "foreign"
    a_life(foreign)
    backed_up(capsys, foreign, tmp_path / "foreign.sqlite")
    edited = tmp_path / "edited.sqlite"
    backed_up(capsys, data, edited)
    with sqlite3.connect(edited) as changing:
        changing.execute("UPDATE events SET stream = 'other' WHERE seq = 6")
    unsigned = tmp_path / "unsigned.sqlite"
    backed_up(capsys, data, unsigned)
    with sqlite3.connect(unsigned) as changing:
        changing.execute("DELETE FROM checkpoints")
    before = (data / "journal.sqlite").read_bytes()
    for backup, told in (
        (tmp_path / "foreign.sqlite", "another key"),
        (edited, "event 6"),
        (unsigned, "no checkpoint in it is signed"),
    ):
        called = restore(capsys, monkeypatch, data, backup)
        assert called.status == 1, (backup, called)
        assert told in called.err
        assert (data / "journal.sqlite").read_bytes() == before
    (data / "journal.key").unlink()
    called = restore(capsys, monkeypatch, data, unsigned)
    assert called.status == 3
    assert "journal.key" in called.err


def test_a_journal_with_a_witness_is_restored_with_it_only_and_with_its_daemon_down(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    witness: Path,
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup.sqlite"
    a_life(data, witness)
    backed_up(capsys, data, backup)

    async def witnessed() -> None:
        from orchestrator.journal.events import JournalWitnessed

        with opened(data) as journal:
            await journal.append(HOST, JournalWitnessed(events=8))
            called = restore(capsys, monkeypatch, data, backup, "--witness", witness)
            assert (called.status, "one writer" in called.err) == (3, True), called.err

    asyncio.run(witnessed())
    called = restore(capsys, monkeypatch, data, backup)
    assert called.status == 3
    assert "--witness" in called.err
    called = restore(capsys, monkeypatch, data, backup, "--witness", tmp_path / "mistyped")
    assert called.status == 3
    a_life(other := tmp_path / "other", others := _made(tmp_path / "others"))
    assert other.exists()
    called = restore(capsys, monkeypatch, data, backup, "--witness", others)
    assert called.status == 1


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_damaged_or_missing_journal_is_replaced_and_its_bytes_are_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path
) -> None:
    backup = tmp_path / "backup.sqlite"
    backed_up(capsys, data, backup)
    (data / "journal.sqlite").write_bytes(b"nothing that can be read")
    called = restore(capsys, monkeypatch, data, backup, "--json")
    assert called.status == 0, called.err
    assert Path(called.objects[0]["kept"]).read_bytes() == b"nothing that can be read"
    assert root(data / "journal.sqlite")
    (data / "journal.sqlite").unlink()
    called = restore(capsys, monkeypatch, data, backup, "--json")
    assert called.status == 0, called.err
    assert called.objects[0]["kept"] is None
    assert root(data / "journal.sqlite")


# Deaths --------------------------------------------------------------------------------------

_STEPS = ("rename", "replace", "unlink", "fsync", "link", "mkdir")


def _die_at(point: int) -> None:
    """Have this process end before its ``point``-th change of names or sync."""
    seen = [0]

    def dying(name: str) -> None:
        real = getattr(os, name)

        def step(*arguments: Any, **named: Any) -> Any:
            seen[0] += 1
            if seen[0] == point:
                os._exit(99)
            return real(*arguments, **named)

        setattr(os, name, step)

    for name in _STEPS:
        dying(name)


def _in_a_child(point: int, arguments: list[str], typed: str) -> int:
    """Return the exit status of a command that dies at ``point``, 99 if it did."""
    child = os.fork()
    if child == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            sys.stdin = io.StringIO(typed)
            _die_at(point)
            os._exit(command.main(arguments))
        finally:
            os._exit(98)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_death_at_each_moment_of_a_backup_leaves_a_whole_file_or_none(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    newest = root(data / "journal.sqlite")
    died, point = 0, 0
    while True:
        point += 1
        to = _made(tmp_path / f"{point}") / "backup.sqlite"
        ended = _in_a_child(point, ["backup", "--data", str(data), "--to", str(to)], "")
        if to.exists():
            assert root(to) == newest, f"died at {point}"
        assert root(data / "journal.sqlite") == newest, f"died at {point}"
        if ended == 0:
            break
        assert ended == 99, f"point {point}: {ended}"
        died += 1
        if not to.exists():
            backed_up(capsys, data, to)
    assert died > 2, "the backup syncs or renames nothing any more?"


def test_death_at_each_moment_of_a_restore_leaves_the_old_state_or_the_new(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    before, backup = tmp_path / "before", tmp_path / "backup.sqlite"
    first = tmp_path / "first-witness"
    first.mkdir()
    a_life(before, first)
    backed_up(capsys, before, backup)
    a_life(before, first)
    _leave_a_log(before)
    newest = root(before / "journal.sqlite")
    died, states, point = 0, set[bool](), 0
    while True:
        point += 1
        home = _made(tmp_path / f"{point}")
        data, witness = home / "data", home / "witness"
        shutil.copytree(before, data)
        shutil.copytree(first, witness)
        arguments = ["restore", "--from", backup, "--data", data, "--witness", witness]
        arguments += ["--performed-by", "sam", "--verified-by", "quinn", "--password-stdin"]
        typed = f"{password('sam')}\n{password('quinn')}\n"
        ended = _in_a_child(point, [str(one) for one in arguments], typed)
        verdict = verify(data / "journal.sqlite", witness=witness)
        assert verdict.sound, (point, verdict.problems)
        kinds = [row.kind for row in read_rows(data / "journal.sqlite")]
        is_new = "journal_restored" in kinds
        states.add(is_new)
        if not is_new:
            assert verdict.merkle_root == newest, f"died at {point}"
        assert isinstance(a_start(data, witness), PortRefusedError), f"died at {point}"
        if ended == 0:
            break
        assert ended == 99, f"point {point}: {ended}"
        died += 1
        if not is_new:
            again = restore(capsys, monkeypatch, data, backup, "--witness", witness)
            assert again.status == 0, (point, again.err)
        shutil.rmtree(home)
    assert died > 15, "the restore syncs or renames nothing any more?"
    assert states == {False, True}


def _leave_a_log(data: Path) -> None:
    """Have the newest events lie in the log only, as a killed daemon leaves them."""

    async def life() -> None:
        journal = opened(data)
        await journal.append(HOST, AlarmCleared(alarm="in the log"))
        await journal.checkpoint()
        journal.latch("it is killed")
        journal.close()

    asyncio.run(life())
    assert (data / "journal.sqlite-wal").stat().st_size, "there is no log to lose"
