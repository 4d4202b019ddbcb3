import pytest

from crypto.work import leading_zero_bits, meets


@pytest.mark.parametrize(
    ("digest", "bits"),
    [(b"\xff", 0), (b"\x80\x00", 0), (b"\x7f", 1), (b"\x01\x00", 7), (b"\x00\x80", 8), (bytes(32), 256), (b"", 0)],
)
def test_leading_zero_bits(digest: bytes, bits: int) -> None:
    assert leading_zero_bits(digest) == bits


def test_meets_counts_the_last_bit() -> None:
    digest = b"\x00\x10" + bytes(30)
    assert meets(digest, 0) and meets(digest, 11) and not meets(digest, 12)
