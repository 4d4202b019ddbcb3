"""State proofs: what they show, and that nothing else passes for one."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from state.encoding import encode
from state.pages import EMPTY_NODE, set_child, state_key
from state.proof import StateProof, proof_codec, verify_state_proof
from state.tree import StateTree
from state.types import Height
from tests.state.model import Records

RECORDS = {b"record %d" % number: b"value %d" % number for number in range(2000)}
TREE = StateTree.load(Records(RECORDS), Height(0))
PRESENT = b"record 77"
ABSENT = b"nothing here"


def proof(key: bytes) -> StateProof:
    return TREE.prove(key, Height(0), RECORDS.get(key))


def check(raw: bytes, key: bytes) -> bytes | None:
    return verify_state_proof(TREE.root, key, proof_codec.decode(raw))


def test_presence_and_absence() -> None:
    for key, value in RECORDS.items():
        assert check(encode(proof(key)), key) == value
    for number in range(500):
        key = b"absent %d" % number
        assert check(encode(proof(key)), key) is None


def test_absence_in_an_empty_place() -> None:
    tree = StateTree.load(Records({}), Height(0))
    empty = tree.prove(ABSENT, Height(0), None)
    assert empty.page == b""
    assert verify_state_proof(tree.root, ABSENT, empty) is None


@pytest.mark.parametrize("key", [PRESENT, ABSENT])
def test_every_changed_byte_is_refused(key: bytes) -> None:
    raw = encode(proof(key))
    rng = random.Random(1)
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= rng.randrange(1, 256)
        with pytest.raises(Refused) as refused:
            check(bytes(changed), key)
        assert refused.value.reason in {Reason.BAD_PROOF, Reason.MALFORMED, Reason.NOT_CANONICAL}, place


@given(st.data())
def test_random_bytes_are_refused(data: st.DataObject) -> None:
    raw = encode(proof(PRESENT))
    cut = data.draw(st.integers(0, len(raw) - 1))
    tail = data.draw(st.binary(max_size=20).filter(lambda tail: raw[:cut] + tail != raw))
    with pytest.raises(Refused):
        check(raw[:cut] + tail, PRESENT)


def refused(root: bytes, key: bytes, wrong: StateProof) -> Reason:
    with pytest.raises(Refused) as refusal:
        verify_state_proof(root, key, wrong)
    return refusal.value.reason


def test_a_proof_is_of_one_record_one_root_and_one_answer() -> None:
    good = proof(PRESENT)
    gone = proof(ABSENT)
    assert refused(bytes(32), PRESENT, good) is Reason.BAD_PROOF
    assert refused(TREE.root, ABSENT, good) is Reason.BAD_PROOF
    assert refused(TREE.root, PRESENT, StateProof((), good.page, good.nodes)) is Reason.BAD_PROOF
    assert refused(TREE.root, PRESENT, StateProof((b"other",), good.page, good.nodes)) is Reason.BAD_PROOF
    assert refused(TREE.root, PRESENT, StateProof(good.value, good.page, good.nodes[:-1])) is Reason.BAD_PROOF
    assert refused(TREE.root, ABSENT, StateProof((b"",), gone.page, gone.nodes)) is Reason.BAD_PROOF


def leaf(key: bytes, value: bytes) -> bytes:
    return digest(Label.STATE_KEY, key) + digest(Label.STATE_LEAF, value)


def planted(key: bytes, page: bytes, count: int, digest_of_page: bytes | None = None) -> tuple[bytes, StateProof]:
    """Return a root that commits to a page which no honest tree would hold, with the proof for it."""
    node = bytearray(EMPTY_NODE)
    set_child(node, state_key(key)[0] >> 4, digest_of_page or digest(Label.STATE_PAGE, page), count)
    return digest(Label.STATE_NODE, bytes(node)), StateProof((), page, (bytes(node),))


def test_shapes_that_no_tree_has_are_refused() -> None:
    key = PRESENT
    neighbours = sorted(leaf(b"n%d" % number, b"") for number in range(1500))
    near = [one for one in neighbours if one[0] >> 4 == state_key(key)[0] >> 4]
    far = [one for one in neighbours if one[0] >> 4 != state_key(key)[0] >> 4]
    assert len(near) > 33
    assert verify_state_proof(*_swap(planted(key, b"".join(near[:32]), 32), key)) is None
    assert refused(*_swap(planted(key, b"".join(near[1::-1]), 2), key)) is Reason.BAD_PROOF  # falling order
    assert refused(*_swap(planted(key, near[0] + near[0], 2), key)) is Reason.BAD_PROOF  # twice the same
    assert refused(*_swap(planted(key, far[0], 1), key)) is Reason.BAD_PROOF  # not of this prefix
    assert refused(*_swap(planted(key, near[0], 2), key)) is Reason.BAD_PROOF  # wrong count
    assert refused(*_swap(planted(key, b"".join(near[:33]), 33), key)) is Reason.BAD_PROOF  # too many for a page
    assert refused(*_swap(planted(key, near[0][:-1], 1), key)) is Reason.BAD_PROOF  # half an entry
    assert refused(*_swap(planted(key, b"", 0, bytes([1]) * 32), key)) is Reason.BAD_PROOF  # empty, with a hash


def test_an_inner_node_that_should_be_a_page_is_refused() -> None:
    key = PRESENT
    entry = leaf(b"n", b"")
    page = entry if state_key(b"n")[0] == state_key(key)[0] else b""
    child = bytearray(EMPTY_NODE)
    if page:
        set_child(child, state_key(key)[0] & 15, digest(Label.STATE_PAGE, page), 1)
    else:
        set_child(child, (state_key(key)[0] & 15) ^ 1, digest(Label.STATE_PAGE, entry), 1)
    node = bytearray(EMPTY_NODE)
    set_child(node, state_key(key)[0] >> 4, digest(Label.STATE_NODE, bytes(child)), 1)
    root = digest(Label.STATE_NODE, bytes(node))
    assert refused(root, key, StateProof((), page, (bytes(node), bytes(child)))) is Reason.BAD_PROOF


def test_an_inner_node_with_another_count_than_its_parent_says_is_refused() -> None:
    for said, fine in ((2000, True), (2001, False), (0, False)):
        child = bytearray(EMPTY_NODE)
        set_child(child, (state_key(PRESENT)[0] & 15) ^ 1, bytes([7]) * 32, 2000)
        node = bytearray(EMPTY_NODE)
        set_child(node, state_key(PRESENT)[0] >> 4, digest(Label.STATE_NODE, bytes(child)), said)
        root = digest(Label.STATE_NODE, bytes(node))
        made = StateProof((), b"", (bytes(node), bytes(child)))
        if fine:
            assert verify_state_proof(root, PRESENT, made) is None
        else:
            assert refused(root, PRESENT, made) is Reason.BAD_PROOF


def _swap(planting: tuple[bytes, StateProof], key: bytes) -> tuple[bytes, bytes, StateProof]:
    return planting[0], key, planting[1]
