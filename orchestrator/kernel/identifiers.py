"""Identifiers: one class for each kind of thing, so that two kinds can't be swapped.

Each is a ``str`` whose form was checked when it was made. Making one kind from an
identifier of another kind is refused; where a label's text becomes an identifier,
write ``ContainerId(str(label))``. Identifiers are opaque: nothing here takes one apart,
and none may hold what tells a patient's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, ClassVar, Final, Self, cast, final

from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

KEPT_MOST: Final = 4_096
"""So many texts of a kind that were checked last are kept: a journal names each often."""


class Identifier(str):
    """A checked name. Letters, digits, ``.``, ``_`` and ``-``; at most 64."""

    __slots__ = ()

    form: ClassVar[re.Pattern[str]] = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
    example: ClassVar[str] = "X-000147"

    def __new__(cls, text: str) -> Self:
        """Return the identifier written as ``text``.

        Raises:
            TypeError: ``text`` is an identifier of another kind, or no text.
            ValueError: ``text`` doesn't have this kind's form.
        """
        if type(text) is not str:
            if isinstance(text, cls):
                return text
            if not isinstance(cast("object", text), str) or isinstance(text, Identifier):
                raise TypeError(f"{text!r} is a {type(text).__name__}, not a {cls.__name__}")
        if cls.form.fullmatch(text) is None:
            raise ValueError(f"{text!r} isn't a {cls.__name__}; one looks like {cls.example!r}")
        return super().__new__(cls, text)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({str(self)!r})"

    def __getnewargs__(self) -> tuple[str]:
        return (str(self),)

    @classmethod
    def _validated(cls, value: object) -> Self:
        if type(value) is cls:
            return value
        if not isinstance(value, str):
            raise ValueError(f"{value!r} isn't a {cls.__name__}; one looks like {cls.example!r}")
        try:
            return cls(value)
        except TypeError as other_kind:
            raise ValueError(str(other_kind)) from None

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validate an instance or its text; serialise as plain text."""
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(
                _reader(cls), core_schema.str_schema(strict=True)
            ),
            python_schema=core_schema.no_info_plain_validator_function(cls._validated),
            serialization=core_schema.to_string_ser_schema(when_used="always"),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe it as text of its form."""
        return {
            "type": "string",
            "title": cls.__name__,
            "pattern": f"^{cls.form.pattern}$",
            "examples": [cls.example],
        }


@cache
def _reader(kind: type[Identifier]) -> Callable[[str], Identifier]:
    """Return what makes a kind of plain text, checking a text it has just seen only once.

    One text gives one object, which nobody can change; a text that was refused isn't kept.
    """
    return lru_cache(maxsize=KEPT_MOST)(kind)


@final
class BatchId(Identifier):
    """One patient's making."""

    __slots__ = ()
    example: ClassVar[str] = "B-000147"


@final
class CoiId(Identifier):
    """Whose cells they are: the chain of identity's own identifier, opaque."""

    __slots__ = ()
    example: ClassVar[str] = "CHA999926A1B2C3"


@final
class ContainerId(Identifier):
    """One bag, bottle, tube, cartridge or culture vessel, or a kit's inner one."""

    __slots__ = ()
    form: ClassVar[re.Pattern[str]] = re.compile(
        r"(?=.{1,64}$)[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?"
    )
    example: ClassVar[str] = "C-000231"


@final
class CommandId(Identifier):
    """One attempt's command. May name its batch, path, act and attempt."""

    __slots__ = ()
    form: ClassVar[re.Pattern[str]] = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/\[\]#:-]{0,254}")
    example: ClassVar[str] = "B-000147/expand/feed[3]/07-transfer#2.1"


@final
class LotId(Identifier):
    """One identical release quantity of a reagent or kit."""

    __slots__ = ()
    example: ClassVar[str] = "L-24A017"


@final
class MaterialId(Identifier):
    """One kind of material, as the site's catalogue names it."""

    __slots__ = ()
    example: ClassVar[str] = "expansion-medium"


@final
class UserId(Identifier):
    """One person, never reused or given to another."""

    __slots__ = ()
    example: ClassVar[str] = "U-0012"


@final
class EquipmentId(Identifier):
    """One instrument, as the process cell file names it."""

    __slots__ = ()
    example: ClassVar[str] = "P1"


@final
class PlaceId(Identifier):
    """Where a container or a kit can be, e.g. one shelf of an incubator."""

    __slots__ = ()
    form: ClassVar[re.Pattern[str]] = re.compile(
        r"(?=.{1,64}$)[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*"
    )
    example: ClassVar[str] = "incubator/7"


@final
class PortId(Identifier):
    """One port or valve of a kit's manifold."""

    __slots__ = ()
    form: ClassVar[re.Pattern[str]] = PlaceId.form
    example: ClassVar[str] = "p3"


@final
class KitId(Identifier):
    """One tray with its manifold, vessel and preattached bags."""

    __slots__ = ()
    example: ClassVar[str] = "K-000052"


@final
class HostId(Identifier):
    """One controller host."""

    __slots__ = ()
    example: ClassVar[str] = "cell-a"


@final
class BootId(Identifier):
    """One start of a host: it changes whenever the boot-time clock begins anew."""

    __slots__ = ()
    example: ClassVar[str] = "3f0c1f0e-6f0e-4b7e-9a55-0d9c6f2f5a11"


@final
class TaskId(Identifier):
    """One piece of work that people owe."""

    __slots__ = ()
    form: ClassVar[re.Pattern[str]] = CommandId.form
    example: ClassVar[str] = "T-000918"


@final
class RecipeDigest(Identifier):
    """SHA-256 of a recipe's canonical bytes, as 64 lower-case hexadecimal digits."""

    __slots__ = ()
    form: ClassVar[re.Pattern[str]] = re.compile(r"[0-9a-f]{64}")
    example: ClassVar[str] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@final
class PhasePath(Identifier):
    """A position in a recipe's tree, with branch or iteration in square brackets."""

    __slots__ = ()
    form: ClassVar[re.Pattern[str]] = re.compile(
        r"(?=.{1,200}$)[a-z0-9][a-z0-9_-]*(\[[a-z0-9_-]+\])*"
        r"(/[a-z0-9][a-z0-9_-]*(\[[a-z0-9_-]+\])*)*"
    )
    example: ClassVar[str] = "expand/feed[3]/07-transfer"


@final
class SampleId(Identifier):
    """One part taken to measure."""

    __slots__ = ()
    example: ClassVar[str] = "S-000417"


@final
class LabelText(Identifier):
    """What a scanner read: printable ASCII and the group separator, not yet understood."""

    __slots__ = ()
    form: ClassVar[re.Pattern[str]] = re.compile(r"(?=.*[!-~])[\x1d -~]{1,400}")
    example: ClassVar[str] = "&/CHA999926A1B2C3"
