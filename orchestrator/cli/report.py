"""``cellwright report``: the batch record, from the journal alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, DataFolder, journal_in, write_file
from orchestrator.cli.printing import say, say_json, tell
from orchestrator.console.text_gate import shown
from orchestrator.records.batch_record import batch_record
from orchestrator.records.paper import on_paper


def run(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="The batch's identifier")],
    data: DataFolder = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it to a file, not to the terminal")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print the record of one batch: what was done, by whom, with what, and what stands open.

    It is made from the journal alone, so the daemon may run or be down, and the batch may
    run. Exit status 1 if the journal isn't sound; the record then holds what lies before the
    damage, and says so. With --json one object; its names are in
    docs/reference/batch-record.md.
    """
    journal = journal_in(data)
    record = batch_record(journal, batch)
    value = record.model_dump(mode="json")
    if out is not None:
        text = json.dumps(value, ensure_ascii=False) if as_json else on_paper(record)
        write_file(out, "\n".join(shown(line) for line in text.split("\n")))
    elif as_json:
        say_json(value)
    else:
        say(on_paper(record).rstrip("\n"))
    if record.verification.sound:
        return 0
    problem = next(iter(record.verification.problems), "no reason given")
    first_bad = record.verification.first_bad_seq
    where = "" if first_bad is None else f" from event {first_bad} on, and this is what lies before"
    tell(
        f"report {batch}: the journal isn't what was written{where} ({problem}). "
        "Work on a copy, and run `cellwright verify` on it."
    )
    return 1
