"""Constraint systems and the gadgets: what is so can be proven, what is not cannot, on both backends."""

import hashlib
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import gadgets
from crypto.algebraic import compress, digest, parameters
from crypto.constraints import MAX_COMMITTED, MAX_MULTIPLIERS, MAX_TERMS, ConstraintSystem, Linear, Opening, linear
from crypto.errors import Reason
from crypto.group import available, load
from crypto.r1cs import ConstraintClaim, ConstraintProofs
from crypto.ristretto import IDENTITY, ORDER
from crypto.transcript import Transcript
from tests.crypto.refusals import reason_of

ENTROPY = b"e" * 32
BACKENDS = pytest.mark.parametrize("name", available())
CONSTANTS = "03325b1ea1ebfbd5968364cc416b1fc551306a57206bba04fe1ef5144992a310"
DIGEST = 866503129385056008848449270445085691154218880297858512653624796758345138690
scalars = st.one_of(st.integers(0, 3), st.integers(0, ORDER - 1))

Circuit = Callable[[ConstraintSystem, list[Linear]], None]


@cache
def proofs(name: str, most: int = 256) -> ConstraintProofs:
    return ConstraintProofs(load(name), most)


def begun(context: int = 0) -> Transcript:
    return Transcript(b"test", bytes([context]) * 32)


def built(name: str, circuit: Circuit, values: list[int]) -> ConstraintSystem:
    """A prover's system over committed values."""
    system = ConstraintSystem(proving=True)
    openings = [Opening(value, 1000 + place) for place, value in enumerate(values)]
    made = [proofs(name).pedersen.commit(*opening).encode() for opening in openings]
    circuit(system, [system.commit(*pair) for pair in zip(made, openings, strict=True)])
    return system


def claim(circuit: Circuit, commitments: list[bytes], proof: bytes, context: int = 0) -> ConstraintClaim:
    system = ConstraintSystem(proving=False)
    circuit(system, [system.commit(commitment) for commitment in commitments])
    return ConstraintClaim(begun(context), system, proof)


def shown(name: str, circuit: Circuit, values: list[int]) -> None:
    """Prove a circuit over committed values, and verify it."""
    system = built(name, circuit, values)
    proof = proofs(name).prove(begun(), system, ENTROPY)
    assert len(proof) == proofs(name).proof_size(system)
    proofs(name).verify(claim(circuit, system.commitments, proof), ENTROPY)


def holds(circuit: Circuit, values: list[int]) -> bool:
    """Whether the values fit, without a proof."""
    system = ConstraintSystem(proving=True)
    circuit(system, [system.commit(IDENTITY, Opening(value, 0)) for value in values])
    return system.failing() is None


def product(system: ConstraintSystem, values: list[Linear]) -> None:
    """The third is the product of the first two."""
    system.constrain(system.multiply(values[0], values[1]) - values[2])


def ranged(bits: int) -> Circuit:
    def circuit(system: ConstraintSystem, values: list[Linear]) -> None:
        for value in values:
            gadgets.in_range(system, value, bits)

    return circuit


@BACKENDS
def test_a_product(name: str) -> None:
    shown(name, product, [6, 7, 42])
    assert reason_of(shown, name, product, [6, 7, 43]) is Reason.UNPROVEN


@BACKENDS
def test_sums_alone_need_no_multiplier(name: str) -> None:
    def circuit(system: ConstraintSystem, values: list[Linear]) -> None:
        system.constrain(values[0].scale(2) - values[1] + 5)
        assert system.multiply(values[0], linear(3)) == values[0].scale(3)

    shown(name, circuit, [10, 25])
    assert built(name, circuit, [10, 25]).multipliers == 0
    assert reason_of(shown, name, circuit, [10, 26]) is Reason.UNPROVEN


@BACKENDS
@pytest.mark.parametrize("multipliers", [1, 2, 3, 5, 8])
def test_any_number_of_multipliers(name: str, multipliers: int) -> None:
    def circuit(system: ConstraintSystem, values: list[Linear]) -> None:
        power = values[0]
        for _ in range(multipliers):
            power = system.multiply(power, values[0])
        system.constrain(power - values[1])

    shown(name, circuit, [3, 3 ** (multipliers + 1)])


@BACKENDS
@pytest.mark.parametrize("value", [0, 1, 2**16 - 1])
def test_range(name: str, value: int) -> None:
    shown(name, ranged(16), [value])


