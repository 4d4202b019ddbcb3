"""The chain in one store: what goes in comes out, at every height that is kept, and after a restart."""

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from state import columns
from state.blockrows import OutputCounts, owner_key
from state.chainstore import ChainOptions, ChainStore
from state.changes import Changes
from state.columns import (
    ADDRESS_INDEX,
    BLOCK,
    META,
    RECEIPTS,
    STATE,
    TRANSACTIONS,
    TX_INDEX,
    UNDO,
    Location,
    Mention,
    chunk_key,
    height_key,
    location_row,
    state_row,
)
from state.encoding import encode
from state.memory import MemoryStore
from state.pages import state_key
from state.proof import verify_state_proof
from state.receipt import BlockResult
from state.records import encode_output, output_key
from state.store import Store, Write
from state.transaction import NO_SCRIPT, Memo, OutPoint, State
from state.tree import TreeLimits
from state.types import NATIVE, Height, TxId
from tests.state.chains import COUNTER, GENESIS, OWNERS, START_OUTPUTS, Chain, coin, initial, outpoint
from tests.state.model import root_of

TIGHT = ChainOptions(keep_undo=6, value_bytes=0, tree=TreeLimits(page_bytes=0, heights=4))
"""Nothing is cached, and little is kept."""


def test_genesis(store: Store) -> None:
    chain = Chain(store)
    assert chain.chain.height == 0
    assert chain.chain.state_root == root_of(chain.past[0])
    assert chain.chain.output_counts == OutputCounts(START_OUTPUTS, 0, 0)
    assert chain.chain.receipts_root == bytes(32)
    proof = chain.chain.prove(COUNTER, Height(0))
    assert verify_state_proof(chain.chain.state_root, COUNTER, proof) == b"0"
    root = chain.chain.state_root
    chain.reopen()
    assert (chain.chain.height, chain.chain.state_root) == (0, root)


def test_another_genesis_is_refused(store: Store) -> None:
    Chain(store)
    with pytest.raises(Refused) as refused:
        ChainStore.open(store, msgspec.structs.replace(GENESIS, name="other"), initial)
    assert refused.value.reason is Reason.GENESIS_MISMATCH


def check_latest(chain: Chain) -> None:
    """Compare everything that the store says with the model."""
    store, records = chain.chain, chain.past[-1]
    assert store.height == len(chain.blocks)
    assert store.state_root == root_of(records)
    everything = set().union(*chain.past)
    assert {key: store.get(key) for key in everything} == {key: records.get(key) for key in everything}
    for owner in OWNERS:
        expected = sorted(key for key, value in records.items() if key[:5] == b"utxo/" and bytes(owner) in value)
        found = store.outputs_of(owner, 1000)
        assert [one for one, _ in found] == [outpoint(key) for key in expected]
        assert [encode_output(output) for _, output in found] == [records[key] for key in expected]
    assert store.output_counts.coins == sum(key.startswith(b"utxo/") for key in records)
    for block, result in chain.blocks:
        assert store.block(block.height) == block
        assert store.header(block.height) == block.header
        assert store.commit(block.height) == block.commit
        assert store.receipts(block.height) == result.receipts
        assert store.block_row(block.height).events == result.events
        assert store.block_row(block.height).state_root == root_of(chain.past[block.height])
        for raw, receipt in zip(block.transactions, result.receipts, strict=True):
            place = Location(block.height, receipt.index)
            assert store.location(receipt.txid) == place
            assert store.transaction(receipt.txid) == (place, raw)
            assert store.receipt(receipt.txid) == receipt


@pytest.mark.parametrize("options", [ChainOptions(), TIGHT], ids=["roomy", "tight"])
def test_blocks_come_out_as_they_went_in(store: Store, options: ChainOptions) -> None:
    chain = Chain(store, options)
    for transactions in (3, 0, 33, 32, 5):
        chain.grow(transactions=transactions)
        assert chain.chain.receipts_root == chain.blocks[-1][1].receipts_root
    check_latest(chain)
    chain.reopen()
    check_latest(chain)
    chain.grow()
    check_latest(chain)


@given(st.lists(st.integers(0, 4) | st.none(), max_size=12), st.integers(0, 2**32))
@settings(max_examples=20)
def test_any_mix_of_blocks_and_restarts(steps: list[int | None], seed: int) -> None:
    chain = Chain(MemoryStore(), TIGHT, seed)
    for step in steps:
        if step is None:
            chain.reopen()
        else:
            chain.grow(transactions=step)
    check_latest(chain)
    for height in range(max(0, chain.chain.height - 3), chain.chain.height + 1):
        check_height(chain, height)


