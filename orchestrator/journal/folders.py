"""A file's name is durable only once its folder is synced."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Return when the names of the files in ``folder`` are on its disk.

    Raises:
        OSError: They may not be. What the files hold is another matter.
    """
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
