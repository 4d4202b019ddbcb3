"""Range proofs: against the published ones, alone and in batches, and with every kind of wrong bytes."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest

from crypto.batch import find_faults
from crypto.errors import Reason
from crypto.group import available, load
from crypto.merlin import Merlin
from crypto.rangeproof import RangeClaim, RangeProof, RangeProofs
from crypto.ristretto import IDENTITY, ORDER
from crypto.transcript import Transcript
from tests.crypto.refusals import reason_of

ENTROPY = b"e" * 32
BACKENDS = pytest.mark.parametrize("name", available())


@cache
def system(name: str, bits: int = 8, most: int = 4) -> RangeProofs:
    return RangeProofs(load(name), bits, most)


def begun(context: int = 0) -> Transcript:
    return Transcript(b"test", bytes([context]) * 32)


def claim(made: RangeProof, context: int = 0) -> RangeClaim:
    return RangeClaim(begun(context), made.commitments, made.proof)


def prove(name: str, values: list[int], bits: int = 8) -> RangeProof:
    return system(name, bits).prove(begun(), values, [1000 + place for place in range(len(values))], ENTROPY)


def failing(name: str, claims: list[RangeClaim]) -> list[int]:
    """The places of those that do not hold, by verifying halves."""

    def verify(some: Sequence[RangeClaim]) -> None:
        system(name).verify_batch([one._replace(transcript=one.transcript.fork()) for one in some], ENTROPY)

    return [fault.place for fault in find_faults(claims, verify)]


@pytest.mark.vectors
@BACKENDS
def test_published_proofs(
    name: str, vector_files: Callable[[str, str], list[Path]], tell: Callable[[str, int], None]
) -> None:
    count = 0
    for path in vector_files("bulletproofs", "*.json"):
        file = json.loads(path.read_text())
        label = file["transcript_label"].encode()
        for case in file["cases"]:
            bits, parties, proof = case["bits"], case["parties"], bytes.fromhex(case["proof"])
            commitments = tuple(bytes.fromhex(text) for text in file["commitments"][:parties])
            verifier = system(name, bits, 8)
            verifier.verify(RangeClaim(Merlin(label), commitments, proof), ENTROPY)
            elsewhere = RangeClaim(Merlin(label + b"!"), commitments, proof)
            assert reason_of(verifier.verify, elsewhere, ENTROPY) is Reason.UNPROVEN
            count += 1
    tell(f"Bulletproofs on {name}", count)


@BACKENDS
@pytest.mark.parametrize("values", [[0], [255], [0, 255], [7, 0, 200, 9]])
def test_values_in_range(name: str, values: list[int]) -> None:
    made = prove(name, values)
    assert len(made.proof) == system(name).proof_size(len(values))
    system(name).verify(claim(made), ENTROPY)
    assert system(name).pedersen.opens(made.commitments[0], values[0], 1000)


@BACKENDS
def test_sixty_four_bits(name: str) -> None:
    made = prove(name, [2**64 - 1, 0], bits=64)
    assert len(made.proof) == 736
    system(name, 64).verify(claim(made), ENTROPY)


def test_both_backends_make_the_same_bytes() -> None:
    assert len({prove(name, [1, 2]) for name in available()}) == 1


@BACKENDS
def test_proofs_over_merlin(name: str) -> None:
    made = system(name).prove(Merlin(b"test"), [3], [5], ENTROPY)
    system(name).verify(RangeClaim(Merlin(b"test"), made.commitments, made.proof), ENTROPY)


@BACKENDS
@pytest.mark.parametrize("value", [256, -1, 2**64])
def test_values_out_of_range(name: str, value: int) -> None:
    assert reason_of(prove, name, [1, value]) is Reason.AMOUNT_OUT_OF_RANGE


@BACKENDS
@pytest.mark.parametrize("value", [256, -1])
def test_commitment_to_a_value_out_of_range(name: str, value: int) -> None:
    # The proof of another value beside a commitment to this one: same blinding, so only the value differs.
    made = prove(name, [value % 256])
    false = system(name).pedersen.commit(value, 1000).encode()
    given = claim(made._replace(commitments=(false,)))
    assert reason_of(system(name).verify, given, ENTROPY) is Reason.UNPROVEN


@BACKENDS
def test_batches(name: str) -> None:
    made = [prove(name, values) for values in ([1], [2, 3], [4, 5, 6, 7], [8])]
    system(name).verify_batch([claim(one) for one in made], ENTROPY)
    system(name).verify_batch([], ENTROPY)
    swapped = [made[0], made[1]._replace(commitments=made[1].commitments[::-1]), made[2], made[3]]
    assert reason_of(system(name).verify_batch, [claim(one) for one in swapped], ENTROPY) is Reason.UNPROVEN
    assert failing(name, [claim(one) for one in swapped]) == [1]
    elsewhere = [claim(made[0], 1), claim(made[1]), claim(made[2]), claim(made[3], 2)]
    assert failing(name, elsewhere) == [0, 3]
    assert failing(name, [claim(one) for one in made]) == []


@BACKENDS
def test_opposite_errors_do_not_cancel(name: str) -> None:
    # t_x_blinding one too high in one proof and one too low in the other: only unequal weights tell.
    at = slice(32 * 5, 32 * 6)
    made = [prove(name, [1]), prove(name, [2])]
    shifted = []
    for one, shift in zip(made, (1, -1), strict=True):
        proof = bytearray(one.proof)
        moved = (int.from_bytes(proof[at], "little") + shift) % ORDER
        proof[at] = moved.to_bytes(32, "little")
        shifted.append(claim(one._replace(proof=bytes(proof))))
    assert reason_of(system(name).verify_batch, shifted, ENTROPY) is Reason.UNPROVEN


@BACKENDS
@pytest.mark.parametrize("count", [0, 3, 5, 8])
def test_counts_are_refused_before_anything_is_decoded(name: str, count: int) -> None:
    given = RangeClaim(begun(), (b"\xff" * 32,) * count, b"\xff" * 10**6)
    assert reason_of(system(name).verify, given, ENTROPY) is Reason.TOO_LARGE
    assert reason_of(prove, name, [1] * count) is Reason.TOO_LARGE


@BACKENDS
def test_form_is_checked(name: str) -> None:
    made = prove(name, [1])
    proof, (commitment,) = made.proof, made.commitments
    wrong = {
        (b"", commitment): Reason.MALFORMED,
        (proof[:-1], commitment): Reason.MALFORMED,
        (proof + bytes(64), commitment): Reason.MALFORMED,
        (proof, commitment + b"\0"): Reason.MALFORMED,
        (proof, IDENTITY): Reason.BAD_POINT,
        (proof, b"\xff" * 32): Reason.BAD_POINT,
    }
    points = [0, 1, 2, 3, *range(7, 13)]
    for at in range(len(proof) // 32):
        reason = Reason.BAD_POINT if at in points else Reason.BAD_SCALAR
        head, tail = proof[: 32 * at], proof[32 * (at + 1) :]
        wrong[head + b"\xff" * 32 + tail, commitment] = reason
        if at in points:
            wrong[head + IDENTITY + tail, commitment] = Reason.BAD_POINT
    for (given, over), reason in wrong.items():
        spoilt = RangeClaim(begun(), (over,), given)
        assert reason_of(system(name).verify, spoilt, ENTROPY) is reason


@BACKENDS
def test_lengths_of_the_caller(name: str) -> None:
    with pytest.raises(ValueError):
        system(name).prove(begun(), [1, 2], [1], ENTROPY)
    with pytest.raises(ValueError):
        RangeProofs(load(name), 12)
    with pytest.raises(ValueError):
        RangeProofs(load(name), 8, 3)
    assert reason_of(system(name).prove, begun(), [0], [0], ENTROPY) is Reason.BAD_POINT
