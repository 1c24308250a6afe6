"""Open and shut tubes: what every valve block promises."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from orchestrator.kernel.acts import Act, Reading
from orchestrator.kernel.identifiers import ContainerId


class SetValves(Act):
    """Open exactly the named valves and shut all others of the block.

    The names are the kit's: ``p1`` to ``p6``, ``vessel``, ``flush``; the process cell
    file says which output drives which. Twice equals once: REPEAT.

    Effect: opens a path; nothing flows by it alone. ``Effect.done`` is ``"1"``.
    """

    capability: ClassVar[str] = "valves"
    kind: Literal["set_valves"] = "set_valves"
    open: tuple[str, ...] = Field(description="In alphabetical order")
    kit: ContainerId = Field(description="The docked kit whose tubes the valves act on")

    def touches(self) -> tuple[ContainerId, ...]:
        return (self.kit,)

    def makes_safe(self) -> bool:
        return not self.open


class ValvesOpen(Reading):
    """The open valves, comma-separated in alphabetical order; empty text if none is."""

    capability: ClassVar[str] = "valves"
    kind: Literal["valves_open"] = "valves_open"


class InterlockInput(Reading):
    """One safety input (``part``: ``door`` or ``emergency_stop``): ``"safe"`` or ``"unsafe"``."""

    capability: ClassVar[str] = "valves"
    kind: Literal["interlock_input"] = "interlock_input"
