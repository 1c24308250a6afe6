"""The four words by which a phase touches the outside, and what it may look up.

``do`` something physical, ``see`` a value, wait ``until``, ``ask`` people. Each is
journaled with its answer. When a phase is resumed it runs again from its first line:
answers given before are returned from the journal, the first open one is reconciled,
the rest are performed. So ``run`` awaits nothing else, reads no clock and draws no
lot; the look-ups below are values that a record fixes.

Follows design section 6.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, overload

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.scanning import Identify, IdentifyByBoth
from orchestrator.kernel.acts import Act, Effect, Reading
from orchestrator.kernel.conditions import Condition
from orchestrator.kernel.identifiers import ContainerId, KitId, PlaceId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.measured import Amount
from orchestrator.kernel.tasks import Answer, Question


class CameFirst(StrEnum):
    """What ended a wait."""

    INSTANT = "instant"
    CONDITION = "condition"


class Outside(Protocol):
    """What a phase is given when it runs."""

    async def do(self, act: Act, *, proven: tuple[ProvenContainer, ...]) -> Effect:
        """Have one act carried out, and return its settled effect over all attempts.

        ``proven`` holds a proof for each container of patient material that the act
        touches; ``()`` says that it touches none, and the actor checks that.

        Raises:
            RefusedError: An interlock refused. Nothing moved.
            FailedError: A known part was done; the recorded effect says which.
        """
        ...

    @overload
    async def see(self, reading: Identify | IdentifyByBoth) -> ProvenContainer: ...
    @overload
    async def see(self, reading: Reading) -> str: ...
    async def see(self, reading: Reading) -> str | ProvenContainer:
        """Return a value that the phase decides on, or the proof of a container."""
        ...

    async def until(self, when: Instant | Condition, *, latest: Instant | None = None) -> CameFirst:
        """Wait for an instant, or for a condition but no later than ``latest``."""
        ...

    async def ask(self, question: Question) -> Answer:
        """Return what people answered."""
        ...

    @property
    def last_answered(self) -> Instant:
        """Return when the latest word was answered, or when the phase started."""
        ...

    def container(self, name: str) -> ContainerId:
        """Return the container that this batch uses under the recipe's name."""
        ...

    def kit(self, name: str) -> KitId:
        """Return the kit that this batch uses under the recipe's name."""
        ...

    def place(self, unit: str, which: str = "") -> PlaceId:
        """Return a place of the unit that this batch holds, e.g. its incubator place."""
        ...

    def amount(self, amount: Amount) -> str:
        """Return the value of an amount as text, from recipe, order, record or formula."""
        ...
