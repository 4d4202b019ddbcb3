"""The tree against its definition: same content, same root, whatever way led there."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from state.changes import Changes
from state.pages import state_key
from state.proof import verify_state_proof
from state.tree import StateTree, TreeLimits
from state.types import Height
from tests.state.model import Records, root_of

TIGHT = TreeLimits(page_bytes=0, heights=4)
"""No page survives a trim: every one is read again and checked."""


def crowded(number: int) -> bytes:
    """Return a raw key; a third of them share the first two digits of their place, so that deep nodes come and go."""
    if number % 3:
        return b"key %d" % number
    salt = 0
    while (place := state_key(b"crowd %d %d" % (number, salt)))[0] != 0xAB:
        salt += 1
    assert place[0] == 0xAB
    return b"crowd %d %d" % (number, salt)


KEYS = [crowded(number) for number in range(240)]


def write(tree: StateTree, view: Records, changes: dict[bytes, bytes | None]) -> bytes:
    root = tree.update(Height(tree.height + 1), ((state_key(key), value) for key, value in changes.items()))
    for key, value in changes.items():
        if value is None:
            view.records.pop(key, None)
        else:
            view.records[key] = value
    tree.trim()
    return root


@given(
    st.lists(
        st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=3), max_size=200), min_size=1, max_size=6
    ),
    st.booleans(),
)
@settings(max_examples=60)
def test_root_depends_on_content_alone(blocks: list[dict[bytes, bytes | None]], tight: bool) -> None:
    view = Records({})
    tree = StateTree.load(view, Height(0), TIGHT if tight else None)
    for changes in blocks:
        root = write(tree, view, changes)
        assert root == tree.root == root_of(view.records)
        assert tree.records == len(view.records)
    assert StateTree.load(view, tree.height).root == tree.root


@pytest.mark.parametrize("count", [0, 1, 32, 33, 511, 512, 513, 3000])
def test_sizes_around_the_bounds(count: int) -> None:
    records = {b"%d" % number: b"value" for number in range(count)}
    view = Records({})
    tree = StateTree.load(view, Height(0))
    assert write(tree, view, dict(records)) == root_of(records)
    assert StateTree.load(view, Height(1)).root == tree.root
    assert write(tree, view, dict.fromkeys(records)) == root_of({})


def test_crossing_the_page_size_and_back() -> None:
    crowd = [key for key in KEYS if key.startswith(b"crowd")]
    assert len(crowd) > 33
    view = Records({})
    tree = StateTree.load(view, Height(0), TIGHT)
    roots = []
    for key in crowd[:34]:
        roots.append(write(tree, view, {key: b"x"}))
    for key in reversed(crowd[:34]):
        assert tree.root == roots.pop()
        write(tree, view, {key: None})
    assert tree.root == root_of({})


def test_proofs_from_before_a_node_became_a_page_and_back() -> None:
    crowd = [key for key in KEYS if key.startswith(b"crowd")][:34]
    view = Records({})
    tree = StateTree.load(view, Height(0), TIGHT)
    first, second = crowd[:2]
    blocks: list[dict[bytes, bytes | None]] = [
        dict.fromkeys(crowd, b"x"), {first: None, second: None}, {first: b"y"}, {second: b"y"}
    ]
    past = []
    for changes in blocks:
        root = write(tree, view, changes)
        past.append((root, dict(view.records)))
    for height, (root, records) in enumerate(past, start=1):
        for key in crowd:
            value = records.get(key)
            assert verify_state_proof(root, key, tree.prove(key, Height(height), value)) == value


def test_rewriting_a_value_changes_the_root_and_removing_an_absent_record_does_not() -> None:
    view = Records({b"a": b"1", b"b": b"2"})
    tree = StateTree.load(view, Height(0))
    root = tree.root
    assert write(tree, view, {b"absent": None}) == root
    assert write(tree, view, {b"a": b"1"}) == root
    assert write(tree, view, {b"a": b"2"}) != root
    assert write(tree, view, {b"a": b"1"}) == root


def test_proofs_at_recent_heights() -> None:
    rng = random.Random(3)
    view = Records({})
    tree = StateTree.load(view, Height(0), TIGHT)
    past = [dict(view.records)]
    roots = [tree.root]
    for _ in range(12):
        roots.append(write(tree, view, {rng.choice(KEYS): rng.choice((None, rng.randbytes(2))) for _ in range(90)}))
        past.append(dict(view.records))
    assert tree.oldest_height == 8
    for height in range(8, 13):
        for key in KEYS:
            value = past[height].get(key)
            proof = tree.prove(key, Height(height), value)
            assert verify_state_proof(roots[height], key, proof) == value
    for height in (7, 13):
        with pytest.raises(Refused) as refused:
            tree.prove(KEYS[0], Height(height), None)
        assert refused.value.reason is Reason.NOT_AVAILABLE


def test_history_is_bounded_in_bytes_too() -> None:
    view = Records({})
    tree = StateTree.load(view, Height(0), TreeLimits(heights=8, history_bytes=1))
    for number in range(6):
        write(tree, view, {KEYS[number]: b"x"})
    assert tree.oldest_height == 4


def test_rollback_takes_the_last_update_back() -> None:
    rng = random.Random(5)
    view = Records({})
    tree = StateTree.load(view, Height(0), TIGHT)
    write(tree, view, dict.fromkeys(KEYS, b"x"))
    root = tree.root
    tree.update(Height(2), ((state_key(key), rng.choice((None, b"y"))) for key in KEYS))
    assert tree.root != root
    tree.rollback()
    assert (tree.root, tree.height) == (root, 1)
    assert write(tree, view, {KEYS[0]: b"z"}) == root_of(view.records)


def test_history_after_a_restart() -> None:
    rng = random.Random(7)
    view = Records({})
    tree = StateTree.load(view, Height(0))
    past, roots, blocks = [dict(view.records)], [tree.root], []
    for _ in range(5):
        changes = {rng.choice(KEYS): rng.choice((None, rng.randbytes(2))) for _ in range(120)}
        blocks.append(Changes({key: (view.records.get(key), value) for key, value in changes.items()}))
        roots.append(write(tree, view, dict(changes)))
        past.append(dict(view.records))
    again = StateTree.load(view, Height(5), TIGHT)
    again.replay(reversed(blocks[2:]))
    assert (again.root, again.oldest_height) == (tree.root, 2)
    for height in range(2, 6):
        for key in KEYS[:60]:
            value = past[height].get(key)
            assert verify_state_proof(roots[height], key, again.prove(key, Height(height), value)) == value


def test_changes_that_do_not_fit_the_records_are_noticed() -> None:
    view = Records({b"a": b"1"})
    tree = StateTree.load(view, Height(1))
    with pytest.raises(Refused) as refused:
        tree.replay([Changes({b"b": (None, b"2")})])
    assert refused.value.reason is Reason.CORRUPT_DATABASE


def test_a_page_is_checked_against_its_parent() -> None:
    view = Records(dict.fromkeys(KEYS, b"x"))
    tree = StateTree.load(view, Height(0), TIGHT)
    root = tree.root
    view.records[KEYS[-1]] = b"y"  # behind the tree's back, and met after other pages have changed
    with pytest.raises(Refused) as refused:
        tree.update(Height(1), [(state_key(key), b"z") for key in KEYS])
    assert refused.value.reason is Reason.CORRUPT_DATABASE
    assert (tree.root, tree.height) == (root, 0)
    view.records[KEYS[-1]] = b"x"
    assert write(tree, view, dict.fromkeys(KEYS, b"z")) == root_of(view.records)


def test_a_height_is_not_skipped() -> None:
    tree = StateTree.load(Records({}), Height(4))
    with pytest.raises(ValueError, match="height"):
        tree.update(Height(6), [])
