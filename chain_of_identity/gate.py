"""The identity gate: no proof, no movement.

``IdentityGate`` is the only maker of ``ProvenContainer``, by ``verify(scan)`` and by
``carry(proof)``. It reads no scanner and writes no record: scans come in as values, what
is known of containers comes in as a ``Register``, and the engine journals what it
answers. A proof holds for one container, at one place, for one phase.

It guards against mistakes, not malice; malice is met by signatures and the journal.
Follows design section 10; 21 CFR 1271.290(b); hazards H1 and H3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import InitVar, dataclass
from enum import StrEnum
from typing import Final, NoReturn, Protocol

from orchestrator.kernel.errors import IdentityRefusedError
from orchestrator.kernel.identifiers import (
    BatchId,
    CoiId,
    ContainerId,
    EquipmentId,
    PhasePath,
    PlaceId,
)

_MADE_BY_GATE: Final = object()


class Break(StrEnum):
    """What ends the unbroken line from a scan to a later use."""

    DISCONNECTED = "disconnected"
    OPENED = "opened"
    MOVED_UNSCANNED = "moved unscanned"
    OCCUPANCY_UNKNOWN = "occupancy unknown"
    RESTART = "restart"


BREAKS: Final[Mapping[Break, str]] = {
    Break.DISCONNECTED: "it was parted from its kit since",
    Break.OPENED: "it was opened since",
    Break.MOVED_UNSCANNED: "it was moved by hand since, and not scanned where it came to",
    Break.OCCUPANCY_UNKNOWN: "what stood at its place became unknown since",
    Break.RESTART: "the software was restarted since",
}
"""Each of these breaks carried identity; only a fresh scan mends it."""


@dataclass(frozen=True, slots=True)
class ContainerScan:
    """What one scanner read off one label, at one place; ``seq`` is the scan's event."""

    label: str
    place: PlaceId
    scanner: EquipmentId


@dataclass(frozen=True, slots=True)
class ProvenContainer:
    """A container shown to belong to ``batch``, at ``place``. Only the gate makes one.

    ``rests_on`` is ``"scanned"`` or ``"carried from <event>"``; ``since`` is the event
    of the scan that it rests on in the end.
    """

    batch: BatchId
    container: ContainerId
    coi: CoiId
    place: PlaceId
    path: PhasePath
    rests_on: str
    since: int
    made_by: InitVar[object]  # never stored, so dataclasses.replace can't make one either

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _MADE_BY_GATE:
            raise TypeError("ask the IdentityGate for a ProvenContainer")

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or stored: a proof never survives its process."""
        raise TypeError("a ProvenContainer isn't copied or stored; ask the IdentityGate anew")


class Register(Protocol):
    """What is known of containers, places and their therapy events."""

    def container_labelled(self, label: str) -> ContainerId | None:
        """Return the container that carries this label now, or None if none is known to."""
        ...

    def coi_of_container(self, container: ContainerId) -> CoiId | None:
        """Return whose container it is; None for reagents and unassigned ones."""
        ...

    def holder_of_place(self, place: PlaceId) -> BatchId | None:
        """Return the batch to which the place is leased, or None if to nobody."""
        ...

    def batch_of_container(self, container: ContainerId) -> BatchId | None:
        """Return the batch that the container was bound to."""
        ...

    def place_of_container(self, container: ContainerId) -> PlaceId | None:
        """Return where the record has the container; None if it isn't known or it is joined."""
        ...

    def is_quarantined(self, container: ContainerId) -> bool:
        """Return whether quality must decide before anybody touches it."""
        ...

    def broken_since(self, container: ContainerId, seq: int) -> Break | None:
        """Return the first break of the container's identity after event ``seq``."""
        ...


