"""Proofs that were changed, and statements that were: none is accepted.

Nine in ten mutants are points and scalars in their proper form, so that they get as far as the equations. NEXUS_MUTANTS
says how many of each kind of proof; `NEXUS_MUTANTS=10000 pytest tests/crypto/test_mutants.py` is the long run.
"""

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import pytest

from crypto import elgamal, ring, sigma
from crypto.confidential import Balance, Claim, ConfidentialProofs
from crypto.confidential import Opening as Amount
from crypto.constraints import ConstraintSystem, Linear, Opening
from crypto.elgamal import Account, new_account
from crypto.errors import Reason, Refused
from crypto.gadgets import in_range
from crypto.group import available, load
from crypto.hashing import Label
from crypto.pedersen import Pedersen, pedersen
from crypto.quisquis import Payment, PaymentClaim, PaymentProof, Quisquis
from crypto.r1cs import ConstraintClaim, ConstraintProofs
from crypto.rangeproof import RangeClaim, RangeProofs
from crypto.ring import Ring, RingClaim, Spend
from crypto.ringpay import RingMade, RingPaymentClaim, RingPayments, RingSpend
from crypto.ristretto import Group, Point, decode_nonzero, decode_scalar, encode_scalar, hash_to_group
from crypto.shuffle import Moves, ShuffleClaim, Shuffles, shuffled
from crypto.transcript import Transcript

MUTANTS = int(os.environ.get("NEXUS_MUTANTS", "200"))
ENTROPY = b"e" * 32


@dataclass(frozen=True)
class Specimen:
    """A proof taken apart, and what it is said to prove."""

    statement: tuple[bytes, ...]
    points: tuple[bytes, ...]
    scalars: tuple[bytes, ...]
    context: bytes = bytes(32)


PARTS = (
    Reason.BAD_EXCESS, Reason.BAD_RANGE_PROOF, Reason.BAD_RING_SIGNATURE, Reason.BAD_SHUFFLE, Reason.BAD_MOVEMENT,
)  # fmt: skip
Verify = Callable[[Specimen], None]
Shape = Callable[[Group, list[Point]], sigma.Statement]


def pieces(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[at : at + 32] for at in range(0, len(data), 32))


def split(parts: tuple[bytes, ...], *counts: int) -> list[tuple[bytes, ...]]:
    left = iter(parts)
    return [tuple(islice(left, count)) for count in counts]


def under_one_name(verify: Callable[[], None]) -> None:
    """Let any part of a payment that is not proven be UNPROVEN."""
    try:
        verify()
    except Refused as refused:
        if refused.reason in PARTS:
            raise Refused(Reason.UNPROVEN, refused.detail) from None
        raise


def range_proof(group: Group) -> tuple[Specimen, Verify]:
    system = RangeProofs(group, 8, 2)
    made = system.prove(Transcript(b"test", bytes(32)), [200, 3], [5, 6], ENTROPY)
    parts = pieces(made.proof)

    def verify(given: Specimen) -> None:
        parts = (*given.points[:4], *given.scalars[:3], *given.points[4:], *given.scalars[3:])
        claim = RangeClaim(Transcript(b"test", given.context), given.statement, b"".join(parts))
        system.verify(claim, ENTROPY)

    return Specimen(made.commitments, parts[:4] + parts[7:-2], parts[4:7] + parts[-2:]), verify


def constraint_proof(group: Group) -> tuple[Specimen, Verify]:
    """The second committed value is the square of the first, and below 2^4."""

    def circuit(system: ConstraintSystem, values: list[Linear]) -> None:
        system.constrain(system.multiply(values[0], values[0]) - values[1])
        in_range(system, values[1], 4)

    proofs, prover = ConstraintProofs(group, 8), ConstraintSystem(proving=True)
    openings = [Opening(3, 5), Opening(9, 6)]
    commitments = tuple(proofs.pedersen.commit(*opening).encode() for opening in openings)
    circuit(prover, [prover.commit(*pair) for pair in zip(commitments, openings, strict=True)])
    parts = pieces(proofs.prove(Transcript(b"test", bytes(32)), prover, ENTROPY))

    def verify(given: Specimen) -> None:
        parts = (*given.points[:8], *given.scalars[:3], *given.points[8:], *given.scalars[3:])
        system = ConstraintSystem(proving=False)
        circuit(system, [system.commit(commitment) for commitment in given.statement])
        proofs.verify(ConstraintClaim(Transcript(b"test", given.context), system, b"".join(parts)), ENTROPY)

    return Specimen(commitments, parts[:8] + parts[11:-2], parts[8:11] + parts[-2:]), verify


