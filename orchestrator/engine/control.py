"""How a unit procedure is held, paused, stopped and let go on.

A command reaches the phases that run in it. A phase stops at its next safe point: before
its next word, or as soon as the act that runs was quieted and settled. Nothing is
interrupted in the middle of a decision. Each hold has a reason of its own, and phases go
on when none is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TypeVar

from orchestrator.kernel.errors import RecipeMismatchError, StoppedError

T = TypeVar("T")

AtChange = Callable[[], Awaitable[None]]
"""What is awaited at first and whenever something has changed, before it is looked at."""


class UnitControl:
    """The switch of one unit procedure: go, wait, or stop."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.reasons: dict[str, str] = {}
        self._stopped_why: str | None = None
        self._left_why: str | None = None
        self._change = asyncio.Event()
        self._acting: set[Callable[[], None]] = set()

    @property
    def waits(self) -> bool:
        """Return whether phases must stop at their next safe point, for now or for good."""
        return bool(self.reasons) or self.ends

    @property
    def stops(self) -> bool:
        """Return whether the unit procedure was told to end."""
        return self._stopped_why is not None

    @property
    def ends(self) -> bool:
        """Return whether phases won't go on: stopped, or left as the batch stands still."""
        return self._stopped_why is not None or self._left_why is not None

    def wait(self, why: str, reason: str = "hold") -> None:
        """Have phases stop at their next safe point, and quiet what acts now."""
        self.reasons[reason] = why
        self._quieten()
        self.ring()

    def clear(self, reasons: Iterable[str]) -> None:
        """Take reasons to wait away; phases go on when none is left."""
        for reason in tuple(reasons):
            self.reasons.pop(reason, None)
        self.ring()

    def go_on(self) -> None:
        """Let phases go on."""
        self.clear(self.reasons)

    def stop(self, why: str) -> None:
        """Have phases end at their next safe point, and quiet what acts now."""
        self._stopped_why = why
        self._quieten()
        self.ring()

    def leave(self, why: str) -> None:
        """Have phases be left at their next safe point: the batch stands still."""
        self._left_why = why
        self._quieten()
        self.ring()

    def ring(self) -> None:
        """Have those who wait look again."""
        self._change.set()
        self._change = asyncio.Event()

    async def passed(self, at_change: AtChange | None = None) -> None:
        """Return when phases may go on.

        Raises:
            StoppedError: The unit procedure was told to end; nothing more is done.
            RecipeMismatchError: The batch stands still.
        """
        while True:
            change = self._change
            if at_change is not None:
                await at_change()
            self._raise_if_it_ends()
            if not self.reasons:
                return
            await change.wait()

    async def unless_stopped(self, waiting: Awaitable[T], at_change: AtChange | None = None) -> T:
        """Return what ``waiting`` gives, or end the wait when the unit procedure ends.

        A hold doesn't end the wait; ``at_change`` may note it.

        Raises:
            StoppedError: It was told to end.
            RecipeMismatchError: The batch stands still.
        """
        waited = asyncio.ensure_future(waiting)
        try:
            while True:
                change = asyncio.ensure_future(self._change.wait())
                try:
                    if at_change is not None:
                        await at_change()
                    if not waited.done():
                        self._raise_if_it_ends()
                    await asyncio.wait({waited, change}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    change.cancel()
                if waited.done():
                    return await waited
        finally:
            waited.cancel()

    @contextmanager
    def acting(self, quieten: Callable[[], None]) -> Generator[None]:
        """Have ``quieten`` called if a hold or a stop comes while an act runs."""
        self._acting.add(quieten)
        try:
            yield
        finally:
            self._acting.discard(quieten)

    def _quieten(self) -> None:
        for quieten in tuple(self._acting):
            quieten()

    def _raise_if_it_ends(self) -> None:
        if self._left_why is not None:
            raise RecipeMismatchError(
                self.path,
                why=self._left_why,
                do_next="Look at the batch's alarm; other batches go on",
            )
        if self._stopped_why is not None:
            raise StoppedError(
                self.path,
                why=self._stopped_why or "it was stopped",
                do_next="Decide on the material",
            )
