"""What a transaction did: receipts, events, and the block's result."""

from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from state.changes import Changes
from state.encoding import Codec, Record
from state.transaction import OutPoint
from state.types import Address, AmountField, HeightField, TxId, TxIdField, Unsigned, WtxIdField


class Event(Record, frozen=True):
    """Something that happened, for wallets and indexers: "token/transfer" and its named values as text."""

    name: str
    attributes: tuple[tuple[str, str], ...]


class Receipt(Record, frozen=True):
    """Outcome of one transaction in a block. `reason` is empty for success, else a `Reason` value."""

    txid: TxIdField
    wtxid: WtxIdField
    height: HeightField
    index: Unsigned
    reason: Annotated[str, Meta(max_length=48)]
    detail: Annotated[str, Meta(max_length=512)]
    fee: AmountField
    gas_wanted: Unsigned
    gas_used: Unsigned
    events: tuple[Event, ...]


receipt_codec: Final = Codec(Receipt)
receipts_codec: Final = Codec(tuple[Receipt, ...], max_size=64 << 20)


class Succession(NamedTuple):
    """What became of a State: it began, was followed by another, or ended.

    Attributes:
        spent: the State before; None for a contract that begins.
        made: the State after, of number `nonce`; None for a contract that ends, with `nonce` one above its last.
        nonce: as said.
        txid: of the transaction.
    """

    spent: OutPoint | None
    made: OutPoint | None
    nonce: int
    txid: TxId


@dataclass(frozen=True, slots=True)
class BlockResult:
    """What executing a block gives. `touched` lists for each transaction the addresses to index it under."""

    changes: Changes
    receipts: tuple[Receipt, ...]
    receipts_root: bytes
    events: tuple[Event, ...]
    """Events of the block itself (fee distribution, validator updates)."""
    touched: tuple[tuple[Address, ...], ...]
    successions: tuple[Succession, ...] = ()
    """What became of States, in order."""
