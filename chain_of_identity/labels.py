"""From what a scanner sent, or a person typed, to a label's key.

What a scanner puts before the label is stripped as its profile says; nothing else is ever
mended. A character that the scheme doesn't have is refused: control characters, look-alikes
from other scripts, wide digits. Nothing is folded, trimmed or normalised, because two
different labels could become one that way. A refusal names no text that was read: it could
be another patient's.

It looks nothing up: whether the label is known, and whose it is, the gate says.
Follows design section 10; ISO/IEC 15424 (symbology identifiers); hazards H2 and H5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chain_of_identity.schemes.scheme import LabelKey, Scheme
from orchestrator.kernel.errors import IdentityRefusedError

_AIM_IDENTIFIER: Final = re.compile(r"\][A-Za-z][0-9A-Za-z]")
_DELETE: Final = "\x7f"


class Entry(StrEnum):
    """How a label's text came in."""

    SCANNED = "scanned"
    TYPED = "typed"


@dataclass(frozen=True, slots=True)
class ScannerProfile:
    """What one scanner is set up to send before the label.

    ``sends`` holds the AIM symbology identifiers that it may send, e.g. ``]C0`` (Code 128)
    and ``]d1`` (Data Matrix); each read begins with one of them. Empty: it sends none, and
    a read that begins with one is refused. A symbology that isn't named is refused too.
    """

    sends: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for identifier in self.sends:
            if _AIM_IDENTIFIER.fullmatch(identifier) is None:
                raise ValueError(f"{identifier!r} isn't an AIM identifier; one looks like ']C0'")


BARE: Final = ScannerProfile()
"""A scanner that sends the label and nothing else."""


@dataclass(frozen=True, slots=True)
class LabelRead:
    """Text that claims to be a label, after its wire's framing was taken off."""

    text: str
    entry: Entry
    profile: ScannerProfile = BARE


def key_of(read: LabelRead, scheme: Scheme) -> LabelKey:
    """Return the key of the label that was read.

    Raises:
        IdentityRefusedError: It isn't a label of ``scheme``, or the scanner isn't set up
            as its profile says. Nothing was looked up and nothing has moved.
    """
    alphabet = scheme.alphabet
    assert all(map(str.isascii, alphabet)), f"the scheme {scheme.name} isn't ASCII"
    scanned = read.entry is Entry.SCANNED
    text = _without_prefix(read) if scanned else read.text
    for position, character in enumerate(text, start=1):
        if character not in alphabet:
            raise _refused(read, _fault_of(character, position, scheme))
    return scheme.scanned(text) if scanned else scheme.typed(text)


def _without_prefix(read: LabelRead) -> str:
    found = _AIM_IDENTIFIER.match(read.text)
    sent = "" if found is None else found.group()
    if read.profile.sends:
        if sent not in read.profile.sends:
            expected = ", ".join(sorted(read.profile.sends))
            raise _refused(
                read,
                f"it begins with {sent or 'no AIM identifier'}; the scanner's profile has "
                f"{expected}",
            )
        return read.text[len(sent) :]
    if sent:
        raise _refused(read, f"it begins with {sent}, which the scanner's profile doesn't have")
    return read.text


def _fault_of(character: str, position: int, scheme: Scheme) -> str:
    code = f"U+{ord(character):04X}"
    if character < " " or character == _DELETE:
        return f"character {position} is the control character {code}"
    if not character.isascii():
        return f"character {position} ({code}) is not ASCII, whatever it looks like"
    return f"character {position} ({code}) is in no {scheme.name} label"


def _refused(read: LabelRead, why: str) -> IdentityRefusedError:
    if read.entry is Entry.TYPED:
        return IdentityRefusedError(
            "read a typed label", why=why, do_next="Type all of the label again, or scan it"
        )
    return IdentityRefusedError(
        "read a scanned label",
        why=why,
        do_next="Scan it again; if it stays so, have the scanner's set-up checked",
    )
