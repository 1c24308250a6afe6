"""``cellwright backup``: the journal as one file, verified, while its daemon runs or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, DataFolder, FileRefusedError, journal_in
from orchestrator.cli.printing import say, say_json
from orchestrator.cli.verify import in_words
from orchestrator.journal.backup import back_up


def run(
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The file to make")],
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Copy the journal of a data folder to FILE, which isn't there yet, and verify the copy.

    The daemon may be at work and isn't kept waiting. Keys and traces aren't part of it.
    With --json one object with backup, events, merkle_root, anchored_to and unanchored_from.
    """
    journal = journal_in(data)
    to = to.absolute()
    if not to.parent.is_dir():
        raise FileRefusedError(
            f"back up to {to}", why="there is no such folder", do_next="Correct the path"
        )
    verdict = back_up(journal, to)
    if as_json:
        say_json(
            {
                "backup": str(to),
                "events": verdict.events,
                "merkle_root": verdict.merkle_root,
                "anchored_to": verdict.anchored_to,
                "unanchored_from": verdict.unanchored_from,
            }
        )
        return
    say(in_words(verdict))
    say(f"Backed up to {to}.")
