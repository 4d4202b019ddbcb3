"""Sigma proofs: what is true is proven, what is not is refused by name."""


import pytest

from crypto import sigma
from crypto.errors import Reason
from crypto.group import available, load
from crypto.hashing import Label
from crypto.pedersen import Pedersen, pedersen
from crypto.ristretto import IDENTITY, ORDER, Group, hash_to_group
from crypto.sigma import Claim, Row, Statement, Term
from crypto.transcript import Transcript
from tests.crypto.refusals import reason_of

ENTROPY = b"e" * 32


@pytest.fixture(params=available())
def group(request: pytest.FixtureRequest) -> Group:
    return load(str(request.param))


def begun() -> Transcript:
    return Transcript(b"test", bytes(32))


def statements(group: Group) -> list[tuple[Statement, list[int]]]:
    """Return one statement of each form, with its witness."""
    other = hash_to_group(group, Label.TRANSCRIPT, b"other base")
    ours, theirs = pedersen(group), Pedersen(group, group.base, other)
    x = 2**200 + 9
    return [
        (sigma.schnorr(other, group.multiply(x, other)), [x]),
        (sigma.equal_logarithm(group.base, group.multiply(x, group.base), other, group.multiply(x, other)), [x]),
        (sigma.same_value((ours, ours.commit(5, 11)), (theirs, theirs.commit(5, 13))), [5, 11, 13]),
    ]


def test_true_statements(group: Group) -> None:
    claims = []
    for statement, witness in statements(group):
        proof = sigma.prove(group, begun(), statement, witness, ENTROPY)
        assert len(proof) == statement.proof_size
        sigma.verify(group, Claim(begun(), statement, proof))
        claims.append((statement, proof))
    sigma.verify_batch(group, [Claim(begun(), *claim) for claim in claims], ENTROPY)
    sigma.verify_batch(group, [], ENTROPY)


def test_both_backends_make_the_same_bytes() -> None:
    made = {
        b"".join(sigma.prove(load(name), begun(), *pair, ENTROPY) for pair in statements(load(name)))
        for name in available()
    }
    assert len(made) == 1


def test_wrong_witness_is_not_proven(group: Group) -> None:
    for statement, witness in statements(group):
        wrong = [witness[0] + 1, *witness[1:]]
        assert reason_of(sigma.prove, group, begun(), statement, wrong, ENTROPY) is Reason.UNPROVEN
        surplus = [*witness, 1]
        assert reason_of(sigma.prove, group, begun(), statement, surplus, ENTROPY) is Reason.UNPROVEN


def test_proof_is_bound_to_its_context(group: Group) -> None:
    for statement, witness in statements(group):
        proof = sigma.prove(group, begun(), statement, witness, ENTROPY)
        for elsewhere in (Transcript(b"test", b"\x01" * 32), Transcript(b"tess", bytes(32))):
            claim = Claim(elsewhere.fork(), statement, proof)
            assert reason_of(sigma.verify, group, claim) is Reason.UNPROVEN
            claim = Claim(elsewhere.fork(), statement, proof)
            assert reason_of(sigma.verify_batch, group, [claim], ENTROPY) is Reason.UNPROVEN


def test_one_false_proof_spoils_the_batch(group: Group) -> None:
    (first, x), (second, y), _ = statements(group)
    good = Claim(begun(), first, sigma.prove(group, begun(), first, x, ENTROPY))
    proof = sigma.prove(group, begun(), second, y, ENTROPY)
    false = Claim(begun(), second, proof[:-32] + (int.from_bytes(proof[-32:], "little") ^ 1).to_bytes(32, "little"))
    assert reason_of(sigma.verify_batch, group, [good, false], ENTROPY) is Reason.UNPROVEN


def test_errors_do_not_cancel_within_a_statement(group: Group) -> None:
    # Two rows that are each off by a point and its negative: a sum without weights would take them.
    x = 7
    image = group.multiply(x, group.base)
    off, back = group.add(image, group.base), group.subtract(image, group.base)
    terms = (Term(0, group.base),)
    true = Statement((Row(image, terms), Row(image, terms)))
    false = Statement((Row(off, terms), Row(back, terms)))
    proof = sigma.prove(group, begun(), true, [x], ENTROPY)
    assert reason_of(sigma.verify, group, Claim(begun(), false, proof)) is Reason.UNPROVEN
    assert reason_of(sigma.verify_batch, group, [Claim(begun(), false, proof)], ENTROPY) is Reason.UNPROVEN


def test_statements_use_what_they_number(group: Group) -> None:
    for rows in ((), (Row(group.base, ()),), (Row(group.base, (Term(1, group.base),)),)):
        with pytest.raises(ValueError):
            Statement(rows)


def test_form_is_checked(group: Group) -> None:
    statement, witness = statements(group)[0]
    proof = sigma.prove(group, begun(), statement, witness, ENTROPY)
    wrong = {
        b"": Reason.MALFORMED,
        proof[:-1]: Reason.MALFORMED,
        proof + bytes(32): Reason.MALFORMED,
        IDENTITY + proof[32:]: Reason.BAD_POINT,
        b"\xff" * 32 + proof[32:]: Reason.BAD_POINT,
        proof[:32] + ORDER.to_bytes(32, "little"): Reason.BAD_SCALAR,
    }
    for given, reason in wrong.items():
        assert reason_of(sigma.verify, group, Claim(begun(), statement, given)) is reason


def test_identity_in_the_statement(group: Group) -> None:
    nothing = group.decode(IDENTITY)
    for statement in (sigma.schnorr(nothing, nothing), sigma.schnorr(group.base, nothing)):
        assert reason_of(sigma.prove, group, begun(), statement, [0], ENTROPY) is Reason.BAD_POINT
        claim = Claim(begun(), statement, group.base.encode() + bytes(32))
        assert reason_of(sigma.verify, group, claim) is Reason.BAD_POINT


def test_pedersen(group: Group) -> None:
    bases = pedersen(group)
    commitment = bases.commit(9, 4)
    assert bases.opens(commitment.encode(), 9, 4)
    assert not bases.opens(commitment.encode(), 8, 4)
    assert not bases.opens(commitment.encode(), 9, 5)
    # 9 + 5 = 12 + a public fee of 2: what is left is a multiple of the blinding base alone.
    excess = bases.excess([commitment, bases.commit(5, 6)], [bases.commit(12, 3)], 2)
    assert excess.encode() == group.multiply(4 + 6 - 3, bases.blinding_base).encode()
    statement = sigma.schnorr(bases.blinding_base, excess)
    sigma.verify(group, Claim(begun(), statement, sigma.prove(group, begun(), statement, [7], ENTROPY)))
    inflated = bases.excess([commitment, bases.commit(5, 6)], [bases.commit(13, 3)], 2)
    lie = sigma.schnorr(bases.blinding_base, inflated)
    assert reason_of(sigma.prove, group, begun(), lie, [7], ENTROPY) is Reason.UNPROVEN
