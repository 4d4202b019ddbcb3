"""Proofs that somebody knows values for which a constraint system holds, without telling them.

A proof over n multipliers has 32 * (13 + 2 * log2(n)) bytes, n rounded up to a power of two. Source: Bünz et al.,
"Bulletproofs" (IEEE S&P 2018), section 5, with committed values as in the crate `bulletproofs`, whose notes on R1CS
proofs name each symbol used here; there is one phase, so a system never depends on a challenge.

    l(x) = (a_L + y^-n o wR) x + a_O x^2 + s_L x^3
    r(x) = wO - y^n + (y^n o a_R + wL) x + y^n o s_R x^3
    t(x) = <l(x), r(x)>; its x^2 says that all constraints, weighted with powers of z, hold

    proof = A_I A_O S T_1 T_3 T_4 T_5 T_6 t_x t_x_blinding e_blinding (L R)* a b

The transcript begins with what the proof is bound to; then come the commitments and a digest of the constraints,
before the first challenge. Sound while discrete logarithms are hard; a quantum computer learns nothing from a proof,
but could prove what is not so.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from crypto import innerproduct
from crypto.constraints import ConstraintSystem, Kind, Weighted
from crypto.equation import Bases, Equation, all_hold
from crypto.errors import Reason, Refused
from crypto.generators import chain
from crypto.innerproduct import InnerProof, pad
from crypto.pedersen import Pedersen, pedersen
from crypto.ristretto import (
    ENCODING_SIZE,
    ORDER,
    Group,
    Point,
    Vector,
    decode_nonzero,
    decode_scalar,
    encode_scalar,
)
from crypto.transcript import FiatShamir, append_integer, append_point, batch_weights, secret_scalars

_DOMAIN: Final = b"r1cs one phase v1"
_POWERS: Final = (1, 3, 4, 5, 6)
"""Of x in t(x) that have a commitment of their own; that of x^2 follows from the committed values."""
_FIRST: Final = 3  # points that the prover commits to before y and z
_POINTS: Final = _FIRST + len(_POWERS)
_HEAD: Final = _POINTS + 3  # points and scalars before the inner product proof
_BLINDINGS: Final = _FIRST + len(_POWERS)


class ConstraintClaim(NamedTuple):
    """A proof to verify: a new transcript, begun with what the proof is bound to, a verifier's system, the proof."""

    transcript: FiatShamir
    system: ConstraintSystem
    proof: bytes


class _Opened(NamedTuple):
    """A decoded proof with its challenges. Points: A_I, A_O, S, the T and the commitments."""

    points: list[Point]
    scalars: list[int]
    weighted: Weighted
    y: int
    x: int
    w: int
    inner: InnerProof


