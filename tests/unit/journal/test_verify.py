"""Every change of a journal is found and located, and nothing makes ``verify`` raise.

Method: a small journal with checkpoints, then damage as accidents and insiders do it:
bytes flipped anywhere in the file, rows edited, deleted, exchanged, hashed anew; the
file cut, emptied, exchanged; checkpoints of another key. The untouched journal is the
control of each.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.journal.journal import Row, leaf_of, row_text
from orchestrator.journal.verify import Verdict, verify
from tests.unit.journal.builders import BATCH, TOYS, Noted, Poured, a_journal, a_signer, opened

EVENTS = 40


async def a_sound_journal(folder: Path) -> Path:
    """Return the path of a journal of 40 events, with checkpoints at 10, 20 and 30."""
    with a_journal(folder) as journal:
        for number in range(EVENTS):
            if number % 10 == 0 and number:
                await journal.checkpoint()
            await journal.append(BATCH, Poured(number=number))
    (folder / "journal.pub").write_text(f"{a_signer().public}\n")
    return journal.path


def change(path: Path, *statements: str) -> None:
    connection = opened(path)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def contents(path: Path) -> list[object]:
    """Return all that the file's tables hold, or why they can't be read."""
    connection = opened(path)
    try:
        rows = connection.execute(
            "SELECT seq, host, epoch, boot, at_utc, boottime, stream, kind, body, leaf FROM events"
        ).fetchall()
        notes = connection.execute("SELECT number, size, note FROM checkpoints").fetchall()
    finally:
        connection.close()
    return [rows, notes]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def hashed_anew(path: Path, seq: int, change_row: Callable[[Row], Row]) -> None:
    """Edit one row as someone who knows the format: with its leaf."""
    connection = opened(path)
    row = Row(*connection.execute("SELECT * FROM events WHERE seq = ?", (seq,)).fetchall()[0])
    row = change_row(row)
    row = row._replace(leaf=leaf_of(row_text(*row[:-1])))
    connection.execute("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.close()


def assert_unsound(verdict: Verdict, first_bad_seq: int | None, problem: str) -> None:
    assert not verdict.sound
    assert problem in " | ".join(verdict.problems)
    assert verdict.first_bad_seq == first_bad_seq


@pytest.mark.requirement("REC-03", "REC-11")
async def test_a_sound_journal_is_sound_and_says_what_that_rests_on(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    with a_journal(tmp_path) as journal:
        root = journal.root.hex()
    assert verify(path) == Verdict(
        sound=True,
        events=EVENTS,
        merkle_root=root,
        anchored_to="own checkpoints only",
        first_bad_seq=None,
        problems=(),
        unanchored_from=31,
    )


async def test_without_a_key_it_is_anchored_to_nothing(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    (tmp_path / "journal.pub").unlink()
    verdict = verify(path)
    assert verdict.sound
    assert (verdict.anchored_to, verdict.unanchored_from) == ("nothing", 1)


async def test_an_empty_journal_is_sound(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.close()
    verdict = verify(journal.path)
    assert (verdict.sound, verdict.events, verdict.unanchored_from) == (True, 0, None)


# Accidents ---------------------------------------------------------------------------


@pytest.mark.requirement("REC-03")
async def test_any_flipped_byte_is_found_or_changes_no_row(tmp_path: Path) -> None:
    """F9: 400 places of the closed file, one random bit each."""
    path = await a_sound_journal(tmp_path)
    sound = path.read_bytes()
    before = contents(path)
    chance = random.Random("flips")
    found = 0
    for place in sorted(chance.sample(range(len(sound)), 400)):
        flipped = bytearray(sound)
        flipped[place] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        verdict = verify(path)
        found += not verdict.sound
        if verdict.sound:
            assert contents(path) == before, f"byte {place}"
            assert verdict.events == EVENTS
        else:
            assert verdict.problems
    assert found > 100, "hardly a flip hit a row; is this the journal?"


async def test_a_journal_cut_anywhere_is_unsound_and_its_sound_rows_are_counted(
    tmp_path: Path,
) -> None:
    path = await a_sound_journal(tmp_path)
    sound = path.read_bytes()
    counts: set[int] = set()
    for size in range(1, len(sound), 397):
        path.write_bytes(sound[:size])
        verdict = verify(path)
        assert not verdict.sound, f"cut to {size} of {len(sound)} bytes"
        counts.add(verdict.events)
    assert max(counts) > 0


async def test_damage_of_a_page_is_located_at_its_first_row(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    sound = path.read_bytes()
    located: list[int | None] = []
    for page in range(4096, len(sound), 4096):
        path.write_bytes(sound[:page] + bytes(4096) + sound[page + 4096 :])
        verdict = verify(path)
        located.append(verdict.first_bad_seq)
        assert not verdict.sound
        if verdict.first_bad_seq is None:
            assert "checkpoint 1 can't be read" in " ".join(verdict.problems)
        else:
            assert verdict.events == verdict.first_bad_seq - 1
            assert f"event {verdict.first_bad_seq} can't be read" in " ".join(verdict.problems)
    assert located[:2] == [1, None], "the roots of the two tables"
    assert max(seq or 0 for seq in located) > 1, "the second half of the rows"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"This is a text and no database, whatever its name says." * 9, "no SQLite database"),
        (b"SQLite format 3\0" + bytes(4096), "no SQLite database"),
    ],
)
def test_what_is_no_journal_gets_one_clear_problem(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    (tmp_path / "journal.sqlite").write_bytes(content)
    verdict = verify(tmp_path / "journal.sqlite")
    assert_unsound(verdict, None, problem)
    assert len(verdict.problems) == 1


def test_a_path_without_a_file_and_another_database_get_one_clear_problem(tmp_path: Path) -> None:
    assert_unsound(verify(tmp_path / "nothing"), None, "there is no such file")
    assert_unsound(verify(tmp_path), None, "there is no such file")
    change(tmp_path / "other.sqlite", "CREATE TABLE t(x)")
    assert_unsound(verify(tmp_path / "other.sqlite"), None, "no journal of format 1")


# Insiders ----------------------------------------------------------------------------


@pytest.mark.parametrize("seq", [1, 17, 30, 40])
@pytest.mark.parametrize(
    "column",
    [
        "body = replace(body, '250', '251')",
        "host = 'cell-b'",
        "epoch = epoch + 1",
        "boot = 'boot-2'",
        "at_utc = replace(at_utc, '10:00', '11:00')",
        "boottime = boottime + 1",
        "stream = 'batch/B-000148'",
        "kind = 'noted'",
        "leaf = zeroblob(32)",
        "leaf = zeroblob(31)",
        "boot = boot || char(34)",
    ],
)
async def test_an_edited_row_is_named(tmp_path: Path, seq: int, column: str) -> None:
    path = await a_sound_journal(tmp_path)
    change(path, f"UPDATE events SET {column} WHERE seq = {seq}")
    verdict = verify(path)
    assert not verdict.sound
    assert f"event {seq} doesn't match its hash" in verdict.problems[0]
    if "leaf" not in column:
        assert verdict.first_bad_seq == seq


async def test_text_moved_between_columns_is_found_though_the_hash_agrees(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    change(
        path,
        'UPDATE events SET boot = boot || \'","boottime":\' || boottime || \',"x":"\', '
        "boottime = 1 WHERE seq = 3",
    )
    assert_unsound(verify(path), 3, "event 3 doesn't match its hash")


@pytest.mark.requirement("REC-03")
@pytest.mark.parametrize(("seq", "stretch"), [(5, (1, 10)), (15, (11, 20)), (30, (21, 30))])
async def test_a_row_hashed_anew_is_found_between_its_checkpoints(
    tmp_path: Path, seq: int, stretch: tuple[int, int]
) -> None:
    path = await a_sound_journal(tmp_path)
    hashed_anew(path, seq, lambda row: row._replace(body=row.body.replace("250", "251")))
    first, last = stretch
    assert_unsound(verify(path), first, f"some of {first} to {last} were rewritten")


async def test_a_row_behind_the_newest_checkpoint_is_told_to_be_unanchored(tmp_path: Path) -> None:
    """What can't be found is said: from 31 on nothing but accidents is excluded."""
    path = await a_sound_journal(tmp_path)
    hashed_anew(path, 35, lambda row: row._replace(body=row.body.replace("250", "251")))
    verdict = verify(path)
    assert verdict.sound
    assert verdict.unanchored_from == 31


