"""Which points a proof dies at: all of those that decide, and a part of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import shake_128
from typing import Final, TypeVar

from orchestrator.kernel.errors import RefusedError
from orchestrator.proof.points import Course, Kind, Point
from orchestrator.proof.reach import Stage

T = TypeVar("T")

DECIDING: Final = (Kind.JOURNAL, Kind.TRIGGER, Kind.MOMENT)
"""All points of these kinds are died at, unless a number is given."""

SAMPLED: Final = (Kind.REQUEST, Kind.REPLY)
"""What is sent and starts nothing, and what comes: dying there can only lose a reading."""

SAMPLED_MOST: Final = 100
"""So many points of each sampled kind."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The points that are died at, and of each kind how many there are and were chosen."""

    points: tuple[Point, ...]
    there: dict[Kind, int]

    def chosen(self, kind: Kind) -> int:
        """Return how many of a kind were chosen."""
        return sum(point.kind is kind for point in self.points)


def all_points(course: Course, seed: int) -> Choice:
    """Choose every point that decides, and some of the others."""
    chosen = [
        *course.points,
        *_some_requests(course, SAMPLED_MOST, seed),
        *_some_replies(course, SAMPLED_MOST, seed),
    ]
    return _choice(course, chosen)


def some_points(course: Course, wanted: Sequence[Stage], number: int, seed: int) -> Choice:
    """Choose ``number`` points: one for each stage as far as that goes, the others drawn."""
    by_name = {point.name: point for point in course.points}
    chosen: dict[str, Point] = {}
    for n, stage in enumerate(shuffled(wanted, f"{seed} stages")):
        if len(chosen) >= number:
            break
        if stage.points and not any(name in chosen for name in stage.points[:1]):
            drawn = _drawn(stage.points, f"{seed} stage {n}")
            chosen[drawn] = by_name[drawn]
    left = number - len(chosen)
    if left > 0:
        others = [point for point in course.points if point.name not in chosen]
        pool = [
            *shuffled(others, f"{seed} others")[:left],
            *_some_requests(course, left, seed),
            *_some_replies(course, left, seed),
        ]
        for point in shuffled(pool, f"{seed} pool")[:left]:
            chosen[point.name] = point
    return _choice(course, list(chosen.values()))


def points_of_classes(
    course: Course, of_class: Mapping[str, Sequence[tuple[str, Stage]]], seed: int
) -> Choice:
    """Choose two points in each class of stages, so that as many phases as can be are cut.

    The first is where its stage begins, the second is drawn in a stage of another phase.
    """
    by_name = {point.name: point for point in course.points}
    chosen: dict[str, Point] = {}
    cut: Counter[str] = Counter()
    for name, members in of_class.items():
        for n in range(2):
            drawn = shuffled(members, f"{seed} {name} {n}")
            path, stage = min(drawn, key=lambda one: cut[one[0]])
            if stage.points:
                point = _drawn(stage.points, f"{seed} {name}") if n else stage.points[0]
                chosen[point] = by_name[point]
                cut[path] += 1
    return _choice(course, list(chosen.values()))


def one_point(course: Course, name: str) -> Choice:
    """Choose the point of a name.

    Raises:
        RefusedError: There is none.
    """
    point = course.named(name)
    if point is None:
        raise RefusedError(
            f"die at {name}",
            why="a run with this protocol, cell and seed has no such point",
            do_next="Take the name, the seed and the other options from the print of the proof",
        )
    return _choice(course, [point])


def _choice(course: Course, chosen: Sequence[Point]) -> Choice:
    points = tuple(sorted(chosen, key=lambda one: (one.order, one.detail)))
    return Choice(points, {kind: course.count(kind) for kind in Kind})


def _some_requests(course: Course, most: int, seed: int) -> Iterator[Point]:
    there = course.count(Kind.REQUEST)
    for number in _numbers(there, most, f"{seed} requests"):
        yield course.request(number)


def _some_replies(course: Course, most: int, seed: int) -> Iterator[Point]:
    for number in _numbers(len(course.replies), most, f"{seed} replies"):
        yield course.reply(number)


def _numbers(there: int, most: int, seed: str) -> list[int]:
    if there <= most:
        return list(range(there))
    return sorted({chance(f"{seed} {n}", there) for n in range(most)})


def shuffled(things: Sequence[T], seed: str) -> list[T]:
    """Return ``things`` in an order that ``seed`` decides."""
    drawn = sorted((chance(f"{seed} {n}", 1 << 62), n) for n in range(len(things)))
    return [things[n] for _, n in drawn]


def _drawn(things: Sequence[T], seed: str) -> T:
    return things[chance(seed, len(things))]


def chance(seed: str, most: int) -> int:
    """Return a number below ``most`` that ``seed`` decides."""
    return int.from_bytes(shake_128(seed.encode()).digest(16)) % most
