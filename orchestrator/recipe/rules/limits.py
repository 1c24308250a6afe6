"""L: within what equipment is qualified for and the process is proven in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from devices.sheets.sheet import models, sheet_of
from orchestrator.kernel.quantities import Quantity, Range
from orchestrator.recipe.rules.rule import Problem, Rule
from orchestrator.recipe.rules.view import Parameter, View, parameters

RULES = (
    Rule(
        code="L010",
        severity="refuse",
        demands="A step uses only units that the procedure declares, for what they can do.",
        because="Otherwise no process cell could be found to have what is needed.",
        do_next="Declare the unit with p.equipment(...), or use one that can do it.",
    ),
    Rule(
        code="L020",
        severity="refuse",
        demands="A parameter lies in the range that the procedure declares for the unit.",
        because="Outside its proven acceptable range the process has not been shown to work.",
        do_next="Correct the parameter, or the range with its report.",
    ),
    Rule(
        code="L030",
        severity="refuse",
        demands="Some instrument that is known can be asked for the parameter.",
        because="A driver refuses what lies outside its sheet's qualified limits.",
        do_next="Write a value within the limits; `cellwright models` lists them.",
    ),
    Rule(
        code="L040",
        severity="refuse",
        demands="The process cell has every unit and capability that the procedure needs.",
        because="A batch must not begin where it can't end.",
        do_next="Choose another cell, or change the procedure.",
    ),
    Rule(
        code="L050",
        severity="refuse",
        demands="A parameter lies in the qualified limits of the cell's own instruments.",
        because="The cell's limits can be narrower than those of the model.",
        do_next="Write a value within the limits, or choose another cell.",
    ),
)


def look(view: View) -> Iterator[Problem]:
    """Yield what lies outside limits."""
    yield from _cell(view)
    for path, claims in view.claims.items():
        asked = tuple(parameters(view.steps[path]))
        for unit, capability in claims.needs:
            role = view.roles.get(unit)
            if role is None:
                yield Problem("L010", path, f"{unit!r} isn't declared as equipment.")
                continue
            if capability not in role.capabilities:
                yield Problem("L010", path, f"{unit!r} ({role.kind}) has no {capability}.")
            if view.cell is not None:
                limits = view.cell.limits_of(role.kind, capability)
                yield from _outside("L050", path, f"the cell's {unit}", asked, limits)
            yield from _no_model(path, unit, capability, asked)
        for unit in claims.occupies:
            if unit not in view.roles:
                yield Problem("L010", path, f"{unit!r} isn't declared as equipment.")
        for unit in dict.fromkeys(unit for unit, _ in claims.needs):
            role = view.roles.get(unit)
            if role is not None:
                proven = {
                    name: Range(Quantity.read(ends.lowest), Quantity.read(ends.highest))
                    for name, ends in role.ranges.items()
                }
                yield from _outside("L020", path, f"this procedure on {unit}", asked, proven)


def _cell(view: View) -> Iterator[Problem]:
    if view.cell is None:
        return
    for role in view.recipe.equipment:
        has = view.cell.capabilities_of(role.kind)
        if not has:
            yield Problem("L040", f"equipment:{role.name}", f"the cell has no {role.kind}.")
            continue
        needed = {
            capability
            for claims in view.claims.values()
            for unit, capability in claims.needs
            if unit == role.name
        }
        missing = ", ".join(sorted(needed - has))
        if missing:
            yield Problem(
                "L040", f"equipment:{role.name}", f"the cell's {role.kind} has no {missing}."
            )


def _outside(
    code: str, path: str, whose: str, asked: tuple[Parameter, ...], limits: Any
) -> Iterator[Problem]:
    for parameter in asked:
        limit = limits.get(parameter.name)
        if _beyond(parameter, limit):
            yield Problem(
                code,
                path,
                f"{parameter.name} {_told(parameter.range)} lies outside {limit}, the limits "
                f"of {whose}.",
            )


def _no_model(
    path: str, unit: str, capability: str, asked: tuple[Parameter, ...]
) -> Iterator[Problem]:
    sheets = _limits_by_model(capability)
    for parameter in asked:
        limits = [limit for one in sheets.values() if (limit := one.get(parameter.name))]
        fitting = [limit for limit in limits if type(limit.lowest) is type(parameter.range.lowest)]
        if fitting and all(_beyond(parameter, limit) for limit in fitting):
            known = "; ".join(
                f"{model}: {one[parameter.name]}"
                for model, one in sheets.items()
                if parameter.name in one
            )
            yield Problem(
                "L030",
                path,
                f"{parameter.name} {_told(parameter.range)} at {unit}: no instrument with "
                f"{capability} admits it ({known}).",
            )


@cache
def _limits_by_model(capability: str) -> dict[str, dict[str, Range[Any]]]:
    found: dict[str, dict[str, Range[Any]]] = {}
    for model in models():
        sheet = sheet_of(model)
        if sheet.capability != capability:
            continue
        found[model] = {
            name: Range(Quantity.read(limit.lowest), Quantity.read(limit.highest))
            for name, limit in sheet.limits.items()
            if limit.quantity != "number"
        }
    return found


def _beyond(parameter: Parameter, limit: Range[Any] | None) -> bool:
    if limit is None or type(limit.lowest) is not type(parameter.range.lowest):
        return False
    return not parameter.range.within(limit)


def _told(asked: Range[Any]) -> str:
    return str(asked.lowest) if asked.lowest == asked.highest else str(asked)
