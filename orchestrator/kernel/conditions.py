"""The one type behind ``When``, ``Keep``, ``RepeatUntil`` and ``until``.

A condition is a reading with limits, a freshness and a time for which it must
hold. It is journaled by its edges only: in, out, stale, back.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from orchestrator.kernel.acts import AnyReading
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import Duration


class Edge(StrEnum):
    """A change of what a condition says."""

    IN = "in"
    OUT = "out"
    STALE = "stale"
    BACK = "back"


class Condition(Frozen):
    """``lowest <= reading <= highest``, seen within ``fresh_within``, for ``for_at_least``.

    ``lowest`` and ``highest`` are quantities as text, of the reading's own dimension.
    """

    reading: AnyReading
    lowest: str
    highest: str
    fresh_within: Duration
    for_at_least: Duration = Field(default=Duration.of_base(0))
