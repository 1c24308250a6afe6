"""Follow every way through a procedure, and measure the time between its moments.

Rules that depend on what was done before (what is joined, proven, in a bag) carry a
state along the tree: both ways of a ``When`` are followed and brought together again, a
repetition is followed turn by turn up to its ``at_most``, and a way that ends in a hold
ends there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from orchestrator.kernel.quantities import Duration, Range
from orchestrator.recipe.model import (
    Hold,
    Moment,
    Node,
    Parallel,
    Recipe,
    RepeatUntil,
    Step,
    Together,
    When,
    children,
)
from orchestrator.recipe.rules.view import View

S = TypeVar("S")


class Follow(Generic[S]):
    """One walk over all ways. ``S`` is never changed in place."""

    def __init__(self, step: Callable[[str, S], S], either: Callable[[S, S], S]) -> None:
        """Make the walk.

        Args:
            step: Gives the state after the step at a path, from the state before.
            either: Brings together the states of two ways that lead to one place.
        """
        self._step = step
        self._either = either

    def recipe(self, recipe: Recipe, state: S) -> S | None:
        """Return the state at the procedure's end, or None if no way leads there."""
        return self._all(((part.slug, part) for part in recipe.body), state)

    def _all(self, parts: Iterable[tuple[str, Node]], state: S | None) -> S | None:
        for path, part in parts:
            if state is None:
                return None
            state = self._node(path, part, state)
        return state

    def _node(self, path: str, node: Node, state: S) -> S | None:
        if isinstance(node, Step):
            return self._step(path, state)
        if isinstance(node, Hold):
            return None
        if isinstance(node, When):
            below = list(children(path, node))
            ways = below[: len(node.then)], below[len(node.then) :]
            return self._join(self._all(way, state) for way in ways)
        if isinstance(node, RepeatUntil):
            ends: list[S | None] = []
            turn: S | None = state
            for _ in range(node.at_most):
                before = turn
                turn = self._all(children(path, node), turn)
                ends.append(turn)
                if turn is None or turn == before:
                    break
            return self._join(ends)
        return self._all(children(path, node), state)

    def _join(self, ways: Iterable[S | None]) -> S | None:
        joined: S | None = None
        for way in ways:
            if way is not None:
                joined = way if joined is None else self._either(joined, way)
        return joined


Span = tuple[int, int]
"""Shortest and longest time in milliseconds."""


