"""The allow-list admits a protocol and refuses everything else, before a line of it runs."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from orchestrator.kernel import quantities
from orchestrator.kernel.quantities import Quantity, Unit
from orchestrator.recipe import author
from orchestrator.recipe.rules import file
from orchestrator.recipe.rules.file import DIMENSIONS, IMPORTS, UNITS, WORDS, examine

EXAMPLE = Path(__file__).with_name("wash_and_seed.py")

HEAD = """
from orchestrator.kernel.quantities import hour, mL
from orchestrator.recipe import Writer, procedure
"""
PROTOCOL = (
    HEAD
    + """
@procedure(title="T", document="D", version="1")
def it(p: Writer) -> None:
    {line}
"""
)


def refused(source: str) -> list[tuple[str, int]]:
    return [(one.code, one.line) for one in examine(source.encode()).refused]


def test_a_real_protocol_is_admitted() -> None:
    found = examine(EXAMPLE.read_bytes())
    assert found.refused == []
    assert found.procedures == 1


@pytest.mark.parametrize(
    "line",
    [
        "x = 250 * mL + 1 * mL - 2 * mL",
        "for n in (1, 2, 3):\n        p.tube(f'tube {n}')",
        "for n, name in enumerate(('a', 'b')):\n        p.tube(name)",
        "for n in range(1, 5):\n        p.tube(f'tube {n}')",
        "bags = (p.tube('a'), p.tube('b'))\n    first = bags[0]",
        "with p.operation('A', longest_hold=2 * hour) as one:\n        pass",
    ],
)
def test_what_a_procedure_needs_is_admitted(line: str) -> None:
    assert refused(PROTOCOL.format(line=line)) == []


@pytest.mark.requirement("PRC-10")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("import socket", "P030"),
        ("from os import system", "P030"),
        ("while True:\n        pass", "P030"),
        ("if p:\n        pass", "P030"),
        ("try:\n        pass\n    except Exception:\n        pass", "P030"),
        ("x = [0] * 1000000000", "P030"),
        ("x = 'x' * 1000000000", "P030"),
        ("x = 10 ** 10", "P030"),
        ("x = 9999999999999999", "P030"),
        ("x = p.__class__", "P040"),
        ("x = p._open", "P040"),
        ("x = '{0.__class__}'.format(p)", "P040"),
        ("x = f'{p.__class__}'", "P030"),
        ("x = f'{p!r}'", "P030"),
        ("x = f'{p:>1000000000}'", "P030"),
        ("x = '%s' % p", "P030"),
        ("x = (lambda: 1)()", "P030"),
        ("x = [n for n in (1, 2)]", "P030"),
        ("x = {1: 2}", "P030"),
        ("x = open('/etc/passwd')", "P040"),
        ("x = eval('1')", "P040"),
        ("x = getattr(p, 'add')", "P040"),
        ("x = __builtins__", "P040"),
        ("x = print", "P040"),
        ("x = p.add", "P040"),
        ("x = p.fault", "P040"),
        ("x = b'bytes'", "P030"),
        ("x = 1j", "P030"),
        ("p.tube(**p)", "P030"),
        ("x = (y := 3)", "P030"),
        ("del p", "P030"),
        ("global q", "P030"),
        ("mL = 1000000000", "P040"),
        ("range = 3", "P040"),
        ("_x = 3", "P040"),
        ("for n in range(100000):\n        pass", "P030"),
        ("for a in range(900):\n        for b in range(900):\n            pass", "P030"),
        ("for n in p:\n        pass", "P030"),
        ("x = 5 * ml", "P040"),
        ("x = 5 * hours", "P040"),
        ("p.tub('a')", "P040"),
        ("it(p)", "P040"),
        ("x = yes", "P040"),
        ("p.x = 3", "P030"),
        ("async def f(): pass", "P030"),
        ("raise ValueError", "P030"),
        ("yield 1", "P030"),
        ("class A: pass", "P030"),
        ("def f(): pass", "P030"),
        ("match p:\n        case _: pass", "P030"),
        ("x = p if p else p", "P030"),
        ("x = not p", "P030"),
        ("x = p < p", "P030"),
        ("x: int = 3\n    x += 1", "P030"),
    ],
)
def test_what_a_procedure_does_not_need_is_refused(line: str, code: str) -> None:
    assert (code, 7) in refused(PROTOCOL.format(line=line)) or (code, 8) in refused(
        PROTOCOL.format(line=line)
    )


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("import os", "P020"),
        ("from os import path", "P020"),
        ("from . import thing", "P020"),
        ("from orchestrator.recipe.author import *", "P020"),
        ("from orchestrator.recipe.author import sys", "P040"),
        ("from orchestrator.recipe import procedure as make", "P020"),
        ("from orchestrator.engine.run import go", "P020"),
        ("from protocols.library.wash import _inner", "P020"),
        ("print('hello')", "P030"),
        ("x = 1", "P050"),
        ("", "P050"),
        ("x = (", "P010"),
        ("x = 1\0", "P010"),
        ("@staticmethod\ndef f(): pass", "P030"),
        ("def f(*more): pass", "P030"),
        ("def f():\n    f()", "P040"),
        (HEAD + "x = procedure(title='T')", "P050"),
        ("(" * 500 + ")" * 500, "P010"),
        ("x = " + "-" * 5000 + "1", "P010"),
        ("x = " + "+".join(["1"] * 5000), "P010"),
    ],
)
def test_a_file_that_is_no_protocol_is_refused(source: str, code: str) -> None:
    codes = {one for one, _ in refused(source)}
    assert code in codes or (code == "P010" and codes <= {"P010", "P030"} and codes)


def test_a_file_that_is_not_text_or_too_large_is_refused() -> None:
    assert examine(b"\xff\xfe").refused[0].code == "P010"
    assert examine(b"#" * (file.LARGEST_FILE + 1)).refused[0].code == "P010"


def test_the_nearest_word_is_named() -> None:
    assert (
        "did you mean 'mL'?" in examine(PROTOCOL.format(line="x = 5 * ml").encode()).refused[0].text
    )
    assert (
        "did you mean 'tube'?"
        in examine(PROTOCOL.format(line="p.tub('a')").encode()).refused[0].text
    )


def test_the_lists_are_what_the_author_can_say() -> None:
    """A word that is added to the author's must be added to the list, and no other."""
    units = {name for name, value in vars(quantities).items() if isinstance(value, Unit)}
    assert {name for name in units if not name.startswith("_")} == UNITS
    for name in DIMENSIONS - {"Range"}:
        assert issubclass(getattr(quantities, name), Quantity)
    for name in IMPORTS["orchestrator.recipe.author"]:
        assert getattr(author, name).__module__.startswith(
            ("orchestrator.recipe", "orchestrator.kernel.tasks")
        )
    for_verbs = {"add", "amount", "carries", "condition", "fault", "join", "joined_at", "kit_of"}
    for_verbs |= {
        "filling_of",
        "measured",
        "part",
        "passes",
        "position",
        "sampled_into",
        "value_names",
        "written",
        "abandoned",
    }
    spoken = {
        name
        for kind in (author.Writer, author.Turns, author.Branches, *author.units())
        for name, value in inspect.getmembers(kind)
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    }
    given = {"cd3", "confluence", "end", "engineered", "flush", "start", "vessel", "viability"}
    given |= {"viable_density", "volume", "waste"}
    assert (spoken - for_verbs) | given == WORDS
