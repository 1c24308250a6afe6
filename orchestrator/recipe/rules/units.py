"""U: quantities of the right dimension, in steps that instruments can represent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.kernel.conditions import Condition
from orchestrator.kernel.measured import Calculated, Fixed, Measured, Ordered
from orchestrator.kernel.quantities import Quantity
from orchestrator.recipe.calculations import FORMULAS
from orchestrator.recipe.model import Keep, MeasuredValue, RepeatUntil, When
from orchestrator.recipe.rules.rule import Problem, Rule
from orchestrator.recipe.rules.view import View, parameters

RULES = (
    Rule(
        code="U010",
        severity="refuse",
        demands="A quantity has the dimension that its place asks for, and is written exactly.",
        because="A number in the wrong unit is a dose in the wrong unit.",
        do_next="Write a number times a unit of that dimension, e.g. 250 * mL.",
    ),
    Rule(
        code="U020",
        severity="refuse",
        demands="A set point is a whole number of the instrument's steps.",
        because="No driver rounds: what it can't represent is refused before anything moves.",
        do_next="Write a whole number of steps, or give the calculation a rounding to one.",
    ),
    Rule(
        code="U030",
        severity="refuse",
        demands="A test compares a value with limits of its own dimension, and both ways exist.",
        because="A test that can never or must always hold hides a mistake.",
        do_next="Write limits within the value's expected range.",
    ),
    Rule(
        code="U040",
        severity="refuse",
        demands="A calculation states its range as its formula gives it, and its rounding.",
        because="All later checks rest on that range.",
        do_next="Write the calculation with the author's word for it.",
    ),
)


def look(view: View) -> Iterator[Problem]:
    """Yield what is wrong with units."""
    known = dict(_known_values(view))
    for path, step in view.steps.items():
        for name in type(step.phase).model_fields:
            value: Any = getattr(step.phase, name)
            if isinstance(value, Fixed | Ordered | Measured | Calculated):
                yield from _amount(path, name, value, known)
        yield from _steps(view, path)
    for path, node in view.recipe.nodes.items():
        if isinstance(node, When | RepeatUntil | Keep):
            yield from _condition(path, node.condition, known)


def _known_values(view: View) -> Iterator[tuple[str, tuple[str, str]]]:
    for ordered in view.recipe.ordered:
        yield ordered.name, (ordered.bounds.lowest, ordered.bounds.highest)
    measured = {name for step in view.steps.values() for name in step.phase.measures.values()}
    for name in measured:
        yield name, ("", "")


def _amount(
    path: str, name: str, amount: Any, known: dict[str, tuple[str, str]]
) -> Iterator[Problem]:
    try:
        ends = Quantity.read(amount.bounds.lowest), Quantity.read(amount.bounds.highest)
    except ValueError as wrong:
        yield Problem("U010", path, f"{name}: {wrong}.")
        return
    if type(ends[0]) is not type(ends[1]) or ends[0] > ends[1]:
        yield Problem("U010", path, f"{name}: {ends[0]} to {ends[1]} isn't a range.")
    if isinstance(amount, Measured | Ordered) and amount.name not in known:
        yield Problem("U040", path, f"{name}: nothing measures or orders {amount.name!r}.")
    if isinstance(amount, Calculated):
        formula = FORMULAS.get(amount.formula)
        if formula is None or set(amount.arguments) != set(formula.arguments):
            yield Problem("U040", path, f"{name}: {amount.formula!r} isn't a formula with these.")
            return
        for argument, value in amount.arguments.items():
            yield from _amount(path, f"{name}, {argument}", value, known)
        try:
            given = formula.bounds(
                {argument: value.bounds for argument, value in amount.arguments.items()},
                down_to=amount.round_down_to,
                up_to=amount.round_up_to,
            )
        except ValueError as wrong:
            yield Problem("U040", path, f"{name}: {wrong}.")
            return
        if given != amount.bounds:
            yield Problem(
                "U040",
                path,
                f"{name}: states {amount.bounds.lowest} to {amount.bounds.highest}, "
                f"its formula gives {given.lowest} to {given.highest}.",
            )


def _steps(view: View, path: str) -> Iterator[Problem]:
    if view.cell is None or path not in view.claims:
        return
    for unit, capability in view.claims[path].needs:
        role = view.roles.get(unit)
        if role is None:
            continue
        steps = view.cell.steps_of(role.kind, capability)
        for parameter in parameters(view.steps[path]):
            step = steps.get(parameter.name)
            if step is None or type(step) is not type(parameter.range.lowest):
                continue
            for end in {parameter.range.lowest, parameter.range.highest}:
                if end.base % step.base:
                    yield Problem(
                        "U020",
                        path,
                        f"{parameter.name} {end} isn't a whole number of {step}, the step of "
                        f"{unit} ({capability}).",
                    )


def _condition(
    path: str, condition: Condition, known: dict[str, tuple[str, str]]
) -> Iterator[Problem]:
    ends = [Quantity.read(text) for text in (condition.lowest, condition.highest) if text]
    if not ends or len({type(end) for end in ends}) > 1 or ends[0] > ends[-1]:
        yield Problem("U030", path, f"{condition.lowest!r} to {condition.highest!r} are no limits.")
        return
    if not isinstance(condition.reading, MeasuredValue):
        return
    if condition.reading.name not in known:
        yield Problem("U040", path, f"nothing measures or orders {condition.reading.name!r}.")
        return
    lowest, highest = known[condition.reading.name]
    if not lowest:
        return
    least, most = Quantity.read(lowest), Quantity.read(highest)
    if type(least) is not type(ends[0]):
        yield Problem(
            "U030",
            path,
            f"{condition.reading.name!r} is a {type(least).__name__}; {ends[0]} isn't.",
        )
        return
    below = bool(condition.highest) and Quantity.read(condition.highest) < least
    above = bool(condition.lowest) and Quantity.read(condition.lowest) > most
    if below or above:
        yield Problem(
            "U030",
            path,
            f"{condition.reading.name!r} lies in {least} to {most}, so the test never holds.",
        )
