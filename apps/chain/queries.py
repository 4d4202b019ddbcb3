"""Queries of the chain module."""

from collections.abc import Mapping
from typing import Any

import msgspec

from apps.chain.records import FEES, fee_pool, params, validators_at
from apps.parameters import count_parameter
from crypto.address import encode_address
from state.changes import Reader
from state.records import decode_amount
from state.types import NATIVE, AssetId


def parameters(reader: Reader, _parameters: Mapping[str, str]) -> dict[str, Any]:
    """chain/params: every parameter by name."""
    return msgspec.structs.asdict(params(reader))


def validators(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """chain/validators {height}: the set that votes on that height."""
    found = validators_at(reader, count_parameter(parameters, "height"))
    return {
        "hash": found.hash.hex(),
        "total_power": found.total_power,
        "validators": [
            {
                "address": encode_address(one.address),
                "operator": encode_address(one.operator),
                "power": one.power,
                "public_key": one.public_key.hex(),
            }
            for one in found.validators
        ],
    }


def fees(reader: Reader, _parameters: Mapping[str, str]) -> dict[str, Any]:
    """chain/fees: fees in unxs that wait for the next commit."""
    return {"amount": fee_pool(reader)}


def supply_of(records: Mapping[bytes, bytes], totals: dict[AssetId, int]) -> None:
    """Add the fee pool."""
    if FEES in records:
        totals[NATIVE] = totals.get(NATIVE, 0) + decode_amount(records[FEES])
