"""What accounts and outputs hold: typed access to the records that money lives in.

Functions that only read take any `Reader`; those that write take an `Overlay`. They keep the books and know no
permissions: who may do what is the business of apps/. Amounts are in the asset's smallest unit.
"""

from typing import Final

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from state.changes import Overlay, Reader
from state.encoding import encode
from state.records import (
    Asset,
    Lock,
    allowance_key,
    asset_key,
    balance_key,
    decode_amount,
    decode_asset,
    decode_lock,
    decode_output,
    encode_amount,
    encode_output,
    frozen_key,
    key_owner_key,
    lock_key,
    locks_key,
    nonce_key,
    output_key,
    pool_key,
    public_key_key,
    receiving_key_key,
    supply_key,
)
from state.transaction import OutPoint, Output
from state.types import MAX_AMOUNT, Address, Amount, AssetId, TxId

MAX_LOCKS: Final = 64
"""Locks that one account may have at a time: the list of them stays one small record."""
_LOCK_ID_SIZE: Final = 32
_FROZEN_MARK: Final = b"\x01"


def read_number(reader: Reader, key: bytes) -> Amount:
    """Return the number that a record holds; an absent record holds 0."""
    value = reader.get(key)
    return Amount(0 if value is None else decode_amount(value))


def write_number(state: Overlay, key: bytes, amount: int) -> None:
    """Set the number that a record holds; 0 removes the record."""
    if amount:
        state.put(key, encode_amount(amount))
    else:
        state.delete(key)


# ---- balances and supply


def balance(reader: Reader, address: Address, asset: AssetId) -> Amount:
    """Return what an account holds of an asset, without its locks and its coins."""
    return read_number(reader, balance_key(address, asset))


def credit(state: Overlay, address: Address, asset: AssetId, amount: int) -> None:
    """Add to a balance. Raises Refused(AMOUNT_OUT_OF_RANGE) if it would pass MAX_AMOUNT."""
    key = balance_key(address, asset)
    total = read_number(state, key) + amount
    if total > MAX_AMOUNT:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"the balance would be {total}, at most {MAX_AMOUNT}")
    write_number(state, key, total)


def debit(state: Overlay, address: Address, asset: AssetId, amount: int) -> None:
    """Take from a balance. Raises Refused(INSUFFICIENT_FUNDS)."""
    key = balance_key(address, asset)
    held = read_number(state, key)
    if held < amount:
        raise Refused(Reason.INSUFFICIENT_FUNDS, f"the balance is {held}, {amount} is needed")
    write_number(state, key, held - amount)


def supply(reader: Reader, asset: AssetId) -> Amount:
    """Return how much of an asset there is in all places together."""
    return read_number(reader, supply_key(asset))


def set_supply(state: Overlay, asset: AssetId, amount: int) -> None:
    """Set an asset's supply. Raises Refused(AMOUNT_OUT_OF_RANGE) above MAX_AMOUNT."""
    if amount > MAX_AMOUNT:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"the supply would be {amount}, at most {MAX_AMOUNT}")
    write_number(state, supply_key(asset), amount)


# ---- allowances


def allowance(reader: Reader, owner: Address, spender: Address, asset: AssetId) -> Amount:
    """Return what `spender` may still take from `owner`'s balance."""
    return read_number(reader, allowance_key(owner, spender, asset))


def set_allowance(state: Overlay, owner: Address, spender: Address, asset: AssetId, amount: int) -> None:
    """Replace an allowance; 0 takes it back."""
    write_number(state, allowance_key(owner, spender, asset), amount)


# ---- locks


def lock_ids(reader: Reader, owner: Address) -> tuple[bytes, ...]:
    """Return the ids of an account's locks, oldest first."""
    joined = reader.get(locks_key(owner)) or b""
    return tuple(joined[start : start + _LOCK_ID_SIZE] for start in range(0, len(joined), _LOCK_ID_SIZE))


def lock(reader: Reader, owner: Address, lock_id: bytes) -> Lock | None:
    """Return one lock, or None."""
    value = reader.get(lock_key(owner, lock_id))
    return None if value is None else decode_lock(value)


def add_lock(state: Overlay, owner: Address, lock_id: bytes, new: Lock) -> None:
    """Add a lock. Raises Refused(TOO_LARGE) when the account has MAX_LOCKS already."""
    joined = state.get(locks_key(owner)) or b""
    if len(joined) >= MAX_LOCKS * _LOCK_ID_SIZE:
        raise Refused(Reason.TOO_LARGE, f"an account has at most {MAX_LOCKS} locks")
    state.put(locks_key(owner), joined + lock_id)
    state.put(lock_key(owner, lock_id), encode(new))


