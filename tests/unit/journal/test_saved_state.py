"""Saved state is used only where a signed checkpoint vouches for these very bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.journal.journal import Journal
from orchestrator.journal.saved_state import NotSavedError, SavedState, load_state, save_state
from tests.unit.journal.builders import BATCH, Noted, Poured, a_journal, a_signer, opened

STATE = b'{"batches":3}'


async def a_saved_state(folder: Path) -> tuple[SavedState, Journal[Poured | Noted]]:
    """Return what was saved after ten events of a journal that then had five more."""
    with a_journal(folder) as journal:
        await journal.append_all(BATCH, [Poured(number=number) for number in range(10)])
        saved = SavedState("0.1.0", STATE, journal.tree)
        await journal.checkpoint(saved.statement)
        save_state(folder / "state.sqlite", saved)
        await journal.append_all(BATCH, [Poured(number=number) for number in range(5)])
        await journal.checkpoint()
    return saved, journal


def loaded(
    folder: Path, *, seed: str = "journal", engine_version: str = "0.1.0"
) -> SavedState | None:
    return load_state(
        folder / "state.sqlite",
        journal=folder / "journal.sqlite",
        public=a_signer(seed).public,
        engine_version=engine_version,
    )


async def test_what_was_saved_is_loaded_and_the_journal_goes_on_from_it(tmp_path: Path) -> None:
    saved, journal = await a_saved_state(tmp_path)
    found = loaded(tmp_path)
    assert found is not None
    assert (found.seq, found.state, found.engine_version) == (10, STATE, "0.1.0")
    assert found.tree.root() == saved.tree.root()
    with a_journal(tmp_path, tree=found.tree) as again:
        assert (again.size, again.root) == (15, journal.root)


async def test_a_later_state_takes_the_place_of_the_earlier(tmp_path: Path) -> None:
    await a_saved_state(tmp_path)
    with a_journal(tmp_path) as journal:
        later = SavedState("0.1.0", b'{"batches":4}', journal.tree)
        await journal.checkpoint(later.statement)
        save_state(tmp_path / "state.sqlite", later)
    found = loaded(tmp_path)
    assert found is not None
    assert found.seq == 15


async def test_another_version_or_key_has_no_saved_state(tmp_path: Path) -> None:
    await a_saved_state(tmp_path)
    assert loaded(tmp_path, engine_version="0.2.0") is None
    assert loaded(tmp_path, seed="another") is None


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE saved SET state = CAST(replace(state, '3', '4') AS BLOB)",
        "UPDATE saved SET seq = 11",
        "UPDATE saved SET tree = zeroblob(length(tree))",
        "UPDATE saved SET tree = x'00'",
        "UPDATE saved SET digest = 'ab'",
        "DELETE FROM saved",
        "DROP TABLE saved",
    ],
)
async def test_a_changed_state_is_thrown_away(tmp_path: Path, damage: str) -> None:
    await a_saved_state(tmp_path)
    opened(tmp_path / "state.sqlite").execute(damage)
    assert loaded(tmp_path) is None


async def test_a_state_that_nobody_signed_is_thrown_away(tmp_path: Path) -> None:
    saved, _ = await a_saved_state(tmp_path)
    forged = SavedState("0.1.0", b'{"batches":9}', saved.tree)
    save_state(tmp_path / "state.sqlite", forged)
    assert loaded(tmp_path) is None


async def test_a_file_that_is_missing_or_no_database_is_none_and_can_be_replaced(
    tmp_path: Path,
) -> None:
    saved, _ = await a_saved_state(tmp_path)
    path = tmp_path / "state.sqlite"
    path.unlink()
    assert loaded(tmp_path) is None
    path.write_bytes(b"something that was never a database" * 50)
    assert loaded(tmp_path) is None
    save_state(path, saved)
    assert loaded(tmp_path) is not None


async def test_a_file_that_another_reads_is_refused_in_words(tmp_path: Path) -> None:
    saved, _ = await a_saved_state(tmp_path)
    path = tmp_path / "state.sqlite"
    reading = opened(path).execute("SELECT seq FROM saved UNION ALL SELECT seq FROM saved")
    next(reading)
    with pytest.raises(NotSavedError, match="Busy"):
        save_state(path, saved)
    reading.close()
    save_state(path, saved)
    assert loaded(tmp_path) is not None
