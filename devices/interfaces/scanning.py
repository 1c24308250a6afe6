"""Read labels: what every barcode scanner promises, and what the engine makes of it."""

from __future__ import annotations

from typing import ClassVar, Literal

from orchestrator.kernel.acts import Reading
from orchestrator.kernel.identifiers import ContainerId, LabelText, PlaceId


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


class IdentifyByBoth(Reading):
    """Two scans, of a container's own label and of ``label``, which was stuck on beside it.

    Nobody knows a label of a roll before it is on, so a scan of it alone can't tell which
    bag it was stuck on. Therefore both are read at ``place``, the known one first, by one
    hand scanner, within a short time, and the new one counts from then on.

    It shows that somebody had both labels before that scanner at nearly the same moment.
    It doesn't show that they are on one bag: two bags that lie side by side can be read so.
    That both labels are on one bag only eyes can tell: a second person looks for that, and
    states which labels they read there.
    """

    capability: ClassVar[str] = "scanning"
    kind: Literal["identify_by_both"] = "identify_by_both"
    container: ContainerId
    place: PlaceId
    label: LabelText
