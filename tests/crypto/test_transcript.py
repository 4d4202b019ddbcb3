"""Transcripts: what goes in decides every challenge; secrets and weights depend on all they should."""

import hashlib

import pytest

from crypto.errors import Reason, Refused
from crypto.hashing import Label
from crypto.merlin import Merlin, keccak
from crypto.ristretto import IDENTITY, ORDER
from crypto.transcript import Transcript, append_point, batch_weights, secret_scalars

CONTEXT = bytes(range(32))
ENTROPY = b"e" * 32


def begun(protocol: bytes = b"test", context: bytes = CONTEXT, *messages: tuple[bytes, bytes]) -> Transcript:
    transcript = Transcript(protocol, context)
    for label, message in messages:
        transcript.append(label, message)
    return transcript


def test_worked_by_hand() -> None:
    state = hashlib.sha3_512(Label.TRANSCRIPT.prefix + b"\x04test" + CONTEXT).digest()
    state = hashlib.sha3_512(state + b"\x01" + b"\x01V" + (3).to_bytes(8, "little") + b"abc").digest()
    expected = int.from_bytes(hashlib.sha3_512(state + b"\x02\x01y").digest(), "little") % ORDER
    transcript = begun(b"test", CONTEXT, (b"V", b"abc"))
    assert transcript.challenge(b"y") == expected
    state = hashlib.sha3_512(state + b"\x03\x01y").digest()
    expected = int.from_bytes(hashlib.sha3_512(state + b"\x02\x01y").digest(), "little") % ORDER
    assert transcript.challenge(b"y") == expected


def test_everything_counts() -> None:
    transcripts = [
        begun(),
        begun(b"tesu"),
        begun(b"test", bytes(32)),
        begun(b"test", CONTEXT, (b"a", b"")),
        begun(b"test", CONTEXT, (b"", b"a")),
        begun(b"test", CONTEXT, (b"a", b"b"), (b"a", b"c")),
        begun(b"test", CONTEXT, (b"a", b"c"), (b"a", b"b")),
        begun(b"test", CONTEXT, (b"a", b"bc")),
        begun(b"test", CONTEXT, (b"ab", b"c")),
    ]
    drawn = [transcript.challenge(b"x") for transcript in transcripts] + [begun().challenge(b"y")]
    assert len(set(drawn)) == len(drawn)


def test_fork_goes_its_own_way() -> None:
    for first in (begun(), Merlin(b"test")):
        second = first.fork()
        second.append(b"a", b"b")
        third = first.fork()
        assert second.challenge(b"x") != first.challenge(b"x") == third.challenge(b"x")


def test_context_and_identity() -> None:
    with pytest.raises(ValueError):
        Transcript(b"test", bytes(31))
    with pytest.raises(Refused) as caught:
        append_point(begun(), b"P", IDENTITY)
    assert caught.value.reason is Reason.BAD_POINT


def test_secret_scalars_depend_on_statement_witness_and_entropy() -> None:
    drawn = [
        secret_scalars(begun(), [1], ENTROPY, 2),
        secret_scalars(begun(), [2], ENTROPY, 2),
        secret_scalars(begun(), [1], b"f" * 32, 2),
        secret_scalars(begun(b"other"), [1], ENTROPY, 2),
    ]
    flat = [scalar for scalars in drawn for scalar in scalars]
    assert len(set(flat)) == 8
    assert all(0 <= scalar < ORDER for scalar in flat)
    assert secret_scalars(begun(), [1], ENTROPY, 2) == drawn[0]


def test_weights_are_of_128_bits_and_depend_on_all() -> None:
    weights = batch_weights([begun(), begun()], ENTROPY, 200)
    assert len(set(weights)) == 200
    assert all(0 < weight < 2**128 for weight in weights)
    assert max(weights) >= 2**120
    assert batch_weights([begun(), begun(b"other")], ENTROPY, 200)[0] != weights[0]
    assert batch_weights([begun(), begun()], b"f" * 32, 200)[0] != weights[0]


def test_too_little_entropy() -> None:
    with pytest.raises(ValueError):
        batch_weights([], bytes(31), 1)
    with pytest.raises(ValueError):
        secret_scalars(begun(), [], bytes(31), 1)


def test_keccak_is_that_of_sha3() -> None:
    block = b"abc\x06".ljust(135, b"\0") + b"\x80"
    assert keccak(block.ljust(200, b"\0"))[:32] == hashlib.sha3_256(b"abc").digest()


def test_merlin_published_challenge() -> None:
    # The crate `merlin`, test of equivalence with its simple STROBE.
    transcript = Merlin(b"test protocol")
    transcript.append(b"some label", b"some data")
    expected = "d5a21972d0d5fe320c0d263fac7fffb8145aa640af6e9bca177c03c7efcf0615"
    assert transcript.challenge_bytes(b"challenge", 32).hex() == expected
