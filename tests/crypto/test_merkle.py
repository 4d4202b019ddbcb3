import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.merkle import (
    NEXUS,
    TreeHashing,
    consistency_proof,
    inclusion_proof,
    merkle_root,
    verify_consistency,
    verify_inclusion,
    verify_leaf_hash,
)

RFC6962 = TreeHashing(
    empty=hashlib.sha256().digest(),
    leaf=lambda data: hashlib.sha256(b"\0" + data).digest(),
    node=lambda children: hashlib.sha256(b"\1" + children).digest(),
)
LEAVES = [bytes([number]) * number for number in range(20)]


def refused(check: Callable[..., None], *arguments: Any) -> bool:
    try:
        check(*arguments)
    except Refused as refusal:
        return refusal.reason is Reason.BAD_PROOF
    return False


def textbook_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word: split at the largest power of two below n."""
    if len(leaves) <= 1:
        return NEXUS.leaf(leaves[0]) if leaves else NEXUS.empty
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return NEXUS.node(textbook_root(leaves[:split]) + textbook_root(leaves[split:]))


def textbook_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*textbook_path(index, leaves[:split]), textbook_root(leaves[split:])]
    return [*textbook_path(index - split, leaves[split:]), textbook_root(leaves[:split])]


def textbook_consistency(old: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962 section 2.1.2, SUBPROOF."""
    if old == len(leaves):
        return [] if whole else [textbook_root(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= split:
        return [*textbook_consistency(old, leaves[:split], whole), textbook_root(leaves[split:])]
    return [*textbook_consistency(old - split, leaves[split:], False), textbook_root(leaves[:split])]


def test_the_hashing_is_labelled() -> None:
    left, right = digest(Label.MERKLE_LEAF, b"a"), digest(Label.MERKLE_LEAF, b"b")
    assert merkle_root([b"a", b"b"]) == digest(Label.MERKLE_NODE, left + right)
    assert merkle_root([]) == digest(Label.MERKLE_NODE, b"") != merkle_root([b""])


@pytest.mark.parametrize("size", range(len(LEAVES) + 1))
def test_every_tree_and_proof_is_that_of_the_rfc(size: int) -> None:
    leaves = LEAVES[:size]
    root = merkle_root(leaves)
    assert root == textbook_root(leaves)
    for index in range(size):
        proof = inclusion_proof(leaves, index)
        assert list(proof) == textbook_path(index, leaves)
        verify_inclusion(root, leaves[index], index, size, proof)
    for old in range(1, size + 1):
        proof = consistency_proof(leaves, old)
        assert list(proof) == textbook_consistency(old, leaves)
        verify_consistency(merkle_root(leaves[:old]), root, old, size, proof)


@pytest.mark.parametrize("size", range(1, 12))
def test_an_inclusion_proof_serves_one_leaf_alone(size: int) -> None:
    leaves = LEAVES[:size]
    root = merkle_root(leaves)
    for index in range(size):
        proof = inclusion_proof(leaves, index)
        assert refused(verify_inclusion, root, b"other", index, size, proof)
        assert refused(verify_inclusion, bytes(32), leaves[index], index, size, proof)
        assert refused(verify_inclusion, root, leaves[index], index, size, (*proof, bytes(32)))
        assert not proof or refused(verify_inclusion, root, leaves[index], index, size, proof[:-1])
        assert all(refused(verify_inclusion, root, leaves[index], i, size, proof) for i in range(-1, 14) if i != index)
        for place, sibling in enumerate(proof):
            for wrong in (bytes(32), sibling + b"\0", sibling[:-1], b""):
                changed = (*proof[:place], wrong, *proof[place + 1 :])
                assert refused(verify_inclusion, root, leaves[index], index, size, changed)


@pytest.mark.parametrize("size", range(1, 12))
def test_a_consistency_proof_serves_two_trees_alone(size: int) -> None:
    leaves = LEAVES[:size]
    new = merkle_root(leaves)
    for old_size in range(1, size + 1):
        old, proof = merkle_root(leaves[:old_size]), consistency_proof(leaves, old_size)
        assert refused(verify_consistency, bytes(32), new, old_size, size, proof)
        assert refused(verify_consistency, old, bytes(32), old_size, size, proof)
        assert refused(verify_consistency, old, new, old_size, size, (*proof, bytes(32)))
        assert refused(verify_consistency, old, new, size + 1, size, proof)
        assert refused(verify_consistency, old, new, 0, size, proof)
        assert not proof or refused(verify_consistency, old, new, old_size, size, proof[:-1])
        for place in range(len(proof)):
            changed = (*proof[:place], bytes(32), *proof[place + 1 :])
            assert refused(verify_consistency, old, new, old_size, size, changed)


def test_a_node_is_no_leaf() -> None:
    leaves = LEAVES[:4]
    children = NEXUS.leaf(leaves[0]) + NEXUS.leaf(leaves[1])
    assert refused(verify_inclusion, merkle_root(leaves), children, 0, 2, inclusion_proof(leaves, 0)[1:])


@pytest.mark.parametrize("index", [-1, 20, 2**70])
def test_no_proof_of_a_leaf_that_is_not_there(index: int) -> None:
    for prove in (inclusion_proof, consistency_proof):
        with pytest.raises(Refused) as refusal:
            prove(LEAVES, index + (prove is consistency_proof))
        assert refusal.value.reason is Reason.BAD_ARGUMENT


SIZES = st.integers(-2, 40) | st.integers()
HASHES = st.lists(st.binary(min_size=30, max_size=33) | st.just(bytes(32)), max_size=70)


@given(st.binary(max_size=33), st.binary(max_size=40), SIZES, SIZES, HASHES)
def test_any_proof_is_refused_by_name(root: bytes, leaf: bytes, index: int, size: int, proof: list[bytes]) -> None:
    assert refused(verify_inclusion, root, leaf, index, size, proof)
    assert (index == size >= 1 and not proof) or refused(verify_consistency, root, leaf[:32], index, size, proof)


def _decode(case: dict[str, Any], name: str) -> bytes:
    return base64.b64decode(case[name])


@pytest.mark.vectors
def test_rfc6962_inclusion(vector_files: Callable[[str, str], list[Path]], tell: Callable[[str, int], None]) -> None:
    files = vector_files("rfc6962/inclusion", "*.json")
    for path in files:
        case = json.loads(path.read_text())
        proof = [base64.b64decode(sibling) for sibling in case["proof"] or ()]
        hashes = (_decode(case, "root"), _decode(case, "leafHash"))
        arguments = (*hashes, case["leafIdx"], case["treeSize"], proof, RFC6962)
        assert refused(verify_leaf_hash, *arguments) == case["wantErr"], path
    tell("RFC 6962 inclusion proofs", len(files))


@pytest.mark.vectors
def test_rfc6962_consistency(vector_files: Callable[[str, str], list[Path]], tell: Callable[[str, int], None]) -> None:
    files = vector_files("rfc6962/consistency", "*.json")
    for path in files:
        case = json.loads(path.read_text())
        proof = [base64.b64decode(sibling) for sibling in case["proof"] or ()]
        roots = (_decode(case, "root1"), _decode(case, "root2"))
        arguments = (*roots, case["size1"], case["size2"], proof, RFC6962)
        assert refused(verify_consistency, *arguments) == case["wantErr"], path
    tell("RFC 6962 consistency proofs", len(files))
