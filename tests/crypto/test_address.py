import string

import pytest
from bech32m.codecs import Encoding, bech32_encode, convertbits
from hypothesis import given
from hypothesis import strategies as st

from crypto.address import decode_address, encode_address
from crypto.errors import Reason, Refused

ADDRESS = bytes(range(32))
TEXT = encode_address(ADDRESS)


def refusal_of(text: str) -> Reason:
    with pytest.raises(Refused) as refusal:
        decode_address(text)
    return refusal.value.reason


def test_the_text_form_is_fixed() -> None:
    assert TEXT == "nx1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0shyws3x"
    assert len(TEXT) == 61


@given(st.binary(min_size=32, max_size=32))
def test_round_trip(address: bytes) -> None:
    assert decode_address(encode_address(address)) == address


@pytest.mark.parametrize("size", [0, 20, 31, 33])
def test_only_32_bytes_are_an_address(size: int) -> None:
    with pytest.raises(Refused) as refusal:
        encode_address(bytes(size))
    assert refusal.value.reason is Reason.BAD_ADDRESS


def test_every_single_typing_error_is_found() -> None:
    for place in range(3, len(TEXT)):
        for letter in "qpzry9x8gf2tvdw0s3jn54khce6mua7l":
            if letter != TEXT[place]:
                assert refusal_of(TEXT[:place] + letter + TEXT[place + 1 :]) is Reason.BAD_ADDRESS


@pytest.mark.parametrize("place", range(3, 60))
def test_swapped_neighbours_are_found(place: int) -> None:
    swapped = TEXT[:place] + TEXT[place + 1] + TEXT[place] + TEXT[place + 2 :]
    assert swapped == TEXT or refusal_of(swapped) is Reason.BAD_ADDRESS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nx1",
        TEXT.upper(),
        TEXT.replace("x", "X", 1),
        " " + TEXT,
        TEXT + "\n",
        TEXT[:-1],
        "bc1" + TEXT[3:],
        bech32_encode("nx", bytes(convertbits(ADDRESS, 8, 5)), Encoding.BECH32),
        bech32_encode("ny", bytes(convertbits(ADDRESS, 8, 5)), Encoding.BECH32M),
        bech32_encode("nx", bytes([*convertbits(ADDRESS, 8, 5)[:-1], 31]), Encoding.BECH32M),
        bech32_encode("nx", bytes(convertbits(ADDRESS[:-1], 8, 5)), Encoding.BECH32M),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    assert refusal_of(text) is Reason.BAD_ADDRESS


LOOKALIKES = st.text(string.ascii_lowercase + string.digits, min_size=58, max_size=58).map("nx1".__add__)


@given(st.text(max_size=70) | LOOKALIKES)
def test_any_text_is_refused_by_name(text: str) -> None:
    assert refusal_of(text) is Reason.BAD_ADDRESS
