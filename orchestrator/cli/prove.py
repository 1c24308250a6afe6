"""Prove a protocol: have the software die everywhere in it, resume, and be judged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from orchestrator.cli.options import AsJson, CallRefusedError
from orchestrator.cli.printing import say, say_json, tell
from orchestrator.cli.recipes import written_recipe

if TYPE_CHECKING:
    from orchestrator.proof.proving import Asked
    from orchestrator.recipe.model import Recipe

ALL: Final = "all"
CLASSES: Final = "classes"


def restart(
    protocol: Annotated[Path, typer.Argument(help="The protocol file")],
    cell: Annotated[Path | None, typer.Option(help="The process cell file")] = None,
    cuts: Annotated[
        str, typer.Option(help="Where to die: all, classes, or at so many points")
    ] = ALL,
    seed: Annotated[int, typer.Option(help="Decides on all chance, and on what is drawn")] = 1,
    dead: Annotated[
        list[float] | None,
        typer.Option(help="Seconds that the software stays dead; several take turns"),
    ] = None,
    only: Annotated[str | None, typer.Option(help="Die at this one point, by its name")] = None,
    double: Annotated[
        bool,
        typer.Option("--double", help="Die a second time while the first death is recovered from"),
    ] = False,
    every_image: Annotated[
        bool,
        typer.Option(
            "--every-image", help="Go on from each torn image, also from those that recover alike"
        ),
    ] = False,
    kills: Annotated[
        int | None,
        typer.Option(
            min=1, help="Instead: kill the daemon so many times, as a process over real wires"
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Runs that go on side by side")] = 2,
    to: Annotated[Path | None, typer.Option(help="The folder to write the evidence to")] = None,
    as_json: AsJson = False,
) -> int:
    """Prove that a protocol survives a crash: nothing is done twice and nothing is lost.

    The protocol runs on the emulated cell once to count the points, then once more, dying at
    each of them. Each death is resumed and judged by what the emulated room really holds.
    """
    from orchestrator.process_cell.simulation import REFERENCE_CELL
    from orchestrator.proof.evidence import write_evidence
    from orchestrator.proof.killing import DEAD_S as KILLS_DEAD_S
    from orchestrator.proof.proving import DEAD_S, Asked, proof_of
    from orchestrator.proof.story import ProtocolStory

    asked = Asked(
        seed=seed,
        cuts=_number(cuts),
        classes=cuts == CLASSES,
        dead_s=tuple(dead or (DEAD_S if kills is None else KILLS_DEAD_S)),
        workers=workers,
        every_image=every_image,
        double=double,
        only=only,
    )
    recipe = written_recipe(protocol)
    if kills is not None:
        return _by_kills(recipe, protocol, cell or REFERENCE_CELL, kills, asked, to, as_json)
    story = ProtocolStory(recipe, cell or REFERENCE_CELL, seed=seed)
    proof = proof_of(story, recipe, asked, told=tell)
    if as_json:
        say_json(proof.as_json())
    else:
        say(proof.as_text())
    if to is not None:
        for file in write_evidence(proof, to):
            tell(f"evidence: {file}")
    return 0 if proof.is_proven else 1


def _by_kills(
    recipe: Recipe,
    protocol: Path,
    cell: Path,
    kills: int,
    asked: Asked,
    to: Path | None,
    as_json: bool,
) -> int:
    from orchestrator.proof.killing import proof_by_kills, write_kills

    if asked.cuts is not None or asked.classes or asked.only or asked.double or asked.every_image:
        raise CallRefusedError(
            "kill processes and die at points in one call",
            why="--cuts, --only, --double and --every-image are of deaths in memory, --kills of"
            " real processes",
            do_next="Call it twice; both may write --to the same folder",
        )
    proof = proof_by_kills(recipe, protocol, cell, kills, asked, told=tell)
    if as_json:
        say_json(proof.as_json())
    else:
        say(proof.as_text())
    if to is not None:
        for file in write_kills(proof, to):
            tell(f"evidence: {file}")
    return 0 if proof.is_proven else 1


def _number(cuts: str) -> int | None:
    if cuts in (ALL, CLASSES):
        return None
    if not cuts.isascii() or not cuts.isdecimal() or int(cuts) < 1:
        raise CallRefusedError(
            f"die at {cuts} points",
            why="it is neither 'all', 'classes' nor a number from 1",
            do_next="Write --cuts all, --cuts classes, or e.g. --cuts 500",
        )
    return int(cuts)


SUBCOMMANDS: Final = {"restart": restart}
