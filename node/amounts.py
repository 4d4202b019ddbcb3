"""Amounts and outputs as people write them: `1.5nxs`, `1500000unxs`, `25gold`, `25gold@nx1...`, an id as the unit."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from crypto.address import decode_address
from crypto.errors import Reason, Refused
from state.records import NATIVE_TEXT, asset_id
from state.transaction import OutPoint
from state.types import MAX_AMOUNT, NATIVE, Address, Amount, AssetId, TxId

NATIVE_SYMBOL: Final = "nxs"
NATIVE_DECIMALS: Final = 6
_NUMBER: Final = r"(?P<number>[0-9]{1,30}(?:\.[0-9]{1,18})?)"
_BY_ID: Final = re.compile(_NUMBER + r"(?P<unit>[0-9a-f]{64})")
_BY_SYMBOL: Final = re.compile(_NUMBER + r" ?(?P<unit>[A-Za-z][A-Za-z0-9]*(?:@nx1[02-9a-z]+)?)")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and the unit behind it, as written."""

    number: str
    unit: str


def parse_quantity(text: str) -> Quantity:
    """Split `1.5nxs` into number and unit. Raises Refused(BAD_ARGUMENT)."""
    for form in (_BY_ID, _BY_SYMBOL):
        found = form.fullmatch(text.strip())
        if found:
            return Quantity(found["number"], found["unit"])
    raise Refused(Reason.BAD_ARGUMENT, f"{text!r} is no amount; write 1.5nxs, 1500000{NATIVE_TEXT} or 25SYMBOL")


def asset_of(unit: str, issuer: Address | None) -> AssetId:
    """Return the asset that a unit names: `nxs`, `unxs`, an id, `SYMBOL@ISSUER`, or a symbol of `issuer`'s own.

    Raises:
        Refused: BAD_ARGUMENT if a bare symbol has no issuer, BAD_ADDRESS.
    """
    if unit in (NATIVE_SYMBOL, NATIVE_TEXT):
        return NATIVE
    if re.fullmatch("[0-9a-f]{64}", unit):
        return AssetId(bytes.fromhex(unit))
    symbol, _, written = unit.partition("@")
    if written:
        return asset_id(Address(decode_address(written)), symbol)
    if issuer is None:
        raise Refused(Reason.BAD_ARGUMENT, f"whose asset is {unit!r}? Write {unit}@ISSUER or the asset's id")
    return asset_id(issuer, symbol)


def to_smallest(quantity: Quantity, decimals: int, least: int = 1) -> Amount:
    """Return a quantity in the asset's smallest unit; `unxs` is one already.

    Raises:
        Refused: AMOUNT_OUT_OF_RANGE for less than `least`, too much, or more decimal places than the asset has.
    """
    scale = 0 if quantity.unit == NATIVE_TEXT else decimals
    amount = Decimal(quantity.number).scaleb(scale)
    if amount != int(amount):
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"{quantity.unit} has {scale} decimal places, not more")
    if not least <= amount <= MAX_AMOUNT:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"{quantity.number} is not {least} to {MAX_AMOUNT} units")
    return Amount(int(amount))


def format_amount(amount: int, decimals: int = NATIVE_DECIMALS, symbol: str = NATIVE_SYMBOL) -> str:
    """Return an amount for people: 1500000 is `1.5nxs`."""
    whole, part = divmod(amount, 10**decimals)
    fraction = f"{part:0{decimals}d}".rstrip("0") if decimals else ""
    return f"{whole}.{fraction}{symbol}" if fraction else f"{whole}{symbol}"


def parse_outpoint(text: str) -> OutPoint:
    """Return the output that TXID:INDEX names. Raises Refused(BAD_ARGUMENT)."""
    found = re.fullmatch("([0-9a-f]{64}):(0|[1-9][0-9]{0,9})", text)
    if found is None or int(found[2]) >= 2**32:
        raise Refused(Reason.BAD_ARGUMENT, f"{text!r} is not TXID:INDEX, 64 hexadecimal digits and a number")
    return OutPoint(TxId(bytes.fromhex(found[1])), int(found[2]))
