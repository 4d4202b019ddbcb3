"""Snapshots: every record in some chunk, each chunk checked alone; a restored store goes on as the first one does."""

from pathlib import Path

import pytest
from msgspec.structs import replace as with_fields

from crypto.errors import Reason, Refused
from state.chainstore import ChainOptions, ChainStore
from state.encoding import encode
from state.leveldb import LevelDB
from state.memory import MemoryStore
from state.pages import record_count
from state.restoring import Restoration, restored_height, unfinished
from state.snapshot import (
    MAX_CHUNK,
    FrozenState,
    Manifest,
    check_chunk,
    chunks_of,
    limit_for,
    make_manifest,
    manifest_codec,
    read_chunk,
)
from state.store import Store
from state.types import Height
from tests.state.chains import COUNTER, GENESIS, OWNERS, Chain, initial


def small(frozen: FrozenState) -> Manifest:
    """Return a manifest with the smallest chunks."""
    manifest = make_manifest(frozen)
    nodes: list[bytes] = []

    def visit(prefix: str) -> None:
        nodes.append(frozen.nodes[prefix])
        for digit in "0123456789abcdef":
            if prefix + digit in frozen.nodes:
                visit(prefix + digit)

    visit("")
    return with_fields(manifest, limit=32, nodes=tuple(nodes))


@pytest.fixture
def chain(store: Store) -> Chain:
    made = Chain(store)
    made.grow(40, 40)
    return made


def pieces(chain: Chain) -> tuple[Manifest, bytes, list[bytes]]:
    frozen = chain.chain.freeze()
    try:
        manifest = small(frozen)
        return manifest, frozen.root, [read_chunk(frozen.view, one) for one in chunks_of(manifest, frozen.root)]
    finally:
        frozen.close()


def refusal(manifest: Manifest, root: bytes) -> Reason:
    with pytest.raises(Refused) as caught:
        chunks_of(manifest, root)
    return caught.value.reason


def test_chunks_hold_every_record_as_of_the_block_before_the_last(chain: Chain) -> None:
    manifest, root, data = pieces(chain)
    assert manifest.height == chain.chain.height - 1
    assert root == chain.chain.block_row(manifest.height).state_root
    assert manifest_codec.decode(encode(manifest)) == manifest
    rows = [row for one, raw in zip(chunks_of(manifest, root), data, strict=True) for _, row in check_chunk(one, raw)]
    found = {row[2 : 2 + int.from_bytes(row[:2], "big")]: row[2 + int.from_bytes(row[:2], "big") :] for row in rows}
    assert found == chain.past[-2] and len(rows) == len(found) and len(data) > 10


def test_what_is_frozen_stays_while_blocks_go_on(chain: Chain) -> None:
    frozen = chain.chain.freeze()
    manifest = make_manifest(frozen)
    chain.grow(5, 40)
    for one in chunks_of(manifest, frozen.root):
        check_chunk(one, read_chunk(frozen.view, one))
    frozen.close()


def test_the_manifest_depends_on_the_state_alone(chain: Chain) -> None:
    again = Chain(MemoryStore())
    again.grow(40, 40)
    manifests = []
    for one in (chain, again):
        frozen = one.chain.freeze()
        manifests.append(make_manifest(frozen))
        frozen.close()
    assert manifests[0] == manifests[1]


def test_large_records_make_small_parts() -> None:
    chain = Chain(MemoryStore())
    frozen = chain_frozen(chain)
    assert limit_for(frozen.view) == 1024
    large = MemoryStore({b"s" + bytes([number]) * 32: b"\0\1k" + bytes(60_000) for number in range(100)})
    assert limit_for(large) == 32


def chain_frozen(chain: Chain) -> FrozenState:
    chain.grow(1)
    return chain.chain.freeze()


