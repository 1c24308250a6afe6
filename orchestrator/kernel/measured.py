"""Amounts that are known when the recipe is written, ordered, measured or calculated.

A recipe holds an ``Amount`` wherever a phase needs a quantity. Each one has a range,
so that a check can ask before the run whether it could ever be too much; its value is
bound at the batch's making (``Ordered``) or read from the record (``Measured``).
"""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn

from pydantic import Field

from orchestrator.kernel.frozen import Frozen


class Bounds(Frozen):
    """The least and the most that an amount can be, as quantities in text."""

    lowest: str
    highest: str


class Fixed(Frozen):
    """A quantity written in the recipe, as text, e.g. ``"250 mL"``."""

    source: Literal["fixed"] = "fixed"
    value: str

    @property
    def bounds(self) -> Bounds:
        """Return the value, twice."""
        return Bounds(lowest=self.value, highest=self.value)

    def __bool__(self) -> NoReturn:
        """Refuse: a recipe can't branch on it while it is being written."""
        raise TypeError("an amount has no truth while the recipe is written; write p.when(...)")


class Ordered(Frozen):
    """A quantity that the order states, e.g. body weight or dose."""

    source: Literal["ordered"] = "ordered"
    name: str
    bounds: Bounds

    def __bool__(self) -> NoReturn:
        """Refuse: it isn't known while the recipe is being written."""
        raise TypeError(f"{self.name!r} is ordered per batch; write p.when(...)")


class Measured(Frozen):
    """A quantity that an earlier phase measures; ``name`` is unique in the recipe."""

    source: Literal["measured"] = "measured"
    name: str
    bounds: Bounds

    def __bool__(self) -> NoReturn:
        """Refuse: it isn't measured while the recipe is being written."""
        raise TypeError(f"{self.name!r} isn't measured yet; write p.when(...)")


class Calculated(Frozen):
    """A quantity that a validated formula gives from others, with its rounding."""

    source: Literal["calculated"] = "calculated"
    formula: str = Field(description="Name and behaviour version, e.g. 'volume_holding/1'")
    arguments: dict[str, Amount]
    round_down_to: str = ""
    round_up_to: str = ""
    bounds: Bounds

    def __bool__(self) -> NoReturn:
        """Refuse: its arguments aren't known while the recipe is being written."""
        raise TypeError("a calculated amount isn't known yet; write p.when(...)")


Amount = Annotated[Fixed | Ordered | Measured | Calculated, Field(discriminator="source")]
"""Any of the four."""

Calculated.model_rebuild()
