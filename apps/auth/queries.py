"""Queries of the auth module."""

from collections.abc import Mapping
from typing import Any

from apps.parameters import address_parameter
from crypto.address import encode_address
from crypto.schemes import address_of, scheme_of
from state.changes import Reader
from state.ledger import key_owner, nonce, public_key


def account(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """auth/account {address}: next nonce, and scheme and key (hex; empty if none is on chain yet)."""
    address = address_parameter(parameters, "address")
    key = public_key(reader, address) or b""
    return {
        "address": encode_address(address),
        "nonce": nonce(reader, address),
        "scheme": scheme_of(key).name.lower() if key else "",
        "public_key": key.hex(),
        "key_address": encode_address(address_of(key)) if key else "",
    }


def key_owner_of(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """auth/key_owner {key}: the account that the key with this address was registered for; empty for a fresh key."""
    owner = key_owner(reader, address_parameter(parameters, "key"))
    return {"account": encode_address(owner) if owner is not None else ""}