def test_a_manifest_with_anything_else_is_refused(chain: Chain) -> None:
    manifest, root, _ = pieces(chain)
    nodes = manifest.nodes
    assert record_count(nodes[0]) == len(chain.past[-2])
    wrong = [
        nodes[1:], nodes[:-1], (*nodes, nodes[-1]), (nodes[0], nodes[2], nodes[1], *nodes[3:]),
        (nodes[0], bytes([nodes[1][0] ^ 1]) + nodes[1][1:], *nodes[2:]),
    ]
    for changed in wrong:
        assert refusal(with_fields(manifest, nodes=changed), root) is Reason.BAD_PROOF
    assert refusal(manifest, bytes(32)) is Reason.BAD_PROOF
    # with another limit other nodes belong into it
    assert refusal(with_fields(manifest, limit=1024), root) is Reason.BAD_PROOF


def rows_of(data: bytes) -> list[bytes]:
    rows, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        rows.append(data[at : at + 4 + size])
        at += 4 + size
    return rows


def test_no_chunk_hides_adds_changes_or_moves_a_record(chain: Chain) -> None:
    manifest, root, data = pieces(chain)
    chunks = chunks_of(manifest, root)
    for one, raw, other in zip(chunks[1:3], data[1:3], data, strict=False):
        rows = rows_of(raw)
        stranger = rows_of(other)[0]
        changed = rows[0][:-1] + bytes([rows[0][-1] ^ 1])
        wrong = [
            rows[1:], rows[:-1], [*rows, stranger], [stranger, *rows[1:]], [*rows, rows[-1]], rows[::-1],
            [rows[1], rows[0], *rows[2:]], [changed, *rows[1:]], [rows[0], rows[0], *rows[2:]], [],
        ]
        for attempt in wrong:
            with pytest.raises(Refused) as caught:
                check_chunk(one, b"".join(attempt))
            assert caught.value.reason is Reason.BAD_PROOF
        for torn in (raw[:-1], raw[1:], raw + b"\0", raw + bytes(4), b"\xff" * len(raw)):
            with pytest.raises(Refused) as caught:
                check_chunk(one, torn)
            assert caught.value.reason is Reason.BAD_PROOF
        with pytest.raises(Refused) as caught:
            check_chunk(one, bytes(MAX_CHUNK + 1))
        assert caught.value.reason is Reason.TOO_LARGE


def test_there_is_nothing_to_freeze_at_genesis_or_twice_into_the_past() -> None:
    chain = Chain(MemoryStore())
    with pytest.raises(Refused) as caught:
        chain.chain.freeze()
    assert caught.value.reason is Reason.NOT_AVAILABLE


def restored(chain: Chain, target: Store, order: int = 1) -> None:
    manifest, root, data = pieces(chain)
    restoration = Restoration(target, manifest, root)
    for index in list(range(len(data)))[::order]:
        restoration.add(index, data[index])
        restoration.add(index, data[index])
    assert restoration.missing == [] and restored_height(target) is None
    block, _ = chain.blocks[manifest.height - 1]
    receipts_root = chain.chain.block_row(manifest.height).receipts_root
    restoration.finish(encode(GENESIS), block.header, block.commit, receipts_root)
    assert unfinished(target) is None and restored_height(target) == manifest.height


def test_a_restored_store_goes_on_as_the_first(chain: Chain, tmp_path: Path) -> None:
    target = LevelDB.open(tmp_path / "restored")
    restored(chain, target, -1)
    copy = ChainStore.open(target, GENESIS, initial)
    height = Height(chain.chain.height - 1)
    assert (copy.height, copy.earliest) == (height, height + 1)
    assert {key: copy.get(key) for key in chain.past[-2]} == chain.past[-2]
    assert copy.header(height) == chain.chain.header(height) and copy.commit(height) == chain.chain.commit(height)
    for refused in (copy.block, copy.receipts):
        with pytest.raises(Refused) as caught:
            refused(height)
        assert caught.value.reason is Reason.NOT_AVAILABLE
    copy.commit_block(*chain.blocks[-1])
    assert copy.state_root == chain.chain.state_root and copy.output_counts == chain.chain.output_counts
    owner = next(iter(chain.blocks[0][1].touched))[0]
    assert copy.outputs_of(owner, 10_000) == chain.chain.outputs_of(owner, 10_000)
    again = Chain(MemoryStore())
    again.chain, again.past, again.random = copy, list(chain.past), chain.random
    again.grow(3)
    assert copy.prove(COUNTER, copy.height).value == (b"44"[:1] + b"3",)
    copy.freeze().close()
    assert copy.undo_block()
    target.close()
    reopened = LevelDB.open(tmp_path / "restored")
    assert ChainStore.open(reopened, GENESIS, initial).earliest == height + 1
    reopened.close()


