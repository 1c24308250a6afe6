"""``cellwright upgrade --check``: whether every open phase can go on with this version.

Run by the version that is to come, on the data folder of the one that runs, before the daemon
is started anew. Nothing is written.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from orchestrator.cli.options import AsJson, CallRefusedError, DataFolder, journal_in
from orchestrator.cli.printing import say, say_json, tell
from orchestrator.cli.status import read_known
from orchestrator.engine.engine import VERSION
from orchestrator.engine.rehearsal import Rehearsed, rehearse
from orchestrator.process_cell.config import load_cell

_OTHER: Final = {"engine": "another version", "cell": "another process cell file"}


def run(
    cell: Annotated[
        Path, typer.Argument(metavar="CELL", help="The process cell file that the daemon will run")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Go through each open phase; nothing is changed")
    ] = False,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> int:
    """Say whether each open phase of each running batch can go on with this version.

    Each is run on its recorded answers, and must ask what the record holds. Exit status 1 if
    one doesn't: that batch would stand still, the others would go on. With --json one object
    with version, to_be_bound (by batch, the bindings that two people must make anew: engine,
    cell) and phases (batch, path, phase, words, why; an empty why agrees).
    """
    if not check:
        raise CallRefusedError(
            "upgrade",
            why="an upgrade is to install a version and start its daemon; this checks it first",
            do_next="Say --check",
        )
    loaded = load_cell(cell)
    known = read_known(journal_in(data))
    if known.damage is not None:
        raise known.damage
    rehearsed = asyncio.run(rehearse(known.state, loaded.config, known.recipes))
    to_be_bound = {
        name: bindings
        for name, batch in sorted(known.state.batches.items())
        if batch.status in ("made", "running")
        and (
            bindings := [
                binding
                for binding, was, now in (
                    ("engine", batch.engine, VERSION),
                    ("cell", batch.cell, loaded.digest),
                )
                if was != now
            ]
        )
    }
    if as_json:
        say_json(
            {
                "version": VERSION,
                "to_be_bound": to_be_bound,
                "phases": [asdict(one) for one in rehearsed],
            }
        )
    else:
        say("\n".join([f"cellwright {VERSION}", *map(_line, rehearsed)]))
        if not rehearsed:
            say("No phase is open.")
        for name, bindings in to_be_bound.items():
            for binding in bindings:
                say(
                    f"{name} is bound to {_OTHER[binding]}: it will be held until two people bind "
                    f"it (cellwright amend {binding} {name})."
                )
    differ = list(dict.fromkeys(one.batch for one in rehearsed if not one.agrees))
    if not differ:
        return 0
    tell(
        f"upgrade to {VERSION}: {', '.join(differ)} would stand still. "
        "Let it end on the version that began it, and upgrade then."
    )
    return 1


def _line(one: Rehearsed) -> str:
    where = f"{one.batch} {one.path} ({one.phase})"
    return f"{where}: agrees, {one.words} words" if one.agrees else f"{where}: {one.why}"
