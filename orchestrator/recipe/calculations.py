"""Calculations that a recipe may name: each one a validated formula with a version.

A formula works in whole base units throughout. Its only rounding is the one the recipe
states (down or up to a step); before that the exact quotient is kept, so the step is
applied to the true value. Each formula is monotone in each argument, so the least and
the most it can give come from the ends of its arguments' ranges; property tests hold
each one to that, and to a second computation written apart from it.

A formula's meaning never changes: another meaning is another version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction as Exact
from typing import Any, Final, Generic, NoReturn, TypeVar, cast

from orchestrator.kernel.measured import Amount, Bounds, Calculated, Fixed
from orchestrator.kernel.quantities import (
    CellDensity,
    Cells,
    Fraction,
    Mass,
    Quantity,
    Range,
    Ratio,
    Titer,
    Volume,
)

Q = TypeVar("Q", bound=Quantity)

_NL_PER_ML: Final = 1_000_000
_UG_PER_KG: Final = 1_000_000_000


class NotYet(Generic[Q]):
    """A quantity that isn't known while the recipe is written, only the range it lies in.

    It can be given to a step, to a calculation, to ``p.when`` and to ``p.repeat_until``.
    """

    __slots__ = ("amount", "bounds", "kind")

    def __init__(self, amount: Amount, kind: type[Q]) -> None:
        self.amount = amount
        self.kind = kind
        self.bounds: Range[Q] = bounds_of(amount, kind)

    def __bool__(self) -> NoReturn:
        """Refuse: nothing can depend on it before the procedure runs."""
        raise TypeError(f"{_told(self.amount)} isn't known yet; write p.when(...)")

    def __repr__(self) -> str:
        return f"NotYet({_told(self.amount)}: {self.bounds})"


def bounds_of(amount: Amount, kind: type[Q]) -> Range[Q]:
    """Return the range in which an amount lies.

    Raises:
        ValueError: It isn't an amount of this dimension.
    """
    return Range(kind.read(amount.bounds.lowest), kind.read(amount.bounds.highest))


def amount_of(value: Q | NotYet[Q], kind: type[Q]) -> Amount:
    """Return what stands in a recipe for ``value``.

    Raises:
        TypeError: It is a quantity of another dimension, or none.
    """
    if isinstance(value, NotYet):
        known = cast("NotYet[Any]", value)
        if known.kind is kind:
            return known.amount
        raise TypeError(f"{known!r} is a {known.kind.__name__}, not a {kind.__name__}")
    given = cast("object", value)
    if not isinstance(given, kind):
        told = f"{given} ({type(given).__name__})" if isinstance(given, Quantity) else repr(given)
        raise TypeError(f"{told} isn't a {kind.__name__}: {kind.how_to_write(given)}")
    return Fixed(value=str(value))


Arguments = Mapping[str, Quantity]


@dataclass(frozen=True)
class Formula:
    """One named, versioned calculation."""

    name: str
    """Name and version, as recipes hold it."""
    arguments: dict[str, type[Quantity]]
    result: type[Quantity]
    falls_with: frozenset[str]
    """Arguments by which the result falls; it rises by all others."""
    equation: str
    """What it computes, in people's words, with the arguments' names in braces."""
    exact: Callable[[Mapping[str, int]], Exact]
    """The result in base units from the arguments' base units, without any rounding."""

    def value(self, arguments: Arguments, *, down_to: str = "", up_to: str = "") -> Quantity:
        """Return the result, rounded as stated and no other way.

        Raises:
            ValueError: Arguments are missing, of other dimensions or not above zero
                where they divide; or no rounding is stated and the result isn't whole.
        """
        if set(arguments) != set(self.arguments):
            raise ValueError(f"{self.name} needs {', '.join(self.arguments)}")
        for name, kind in self.arguments.items():
            if type(arguments[name]) is not kind:
                raise ValueError(f"{self.name}: {name} must be a {kind.__name__}")
            if arguments[name].base < 0 or (name in self.falls_with and not arguments[name].base):
                raise ValueError(f"{self.name}: {name} must be above zero, not {arguments[name]}")
        exact = self.exact({name: value.base for name, value in arguments.items()})
        if down_to and up_to:
            raise ValueError(f"{self.name}: round down or up, not both")
        step = self.result.read(down_to or up_to).base if down_to or up_to else 1
        if step <= 0:
            raise ValueError(f"{self.name}: the step of rounding must be above zero")
        whole, left = divmod(exact, step)
        if left and not (down_to or up_to):
            raise ValueError(f"{self.name}: {float(exact)} isn't whole and no rounding is stated")
        return self.result.of_base(int(whole + 1 if left and up_to else whole) * step)

    def bounds(
        self, arguments: Mapping[str, Bounds], *, down_to: str = "", up_to: str = ""
    ) -> Bounds:
        """Return the least and the most that the result can be, from the arguments' ends."""
        ends: dict[str, tuple[Quantity, Quantity]] = {}
        for name, kind in self.arguments.items():
            low, high = kind.read(arguments[name].lowest), kind.read(arguments[name].highest)
            ends[name] = (high, low) if name in self.falls_with else (low, high)
        least = self.value({n: e[0] for n, e in ends.items()}, down_to=down_to, up_to=up_to)
        most = self.value({n: e[1] for n, e in ends.items()}, down_to=down_to, up_to=up_to)
        return Bounds(lowest=str(least), highest=str(most))

    def told(self, arguments: Mapping[str, str]) -> str:
        """Return the equation with ``arguments`` in it."""
        return self.equation.format(**arguments)


