"""The Merkle tree over the journal's leaves: hashes, roots and proofs.

A tree is a list of leaves that only grows. Its root commits to every leaf and
to their order; an inclusion proof shows that one leaf is in it, a consistency
proof that one tree is the beginning of another.

Follows RFC 6962, section 2.1, and RFC 9162, sections 2.1.3 and 2.1.4. Nothing
here reads or writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()

_SIZE_BYTES: Final = 8


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf that holds ``data``."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above ``left`` and ``right``."""
    return sha256(b"\x01" + left + right).digest()


class CompactRange:
    """A tree of which only the roots of its complete subtrees are kept.

    Enough to append leaves and to know the root, in at most 64 hashes whatever the
    tree's size. It can't make proofs; those need the leaves.
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self) -> None:
        """Start with the empty tree."""
        self._size = 0
        self._peaks: list[bytes | None] = []  # by height, lowest first; None: no such subtree

    @property
    def size(self) -> int:
        """Return how many leaves the tree has."""
        return self._size

    def append(self, leaf: bytes) -> None:
        """Add the hash of one leaf, in O(log n)."""
        peaks = self._peaks
        for height, peak in enumerate(peaks):
            if peak is None:
                peaks[height] = leaf
                break
            leaf = node_hash(peak, leaf)
            peaks[height] = None
        else:
            peaks.append(leaf)
        self._size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add the hashes of many leaves, in order. One hash per leaf, level by level."""
        nodes = list(leaves)
        self._size += len(nodes)
        peaks = self._peaks
        height = 0
        while nodes:
            if height == len(peaks):
                peaks.append(None)
            peak = peaks[height]
            if peak is not None:
                nodes.insert(0, peak)
            peaks[height] = nodes.pop() if len(nodes) % 2 else None
            pairs = iter(nodes)
            nodes = [
                sha256(b"\x01" + left + right).digest()
                for left, right in zip(pairs, pairs, strict=True)
            ]
            height += 1

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        root: bytes | None = None
        for peak in self._peaks:
            if peak is not None:
                root = peak if root is None else node_hash(peak, root)
        return EMPTY_ROOT if root is None else root

    def copy(self) -> CompactRange:
        """Return a tree that grows apart from this one."""
        twin = CompactRange()
        twin._size = self._size
        twin._peaks = list(self._peaks)
        return twin

    def to_bytes(self) -> bytes:
        """Return the size (8 bytes, big-endian), then the subtrees' roots, highest first."""
        peaks = [peak for peak in reversed(self._peaks) if peak is not None]
        return self._size.to_bytes(_SIZE_BYTES, "big") + b"".join(peaks)

    @classmethod
    def of_bytes(cls, stored: bytes) -> CompactRange:
        """Return the tree that ``to_bytes`` stored.

        Raises:
            ValueError: ``stored`` has not the length that its size asks for.
        """
        size = int.from_bytes(stored[:_SIZE_BYTES], "big")
        expected = _SIZE_BYTES + HASH_BYTES * size.bit_count()
        if len(stored) != expected:
            raise ValueError(f"a tree of {size} leaves has {expected} bytes, not {len(stored)}")
        tree = cls()
        tree._size = size
        tree._peaks = [None] * size.bit_length()
        at = _SIZE_BYTES
        for height in reversed(range(size.bit_length())):
            if size >> height & 1:
                tree._peaks[height] = stored[at : at + HASH_BYTES]
                at += HASH_BYTES
        return tree


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root of the tree over the leaf hashes ``leaves``."""
    tree = CompactRange()
    tree.extend(leaves)
    return tree.root()


def inclusion_proof(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the proof that leaf ``index``, counted from 0, is in the tree over ``leaves``.

    Raises:
        ValueError: There is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise ValueError(f"leaf {index} is not in a tree of {len(leaves)} leaves")
    proof: list[bytes] = []
    while len(leaves) > 1:
        split = _split(len(leaves))
        if index < split:
            proof.append(root_of(leaves[split:]))
            leaves = leaves[:split]
        else:
            proof.append(root_of(leaves[:split]))
            leaves = leaves[split:]
            index -= split
    return proof[::-1]


def consistency_proof(size: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the proof that the tree over ``leaves`` begins with its first ``size`` leaves.

    Raises:
        ValueError: ``size`` is 0, of which nothing can be proved, or beyond the tree.
    """
    if not 0 < size <= len(leaves):
        raise ValueError(f"no consistency proof from {size} to {len(leaves)} leaves")
    proof: list[bytes] = []
    whole = True  # the part asked for is a subtree whose root the verifier has
    while size < len(leaves):
        split = _split(len(leaves))
        if size <= split:
            proof.append(root_of(leaves[split:]))
            leaves = leaves[:split]
        else:
            proof.append(root_of(leaves[:split]))
            leaves = leaves[split:]
            size -= split
            whole = False
    if not whole:
        proof.append(root_of(leaves))
    return proof[::-1]


def is_included(leaf: bytes, *, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether ``proof`` shows ``leaf`` at ``index`` of the tree with ``size`` and ``root``.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size or len(leaf) != HASH_BYTES:
        return False
    position, last = index, size - 1
    computed = leaf
    for sibling in proof:
        if last == 0 or len(sibling) != HASH_BYTES:
            return False
        if position % 2 or position == last:
            computed = node_hash(sibling, computed)
            while position % 2 == 0 and position:
                position >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and computed == root


def is_consistent(
    *, size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether ``proof`` shows that the tree (size2, root2) begins with (size1, root1).

    From size 0 nothing is ever shown, so that is always False, also to size 0.

    Source: RFC 9162, section 2.1.4.2.
    """
    if not 0 < size1 <= size2:
        return False
    if size1 == size2:
        return not proof and root1 == root2
    path = list(proof)
    if size1.bit_count() == 1:
        path.insert(0, root1)
    if not path or any(len(node) != HASH_BYTES for node in path):
        return False
    position, last = size1 - 1, size2 - 1
    while position % 2:
        position >>= 1
        last >>= 1
    old = new = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if position % 2 or position == last:
            old = node_hash(node, old)
            new = node_hash(node, new)
            while position % 2 == 0 and position:
                position >>= 1
                last >>= 1
        else:
            new = node_hash(new, node)
        position >>= 1
        last >>= 1
    return last == 0 and old == root1 and new == root2


def _split(size: int) -> int:
    """Return the largest power of two smaller than ``size``, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1
