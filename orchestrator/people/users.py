"""Users: named people, their passwords, and the lock after wrong tries.

A person is known by a ``UserId`` that is never given to another (SIG-03), logs in under one
name, and signs under one printed name; neither is ever used twice. A password is kept as an
argon2id hash only. ``recognise`` is the only maker of ``Present``, which logging in and
signing take: without a password tried just now there is neither.

``hash_secret`` and ``verify_secret`` take half a second and 64 MiB: call them in a worker
process, at most two at once. They are pure, and their arguments and errors can be pickled.

Source: RFC 9106, section 4, second recommended option. The lengths and times of the lock
and of a password are set by us.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass
from typing import Final, Protocol

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from orchestrator.journal.events import LoginRefused, PersonAdded
from orchestrator.kernel.errors import IntegrityError, NotAuthorisedError, RefusedError
from orchestrator.kernel.identifiers import UserId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import hour, minute
from orchestrator.people.roles import Role, refuse_conflicting_roles, require

SALT_BYTES: Final = 16
HASH_BYTES: Final = 32

TRIES: Final = 5
"""So many wrong tries in a row lock a name."""

FIRST_LOCK: Final = 1 * minute
LONGEST_LOCK: Final = 1 * hour
"""Not for ever: else whoever reaches the socket could keep the people off their own cell."""

PASSWORD_CHARACTERS_MIN: Final = 12
PASSWORD_CHARACTERS_MAX: Final = 256
DIFFERENT_CHARACTERS_MIN: Final = 6
COMMON: Final = ("password", "passwort", "qwerty", "12345", "letmein", "welcome", "cellwright")

PRINTED_NAME_CHARACTERS_MAX: Final = 80

_LOGIN: Final = re.compile(r"[a-z][a-z0-9._-]{1,31}", re.ASCII)
_SECRET: Final = re.compile(
    r"\$argon2id\$v=19\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", re.ASCII
)
_MADE_BY_RECOGNISE: Final = object()


class Person(Protocol):
    """What must be known of a person; the engine folds it from the journal."""

    @property
    def login(self) -> str:
        """The name to log in with."""
        ...

    @property
    def printed_name(self) -> str:
        """The name on records."""
        ...

    @property
    def roles(self) -> Sequence[str]:
        """What the person is entrusted with, as in the role table."""
        ...

    @property
    def secret(self) -> str:
        """The argon2id hash of the password."""
        ...

    @property
    def refused(self) -> int:
        """Wrong tries since the last log-in, as ``after_refusal`` counts them."""
        ...

    @property
    def refused_at(self) -> Instant | None:
        """When the last of them was; None while there is none."""
        ...


People = Mapping[str, Person]
"""Everyone who was ever added, by user id."""


# Passwords -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HashingCost:
    """What one argon2id computation costs. The default is what production uses."""

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 4


RFC_9106_LOW_MEMORY: Final = HashingCost()
"""64 MiB, 3 passes, 4 lanes."""


def check_password(password: str, *, login: str) -> None:
    """Refuse a new password that others could guess.

    Raises:
        RefusedError: It is too short, too long, monotonous or common, tells the log-in
            name, or holds what a keyboard can't type. It isn't repeated in the message.
    """
    what = f"set the password of {login}"
    do_next = (
        f"Choose {PASSWORD_CHARACTERS_MIN} characters or more that nobody can guess, "
        "for instance four words that don't belong together"
    )
    folded = _composed(password).casefold()
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        why = (
            f"it has {len(password)} characters, not "
            f"{PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX}"
        )
    elif not password.isprintable():
        why = "it holds a character that can't be printed"
    elif len(set(folded)) < DIFFERENT_CHARACTERS_MIN:
        why = f"it has fewer than {DIFFERENT_CHARACTERS_MIN} different characters"
    elif login.casefold() in folded:
        why = "it holds the log-in name"
    elif any(word in folded for word in COMMON):
        why = "it holds one of the words that are tried first, such as 'password' or '12345'"
    else:
        return
    raise RefusedError(what, why=why, do_next=do_next)


def hash_secret(password: str, *, salt: bytes, cost: HashingCost = RFC_9106_LOW_MEMORY) -> str:
    """Return the argon2id hash of a password, with its salt and cost, as text.

    Args:
        password: As typed; composed and decomposed letters are the same.
        salt: 16 bytes of injected entropy, used for nothing else.
        cost: Leave it, but in tests and on an emulated cell.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    return _hasher(cost).hash(_bytes(password), salt=salt)


