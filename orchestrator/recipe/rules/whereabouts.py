"""Follow where each kit stands, and what hangs at its ports when it is moved.

What isn't known isn't minded: a kit that was nowhere set down may stand anywhere. What may
be joined on one way only counts as joined, since that way may be taken. One mistake is told
once: after it the kit is taken to stand, and its bags to be off, as the step needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from orchestrator.kernel.acts import Claims, Contact, Touch
from orchestrator.recipe.rules.flow import Follow
from orchestrator.recipe.rules.rule import Problem, Rule
from orchestrator.recipe.rules.view import View

MOVED_WHILE_JOINED: Final = Rule(
    code="C060",
    severity="refuse",
    demands="Nothing is moved while a bag hangs at a port: neither the kit nor the bag.",
    because="It drags the bag to the floor, or tears the joint open.",
    do_next="Write station.disconnect(...) for it above this line.",
)

USED_ELSEWHERE: Final = Rule(
    code="C070",
    severity="refuse",
    demands="A kit is used where it stands.",
    because="Its scan can't come from where it isn't, so the batch waits for ever.",
    do_next="Write arm.move(...) for it above this line.",
)

Joint = tuple[str, str, str]
"""(container, kit, port)."""

Stand = tuple[str, str, str]
"""(kit, unit, path of the step that set it down there)."""


@dataclass(frozen=True)
class Whereabouts:
    """What may be joined, and where each kit may stand; a kit that isn't named, anywhere."""

    joints: frozenset[Joint] = frozenset()
    stands: frozenset[Stand] = frozenset()


def look(view: View) -> Iterator[Problem]:
    """Yield where a kit is moved with a bag at it, or is used where it doesn't stand."""
    found: dict[Problem, None] = {}

    def step(path: str, before: Whereabouts) -> Whereabouts:
        claims = view.claims.get(path)
        if claims is None:
            return before
        joints, stands = set(before.joints), set(before.stands)
        for touch in claims.touches:
            if touch.container in view.kits:
                for problem in _misplaced(view, path, touch, stands):
                    found[problem] = None
            if touch.how is Contact.MOVES:
                for problem in _dragged(path, touch, joints):
                    found[problem] = None
            _follow(view, path, claims, touch, joints, stands)
        return Whereabouts(frozenset(joints), frozenset(stands))

    Follow(step, _either).recipe(view.recipe, Whereabouts())
    # One problem for each rule and step: the first that its turns show.
    seen: set[tuple[str, str]] = set()
    for problem in found:
        if (problem.code, problem.path) not in seen:
            seen.add((problem.code, problem.path))
            yield problem


def _either(one: Whereabouts, other: Whereabouts) -> Whereabouts:
    known = _kits(one.stands) & _kits(other.stands)
    stands = (stand for stand in one.stands | other.stands if stand[0] in known)
    return Whereabouts(one.joints | other.joints, frozenset(stands))


def _kits(stands: frozenset[Stand]) -> frozenset[str]:
    return frozenset(kit for kit, _, _ in stands)


def _misplaced(view: View, path: str, touch: Touch, stands: set[Stand]) -> Iterator[Problem]:
    if not touch.at_unit:
        return
    name = touch.container
    known = sorted(stand for stand in stands if stand[0] == name)
    stands_or_may = "stands" if len({unit for _, unit, _ in known}) == 1 else "may stand"
    for _, unit, since in known:
        if unit != touch.at_unit:
            yield Problem(
                USED_ELSEWHERE.code,
                path,
                f"{name!r} {stands_or_may} at {unit!r} since {view.told(since)}, and this step "
                f"needs it at {touch.at_unit!r}; move it there above this line.",
            )


def _dragged(path: str, touch: Touch, joints: set[Joint]) -> Iterator[Problem]:
    name = touch.container
    hanging = sorted((port, bag) for bag, kit, port in joints if kit == name)
    if hanging:
        bags = " and ".join(f"{bag!r} at {port}" for port, bag in hanging)
        yield Problem(
            MOVED_WHILE_JOINED.code,
            path,
            f"{name!r} is moved while it is joined to {bags}, on at least one way.",
        )
    for bag, kit, port in sorted(joints):
        if bag == name:
            yield Problem(
                MOVED_WHILE_JOINED.code,
                path,
                f"{name!r} is moved while it is joined to {port} of {kit!r}, on at least one way.",
            )


def _follow(
    view: View,
    path: str,
    claims: Claims,
    touch: Touch,
    joints: set[Joint],
    stands: set[Stand],
) -> None:
    """Change ``joints`` and ``stands`` as one touch changes them."""
    name = touch.container
    if touch.how in (Contact.PARTS, Contact.MOVES):
        joints.difference_update([one for one in joints if name in one[:2]])
    if touch.how is Contact.JOINS:
        kit = view.kit_in(claims)
        joints.add((name, kit.name if kit else "", touch.at_port))
    stands_at = touch.to_unit or touch.at_unit
    if name in view.kits and stands_at:
        known = [one for one in stands if one[0] == name]
        if touch.to_unit or any(unit != stands_at for _, unit, _ in known):
            stands.difference_update(known)
            stands.add((name, stands_at, path))
