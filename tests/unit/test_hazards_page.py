"""``docs/hazards.md``: each test that it names exists, and no hazard is left out or told twice."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "hazards.md").read_text("utf-8")
HAZARDS = 33
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 30, "the form of the page's test names has changed"


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_each_test_that_the_page_names_exists(path: str, name: str) -> None:
    functions = {
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in functions


def test_each_hazard_is_either_controlled_partly_controlled_or_not_yet() -> None:
    told = re.findall(r"^(?:### |\| )(H\d+)\b", PAGE, re.MULTILINE)
    assert sorted(told, key=lambda name: int(name[1:])) == [f"H{n}" for n in range(1, HAZARDS + 1)]


def test_what_is_called_controlled_names_a_test() -> None:
    for section in re.split(r"^### ", PAGE.partition("\n## Not controlled yet")[0], flags=re.M)[1:]:
        assert re.search(r"`tests/[\w/]+\.py::\w+`", section), section.partition("\n")[0]
