"""The base of every value that is journaled, put in a recipe or sent over a wire.

A ``Frozen`` refuses unknown fields and can't be changed after it was made, so what was
checked is what is stored.
"""

from __future__ import annotations

from typing import dataclass_transform

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from pydantic._internal._model_construction import ModelMetaclass


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(Field, PrivateAttr)
)
class FrozenMeta(ModelMetaclass):
    """Tells type checkers that subclasses are frozen, so that a kind may narrow its name."""


class Frozen(BaseModel, metaclass=FrozenMeta):
    """An immutable value with a closed set of fields.

    Its validator is built when it is first used: a command that needs five of two hundred
    kinds doesn't wait for the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)