class ConstraintProofs:
    """Makes and verifies proofs of constraint systems with one backend.

    Attributes:
        pedersen: the generators of the commitments.
    """

    def __init__(self, group: Group, most: int) -> None:
        """Derive the generators.

        Args:
            group: the backend.
            most: multipliers in a system at most, a power of two.
        """
        if most < 1 or most & (most - 1):
            raise ValueError(f"{most} multipliers are no power of two")
        self._group, self._most = group, most
        self.pedersen: Final[Pedersen] = pedersen(group)
        self._left = chain(group, b"G", 0, most)
        self._right = chain(group, b"H", 0, most)

    def proof_size(self, system: ConstraintSystem) -> int:
        """Return the bytes of a proof of a system.

        Raises:
            Refused: PROGRAM_TOO_COSTLY if it has more multipliers than there are generators.
        """
        if system.multipliers > self._most:
            raise Refused(Reason.PROGRAM_TOO_COSTLY, f"{system.multipliers} multipliers; at most {self._most}")
        return ENCODING_SIZE * (_HEAD + innerproduct.elements(_padded(system)))

    def prove(self, transcript: FiatShamir, system: ConstraintSystem, entropy: bytes) -> bytes:
        """Return a proof of a prover's system. Not hardened against who measures time or power.

        Args:
            transcript: a new one, begun with what the proof is bound to.
            system: with the values of all variables.
            entropy: 32 fresh random bytes.

        Raises:
            Refused: UNPROVEN if a constraint does not hold, or an opening does not open its commitment;
                PROGRAM_TOO_COSTLY.
        """
        self.proof_size(system)
        if not system.proving:
            raise ValueError("a verifier's system has no values to prove")
        failing = system.failing()
        if failing is not None:
            raise Refused(Reason.UNPROVEN, f"constraint {failing} does not hold for these values")
        for commitment, opening in zip(system.commitments, system.openings, strict=True):
            if not self.pedersen.opens(commitment, *opening):
                raise Refused(Reason.UNPROVEN, "an opening does not open its commitment")
        _begin(transcript, system)
        return self._prove(transcript, system, entropy)

    def verify(self, claim: ConstraintClaim, entropy: bytes) -> None:
        """Verify one proof; `entropy` as in `verify_batch`.

        Raises:
            Refused: PROGRAM_TOO_COSTLY, MALFORMED, BAD_POINT, BAD_SCALAR; UNPROVEN if it does not hold.
        """
        self.verify_batch((claim,), entropy)

    def verify_batch(self, claims: Sequence[ConstraintClaim], entropy: bytes) -> None:
        """Verify proofs of any systems as one sum with random weights; all share the generators' part of the work.

        Args:
            claims: each with its own transcript.
            entropy: 32 random bytes that nobody knew when the proofs were made.

        Raises:
            Refused: as `verify`. UNPROVEN says that at least one does not hold, not which.
        """
        for claim in claims:
            size = self.proof_size(claim.system)
            if len(claim.proof) != size:
                raise Refused(Reason.MALFORMED, f"a proof of this system has {size} bytes, not {len(claim.proof)}")
        opened = [self._open(claim) for claim in claims]
        # Two weights a proof: one joins its two equations, the other weighs it among the proofs.
        weights = batch_weights([claim.transcript for claim in claims], entropy, 2 * len(claims))
        equations = [self._equation(proof, weight) for proof, weight in zip(opened, weights[::2], strict=True)]
        if not all_hold(Bases(self.pedersen, self._left, self._right), equations, weights[1::2]):
            raise Refused(Reason.UNPROVEN, "a proof of a constraint system does not hold")

    def _prove(self, transcript: FiatShamir, system: ConstraintSystem, entropy: bytes) -> bytes:
        group, count, size = self._group, system.multipliers, _padded(system)
        a_left, a_right, a_product = (
            group.vector(system.assignment(kind)) for kind in (Kind.LEFT, Kind.RIGHT, Kind.PRODUCT)
        )
        witness = [number for opening in system.openings for number in opening]
        witness += a_left.integers() + a_right.integers()
        secrets = secret_scalars(transcript, witness, entropy, _BLINDINGS + 2 * count)
        alpha, beta, rho = secrets[:_FIRST]
        s_left, s_right = (group.vector(secrets[at : at + count]) for at in (_BLINDINGS, _BLINDINGS + count))
        commit = self._commit
        first = commit(alpha, a_left, a_right), commit(beta, a_product), commit(rho, s_left, s_right)
        y, z = _challenge_constraints(transcript, first)

        a_left, a_right, a_product, s_left, s_right = (
            pad(group, vector, size) for vector in (a_left, a_right, a_product, s_left, s_right)
        )
        weighted = system.weighted(z)
        w_left, w_right, w_product = _columns(group, weighted, size)
        y_powers, y_inverses = group.powers(y, size), group.powers(pow(y, -1, ORDER), size)
        l_1, l_2, l_3 = a_left + y_inverses * w_right, a_product, s_left
        r_0, r_1, r_3 = w_product + y_powers.scale(-1), y_powers * a_right + w_left, y_powers * s_right
        t = {
            1: l_1.inner(r_0), 2: l_1.inner(r_1) + l_2.inner(r_0), 3: l_2.inner(r_1) + l_3.inner(r_0),
            4: l_1.inner(r_3) + l_3.inner(r_1), 5: l_2.inner(r_3), 6: l_3.inner(r_3),
        }
        blindings = dict(zip(_POWERS, secrets[_FIRST:_BLINDINGS], strict=True))
        t_points = [self.pedersen.commit(t[power], blindings[power]).encode() for power in _POWERS]
        x = _challenge_polynomial(transcript, t_points)

        blindings[2] = sum(
            weight * opening.blinding for weight, opening in zip(weighted.committed, system.openings, strict=True)
        )
        l_x = l_1.scale(x) + l_2.scale(pow(x, 2, ORDER)) + l_3.scale(pow(x, 3, ORDER))
        r_x = r_0 + r_1.scale(x) + r_3.scale(pow(x, 3, ORDER))
        answers = [
            encode_scalar(sum(t[power] * pow(x, power, ORDER) for power in t)),
            encode_scalar(sum(blindings[power] * pow(x, power, ORDER) for power in blindings)),
            encode_scalar(alpha * x + beta * x * x + rho * pow(x, 3, ORDER)),
        ]
        w = _challenge_product(transcript, answers)
        bases = self._left[:size], self._right[:size], group.multiply(w, self.pedersen.value_base)
        inner = innerproduct.prove(group, transcript, bases, pow(y, -1, ORDER), (l_x, r_x))
        return b"".join([*first, *t_points, *answers, inner])

    def _commit(self, blinding: int, left: Vector, right: Vector | None = None) -> bytes:
        """Return an encoded commitment to one vector, or to two."""
        scalars = self._group.vector([blinding]).join(left)
        points = [self.pedersen.blinding_base, *self._left[: len(left)]]
        if right is not None:
            scalars, points = scalars.join(right), points + self._right[: len(right)]
        return self._group.multiscalar(scalars, points).encode()

    def _open(self, claim: ConstraintClaim) -> _Opened:
        """Decode a proof and draw its challenges; afterwards the transcript holds all of it."""
        transcript, system, proof = claim
        parts = [proof[at : at + ENCODING_SIZE] for at in range(0, len(proof), ENCODING_SIZE)]
        scalars = [decode_scalar(part) for part in parts[_POINTS:_HEAD]]
        points = [decode_nonzero(self._group, part) for part in (*parts[:_POINTS], *system.commitments)]
        _begin(transcript, system)
        y, z = _challenge_constraints(transcript, parts[:_FIRST])
        x = _challenge_polynomial(transcript, parts[_FIRST:_POINTS])
        w = _challenge_product(transcript, parts[_POINTS:_HEAD])
        inner = innerproduct.decode(self._group, transcript, parts[_HEAD:])
        if not y or not z or not x:
            raise Refused(Reason.UNPROVEN, "a challenge of the proof is zero")
        return _Opened(points, scalars, system.weighted(z), y, x, w, inner)

    def _equation(self, proof: _Opened, weight: int) -> Equation:
        """Return the two equations of a proof, the one on t(x) times `weight`, as one sum."""
        group, inner, x, weighted = self._group, proof.inner, proof.x, proof.weighted
        t_x, t_x_blinding, e_blinding = proof.scalars
        s = innerproduct.fold_scalars(group, inner)
        w_left, w_right, w_product = _columns(group, weighted, len(s))
        y_inverses = group.powers(pow(proof.y, -1, ORDER), len(s))
        w_right = y_inverses * w_right
        left = w_right.scale(x) + s.scale(-inner.a)
        right = (y_inverses * (w_left.scale(x) + w_product + s.reverse().scale(-inner.b))).shift(-1)
        x2 = x * x % ORDER
        value = proof.w * (t_x - inner.a * inner.b) + weight * (x2 * (weighted.constant + w_right.inner(w_left)) - t_x)
        scalars = [x, x2, x * x2, *(weight * pow(x, power, ORDER) for power in _POWERS)]
        scalars += [weight * x2 * factor for factor in weighted.committed]
        scalars += inner.left_scalars + inner.right_scalars
        points = proof.points + inner.left_points + inner.right_points
        return Equation(value, -e_blinding - weight * t_x_blinding, left, right, scalars, points)


