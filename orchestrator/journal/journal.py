"""The journal's file: append, acknowledge when durable, read back.

One SQLite database per host (write-ahead log, ``synchronous=FULL``). What is
appended in one turn of the event loop is one transaction, committed on the loop
before anyone who awaits it goes on; there is no thread, so it also lives on a
virtual-time loop. The first write or sync error latches the journal for good:
after a failed sync nobody knows what the disk holds, and trying again would
only hide that.

The format of the file is in ``docs/reference/journal.md``; a person with that page
can verify a journal without this program. Follows design section 5.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, Self, TypeVar

import apsw
from pydantic import BaseModel, TypeAdapter, ValidationError

from orchestrator.journal.checkpoints import (
    Checkpoint,
    NoteError,
    Signer,
    StateStatement,
    origin_of,
)
from orchestrator.journal.folders import sync_folder
from orchestrator.journal.merkle import CompactRange
from orchestrator.kernel.canonical import canonical
from orchestrator.kernel.errors import BrokenChainError, JournalLatchedError, RefusedError
from orchestrator.kernel.identifiers import BootId, HostId
from orchestrator.kernel.instants import Clock, Instant
from orchestrator.kernel.quantities import Duration

E = TypeVar("E", bound=BaseModel)
T = TypeVar("T")

APPLICATION_ID: Final = 0x43574A4C  # "CWJL", in the header of every journal
FORMAT: Final = 1  # the header's user version
RESERVE_BYTES: Final = 8 * 1024 * 1024
BUSY_MS_MAX: Final = 2_000
WAL_PAGES_MAX: Final = 1_000  # SQLite's own default; 4 MiB between copies into the database
LOG_BYTES_AT_ONCE: Final = 64 * 1024  # SQLite writes less than 128 KiB in one call
READ_AT_ONCE: Final = 1_024  # more is slower: the rows then leave the processor's cache

EVENTS_TABLE: Final = (
    "CREATE TABLE events(seq INTEGER PRIMARY KEY, host TEXT NOT NULL, epoch INTEGER NOT NULL, "
    "boot TEXT NOT NULL, at_utc TEXT NOT NULL, boottime INTEGER NOT NULL, stream TEXT NOT NULL, "
    "kind TEXT NOT NULL, body TEXT NOT NULL, leaf BLOB NOT NULL) STRICT"
)
CHECKPOINTS_TABLE: Final = (
    "CREATE TABLE checkpoints(number INTEGER PRIMARY KEY, size INTEGER NOT NULL, "
    "note TEXT NOT NULL) STRICT"
)
SELECT_ROWS: Final = (
    "SELECT seq, host, epoch, boot, at_utc, boottime, stream, kind, body, leaf FROM events "
    "WHERE seq >= ? ORDER BY seq"
)
_INSERT: Final = (
    "INSERT INTO events(seq, host, epoch, boot, at_utc, boottime, stream, kind, body, leaf) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_CHECKPOINT: Final = "INSERT INTO checkpoints(size, note) VALUES (?, ?)"

# Texts of a row's own columns need no escapes in JSON, so that a row has one text
# and a text one row.
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]+")

_WRITE_ERRORS: Final = (apsw.Error, OSError, MemoryError)


class JournalInUseError(RefusedError):
    """Another process has this journal open for writing. Nothing was changed."""

    code = "refused.journal-in-use"


class Row(NamedTuple):
    """One event as stored. ``body`` is the event's canonical JSON, verbatim."""

    seq: int
    host: str
    epoch: int
    boot: str
    at_utc: str
    boottime: int
    stream: str
    kind: str
    body: str
    leaf: bytes


class Recorded(NamedTuple, Generic[E]):
    """One event as read back: what happened, when, and whom it concerns."""

    seq: int
    at: Instant
    boot: BootId
    boottime: Duration
    stream: str
    event: E


