"""No phase awaits anything but the four words, or reaches for what the layers forbid it.

Method: the syntax tree of each file in ``orchestrator/phases``; and the lint is shown to
find each fault in a text that has it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import orchestrator.phases

WORDS: Final = ("do", "see", "until", "ask")
MAY_IMPORT: Final = (
    "__future__",
    "chain_of_identity",
    "collections.abc",
    "devices.interfaces",
    "enum",
    "orchestrator.journal.events",
    "orchestrator.kernel",
    "orchestrator.phases",
    "pydantic",
    "re",
    "typing",
)
FILES: Final = sorted(Path(next(iter(orchestrator.phases.__path__))).glob("*.py"))


def faults(source: str) -> Iterator[str]:
    """Yield what a phase file may not hold."""
    tree = ast.parse(source)
    ours = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if not _is_one_of(module, MAY_IMPORT):
                yield f"imports {module}"
            if module.startswith("orchestrator.phases"):
                ours |= {name.asname or name.name for name in node.names}
        elif isinstance(node, ast.Import):
            for name in node.names:
                if not _is_one_of(name.name, MAY_IMPORT):
                    yield f"imports {name.name}"
        elif isinstance(node, ast.AsyncFunctionDef):
            ours.add(node.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFor | ast.AsyncWith):
            yield "waits by for or with"
        elif isinstance(node, ast.Await) and not _is_a_word(node.value, ours):
            yield f"awaits {ast.unparse(node.value)}"


def _is_one_of(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in allowed)


def _is_a_word(value: ast.expr, ours: set[str]) -> bool:
    if not isinstance(value, ast.Call):
        return False
    match value.func:
        case ast.Attribute(value=ast.Name(id="outside"), attr=word):
            return word in WORDS
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return name in ours
        case ast.Name(id=name):
            return name in ours
        case _:
            return False


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_phase_awaits_the_four_words_only(path: Path) -> None:
    assert list(faults(path.read_text())) == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import asyncio", "imports asyncio"),
        ("import random", "imports random"),
        ("import time", "imports time"),
        ("from datetime import datetime", "imports datetime"),
        ("from devices.drivers import hands", "imports devices.drivers"),
        ("from orchestrator.journal.journal import x", "imports orchestrator.journal.journal"),
        ("async def f(outside):\n    await outside.sleep(1)", "awaits outside.sleep(1)"),
        ("async def f(outside):\n    await other.do(1)", "awaits other.do(1)"),
        ("async def f(outside):\n    await g()", "awaits g()"),
        ("async def f(outside):\n    await outside", "awaits outside"),
        ("async def f(x):\n    async for y in x:\n        pass", "waits by for or with"),
        ("async def f(x):\n    async with x:\n        pass", "waits by for or with"),
    ],
)
def test_the_lint_finds_what_a_phase_may_not_do(source: str, fault: str) -> None:
    assert list(faults(source)) == [fault]


def test_the_lint_looks_at_every_kind_of_phase() -> None:
    assert len(FILES) > 30
