"""Typed quantities: whole numbers of one base unit per dimension.

``250 * mL`` makes a ``Volume``. A quantity is exact, ordered, hashable and can't be
changed. Only what makes physical sense is defined: volumes add, temperatures don't
(``37 * degC + 37 * degC`` is an error for the type checker and at run time).

Nothing rounds silently. ``250 * mL``, ``read`` and ``steps`` refuse what they can't
hold exactly; ``round_down_to``, ``round_up_to`` and ``Unit.nearest`` round because
they are asked to. A product or quotient of two dimensions is the nearest whole base
unit (half goes up), which lies far below the resolution of any instrument.

Text, as it stands in records and cell files: a number, a space, a unit (``250 mL``,
``37 °C``, ``300 x g``). A quantity is written in the largest unit that gives a number
of at least 1 with at most three decimals (times from minutes on: none), so the text is
exact both ways. Cells and infectious units are written in millions, as people do:
``100e6 cells``, ``10e6 cells/mL``; where that isn't exact, in full: ``123456789 cells``.
Reading also takes ``degC``, ``degC/min`` and ``ratio``, for keyboards without the signs.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Generic,
    NoReturn,
    Self,
    TypeVar,
    cast,
    final,
    get_args,
    overload,
)

from pydantic_core import core_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

_NUMBER: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:e([+-]?[0-9]{1,3}))?", re.ASCII)

_MS_PER_MIN: Final = 60_000
_NL_PER_ML: Final = 1_000_000

Q = TypeVar("Q", bound="Quantity")


def _whole(number: str, unit: Unit[Any]) -> int | None:
    """Return how many base units ``number`` of ``unit`` are, or None if that isn't whole.

    Works in integers throughout: ``Decimal`` would round beyond its context.

    Raises:
        ValueError: ``number`` isn't a decimal number.
    """
    found = _NUMBER.fullmatch(number)
    if found is None:
        raise ValueError(f"{number!r} of {unit} isn't a decimal number with a point")
    sign, whole, decimals, exponent = found.groups()
    decimals = decimals or ""
    count = int(whole + decimals) * unit.size
    shift = int(exponent or 0) - len(decimals)
    if shift >= 0:
        count *= 10**shift
    else:
        count, left = divmod(count, 10**-shift)
        if left:
            return None
    return -count if sign else count


def _nearest(numerator: int, denominator: int) -> int:
    """Return the whole number nearest to the quotient; half goes up."""
    return (2 * numerator + denominator) // (2 * denominator)


def _more_than_none(divisor: Quantity) -> int:
    """Return the divisor's base count.

    Raises:
        ValueError: It isn't above zero, so nothing can be divided by it.
    """
    if divisor.base <= 0:
        raise ValueError(f"{divisor} must be above zero to divide by it")
    return divisor.base


class Quantity:
    """A whole number of one base unit. Use the classes of the dimensions, made by units.

    ``Quantity.read`` reads a text of any dimension; ``Volume.read`` only a volume.
    """

    __slots__ = ("base",)

    base: int
    """The count of base units."""

    units: ClassVar[tuple[Unit[Any], ...]] = ()
    """The units it is written in, largest first; the last one always fits."""

    home: ClassVar[Unit[Any]]
    """The unit in which nothing of it is written, e.g. ``0 mL``."""

    by_name: ClassVar[dict[str, Unit[Any]]] = {}
    """The units that ``read`` knows, by their names in text."""

    def __new__(cls) -> Self:
        """Refuse: quantities are made by units, or by ``of_base``."""
        raise TypeError(f"write a number and a unit, e.g. 250 * mL, to make a {cls.__name__}")

    @classmethod
    def of_base(cls, base: int) -> Self:
        """Return the quantity of ``base`` base units."""
        if type(base) is not int:
            raise TypeError(f"{base!r}: a count of base units is a whole number")
        made = _new(cls)
        _set_base(made, base)
        return made

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the quantity that ``text`` says: a number, one space, a known unit.

        Raises:
            ValueError: The form is another, the unit isn't one of this dimension, or the
                number is finer than the base unit. Nothing is ever assumed.
        """
        number, _, name = text.partition(" ")
        unit = cls.by_name.get(name)
        if unit is None:
            raise ValueError(
                f"{text!r} isn't a {cls.__name__}: write a number, a space and one of "
                f"{', '.join(cls.by_name)}"
            )
        base = _whole(number, unit)
        if base is None:
            raise ValueError(f"{text!r} is finer than a whole {unit.finest}")
        return unit.kind.of_base(base)

    def to(self, unit: Unit[Self]) -> float:
        """Return the number of ``unit``, for display and physics, never for a record."""
        if unit.kind is not self.__class__:
            raise TypeError(f"{self} can't be told in {unit}")
        return self.base / unit.size

    def steps(self, step: Self) -> int:
        """Return how many whole ``step`` this is, for the wire.

        Raises:
            ValueError: It isn't a whole number of steps. Nothing is rounded.
        """
        count, left = divmod(self.base, self._step(step))
        if left:
            raise ValueError(f"{self} isn't a whole number of {step}; nothing is rounded")
        return count

    def round_down_to(self, step: Self) -> Self:
        """Return the largest whole number of ``step`` that isn't above this."""
        size = self._step(step)
        return self.of_base(self.base // size * size)

    def round_up_to(self, step: Self) -> Self:
        """Return the smallest whole number of ``step`` that isn't below this."""
        size = self._step(step)
        return self.of_base(-(-self.base // size) * size)

    def _step(self, step: Self) -> int:
        if step.__class__ is not self.__class__:
            raise TypeError(f"{self} has no steps of {step}")
        return _more_than_none(step)

    def __str__(self) -> str:
        base = self.base
        magnitude = -base if base < 0 else base
        if base == 0:
            return f"0 {self.home.name}"
        unit = self.units[-1]
        for larger in self.units:
            if magnitude >= larger.size and not magnitude % larger.grain:
                unit = larger
                break
        whole, part = divmod(magnitude, unit.size)
        sign = "-" if base < 0 else ""
        if not part:
            return f"{sign}{whole}{unit.suffix}"
        decimals = f"{part // unit.grain:0{unit.decimals}d}".rstrip("0")
        return f"{sign}{whole}.{decimals}{unit.suffix}"

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}.read({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.base == cast("Self", other).base

    def __lt__(self, other: Self) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.base < other.base

    def __le__(self, other: Self) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.base <= other.base

    def __gt__(self, other: Self) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.base > other.base

    def __ge__(self, other: Self) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.base >= other.base

    def __hash__(self) -> int:
        return hash(self.base)

    def __bool__(self) -> NoReturn:
        """Refuse: "is there any?" and "is it more than none?" are different questions."""
        raise TypeError(f"{self} is neither true nor false: compare it, e.g. with 0 * mL")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{self.__class__.__name__} can't be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self.__class__.__name__} can't be changed")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[int], Self], tuple[int]]:
        return self.__class__.of_base, (self.base,)

    @classmethod
    def validated(cls, value: object) -> Self:
        """Return ``value`` if it is one of these, or what its text says.

        Raises:
            ValueError: It is neither.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls.read(value)
        if isinstance(value, Quantity):
            raise ValueError(
                f"{value} ({type(value).__name__}) isn't a {cls.__name__}: {cls.how_to_write()}"
            )
        raise NotAQuantityError(value, cls)

    @classmethod
    def how_to_write(cls, given: object = 1) -> str:
        """Return what to write in Python for one, e.g. ``write a number ..., e.g. 1 * mL``.

        The example begins with ``given`` if that is a number.
        """
        word = next((word for word, unit in globals().items() if unit is cls.home), cls.home.name)
        number = given if type(given) in (int, float) else 1
        return f"write a number times a unit, e.g. {number} * {word}"

    @classmethod
    def how_to_write_text(cls) -> str:
        """Return what to write where only text can stand."""
        return f"write text, e.g. '{cls._hint()}'"

    @classmethod
    def _hint(cls) -> str:
        return f"1 {cls.home.name}" if cls.units else "1 mL"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validate an instance or its text; serialise as its text."""
        return core_schema.no_info_plain_validator_function(
            cls.validated, serialization=core_schema.to_string_ser_schema(when_used="always")
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe it as text with an example."""
        return {"type": "string", "title": cls.__name__, "examples": [cls._hint()]}


class NotAQuantityError(ValueError):
    """What was given is neither a quantity nor the text of one."""

    def __init__(self, given: object, kind: type[Quantity]) -> None:
        super().__init__(f"{given!r} isn't a {kind.__name__}: {kind.how_to_write_text()}")
        self.given = given
        self.kind = kind

    @property
    def in_python(self) -> str:
        """What to say to somebody who wrote it in Python, and not in a file of texts."""
        told = repr(self.given)
        return f"{told} isn't a {self.kind.__name__}: {self.kind.how_to_write(self.given)}"


_new: Final = object.__new__
_set_base: Final[Any] = Quantity.__dict__["base"].__set__  # past the frozen __setattr__


class _Amount(Quantity):
    """A quantity that adds up: twice of it is two of it."""

    __slots__ = ()

    def __add__(self, other: Self) -> Self:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.of_base(self.base + other.base)

    def __sub__(self, other: Self) -> Self:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.of_base(self.base - other.base)

    def __neg__(self) -> Self:
        return self.of_base(-self.base)

    def __abs__(self) -> Self:
        return self.of_base(abs(self.base))

    def __mul__(self, count: int) -> Self:
        if type(count) is not int:
            return NotImplemented
        return self.of_base(self.base * count)

    def __rmul__(self, count: int) -> Self:
        if type(count) is not int:
            return NotImplemented
        return self.of_base(self.base * count)

    @overload
    def __floordiv__(self, other: int) -> Self: ...
    @overload
    def __floordiv__(self, other: Self) -> int: ...
    def __floordiv__(self, other: int | Self) -> Self | int:
        """Return an equal share in whole base units, or how many ``other`` fit in."""
        if isinstance(other, int):
            if isinstance(other, bool):
                return NotImplemented
            return self.of_base(self.base // other)
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.base // other.base

    def share_of(self, whole: Self) -> Fraction:
        """Return which part of ``whole`` this is, in percent."""
        return Fraction.of_base(_nearest(self.base * 100_000, _more_than_none(whole)))

    def ratio_to(self, other: Self) -> Ratio:
        """Return how many times ``other`` this is, to the nearest thousandth."""
        return Ratio.of_base(_nearest(self.base * 1_000, _more_than_none(other)))


A = TypeVar("A", bound="_Amount")


@final
class Volume(_Amount):
    """A volume, in whole nanolitres."""

    __slots__ = ()

    def at(self, flow: Flow) -> Duration:
        """Return how long this volume takes at ``flow``: volume / flow."""
        return Duration.of_base(_nearest(self.base * _MS_PER_MIN, _more_than_none(flow)))

    def holding(self, density: CellDensity) -> Cells:
        """Return the cells in this volume at ``density``: volume * density."""
        return Cells.of_base(_nearest(self.base * density.base, _NL_PER_ML))

    @overload
    def __truediv__(self, other: Flow) -> Duration: ...
    @overload
    def __truediv__(self, other: Duration) -> Flow: ...
    def __truediv__(self, other: Flow | Duration) -> Duration | Flow:
        if isinstance(other, Flow):
            return self.at(other)
        if isinstance(cast("object", other), Duration):
            return Flow.of_base(_nearest(self.base * _MS_PER_MIN, _more_than_none(other)))
        return NotImplemented


@final
class Flow(_Amount):
    """A volume flow, in whole nanolitres per minute."""

    __slots__ = ()

    @overload
    def __mul__(self, count: int) -> Flow: ...
    @overload
    def __mul__(self, count: Duration) -> Volume: ...
    def __mul__(self, count: int | Duration) -> Flow | Volume:
        """Return the flow so many times, or the volume that flows in a time."""
        if isinstance(count, Duration):
            return Volume.of_base(_nearest(self.base * count.base, _MS_PER_MIN))
        return super().__mul__(count)


@final
class Duration(_Amount):
    """A time span, in whole milliseconds."""

    __slots__ = ()

    def in_words(self) -> str:
        """Return it as people say it, for reading only: '2 d 3 h', '1 h 5 min', '1 min 31 s'.

        To the nearest second below an hour and to the minute above; exact below a minute.
        """
        left = (abs(self.base) + 500) // 1000 * 1000
        if left < 60_000:
            return str(self)
        parts: list[str] = []
        for size, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
            count, left = divmod(left, size)
            if count:
                parts.append(f"{count} {name}")
        if left and len(parts) == 1 and parts[0].endswith("min"):
            parts.append(f"{left // 1000} s")
        return ("-" if self.base < 0 else "") + " ".join(parts)


@final
class Mass(_Amount):
    """A mass, in whole micrograms."""

    __slots__ = ()


@final
class Temperature(Quantity):
    """A temperature on the Celsius scale, in whole thousandths of a degree.

    Two temperatures have a difference and no sum.
    """

    __slots__ = ()

    def __add__(self, change: TemperatureChange) -> Temperature:
        if change.__class__ is not TemperatureChange:
            return NotImplemented
        return Temperature.of_base(self.base + change.base)

    @overload
    def __sub__(self, other: Temperature) -> TemperatureChange: ...
    @overload
    def __sub__(self, other: TemperatureChange) -> Temperature: ...
    def __sub__(self, other: Temperature | TemperatureChange) -> TemperatureChange | Temperature:
        if other.__class__ is Temperature:
            return TemperatureChange.of_base(self.base - other.base)
        if other.__class__ is TemperatureChange:
            return Temperature.of_base(self.base - other.base)
        return NotImplemented


@final
class TemperatureChange(_Amount):
    """A difference of temperatures, in whole thousandths of a kelvin."""

    __slots__ = ()

    @overload
    def __truediv__(self, other: RampRate) -> Duration: ...
    @overload
    def __truediv__(self, other: Duration) -> RampRate: ...
    def __truediv__(self, other: RampRate | Duration) -> Duration | RampRate:
        """Return the time a change takes at a rate of the same sign, or its rate."""
        if isinstance(other, RampRate):
            if other.base < 0:
                return (-self) / (-other)
            return Duration.of_base(_nearest(self.base * _MS_PER_MIN, _more_than_none(other)))
        if isinstance(cast("object", other), Duration):
            return RampRate.of_base(_nearest(self.base * _MS_PER_MIN, _more_than_none(other)))
        return NotImplemented


@final
class RampRate(_Amount):
    """A change of temperature in time, in whole thousandths of a degree per minute."""

    __slots__ = ()

    @overload
    def __mul__(self, count: int) -> RampRate: ...
    @overload
    def __mul__(self, count: Duration) -> TemperatureChange: ...
    def __mul__(self, count: int | Duration) -> RampRate | TemperatureChange:
        """Return the rate so many times, or the change over a time."""
        if isinstance(count, Duration):
            return TemperatureChange.of_base(_nearest(self.base * count.base, _MS_PER_MIN))
        return super().__mul__(count)


@final
class Cells(_Amount):
    """A number of cells."""

    __slots__ = ()

    def at(self, density: CellDensity) -> Volume:
        """Return the volume that holds these cells at ``density``: cells / density."""
        return Volume.of_base(_nearest(self.base * _NL_PER_ML, _more_than_none(density)))

    @overload
    def __truediv__(self, other: CellDensity) -> Volume: ...
    @overload
    def __truediv__(self, other: Volume) -> CellDensity: ...
    def __truediv__(self, other: CellDensity | Volume) -> Volume | CellDensity:
        if isinstance(other, CellDensity):
            return self.at(other)
        if isinstance(cast("object", other), Volume):
            return CellDensity.of_base(_nearest(self.base * _NL_PER_ML, _more_than_none(other)))
        return NotImplemented


@final
class CellDensity(_Amount):
    """Cells in a volume, in whole cells per millilitre."""

    __slots__ = ()

    @overload
    def __mul__(self, count: int) -> CellDensity: ...
    @overload
    def __mul__(self, count: Volume) -> Cells: ...
    def __mul__(self, count: int | Volume) -> CellDensity | Cells:
        """Return the density so many times, or the cells in a volume."""
        if isinstance(count, Volume):
            return count.holding(self)
        return super().__mul__(count)


@final
class Fraction(_Amount):
    """A part of a whole, in whole thousandths of a percent."""

    __slots__ = ()

    def of(self, whole: A) -> A:
        """Return this part of ``whole``, to the nearest base unit."""
        return whole.of_base(_nearest(whole.base * self.base, 100_000))


@final
class RelativeForce(_Amount):
    """A centrifugal force relative to gravity, in whole thousandths of g."""

    __slots__ = ()


@final
class Ratio(_Amount):
    """A ratio, in whole thousandths: beads to cells, infectious units to cells, fold."""

    __slots__ = ()

    def of(self, one: A) -> A:
        """Return ``one`` so many times, to the nearest base unit."""
        return one.of_base(_nearest(one.base * self.base, 1_000))


@final
class Titer(_Amount):
    """Infectious units in a volume, in whole units per millilitre."""

    __slots__ = ()

    def infecting(self, cells: Cells, *, at: Ratio) -> Volume:
        """Return the volume that gives ``at`` units to each cell: cells * ratio / titer."""
        units = cells.base * at.base * _NL_PER_ML
        return Volume.of_base(_nearest(units, 1_000 * _more_than_none(self)))


@final
class Length(_Amount):
    """A length, in whole micrometres."""

    __slots__ = ()


@final
class Unit(Generic[Q]):
    """A unit of one dimension: ``250 * mL`` makes a ``Volume``."""

    __slots__ = ("decimals", "grain", "kind", "name", "names", "size", "suffix")

    __array_ufunc__: ClassVar[None] = None  # so that a numpy float leaves the product to us

    def __init__(
        self, kind: type[Q], name: str, size: int, *, also: str = "", decimals: int = 3
    ) -> None:
        """Make the unit of ``size`` base units.

        Args:
            kind: The dimension.
            name: As written after the number and a space; ``e6 x`` follows the number
                at once and is written only, since reading knows exponents anyway.
            size: How many base units it has.
            also: Another name that is read.
            decimals: How many are written at most.
        """
        self.kind = kind
        self.name = name
        self.size = size
        in_millions = name.startswith("e6 ")
        self.names = () if in_millions else tuple(n for n in (name, also) if n)
        self.suffix = name if in_millions else f" {name}"
        self.decimals = decimals if size >= 10**decimals else 0
        self.grain = size // 10**self.decimals

    @property
    def finest(self) -> str:
        """The base unit, told as a quantity."""
        return str(self.kind.of_base(1))

    def __rmul__(self, count: float | Decimal) -> Q:  # int is a float to the type checker
        """Return ``count`` of this unit, exactly.

        A float is taken as it is written: ``0.1 * mL`` is 100 uL.

        Raises:
            ValueError: ``count`` isn't a whole number of base units.
        """
        if type(count) is int:
            return self.kind.of_base(count * self.size)
        if isinstance(count, float):
            number = float.__repr__(count)
        elif isinstance(cast("object", count), Decimal):
            number = str(count).lower()
        else:
            return NotImplemented
        base = _whole(number, self)
        if base is None:
            raise ValueError(f"{number} {self.name} is finer than a whole {self.finest}")
        return self.kind.of_base(base)

    def nearest(self, count: float) -> Q:
        """Return ``count`` of this unit to the nearest base unit.

        For what physics computed or a sensor showed, never for what is asked of a device.

        Raises:
            ValueError: ``count`` is infinite or not a number.
        """
        try:
            numerator, denominator = float(count).as_integer_ratio()
        except OverflowError:
            raise ValueError(f"{count} {self.name} isn't finite") from None
        return self.kind.of_base(_nearest(numerator * self.size, denominator))

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Unit({self.kind.__name__}, {self.name!r})"


nL: Final = Unit(Volume, "nL", 1)
uL: Final = Unit(Volume, "uL", 1_000)
mL: Final = Unit(Volume, "mL", 1_000_000)
L: Final = Unit(Volume, "L", 1_000_000_000)

nL_per_min: Final = Unit(Flow, "nL/min", 1)
uL_per_min: Final = Unit(Flow, "uL/min", 1_000)
mL_per_min: Final = Unit(Flow, "mL/min", 1_000_000)

ms: Final = Unit(Duration, "ms", 1)
second: Final = Unit(Duration, "s", 1_000)
minute: Final = Unit(Duration, "min", 60_000, decimals=0)
hour: Final = Unit(Duration, "h", 3_600_000, decimals=0)
day: Final = Unit(Duration, "d", 86_400_000, decimals=0)

ug: Final = Unit(Mass, "ug", 1)
milligram: Final = Unit(Mass, "mg", 1_000)
gram: Final = Unit(Mass, "g", 1_000_000)
kg: Final = Unit(Mass, "kg", 1_000_000_000)

degC: Final = Unit(Temperature, "°C", 1_000, also="degC")
kelvin: Final = Unit(TemperatureChange, "K", 1_000)
degC_per_min: Final = Unit(RampRate, "°C/min", 1_000, also="degC/min")

cell: Final = Unit(Cells, "cells", 1)
million_cells: Final = Unit(Cells, "e6 cells", 1_000_000)
cells_per_mL: Final = Unit(CellDensity, "cells/mL", 1)
million_per_mL: Final = Unit(CellDensity, "e6 cells/mL", 1_000_000)

percent: Final = Unit(Fraction, "%", 1_000)
x_g: Final = Unit(RelativeForce, "x g", 1_000)
ratio: Final = Unit(Ratio, ": 1", 1_000, also="ratio")

units_per_mL: Final = Unit(Titer, "units/mL", 1)
_million_units_per_mL: Final = Unit(Titer, "e6 units/mL", 1_000_000)

um: Final = Unit(Length, "um", 1)
mm: Final = Unit(Length, "mm", 1_000)
m: Final = Unit(Length, "m", 1_000_000)


def _write(home: Unit[Q], *largest_first: Unit[Q]) -> None:
    """Set the units in which a dimension is written and read."""
    kind = home.kind
    kind.home = home
    kind.units = largest_first
    kind.by_name = {name: unit for unit in largest_first for name in unit.names}
    Quantity.by_name.update(kind.by_name)


_write(mL, L, mL, uL, nL)
_write(mL_per_min, mL_per_min, uL_per_min, nL_per_min)
_write(second, day, hour, minute, second, ms)
_write(gram, kg, gram, milligram, ug)
_write(degC, degC)
_write(kelvin, kelvin)
_write(degC_per_min, degC_per_min)
_write(cell, million_cells, cell)
_write(cells_per_mL, million_per_mL, cells_per_mL)
_write(percent, percent)
_write(x_g, x_g)
_write(ratio, ratio)
_write(units_per_mL, _million_units_per_mL, units_per_mL)
_write(mm, m, mm, um)


@final
class Range(Generic[Q]):
    """All quantities from ``lowest`` to ``highest``, both included."""

    __slots__ = ("highest", "lowest")

    lowest: Q
    highest: Q

    def __init__(self, lowest: Q, highest: Q) -> None:
        """Make the range.

        Raises:
            TypeError: The ends have different dimensions.
            ValueError: The highest lies below the lowest.
        """
        if lowest > highest:
            raise ValueError(f"{lowest} to {highest}: the highest lies below the lowest; swap them")
        object.__setattr__(self, "lowest", lowest)
        object.__setattr__(self, "highest", highest)

    def __contains__(self, quantity: Q) -> bool:
        return self.lowest <= quantity <= self.highest

    def overlaps(self, other: Range[Q]) -> bool:
        """Return whether some quantity lies in both."""
        return self.lowest <= other.highest and other.lowest <= self.highest

    def within(self, other: Range[Q]) -> bool:
        """Return whether all of this lies in ``other``."""
        return other.lowest <= self.lowest and self.highest <= other.highest

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Range):
            return NotImplemented
        theirs = cast("Range[Any]", other)
        return self.lowest == theirs.lowest and self.highest == theirs.highest

    def __hash__(self) -> int:
        return hash((self.lowest, self.highest))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Range can't be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Range can't be changed")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Range[Q]], tuple[Q, Q]]:
        return Range, (self.lowest, self.highest)

    def __str__(self) -> str:
        return f"{self.lowest} to {self.highest}"

    def __repr__(self) -> str:
        return f"between({self.lowest!r}, {self.highest!r})"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validate an instance or ``{"lowest": text, "highest": text}``; serialise as that."""
        arguments = get_args(source)
        given: Any = arguments[0] if arguments else Quantity
        kind: type[Quantity] = given if isinstance(given, type) else Quantity

        def validated(value: object) -> Range[Any]:
            if isinstance(value, Range):
                if not isinstance(cast("Range[Any]", value).lowest, kind):
                    raise ValueError(f"{value} isn't a range of {kind.__name__}")
                return cast("Range[Any]", value)
            if not isinstance(value, dict) or set(cast("dict[Any, Any]", value)) != _ENDS:
                raise ValueError("a range is written as its lowest and its highest")
            ends = cast("dict[str, object]", value)
            lowest, highest = kind.validated(ends["lowest"]), kind.validated(ends["highest"])
            if lowest.__class__ is not highest.__class__:
                raise ValueError(f"{lowest} and {highest} can't be the ends of one range")
            return Range(lowest, highest)

        return core_schema.no_info_plain_validator_function(
            validated,
            serialization=core_schema.plain_serializer_function_ser_schema(_range_as_text),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe it as an object of two texts."""
        return {
            "type": "object",
            "properties": {"lowest": {"type": "string"}, "highest": {"type": "string"}},
            "required": ["lowest", "highest"],
            "additionalProperties": False,
        }


_ENDS: Final = {"lowest", "highest"}


def _range_as_text(value: Range[Any]) -> dict[str, str]:
    return {"lowest": str(value.lowest), "highest": str(value.highest)}


def between(lowest: Q, highest: Q) -> Range[Q]:
    """Return the range from ``lowest`` to ``highest``, both included."""
    return Range(lowest, highest)
