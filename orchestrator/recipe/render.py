"""Print a recipe as the numbered procedure that quality assurance reads and approves.

A step's number is the one in its path, so that a person at the cell and a line of the
batch record mean the same step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from orchestrator.kernel.conditions import Condition
from orchestrator.kernel.measured import Calculated, Fixed, Measured, Ordered
from orchestrator.kernel.quantities import Duration
from orchestrator.recipe.calculations import in_words
from orchestrator.recipe.model import (
    EmptyBag,
    Hold,
    Keep,
    Kit,
    Lag,
    Material,
    MeasuredValue,
    Moment,
    Node,
    Operation,
    Parallel,
    PatientMaterial,
    Reagent,
    Recipe,
    RepeatUntil,
    Sequence,
    Step,
    Together,
    UnitProcedure,
    When,
)

_MILLIONS: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)e6 ")
_AMOUNT: Final = re.compile(r"\{([a-z_]+)\}")


def render(recipe: Recipe) -> str:
    """Return the whole procedure as text."""
    lines = [f"{recipe.document} version {recipe.version}: {recipe.title}", ""]
    if recipe.materials or recipe.kits:
        lines += ["What goes in", *(f"  {_material(one)}" for one in recipe.materials)]
        lines += [f"  {_kit(kit)}" for kit in recipe.kits]
        lines.append("")
    if recipe.ordered:
        lines.append("What each order states")
        lines += [
            f"  {one.name}: {one.bounds.lowest} to {one.bounds.highest}" for one in recipe.ordered
        ]
        lines.append("")
    if recipe.equipment:
        lines.append("What it runs on")
        for role in recipe.equipment:
            ranges = "; ".join(
                f"{name.replace('_', ' ')} {ends.lowest} to {ends.highest}"
                for name, ends in role.ranges.items()
            )
            lines.append(
                f"  {role.name}: {role.kind.replace('_', ' ')}{f' ({ranges})' if ranges else ''}"
            )
        lines.append("")
    for part in recipe.body:
        lines += _lines(part, 0)
    if recipe.lags:
        lines += ["", "Time limits", *(f"  {_lag(recipe, lag)}" for lag in recipe.lags)]
    return for_people("\n".join(lines)) + "\n"


def step_in_words(step: Step) -> str:
    """Return what a step does as one sentence, with its amounts and how long it may wait."""
    sentence = step.phase.sentence()
    amounts = {
        name: getattr(step.phase, name)
        for name in _AMOUNT.findall(sentence)
        if name in type(step.phase).model_fields
    }
    for name, amount in amounts.items():
        if isinstance(amount, Fixed | Ordered | Measured | Calculated):
            sentence = sentence.replace(f"{{{name}}}", in_words(amount))
    return for_people(sentence)


def for_people(text: str) -> str:
    """Return ``text`` with millions as people write them: ``1 million cells/mL``."""
    return _MILLIONS.sub(r"\1 million ", text)


def _material(one: Material) -> str:
    if isinstance(one, PatientMaterial):
        age = one.longest_since_collection
        limit = f", at most {age} after collection" if age is not None else ""
        return f"{one.name}: patient material, {one.volume}{limit}"
    if isinstance(one, Reagent):
        whose = "made for this patient, " if one.patient_specific else ""
        return f"{one.name}: {whose}{one.volume} of {one.catalogue}, {one.in_use} once in use"
    kind = "empty bag" if isinstance(one, EmptyBag) else "empty tube"
    return f"{one.name}: {kind} {one.catalogue!r} for at most {one.capacity}"


def _kit(kit: Kit) -> str:
    return (
        f"{kit.name}: {kit.catalogue} with the {kit.vessel} (at most {kit.capacity}), "
        f"{kit.flush_volume} to flush, waste for {kit.waste_capacity}, ports "
        f"{', '.join(kit.ports)}"
    )


def _lines(node: Node, depth: int) -> Iterator[str]:
    inset = "  " * depth
    match node:
        case Step():
            number = node.slug.partition("-")[0].lstrip("0")
            yield f"{inset}{number}. {step_in_words(node)}{_held(node.phase.longest_hold)}"
        case Hold():
            yield f"{inset}Hold: {node.reason.rstrip('.')}. A person decides."
        case Operation() | UnitProcedure() | Sequence():
            alone = isinstance(node, UnitProcedure) and len(node.body) == 1
            if alone and isinstance(node.body[0], Operation) and node.body[0].name == node.name:
                yield from _lines(node.body[0], depth)
            else:
                yield f"{inset}{node.name}"
                yield from _all(node.body, depth + 1)
        case Parallel():
            yield f"{inset}{node.name}, side by side"
            yield from _all(node.branches, depth + 1)
        case Together():
            yield f"{inset}Side by side"
            yield from _all(node.unit_procedures, depth + 1)
        case RepeatUntil():
            yield (
                f"{inset}{node.name}: repeat at most {node.at_most} times, until "
                f"{_condition(node.condition)}"
            )
            yield from _all(node.body, depth + 1)
        case When():
            yield f"{inset}If {_condition(node.condition)}"
            yield from _all(node.then, depth + 1)
            yield f"{inset}Otherwise{'' if node.otherwise else ' go on'}"
            yield from _all(node.otherwise, depth + 1)
        case Keep():
            yield (
                f"{inset}While this runs, {_condition(node.condition)}; "
                f"out of it for {node.condition.for_at_least}: {node.tier.value} ({node.source})"
            )
            yield from _all(node.body, depth + 1)


def _all(nodes: tuple[Node, ...], depth: int) -> Iterator[str]:
    for node in nodes:
        yield from _lines(node, depth)


def _held(longest: Duration) -> str:
    return f" [may be held for {longest}]"


def _condition(condition: Condition) -> str:
    reading = condition.reading
    if isinstance(reading, MeasuredValue):
        what = f"the {reading.name}"
    else:
        what = f"the {reading.kind.replace('_', ' ')} of the {reading.unit}"
    if condition.lowest and condition.highest:
        return f"{what} is {condition.lowest} to {condition.highest}"
    if condition.lowest:
        return f"{what} is at least {condition.lowest}"
    return f"{what} is no more than {condition.highest}"


def _lag(recipe: Recipe, lag: Lag) -> str:
    ends = [f"at least {lag.minimum}"] if lag.minimum is not None else []
    ends += [f"at most {lag.maximum}"] if lag.maximum is not None else []
    return (
        f"{lag.name}: {' and '.join(ends)} from {_moment(recipe, lag.from_event)} to "
        f"{_moment(recipe, lag.to_event)}; past it: {lag.tier.value} ({lag.source})"
    )


def _moment(recipe: Recipe, moment: Moment) -> str:
    node = recipe.nodes.get(moment.path)
    if isinstance(node, Step):
        number = node.slug.partition("-")[0].lstrip("0")
        return f"the {moment.edge} of step {number}"
    return f"the {moment.edge} of {getattr(node, 'name', moment.path)!r}"