def _padded(system: ConstraintSystem) -> int:
    """Return the length of the vectors: the number of multipliers, rounded up to a power of two."""
    return 1 << max(system.multipliers - 1, 0).bit_length()


def _columns(group: Group, weighted: Weighted, size: int) -> tuple[Vector, Vector, Vector]:
    left, right, product = (group.vector(column) for column in weighted[:3])
    return pad(group, left, size), pad(group, right, size), pad(group, product, size)


def _begin(transcript: FiatShamir, system: ConstraintSystem) -> None:
    """Write the whole statement."""
    transcript.append(b"dom-sep", _DOMAIN)
    append_integer(transcript, b"m", len(system.commitments))
    for commitment in system.commitments:
        append_point(transcript, b"V", commitment)
    transcript.append(b"constraints", system.digest())


def _challenge_constraints(transcript: FiatShamir, points: Sequence[bytes]) -> tuple[int, int]:
    for label, point in zip((b"A_I", b"A_O", b"S"), points, strict=True):
        append_point(transcript, label, point)
    return transcript.challenge(b"y"), transcript.challenge(b"z")


def _challenge_polynomial(transcript: FiatShamir, points: Sequence[bytes]) -> int:
    for power, point in zip(_POWERS, points, strict=True):
        append_point(transcript, b"T_%d" % power, point)
    return transcript.challenge(b"x")


def _challenge_product(transcript: FiatShamir, answers: Sequence[bytes]) -> int:
    for label, answer in zip((b"t_x", b"t_x_blinding", b"e_blinding"), answers, strict=True):
        transcript.append(label, answer)
    return transcript.challenge(b"w")