def verify_secret(
    password: str, secret: str | None, *, cost: HashingCost = RFC_9106_LOW_MEMORY
) -> bool:
    """Return whether ``password`` belongs to ``secret``.

    Without a secret, for a name that nobody has, the answer is False after the same work,
    so that the time it takes doesn't tell which names exist.

    Raises:
        IntegrityError: ``secret`` isn't an argon2id hash, so the record is damaged.
    """
    held = _nobodys_secret(cost) if secret is None else secret
    if _SECRET.fullmatch(held) is None:
        raise IntegrityError(
            "verify a password",
            why="what the journal holds for this person isn't an argon2id hash",
            do_next="Verify the journal",
        )
    try:
        right = _hasher(cost).verify(held, _bytes(password))
    except VerifyMismatchError:
        return False
    return right and secret is not None


def _hasher(cost: HashingCost) -> PasswordHasher:
    return PasswordHasher(
        time_cost=cost.passes,
        memory_cost=cost.memory_kib,
        parallelism=cost.lanes,
        hash_len=HASH_BYTES,
        salt_len=SALT_BYTES,
    )


def _nobodys_secret(cost: HashingCost) -> str:
    salt, tag = (b64encode(bytes(size)).decode().rstrip("=") for size in (SALT_BYTES, HASH_BYTES))
    return f"$argon2id$v=19$m={cost.memory_kib},t={cost.passes},p={cost.lanes}${salt}${tag}"


def _composed(password: str) -> str:
    return unicodedata.normalize("NFC", password)


def _bytes(password: str) -> bytes:
    # Half a surrogate pair is a wrong password like any other, not a mistake of ours.
    return _composed(password).encode("utf-8", "surrogatepass")


# The lock --------------------------------------------------------------------------------


