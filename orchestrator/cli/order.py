"""``cellwright order``: make a batch of an approved recipe, and start it.

The daemon says which things on file fit the recipe's words, and what is missing. A person
reads that, may name others, and signs it with the password.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.at_console import As, AtConsole, at_console, pairs
from orchestrator.cli.options import AsJson, CallRefusedError, DataFolder
from orchestrator.cli.passwords import PasswordFile
from orchestrator.cli.printing import in_columns, say, say_json
from orchestrator.cli.recipes import written_recipe
from orchestrator.console.text_gate import admitted
from orchestrator.kernel.errors import RecipeRefusedError, RefusedError
from orchestrator.kernel.identifiers import BatchId, CoiId


def run(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="The protocol file, or the document's number or the digest's beginning",
        ),
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option("--patient", metavar="COI", help="The chain of identity it is made for"),
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A value that the order states; may be repeated"),
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LABEL",
            help="The thing for one of the recipe's words, instead of the chosen one; may be "
            "repeated",
        ),
    ] = None,
    batch: Annotated[str | None, typer.Option(help="The batch's name; else the next free")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be bound, and change nothing")
    ] = False,
    no_start: Annotated[
        bool, typer.Option("--no-start", help="Make the batch and leave it for --start")
    ] = False,
    start: Annotated[
        str | None, typer.Option(metavar="BATCH", help="Start a batch that was made before")
    ] = None,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a batch of an approved recipe for one patient, sign it, and start it.

    What the recipe names is taken from what was received: what fits best and isn't bound,
    expired or in quarantine. With --json one object with batch, coi, recipe, status, bound and
    ordered.
    """
    with at_console(data, login, password_file) as console:
        if start is not None:
            if recipe is not None:
                raise CallRefusedError(
                    "call cellwright order",
                    why="--start takes a batch that was made before, and no recipe",
                    do_next="Give one of both",
                )
            name = _text(BatchId, start, "the batch")
            version = console.look("batches")["version"]
            _start(console, name, version)
            _say_started(console, name, as_json=as_json)
            return
        if recipe is None or patient is None:
            raise CallRefusedError(
                "call cellwright order",
                why="it takes a recipe and --patient",
                do_next="`cellwright approve` lists the recipes on file",
            )
        coi = _text(CoiId, patient, "the chain of identity")
        digest = _digest(console, recipe)
        wanted = {
            "coi": coi,
            "ordered": pairs(value, option="--value"),
            "use": pairs(use, option="--use"),
        }
        proposal = console.look("order", recipe=digest, order=json.dumps(wanted))
        name = _text(BatchId, batch, "the batch") if batch else str(proposal["batch"])
        if proposal["problems"]:
            _refuse(name, proposal)
        if not dry_run:
            console.require("make_batch")
        if not as_json:
            _show(name, coi, proposal)
        status = "not made"
        if not dry_run:
            status = _make(console, name, coi, proposal, start=not no_start)
        if as_json:
            say_json(_told(name, coi, digest, status, proposal))
        elif dry_run:
            say("Nothing was made.")
        elif no_start:
            say(f"{name} is made. `cellwright order --start {name}` starts it.")
        else:
            _say_started(console, name, as_json=False)


def _text(kind: type[str], text: str, what: str) -> str:
    try:
        return kind(admitted(text, what=what))
    except ValueError as wrong:
        raise CallRefusedError(
            f"take {what}", why=str(wrong), do_next="Write it as it stands on the order"
        ) from wrong


def _digest(console: AtConsole, text: str) -> str:
    """Return the digest of the recipe that is meant: a file's, a document's or a digest's start.

    Raises:
        RecipeRefusedError: None on file is meant, or more than one.
    """
    file = Path(text)
    if file.suffix in (".py", ".json") or file.exists():
        return written_recipe(file).digest
    meant = [
        one
        for one in console.look("recipes")["recipes"]
        if text in (one["document"], f"{one['document']} {one['version']}")
        or (len(text) >= 6 and one["recipe"].startswith(text))
    ]
    approved = [one for one in meant if "approved" in one["signers"]] or meant
    if len(approved) == 1:
        return str(approved[0]["recipe"])
    raise RecipeRefusedError(
        f"order a batch of {text!r}",
        why="no recipe on file is called so"
        if not meant
        else f"{len(approved)} recipes on file are called so",
        do_next="Name it by the digest's first characters; `cellwright approve` lists them",
    )


def _refuse(batch: str, proposal: Mapping[str, Any]) -> None:
    problems = [str(one) for one in proposal["problems"]]
    raise RefusedError(
        f"order {batch}",
        why="; ".join(problems[:5])
        + (f"; and {len(problems) - 5} more" if len(problems) > 5 else ""),
        do_next="Correct the order, or receive what is missing (`cellwright receive`)",
    )


def _show(batch: str, coi: str, proposal: Mapping[str, Any]) -> None:
    say(f"Batch {batch} for {coi}")
    rows = [(f"  {one['name']}", one["is"], one["holds"]) for one in proposal["lines"]]
    rows += [(f"  {one['name']}", one["value"], "") for one in proposal["binding"]["ordered"]]
    say(in_columns(rows))


def _make(
    console: AtConsole, batch: str, coi: str, proposal: Mapping[str, Any], *, start: bool
) -> str:
    given = console.give(
        "make_batch",
        seen=proposal["version"],
        batch=batch,
        coi=coi,
        binding=proposal["binding"],
    )
    if not start:
        return "made"
    _start(console, batch, given.seq)
    return "started"


def _start(console: AtConsole, batch: str, seen: int) -> None:
    console.give("start_batch", seen=seen, batch=batch)


def _say_started(console: AtConsole, batch: str, *, as_json: bool) -> None:
    status = next(
        (one["status"] for one in console.look("batches")["batches"] if one["batch"] == batch), ""
    )
    if as_json:
        say_json({"batch": batch, "status": "started"})
    elif status == "made":
        say(f"{batch} is started, and waits for its places. `cellwright answer` says what is due.")
    else:
        say(f"{batch} is started. `cellwright answer` says what is due.")


def _told(
    batch: str, coi: str, digest: str, status: str, proposal: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "batch": batch,
        "coi": coi,
        "recipe": digest,
        "status": status,
        "bound": {one["name"]: one["is"] for one in proposal["lines"]},
        "ordered": {one["name"]: one["value"] for one in proposal["binding"]["ordered"]},
    }
