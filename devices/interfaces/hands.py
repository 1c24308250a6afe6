"""What people's hands do to material: an instrument like any other (design section 7).

The trigger of such an act is the offer of a Task, its read-back is asking "was it
done?", its settlement is the report with evidence.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final, Literal

from pydantic import Field

from orchestrator.kernel.acts import Act, Facts
from orchestrator.kernel.identifiers import ContainerId, KitId, PlaceId


class Handwork(StrEnum):
    """The kinds of hand work that the world can tell apart."""

    RECEIVE = "receive"  # put what came by courier at a place
    INSTALL_KIT = "install_kit"  # unpack a kit and set it at a place
    WELD = "weld"  # join a bag's tube to a kit's port by sterile weld
    CONNECT_ASEPTICALLY = "connect_aseptically"
    SEAL_OFF = "seal_off"  # seal and part a bag from a kit's port
    HANG = "hang"  # hang a joined bag on the balance's hook
    UNHANG = "unhang"  # take it off the hook to the rack
    TEST_LEAK = "test_leak"
    DRAW_SAMPLE = "draw_sample"
    LOAD_COUNTER = "load_counter"
    UNLOAD_COUNTER = "unload_counter"
    SELECT_MAGNETICALLY = "select_magnetically"
    APPLY_LABEL = "apply_label"
    LOAD = "load"  # set a container at a place by hand
    STORE = "store"  # put a container into a dewar position
    INSPECT_CONFLUENCE = "inspect_confluence"
    MIX = "mix"  # rock by hand
    DISCARD = "discard"
    CLEAR_LINE = "clear_line"


AT: Final = "at"
"""The parameter of hand work that says where a thing is which it doesn't move."""

_MAKE_SAFE: Final = frozenset({Handwork.SEAL_OFF, Handwork.UNHANG, Handwork.UNLOAD_COUNTER})
"""What parts a thing from where it is, or takes it off, and does nothing else to it."""


class HandAct(Act):
    """One piece of hand work, offered to people as a Task.

    ``Effect.done`` is ``"1"``; ``Effect.detail`` holds what the person reported, by the
    names in ``report``.
    """

    capability: ClassVar[str] = "hands"
    kind: Literal["hand_act"] = "hand_act"
    work: Handwork
    instruction: str = Field(description="What to do, in words that a gowned person reads once")
    containers: tuple[ContainerId, ...] = ()
    kit: KitId | None = None
    port: str = ""
    at: tuple[PlaceId, ...] = ()
    parameters: dict[str, str] = {}
    report: tuple[str, ...] = Field(default=(), description="Names of the values to report")
    words: dict[str, tuple[str, ...]] = Field(
        default={},
        description="Values that are one of these words; work goes on by the first one alone",
    )
    second_person: bool = False

    def in_words(self) -> str:
        return f"hand work ({self.work.replace('_', ' ')})"

    def amiss(self, reported: Facts) -> str:
        """Return in words what was reported that work doesn't go on by; empty if nothing."""
        return ", ".join(
            f"{name}={reported[name]}"
            for name, words in self.words.items()
            if name in reported and reported[name] != words[0]
        )

    def touches(self) -> tuple[ContainerId, ...]:
        return self.containers

    def places(self) -> tuple[PlaceId, ...]:
        return self.at

    def makes_safe(self) -> bool:
        return self.work in _MAKE_SAFE
