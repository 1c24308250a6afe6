"""C: what is joined, where, whether the joint was tested, and where the kit stands."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.kernel.acts import Contact, Touch
from orchestrator.recipe.model import Kit
from orchestrator.recipe.rules import whereabouts
from orchestrator.recipe.rules.flow import Follow
from orchestrator.recipe.rules.rule import Problem, Rule
from orchestrator.recipe.rules.view import MOVES_CONTENTS, View

RULES = (
    Rule(
        code="C010",
        severity="refuse",
        demands="Liquid passes only between containers that are joined aseptically.",
        because="A line that isn't joined is open to the room.",
        do_next="Write station.connect(...) for it above this line.",
    ),
    Rule(
        code="C020",
        severity="refuse",
        demands="A joint is tested for leaks before anything passes it.",
        because="A closed-system claim needs evidence at set-up and after each connection.",
        do_next="Leave leak_test on.",
    ),
    Rule(
        code="C030",
        severity="refuse",
        demands="No step opens the system.",
        because="This equipment stands in a room whose grade rests on closed processing.",
        do_next="Use a closed kind of phase.",
    ),
    Rule(
        code="C040",
        severity="refuse",
        demands="A port exists, is free when it is joined, and is the one that is used later.",
        because="Liquid through the wrong port goes into the wrong bag.",
        do_next="Name a free port of the kit, and the same one when it is used.",
    ),
    Rule(
        code="C050",
        severity="refuse",
        demands="Only what is joined is taken off.",
        because="A seal at a tube that isn't joined there parts something else.",
        do_next="Write it after its station.connect(...), once.",
    ),
    whereabouts.MOVED_WHILE_JOINED,
    whereabouts.USED_ELSEWHERE,
)

Joints = tuple[tuple[str, str, str, bool], ...]
"""(container, kit, port, tested), sorted."""


def look(view: View) -> Iterator[Problem]:
    """Yield where the system would be open."""
    found: dict[Problem, None] = {}

    def step(path: str, joints: Joints) -> Joints:
        claims = view.claims.get(path)
        if claims is None:
            return joints
        if claims.opens_system:
            found[Problem("C030", path, "opens the system.")] = None
        kit = view.kit_in(claims)
        now = {container: (at, port, tested) for container, at, port, tested in joints}
        joining = frozenset(t.container for t in claims.touches if t.how is Contact.JOINS)
        for touch in claims.touches:
            for problem in _touch(view, path, touch, kit, now, joining):
                found[problem] = None
            if touch.how is Contact.JOINS:
                tested = getattr(view.steps[path].phase, "leak_test", True) is True
                now[touch.container] = (kit.name if kit else "", touch.at_port, tested)
                if not tested:
                    found[Problem("C020", path, f"{touch.container!r} isn't tested for leaks.")] = (
                        None
                    )
            if touch.how is Contact.PARTS:
                now.pop(touch.container, None)
        return tuple(sorted((container, *where) for container, where in now.items()))

    Follow(step, _either).recipe(view.recipe, ())
    yield from found
    yield from whereabouts.look(view)


def _either(one: Joints, other: Joints) -> Joints:
    return tuple(sorted(frozenset(one) & frozenset(other)))


def _touch(
    view: View,
    path: str,
    touch: Touch,
    kit: Kit | None,
    now: dict[str, tuple[str, str, bool]],
    joining: frozenset[str],
) -> Iterator[Problem]:
    name = touch.container
    attached = kit.places.get(name) if kit else None
    if touch.how is Contact.JOINS:
        yield from _joins(path, touch, kit, now)
    elif touch.how is Contact.PARTS:
        if name not in now:
            yield Problem("C050", path, f"{name!r} isn't joined here, on at least one way.")
    elif touch.how in MOVES_CONTENTS and touch.at_port:
        if attached is not None:
            if touch.at_port != attached:
                yield Problem(
                    "C040", path, f"{name!r} is at {attached!r} of its kit, not {touch.at_port!r}."
                )
        elif name not in now:
            yield Problem(
                "C010",
                path,
                f"{name!r} is not connected, on at least one way; the system would be open.",
            )
        elif name not in joining:
            at, port, _ = now[name]
            if port != touch.at_port or (kit is not None and at not in ("", kit.name)):
                yield Problem(
                    "C040",
                    path,
                    f"{name!r} is joined at {port!r} of {at!r}, not {touch.at_port!r}.",
                )


def _joins(
    path: str, touch: Touch, kit: Kit | None, now: dict[str, tuple[str, str, bool]]
) -> Iterator[Problem]:
    if touch.container in now:
        yield Problem("C040", path, f"{touch.container!r} is joined already.")
    if kit is None:
        return
    if touch.at_port not in kit.ports:
        yield Problem(
            "C040", path, f"{kit.name!r} has {', '.join(kit.ports)}, and no {touch.at_port!r}."
        )
    held = [name for name, where in now.items() if where[:2] == (kit.name, touch.at_port)]
    held += [name for name, at in kit.places.items() if at == touch.at_port]
    for other in held:
        if other != touch.container:
            yield Problem("C040", path, f"port {touch.at_port!r} holds {other!r} already.")
