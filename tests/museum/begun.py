"""A plug-in of pytest that writes down which test was begun last, since a hung one is killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

FILE: Final = "MUSEUM_BEGUN"
"""The variable that names the file."""


def pytest_runtest_logstart(nodeid: str) -> None:
    """Write its name down before it runs."""
    Path(os.environ[FILE]).write_text(nodeid)
