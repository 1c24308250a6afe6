"""Where a command gets a password from: the keyboard without echo, or a file of this user alone.

Never an argument or the environment, which other programs can read.
"""

from __future__ import annotations

import os
import stat
import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated, Final

import typer

from orchestrator.cli.options import CallRefusedError, FileRefusedError

PASSWORD_BYTES_MAX: Final = 4096

PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="Read the password from the first line of a file that nobody else can read, or of "
        "/dev/fd/N",
    ),
]


def from_keyboard(prompt: str, *, instead: str = "--password-file") -> str:
    """Ask for a password at the terminal, which doesn't show it.

    Args:
        prompt: What stands before it.
        instead: The option for where nobody is at the keyboard.

    Raises:
        CallRefusedError: There is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise CallRefusedError(
            "ask for a password",
            why="nobody is at the keyboard",
            do_next=f"Give it with {instead}",
        )
    return getpass(prompt)


def from_input() -> str:
    """Return the next line of standard input.

    Raises:
        CallRefusedError: There is none.
    """
    line = sys.stdin.readline()
    if not line:
        raise CallRefusedError(
            "read a password",
            why="standard input ended before it",
            do_next="Give one line for each password",
        )
    return line.rstrip("\n")


def from_file(path: Path) -> str:
    """Return the first line of a file that is this user's alone, of a pipe or of a descriptor.

    Raises:
        FileRefusedError: It can't be read, or others can read it. Nothing was read.
    """
    what = f"read a password from {path}"
    try:
        with path.open("rb") as file:
            known = os.fstat(file.fileno())
            if stat.S_ISREG(known.st_mode) and (
                known.st_uid != os.getuid() or stat.S_IMODE(known.st_mode) & 0o077
            ):
                raise FileRefusedError(
                    what,
                    why="it is another user's, or others can read it",
                    do_next=f"Run: chmod 600 {path}",
                )
            line = file.readline(PASSWORD_BYTES_MAX)
    except OSError as failed:
        raise FileRefusedError(
            what, why=failed.strerror or str(failed), do_next="Give another file"
        ) from failed
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError as broken:
        raise FileRefusedError(
            what, why="it isn't text in UTF-8", do_next="Write it anew"
        ) from broken
