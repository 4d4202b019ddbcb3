"""What committed blocks left behind: headers, commits, transactions, receipts, and indexes over them. Reads only."""

from itertools import islice
from typing import Final, TypeVar

from crypto.errors import Reason, Refused
from state.blockrows import BlockBytes, BlockRow, block_row_codec, transactions_codec
from state.changes import Changes
from state.columns import (
    ADDRESS_INDEX,
    BLOCK,
    CHUNK,
    RECEIPTS,
    TRANSACTIONS,
    TX_INDEX,
    Location,
    Mention,
    chunk_key,
    corrupt,
    height_key,
    mentions_key,
    parse_location,
    parse_mentions,
)
from state.encoding import Codec
from state.lineage import Lineage, lineage_of
from state.receipt import Receipt, receipts_codec
from state.store import View
from state.transaction import OutPoint
from state.types import Address, Height, TxId

_ABOVE_HEIGHTS: Final = b"\xff" * 9
T = TypeVar("T")


def parse(codec: Codec[T], raw: bytes, what: str) -> T:
    """Decode a row that this program wrote. Raises Refused(CORRUPT_DATABASE), naming `what`."""
    try:
        return codec.decode(raw)
    except Refused:
        raise corrupt(what) from None


def parse_changes(raw: bytes) -> Changes:
    """Decode the undo row of a block. Raises Refused(CORRUPT_DATABASE)."""
    try:
        return Changes.decode(raw)
    except Refused:
        raise corrupt("the changes of a block") from None


class BlockArchive:
    """Blocks and their indexes in a view of the chain's store."""

    def __init__(self, view: View) -> None:
        self._view = view

    def block(self, height: Height) -> BlockBytes:
        """Return a whole block. Raises Refused(NOT_AVAILABLE | CORRUPT_DATABASE)."""
        row = self._whole(height)
        items: list[bytes] = []
        for chunk in range(-(-row.transactions // CHUNK)):
            items += self._chunk(TRANSACTIONS, transactions_codec, height, chunk)
        if len(items) != row.transactions:
            raise corrupt(f"block {height}")
        return BlockBytes(height, row.header, row.last_commit, row.evidence, row.commit, tuple(items))

    def header(self, height: Height) -> bytes:
        """Return the encoded header of a block. Raises Refused(NOT_AVAILABLE | CORRUPT_DATABASE)."""
        return self.block_row(height).header

    def commit(self, height: Height) -> bytes:
        """Return the encoded commit for a block. Raises Refused(NOT_AVAILABLE | CORRUPT_DATABASE)."""
        return self.block_row(height).commit

    def receipts(self, height: Height) -> tuple[Receipt, ...]:
        """Return a block's receipts in order. Raises Refused(NOT_AVAILABLE | CORRUPT_DATABASE)."""
        row = self._whole(height)
        items: list[Receipt] = []
        for chunk in range(-(-row.transactions // CHUNK)):
            items += self._chunk(RECEIPTS, receipts_codec, height, chunk)
        if len(items) != row.transactions:
            raise corrupt(f"the receipts of block {height}")
        return tuple(items)

    def location(self, txid: TxId) -> Location | None:
        """Return where a committed transaction stands, or None. Raises Refused(CORRUPT_DATABASE)."""
        row = self._view.get(TX_INDEX + txid)
        return None if row is None else parse_location(row)

    def transaction(self, txid: TxId) -> tuple[Location, bytes] | None:
        """Return a committed transaction's place and wire bytes, or None. Raises Refused(CORRUPT_DATABASE)."""
        return self._find(TRANSACTIONS, transactions_codec, txid)

    def receipt(self, txid: TxId) -> Receipt | None:
        """Return a committed transaction's receipt, or None. Raises Refused(CORRUPT_DATABASE)."""
        found = self._find(RECEIPTS, receipts_codec, txid)
        if found is None:
            return None
        if found[1].txid != txid:
            raise corrupt("an entry of the transaction index")
        return found[1]

    def _whole(self, height: Height) -> BlockRow:
        """Return the row of a block whose transactions are here, too: not the one that a snapshot came with."""
        row = self.block_row(height)
        if not row.last_commit:
            raise Refused(Reason.NOT_AVAILABLE, f"of block {height} only the header and the commit are here")
        return row

    def _find(self, column: bytes, codec: Codec[tuple[T, ...]], txid: TxId) -> tuple[Location, T] | None:
        location = self.location(txid)
        if location is None:
            return None
        items = self._chunk(column, codec, location.height, location.index // CHUNK)
        if location.index % CHUNK >= len(items):
            raise corrupt("an entry of the transaction index")
        return location, items[location.index % CHUNK]

    def _chunk(self, column: bytes, codec: Codec[tuple[T, ...]], height: int, chunk: int) -> tuple[T, ...]:
        raw = self._view.get(chunk_key(column, height, chunk))
        if raw is None:
            raise corrupt(f"block {height}")
        return parse(codec, raw, f"block {height}")

    def block_row(self, height: Height) -> BlockRow:
        """Return all that is kept of a block besides transactions and receipts, its state root included.

        Raises:
            Refused: NOT_AVAILABLE, CORRUPT_DATABASE.
        """
        raw = self._view.get(height_key(BLOCK, height)) if height > 0 else None
        if raw is None:
            raise Refused(Reason.NOT_AVAILABLE, f"block {height} is not here")
        return parse(block_row_codec, raw, f"block {height}")

    def transactions_of(self, address: Address, limit: int, before: Location | None = None) -> list[Mention]:
        """Return up to `limit` transactions that touch an address, the newest first.

        Args:
            address: 32 bytes.
            limit: how many at most.
            before: leave out this one and all newer ones: the last of the page before.

        Raises:
            Refused: CORRUPT_DATABASE.
        """
        start = ADDRESS_INDEX + address if before is None else mentions_key(address, before.height)
        found = (
            mention
            for key, row in self._view.scan(start, ADDRESS_INDEX + address + _ABOVE_HEIGHTS)
            for mention in parse_mentions(key, row)
            if before is None or Location(mention.height, mention.index) < before
        )
        return list(islice(found, limit))

    def lineage_of(self, outpoint: OutPoint, first: int, limit: int) -> Lineage | None:
        """Return up to `limit` versions of the contract of a State, from nonce `first` on; None if it is not known.

        Raises:
            Refused: CORRUPT_DATABASE.
        """
        return lineage_of(self._view, outpoint, first, limit)