class Times:
    """Durations of parts of a procedure, from what its phases claim."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._spans: dict[str, Span] = {}

    def between(self, start: Moment, end: Moment) -> Range[Duration] | None:
        """Return the time from ``start`` to the next ``end`` after it.

        None where the recipe holds no such way. Branches that run side by side are taken
        as independent of each other.
        """
        span = self._between(self._view.recipe, start, end)
        return None if span is None else Range(*(Duration.of_base(part) for part in span))

    def of(self, path: str, node: Node) -> Span:
        """Return the time that a part takes."""
        if path not in self._spans:
            self._spans[path] = self._of(path, node)
        return self._spans[path]

    def _of(self, path: str, node: Node) -> Span:
        if isinstance(node, Step):
            claims = self._view.claims.get(path)
            if claims is None:
                return 0, 0
            return claims.duration.lowest.base, claims.duration.highest.base
        below = [self.of(*child) for child in children(path, node)]
        if isinstance(node, Parallel | Together):
            return max((s[0] for s in below), default=0), max((s[1] for s in below), default=0)
        if isinstance(node, When):
            ways = [_sum(below[: len(node.then)])]
            if not any(isinstance(part, Hold) for part in node.otherwise):
                ways.append(_sum(below[len(node.then) :]))
            return min(s[0] for s in ways), max(s[1] for s in ways)
        shortest, longest = _sum(below)
        if isinstance(node, RepeatUntil):
            return shortest, longest * node.at_most
        return shortest, longest

    def _between(self, recipe: Recipe, start: Moment, end: Moment) -> Span | None:
        top: list[tuple[str, Node]] = [(part.slug, part) for part in recipe.body]
        return self._in(top, start, end)

    def _in(self, parts: list[tuple[str, Node]], start: Moment, end: Moment) -> Span | None:
        first = _holding(parts, start.path)
        last = _holding(parts, end.path)
        if first is None or last is None:
            return None
        if first == last and parts[first][0] not in (start.path, end.path):
            return self._within(*parts[first], start, end)
        if first > last or (first == last and (start.edge, end.edge) != ("start", "end")):
            return None
        if first == last:
            return self._same(parts[first], start, end)
        return _sum(
            [
                self._rest(*parts[first], start),
                *(self.of(*part) for part in parts[first + 1 : last]),
                self._lead(*parts[last], end),
            ]
        )

    def _same(self, part: tuple[str, Node], start: Moment, end: Moment) -> Span:
        path, node = part
        if path == start.path and path == end.path:
            return self.of(path, node)
        return self._lead(path, node, end) if path == start.path else self._rest(path, node, start)

    def _within(self, path: str, node: Node, start: Moment, end: Moment) -> Span | None:
        below = list(children(path, node))
        if isinstance(node, Parallel | Together):
            one, other = _holding(below, start.path), _holding(below, end.path)
            if one is None or other is None:
                return None
            if one == other:
                return self._in([below[one]], start, end)
            lead, total = self._lead(*below[one], start), self._lead(*below[other], end)
            return max(0, total[0] - lead[1]), max(0, total[1] - lead[0])
        found = self._in(below, start, end)
        if found is not None or not isinstance(node, RepeatUntil):
            return found
        first, last = _holding(below, start.path), _holding(below, end.path)
        if first is None or last is None or node.at_most < 2:
            return None
        return _sum(
            [
                self._rest(*below[first], start),
                *(self.of(*part) for part in below[first + 1 :]),
                *(self.of(*part) for part in below[:last]),
                self._lead(*below[last], end),
            ]
        )

    def _lead(self, path: str, node: Node, moment: Moment) -> Span:
        """Return the time from the start of ``node`` to a moment in it."""
        if path == moment.path:
            return (0, 0) if moment.edge == "start" else self.of(path, node)
        below = self._way(path, node, moment)
        at = _holding(below, moment.path)
        assert at is not None, f"{moment.path} isn't within {path}"
        before = _sum([self.of(*part) for part in below[:at]])
        return _sum([before, self._lead(*below[at], moment)])

    def _rest(self, path: str, node: Node, moment: Moment) -> Span:
        """Return the time from a moment in ``node`` to its end."""
        if path == moment.path:
            return (0, 0) if moment.edge == "end" else self.of(path, node)
        below = self._way(path, node, moment)
        at = _holding(below, moment.path)
        assert at is not None, f"{moment.path} isn't within {path}"
        after = _sum([self.of(*part) for part in below[at + 1 :]])
        return _sum([self._rest(*below[at], moment), after])

    def _way(self, path: str, node: Node, moment: Moment) -> list[tuple[str, Node]]:
        """Return the parts that are done one after another around a moment."""
        below = list(children(path, node))
        if isinstance(node, When):
            ways = below[: len(node.then)], below[len(node.then) :]
            return ways[0] if _holding(ways[0], moment.path) is not None else ways[1]
        if isinstance(node, Parallel | Together):
            at = _holding(below, moment.path)
            return below if at is None else [below[at]]
        return below


def _sum(spans: Iterable[Span]) -> Span:
    shortest = longest = 0
    for least, most in spans:
        shortest += least
        longest += most
    return shortest, longest


def _holding(parts: list[tuple[str, Node]], path: str) -> int | None:
    """Return which of the parts is, or holds, the element at ``path``."""
    for number, (below, _) in enumerate(parts):
        if path == below or path.startswith((f"{below}/", f"{below}[")):
            return number
    return None
