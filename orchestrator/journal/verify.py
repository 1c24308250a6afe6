"""Is this journal what was written? Answered from the stored bytes alone.

Each row is hashed again and compared with its leaf, the tree over the leaves with each
signed checkpoint on the way, so that damage is located: an edited row by its own
number, a rewritten stretch between the checkpoints around it. Nothing here needs the
engine or a configuration, writes, or raises on damaged input; what is found is a
``Verdict``. Works beside a running daemon and on a copy without anything around it.

The method is in ``docs/reference/journal.md``, for those who would rather do it themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import apsw

from orchestrator.journal.checkpoints import Checkpoint, NoteError, PublicKey
from orchestrator.journal.journal import (
    APPLICATION_ID,
    CHECKPOINTS_TABLE,
    EVENTS_TABLE,
    FORMAT,
    READ_AT_ONCE,
    SELECT_ROWS,
    has_log,
    is_intact,
    open_to_read,
)
from orchestrator.journal.merkle import HASH_BYTES, CompactRange
from orchestrator.journal.witness import NOTES, epochs_in, framed, notes_file, unframed
from orchestrator.kernel.canonical import canonical

if TYPE_CHECKING:
    from pydantic import TypeAdapter

PROBLEMS_MAX: Final = 20  # told one by one; the rest are counted

PAGE_BYTES_MOST: Final = 65_536
"""SQLite's largest page; the first one has the text of all tables."""

APPLICATION_ID_AT: Final = 68
"""SQLite, "Database File Format", 1.3."""

RESTORED: Final = "journal_restored"
"""The kind of the first event of each epoch but the first."""

_OWN: Final = "own checkpoints only"

_BY_HAND: Final = ".note"
"""What the name of a single note in a witness folder ends with."""

_DAMAGE: Final = (apsw.Error, UnicodeError, ValueError, TypeError, OverflowError, MemoryError)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    ``sound`` says that nothing was found wrong. How much that is worth, ``anchored_to``
    says: against ``nothing`` it only excludes accidents, since who can write the file can
    hash it anew; against ``own checkpoints only`` nobody without the journal's key changed
    an event before ``unanchored_from``, but all after an earlier checkpoint may have been
    dropped; against ``witness DIR`` not that either, up to ``unwitnessed_from``.
    """

    sound: bool
    events: int
    merkle_root: str
    anchored_to: str
    first_bad_seq: int | None
    problems: tuple[str, ...]
    unanchored_from: int | None
    """The first event that no checkpoint covers; None if all are covered."""
    unwitnessed_from: int | None = None
    """The first event beyond the newest witnessed checkpoint; None without a witness, or if
    it covers all."""
    is_journal: bool = True
    """False where nothing in the file says that it is, or ever was, a journal."""


def verify(
    path: Path,
    key: Path | None = None,
    *,
    deep: bool = False,
    witness: Path | None = None,
    adapter: TypeAdapter[Any] | None = None,
    may_be_older: bool = False,
) -> Verdict:
    """Return what is wrong with the journal at ``path``, and what that rests on.

    Args:
        path: The journal, with its ``-wal`` file beside it if there is one.
        key: File with the public key; else ``journal.pub`` beside the journal, if it is there.
        deep: Also read each event as this version knows it and write it canonically again.
        witness: Folder that the daemon copied checkpoints to, and where single notes,
            ``*.note``, may have been put by hand.
        adapter: For ``deep``: of the union of all events, if it isn't the product's own.
        may_be_older: Whether the witness may know more than it holds, as of a backup.
    """
    in_use = has_log(path)
    verdict = _verdict(path, key, deep, witness, adapter, may_be_older)
    if not verdict.sound and not in_use and has_log(path):
        # a daemon began to write meanwhile
        return _verdict(path, key, deep, witness, adapter, may_be_older)
    return verdict


def _verdict(
    path: Path,
    key: Path | None,
    deep: bool,
    witness: Path | None,
    adapter: TypeAdapter[Any] | None,
    may_be_older: bool,
) -> Verdict:
    found = _Found()
    try:
        if not path.is_file():
            found.add(None, f"{path}: there is no such file")
        elif path.stat().st_size == 0 and not has_log(path):
            found.no_journal(f"{path}: the file is empty")
        else:
            connection = open_to_read(path)
            try:
                verification = _Verification(path, connection, found, may_be_older)
                verification.run(key, deep, witness, adapter)
            finally:
                connection.close()
    except apsw.NotADBError:
        told = f"{path}: it is no SQLite database"
        if _was_a_journal(path):
            found.add(None, f"{told} any more: its head was written over")
        else:
            found.no_journal(told)
    except apsw.CantOpenError as error:
        found.add(None, f"{path}: it can't be opened ({error}); copy it to a folder of your own")
    except (*_DAMAGE, OSError) as error:
        found.add(None, f"{path}: it can't be read ({error})")
    return found.verdict()


def _opens(body: str, epoch: int) -> bool:
    try:
        said: Any = json.loads(body)
    except ValueError:
        return False
    return isinstance(said, dict) and cast("dict[str, Any]", said).get("epoch") == epoch


def _was_a_journal(path: Path) -> bool:
    """Return whether the first page of a file has a journal's mark or table."""
    with path.open("rb") as file:
        page = file.read(PAGE_BYTES_MOST)
    mark = APPLICATION_ID.to_bytes(4, "big")
    return page[APPLICATION_ID_AT:].startswith(mark) or EVENTS_TABLE.encode() in page


