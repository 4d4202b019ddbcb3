"""Forms of plain values in JSON: 64-bit integers as decimal strings, hashes in hex, addresses in bech32m."""

import re
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from crypto.address import ADDRESS_LENGTH, encode_address
from crypto.errors import Reason, Refused
from state.records import NATIVE_TEXT
from state.types import MAX_INT, NATIVE, AssetId

_DECIMAL: Final = r"^(0|[1-9][0-9]{0,18})$"
_decimal: Final = re.compile(_DECIMAL)
LATEST: Final = "latest"


class Decimal(int):
    """A 64-bit integer that is decimal text in JSON, because many readers of JSON keep only 53 bits."""


Hex32 = Annotated[
    str,
    Meta(pattern="^[0-9a-f]{64}$", min_length=64, max_length=64, extra_json_schema={"format": "nexus-hash"}),
]
"""A hash: 64 small hexadecimal digits."""
AddressText = Annotated[
    str,
    Meta(
        pattern="^nx1[02-9ac-hj-np-z]{58}$", min_length=ADDRESS_LENGTH, max_length=ADDRESS_LENGTH,
        extra_json_schema={"format": "nexus-address", "examples": [encode_address(bytes(32))]},
    ),
]
"""`nx1...`"""
AssetText = Annotated[str, Meta(pattern=f"^({NATIVE_TEXT}|[0-9a-f]{{64}})$", max_length=64)]
"""`unxs` for the native token, else the asset's id in hex."""
HeightText = Annotated[
    str, Meta(pattern=f"^({LATEST}|0|[1-9][0-9]{{0,17}})$", max_length=18, extra_json_schema={"examples": [LATEST]})
]
"""A height in decimal, or `latest` for the last block."""


def to_json(value: Any) -> bytes:
    """Return the JSON bytes of a value."""
    return _encoder.encode(value)


def from_json(raw: bytes | bytearray, kind: Any) -> Any:
    """Return the value of JSON bytes. Raises msgspec.DecodeError or msgspec.ValidationError."""
    return msgspec.json.decode(raw, type=kind, dec_hook=_decode_hook)


def convert(value: Any, kind: Any, *, text: bool = False) -> Any:
    """Return plain JSON values as a type.

    Args:
        value: what the JSON held, or a mapping of strings.
        kind: the type.
        text: numbers and booleans arrive as strings, as in a query string.

    Raises:
        msgspec.ValidationError: if they are no such value.
    """
    return msgspec.convert(value, kind, strict=not text, dec_hook=_decode_hook)


def schema_hook(kind: type) -> dict[str, Any]:
    """Return the JSON schema of our own types."""
    if kind is Decimal:
        return {"type": "string", "pattern": _DECIMAL}
    raise NotImplementedError(kind)


def asset_from(text: str) -> AssetId:
    """Return the asset that an `AssetText` names. Raises Refused(BAD_ARGUMENT)."""
    return NATIVE if text == NATIVE_TEXT else AssetId(hash_from(text))


def hash_from(text: str) -> bytes:
    """Return the 32 bytes of 64 hexadecimal digits. Raises Refused(BAD_ARGUMENT)."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 32 or raw.hex() != text:
        raise Refused(Reason.BAD_ARGUMENT, f"{text!r} is not 64 small hexadecimal digits")
    return raw


def _encode_hook(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(int(value))
    raise NotImplementedError(type(value))


def _decode_hook(kind: type, value: Any) -> Any:
    if kind is Decimal:
        if isinstance(value, str) and _decimal.fullmatch(value) and int(value) <= MAX_INT:
            return Decimal(value)
        raise ValueError(f"expected a number from 0 to {MAX_INT} as decimal text")
    raise NotImplementedError(kind)


_encoder: Final = msgspec.json.Encoder(enc_hook=_encode_hook)
