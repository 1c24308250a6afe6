"""What the identity gate may know, answered from the folded state."""

from __future__ import annotations

from chain_of_identity.gate import Break
from orchestrator.engine.state import HostState
from orchestrator.kernel.identifiers import BatchId, CoiId, ContainerId, PlaceId


class FoldedRegister:
    """A ``Register`` over the state of one host."""

    def __init__(self, state: HostState) -> None:
        self._state = state

    def container_labelled(self, label: str) -> ContainerId | None:
        found = self._state.labels.get(label)
        return None if found is None else ContainerId(found)

    def coi_of_container(self, container: ContainerId) -> CoiId | None:
        coi = self._state.containers[container].coi
        return CoiId(coi) if coi else None

    def coi_of_place(self, place: PlaceId) -> CoiId | None:
        lease = self._state.leases.get(place)
        return None if lease is None else CoiId(lease.coi)

    def batch_of_container(self, container: ContainerId) -> BatchId | None:
        batch = self._state.containers[container].batch
        return BatchId(batch) if batch else None

    def place_of_container(self, container: ContainerId) -> PlaceId | None:
        known = self._state.containers[container]
        return None if known.kit or not known.place else PlaceId(known.place)

    def is_quarantined(self, container: ContainerId) -> bool:
        return bool(self._state.containers[container].quarantined)

    def broken_since(self, container: ContainerId, seq: int) -> Break | None:
        if seq < self._state.last_start:
            return Break.RESTART
        for name, at in self._state.containers[container].breaks.items():
            if at > seq:
                return Break(name)
        return None
