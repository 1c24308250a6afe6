"""Put a journal back from a backup: looked at first, then signed by two people, then put in place.

``prepared`` copies the backup beside the data folder's journal and says what it is worth and what
is missing in it; nothing is changed by that. ``carried_out`` adds the signed event of the restore
to the copy, with what puts all at rest, and only then puts it in the journal's place by one
rename. The daemon is down meanwhile: the journal's lock is held.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.engine.fold import fold
from orchestrator.engine.replay import replayed
from orchestrator.engine.restored import alarm_of, put_at_rest
from orchestrator.engine.state import HostState
from orchestrator.journal.backup import copied, kept_name, known_of, replace
from orchestrator.journal.checkpoints import Checkpoint, PublicKey, Signer
from orchestrator.journal.events import (
    EVENTS,
    HOST,
    AnyEvent,
    JournalRestored,
    RecipeSubmitted,
    Signed,
    WitnessClosed,
)
from orchestrator.journal.journal import (
    Journal,
    has_log,
    locked,
    read_checkpoints,
    read_events,
    read_rows,
)
from orchestrator.journal.verify import Verdict, verify
from orchestrator.journal.witness import (
    Vouched,
    Witness,
    WitnessContradictsError,
    vouched_for,
)
from orchestrator.kernel.errors import BrokenChainError, RefusedError
from orchestrator.kernel.identifiers import HostId
from orchestrator.kernel.instants import Clock, Instant
from orchestrator.people.roles import require_for_restore, require_other_person
from orchestrator.people.signatures import record_of, require_two_people, sign
from orchestrator.people.users import (
    RFC_9106_LOW_MEMORY,
    HashingCost,
    NotRecognised,
    Present,
    recognise,
    secret_of,
    verify_secret,
)
from orchestrator.recipe.model import Recipe, load_phase_kinds

STAGE: Final = "restoring"
"""The folder within the data folder in which the new journal is made."""

TERMINAL: Final = "restore"


class NoKeyError(RefusedError):
    """The data folder hasn't the journal's key. Nothing was changed."""

    code = "refused.file.no-journal-key"


class NotOfThisKeyError(BrokenChainError):
    """Nothing in the backup shows that it is of this host's journal. Nothing was changed."""

    code = "integrity.broken-chain.not-of-this-key"


class WitnessNeededError(RefusedError):
    """The journal has a witness, and it isn't named or can't be read. Nothing was changed."""

    code = "refused.file.witness-of-restore"


@dataclass(slots=True)
class Prepared:
    """A backup that may be put in place, and what is known of what it lacks."""

    data: Path
    staged: Path
    host: HostId
    signer: Signer
    verdict: Verdict
    state: HostState
    last: Instant | None
    """When its last event was recorded."""
    epoch: int
    """The one that the restore opens."""
    there: tuple[int, int] | None
    """How many events the journal that is there now has, and its epoch; None if there is none
    that can be read."""
    witness: Path | None
    vouched: Vouched | None

    @property
    def newest_known(self) -> Checkpoint | None:
        """Return the newest checkpoint that the witness has."""
        checkpoints = () if self.vouched is None else self.vouched.checkpoints
        return max(checkpoints, key=lambda one: (one.epoch, one.size), default=None)

    @property
    def known(self) -> int | None:
        """Return how many events are known to have been recorded; None where nothing tells."""
        counts = [] if self.vouched is None else [one.size for one in self.vouched.checkpoints]
        if self.there is not None:
            counts.append(self.there[0])
        return max(counts, default=None)

    def event(self, *signatures: Signed) -> JournalRestored:
        """Return the event of the restore."""
        newest = self.newest_known
        closed = () if self.vouched is None else self.vouched.closed
        return JournalRestored(
            epoch=self.epoch,
            events=self.verdict.events,
            merkle_root=self.verdict.merkle_root,
            anchored=(self.verdict.unanchored_from or self.verdict.events + 1) - 1,
            known=self.known,
            known_at=None if newest is None else newest.at,
            witness=tuple(
                WitnessClosed(epoch=one.epoch, length=one.length, sha256=one.sha256)
                for one in closed
            ),
            signatures=signatures,
        )


