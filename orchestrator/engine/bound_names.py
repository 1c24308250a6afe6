"""What a recipe's words stand for in one batch: its containers, kits, places and amounts.

Values that the record fixes: whoever asks twice is told the same.
"""

from __future__ import annotations

from typing import Any

from chain_of_identity.gate import IdentityGate, ProvenContainer
from devices.interfaces.scanning import Identify, IdentifyByBoth
from orchestrator.engine.state import BatchState
from orchestrator.kernel.errors import ConfigurationRefusedError
from orchestrator.kernel.identifiers import ContainerId, KitId, PhasePath, PlaceId
from orchestrator.kernel.measured import Amount, Calculated, Fixed, Measured, Ordered
from orchestrator.process_cell.config import CellConfig, Unit
from orchestrator.recipe.calculations import evaluated


class BoundNames:
    """The look-ups of ``Outside``, by the record of one batch and its cell."""

    def __init__(self, batch: BatchState, config: CellConfig) -> None:
        self._bound = batch
        self._config = config

    def container(self, name: str) -> ContainerId:
        """Return the container that this batch uses under the recipe's name."""
        found = self._bound.containers.get(name) or self._bound.kits[name]
        return ContainerId(found)

    def kit(self, name: str) -> KitId:
        """Return the kit that this batch uses under the recipe's name."""
        return KitId(self._bound.kits[name])

    def unit(self, name: str) -> str:
        """Return the unit of the cell that plays a role of the recipe."""
        return self._bound.units.get(name, name)

    def place(self, unit: str, which: str = "") -> PlaceId:
        """Return a place of the unit that this batch holds, e.g. its incubator place."""
        config = self._config.by_unit[self.unit(unit)]
        if which:
            return _named_place(config, which)
        own = self._bound.places.get(unit)
        return PlaceId(own) if own is not None else config.places[0]

    def amount(self, amount: Amount) -> str:
        """Return the value of an amount as text, from recipe, order, record or formula."""
        match amount:
            case Fixed():
                return amount.value
            case Ordered():
                return self._bound.ordered[amount.name]
            case Measured():
                return self._bound.measured[amount.name]
            case Calculated():
                return evaluated(amount, self.amount)


def proof_on_record(
    gate: IdentityGate,
    path: PhasePath,
    reading: Identify | IdentifyByBoth,
    answer: dict[str, Any],
) -> ProvenContainer:
    """Return the proof that a phase was given before, by the answer on record."""
    rests_on = str(answer["rests_on"])
    since = (
        int(rests_on.removeprefix("carried from "))
        if rests_on.startswith("carried")
        else int(answer["seq"])
    )
    return gate.recall(
        reading.container, place=reading.place, path=path, rests_on=rests_on, since=since
    )


def _named_place(unit: Unit, which: str) -> PlaceId:
    found = unit.named_places.get(which)
    if found is None:
        raise ConfigurationRefusedError(
            f"find the place {which!r} of unit {unit.name}",
            why="its named_places in the process cell file don't have it",
            do_next="Add it to the file, and resume",
        )
    return found
