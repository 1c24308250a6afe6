"""Labels that were printed before anybody knew what they would be stuck on.

A roll holds opaque labels, each different. A person takes the next one, sticks it on, and
reports its text; it means nothing until it was scanned together with the label that the
container had before. Follows design section 10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from chain_of_identity.labels import Entry, LabelRead, key_of
from chain_of_identity.schemes.opaque import OpaqueScheme, looks_opaque
from chain_of_identity.schemes.scheme import LabelKind
from orchestrator.kernel.errors import IdentityRefusedError
from orchestrator.kernel.identifiers import LabelText

_SCHEME: Final = OpaqueScheme()


def roll(
    entropy: Callable[[int], bytes], kind: LabelKind = LabelKind.CONTAINER
) -> Iterator[LabelText]:
    """Yield the labels of a roll, without an end, drawn from ``entropy(count)``."""
    while True:
        yield LabelText(_SCHEME.mint(kind, entropy).key)


def refuse_misread(text: str) -> None:
    """Refuse a label that looks opaque and can't be: it was misread.

    What doesn't look so is let pass: another site's scheme may have printed it.

    Raises:
        IdentityRefusedError: Its check character is wrong.
    """
    if looks_opaque(text):
        key_of(LabelRead(text, Entry.TYPED), _SCHEME)


def read_applied(text: str) -> LabelText:
    """Return the label that a person says to have stuck on a container.

    Raises:
        IdentityRefusedError: It is no container's label of a roll: another length or kind,
            a character that no label has, or a wrong check character.
    """
    key = key_of(LabelRead(text, Entry.TYPED), _SCHEME)
    if key.kind is not LabelKind.CONTAINER:
        raise IdentityRefusedError(
            "read an opaque label",
            why=f"it is a {key.kind.value}'s label; a container's is needed",
            do_next="Take a label off the roll for containers, and stick it beside this one",
        )
    return LabelText(key.key)
