"""Where the kills of real processes fall: drawn by a seed along the course of a first run.

The real run isn't that first run: after a kill it asks again, and a thing that is half done
is done in two halves. So a kill is counted from the start of its daemon, from one place in the
course to the next, and falls at about that place, seldom beyond it. What was hit is read from
the record afterwards, never taken from what was aimed at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from orchestrator.proof.choosing import chance
from orchestrator.proof.kills import JOURNAL, OF_JOURNAL, OF_TIME, OF_WIRE, TIME, Kill
from orchestrator.proof.points import Course, Kind

OF_TWENTY: Final = {
    3: OF_WIRE,
    10: OF_WIRE,
    17: OF_WIRE,
    6: OF_JOURNAL,
    14: OF_JOURNAL,
    19: OF_TIME,
}
"""How a kill is aimed, by its number modulo 20; else at a moment, where an attempt is open."""

ALIVE_MS: Final = (300, 2500)
"""A daemon that dies by real time: while it starts, while it asks what happened, soon after."""


class _Passing(NamedTuple):
    order: int
    equipment: str
    moment: str
    head: int


def aimed(
    course: Course, number: int, *, first: int, seed: str, dead_s: Sequence[float]
) -> list[Kill]:
    """Return ``number`` kills in the order of ``course``, one in each of as many parts of it.

    Args:
        course: Of an uninterrupted run.
        number: How many.
        first: The number of the first among all kills, which decides how each is aimed.
        seed: Decides what is drawn.
        dead_s: How long the software may be dead.
    """
    moments, pieces = list(_moments(course)), list(_pieces(course))
    kills: list[Kill] = []
    before = _Passing(-1, "", "", 0)
    for n in range(number):
        lowest, above = n * len(moments) // number, (n + 1) * len(moments) // number
        at = moments[lowest + chance(f"{seed} {n}", max(1, above - lowest))]
        dead = dead_s[chance(f"{seed} {n} dead", len(dead_s))]
        match OF_TWENTY.get((first + n) % 20):
            case "ms":
                ms = ALIVE_MS[0] + chance(f"{seed} {n} ms", ALIVE_MS[1] - ALIVE_MS[0])
                kills.append(Kill(TIME, OF_TIME, ms, dead))
            case "event":
                events = max(1, at.head - before.head)
                kills.append(Kill(JOURNAL, OF_JOURNAL, events, dead))
            case how:
                between = [one for one in pieces if before.order < one.order <= at.order]
                if how == OF_WIRE and between:
                    at = between[chance(f"{seed} {n} piece", len(between))]
                passed = pieces if at.moment == OF_WIRE else moments
                count = sum(
                    before.order < one.order <= at.order and one[1:3] == at[1:3] for one in passed
                )
                kills.append(Kill(at.equipment, at.moment, count, dead))
        before = at
    return kills


def _moments(course: Course) -> Iterator[_Passing]:
    for point in course.points:
        if point.kind is Kind.MOMENT:
            equipment, _, told = point.what.partition(": ")
            yield _Passing(point.order, equipment, told.split()[0], point.head)


def _pieces(course: Course) -> Iterator[_Passing]:
    """Yield what is sent on each line, in order."""
    triggers = (one for one in course.points if one.kind is Kind.TRIGGER and one.detail == 0)
    for one in sorted((*triggers, *course.requests), key=lambda one: one.order):
        yield _Passing(one.order, one.at.split("/")[1], OF_WIRE, one.head)
