"""A disk below the real journal that is cut, fails or lies at a chosen operation.

``Disk`` is a VFS of SQLite over the system's own. Each operation that changes one of the
journal's three files (database, write-ahead log, rollback journal) is a *point*: it has a
number, a text and a place in a log, and ``torn_images`` tells from that log what a power cut
just before a point can have left behind. What a disk may do is taken from

- SQLite, "Atomic Commit In SQLite", 2.0, "Hardware Assumptions": storage is written in sectors
  of 512 bytes or more; the system may reorder writes until a sync; a file may have grown
  before its new end has content, so that the end may hold anything.
- SQLite, "Powersafe Overwrite": bytes outside of a written range aren't changed by a power cut;
  of those inside, some may have their old values and some their new ones.
- SQLite, ``os_unix.c`` (``unixOpen``, ``unixSync``, ``unixDelete``): the folder is synced with the
  first sync of a journal or log that was made, and with a deletion that asks for it; else the
  name of a file that was made or deleted may be there or not.
- Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020: after a
  failed sync Linux counts the pages as clean, so that a later sync that succeeds doesn't
  write them.

It must never be below the journal of a cell that treats patients.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from enum import StrEnum
from hashlib import shake_128
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self, TypeVar

import apsw

T = TypeVar("T")

PIECE_BYTES: Final = 512
"""What is written whole or not at all: the smallest sector that disks have."""

SUFFIXES: Final = ("", "-wal", "-journal")
"""The journal's files by SQLite's names. The shared memory (``-shm``) is made anew at a start."""

_SYNCS_ITS_FOLDER: Final = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL

Kind = Literal["open", "write", "truncate", "sync", "delete"]
Image = dict[str, bytes]
"""The journal's files by name, as found after a power cut. One that isn't there has no key."""


class Failure(StrEnum):
    """What goes wrong at an operation."""

    CUT = "cut"
    """The power is gone: this and all that follow go nowhere, also reads."""
    FULL = "no space is left"
    """A write finds room for its first half only (ENOSPC)."""
    WRITE = "a write fails"
    """A write fails half-way (EIO)."""
    SYNC = "a sync fails"
    """A sync fails (EIO), and what it was to sync may never reach the disk."""
    READ = "a read fails"
    """A read fails (EIO). Reads are counted by themselves, since they change nothing."""
    LIE = "a sync lies"
    """A sync reports success and does nothing."""


_CODES: Final = {
    Failure.CUT: apsw.SQLITE_IOERR,
    Failure.FULL: apsw.SQLITE_FULL,
    Failure.WRITE: apsw.SQLITE_IOERR_WRITE,
    Failure.SYNC: apsw.SQLITE_IOERR_FSYNC,
    Failure.READ: apsw.SQLITE_IOERR_READ,
}
_FAILING: Final[dict[Kind, tuple[Failure, ...]]] = {
    "open": (),
    "write": (Failure.FULL, Failure.WRITE),
    "truncate": (),
    "sync": (Failure.SYNC, Failure.LIE),
    "delete": (),
}


class Operation(NamedTuple):
    """One operation on one of the journal's files, as it went."""

    kind: Kind
    file: str
    offset: int
    """Where a write began, or how long a truncated file is left."""
    data: bytes
    """What of it was written."""
    asked: int
    """How many bytes were to be written."""
    syncs_folder: bool
    failure: Failure | None

    def __str__(self) -> str:
        """Return e.g. ``write journal.sqlite-wal 4096@8192``."""
        where = {"write": f" {self.asked}@{self.offset}", "truncate": f" {self.offset}"}
        failed = f" ({self.failure.value})" if self.failure else ""
        return f"{self.kind} {self.file}{where.get(self.kind, '')}{failed}"


