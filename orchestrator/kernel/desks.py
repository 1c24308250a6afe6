"""What people's side and the machine's side offer to each other, as protocols.

The engine offers them in process; the console's client offers the same over a socket.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from pydantic import Field

from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import CommandId, TaskId
from orchestrator.kernel.tasks import Answer


class Command(Frozen):
    """Something a person asks of the machine.

    ``request`` makes it idempotent: the same request twice is answered as once.
    ``seen`` is the version of the view that the person acted on; an older one than what
    the command concerns is refused.
    """

    request: str = Field(min_length=1, max_length=64)
    seen: int
    session: str
    name: str = Field(description="Which command, as in the role table")
    arguments: dict[str, Any] = {}
    secret: str = Field(default="", repr=False, description="The password, where it signs")


class Given(Frozen):
    """The machine took a command and made it durable under event ``seq``."""

    seq: int
    result: dict[str, Any] = {}


class Console(Protocol):
    """The whole surface that technicians, terminal and command line see."""

    async def view(self, name: str, *, newer_than: int = -1, **arguments: str) -> Mapping[str, Any]:
        """Return a view by name, as soon as it is newer than ``newer_than``.

        Every view holds ``version``. With ``newer_than=-1`` the present one is returned.
        """
        ...

    async def give(self, command: Command) -> Given:
        """Have a command carried out.

        Raises:
            NotAuthorisedError: The person's roles don't allow it. Nothing happened.
            RefusedError: It isn't legal now, or rests on an old view. Nothing happened.
        """
        ...


class TaskBoard(Protocol):
    """Where hand work is offered to people and reported by them; the engine's side."""

    async def offer_hand_work(
        self, task: TaskId, act: Mapping[str, Any], command: CommandId
    ) -> None:
        """Make the offer durable and show it. May be called once for a task."""
        ...

    async def reported(self, task: TaskId) -> Answer | None:
        """Return what people reported, once it is reported and, where owed, verified.

        None: it was withdrawn before anybody took it, and nobody has reported it since; or
        it was taken from the person who had it.
        """
        ...

    def why_taken_back(self, task: TaskId) -> str:
        """Return who had the task, and who took it from them and why; empty if nobody did."""
        ...

    def was_offered(self, task: TaskId) -> bool:
        """Return whether the task stands on the board or stood there."""
        ...


SignatureMeaning = Literal[
    "authored", "performed", "verified", "reviewed", "approved", "released", "rejected"
]
