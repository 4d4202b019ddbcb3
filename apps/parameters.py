"""Reading the text parameters of queries."""

from collections.abc import Mapping

from crypto.address import decode_address
from crypto.errors import Reason, Refused
from state.records import NATIVE_TEXT
from state.types import HASH_SIZE, NATIVE, Address, AssetId


def text_parameter(parameters: Mapping[str, str], name: str) -> str:
    """Return a parameter. Raises Refused(BAD_ARGUMENT) if it is not given."""
    value = parameters.get(name)
    if value is None:
        raise Refused(Reason.BAD_ARGUMENT, f"the parameter {name} is missing")
    return value


def address_parameter(parameters: Mapping[str, str], name: str) -> Address:
    """Return an address given as nx1... Raises Refused(BAD_ARGUMENT | BAD_ADDRESS)."""
    return Address(decode_address(text_parameter(parameters, name)))


def hash_parameter(parameters: Mapping[str, str], name: str) -> bytes:
    """Return 32 bytes given as hex. Raises Refused(BAD_ARGUMENT)."""
    try:
        value = bytes.fromhex(text_parameter(parameters, name))
    except ValueError:
        value = b""
    if len(value) != HASH_SIZE:
        raise Refused(Reason.BAD_ARGUMENT, f"{name} is {2 * HASH_SIZE} hex digits")
    return value


def asset_parameter(parameters: Mapping[str, str], name: str = "asset") -> AssetId:
    """Return an asset given as 64 hex digits; `unxs`, or nothing, is the native token. Raises Refused(BAD_ARGUMENT)."""
    if parameters.get(name, "") in ("", NATIVE_TEXT):
        return NATIVE
    return AssetId(hash_parameter(parameters, name))


def count_parameter(parameters: Mapping[str, str], name: str) -> int:
    """Return a number from 0 given in decimal digits. Raises Refused(BAD_ARGUMENT)."""
    value = text_parameter(parameters, name)
    if not (value.isascii() and value.isdigit() and len(value) <= 19):
        raise Refused(Reason.BAD_ARGUMENT, f"{name} is a number from 0")
    return int(value)