FORMULAS: Final[dict[str, Formula]] = {
    formula.name: formula
    for formula in (
        Formula(
            name="volume_holding/1",
            arguments={"cells": Cells, "density": CellDensity},
            result=Volume,
            falls_with=frozenset({"density"}),
            equation="{cells} / {density}",
            exact=lambda a: Exact(a["cells"] * _NL_PER_ML, a["density"]),
        ),
        Formula(
            name="cells_in/1",
            arguments={"volume": Volume, "density": CellDensity},
            result=Cells,
            falls_with=frozenset(),
            equation="{volume} x {density}",
            exact=lambda a: Exact(a["volume"] * a["density"], _NL_PER_ML),
        ),
        Formula(
            name="volume_for_ratio/1",
            arguments={"cells": Cells, "ratio": Ratio, "titer": Titer},
            result=Volume,
            falls_with=frozenset({"titer"}),
            equation="{cells} x {ratio} / {titer}",
            exact=lambda a: Exact(a["cells"] * a["ratio"] * _NL_PER_ML, 1_000 * a["titer"]),
        ),
        Formula(
            name="reagent_per_cells/1",
            arguments={"cells": Cells, "volume": Volume, "per_cells": Cells},
            result=Volume,
            falls_with=frozenset({"per_cells"}),
            equation="{cells} x {volume} / {per_cells}",
            exact=lambda a: Exact(a["cells"] * a["volume"], a["per_cells"]),
        ),
        Formula(
            name="cells_by_weight/1",
            arguments={"weight": Mass, "cells_per_kg": Cells},
            result=Cells,
            falls_with=frozenset(),
            equation="{weight} x {cells_per_kg} per kg",
            exact=lambda a: Exact(a["weight"] * a["cells_per_kg"], _UG_PER_KG),
        ),
        Formula(
            name="part_of_volume/1",
            arguments={"volume": Volume, "part": Fraction},
            result=Volume,
            falls_with=frozenset(),
            equation="{part} of {volume}",
            exact=lambda a: Exact(a["volume"] * a["part"], 100_000),
        ),
        Formula(
            name="volume_over/1",
            arguments={"volume": Volume, "ratio": Ratio},
            result=Volume,
            falls_with=frozenset({"ratio"}),
            equation="{volume} / {ratio}",
            exact=lambda a: Exact(1_000 * a["volume"], a["ratio"]),
        ),
        Formula(
            name="volume_less/1",
            arguments={"volume": Volume, "taken": Volume},
            result=Volume,
            falls_with=frozenset({"taken"}),
            equation="{volume} - {taken}, not below nothing",
            exact=lambda a: Exact(max(0, a["volume"] - a["taken"])),
        ),
        Formula(
            name="viable_part_engineered/1",
            arguments={"cells": Cells, "engineered": Fraction},
            result=Cells,
            falls_with=frozenset(),
            equation="{engineered} of {cells}",
            exact=lambda a: Exact(a["cells"] * a["engineered"], 100_000),
        ),
    )
}


