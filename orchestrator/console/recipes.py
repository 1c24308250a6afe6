"""Recipes: put on file as checked, then reviewed and approved."""

from __future__ import annotations

from typing import Any

from orchestrator.console.office import Carry, Office
from orchestrator.journal.events import RecipeSigned, RecipeSubmitted
from orchestrator.kernel.desks import SignatureMeaning
from orchestrator.kernel.errors import RecipeRefusedError, RefusedError
from orchestrator.kernel.identifiers import RecipeDigest, UserId
from orchestrator.people.roles import require_recipe_signer
from orchestrator.recipe.check import Finding, check_recipe
from orchestrator.recipe.model import Recipe


class Recipes:
    """Submits recipes and has them signed."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._core = office.core
        self._engine = office.engine

    async def submit(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Put a recipe on file that the check finds nothing to refuse in."""
        recipe = Recipe.read(str(arguments["content"]).encode())
        refused = self._findings(recipe, "refuse")
        if refused:
            raise RecipeRefusedError(
                f"submit {recipe.document} version {recipe.version}",
                why="; ".join(f"{one.rule} {one.text}" for one in refused[:3]),
                do_next="Correct the protocol until `cellwright check` finds nothing to refuse",
            )
        self._refuse_on_file(recipe)
        event = await self._office.signed(
            user,
            arguments,
            lambda by: RecipeSubmitted(
                recipe=recipe.digest,
                title=recipe.title,
                document=recipe.document,
                version=recipe.version,
                content=recipe.content.decode(),
                signature=by,
            ),
            "authored",
        )
        self._refuse_on_file(recipe)  # the password took a while
        return await self._core.record_for_host(event, answer=arguments["answer"])

    def _refuse_on_file(self, recipe: Recipe) -> None:
        if recipe.digest in self._core.state.recipes:
            raise RefusedError(
                f"submit {recipe.document} version {recipe.version}",
                why="this recipe is on file",
                do_next="Have it reviewed and approved",
            )

    def sign(self, meaning: SignatureMeaning) -> Carry:
        """Return the command that signs a recipe as ``meaning``."""

        async def sign_recipe(user: UserId, arguments: dict[str, Any]) -> int:
            recipe = RecipeDigest(str(arguments["recipe"]))
            known = self._core.state.recipes.get(recipe)
            if known is None:
                raise RefusedError(
                    f"sign recipe {recipe}", why="it isn't on file", do_next="Submit it first"
                )
            what = f"sign {known.document} version {known.version} as {meaning}"
            if known.amends:
                raise RefusedError(
                    what,
                    why=f"it is batch {known.amends}'s, as it was amended; no other is made of it",
                    do_next="Write what shall hold for other batches into the protocol",
                )
            called = self._core.state.people[user].printed_name
            require_recipe_signer(what, known.signers, meaning, user, called=called)
            reason = str(arguments.get("reason", "")).strip()
            if meaning == "approved":
                self._refuse_silence(what, recipe, reason)
            event = await self._office.signed(
                user,
                arguments,
                lambda by: RecipeSigned(recipe=recipe, signature=by),
                meaning,
                reason,
            )
            require_recipe_signer(what, known.signers, meaning, user)  # the password took a while
            return await self._core.record_for_host(event, answer=arguments["answer"])

        return sign_recipe

    def _refuse_silence(self, what: str, recipe: RecipeDigest, reason: str) -> None:
        """Refuse to approve without a reason what asks for one."""
        if reason:
            return
        asks = self._findings(self._engine.recipe_by_digest(recipe), "ask")
        if asks:
            more = f" (and {len(asks) - 1} more)" if len(asks) > 1 else ""
            raise RecipeRefusedError(
                what,
                why=f"{asks[0].rule} asks for a reason: {asks[0].text.rstrip('.')}{more}",
                do_next="Give a reason why it may be approved as it is, or have it corrected",
            )

    def _findings(self, recipe: Recipe, severity: str) -> list[Finding]:
        """Return what is so wrong with a recipe on this cell."""
        found = check_recipe(recipe, self._core.cell.config)
        return [one for one in found if one.severity == severity]
