"""Read labels: what every barcode scanner promises."""

from __future__ import annotations

from typing import ClassVar, Literal

from orchestrator.kernel.acts import Reading
from orchestrator.kernel.identifiers import ContainerId, PlaceId


class LabelRead(Reading):
    """The next label that the scanner reads from now on, as text.

    A fixed scanner is triggered; a hand scanner waits for a person. Labels read before
    the question was asked don't count.
    """

    capability: ClassVar[str] = "scanning"
    kind: Literal["label_read"] = "label_read"


class Identify(Reading):
    """A scan that shows ``container`` at ``place``: answered by a ``ProvenContainer``.

    The engine reads the scanner, asks the gate, journals what it said, and waits for
    another scan as long as the gate refuses. With ``carried_suffices`` an unbroken
    earlier proof answers where no fixed scanner sees the place: nobody need be there.
    """

    capability: ClassVar[str] = "scanning"
    kind: Literal["identify"] = "identify"
    container: ContainerId
    place: PlaceId
    carried_suffices: bool = False
