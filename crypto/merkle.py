"""Binary Merkle trees in the shape of RFC 6962, with inclusion and consistency proofs.

A tree of n leaves splits at the largest power of two below n, so a tree only ever grows to the right and one root
can be shown to extend another. Leaves and nodes are hashed under different labels: no inner node passes as a leaf.
Every function takes the hashing as its last argument; the default is this chain's labelled SHA3-256.

Source: RFC 6962 section 2.1, and RFC 9162 sections 2.1.3.2 and 2.1.4.2 for the verification of proofs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from crypto.errors import Reason, Refused
from crypto.hashing import Label, hasher

HASH_SIZE: Final = 32
MAX_PROOF: Final = 63
"""Most hashes in an inclusion proof: a tree has fewer than 2**63 leaves."""


Step = tuple[bool, bytes]
"""A sibling on the way to the root: whether it stands on the left, and its hash."""


@dataclass(frozen=True, slots=True)
class TreeHashing:
    """How a tree is hashed.

    Attributes:
        empty: root of the tree without leaves.
        leaf: hash of a leaf's data.
        node: hash of its two children, concatenated (64 bytes).
    """

    empty: bytes
    leaf: Callable[[bytes], bytes]
    node: Callable[[bytes], bytes]


_node = hasher(Label.MERKLE_NODE)
NEXUS: Final = TreeHashing(empty=_node(b""), leaf=hasher(Label.MERKLE_LEAF), node=_node)
"""This chain's trees. The empty root hashes no children, which no node does."""


def merkle_root(leaves: Sequence[bytes], hashing: TreeHashing = NEXUS) -> bytes:
    """Return the 32-byte root over the leaves' data."""
    if not leaves:
        return hashing.empty
    *_, top = _levels(leaves, hashing)
    return top[0]


def inclusion_proof(leaves: Sequence[bytes], index: int, hashing: TreeHashing = NEXUS) -> tuple[bytes, ...]:
    """Return the sibling hashes from leaf `index` up to the root.

    Raises:
        Refused: BAD_ARGUMENT if there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise Refused(Reason.BAD_ARGUMENT, f"no leaf {index} in a tree of {len(leaves)}")
    proof = []
    for level in _levels(leaves, hashing):
        sibling = index ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        index >>= 1
    return tuple(proof)


def verify_inclusion(
    root: bytes, leaf: bytes, index: int, size: int, proof: Sequence[bytes], hashing: TreeHashing = NEXUS
) -> None:
    """Check that `leaf` (its data) is leaf `index` of the tree of `size` leaves with this root.

    Raises:
        Refused: BAD_PROOF.
    """
    verify_leaf_hash(root, hashing.leaf(leaf), index, size, proof, hashing)


def verify_leaf_hash(
    root: bytes, leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], hashing: TreeHashing = NEXUS
) -> None:
    """As `verify_inclusion`, for whoever holds the leaf's hash instead of its data.

    Raises:
        Refused: BAD_PROOF.
    """
    if not 0 <= index < size:
        raise Refused(Reason.BAD_PROOF, f"no leaf {index} in a tree of {size}")
    _check_hashes(leaf_hash, root, *proof)
    if fold(leaf_hash, path_of(index, size, proof), hashing) != root:
        raise Refused(Reason.BAD_PROOF, "the inclusion proof leads to another root")


def path_of(index: int, size: int, proof: Sequence[bytes]) -> tuple[Step, ...]:
    """Return the way from leaf `index` of a tree of `size` leaves to the root: each sibling with its side.

    Raises:
        Refused: BAD_PROOF if that takes more or fewer siblings than there are.
    """
    path: list[Step] = []
    siblings = iter(proof)
    last = size - 1
    while last > 0:
        if index & 1 or index < last:
            path.append((bool(index & 1), _next(siblings)))
        # else: the last of an odd level is carried up as it is
        index >>= 1
        last >>= 1
    _check_spent(siblings)
    return tuple(path)


def fold(leaf_hash: bytes, path: Iterable[Step], hashing: TreeHashing = NEXUS) -> bytes:
    """Return the root that a path leads to from a leaf's hash."""
    digest = leaf_hash
    for is_left, sibling in path:
        digest = hashing.node(sibling + digest if is_left else digest + sibling)
    return digest


