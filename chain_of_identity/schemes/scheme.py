"""What an identifier scheme is: how the text of a label becomes a key, and which texts do.

A scheme knows its alphabet and its structure and nothing else: it reads no scanner, knows
no container and no patient. The check character of ISO/IEC 7064 MOD 37-2 is here because
more than one scheme has it. It finds slips of the keyboard; two labels may share it, so it
never proves an identity.
Follows design section 10; ISO/IEC 7064; ISBT 128 ST-001, appendix A; hazards H2 and H5.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

_MODULUS: Final = 37
_RADIX: Final = 2
CHECK_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*"
"""Characters of MOD 37-2 in the order of their values; ``*`` stands at the end only."""

_VALUE_OF: Final = {character: value for value, character in enumerate(CHECK_ALPHABET)}


class LabelKind(StrEnum):
    """What a label is for."""

    CONTAINER = "container"
    KIT = "kit"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class LabelKey:
    """What a label says. Labels are compared by whole keys, never by what was scanned.

    ``key`` is the text in the scheme's canonical form, without what a scanner adds.
    """

    scheme: str
    kind: LabelKind
    key: str


class Scheme(Protocol):
    """One way of writing labels, e.g. our own opaque one."""

    @property
    def name(self) -> str:
        """Return the word by which records name the scheme."""
        ...

    @property
    def alphabet(self) -> frozenset[str]:
        """Return every character that a label can hold: ASCII; one not in it is refused."""
        ...

    def scanned(self, text: str) -> LabelKey:
        """Return the key of what a scanner read, its prefix taken off.

        Raises:
            IdentityRefusedError: It is no label of this scheme. Nothing was looked up.
        """
        ...

    def typed(self, text: str) -> LabelKey:
        """Return the key of what a person typed; its check character must be there and right.

        Raises:
            IdentityRefusedError: It is no label of this scheme. Nothing was looked up.
        """
        ...


def check_value(data: str) -> int:
    """Return the value of the MOD 37-2 check character of ``data``, 0 to 36.

    Raises:
        ValueError: ``data`` is empty or holds something else than 0-9 and A-Z.
    """
    if not data:
        raise ValueError("a check character needs characters to check")
    remainder = 0
    for character in data:
        value = _VALUE_OF.get(character, _MODULUS)
        if value >= _MODULUS - 1:
            raise ValueError(f"{character!r} is not among 0-9 and A-Z")
        remainder = (remainder + value) * _RADIX % _MODULUS
    return (1 - remainder) % _MODULUS


def check_character(data: str) -> str:
    """Return the MOD 37-2 check character of ``data``: 0-9, A-Z or ``*``.

    Raises:
        ValueError: ``data`` is empty or holds something else than 0-9 and A-Z.
    """
    return CHECK_ALPHABET[check_value(data)]