def test_a_restoration_goes_on_where_it_was(chain: Chain, tmp_path: Path) -> None:
    manifest, root, data = pieces(chain)
    for index in range(len(data)):
        target = LevelDB.open(tmp_path / "target")
        restoration = Restoration(target, manifest, root)
        assert restoration.missing == list(range(index, len(data)))
        with pytest.raises(Refused) as caught:
            restoration.finish(b"", b"", b"", bytes(32))
        assert caught.value.reason is Reason.NOT_AVAILABLE and unfinished(target) == manifest
        with pytest.raises(Refused) as caught:
            restoration.add(index, data[index - 1])
        assert caught.value.reason is Reason.BAD_PROOF
        restoration.add(index, data[index])
        target.close()


def test_a_store_with_a_chain_or_with_another_snapshot_is_left_alone(chain: Chain) -> None:
    manifest, root, _ = pieces(chain)
    target = MemoryStore()
    Restoration(target, manifest, root)
    chain.grow(1)
    other, other_root, _ = pieces(chain)
    for taken, asked, its_root in ((target, other, other_root), (Chain(MemoryStore()).store, manifest, root)):
        with pytest.raises(Refused) as caught:
            Restoration(taken, asked, its_root)
        assert caught.value.reason is Reason.NOT_AVAILABLE


def test_parts_and_chunks_are_within_their_bounds(chain: Chain) -> None:
    manifest, root, _ = pieces(chain)
    chunks = chunks_of(manifest, root)
    assert all(part.count <= 32 for chunk in chunks for part in chunk)
    sizes = [sum(part.count for part in chunk) for chunk in chunks]
    assert all(32 <= size < 64 for size in sizes[:-1]) and sum(sizes) == len(chain.past[-2])


def test_old_blocks_are_pruned_with_their_index_entries_and_the_state_stays(store: Store) -> None:
    chain = Chain(store, ChainOptions(keep_undo=3, keep_blocks=5))
    whole = Chain(MemoryStore(), ChainOptions(keep_undo=3))
    for one in (chain, whole):
        one.grow(20)
    assert chain.chain.earliest == 16 and chain.chain.state_root == whole.chain.state_root
    for height in range(1, 21):
        (receipt, *_) = whole.chain.receipts(Height(height))
        assert (chain.chain.location(receipt.txid) is None) == (height < 16)
        if height < 16:
            with pytest.raises(Refused) as caught:
                chain.chain.block(Height(height))
            assert caught.value.reason is Reason.NOT_AVAILABLE
        else:
            assert chain.chain.block(Height(height)) == whole.chain.block(Height(height))
    for owner in OWNERS:
        kept = [one for one in whole.chain.transactions_of(owner, 1000) if one.height >= 16]
        assert chain.chain.transactions_of(owner, 1000) == kept
    chain.reopen()
    assert chain.chain.earliest == 16
    chain.chain.undo_block()
    columns = {key[:1] for key, _ in store.scan(b"", b"\xff")}
    assert sum(key[:1] == b"h" for key, _ in store.scan(b"", b"\xff")) == 4 and b"p" in columns


def test_pruning_that_is_switched_on_late_goes_a_few_blocks_at_a_time(store: Store) -> None:
    chain = Chain(store, ChainOptions(keep_undo=3))
    chain.grow(20)
    chain.options = ChainOptions(keep_undo=3, keep_blocks=5)
    chain.reopen()
    chain.grow(1)
    assert chain.chain.earliest == 5
    chain.grow(3)
    assert chain.chain.earliest == 17
    chain.grow(3)
    assert chain.chain.earliest == 23
