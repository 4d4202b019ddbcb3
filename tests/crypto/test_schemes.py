from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import falcon, schemes
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.keys import SecretKey
from crypto.schemes import Scheme, multisig_members, multisig_public_key, multisig_signature, verify

MESSAGE = b"the message that is signed"
ALICE, BOB = SecretKey.generate(), SecretKey.generate()
CAROL, DAVE = SecretKey.generate(Scheme.HYBRID), SecretKey.generate(Scheme.HYBRID)
PEOPLE = {person.public_key: person for person in (ALICE, BOB, CAROL)}

TWO_OF_THREE = multisig_public_key(2, list(PEOPLE))
MEMBERS = multisig_members(TWO_OF_THREE)[1]
PARTS = {index: PEOPLE[key].sign(MESSAGE) for index, key in enumerate(MEMBERS)}
JOINT = multisig_signature(TWO_OF_THREE, {0: PARTS[0], 2: PARTS[2]})


def reason_of(call: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as refusal:
        call()
    return refusal.value.reason


def joint(*parts: tuple[int, bytes]) -> bytes:
    """Join signatures without the checks of `multisig_signature`."""
    return b"\x03" + b"".join(bytes([index]) + signature for index, signature in parts)


@pytest.mark.parametrize("key", [ALICE, CAROL], ids=["falcon", "hybrid"])
def test_a_signature_serves_its_key_and_message_alone(key: SecretKey) -> None:
    signature = key.sign(MESSAGE)
    other = {ALICE: BOB, CAROL: DAVE}[key]
    assert verify(key.public_key, MESSAGE, signature)
    assert not verify(key.public_key, MESSAGE + b".", signature)
    assert not verify(other.public_key, MESSAGE, signature)
    assert len(signature) == schemes.expected_signature_size(key.public_key)
    schemes.check_public_key(key.public_key)


@pytest.mark.parametrize("key", [ALICE, CAROL], ids=["falcon", "hybrid"])
@pytest.mark.parametrize("scheme", [0, 1, 2, 3, 4, 255])
def test_a_wrong_scheme_byte_is_refused(key: SecretKey, scheme: int) -> None:
    signature = key.sign(MESSAGE)
    byte = bytes([scheme])
    right = scheme == key.scheme
    assert verify(key.public_key, MESSAGE, byte + signature[1:]) is right
    assert verify(byte + key.public_key[1:], MESSAGE, signature) is right
    assert verify(byte + key.public_key[1:], MESSAGE, byte + signature[1:]) is right


@pytest.mark.parametrize("key", [ALICE, CAROL], ids=["falcon", "hybrid"])
def test_another_length_is_refused(key: SecretKey) -> None:
    signature = key.sign(MESSAGE)
    for wrong in (b"", signature[:1], signature[:-1], signature + b"\0"):
        assert not verify(key.public_key, MESSAGE, wrong)
    for wrong in (b"", key.public_key[:1], key.public_key[:-1], key.public_key + b"\0"):
        assert not verify(wrong, MESSAGE, signature)
        assert reason_of(lambda key=wrong: schemes.check_public_key(key)) is Reason.BAD_KEY  # type: ignore[misc]


def test_hybrid_each_half_broken_alone_is_refused() -> None:
    signature, other = CAROL.sign(MESSAGE), CAROL.sign(b"another message")
    ed25519, rest = signature[1:65], signature[65:]
    assert verify(CAROL.public_key, MESSAGE, b"\x02" + ed25519 + rest)
    assert not verify(CAROL.public_key, MESSAGE, b"\x02" + other[1:65] + rest)
    assert not verify(CAROL.public_key, MESSAGE, b"\x02" + ed25519 + other[65:])
    for place in (1, 33, 64, 65, 66, 700):
        damaged = bytearray(signature)
        damaged[place] ^= 1
        assert not verify(CAROL.public_key, MESSAGE, bytes(damaged))


def test_hybrid_halves_cannot_be_recombined() -> None:
    """Somebody who puts one half of Carol's key beside their own half cannot use Carol's half of a signature."""
    mixed_key = DAVE.public_key[:33] + CAROL.public_key[33:]
    ours, hers = DAVE.sign(MESSAGE), CAROL.sign(MESSAGE)
    assert not verify(mixed_key, MESSAGE, ours[:65] + hers[65:])
    assert not verify(b"\x01" + CAROL.public_key[33:], MESSAGE, b"\x01" + hers[65:])
    signed = digest(Label.HYBRID_SIGN, CAROL.public_key + MESSAGE)
    assert falcon.verify(CAROL.public_key[33:], signed, hers[65:])


def test_a_hybrid_key_wants_a_point_of_prime_order() -> None:
    for point in (bytes(32), b"\x01" + bytes(31), b"\xff" * 32):
        key = b"\x02" + point + CAROL.public_key[33:]
        assert reason_of(lambda key=key: schemes.check_public_key(key)) is Reason.BAD_KEY  # type: ignore[misc]


def test_address_covers_the_scheme_byte() -> None:
    assert schemes.address_of(ALICE.public_key) == digest(Label.ADDRESS, ALICE.public_key) == ALICE.address
    assert schemes.address_of(b"\x02" + ALICE.public_key[1:]) != ALICE.address


def test_multisig_round_trip_in_any_order_of_keys_and_signers() -> None:
    assert multisig_public_key(2, list(PEOPLE)[::-1]) == TWO_OF_THREE
    assert set(MEMBERS) == set(PEOPLE) and list(MEMBERS) == sorted(MEMBERS)
    schemes.check_public_key(TWO_OF_THREE)
    for first, second in ((0, 1), (2, 0), (1, 2)):
        signature = multisig_signature(TWO_OF_THREE, {first: PARTS[first], second: PARTS[second]})
        assert verify(TWO_OF_THREE, MESSAGE, signature)
        assert not verify(TWO_OF_THREE, b"", signature)
        assert len(signature) <= schemes.expected_signature_size(TWO_OF_THREE)


def test_multisig_costs() -> None:
    assert schemes.signature_count(ALICE.public_key) == 1
    assert schemes.signature_count(CAROL.public_key) == 2
    assert schemes.signature_count(TWO_OF_THREE) == 3  # a hybrid member and a Falcon member
    assert schemes.expected_signature_size(TWO_OF_THREE) == 1 + (1 + 1281) + (1 + 1345)


def test_multisig_below_threshold_surplus_duplicate_and_order() -> None:
    zero, one, two = ((index, PARTS[index]) for index in range(3))
    assert verify(TWO_OF_THREE, MESSAGE, joint(zero, one))
    for wrong in (joint(), joint(zero), joint(zero, one, two), joint(zero, zero), joint(one, zero)):
        assert not verify(TWO_OF_THREE, MESSAGE, wrong)


def test_multisig_each_signature_counts() -> None:
    another = PEOPLE[MEMBERS[1]].sign(b"another message")
    assert not verify(TWO_OF_THREE, MESSAGE, multisig_signature(TWO_OF_THREE, {0: PARTS[0], 1: another}))
    for wrong in (
        joint((0, PARTS[1]), (1, PARTS[0])),
        joint((0, PARTS[0]), (3, PARTS[1])),
        joint((0, PARTS[0]), (255, PARTS[1])),
        joint((0, b"\x02" + PARTS[0][1:]), (1, PARTS[1])),
        JOINT + b"\0",
        JOINT[:-1],
        b"\x01" + JOINT[1:],
        PARTS[0],
    ):
        assert not verify(TWO_OF_THREE, MESSAGE, wrong)


def test_multisig_signature_refuses_what_would_not_verify() -> None:
    assert reason_of(lambda: multisig_signature(TWO_OF_THREE, {0: PARTS[0]})) is Reason.MISSING_SIGNATURE
    assert reason_of(lambda: multisig_signature(TWO_OF_THREE, PARTS)) is Reason.SURPLUS_SIGNATURE
    assert reason_of(lambda: multisig_signature(TWO_OF_THREE, {0: PARTS[0], 3: PARTS[1]})) is Reason.SURPLUS_SIGNATURE
    assert reason_of(lambda: multisig_signature(TWO_OF_THREE, {0: PARTS[0], -1: PARTS[1]})) is Reason.SURPLUS_SIGNATURE
    assert reason_of(lambda: multisig_signature(TWO_OF_THREE, {0: PARTS[0], 1: b""})) is Reason.BAD_SIGNATURE
    assert reason_of(lambda: multisig_signature(ALICE.public_key, {0: PARTS[0]})) is Reason.BAD_KEY


def _raw_key(threshold: int, keys: list[bytes], count: int | None = None) -> bytes:
    return bytes([3, threshold, len(keys) if count is None else count]) + b"".join(keys)


A, B, C = sorted(PEOPLE)


@pytest.mark.parametrize(
    "key",
    [
        b"\x03",
        b"\x03\x01",
        b"\x03\x00\x00",
        _raw_key(0, [A, B]),
        _raw_key(3, [A, B]),
        _raw_key(1, [B, A]),
        _raw_key(1, [A, A]),
        _raw_key(1, [A, B], count=1),
        _raw_key(1, [A, B], count=3),
        _raw_key(1, [A, B]) + b"\0",
        _raw_key(1, [A, B])[:-1],
        _raw_key(1, [A, TWO_OF_THREE]),
        _raw_key(1, [A, b"\x04" + B[1:]]),
        _raw_key(1, [A, B[:1] + b"\x09" + B[2:]]),
        _raw_key(1, sorted([A, b"\x02" + CAROL.public_key[1:33] + A[1:]])),
        _raw_key(1, sorted(b"\x01\x0a" + bytes([place]) * 1792 for place in range(17))),
    ],
)
def test_multisig_keys_in_another_form_are_refused(key: bytes) -> None:
    assert reason_of(lambda: schemes.check_public_key(key)) is Reason.BAD_KEY
    assert not verify(key, MESSAGE, joint((0, PEOPLE[A].sign(MESSAGE))))


@pytest.mark.parametrize(
    ("threshold", "keys"),
    [(0, [A]), (2, [A]), (1, []), (1, [A, A]), (1, [TWO_OF_THREE]), (1, [b""]), (256, [A] * 256), (1, [A] * 17)],
)
def test_multisig_public_key_refuses(threshold: int, keys: list[bytes]) -> None:
    assert reason_of(lambda: multisig_public_key(threshold, keys)) is Reason.BAD_KEY


def test_one_falcon_key_does_not_count_twice() -> None:
    twin = b"\x02" + CAROL.public_key[1:33] + ALICE.public_key[1:]
    assert reason_of(lambda: multisig_public_key(2, [ALICE.public_key, twin])) is Reason.BAD_KEY


KEYS = st.sampled_from([ALICE.public_key, CAROL.public_key, TWO_OF_THREE])


@settings(max_examples=80)
@given(
    KEYS,
    st.sampled_from([JOINT, PARTS[0], CAROL.sign(MESSAGE)]),
    st.integers(0, 7000),
    st.binary(max_size=4),
    st.booleans(),
)
def test_mutated_keys_and_signatures_never_raise_and_never_verify(
    key: bytes, signature: bytes, place: int, patch: bytes, in_key: bool
) -> None:
    def mutate(raw: bytes) -> bytes:
        start = place % len(raw)
        return raw[:start] + patch + raw[start + 1 :]

    changed_key, changed = (mutate(key), signature) if in_key else (key, mutate(signature))
    unchanged = changed_key == key and changed == signature
    assert not verify(changed_key, MESSAGE, changed) or unchanged or changed in (JOINT, PARTS[0])


@settings(max_examples=150)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\x01", b"\x02", b"\x03\x01\x01", b"\x03\x02\x03"]), st.binary())
def test_any_key_is_refused_by_name(key: bytes, head: bytes, signature: bytes) -> None:
    assert reason_of(lambda: schemes.check_public_key(head + key)) is Reason.BAD_KEY
    assert not verify(head + key, MESSAGE, signature)
    assert not verify(head + key, MESSAGE, head + signature)
    for measure in (schemes.signature_count, schemes.expected_signature_size, multisig_members):
        try:
            measure(head + key)
        except Refused as refusal:
            assert refusal.reason is Reason.BAD_KEY
