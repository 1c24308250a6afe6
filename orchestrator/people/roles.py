"""Roles: who may give which command, as one written table.

What stands in no row is refused. The table decides who may ask at all; that performer and
verifier, or author, reviewer and approver, differ is decided by person, here too, and not by
role. ``docs/reference/roles.md`` prints the table for people and is held to it by a test.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

from orchestrator.kernel.desks import SignatureMeaning
from orchestrator.kernel.errors import NotAuthorisedError, RefusedError, SamePersonError
from orchestrator.kernel.identifiers import UserId


class Role(StrEnum):
    """What a person is entrusted with. A person may have several that don't conflict."""

    TECHNICIAN = "technician"
    VERIFIER = "verifier"
    SUPERVISOR = "supervisor"
    QUALITY_REVIEWER = "quality_reviewer"
    QUALIFIED_PERSON = "qualified_person"
    PROTOCOL_AUTHOR = "protocol_author"
    MAINTENANCE = "maintenance"
    ADMINISTRATOR = "administrator"


R: Final = Role

_BENCH: Final = frozenset({R.TECHNICIAN, R.SUPERVISOR})
_BENCH_AND_VERIFIER: Final = _BENCH | {R.VERIFIER}
_QUALITY: Final = frozenset({R.QUALITY_REVIEWER, R.QUALIFIED_PERSON})
_AT_THE_CELL: Final = _BENCH_AND_VERIFIER | _QUALITY | {R.MAINTENANCE}

MAY: Final[Mapping[str, frozenset[Role]]] = {
    "submit_recipe": frozenset({R.PROTOCOL_AUTHOR}),
    "review_recipe": frozenset({R.SUPERVISOR, R.QUALITY_REVIEWER}),
    "approve_recipe": _QUALITY,
    "receive_material": _BENCH,
    "receive_lot": _BENCH,
    "quarantine_lot": _BENCH_AND_VERIFIER | _QUALITY,
    "release_container": _QUALITY,
    "make_batch": frozenset({R.SUPERVISOR}),
    "start_batch": _BENCH,
    "propose_amendment": frozenset({R.SUPERVISOR, R.PROTOCOL_AUTHOR, R.MAINTENANCE}),
    "verify_amendment": _QUALITY,
    "reject_amendment": frozenset({R.SUPERVISOR, R.PROTOCOL_AUTHOR, R.MAINTENANCE}) | _QUALITY,
    "take_task": _BENCH_AND_VERIFIER,
    "take_back_task": frozenset({R.SUPERVISOR}),
    "report_task": _BENCH_AND_VERIFIER,
    "verify_task": frozenset({R.VERIFIER, R.SUPERVISOR}),
    "reject_task": _BENCH_AND_VERIFIER | _QUALITY,
    "answer_task": _BENCH_AND_VERIFIER | _QUALITY,
    "reconcile": _BENCH_AND_VERIFIER,
    "clear_line": _BENCH_AND_VERIFIER,
    "carry_away": _BENCH_AND_VERIFIER,
    "report_found": _BENCH_AND_VERIFIER,
    "hold": _AT_THE_CELL,
    "restart": frozenset({R.SUPERVISOR}),
    "pause": _BENCH,
    "resume": _BENCH,
    "stop": frozenset({R.SUPERVISOR}),
    "abort": frozenset({R.SUPERVISOR}),
    "acknowledge_alarm": _BENCH_AND_VERIFIER | {R.QUALITY_REVIEWER, R.MAINTENANCE},
    "open_deviation": _AT_THE_CELL | {R.PROTOCOL_AUTHOR},
    "close_deviation": _QUALITY,
    "look_at_equipment": frozenset({R.SUPERVISOR, R.MAINTENANCE}),
    "sign_time": _BENCH_AND_VERIFIER,
    "add_person": frozenset({R.ADMINISTRATOR}),
    "view": frozenset(Role),
}
"""Each command's roles. ``hold`` is open to everyone at the cell: it is the safe way."""

CONFLICTS: Final[frozenset[frozenset[Role]]] = frozenset(
    {frozenset({R.ADMINISTRATOR, other}) for other in Role if other is not R.ADMINISTRATOR}
    | {frozenset({quality, bench}) for quality in _QUALITY for bench in _BENCH}
)
"""Pairs that no one person has: administrators have no interest in the records (SIG-10), and
who decides on material didn't make it."""

SIGNED_AS: Final[Mapping[str, tuple[SignatureMeaning, ...]]] = {
    "submit_recipe": ("authored",),
    "review_recipe": ("reviewed",),
    "approve_recipe": ("approved",),
    "release_container": ("released",),
    "make_batch": ("approved",),
    "propose_amendment": ("performed",),
    "verify_amendment": ("verified",),
    "verify_task": ("verified",),
    "reconcile": ("performed", "verified"),
    "clear_line": ("performed", "verified"),
    "close_deviation": ("approved",),
    "sign_time": ("performed",),
}
"""Which commands are signed, with which meanings, in this order; each by another person."""

MAY_SIGN_A_RESTORE: Final[Mapping[SignatureMeaning, frozenset[Role]]] = {
    "performed": frozenset({R.SUPERVISOR, R.MAINTENANCE}),
    "verified": _QUALITY,
}
"""Who signs that a journal is put back from a backup. No command of the console: its daemon is
down then. Roles count as they stand in the backup."""

