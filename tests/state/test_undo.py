"""A block that is taken back leaves the store as it was before it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from state.chainstore import ChainOptions
from state.columns import META
from state.memory import MemoryStore
from state.store import Store
from state.tree import TreeLimits
from state.types import Height
from tests.state.chains import Chain

SHORT = ChainOptions(tree=TreeLimits(heights=2))


def rows_of(store: Store) -> dict[bytes, bytes]:
    return {key: value for key, value in store.scan(b"", b"\xff" * 80) if key != META}


@pytest.mark.parametrize("options", [ChainOptions(), SHORT], ids=["roomy", "short history"])
def test_every_block_can_be_taken_back_down_to_genesis(store: Store, options: ChainOptions) -> None:
    chain = Chain(store, options)
    before = []
    for transactions in (3, 0, 33, 32, 5):
        before.append((rows_of(store), chain.chain.state_root, chain.chain.receipts_root, chain.chain.output_counts))
        chain.grow(transactions=transactions)
    while before:
        rows, root, receipts_root, counts = before.pop()
        assert chain.chain.undo_block() == root
        assert rows_of(store) == rows
        assert chain.chain.height == len(before)
        assert (chain.chain.receipts_root, chain.chain.output_counts) == (receipts_root, counts)
        chain.reopen()
        assert chain.chain.state_root == root
    with pytest.raises(Refused) as caught:
        chain.chain.undo_block()
    assert caught.value.reason is Reason.NOT_AVAILABLE


@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(1, 5), st.booleans(), st.integers(0, 2**32))
def test_the_same_blocks_lead_to_the_same_root_again(blocks: int, undone: int, reopen: bool, seed: int) -> None:
    chain = Chain(MemoryStore(), SHORT, seed)
    for _ in range(blocks):
        chain.grow(transactions=3)
    rows, root = rows_of(chain.store), chain.chain.state_root
    undone = min(blocks, undone)
    for _ in range(undone):
        chain.chain.undo_block()
    if reopen:
        chain.reopen()
    for block, result in chain.blocks[blocks - undone :]:
        chain.chain.commit_block(block, result)
    assert chain.chain.state_root == root
    assert rows_of(chain.store) == rows


def test_a_block_whose_changes_are_gone_stays(store: Store) -> None:
    chain = Chain(store, ChainOptions(keep_undo=2))
    for _ in range(4):
        chain.grow()
    chain.chain.undo_block()
    chain.chain.undo_block()
    rows = rows_of(store)
    with pytest.raises(Refused) as caught:
        chain.chain.undo_block()
    assert caught.value.reason is Reason.NOT_AVAILABLE
    assert chain.chain.height == Height(2)
    assert rows_of(store) == rows