@pytest.mark.parametrize("value", [2**16, -1, ORDER - 2**16, 2**64])
def test_out_of_range(value: int) -> None:
    assert not holds(ranged(16), [value])


@settings(max_examples=40, deadline=None)
@given(scalars, scalars)
def test_whether_two_are_equal(left: int, right: int) -> None:
    def circuit(system: ConstraintSystem, values: list[Linear]) -> None:
        answer = gadgets.is_equal(system, values[0], values[1])
        system.constrain(answer - values[2])

    assert holds(circuit, [left, right, left == right])
    assert not holds(circuit, [left, right, left != right])


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("right", [0, 1])
def test_logic(left: int, right: int) -> None:
    def circuit(system: ConstraintSystem, values: list[Linear]) -> None:
        one, other = values
        system.constrain(gadgets.both(system, one, other) - int(bool(left and right)))
        system.constrain(gadgets.either(system, one, other) - int(bool(left or right)))
        system.constrain(gadgets.negated(one) - int(not left))
        system.constrain(gadgets.chosen(system, one, linear(8), linear(9)) - (8 if left else 9))
        gadgets.equal(system, one, linear(left))

    assert holds(circuit, [left, right])
    assert not holds(circuit, [1 - left, right])


def test_a_prover_cannot_claim_that_zero_is_not_zero() -> None:
    """Neither does any choice of the inverse help: every assignment of the gadget is tried that could."""
    for value in (0, 5):
        for inverse in (0, 1, pow(5, -1, ORDER), ORDER - 1):
            system = ConstraintSystem(proving=True)
            of = system.commit(IDENTITY, Opening(value, 0))
            first = system.allocate(value, inverse)
            lie = 0 if value == 0 else 1
            second = system.allocate(value, lie)
            for zero in (first.left - of, second.left - of, second.product, linear(1) - first.product - lie):
                system.constrain(zero)
            assert system.failing() is not None


@settings(max_examples=10, deadline=None)
@given(scalars, scalars)
def test_the_hash_inside_a_proof_is_the_hash(left: int, right: int) -> None:
    def circuit(system: ConstraintSystem, values: list[Linear]) -> None:
        system.constrain(compress(system, values[0], values[1]) - values[2])

    assert holds(circuit, [left, right, digest(left, right)])
    assert not holds(circuit, [left, right, digest(left, right) + 1])


def test_the_hash_is_what_it_was() -> None:
    """Changing a constant, the matrix or the rounds would change what programs mean."""
    constants = b"".join(number.to_bytes(32, "little") for row in parameters().constants for number in row)
    assert hashlib.sha3_256(constants).hexdigest() == CONSTANTS
    assert digest(1, 2) == DIGEST
    assert len({digest(1, 2), digest(2, 1), digest(0, 0), digest(1, 0), digest(0, 1)}) == 5


@BACKENDS
def test_a_path_in_a_merkle_tree(name: str) -> None:
    """The leaf stays hidden; the path and the root are public."""
    leaf, sibling = 77, 88
    root = digest(sibling, leaf)

    def circuit(system: ConstraintSystem, values: list[Linear]) -> None:
        turn = gadgets.boolean(system, 1 if system.proving else None)
        system.constrain(gadgets.merkle_root(system, values[0], [turn], [values[1]]) - root)

    shown(name, circuit, [leaf, sibling])
    assert reason_of(shown, name, circuit, [leaf + 1, sibling]) is Reason.UNPROVEN
    assert reason_of(shown, name, circuit, [sibling, leaf]) is Reason.UNPROVEN


def test_both_backends_make_the_same_bytes() -> None:
    made = {proofs(name).prove(begun(), built(name, product, [6, 7, 42]), ENTROPY) for name in available()}
    assert len(made) == 1


@BACKENDS
def test_a_proof_of_one_statement_is_none_of_another(name: str) -> None:
    system = built(name, product, [6, 7, 42])
    proof = proofs(name).prove(begun(), system, ENTROPY)

    def other(system: ConstraintSystem, values: list[Linear]) -> None:
        system.constrain(system.multiply(values[1], values[0]) - values[2])

    def looser(system: ConstraintSystem, values: list[Linear]) -> None:
        product(system, values)
        system.constrain(linear(0))

    for circuit in (other, looser):
        wrong = claim(circuit, system.commitments, proof)
        assert reason_of(proofs(name).verify, wrong, ENTROPY) is Reason.UNPROVEN
    elsewhere = claim(product, system.commitments, proof, context=1)
    assert reason_of(proofs(name).verify, elsewhere, ENTROPY) is Reason.UNPROVEN
    swapped = claim(product, system.commitments[::-1], proof)
    assert reason_of(proofs(name).verify, swapped, ENTROPY) is Reason.UNPROVEN