_NEEDS_FIRST: Final[Mapping[SignatureMeaning, SignatureMeaning]] = {
    "reviewed": "authored",
    "approved": "reviewed",
}


def may(roles: Collection[str], command: str) -> bool:
    """Return whether one of ``roles`` allows ``command``. What isn't in the table isn't allowed."""
    return not MAY.get(command, frozenset()).isdisjoint(roles)


def require(command: str, roles: Collection[str], *, who: str) -> None:
    """Refuse a command that a person's roles don't allow.

    Raises:
        NotAuthorisedError: None of ``roles`` allows it. Nothing happened.
    """
    if may(roles, command):
        return
    allowed = [role for role in Role if role in MAY.get(command, ())]
    raise NotAuthorisedError(
        f"{command.replace('_', ' ')}, by {who}",
        why=(
            f"it needs the role {_either(allowed)}; {who} has {', '.join(sorted(roles)) or 'none'}"
            if allowed
            else "the role table has no such command, and what it doesn't have nobody may do"
        ),
        do_next=f"Ask a {_either(allowed)}" if allowed else "Give a command of the role table",
    )


def require_for_restore(meaning: SignatureMeaning, roles: Collection[str], *, who: str) -> None:
    """Refuse a signature on a restore that a person's roles don't allow.

    Raises:
        NotAuthorisedError: None of ``roles`` allows it. Nothing happened.
    """
    allowed = MAY_SIGN_A_RESTORE[meaning]
    if allowed.isdisjoint(roles):
        needed = _either([role for role in Role if role in allowed])
        raise NotAuthorisedError(
            f"sign a restore as {meaning}, by {who}",
            why=f"it needs the role {needed}; {who} has {', '.join(sorted(roles)) or 'none'} in "
            "the backup",
            do_next=f"Ask a {needed} whom the backup knows",
        )


def refuse_conflicting_roles(what: str, roles: Collection[str]) -> None:
    """Refuse roles that don't exist, none at all, or two that one person mustn't have.

    Raises:
        RefusedError: With the roles that stand against it. Nothing happened.
    """
    unknown = sorted(set(roles) - set(Role))
    if unknown or not roles or len(set(roles)) != len(roles):
        why = "a person has at least one role, and each is named once"
        raise RefusedError(
            what,
            why=f"there is no role {', '.join(unknown)}" if unknown else why,
            do_next=f"Give one or more of {', '.join(Role)}",
        )
    both = [pair for pair in CONFLICTS if pair <= set(roles)]
    if both:
        first, second = min(sorted(pair) for pair in both)
        raise RefusedError(
            what,
            why=f"no one person is {first} and {second}",
            do_next="Give these roles to two people",
        )


def require_other_person(
    what: str, *, first: UserId | None, did: str, now: UserId, does: str, called: str = ""
) -> None:
    """Refuse a second word from the person who had the first.

    Args:
        what: What is to be done now, on which thing.
        first: Who had the first word; None where it was the system, and anyone may follow.
        did: What the first one did, in the past tense: "performed".
        now: Who wants the second word.
        does: What the second one does: "verifies".
        called: The printed name of who wants it, for people to read instead of the id.

    Raises:
        SamePersonError: They are one person. Nothing happened.
    """
    if first == now:
        raise SamePersonError(
            what,
            why=f"{called or now} {did} it, and another person {does}",
            do_next="Ask somebody else who may",
        )


def require_second_person(
    what: str,
    *,
    performer: UserId,
    verifier: UserId,
    verifier_roles: Collection[str],
    called: str = "",
) -> None:
    """Refuse a verification by who performed, or by who may not verify (SIG-12).

    Raises:
        SamePersonError: The verifier performed it. Nothing happened.
        NotAuthorisedError: The verifier's roles don't allow ``verify_task``. Nothing happened.
    """
    require_other_person(
        what, first=performer, did="performed", now=verifier, does="verifies", called=called
    )
    require("verify_task", verifier_roles, who=called or verifier)


def require_recipe_signer(
    what: str,
    signers: Mapping[str, str],
    meaning: SignatureMeaning,
    signer: UserId,
    *,
    called: str = "",
) -> None:
    """Refuse a signature on a recipe out of turn, or a second one by the same person.

    Author, reviewer and approver differ by person; a recipe is authored, then reviewed, then
    approved, each once; one that was rejected is not signed any more.

    Args:
        what: What is to be signed.
        signers: Who signed this recipe so far, by meaning.
        meaning: What the new signature says.
        signer: Whose it is.
        called: The signer's printed name, for people to read instead of the id.

    Raises:
        RefusedError: It isn't this signature's turn. Nothing happened.
        SamePersonError: This person signed it before. Nothing happened.
    """
    before = _NEEDS_FIRST.get(meaning)
    if "rejected" in signers:
        raise RefusedError(
            what, why="it was rejected", do_next="Have the author correct and submit it anew"
        )
    if meaning in signers or (before is not None and before not in signers):
        raise RefusedError(
            what,
            why=f"it is {', then '.join(signers) or 'not signed'} so far",
            do_next="Have it authored, then reviewed, then approved, each once",
        )
    for did, first in signers.items():
        require_other_person(
            what, first=UserId(first), did=did, now=signer, does="follows", called=called
        )


def _either(roles: Collection[str]) -> str:
    return " or ".join(roles)
