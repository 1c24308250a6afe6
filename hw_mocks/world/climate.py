"""Temperatures and carbon dioxide over time, in closed form.

A chamber's course is a list of pieces, each a first-order approach to a target or a straight ramp.
What stands in the chamber follows with a lag of its own. Both have closed solutions, so a year
costs no more than a second, and nothing needs a tick.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import exp


@dataclass(frozen=True, slots=True)
class Piece:
    """``target + (start - target) e^(-s/lag)``, or ``start + rate * s`` where a rate is set."""

    from_s: float
    start: float
    target: float
    lag_s: float
    rate_per_s: float = 0.0

    def at(self, time_s: float) -> float:
        """Return the value at ``time_s``, which lies in this piece."""
        passed = time_s - self.from_s
        if self.rate_per_s != 0.0:
            return self.start + self.rate_per_s * passed
        if self.start == self.target:
            return self.target
        return self.target + (self.start - self.target) * exp(-passed / self.lag_s)

    def followed(self, begun_s: float, value: float, ended_s: float, lag_s: float) -> float:
        """Return where a follower that began at ``value`` stands at ``ended_s``."""
        passed = ended_s - begun_s
        faded = exp(-passed / lag_s)
        now = self.at(begun_s)
        if self.rate_per_s != 0.0:
            behind = self.rate_per_s * lag_s
            return now + self.rate_per_s * passed - behind + (value - now + behind) * faded
        gap = now - self.target
        if abs(gap) < 1e-9:
            return self.target + (value - self.target) * faded
        own = self.lag_s
        if abs(own - lag_s) < 1e-6 * lag_s:
            own *= 1.0 + 1e-5
        carried = gap * own / (own - lag_s)
        return self.target + carried * exp(-passed / own) + (value - self.target - carried) * faded


class Course:
    """One quantity of a chamber over all time, its pieces in order."""

    def __init__(self, value: float, at_s: float = 0.0) -> None:
        self.pieces = [Piece(at_s, value, value, 1.0)]
        self._starts = [at_s]

    def _begin(self, piece: Piece) -> None:
        keep = bisect_right(self._starts, piece.from_s)
        while keep and self._starts[keep - 1] == piece.from_s:
            keep -= 1
        del self.pieces[keep:], self._starts[keep:]
        self.pieces.append(piece)
        self._starts.append(piece.from_s)

    def approach(self, at_s: float, target: float, lag_s: float) -> None:
        """From ``at_s`` on, go to ``target`` with ``lag_s``."""
        self._begin(Piece(at_s, self.at(at_s), target, lag_s))

    def ramp(self, at_s: float, rate_per_s: float, limit: float) -> float:
        """From ``at_s`` on, go straight to ``limit``; return when it is reached."""
        start = self.at(at_s)
        if start == limit or rate_per_s == 0.0:
            self._begin(Piece(at_s, start, start, 1.0))
            return at_s
        rate = abs(rate_per_s) if limit > start else -abs(rate_per_s)
        reached_s = at_s + (limit - start) / rate
        self._begin(Piece(at_s, start, limit, 1.0, rate))
        self.pieces.append(Piece(reached_s, limit, limit, 1.0))
        self._starts.append(reached_s)
        return reached_s

    def at(self, time_s: float) -> float:
        """Return the value at ``time_s``."""
        return self.pieces[max(bisect_right(self._starts, time_s) - 1, 0)].at(time_s)

    def follow(self, begun_s: float, value: float, ended_s: float, lag_s: float) -> float:
        """Return where a follower that stood at ``value`` at ``begun_s`` stands at ``ended_s``."""
        at = max(bisect_right(self._starts, begun_s) - 1, 0)
        while True:
            last = at + 1 >= len(self.pieces) or self._starts[at + 1] >= ended_s
            until_s = ended_s if last else self._starts[at + 1]
            value = self.pieces[at].followed(begun_s, value, until_s, lag_s)
            if last:
                return value
            begun_s = until_s
            at += 1
