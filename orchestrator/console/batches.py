"""Batches: made of what an order binds, started, held and moved on by people."""

from __future__ import annotations

from typing import Any, Final

from orchestrator.console.office import Carry, Office
from orchestrator.console.old_views import refuse_old_view
from orchestrator.console.orders import misfits
from orchestrator.engine.engine import VERSION
from orchestrator.journal.events import BatchMade, Named
from orchestrator.kernel.errors import RecipeRefusedError, RefusedError
from orchestrator.kernel.identifiers import BatchId, CoiId, UserId
from orchestrator.recipe.binding import Binding

SAFE_ON_AN_OLD_VIEW: Final = ("hold", "pause")
"""Commands that a person may give whatever they last saw."""


class Batches:
    """Makes batches, starts them, and gives what people command of them."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._core = office.core
        self._engine = office.engine

    async def make(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Bind an approved recipe to a therapy event, its containers and this cell's units."""
        batch = BatchId(str(arguments["batch"]))
        binding = Binding.model_validate(arguments["binding"])
        known = self._core.state.recipes.get(binding.recipe)
        what = f"make batch {batch}"
        self._refuse_taken(what, batch)
        if known is None or "approved" not in known.signers:
            raise RecipeRefusedError(
                what,
                why="its recipe isn't approved",
                do_next="Have the recipe reviewed and approved",
            )
        coi = CoiId(str(arguments["coi"]))
        self._refuse_misfits(what, binding, coi)
        event = await self._office.signed(
            user,
            arguments,
            lambda by: BatchMade(
                batch=batch,
                coi=coi,
                recipe=binding.recipe,
                cell=self._core.cell.digest,
                engine=VERSION,
                containers=tuple(
                    Named(name=one.name, is_=one.container) for one in binding.containers
                ),
                kits=tuple(Named(name=one.name, is_=one.kit) for one in binding.kits),
                units=tuple(Named(name=one.name, is_=one.equipment) for one in binding.units),
                places=tuple(Named(name=one.unit, is_=one.place) for one in binding.places),
                ordered=tuple(Named(name=one.name, is_=one.value) for one in binding.ordered),
                signature=by,
            ),
            "approved",
        )
        self._refuse_taken(what, batch)  # the password took a while: it must still stand
        self._refuse_misfits(what, binding, coi)
        return await self._core.record(batch, event, answer=arguments["answer"])

    def _refuse_taken(self, what: str, batch: BatchId) -> None:
        if batch in self._core.state.batches:
            raise RefusedError(what, why="there is one of that name", do_next="Name it anew")

    def _refuse_misfits(self, what: str, binding: Binding, coi: CoiId) -> None:
        """Refuse a binding of anything that isn't, by now, what the recipe's word means."""
        recipe = self._engine.recipe_by_digest(binding.recipe)
        binding.require(recipe)
        now, config = self._core.clock.utc(), self._core.cell.config
        found = misfits(self._core.state, config, recipe, binding, coi, now)
        if found:
            more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
            raise RefusedError(
                what,
                why="; ".join(found[:5]) + more,
                do_next="Bind what the recipe asks for, free and in date: the view 'order' "
                "proposes it",
            )

    async def start(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Answer once the order to start is on disk; the batch runs when its places are free."""
        batch = BatchId(str(arguments["batch"]))
        return await self._engine.ask_to_start(batch, user, arguments["answer"])

    def move(self, trigger: str) -> Carry:
        """Return the command that moves a batch, or one unit procedure of it, by ``trigger``."""

        async def move(user: UserId, arguments: dict[str, Any]) -> int:
            batch = BatchId(str(arguments["batch"]))
            part = str(arguments.get("unit_procedure", ""))
            why = str(arguments.get("why", ""))
            known = self._core.state.batches.get(batch)
            if trigger not in SAFE_ON_AN_OLD_VIEW and known is not None:
                refuse_old_view(f"{trigger} batch {batch}", known.changed, arguments)
            holds, answer = self._engine.holds, arguments["answer"]
            await holds.command_all(batch, part, trigger, why, user, answer)
            return self._core.state.seq

        return move
