"""Bulletproofs: commitments hold values of 0 .. 2^bits - 1, shown without telling the values.

Aggregated over m commitments (a power of two) in 32 * (9 + 2 * log2(bits * m)) bytes. Generators, order of the
transcript and proof bytes are those of the crate `bulletproofs` (its notes on the range proof name each symbol used
here), so a proof over a `crypto.merlin.Merlin` is one of theirs, and the other way round.

Source: Bünz, Bootle, Boneh, Poelstra, Wuille, Maxwell, "Bulletproofs", IEEE S&P 2018: sections 4.1 and 4.2 (range),
3.1 (inner product), 6.1 (batch). Sound while discrete logarithms are hard: a quantum computer could prove what is
not so. It learns nothing from a proof all the same.

    proof = A S T_1 T_2 t_x t_x_blinding e_blinding (L R)* a b
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from crypto import innerproduct
from crypto.equation import Bases, Equation, all_hold
from crypto.errors import Reason, Refused
from crypto.generators import chain
from crypto.innerproduct import InnerProof
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

BITS: Final = 64
MAX_COMMITMENTS: Final = 16
_SECRETS: Final = 4  # random scalars of a prover besides the two for each bit
_HEAD: Final = 7  # points and scalars before the inner product proof
_POINTS: Final = 4  # of them points


class RangeClaim(NamedTuple):
    """A proof to verify: a new transcript, begun with what the proof is bound to, the commitments, the proof."""

    transcript: FiatShamir
    commitments: tuple[bytes, ...]
    proof: bytes


class RangeProof(NamedTuple):
    """What a prover hands out."""

    commitments: tuple[bytes, ...]
    proof: bytes


class _Opened(NamedTuple):
    """A decoded proof with its challenges. Points: A, S, T_1, T_2 and the commitments."""

    points: list[Point]
    scalars: list[int]
    y: int
    z: int
    x: int
    w: int
    inner: InnerProof


class RangeProofs:
    """Makes and verifies range proofs with one backend and one set of generators.

    Attributes:
        pedersen: the generators of the commitments.
    """

    def __init__(self, group: Group, bits: int = BITS, most: int = MAX_COMMITMENTS) -> None:
        """Derive the generators, 2 * bits for each commitment: 60 ms for the defaults on libsodium.

        Args:
            group: the backend.
            bits: 8, 16, 32 or 64.
            most: commitments in one proof at most, a power of two.
        """
        if bits not in (8, 16, 32, 64) or not _is_power_of_two(most):
            raise ValueError(f"no range proofs of {bits} bits for up to {most} commitments")
        self._group, self._bits, self._most = group, bits, most
        self.pedersen: Final[Pedersen] = pedersen(group)
        self._left = [point for party in range(most) for point in chain(group, b"G", party, bits)]
        self._right = [point for party in range(most) for point in chain(group, b"H", party, bits)]

    def proof_size(self, commitments: int) -> int:
        """Return the bytes of a proof over so many commitments.

        Raises:
            Refused: TOO_LARGE unless it is a power of two that the generators reach for.
        """
        if not _is_power_of_two(commitments) or commitments > self._most:
            raise Refused(Reason.TOO_LARGE, f"{commitments} commitments are no power of two up to {self._most}")
        return ENCODING_SIZE * (_HEAD + innerproduct.elements(self._bits * commitments))

    def prove(
        self, transcript: FiatShamir, values: Sequence[int], blindings: Sequence[int], entropy: bytes
    ) -> RangeProof:
        """Commit to values and prove that each is below 2^bits.

        Not hardened against who measures time or power on the prover's machine.

        Args:
            transcript: a new one, begun with what the proof is bound to.
            values: one for each commitment.
            blindings: secret random scalars, as many.
            entropy: 32 fresh random bytes.

        Raises:
            Refused: TOO_LARGE for a count that `proof_size` refuses; AMOUNT_OUT_OF_RANGE; BAD_POINT if value and
                blinding are both zero.
        """
        count = len(values)
        self.proof_size(count)
        if len(blindings) != count:
            raise ValueError(f"{len(blindings)} blindings for {count} values")
        if not all(0 <= value < 1 << self._bits for value in values):
            raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"a value is not in 0 .. 2^{self._bits} - 1")
        commitments = tuple(
            self.pedersen.commit(value, blinding).encode()
            for value, blinding in zip(values, blindings, strict=True)
        )
        self._begin(transcript, commitments)
        return RangeProof(commitments, self._prove(transcript, values, blindings, entropy))

    def verify(self, claim: RangeClaim, entropy: bytes) -> None:
        """Verify one proof; `entropy` as in `verify_batch`.

        Raises:
            Refused: TOO_LARGE, MALFORMED, BAD_POINT, BAD_SCALAR; UNPROVEN if it does not hold.
        """
        self.verify_batch((claim,), entropy)

    def verify_batch(self, claims: Sequence[RangeClaim], entropy: bytes) -> None:
        """Verify many proofs as one sum with random weights; all share the generators' part of the work.

        Args:
            claims: proofs over any allowed number of commitments each.
            entropy: 32 random bytes that nobody knew when the proofs were made.

        Raises:
            Refused: as `verify`. UNPROVEN says that at least one does not hold, not which.
        """
        for claim in claims:
            self._check_sizes(claim)
        opened = [self._open(claim) for claim in claims]
        # Two weights a proof: one joins its two equations, the other weighs it among the proofs.
        weights = batch_weights([claim.transcript for claim in claims], entropy, 2 * len(claims))
        equations = [self._equation(proof, weight) for proof, weight in zip(opened, weights[::2], strict=True)]
        if not all_hold(Bases(self.pedersen, self._left, self._right), equations, weights[1::2]):
            raise Refused(Reason.UNPROVEN, "a range proof does not hold")

    def _prove(
        self, transcript: FiatShamir, values: Sequence[int], blindings: Sequence[int], entropy: bytes
    ) -> bytes:
        group, bits, size = self._group, self._bits, self._bits * len(values)
        left, right = self._left[:size], self._right[:size]
        secrets = secret_scalars(transcript, (*values, *blindings), entropy, _SECRETS + 2 * size)
        a_blinding, s_blinding, t1_blinding, t2_blinding = secrets[:_SECRETS]
        a_left = group.vector([value >> bit & 1 for value in values for bit in range(bits)])
        a_right = a_left.shift(-1)
        s_left, s_right = group.vector(secrets[_SECRETS : _SECRETS + size]), group.vector(secrets[_SECRETS + size :])
        bases = [self.pedersen.blinding_base, *left, *right]
        a = group.multiscalar(group.vector([a_blinding]).join(a_left).join(a_right), bases).encode()
        s = group.multiscalar(group.vector([s_blinding]).join(s_left).join(s_right), bases).encode()
        y, z = _challenge_bits(transcript, a, s)

        # l(x) = l_0 + s_left * x and r(x) = r_0 + r_1 * x; t(x) is their inner product, t_0 + t_1 * x + t_2 * x^2.
        y_powers = group.powers(y, size)
        l_0 = a_left.shift(-z)
        r_0 = y_powers * a_right.shift(z) + _value_weights(group, z, bits, len(values))
        r_1 = y_powers * s_right
        t_1, t_2 = l_0.inner(r_1) + s_left.inner(r_0), s_left.inner(r_1)
        t1_point = self.pedersen.commit(t_1, t1_blinding).encode()
        t2_point = self.pedersen.commit(t_2, t2_blinding).encode()
        x = _challenge_polynomial(transcript, t1_point, t2_point)

        l_x, r_x = l_0 + s_left.scale(x), r_0 + r_1.scale(x)
        opened = sum(pow(z, 2 + place, ORDER) * blinding for place, blinding in enumerate(blindings))
        answers = [
            encode_scalar(l_x.inner(r_x)),
            encode_scalar(opened + x * t1_blinding + x * x * t2_blinding),
            encode_scalar(a_blinding + x * s_blinding),
        ]
        w = _challenge_product(transcript, answers)
        product_base = group.multiply(w, self.pedersen.value_base)
        inner = innerproduct.prove(group, transcript, (left, right, product_base), pow(y, -1, ORDER), (l_x, r_x))
        return b"".join([a, s, t1_point, t2_point, *answers, inner])

    def _check_sizes(self, claim: RangeClaim) -> None:
        """Count before anything is computed."""
        size = self.proof_size(len(claim.commitments))
        if len(claim.proof) != size:
            raise Refused(Reason.MALFORMED, f"a proof over {len(claim.commitments)} commitments has {size} bytes")
        if any(len(commitment) != ENCODING_SIZE for commitment in claim.commitments):
            raise Refused(Reason.MALFORMED, f"a commitment has {ENCODING_SIZE} bytes")

    def _begin(self, transcript: FiatShamir, commitments: Sequence[bytes]) -> None:
        """Write the whole statement."""
        transcript.append(b"dom-sep", b"rangeproof v1")
        append_integer(transcript, b"n", self._bits)
        append_integer(transcript, b"m", len(commitments))
        for commitment in commitments:
            append_point(transcript, b"V", commitment)

    def _open(self, claim: RangeClaim) -> _Opened:
        """Decode a proof and draw its challenges; afterwards the transcript holds all of it."""
        transcript, commitments, proof = claim
        parts = [proof[at : at + ENCODING_SIZE] for at in range(0, len(proof), ENCODING_SIZE)]
        scalars = [decode_scalar(part) for part in parts[_POINTS:_HEAD]]
        points = [decode_nonzero(self._group, part) for part in (*parts[:_POINTS], *commitments)]
        self._begin(transcript, commitments)
        y, z = _challenge_bits(transcript, *parts[:2])
        x = _challenge_polynomial(transcript, *parts[2:_POINTS])
        w = _challenge_product(transcript, parts[_POINTS:_HEAD])
        inner = innerproduct.decode(self._group, transcript, parts[_HEAD:])
        if not y or not z:
            raise Refused(Reason.UNPROVEN, "a challenge of the range proof is zero")
        return _Opened(points, scalars, y, z, x, w, inner)

    def _equation(self, proof: _Opened, weight: int) -> Equation:
        """Return the two equations of a proof, the one on t(x) times `weight`, as one sum."""
        group, bits = self._group, self._bits
        (t_x, t_x_blinding, e_blinding), y, z, x, inner = proof.scalars, proof.y, proof.z, proof.x, proof.inner
        count = len(proof.points) - _POINTS
        size = bits * count
        s = innerproduct.fold_scalars(group, inner)
        left = s.scale(-inner.a).shift(-z)
        weights = _value_weights(group, z, bits, count) + s.reverse().scale(-inner.b)
        right = (group.powers(pow(y, -1, ORDER), size) * weights).shift(z)
        delta = (z - z * z) * _sum_of_powers(y, size) - pow(z, 3, ORDER) * ((1 << bits) - 1) * _sum_of_powers(z, count)
        value = proof.w * (t_x - inner.a * inner.b) + weight * (delta - t_x)
        scalars = [1, x, weight * x, weight * x * x]
        scalars += [weight * pow(z, 2 + place, ORDER) for place in range(count)]
        scalars += inner.left_scalars + inner.right_scalars
        points = proof.points + inner.left_points + inner.right_points
        return Equation(value, -e_blinding - weight * t_x_blinding, left, right, scalars, points)


def _challenge_bits(transcript: FiatShamir, a: bytes, s: bytes) -> tuple[int, int]:
    append_point(transcript, b"A", a)
    append_point(transcript, b"S", s)
    return transcript.challenge(b"y"), transcript.challenge(b"z")


def _challenge_polynomial(transcript: FiatShamir, t_1: bytes, t_2: bytes) -> int:
    append_point(transcript, b"T_1", t_1)
    append_point(transcript, b"T_2", t_2)
    return transcript.challenge(b"x")


def _challenge_product(transcript: FiatShamir, answers: Sequence[bytes]) -> int:
    for label, answer in zip((b"t_x", b"t_x_blinding", b"e_blinding"), answers, strict=True):
        transcript.append(label, answer)
    return transcript.challenge(b"w")


def _value_weights(group: Group, z: int, bits: int, count: int) -> Vector:
    """Return z^(2+j) * 2^i for the i-th bit of the j-th value."""
    twos = group.powers(2, bits)
    weights = twos.scale(z * z)
    for place in range(1, count):
        weights = weights.join(twos.scale(pow(z, 2 + place, ORDER)))
    return weights


def _sum_of_powers(base: int, count: int) -> int:
    """Return 1 + base + base^2 ..., `count` summands, a power of two: (1 + base)(1 + base^2)(1 + base^4) ..."""
    total = 1
    for _ in range(count.bit_length() - 1):
        total = total * (1 + base) % ORDER
        base = base * base % ORDER
    return total


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
