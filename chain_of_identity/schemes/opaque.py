"""Our own labels: a kind, thirteen characters that mean nothing, and a check character.

``KMZV9X3M555GPES`` is a kit's. The middle is drawn from entropy, about 64 bits, so no label
tells anything of a patient, a day or an order, and none can be guessed from another. Nothing
looks like something else: 0, 1, I, L and O never occur, the check character included; a
draw whose check character would be one of them, or ``*``, is drawn again.

One wrong character is found, and two neighbours that changed places. The scanned symbol
holds the check character too.
Follows design section 10; 21 CFR 1271.290(c); ISO/IEC 7064 MOD 37-2; hazard H5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from chain_of_identity.schemes.scheme import LabelKey, LabelKind, check_character
from orchestrator.kernel.errors import IdentityRefusedError

UNAMBIGUOUS: Final = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""Digits and capitals without 0, 1, I, L and O."""

DRAWN: Final = 13
"""So many characters are drawn: 31 ** 13 is about 2 ** 64."""

LENGTH: Final = 1 + DRAWN + 1
"""Kind, drawn characters, check character."""

PREFIX: Final[Mapping[LabelKind, str]] = {
    LabelKind.CONTAINER: "C",
    LabelKind.KIT: "K",
    LabelKind.SAMPLE: "S",
}

_ALPHABET: Final = frozenset(UNAMBIGUOUS)
_KIND_OF: Final = {prefix: kind for kind, prefix in PREFIX.items()}
_FAIR_BELOW: Final = 256 // len(UNAMBIGUOUS) * len(UNAMBIGUOUS)  # a byte from here on is biased
_DRAWS_MOST: Final = 200  # about 1 draw in 6 is drawn again, so 200 in a row is broken entropy
_WHAT: Final = "read an opaque label"
_SCAN_AGAIN: Final = "Scan the label again, or put the thing aside and call quality assurance"


def looks_opaque(text: str) -> bool:
    """Return whether a text has the form of an opaque label, whatever its check character."""
    return len(text) == LENGTH and text[0] in _KIND_OF and _ALPHABET.issuperset(text)


class OpaqueScheme:
    """Makes and reads opaque labels."""

    @property
    def name(self) -> str:
        """Return the word by which records name the scheme."""
        return "opaque"

    @property
    def alphabet(self) -> frozenset[str]:
        """Return every character that a label can hold."""
        return _ALPHABET

    def mint(self, kind: LabelKind, entropy: Callable[[int], bytes]) -> LabelKey:
        """Return a label that wasn't there before, drawn from ``entropy(count)``.

        It is given nothing that it could tell. At 64 bits two labels of one site are
        never alike by chance; the register refuses a label that it knows already.
        """
        for _ in range(_DRAWS_MOST):
            bare = PREFIX[kind] + _drawn(entropy)
            check = check_character(bare)
            if check in UNAMBIGUOUS:
                return LabelKey(self.name, kind, bare + check)
        raise AssertionError("the entropy repeats itself: no label can be drawn from it")

    def scanned(self, text: str) -> LabelKey:
        """Return the key of what a scanner read, its prefix taken off.

        Raises:
            IdentityRefusedError: It is no label of this scheme. Nothing was looked up.
        """
        return self._read(text, _SCAN_AGAIN)

    def typed(self, text: str) -> LabelKey:
        """Return the key of what a person typed.

        Raises:
            IdentityRefusedError: It is no label of this scheme. Nothing was looked up.
        """
        return self._read(text, "Type all of the label again, in capitals, or scan it")

    def _read(self, text: str, do_next: str) -> LabelKey:
        if len(text) != LENGTH:
            why = f"it has {len(text)} characters; an opaque label has {LENGTH}"
        elif not _ALPHABET.issuperset(text):
            why = "it holds a character that no opaque label has; 0, 1, I, L and O never occur"
        elif text[0] not in _KIND_OF:
            why = f"it begins with {text[0]}; C is a container's, K a kit's, S a sample's"
        elif check_character(text[:-1]) != text[-1]:
            why = "its check character is wrong, so another character is wrong too"
        else:
            return LabelKey(self.name, _KIND_OF[text[0]], text)
        raise IdentityRefusedError(_WHAT, why=why, do_next=do_next)


def _drawn(entropy: Callable[[int], bytes]) -> str:
    characters = ""
    for _ in range(_DRAWS_MOST):
        for byte in entropy(DRAWN):
            if byte < _FAIR_BELOW and len(characters) < DRAWN:
                characters += UNAMBIGUOUS[byte % len(UNAMBIGUOUS)]
        if len(characters) == DRAWN:
            return characters
    raise AssertionError("the entropy gives nothing that a label can be drawn from")
