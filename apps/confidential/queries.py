"""Queries of the confidential module."""

from collections.abc import Mapping
from typing import Any

from apps.parameters import address_parameter, asset_parameter
from crypto.address import encode_address
from state import ledger
from state.changes import Reader
from state.records import POOL, asset_text, decode_amount
from state.types import AssetId


def pool_of(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """confidential/pool {asset}: how much of it is in hidden coins: what went in less what came out, fees included."""
    asset = asset_parameter(parameters)
    return {"asset": asset_text(asset), "amount": ledger.pool(reader, asset)}


def receiving_key_of(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """confidential/key {address}: the sealing key that the account published (hex); empty if it published none."""
    address = address_parameter(parameters, "address")
    return {"address": encode_address(address), "public_key": (ledger.receiving_key(reader, address) or b"").hex()}


def supply_of(records: Mapping[bytes, bytes], totals: dict[AssetId, int]) -> None:
    """Add what the turnstiles count: nobody can add up hidden coins themselves."""
    for key, value in records.items():
        if key.startswith(POOL):
            asset = AssetId(key[len(POOL) :])
            totals[asset] = totals.get(asset, 0) + decode_amount(value)