def locked_until(person: Person) -> Instant | None:
    """Return until when this person's tries are refused unlooked at, if at all.

    One minute after the fifth wrong try, twice as long after each further one, at most an hour.
    """
    if person.refused < TRIES or person.refused_at is None:
        return None
    doublings = min(person.refused - TRIES, (LONGEST_LOCK // FIRST_LOCK).bit_length())
    return person.refused_at + min(FIRST_LOCK * 2**doublings, LONGEST_LOCK)


def is_locked(person: Person, now: Instant) -> bool:
    """Return whether this person's tries are refused unlooked at."""
    until = locked_until(person)
    return until is not None and now < until


def after_refusal(person: Person, at: Instant) -> tuple[int, Instant | None]:
    """Return ``refused`` and ``refused_at`` after a ``LoginRefused`` that names this person.

    For the fold. A try while locked doesn't count: it was refused unlooked at, and mustn't
    keep a person out for longer.
    """
    if is_locked(person, at):
        return person.refused, person.refused_at
    return person.refused + 1, at


# Who is there ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Present:
    """A person who gave the right password at ``at``. Only ``recognise`` makes one."""

    user: UserId
    printed_name: str
    at: Instant
    made_by: InitVar[object]  # never stored, so dataclasses.replace can't make one either

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _MADE_BY_RECOGNISE:
            raise TypeError("ask recognise for a Present")


@dataclass(frozen=True, slots=True)
class NotRecognised:
    """Journal ``event``, then raise ``error``; raise an alarm where ``locks``."""

    event: LoginRefused
    error: NotAuthorisedError
    locks: bool
    """This try was the one that locked the name: quality must know at once (SIG-08)."""


def user_of(people: People, login: str) -> UserId | None:
    """Return who logs in under this name, as typed in any case."""
    # Outside ASCII some letters become a-z when lowered, and none stands in a log-in name.
    typed = login.strip().lower() if login.isascii() else ""
    return next((UserId(user) for user, one in people.items() if one.login == typed), None)


def secret_of(people: People, login: str) -> str | None:
    """Return what ``verify_secret`` wants for this name; None for a name that nobody has."""
    user = user_of(people, login)
    return None if user is None else people[user].secret


def recognise(
    people: People, login: str, *, right: bool, terminal: str, now: Instant
) -> Present | NotRecognised:
    """Decide on one try, after ``verify_secret``, for logging in and for signing alike.

    Give it the people as they are folded *now* and journal its event before the next try is
    decided on; then tries that are verified side by side can't get past the lock.

    Args:
        people: Everyone who was ever added.
        login: The name as it was typed.
        right: What ``verify_secret`` said of the password.
        terminal: Where it was typed.
        now: The clock's time.

    Returns:
        The proof, or what to journal and to say. What is said is the same for an unknown
        name, a wrong password and a locked name, so that it tells nothing about names.
    """
    user = user_of(people, login)
    if user is not None and right and not is_locked(people[user], now):
        return Present(user, people[user].printed_name, now, _MADE_BY_RECOGNISE)
    locks = False
    if user is not None:
        one = people[user]
        locks = not is_locked(one, now) and after_refusal(one, now)[0] >= TRIES
    return NotRecognised(
        event=LoginRefused(terminal=terminal, user=user),
        error=NotAuthorisedError(
            "give name and password",
            why="they don't belong together, or the name is locked after wrong tries",
            do_next=(
                f"Try again; after {TRIES} wrong tries wait {FIRST_LOCK}, and twice as long "
                f"after each further one, up to {LONGEST_LOCK}; or ask an administrator whether "
                "the name is on file"
            ),
        ),
        locks=locks,
    )


# New people ------------------------------------------------------------------------------


def add_person(
    people: People,
    *,
    login: str,
    printed_name: str,
    roles: Sequence[str],
    secret: str,
    by: UserId | None,
) -> PersonAdded:
    """Return the event that adds a person, under an id that nobody had before.

    Call ``check_password`` before ``hash_secret``: a hash can't be looked into.

    Args:
        people: Everyone who was ever added.
        login: The name to log in with: a letter, then letters, digits, ``.``, ``_``, ``-``.
        printed_name: The name on records, as the person writes it; told apart from all others.
        roles: What the person is entrusted with, as in the role table.
        secret: What ``hash_secret`` made of the password.
        by: Who vouches for the person (SIG-04). None for the very first one only, who is
            an administrator and nothing else.

    Raises:
        RefusedError: A name is taken or can't be written; a role is unknown or conflicts
            with another. Nothing happened.
        NotAuthorisedError: ``by`` may not add people. Nothing happened.
    """
    what = f"add {printed_name!r} under the log-in name {login!r}"
    if by is not None:
        require("add_person", people[by].roles if by in people else (), who=by)
    elif people or list(roles) != [Role.ADMINISTRATOR]:
        raise NotAuthorisedError(
            what,
            why="only the first person is added by nobody, and as administrator alone",
            do_next="Log in as an administrator and add the person",
        )
    if _LOGIN.fullmatch(login) is None:
        raise RefusedError(
            what,
            why="a log-in name is 2 to 32 of a-z, 0-9, '.', '_', '-', and begins with a letter",
            do_next="Choose one such as 'm.keller'",
        )
    if user_of(people, login) is not None:
        raise RefusedError(
            what,
            why="this log-in name was given to somebody before, and is theirs for ever",
            do_next="Choose another log-in name",
        )
    if (
        not printed_name.isprintable()
        or printed_name != " ".join(unicodedata.normalize("NFC", printed_name).split())
        or not 1 <= len(printed_name) <= PRINTED_NAME_CHARACTERS_MAX
    ):
        raise RefusedError(
            what,
            why=(
                f"a printed name has 1 to {PRINTED_NAME_CHARACTERS_MAX} printable characters, "
                "letters composed, single spaces between its words"
            ),
            do_next="Write it as it stands on the person's training record",
        )
    if any(_alike(one.printed_name) == _alike(printed_name) for one in people.values()):
        raise RefusedError(
            what,
            why="somebody signs under this name already, and one person has one account",
            do_next="Use that account; for a namesake add a middle name or a staff number",
        )
    refuse_conflicting_roles(what, roles)
    return PersonAdded(
        user=UserId(f"U-{len(people) + 1:04d}"),
        login=login,
        printed_name=printed_name,
        roles=tuple(sorted(roles)),
        secret=secret,
        by=by,
    )


def _alike(printed_name: str) -> str:
    return unicodedata.normalize("NFKC", printed_name).casefold()
