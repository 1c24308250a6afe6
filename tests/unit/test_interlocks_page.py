"""``docs/reference/interlocks.md`` names each interlock, and each reason that it refuses for.

Method: what the code can answer is read from its syntax trees; what a refusal fills in is an
ellipsis on the page.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chain_of_identity.gate import BREAKS
from orchestrator.engine.interlocks.all_interlocks import INTERLOCKS
from orchestrator.engine.interlocks.permit import Interlock

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "interlocks.md"


def _sections() -> dict[str, str]:
    parts = re.split(r"^## `(\w+)`\n", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _refusals(interlock: Interlock) -> set[str]:
    tree = ast.parse(Path(inspect.getfile(interlock)).read_text("utf-8"))
    return {
        text
        for node in ast.walk(tree)
        if isinstance(node, ast.Return)
        for text in _texts(node.value)
    }


def _texts(value: ast.expr | None) -> Iterator[str]:
    if isinstance(value, ast.JoinedStr):
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else "…" for part in value.values
        )
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value


def test_the_page_has_each_interlock_in_the_order_of_its_refusals() -> None:
    assert list(_sections()) == [interlock.__name__ for interlock in INTERLOCKS]


@pytest.mark.parametrize("interlock", INTERLOCKS, ids=lambda interlock: interlock.__name__)
def test_the_page_has_each_refusal_and_no_other(interlock: Interlock) -> None:
    section = _sections()[interlock.__name__].partition("\n## ")[0]
    assert set(re.findall(r"^- `(.+)`$", section, re.MULTILINE)) == _refusals(interlock)


@pytest.mark.parametrize("interlock", INTERLOCKS, ids=lambda interlock: interlock.__name__)
def test_the_page_says_what_the_code_says_of_each(interlock: Interlock) -> None:
    sentence = (interlock.__doc__ or "").partition("\n")[0]
    assert sentence
    assert sentence in " ".join(_sections()[interlock.__name__].split())


def test_the_page_has_each_break_of_carried_identity() -> None:
    for why in BREAKS.values():
        assert f"| {why} |" in PAGE.read_text("utf-8")