@contextmanager
def prepared(backup: Path, data: Path, witness: Path | None) -> Generator[Prepared]:
    """Yield what would be put in the place of the journal in ``data``, with its lock held.

    Raises:
        JournalInUseError: A daemon has it.
        NoKeyError: The folder hasn't the journal's key.
        KeyRefusedError: The key is another host's.
        UnsoundError: The backup isn't what was written, or another key signed it.
        NotOfThisKeyError: No checkpoint in it is signed.
        WitnessNeededError: It had a witness, and that isn't named or can't be read.
        WitnessContradictsError: It differs from what the witness vouches for, and isn't older.
        WitnessDamagedError: The witness was changed.
    """
    what = f"restore {data} from {backup}"
    journal = data / "journal.sqlite"
    lacks = [one for one in ("journal.key", "journal.pub") if not (data / one).exists()]
    if lacks:
        raise NoKeyError(
            what,
            why=f"there is no {lacks[0]} in {data}",
            do_next="Bring journal.key and journal.pub back from where they are kept",
        )
    lock = locked(journal)
    stage = data / STAGE
    try:
        shutil.rmtree(stage, ignore_errors=True)  # what an earlier one left that died
        stage.mkdir(mode=0o700)
        yield _looked_at(what, backup, stage / "journal.sqlite", data, witness)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        os.close(lock)


def recognised(restore: Prepared, login: str, password: str, clock: Clock,
               cost: HashingCost = RFC_9106_LOW_MEMORY) -> Present:  # fmt: skip
    """Return the proof that a person whom the backup knows is there.

    A wrong try is recorded nowhere: there is no journal to record it in yet.

    Raises:
        NotAuthorisedError: Name and password don't belong together, or the name was locked.
    """
    people = restore.state.people
    right = verify_secret(password, secret_of(people, login), cost=cost)
    found = recognise(people, login, right=right, terminal=TERMINAL, now=clock.utc())
    if isinstance(found, NotRecognised):
        raise found.error
    return found


def signed(
    restore: Prepared, performed: Present, verified: Present, clock: Clock
) -> JournalRestored:
    """Return the event of the restore, signed by two people.

    Raises:
        SamePersonError: They are one person.
        NotAuthorisedError: One of them may not, or gave the password too long ago.
    """
    people = restore.state.people
    require_other_person(
        "restore the journal",
        first=performed.user,
        did="performed",
        now=verified.user,
        does="verifies",
        called=verified.printed_name,
    )
    require_for_restore("performed", people[performed.user].roles, who=performed.printed_name)
    require_for_restore("verified", people[verified.user].roles, who=verified.printed_name)
    record = record_of(restore.event())
    now = clock.utc()
    signatures = (
        sign(record, performed, "performed", at=now),
        sign(record, verified, "verified", at=now),
    )
    require_two_people("restore the journal", signatures)
    return restore.event(*signatures)


async def carried_out(restore: Prepared, event: JournalRestored, clock: Clock) -> Path | None:
    """Record the restore in the copy, and put that in place.

    Returns:
        Where what was there before is kept; None if there was nothing.

    Raises:
        OSError: It can't be written. The old journal is there as it was.
    """
    load_phase_kinds()
    with Journal(
        restore.staged,
        EVENTS,
        clock=clock,
        host=restore.host,
        signer=restore.signer,
        epoch=restore.epoch,
        reserve_bytes=0,
    ) as journal:
        state = restore.state

        async def recorded(stream: str, *events: AnyEvent) -> None:
            await journal.append_all(stream, events)
            for one in journal.events(state.seq + 1):
                fold(state, one)

        await recorded(HOST, event, alarm_of(event, restore.last))
        for batch, events in list(put_at_rest(state, lambda one: _recipe(restore, one))):
            await recorded(batch, *events)
        await journal.checkpoint()
    if has_log(restore.staged):
        raise OSError(f"{restore.staged.name} keeps a log beside it")
    journal_path = restore.data / "journal.sqlite"
    kept = kept_name(journal_path, restore.epoch)
    return kept if replace(journal_path, restore.staged, kept) else None


