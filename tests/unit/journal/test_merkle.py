"""The Merkle tree does what RFC 6962 says, and no proof passes that shouldn't.

Method: the published vectors of transparency-dev/merkle (tests/records/rfc6962), most
of which are spoiled proofs, and the tables of roots and proofs that go with them.
"""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from orchestrator.journal.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    root_of,
)

VECTORS = Path(__file__).parents[2] / "records" / "rfc6962"
REFERENCE: dict[str, Any] = json.loads((VECTORS / "reference_tree.json").read_text())
LEAVES = [leaf_hash(bytes.fromhex(text)) for text in REFERENCE["leaf_inputs_hex"]]
ROOTS = [bytes.fromhex(text) for text in REFERENCE["root_by_size_hex"]]

INCLUSION = sorted((VECTORS / "testdata" / "inclusion").rglob("*.json"))
CONSISTENCY = sorted((VECTORS / "testdata" / "consistency").rglob("*.json"))


def _hash(text: str | None) -> bytes:
    return b64decode(text) if text else b""


def test_all_196_published_cases_are_there() -> None:
    assert (len(INCLUSION), len(CONSISTENCY)) == (98, 98)


@pytest.mark.requirement("REC-11")
@pytest.mark.parametrize("path", INCLUSION, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_inclusion_proof_gets_the_published_verdict(path: Path) -> None:
    case: dict[str, Any] = json.loads(path.read_text())
    included = is_included(
        _hash(case["leafHash"]),
        index=case["leafIdx"],
        size=case["treeSize"],
        root=_hash(case["root"]),
        proof=[_hash(node) for node in case["proof"] or ()],
    )
    assert included is not case["wantErr"], case["desc"]


@pytest.mark.requirement("REC-11")
@pytest.mark.parametrize("path", CONSISTENCY, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_consistency_proof_gets_the_published_verdict(path: Path) -> None:
    case: dict[str, Any] = json.loads(path.read_text())
    consistent = is_consistent(
        size1=case["size1"],
        root1=_hash(case["root1"]),
        size2=case["size2"],
        root2=_hash(case["root2"]),
        proof=[_hash(node) for node in case["proof"] or ()],
    )
    assert consistent is not case["wantErr"], case["desc"]


def test_roots_of_the_reference_tree_are_the_published_ones() -> None:
    tree = CompactRange()
    assert tree.root() == ROOTS[0] == EMPTY_ROOT
    for size, leaf in enumerate(LEAVES, start=1):
        tree.append(leaf)
        assert (tree.size, tree.root()) == (size, ROOTS[size])
        assert root_of(LEAVES[:size]) == ROOTS[size]


def test_leaf_and_node_hashes_are_the_published_ones() -> None:
    assert leaf_hash(b"L123456").hex() == (
        "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    )
    assert node_hash(b"N123", b"N456").hex() == (
        "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    )


def test_the_inclusion_proof_of_leaf_0_of_8_is_the_published_one() -> None:
    assert [node.hex() for node in inclusion_proof(0, LEAVES)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]


def test_the_consistency_proof_from_6_to_8_is_the_published_one() -> None:
    assert [node.hex() for node in consistency_proof(6, LEAVES)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_from_size_0_nothing_is_proved_not_even_size_0() -> None:
    assert not is_consistent(size1=0, root1=EMPTY_ROOT, size2=0, root2=EMPTY_ROOT, proof=[])
    assert not is_consistent(size1=0, root1=EMPTY_ROOT, size2=8, root2=ROOTS[8], proof=[])
    with pytest.raises(ValueError, match="no consistency proof from 0"):
        consistency_proof(0, LEAVES)


def test_a_leaf_beyond_the_tree_has_no_proof() -> None:
    with pytest.raises(ValueError, match="leaf 8 is not in a tree of 8"):
        inclusion_proof(8, LEAVES)


def test_a_stored_tree_of_the_wrong_length_is_refused() -> None:
    tree = CompactRange()
    tree.extend(LEAVES[:5])
    with pytest.raises(ValueError, match="a tree of 5 leaves has 72 bytes, not 71"):
        CompactRange.of_bytes(tree.to_bytes()[:-1])
