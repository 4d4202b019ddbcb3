import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pqcrypto.sign import falcon_1024 as unpadded
from pqcrypto.sign import falcon_padded_1024 as padded

from crypto import falcon
from crypto.errors import Reason, Refused
from crypto.falcon_batch import Signed, verify_many
from crypto.group import NATIVE, SWITCH, available
from crypto.hashing import Label, digest

SEED = bytes(range(32))
PUBLIC, SECRET = falcon.generate_from_seed(SEED)
MESSAGE = b"a message"
SIGNATURE = falcon.sign(SECRET, MESSAGE)


@pytest.fixture(params=available())
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who signs: the kernel, or PQClean without it."""
    monkeypatch.setenv(SWITCH, "0" if request.param == NATIVE else "1")
    return str(request.param)


def test_sizes() -> None:
    assert (len(PUBLIC), len(SECRET), len(SIGNATURE)) == (1793, 2305, 1280)
    assert (padded.PUBLIC_KEY_SIZE, padded.SECRET_KEY_SIZE, padded.SIGNATURE_SIZE) == (
        falcon.PUBLIC_KEY_SIZE,
        falcon.SECRET_KEY_SIZE,
        falcon.SIGNATURE_SIZE,
    )


def test_a_random_key_signs_and_each_is_new(backend: str) -> None:
    public, secret = falcon.generate()
    assert public != PUBLIC
    assert falcon.verify(public, MESSAGE, falcon.sign(secret, MESSAGE))


@pytest.mark.parametrize("message", [b"", MESSAGE, bytes(70_000)])
def test_each_verifies_what_the_other_signs(backend: str, monkeypatch: pytest.MonkeyPatch, message: bytes) -> None:
    signed = []
    for number in range(8):
        public, secret = falcon.generate_from_seed(bytes([number]) * 32)
        signed.append(Signed(public, message, falcon.sign(secret, message)))
    assert {len(one.signature) for one in signed} == {1280}
    assert {one.signature[0] for one in signed} == {0x3A}
    for switch in ("0", "1"):
        monkeypatch.setenv(SWITCH, switch)
        assert verify_many(signed) == [True] * len(signed)
        assert verify_many([one._replace(message=message + b"\0") for one in signed]) == [False] * len(signed)


def test_nonces_are_new_and_signatures_short(backend: str) -> None:
    signatures = [falcon.sign(SECRET, MESSAGE) for _ in range(40)]
    assert len({one[1:41] for one in signatures}) == len(signatures)
    used = [len(one.rstrip(b"\0")) for one in signatures]
    assert 1180 < min(used) <= max(used) <= 1280  # 1229 and 4 either way, in the mean and in most cases


def test_without_the_kernel_pqclean_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def sign(secret: bytes, message: bytes) -> bytes:
        asked.append(message)
        return SIGNATURE

    monkeypatch.setattr(padded, "sign", sign)
    monkeypatch.setenv(SWITCH, "1")
    assert falcon.sign(SECRET, MESSAGE) == SIGNATURE
    assert asked == [MESSAGE]


def test_with_the_kernel_pqclean_does_not_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(padded, "sign")
    monkeypatch.setattr(falcon, "available", lambda: (NATIVE,))
    if NATIVE in available():
        assert falcon.verify(PUBLIC, MESSAGE, falcon.sign(SECRET, MESSAGE))
    monkeypatch.setattr(falcon, "_kernel", lambda: lambda secret, message: None)
    with pytest.raises(Refused) as refusal:
        falcon.sign(SECRET, MESSAGE)
    assert refusal.value.reason is Reason.BAD_KEY


def test_a_seed_gives_the_same_key_for_ever() -> None:
    # Pinned: with another key here, phrases in use would no longer give back their money.
    assert falcon.generate_from_seed(SEED) == (PUBLIC, SECRET)
    assert digest(Label.ADDRESS, PUBLIC).hex() == "9d0b124181e186b01a52353734d48e5528ab1e3d411ba851dd254fce64f7dbf5"
    assert falcon.generate_from_seed(bytes(32)) != (PUBLIC, SECRET)


def test_signing_is_randomised(backend: str) -> None:
    assert falcon.sign(SECRET, MESSAGE) != SIGNATURE


@pytest.mark.parametrize("size", [0, 31, 33])
def test_seed_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(Refused) as refusal:
        falcon.generate_from_seed(bytes(size))
    assert refusal.value.reason is Reason.BAD_KEY


@pytest.mark.parametrize("secret", [b"", SECRET[:-1], SECRET + b"\0", b"\x59" + SECRET[1:], b"\x5a" + bytes(2304)])
def test_bytes_that_are_no_secret_key_do_not_sign(backend: str, secret: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        falcon.sign(secret, MESSAGE)
    assert refusal.value.reason is Reason.BAD_KEY


def test_wrong_message_and_wrong_key_do_not_verify() -> None:
    other, _ = falcon.generate()
    assert falcon.verify(PUBLIC, MESSAGE, SIGNATURE)
    assert not falcon.verify(PUBLIC, MESSAGE + b"\0", SIGNATURE)
    assert not falcon.verify(other, MESSAGE, SIGNATURE)


@pytest.mark.parametrize("place", [0, 1, 40, 41, 640, 1240])
def test_a_flipped_bit_does_not_verify(place: int) -> None:
    damaged = bytearray(SIGNATURE)
    damaged[place] ^= 1
    assert not falcon.verify(PUBLIC, MESSAGE, bytes(damaged))


def test_only_the_padded_form_of_a_signature_is_accepted(backend: str) -> None:
    short = next(s for s in (falcon.sign(SECRET, MESSAGE) for _ in count()) if s[-1] == 0).rstrip(b"\0")
    assert padded.verify(PUBLIC, MESSAGE, short)  # the library is wider than we are
    assert falcon.verify(PUBLIC, MESSAGE, short.ljust(1280, b"\0"))
    assert not falcon.verify(PUBLIC, MESSAGE, short)
    assert not falcon.verify(PUBLIC, MESSAGE, short.ljust(1280, b"\0") + b"\0")
    assert not falcon.verify(PUBLIC, MESSAGE, short.ljust(1279, b"\0") + b"\1")


@settings(max_examples=60)
@given(st.binary(max_size=1900), st.binary(max_size=64), st.binary(max_size=1300))
def test_verify_never_raises(public: bytes, message: bytes, signature: bytes) -> None:
    assert not falcon.verify(public, message, signature)
    assert not falcon.verify(PUBLIC, message, signature.ljust(1280, b"\0"))
    assert not falcon.verify(public.ljust(1793, b"\x0a")[:1793], MESSAGE, SIGNATURE)


def test_check_public_key_accepts_real_keys() -> None:
    falcon.check_public_key(PUBLIC)
    falcon.check_public_key(falcon.generate()[0])


def _with_coefficient(place: int, value: int) -> bytes:
    shift = 14 * (1023 - place)
    packed = int.from_bytes(PUBLIC[1:], "big") & ~(0x3FFF << shift) | value << shift
    return PUBLIC[:1] + packed.to_bytes(1792, "big")


@pytest.mark.parametrize("place", [0, 1, 2, 511, 512, 1022, 1023])
def test_check_public_key_knows_the_modulus(place: int) -> None:
    falcon.check_public_key(_with_coefficient(place, 12288))
    for value in (12289, 0x3FFF):
        with pytest.raises(Refused) as refusal:
            falcon.check_public_key(_with_coefficient(place, value))
        assert refusal.value.reason is Reason.BAD_KEY


@pytest.mark.parametrize("public", [b"", PUBLIC[:-1], PUBLIC + b"\0", b"\x09" + PUBLIC[1:]])
def test_check_public_key_refuses_other_forms(public: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        falcon.check_public_key(public)
    assert refusal.value.reason is Reason.BAD_KEY


@pytest.mark.parametrize(
    "work", [lambda: falcon.sign(SECRET, MESSAGE), lambda: falcon.verify(PUBLIC, MESSAGE, SIGNATURE)]
)
def test_other_threads_run_meanwhile(backend: str, work: Callable[[], object], without_forced_switches: None) -> None:
    """Threads take turns only where one lets go of the GIL, so counting during the call shows that it does."""
    stop, counted = threading.Event(), 0

    def count_on() -> None:
        nonlocal counted
        while not stop.is_set():
            counted += 1
            time.sleep(0)

    def counted_during_work() -> bool:
        before = counted
        work()
        return counted > before

    thread = threading.Thread(target=count_on)
    thread.start()
    try:
        assert any(counted_during_work() for _ in range(1000))
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def without_forced_switches() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(usual)


def _known_answers(path: Path) -> Iterator[dict[str, bytes]]:
    for block in path.read_text().split("\n\n"):
        fields = dict(line.split(" = ") for line in block.splitlines() if " = " in line)
        if "sm" in fields:
            yield {name: bytes.fromhex(fields[name]) for name in ("msg", "pk", "sk", "sm")}


@pytest.mark.vectors
def test_nist_known_answers(
    backend: str, vector_files: Callable[[str, str], list[Path]], tell: Callable[[str, int], None]
) -> None:
    cases = tampered = in_padded_form = 0
    for path in vector_files("falcon", "falcon1024*.rsp"):
        for case in _known_answers(path):
            size = int.from_bytes(case["sm"][:2], "big")
            nonce, message, encoded = case["sm"][2:42], case["sm"][42:-size], case["sm"][-size:]
            assert message == case["msg"]
            signature = b"\x3a" + nonce + encoded[1:]
            assert unpadded.verify(case["pk"], message, signature)
            cases += 1
            damaged = bytearray(signature)
            damaged[41 + cases % 1000] ^= 1 << cases % 8
            assert not unpadded.verify(case["pk"], message, bytes(damaged))
            tampered += 1
            falcon.check_public_key(case["pk"])
            assert falcon.verify(case["pk"], message, falcon.sign(case["sk"], message))
            if len(signature) <= falcon.SIGNATURE_SIZE:
                full = signature.ljust(falcon.SIGNATURE_SIZE, b"\0")
                assert falcon.verify(case["pk"], message, full)
                assert not falcon.verify(case["pk"], message + b"\0", full)
                in_padded_form += 1
    tell(f"NIST Falcon-1024 known answers, {backend} signing under their keys", cases)
    tell("NIST Falcon-1024, tampered and refused", tampered)
    tell("NIST Falcon-1024, short enough for the padded form", in_padded_form)
