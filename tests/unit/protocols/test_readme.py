"""What ``protocols/README.md`` shows is what happens.

Method: the file that it has people save is taken out of the page, checked, broken in the
three ways it says, and run on the emulated cell.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from hw_mocks.scenario import KITS, REAGENTS
from orchestrator.cli.cells import SHIPPED, Offers, load
from orchestrator.process_cell.simulation import simulate
from orchestrator.recipe.calculations import FORMULAS
from orchestrator.recipe.check import check_file
from orchestrator.recipe.render import render
from orchestrator.recipe.rules.file import IMPORTS
from tests.unit.protocols.play import PROTOCOLS

PAGE: Final = (PROTOCOLS / "README.md").read_text(encoding="utf-8")
NAME: Final = "protocols/seed_and_feed.py"


def example() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    return code


def saved(folder: Path, text: str) -> Path:
    file = folder / "seed_and_feed.py"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_example_has_nothing_wrong(tmp_path: Path) -> None:
    cell = Offers(load(SHIPPED / "reference.toml").config)
    assert check_file(saved(tmp_path, example()), cell).findings == ()


@pytest.mark.parametrize(
    ("written", "broken"),
    [
        (r"volume=300 \* mL", "volume=900 * mL"),
        (r"volume=300 \* mL", "volume=300 * hour"),
        (r"\n *station\.connect\(fresh[^\n]*", ""),
    ],
    ids=["too much", "a time for a volume", "not connected"],
)
def test_what_is_broken_is_told_as_the_page_tells_it(
    written: str, broken: str, tmp_path: Path
) -> None:
    file = saved(tmp_path, re.sub(written, broken, example()))
    found = [str(one).replace(str(file), NAME) for one in check_file(file).findings]
    assert found
    assert "$ cellwright check protocols/seed_and_feed.py\n" + "\n".join(found) + "\n```" in PAGE


def test_it_reads_as_the_page_shows(tmp_path: Path) -> None:
    recipe = check_file(saved(tmp_path, example())).recipe
    assert recipe is not None
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert shown in render(recipe)


def test_it_runs_on_the_emulated_cell(tmp_path: Path) -> None:
    """A whole batch through the real engine: two seconds."""
    recipe = check_file(saved(tmp_path, example())).recipe
    assert recipe is not None
    outcome = simulate(recipe, tmp_path / "data", seed=1)
    assert (outcome.status, outcome.holds, outcome.still_open) == ("complete", 0, [])
    assert (outcome.comparison.repeated_acts, outcome.comparison.lost_acts) == (0, 0)


def test_the_page_names_what_there_is() -> None:
    assert all(f"`{name}`" in PAGE for name in REAGENTS if name != "expansion-medium")
    assert all(f"`{name}`" in PAGE for name in KITS if name != "culture-kit")
    words = {word for word in IMPORTS["orchestrator.recipe.author"] if "_" in word}
    assert all(f"`{word}`" in PAGE for word in words)
    assert len(words) == len(FORMULAS)
