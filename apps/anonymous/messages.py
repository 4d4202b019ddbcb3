"""Messages of the anonymous module."""

from typing import Annotated

from msgspec import Meta

from crypto.accounts import CLOSING_SIZE
from state.encoding import Record
from state.transaction import ACCOUNT_KEY_SIZE, NOTE_SIZE
from state.types import AmountField, AssetField, Hash32


class Open(Record, frozen=True):
    """anonymous/open: turn unxs of the sender's balance into a new anonymous account.

    `amount` may be 0. Everybody sees whose it was, what it holds and its `key` (g, h), until others hide among it.
    """

    amount: AmountField
    key: Annotated[bytes, Meta(min_length=ACCOUNT_KEY_SIZE, max_length=ACCOUNT_KEY_SIZE)]


class Close(Record, frozen=True):
    """anonymous/close: turn an anonymous account into unxs of the sender's balance.

    `amount` is all that the account with the id `account` holds; `proof` shows that, and that the sender knows the
    account's secret (`crypto.accounts.Closing`).
    """

    account: Hash32
    amount: AmountField
    proof: Annotated[bytes, Meta(min_length=CLOSING_SIZE, max_length=CLOSING_SIZE)]


class Mint(Record, frozen=True):
    """anonymous/mint: turn an amount of the sender's balance into a new ring coin, for anybody.

    The chain makes the coin's commitment of `amount` and `blinding`: everybody sees who made it and what it holds,
    until it hides among others. No ring coin had its `key` before. Nobody can freeze accounts for the asset.
    """

    asset: AssetField
    amount: AmountField
    key: Hash32
    blinding: Hash32
    note: Annotated[bytes, Meta(min_length=NOTE_SIZE, max_length=NOTE_SIZE)]