class IdentityGate:
    """Compares what was scanned with what this batch needs here and now."""

    def __init__(self, batch: BatchId, coi: CoiId, register: Register) -> None:
        self._batch = batch
        self._coi = coi
        self._register = register

    def verify(
        self, scan: ContainerScan, *, expected: ContainerId, path: PhasePath, seq: int
    ) -> ProvenContainer:
        """Return the proof that the scanned container is the expected one.

        Patient material, kit, place and label must all resolve to this batch's therapy
        event (IDC-05). ``seq`` is the event under which the scan is journaled.

        Raises:
            IdentityRefusedError: One of them differs. Nothing has moved. The message
                never shows another patient's identifier.
        """
        where = f"{scan.place}: scanned label"
        self._refuse_other(scan.label, (expected,), where)
        self._refuse_unfit(expected, scan.place, where)
        return ProvenContainer(
            self._batch, expected, self._coi, scan.place, path, "scanned", seq, _MADE_BY_GATE
        )

    def verify_beside(
        self, first: ContainerScan, second: ContainerScan, *, expected: ContainerId, label: str
    ) -> None:
        """Refuse two scans that don't show ``label`` beside the label of ``expected``.

        ``first`` was verified. ``label`` is as people reported it; the record doesn't count
        it as any container's yet.

        Raises:
            IdentityRefusedError: They are of another label, place or scanner.
        """
        where = f"{second.place}: label scanned second"
        if (second.place, second.scanner) != (first.place, first.scanner):
            raise IdentityRefusedError(
                where,
                why="the two labels weren't read at one place by one scanner",
                do_next=f"Scan both labels of {expected} there, the one it had first",
            )
        if second.label != label:
            raise IdentityRefusedError(
                where,
                why=f"it isn't the label that was reported to be stuck on {expected}",
                do_next=f"Scan both labels of {expected}, the one it had first; if the new one "
                "isn't on it, reject the labelling, and call quality assurance",
            )

    def read_off(self, label: str, *, things: Collection[ContainerId], where: str) -> ContainerId:
        """Return which of ``things`` carries a label that a person read off one of them.

        It proves nothing and lets nothing move; it is what a second person's word rests on.

        Raises:
            IdentityRefusedError: It is none of theirs. The message never shows another
                patient's identifier.
        """
        return self._refuse_other(label, things, where)

    def recall(
        self,
        container: ContainerId,
        *,
        place: PlaceId,
        path: PhasePath,
        rests_on: str,
        since: int,
    ) -> ProvenContainer:
        """Return the proof that the record of this phase holds.

        It is worth what ``BREAKS`` leaves of it: one from before a restart is spent, and
        the actor asks for a fresh scan before anything moves by it.
        """
        return ProvenContainer(
            self._batch, container, self._coi, place, path, rests_on, since, _MADE_BY_GATE
        )

    def carry(
        self, proof: ProvenContainer, *, place: PlaceId, path: PhasePath, seq: int
    ) -> ProvenContainer:
        """Return a proof for a later phase, resting on an earlier one.

        Raises:
            IdentityRefusedError: Something of ``BREAKS`` came between. Nothing has
                moved; scan the container.
        """
        where = f"{place}: {proof.container}"
        if proof.batch != self._batch:
            raise IdentityRefusedError(
                where, why="the proof is another batch's", do_next=f"Scan {proof.container}"
            )
        broken = self._register.broken_since(proof.container, proof.since)
        if broken is not None:
            raise IdentityRefusedError(
                where, why=BREAKS[broken], do_next=f"Scan {proof.container} at {place}"
            )
        stands_at = self._register.place_of_container(proof.container)
        if stands_at is not None and stands_at != place:
            raise IdentityRefusedError(
                where,
                why=f"by the record it is at {stands_at}",
                do_next=f"Scan {proof.container} at {place}",
            )
        self._refuse_unfit(proof.container, place, where)
        return ProvenContainer(
            self._batch,
            proof.container,
            self._coi,
            place,
            path,
            f"carried from {proof.since}",
            proof.since,
            _MADE_BY_GATE,
        )

    def _refuse_other(
        self, label: str, expected: Collection[ContainerId], where: str
    ) -> ContainerId:
        """Return whose label it is; refuse any other than one of ``expected``."""
        needed = ", ".join(expected)
        found = self._register.container_labelled(label)
        if found is None:
            raise IdentityRefusedError(
                where,
                why="no container of the record carries this label",
                do_next=f"Put it aside, and scan {needed}",
            )
        coi = self._register.coi_of_container(found)
        if coi is not None and coi != self._coi:
            raise IdentityRefusedError(
                where,
                why=f"it belongs to another patient than batch {self._batch}",
                do_next="Leave it unconnected, quarantine it and call quality assurance",
            )
        self._refuse_another_batchs(found, where)
        if found not in expected:
            raise IdentityRefusedError(
                where,
                why=f"it is {found}; this step needs {needed}",
                do_next=f"Put {found} back and scan {needed}",
            )
        return found

    def _refuse_another_batchs(self, container: ContainerId, where: str) -> None:
        """Refuse what another batch uses, be it a reagent that is no patient's."""
        owner = self._register.batch_of_container(container)
        if owner is not None and owner != self._batch:
            raise IdentityRefusedError(
                where,
                why=f"it was bound to another batch than {self._batch}",
                do_next="Put it back where that batch keeps it, and call quality assurance",
            )

    def _refuse_unfit(self, container: ContainerId, place: PlaceId, where: str) -> None:
        self._refuse_another_batchs(container, where)
        if self._register.is_quarantined(container):
            raise IdentityRefusedError(
                where,
                why=f"{container} is in quarantine",
                do_next="Have quality assurance decide before anybody touches it",
            )
        holder = self._register.holder_of_place(place)
        if holder is None:
            raise IdentityRefusedError(
                where,
                why=f"{place} isn't leased to batch {self._batch}",
                do_next="Wait until the batch holds the place, or take it to one that it holds",
            )
        if holder != self._batch:
            raise IdentityRefusedError(
                where,
                why=f"{place} is held for another batch",
                do_next="Take the container to its own place, and call quality assurance",
            )