def check_height(chain: Chain, height: int) -> None:
    root = root_of(chain.past[height])
    reader = chain.chain.reader_at(Height(height))
    for key in set().union(*chain.past):
        value = chain.past[height].get(key)
        assert reader.get(key) == value
        assert verify_state_proof(root, key, chain.chain.prove(key, Height(height))) == value


def test_a_restart_rebuilds_at_least_one_height(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A light client always asks for the height before the last."""
    monkeypatch.setattr("state.chainstore.REPLAY_BUDGET", 1)
    chain = Chain(store, TIGHT)
    chain.grow(6)
    chain.reopen()
    assert chain.chain.oldest_provable == 5
    check_height(chain, 5)
    check_height(chain, 6)


@pytest.mark.parametrize("restart", [False, True])
def test_recent_heights(store: Store, restart: bool) -> None:
    chain = Chain(store, TIGHT)
    chain.grow(10)
    if restart:
        chain.reopen()
    assert chain.chain.oldest_provable == 6
    for height in range(6, 11):
        check_height(chain, height)
    for height in (4, 5):  # changes are kept longer than proofs
        reader = chain.chain.reader_at(Height(height))
        assert all(reader.get(key) == chain.past[height].get(key) for key in set().union(*chain.past))
    for height in (3, 11, -1):
        with pytest.raises(Refused) as refused:
            chain.chain.reader_at(Height(height))
        assert refused.value.reason is Reason.NOT_AVAILABLE
    for height in (5, 11):
        with pytest.raises(Refused) as refused:
            chain.chain.prove(COUNTER, Height(height))
        assert refused.value.reason is Reason.NOT_AVAILABLE


def test_a_reader_stays_at_its_height(store: Store) -> None:
    chain = Chain(store, TIGHT)
    chain.grow(2)
    reader = chain.chain.reader_at(Height(2))
    chain.grow(5)
    assert reader.get(COUNTER) == b"2"


@pytest.mark.parametrize(("blocks", "oldest"), [(9, 7), (2, 0)])
def test_a_state_that_is_not_kept_is_refused_with_the_oldest_that_is(store: Store, blocks: int, oldest: int) -> None:
    chain = Chain(store, ChainOptions(keep_undo=2))
    chain.grow(blocks)
    assert chain.chain.reader_at(Height(oldest)).get(COUNTER) == str(oldest).encode()
    with pytest.raises(Refused) as refused:
        chain.chain.reader_at(Height(oldest - 1))
    assert refused.value.reason is Reason.NOT_AVAILABLE
    assert int(refused.value.detail.split()[-1]) == oldest


def test_an_archive_keeps_all_heights(store: Store) -> None:
    chain = Chain(store, ChainOptions(keep_undo=2, archive=True))
    chain.grow(9)
    for height in range(10):
        assert chain.chain.reader_at(Height(height)).get(COUNTER) == str(height).encode()
    assert chain.chain.changes_at(Height(1)) == chain.blocks[0][1].changes


def test_what_is_not_there(store: Store) -> None:
    chain = Chain(store)
    chain.grow(1)
    for height in (0, 2):
        for read in (chain.chain.block, chain.chain.header, chain.chain.commit, chain.chain.receipts):
            with pytest.raises(Refused) as refused:
                read(Height(height))
            assert refused.value.reason is Reason.NOT_AVAILABLE
    assert chain.chain.transaction(TxId(bytes(32))) is None
    assert chain.chain.receipt(TxId(bytes(32))) is None
    assert chain.chain.location(TxId(bytes(32))) is None
    assert chain.chain.get(b"absent") is None


def test_transactions_of_an_address_in_pages(store: Store) -> None:
    chain = Chain(store)
    chain.grow(7, transactions=4)
    for owner in OWNERS:
        expected = [
            Mention(block.height, receipt.index, receipt.txid)
            for block, result in reversed(chain.blocks)
            for receipt, touched in reversed(list(zip(result.receipts, result.touched, strict=True)))
            if owner in touched
        ]
        assert chain.chain.transactions_of(owner, 1000) == expected
        paged: list[Mention] = []
        while page := chain.chain.transactions_of(
            owner, 2, before=Location(paged[-1].height, paged[-1].index) if paged else None
        ):
            assert len(page) <= 2
            paged += page
        assert paged == expected


def test_outputs_of_an_owner_in_pages(store: Store) -> None:
    chain = Chain(store)
    chain.grow(3, transactions=4)
    for owner in OWNERS:
        everything = chain.chain.outputs_of(owner, 1000)
        paged: list[tuple[OutPoint, object]] = []
        while page := chain.chain.outputs_of(owner, 3, after=paged[-1][0] if paged else None):
            paged += page
        assert paged == everything
        assert everything


def test_outputs_are_counted_by_type(store: Store) -> None:
    chain = Chain(store)
    memo = encode_output(Memo(NO_SCRIPT, OWNERS[0], NATIVE, bytes(32), b"", Height(0), Height(9)))
    contract = encode_output(State(0, NO_SCRIPT, OWNERS[1], NATIVE, bytes(32), (), Height(0), Height(9)))
    block, _ = chain.make(0)
    first, second = output_key(TxId(bytes(32)), 100), output_key(TxId(bytes(32)), 101)
    chain.chain.commit_block(
        block, BlockResult(Changes({first: (None, memo), second: (None, contract)}), (), bytes(32), (), ())
    )
    assert chain.chain.output_counts == OutputCounts(START_OUTPUTS, 1, 1)
    chain.reopen()
    assert chain.chain.output_counts == OutputCounts(START_OUTPUTS, 1, 1)
    block, _ = chain.make(0)
    chain.chain.commit_block(block, BlockResult(Changes({first: (memo, None)}), (), bytes(32), (), ()))
    assert chain.chain.output_counts == OutputCounts(START_OUTPUTS, 0, 1)


# ---- the three steps of a commit


class FailingStore(MemoryStore):
    """Refuses to write when told so."""

    failing = False

    def write(self, batch: Sequence[Write], *, sync: bool = True) -> None:
        if self.failing:
            raise Refused(Reason.CORRUPT_DATABASE, "the disk is full")
        super().write(batch, sync=sync)


def test_a_failed_write_changes_nothing() -> None:
    store = FailingStore()
    chain = Chain(store, TIGHT)
    chain.grow(3)
    before = chain.chain.state_root
    block, result = chain.make()
    store.failing = True
    with pytest.raises(Refused):
        chain.chain.commit_block(block, result)
    assert (chain.chain.height, chain.chain.state_root) == (3, before)
    check_latest(chain)
    check_height(chain, 2)
    store.failing = False
    chain.chain.commit_block(block, result)
    chain.take(block, result)
    check_latest(chain)


def test_a_block_whose_rows_cannot_be_made_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(store)
    chain.grow(2)
    block, result = chain.make()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("state.chainstore.block_rows", broken)
        chain.chain.commit_block(block, result)
    check_latest(chain)
    chain.grow(2)
    check_latest(chain)


def test_until_it_is_finished_a_block_is_not_seen(store: Store) -> None:
    chain = Chain(store, TIGHT)
    chain.grow(3)
    block, result = chain.make()
    prepared = chain.chain.prepare(block, result)
    check_latest_records(chain)
    check_height(chain, 2)
    chain.chain.write(prepared)
    check_latest_records(chain)
    check_height(chain, 3)
    with pytest.raises(ValueError, match="not finished"):
        chain.chain.prepare(block, result)
    chain.chain.finish(prepared)
    chain.take(block, result)
    assert prepared.meta.state_root == chain.chain.state_root
    check_latest(chain)
    check_height(chain, 3)


def check_latest_records(chain: Chain) -> None:
    keys = set().union(*chain.past)
    assert chain.chain.height == len(chain.blocks)
    assert all(chain.chain.get(key) == chain.past[-1].get(key) for key in keys)


def test_only_the_next_height_is_taken(store: Store) -> None:
    chain = Chain(store)
    chain.grow(1)
    block, result = chain.blocks[0]
    with pytest.raises(Refused) as refused:
        chain.chain.commit_block(block, result)
    assert refused.value.reason is Reason.WRONG_HEIGHT


def test_receipts_must_match_the_transactions(store: Store) -> None:
    chain = Chain(store)
    block, result = chain.make()
    with pytest.raises(ValueError, match="one receipt"):
        chain.chain.commit_block(
            block, BlockResult(result.changes, result.receipts[1:], bytes(32), (), result.touched)
        )
    check_latest(chain)


def test_the_cache_counts_and_answers(store: Store) -> None:
    chain = Chain(store)
    chain.chain.get(COUNTER)
    misses = chain.chain.cache_misses
    for _ in range(3):
        chain.chain.get(COUNTER)
    assert (chain.chain.cache_hits, chain.chain.cache_misses) == (3, misses)
    chain.grow()
    assert chain.chain.get(COUNTER) == b"1"
    assert chain.chain.cache_misses == misses


# ---- a damaged database

H2 = height_key(BLOCK, 2)
ROW = STATE + state_key(COUNTER)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param([(META, b"\x95\x02garbage")], id="position"),
        pytest.param([(META, None)], id="position lost"),
        pytest.param([(columns.GENESIS, None)], id="genesis lost"),
        pytest.param([(ROW, state_row(COUNTER, b"77"))], id="record changed"),
        pytest.param([(ROW, None)], id="record lost"),
        pytest.param([(ROW, b"")], id="record emptied"),
        pytest.param([(ROW, b"\xff\xff")], id="record cut"),
        pytest.param([(STATE + bytes(32), state_row(b"more", b"1"))], id="record added"),
        pytest.param([(STATE + b"short", state_row(b"more", b"1"))], id="record with a short key"),
        pytest.param([(height_key(UNDO, 3), b"\x91\x93\xc4\x01a\x90\x91\xc4\x01b")], id="changes replaced"),
        pytest.param([(height_key(UNDO, 3), b"\xff")], id="changes"),
    ],
)
def test_damage_is_noticed_at_start(store: Store, damage: list[Write]) -> None:
    chain = Chain(store)
    chain.grow(3)
    store.write(damage)
    with pytest.raises(Refused) as refused:
        chain.reopen()
    assert refused.value.reason is Reason.CORRUPT_DATABASE


def test_damage_is_noticed_when_read(store: Store) -> None:
    chain = Chain(store, TIGHT)
    chain.grow(3, transactions=40)
    txid = chain.blocks[1][1].receipts[35].txid

    def reason(damage: list[Write], read: Callable[[], object]) -> None:
        kept = [(key, store.get(key)) for key, _ in damage]
        store.write(damage)
        with pytest.raises(Refused) as refused:
            read()
        assert refused.value.reason is Reason.CORRUPT_DATABASE
        store.write(kept)

    chunk, receipts = chunk_key(TRANSACTIONS, 2, 1), chunk_key(RECEIPTS, 2, 1)
    reason([(H2, b"\x91\x01")], lambda: chain.chain.header(Height(2)))
    for broken in (None, b"", b"\x90", b"\x91\xc4\x01a"):
        reason([(chunk, broken)], lambda: chain.chain.block(Height(2)))
        reason([(chunk, broken)], lambda: chain.chain.transaction(txid))
    for broken in (None, b"", b"\x90", b"\xc1"):
        reason([(receipts, broken)], lambda: chain.chain.receipt(txid))
        reason([(receipts, broken)], lambda: chain.chain.receipts(Height(2)))
    reason([(TX_INDEX + txid, b"short")], lambda: chain.chain.location(txid))
    reason([(TX_INDEX + txid, location_row(2, 36))], lambda: chain.chain.receipt(txid))
    reason([(ADDRESS_INDEX + OWNERS[0] + bytes(8), b"odd")], lambda: chain.chain.transactions_of(OWNERS[0], 100))
    reason([(owner_key(OWNERS[0], b"\1" * 36), b"")], lambda: chain.chain.outputs_of(OWNERS[0], 1000))
    reason([(ROW, state_row(b"other", b"1"))], lambda: chain.chain.get(COUNTER))
    check_latest(chain)


def test_another_layout_is_refused(store: Store) -> None:
    chain = Chain(store)
    raw = store.get(META)
    assert raw is not None
    store.write([(META, raw[:1] + encode(9) + raw[2:])])
    with pytest.raises(Refused) as refused:
        chain.reopen()
    assert refused.value.reason is Reason.WRONG_VERSION


def test_a_page_that_changed_on_disk_is_noticed_in_a_block(store: Store) -> None:
    chain = Chain(store, TIGHT)
    chain.grow(1)
    victim = next(key for key in chain.past[-1] if key.startswith(b"utxo/"))
    store.write([(STATE + state_key(victim), state_row(victim, coin(0, 10**9)))])
    block, _ = chain.make(0)
    with pytest.raises(Refused) as refused:
        chain.chain.commit_block(
            block, BlockResult(Changes({victim: (chain.past[-1][victim], None)}), (), bytes(32), (), ())
        )
    assert refused.value.reason is Reason.CORRUPT_DATABASE
    assert chain.chain.height == 1
