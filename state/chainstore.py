"""Everything about the chain in one store: blocks, receipts, records, undo, indexes, and where the chain stands.

A block is committed by one synced atomic batch, so that after a crash the store holds a whole block or nothing of it.
All methods belong to one thread; only `write` may run on another, and the rest stays usable meanwhile, as of the block
before. `state.columns` says what lies where.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from crypto.errors import Reason, Refused
from state.archive import BlockArchive, parse, parse_changes
from state.blockrows import (
    BlockBytes,
    Meta,
    OutputCounts,
    PreparedBlock,
    block_rows,
    meta_codec,
    pruned_rows,
    record_rows,
    unblock_rows,
)
from state.changes import Changes
from state.columns import (
    ADDRESS_INDEX,
    BASE,
    GENESIS,
    META,
    OWNER_INDEX,
    STATE,
    TOUCHED,
    UNDO,
    at_height,
    corrupt,
    height_key,
    state_row,
)
from state.encoding import encode
from state.genesis import Genesis
from state.lineage import dropped_rows, lineage_rows
from state.pages import state_key
from state.proof import StateProof
from state.receipt import BlockResult
from state.records import UTXO, decode_output, outpoint_of, output_key
from state.snapshot import FrozenState, PatchedView
from state.store import Store, Write
from state.transaction import OutPoint, Output
from state.tree import StateTree, TreeLimits
from state.types import HASH_SIZE, Address, Height
from state.values import Missing, ValueCache

SCHEMA: Final = 2
"""Number of the present layout of the store."""
REPLAY_BUDGET: Final = 50_000
"""At start the proof history is rebuilt from as many blocks as hold this many changes (at least from one)."""
PRUNED_AT_ONCE: Final = 4
"""Blocks that one commit deletes at most: so pruning that is switched on late does not stop the chain."""
_ABOVE_STATE_KEYS: Final = b"\xff" * 33
_AFTER_ADDRESSES: Final = bytes([ADDRESS_INDEX[0] + 1])
_ABOVE_OUTPOINTS: Final = b"\xff" * 37


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """What a store keeps.

    Attributes:
        keep_undo: heights whose changes stay stored, so that state can be read as it was then.
        archive: keep the changes of all heights.
        keep_blocks: how many blocks stay stored, more than `keep_undo`; 0 for all.
        value_bytes: bound of the cache of records.
        tree: bounds of the tree's caches.
    """

    keep_undo: int = 256
    archive: bool = False
    keep_blocks: int = 0
    value_bytes: int = 24 << 20
    tree: TreeLimits = field(default_factory=TreeLimits)


class ChainStore(BlockArchive):
    """The chain on one store. It is a `state.changes.Reader` of the latest committed state."""

    def __init__(self, store: Store, meta: Meta, tree: StateTree, recent: dict[Height, Changes],
                 options: ChainOptions) -> None:
        """Take over loaded parts; `open` is the way to them."""
        super().__init__(store)
        self._store: Store = store
        self._meta = meta
        self._tree = tree
        self._recent = recent  # changes of the heights that the tree has a history of
        self._options = options
        self._values = ValueCache(options.value_bytes)
        self._pending: PreparedBlock | None = None
        base = store.get(BASE)
        self._earliest = Height(1 if base is None else int.from_bytes(base, "big"))

    @classmethod
    def open(
        cls, store: Store, genesis: Genesis, initial: Callable[[Genesis], Changes], options: ChainOptions | None = None
    ) -> "ChainStore":
        """Open the chain of a genesis; on an empty store, begin it.

        Args:
            store: stays open when this object is dropped; its owner closes it.
            genesis: a checked genesis.
            initial: gives the records at height 0; called for an empty store only.
            options: what to keep.

        Raises:
            Refused: GENESIS_MISMATCH, WRONG_VERSION (of the layout), CORRUPT_DATABASE.
        """
        raw = encode(genesis)
        stored = store.get(GENESIS)
        if stored is None:
            if store.get(META) is not None:
                raise corrupt("the genesis")
            _begin(store, raw, initial(genesis))
        elif stored != raw:
            raise Refused(Reason.GENESIS_MISMATCH, "this database belongs to a chain with another genesis")
        return cls._load(store, options or ChainOptions())

    @classmethod
    def _load(cls, store: Store, options: ChainOptions) -> "ChainStore":
        raw = store.get(META)
        if raw is None:
            raise corrupt("the chain's position")
        if raw[1:2] != encode(SCHEMA):
            raise Refused(Reason.WRONG_VERSION, f"the database has another layout than number {SCHEMA}")
        meta = parse(meta_codec, raw, "the chain's position")
        tree = StateTree.load(store, meta.height, options.tree)
        if tree.root != meta.state_root:
            raise corrupt(f"the state of height {meta.height}")
        recent: dict[Height, Changes] = {}
        size = 0
        for number in range(meta.height, max(0, meta.height - options.tree.heights), -1):
            row = store.get(height_key(UNDO, number))
            if row is None:
                break
            changes = parse_changes(row)
            size += len(changes)
            if size > REPLAY_BUDGET and recent:
                break
            recent[Height(number)] = changes
        tree.replay(recent.values())
        return cls(store, meta, tree, recent, options)

    # ---- where the chain stands

    @property
    def height(self) -> Height:
        """Height of the last committed block; 0 for genesis alone."""
        return self._meta.height

    @property
    def earliest(self) -> Height:
        """The lowest height whose block is here, 1 or more; the block need not exist yet."""
        return self._earliest

    @property
    def state_root(self) -> bytes:
        """State root after the last committed block."""
        return self._meta.state_root

    @property
    def receipts_root(self) -> bytes:
        """Receipts root of the last committed block; 32 zero bytes at genesis."""
        return self._meta.receipts_root

    @property
    def output_counts(self) -> OutputCounts:
        """Unspent outputs by type."""
        return self._meta.outputs

    @property
    def cache_hits(self) -> int:
        """Record reads that the cache answered."""
        return self._values.hits

    @property
    def cache_misses(self) -> int:
        """Record reads that went to the store."""
        return self._values.misses

    @property
    def page_hits(self) -> int:
        """Pages of the state tree that were in the cache when they were needed."""
        return self._tree.page_hits

    @property
    def page_misses(self) -> int:
        """Pages of the state tree that had to be read."""
        return self._tree.page_misses

    # ---- reading the state

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a record by raw key, as of `height`. Raises Refused(CORRUPT_DATABASE)."""
        if self._pending is not None:
            entry = self._pending.changes.entries.get(key)
            if entry is not None:
                return entry[0]
        value = self._values.get(key)
        if not isinstance(value, Missing):
            return value
        row = self._store.get(STATE + state_key(key))
        if row is None:
            value = None
        else:
            start = 2 + len(key)
            if row[:start] != len(key).to_bytes(2, "big") + key:
                raise corrupt("a state record")
            value = row[start:]
        self._values.put(key, value)
        return value

    def reader_at(self, height: Height) -> "PastReader":
        """Return a reader of the state after block `height`; it stays at that height while the chain goes on.

        Raises:
            Refused: NOT_AVAILABLE if the height is in the future or its changes are no longer kept.
        """
        if height > self.height:
            raise Refused(Reason.NOT_AVAILABLE, f"there is no block {height} yet: the last one is {self.height}")
        if height < 0:
            raise self._not_kept(height)
        if height < self.height:
            self._undo_row(height + 1)
        return PastReader(self, height)

    def value_at(self, key: bytes, height: int) -> bytes | None:
        """Return the value that a record had after block `height`. Raises Refused(NOT_AVAILABLE | CORRUPT_DATABASE)."""
        for number in range(height + 1, self.height + 1):
            changes = self._recent.get(Height(number))
            if changes is None:
                row = self._undo_row(number)
                if key not in row:  # a plain search spares decoding the block's changes
                    continue
                changes = parse_changes(row)
            entry = changes.entries.get(key)
            if entry is not None:
                return entry[0]
        return self.get(key)

    def records_at(self, height: Height) -> Iterator[tuple[bytes, bytes]]:
        """Yield every record after block `height` as (raw key, value), in no order that means anything.

        The chain must not go on meanwhile.

        Raises:
            Refused: NOT_AVAILABLE if the height is in the future or changes since are no longer kept; CORRUPT_DATABASE.
        """
        if not 0 <= height <= self.height:
            raise self._not_kept(height)
        since: dict[bytes, bytes | None] = {}
        for number in range(self.height, height, -1):
            for key, (before, _) in self.changes_at(Height(number)).entries.items():
                since[key] = before
        for _, row in self._store.scan(STATE, STATE + _ABOVE_STATE_KEYS):
            end = 2 + int.from_bytes(row[:2], "big")
            if row[2:end] not in since:
                yield row[2:end], row[end:]
        for key, value in since.items():
            if value is not None:
                yield key, value

    def _undo_row(self, height: int) -> bytes:
        row = self._store.get(height_key(UNDO, height))
        if row is None:
            raise self._not_kept(height - 1)
        return row

    def _not_kept(self, height: int) -> Refused:
        past = range(self.height)
        oldest = bisect_left(past, True, key=lambda one: self._store.get(height_key(UNDO, one + 1)) is not None)
        return Refused(Reason.NOT_AVAILABLE, f"the state of height {height} is not kept here: the oldest is {oldest}")

    def changes_at(self, height: Height) -> Changes:
        """Return what block `height` changed. Raises Refused(NOT_AVAILABLE | CORRUPT_DATABASE)."""
        changes = self._recent.get(height)
        return parse_changes(self._undo_row(height)) if changes is None else changes

    def prove(self, key: bytes, height: Height) -> StateProof:
        """Return the proof of a record, or of its absence, after block `height`: its root stands in header height + 1.

        Raises:
            Refused: NOT_AVAILABLE if the height is not one of the last few, CORRUPT_DATABASE.
        """
        if not self.oldest_provable <= height <= self.height:
            reach = f"{self.oldest_provable} to {self.height}"
            raise Refused(Reason.NOT_AVAILABLE, f"there are proofs of the heights {reach}, none of {height}")
        return self._tree.prove(key, height, self.value_at(key, height))

    def freeze(self) -> FrozenState:
        """Return the state before the last block, whose header names its root; it stays while the chain goes on.

        Raises:
            Refused: NOT_AVAILABLE at genesis, and on the block that follows a snapshot; CORRUPT_DATABASE.
            ValueError: a commit is under way.
        """
        if self._pending is not None:
            raise ValueError("a commit is under way")
        root, nodes = self._tree.nodes_before()
        before = {
            STATE + state_key(key): None if value is None else state_row(key, value)
            for key, (value, _) in self.changes_at(self.height).entries.items()
        }
        snapshot = self._store.snapshot()
        return FrozenState(Height(self.height - 1), root, nodes, PatchedView(snapshot, before), snapshot)

    @property
    def oldest_provable(self) -> Height:
        """The lowest height that `prove` serves."""
        return self._tree.oldest_height

    # ---- committing

    def commit_block(self, block: BlockBytes, result: BlockResult) -> bytes:
        """Commit the next block in one synced batch and return the state root after it.

        Args:
            block: encoded parts; height is the present one plus one.
            result: what executing it gave; one receipt and one list of touched addresses for each transaction.

        Raises:
            Refused: WRONG_HEIGHT, CORRUPT_DATABASE; the chain stays at the block before.
            ValueError: transactions, receipts and touched addresses differ in number, or a commit is under way.
        """
        prepared = self.prepare(block, result)
        try:
            self.write(prepared)
        except BaseException:
            self.abandon(prepared)
            raise
        self.finish(prepared)
        return prepared.meta.state_root

    def prepare(self, block: BlockBytes, result: BlockResult) -> PreparedBlock:
        """First step of a commit: update the tree and build the rows. Then `write`, and `finish` or `abandon`.

        Arguments and errors are those of `commit_block`.
        """
        height = block.height
        if height != self.height + 1:
            raise Refused(Reason.WRONG_HEIGHT, f"block {height} does not follow block {self.height}")
        if self._pending is not None:
            raise ValueError("the commit before is not finished")
        if not len(block.transactions) == len(result.receipts) == len(result.touched):
            raise ValueError("a block has one receipt and one list of touched addresses for each transaction")
        changes = result.changes
        keys = [state_key(raw_key) for raw_key in changes.entries]
        state_root = self._tree.update(height, zip(keys, (after for _, after in changes), strict=True))
        try:
            rows, outputs = record_rows(changes, keys, self._meta.outputs)
            rows += block_rows(block, result, state_root, prunable=self._options.keep_blocks > 0)
            rows += lineage_rows(height, result.successions, self._store.get)
            if not self._options.archive and height > self._options.keep_undo:
                rows.append((height_key(UNDO, height - self._options.keep_undo), None))
            earliest = self._earliest if not self._options.keep_blocks else self._prune(height, rows, changes)
            meta = Meta(SCHEMA, height, state_root, result.receipts_root, outputs)
        except BaseException:
            self._tree.rollback()
            raise
        rows.append((META, encode(meta)))
        self._pending = PreparedBlock(changes, meta, rows, earliest)
        return self._pending

    def _prune(self, height: Height, rows: list[Write], changes: Changes) -> Height:
        """Add what deletes the oldest blocks, a few at a time; return the lowest height that stays."""
        first, end = self._earliest, height - self._options.keep_blocks + 1

        def stays(outpoint: OutPoint) -> bool:
            key = output_key(outpoint.txid, outpoint.index)
            change = changes.entries.get(key)
            return (self.get(key) if change is None else change[1]) is not None

        for number in range(first, min(first + PRUNED_AT_ONCE, end)):
            old = Height(number)
            touched = self._store.get(height_key(TOUCHED, number)) or b""
            rows += pruned_rows(old, self.block_row(old), [one.txid for one in self.receipts(old)], touched)
            rows += dropped_rows(old, self._store.get, stays)
            first = Height(number + 1)
        if first != self._earliest:
            rows.append((BASE, first.to_bytes(8, "big")))
        return first

    def write(self, prepared: PreparedBlock) -> None:
        """Second step: write and sync the batch. May run on another thread. Raises Refused(CORRUPT_DATABASE)."""
        self._store.write(prepared.rows, sync=True)

    def finish(self, prepared: PreparedBlock) -> None:
        """Third step, after `write` returned: the block counts as committed."""
        values = self._values
        for key, (_, after) in prepared.changes.entries.items():
            if after is None:
                values.drop(key)
            else:
                values.put(key, after)
        self._meta = prepared.meta
        self._earliest = prepared.earliest
        self._recent[self.height] = prepared.changes
        for old in [number for number in self._recent if number <= self._tree.oldest_height]:
            del self._recent[old]
        self._pending = None
        self._tree.trim()

    def abandon(self, prepared: PreparedBlock) -> None:
        """Third step, after `write` failed: the chain stays at the block before."""
        self._tree.rollback()
        self._pending = None

    def undo_block(self) -> bytes:
        """Take the last block back in one synced batch, indexes included, and return the state root before it.

        The undo row that the block pushed out of the window does not come back. The note of the block before is
        empty. Reads all of the address index: seconds for millions of entries.

        Raises:
            Refused: NOT_AVAILABLE if its changes are not kept, or there is no block; CORRUPT_DATABASE.
            ValueError: a commit is under way.
        """
        height = self.height
        if self._pending is not None:
            raise ValueError("a commit is under way")
        row, changes = self.block_row(height), parse_changes(self._undo_row(height))
        before = self.block_row(Height(height - 1)) if height > 1 else None
        keys = [state_key(raw_key) for raw_key in changes.entries]
        txids = [receipt.txid for receipt in self.receipts(height)]
        rows, outputs = unblock_rows(changes, keys, self._meta.outputs, height, row, txids)
        rows += dropped_rows(height, self._store.get, lambda _: False)
        rows += [(key, None) for key, _ in self._store.scan(ADDRESS_INDEX, _AFTER_ADDRESSES) if at_height(key, height)]
        tree = self._tree
        if tree.oldest_height == height:
            tree.replay([changes])
        tree.rollback()
        if before is not None and tree.root != before.state_root:
            raise corrupt(f"the undo record of block {height}")
        receipts_root = bytes(HASH_SIZE) if before is None else before.receipts_root
        self._meta = Meta(SCHEMA, Height(height - 1), tree.root, receipts_root, outputs)
        self._store.write([*rows, (META, encode(self._meta))], sync=True)
        for key in changes.entries:
            self._values.drop(key)
        self._recent.pop(height, None)
        return tree.root

    # ---- outputs

    def outputs_of(self, owner: Address, limit: int, after: OutPoint | None = None) -> list[tuple[OutPoint, Output]]:
        """Return up to `limit` unspent outputs of an owner in order of outpoint, from behind `after` on.

        Raises:
            Refused: CORRUPT_DATABASE.
        """
        prefix = OWNER_INDEX + owner
        start = prefix
        if after is not None:
            start += after.txid + after.index.to_bytes(4, "big") + b"\0"
        found: list[tuple[OutPoint, Output]] = []
        for key, _ in self._store.scan(start, prefix + _ABOVE_OUTPOINTS):
            if len(found) == limit:
                break
            raw_key = UTXO + key[len(prefix) :]
            value = self.get(raw_key)
            if value is not None:
                try:
                    found.append((outpoint_of(raw_key), decode_output(value)))
                except msgspec.DecodeError:
                    raise corrupt("an output") from None
            elif self._pending is None:
                raise corrupt("an entry of the owner index")
        return found


class PastReader:
    """The state after one block, read through the changes since."""

    def __init__(self, chain: ChainStore, height: Height) -> None:
        self._chain = chain
        self.height = height

    def get(self, key: bytes) -> bytes | None:
        """Return the value that a record had. Raises Refused(NOT_AVAILABLE | CORRUPT_DATABASE)."""
        return self._chain.value_at(key, self.height)


def _begin(store: Store, genesis: bytes, initial: Changes) -> None:
    """Write height 0: the genesis, its records and its root, in one batch."""
    tree = StateTree(store, Height(-1), TreeLimits())
    keys = [state_key(raw_key) for raw_key in initial.entries]
    root = tree.update(Height(0), zip(keys, (after for _, after in initial), strict=True))
    rows, outputs = record_rows(initial, keys, OutputCounts())
    meta = Meta(SCHEMA, Height(0), root, bytes(HASH_SIZE), outputs)
    store.write([*rows, (GENESIS, genesis), (META, encode(meta))], sync=True)
