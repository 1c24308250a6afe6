"""A signature fits the one record it was given on, says what it said, and needs its owner there.

Method: forty signatures on forty records; each is moved to each other record, and each field
of a signature and of a record is changed in turn. The judge is shown able to fail: with a digest
that leaves out the record, or the statement, the same transplants are accepted.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from orchestrator.journal.events import (
    EVENTS,
    AmendmentProposed,
    AnyEvent,
    AttemptReconciled,
    BatchAmended,
    ContainerReleased,
    DeviationClosed,
    HostStopped,
    LeaseReleased,
    RecipeSigned,
    Signed,
)
from orchestrator.kernel.canonical import digest
from orchestrator.kernel.errors import (
    IntegrityError,
    NotAuthorisedError,
    RefusedError,
    SamePersonError,
)
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import BatchId, CommandId, ContainerId, RecipeDigest
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import minute, ms, second
from orchestrator.people import signatures
from orchestrator.people.signatures import (
    check,
    faults,
    fits,
    record_of,
    require_two_people,
    sign,
    signatures_on,
    signed,
)
from tests.unit.people.builders import NOW, present, staff

PEOPLE = staff()
PAUL, TINA, TOM = (present(PEOPLE, login) for login in ("paul", "tina", "tom"))


def recipe_signed(number: int) -> Callable[[Signed], RecipeSigned]:
    recipe = RecipeDigest(digest(b"recipe %d" % number))
    return lambda by: RecipeSigned(recipe=recipe, signature=by)


def container_released(number: int) -> Callable[[Signed], ContainerReleased]:
    container = ContainerId(f"C-{number:06d}")
    return lambda by: ContainerReleased(container=container, signature=by)


def deviation_closed(number: int) -> Callable[[Signed], DeviationClosed]:
    return lambda by: DeviationClosed(deviation=f"D-{number}", signature=by)


def reconciled(*by: Signed, **changed: Any) -> AttemptReconciled:
    body: dict[str, Any] = {
        "batch": BatchId("B-000147"),
        "command": CommandId("B-000147/expand/07-transfer#2.1"),
        "verdict": "part",
        "done": "180 mL",
    }
    return AttemptReconciled(signatures=by, **{**body, **changed})


def forty_signed_events() -> list[Any]:
    """Return forty events, all signed by one person with one meaning at one instant."""
    makers: list[tuple[Callable[[int], Callable[[Signed], Any]], int]] = [
        (recipe_signed, 20),
        (container_released, 10),
        (deviation_closed, 10),
    ]
    return [
        signed(make(number), PAUL, "approved", at=NOW)
        for make, count in makers
        for number in range(count)
    ]


def transplants_accepted(events: list[Any]) -> int:
    """Return how many of all pairwise moves of a signature to another record are believed."""
    return sum(
        fits(one.signature, record_of(other.model_copy(update={"signature": one.signature})))
        for one, other in permutations(events, 2)
    )


@pytest.mark.requirement("SIG-02")
def test_of_all_moves_of_forty_signatures_to_another_record_none_is_accepted() -> None:
    events = forty_signed_events()
    assert len(events) == 40
    assert not faults(events)
    assert transplants_accepted(events) == 0


@pytest.mark.requirement("SIG-02")
def test_the_judge_of_moves_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_the_record(signature: Signed, record: bytes) -> str:
        del record
        return digest(signature.model_copy(update={"signed_digest": ""}).model_dump_json().encode())

    monkeypatch.setattr(signatures, "_statement_digest", without_the_record)
    assert transplants_accepted(forty_signed_events()) == 40 * 39


@pytest.mark.requirement("SIG-02")
@pytest.mark.parametrize(
    "changed",
    [
        {"signer": "U-0003"},
        {"printed_name": "Tom Ek"},
        {"meaning": "approved"},
        {"signed_at": NOW + 1 * ms},
        {"reason": "looks good"},
        {"signed_digest": digest(b"")},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_nothing_that_a_signature_says_can_be_changed(changed: dict[str, Any]) -> None:
    record = record_of(reconciled())
    signature = sign(record, TINA, "performed", at=NOW, reason="weighed it")
    check(signature, record)
    with pytest.raises(IntegrityError):
        check(signature.model_copy(update=changed), record)


@pytest.mark.requirement("SIG-02")
def test_every_bit_of_a_record_counts(seed: int) -> None:
    record = record_of(reconciled())
    signature = sign(record, TINA, "performed", at=NOW)
    for bit in random.Random(seed).sample(range(8 * len(record)), k=300):
        damaged = bytearray(record)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not fits(signature, bytes(damaged)), f"bit {bit}"


@pytest.mark.parametrize(
    "changed",
    [
        {"batch": BatchId("B-000148")},
        {"command": CommandId("B-000147/expand/07-transfer#2.2")},
        {"verdict": "all"},
        {"done": ""},
        {"detail": {"seen_by": "balance"}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_both_signatures_of_a_reconciliation_cover_all_that_was_decided(
    changed: dict[str, Any],
) -> None:
    record = record_of(reconciled())
    by = (sign(record, TINA, "performed", at=NOW), sign(record, TOM, "verified", at=NOW))
    assert not faults([reconciled(*by)])
    assert len(faults([reconciled(*by, **changed)])) == 2


def test_a_signature_on_one_kind_of_event_fits_no_other_kind_with_the_same_fields() -> None:
    class Reopened(Frozen):
        kind: str = "deviation_reopened"
        deviation: str
        signature: Signed

    closed = signed(deviation_closed(7), PAUL, "approved", at=NOW)
    assert faults([Reopened(deviation="D-7", signature=closed.signature)])


def test_a_later_version_that_knows_one_more_field_still_checks_old_signatures() -> None:
    class DeviationClosedLater(Frozen):
        kind: str = "deviation_closed"
        deviation: str
        root_cause: str = ""
        signature: Signed

    closed = signed(deviation_closed(7), PAUL, "approved", at=NOW)
    later = DeviationClosedLater.model_validate_json(closed.model_dump_json())
    assert not faults([later])
    assert faults([later.model_copy(update={"root_cause": "kink"})])


def test_signatures_read_back_from_the_journal_still_fit() -> None:
    record = record_of(reconciled())
    by = (sign(record, TINA, "performed", at=NOW), sign(record, TOM, "verified", at=NOW))
    stored = [reconciled(*by).model_dump_json(), HostStopped().model_dump_json()]
    read_back: list[AnyEvent] = [EVENTS.validate_json(row) for row in stored]
    assert not faults(read_back)
    assert signatures_on(read_back[0]) == by
    assert signatures_on(read_back[1]) == ()


@pytest.mark.requirement("SIG-02")
def test_one_signing_used_for_two_events_is_found() -> None:
    event = signed(deviation_closed(7), PAUL, "approved", at=NOW)
    assert not faults([event])
    (fault,) = faults([event, event])
    assert "stands on two records" in fault


@pytest.mark.requirement("SIG-06")
@pytest.mark.parametrize("at", [NOW - 1 * ms, NOW + 1 * minute + 1 * ms])
def test_a_password_given_another_time_signs_nothing(at: Instant) -> None:
    with pytest.raises(NotAuthorisedError, match="Give the password again"):
        sign(b"{}", PAUL, "approved", at=at)
    assert sign(b"{}", PAUL, "approved", at=NOW + 1 * minute).signer == PAUL.user


@pytest.mark.parametrize("reason", ["two\nlines", "\x1b[2J", "a\u202eb", "x" * 401, "\ud800"])
def test_a_reason_that_could_deceive_a_reader_is_refused(reason: str) -> None:
    with pytest.raises(RefusedError, match="one line"):
        sign(b"{}", PAUL, "approved", at=NOW, reason=reason)


def test_a_rejection_says_why() -> None:
    with pytest.raises(RefusedError, match="says why"):
        sign(b"{}", PAUL, "rejected", at=NOW, reason=" ")
    assert sign(b"{}", PAUL, "rejected", at=NOW, reason="wrong lot").reason == "wrong lot"


@pytest.mark.requirement("SIG-12")
def test_two_people_sign_once_as_performed_and_once_as_verified() -> None:
    lease = LeaseReleased(
        batch=BatchId("B-000147"), resources=("incubator/7",), clearance="two people"
    )
    record = record_of(lease)

    def by(*who: tuple[Any, Any]) -> list[Signed]:
        return [sign(record, person, meaning, at=NOW + 1 * second) for person, meaning in who]

    require_two_people("clear", by((TINA, "performed"), (TOM, "verified")))
    with pytest.raises(SamePersonError):
        require_two_people("clear", by((TINA, "performed"), (TINA, "verified")))
    for wrong in (
        by(),
        by((TINA, "performed")),
        by((TINA, "performed"), (TOM, "performed")),
        by((TOM, "verified"), (TINA, "performed")),
        by((TINA, "performed"), (TOM, "verified"), (PAUL, "verified")),
    ):
        with pytest.raises(RefusedError, match="then as verified"):
            require_two_people("clear", wrong)


@pytest.mark.requirement("SIG-02")
def test_an_amendment_bears_the_signature_of_its_proposal_once() -> None:
    bare = amended()
    mine = sign(record_of(bare), TINA, "performed", at=NOW)
    yours = sign(record_of(bare), TOM, "verified", at=NOW)
    proposal = AmendmentProposed(
        batch=BatchId("B-1"), amendment="amendment-1", proposed=amended(mine)
    )
    made = amended(mine, yours)
    assert not faults([proposal, made])
    assert len(faults([proposal, proposal])) == 1
    assert len(faults([proposal, made, made])) == 2
    other = proposal.model_copy(update={"proposed": amended(mine, new="e" * 64)})
    (fault,) = faults([other])
    assert "wasn't given on the record" in fault


def amended(*signatures: Signed, new: str = "d" * 64) -> BatchAmended:
    """Return an amendment of a recipe."""
    return BatchAmended(
        batch=BatchId("B-1"),
        amendment="amendment-1",
        binding="recipe",
        old="c" * 64,
        new=new,
        at="culture/feed",
        changes=("Operation 'culture/feed' is gone.",),
        reason="Few cells",
        signatures=signatures,
    )
