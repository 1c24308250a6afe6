"""For trees of any size: every proof made is accepted, every spoiled one is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.journal.merkle import (
    CompactRange,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    root_of,
)

SIZES = st.integers(min_value=1, max_value=70)


def _leaves(size: int) -> list[bytes]:
    return [leaf_hash(bytes([number])) for number in range(size)]


@given(size=SIZES, data=st.data())
def test_every_leaf_is_provably_included_at_its_own_place_only(
    size: int, data: st.DataObject
) -> None:
    leaves = _leaves(size)
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, leaves)
    root = root_of(leaves)
    assert is_included(leaves[index], index=index, size=size, root=root, proof=proof)
    if other != index:
        assert not is_included(leaves[other], index=index, size=size, root=root, proof=proof)
        assert not is_included(leaves[index], index=other, size=size, root=root, proof=proof)


@given(size=SIZES, data=st.data())
def test_every_beginning_is_provably_consistent_and_a_rewritten_one_is_not(
    size: int, data: st.DataObject
) -> None:
    leaves = _leaves(size)
    size1 = data.draw(st.integers(1, size))
    rewritten = list(leaves)
    rewritten[data.draw(st.integers(0, size1 - 1))] = leaf_hash(b"another")
    root1, root2 = root_of(leaves[:size1]), root_of(leaves)
    proof = consistency_proof(size1, leaves)
    assert is_consistent(size1=size1, root1=root1, size2=size, root2=root2, proof=proof)
    assert not is_consistent(
        size1=size1,
        root1=root1,
        size2=size,
        root2=root_of(rewritten),
        proof=consistency_proof(size1, rewritten),
    )


@given(parts=st.lists(st.integers(0, 40), max_size=6))
def test_appending_extending_and_restoring_agree(parts: list[int]) -> None:
    one_by_one, by_parts = CompactRange(), CompactRange()
    leaves = _leaves(sum(parts))
    for leaf in leaves:
        one_by_one.append(leaf)
    at = 0
    for part in parts:
        by_parts = CompactRange.of_bytes(by_parts.to_bytes())
        by_parts.extend(leaves[at : at + part])
        at += part
    assert by_parts.size == one_by_one.size == len(leaves)
    assert by_parts.to_bytes() == one_by_one.to_bytes()
    assert by_parts.root() == one_by_one.root() == root_of(leaves)