_recorded: Final[Callable[[tuple[Any, ...]], Recorded[Any]]] = partial(
    tuple[Any, ...].__new__, Recorded
)
"""Makes one of its six parts, in half the time that naming them takes."""


def row_text(
    seq: int,
    host: str,
    epoch: int,
    boot: str,
    at_utc: str,
    boottime: int,
    stream: str,
    kind: str,
    body: str,
) -> str:
    """Return the canonical JSON of a row without its leaf. Its columns must be plain."""
    return (
        f'{{"at_utc":"{at_utc}","body":{body},"boot":"{boot}","boottime":{boottime},'
        f'"epoch":{epoch},"host":"{host}","kind":"{kind}","seq":{seq},"stream":"{stream}"}}'
    )


def leaf_of(text: str) -> bytes:
    """Return the leaf of the row with the canonical JSON ``text``."""
    return sha256(b"\x00" + text.encode()).digest()


def is_intact(row: tuple[Any, ...]) -> bool:
    """Tell whether a stored row has its types, its plain columns and its leaf.

    A body of another type, or one that isn't JSON, has another leaf.
    """
    seq, host, epoch, boot, at_utc, boottime, stream, kind, body, leaf = row
    try:
        columns = "".join((host, boot, at_utc, stream, kind))
    except TypeError:
        return False
    if '"' in columns or "\\" in columns or not type(seq) is type(epoch) is type(boottime) is int:
        return False
    text = row_text(seq, host, epoch, boot, at_utc, boottime, stream, kind, body)
    return sha256(b"\x00" + text.encode()).digest() == leaf


# A connection is typed Any: APSW's own stubs name types that Python 3.11 hasn't.


def open_to_read(path: Path, *, vfs: str | None = None) -> Any:
    """Return a connection that can't write, to a journal that may be in use.

    Without a ``-wal`` file beside it no writer has it open, and it is read as a file that
    doesn't change, so that reading leaves no file behind, least of all another user's.

    Raises:
        apsw.Error: There is no such file, or it can't be opened.
    """
    uri = path.resolve().as_uri() + "?mode=ro"
    return _connected_to_read(uri if has_log(path) else f"{uri}&immutable=1", vfs)


def has_log(path: Path) -> bool:
    """Tell whether a write-ahead log lies beside the journal: it is in use, or was killed."""
    path = path.resolve()
    return path.with_name(path.name + "-wal").exists()


def _connected_to_read(uri: str, vfs: str | None) -> Any:
    connection = _connected(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI, vfs)
    connection.set_busy_timeout(BUSY_MS_MAX)
    for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    return connection


def _connected(name: str, flags: int, vfs: str | None) -> Any:
    return apsw.Connection(name, flags=flags, vfs=vfs)


def read_rows(path: Path, *, from_seq: int = 1, vfs: str | None = None) -> Generator[Row]:
    """Yield the stored rows from ``from_seq`` on, as they are and unchecked.

    All are of the moment of the first; the journal may be in use.

    Raises:
        apsw.Error: The file is damaged or no database.
    """
    with contextlib.closing(open_to_read(path, vfs=vfs)) as connection:
        for row in connection.execute(SELECT_ROWS, (from_seq,)):
            yield Row(*row)


