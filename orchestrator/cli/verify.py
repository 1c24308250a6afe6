"""``cellwright verify``: whether a journal is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, FileRefusedError, readable
from orchestrator.cli.printing import in_columns, say, say_json, tell
from orchestrator.journal.checkpoints import PublicKey
from orchestrator.journal.verify import Verdict, verify


def run(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A journal, or the data folder that holds it")
    ],
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The public key; else journal.pub beside the journal"),
    ] = None,
    witness: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder that its checkpoints were copied to"),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read each event as this version knows it")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Say whether a journal is what was written, from its stored bytes alone.

    Nothing is changed; the daemon may be at work. Exit status 0 if it is sound, 1 if not, 3
    if the file is no journal or the key file no key.
    With --json one object with sound, events, merkle_root, anchored_to, unanchored_from,
    unwitnessed_from, first_bad_seq and problems.
    """
    journal = path / "journal.sqlite" if path.is_dir() else path
    readable(journal, what="verify")
    if key is not None:
        _must_be_a_key(readable(key, what="verify with the key"))
    if witness is not None and not witness.is_dir():
        raise FileRefusedError(
            f"verify with the witness {witness}",
            why="there is no such folder",
            do_next="Correct the path",
        )
    verdict = verify(journal, key, deep=deep, witness=witness)
    if not verdict.is_journal:
        why = verdict.problems[0].removeprefix(f"{journal}: ")
        raise FileRefusedError(
            f"verify {journal}",
            why=f"this is not a journal: {why}",
            do_next="Name a journal or its data folder; if it was one, take its backup",
        )
    if as_json:
        say_json(
            {
                "sound": verdict.sound,
                "events": verdict.events,
                "merkle_root": verdict.merkle_root,
                "anchored_to": verdict.anchored_to,
                "unanchored_from": verdict.unanchored_from,
                "unwitnessed_from": verdict.unwitnessed_from,
                "first_bad_seq": verdict.first_bad_seq,
                "problems": list(verdict.problems),
            }
        )
    else:
        say(in_words(verdict))
    if verdict.sound:
        return 0
    where = "" if verdict.first_bad_seq is None else f", from event {verdict.first_bad_seq} on"
    tell(
        f"verify {journal}: it isn't what was written{where} ({verdict.problems[0]}). "
        "Work on a copy, keep the file as it is, and compare it with its backup."
    )
    return 1


def _must_be_a_key(file: Path) -> None:
    try:
        PublicKey.read(file.read_text("utf-8"))
    except ValueError as wrong:
        raise FileRefusedError(
            f"verify with the key {file}",
            why=f"the file is no key ({wrong})",
            do_next="Name the journal.pub that was put aside when the cell was set up",
        ) from wrong


def in_words(verdict: Verdict) -> str:
    """Return a verdict for people."""
    rows = [
        ("sound", "yes" if verdict.sound else "no"),
        ("events", str(verdict.events)),
    ]
    if verdict.events or verdict.sound:  # else it would be the root of nothing
        rows.append(("merkle root", verdict.merkle_root))
    rows.append(("anchored to", verdict.anchored_to))
    if verdict.unanchored_from is not None:
        rows.append(("no checkpoint covers", f"events from {verdict.unanchored_from} on"))
    if verdict.unwitnessed_from is not None:
        rows.append(("no witness has", f"events from {verdict.unwitnessed_from} on"))
    if verdict.first_bad_seq is not None:
        rows.append(("first bad event", str(verdict.first_bad_seq)))
    return "\n".join([in_columns(rows), *(f"- {problem}" for problem in verdict.problems)])
