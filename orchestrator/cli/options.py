"""Options and checks that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.kernel.errors import RefusedError

AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print for programs: one object, or one a line, and nothing else"),
]

DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Where everything is kept; else cellwright in $XDG_DATA_HOME or ~/.local/share",
    ),
]


class CallRefusedError(RefusedError):
    """What the command was called with doesn't fit. Nothing happened."""

    code = "refused.call"


class FileRefusedError(RefusedError):
    """A file isn't there, or this user can't read or write it. Nothing happened."""

    code = "refused.file"


def data_folder(given: Path | None) -> Path:
    """Return where everything is kept: as given, else this user's data folder."""
    if given is not None:
        return given
    base = os.environ.get("XDG_DATA_HOME", "")  # empty or relative counts as not set (XDG 0.8)
    home = Path(base) if Path(base).is_absolute() else Path("~/.local/share").expanduser()
    return home / "cellwright"


def journal_in(given: Path | None) -> Path:
    """Return the journal of a data folder that must hold one.

    Raises:
        FileRefusedError: It holds none, or it can't be read.
    """
    return readable(
        data_folder(given) / "journal.sqlite",
        what="read the journal",
        do_next="Name the folder with --data",
    )


def readable(path: Path, *, what: str, do_next: str = "Correct the path") -> Path:
    """Return ``path`` if it is a file that can be read.

    Raises:
        FileRefusedError: It isn't.
    """
    try:
        if path.is_dir():
            raise FileRefusedError(f"{what} {path}", why="it is a folder", do_next=do_next)
        with path.open("rb"):
            return path
    except OSError as failed:
        why = "there is no such file" if isinstance(failed, FileNotFoundError) else failed.strerror
        raise FileRefusedError(
            f"{what} {path}", why=why or str(failed), do_next=do_next
        ) from failed


def write_file(path: Path, content: str) -> None:
    """Write ``content`` to ``path``, replacing what is there.

    Raises:
        FileRefusedError: It can't be written.
    """
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as failed:
        raise FileRefusedError(
            f"write {path}", why=failed.strerror or str(failed), do_next="Give another path"
        ) from failed