def evaluated(amount: Calculated, known: Callable[[Amount], str]) -> str:
    """Return a calculated amount's value as text; ``known`` gives each argument's value.

    Raises:
        ValueError: The formula is unknown, or doesn't admit the arguments.
    """
    formula = _formula(amount.formula)
    arguments = {
        name: formula.arguments[name].read(known(argument))
        for name, argument in amount.arguments.items()
        if name in formula.arguments
    }
    return str(formula.value(arguments, down_to=amount.round_down_to, up_to=amount.round_up_to))


def told(amount: Calculated, known: Callable[[Amount], str], result: str) -> str:
    """Return the formula with its numbers for the batch record.

    For example ``volume_holding/1: 100e6 cells / 12.4e6 cells/mL = 8 mL, rounded down to
    a whole 100 uL``.
    """
    formula = _formula(amount.formula)
    numbers = formula.told({name: known(value) for name, value in amount.arguments.items()})
    return f"{formula.name}: {numbers} = {result}{_rounding(amount)}"


def _rounding(amount: Calculated) -> str:
    if amount.round_down_to:
        return f", rounded down to a whole {amount.round_down_to}"
    if amount.round_up_to:
        return f", rounded up to a whole {amount.round_up_to}"
    return ""


def _formula(name: str) -> Formula:
    formula = FORMULAS.get(name)
    if formula is None:
        raise ValueError(f"unknown formula {name!r}; known: {', '.join(sorted(FORMULAS))}")
    return formula


def _told(amount: Amount) -> str:
    if isinstance(amount, Fixed):
        return amount.value
    if isinstance(amount, Calculated):
        arguments = {name: _told(value) for name, value in amount.arguments.items()}
        return _formula(amount.formula).told(arguments) + _rounding(amount)
    return f"the {amount.source} {amount.name!r}"


def in_words(amount: Amount) -> str:
    """Return an amount as the numbered procedure prints it, with the range it can lie in."""
    words = _told(amount)
    if isinstance(amount, Fixed):
        return words
    return f"{words} ({amount.bounds.lowest} to {amount.bounds.highest})"


def _calculated(
    formula: str, result: type[Q], arguments: dict[str, Any], *, down_to: Q | None, up_to: Q | None
) -> NotYet[Q]:
    kinds = FORMULAS[formula].arguments
    amounts = {name: amount_of(value, kinds[name]) for name, value in arguments.items()}
    down, up = ("" if step is None else str(step) for step in (down_to, up_to))
    bounds = FORMULAS[formula].bounds(
        {name: amount.bounds for name, amount in amounts.items()}, down_to=down, up_to=up
    )
    amount = Calculated(
        formula=formula, arguments=amounts, round_down_to=down, round_up_to=up, bounds=bounds
    )
    return NotYet(amount, result)


# The author's words --------------------------------------------------------------------
# Each rounds in the direction that its sentence calls safe; the step is the recipe's.


def volume_holding(
    cells: Cells | NotYet[Cells],
    *,
    at: CellDensity | NotYet[CellDensity],
    round_down_to: Volume,
) -> NotYet[Volume]:
    """Return the volume that holds ``cells`` at a density: cells / (cells/mL) = mL.

    Rounded down, so that no more cells are taken than stated.
    """
    return _calculated(
        "volume_holding/1",
        Volume,
        {"cells": cells, "density": at},
        down_to=round_down_to,
        up_to=None,
    )