def read_events(
    path: Path, adapter: TypeAdapter[E], *, from_seq: int = 1, vfs: str | None = None
) -> Iterator[Recorded[E]]:
    """Yield the events from ``from_seq`` on, each checked against its leaf and validated.

    All are of the moment of the first; the journal may be in use, or its daemon down.

    Raises:
        BrokenChainError: An event is damaged, missing, or not one that this version knows.
            The events before it were yielded and are sound.
    """
    expected = from_seq
    validate = adapter.validator.validate_json
    boot_text, boot = "", None
    at_text, at = "", None
    boottime_ms, boottime = -1, None
    try:
        with contextlib.closing(open_to_read(path, vfs=vfs)) as connection:
            for row in connection.execute(SELECT_ROWS, (from_seq,)):
                seq, _, _, row_boot, at_utc, row_boottime, stream, _, body, _ = row
                if seq != expected or not is_intact(row):
                    raise _broken(path, expected, "it doesn't match its hash, or is missing")
                if row_boot != boot_text or boot is None:
                    boot_text, boot = row_boot, BootId(row_boot)
                if at_utc != at_text or at is None:
                    at_text, at = at_utc, Instant.read(at_utc)
                if row_boottime != boottime_ms or boottime is None:
                    boottime_ms, boottime = row_boottime, Duration.of_base(row_boottime)
                yield _recorded((seq, at, boot, boottime, stream, validate(body)))
                expected += 1
    except ValidationError as unknown:
        why = f"this version can't read it ({unknown.errors()[0]['msg']})"
        raise _broken(path, expected, why) from unknown
    except (apsw.Error, UnicodeError) as damage:
        raise _broken(path, expected, f"the file can't be read there ({damage})") from damage


def read_row(path: Path, seq: int, *, vfs: str | None = None) -> Row | None:
    """Return the stored row of event ``seq``, as it is; None if there is none.

    Raises:
        BrokenChainError: The file is gone, is damaged there, or is no database.
    """
    try:
        with contextlib.closing(read_rows(path, from_seq=seq, vfs=vfs)) as rows:
            row = next(rows, None)
    except (apsw.Error, UnicodeError) as damage:
        raise _broken(path, seq, f"the file can't be read there ({damage})") from damage
    return None if row is None or row.seq != seq else row


