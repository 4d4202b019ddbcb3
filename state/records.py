"""Records of the state: their raw keys and the form of their values.

A raw key is the module's name, the record's kind, and fields of fixed size: no two records share a key. The one
field that may be empty, the asset id (empty for the native token), always comes last. A record whose value would be
zero or empty is absent, so that the state root depends on the content alone and not on how it came about.

    key                                         value
    utxo/ txid index(4, big-endian)             Coin, Memo, State or HiddenCoin
    auth/key/ address                           current public key of the account, raw
    auth/keyowner/ address of the key           the account that the key was registered for first, raw
    auth/nonce/ address                         next nonce
    token/balance/ address asset                amount
    token/allowance/ owner spender asset        amount
    token/lock/ owner lock id                   Lock
    token/locks/ owner                          ids of the owner's locks, concatenated, oldest first
    token/asset/ asset                          Asset
    token/supply/ asset                         amount
    token/frozen/ address asset                 one byte, 1
    confidential/pool/ asset                    amount in hidden coins: what went in less what came out
    confidential/key/ address                   sealing key to which notes for this account are sealed, raw
    anonymous/...                               see apps/anonymous
    chain/...                                   see apps/chain
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from crypto.hashing import Label, digest
from state.encoding import Record, encode
from state.transaction import OutPoint, Output
from state.types import (
    NATIVE,
    Address,
    AddressField,
    AmountField,
    AssetField,
    AssetId,
    HeightField,
    TxId,
)

UTXO: Final = b"utxo/"
KEY: Final = b"auth/key/"
KEY_OWNER: Final = b"auth/keyowner/"
NONCE: Final = b"auth/nonce/"
BALANCE: Final = b"token/balance/"
ALLOWANCE: Final = b"token/allowance/"
LOCK: Final = b"token/lock/"
LOCKS: Final = b"token/locks/"
ASSET: Final = b"token/asset/"
SUPPLY: Final = b"token/supply/"
FROZEN: Final = b"token/frozen/"
POOL: Final = b"confidential/pool/"
RECEIVING_KEY: Final = b"confidential/key/"

NATIVE_TEXT: Final = "unxs"
"""How the native token is named where assets are text: events and queries."""
MAX_SYMBOL: Final = 12
MAX_DECIMALS: Final = 18
_ADDRESS_SIZE: Final = 32


class Lock(Record, frozen=True):
    """An amount that its owner cannot use before a height. It is no part of the balance."""

    asset: AssetField
    amount: AmountField
    release_height: HeightField


class Asset(Record, frozen=True):
    """An issued token, as its issuer made it; its supply is a record of its own."""

    issuer: AddressField
    symbol: Annotated[str, Meta(min_length=1, max_length=MAX_SYMBOL)]
    decimals: Annotated[int, Meta(ge=0, le=MAX_DECIMALS)]
    mintable: bool
    burnable: bool
    freezable: bool


# Values in the state were written by us in canonical form: reading them back skips the canonical check.
_amount_decoder: Final = msgspec.msgpack.Decoder(int)
_output_decoder: Final[msgspec.msgpack.Decoder[Output]] = msgspec.msgpack.Decoder(Output)
_lock_decoder: Final = msgspec.msgpack.Decoder(Lock)
_asset_decoder: Final = msgspec.msgpack.Decoder(Asset)

encode_amount: Final = msgspec.msgpack.Encoder().encode
"""Value of a record that holds one number."""
decode_amount: Final = _amount_decoder.decode
decode_output: Final = _output_decoder.decode
decode_lock: Final = _lock_decoder.decode
decode_asset: Final = _asset_decoder.decode


def output_key(txid: TxId, index: int) -> bytes:
    """Return the key of an unspent output."""
    return UTXO + txid + index.to_bytes(4, "big")


def outpoint_of(key: bytes) -> OutPoint:
    """Return the outpoint that `output_key` made this key of."""
    return OutPoint(TxId(key[len(UTXO) : -4]), int.from_bytes(key[-4:], "big"))


def public_key_key(address: Address) -> bytes:
    """Return the key of an account's current public key."""
    return KEY + address


def key_owner_key(key_address: Address) -> bytes:
    """Return the key of the mark that a public key was used; `key_address` is the address of that very key."""
    return KEY_OWNER + key_address


def nonce_key(address: Address) -> bytes:
    """Return the key of an account's next nonce."""
    return NONCE + address


def balance_key(address: Address, asset: AssetId) -> bytes:
    """Return the key of an account's balance."""
    return BALANCE + address + asset


def allowance_key(owner: Address, spender: Address, asset: AssetId) -> bytes:
    """Return the key of what `spender` may still take from `owner`."""
    return ALLOWANCE + owner + spender + asset


def lock_key(owner: Address, lock_id: bytes) -> bytes:
    """Return the key of one lock; `lock_id` has 32 bytes."""
    return LOCK + owner + lock_id


def locks_key(owner: Address) -> bytes:
    """Return the key of the list of an owner's locks."""
    return LOCKS + owner


def asset_key(asset: AssetId) -> bytes:
    """Return the key of an issued asset's description."""
    return ASSET + asset


def supply_key(asset: AssetId) -> bytes:
    """Return the key of an asset's supply."""
    return SUPPLY + asset


def frozen_key(address: Address, asset: AssetId) -> bytes:
    """Return the key of the mark that an account is frozen for an asset."""
    return FROZEN + address + asset


def pool_key(asset: AssetId) -> bytes:
    """Return the key of the count of an asset's hidden coins."""
    return POOL + asset


def receiving_key_key(address: Address) -> bytes:
    """Return the key of the sealing key that an account published."""
    return RECEIVING_KEY + address


def split_balance_key(key: bytes) -> tuple[Address, AssetId]:
    """Return whose balance of what this key names."""
    start = len(BALANCE)
    return Address(key[start : start + _ADDRESS_SIZE]), AssetId(key[start + _ADDRESS_SIZE :])


def asset_id(issuer: Address, symbol: str) -> AssetId:
    """Return the id of an issued asset: an issuer has each symbol once."""
    return AssetId(digest(Label.ASSET, issuer + symbol.encode()))


def lock_id(txid: TxId, message: int) -> bytes:
    """Return the 32-byte id of the lock that message number `message` of a transaction makes."""
    return digest(Label.LOCK, txid + message.to_bytes(4, "big"))


def asset_text(asset: AssetId) -> str:
    """Return how an asset is written in events and queries: `unxs`, or 64 hex digits."""
    return asset.hex() if asset != NATIVE else NATIVE_TEXT


def encode_output(output: Output) -> bytes:
    """Return the value of an output's record: its canonical encoding, tag included."""
    return encode(output)
