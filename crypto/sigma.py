"""Sigma proofs that one knows scalars w with  Y_i = sum of w_j * M_ij  for public points Y and M.

Knowledge of a logarithm (Schnorr), two points with one logarithm (DLEQ) and two commitments to one value are such
statements; `schnorr`, `equal_logarithm` and `same_value` write them down. Source: Maurer, "Unifying Zero-Knowledge
Proofs of Knowledge" (AFRICACRYPT 2009), sections 4 to 6; made non-interactive with the whole statement hashed.

    proof = R_1 ... R_rows || s_1 ... s_scalars       (32 bytes each)
    R_i = sum of k_j * M_ij,  s_j = k_j + c * w_j     for random k_j and the challenge c
    it holds if  sum of s_j * M_ij = R_i + c * Y_i    for every i

Bases, Y and R are never the identity. What is proven is sound while discrete logarithms are hard: not against a
quantum computer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from crypto.errors import Reason, Refused
from crypto.pedersen import Pedersen
from crypto.ristretto import (
    ENCODING_SIZE,
    Group,
    Point,
    decode_nonzero,
    decode_scalar,
    encode_scalar,
    is_identity,
)
from crypto.transcript import FiatShamir, append_integer, append_point, batch_weights, secret_scalars

_DOMAIN: Final = b"linear sigma v1"


class Term(NamedTuple):
    """One product in a row: the `secret`-th scalar times `base`."""

    secret: int
    base: Point


class Row(NamedTuple):
    """One equation: `image` is the sum of the terms."""

    image: Point
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """What is proven: scalars, numbered from 0 and each used, for which every row holds."""

    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        # An answer that no row binds could be any: two proofs of one thing. An empty statement would prove itself.
        used = {term.secret for row in self.rows for term in row.terms}
        if not used or used != set(range(len(used))) or not all(row.terms for row in self.rows):
            raise ValueError("a statement has rows with terms, and uses each of its secrets")

    @property
    def secrets(self) -> int:
        """How many scalars there are."""
        return 1 + max(term.secret for row in self.rows for term in row.terms)

    @property
    def proof_size(self) -> int:
        """Bytes of a proof of it."""
        return ENCODING_SIZE * (len(self.rows) + self.secrets)


class Claim(NamedTuple):
    """A proof to verify, with a new transcript for it."""

    transcript: FiatShamir
    statement: Statement
    proof: bytes


def schnorr(base: Point, image: Point) -> Statement:
    """State: I know w with image = w * base."""
    return Statement((Row(image, (Term(0, base),)),))


def equal_logarithm(base: Point, image: Point, other_base: Point, other_image: Point) -> Statement:
    """State: I know one w with image = w * base and other_image = w * other_base (DLEQ)."""
    return Statement((Row(image, (Term(0, base),)), Row(other_image, (Term(0, other_base),))))


def same_value(first: tuple[Pedersen, Point], second: tuple[Pedersen, Point]) -> Statement:
    """State: I know v, r, s so that `first` commits to v with r and `second` to v with s.

    Args:
        first: generators and the commitment made with them.
        second: the same; the generators may be others.
    """
    return Statement(tuple(
        Row(commitment, (Term(0, bases.value_base), Term(1 + place, bases.blinding_base)))
        for place, (bases, commitment) in enumerate((first, second))
    ))


def prove(
    group: Group, transcript: FiatShamir, statement: Statement, witness: Sequence[int], entropy: bytes
) -> bytes:
    """Return a proof.

    Args:
        group: the backend that made the statement's points.
        transcript: a new one, begun with what the proof is bound to.
        statement: what to prove.
        witness: its scalars.
        entropy: 32 fresh random bytes.

    Raises:
        Refused: UNPROVEN if the witness does not fit the statement; BAD_POINT if an identity is in it.
    """
    check_witness(group, statement, witness)
    _absorb(transcript, statement)
    nonces = secret_scalars(transcript, witness, entropy, statement.secrets)
    announced = [_evaluate(group, row, nonces).encode() for row in statement.rows]
    challenge = _challenge(transcript, announced)
    answers = [encode_scalar(nonce + challenge * secret) for nonce, secret in zip(nonces, witness, strict=True)]
    return b"".join(announced + answers)


def check_witness(group: Group, statement: Statement, witness: Sequence[int]) -> None:
    """Check that every row of a statement holds for these scalars.

    Raises:
        Refused: UNPROVEN.
    """
    if len(witness) != statement.secrets:
        raise Refused(Reason.UNPROVEN, f"the statement has {statement.secrets} secrets, not {len(witness)}")
    for row in statement.rows:
        if _evaluate(group, row, witness).encode() != row.image.encode():
            raise Refused(Reason.UNPROVEN, "the witness does not fit the statement")


def verify(group: Group, claim: Claim) -> None:
    """Verify one proof.

    Raises:
        Refused: MALFORMED for a wrong length, BAD_POINT, BAD_SCALAR; UNPROVEN if it does not hold.
    """
    for scalars, points in _equations(group, claim):
        if not is_identity(group.multiscalar(group.vector(scalars), points)):
            raise Refused(Reason.UNPROVEN, "the sigma proof does not hold")


def verify_batch(group: Group, claims: Sequence[Claim], entropy: bytes) -> None:
    """Verify many proofs at once, as one product with random weights.

    Args:
        group: the backend that made the statements' points.
        claims: each with its own transcript.
        entropy: 32 random bytes that nobody knew when the proofs were made.

    Raises:
        Refused: as `verify`. UNPROVEN says that at least one does not hold, not which.
    """
    equations = [equation for claim in claims for equation in _equations(group, claim)]
    weights = batch_weights([claim.transcript for claim in claims], entropy, len(equations))
    scalars: list[int] = []
    points: list[Point] = []
    for weight, (own_scalars, own_points) in zip(weights, equations, strict=True):
        scalars += [weight * scalar for scalar in own_scalars]
        points += own_points
    if not is_identity(group.multiscalar(group.vector(scalars), points)):
        raise Refused(Reason.UNPROVEN, "a sigma proof of the batch does not hold")


def _equations(group: Group, claim: Claim) -> list[tuple[list[int], list[Point]]]:
    """Return, for each row, scalars and points whose products add up to the identity if the row holds."""
    transcript, statement, proof = claim
    if len(proof) != statement.proof_size:
        raise Refused(Reason.MALFORMED, f"a proof of this statement has {statement.proof_size} bytes")
    parts = [proof[at : at + ENCODING_SIZE] for at in range(0, len(proof), ENCODING_SIZE)]
    split = len(statement.rows)
    announced, answers = parts[:split], [decode_scalar(part) for part in parts[split:]]
    _absorb(transcript, statement)
    points = [decode_nonzero(group, encoding) for encoding in announced]
    challenge = _challenge(transcript, announced)
    for answer in parts[split:]:
        transcript.append(b"answer", answer)
    return [
        (
            [*(answers[term.secret] for term in row.terms), -1, -challenge],
            [*(term.base for term in row.terms), point, row.image],
        )
        for row, point in zip(statement.rows, points, strict=True)
    ]


def _absorb(transcript: FiatShamir, statement: Statement) -> None:
    """Write the whole statement: its shape, then every point."""
    transcript.append(b"dom-sep", _DOMAIN)
    append_integer(transcript, b"rows", len(statement.rows))
    append_integer(transcript, b"secrets", statement.secrets)
    for row in statement.rows:
        append_point(transcript, b"image", row.image.encode())
        append_integer(transcript, b"terms", len(row.terms))
        for term in row.terms:
            append_integer(transcript, b"secret", term.secret)
            append_point(transcript, b"base", term.base.encode())


def _challenge(transcript: FiatShamir, announced: Sequence[bytes]) -> int:
    for encoding in announced:
        append_point(transcript, b"R", encoding)
    return transcript.challenge(b"c")


def _evaluate(group: Group, row: Row, secrets: Sequence[int]) -> Point:
    """Return the sum of a row's terms, in constant time a term: the scalars are secret."""
    products = [group.multiply(secrets[term.secret], term.base) for term in row.terms]
    total = products[0]
    for product in products[1:]:
        total = group.add(total, product)
    return total
