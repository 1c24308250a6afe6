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
NOW = 9
"""The version of what is so by now."""
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


CLEARED: dict[str, Any] = {
    **DOUBT,
    "task": "B-1/receive/transfer-station/clear",
    "text": "Clear the line",
    "ask": {"resources": ["rack"]},
    "left": [
        {"label": "L-1", "place": "rack", "joined": "port p1 of K-1"},
        {"label": "L-2", "place": "rack", "joined": ""},
    ],
}


class _Console:
    """A console on which one doubt stands, and a line to be cleared."""

    login = "d.one"

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []
        self.task = DOUBT
        self.deviations: list[dict[str, Any]] = []
        self.shown: dict[str, int] = {}
        """What the terminal has shown, and when; under "" the list."""

    def look(self, view: str) -> dict[str, Any]:
        if view == "people":
            return {"version": NOW, "people": [{"user": "U-7", "printed_name": "Devi Ashe"}]}
        if view == "batches":
            return {"version": NOW, "batches": []}
        tasks = {"tasks": [self.task, CLEARED], "scans": [], "holds": [], "alarms": []}
        return {
            "version": NOW,
            **(tasks if view == "work" else {"deviations": list(self.deviations)}),
        }

    def seen(self, thing: str) -> int:
        return max(self.shown.get(thing, -1), self.shown.get("", -1))

    def listed(self, version: int) -> None:
        self.shown = {"": version}

    def showed(self, thing: str, version: int) -> None:
        self.shown[thing] = version

    def did(self, thing: str, event: int) -> None:
        self.shown[thing] = event

    def give(self, command: str, *, seen: int, **arguments: Any) -> Given:
        self.given.append({"command": command, "seen": seen, **arguments})
        if command == "open_deviation":
            self.deviations.append({"deviation": "D-0004", "batch": arguments["batch"]})
        return Given(seq=NOW + 1)


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
    console.showed(TASK, 7)
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
    assert console.shown == {TASK: NOW}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (TASK, ("--found", "nothing")),
        (TASK, ("--take",)),
        (TASK, ("--decline", "it can't be done")),
        ("B-1", ("--command", "restart")),
        ("B-1", ("--command", "stop")),
    ],
)
@pytest.mark.requirement("SIG-09")
def test_nothing_is_decided_on_what_was_never_shown_here(
    console: _Console, capsys: pytest.CaptureFixture[str], name: str, said: tuple[str, ...]
) -> None:
    refused = call(capsys, "answer", name, *said)
    assert refused.status == 1
    assert "Look at what is so now (cellwright answer)" in refused.err
    assert not console.given
    assert call(capsys, "answer").status == 0
    assert call(capsys, "answer", name, *said).status == 0
    assert [one["seen"] for one in console.given] == [NOW]


def test_an_answer_says_what_was_shown_and_not_what_is_so_by_now(
    console: _Console, capsys: pytest.CaptureFixture[str]
) -> None:
    console.listed(5)
    assert call(capsys, "answer", TASK, "--found", "nothing").status == 0
    assert call(capsys, "answer", "B-1", "--command", "restart").status == 0
    assert call(capsys, "answer", TASK, "--found", "nothing", "--seen", "3").status == 0
    assert [one["seen"] for one in console.given] == [5, 5, 3]


def test_a_hold_waits_for_no_look(console: _Console, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "answer", "B-1", "--command", "hold").status == 0
    assert [one["seen"] for one in console.given] == [-1]


def test_who_carries_away_what_is_joined_is_told_so_and_says_that_they_sealed_it_off(
    console: _Console, capsys: pytest.CaptureFixture[str]
) -> None:
    task = CLEARED["task"]
    shown = call(capsys, "answer", task).out
    assert "L-1 is joined to port p1 of K-1: with --carried, --sealed-off" in shown
    assert "L-2 is joined" not in shown
    said = ("--carried", "L-1", "--sealed-off", "--at", "waste bin")
    assert "Carried away: L-1, sealed off first" in call(capsys, "answer", task, *said).out
    plain = call(capsys, "answer", task, "--carried", "L-2", "--at", "waste bin").out
    assert plain.endswith("Carried away: L-2\n")
    assert [one["sealed_off"] for one in console.given] == [True, False]


def test_work_that_was_reported_says_who_did_and_that_another_verifies(
    console: _Console, capsys: pytest.CaptureFixture[str]
) -> None:
    work: dict[str, Any] = {"work": "do", "status": "reported", "reported_by": "U-7", "to_read": []}
    console.task = {**DOUBT, **work, "task": "B-1/receive#1.1", "ask": {"report": ["volume"]}}
    called = call(capsys, "answer", "receive#1.1", "--done")
    assert called.status == 1
    assert "Devi Ashe reported it already" in called.err
    assert "another person" in called.err


def test_a_second_person_reads_why_the_first_statement_is_not_shown(
    console: _Console, capsys: pytest.CaptureFixture[str]
) -> None:
    console.task = {**DOUBT, "status": "reported", "reported_by": "U-7"}
    assert "isn't shown, on purpose" in call(capsys, "answer", TASK).out


def test_the_words_of_a_report_stand_with_the_option(
    console: _Console, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = {"report": ["leak"], "words": {"leak": ["none", "found"]}}
    console.task = {**DOUBT, "work": "do", "task": "B-1/connect#5.1", "ask": ask}
    assert '--enter "leak=none|found"' in call(capsys, "answer", "connect#5").out


@pytest.mark.parametrize(
    ("work", "command"),
    [("do", "report_task"), ("enter", "answer_task"), ("decide", "answer_task")],
)
def test_a_question_is_declined_by_who_may_answer_it(
    console: _Console, capsys: pytest.CaptureFixture[str], work: str, command: str
) -> None:
    """Quality answers questions, and reports no hand work."""
    console.task = {**DOUBT, "work": work, "task": "B-1/receive#1.1", "ask": {}}
    console.listed(NOW)
    assert call(capsys, "answer", "receive#1.1", "--decline", "too dark").status == 0
    (given,) = console.given
    assert (given["command"], given["declined"]) == (command, "too dark")


def test_an_opened_deviation_is_named(
    console: _Console, capsys: pytest.CaptureFixture[str]
) -> None:
    console.deviations.append({"deviation": "D-0003", "batch": "B-1"})
    called = call(capsys, "answer", "B-1", "--deviation", "the bag was warm")
    assert called.out.startswith("D-0004 is open")
