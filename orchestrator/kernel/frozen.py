"""The base of every value that is journaled, put in a recipe or sent over a wire.

A ``Frozen`` refuses unknown fields and can't be changed after it was made, so
what was checked is what is stored.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable value with a closed set of fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, revalidate_instances="never"
    )
