"""Where the chain's memory keeps what: the keys of its one ordered map, and the form of plain rows.

The first byte of a key names its column. Heights are 8 bytes and indexes 4, big-endian, so that key order is their
order; in the address index heights run backwards, so that a scan gives the newest first.

    column  key                                value
    s       hashed key (32)                    length of raw key (2) || raw key || value     a record of the state
    h       height                             BlockRow                                      header, commits, events
    t       height chunk                       up to 32 transactions, wire bytes
    r       height chunk                       up to 32 receipts
    u       height                             Changes                                       undo and redo of a block
    x       txid                               height (8) || index (4)                       transaction index
    a       address ~height                    (index (4) || txid (32)) each                 address index
    o       owner txid index                   empty                                         unspent outputs by owner
    m       -                                  Meta                                          where the chain stands
    g       -                                  genesis, canonical bytes
    b       -                                  height (8) of the lowest block that is whole; missing if it is 1
    p       height                             address (32) each, with `keep_blocks` only: to prune the address index
    c       chunk (4)                          OutputCounts    while a snapshot is restored: this chunk is here
    n       -                                  Manifest        of that snapshot
    v k j   see state/lineage.py                                                             index of contracts
"""

from dataclasses import dataclass
from typing import Final

from crypto.errors import Reason, Refused
from state.pages import DIGEST, MAX_DEPTH
from state.types import Address, Height, TxId

STATE: Final = b"s"
BLOCK: Final = b"h"
TRANSACTIONS: Final = b"t"
RECEIPTS: Final = b"r"
UNDO: Final = b"u"
TX_INDEX: Final = b"x"
ADDRESS_INDEX: Final = b"a"
OWNER_INDEX: Final = b"o"
META: Final = b"m"
GENESIS: Final = b"g"
BASE: Final = b"b"
TOUCHED: Final = b"p"
RESTORED_CHUNK: Final = b"c"
RESTORED_MANIFEST: Final = b"n"
LINEAGE: Final = b"v"
ORIGIN: Final = b"k"
LINEAGE_NOTES: Final = b"j"

CHUNK: Final = 32
"""Transactions or receipts in one row: one is read without its whole block, and a block takes few rows."""
MAX_ROW_HEIGHT: Final = 2**64 - 1
_LOCATION_SIZE: Final = 12
_MENTION_SIZE: Final = 36
_STATE_KEY_SIZE: Final = 1 + DIGEST


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """Where a transaction stands: its block and its place there."""

    height: Height
    index: int


@dataclass(frozen=True, slots=True)
class Mention:
    """A transaction in which an address took part."""

    height: Height
    index: int
    txid: TxId


def corrupt(what: str) -> Refused:
    """Return the refusal for a row that is not what was written."""
    return Refused(Reason.CORRUPT_DATABASE, f"{what} in the database is damaged")


def state_row(raw_key: bytes, value: bytes) -> bytes:
    """Return the row of a record."""
    return len(raw_key).to_bytes(2, "big") + raw_key + value


def record_value(key: bytes, row: bytes) -> bytes:
    """Return the value in the row of a record. Raises Refused(CORRUPT_DATABASE)."""
    start = 2 + (row[0] << 8 | row[1]) if len(row) > 1 else 2
    if len(row) < start or len(key) != _STATE_KEY_SIZE:
        raise corrupt("a state record")
    return row[start:]


def state_range(prefix: str) -> tuple[bytes, bytes]:
    """Return the (start, stop) keys of the state column under a prefix of hexadecimal digits."""
    width = MAX_DEPTH - len(prefix)
    start = STATE + bytes.fromhex(prefix + "0" * width)
    following = int(prefix, 16) + 1
    if following >> 4 * len(prefix):
        return start, bytes([STATE[0] + 1])
    return start, STATE + bytes.fromhex(f"{following:0{len(prefix)}x}" + "0" * width)


def height_key(column: bytes, height: int) -> bytes:
    """Return the key of what a column holds for a height."""
    return column + height.to_bytes(8, "big")


def chunk_key(column: bytes, height: int, chunk: int) -> bytes:
    """Return the key of one chunk of a block's transactions or receipts."""
    return column + height.to_bytes(8, "big") + chunk.to_bytes(4, "big")


def location_row(height: int, index: int) -> bytes:
    """Return the row of the transaction index."""
    return height.to_bytes(8, "big") + index.to_bytes(4, "big")


def parse_location(row: bytes) -> Location:
    """Return what `location_row` wrote. Raises Refused(CORRUPT_DATABASE)."""
    if len(row) != _LOCATION_SIZE:
        raise corrupt("an entry of the transaction index")
    return Location(Height(int.from_bytes(row[:8], "big")), int.from_bytes(row[8:], "big"))


def mentions_key(address: Address, height: int) -> bytes:
    """Return the key of the transactions of one block that touch an address; a higher block sorts first."""
    return ADDRESS_INDEX + address + (MAX_ROW_HEIGHT - height).to_bytes(8, "big")


def at_height(key: bytes, height: int) -> bool:
    """Return whether a key of the address index belongs to the block at this height."""
    return key[33:] == (MAX_ROW_HEIGHT - height).to_bytes(8, "big")


def parse_mentions(key: bytes, row: bytes) -> list[Mention]:
    """Return the mentions of one row, the last of the block first. Raises Refused(CORRUPT_DATABASE)."""
    if not row or len(row) % _MENTION_SIZE or len(key) != 41:
        raise corrupt("an entry of the address index")
    height = Height(MAX_ROW_HEIGHT - int.from_bytes(key[33:], "big"))
    return [
        Mention(height, int.from_bytes(row[at : at + 4], "big"), TxId(row[at + 4 : at + _MENTION_SIZE]))
        for at in range(len(row) - _MENTION_SIZE, -1, -_MENTION_SIZE)
    ]
