"""The inner product argument of Bulletproofs: two vectors have a known inner product, in 2 * log2(n) points.

Source: Bünz et al., "Bulletproofs" (IEEE S&P 2018), section 3, with the verifier's scalars of section 3.1. Transcript
and bytes are those of the crate `bulletproofs`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from crypto.errors import Reason, Refused
from crypto.ristretto import ORDER, Group, Point, Vector, decode_nonzero, decode_scalar, encode_scalar, invert_all
from crypto.transcript import FiatShamir, append_integer, append_point

_SCALARS: Final = 2


class InnerProof(NamedTuple):
    """A decoded proof and what its challenges make of it.

    Attributes:
        a: the left vector, folded to one scalar.
        b: the right vector, folded to one scalar.
        inverses: of the challenges, one for each round.
        left_points, right_points: L and R of each round.
        left_scalars, right_scalars: squares of the challenges, and their inverses.
    """

    a: int
    b: int
    inverses: list[int]
    left_points: list[Point]
    right_points: list[Point]
    left_scalars: list[int]
    right_scalars: list[int]


def elements(size: int) -> int:
    """Return of how many points and scalars a proof over vectors of `size` (a power of two) consists."""
    return _SCALARS + 2 * (size.bit_length() - 1)


def prove(
    group: Group,
    transcript: FiatShamir,
    bases: tuple[Sequence[Point], Sequence[Point], Point],
    right_factor: int,
    vectors: tuple[Vector, Vector],
) -> bytes:
    """Prove that the prover knows `vectors` (l, r), of their commitment and inner product.

    Args:
        group: the backend.
        transcript: of the outer proof.
        bases: generators of the left and the right vector, of equal length, and the one of the product.
        right_factor: the i-th generator of the right vector counts as right_factor^i times itself.
        vectors: l and r; a power of two of scalars each.
    """
    (left, right, product_base), (l_x, r_x) = bases, vectors
    append_statement(transcript, len(l_x))
    rounds: list[bytes] = []
    # The factors go into the first fold: multiplying all generators first would cost as much again.
    factors = group.powers(right_factor, len(l_x))
    while len(l_x) > 1:
        half, size = len(l_x) // 2, len(l_x)
        l_low, l_high, r_low, r_high = (v.slice(*part) for v in (l_x, r_x) for part in ((0, half), (half, size)))
        f_low, f_high = factors.slice(0, half), factors.slice(half, size)
        cross = group.vector([l_low.inner(r_high), l_high.inner(r_low)])
        low = l_low.join(r_high * f_low).join(cross.slice(0, 1))
        high = l_high.join(r_low * f_high).join(cross.slice(1, 2))
        l_point = group.multiscalar(low, [*left[half:], *right[:half], product_base]).encode()
        r_point = group.multiscalar(high, [*left[:half], *right[half:], product_base]).encode()
        u = _round(transcript, l_point, r_point)
        inverse = pow(u, -1, ORDER)
        l_x, r_x = l_low.scale(u) + l_high.scale(inverse), r_low.scale(inverse) + r_high.scale(u)
        ones = group.powers(1, half)
        left = _fold(group, left, ones.scale(inverse), ones.scale(u))
        right = _fold(group, right, f_low.scale(u), f_high.scale(inverse))
        factors = ones
        rounds += [l_point, r_point]
    return b"".join([*rounds, encode_scalar(l_x.integers()[0]), encode_scalar(r_x.integers()[0])])


def decode(group: Group, transcript: FiatShamir, parts: Sequence[bytes]) -> InnerProof:
    """Return a decoded proof with its challenges; afterwards the transcript holds all of it.

    Args:
        group: the backend.
        transcript: of the outer proof.
        parts: the proof's points and scalars, `elements(n)` of them for some power of two n.

    Raises:
        Refused: BAD_POINT, BAD_SCALAR; UNPROVEN if a challenge is zero.
    """
    pairs = parts[:-_SCALARS]
    append_statement(transcript, 1 << len(pairs) // 2)
    a, b = (decode_scalar(part) for part in parts[-_SCALARS:])
    points = [decode_nonzero(group, part) for part in pairs]
    challenges = [_round(transcript, pairs[at], pairs[at + 1]) for at in range(0, len(pairs), 2)]
    for label, part in zip((b"a", b"b"), parts[-_SCALARS:], strict=True):
        transcript.append(label, part)
    inverses = invert_all(challenges)
    return InnerProof(
        a, b, inverses, points[0::2], points[1::2],
        [u * u % ORDER for u in challenges], [u * u % ORDER for u in inverses],
    )


def fold_scalars(group: Group, proof: InnerProof) -> Vector:
    """Return how often each left generator is in the last one: products of the challenges or their inverses.

    The i-th has the j-th challenge itself if bit j of i, counted from the highest, is set, else its inverse. The right
    generators have the same, in reverse.
    """
    product = 1
    for inverse in proof.inverses:
        product = product * inverse % ORDER
    scalars = group.vector([product])
    for square in reversed(proof.left_scalars):
        scalars = scalars.join(scalars.scale(square))
    return scalars


def pad(group: Group, vector: Vector, size: int) -> Vector:
    """Return a vector followed by zeros up to a length."""
    return vector if len(vector) == size else vector.join(group.vector([0] * (size - len(vector))))


def add_padded(group: Group, left: Vector, right: Vector) -> Vector:
    """Return the sum; the shorter one counts as followed by zeros."""
    size = max(len(left), len(right))
    return pad(group, left, size) + pad(group, right, size)


def append_statement(transcript: FiatShamir, size: int) -> None:
    """Write that an inner product proof over vectors of `size` follows."""
    transcript.append(b"dom-sep", b"ipp v1")
    append_integer(transcript, b"n", size)


def _round(transcript: FiatShamir, left: bytes, right: bytes) -> int:
    append_point(transcript, b"L", left)
    append_point(transcript, b"R", right)
    challenge = transcript.challenge(b"u")
    if not challenge:
        raise Refused(Reason.UNPROVEN, "a challenge of the inner product proof is zero")
    return challenge


def _fold(group: Group, points: Sequence[Point], low: Vector, high: Vector) -> list[Point]:
    """Return low_i * P_i + high_i * P_(i + half) for each i."""
    half = len(low)
    return [
        group.multiscalar(low.slice(i, i + 1).join(high.slice(i, i + 1)), (points[i], points[i + half]))
        for i in range(half)
    ]