def cells_in(
    volume: Volume | NotYet[Volume],
    *,
    at: CellDensity | NotYet[CellDensity],
    round_down_to: Cells,
) -> NotYet[Cells]:
    """Return the cells in a volume: mL x (cells/mL) = cells. Rounded down: surely there."""
    return _calculated(
        "cells_in/1", Cells, {"volume": volume, "density": at}, down_to=round_down_to, up_to=None
    )


def volume_for_ratio(
    cells: Cells | NotYet[Cells],
    *,
    ratio: Ratio | NotYet[Ratio],
    titer: Titer | NotYet[Titer],
    round_down_to: Volume,
) -> NotYet[Volume]:
    """Return the volume that brings ``ratio`` units to each cell (MOI): cells x ratio / titer.

    Rounded down, so that the ratio isn't exceeded.
    """
    return _calculated(
        "volume_for_ratio/1",
        Volume,
        {"cells": cells, "ratio": ratio, "titer": titer},
        down_to=round_down_to,
        up_to=None,
    )


def reagent_per_cells(
    cells: Cells | NotYet[Cells],
    *,
    volume: Volume,
    per_cells: Cells,
    round_up_to: Volume,
) -> NotYet[Volume]:
    """Return the reagent for cells, e.g. 17.5 uL for each 10 million: cells x mL / cells = mL.

    Rounded up, so that the reagent suffices.
    """
    return _calculated(
        "reagent_per_cells/1",
        Volume,
        {"cells": cells, "volume": volume, "per_cells": per_cells},
        down_to=None,
        up_to=round_up_to,
    )


def cells_by_weight(
    weight: Mass | NotYet[Mass], *, cells_per_kg: Cells | NotYet[Cells], round_down_to: Cells
) -> NotYet[Cells]:
    """Return a dose by body weight: kg x (cells/kg) = cells. Rounded down: not exceeded."""
    return _calculated(
        "cells_by_weight/1",
        Cells,
        {"weight": weight, "cells_per_kg": cells_per_kg},
        down_to=round_down_to,
        up_to=None,
    )


def part_of_volume(
    volume: Volume | NotYet[Volume], *, part: Fraction | NotYet[Fraction], round_down_to: Volume
) -> NotYet[Volume]:
    """Return a part of a volume: % x mL = mL. Rounded down: surely there."""
    return _calculated(
        "part_of_volume/1",
        Volume,
        {"volume": volume, "part": part},
        down_to=round_down_to,
        up_to=None,
    )


def volume_over(
    volume: Volume | NotYet[Volume], *, ratio: Ratio | NotYet[Ratio], round_down_to: Volume
) -> NotYet[Volume]:
    """Return a volume divided by a ratio, e.g. equal bags: mL / 1 = mL. Rounded down."""
    return _calculated(
        "volume_over/1",
        Volume,
        {"volume": volume, "ratio": ratio},
        down_to=round_down_to,
        up_to=None,
    )


def volume_less(
    volume: Volume | NotYet[Volume], *, taken: Volume | NotYet[Volume], round_down_to: Volume
) -> NotYet[Volume]:
    """Return what is left of a volume, e.g. to be added to what is there: mL - mL = mL.

    Rounded down; nothing where more is taken than there is.
    """
    return _calculated(
        "volume_less/1",
        Volume,
        {"volume": volume, "taken": taken},
        down_to=round_down_to,
        up_to=None,
    )


def engineered_cells(
    cells: Cells | NotYet[Cells],
    *,
    engineered: Fraction | NotYet[Fraction],
    round_down_to: Cells,
) -> NotYet[Cells]:
    """Return the engineered ones of viable cells: % x cells = cells. Rounded down."""
    return _calculated(
        "viable_part_engineered/1",
        Cells,
        {"cells": cells, "engineered": engineered},
        down_to=round_down_to,
        up_to=None,
    )
