"""M: what each container surely holds, and at most, after every step on every way."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.kernel.acts import Contact, Touch
from orchestrator.kernel.quantities import Range, Volume
from orchestrator.recipe.model import EmptyBag, Moment, PatientMaterial, Reagent, Tube
from orchestrator.recipe.rules.flow import Follow, Times
from orchestrator.recipe.rules.rule import Problem, Rule
from orchestrator.recipe.rules.view import View

RULES = (
    Rule(
        code="M010",
        severity="refuse",
        demands="A step never asks for more than its source surely holds.",
        because="A pump that runs dry moves air into a closed line, and the dose is short.",
        do_next="Narrow the expected range, or ask for less.",
    ),
    Rule(
        code="M020",
        severity="refuse",
        demands="A container is never filled beyond its capacity.",
        because="An overfilled bag bursts at its weakest seam.",
        do_next="Move less, draw off before, or declare a larger bag.",
    ),
    Rule(
        code="M030",
        severity="ask",
        demands="How much a container holds can be told before the run.",
        because="Where nothing states it, the balance can't be checked from there on.",
        do_next="State filled=between(...) where the bag is declared.",
    ),
    Rule(
        code="M040",
        severity="refuse",
        demands="A reagent is used within its in-use time on the slowest way.",
        because="Past it nothing shows that the reagent is still good.",
        do_next="Connect a fresh bag before its later use, or shorten what lies between.",
    ),
    Rule(
        code="M050",
        severity="refuse",
        demands="A container that comes empty says of which kind it is.",
        because="An ordinary bag bursts in the freezer, and only a cryobag is made for it.",
        do_next='State catalogue="..." where it is declared, as the site receives it.',
    ),
)

Contents = tuple[tuple[str, tuple[int, int] | None], ...]
"""Each container's least and most contents in nanolitres, None where nothing tells."""


def look(view: View) -> Iterator[Problem]:
    """Yield where volumes don't add up."""
    found: dict[Problem, None] = {}
    capacity = dict(_capacities(view))
    filled = {
        material.name: material.filled
        for material in view.recipe.materials
        if isinstance(material, EmptyBag) and material.filled is not None
    }

    def step(path: str, contents: Contents) -> Contents:
        claims = view.claims.get(path)
        if claims is None:
            return contents
        now = dict(contents)
        for touch in claims.touches:
            if touch.container not in now:
                continue
            if touch.how is Contact.DRAWS:
                now[touch.container], problem = _drawn(path, touch, now[touch.container])
            elif touch.how is Contact.RECEIVES:
                now[touch.container], problem = _received(
                    path,
                    touch,
                    now[touch.container],
                    filled.get(touch.container),
                    capacity.get(touch.container),
                )
            else:
                continue
            if problem is not None:
                found[problem] = None
        return tuple(now.items())

    Follow(step, _either).recipe(view.recipe, tuple(_start(view)))
    # One problem for each rule, step and container: the first that its turns show.
    seen: set[tuple[str, str, str]] = set()
    for problem in found:
        which = (problem.code, problem.path, problem.text.split("'")[1])
        if which not in seen:
            seen.add(which)
            yield problem
    yield from _in_use(view)
    for material in view.recipe.materials:
        if isinstance(material, EmptyBag | Tube) and not material.catalogue.strip():
            declared = f"{material.material.replace('_', '-')}:{material.name}"
            yield Problem("M050", declared, f"of which kind {material.name!r} is isn't said.")


def _start(view: View) -> Iterator[tuple[str, tuple[int, int]]]:
    for material in view.recipe.materials:
        if isinstance(material, PatientMaterial):
            yield material.name, (material.volume.lowest.base, material.volume.highest.base)
        elif isinstance(material, Reagent):
            yield material.name, (material.volume.base, material.volume.base)
        else:
            yield material.name, (0, 0)
    for kit in view.recipe.kits:
        yield kit.vessel, (0, 0)
        yield kit.flush, (kit.flush_volume.base, kit.flush_volume.base)
        yield kit.waste, (0, 0)


def _capacities(view: View) -> Iterator[tuple[str, int]]:
    for material in view.recipe.materials:
        if isinstance(material, EmptyBag | Tube):
            yield material.name, material.capacity.base
    for kit in view.recipe.kits:
        yield kit.vessel, kit.capacity.base
        yield kit.waste, kit.waste_capacity.base


def _drawn(
    path: str, touch: Touch, held: tuple[int, int] | None
) -> tuple[tuple[int, int] | None, Problem | None]:
    if held is None:
        return None, None
    least, most = held
    if touch.volume is None:
        return (0, most), None
    asked_least, asked_most = touch.volume.lowest.base, touch.volume.highest.base
    problem = None
    if asked_most > least:
        problem = Problem(
            "M010",
            path,
            f"may ask for {Volume.of_base(asked_most)} of {touch.container!r}, which may hold "
            f"only {Volume.of_base(least)}.",
        )
    left_most = max(0, most - asked_least)
    return (min(max(0, least - asked_most), left_most), left_most), problem


def _received(
    path: str,
    touch: Touch,
    held: tuple[int, int] | None,
    filled: Range[Volume] | None,
    capacity: int | None,
) -> tuple[tuple[int, int] | None, Problem | None]:
    if touch.volume is None:
        if filled is not None:
            return (filled.lowest.base, filled.highest.base), None
        return None, Problem(
            "M030", path, f"how much {touch.container!r} holds after this step can't be told."
        )
    if held is None:
        return None, None
    least, most = held[0] + touch.volume.lowest.base, held[1] + touch.volume.highest.base
    if capacity is not None and most > capacity:
        problem = Problem(
            "M020",
            path,
            f"may fill {touch.container!r} to {Volume.of_base(most)}; it holds "
            f"{Volume.of_base(capacity)}.",
        )
        return (min(least, capacity), capacity), problem
    return (least, most), None


def _either(one: Contents, other: Contents) -> Contents:
    theirs = dict(other)
    joined: list[tuple[str, tuple[int, int] | None]] = []
    for name, mine in one:
        their = theirs[name]
        if mine is None or their is None:
            joined.append((name, None))
        else:
            joined.append((name, (min(mine[0], their[0]), max(mine[1], their[1]))))
    return tuple(joined)


def _in_use(view: View) -> Iterator[Problem]:
    times = Times(view)
    reagents = {
        material.name: material.in_use
        for material in view.recipe.materials
        if isinstance(material, Reagent)
    }
    joined: dict[str, str] = {}
    used: dict[str, tuple[str, str]] = {}
    for path, claims in view.claims.items():
        for touch in claims.touches:
            if touch.container not in reagents:
                continue
            if touch.how is Contact.JOINS:
                joined[touch.container] = path
            elif touch.how is Contact.DRAWS:
                first = joined.get(touch.container, path)
                used[touch.container] = (first, path)
    for name, (first, last) in used.items():
        span = times.between(Moment(path=first, edge="start"), Moment(path=last, edge="end"))
        if span is not None and span.highest > reagents[name]:
            yield Problem(
                "M040",
                last,
                f"{name!r} may be in use for {span.highest}; its in-use time is {reagents[name]}.",
            )
