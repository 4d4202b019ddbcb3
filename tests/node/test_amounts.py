import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.amounts import asset_of, format_amount, parse_outpoint, parse_quantity, to_smallest
from state.records import asset_id
from state.types import MAX_AMOUNT, NATIVE, Address

ISSUER = Address(b"\x05" * 32)
GOLD = asset_id(ISSUER, "gold")


@pytest.mark.parametrize(("text", "decimals", "amount"), [
    ("1.5nxs", 6, 1_500_000), ("1500000unxs", 6, 1_500_000), ("0.000001nxs", 6, 1), ("25gold", 2, 2500),
    ("25.5" + GOLD.hex(), 2, 2550), ("7 gold", 0, 7), (f"{MAX_AMOUNT}unxs", 6, MAX_AMOUNT),
])
def test_amounts_are_read(text: str, decimals: int, amount: int) -> None:
    assert to_smallest(parse_quantity(text), decimals) == amount


@pytest.mark.parametrize(("text", "reason"), [
    ("", Reason.BAD_ARGUMENT), ("nxs", Reason.BAD_ARGUMENT), ("1.nxs", Reason.BAD_ARGUMENT),
    ("-1nxs", Reason.BAD_ARGUMENT), ("1", Reason.BAD_ARGUMENT),
    ("0nxs", Reason.AMOUNT_OUT_OF_RANGE), ("1.0000001nxs", Reason.AMOUNT_OUT_OF_RANGE),
    ("1.5unxs", Reason.AMOUNT_OUT_OF_RANGE), (f"{MAX_AMOUNT + 1}unxs", Reason.AMOUNT_OUT_OF_RANGE),
    ("9999999999999999999nxs", Reason.AMOUNT_OUT_OF_RANGE), ("\u0663nxs", Reason.BAD_ARGUMENT),
])
def test_wrong_amounts_are_refused(text: str, reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        to_smallest(parse_quantity(text), 6)
    assert caught.value.reason is reason


@given(st.integers(1, MAX_AMOUNT), st.integers(0, 18))
def test_shown_amounts_read_back(amount: int, decimals: int) -> None:
    assert to_smallest(parse_quantity(format_amount(amount, decimals, "gold")), decimals) == amount


def test_units_name_assets() -> None:
    assert asset_of("nxs", None) == asset_of("unxs", None) == NATIVE
    assert asset_of("gold", ISSUER) == asset_of(f"gold@{encode_address(ISSUER)}", None) == GOLD
    assert asset_of(GOLD.hex(), None) == GOLD
    for unit, reason in [("gold", Reason.BAD_ARGUMENT), ("gold@nx1abc", Reason.BAD_ADDRESS)]:
        with pytest.raises(Refused) as caught:
            asset_of(unit, None)
        assert caught.value.reason is reason


def test_outpoints() -> None:
    outpoint = parse_outpoint("ab" * 32 + ":7")
    assert (outpoint.txid, outpoint.index) == (b"\xab" * 32, 7)
    for text in ("", "ab:1", "ab" * 32, "ab" * 32 + ":-1", "ab" * 32 + ":4294967296", "AB" * 32 + ":1"):
        with pytest.raises(Refused) as caught:
            parse_outpoint(text)
        assert caught.value.reason is Reason.BAD_ARGUMENT