class _Found:
    """What a verification has found up to now."""

    def __init__(self) -> None:
        self.tree = CompactRange()
        self.events = 0
        self.anchored_to = "nothing"
        self.anchored_size = 0
        self.witness: Path | None = None
        self.witnessed_size = 0
        self._problems: list[str] = []
        self._untold = 0
        self._first_bad: int | None = None
        self._is_journal = True

    def no_journal(self, problem: str) -> None:
        """Note that the file is something else than a journal."""
        self._is_journal = False
        self.add(None, problem)

    def add(self, seq: int | None, problem: str) -> None:
        if seq is not None and (self._first_bad is None or seq < self._first_bad):
            self._first_bad = seq
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(problem)
        else:
            self._untold += 1

    def verdict(self) -> Verdict:
        problems = tuple(self._problems)
        if self._untold:
            problems += (f"and {self._untold} more",)
        return Verdict(
            sound=not problems,
            events=self.events,
            merkle_root=self.tree.root().hex(),
            anchored_to=self.anchored_to,
            first_bad_seq=self._first_bad,
            problems=problems,
            unanchored_from=self.anchored_size + 1 if self.anchored_size < self.events else None,
            unwitnessed_from=self._unwitnessed(),
            is_journal=self._is_journal,
        )

    def _unwitnessed(self) -> int | None:
        if self.witness is None or self.witnessed_size >= self.events:
            return None
        return self.witnessed_size + 1


@dataclass(frozen=True, slots=True)
class _Head:
    """One signed statement to compare the rows with."""

    what: str
    checkpoint: Checkpoint
    is_signed: bool
    anchor: str


