"""Canonical JSON: the one byte sequence that is hashed, signed and stored.

A subset of RFC 8785: objects whose keys are ``[a-z0-9_]+``, arrays, text, whole numbers
up to 2^53-1, true, false and null. Within it the standard library's encoder with sorted
keys writes the bytes that RFC 8785 asks for (keys are ASCII, so the order of code points
is that of UTF-16 units, and there are no floats to print). What lies outside is refused,
never converted: a float in particular, since records hold decimal text with its unit.

Follows design section 5; RFC 8785, sections 3.2.2 and 3.2.3.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final, cast

LARGEST_INTEGER: Final = 2**53 - 1
"""Beyond this an integer is written as text (RFC 8785, appendix D)."""

_KEY_CHARACTERS: Final = re.compile(r"[a-z0-9_]*", re.ASCII)

_encode: Final = json.JSONEncoder(
    sort_keys=True,
    separators=(",", ":"),
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,
).encode


class NotCanonicalError(ValueError):
    """The value has no canonical form here. Our mistake, not an operator's."""


def canonical(value: object) -> bytes:
    """Return the canonical bytes of ``value``.

    Raises:
        NotCanonicalError: It holds something else than dict, list, str, int, bool and
            None, a key that isn't ``[a-z0-9_]+``, an integer beyond 2^53-1, half a
            surrogate pair, or is nested without end.
    """
    try:
        _check(value, "the value")
        return _encode(value).encode()
    except UnicodeEncodeError as half:
        raise NotCanonicalError(f"half a surrogate pair: {half.object[half.start]!r}") from None
    except RecursionError:
        raise NotCanonicalError("nested too deeply, or within itself") from None


def digest(content: bytes) -> str:
    """Return the SHA-256 of ``content`` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _check(value: object, where: str) -> None:
    kind = type(value)
    if kind is dict:
        entries = cast("dict[str, Any]", value)
        try:
            # All keys at once: one match is five times as fast as one for each.
            if not _KEY_CHARACTERS.fullmatch("".join(entries)) or "" in entries:
                raise NotCanonicalError(f"{where}: keys {list(entries)!r} aren't all [a-z0-9_]+")
        except TypeError:
            raise NotCanonicalError(f"{where}: keys {list(entries)!r} aren't all text") from None
        for key, entry in entries.items():
            if type(entry) is not str and entry is not None:
                _check(entry, key)
    elif kind is list:
        for entry in cast("list[Any]", value):
            if type(entry) is not str and entry is not None:
                _check(entry, where)
    elif kind is int:
        number = cast("int", value)
        if not -LARGEST_INTEGER <= number <= LARGEST_INTEGER:
            bits = number.bit_length()
            raise NotCanonicalError(f"{where}: {bits} bits, beyond 2^53-1; write it as text")
    elif kind is float:
        raise NotCanonicalError(f"{where}: {value!r} is a float; write a decimal text with unit")
    elif kind is not bool and value is not None and not isinstance(value, str):
        raise NotCanonicalError(f"{where}: {kind.__name__} has no canonical form")
