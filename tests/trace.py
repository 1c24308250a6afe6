"""Requirements and the tests that name them; what a pass on emulators leaves to prove.

Run as ``make trace``. The ids are those of ``tests/requirements.txt``; the tests are what pytest
collects, so a test that can't be collected is not evidence. Exit status: 0 printed, 3 the tests
could not be collected.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
LINE: Final = re.compile(r"(?P<identifier>[A-Z]{3}-\d{2})  (?P<title>\S.*)")


@dataclass(frozen=True, slots=True)
class Declared:
    """What one test says about itself."""

    name: str
    requirements: tuple[str, ...]
    cannot_show: tuple[str, ...]


def titles(path: Path = REQUIREMENTS) -> dict[str, str]:
    """Return the title of each requirement, in the order of the list.

    Raises:
        ValueError: A line is neither a comment nor an id with its title, or an id stands twice.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        match = LINE.fullmatch(line)
        if match is None or match["identifier"] in found:
            raise ValueError(f"{path.name}:{number}: want one new id and its title: {line!r}")
        found[match["identifier"]] = match["title"]
    return found


def declared_by(item: pytest.Item) -> Declared:
    """Return what ``item`` declares by its markers, its class's and its module's."""
    return Declared(
        # One name for all cases of one test.
        name=item.nodeid.partition("[")[0],
        requirements=_arguments(item, "requirement"),
        cannot_show=_arguments(item, "emulation_cannot_show"),
    )


def _arguments(item: pytest.Item, marker: str) -> tuple[str, ...]:
    given = (str(word) for mark in item.iter_markers(marker) for word in mark.args)
    return tuple(dict.fromkeys(given))


class _Collected:
    """A pytest plug-in that keeps what the collected tests declare."""

    def __init__(self) -> None:
        self.tests: list[Declared] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.tests = list(dict.fromkeys(map(declared_by, session.items)))


def report(known: dict[str, str], tests: list[Declared]) -> str:
    """Return the trace as text: proved, not yet named by a test, and not to be shown here."""
    proofs: dict[str, set[str]] = defaultdict(set)
    open_points: dict[str, set[str]] = defaultdict(set)
    for test in tests:
        for identifier in test.requirements:
            proofs[identifier].add(test.name)
        for point in test.cannot_show:
            open_points[point].add(test.name)
    named = [identifier for identifier in known if identifier in proofs]
    unnamed = [identifier for identifier in known if identifier not in proofs]
    lines = [f"Requirements that tests name: {len(named)} of {len(known)}"]
    for identifier in named:
        lines += [f"  {identifier}  {known[identifier]}"]
        lines += [f"            {name}" for name in sorted(proofs[identifier])]
    lines += ["", f"Requirements without a test: {len(unnamed)}"]
    lines += [f"  {identifier}  {known[identifier]}" for identifier in unnamed]
    lines += ["", f"What emulation can't show, for the site to prove: {len(open_points)}"]
    for point in sorted(open_points):
        lines += [f"  {point}"]
        lines += [f"            {name}" for name in sorted(open_points[point])]
    return "\n".join(lines)


def main() -> int:
    """Collect the tests and print the trace."""
    collected = _Collected()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = pytest.main(
            ["--collect-only", "-qqq", "-p", "no:cacheprovider", str(REQUIREMENTS.parent)],
            plugins=[collected],
        )
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        print(printed.getvalue(), file=sys.stderr)
        print("trace: the tests could not be collected; see above", file=sys.stderr)
        return 3
    print(report(titles(), collected.tests))
    return 0


if __name__ == "__main__":
    sys.exit(main())
