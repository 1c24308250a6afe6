"""The author's calculations: rounding in the safe direction, bounds, and what is printed."""

from __future__ import annotations

from typing import cast

import pytest

from orchestrator.kernel.measured import Amount, Bounds, Calculated, Fixed, Measured, Ordered
from orchestrator.kernel.quantities import (
    CellDensity,
    Quantity,
    Range,
    Titer,
    Volume,
    between,
    hour,
    million_cells,
    million_per_mL,
    mL,
    ratio,
    uL,
)
from orchestrator.recipe.calculations import (
    NotYet,
    amount_of,
    evaluated,
    in_words,
    reagent_per_cells,
    told,
    volume_for_ratio,
    volume_holding,
    volume_less,
)

DENSITY = NotYet(
    Measured(name="density", bounds=Bounds(lowest="1e6 cells/mL", highest="20e6 cells/mL")),
    CellDensity,
)


def known(amount: Amount) -> str:
    return amount.value if isinstance(amount, Fixed) else "12.4e6 cells/mL"


def calculated(value: NotYet[Volume]) -> Calculated:
    assert isinstance(value.amount, Calculated)
    return value.amount


def test_a_measured_density_gives_a_range_of_volumes() -> None:
    seed = volume_holding(100 * million_cells, at=DENSITY, round_down_to=0.1 * mL)
    assert seed.bounds == between(5 * mL, 100 * mL)


def test_no_more_cells_are_taken_than_stated() -> None:
    seed = calculated(volume_holding(100 * million_cells, at=DENSITY, round_down_to=0.1 * mL))
    assert evaluated(seed, known) == "8 mL"
    assert told(seed, known, "8 mL") == (
        "volume_holding/1: 100e6 cells / 12.4e6 cells/mL = 8 mL, rounded down to a whole 100 uL"
    )


def test_reagent_is_rounded_up() -> None:
    beads = reagent_per_cells(
        101 * million_cells,
        volume=17.5 * uL,
        per_cells=10 * million_cells,
        round_up_to=1 * uL,
    )
    assert beads.bounds == between(177 * uL, 177 * uL)


def test_the_ratio_of_vector_to_cells_is_not_exceeded() -> None:
    vector = volume_for_ratio(
        100 * million_cells,
        ratio=5 * ratio,
        titer=Titer.of_base(300_000_000),
        round_down_to=1 * uL,
    )
    assert vector.bounds == between(1666 * uL, 1666 * uL)


def test_what_is_added_is_what_a_whole_lacks() -> None:
    whole = volume_holding(100 * million_cells, at=DENSITY, round_down_to=0.1 * mL)
    added = volume_less(whole, taken=20 * mL, round_down_to=0.1 * mL)
    assert added.bounds == between(0 * mL, 80 * mL)


def test_what_is_not_known_yet_has_no_truth() -> None:
    with pytest.raises(TypeError, match=r"write p\.when"):
        bool(cast("object", DENSITY))


@pytest.mark.parametrize("value", [5 * hour, 5, "5 mL", DENSITY])
def test_another_dimension_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="Volume"):
        amount_of(value, Volume)  # type: ignore[type-var]


def test_an_amount_is_told_with_its_range() -> None:
    ordered = Ordered(name="dose", bounds=Bounds(lowest="5 mL", highest="10 mL"))
    assert in_words(ordered) == "the ordered 'dose' (5 mL to 10 mL)"
    assert in_words(Fixed(value="5 mL")) == "5 mL"


def test_a_rounding_that_is_not_stated_is_not_done() -> None:
    seed = calculated(volume_holding(100 * million_cells, at=DENSITY, round_down_to=0.1 * mL))
    unrounded = seed.model_copy(update={"round_down_to": ""})
    with pytest.raises(ValueError, match="no rounding is stated"):
        evaluated(unrounded, lambda a: a.value if isinstance(a, Fixed) else "7e6 cells/mL")


def test_bounds_are_of_the_amounts_own_dimension() -> None:
    limits: Range[CellDensity] = DENSITY.bounds
    assert limits == between(1 * million_per_mL, 20 * million_per_mL)
    assert isinstance(limits.lowest, Quantity)
