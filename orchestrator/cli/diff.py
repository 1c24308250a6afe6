"""``cellwright diff``: what differs between two protocols, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import AsJson
from orchestrator.cli.printing import say, say_json
from orchestrator.cli.recipes import written_recipe


def run(
    old: Annotated[
        Path, typer.Argument(metavar="OLD", help="A protocol file, or a recipe's .json file")
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The same, of the later one")],
    as_json: AsJson = False,
) -> int:
    """Say in words what differs between two protocols.

    Exit status 0 if they write the same recipe, 1 if they differ. With --json one object
    with same, old and new (the digests) and differences.
    """
    before, after = written_recipe(old), written_recipe(new)
    from orchestrator.recipe.compare import diff

    differences = diff(before, after)
    same = before.digest == after.digest
    if as_json:
        say_json(
            {
                "same": same,
                "old": before.digest,
                "new": after.digest,
                "differences": list(differences),
            }
        )
    elif same:
        say("They write the same recipe.")
    else:
        for difference in differences or ("Steps have other numbers; nothing else differs.",):
            say(difference)
    return int(not same)
