"""Canonical bytes equal RFC 8785 within our subset, and everything outside is refused.

Method: the six published inputs (``tests/records/rfc8785``), each first shown to be a true
copy by the SHA-256 of its published output; then each kind of value outside the subset.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from orchestrator.kernel.canonical import LARGEST_INTEGER, NotCanonicalError, canonical, digest
from orchestrator.kernel.identifiers import BatchId

INPUTS = Path(__file__).parents[2] / "records" / "rfc8785"

# SHA-256 of the published canonical outputs, cyberphone/json-canonicalization 19d51d7f.
PUBLISHED = {
    "arrays": "099601b171cafed97c333f8878d68e7f8c8f795412adb34b2fdcf0e7c7beac42",
    "structures": "605f65004ec2db7692522a0852c22f1c989e036d547e88963d1a3143cf3195d5",
    "french": "d99d0ebdcb0033cb858cfa830ae46bc0fb3309413b271f1da828c89901a27ed5",
    "unicode": "0d99aad92a125196ff887876643fd3206786a84ddce2cee52ba4ad256d2381d3",
    "values": "2d5e01a318d0f0879ab568c4be289c8b1f64ef8921a53c6277d5e069978baacb",
    "weird": "6af595a9aa80110b964b4de3f82a05fa6ae7423005019bacfa2620dddc4e94d1",
}


def published(name: str) -> Any:
    return json.loads((INPUTS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_inputs_are_true_copies(name: str) -> None:
    assert hashlib.sha256(rfc8785.dumps(published(name))).hexdigest() == PUBLISHED[name]


@pytest.mark.requirement("REC-11")
def test_the_published_row_within_our_subset_equals_byte_for_byte() -> None:
    bytes_of_arrays = canonical(published("arrays"))
    assert bytes_of_arrays == b'[56,{"1":[],"10":null,"d":true}]'
    assert digest(bytes_of_arrays) == PUBLISHED["arrays"]


@pytest.mark.requirement("REC-11")
@pytest.mark.parametrize("name", sorted(PUBLISHED.keys() - {"arrays"}))
def test_the_five_published_rows_outside_our_subset_are_refused(name: str) -> None:
    with pytest.raises(NotCanonicalError):
        canonical(published(name))


@pytest.mark.requirement("REC-13")
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0.5, "float"),
        (1.0, "float"),
        (float("nan"), "float"),
        (float("inf"), "float"),
        ({"a": {"volume": 2.5}}, "volume: 2.5 is a float"),
        (LARGEST_INTEGER + 1, "2\\^53-1"),
        (-LARGEST_INTEGER - 1, "2\\^53-1"),
        (10**5_000, "2\\^53-1"),
        ({"": 1}, "a-z0-9_"),
        ({"A": 1}, "a-z0-9_"),
        ({"a-b": 1}, "a-z0-9_"),
        ({"a\n": 1}, "a-z0-9_"),
        ({"é": 1}, "a-z0-9_"),
        ({"a": 1, "": 2}, "a-z0-9_"),
        ({1: 1}, "text"),
        ({None: 1}, "text"),
        ("\ud83d", "surrogate"),
        (["a", {"b": "\ude02 "}], "surrogate"),
        ((1, 2), "tuple"),
        ({1, 2}, "set"),
        (b"a", "bytes"),
        pytest.param(object(), "object", id="an object"),
    ],
    ids=lambda case: repr(case)[:40] if not isinstance(case, int) else f"{case.bit_length()} bits",
)
def test_a_value_outside_the_subset_is_refused_by_name(value: object, says: str) -> None:
    with pytest.raises(NotCanonicalError, match=says):
        canonical(value)


def test_a_value_within_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(NotCanonicalError, match="within itself"):
        canonical(endless)


def test_keys_sort_and_text_is_neither_normalised_nor_escaped_beyond_need() -> None:
    assert canonical({"b": "A\u030a", "a_1": "€\x0f\n\x7f</script>", "10": [True, None]}) == (
        b'{"10":[true,null],"a_1":"\xe2\x82\xac\\u000f\\n\x7f</script>","b":"A\xcc\x8a"}'
    )
    assert canonical(BatchId("B-000147")) == b'"B-000147"'
    assert canonical(LARGEST_INTEGER) == b"9007199254740991"


def test_the_digest_is_sha_256_in_lower_case() -> None:
    # FIPS 180-4 example: the empty message.
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
