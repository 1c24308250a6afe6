"""The physical state as plain values, for a digest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

from hw_mocks.world.climate import Course
from hw_mocks.world.mixture import Line


def plain(value: object) -> Any:
    """Return ``value`` as dicts with text keys, lists, text and numbers; sets become sorted."""
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Course):
        return plain(value.pieces)
    if isinstance(value, Line):
        return plain(value.slugs)
    if is_dataclass(value) and not isinstance(value, type):
        return {held.name: plain(getattr(value, held.name)) for held in fields(value)}
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return {_key(key): plain(held) for key, held in pairs.items()}
    if isinstance(value, set | frozenset):
        return sorted(cast("set[str]", value))
    return [plain(held) for held in cast("Iterable[object]", value)]


def _key(key: object) -> str:
    """Return a key as text; the parts of a pair are joined by a bar."""
    if isinstance(key, tuple):
        return "|".join(cast("tuple[str, ...]", key))
    return str(key)