@BACKENDS
def test_batches(name: str) -> None:
    circuits: list[tuple[Circuit, list[int]]] = [(product, [2, 3, 6]), (ranged(8), [200, 3]), (ranged(3), [7])]
    systems = [built(name, *circuit) for circuit in circuits]
    made = [proofs(name).prove(begun(), system, ENTROPY) for system in systems]

    def claims(made: list[bytes]) -> list[ConstraintClaim]:
        return [
            claim(circuit, system.commitments, proof)
            for (circuit, _), system, proof in zip(circuits, systems, made, strict=True)
        ]

    proofs(name).verify_batch(claims(made), ENTROPY)
    proofs(name).verify_batch((), ENTROPY)
    for place in range(len(made)):
        wrong = list(made)
        wrong[place] = made[place][:256] + bytes([made[place][256] ^ 1]) + made[place][257:]
        assert reason_of(proofs(name).verify_batch, claims(wrong), ENTROPY) in (Reason.UNPROVEN, Reason.BAD_SCALAR)


@BACKENDS
def test_sizes_are_counted_first(name: str) -> None:
    system = built(name, product, [6, 7, 42])
    proof = proofs(name).prove(begun(), system, ENTROPY)
    for wrong in (b"", proof[:-1], proof + bytes(1), proof + bytes(64)):
        assert reason_of(proofs(name).verify, claim(product, system.commitments, wrong), ENTROPY) is Reason.MALFORMED
    for at in range(0, len(proof), 32):
        no_point = proof[:at] + IDENTITY + proof[at + 32 :]
        assert reason_of(proofs(name).verify, claim(product, system.commitments, no_point), ENTROPY) in (
            Reason.BAD_POINT, Reason.UNPROVEN,
        )
        no_scalar = proof[:at] + b"\xff" * 32 + proof[at + 32 :]
        assert reason_of(proofs(name).verify, claim(product, system.commitments, no_scalar), ENTROPY) in (
            Reason.BAD_POINT, Reason.BAD_SCALAR,
        )


def test_what_is_too_much() -> None:
    system = ConstraintSystem(proving=False)
    for _ in range(MAX_MULTIPLIERS):
        system.allocate(None, None)
    assert reason_of(system.allocate, None, None) is Reason.PROGRAM_TOO_COSTLY
    for _ in range(MAX_COMMITTED):
        system.commit(IDENTITY)
    assert reason_of(system.commit, IDENTITY) is Reason.PROGRAM_TOO_COSTLY
    fresh = ConstraintSystem(proving=False)
    long = sum((fresh.commit(IDENTITY) for _ in range(MAX_COMMITTED)), linear(0))
    for _ in range(MAX_TERMS // MAX_COMMITTED):
        fresh.constrain(long)
    assert reason_of(fresh.constrain, long) is Reason.PROGRAM_TOO_COSTLY
    assert reason_of(proofs(available()[0], 2).proof_size, built(available()[0], ranged(8), [1])) is (
        Reason.PROGRAM_TOO_COSTLY
    )


def test_provers_and_verifiers_are_told_apart() -> None:
    prover, verifier = ConstraintSystem(proving=True), ConstraintSystem(proving=False)
    for call in (
        lambda: prover.commit(IDENTITY), lambda: verifier.commit(IDENTITY, Opening(1, 1)),
        lambda: prover.allocate(None, 1), lambda: verifier.allocate(1, 1),
        lambda: proofs(available()[0]).prove(begun(), verifier, ENTROPY),
    ):
        with pytest.raises(ValueError, match="prove"):
            call()


def test_an_opening_must_open() -> None:
    name = available()[0]
    system = ConstraintSystem(proving=True)
    system.commit(proofs(name).pedersen.commit(5, 6).encode(), Opening(5, 7))
    assert reason_of(proofs(name).prove, begun(), system, ENTROPY) is Reason.UNPROVEN