class Disk(apsw.VFS):
    """The disk below one journal; give its ``name`` to the journal as its ``vfs``.

    It passes everything on to the system, so the files are where they always are. After a
    cut they hold what was in the system's memory; what the disk held is in ``torn_images``.
    """

    def __init__(self, journal: Path) -> None:
        """Begin to count, for the journal that lies or will lie at ``journal``."""
        self.journal: Final = journal.resolve()
        self.name: Final = f"disk of {self.journal}"
        super().__init__(self.name, "")
        self.log: Final[list[Operation]] = []
        self.reads = 0
        self._failure: Failure | None = None
        self._from = 0
        self._times: int | None = None
        self._initial: Final[Image] = read_image(self.journal)
        self._platter = _Platter(self._initial)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.unregister()

    @property
    def points(self) -> int:
        """Return how many operations there were; the coming one has one number more."""
        return len(self.log)

    def fail(self, failure: Failure, *, at: int, times: int | None = 1) -> None:
        """Have operation ``at``, or the first after it that can fail so, fail.

        Args:
            failure: How. Takes the place of what was planned before.
            at: The number of an operation, of a read for ``Failure.READ``, from 1.
            times: How many fail, one after the other; None until ``be_well``. A cut has no end.
        """
        self._failure, self._from, self._times = failure, at, times

    def be_well(self) -> None:
        """Let nothing fail any more. A system whose power was cut begins on a new ``Disk``."""
        self._failure = None

    def torn_images(self, n: int, seed: int, count: int) -> Iterator[Image]:
        """Yield what a power cut just before operation ``n`` can have left, ``count`` times.

        Operations 1 to ``n`` - 1 were done. The first image has none of what wasn't synced, the
        second all of it, each further one a part drawn by ``seed``: any pieces of ``PIECE_BYTES``,
        any truncation, any name made or deleted. Of what a file grew by and didn't receive,
        nothing, zeros or noise is there. A piece that was written twice has any of its values,
        which is all that another order of the writes can bring about. ``n`` is best asked for in
        rising order: the log is then read once.
        """
        if not 1 <= n <= self.points + 1:
            raise ValueError(f"operation {n}: there were {self.points}")
        if self._platter.done >= n:
            self._platter = _Platter(self._initial)
        for operation in self.log[self._platter.done : n - 1]:
            self._platter.take(operation)
        for which in range(count):
            yield self._platter.image(_Chance(f"{seed} {n} {which}", which))

    # Called by SQLite ----------------------------------------------------------------

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 (SQLite's name)
        """Open a file; one that is made by it is an operation."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or not self._is_ours(path):
            return apsw.VFSFile("", name, flags)
        makes = bool(flags[0] & apsw.SQLITE_OPEN_CREATE) and not os.path.exists(path)
        if makes:
            file = os.path.basename(path)
            self.change("open", file, lambda _: None)
        return _File(self, name, flags, makes and bool(flags[0] & _SYNCS_ITS_FOLDER))

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 (SQLite's name)
        """Delete a file."""
        delete = super().xDelete
        if self._is_ours(filename):
            file = os.path.basename(filename)
            self.change("delete", file, lambda _: delete(filename, syncdir), syncs_folder=syncdir)
        else:
            delete(filename, syncdir)

    def _is_ours(self, path: str) -> bool:
        own = str(self.journal)
        return path.startswith(own) and path[len(own) :] in SUFFIXES

    # Called by its files -------------------------------------------------------------

    def change(
        self,
        kind: Kind,
        file: str,
        do: Callable[[bytes], None],
        *,
        offset: int = 0,
        data: bytes = b"",
        syncs_folder: bool = False,
    ) -> None:
        """Do an operation, in whole or as far as it goes, and note it."""
        failure = self._failing(self.points + 1, (*_FAILING[kind], Failure.CUT))
        if failure is Failure.CUT:
            raise _error(failure)
        asked = len(data)
        if failure is not None:
            data = data[: asked // 2 // PIECE_BYTES * PIECE_BYTES]
        if failure is None or data:
            do(data)
        self.log.append(Operation(kind, file, offset, data, asked, syncs_folder, failure))
        if failure not in (None, Failure.LIE):
            raise _error(failure)

    def read(self, do: Callable[[], T]) -> T:
        """Read, or fail to."""
        self.reads += 1
        failure = self._failing(self.reads, (Failure.READ,))
        if failure is None and self._failure is Failure.CUT and self.points + 1 >= self._from:
            failure = Failure.CUT
        if failure is not None:
            raise _error(failure)
        return do()

    def _failing(self, number: int, possible: tuple[Failure, ...]) -> Failure | None:
        if self._failure not in possible or number < self._from or self._times == 0:
            return None
        if self._times is not None and self._failure is not Failure.CUT:
            self._times -= 1
        return self._failure


class _File(apsw.VFSFile):
    """One of the journal's files, opened once."""

    def __init__(self, disk: Disk, name: Any, flags: list[int], syncs_folder: bool) -> None:
        super().__init__("", name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._disk = disk
        self._name = os.path.basename(path)
        self._syncs_folder = syncs_folder

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 (SQLite's name)
        read = super().xRead
        return self._disk.read(lambda: read(amount, offset))

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 (SQLite's name)
        def write(part: bytes) -> None:
            super(_File, self).xWrite(part, offset)  # pyright: ignore[reportUnknownMemberType]

        self._disk.change("write", self._name, write, offset=offset, data=bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 (SQLite's name)
        truncate = super().xTruncate
        self._disk.change("truncate", self._name, lambda _: truncate(newsize), offset=newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 (SQLite's name)
        sync = super().xSync
        self._disk.change(
            "sync", self._name, lambda _: sync(flags), syncs_folder=self._syncs_folder
        )
        self._syncs_folder = False


def _error(failure: Failure) -> Exception:
    error = apsw.exception_for(_CODES[failure])
    error.args = (f"{failure.value} (planned)",)
    return error


# What is on the disk -----------------------------------------------------------------


class _Chance:
    """What is there of what wasn't synced: for image 0 nothing, for image 1 all, else a part."""

    def __init__(self, seed: str, which: int) -> None:
        self._seed = seed
        self._is_whole = which == 1
        self._drawn = 0
        self._share = 0 if which == 0 else 1 + self._byte() * 254 // 255

    def has(self) -> bool:
        """Return whether the next piece is there."""
        return self._is_whole or (self._share > 0 and self._byte() < self._share)

    def end(self, length: int) -> bytes:
        """Return what is there, at a file's end, in the place of a piece that isn't."""
        draw = self._byte() % 3 if self._share else 0
        return (b"", bytes(length), self._bytes(length))[draw] if draw < 2 else self._bytes(length)

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, length: int) -> bytes:
        self._drawn += 1
        return shake_128(f"{self._seed} {self._drawn}".encode()).digest(length)


class _Piece:
    """Bytes that were written since a sync, or a truncation to ``offset``."""

    __slots__ = ("data", "is_adrift", "is_sure", "offset")

    def __init__(self, offset: int, data: bytes | None) -> None:
        self.offset = offset
        self.data = data
        self.is_sure = False
        self.is_adrift = False
        """A sync of it failed: no later one writes it."""

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.offset :]
        else:
            if len(content) < self.offset:
                content.extend(bytes(self.offset - len(content)))
            content[self.offset : self.offset + len(self.data)] = self.data

    def miss(self, content: bytearray, chance: _Chance) -> None:
        """Leave out this piece; a file that grew by it may have grown all the same."""
        if self.data is not None and self.offset + len(self.data) > len(content):
            end = chance.end(self.offset + len(self.data) - max(self.offset, len(content)))
            if end:
                at = max(self.offset, len(content))
                content.extend(bytes(at - len(content)))
                content.extend(end)


class _Content:
    """What one file holds: what is there for sure, and what was done since, in order."""

    def __init__(self, content: bytes = b"") -> None:
        self._sure = bytearray(content)
        self._since: list[_Piece] = []

    def write(self, offset: int, data: bytes) -> None:
        at = 0
        while at < len(data):
            length = PIECE_BYTES - (offset + at) % PIECE_BYTES
            self._since.append(_Piece(offset + at, data[at : at + length]))
            at += length

    def truncate(self, size: int) -> None:
        self._since.append(_Piece(size, None))

    def sync(self) -> None:
        for piece in self._since:
            piece.is_sure = piece.is_sure or not piece.is_adrift
        while self._since and self._since[0].is_sure:
            self._since.pop(0).apply(self._sure)

    def lose(self) -> None:
        for piece in self._since:
            piece.is_adrift = not piece.is_sure

    def torn(self, chance: _Chance) -> bytes:
        content = bytearray(self._sure)
        for piece in self._since:
            if piece.is_sure or chance.has():
                piece.apply(content)
            else:
                piece.miss(content, chance)
        return bytes(content)


class _Platter:
    """What the disk holds after the first ``done`` operations of a log."""

    def __init__(self, initial: Image) -> None:
        self.done = 0
        self._names = {name: _Content(content) for name, content in initial.items()}
        self._now = dict(self._names)
        self._since: list[tuple[str, _Content | None]] = []

    def take(self, operation: Operation) -> None:
        """Take the next operation."""
        self.done += 1
        file = operation.file
        match operation.kind:
            case "open":
                self._now[file] = _Content()
                self._since.append((file, self._now[file]))
            case "delete":
                self._now.pop(file, None)
                self._since.append((file, None))
            case "write":
                self._now[file].write(operation.offset, operation.data)
            case "truncate":
                self._now[file].truncate(operation.offset)
            case "sync":
                if operation.failure is None:
                    self._now[file].sync()
                elif operation.failure is Failure.SYNC:
                    self._now[file].lose()
        if operation.syncs_folder and operation.failure is None:
            for name, content in self._since:
                _name(self._names, name, content)
            self._since.clear()

    def image(self, chance: _Chance) -> Image:
        """Return the files as they are found after a cut."""
        names = dict(self._names)
        for name, content in self._since:
            if chance.has():
                _name(names, name, content)
        return {name: content.torn(chance) for name, content in names.items()}


def _name(names: dict[str, _Content], name: str, content: _Content | None) -> None:
    if content is None:
        names.pop(name, None)
    else:
        names[name] = content


def read_image(journal: Path) -> Image:
    """Return the journal's files as they are now."""
    files = [journal.with_name(journal.name + suffix) for suffix in SUFFIXES]
    return {file.name: file.read_bytes() for file in files if file.exists()}


def put_image(image: Image, folder: Path) -> None:
    """Put the files of an image into ``folder``, for a start after the cut."""
    for name, content in image.items():
        (folder / name).write_bytes(content)
