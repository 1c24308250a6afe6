"""``cellwright read``: a protocol file read back as a numbered procedure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import AsJson
from orchestrator.cli.printing import say, say_json
from orchestrator.cli.recipes import written_recipe


def run(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A protocol file, or a recipe's .json file")
    ],
    as_json: AsJson = False,
) -> None:
    """Print a protocol as the numbered procedure that quality assurance approves.

    With --json one object with digest, title, document, version and procedure.
    """
    recipe = written_recipe(file)
    from orchestrator.recipe.render import render

    procedure = render(recipe)
    if as_json:
        say_json(
            {
                "digest": recipe.digest,
                "title": recipe.title,
                "document": recipe.document,
                "version": recipe.version,
                "procedure": procedure,
            }
        )
    else:
        say(procedure.rstrip("\n"))
