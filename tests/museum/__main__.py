"""Show each exhibit to the suite, and say which test caught it: ``make museum``.

The source is copied, one fault is planted in the copy, and its suspects run there till the
first that fails; that test must pass on a copy without the fault. What they let through is a
hole in the suite, and the exit status says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.museum import begun as begun_plugin
from tests.museum.exhibits import EXHIBITS, Edit, Exhibit

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = ("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile")
FOLDERS: Final = (
    "chain_of_identity",
    "devices",
    "docs",
    "hw_mocks",
    "orchestrator",
    "protocols",
    "tests",
)
ALL_S_MOST: Final = 600.0


class UnfitError(AssertionError):
    """An exhibit's source no longer stands as it says: it must be written anew."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What came of showing one exhibit."""

    exhibit: Exhibit
    caught_by: str
    wall_s: float
    why_not: str = ""

    def __str__(self) -> str:
        how = f"caught by {self.caught_by}" if self.caught_by else f"NOT CAUGHT {self.why_not}"
        return f"{self.exhibit.name:<38} {self.wall_s:5.0f} s  {how}"


def planted(source: str, edit: Edit) -> str:
    """Return a file's text with the fault in it.

    Raises:
        UnfitError: What is to be replaced doesn't stand there exactly once.
    """
    if source.count(edit.stands) != 1:
        raise UnfitError(f"{edit.file}: stands {source.count(edit.stands)} times: {edit.stands!r}")
    return source.replace(edit.stands, edit.planted)


def plant(exhibit: Exhibit, root: Path) -> None:
    """Plant a fault in the source under ``root``."""
    for edit in exhibit.edits:
        path = root / edit.file
        path.write_text(planted(path.read_text(), edit))


def _copy(to: Path) -> None:
    skipped = shutil.ignore_patterns("__pycache__", ".*")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, to / folder, ignore=skipped)
    for name in COPIED:
        shutil.copy(ROOT / name, to / name)


def _first_failure(root: Path, tests: Iterable[str]) -> str:
    """Return the first test that fails there; empty if none does."""
    begun = root / "begun"
    begun.unlink(missing_ok=True)
    plugins = ("-p", "no:cacheprovider", "-p", begun_plugin.__name__)
    command = (sys.executable, "-m", "pytest", "-x", "-q", *plugins)
    bounded = ("--timeout=90", "--timeout-method=thread")  # also what catches all errors ends
    asked = (*command, *bounded, "-n", "0", "-m", "not release_proof", *tests)
    env = {**os.environ, "PYTHONPATH": str(root), begun_plugin.FILE: str(begun)}
    with subprocess.Popen(
        asked, cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        try:
            said, _ = running.communicate(timeout=ALL_S_MOST)
        except subprocess.TimeoutExpired:
            running.kill()
            said, _ = running.communicate()
    if running.returncode == 0:
        return ""
    if not begun.exists():
        raise UnfitError(f"the tests couldn't run there:\n{said[-2000:]}")
    return begun.read_text()


def show(exhibit: Exhibit, folder: Path) -> Shown:
    """Return which test catches an exhibit."""
    began = time.monotonic()
    root = folder / exhibit.name
    _copy(root)
    without = {edit.file: (root / edit.file).read_text() for edit in exhibit.edits}
    plant(exhibit, root)
    why_not = ""
    try:
        caught_by = _first_failure(root, exhibit.suspects)
        for file, text in without.items():
            (root / file).write_text(text)
        if caught_by and _first_failure(root, (caught_by,)):
            caught_by, why_not = "", f"{caught_by} fails without the fault too"
    except UnfitError as unfit:
        caught_by, why_not = "", str(unfit)
    shutil.rmtree(root)
    return Shown(exhibit, caught_by, time.monotonic() - began, why_not)


def main() -> int:
    """Show all, or those that are named; return how many were not caught."""
    asked = argparse.ArgumentParser(prog="python -m tests.museum", description=__doc__)
    asked.add_argument("names", nargs="*", help="exhibits; all without")
    asked.add_argument("--workers", type=int, default=2)
    told = asked.parse_args()
    chosen = [one for one in EXHIBITS if not told.names or one.name in told.names]
    with (
        tempfile.TemporaryDirectory(prefix="museum-") as folder,
        ThreadPoolExecutor(told.workers) as pool,
    ):
        shown: list[Shown] = []
        for ended in as_completed([pool.submit(show, one, Path(folder)) for one in chosen]):
            shown.append(ended.result())
            print(shown[-1], flush=True)
    missed = sum(not one.caught_by for one in shown)
    print(f"{len(shown)} exhibits, {len(shown) - missed} caught, {missed} not caught")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