class _Verification:
    def __init__(self, path: Path, connection: Any, found: _Found, may_be_older: bool) -> None:
        self._path = path
        self._may_be_older = may_be_older
        self._epochs: list[tuple[int, int]] = [(0, 0)]
        """Of each epoch its first event and its number."""
        self._connection = connection
        self._found = found
        self._last_good_head = 0

    def run(
        self,
        key: Path | None,
        deep: bool,
        witness: Path | None,
        adapter: TypeAdapter[Any] | None,
    ) -> None:
        self._found.witness = witness
        held = self._held(witness)  # read before the journal, which is ahead of it
        self._connection.execute("BEGIN")  # one moment for all that follows
        if not self._is_journal():
            return
        public = self._key(key)
        own = list(self._own_heads(public))
        heads = [*own, *self._witnessed_heads(public, witness, held)]
        heads.sort(key=lambda head: head.checkpoint.size)
        self._rows(heads)
        if deep:
            self._events(adapter)

    def _is_journal(self) -> bool:
        header = (
            self._connection.execute("PRAGMA application_id").get,
            self._connection.execute("PRAGMA user_version").get,
        )
        tables = self._connection.execute("SELECT sql FROM sqlite_schema ORDER BY rowid").fetchall()
        if header[0] != APPLICATION_ID and not tables:
            self._found.no_journal(f"{self._path}: it is a database without anything in it")
        elif header[0] != APPLICATION_ID and (EVENTS_TABLE,) not in tables:
            self._found.no_journal(
                f"{self._path}: a database of another program, no journal of format {FORMAT}"
            )
        elif header != (APPLICATION_ID, FORMAT):
            self._found.add(
                None, f"{self._path}: a database, but no journal of format {FORMAT} ({header})"
            )
        elif tables != [(EVENTS_TABLE,), (CHECKPOINTS_TABLE,)]:
            self._found.add(None, f"{self._path}: its tables aren't those of a journal")
        else:
            return True
        return False

    def _key(self, key: Path | None) -> PublicKey | None:
        beside = self._path.with_name("journal.pub")
        if key is None and not beside.exists():
            return None
        key = key or beside
        try:
            return PublicKey.read(key.read_text(encoding="utf-8"))
        except (OSError, ValueError) as wrong:
            self._found.add(None, f"{key}: {wrong}")
            return None

    def _own_heads(self, public: PublicKey | None) -> Iterator[_Head]:
        select = "SELECT number, size, note FROM checkpoints ORDER BY number"
        expected, size_before = 1, 0
        try:
            for number, size, note in self._connection.execute(select):
                what = f"checkpoint {number} (of {size} events)"
                if number != expected:
                    self._found.add(None, f"checkpoint {expected} is missing")
                expected = number + 1
                if type(size) is not int or type(note) is not str:
                    self._found.add(None, f"checkpoint {number} is damaged")
                    continue
                head = self._head(what, note, public, _OWN)
                if head is None:
                    continue
                if head.checkpoint.size != size or size < size_before:
                    self._found.add(None, f"{what} stands in the wrong place")
                    continue
                size_before = size
                yield head
        except _DAMAGE as damage:
            self._found.add(None, f"checkpoint {expected} can't be read ({damage})")

    def _held(self, witness: Path | None) -> dict[str, bytes]:
        """Return the files of a witness by name: of hosts, and notes put there by hand."""
        held: dict[str, bytes] = {}
        for path in sorted(witness.iterdir()) if witness is not None else ():
            if path.suffix in (NOTES, _BY_HAND):
                try:
                    held[path.name] = path.read_bytes()
                except OSError as wrong:
                    self._found.add(None, f"{path}: {wrong.strerror}")
        return held

    def _witnessed_heads(
        self, public: PublicKey | None, witness: Path | None, held: dict[str, bytes]
    ) -> Iterator[_Head]:
        if witness is None:
            return
        host = self._connection.execute("SELECT host FROM events ORDER BY seq LIMIT 1").get
        newest: int = (
            self._connection.execute("SELECT epoch FROM events ORDER BY seq DESC LIMIT 1").get or 0
        )
        by_hand = {one: text for one, text in held.items() if one.endswith(_BY_HAND)}
        notes = [(one, text.decode(errors="replace")) for one, text in by_hand.items()]
        for epoch in epochs_in(held, str(host)):
            name = notes_file(str(host), epoch)
            whole, rest = unframed(held[name])
            notes += [(f"{name} {number}", note) for number, note in enumerate(whole, start=1)]
            if not rest or epoch < newest or self._may_be_older:
                continue
            if not any(framed((note,)).startswith(rest) for note in self._own_notes()):
                self._found.add(None, f"{witness / name}: it ends in what the journal hasn't")
        if not notes:
            whose = "" if host is None else f" of host {host}"
            self._found.add(None, f"{witness}: there is no witnessed checkpoint{whose}")
        if public is None:
            self._found.add(None, f"{witness}: without the public key it can't be trusted")
            return
        for one, note in notes:
            head = self._head(str(witness / one), note, public, f"witness {witness}")
            if head is not None:
                yield head

    def _own_notes(self) -> list[str]:
        rows = self._connection.execute("SELECT note FROM checkpoints").fetchall()
        return [note for (note,) in rows]

    def _head(self, what: str, note: str, public: PublicKey | None, anchor: str) -> _Head | None:
        try:
            if public is None:
                return _Head(what, Checkpoint.read(note.partition("\n\n")[0] + "\n"), False, anchor)
            return _Head(what, public.open(note), True, anchor)
        except NoteError as wrong:
            self._found.add(None, f"{what} can't be trusted: {wrong}")
            return None

    def _rows(self, heads: list[_Head]) -> None:
        """Hash all rows, as many at once as are sound; look at them singly where not."""
        found, tree = self._found, self._found.tree
        try:
            if self._connection.execute("SELECT 1 FROM events WHERE seq < 1 LIMIT 1").get:
                found.add(1, "there is an event before event 1")
        except _DAMAGE as damage:
            found.add(1, f"event 1 can't be read ({damage})")
            return
        waiting = iter(heads)
        head = next(waiting, None)
        is_whole = True
        while is_whole:
            rows, damage = self._next_rows(tree.size + 1)
            if not rows and damage is None:
                break
            is_whole = damage is None
            first = tree.size + 1
            seqs = [row[0] for row in rows]
            if seqs != list(range(first, first + len(rows))):
                at = next(i for i, seq in enumerate(seqs) if seq != first + i)
                rows, is_whole = rows[:at], False
                damage = f"event {first + at} is missing: the next one there is {seqs[at]}"
            leaves = self._leaves(rows)
            self._look_at_epochs(rows)
            while head is not None and head.checkpoint.size <= tree.size + len(leaves):
                before = head.checkpoint.size - tree.size
                tree.extend(leaves[:before])
                leaves = leaves[before:]
                self._compare(head)
                head = next(waiting, None)
            tree.extend(leaves)
            if damage is not None:
                found.add(tree.size + 1, damage)
        found.events = tree.size
        if not is_whole:
            return
        beyond = [one for one in (head, *waiting) if one is not None and not self._is_left(one)]
        if beyond:
            newest = beyond[-1]
            missing = f"{tree.size + 1} to {newest.checkpoint.size}"
            found.add(
                tree.size + 1,
                f"events {missing} are missing: {newest.what} counts them, the journal ends before",
            )

    def _next_rows(self, first: int) -> tuple[list[tuple[Any, ...]], str | None]:
        """Return the coming rows, and what stopped them if that was damage."""
        rows: list[tuple[Any, ...]] = []
        try:
            for row in islice(self._connection.execute(SELECT_ROWS, (first,)), READ_AT_ONCE):
                rows.append(row)  # one by one: those before the damage are wanted
        except _DAMAGE as damage:
            return rows, f"event {first + len(rows)} can't be read ({damage})"
        return rows, None

    def _leaves(self, rows: list[tuple[Any, ...]]) -> list[bytes]:
        """Return the stored leaves; tell which of them don't fit their rows."""
        leaves = [row[-1] for row in rows]
        for at, row in enumerate(rows):
            if not is_intact(row):
                self._found.add(row[0], f"event {row[0]} doesn't match its hash: it was changed")
                if type(leaves[at]) is not bytes:
                    leaves[at] = bytes(HASH_BYTES)
        return leaves

    def _look_at_epochs(self, rows: list[tuple[Any, ...]]) -> None:
        """Note where epochs begin, each with the event of a restore and nowhere else."""
        _, epoch = self._epochs[-1]
        for seq, _, of, _, _, _, _, kind, body, _ in rows:
            if of == epoch and kind != RESTORED:
                continue
            if of != epoch:
                self._epochs.append((seq, of))
            if not (of > epoch and kind == RESTORED and _opens(body, of)):
                self._found.add(
                    seq, f"event {seq} is of epoch {of} after {epoch}, and no restore opened it"
                )
            epoch = of

    def _epoch_at(self, size: int) -> int:
        """Return the epoch of the last of so many events; the newest, if there are fewer."""
        return next(epoch for first, epoch in reversed(self._epochs) if first <= size)

    def _is_left(self, head: _Head) -> bool:
        """Return whether a witnessed checkpoint is of a state that a restore left behind.

        Of one that may be older than its witness, also whether it is of a later one.
        """
        if head.anchor == _OWN:
            return False
        own = self._epoch_at(head.checkpoint.size)
        is_beyond = head.checkpoint.size > self._found.tree.size
        if self._may_be_older and (head.checkpoint.epoch > own or is_beyond):
            return True
        return head.checkpoint.epoch < own

    def _compare(self, head: _Head) -> None:
        size = head.checkpoint.size
        if self._is_left(head):
            return
        if size and head.checkpoint.epoch != self._epoch_at(size):
            told = "no event there is: it is another state of the journal, from before a restore"
            self._found.add(size, f"{head.what} is of epoch {head.checkpoint.epoch}, and {told}")
            return
        if self._found.tree.root() != head.checkpoint.root:
            is_own = head.anchor == _OWN  # who has the key could make these fit anew
            first = (self._last_good_head if is_own else self._found.witnessed_size) + 1
            self._found.add(
                first,
                f"{head.what} doesn't fit the events: some of {first} to {size} were rewritten",
            )
            return
        self._last_good_head = size
        if head.is_signed:
            self._found.anchored_size = max(self._found.anchored_size, size)
            if self._found.witnessed_size == 0:
                self._found.anchored_to = head.anchor
            if head.anchor != _OWN:
                self._found.witnessed_size = size
                self._found.anchored_to = head.anchor

    def _events(self, adapter: TypeAdapter[Any] | None) -> None:
        if adapter is None:
            from orchestrator.journal.events import EVENTS

            adapter = EVENTS
        try:
            for row in self._connection.execute(SELECT_ROWS, (1,)):
                seq, kind, body = row[0], row[7], row[8]
                try:
                    event = adapter.validate_json(body)
                    dumped = event.model_dump(mode="json")
                    if canonical(dumped).decode() != body or dumped["kind"] != kind:
                        self._found.add(seq, f"event {seq} isn't written canonically")
                except (ValueError, TypeError) as wrong:
                    why = str(wrong).splitlines()[0]
                    self._found.add(seq, f"event {seq} is none that this version knows ({why})")
        except _DAMAGE as damage:
            self._found.add(None, f"the events can't all be read ({damage})")
