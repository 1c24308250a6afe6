"""The witness: copies of a journal's signed checkpoints under another account or host.

Who can write to the data folder can put back an earlier copy of it, with key and
checkpoints, and nothing in it tells. A folder elsewhere tells: it holds for each host one
file, to which each signed note is appended, the newest last, with an empty line after it:

    cellwright/cell-a          the note, as in the journal's table of checkpoints
    1042
    ...

    — cellwright/cell-a Wl8zOQ...

So the file is at any moment the beginning of all the journal's own notes, one after the
other. A note is in the journal before it is copied: a file that ends early, also in the
middle of a note, is what a crash or a full disk leaves, and is gone on with. A file that
says more than the journal, or something else, shows that the journal was exchanged.

A restore opens a new epoch (``JournalRestored``). Its notes go to a file of their own, e.g.
``cell-a+1.notes``, since the one before it goes on with what the restore lost; what that one
held at the restore stands in the event, and nothing is added to it any more.

Nothing here runs on a loop: a folder on another host may take for ever to answer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from orchestrator.journal.checkpoints import Checkpoint, NoteError, PublicKey
from orchestrator.journal.folders import sync_folder
from orchestrator.kernel.errors import BrokenChainError
from orchestrator.kernel.identifiers import HostId

NOTES: Final = ".notes"
"""What the name of a host's file ends with."""

_END: Final = b"\n\n"


class WitnessContradictsError(BrokenChainError):
    """The journal's own key signed for the witness what the journal doesn't hold."""

    code = "integrity.broken-chain.witness"


class WitnessDamagedError(BrokenChainError):
    """The witness holds what the journal's own key never signed."""

    code = "integrity.broken-chain.witness-damaged"


def framed(notes: Iterable[str]) -> bytes:
    """Return notes as the file holds them, one after the other."""
    return b"".join(f"{note}\n".encode() for note in notes)


def unframed(held: bytes) -> tuple[list[str], bytes]:
    """Return the whole notes of a file, and the piece of one that it ends in."""
    *pieces, rest = held.split(_END)
    if len(pieces) % 2:  # a text without its signatures
        rest = pieces.pop() + _END + rest
    text = [piece.decode(errors="replace") for piece in pieces]
    notes = [f"{said}\n\n{signed}\n" for said, signed in zip(text[::2], text[1::2], strict=True)]
    return notes, rest


class Closed(NamedTuple):
    """A file of an earlier epoch, as it was when a restore closed it."""

    epoch: int
    length: int
    sha256: str


def notes_file(host: str, epoch: int) -> str:
    """Return the name of a host's file of one epoch; ``+`` stands in no host's name."""
    return f"{host}{NOTES}" if epoch == 0 else f"{host}+{epoch}{NOTES}"


def epochs_in(names: Iterable[str], host: str) -> list[int]:
    """Return the epochs whose files of a host are among those names, in order."""
    form = re.compile(re.escape(host) + r"(?:\+([1-9][0-9]*))?" + re.escape(NOTES))
    found = (form.fullmatch(name) for name in names)
    return sorted(int(one[1] or 0) for one in found if one is not None)


class Vouched(NamedTuple):
    """What a witness has of one journal, whichever of its states it is."""

    checkpoints: tuple[Checkpoint, ...]
    """All that the journal's key signed."""
    closed: tuple[Closed, ...]
    """Its files as they are."""


def vouched_for(folder: Path, host: str, public: PublicKey) -> Vouched:
    """Return what the witness in ``folder`` has of a host's journal.

    Raises:
        WitnessDamagedError: It holds what the key didn't sign.
        OSError: It can't be reached, or has no file of this host.
    """
    checkpoints: list[Checkpoint] = []
    closed: list[Closed] = []
    epochs = epochs_in(os.listdir(folder), host)
    if not epochs:
        raise FileNotFoundError(2, f"it has no file {notes_file(host, 0)}")
    for epoch in epochs:
        name = notes_file(host, epoch)
        content = (folder / name).read_bytes()
        for number, note in enumerate(unframed(content)[0], start=1):
            try:
                checkpoints.append(public.open(note))
            except NoteError as wrong:
                raise WitnessDamagedError(
                    f"read checkpoint {number} of {name} at the witness",
                    why=str(wrong),
                    do_next="Find out whether the witness was changed or is another journal's; run "
                    "cellwright verify --witness",
                ) from wrong
        closed.append(Closed(epoch, len(content), sha256(content).hexdigest()))
    return Vouched(tuple(checkpoints), tuple(closed))


