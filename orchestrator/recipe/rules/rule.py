"""What a rule is: a code, and sentences for the person who reads its finding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["refuse", "ask"]
"""``refuse``: can't be approved. ``ask``: may be approved with a signed reason."""


@dataclass(frozen=True)
class Rule:
    """What one rule demands, in words for the person who reads its finding."""

    code: str
    severity: Severity
    demands: str
    because: str
    do_next: str


@dataclass(frozen=True)
class Problem:
    """One place where a rule isn't kept."""

    code: str
    path: str
    text: str
