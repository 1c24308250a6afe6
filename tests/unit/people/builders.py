"""What the tests of people are made of: a few people, a cheap hash, and a proof of presence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.journal.events import PersonAdded
from orchestrator.kernel.identifiers import UserId
from orchestrator.kernel.instants import Instant
from orchestrator.people.users import (
    HashingCost,
    People,
    Present,
    add_person,
    hash_secret,
    recognise,
)

NOW: Final = Instant.read("2026-11-23T10:00:00.000000Z")
CHEAP: Final = HashingCost(memory_kib=8, passes=1, lanes=1)
PASSWORD: Final = "kite lemon orbit spade"
SECRET: Final = hash_secret(PASSWORD, salt=bytes(range(16)), cost=CHEAP)


@dataclass(slots=True)
class Someone:
    """A person as the engine folds one."""

    login: str
    printed_name: str
    roles: list[str]
    secret: str = SECRET
    refused: int = 0
    refused_at: Instant | None = None


def fold(people: dict[str, Someone], added: PersonAdded) -> None:
    assert added.user not in people, f"{added.user} was given to two people"
    people[added.user] = Someone(
        added.login, added.printed_name, list(added.roles), secret=added.secret
    )


def staff() -> dict[str, Someone]:
    """Return one administrator, and somebody for each other task, added one after another."""
    people: dict[str, Someone] = {}
    by: UserId | None = None
    for login, printed_name, roles in (
        ("adam", "Adam Root", ["administrator"]),
        ("tina", "Tina Ek", ["technician", "verifier"]),
        ("tom", "Tom Ek", ["technician", "verifier"]),
        ("sue", "Sue Lind", ["supervisor"]),
        ("quinn", "Quinn Ode", ["quality_reviewer"]),
        ("paul", "Paul Ahl", ["qualified_person"]),
        ("ann", "Ann Bo", ["protocol_author"]),
        ("max", "Max Io", ["maintenance"]),
    ):
        added = add_person(
            people, login=login, printed_name=printed_name, roles=roles, secret=SECRET, by=by
        )
        fold(people, added)
        by = by or added.user
    return people


def present(people: People, login: str, at: Instant = NOW) -> Present:
    found = recognise(people, login, right=True, terminal="desk", now=at)
    assert isinstance(found, Present)
    return found
