"""Signatures: a person's word on one record, which fits no other.

What is signed is a statement: the record's SHA-256, the meaning, who signs under which printed
name, when, and why. Its own SHA-256 is kept with the signature. Move a signature to another
record, or change its meaning, name, time or reason, and the statement comes out different
(21 CFR 11.70; SIG-02). The record of an event is its whole body without its signatures, so
it holds the kind of event, the batch and everything that was decided.

That the signer was there is shown by the password, given anew for each signature: ``sign``
takes a ``Present``, and only ``recognise`` makes one. The digest shows that a signature
*belongs* to its record; that nobody wrote both later is shown by the journal's signed
checkpoints, which cover it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar, cast

from orchestrator.journal.events import Signed
from orchestrator.kernel.canonical import canonical, digest
from orchestrator.kernel.desks import SignatureMeaning
from orchestrator.kernel.errors import (
    IntegrityError,
    NotAuthorisedError,
    RefusedError,
    SamePersonError,
)
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import minute
from orchestrator.people.users import Present

STATEMENT: Final = "cellwright signature 1"
"""First word of what is signed, so that it is never taken for another kind of record."""

PRESENT_WITHIN: Final = 1 * minute
"""A password given longer ago doesn't sign. Set by us."""

REASON_CHARACTERS_MAX: Final = 400

_SIGNATURE_FIELDS: Final = ("signature", "signatures")

Event = TypeVar("Event", bound=Frozen)


def record_of(event: Frozen) -> bytes:
    """Return the canonical bytes that a signature on ``event`` covers: all but its signatures.

    Fields at their default are left out, so that a later version, which may know one more
    field, makes the same bytes of an old event. The kind always stands there.
    """
    body: dict[str, Any] = event.model_dump(mode="json", exclude_defaults=True)
    for field in _SIGNATURE_FIELDS:
        body.pop(field, None)
    return canonical({**body, "kind": event.model_dump(include={"kind"})["kind"]})


def sign(
    record: bytes,
    present: Present,
    meaning: SignatureMeaning,
    *,
    at: Instant,
    reason: str = "",
) -> Signed:
    """Return the signature of a person who was just recognised on a record.

    Whether the person *may* sign it is the caller's to ask first (``roles``).

    Args:
        record: Canonical bytes of what is signed.
        present: What ``recognise`` said, for this signature.
        meaning: What the signature says.
        at: The clock's time.
        reason: Why, in one line. Owed where something is rejected.

    Raises:
        NotAuthorisedError: The password wasn't given within the last minute. Nothing happened.
        RefusedError: The reason is missing, too long or can't be printed. Nothing happened.

    Effect: none by itself; the engine journals the event that holds it.
    """
    what = f"sign as {meaning} by {present.printed_name}"
    if not present.at <= at <= present.at + PRESENT_WITHIN:
        raise NotAuthorisedError(
            what,
            why=f"the password was given at {present.at}, not within {PRESENT_WITHIN} before {at}",
            do_next="Give the password again",
        )
    if meaning == "rejected" and not reason.strip():
        raise RefusedError(what, why="a rejection says why", do_next="Write the reason")
    if not reason.isprintable() or len(reason) > REASON_CHARACTERS_MAX:
        raise RefusedError(
            what,
            why=f"a reason is one line of at most {REASON_CHARACTERS_MAX} printable characters",
            do_next="Write it shorter, without line ends or control characters",
        )
    unsealed = Signed(
        signer=present.user,
        printed_name=present.printed_name,
        meaning=meaning,
        signed_digest="",
        signed_at=at,
        reason=reason,
    )
    return unsealed.model_copy(update={"signed_digest": _statement_digest(unsealed, record)})


def signed(
    make: Callable[[Signed], Event],
    present: Present,
    meaning: SignatureMeaning,
    *,
    at: Instant,
    reason: str = "",
) -> Event:
    """Return the event that ``make`` makes of its one signature, signed over its own body.

    ``signed(lambda by: RecipeSigned(recipe=recipe, signature=by), present, "approved", at=now)``

    Raises:
        NotAuthorisedError, RefusedError: As ``sign``. Nothing happened.
    """
    draft = make(sign(b"", present, meaning, at=at, reason=reason))
    return make(sign(record_of(draft), present, meaning, at=at, reason=reason))


def fits(signature: Signed, record: bytes) -> bool:
    """Return whether a signature was given on exactly this record, with all that it says."""
    return signature.signed_digest == _statement_digest(signature, record)


def check(signature: Signed, record: bytes) -> None:
    """Refuse to believe a signature that wasn't given on this record.

    Raises:
        IntegrityError: The record, or what the signature says, is another than was signed.
    """
    if not fits(signature, record):
        raise IntegrityError(
            f"check the signature of {signature.printed_name} at {signature.signed_at}",
            why="it was given on another record, or with another meaning, name, time or reason",
            do_next="Verify the journal",
        )


def faults(events: Iterable[Frozen]) -> list[str]:
    """Return what is wrong with the signatures of a whole record, a line for each.

    A signature that fits but stands on two events was copied with its body: one signing,
    used twice. On what was proposed and on what came of it, it stands once each.
    """
    found: list[str] = []
    seen: set[str] = set()
    proposed: set[str] = set()
    for event in events:
        inner: object = getattr(event, "proposed", None)
        signed_here = inner if isinstance(inner, Frozen) else event
        mine = signatures_on(signed_here)
        record = record_of(signed_here) if mine else b""
        for one in mine:
            whose = f"signature of {one.printed_name} at {one.signed_at} as {one.meaning}"
            if not fits(one, record):
                found.append(f"{whose}: it wasn't given on the record where it stands")
            elif one.signed_digest in seen or (
                signed_here is not event and one.signed_digest in proposed
            ):
                found.append(f"{whose}: it stands on two records, and was given once")
            (seen if signed_here is event else proposed).add(one.signed_digest)
    return found


def signatures_on(event: Frozen) -> tuple[Signed, ...]:
    """Return the signatures that an event holds, if any."""
    one: object = getattr(event, "signature", None)
    several = cast("tuple[object, ...]", getattr(event, "signatures", ()))
    return tuple(each for each in (one, *several) if isinstance(each, Signed))


def require_two_people(what: str, signatures: Sequence[Signed]) -> None:
    """Refuse what isn't signed once as performed and once as verified, by two people.

    Raises:
        RefusedError: A signature is missing, or there is one too many. Nothing happened.
        SamePersonError: Both are of one person. Nothing happened.
    """
    if [one.meaning for one in signatures] != ["performed", "verified"]:
        raise RefusedError(
            what,
            why="it is signed as performed, then as verified, and by nobody else",
            do_next="Have one person sign as performed and another as verified",
        )
    if signatures[0].signer == signatures[1].signer:
        raise SamePersonError(
            what,
            why=f"{signatures[0].signer} signed as performed, and another person verifies",
            do_next="Ask somebody else who may verify",
        )


def _statement_digest(signature: Signed, record: bytes) -> str:
    # Field by field: what another version adds to ``Signed`` mustn't change this statement.
    statement = {
        "statement": STATEMENT,
        "record": digest(record),
        "meaning": signature.meaning,
        "signer": signature.signer,
        "printed_name": signature.printed_name,
        "signed_at": str(signature.signed_at),
        "reason": signature.reason,
    }
    return digest(canonical(statement))
