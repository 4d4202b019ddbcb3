"""The group on every backend that is there, against RFC 9496 and against each other."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import Reason
from crypto.group import NATIVE, SODIUM, SWITCH, available, default, load
from crypto.hashing import Label
from crypto.ristretto import (
    IDENTITY,
    ORDER,
    Group,
    decode_nonzero,
    decode_scalar,
    encode_scalar,
    hash_to_group,
    invert_all,
    is_identity,
)
from tests.crypto.refusals import reason_of

SCALARS = st.integers(0, ORDER - 1) | st.sampled_from([0, 1, 2, ORDER - 1, ORDER - 2, 2**252])
UNIFORM = st.binary(min_size=64, max_size=64)
FIELD = 2**255 - 19


@pytest.fixture(params=available())
def group(request: pytest.FixtureRequest) -> Group:
    return load(str(request.param))


@pytest.mark.vectors
def test_rfc_9496(
    group: Group, vector_files: Callable[[str, str], list[Path]], tell: Callable[[str, int], None]
) -> None:
    count = 0
    for path in vector_files("ristretto255", "*.json"):
        cases = json.loads(path.read_text())
        total = group.decode(IDENTITY)
        for multiple, expected in enumerate(cases["small_multiples"]):
            assert total.encode().hex() == expected
            assert group.multiply(multiple, group.base).encode().hex() == expected
            assert group.decode(bytes.fromhex(expected)).encode().hex() == expected
            total = group.add(total, group.base)
        for encoding in cases["bad_encodings"]:
            assert reason_of(group.decode, bytes.fromhex(encoding)) is Reason.BAD_POINT
        count += len(cases["small_multiples"]) + len(cases["bad_encodings"])
    tell(f"Ristretto255 on {group.name}", count)


def test_known_values(group: Group) -> None:
    # RFC 9496, appendix A.1 (the generator) and A.3 (the first derived element).
    generator = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
    uniform = (
        "5d1be09e3d0c82fc538112490e35701979d99e06ca3e2b5b54bffe8b4dc772c1"
        "4d98b696a1bbfb5ca32c436cc61c16563790306c79eaca7705668b47dffe5bb6"
    )
    derived = "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"
    assert group.base.encode().hex() == generator
    assert group.from_uniform(bytes.fromhex(uniform)).encode().hex() == derived


@pytest.mark.parametrize("encoding", [b"", bytes(31), bytes(33), b"\xff" * 32, b"\x01" + bytes(31)])
def test_bad_points_are_refused(group: Group, encoding: bytes) -> None:
    assert reason_of(group.decode, encoding) is Reason.BAD_POINT
    assert reason_of(decode_nonzero, group, encoding) is Reason.BAD_POINT


@given(UNIFORM)
@settings(max_examples=30)
def test_a_point_has_one_encoding(uniform: bytes) -> None:
    for group in map(load, available()):
        encoding = group.from_uniform(uniform).encode()
        number = int.from_bytes(encoding, "little")
        others = [number ^ 1 << 255, FIELD - number, (FIELD - number) ^ 1 << 255, number + FIELD]
        for other in (other for other in others if other < 1 << 256):
            assert reason_of(group.decode, other.to_bytes(32, "little")) is Reason.BAD_POINT
        assert group.decode(encoding).encode() == encoding


def test_the_identity_has_one_encoding(group: Group) -> None:
    for other in (1 << 255, FIELD, FIELD ^ 1 << 255):
        assert reason_of(group.decode, other.to_bytes(32, "little")) is Reason.BAD_POINT
        assert reason_of(decode_nonzero, group, other.to_bytes(32, "little")) is Reason.BAD_POINT


def test_identity_decodes_but_not_where_it_may_not_stand(group: Group) -> None:
    assert is_identity(group.decode(IDENTITY))
    assert reason_of(decode_nonzero, group, IDENTITY) is Reason.BAD_POINT


@pytest.mark.parametrize("encoding", [bytes(31), bytes(33), ORDER.to_bytes(32, "little"), b"\xff" * 32])
def test_bad_scalars_are_refused(encoding: bytes) -> None:
    assert reason_of(decode_scalar, encoding) is Reason.BAD_SCALAR


@given(SCALARS)
def test_scalars_round_trip(scalar: int) -> None:
    assert decode_scalar(encode_scalar(scalar)) == scalar
    assert encode_scalar(scalar + ORDER) == encode_scalar(scalar - ORDER) == encode_scalar(scalar)


@given(st.lists(SCALARS.filter(bool), max_size=6))
def test_inverses(scalars: list[int]) -> None:
    assert [a * b % ORDER for a, b in zip(scalars, invert_all(scalars), strict=True)] == [1] * len(scalars)


def test_lengths_are_compared(group: Group) -> None:
    two, three = group.vector([1, 2]), group.vector([1, 2, 3])
    for call in (lambda: two + three, lambda: two * three, lambda: two.inner(three)):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(ValueError):
        group.multiscalar(two, [group.base])
    with pytest.raises(ValueError):
        group.from_uniform(bytes(63))


def test_empty_product_is_the_identity(group: Group) -> None:
    assert is_identity(group.multiscalar(group.vector([]), []))
    assert group.powers(7, 0).integers() == []


@pytest.mark.parametrize("name", available())
@settings(max_examples=20, deadline=None)
@given(left=UNIFORM, right=UNIFORM, a=SCALARS, b=SCALARS)
def test_group_laws(name: str, left: bytes, right: bytes, a: int, b: int) -> None:
    group = load(name)
    p, q = group.from_uniform(left), group.from_uniform(right)
    assert group.subtract(group.add(p, q), q).encode() == p.encode()
    assert is_identity(group.subtract(p, p))
    assert group.multiply(a + b, p).encode() == group.add(group.multiply(a, p), group.multiply(b, p)).encode()
    assert is_identity(group.multiply(ORDER, p))
    assert is_identity(group.multiply(0, p))
    expected = group.add(group.multiply(a, p), group.multiply(b, q))
    assert group.multiscalar(group.vector([a, b]), [p, q]).encode() == expected.encode()


@pytest.mark.parametrize("name", available())
@settings(max_examples=20, deadline=None)
@given(first=st.lists(SCALARS, max_size=8), factor=SCALARS, data=st.data())
def test_vectors_compute_as_integers_do(name: str, first: list[int], factor: int, data: st.DataObject) -> None:
    group = load(name)
    second = data.draw(st.lists(SCALARS, min_size=len(first), max_size=len(first)))
    u, v = group.vector(first), group.vector(second)
    assert (u + v).integers() == [(a + b) % ORDER for a, b in zip(first, second, strict=True)]
    assert (u * v).integers() == [a * b % ORDER for a, b in zip(first, second, strict=True)]
    assert u.scale(factor).integers() == [a * factor % ORDER for a in first]
    assert u.scale(-factor).integers() == [-a * factor % ORDER for a in first]
    assert u.shift(factor).integers() == [(a + factor) % ORDER for a in first]
    assert u.shift(-1).integers() == [(a - 1) % ORDER for a in first]
    assert u.inner(v) == sum(a * b for a, b in zip(first, second, strict=True)) % ORDER
    assert u.join(v).integers() == first + second
    assert u.reverse().integers() == first[::-1]
    assert u.slice(1, 3).integers() == first[1:3]
    assert len(u) == len(first)
    assert group.powers(factor, 5).integers() == [pow(factor, place, ORDER) for place in range(5)]


@pytest.mark.parametrize("count", [1, 3, 189, 191, 500])
def test_backends_agree_on_long_products(count: int) -> None:
    # dalek changes from Straus to Pippenger at 190 points.
    encodings: list[bytes] = []
    for name in available():
        group = load(name)
        points = [hash_to_group(group, Label.TRANSCRIPT, at.to_bytes(2, "big")) for at in range(count)]
        scalars = group.powers(2**200 + 3, count)
        encodings.append(group.multiscalar(scalars, points).encode())
    assert len(set(encodings)) == 1


def test_choice_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default().name == available()[0]
    monkeypatch.setenv(SWITCH, "1")
    assert available() == (SODIUM,)
    monkeypatch.setenv(SWITCH, "0")
    assert set(available()) <= {NATIVE, SODIUM}
    assert load(SODIUM) is load(SODIUM)
