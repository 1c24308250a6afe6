"""What the identity gate may know, answered from the folded state."""

from __future__ import annotations

from chain_of_identity.gate import Break
from orchestrator.engine.materials import GRIPPER
from orchestrator.engine.state import HostState
from orchestrator.kernel.identifiers import BatchId, CoiId, ContainerId, PlaceId
from orchestrator.process_cell.config import CellConfig, Module


class FoldedRegister:
    """A ``Register`` over the state of one host."""

    def __init__(self, state: HostState, cell: CellConfig) -> None:
        self._state = state
        self._cell = cell

    def container_labelled(self, label: str) -> ContainerId | None:
        found = self._state.labels.get(label)
        if found is None or self._state.containers[found].label != label:
            return None  # it isn't shown to be on yet, or another one counts by now
        return ContainerId(found)

    def coi_of_container(self, container: ContainerId) -> CoiId | None:
        coi = self._state.containers[container].coi
        return CoiId(coi) if coi else None

    def holder_of_place(self, place: PlaceId) -> BatchId | None:
        lease = self._state.leases.get(self._leased_as(place))
        return None if lease is None else BatchId(lease.batch)

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

    def _leased_as(self, place: PlaceId) -> str:
        """Return the name under which a place is leased: a gripper goes with its arm."""
        before, _, equipment = place.partition("/")
        if before != GRIPPER:
            return place
        arms = (one.name for one in self._cell.units if equipment in map(_name, one.modules))
        return next(arms, place)


def _name(module: Module) -> str:
    return str(module.equipment)
