"""Where a person's word is taken: known by the password, and signed.

Each group of commands works at the same office: on one engine, with one way to sign.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

from orchestrator.console.turns import Turns
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import Signed
from orchestrator.kernel.desks import SignatureMeaning
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import UserId
from orchestrator.people.signatures import record_of, sign, signed
from orchestrator.people.users import (
    SALT_BYTES,
    HashingCost,
    Present,
    hash_secret,
    recognise,
    secret_of,
    verify_secret,
)

VERIFIED_AT_ONCE_MOST: Final = 2
"""Each verification of a password takes 64 MiB (hazards, section 3)."""

ON_THE_LOOP_KIB_MOST: Final = 64
"""Hashing in so little memory takes less than a millisecond."""

Carry = Callable[[UserId, dict[str, Any]], Awaitable[object]]
"""Carries a command out, and records ``answer`` of its arguments with what it changes."""

Event = TypeVar("Event", bound=Frozen)
T = TypeVar("T")


class Office:
    """Recognises people by their password, and has them sign."""

    def __init__(
        self, engine: Engine, *, entropy: Callable[[int], bytes], cost: HashingCost
    ) -> None:
        self.engine = engine
        self.core = engine.core
        self._entropy = entropy
        self._cost = cost
        self._verifying = asyncio.Semaphore(VERIFIED_AT_ONCE_MOST)
        self.turns = Turns()
        """Of the commands that are given."""

    async def sign(
        self,
        user: UserId,
        arguments: dict[str, Any],
        event: Frozen,
        meaning: SignatureMeaning,
        reason: str = "",
    ) -> Signed:
        """Return a person's signature on an event's record, after the password was given.

        Raises:
            RefusedError: The clock may not date it. Nothing happened.
            NotAuthorisedError: As ``recognise``.
        """
        await self.engine.wall_clock.refuse_to_sign(f"sign as {meaning}")
        present = await self.recognise(
            self.core.state.people[user].login, str(arguments.get("secret", "")), "console"
        )
        await self.engine.wall_clock.refuse_to_sign(f"sign as {meaning}")  # it took a while
        return sign(record_of(event), present, meaning, at=self.core.clock.utc(), reason=reason)

    async def signed(
        self,
        user: UserId,
        arguments: dict[str, Any],
        make: Callable[[Signed], Event],
        meaning: SignatureMeaning,
        reason: str = "",
        *,
        of_time: bool = False,
    ) -> Event:
        """Return the event that ``make`` makes of a person's signature on its own body.

        Args:
            user: Who signs.
            arguments: What the command was given with, the password among it.
            make: Makes the event.
            meaning: What the signature says.
            reason: Why, in one line.
            of_time: Whether it is the time itself that is signed.

        Raises:
            RefusedError: The clock may not date it. Nothing happened.
            NotAuthorisedError: As ``recognise``.
        """
        look = partial(self.engine.wall_clock.refuse_to_sign, f"sign as {meaning}")
        await look(but_time=of_time)
        present = await self.recognise(
            self.core.state.people[user].login, str(arguments.get("secret", "")), "console"
        )
        await look(but_time=of_time)  # it took a while
        return signed(make, present, meaning, at=self.core.clock.utc(), reason=reason)

    async def recognise(self, login: str, secret: str, terminal: str) -> Present:
        """Return the proof that a person gave the right password just now.

        Raises:
            NotAuthorisedError: Name and password don't belong together, or the name is
                locked. The try is recorded.
        """
        kept = secret_of(self.core.state.people, login)
        right = await self._hashed(partial(verify_secret, secret, kept, cost=self._cost))
        decided = recognise(
            self.core.state.people, login, right=right, terminal=terminal, now=self.core.clock.utc()
        )
        if isinstance(decided, Present):
            return decided
        await self.core.record_for_host(decided.event)
        if decided.locks:
            await self.engine.alarms.raise_alarm(
                f"locked {login}",
                tier="alarm",
                cause="a name was locked after wrong passwords",
                consequence="The person can't log in or sign for a while",
                action="Ask the person whether it was them; else tell the security officer",
            )
        raise decided.error

    async def secret_of_new(self, password: str) -> str:
        """Return what is kept of a new password."""
        salt = self._entropy(SALT_BYTES)
        return await self._hashed(partial(hash_secret, password, salt=salt, cost=self._cost))

    async def _hashed(self, work: Callable[[], T]) -> T:
        """Return what ``work`` makes of a password, beside the loop where that takes long.

        The cost of an emulated cell takes no longer than handing it over would, and on the loop
        equal seeds give equal orders of events. Other commands are carried out meanwhile.
        """
        if self._cost.memory_kib <= ON_THE_LOOP_KIB_MOST:
            return work()
        async with self.turns.aside(), self._verifying:
            return await asyncio.get_running_loop().run_in_executor(None, work)
