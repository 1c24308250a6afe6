"""Labels: the check character against published examples, our own scheme, and what is refused.

Method: the check characters of ST-001 and of the UK Red Book as printed there; for our own
labels every slip of the kind that the check promises to find, over labels that Hypothesis
draws; in each field of a label every character of the basic plane, and a share of the rest.
"""

from __future__ import annotations

import hashlib
import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_identity.labels import BARE, Entry, LabelRead, ScannerProfile, key_of
from chain_of_identity.schemes.opaque import DRAWN, LENGTH, PREFIX, UNAMBIGUOUS, OpaqueScheme
from chain_of_identity.schemes.scheme import (
    CHECK_ALPHABET,
    LabelKey,
    LabelKind,
    Scheme,
    check_character,
    check_value,
)
from orchestrator.kernel.errors import IdentityRefusedError

SCHEME = OpaqueScheme()
AS_SENT = ScannerProfile(frozenset({"]C0", "]d1"}))


def entropy_of(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def minted(kind: LabelKind, seed: int) -> LabelKey:
    return SCHEME.mint(kind, entropy_of(seed))


labels = st.builds(minted, st.sampled_from(LabelKind), st.integers(0, 2**64))


def is_refused(text: str, entry: Entry = Entry.TYPED) -> bool:
    try:
        key_of(LabelRead(text, entry), SCHEME)
    except IdentityRefusedError:
        return True
    return False


# The check character ----------------------------------------------------------------------


@pytest.mark.requirement("LBL-02")
@pytest.mark.parametrize(
    ("data", "value", "character"),
    [
        ("G123417654321", 10, "A"),  # ST-001 v6.2.2, appendix A, worked example
        ("G123498654321", 17, "H"),  # UK Red Book, annex 2, worked example
        ("A999921123456", 3, "3"),  # ST-001, figure 2
        ("W000009123456", 16, "G"),  # ST-001, 7.4.1
        ("A999818123456", 23, "N"),  # ST-001, 7.5.1.1
        ("A999820123456", 14, "E"),  # ST-001, label example
        ("A999917123456", 9, "9"),  # ST-001, figure 21
        ("A999917123654", 34, "Y"),  # ST-001, figure 21
        ("A999917345628", 36, "*"),  # ST-001, figure 22: the star
        ("A999917345658", 24, "O"),  # ST-001, figure 22: the letter O
        ("A999915000001", 22, "M"),  # ST-001, figure 23
        ("A999918000001", 8, "8"),  # ST-001, figure 23
        ("A9990ABC123T0480", 8, "8"),  # ST-017, appendix 1: printed there as the value 08
    ],
)
def test_check_characters_are_those_of_published_examples(
    data: str, value: int, character: str
) -> None:
    assert check_value(data) == value
    assert check_character(data) == character


def test_two_numbers_can_share_their_check_character() -> None:
    """So it is an entry check and never an identity."""
    assert check_character("A999818123456") == check_character("A999914123456") == "N"


@pytest.mark.parametrize("data", ["", "A99*", "a999", "A 99", "A99２", "Α99"])  # noqa: RUF001
def test_nothing_but_digits_and_capitals_has_a_check_character(data: str) -> None:
    with pytest.raises(ValueError, match=r"check|among"):
        check_character(data)


# Our own labels ---------------------------------------------------------------------------


def test_the_opaque_scheme_is_a_scheme() -> None:
    scheme: Scheme = SCHEME
    assert scheme.name == "opaque"
    assert all(one.isascii() for one in scheme.alphabet)


@given(label=labels)
def test_a_minted_label_is_read_back_as_what_it_is(label: LabelKey) -> None:
    assert len(label.key) == LENGTH == 15
    assert label.key[0] == PREFIX[label.kind]
    assert not set(label.key) & set("01ILO*")
    assert SCHEME.typed(label.key) == SCHEME.scanned(label.key) == label


@pytest.mark.requirement("LBL-02")
@settings(max_examples=40)
@given(label=labels)
def test_every_single_wrong_character_is_refused(label: LabelKey) -> None:
    text = label.key
    for position, right in enumerate(text):
        for wrong in (*CHECK_ALPHABET, right.lower(), " ", "-"):
            if wrong != right:
                assert is_refused(text[:position] + wrong + text[position + 1 :])


@given(label=labels)
def test_every_swap_of_two_neighbours_is_refused(label: LabelKey) -> None:
    text = label.key
    for at in range(len(text) - 1):
        swapped = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        assert swapped == text or is_refused(swapped)


@given(label=labels, at=st.integers(0, LENGTH), more=st.sampled_from(UNAMBIGUOUS))
def test_a_character_too_many_or_too_few_is_refused(label: LabelKey, at: int, more: str) -> None:
    assert is_refused(label.key[:at] + more + label.key[at:])
    assert is_refused(label.key[: min(at, LENGTH - 1)] + label.key[min(at, LENGTH - 1) + 1 :])


def test_the_reference_page_shows_a_label_and_the_alphabet() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/identity.md").read_text("utf-8")
    assert f"`{UNAMBIGUOUS}`" in page
    shown = re.search(r"for example `(\w+)`", page)
    assert shown is not None
    assert SCHEME.typed(shown.group(1)).kind is LabelKind.KIT


def test_a_kind_that_no_label_has_is_refused() -> None:
    bare = next(
        bare
        for bare in (f"Z{number:013d}".translate(str.maketrans("01", "AB")) for number in count())
        if check_character(bare) in UNAMBIGUOUS
    )
    with pytest.raises(IdentityRefusedError, match="begins with Z"):
        SCHEME.typed(bare + check_character(bare))


# Unguessable, and silent about the patient ------------------------------------------------


@pytest.mark.requirement("IDC-02")
def test_a_label_depends_on_its_kind_and_entropy_alone() -> None:
    first, again = (SCHEME.mint(LabelKind.KIT, entropy_of(7)) for _ in range(2))
    assert first == again
    assert first != SCHEME.mint(LabelKind.KIT, entropy_of(8))


@pytest.mark.requirement("IDC-02")
def test_no_label_holds_a_patients_field_or_an_encoding_of_one(seed: int) -> None:
    fields = ("MUSTERMANN", "ERIKA", "19640812", "12081964", "4711234", "A123456789")
    encoded = [
        form
        for one in fields
        for form in (
            one,
            one[::-1],
            one.encode().hex().upper(),
            hashlib.sha256(one.encode()).hexdigest().upper()[:8],
        )
    ]
    entropy = entropy_of(seed)
    for _ in range(2_000):
        key = SCHEME.mint(LabelKind.CONTAINER, entropy).key
        assert not [one for one in encoded if one in key]


@pytest.mark.requirement("IDC-02")
def test_what_is_drawn_is_spread_evenly_and_never_twice() -> None:
    """Chi-square with 30 degrees of freedom at each position; 80 is beyond one in a million."""
    entropy = entropy_of(20_261_123)
    drawn = [SCHEME.mint(LabelKind.SAMPLE, entropy).key[1:-1] for _ in range(6_000)]
    assert len(set(drawn)) == len(drawn)
    expected = len(drawn) / len(UNAMBIGUOUS)
    for position in range(DRAWN):
        seen = Counter(one[position] for one in drawn)
        chi_square = sum((seen[one] - expected) ** 2 / expected for one in UNAMBIGUOUS)
        assert chi_square < 80, f"position {position + 1}"


def stuck_where_the_check_character_is_ambiguous() -> bytes:
    """Return a byte that always draws one character, whose label would end in 0, 1, I, L, O, *."""
    return next(
        bytes([number])
        for number, one in enumerate(UNAMBIGUOUS)
        if check_character("C" + one * DRAWN) not in UNAMBIGUOUS
    )


@pytest.mark.parametrize("byte", [b"\xff", b"", stuck_where_the_check_character_is_ambiguous()])
def test_entropy_that_is_none_makes_no_label(byte: bytes) -> None:
    with pytest.raises(AssertionError, match="entropy"):
        SCHEME.mint(LabelKind.CONTAINER, lambda n: byte * n)


# What came from a scanner -----------------------------------------------------------------


@given(label=labels, sent=st.sampled_from(sorted(AS_SENT.sends)))
@pytest.mark.requirement("LBL-05")
def test_an_expected_prefix_is_stripped(label: LabelKey, sent: str) -> None:
    assert key_of(LabelRead(sent + label.key, Entry.SCANNED, AS_SENT), SCHEME) == label
    assert key_of(LabelRead(label.key, Entry.SCANNED, BARE), SCHEME) == label


LABEL = SCHEME.mint(LabelKind.CONTAINER, entropy_of(1)).key


@pytest.mark.requirement("LBL-05")
@pytest.mark.parametrize(
    ("text", "profile", "why"),
    [
        (LABEL, AS_SENT, "no AIM identifier"),
        ("]Q3" + LABEL, AS_SENT, "begins with ]Q3"),
        ("]C0" + LABEL, BARE, "profile doesn't have"),
        ("]C0]C0" + LABEL, AS_SENT, "U\\+005D"),
        (LABEL + "\r\n", BARE, "control character U\\+000D"),
        ("\x02" + LABEL, BARE, "control character U\\+0002"),
        (LABEL[:4] + "\x1d" + LABEL[4:], BARE, "control character U\\+001D"),
        (LABEL + "\x7f", BARE, "control character U\\+007F"),
        (LABEL + "\x00", BARE, "control character U\\+0000"),
        (" " + LABEL, BARE, "U\\+0020"),
        (LABEL.lower(), BARE, "in no opaque label"),
        ("С" + LABEL[1:], BARE, "U\\+0421.*not ASCII"),  # noqa: RUF001
        ("", BARE, "0 characters"),
    ],
)
def test_what_the_profile_and_the_scheme_do_not_have_is_refused(
    text: str, profile: ScannerProfile, why: str
) -> None:
    with pytest.raises(IdentityRefusedError, match=why) as refused:
        key_of(LabelRead(text, Entry.SCANNED, profile), SCHEME)
    assert LABEL not in str(refused.value), "what was read may be another patient's"


def test_a_typed_label_has_no_scanners_prefix() -> None:
    with pytest.raises(IdentityRefusedError, match="Type all of the label again"):
        key_of(LabelRead("]C0" + LABEL, Entry.TYPED, AS_SENT), SCHEME)


@pytest.mark.parametrize("identifier", ["", "C0", "]C", "]C00", "]é0", "]1A"])
def test_a_profile_holds_aim_identifiers_only(identifier: str) -> None:
    with pytest.raises(ValueError, match="AIM identifier"):
        ScannerProfile(frozenset({identifier}))


def test_a_look_alike_from_any_script_is_refused_in_each_field() -> None:
    """H5: kind, a drawn one and the check character. Takes a second, for its many characters."""
    basic_plane = [*range(0xD800), *range(0xE000, 0x10000)]
    characters = [chr(one) for one in (*basic_plane, *range(0x10000, sys.maxunicode, 97))]
    assert len(characters) > 70_000
    for position in (0, 7, LENGTH - 1):
        taken = [
            one
            for one in characters
            if not is_refused(LABEL[:position] + one + LABEL[position + 1 :], Entry.SCANNED)
        ]
        assert taken == [LABEL[position]]
