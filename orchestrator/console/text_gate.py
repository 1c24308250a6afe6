"""The one gate for text from outside: refused on the way in, made visible on the way out.

Outside is whatever people type, paste, scan or send. Fit text is one line of characters
that everybody can see, in composed form (NFC): no control or format character (so no
escape sequence and nothing that turns the direction of writing), none that is invisible,
no blank but the space, no letters buried under marks. It needs no escaping to be safe on
a screen, as long as nobody applies markup to it.

What "printable" is comes from the Unicode tables of the running Python; a letter younger
than those is refused. So are the joiners that Persian and some Indic words are written
with. Follows design section 11; hazard H28.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from orchestrator.kernel.errors import RefusedError

CHARACTERS_MAX: Final = 4_000
"""More than anybody reads in one field of a record."""

MARKS_MAX: Final = 4
"""Marks on one letter. Written languages need three; more runs into the lines around it."""

DEPTH_MAX: Final = 16
"""Lists within lists of a value from outside."""

_LOOKS_EMPTY: Final = re.compile(
    # Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties, those that str.isprintable
    # lets through, and the braille pattern without dots.
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def admitted(text: str, *, what: str) -> str:
    """Return ``text`` as it is, if it is fit.

    Args:
        text: What came from outside.
        what: What it is meant to be, for the person who is refused.

    Raises:
        RefusedError: It isn't fit; says which character, or what else. Nothing happened.
    """
    if len(text) > CHARACTERS_MAX:
        raise _refused(what, f"it has {len(text)} characters; at most {CHARACTERS_MAX} are taken")
    for place, why in _unfit(text):
        raise _refused(what, f"its character {place + 1}, {_named(text[place])}, {why}")
    if not unicodedata.is_normalized("NFC", text):
        raise _refused(what, "a letter and its marks stand apart; the composed form is taken (NFC)")
    return text


def admitted_value(value: object, *, what: str, depth_max: int = DEPTH_MAX) -> Any:
    """Return a JSON value as it is, if every text and key in it is fit.

    Args:
        value: What came from outside.
        what: What it is meant to be, for the person who is refused.
        depth_max: So deep may lists and objects lie in each other.

    Raises:
        RefusedError: One isn't, or lists and objects lie too deep. Nothing happened.
    """
    _admit(value, what, depth_max)
    return value


def shown(text: str) -> str:
    """Return ``text`` with each unfit character written out, as ``<U+001B>``.

    Fit text comes back as it is, whatever its length.
    """
    unfit = {place for place, _ in _unfit(text)}
    if not unfit:
        return str(text)
    return "".join(
        f"<U+{ord(character):04X}>" if place in unfit else character
        for place, character in enumerate(text)
    )


def shown_value(value: object) -> Any:
    """Return a JSON value with ``shown`` applied to every text and key in it.

    Raises:
        TypeError: It holds something that JSON has no form for. A mistake of ours.
    """
    if isinstance(value, str):
        return shown(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, object]", value)
        return {shown(key): shown_value(inner) for key, inner in entries.items()}
    if isinstance(value, list | tuple):
        return [shown_value(inner) for inner in cast("list[object]", value)]
    raise TypeError(f"a {type(value).__name__} can't be shown; give it as text")


def _admit(value: object, what: str, depth: int) -> None:
    if isinstance(value, str):
        admitted(value, what=what)
    elif isinstance(value, list | dict):
        if depth == 0:
            raise _refused(what, "its lists and objects lie too deep in each other")
        if isinstance(value, dict):
            for key, inner in cast("dict[str, object]", value).items():
                # Not named by the key until the key is known to be fit.
                _admit(inner, f"{what}: {admitted(key, what=f'a name in {what}')}", depth - 1)
        else:
            for inner in cast("list[object]", value):
                _admit(inner, what, depth - 1)


def _unfit(text: str) -> Iterator[tuple[int, str]]:
    """Yield the place of each unfit character, and why it is."""
    if text.isascii() and text.isprintable():
        return
    marks = MARKS_MAX  # nothing stands before the first character, so no mark may be there
    for place, character in enumerate(text):
        if not character.isprintable():
            yield place, "isn't a sign that can be seen"
            marks = MARKS_MAX
        elif _LOOKS_EMPTY.match(character):
            yield place, "looks like nothing"
            marks = MARKS_MAX
        elif unicodedata.category(character)[0] == "M":
            marks += 1
            if marks > MARKS_MAX:
                yield place, "is a mark on nothing, or one too many"
        else:
            marks = 0


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}{' ' if name else ''}{name}"


def _refused(what: str, why: str) -> RefusedError:
    return RefusedError(
        what,
        why=why,
        do_next="Type it again by hand, in one line; if it was scanned, look at the label",
    )
