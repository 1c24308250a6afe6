"""I: nothing of a patient moves unproven, and nothing undeclared is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from orchestrator.kernel.acts import Claims, Contact
from orchestrator.kernel.quantities import mL
from orchestrator.recipe.model import PatientMaterial, Reagent
from orchestrator.recipe.rules.flow import Follow
from orchestrator.recipe.rules.rule import Problem, Rule
from orchestrator.recipe.rules.view import View

RULES = (
    Rule(
        code="I010",
        severity="refuse",
        demands="Patient material is identified before a step may rely on a carried identity.",
        because="A proof can be carried on, but it begins with a scan (no proof, no movement).",
        do_next="Write p.verify_identity(...) or connect it above this line.",
    ),
    Rule(
        code="I020",
        severity="refuse",
        demands="A step that touches patient material asks for its identity.",
        because="Cells in the wrong bag are the worst error there is.",
        do_next="Use a kind of phase that asks for a fresh or a carried identity here.",
    ),
    Rule(
        code="I030",
        severity="refuse",
        demands="A step touches only containers and kits that the procedure declares.",
        because="What isn't declared is neither ordered, received, weighed nor traced.",
        do_next="Declare it at the top of the procedure.",
    ),
    Rule(
        code="I040",
        severity="ask",
        demands="Two donations are pooled only on purpose.",
        because="A pool has a genealogy and a label of its own.",
        do_next="Keep them apart, or approve with the reason and the pool's label step.",
    ),
    Rule(
        code="I050",
        severity="refuse",
        demands="Nothing is joined to a port in whose tube cells stand.",
        because="The first dose pushes what stands there through the joint, right or wrong.",
        do_next="Push 3 mL or more from the kit's flush bag to that port before you disconnect "
        "the bag that gave or got the cells, or take a port that no cells went through.",
    ),
)

CLEARS_A_PORT: Final = 3 * mL
"""More than the line of the pump and one port's tube hold together. Set by site."""


@dataclass(frozen=True)
class _State:
    proven: frozenset[str]
    origins: tuple[tuple[str, frozenset[str]], ...]
    """Which container carries material of which donations."""
    stained: frozenset[tuple[str, str]] = frozenset()
    """Kit and port of each tube in which cells stand."""

    def carried(self) -> dict[str, frozenset[str]]:
        return dict(self.origins)


def look(view: View) -> Iterator[Problem]:
    """Yield where identity isn't sure."""
    found: dict[Problem, None] = {}
    start = _State(
        proven=frozenset(),
        origins=tuple(
            (material.name, frozenset({material.name}))
            for material in view.recipe.materials
            if isinstance(material, PatientMaterial)
            or (isinstance(material, Reagent) and material.patient_specific)
        ),
    )
    donations = frozenset(
        material.name for material in view.recipe.materials if isinstance(material, PatientMaterial)
    )

    def step(path: str, state: _State) -> _State:
        claims = view.claims.get(path)
        if claims is None:
            return state
        for problem in _step(view, path, claims, state):
            found[problem] = None
        after = _after(view, claims, state)
        for name, origins in after.carried().items():
            pooled = origins & donations
            if len(pooled) > 1 and pooled != state.carried().get(name, frozenset()) & donations:
                told = " and ".join(sorted(pooled))
                found[Problem("I040", path, f"{name!r} pools {told}.")] = None
        return after

    Follow(step, _either).recipe(view.recipe, start)
    yield from found


def _step(view: View, path: str, claims: Claims, state: _State) -> Iterator[Problem]:
    carried = state.carried()
    kit = view.kit_in(claims)
    for touch in claims.touches:
        port = ("" if kit is None else kit.name, touch.at_port)
        if touch.how is Contact.JOINS and port in state.stained:
            yield Problem(
                "I050", path, f"cells stand in the tube of port {touch.at_port} of {port[0]!r}."
            )
    for name in dict.fromkeys(touch.container for touch in claims.touches):
        if name not in view.containers and name not in view.kits:
            yield Problem("I030", path, f"{name!r} isn't declared.")
        if name not in carried:
            continue
        if claims.identity == "none":
            yield Problem("I020", path, f"touches {name!r} without asking whose it is.")
        elif claims.identity == "either" and not _is_proven(view, name, state.proven):
            yield Problem(
                "I010", path, f"{name!r} is used before it was identified, on at least one way."
            )


def _is_proven(view: View, name: str, proven: frozenset[str]) -> bool:
    return name in proven or view.kit_of.get(name, "") in proven


def _after(view: View, claims: Claims, state: _State) -> _State:
    proven = set(state.proven)
    if claims.identity == "fresh":
        proven |= {touch.container for touch in claims.touches}
    elif claims.identity == "either":
        # An answered "either" ends in a proof of the kit, carried or fresh.
        proven |= {touch.container for touch in claims.touches if touch.container in view.kits}
    proven -= {touch.container for touch in claims.touches if touch.how is Contact.PARTS}
    carried = state.carried()
    passing = frozenset[str]()
    for touch in claims.touches:
        if touch.how is Contact.DRAWS:
            passing |= carried.get(touch.container, frozenset())
    if passing:
        for touch in claims.touches:
            if touch.how is Contact.RECEIVES:
                carried[touch.container] = carried.get(touch.container, frozenset()) | passing
                if claims.identity != "none":
                    proven.add(touch.container)
    return _State(
        proven=frozenset(proven),
        origins=tuple(sorted(carried.items())),
        stained=_stained(view, claims, state),
    )


def _stained(view: View, claims: Claims, state: _State) -> frozenset[tuple[str, str]]:
    """Return in which ports' tubes cells stand after a step's pumping, pair by pair."""
    kit = view.kit_in(claims)
    if kit is None:
        return state.stained
    carried = state.carried()
    inner = set(kit.places.values())
    stained = set(state.stained)
    source = None
    for touch in claims.touches:
        if touch.how is Contact.DRAWS:
            source = touch
        if touch.how is not Contact.RECEIVES or source is None or not touch.at_port:
            continue
        ports = {(kit.name, at) for at in (source.at_port, touch.at_port) if at not in inner}
        volume = touch.volume
        if carried.get(source.container):
            stained |= ports
        elif source.container == kit.flush and volume and volume.lowest >= CLEARS_A_PORT:
            stained -= ports
    return frozenset(stained)


def _either(one: _State, other: _State) -> _State:
    carried = one.carried()
    for name, origins in other.origins:
        carried[name] = carried.get(name, frozenset()) | origins
    return _State(
        one.proven & other.proven, tuple(sorted(carried.items())), one.stained | other.stained
    )
