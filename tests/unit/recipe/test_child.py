"""The second net: what the child process can't do even if the allow-list had let it through.

Method: sources are given to the child directly, past the list.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orchestrator.recipe import child
from orchestrator.recipe.child import Answer, Child, Told

EXAMPLE = Path(__file__).with_name("wash_and_seed.py")


def run(source: str) -> Answer | Told:
    with Child() as one:
        return one.run({"protocol": ("it.py", source)})


def test_a_protocol_writes_its_recipe_with_the_lines_beside_it() -> None:
    answer = run(EXAMPLE.read_text())
    assert isinstance(answer, Answer)
    assert answer.faults == ()
    assert answer.places["connect/connect/01-verify-identity"][0] == "it.py"
    line = answer.places["connect/connect/01-verify-identity"][1]
    assert "verify_identity" in EXAMPLE.read_text().splitlines()[line - 1]


@pytest.mark.requirement("PRC-10")
@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("import socket", "P040"),
        ("from os import system", "P040"),
        ("open('/etc/passwd')", "P040"),
        ("x = bytearray(1)", "P040"),
        ("x = [0] * (1 << 30)", "P080"),
        ("def f():\n    return f()\nf()", "P080"),
        ("x = 1", "P050"),
    ],
)
def test_what_gets_past_the_list_still_reaches_nothing(source: str, rule: str) -> None:
    told = run(source)
    assert isinstance(told, Told)
    assert told.rule == rule


def test_an_endless_loop_is_killed_with_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the wall time that it waits for: here 1.5 s instead of 5."""
    monkeypatch.setattr(child, "WALL_S_MAX", 1.5)
    began = time.monotonic()
    with Child() as one:
        told = one.run({"protocol": ("it.py", "while True:\n    pass")})
    assert isinstance(told, Told)
    assert told.rule == "P080"
    assert one.exit_status == -9
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "attempt",
    [
        "posix.open('/etc/hostname', posix.O_RDONLY)",
        "posix.open('/tmp/cellwright-escape', posix.O_WRONLY | posix.O_CREAT)",
        "posix.pipe()",
        "posix.memfd_create('x')",
    ],
)
def test_no_descriptor_can_be_opened_by_whatever_way(attempt: str) -> None:
    """Even with the system calls in hand, reached through Python's own importer."""
    source = f"""
for one in ().__class__.__base__.__subclasses__():
    if one.__name__ == "BuiltinImporter":
        posix = one.load_module("posix")
{attempt}
"""
    told = run(source)
    assert isinstance(told, Told)
    assert "Too many open files" in told.text


def test_an_answer_beyond_its_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "ANSWER_BYTES_MAX", 100)
    told = run(EXAMPLE.read_text())
    assert isinstance(told, Told)
    assert told.rule == "P080"
