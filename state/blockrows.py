"""The rows that one block adds to the store besides the records themselves: the block, its receipts, the indexes.

Few large rows are cheaper than many small ones, so transactions and receipts go in chunks, and the address index holds
one row for each address and block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from state.changes import Changes
from state.columns import (
    BLOCK,
    CHUNK,
    OWNER_INDEX,
    RECEIPTS,
    STATE,
    TOUCHED,
    TRANSACTIONS,
    TX_INDEX,
    UNDO,
    chunk_key,
    height_key,
    location_row,
    mentions_key,
    state_row,
)
from state.encoding import Codec, Record, encode
from state.receipt import BlockResult, Event
from state.records import UTXO, decode_output
from state.store import Write
from state.transaction import Coin, HiddenCoin, Memo, Output
from state.types import HASH_SIZE, Address, Hash32, Height, HeightField, TxId, Unsigned

MAX_ROW: Final = 64 << 20


class BlockBytes(Record, frozen=True):
    """A block as the store takes it and gives it back: encoded parts that only the layers above can read.

    Attributes:
        height: 1 or more.
        header: canonical bytes of the header.
        last_commit: the commit of the height before, as this block carries it.
        evidence: the evidence that this block carries, encoded as a whole.
        commit: the commit *for* this block, as this node saw it.
        transactions: wire bytes, in execution order.
    """

    height: HeightField
    header: bytes
    last_commit: bytes
    evidence: bytes
    commit: bytes
    transactions: tuple[bytes, ...]


class BlockRow(Record, frozen=True):
    """What the block column holds for one height."""

    header: bytes
    last_commit: bytes
    evidence: bytes
    commit: bytes
    transactions: Unsigned
    """How many."""
    events: tuple[Event, ...]
    state_root: Hash32
    receipts_root: Hash32


class OutputCounts(Record, frozen=True):
    """How many unspent outputs of each type there are."""

    coins: Unsigned = 0
    memos: Unsigned = 0
    states: Unsigned = 0


class Meta(Record, frozen=True):
    """Where the chain stands."""

    schema: Unsigned
    height: HeightField
    state_root: Hash32
    receipts_root: Hash32
    outputs: OutputCounts


block_row_codec: Final = Codec(BlockRow, MAX_ROW)
meta_codec: Final = Codec(Meta, MAX_ROW)
transactions_codec: Final[Codec[tuple[bytes, ...]]] = Codec(tuple[bytes, ...], MAX_ROW)


def _type_index(output: Output) -> int:
    return 0 if isinstance(output, Coin | HiddenCoin) else 1 if isinstance(output, Memo) else 2


def owner_key(owner: Address, outpoint: bytes) -> bytes:
    """Return the key of the owner index; `outpoint` is txid (32) || index (4)."""
    return OWNER_INDEX + owner + outpoint


def record_rows(
    changes: Changes, keys: Sequence[bytes], counts: OutputCounts
) -> tuple[list[Write], OutputCounts]:
    """Return the rows of all changed records and of the owner index, and how many outputs there are afterwards.

    Args:
        changes: of the block.
        keys: their hashed keys, in the same order.
        counts: outputs before.
    """
    rows: list[Write] = []
    totals = [counts.coins, counts.memos, counts.states]
    prefix_size = len(UTXO)
    for key, (raw_key, (before, after)) in zip(keys, changes.entries.items(), strict=True):
        rows.append((STATE + key, None if after is None else state_row(raw_key, after)))
        if raw_key.startswith(UTXO):
            outpoint = raw_key[prefix_size:]
            if before is not None:
                output = decode_output(before)
                totals[_type_index(output)] -= 1
                rows.append((owner_key(output.owner, outpoint), None))
            if after is not None:
                output = decode_output(after)
                totals[_type_index(output)] += 1
                rows.append((owner_key(output.owner, outpoint), b""))
    return rows, OutputCounts(*totals)


def block_rows(block: BlockBytes, result: BlockResult, state_root: bytes, *, prunable: bool = False) -> list[Write]:
    """Return the rows of a block: itself, its transactions, receipts, undo record, and index entries.

    If it is to be pruned one day, there is one more row: which entries of the address index are its own.
    """
    height = block.height
    row = BlockRow(
        block.header, block.last_commit, block.evidence, block.commit, len(block.transactions), result.events,
        state_root, result.receipts_root,
    )
    rows: list[Write] = [
        (height_key(BLOCK, height), encode(row)),
        (height_key(UNDO, height), result.changes.encode()),
    ]
    rows += _chunks(TRANSACTIONS, height, block.transactions)
    rows += _chunks(RECEIPTS, height, result.receipts)
    mentions: dict[Address, list[bytes]] = {}
    for index, (receipt, touched) in enumerate(zip(result.receipts, result.touched, strict=True)):
        rows.append((TX_INDEX + receipt.txid, location_row(height, index)))
        entry = index.to_bytes(4, "big") + receipt.txid
        for address in dict.fromkeys(touched):
            mentions.setdefault(address, []).append(entry)
    rows += [(mentions_key(address, height), b"".join(entries)) for address, entries in mentions.items()]
    if prunable and mentions:
        rows.append((height_key(TOUCHED, height), b"".join(mentions)))
    return rows


def pruned_rows(height: int, row: BlockRow, txids: Sequence[TxId], touched: bytes) -> Iterator[Write]:
    """Yield what deletes a block and its index entries; the records that it left stay.

    Args:
        height: of the block.
        row: what the block column holds for it.
        txids: of its transactions.
        touched: what `block_rows` noted for it; empty for a block that was written without.
    """
    for column in (BLOCK, UNDO, TOUCHED):
        yield height_key(column, height), None
    for chunk in range(-(-row.transactions // CHUNK)):
        yield chunk_key(TRANSACTIONS, height, chunk), None
        yield chunk_key(RECEIPTS, height, chunk), None
    for txid in txids:
        yield TX_INDEX + txid, None
    for at in range(0, len(touched), HASH_SIZE):
        yield mentions_key(Address(touched[at : at + HASH_SIZE]), height), None


def unblock_rows(
    changes: Changes, keys: Sequence[bytes], counts: OutputCounts, height: int, row: BlockRow, txids: Sequence[TxId]
) -> tuple[list[Write], OutputCounts]:
    """Return the rows that take a block back, but for the address index, and how many outputs there are then.

    Args:
        changes: of the block.
        keys: their hashed keys, in the same order.
        counts: outputs with the block.
        height: of the block.
        row: what the block column holds for it.
        txids: of its transactions.
    """
    rows, counts = record_rows(changes.invert(), keys, counts)
    rows += [(height_key(BLOCK, height), None), (height_key(UNDO, height), None)]
    for chunk in range(-(-row.transactions // CHUNK)):
        rows += [(chunk_key(column, height, chunk), None) for column in (TRANSACTIONS, RECEIPTS)]
    rows += [(TX_INDEX + txid, None) for txid in txids]
    return rows, counts


def _chunks(column: bytes, height: int, items: Sequence[Any]) -> Iterator[Write]:
    for chunk, start in enumerate(range(0, len(items), CHUNK)):
        yield chunk_key(column, height, chunk), encode(items[start : start + CHUNK])


@dataclass(frozen=True, slots=True)
class PreparedBlock:
    """A block on its way into the store: its rows are ready to be written as one batch.

    Attributes:
        changes: what it changes.
        meta: where the chain stands once it is written; holds the new state root.
        rows: the whole batch.
        earliest: the lowest height whose block stays.
    """

    changes: Changes
    meta: Meta
    rows: list[Write]
    earliest: Height