def sigma_proof(group: Group, shape: Shape, points: list[Point], witness: list[int]) -> tuple[Specimen, Verify]:
    statement = shape(group, points)
    parts = pieces(sigma.prove(group, Transcript(b"test", bytes(32)), statement, witness, ENTROPY))

    def verify(given: Specimen) -> None:
        stated = shape(group, [decode_nonzero(group, encoding) for encoding in given.statement])
        proof = b"".join((*given.points, *given.scalars))
        sigma.verify(group, sigma.Claim(Transcript(b"test", given.context), stated, proof))

    rows = len(statement.rows)
    return Specimen(tuple(point.encode() for point in points), parts[:rows], parts[rows:]), verify


def schnorr(group: Group) -> tuple[Specimen, Verify]:
    points = [group.base, group.multiply(77, group.base)]
    return sigma_proof(group, lambda _, given: sigma.schnorr(given[0], given[1]), points, [77])


def equal_logarithm(group: Group) -> tuple[Specimen, Verify]:
    other = hash_to_group(group, Label.TRANSCRIPT, b"other base")
    points = [group.base, group.multiply(77, group.base), other, group.multiply(77, other)]
    return sigma_proof(group, lambda _, given: sigma.equal_logarithm(*given), points, [77])


def same_value(group: Group) -> tuple[Specimen, Verify]:
    ours, other = pedersen(group), hash_to_group(group, Label.TRANSCRIPT, b"other base")
    theirs = Pedersen(group, group.base, other)
    points = [ours.value_base, ours.blinding_base, ours.commit(9, 5), group.base, other, theirs.commit(9, 6)]

    def shape(group: Group, given: list[Point]) -> sigma.Statement:
        first, second = Pedersen(group, given[0], given[1]), Pedersen(group, given[3], given[4])
        return sigma.same_value((first, given[2]), (second, given[5]))

    return sigma_proof(group, shape, points, [9, 5, 6])


def decryption(group: Group) -> tuple[Specimen, Verify]:
    account = new_account(group, 77, 5, 9, 2**200)
    return sigma_proof(
        group, lambda group, given: elgamal.decryption(group, Account(*given), 9), list(account), [77]
    )


def account_update(group: Group) -> tuple[Specimen, Verify]:
    before = new_account(group, 77, 5, 9, 2**200)
    points = [*before, *elgamal.update(group, before, 2**201, 2**202)]

    def shape(group: Group, given: list[Point]) -> sigma.Statement:
        return elgamal.updated(group, Account(*given[:4]), Account(*given[4:]))

    return sigma_proof(group, shape, points, [2**201, 2**202])


def account_shuffle(group: Group) -> tuple[Specimen, Verify]:
    """Three accounts; the statement is the points of all, inputs first."""
    system, moves = Shuffles(group, 3), Moves([2, 0, 1], [5, 6, 2**201], [2**202, 2**203, 2**204])
    inputs = [new_account(group, 2**200 + n, 2**199 + 3 * n, n, 2**198 + n) for n in range(3)]
    outputs = shuffled(group, inputs, moves)
    proof = pieces(system.prove(Transcript(b"test", bytes(32)), inputs, outputs, moves, ENTROPY))

    def verify(given: Specimen) -> None:
        accounts = [b"".join(given.statement[at : at + 4]) for at in range(0, len(given.statement), 4)]
        whole = b"".join((*given.points, *given.scalars))
        claim = ShuffleClaim(Transcript(b"test", given.context), accounts[:3], accounts[3:], whole)
        system.verify(claim, ENTROPY)

    return Specimen(pieces(b"".join(one.encode() for one in (*inputs, *outputs))), proof[:20], proof[20:]), verify


