"""What people say that they carried away, beside what the World shows of it.

A person who clears a line says of each thing where it is carried to, shortly before or after
carrying it. Each saying names one carrying, of that thing to that place, whoever carries. It
names none if the thing stands there already. Who says that they sealed it off first names one
cut of that joint, too. What a person *found* somewhere is a reading: nothing moved, so it
neither needs a carrying nor names one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from orchestrator.kernel.instants import Instant
from orchestrator.records.asked import HANDS_AIR, LedgerEffect, tray

__all__ = ["CarriedAway", "Said"]

WITHIN_S: Final = 8 * 3600.0
"""How long before or after saying so a thing may be carried: a shift. Set by site."""

AT_ONCE_S: Final = 0.002
"""Closer than this is the same moment: the journal's instants and the World's are rounded."""

_CARRYINGS: Final = ("carried_out", "moved_thing")
_CUT: Final = "parted"


@dataclass(slots=True)
class Said:
    """One carrying as a person recorded it, with what the World shows of it.

    ``extra`` is what was carried once more; ``taken`` how the thing was taken in hand for it.
    ``joint`` is the kit and the port from which they say that they sealed it off, ``cut`` how.
    """

    at: Instant
    at_s: float
    thing: str
    place: str
    by: str
    carried: LedgerEffect | None = None
    extra: list[LedgerEffect] = field(default_factory=list[LedgerEffect])
    taken: LedgerEffect | None = None
    joint: tuple[str, str] | None = None
    cut: LedgerEffect | None = None

    def names_cut(self, effect: LedgerEffect) -> bool:
        """Return whether ``effect`` is the cut that is said."""
        return (
            self.joint is not None
            and effect.things == (self.thing, self.joint[0])
            and effect.detail.get("port") == self.joint[1]
            and effect.detail.get("how") == "seal"
        )


class CarriedAway:
    """Gives each carrying by hand to one saying that names it."""

    def __init__(self, said: Iterable[Said]) -> None:
        self.said = list(said)
        self._of_thing: dict[str, list[Said]] = defaultdict(list)
        for one in self.said:
            self._of_thing[tray(one.thing)].append(one)

    def take(self, effect: LedgerEffect) -> bool:
        """Give a person's ``effect`` to what was said; return whether something names it."""
        if effect.kind == _CUT:
            uncut = (one for one in self._near(effect) if one.cut is None and one.names_cut(effect))
            cut = _nearest(effect, uncut)
            if cut is not None:
                cut.cut = effect
            return cut is not None
        open_ = [one for one in self._near(effect) if one.carried is None]
        if effect.kind == "moved_thing" and effect.places[-1] == HANDS_AIR:
            untaken = _nearest(effect, (one for one in open_ if one.taken is None))
            if untaken is not None:
                untaken.taken = effect
            return untaken is not None
        named = _nearest(effect, (one for one in open_ if one.place == effect.places[-1]))
        if named is not None:
            named.carried = effect
        return named is not None

    def take_extra(self, effect: LedgerEffect) -> bool:
        """Count ``effect`` as once more what was carried already; return whether it is that."""
        if effect.kind == _CUT:
            return False
        there = (one for one in self._near(effect) if one.place == effect.places[-1])
        done = _nearest(effect, there)
        if done is not None:
            done.extra.append(effect)
        return done is not None

    def not_carried(self, stood: Callable[[str, float], str | None]) -> Iterator[tuple[Said, str]]:
        """Yield what was said, never carried, and stood elsewhere; and where.

        Args:
            stood: Tells where a thing stood at a second; None if nobody ever saw it.
        """
        for one in self.said:
            if one.carried is None:
                where = stood(tray(one.thing), one.at_s + AT_ONCE_S)
                if where != one.place:
                    yield one, where or "no place that anybody saw"

    def not_cut(self) -> Iterator[Said]:
        """Yield who says that they sealed a thing off, and nobody did."""
        for one in self.said:
            if one.joint is not None and one.cut is None:
                yield one

    def _near(self, effect: LedgerEffect) -> Iterator[Said]:
        if effect.kind not in (*_CARRYINGS, _CUT):
            return
        for one in self._of_thing.get(tray(effect.things[0]), ()):
            if abs(effect.at_from_s - one.at_s) <= WITHIN_S:
                yield one


def _nearest(effect: LedgerEffect, said: Iterable[Said]) -> Said | None:
    return min(said, key=lambda one: abs(effect.at_from_s - one.at_s), default=None)