def has_writer(path: Path) -> bool:
    """Tell whether a process has the journal at ``path`` open for writing, without asking it.

    The kernel lists who holds the lock, so nothing is locked to find out.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        number = lock.stat().st_ino
        return any(
            f":{number} " in line and " FLOCK " in line
            for line in Path("/proc/locks").read_text("ascii").splitlines()
        )
    except OSError:
        return False


def read_checkpoints(path: Path, *, size: int | None = None, vfs: str | None = None) -> list[str]:
    """Return the stored signed notes, oldest first, unchecked; of ``size`` only, if given.

    Raises:
        apsw.Error: The file is damaged or no database.
    """
    with contextlib.closing(open_to_read(path, vfs=vfs)) as connection:
        notes: list[str] = []
        newest_first = "SELECT size, note FROM checkpoints ORDER BY number DESC"
        for found, note in connection.execute(newest_first):
            if size is not None and found < size:
                break  # sizes never fall, so what is older is smaller as well
            if size is None or found == size:
                notes.append(note)
        return notes[::-1]


class _CheckpointAsked(NamedTuple):
    waiting: asyncio.Future[Checkpoint]
    state: Callable[[], StateStatement] | None


class Journal(Generic[E]):
    """The one writer of one journal.

    An event is appended under a *stream*, the name of what it concerns, e.g. a batch.
    Everything needed from outside (time, host, key) is given, so the same events at the
    same times give the same root.

    After the journal has latched nothing is appended any more. An event whose append
    raised ``JournalLatchedError`` may or may not be on disk: an act must not follow, and
    a restart finds out. If the disk was full, the reserve file beside the journal is
    freed and ``last_words`` may give one event, which is recorded with a checkpoint where
    that still works; after any other error nothing more is written.
    """

    def __init__(
        self,
        path: Path,
        adapter: TypeAdapter[E],
        *,
        clock: Clock,
        host: HostId,
        signer: Signer,
        epoch: int | None = None,
        tree: CompactRange | None = None,
        last_words: Callable[[str], tuple[str, E]] | None = None,
        reserve_bytes: int = RESERVE_BYTES,
        vfs: str | None = None,
    ) -> None:
        """Open the journal at ``path`` for writing; make it if there is none.

        Args:
            path: The database. Its lock and its reserve lie beside it.
            adapter: Of the union of all events.
            clock: What rows say of the time.
            host: Whose journal this is.
            signer: Signs checkpoints, and must have signed those that are there.
            epoch: Begins this one, as a restore does; else that of the newest event goes on.
            tree: The tree of an earlier size, shown true by saved state; without it every
                leaf is read.
            last_words: Given why the disk-full latch fell, returns the stream and event to
                record.
            reserve_bytes: Size of the file that is freed on a full disk.
            vfs: Name of a registered SQLite VFS, for tests of disk errors.

        Raises:
            JournalInUseError: Another process, or another ``Journal``, has it open.
            RefusedError: It is another host's, no journal, or the reserve can't be made.
            BrokenChainError: It is damaged, cut behind its newest checkpoint, or that was
                signed by another key.
        """
        path = path.resolve()  # one lock, by whatever name the file is called
        self.path: Final = path
        self._adapter = adapter
        self._clock = clock
        self._host = str(host)
        self._epoch = 0
        self._signer = signer
        self._origin = origin_of(host)
        self._boot = clock.boot()
        self._last_words = last_words
        self._vfs = vfs
        self._latched: str | None = None
        self._closed = False
        self._listeners: list[Callable[[Sequence[Recorded[E]]], None]] = []
        self._at_latch: list[Callable[[], None]] = []
        self._at_checkpoint: list[Callable[[str], None]] = []
        self._rows: list[Row] = []
        self._recorded: list[Recorded[E]] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._checkpoints: list[_CheckpointAsked] = []
        self._scheduled_on: asyncio.AbstractEventLoop | None = None
        self._wal_pages = 0

        self._lock = locked(path)
        try:
            self._reserve = path.with_name(path.name + ".reserve")
            _fill_reserve(self._reserve, reserve_bytes)
            _write_log_anew(path, vfs)
            self._connection = _connected(
                str(path), apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, vfs
            )
            try:
                self._prepare()
                self._tree = self._recovered(tree or CompactRange())
                self._epoch = self._epoch_to_go_on_in(epoch)
            except BaseException:
                self._connection.close()
                raise
        except apsw.Error as error:
            os.close(self._lock)
            raise _unusable(path, error) from error
        except BaseException:
            os.close(self._lock)
            raise
        self._next_seq = self._tree.size + 1

    @property
    def size(self) -> int:
        """Return how many events are durable."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """Return the root over the durable events."""
        return self._tree.root()

    @property
    def tree(self) -> CompactRange:
        """Return a copy of the tree over the durable events, for saved state."""
        return self._tree.copy()

    @property
    def epoch(self) -> int:
        """Return the epoch of what is appended now."""
        return self._epoch

    @property
    def latched(self) -> str | None:
        """Return why nothing is appended any more, or None while all is well."""
        return self._latched

    def subscribe(self, listener: Callable[[Sequence[Recorded[E]]], None]) -> None:
        """Have ``listener`` called with what each commit made durable, in order.

        It is called before those who await these events go on. If it raises, that is our
        mistake: the state is behind the journal, so the journal latches and the error is
        raised in the event loop.
        """
        self._listeners.append(listener)

    def at_latch(self, told: Callable[[], None]) -> None:
        """Have ``told`` called when the journal latches; at once if it has."""
        self._at_latch.append(told)
        if self._latched is not None:
            told()

    def at_checkpoint(self, told: Callable[[str], None]) -> None:
        """Have ``told`` called with each signed note, in order, once it is durable."""
        self._at_checkpoint.append(told)

    async def append(self, stream: str, event: E) -> int:
        """Return the event's number once it is durable.

        Events are numbered in the order of the calls. Cancelling the caller doesn't take
        the event back.

        Raises:
            JournalLatchedError: Now or before, a write failed. Don't act on the event.
            ValueError: The event has no canonical form, doesn't read back as itself, or
                ``stream`` isn't plain text. Nothing was appended.
        """
        first = self._take(stream, (event,))
        await self._durable()
        return first

    async def append_all(self, stream: str, events: Iterable[E]) -> range:
        """Return the events' numbers once they are durable: all of them or none.

        Raises:
            JournalLatchedError: As for ``append``.
            ValueError: As for ``append``, for any of them. Nothing was appended.
        """
        first = self._next_seq
        self._take(stream, tuple(events))
        count = self._next_seq - first
        if count:
            await self._durable()
        return range(first, first + count)

    async def checkpoint(self, state: Callable[[], StateStatement] | None = None) -> Checkpoint:
        """Sign what is durable, and return the checkpoint when it is durable itself.

        What was appended before is part of it. ``state`` is asked when all of these events,
        and no others, have been told to the listeners.

        Raises:
            JournalLatchedError: A write failed; there is no such checkpoint.
        """
        self._refuse_if_latched()
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Checkpoint] = loop.create_future()
        self._checkpoints.append(_CheckpointAsked(waiting, state))
        self._schedule(loop)
        return await waiting

    def events(self, from_seq: int = 1) -> Iterator[Recorded[E]]:
        """Yield the durable events from ``from_seq`` on; see ``read_events``."""
        return read_events(self.path, self._adapter, from_seq=from_seq, vfs=self._vfs)

    def notes(self) -> list[str]:
        """Return the durable signed notes, oldest first."""
        return read_checkpoints(self.path, vfs=self._vfs)

    def rows(self, from_seq: int = 1) -> Iterator[Row]:
        """Yield the stored rows from ``from_seq`` on, as they are."""
        return read_rows(self.path, from_seq=from_seq, vfs=self._vfs)

    def latch(self, why: str) -> None:
        """Stop recording for good. Who waits, and who comes later, gets the error.

        Nothing more is written, and closing copies nothing into the database, since what
        the disk holds may not be what this process believes.
        """
        if self._latched is not None:
            return
        self._latched = why
        self._rows, self._recorded = [], []
        asked: list[asyncio.Future[Any]] = [*self._waiting]
        asked += [checkpoint.waiting for checkpoint in self._checkpoints]
        self._waiting, self._checkpoints = [], []
        for waiting in asked:
            if not waiting.done() and not waiting.get_loop().is_closed():
                waiting.set_exception(self._latched_error())
        for told in self._at_latch:
            told()

    def close(self) -> None:
        """Make durable what was appended, and leave the file to others.

        After a latch nothing is written. May be called again.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self._latched is None:
                self._commit()
        finally:
            if self._latched is None:
                self._latched = "it was closed"
            else:
                with contextlib.suppress(apsw.Error):
                    self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            try:
                self._connection.close()
            finally:
                os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # Opening -------------------------------------------------------------------------

    def _prepare(self) -> None:
        connection = self._connection
        connection.set_busy_timeout(BUSY_MS_MAX)
        connection.execute("PRAGMA trusted_schema = OFF")
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
        if tables:
            header = (
                connection.execute("PRAGMA application_id").get,
                connection.execute("PRAGMA user_version").get,
            )
            if header != (APPLICATION_ID, FORMAT):
                raise RefusedError(
                    f"open {self.path}",
                    why="it is a database, but no journal of this format",
                    do_next="Give the journal's own path, or a new one",
                )
        mode = connection.execute("PRAGMA journal_mode = WAL").get
        if mode != "wal":
            raise RefusedError(
                f"open {self.path}",
                why=f"this file system can't keep a write-ahead log (it says {mode!r})",
                do_next="Keep the journal on a local disk",
            )
        connection.execute("PRAGMA synchronous = FULL")
        connection.set_wal_hook(self._count_wal_pages)
        if not tables:
            with connection:
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                connection.execute(EVENTS_TABLE)
                connection.execute(CHECKPOINTS_TABLE)
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            sync_folder(self.path.parent)

    def _recovered(self, tree: CompactRange) -> CompactRange:
        """Return the tree over all rows, compared with the newest checkpoint on the way."""
        newest = self._newest_checkpoint()
        start = tree.size
        cursor = self._connection.execute(
            "SELECT seq, leaf FROM events WHERE seq > ? ORDER BY seq", (start,)
        )
        while found := _some(cursor):
            first = tree.size + 1
            for expected, (seq, leaf) in enumerate(found, start=first):
                if seq != expected:
                    raise _broken(self.path, expected, "it is missing")
                if type(leaf) is not bytes:
                    raise _broken(self.path, expected, "its hash is damaged")
            leaves = [leaf for _, leaf in found]
            if newest is not None and tree.size < newest.size <= tree.size + len(leaves):
                before = newest.size - tree.size
                tree.extend(leaves[:before])
                self._compare(tree, newest)
                leaves = leaves[before:]
            tree.extend(leaves)
        if newest is not None and tree.size < newest.size:
            why = f"the newest checkpoint counts {newest.size} events"
            raise _broken(self.path, tree.size + 1, why)
        if newest is not None and tree.size == newest.size:
            self._compare(tree, newest)
        if start and not self._connection.execute("SELECT 1 FROM events WHERE seq=?", (start,)).get:
            raise _broken(self.path, start, "saved state was made of more events than there are")
        self._refuse_another_host()
        return tree

    def _newest_checkpoint(self) -> Checkpoint | None:
        newest = self._connection.execute(
            "SELECT note FROM checkpoints ORDER BY number DESC LIMIT 1"
        ).fetchone()
        if newest is None:
            return None
        try:
            if type(newest[0]) is not str:
                raise NoteError("it is damaged")
            return self._signer.public.open(newest[0])
        except NoteError as wrong:
            raise BrokenChainError(
                f"open {self.path}",
                why=f"its newest checkpoint can't be trusted: {wrong}",
                do_next="Run cellwright verify on it, and don't go on before that is explained",
            ) from wrong

    def _compare(self, tree: CompactRange, newest: Checkpoint) -> None:
        if tree.root() != newest.root:
            raise BrokenChainError(
                f"open {self.path}",
                why=f"its {newest.size} first events aren't those of its newest checkpoint",
                do_next="Run cellwright verify on it, and don't go on before that is explained",
            )

    def _refuse_another_host(self) -> None:
        host = self._connection.execute("SELECT host FROM events ORDER BY seq DESC LIMIT 1").get
        if host not in (None, self._host):
            raise RefusedError(
                f"open {self.path} on host {self._host}",
                why=f"it is the journal of host {host}",
                do_next="Give the data folder of this host",
            )

    def _epoch_to_go_on_in(self, begun: int | None) -> int:
        newest = self._connection.execute("SELECT epoch FROM events ORDER BY seq DESC LIMIT 1").get
        epoch: int = newest or 0
        if begun is None:
            return epoch
        if begun < epoch or (newest is None and begun):
            raise ValueError(f"epoch {begun} can't follow epoch {epoch} of {self.path}")
        return begun

    # Appending -----------------------------------------------------------------------

    def _take(self, stream: str, events: tuple[E, ...]) -> int:
        """Enter the events for the coming commit; return the first one's number."""
        self._refuse_if_latched()
        if _PLAIN.fullmatch(stream) is None:
            raise ValueError(f"{stream!r}: a stream is plain printable text without quotes")
        at, boottime = self._clock.utc(), self._clock.boottime()
        at_text = str(at)
        rows: list[Row] = []
        recorded: list[Recorded[E]] = []
        for seq, event in enumerate(events, start=self._next_seq):
            rows.append(self._row(seq, at_text, boottime.base, stream, event))
            recorded.append(Recorded(seq, at, self._boot, boottime, stream, event))
        first = self._next_seq
        self._next_seq += len(rows)
        self._rows += rows
        self._recorded += recorded
        return first

    def _row(self, seq: int, at_utc: str, boottime: int, stream: str, event: E) -> Row:
        dumped: dict[str, Any] = event.model_dump(mode="json", warnings="error")
        kind = dumped.get("kind")
        if type(kind) is not str or _PLAIN.fullmatch(kind) is None:
            raise ValueError(f"{type(event).__name__} has no plain kind: {kind!r}")
        content = canonical(dumped)
        if self._adapter.validate_json(content) != event:
            raise ValueError(f"{kind}: the event doesn't read back as itself")
        body = content.decode()
        columns = (seq, self._host, self._epoch, self._boot, at_utc, boottime, stream, kind, body)
        return Row(*columns, leaf=leaf_of(row_text(*columns)))

    def _durable(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waiting)
        self._schedule(loop)
        return waiting

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._scheduled_on is not loop:
            self._scheduled_on = loop
            loop.call_soon(self._commit)

    def _commit(self) -> None:
        """Make durable what was appended since the last turn, and wake who waits for it."""
        self._scheduled_on = None
        if self._latched is not None:
            return
        rows, self._rows = self._rows, []
        recorded, self._recorded = self._recorded, []
        if rows and not self._stored(rows):
            return
        try:
            for listener in self._listeners if recorded else ():
                listener(recorded)
        except BaseException as mistake:
            self.latch(f"a listener failed: {mistake!r}")
            raise
        done, self._waiting = self._waiting, []
        for waiting in done:
            _resolve(waiting, None)
        if self._checkpoints:
            self._sign()
        if self._wal_pages >= WAL_PAGES_MAX and self._latched is None:
            self._copy_wal()

    def _stored(self, rows: list[Row]) -> bool:
        execute = self._connection.execute
        try:
            if len(rows) == 1:
                execute(_INSERT, rows[0])
            else:
                execute("BEGIN IMMEDIATE")
                self._connection.executemany(_INSERT, rows)
                execute("COMMIT")
        except _WRITE_ERRORS as error:
            self._fail(error)
            return False
        if len(rows) == 1:
            self._tree.append(rows[0].leaf)
        else:
            self._tree.extend(row.leaf for row in rows)
        return True

    def _sign(self) -> None:
        try:
            signed = [
                self._signed(asked.state() if asked.state else None) for asked in self._checkpoints
            ]
        except BaseException as mistake:
            self.latch(f"the folded state can't be told: {mistake!r}")
            raise
        notes = [self._signer.sign(checkpoint) for checkpoint in signed]
        try:
            with self._connection:
                for checkpoint, note in zip(signed, notes, strict=True):
                    self._connection.execute(_INSERT_CHECKPOINT, (checkpoint.size, note))
        except _WRITE_ERRORS as error:
            self._fail(error)
            return
        for told in self._at_checkpoint:
            for note in notes:
                told(note)
        asked, self._checkpoints = self._checkpoints, []
        for one, checkpoint in zip(asked, signed, strict=True):
            _resolve(one.waiting, checkpoint)

    def _signed(self, state: StateStatement | None) -> Checkpoint:
        return Checkpoint(
            origin=self._origin,
            size=self._tree.size,
            root=self._tree.root(),
            epoch=self._epoch,
            at=self._clock.utc(),
            state=state,
        )

    def _count_wal_pages(self, connection: apsw.Connection, database: str, pages: int) -> int:
        del connection, database
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _copy_wal(self) -> None:
        """Copy the write-ahead log into the database, where SQLite would hide an error."""
        self._wal_pages = 0
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            return  # a reader holds old pages; the next commit tries again
        except _WRITE_ERRORS as error:
            self._fail(error)

    # Failing -------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        is_full = isinstance(error, apsw.FullError)
        why = "the disk is full" if is_full else f"a write failed: {error}"
        with contextlib.suppress(*_WRITE_ERRORS):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        try:
            if is_full:
                with contextlib.suppress(*_WRITE_ERRORS):
                    self._speak_last_words(why)
        finally:
            self.latch(why)

    def _speak_last_words(self, why: str) -> None:
        """Record one event and a checkpoint in the room that the reserve gave back.

        A write that found no room changed nothing durable, unlike a failed sync, so here
        one more transaction is sound.
        """
        self._reserve.unlink(missing_ok=True)
        if self._last_words is None:
            return
        stream, event = self._last_words(why)
        seq, at, boottime = self._tree.size + 1, self._clock.utc(), self._clock.boottime()
        row = self._row(seq, str(at), boottime.base, stream, event)
        tree = self._tree.copy()
        tree.append(row.leaf)
        with self._connection:
            self._connection.execute(_INSERT, row)
            self._tree = tree
            note = self._signer.sign(self._signed(None))
            self._connection.execute(_INSERT_CHECKPOINT, (tree.size, note))

    def _refuse_if_latched(self) -> None:
        if self._latched is not None:
            raise self._latched_error()

    def _latched_error(self) -> JournalLatchedError:
        return JournalLatchedError(
            f"append to {self.path.name}",
            why=self._latched or "it is latched",
            do_next="Bring each unit to rest as its phase says; then repair the disk and restart",
        )


