"""``cellwright approve``: sign a recipe as its author, its reviewer or its approver.

Three people, in this order. Which signature is due follows from the record; what is signed is
the digest of the recipe's canonical bytes, so a file that changed since is another recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from orchestrator.cli.at_console import As, AtConsole, at_console, names_of
from orchestrator.cli.options import AsJson, CallRefusedError, DataFolder
from orchestrator.cli.passwords import PasswordFile
from orchestrator.cli.printing import say, say_json
from orchestrator.cli.recipes import written_recipe
from orchestrator.kernel.errors import RecipeRefusedError

NEXT: Final[Mapping[str, tuple[str, str]]] = {
    "": ("submit_recipe", "authored"),
    "authored": ("review_recipe", "reviewed"),
    "reviewed": ("approve_recipe", "approved"),
}
"""After which signature which command is due, and what it says."""

SHORT: Final = 12
"""So many characters of a digest tell it from all others on file."""


def run(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="A protocol file or a recipe's .json file; left out: list what is on file",
        ),
    ] = None,
    reason: Annotated[
        str,
        typer.Option(help="Why it may be approved as it is; owed where `check` asks for one"),
    ] = "",
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Sign a recipe: as authored, then as reviewed, then as approved, by three people.

    The daemon tells which signature is due. With --json one object with recipe, document,
    version, signed_as and signers; without FILE one a line, without signed_as.
    """
    with at_console(data, login, password_file) as console:
        if file is None:
            _list(console, as_json=as_json)
        else:
            _sign(console, file, reason, as_json=as_json)


def _list(console: AtConsole, *, as_json: bool) -> None:
    on_file = console.look("recipes")["recipes"]
    if as_json:
        for one in on_file:
            say_json(one)
    elif not on_file:
        say("No recipe is on file. `cellwright approve FILE` submits one.")
    else:
        names = names_of(console)
        for one in on_file:
            say(f"{one['recipe'][:SHORT]}  {one['document']} version {one['version']}")
            say(f"  {one['title']}")
            for what, who in one["signers"].items():
                say(f"  {what} by {names.get(who, who)}")


def _signed(one: Mapping[str, Any], names: Mapping[str, str]) -> str:
    return ", ".join(f"{what} by {names.get(who, who)}" for what, who in one["signers"].items())


def _sign(console: AtConsole, file: Path, reason: str, *, as_json: bool) -> None:
    recipe = written_recipe(file)
    seen = console.look("recipes")
    known = next((one for one in seen["recipes"] if one["recipe"] == recipe.digest), None)
    signers: dict[str, str] = {} if known is None else dict(known["signers"])
    last = next(reversed(signers), "")
    named = f"{recipe.document} version {recipe.version}"
    if last not in NEXT:
        raise RecipeRefusedError(
            f"sign {named}",
            why=f"it is {last}, and takes no more signatures",
            do_next="Order a batch of it" if last == "approved" else "Submit a corrected one",
        )
    command, meaning = NEXT[last]
    if reason and command != "approve_recipe":
        raise CallRefusedError(
            f"sign {named}",
            why="a reason goes with the approval, which isn't due yet",
            do_next="Leave --reason out",
        )
    console.require(command)
    if not as_json:
        say(f"{recipe.title}: {named}")
        say(f"digest {recipe.digest}")
        if signers:
            names = names_of(console)
            say(f"so far {_signed({'signers': signers}, names)}")
        say(f"You sign it as {meaning}.")
    if command == "submit_recipe":
        content = recipe.content.decode()
        console.give(command, seen=seen["version"], content=content)
    else:
        console.give(command, seen=seen["version"], recipe=recipe.digest, reason=reason)
    shown = console.look("recipes")["recipes"]
    signers = next(dict(one["signers"]) for one in shown if one["recipe"] == recipe.digest)
    if as_json:
        say_json(
            {
                "recipe": recipe.digest,
                "document": recipe.document,
                "version": recipe.version,
                "signed_as": meaning,
                "signers": signers,
            }
        )
        return
    say(f"{named} is {meaning} by {names_of(console)[signers[meaning]]}.")
    say(_due(meaning, file))


def _due(meaning: str, file: Path) -> str:
    match meaning:
        case "authored":
            return f"Next, another person reviews it: cellwright approve {file}"
        case "reviewed":
            return f"Next, a third person approves it: cellwright approve {file}"
        case _:
            return "Batches of it can be ordered."
