"""``cellwright restore``: the journal put back from a backup, while its daemon is down.

What is on record after the backup is lost by it and was done all the same, so two people sign it,
and nothing moves afterwards before people have looked. What it would do is shown before anybody
is asked for a password.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.options import (
    AsJson,
    CallRefusedError,
    DataFolder,
    data_folder,
    readable,
)
from orchestrator.cli.passwords import from_input, from_keyboard
from orchestrator.cli.printing import in_columns, say, say_json, tell
from orchestrator.journal.witness import WitnessContradictsError, WitnessDamagedError
from orchestrator.kernel.instants import SystemClock
from orchestrator.process_cell.restore import (
    Prepared,
    carried_out,
    prepared,
    recognised,
    signed,
    told_to_witness,
)


def run(
    backup: Annotated[Path, typer.Option("--from", metavar="FILE", help="The backup")],
    data: DataFolder = None,
    witness: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder that checkpoints are copied to"),
    ] = None,
    performed_by: Annotated[
        str | None,
        typer.Option(metavar="LOGIN", help="Who restores: a supervisor or maintenance"),
    ] = None,
    verified_by: Annotated[
        str | None,
        typer.Option(metavar="LOGIN", help="Who verifies it: another person, of quality"),
    ] = None,
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin",
            help="Read the two passwords from standard input, one a line, in this order",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is missing in it, and change nothing")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put the journal of a data folder back from FILE; the daemon is down.

    What was there is kept beside it. What ran is held, and each container is scanned and each
    instrument looked at before anything moves. With --json one object with events, merkle_root,
    anchored_to, unanchored_from, missing_from, known, known_at, there, epoch, restored and kept.
    """
    folder = data_folder(data)
    source = readable(backup, what="restore from").absolute()
    if not dry_run and (performed_by is None or verified_by is None):
        raise CallRefusedError(
            f"restore {folder}",
            why="two people sign it",
            do_next="Give --performed-by LOGIN and --verified-by LOGIN, or --dry-run to look",
        )
    clock = SystemClock()
    with prepared(source, folder, witness) as restore:
        if not as_json:
            say(_in_words(restore))
        if dry_run or performed_by is None or verified_by is None:
            if as_json:
                say_json(_as_json(restore, restored=False, kept=None))
            return
        performed = recognised(
            restore, performed_by, _password(performed_by, password_stdin), clock
        )
        verified = recognised(restore, verified_by, _password(verified_by, password_stdin), clock)
        event = signed(restore, performed, verified, clock)
        kept = asyncio.run(carried_out(restore, event, clock))
        _tell_witness(restore)
        if as_json:
            say_json(_as_json(restore, restored=True, kept=kept))
            return
        if kept is not None:
            say(f"What was there is kept as {kept}.")
        say(
            f"Restored, in epoch {restore.epoch}. Start the daemon"
            f"{' with --witness' if witness is not None else ''}; what ran is held, and each "
            "instrument must be looked at and each container scanned."
        )


def _tell_witness(restore: Prepared) -> None:
    try:
        told_to_witness(restore)
    except (OSError, WitnessContradictsError, WitnessDamagedError) as failed:
        tell(
            f"begin epoch {restore.epoch} at the witness: {failed}. The journal is restored; the "
            "next start with --witness tries again."
        )


def _password(login: str, on_input: bool) -> str:
    if on_input:
        return from_input()
    return from_keyboard(f"Password of {login}: ", instead="--password-stdin")


def _missing(restore: Prepared) -> str:
    events, known = restore.verdict.events, restore.known
    if known is None:
        return "nobody knows: it has no witness, and there is no journal to compare with"
    if known <= events:
        return "none that is known"
    newest = restore.newest_known
    until = "" if newest is None else f", up to {newest.at}"
    lost = f"event {known}" if known == events + 1 else f"events {events + 1} to {known}"
    return f"at least {lost}{until}"


def _in_words(restore: Prepared) -> str:
    verdict = restore.verdict
    rows = [
        ("host", str(restore.host)),
        ("events in the backup", f"{verdict.events}, the last of {restore.last}"),
        ("merkle root", verdict.merkle_root),
        ("anchored to", verdict.anchored_to),
    ]
    if verdict.unanchored_from is not None:
        rows.append(("no checkpoint covers", f"events from {verdict.unanchored_from} on"))
    rows.append(("missing", _missing(restore)))
    if restore.there is not None:
        rows.append(("the journal there now", f"{restore.there[0]} events, which it replaces"))
    running = [name for name, one in restore.state.batches.items() if one.status == "running"]
    rows.append(("batches that will be held", ", ".join(running) or "none"))
    rows.append(("epoch that it opens", str(restore.epoch)))
    return in_columns(rows)


def _as_json(restore: Prepared, *, restored: bool, kept: Path | None) -> dict[str, Any]:
    verdict, newest = restore.verdict, restore.newest_known
    known = restore.known
    return {
        "events": verdict.events,
        "merkle_root": verdict.merkle_root,
        "anchored_to": verdict.anchored_to,
        "unanchored_from": verdict.unanchored_from,
        "missing_from": verdict.events + 1 if known and known > verdict.events else None,
        "known": known,
        "known_at": None if newest is None else str(newest.at),
        "there": None if restore.there is None else restore.there[0],
        "epoch": restore.epoch,
        "restored": restored,
        "kept": None if kept is None else str(kept),
    }