def consistency_proof(leaves: Sequence[bytes], old_size: int, hashing: TreeHashing = NEXUS) -> tuple[bytes, ...]:
    """Return the proof that the tree of the first `old_size` leaves is the beginning of the tree of all.

    Raises:
        Refused: BAD_ARGUMENT unless 1 <= old_size <= number of leaves.
    """
    if not 1 <= old_size <= len(leaves):
        raise Refused(Reason.BAD_ARGUMENT, f"no old size {old_size} of a tree of {len(leaves)}")
    if old_size == len(leaves):
        return ()
    index, last = old_size - 1, len(leaves) - 1
    levels = _levels(leaves, hashing)
    level = next(levels)
    # The largest complete subtree that ends the old tree is where the two trees begin to differ.
    while index & 1:
        index, last, level = index >> 1, last >> 1, next(levels)
    proof = [level[index]] if index else []
    while last:
        if index & 1:
            proof.append(level[index - 1])
        elif index < last:
            proof.append(level[index + 1])
        index, last, level = index >> 1, last >> 1, next(levels)
    return tuple(proof)


def verify_consistency(
    old_root: bytes,
    new_root: bytes,
    old_size: int,
    new_size: int,
    proof: Sequence[bytes],
    hashing: TreeHashing = NEXUS,
) -> None:
    """Check that the old tree is the beginning of the new one.

    Raises:
        Refused: BAD_PROOF.
    """
    if not 1 <= old_size <= new_size:
        raise Refused(Reason.BAD_PROOF, f"an old size of {old_size} in a tree of {new_size}")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise Refused(Reason.BAD_PROOF, "trees of one size have one root and an empty proof")
        return
    _check_hashes(old_root, new_root, *proof)
    index, last = old_size - 1, new_size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    siblings = iter(proof)
    # With index 0 the old tree is one complete subtree of the new one: its root is where both begin.
    old = new = _next(siblings) if index else old_root
    while last:
        if index & 1:
            sibling = _next(siblings)
            old, new = hashing.node(sibling + old), hashing.node(sibling + new)
        elif index < last:
            new = hashing.node(new + _next(siblings))
        index >>= 1
        last >>= 1
    _check_spent(siblings)
    if old != old_root or new != new_root:
        raise Refused(Reason.BAD_PROOF, "the consistency proof leads to other roots")


def _levels(leaves: Sequence[bytes], hashing: TreeHashing) -> Iterator[list[bytes]]:
    """Yield the hashes of each level, leaves first. Pairing from the left gives RFC 6962's shape."""
    node = hashing.node
    level = [hashing.leaf(data) for data in leaves]
    yield level
    while len(level) > 1:
        above = [node(left + right) for left, right in zip(level[::2], level[1::2], strict=False)]
        if len(level) & 1:
            above.append(level[-1])
        level = above
        yield level


def _check_hashes(*hashes: bytes) -> None:
    if len(hashes) > MAX_PROOF + 3:
        raise Refused(Reason.BAD_PROOF, "the proof is longer than that of any tree")
    if any(len(digest) != HASH_SIZE for digest in hashes):
        raise Refused(Reason.BAD_PROOF, f"a hash in the proof does not have {HASH_SIZE} bytes")


def _next(siblings: Iterator[bytes]) -> bytes:
    for sibling in siblings:
        return sibling
    raise Refused(Reason.BAD_PROOF, "the proof is too short")


def _check_spent(siblings: Iterator[bytes]) -> None:
    if next(siblings, None) is not None:
        raise Refused(Reason.BAD_PROOF, "the proof is too long")
