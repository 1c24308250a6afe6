"""Copies of a journal: one made while a daemon may write to it, one put in its place.

A backup is one file, made by SQLite's own backup interface within one read of the journal, so it
holds exactly what was durable at one moment, what lies in the write-ahead log only included. The
daemon's writes go on meanwhile. It gets its name only when it is on disk and verified.

A journal is replaced by one rename. Before it, what was there is kept as copies under names of
its own, and its log is copied into it, so that the old journal stays whole until that moment and
no old log lies beside the new one after it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from orchestrator.journal.folders import sync_folder
from orchestrator.journal.journal import (
    JournalInUseError,
    has_log,
    open_to_read,
    read_rows,
)
from orchestrator.journal.verify import Verdict, verify
from orchestrator.kernel.errors import BrokenChainError, FailedError, RefusedError

UNFINISHED: Final = ".unfinished"
"""What the name of a copy ends with until it is whole."""

_ERRORS: Final = (apsw.Error, OSError, MemoryError)


class BackupRefusedError(RefusedError):
    """There is a file of that name already. Nothing was changed."""

    code = "refused.file.backup"


class BackupFailedError(FailedError):
    """The backup can't be written or read back. There is none under its name."""

    code = "failed.backup"


class UnsoundError(BrokenChainError):
    """What would be copied isn't what was written."""

    code = "integrity.broken-chain.backup"


def back_up(journal: Path, to: Path, *, key: Path | None = None) -> Verdict:
    """Copy a journal to a new file, and return what a verification of the copy says.

    Args:
        journal: May be in use by its daemon, which isn't kept waiting.
        to: The file to make.
        key: The journal's public key; else ``journal.pub`` beside it, if there is one.

    Raises:
        BackupRefusedError: ``to`` is there already.
        BackupFailedError: The disk is full, or reading or writing failed.
        UnsoundError: The journal isn't what was written.
    """
    what = f"back up {journal} to {to}"
    if to.exists() or to.is_symlink():
        raise BackupRefusedError(what, why="it is there already", do_next="Give a new name")
    beside = journal.with_name("journal.pub")
    if key is None and beside.exists():
        key = beside
    unfinished = to.with_name(to.name + UNFINISHED)
    try:
        verdict = copied(journal, unfinished, key=key)
        try:
            _name(unfinished, to)
        except FileExistsError as there:
            raise BackupRefusedError(
                what, why="it is there already", do_next="Give a new name"
            ) from there
        sync_folder(to.parent)
    except _ERRORS as failed:
        raise BackupFailedError(
            what,
            why=_why(failed),
            do_next="Free room or give another disk, and back up again",
        ) from failed
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return verdict


def copied(journal: Path, to: Path, *, key: Path | None) -> Verdict:
    """Copy a journal to ``to``, in place of what is there, and verify what came out.

    Raises:
        UnsoundError: It isn't what was written.
        OSError: It can't be read or written.
        apsw.Error: As before.
    """
    was_in_use = has_log(journal)
    _copy(journal, to)
    verdict = verify(to, key)
    if not verdict.sound and not was_in_use and has_log(journal):
        _copy(journal, to)  # a daemon began to write meanwhile
        verdict = verify(to, key)
    if not verdict.sound:
        raise UnsoundError(
            f"copy {journal}",
            why=f"it isn't what was written ({verdict.problems[0]})",
            do_next="Run cellwright verify on it; keep the file, its -wal and earlier backups as "
            "they are",
        )
    return verdict


class Known(NamedTuple):
    """What can be read of a journal, sound or not."""

    events: int
    epoch: int
    witnessed: bool


def known_of(journal: Path) -> Known | None:
    """Return what can be read of a journal that is to be replaced; None if nothing can."""
    known: Known | None = None
    with contextlib.suppress(*_ERRORS, UnicodeError, ValueError, TypeError):
        for row in read_rows(journal):
            witnessed = row.kind == "journal_witnessed" or (known is not None and known.witnessed)
            known = Known(row.seq, max(row.epoch, 0 if known is None else known.epoch), witnessed)
    return known


def kept_name(journal: Path, epoch: int) -> Path:
    """Return the free name under which what a restore replaces is kept beside it."""
    stem = f"journal-before-epoch-{epoch}"
    number = 1
    kept = journal.with_name(f"{stem}.sqlite")
    while kept.exists():
        number += 1
        kept = journal.with_name(f"{stem}-{number}.sqlite")
    return kept


def replace(journal: Path, by: Path, kept: Path) -> bool:
    """Put ``by`` in the place of a journal that nobody has open; keep what was there as ``kept``.

    Whatever dies on the way, either the old journal or the new one is there, whole.

    Args:
        journal: Where it goes. There may be none, or a damaged one.
        by: A closed journal on the same file system. It is moved.
        kept: A new name, for the bytes that were there; its log, if there was one, beside it.

    Returns:
        Whether there was one to keep.

    Raises:
        OSError: It can't be done; the old one is there.
        apsw.Error: As before.
    """
    there = journal.exists()
    log = journal.with_name(journal.name + "-wal")
    if there:
        if log.exists():
            _keep(log, kept.with_name(kept.name + "-wal"))
        _keep(journal, kept)
        _take_in_log(journal)
    for suffix in ("-wal", "-shm", "-journal"):
        journal.with_name(journal.name + suffix).unlink(missing_ok=True)
    sync_folder(journal.parent)
    by.rename(journal)
    sync_folder(journal.parent)
    return there


def _copy(journal: Path, to: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        to.with_name(to.name + suffix).unlink(missing_ok=True)
    with (
        contextlib.closing(open_to_read(journal)) as source,
        _made(to) as target,
        target.backup("main", source, "main") as copying,
    ):
        copying.step(-1)  # at once: a step is begun anew when somebody writes between two
    file = os.open(to, os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextlib.contextmanager
def _made(path: Path) -> Generator[Any]:
    """Yield a connection to a new file, for its owner only; nothing is beside it but itself."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection: Any = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.execute("PRAGMA journal_mode = OFF")  # a copy that dies is thrown away
        connection.execute("PRAGMA synchronous = OFF")  # it is synced as a whole
        yield connection
    finally:
        connection.close()


def _name(unfinished: Path, to: Path) -> None:
    """Give a file its name, unless there is another of it."""
    try:
        os.link(unfinished, to)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if to.exists():
            raise FileExistsError(to) from None
        unfinished.rename(to)


def _keep(path: Path, kept: Path) -> None:
    """Copy a file under another name, whole or not at all."""
    unfinished = kept.with_name(kept.name + UNFINISHED)
    shutil.copyfile(path, unfinished)
    file = os.open(unfinished, os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)
    unfinished.rename(kept)
    sync_folder(kept.parent)


def _take_in_log(journal: Path) -> None:
    """Copy a journal's log into it, so that it is whole without; one that is no database has none.

    Raises:
        apsw.Error: It can't be read or written.
    """
    if not has_log(journal):
        return
    try:
        connection: Any = apsw.Connection(str(journal), flags=apsw.SQLITE_OPEN_READWRITE)
    except (apsw.NotADBError, apsw.CorruptError):
        return
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except (apsw.NotADBError, apsw.CorruptError):
        return
    except apsw.BusyError as busy:
        raise JournalInUseError(
            f"replace {journal}",
            why="another program has it open",
            do_next="End what reads it, and restore again",
        ) from busy
    finally:
        connection.close()


def _why(failed: BaseException) -> str:
    if isinstance(failed, apsw.FullError):
        return "the disk is full"
    return getattr(failed, "strerror", None) or str(failed) or type(failed).__name__
