"""What holds for every quantity: exact text, exact arithmetic, monotone formulas.

Method: Hypothesis over all integers (not only those of the bench), all dimensions.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.kernel.quantities import (
    CellDensity,
    Cells,
    Flow,
    Quantity,
    Range,
    RelativeForce,
    Temperature,
    Titer,
    Unit,
    Volume,
    mL,
)

DIMENSIONS = sorted(
    {unit.kind for unit in Quantity.by_name.values()}, key=lambda kind: kind.__name__
)
UNITS = list(Quantity.by_name.values())

dimensions = st.sampled_from(DIMENSIONS)
bases = st.integers()
positive = st.integers(min_value=1, max_value=10**15)


def test_all_fourteen_dimensions_are_covered() -> None:
    assert len(DIMENSIONS) == 14
    assert {Volume, Temperature, Titer, RelativeForce} <= set(DIMENSIONS)


@pytest.mark.requirement("REC-13")
@given(kind=dimensions, base=bases)
def test_text_is_exact_both_ways(kind: type[Quantity], base: int) -> None:
    quantity = kind.of_base(base)
    assert kind.read(str(quantity)) == quantity
    assert Quantity.read(str(quantity)) == quantity


@pytest.mark.requirement("REC-13")
@given(kind=dimensions, count=st.integers(-999_999, 999_999), power=st.integers(0, 18))
def test_round_numbers_are_exact_both_ways(kind: type[Quantity], count: int, power: int) -> None:
    quantity = kind.of_base(count * 10**power)
    assert kind.read(str(quantity)) == quantity


@given(unit=st.sampled_from(UNITS), number=st.decimals(allow_nan=False, allow_infinity=False))
def test_a_number_of_a_unit_is_exact_or_refused(unit: Unit[Quantity], number: Decimal) -> None:
    numerator, denominator = number.as_integer_ratio()
    exact, left = divmod(numerator * unit.size, denominator)
    if abs(number.adjusted()) > 900:
        return  # beyond the exponents that a text may have
    if left:
        with pytest.raises(ValueError, match="finer"):
            _ = number * unit
    else:
        assert number * unit == unit.kind.of_base(exact)


@given(a=bases, b=bases, n=st.integers(-1_000, 1_000))
def test_addition_is_that_of_whole_numbers(a: int, b: int, n: int) -> None:
    x, y = Volume.of_base(a), Volume.of_base(b)
    assert (x + y) - y == x
    assert x + y == y + x
    assert (x + y) * n == n * x + n * y
    assert (x < y) == (a < b)
    assert (x <= y) == (a <= b)


@given(base=bases, step=positive)
def test_rounding_stays_on_its_side_and_within_one_step(base: int, step: int) -> None:
    volume, grid = Volume.of_base(base), Volume.of_base(step)
    down, up = volume.round_down_to(grid), volume.round_up_to(grid)
    assert down <= volume <= up
    assert (up == down) or (up - down == grid)
    assert down.steps(grid) * grid == down


@given(a=positive, b=positive, flow=positive)
def test_a_formula_is_monotone_so_its_extremes_lie_at_the_ends(a: int, b: int, flow: int) -> None:
    low, high = sorted((a, b))
    rate = Flow.of_base(flow)
    assert Volume.of_base(low).at(rate) <= Volume.of_base(high).at(rate)
    assert Volume.of_base(flow).at(Flow.of_base(high)) <= Volume.of_base(flow).at(Flow.of_base(low))
    cells = Cells.of_base(flow)
    assert cells.at(CellDensity.of_base(high)) <= cells.at(CellDensity.of_base(low))


@given(cells=positive, density=st.integers(1, 1_000_000_000))
def test_seeding_gives_the_cells_asked_to_within_one_nanolitre(cells: int, density: int) -> None:
    per_mL = CellDensity.of_base(density)
    given_cells = Cells.of_base(cells).at(per_mL).holding(per_mL)
    assert abs(given_cells.base - cells) <= density // 1_000_000 + 1


@given(ends=st.tuples(bases, bases, bases, bases), probe=bases)
def test_ranges_agree_with_their_members(ends: tuple[int, int, int, int], probe: int) -> None:
    a, b, c, d = ends
    one = Range(Volume.of_base(min(a, b)), Volume.of_base(max(a, b)))
    two = Range(Volume.of_base(min(c, d)), Volume.of_base(max(c, d)))
    point = Volume.of_base(probe)
    if point in one and point in two:
        assert one.overlaps(two)
    if one.within(two) and point in one:
        assert point in two


@given(number=st.floats(-1e12, 1e12))
def test_the_nearest_is_off_by_half_a_base_unit_at_most(number: float) -> None:
    numerator, denominator = number.as_integer_ratio()
    error = abs(mL.nearest(number).base * denominator - numerator * mL.size)
    assert 2 * error <= denominator