def account_payment(group: Group) -> tuple[Specimen, Verify]:
    """Nine accounts and a new one; the statement is the points of all, inputs first."""
    system, keys = Quisquis(group), [2**200 + n for n in range(10)]
    accounts = [new_account(group, key, 2**199 + 3 * place, 20, 2**198 + place) for place, key in enumerate(keys[:9])]
    inputs = (*(one.encode() for one in accounts), system.account(system.key(keys[9], 2**197), 0))
    drawn = system.arrange(inputs, Payment(3, keys[3], 20, 9, 12, 1), ENTROPY)
    mixed, moved, first, second, amounts, movement, ranges = map(pieces, system.prove(bytes(32), drawn, ENTROPY))

    def verify(given: Specimen) -> None:
        mixed, moved, first, second, amounts, movement, head, tail = split(given.points, 40, 4, 20, 20, 2, 8, 4, 14)
        one, two, answers, middle, end = split(given.scalars, 76, 76, 7, 3, 2)
        parts = (mixed, moved, first + one, second + two, amounts, movement + answers, head + middle + tail + end)
        sides = [b"".join(given.statement[at : at + 4]) for at in range(0, len(given.statement), 4)]
        whole = PaymentProof(*(b"".join(part) for part in parts))
        claim = PaymentClaim(given.context, tuple(sides[:10]), tuple(sides[10:]), 1, whole)
        under_one_name(partial(system.verify, claim, ENTROPY))

    points = mixed + moved + first[:20] + second[:20] + amounts + movement[:8] + ranges[:4] + ranges[7:-2]
    scalars = first[20:] + second[20:] + movement[8:] + ranges[4:7] + ranges[-2:]
    return Specimen(pieces(b"".join((*inputs, *drawn.outputs))), points, scalars), verify


def ring_signature(group: Group) -> tuple[Specimen, Verify]:
    """The second of three coins; the statement is their keys, their commitments, the new one, the key image."""
    bases, secrets = pedersen(group), [2**200 + n for n in range(3)]
    keys = tuple(ring.public_key(group, secret) for secret in secrets)
    commitments = tuple(bases.commit(n, 2**201 + n).encode() for n in range(3))
    coins = Ring(keys, commitments, bases.commit(1, 5).encode(), ring.key_image(group, secrets[1]))
    spend = Spend(1, secrets[1], 2**201 + 1 - 5)
    parts = pieces(ring.sign(group, Transcript(b"test", bytes(32)), coins, spend, ENTROPY))

    def verify(given: Specimen) -> None:
        stated = Ring(given.statement[:3], given.statement[3:6], *given.statement[6:])
        signature = b"".join((*given.points, *given.scalars))
        ring.verify(group, RingClaim(Transcript(b"test", given.context), stated, signature))

    return Specimen((*keys, *commitments, coins.commitment, coins.image), parts[:1], parts[1:]), verify


def ring_payment(group: Group) -> tuple[Specimen, Verify]:
    """One coin of three spent for a hidden one and 5 in clear; the statement ends with image and new commitment."""
    system = RingPayments(group, ConfidentialProofs(group))
    secrets, openings = [2**200 + n for n in range(3)], [Amount(100 + n, 2**201 + n) for n in range(3)]
    keys = tuple(system.spend_key(secret) for secret in secrets)
    coins = Ring(
        keys, tuple(map(system.commit, openings)), system.commit(Amount(101, 7)), system.image(secrets[1])
    )
    spend = RingSpend(b"", coins, 1, secrets[1], openings[1], 7)
    made = RingMade(b"", Amount(96, 9))
    proof = system.prove(bytes(32), [spend], [made], {b"": 5}, ENTROPY)
    signature, ranges, excess = pieces(proof.signatures[0]), pieces(proof.ranges), pieces(proof.excesses[0])
    points = (signature[0], excess[0], *ranges[:4], *ranges[7:-2])
    scalars = (*signature[1:], excess[1], *ranges[4:7], *ranges[-2:])

    def verify(given: Specimen) -> None:
        stated = Ring(given.statement[:3], given.statement[3:6], *given.statement[6:8])
        new, many = given.statement[8:], len(signature) - 1
        shown = b"".join((*given.points[2:6], *given.scalars[many + 1 : many + 4], *given.points[6:],
                          *given.scalars[many + 4 :]))
        balance = Balance(b"", (stated.commitment,), new, 5)
        amounts = Claim(given.context, new, shown, (balance,), (given.points[1] + given.scalars[many],))
        claim = RingPaymentClaim((stated,), (b"".join((given.points[0], *given.scalars[:many])),), amounts)
        under_one_name(partial(system.verify, claim, ENTROPY))

    statement = (*keys, *coins.commitments, coins.commitment, coins.image, system.commit(made.opening))
    return Specimen(statement, points, scalars), verify