def remove_lock(state: Overlay, owner: Address, lock_id: bytes) -> Lock:
    """Remove a lock and return it. Raises Refused(LOCK_NOT_FOUND)."""
    found = lock(state, owner, lock_id)
    if found is None:
        raise Refused(Reason.LOCK_NOT_FOUND, f"the account has no lock {lock_id.hex()}")
    rest = b"".join(other for other in lock_ids(state, owner) if other != lock_id)
    if rest:
        state.put(locks_key(owner), rest)
    else:
        state.delete(locks_key(owner))
    state.delete(lock_key(owner, lock_id))
    return found


# ---- hidden coins


def pool(reader: Reader, asset: AssetId) -> Amount:
    """Return how much of an asset is in hidden coins: what went in less what came out."""
    return read_number(reader, pool_key(asset))


def set_pool(state: Overlay, asset: AssetId, amount: int) -> None:
    """Set how much of an asset is in hidden coins."""
    write_number(state, pool_key(asset), amount)


def receiving_key(reader: Reader, address: Address) -> bytes | None:
    """Return the sealing key to which notes for this account are sealed, or None if it published none."""
    return reader.get(receiving_key_key(address))


def set_receiving_key(state: Overlay, address: Address, key: bytes) -> None:
    """Publish the sealing key of an account in place of the one before."""
    state.put(receiving_key_key(address), key)


# ---- nonces and keys


def nonce(reader: Reader, address: Address) -> int:
    """Return the nonce that the account's next call must carry; the first is 0."""
    return read_number(reader, nonce_key(address))


def set_nonce(state: Overlay, address: Address, value: int) -> None:
    """Set the nonce of the account's next call."""
    write_number(state, nonce_key(address), value)


def public_key(reader: Reader, address: Address) -> bytes | None:
    """Return the account's current public key (scheme byte first), or None if it never signed anything."""
    return reader.get(public_key_key(address))


def key_owner(reader: Reader, key_address: Address) -> Address | None:
    """Return the account that the key with this address was first registered for, or None for a fresh key."""
    owner = reader.get(key_owner_key(key_address))
    return None if owner is None else Address(owner)


def register_key(state: Overlay, address: Address, key: bytes) -> None:
    """Make `key` the account's current key, and mark it as used for all time."""
    state.put(public_key_key(address), key)
    mark = key_owner_key(Address(digest(Label.ADDRESS, key)))
    if state.get(mark) is None:
        state.put(mark, address)


# ---- outputs


def output(reader: Reader, outpoint: OutPoint) -> Output | None:
    """Return an unspent output, or None."""
    value = reader.get(output_key(outpoint.txid, outpoint.index))
    return None if value is None else decode_output(value)


def add_output(state: Overlay, txid: TxId, index: int, new: Output) -> None:
    """Add an unspent output. An outpoint is new by construction: a txid never comes twice."""
    state.create(output_key(txid, index), encode_output(new))


def spend_output(state: Overlay, outpoint: OutPoint) -> Output:
    """Remove an unspent output and return it. Raises Refused(OUTPUT_NOT_FOUND)."""
    key = output_key(outpoint.txid, outpoint.index)
    value = state.get(key)
    if value is None:
        raise Refused(Reason.OUTPUT_NOT_FOUND, f"there is no unspent output {outpoint.txid.hex()}:{outpoint.index}")
    state.delete(key)
    return decode_output(value)


# ---- assets


def asset(reader: Reader, asset_id: AssetId) -> Asset | None:
    """Return an issued asset's description; None for an unknown one and for the native token."""
    value = reader.get(asset_key(asset_id))
    return None if value is None else decode_asset(value)


def add_asset(state: Overlay, asset_id: AssetId, new: Asset) -> None:
    """Write an asset's description."""
    state.put(asset_key(asset_id), encode(new))


def is_frozen(reader: Reader, address: Address, asset_id: AssetId) -> bool:
    """Tell whether the issuer froze this account for this asset. The native token cannot be frozen."""
    return bool(asset_id) and reader.get(frozen_key(address, asset_id)) is not None


def set_frozen(state: Overlay, address: Address, asset_id: AssetId, frozen: bool) -> None:
    """Freeze or thaw an account for an asset."""
    if frozen:
        state.put(frozen_key(address, asset_id), _FROZEN_MARK)
    else:
        state.delete(frozen_key(address, asset_id))
