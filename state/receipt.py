"""What a transaction did: receipts, events, and the block's result."""

from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from state.changes import Changes
from state.encoding import Codec, Record
from state.types import Address, AmountField, HeightField, TxIdField, Unsigned, WtxIdField


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


@dataclass(frozen=True, slots=True)
class BlockResult:
    """What executing a block gives. `touched` lists for each transaction the addresses to index it under."""

    changes: Changes
    receipts: tuple[Receipt, ...]
    receipts_root: bytes
    events: tuple[Event, ...]
    """Events of the block itself (fee distribution, validator updates)."""
    touched: tuple[tuple[Address, ...], ...]