class Witness:
    """One host's file in a witness folder, and what is still to be copied to it.

    The first ``copy`` compares all that is there with all that the journal has; those after
    it look at what came behind that alone.
    """

    def __init__(
        self,
        folder: Path,
        host: HostId,
        public: PublicKey,
        *,
        known: bool,
        epoch: int = 0,
        closed: Sequence[Closed] = (),
    ) -> None:
        """Name the file; nothing is touched.

        Args:
            folder: Where the files of all hosts are.
            host: Whose checkpoints are copied.
            public: The key that signs them.
            known: Whether the journal was witnessed before. Its file must then be there: an
                empty mount point isn't taken for an empty witness.
            epoch: The journal's newest.
            closed: What the newest restore closed. If the folder has it, a file of the new
                epoch may be missing: the software died before it was made.
        """
        self._folder = folder
        self._host = host
        self._epoch = epoch
        self._closed = closed
        self._path = folder / notes_file(host, epoch)
        self._public = public
        self._known = known
        self._due = bytearray()
        self._copied: int | None = None
        self.found = 0
        """How many events the newest note counted that was there at the first comparison."""
        self.events = 0
        """How many events the newest copied note counts."""

    def take(self, notes: Iterable[str]) -> None:
        """Have ``copy`` copy these, which follow all that were given before.

        Those of earlier epochs are in files that are closed.
        """
        line = f"\nepoch {self._epoch}\n"
        self._due += framed(note for note in notes if line in note)

    def copy(self) -> None:
        """Compare, append what is due, and return when it is on the witness's disk.

        May be called again after an error: what was written in part is gone on with.

        Raises:
            WitnessContradictsError: The journal is older than its witness, or another.
            WitnessDamagedError: The witness was changed.
            OSError: It can't be reached or written.
        """
        if self._copied is None:
            self._compare_all()
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        file = os.open(self._path, flags if self._known else flags | os.O_CREAT, 0o644)
        try:
            self._append(file)
        finally:
            os.close(file)
        if not self._known:
            sync_folder(self._folder)
            self._known = True

    def _compare_all(self) -> None:
        self._refuse_what_a_later_restore_left()
        has_closed = self._has_closed()
        try:
            held = self._path.read_bytes()
        except FileNotFoundError:
            if (self._known and not has_closed) or not self._folder.is_dir():
                raise
            self._known = False
            held = b""
        self._refuse_unless_begun_with(held)
        self._copied = 0
        self._count(len(held))
        self.found = self.events

    def _refuse_what_a_later_restore_left(self) -> None:
        """Refuse a journal of before a restore that the witness has notes of."""
        names = os.listdir(self._folder) if self._folder.is_dir() else ()
        for epoch in epochs_in(names, self._host):
            if epoch <= self._epoch:
                continue
            name = notes_file(self._host, epoch)
            held, _ = unframed((self._folder / name).read_bytes())
            if any(self._opened(note) is not None for note in held):
                raise WitnessContradictsError(
                    "compare the journal with its witness",
                    why=f"the witness has checkpoints of epoch {epoch}, the journal is of epoch "
                    f"{self._epoch}: it is from before a restore, and others went on since",
                    do_next="Bring back the newest journal; what it holds has been done",
                )
            if held:
                raise WitnessDamagedError(
                    "compare the journal with its witness",
                    why=f"its file {name} holds checkpoints that this journal's key didn't sign",
                    do_next="Find out who put it there; run cellwright verify --witness",
                )

    def _has_closed(self) -> bool:
        """Return whether files of earlier epochs are there, just as the restore closed them."""
        has = False
        for one in self._closed:
            name = notes_file(self._host, one.epoch)
            try:
                held = (self._folder / name).read_bytes()
            except FileNotFoundError:
                continue
            if sha256(held[: one.length]).hexdigest() != one.sha256:
                raise WitnessDamagedError(
                    "compare the journal with its witness",
                    why=f"its file {name} isn't as it was at the restore",
                    do_next="Find out who changed it; keep what is left of it as it is",
                )
            if len(held) > one.length:
                raise WitnessContradictsError(
                    "compare the journal with its witness",
                    why=f"its file {name} grew since the restore: somebody goes on with the "
                    "journal that was there before it",
                    do_next="Find out which daemon does, and stop it; then decide which of the two "
                    "journals is the true one",
                )
            has = True
        return has

    def _append(self, file: int) -> None:
        copied = self._copied or 0
        size = os.fstat(file).st_size
        if size < copied:
            raise WitnessDamagedError(
                "copy a checkpoint to the witness",
                why=f"{copied - size} bytes that were copied to it are gone",
                do_next="Find out who changed it; keep what is left of it as it is",
            )
        written = os.pread(file, size - copied, copied)
        self._refuse_unless_begun_with(written)
        left = bytes(self._due[len(written) :])
        while left:
            left = left[os.write(file, left) :]
        if self._due:
            os.fsync(file)
            self._count(len(self._due))

    def _count(self, length: int) -> None:
        """Note that so much of what is due is there."""
        there = bytes(self._due[:length])
        notes, rest = unframed(there)
        whole = length - len(rest)
        if notes:
            self.events = int(notes[-1].split("\n", 2)[1])
        del self._due[:whole]
        self._copied = (self._copied or 0) + whole

    def _refuse_unless_begun_with(self, held: bytes) -> None:
        """Refuse a witness that isn't the beginning of what the journal says."""
        if self._due.startswith(held):
            return
        own, _ = unframed(bytes(self._due))
        there, rest = unframed(held)
        agreed = 0
        while agreed < min(len(own), len(there)) and own[agreed] == there[agreed]:
            agreed += 1
        found = [self._opened(note) for note in there[agreed:]]
        signed = [one for one in found if one is not None]
        if signed:
            held_events = max(one.size for one in signed)
            has = "none" if not own else f"its own newest counts {own[-1].split(chr(10), 2)[1]}"
            if agreed == len(own):
                why = f"the witness has a checkpoint of {held_events} events, and {has}: it was "
                why += "put back to an earlier state, or cut"
            else:
                why = f"checkpoint {agreed + 1} of the witness isn't the journal's, though its key "
                why += "signed both: the journal was put back and gone on with, or written anew"
            raise WitnessContradictsError(
                "compare the journal with its witness",
                why=why,
                do_next="Leave both as they are, run cellwright verify --witness, and bring back "
                "the newest journal; what it holds has been done and mustn't be done again",
            )
        what = "a piece of a checkpoint that" if rest and not found else "a checkpoint that"
        raise WitnessDamagedError(
            "compare the journal with its witness",
            why=f"after {agreed} checkpoints the witness has {what} this journal's key didn't sign",
            do_next="Find out whether the witness was changed or is another journal's; run "
            "cellwright verify --witness",
        )

    def _opened(self, note: str) -> Checkpoint | None:
        try:
            return self._public.open(note)
        except NoteError:
            return None
