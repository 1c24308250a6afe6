"""Folders that commands make, for their user alone."""

from __future__ import annotations

from pathlib import Path

from orchestrator.cli.options import FileRefusedError


def made_folder(folder: Path) -> Path:
    """Return ``folder``, absolute; make it, for this user alone, if it isn't there.

    Raises:
        FileRefusedError: It can't be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder.resolve()
    except OSError as failed:
        raise FileRefusedError(
            f"keep data in {folder}",
            why=failed.strerror or str(failed),
            do_next="Name another folder with --data",
        ) from failed
