"""``docs/how-to/amend-a-batch.md`` is followed on real wires, and prints what it says.

Method: as of the page that it goes on from (``test_run_a_batch.py``); what is added is then on
record as the batch's recipe.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.simulation.people import Commands, a_cell_at_work
from tests.simulation.test_run_a_batch import PACE, PROTOCOL, is_as_said, steps

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "amend-a-batch.md"
BLOCKS = re.findall(r"^    ```(\w+)\n(.*?)^    ```$", PAGE.read_text("utf-8"), re.M | re.S)
(ADDENDUM,) = [dedent(text) for language, text in BLOCKS if language == "python"]


def own_steps() -> Iterator[tuple[list[str], str]]:
    """Yield each call of the page, and what the page says that it prints."""
    for language, text in BLOCKS:
        for part in re.split(r"^\$ ", dedent(text), flags=re.MULTILINE)[1:]:
            call, _, printed = part.partition("\n")
            if language == "console":
                yield shlex.split(call)[1:], printed


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder with a short path, as a socket's has to be."""
    made = Path(tempfile.mkdtemp(prefix="cw-"))
    yield made
    shutil.rmtree(made)


@pytest.mark.release_proof
def test_the_page_leads_to_an_amended_batch(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = Commands(folder, monkeypatch, capsys)
    (folder / "dilute.py").write_text(PROTOCOL, "utf-8")
    (folder / "thin.py").write_text(ADDENDUM, "utf-8")
    (first, _), *before = steps()
    commands.printed(*first)
    with a_cell_at_work(folder, protocol=folder / "dilute.py", pace=PACE):
        for call, _ in before:
            commands.printed(*call)
            if call[0] == "order":
                break
        for call, said in own_steps():

            def holds(printed: str, said: str = said) -> bool:
                return is_as_said(printed, said)

            printed = commands.printed_once(holds, *call)
            assert is_as_said(printed, said), f"{' '.join(call)} printed\n{printed}"
        assert "made; proposed by Sam Pryce" in commands.printed("amend", "show", "B-001")
