import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from crypto.hpke import (
    OVERHEAD,
    PUBLIC_SIZE,
    check_sealing_key,
    generate_sealing_key,
    open_sealed,
    seal,
    sealing_key_from_seed,
)

PUBLIC, SECRET = generate_sealing_key()
SEALED = seal(PUBLIC, b"info", b"payload", b"aad")


def reason_of_opening(secret: bytes, info: bytes, sealed: bytes, aad: bytes) -> Reason:
    with pytest.raises(Refused) as refusal:
        open_sealed(secret, info, sealed, aad)
    return refusal.value.reason


@settings(max_examples=30)
@given(st.binary(max_size=5000), st.binary(max_size=100), st.binary(max_size=100))
def test_round_trip(plaintext: bytes, info: bytes, aad: bytes) -> None:
    sealed = seal(PUBLIC, info, plaintext, aad)
    assert len(sealed) == len(plaintext) + OVERHEAD
    assert open_sealed(SECRET, info, sealed, aad) == plaintext


def test_sealing_is_randomised() -> None:
    assert seal(PUBLIC, b"info", b"payload", b"aad") != SEALED


def test_a_seed_gives_the_key_of_the_x_wing_draft() -> None:
    """First test vector of draft-connolly-cfrg-xwing-kem, appendix C: both ends of the public key."""
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    public, secret = sealing_key_from_seed(seed)
    assert secret == seed and len(public) == PUBLIC_SIZE
    assert public.hex().startswith("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5b19cfc3d")
    assert public.hex().endswith("eff389b27dce59844570216223593d4ba32d9abac8cd049040ef6534")


def test_another_key_or_context_does_not_open() -> None:
    _, other = generate_sealing_key()
    assert open_sealed(SECRET, b"info", SEALED, b"aad") == b"payload"
    for arguments in (
        (other, b"info", SEALED, b"aad"),
        (SECRET, b"inf", SEALED, b"aad"),
        (SECRET, b"", SEALED, b"aad"),
        (SECRET, b"info", SEALED, b"ad"),
        (SECRET, b"info", SEALED, b""),
        (SECRET, b"infoa", SEALED, b"ad"),
        (SECRET, b"infoaad", SEALED, b""),
    ):
        assert reason_of_opening(*arguments) is Reason.CANNOT_OPEN


@pytest.mark.parametrize("place", [0, 500, 1087, 1088, 1119, 1120, 1126, -1])
def test_a_flipped_bit_does_not_open(place: int) -> None:
    damaged = bytearray(SEALED)
    damaged[place] ^= 1
    assert reason_of_opening(SECRET, b"info", bytes(damaged), b"aad") is Reason.CANNOT_OPEN


@settings(max_examples=60)
@given(st.binary(max_size=1300) | st.integers(0, len(SEALED) - 1).map(lambda size: SEALED[:size]))
def test_any_bytes_do_not_open(sealed: bytes) -> None:
    assert reason_of_opening(SECRET, b"info", sealed, b"aad") is Reason.CANNOT_OPEN


@pytest.mark.parametrize(
    "public", [b"", PUBLIC[:-1], PUBLIC + b"\0", b"\xff" * PUBLIC_SIZE, PUBLIC[:1184] + bytes(32)]
)
def test_nothing_is_sealed_to_bytes_that_are_no_key(public: bytes) -> None:
    for use in (lambda: seal(public, b"", b""), lambda: check_sealing_key(public)):
        with pytest.raises(Refused) as refusal:
            use()
        assert refusal.value.reason is Reason.BAD_KEY


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33)])
def test_a_secret_of_another_size_is_refused(secret: bytes) -> None:
    assert reason_of_opening(secret, b"info", SEALED, b"aad") is Reason.BAD_KEY
