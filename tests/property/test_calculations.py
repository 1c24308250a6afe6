"""Every formula is monotone, exact, and agrees with a second computation.

Method: the second computation is written here from the equation alone, with exact
fractions in physical units (mL, cells, kg), not with base units as the formulas are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction as Exact
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.kernel.measured import Bounds
from orchestrator.kernel.quantities import (
    Cells,
    Fraction,
    Mass,
    Quantity,
    Ratio,
    Volume,
    uL,
)
from orchestrator.recipe.calculations import FORMULAS, Formula

STEPS: Final[dict[type[Quantity], Volume | Cells]] = {Volume: 100 * uL, Cells: Cells.of_base(1000)}

PHYSICAL: Final[dict[type[Quantity], Exact]] = {
    Volume: Exact(1, 1_000_000),  # mL
    Mass: Exact(1, 1_000_000_000),  # kg
    Ratio: Exact(1, 1_000),
    Fraction: Exact(1, 100_000),
}

SECOND: Final[dict[str, Callable[[Mapping[str, Exact]], Exact]]] = {
    "volume_holding/1": lambda a: a["cells"] / a["density"],
    "cells_in/1": lambda a: a["volume"] * a["density"],
    "volume_for_ratio/1": lambda a: a["cells"] * a["ratio"] / a["titer"],
    "reagent_per_cells/1": lambda a: a["cells"] * (a["volume"] / a["per_cells"]),
    "cells_by_weight/1": lambda a: a["weight"] * a["cells_per_kg"],
    "part_of_volume/1": lambda a: a["part"] * a["volume"],
    "volume_over/1": lambda a: a["volume"] / a["ratio"],
    "volume_less/1": lambda a: a["volume"] - min(a["taken"], a["volume"]),
    "viable_part_engineered/1": lambda a: a["engineered"] * a["cells"],
}


def arguments(formula: Formula) -> st.SearchStrategy[dict[str, Quantity]]:
    return st.fixed_dictionaries(
        {name: st.integers(1, 10**10).map(kind.of_base) for name, kind in formula.arguments.items()}
    )


every = pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)


def test_each_formula_has_a_second_computation() -> None:
    assert set(SECOND) == set(FORMULAS)


@every
@given(data=st.data())
def test_a_formula_agrees_with_the_second_computation(
    formula: Formula, data: st.DataObject
) -> None:
    given_values = data.draw(arguments(formula))
    physical = {
        name: value.base * PHYSICAL.get(type(value), Exact(1))
        for name, value in given_values.items()
    }
    exact = SECOND[formula.name](physical) / PHYSICAL.get(formula.result, Exact(1))
    step = STEPS[formula.result]
    down = formula.value(given_values, down_to=str(step)).base
    up = formula.value(given_values, up_to=str(step)).base
    assert down <= exact < down + step.base
    assert up - step.base < exact <= up
    assert down % step.base == up % step.base == 0


@every
@given(data=st.data())
def test_a_formula_is_monotone_in_each_argument(formula: Formula, data: st.DataObject) -> None:
    low = data.draw(arguments(formula))
    name = data.draw(st.sampled_from(sorted(formula.arguments)))
    more = low | {name: type(low[name]).of_base(low[name].base + data.draw(st.integers(0, 10**10)))}
    step = str(STEPS[formula.result])
    before, after = formula.value(low, down_to=step), formula.value(more, down_to=step)
    assert (after <= before) if name in formula.falls_with else (before <= after)


@every
@given(data=st.data())
def test_the_bounds_hold_every_value_between_the_ends(
    formula: Formula, data: st.DataObject
) -> None:
    one, other, inner = (data.draw(arguments(formula)) for _ in range(3))
    ends: dict[str, Bounds] = {}
    inside: dict[str, Quantity] = {}
    for name, kind in formula.arguments.items():
        low, high = sorted((one[name], other[name]))
        ends[name] = Bounds(lowest=str(low), highest=str(high))
        inside[name] = kind.of_base(min(max(inner[name].base, low.base), high.base))
    step = str(STEPS[formula.result])
    bounds = formula.bounds(ends, down_to=step)
    value = formula.value(inside, down_to=step)
    assert formula.result.read(bounds.lowest) <= value <= formula.result.read(bounds.highest)


@every
def test_a_formula_refuses_what_it_cannot_compute(formula: Formula) -> None:
    whole = {name: kind.of_base(7) for name, kind in formula.arguments.items()}
    with pytest.raises(ValueError, match="needs"):
        formula.value({})
    step = str(STEPS[formula.result])
    with pytest.raises(ValueError, match="not both"):
        formula.value(whole, down_to=step, up_to=step)
    for name in formula.arguments:
        negative = whole | {name: formula.arguments[name].of_base(-1)}
        with pytest.raises(ValueError, match="above zero"):
            formula.value(negative)
    for name in formula.falls_with:
        nothing = whole | {name: formula.arguments[name].of_base(0)}
        with pytest.raises(ValueError, match="above zero"):
            formula.value(nothing)