CHANGES = ("points", "point", "scalars", "scalar", "statement", "stated", "context", "swap", "mixed", "bit")
"""All but the last keep the proper form."""
KINDS = (
    range_proof, constraint_proof, schnorr, equal_logarithm, same_value,
    decryption, account_update, account_shuffle, account_payment, ring_signature, ring_payment,
)  # fmt: skip


def changed(parts: tuple[bytes, ...], at: int, value: bytes) -> tuple[bytes, ...]:
    return (*parts[:at], value, *parts[at + 1 :])


def exchanged(parts: tuple[bytes, ...], dice: random.Random) -> tuple[bytes, ...]:
    first, second = dice.sample(range(len(parts)), 2)
    return changed(changed(parts, first, parts[second]), second, parts[first])


def nudged(group: Group, parts: tuple[bytes, ...], dice: random.Random) -> tuple[bytes, ...]:
    at = dice.randrange(len(parts))
    point = group.add(group.decode(parts[at]), group.multiply(dice.randrange(1, 2**64), group.base))
    return changed(parts, at, point.encode())


def flipped(part: bytes, dice: random.Random) -> bytes:
    return (int.from_bytes(part, "little") ^ 1 << dice.randrange(256)).to_bytes(32, "little")


def mutate(group: Group, true: Specimen, dice: random.Random) -> tuple[str, Specimen]:
    """Return what was done, and a specimen that differs from the true one."""
    change = dice.choice(CHANGES)
    mutant = true
    if change in ("points", "mixed") and len(true.points) > 1:
        mutant = replace(mutant, points=exchanged(true.points, dice))
    elif change in ("point", "points"):
        mutant = replace(mutant, points=nudged(group, true.points, dice))
    if change == "scalars" and len(true.scalars) > 1:
        mutant = replace(mutant, scalars=exchanged(true.scalars, dice))
    elif change in ("scalar", "scalars", "mixed"):
        at = dice.randrange(len(true.scalars))
        shifted = encode_scalar(decode_scalar(true.scalars[at]) + dice.choice((-1, 1, dice.randrange(1, 2**252))))
        mutant = replace(mutant, scalars=changed(true.scalars, at, shifted))
    if change == "statement":
        mutant = replace(mutant, statement=exchanged(true.statement, dice))
    elif change == "stated":
        mutant = replace(mutant, statement=nudged(group, true.statement, dice))
    elif change == "swap":
        at, of = dice.randrange(len(true.points)), dice.randrange(len(true.statement))
        mutant = replace(mutant, points=changed(true.points, at, true.statement[of]))
    elif change == "context":
        mutant = replace(mutant, context=flipped(true.context, dice))
    elif change == "bit":
        at = dice.randrange(len(true.points))
        mutant = replace(mutant, points=changed(true.points, at, flipped(true.points[at], dice)))
    return change, mutant


@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_no_mutant_is_accepted(
    name: str, kind: Callable[[Group], tuple[Specimen, Verify]], tell: Callable[[str, int], None]
) -> None:
    group, dice = load(name), random.Random(f"{name} {kind.__name__}")
    true, verify = kind(group)
    verify(true)
    made: Counter[str] = Counter()
    refused: Counter[Reason] = Counter()
    while made.total() < MUTANTS:
        change, mutant = mutate(group, true, dice)
        if mutant == true:  # the two exchanged were equal
            continue
        with pytest.raises(Refused) as caught:
            verify(mutant)
        made[change] += 1
        refused[caught.value.reason] += 1
    assert set(refused) <= {Reason.UNPROVEN, Reason.BAD_POINT, Reason.BAD_SCALAR}
    assert refused[Reason.UNPROVEN] >= 0.85 * made.total()
    well_formed = refused[Reason.UNPROVEN]
    tell(f"mutants of {kind.__name__} on {name}: {well_formed} well-formed; {dict(sorted(made.items()))}", made.total())
