"""What becomes of bags whose freezing was interrupted: a table by phase of the curve.

The rows stand in ``freezing_rescue.toml`` beside this file, each with its reason and source;
its temperatures are shipped defaults until the site sets its own in the process cell file.
A segment that was begun is never begun again, by nobody's word: a stage that runs on is
waited for, and one that stopped is held for two people, whom the row tells what to do.

The phase is told from what is surely known: where the segment began, how long ago, and what
the stage shows now. Where that leaves two phases possible the graver one is taken.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from devices.interfaces.controlled_freezing import RampSegment, is_stopped, temperature_of
from orchestrator.engine.state import AttemptState
from orchestrator.kernel.acts import Act, Facts
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import Duration, Temperature, TemperatureChange
from orchestrator.kernel.tasks import Choice
from orchestrator.process_cell.config import FreezingRescue

FILE: Final = Path(__file__).with_name("freezing_rescue.toml")

DEFAULT: Final = "shipped default, not set by this site"

Phase = Literal[
    "above nucleation", "in the plateau", "on the ramp", "at the end", "not to be read", "after it"
]

LEADS_TO: Final[Mapping[str, str]] = {
    "all": "the segment counts as done; the curve goes on if it wasn't the last",
    "part": "cooling ended at the temperature that you state; the rest of the curve isn't run, "
    "and the bags go on to the next step under a deviation",
}
"""What may be found of a segment in doubt. It is never asked for again."""


class Shipped(Frozen):
    """One temperature of the table as it is shipped."""

    value: str
    means: str
    source: str


class Row(Frozen):
    """What is to be done in one phase of the curve."""

    phase: Phase
    when: str
    choices: tuple[Literal["all", "part"], ...]
    do: str
    reason: str
    source: str


class Table(Frozen):
    """The table as it is shipped."""

    temperatures: dict[str, Shipped]
    rows: tuple[Row, ...]

    def row(self, phase: Phase) -> Row:
        """Return the row of one phase."""
        return next(row for row in self.rows if row.phase == phase)


@cache
def shipped() -> Table:
    """Return the table as it is shipped."""
    return Table.model_validate(tomllib.loads(FILE.read_text("utf-8")))


@dataclass(frozen=True, slots=True)
class Rescue:
    """The row that holds for one interruption, and what it rests on."""

    row: Row
    rests_on: Mapping[str, str]

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Return what people may have found."""
        return tuple(Choice(name=one, leads_to=LEADS_TO[one]) for one in self.row.choices)

    @property
    def in_words(self) -> str:
        """Return what people read: which row, what to do, and why."""
        figures = "; ".join(f"{name} {value}" for name, value in self.rests_on.items())
        return (
            f"Freezing was interrupted {self.row.phase}. {self.row.do}. Why: {self.row.reason} "
            f"(freezing rescue table: {figures})"
        )


class RescueTable:
    """The table with one site's temperatures."""

    def __init__(self, site: FreezingRescue) -> None:
        """Take the site's own temperatures, and the shipped ones where it states none."""
        stated = {name: getattr(site, name) for name in shipped().temperatures}
        self._own = {name: str(value) for name, value in stated.items() if value is not None}
        self.ice_forms_below = Temperature.read(self._value("ice_forms_below"))
        self.ice_formed_by = Temperature.read(self._value("ice_formed_by"))
        self._begins_within = TemperatureChange.read(self._value("begins_within"))

    def why_not_begun(self, act: Act, shown: Facts) -> str:
        """Return why a later segment of a curve can't begin where the stage is; empty if it can.

        The first may begin wherever people had it begin.
        """
        if not isinstance(act, RampSegment) or not act.containers or act.begins_at is None:
            return ""
        stands_at = temperature_of(shown)
        if is_stopped(shown) or stands_at is None:
            return "the stage was stopped since the segment before it"
        if abs(stands_at - act.begins_at) > self._begins_within:
            return (
                f"the stage stands at {stands_at}; the segment before it ended at {act.begins_at}"
            )
        return ""

    def of_attempt(
        self, act: Act, attempt: AttemptState, *, lasted: Duration | None
    ) -> Rescue | None:
        """Return what to do about an attempt in doubt; None if it isn't the freezing of bags.

        Args:
            act: What was attempted.
            attempt: With what the stage showed before and shows now.
            lasted: How long ago it was intended, at most; None if nobody knows.
        """
        if not isinstance(act, RampSegment) or not act.containers:
            return None
        phase = self.phase(
            act, began_at=temperature_of(attempt.before), lasted=lasted, shown=attempt.after
        )
        return self.of_phase(phase)

    def of_phase(self, phase: Phase) -> Rescue:
        """Return the row of a phase, with the temperatures that it rests on."""
        figures = {
            f"{name} {self._value(name)}": "set by this site" if name in self._own else DEFAULT
            for name in ("ice_forms_below", "ice_formed_by")
        }
        return Rescue(shipped().row(phase), figures)

    def phase(
        self,
        act: RampSegment,
        *,
        began_at: Temperature | None,
        lasted: Duration | None,
        shown: Facts,
    ) -> Phase:
        """Return in which phase of its curve a segment may have been interrupted.

        Args:
            act: The segment.
            began_at: What the stage showed before it; None if that isn't known.
            lasted: How long ago that was, at most; None if it isn't known.
            shown: What the stage shows now.
        """
        stands_at = temperature_of(shown)
        if stands_at is None:
            return "not to be read"
        reached = act.to
        if began_at is not None and lasted is not None:
            reached = max(act.to, began_at - act.rate * lasted)
        been_at = (stands_at, reached, *(() if act.begins_at is None else (act.begins_at,)))
        if min(been_at) > self.ice_forms_below:
            return "above nucleation"
        if stands_at > self.ice_formed_by:
            return "in the plateau"
        return "at the end" if reached == act.to else "on the ramp"

    def _value(self, name: str) -> str:
        return self._own.get(name, shipped().temperatures[name].value)
