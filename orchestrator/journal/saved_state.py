"""Folded state, saved so that a start needn't read every event; never a truth of its own.

A state is used only if a checkpoint that the journal's key signed says that exactly
these bytes were folded from exactly these events by this engine version. In every
other case there is none, and the journal is folded from its first event.

Parts of it that don't change any more are kept apart and written once. The state itself says
which there are, with their digests: whoever reads it compares.

Follows design section 5. What the bytes mean is the engine's business.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

from orchestrator.journal.checkpoints import NoteError, PublicKey, StateStatement
from orchestrator.journal.journal import read_checkpoints
from orchestrator.journal.merkle import CompactRange
from orchestrator.kernel.canonical import digest
from orchestrator.kernel.errors import FailedError

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS saved(only INTEGER PRIMARY KEY CHECK(only = 1), "
    "seq INTEGER NOT NULL, engine_version TEXT NOT NULL, digest TEXT NOT NULL, "
    "state BLOB NOT NULL, tree BLOB NOT NULL) STRICT"
)
_PARTS_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS parts(name TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT"
)
_SAVE: Final = (
    "INSERT OR REPLACE INTO saved(only, seq, engine_version, digest, state, tree) "
    "VALUES (1, ?, ?, ?, ?, ?)"
)
_SAVE_PART: Final = "INSERT INTO parts(name, content) VALUES (?, ?)"
_LOAD: Final = "SELECT seq, engine_version, digest, state, tree FROM saved"


class NotSavedError(FailedError):
    """The folded state couldn't be saved; the journal holds all of it."""

    code = "failed.saved-state"


@dataclass(frozen=True, slots=True)
class SavedState:
    """What ``engine_version`` had folded when ``tree`` held all events up to it."""

    engine_version: str
    state: bytes
    """The canonical folded state."""
    tree: CompactRange
    parts: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """What the state says is kept apart from it."""

    @property
    def seq(self) -> int:
        """Return the number of the last event that is in it."""
        return self.tree.size

    def statement(self) -> StateStatement:
        """Return what a checkpoint must say of it."""
        return StateStatement(self.engine_version, digest(self.state))


def save_state(path: Path, saved: SavedState, *, written: Collection[str] = ()) -> None:
    """Keep ``saved`` at ``path`` in place of what is there; a damaged file is replaced.

    Args:
        path: The file.
        saved: What to keep.
        written: The parts that the file has as they are, where it has them; they aren't
            written again.

    Raises:
        NotSavedError: It can't be written. What was saved before is lost or still there.
    """
    try:
        _save(path, saved, written)
    except (apsw.Error, OSError) as failed:
        raise NotSavedError(
            f"save the folded state in {path.name}",
            why=f"{type(failed).__name__}: {failed}",
            do_next="See what else holds the file, and whether the disk is full",
        ) from failed


def _save(path: Path, saved: SavedState, written: Collection[str]) -> None:
    try:
        _write(path, saved, written)
    except (apsw.NotADBError, apsw.CorruptError, apsw.SQLError):
        path.unlink(missing_ok=True)
        path.with_name(path.name + "-journal").unlink(missing_ok=True)
        _write(path, saved, ())


def load_state(
    path: Path, *, journal: Path, public: PublicKey, engine_version: str
) -> SavedState | None:
    """Return what is saved at ``path`` if a signed checkpoint of ``journal`` vouches for it.

    Whatever else is found, nothing, damage, another version's state, is None.
    """
    with contextlib.suppress(apsw.Error, ValueError, TypeError, OSError):
        saved = _read(path)
        if saved is None or saved.engine_version != engine_version:
            return None
        for note in read_checkpoints(journal, size=saved.seq):
            with contextlib.suppress(NoteError):
                checkpoint = public.open(note)
                if (
                    checkpoint.size == saved.seq
                    and checkpoint.root == saved.tree.root()
                    and checkpoint.state == saved.statement()
                ):
                    return saved
    return None


def _write(path: Path, saved: SavedState, written: Collection[str]) -> None:
    connection = _connected(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    try:
        with connection:
            connection.execute(_TABLE)
            connection.execute(_PARTS_TABLE)
            content = (saved.engine_version, digest(saved.state), saved.state)
            connection.execute(_SAVE, (saved.seq, *content, saved.tree.to_bytes()))
            _write_parts(connection, saved.parts, written)
    finally:
        connection.close()


def _write_parts(connection: Any, parts: Mapping[str, bytes], written: Collection[str]) -> None:
    there = {name for (name,) in connection.execute("SELECT name FROM parts")}
    stay = there & parts.keys() & set(written)
    gone = [(name,) for name in there - stay]
    connection.executemany("DELETE FROM parts WHERE name = ?", gone)
    new = [(name, content) for name, content in parts.items() if name not in stay]
    connection.executemany(_SAVE_PART, new)


def _read(path: Path) -> SavedState | None:
    if not path.is_file():
        return None
    connection = _connected(path, apsw.SQLITE_OPEN_READWRITE)
    try:
        row = connection.execute(_LOAD).fetchone()
        parts: dict[str, bytes] = dict(connection.execute("SELECT name, content FROM parts"))
    finally:
        connection.close()
    if row is None:
        return None
    seq, engine_version, stored_digest, state, tree = row
    saved = SavedState(engine_version, state, CompactRange.of_bytes(tree), parts)
    if saved.seq != seq or digest(state) != stored_digest:
        return None
    return saved


def _connected(path: Path, flags: int) -> Any:
    return apsw.Connection(str(path), flags=flags)
