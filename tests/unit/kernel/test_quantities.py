"""Quantities are exact, and refuse what makes no physical sense.

Method: each rule by an example, with the numbers people use at the bench. Where the type
checker must object too, the line carries a type-ignore that the checker would report as
unnecessary if it didn't.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import copy
import math
import pickle
from decimal import Decimal
from typing import Any, cast

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.kernel import quantities
from orchestrator.kernel.quantities import (
    CellDensity,
    Cells,
    Duration,
    Flow,
    L,
    Quantity,
    Range,
    Ratio,
    Temperature,
    TemperatureChange,
    Unit,
    Volume,
    between,
    cell,
    cells_per_mL,
    day,
    degC,
    degC_per_min,
    gram,
    hour,
    kelvin,
    kg,
    million_cells,
    million_per_mL,
    minute,
    mL,
    mL_per_min,
    mm,
    ms,
    nL,
    percent,
    ratio,
    second,
    ug,
    uL,
    uL_per_min,
    units_per_mL,
    x_g,
)

AS_WRITTEN = [
    (250 * mL, "250 mL"),
    (0.1 * mL, "100 uL"),
    (1_500 * mL, "1.5 L"),
    (0.25 * L, "250 mL"),
    (1_234_567 * nL, "1234.567 uL"),
    (1_234_567_891 * nL, "1234567.891 uL"),
    (-3 * mL, "-3 mL"),
    (0 * nL, "0 mL"),
    (50 * mL_per_min, "50 mL/min"),
    (0.5 * mL_per_min, "500 uL/min"),
    (90 * second, "90 s"),
    (90 * minute, "90 min"),
    (36 * hour, "36 h"),
    (12 * day, "12 d"),
    (1_500 * ms, "1.5 s"),
    (12.5 * gram, "12.5 g"),
    (2 * kg, "2 kg"),
    (7 * ug, "7 ug"),
    (37 * degC, "37 °C"),
    (-196 * degC, "-196 °C"),
    (0.5 * degC, "0.5 °C"),
    (2 * kelvin, "2 K"),
    (-1 * degC_per_min, "-1 °C/min"),
    (100_000_000 * cell, "100e6 cells"),
    (1_500_000 * cell, "1.5e6 cells"),
    (123_456_789 * cell, "123456789 cells"),
    (999_999 * cell, "999999 cells"),
    (10 * million_per_mL, "10e6 cells/mL"),
    (80 * percent, "80 %"),
    (77.7 * percent, "77.7 %"),
    (300 * x_g, "300 x g"),
    (0.5 * ratio, "0.5 : 1"),
    (100_000_000 * units_per_mL, "100e6 units/mL"),
    (0.25 * mm, "250 um"),
]


@pytest.mark.parametrize(("quantity", "text"), AS_WRITTEN)
@pytest.mark.requirement("REC-13")
def test_is_written_as_people_write_it_and_read_back_exactly(quantity: Quantity, text: str) -> None:
    assert str(quantity) == text
    assert type(quantity).read(text) == quantity
    assert Quantity.read(text) == quantity, "a text's unit alone tells its dimension"


def test_every_unit_makes_its_dimension_and_converts_back() -> None:
    units = [cast("Unit[Any]", u) for u in vars(quantities).values() if isinstance(u, Unit)]
    assert len(units) == 31
    for unit in units:
        made = 3 * unit
        assert type(made) is unit.kind
        assert made.to(unit) == 3.0
        assert made.steps(1 * unit) == 3


@pytest.mark.requirement("REC-13")
def test_a_decimal_is_taken_as_written_not_as_the_float_behind_it() -> None:
    assert 0.1 * mL + 0.2 * mL == 0.3 * mL
    assert Decimal("0.1") * mL == 100 * uL
    assert Decimal("1E+2") * mL == 100 * mL
    assert 1 * mL == 1e-3 * L


@pytest.mark.parametrize("count", [0.1, 1e-7, math.inf, math.nan, Decimal("0.5"), Decimal("NaN")])
def test_a_number_finer_than_the_base_unit_is_refused(count: float | Decimal) -> None:
    with pytest.raises(ValueError, match=r"nL|number"):
        _ = count * nL


def test_physics_may_ask_for_the_nearest_base_unit() -> None:
    assert mL.nearest(1 / 3) == Volume.of_base(333_333)
    assert mL.nearest(-2.0000004) == Volume.of_base(-2_000_000)
    for number in (math.inf, math.nan):
        with pytest.raises(ValueError, match=r"finite|NaN"):
            mL.nearest(number)


@pytest.mark.parametrize(
    "text",
    ["250", "250mL", "250 ml", "250  mL", " 250 mL", "250 mL ", "mL", "", "+1 mL", "1,5 mL",
     ".5 mL", "1. mL", "0x10 mL", "1_000 mL", "NaN mL", "inf mL", "٢ mL", "250 g", "37 °C",
     "0.5 nL"],
)  # fmt: skip
def test_any_other_text_is_refused_and_no_unit_is_assumed(text: str) -> None:
    with pytest.raises(ValueError, match="L"):
        Volume.read(text)


def test_a_refused_unit_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="one of L, mL, uL, nL"):
        Volume.read("250 ml")


def test_signs_missing_on_a_keyboard_have_a_spelling() -> None:
    assert Temperature.read("37 degC") == 37 * degC
    assert Ratio.read("2 ratio") == 2 * ratio
    assert Cells.read("1e8 cells") == 100 * million_cells


def test_two_temperatures_have_a_difference_and_no_sum() -> None:
    assert 37 * degC - 34 * degC == 3 * kelvin
    assert 37 * degC + 1 * kelvin == 38 * degC
    assert 37 * degC - 1 * kelvin == 36 * degC
    with pytest.raises(TypeError):
        37 * degC + 37 * degC  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    with pytest.raises(TypeError):
        2 * (37 * degC)  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]


def test_dimensions_do_not_mix() -> None:
    with pytest.raises(TypeError):
        1 * mL + 1 * second  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    with pytest.raises(TypeError):
        1 * mL - 1 * second  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    with pytest.raises(TypeError):
        assert 1 * mL < 1 * second  # pyright: ignore[reportOperatorIssue]
    with pytest.raises(TypeError):
        (1 * mL).to(second)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError):
        (1 * mL).steps(1 * second)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError):
        1 * percent + 1  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    with pytest.raises(TypeError):
        1.5 * (1 * mL)  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    with pytest.raises(TypeError):
        (1 * mL) / (1 * mL)  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    assert (1 * mL) != (1_000_000 * cell)
    assert len({1 * nL, 1 * ms}) == 2


def test_a_quantity_is_no_truth_value_and_no_number() -> None:
    with pytest.raises(TypeError, match="compare it"):
        bool(1 * mL)
    conversions: tuple[Any, ...] = (float, int, round)
    for convert in conversions:
        with pytest.raises(TypeError):
            convert(1 * mL)


def test_true_is_not_one_millilitre() -> None:
    with pytest.raises(TypeError):
        True * mL  # pyright: ignore[reportUnusedExpression]
    with pytest.raises(TypeError):
        True * (1 * mL)  # pyright: ignore[reportUnusedExpression]
    with pytest.raises(TypeError):
        (1 * mL) // True  # pyright: ignore[reportUnusedExpression]
    with pytest.raises(TypeError):
        Volume.of_base(True)


def test_a_quantity_cannot_be_changed_or_made_without_a_unit() -> None:
    volume = 1 * mL
    with pytest.raises(AttributeError):
        volume.base = 2
    with pytest.raises(AttributeError):
        del volume.base
    with pytest.raises(TypeError, match="250 \\* mL"):
        Volume()
    with pytest.raises(TypeError):
        Volume.of_base(1.0)  # pyright: ignore[reportArgumentType]
    assert volume == 1 * mL


def test_steps_for_the_wire_are_whole_or_refused() -> None:
    assert (250 * mL).steps(1 * uL) == 250_000
    assert (37.5 * degC).steps(0.1 * degC) == 375
    with pytest.raises(ValueError, match="nothing is rounded"):
        (1_500 * nL).steps(1 * uL)
    with pytest.raises(ValueError, match="above zero"):
        (1 * mL).steps(0 * mL)


def test_rounding_is_asked_for_by_its_direction() -> None:
    volume = 5.27 * mL
    assert volume.round_down_to(0.1 * mL) == 5.2 * mL
    assert volume.round_up_to(0.1 * mL) == 5.3 * mL
    assert (-volume).round_down_to(0.1 * mL) == -5.3 * mL
    assert (5.2 * mL).round_up_to(0.1 * mL) == 5.2 * mL
    assert (36.97 * degC).round_down_to(0.5 * degC) == 36.5 * degC


def test_dimensions_follow_from_one_another() -> None:
    assert (250 * mL).at(50 * mL_per_min) == 5 * minute
    assert (250 * mL) / (50 * mL_per_min) == 5 * minute
    assert (250 * mL) / (5 * minute) == 50 * mL_per_min
    assert (50 * mL_per_min) * (5 * minute) == 250 * mL
    assert (100 * million_cells).at(10 * million_per_mL) == 10 * mL
    assert (100 * million_cells) / (10 * million_per_mL) == 10 * mL
    assert (100 * million_cells) / (10 * mL) == 10 * million_per_mL
    assert (10 * mL).holding(10 * million_per_mL) == 100 * million_cells
    assert (10 * million_per_mL) * (10 * mL) == 100 * million_cells
    assert (10 * kelvin) / (2 * degC_per_min) == 5 * minute
    assert (-10 * kelvin) / (-2 * degC_per_min) == 5 * minute
    assert (-10 * kelvin) / (5 * minute) == -2 * degC_per_min
    assert (-1 * degC_per_min) * (5 * minute) == -5 * kelvin
    assert (80 * percent).of(250 * mL) == 200 * mL
    assert (2 * ratio).of(100 * million_cells) == 200 * million_cells
    assert (200 * mL).share_of(250 * mL) == 80 * percent
    assert (200 * million_cells).ratio_to(100 * million_cells) == 2 * ratio
    titer = 100_000_000 * units_per_mL
    assert titer.infecting(100 * million_cells, at=5 * ratio) == 5 * mL


def test_a_product_is_the_nearest_base_unit_half_up() -> None:
    assert (1 * nL).at(7 * mL_per_min) == 0 * ms
    assert (1 * mL).at(7 * mL_per_min) == Duration.of_base(8_571)
    assert (1 * uL_per_min) * (30 * ms) == Volume.of_base(1), "half a nanolitre goes up"


def test_nothing_divides_by_none() -> None:
    for divide in (
        lambda: (1 * mL).at(0 * mL_per_min),
        lambda: (1 * mL) / (0 * second),
        lambda: (1 * cell).at(0 * cells_per_mL),
        lambda: (1 * kelvin) / (0 * degC_per_min),
        lambda: (1 * mL).share_of(0 * mL),
    ):
        with pytest.raises(ValueError, match="above zero"):
            divide()


def test_amounts_add_and_share() -> None:
    assert 3 * (2 * mL) == (2 * mL) * 3 == 6 * mL
    assert (7 * nL) // 2 == 3 * nL
    assert (7 * mL) // (2 * mL) == 3
    assert abs(-2 * mL) == -(-2 * mL) == 2 * mL
    assert sum([1 * mL, 2 * mL], 0 * mL) == 3 * mL
    assert max(1 * mL, 2 * uL) == 1 * mL
    assert sorted([2 * mL, 1 * uL]) == [1 * uL, 2 * mL]


def test_a_range_knows_what_lies_in_it() -> None:
    qualified = between(1 * mL, 100 * mL)
    assert str(qualified) == "1 mL to 100 mL"
    assert 1 * mL in qualified
    assert 100 * mL in qualified
    assert 101 * mL not in qualified
    assert qualified.overlaps(between(100 * mL, 200 * mL))
    assert not qualified.overlaps(between(101 * mL, 200 * mL))
    assert between(2 * mL, 3 * mL).within(qualified)
    assert not qualified.within(between(2 * mL, 300 * mL))
    assert qualified == Range(1 * mL, 100 * mL)
    assert len({qualified, Range(1 * mL, 100 * mL)}) == 1
    with pytest.raises(AttributeError):
        qualified.lowest = 2 * mL
    with pytest.raises(ValueError, match="highest lies below"):
        between(2 * mL, 1 * mL)
    with pytest.raises(TypeError):
        between(1 * mL, 2 * second)
    with pytest.raises(TypeError):
        _ = (1 * second) in qualified  # pyright: ignore[reportOperatorIssue]


def test_copies_and_pickles_are_equal() -> None:
    for value in (250 * mL, 37 * degC, between(1 * mL, 2 * mL)):
        assert copy.deepcopy(value) is value
        assert copy.copy(value) is value
        assert pickle.loads(pickle.dumps(value)) == value


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    volume: Volume
    flows: Range[Flow]
    change: TemperatureChange = 1 * kelvin
    anything: Quantity = 1 * mL


def test_a_model_stores_text_and_reads_it_back() -> None:
    step = Step(volume=250 * mL, flows=between(1 * mL_per_min, 100 * mL_per_min))
    stored = {
        "volume": "250 mL",
        "flows": {"lowest": "1 mL/min", "highest": "100 mL/min"},
        "change": "1 K",
        "anything": "1 mL",
    }
    assert step.model_dump() == step.model_dump(mode="json") == stored
    assert Step.model_validate(stored) == step
    assert Step.model_validate_json(step.model_dump_json()) == step
    assert Step.model_json_schema()["properties"]["volume"]["type"] == "string"


@pytest.mark.parametrize(
    "change",
    [
        {"volume": 250},
        {"volume": "250"},
        {"volume": 250 * second},
        {"flows": {"lowest": "1 mL/min"}},
        {"flows": {"lowest": "1 mL", "highest": "2 mL"}},
        {"flows": {"lowest": "2 mL/min", "highest": "1 mL/min"}},
        {"flows": between(1 * mL, 2 * mL)},
        {"flows": "1 mL/min to 2 mL/min"},
    ],
)
def test_a_model_refuses_bare_numbers_and_other_dimensions(change: dict[str, object]) -> None:
    good = {"volume": "250 mL", "flows": {"lowest": "1 mL/min", "highest": "100 mL/min"}}
    with pytest.raises(ValidationError):
        Step.model_validate(good | change)


def test_a_density_is_written_in_millions_only_where_that_is_exact() -> None:
    assert str(CellDensity.of_base(1_234_567)) == "1234567 cells/mL"
    assert str(CellDensity.of_base(1_234_000)) == "1.234e6 cells/mL"


@pytest.mark.parametrize(
    ("duration", "said"),
    [
        (18_863_400 * ms, "5 h 14 min"),
        (51 * hour, "2 d 3 h"),
        (91 * second, "1 min 31 s"),
        (30 * minute, "30 min"),
        (1.5 * second, "1.5 s"),
        (0 * second, "0 s"),
        (-90 * minute, "-1 h 30 min"),
    ],
)
def test_a_duration_is_said_as_people_say_it(duration: Duration, said: str) -> None:
    assert duration.in_words() == said