async def test_a_deleted_row_is_named(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    change(path, "DELETE FROM events WHERE seq = 17")
    verdict = verify(path)
    assert_unsound(verdict, 17, "event 17 is missing")
    assert verdict.events == 16


async def test_a_row_deleted_and_the_rest_moved_up_is_found(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    change(
        path,
        "DELETE FROM events WHERE seq = 17",
        "UPDATE events SET seq = -seq WHERE seq > 17",
        "UPDATE events SET seq = -seq - 1 WHERE seq < 0",
    )
    assert_unsound(verify(path), 11, "event 17 doesn't match its hash")


async def test_exchanged_rows_are_named(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    change(
        path,
        "UPDATE events SET seq = 1000 WHERE seq = 17",
        "UPDATE events SET seq = 17 WHERE seq = 18",
        "UPDATE events SET seq = 18 WHERE seq = 1000",
    )
    verdict = verify(path)
    assert "event 17 doesn't match its hash" in verdict.problems[0]
    assert "event 18 doesn't match its hash" in verdict.problems[1]


async def test_a_row_put_before_the_first_is_found(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    hashed_anew(path, 1, lambda row: row._replace(seq=0))
    assert_unsound(verify(path), 1, "there is an event before event 1")


async def test_a_journal_cut_behind_its_newest_checkpoint_is_found(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    change(path, "DELETE FROM events WHERE seq > 27")
    assert_unsound(verify(path), 28, "events 28 to 30 are missing: checkpoint 3")


async def test_rows_dropped_with_their_checkpoints_are_found_by_the_witness_only(
    tmp_path: Path,
) -> None:
    """F10: the journal alone can't show it, and says what it is anchored to."""
    path = await a_sound_journal(tmp_path)
    witness = tmp_path / "witness"
    witness.mkdir()
    notes = opened(path).execute("SELECT note FROM checkpoints").fetchall()
    (witness / "newest.note").write_text(str(notes[-1][0]))
    verdict = verify(path, witness=witness)
    assert (verdict.sound, verdict.anchored_to) == (True, f"witness {witness}")
    change(path, "DELETE FROM events WHERE seq > 22", "DELETE FROM checkpoints WHERE size > 20")
    alone = verify(path)
    assert (alone.sound, alone.anchored_to) == (True, "own checkpoints only")
    assert_unsound(verify(path, witness=witness), 23, "events 23 to 30 are missing")


async def test_an_empty_or_untrusted_witness_is_a_problem(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    witness = tmp_path / "witness"
    witness.mkdir()
    assert_unsound(verify(path, witness=witness), None, "there is no witnessed checkpoint")
    (witness / "newest.note").write_text("cellwright/cell-a\n")
    assert_unsound(verify(path, witness=witness), None, "can't be trusted")


async def test_all_hashed_and_signed_anew_by_another_key_is_found(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    forged = tmp_path / "forged"
    forged.mkdir()
    with a_journal(forged, signer=a_signer("another")) as journal:
        await journal.append_all(BATCH, [Poured(number=1)] * EVENTS)
        await journal.checkpoint()
    shutil.copy(journal.path, path)
    verdict = verify(path)
    assert_unsound(verdict, None, "signed by another key")
    assert verdict.anchored_to == "nothing"


async def test_the_key_given_counts_and_not_the_one_beside_the_journal(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    (tmp_path / "auditor.pub").write_text(f"{a_signer('another').public}\n")
    assert_unsound(verify(path, tmp_path / "auditor.pub"), None, "signed by another key")
    (tmp_path / "auditor.pub").write_text("no key")
    assert_unsound(verify(path, tmp_path / "auditor.pub"), None, "isn't a key")
    assert_unsound(verify(path, tmp_path / "missing.pub"), None, "No such file")


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE checkpoints SET note = replace(note, 'at 2026', 'at 2025')", "doesn't fit its"),
        ("UPDATE checkpoints SET size = 11 WHERE number = 1", "stands in the wrong place"),
        ("DELETE FROM checkpoints WHERE number = 2", "checkpoint 2 is missing"),
        ("UPDATE checkpoints SET note = 'nothing' WHERE number = 3", "isn't a signed note"),
        ("CREATE VIEW v AS SELECT 1", "tables aren't those of a journal"),
        ("CREATE TRIGGER t AFTER INSERT ON events BEGIN SELECT 1; END", "aren't those of"),
    ],
)
async def test_a_changed_checkpoint_or_table_is_found(
    tmp_path: Path, statement: str, problem: str
) -> None:
    path = await a_sound_journal(tmp_path)
    change(path, statement)
    verdict = verify(path)
    assert not verdict.sound
    assert problem in " | ".join(verdict.problems)


async def test_of_many_problems_some_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    change(path, "UPDATE events SET boottime = boottime + 1")
    verdict = verify(path)
    assert (len(verdict.problems), verdict.problems[-1]) == (21, "and 20 more")


# Deep, and beside a daemon -----------------------------------------------------------


async def test_deep_reads_each_event_again(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    assert verify(path, deep=True, adapter=TOYS).sound
    hashed_anew(path, 35, lambda row: row._replace(body=row.body.replace('"number":34', '"n":1')))
    hashed_anew(path, 36, lambda row: row._replace(body=row.body.replace(":35", ": 35")))
    hashed_anew(path, 37, lambda row: row._replace(kind="noted"))
    assert verify(path).sound
    verdict = verify(path, deep=True, adapter=TOYS)
    assert "event 35 is none that this version knows" in verdict.problems[0]
    assert "event 36 isn't written canonically" in verdict.problems[1]
    assert "event 37 isn't written canonically" in verdict.problems[2]
    assert verdict.first_bad_seq == 35


async def test_deep_uses_the_products_own_events(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    assert_unsound(verify(path, deep=True), 1, "event 1 is none that this version knows")


async def test_verifying_a_closed_journal_leaves_no_file_beside_it(tmp_path: Path) -> None:
    path = await a_sound_journal(tmp_path)
    before = names(tmp_path)
    assert verify(path, deep=True, adapter=TOYS).sound
    assert names(tmp_path) == before


async def test_it_works_beside_the_daemon_and_on_a_copy_of_file_and_log(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    with a_journal(tmp_path) as journal:
        await journal.append(BATCH, Poured(number=1))
        await journal.append("host", Noted(text="both in the log only"))
        assert verify(journal.path).events == 2
        for name in ("journal.sqlite", "journal.sqlite-wal"):
            shutil.copy(tmp_path / name, copy / name)
        await journal.append(BATCH, Poured(number=2))
        assert verify(journal.path).events == 3
    verdict = verify(copy / "journal.sqlite")
    assert (verdict.sound, verdict.events) == (True, 2)
