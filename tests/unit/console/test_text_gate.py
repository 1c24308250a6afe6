"""Text from outside is refused if it isn't fit, and made visible if it got in elsewhere.

Method: texts that harm a screen or hide what they say, in both directions; Hypothesis holds
the two directions to each other.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.console.text_gate import (
    CHARACTERS_MAX,
    DEPTH_MAX,
    admitted,
    admitted_value,
    shown,
    shown_value,
)
from orchestrator.kernel.errors import RefusedError

FIT = (
    "",
    "Bag C-000231, 250 mL at 37 °C",
    "Müller, Łukasz; Nguyễn Thị; Ωmega; 細胞; Жук; חוה",
    "10⁶ cells/mL, ≥ 80 %",
    "[bold]not markup[/bold] <b>nor this</b> =1+1",
)
UNFIT = (
    "\x1b[2J",
    "\x9b2J",
    "two\nlines",
    "tab\there",
    "\x00",
    "\x7f",
    "\u202egpj.exe",
    "\u2066isolated\u2069",
    "\u200fmark",
    "zero\u200bwidth",
    "soft\u00adhyphen",
    "\ufeffbom",
    "no\u00a0break",
    "ideographic\u3000space",
    "line\u2028separator",
    "half \ud800 a pair",
    "private \ue000 use",
    "unassigned \u0378",
    "filler \u3164",
    "variation \ufe0f",
    "braille \u2800 blank",
    "tag \U000e0041",
    "\u0301on nothing",
    "z\u0300\u0301\u0302\u0303\u0304algo",
)


@pytest.mark.parametrize("text", FIT)
def test_fit_text_goes_in_and_out_as_it_is(text: str) -> None:
    assert admitted(text, what="a remark") == text
    assert shown(text) == text


@pytest.mark.parametrize("text", UNFIT, ids=ascii)
def test_unfit_text_is_refused_and_the_refusal_itself_is_fit(text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        admitted(text, what="a remark")
    assert shown(str(refused.value)) == str(refused.value)
    assert "U+" in refused.value.why


@pytest.mark.parametrize("text", UNFIT, ids=ascii)
def test_unfit_text_is_shown_with_its_characters_written_out(text: str) -> None:
    assert "<U+" in shown(text)
    assert shown(text).isprintable()
    assert shown(text).encode()


def test_a_letter_apart_from_its_mark_is_refused_and_can_be_shown() -> None:
    apart = unicodedata.normalize("NFD", "Müller")
    with pytest.raises(RefusedError, match="composed"):
        admitted(apart, what="a name")
    assert shown(apart) == apart


def test_the_refusal_says_where_and_what() -> None:
    with pytest.raises(RefusedError, match=r"character 4, U\+202E RIGHT-TO-LEFT OVERRIDE"):
        admitted("abc\u202edef", what="a remark")


def test_too_long_a_text_is_refused() -> None:
    assert admitted("x" * CHARACTERS_MAX, what="a remark")
    with pytest.raises(RefusedError, match="4001 characters"):
        admitted("x" * (CHARACTERS_MAX + 1), what="a remark")


@pytest.mark.parametrize(
    "value", [{"a": ["fit", {"b": "\x1b"}]}, {"\x1b": 1}, ["\u202e"], "\x00"], ids=ascii
)
def test_each_text_and_each_key_of_a_value_goes_through_the_gate(value: object) -> None:
    with pytest.raises(RefusedError):
        admitted_value(value, what="a command")
    assert "<U+" in str(shown_value(value))


def test_a_value_without_texts_is_left_alone() -> None:
    value: dict[str, Any] = {"a": [1, True, None, {"b": []}]}
    assert admitted_value(value, what="a command") is value
    assert shown_value(value) == value


def test_lists_too_deep_are_refused() -> None:
    value: list[Any] = []
    for _ in range(DEPTH_MAX - 1):
        value = [value]
    assert admitted_value(value, what="a command")
    with pytest.raises(RefusedError, match="deep"):
        admitted_value([value], what="a command")


def test_what_json_has_no_form_for_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="float"):
        shown_value({"a": 0.5})


@given(st.text(st.characters(), max_size=30))
@example("e\u0301\u0301\u0301\u0301\u0301")
def test_what_is_admitted_is_shown_as_it_is_and_all_that_is_shown_can_be_seen(text: str) -> None:
    out = shown(text)
    assert shown(out) == out
    assert out.isprintable()
    try:
        admitted(text, what="a remark")
    except RefusedError:
        assert out != text or not unicodedata.is_normalized("NFC", text)
    else:
        assert out == text
