"""``cellwright answer`` asks for what a decision about hand work owes, and passes it on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from chain_of_identity.pre_printed import roll
from hw_mocks.seeds import seeded_bytes
from orchestrator.cli import answer
from orchestrator.kernel.desks import Given
from tests.unit.cli.builders import call

TASK = "B-1/receive#1.1/doubt"
LABEL = str(next(roll(seeded_bytes(3))))
DOUBT: dict[str, Any] = {
    "task": TASK,
    "work": "decide",
    "text": "hand_act is in doubt",
    "status": "offered",
    "taken_by": "",
    "reported_by": "",
    "due": "",
    "things": {},
    "evidence": {},
    "reported": {},
    "ask": {
        "choices": [{"name": "all", "leads_to": "it counts as done"}],
        "act": {"kind": "hand_act", "report": ["volume", "label"]},
    },
}


class _Console:
    """A console on which one doubt stands."""

    login = "d.one"
    seen = 7

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def look(self, view: str) -> dict[str, Any]:
        if view == "people":
            return {"version": 7, "people": []}
        tasks = {"tasks": [DOUBT], "scans": [], "holds": [], "alarms": []}
        return {"version": 7, **(tasks if view == "work" else {"deviations": []})}

    def saw(self, version: int) -> None:
        assert version == self.seen

    def give(self, command: str, *, seen: int, **arguments: Any) -> Given:
        self.given.append({"command": command, "seen": seen, **arguments})
        return Given(seq=8)


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> _Console:
    """Return what every call of the command talks to."""
    there = _Console()

    @contextmanager
    def at_console(*_: object) -> Generator[_Console]:
        yield there

    monkeypatch.setattr(answer, "at_console", at_console)
    return there


def test_what_the_hand_work_owes_goes_with_the_decision(
    console: _Console, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ("--found", "all", "--enter", "volume=185 mL", "--label", LABEL)
    assert call(capsys, "answer", TASK, *said).status == 0
    (given,) = console.given
    assert given == {
        "command": "reconcile",
        "seen": 7,
        "task": TASK,
        "verdict": "all",
        "done": "",
        "values": {"volume": "185 mL", "label": LABEL},
    }


def test_a_doubt_that_is_shown_names_what_is_owed(
    console: _Console, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = call(capsys, "answer", TASK)
    assert '--enter "volume=..." --label TEXT' in shown.out
    assert not console.given
