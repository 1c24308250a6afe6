"""Recipes, as commands take them: written by a protocol file, or frozen in one of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.options import readable
from orchestrator.kernel.errors import RecipeRefusedError
from orchestrator.recipe.check import check_file

if TYPE_CHECKING:
    from orchestrator.recipe.model import Recipe
    from orchestrator.recipe.rules.view import CellOffers


def written_recipe(path: Path, cell: CellOffers | None = None) -> Recipe:
    """Return the recipe that a protocol file writes, or that a ``.json`` file holds.

    A recipe with findings is returned as long as it could be written: what they say is
    for ``check``.

    Raises:
        FileRefusedError: The file can't be read.
        RecipeRefusedError: No recipe could be written; tells the first reason.
    """
    readable(path, what="read the protocol")
    if path.suffix == ".json":
        from orchestrator.recipe.model import Recipe

        return Recipe.read(path.read_bytes())
    checked = check_file(path, cell)
    if checked.recipe is None:
        first = checked.findings[0]
        raise RecipeRefusedError(
            f"read the protocol {path}",
            why=f"line {first.line}: {first.rule} {first.text}",
            do_next=f"Correct it; `cellwright check {path}` says what else is wrong",
        )
    return checked.recipe
