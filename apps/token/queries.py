"""Queries of the token module."""

from collections.abc import Mapping
from typing import Any

from apps.parameters import address_parameter, asset_parameter
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from state import ledger
from state.changes import Reader
from state.genesis import NATIVE_SYMBOL
from state.records import (
    BALANCE,
    LOCK,
    UTXO,
    Asset,
    asset_text,
    decode_amount,
    decode_lock,
    decode_output,
    split_balance_key,
)
from state.transaction import Coin
from state.types import NATIVE, AssetId

_NATIVE_ASSET = {
    "asset": asset_text(NATIVE), "symbol": NATIVE_SYMBOL, "decimals": 6, "issuer": "",
    "mintable": False, "burnable": False, "freezable": False,
}  # fmt: skip


def balance(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """token/balance {address, asset}: what the account holds, without locks and coins; and whether it is frozen."""
    address, asset = address_parameter(parameters, "address"), asset_parameter(parameters)
    return {
        "address": encode_address(address),
        "asset": asset_text(asset),
        "amount": ledger.balance(reader, address, asset),
        "frozen": ledger.is_frozen(reader, address, asset),
    }


def allowance(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """token/allowance {owner, spender, asset}: what the spender may still take."""
    owner, spender = address_parameter(parameters, "owner"), address_parameter(parameters, "spender")
    asset = asset_parameter(parameters)
    return {"asset": asset_text(asset), "amount": ledger.allowance(reader, owner, spender, asset)}


def asset(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """token/asset {asset}: how it was issued, and its supply. Raises Refused(UNKNOWN_ASSET)."""
    identity = asset_parameter(parameters)
    supply_now = ledger.supply(reader, identity)
    if identity == NATIVE:
        return {**_NATIVE_ASSET, "supply": supply_now}
    found: Asset | None = ledger.asset(reader, identity)
    if found is None:
        raise Refused(Reason.UNKNOWN_ASSET, f"there is no asset {identity.hex()}")
    return {
        "asset": asset_text(identity),
        "symbol": found.symbol,
        "decimals": found.decimals,
        "issuer": encode_address(found.issuer),
        "mintable": found.mintable,
        "burnable": found.burnable,
        "freezable": found.freezable,
        "supply": supply_now,
    }


def supply(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """token/supply {asset}: how much of it there is in all places together."""
    identity = asset_parameter(parameters)
    return {"asset": asset_text(identity), "amount": ledger.supply(reader, identity)}


def locks(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """token/locks {address}: the account's locks, oldest first."""
    address = address_parameter(parameters, "address")
    found = []
    for identity in ledger.lock_ids(reader, address):
        one = ledger.lock(reader, address, identity)
        if one is not None:
            found.append({
                "id": identity.hex(), "asset": asset_text(one.asset), "amount": one.amount,
                "release_height": one.release_height,
            })  # fmt: skip
    return {"address": encode_address(address), "locks": found}


def supply_of(records: Mapping[bytes, bytes], totals: dict[AssetId, int]) -> None:
    """Add balances, locks and coins."""
    for key, value in records.items():
        if key.startswith(BALANCE):
            held, amount = split_balance_key(key)[1], decode_amount(value)
        elif key.startswith(LOCK):
            one = decode_lock(value)
            held, amount = one.asset, one.amount
        elif key.startswith(UTXO):
            output = decode_output(value)
            if not isinstance(output, Coin):
                continue
            held, amount = output.asset, output.amount
        else:
            continue
        totals[held] = totals.get(held, 0) + amount
