"""Sheets: what one model of instrument may be asked, each limit with its source.

A sheet is a TOML file in this folder, named as its model. It holds the limits that a
recipe is checked against and that a driver refuses to pass, the figures that a driver
waits and compares by, and what ``cellwright models`` tells about the model. Nothing in
it belongs to one place or one tube: that stands in the process cell file.

    model, maker, name     which instrument; ``model`` is the file's name
    capability             what it can do for a recipe
    transports             how it can be connected
    binding                what tells it from its twin on another line
    source                 the manual, with pages
    tried_on_hardware      whether the driver ever spoke to the real thing
    can_tell_after_crash   how it shows, after a crash, whether the act happened
    power_cycle_witness    what shows that it restarted since
    unconfirmed            what no opened source showed
    [limits.<name>]        quantity, lowest, highest, source
    [figures.<name>]       quantity (or "number"), value, source

Follows design section 9.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from orchestrator.kernel import quantities
from orchestrator.kernel.errors import ConfigurationRefusedError
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import Quantity, Range

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Q = TypeVar("Q", bound=Quantity)

FOLDER: Final = Path(__file__).parent

Capability = Literal[
    "cell_count",
    "centrifugation",
    "climate",
    "closed_processing",
    "container_transport",
    "controlled_freezing",
    "fluid_transfer",
    "hands",
    "label_printing",
    "liquid_handling",
    "ph_oxygen",
    "scanning",
    "thermal_hold",
    "valves",
    "weighing",
]

Binding = Literal["serial number", "address", "port and fingerprint"]

_DIMENSIONS: Final[Mapping[str, type[Quantity]]] = {
    kind.__name__: kind
    for kind in (
        quantities.CellDensity,
        quantities.Cells,
        quantities.Duration,
        quantities.Flow,
        quantities.Fraction,
        quantities.Length,
        quantities.Mass,
        quantities.RampRate,
        quantities.RelativeForce,
        quantities.Temperature,
        quantities.TemperatureChange,
        quantities.Volume,
    )
}
NUMBER: Final = "number"


class Limit(Frozen):
    """A qualified range, both ends allowed."""

    quantity: str = Field(description="The dimension, e.g. 'Flow', or 'number'")
    lowest: str
    highest: str
    source: str = Field(min_length=4)

    @model_validator(mode="after")
    def _ordered(self) -> Limit:
        if self.quantity == NUMBER:
            in_order = number(self.lowest) <= number(self.highest)
        else:
            kind = dimension_of(self.quantity)
            in_order = kind.read(self.lowest) <= kind.read(self.highest)
        if not in_order:
            raise ValueError(f"{self.lowest} to {self.highest}: the highest lies below the lowest")
        return self


class Figure(Frozen):
    """One value that a driver works by: a time to wait, an error, a step."""

    quantity: str = Field(description="The dimension, e.g. 'Duration', or 'number'")
    value: str
    source: str = Field(min_length=4)

    @model_validator(mode="after")
    def _readable(self) -> Figure:
        if self.quantity == NUMBER:
            number(self.value)
        else:
            dimension_of(self.quantity).read(self.value)
        return self


class Sheet(Frozen):
    """All that is laid down for one model."""

    model: str
    maker: str
    name: str
    capability: Capability
    transports: tuple[Literal["serial", "tcp", "http", "memory"], ...]
    binding: Binding
    source: str
    tried_on_hardware: bool
    can_tell_after_crash: str
    power_cycle_witness: str
    unconfirmed: tuple[str, ...]
    limits: dict[str, Limit] = {}
    figures: dict[str, Figure] = {}

    def range_of(self, name: str, kind: type[Q]) -> Range[Q]:
        """Return the limit ``name`` as a range of ``kind``."""
        limit = self.limits[name]
        assert limit.quantity == kind.__name__, f"{self.model}: {name} is a {limit.quantity}"
        return Range(kind.read(limit.lowest), kind.read(limit.highest))

    def numbers_of(self, name: str) -> tuple[Decimal, Decimal]:
        """Return the ends of the limit ``name``, which is a plain number."""
        limit = self.limits[name]
        assert limit.quantity == NUMBER, f"{self.model}: {name} is a {limit.quantity}"
        return number(limit.lowest), number(limit.highest)

    def figure(self, name: str, kind: type[Q]) -> Q:
        """Return the figure ``name`` as a ``kind``."""
        figure = self.figures[name]
        assert figure.quantity == kind.__name__, f"{self.model}: {name} is a {figure.quantity}"
        return kind.read(figure.value)

    def number(self, name: str) -> Decimal:
        """Return the figure ``name``, which is a plain number."""
        figure = self.figures[name]
        assert figure.quantity == NUMBER, f"{self.model}: {name} is a {figure.quantity}"
        return number(figure.value)


def number(text: str) -> Decimal:
    """Return the plain number that ``text`` says.

    Raises:
        ValueError: It isn't a finite decimal number.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} isn't a number") from None
    if not value.is_finite():
        raise ValueError(f"{text!r} isn't finite")
    return value


def models() -> tuple[str, ...]:
    """Return the models that have a sheet, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


@cache
def sheet_of(model: str) -> Sheet:
    """Return the sheet of ``model``, read once.

    Raises:
        ConfigurationRefusedError: There is none of that name, or it is damaged.
    """
    known = models()
    if model not in known:
        near = get_close_matches(model, known, n=1)
        raise ConfigurationRefusedError(
            f"find the sheet of {model!r}",
            why=f"there is none; known: {', '.join(known)}",
            do_next=f"Write {near[0]!r} if you mean that" if near else "Write a known model",
        )
    return read_sheet(FOLDER / f"{model}.toml")


def read_sheet(path: Path) -> Sheet:
    """Return the sheet in ``path``, checked.

    Raises:
        ConfigurationRefusedError: It can't be read, has an unknown or missing key, a
            value that isn't of its dimension, or another model's name.
    """
    sheet = _checked(path, lambda: Sheet.model_validate(tomllib.loads(path.read_text("utf-8"))))
    if sheet.model != path.stem:
        raise _damaged(path, f"it says model {sheet.model!r}")
    return sheet


def _checked(path: Path, read: Callable[[], Sheet]) -> Sheet:
    try:
        return read()
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _damaged(path, f"{where}: {first['msg']}") from wrong
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as wrong:
        raise _damaged(path, str(wrong)) from wrong


def _damaged(path: Path, why: str) -> ConfigurationRefusedError:
    return ConfigurationRefusedError(
        f"read the sheet {path.name}", why=why, do_next="Restore the sheet of this release"
    )


def dimension_of(name: str) -> type[Quantity]:
    """Return the kernel's class of a dimension that a sheet names.

    Raises:
        ValueError: There is no such dimension.
    """
    if name not in _DIMENSIONS:
        raise ValueError(f"{name!r} isn't a dimension; known: {NUMBER}, {', '.join(_DIMENSIONS)}")
    return _DIMENSIONS[name]