def told_to_witness(restore: Prepared) -> None:
    """Begin the witness's file of the new epoch, in which nobody takes the old journal any more.

    Raises:
        OSError: It can't be reached. The next start does it.
        WitnessContradictsError: Somebody went on with the old journal meanwhile.
        WitnessDamagedError: The witness was changed meanwhile.
    """
    if restore.witness is None or restore.vouched is None:
        return
    journal = restore.data / "journal.sqlite"
    witness = Witness(
        restore.witness,
        restore.host,
        restore.signer.public,
        known=True,
        epoch=restore.epoch,
        closed=restore.vouched.closed,
    )
    witness.take(read_checkpoints(journal))
    witness.copy()


def _looked_at(what: str, backup: Path, staged: Path, data: Path, witness: Path | None) -> Prepared:
    verdict = copied(backup, staged, key=data / "journal.pub")
    if verdict.anchored_to == "nothing":
        raise NotOfThisKeyError(
            what,
            why="no checkpoint in it is signed, so that nothing tells whose it is",
            do_next="Take another backup",
        )
    host = HostId(next(read_rows(staged)).host)
    signer = Signer.stored(data, host, os.urandom)
    state = replayed(HostState(), staged)
    there = known_of(data / "journal.sqlite")
    was_witnessed = state.witnessed is not None or (there is not None and there.witnessed)
    vouched = None
    if witness is None and was_witnessed:
        raise WitnessNeededError(
            what,
            why="the journal has a witness, which knows what the backup lacks",
            do_next="Name its folder with --witness",
        )
    if witness is not None:
        vouched = _vouched(what, witness, host, signer.public)
        _refuse_another_history(staged, data, witness)
    epochs = [state.epoch]
    if there is not None:
        epochs.append(there.epoch)
    if vouched is not None:
        epochs += [one.epoch for one in vouched.closed]
    return Prepared(
        data=data,
        staged=staged,
        host=host,
        signer=signer,
        verdict=verdict,
        state=state,
        last=_last_at(staged, verdict.events),
        epoch=1 + max(epochs),
        there=None if there is None else (there.events, there.epoch),
        witness=witness,
        vouched=vouched,
    )


def _vouched(what: str, witness: Path, host: HostId, public: PublicKey) -> Vouched:
    try:
        return vouched_for(witness, host, public)
    except OSError as failed:
        raise WitnessNeededError(
            what,
            why=f"{witness}: {failed.strerror or failed}",
            do_next="Bring the witness back; if it is lost for good, make an empty file of that "
            "name in a new one, and note who decided so",
        ) from failed


def _refuse_another_history(staged: Path, data: Path, witness: Path) -> None:
    compared = verify(staged, data / "journal.pub", witness=witness, may_be_older=True)
    if not compared.sound:
        raise WitnessContradictsError(
            "compare the backup with the witness",
            why=compared.problems[0],
            do_next="Take another backup; run cellwright verify --witness on this one",
        )


def _last_at(journal: Path, seq: int) -> Instant | None:
    return next((Instant.read(row.at_utc) for row in read_rows(journal, from_seq=seq)), None)


def _recipe(restore: Prepared, digest: str) -> Recipe:
    submitted = restore.state.recipes[digest].submitted_seq
    event = next(read_events(restore.staged, EVENTS, from_seq=submitted)).event
    if not isinstance(event, RecipeSubmitted):
        raise BrokenChainError(
            f"read recipe {digest}",
            why=f"event {submitted} isn't its submission",
            do_next="Take another backup",
        )
    return Recipe.read(event.content.encode())