def _some(cursor: Any) -> list[tuple[int, bytes]]:
    return list(islice(cursor, READ_AT_ONCE))


def _resolve(waiting: asyncio.Future[T], result: T) -> None:
    if not waiting.done() and not waiting.get_loop().is_closed():
        waiting.set_result(result)


def _broken(path: Path, seq: int, why: str) -> BrokenChainError:
    return BrokenChainError(
        f"read event {seq} of {path}",
        why=why,
        do_next="Run cellwright verify on it, and don't go on before that is explained",
    )


def _unusable(path: Path, error: apsw.Error) -> RefusedError:
    if isinstance(error, apsw.NotADBError):
        return RefusedError(
            f"open {path}",
            why="it is no SQLite database",
            do_next="Give the journal's own path, or a new one",
        )
    return RefusedError(
        f"open {path}", why=str(error), do_next="Check the disk and the folder's rights"
    )


def locked(path: Path) -> int:
    """Return the open lock file of the journal at ``path``, locked for this process.

    Raises:
        JournalInUseError: Another process, or another ``Journal``, has it.
        RefusedError: It can't be made.
    """
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise RefusedError(
            f"open {path}",
            why=error.strerror or str(error),
            do_next="Give a folder that exists and that this user may write to",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise JournalInUseError(
            f"open {path}",
            why="another cellwright daemon has it open, and a journal has one writer",
            do_next="Talk to that daemon, or stop it first",
        ) from None
    return lock


def _fill_reserve(path: Path, size: int) -> None:
    try:
        file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            if size and os.fstat(file).st_blocks * 512 < size:
                os.posix_fallocate(file, 0, size)
        finally:
            os.close(file)
    except OSError as error:
        raise RefusedError(
            f"keep {size // 1024 // 1024} MiB free for the journal's end in {path.parent}",
            why=error.strerror or str(error),
            do_next="Free room on this disk, then start again",
        ) from error


def _write_log_anew(path: Path, vfs: str | None) -> None:
    """Write a log that a latch or a death left once more, as it is, and sync it.

    After a failed sync Linux counts pages as written that never reached the disk, and no later
    sync writes them (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC
    2020). What is recorded from now on stands behind them in the log, and would be lost with
    them in a power cut.
    """
    log = path.with_name(path.name + "-wal")
    if not has_log(path) or not log.stat().st_size:
        return
    flags = [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0]
    file: Any = apsw.VFSFile(vfs or "", str(log), flags)
    try:
        for at in range(0, file.xFileSize(), LOG_BYTES_AT_ONCE):
            length = min(LOG_BYTES_AT_ONCE, file.xFileSize() - at)
            file.xWrite(file.xRead(length, at), at)
        file.xSync(apsw.SQLITE_SYNC_NORMAL)
    finally:
        file.xClose()
