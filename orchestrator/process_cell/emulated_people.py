"""The people of an emulated cell, whose passwords stand in this file.

Kept apart from the room: a daemon that speaks to emulators over wires lets the same people
in, and loads no emulator for it. On a cell that isn't emulated nobody of this file exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator.engine.core import Core
from orchestrator.kernel.identifiers import UserId
from orchestrator.people.users import SALT_BYTES, HashingCost, add_person, hash_secret

CHEAP_HASHING: Final = HashingCost(memory_kib=8, passes=1, lanes=1)
"""For the people of an emulated cell alone: their passwords stand in this file."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of an emulated cell."""

    login: str
    printed_name: str
    roles: tuple[str, ...]

    @property
    def secret(self) -> str:
        """Return the person's password."""
        return f"{self.login} of the emulated cell"

    @property
    def user(self) -> UserId:
        """Return the id that the person has in a journal: they come first, in their order."""
        return UserId(f"U-{PEOPLE.index(self) + 1:04d}")


PEOPLE: Final = (
    Person("administrator", "Ada Minster", ("administrator",)),
    Person("author", "Otto Thorn", ("protocol_author",)),
    Person("reviewer", "Rhea Vale", ("quality_reviewer",)),
    Person("quality", "Quinn Alder", ("qualified_person",)),
    Person("supervisor", "Sam Pryce", ("supervisor", "verifier")),
    Person("day-1", "Dana Yates", ("technician", "verifier")),
    Person("day-2", "Devi Ashe", ("technician", "verifier")),
    Person("on-call", "Nico Hale", ("technician", "verifier")),
)

TECHNICIANS: Final = ("day-1", "day-2", "on-call")


def person(login: str) -> Person:
    """Return somebody by the name they log in with."""
    return next(one for one in PEOPLE if one.login == login)


async def let_people_in(core: Core, entropy: Callable[[int], bytes]) -> None:
    """Put everybody on file, in a journal that has nobody yet."""
    by: UserId | None = None
    for one in PEOPLE:
        event = add_person(
            core.state.people,
            login=one.login,
            printed_name=one.printed_name,
            roles=one.roles,
            secret=hash_secret(one.secret, salt=entropy(SALT_BYTES), cost=CHEAP_HASHING),
            by=by,
        )
        assert event.user == one.user, f"{one.login} would be {event.user}"
        await core.record_for_host(event)
        by = by or event.user
