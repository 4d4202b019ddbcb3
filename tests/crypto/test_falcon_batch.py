"""The native verification against PQClean's: published signatures, damaged ones, and two forms of one signature."""

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from crypto import falcon, falcon_batch
from crypto.falcon_batch import Signed, verify_many
from crypto.group import NATIVE, SWITCH, available

DAMAGED = 300
COEFFICIENTS = 1024
HEAD = 41
"""Header byte and nonce of a signature."""


@cache
def signed() -> tuple[Signed, ...]:
    public, secret = falcon.generate_from_seed(b"s" * 32)
    return tuple(Signed(public, bytes([n]) * n, falcon.sign(secret, bytes([n]) * n)) for n in range(8))


def assert_both_say(cases: list[Signed], threads: int = 2) -> list[bool]:
    verdicts = verify_many(cases, threads)
    assert verdicts == [falcon.verify(*case) for case in cases]
    return verdicts


@pytest.fixture(params=available())
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(SWITCH, "0" if request.param == NATIVE else "1")
    return str(request.param)


@pytest.mark.parametrize("threads", [0, 1, 2, 50])
def test_good_and_bad_keep_their_places(backend: str, threads: int) -> None:
    good = signed()
    bad = good[0]._replace(message=b"another")
    short = good[1]._replace(signature=good[1].signature[:-1])
    keyless = good[2]._replace(public=b"")
    cases = [good[0], bad, good[1], short, keyless, good[2]]
    assert assert_both_say(cases, threads) == [True, False, True, False, False, True]
    assert verify_many([], threads) == []


def test_more_keys_than_are_kept_ready(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(falcon_batch, "KEYS_KEPT", 2)
    falcon_batch._kernel.cache_clear()
    try:
        made = [falcon.generate_from_seed(bytes([number]) * 32) for number in range(4)]
        cases = [Signed(public, b"message", falcon.sign(secret, b"message")) for public, secret in made * 2]
        crossed = [one._replace(public=cases[number - 1].public) for number, one in enumerate(cases)]
        assert assert_both_say([*cases, *crossed]) == [True] * len(cases) + [False] * len(crossed)
    finally:
        falcon_batch._kernel.cache_clear()


def test_damaged_ones(backend: str) -> None:
    dice = random.Random(5)
    cases = []
    for number in range(DAMAGED):
        one = signed()[number % len(signed())]
        field = dice.choice(("public", "signature", "signature"))
        changed = bytearray(getattr(one, field))
        # A third in the last bytes, where the padding is; the rest anywhere.
        at = dice.randrange(len(changed) - 40, len(changed)) if dice.random() < 0.3 else dice.randrange(len(changed))
        changed[at] ^= 1 << dice.randrange(8)
        cases.append(one._replace(**{field: bytes(changed)}))
    assert not any(assert_both_say(cases))


def minus_zero(signature: bytes) -> bytes | None:
    """Return the same polynomial written in a second way, the sign of a coefficient 0 set; None if it has no such."""
    bits = "".join(f"{byte:08b}" for byte in signature[HEAD:])
    at = 0
    for _ in range(COEFFICIENTS):  # each: sign, seven low bits, then as many 0 as the high part says, then 1
        if bits[at : at + 9] == "000000001":
            return signature[:HEAD] + int(bits[:at] + "1" + bits[at + 1 :], 2).to_bytes(len(bits) // 8, "big")
        at = bits.index("1", at + 8) + 1
    return None


def test_minus_zero(backend: str) -> None:
    public, secret = falcon.generate_from_seed(b"s" * 32)
    made = 0
    while made < 3:  # nine signatures in ten have a coefficient 0
        signature = falcon.sign(secret, b"message")
        second = minus_zero(signature)
        if second is not None:
            both = [Signed(public, b"message", signature), Signed(public, b"message", second)]
            assert assert_both_say(both) == [True, False]
            made += 1


def test_second_forms_of_a_signature(backend: str) -> None:
    cases = []
    for one in signed():
        for header in (0x0A, 0x2A, 0x39, 0x4A, 0x5A):
            cases.append(one._replace(signature=bytes([header]) + one.signature[1:]))
        cases.append(one._replace(signature=one.signature[:-1] + b"\x01"))
        cases.append(one._replace(signature=one.signature + b"\0"))
        cases.append(one._replace(signature=one.signature[:HEAD] + bytes(falcon.SIGNATURE_SIZE - HEAD)))
        cases.append(one._replace(signature=one.signature[:HEAD] + b"\xff" * (falcon.SIGNATURE_SIZE - HEAD)))
        cases.append(one._replace(public=b"\x09" + one.public[1:]))
        cases.append(one._replace(public=one.public[:1] + b"\xff" * (falcon.PUBLIC_KEY_SIZE - 1)))
        cases.append(one._replace(public=one.public[:1] + bytes(falcon.PUBLIC_KEY_SIZE - 1)))
    assert not any(assert_both_say(cases))


def test_without_the_kernel_pqclean_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "1")
    asked: list[bytes] = []

    def verify(_public: bytes, _message: bytes, signature: bytes) -> bool:
        asked.append(signature)
        return True

    monkeypatch.setattr(falcon, "verify", verify)
    assert verify_many(signed()) == [True] * len(signed())
    assert asked == [one.signature for one in signed()]


@pytest.mark.vectors
def test_nist_known_answers(
    backend: str, vector_files: Callable[[str, str], list[Path]], tell: Callable[[str, int], None]
) -> None:
    cases = []
    for path in vector_files("falcon", "falcon1024*.rsp"):
        for block in path.read_text().split("\n\n"):
            fields = dict(line.split(" = ") for line in block.splitlines() if " = " in line)
            if "sm" not in fields:
                continue
            public, message, sealed = (bytes.fromhex(fields[name]) for name in ("pk", "msg", "sm"))
            encoded = sealed[-int.from_bytes(sealed[:2], "big") :]
            signature = (b"\x3a" + sealed[2:42] + encoded[1:]).ljust(falcon.SIGNATURE_SIZE, b"\0")
            if len(signature) == falcon.SIGNATURE_SIZE:
                cases.append(Signed(public, message, signature))
    assert all(assert_both_say(cases))
    assert not any(assert_both_say([one._replace(message=one.message + b"\0") for one in cases]))
    tell(f"NIST Falcon-1024 known answers in the padded form, many at once, {backend}", len(cases))
