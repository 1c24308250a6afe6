"""What is asked of people, in one record (design section 7).

A task is offered, taken by one person, reported with evidence, and verified by
another where that is owed. Hand work, entries, decisions and verifications differ
in their kind only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import Field

from orchestrator.kernel.acts import AnyAct
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import UserId
from orchestrator.kernel.quantities import Duration

NOT_DONE: Final = "not done"
"""The choice that reports hand work as not done at all; the value ``why`` says why."""

REJECTED: Final = "rejected"
"""The choice by which hand work is settled that somebody says isn't as it was reported."""

LABEL: Final = "label"
"""The value of a report that says which label was stuck on: nobody else may report that one."""

OVER: Final = ("done", "withdrawn")
"""The statuses of a task that nobody owes anything of any more."""

DOUBT: Final = "/doubt"
"""How the name of a task ends that asks what an attempt in doubt did."""

LATE: Final = "/late"
"""How the name of a task ends that asks what a late report of hand work means."""

CLEARANCE: Final = "/clear"
"""How the name of a task ends that clears a line."""

VERIFICATION: Final = "/verify"
"""How the name of a task ends that has an automated phase verified."""


class TaskKind(StrEnum):
    """What a task asks for."""

    DO = "do"  # hand work on material
    ENTER = "enter"  # a value that a person reads or was told
    DECIDE = "decide"  # one of several choices; a hold's question is one
    VERIFY = "verify"  # that an automated phase was done as its record says


class Entry(Frozen):
    """One value that a task asks for."""

    name: str
    lowest: str = Field(default="", description="Quantity as text; empty where it is free text")
    highest: str = ""
    choices: tuple[str, ...] = ()


class Choice(Frozen):
    """One answer to a decision, and what it leads to."""

    name: str
    leads_to: str


class Question(Frozen):
    """Words asked of people: enter, choose, confirm, sign. Moves nothing."""

    kind: TaskKind
    text: str
    entries: tuple[Entry, ...] = ()
    choices: tuple[Choice, ...] = ()
    evidence: dict[str, str] = {}
    second_person: bool = False
    respond_within: Duration


class Answer(Frozen):
    """What people answered: by whom, and by whom verified."""

    values: dict[str, str] = {}
    choice: str = ""
    by: UserId
    verified_by: UserId | None = None


class Handover(Frozen):
    """Hand work as it is offered: the act, and what to report of it."""

    act: AnyAct
    evidence: dict[str, str] = {}
