"""Ring signatures: one of these coins is mine, I spend it for the first time, and this commitment holds its amount.

CLSAG of Goodell, Noether and Blue, "Concise Linkable Ring Signatures and Forgery Against Adversarial Keys" (IACR
2019/654), sections 3 and 4, over Ristretto255. A member of the ring is a coin: a one-time key P = k * H and a
commitment C = v * B + r * H. The spender makes a new commitment C' to the same v, so C - C' = z * H for the real coin,
and signs with k and z together.

    I = k * Hp(P)   the key image: each key has one, so who spends a coin twice shows it twice
    D = z * Hp(P)   its counterpart for the commitments
    W_i = m_P * P_i + m_C * (C_i - C'),  V = m_P * I + m_C * D       for challenges m_P, m_C
    L_i = s_i * H + c_i * W_i,  R_i = s_i * Hp(P_i) + c_i * V,       c_(i+1) drawn with L_i, R_i

    signature = D || c_0 || s_0 ... s_(n-1)       (32 bytes each)

It holds if the last challenge is c_0 again. Each challenge waits for the one before, so nothing is gained by verifying
many at once. All is classical: to a quantum computer every k is known, so it can steal, and it reads out of old
signatures who signed. The key image and the commitment are part of the statement: both stand in what is signed.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from crypto.errors import Reason, Refused
from crypto.hashing import Label
from crypto.pedersen import pedersen
from crypto.ristretto import (
    ENCODING_SIZE,
    ORDER,
    Group,
    Point,
    Vector,
    decode_nonzero,
    decode_scalar,
    encode_scalar,
    hash_to_group,
)
from crypto.transcript import FiatShamir, append_integer, append_point, secret_scalars

FEWEST: Final = 2
MOST: Final = 64
"""Members of a ring; a signature of 64 has 2,112 bytes."""
_DOMAIN: Final = b"clsag v1"
_HEAD: Final = 2  # D and the first challenge


class Ring(NamedTuple):
    """What is stated, encoded.

    Attributes:
        keys: of the members, no two alike.
        commitments: to their amounts, in the same order.
        commitment: to the amount of the one that is spent.
        image: its key image.
    """

    keys: tuple[bytes, ...]
    commitments: tuple[bytes, ...]
    commitment: bytes
    image: bytes


class Spend(NamedTuple):
    """What only the spender knows.

    Attributes:
        place: of the coin in the ring.
        secret: k of its key.
        blinding: z, the blinding of the coin's commitment less that of the new one.
    """

    place: int
    secret: int
    blinding: int


class RingClaim(NamedTuple):
    """A signature to verify: a new transcript, begun with what is signed, the statement, the signature."""

    transcript: FiatShamir
    ring: Ring
    signature: bytes


class _Members(NamedTuple):
    """A decoded statement. `base` is H, `differences` are C_i - C', `bases` are Hp(P_i)."""

    base: Point
    keys: list[Point]
    differences: list[Point]
    bases: list[Point]
    image: Point


def public_key(group: Group, secret: int) -> bytes:
    """Return the one-time key k * H of a secret."""
    return group.multiply(secret, pedersen(group).blinding_base).encode()


def key_image(group: Group, secret: int) -> bytes:
    """Return k * Hp(P): what is recorded as spent. It tells nothing of which key it belongs to."""
    return group.multiply(secret, _image_base(group, public_key(group, secret))).encode()


def signature_size(members: int) -> int:
    """Return the bytes of a signature.

    Raises:
        Refused: MALFORMED for a ring that hides nobody; TOO_LARGE.
    """
    if members < FEWEST:
        raise Refused(Reason.MALFORMED, f"a ring has at least {FEWEST} members, not {members}")
    if members > MOST:
        raise Refused(Reason.TOO_LARGE, f"{members} members in a ring; at most {MOST}")
    return ENCODING_SIZE * (_HEAD + members)


def sign(group: Group, transcript: FiatShamir, ring: Ring, spend: Spend, entropy: bytes) -> bytes:
    """Return a signature. The products with secrets take the same time for each.

    Args:
        group: the backend.
        transcript: a new one, begun with the hash of what is signed.
        ring: the statement.
        spend: what makes it true.
        entropy: 32 fresh random bytes.

    Raises:
        Refused: UNPROVEN if the spend does not fit the ring; as `verify` for the ring.
    """
    members = _decode(group, ring)
    check_spend(group, ring, spend)
    count, (place, secret, blinding) = len(ring.keys), spend
    base, own = members.base, members.bases[place]
    counterpart = group.multiply(blinding, own)
    _begin(transcript, ring)
    nonces = secret_scalars(transcript, [place, secret, blinding], entropy, count)
    factors = _aggregate(transcript, counterpart.encode())
    joint = group.multiscalar(group.vector(factors), (members.image, counterpart))
    answers, nonce = nonces, nonces[place]
    drawn = [0] * count
    sides = group.multiply(nonce, base), group.multiply(nonce, own)
    for step in range(1, count + 1):
        at = (place + step) % count
        drawn[at] = _challenge(transcript, *sides)
        if at != place:
            sides = _sides(group, members, joint, factors, (at, drawn[at], answers[at]))
    answers[place] = nonce - drawn[place] * (factors[0] * secret + factors[1] * blinding)
    return b"".join([counterpart.encode(), encode_scalar(drawn[0]), *(encode_scalar(answer) for answer in answers)])


def check_spend(group: Group, ring: Ring, spend: Spend) -> None:
    """Check that what a spender knows is what makes the ring true.

    Raises:
        Refused: UNPROVEN; BAD_POINT if a commitment is none.
    """
    place, secret, blinding = spend
    if not 0 <= place < min(len(ring.keys), len(ring.commitments)):
        raise Refused(Reason.UNPROVEN, f"there is no member {place} in this ring")
    difference = group.subtract(group.decode(ring.commitments[place]), group.decode(ring.commitment))
    shown = group.multiply(blinding, pedersen(group).blinding_base).encode()
    expected = ring.keys[place], ring.image, difference.encode()
    if expected != (public_key(group, secret), key_image(group, secret), shown):
        raise Refused(Reason.UNPROVEN, "secret, key image or blinding are not those of this member")


def verify(group: Group, claim: RingClaim) -> None:
    """Verify one signature.

    Raises:
        Refused: MALFORMED for a wrong length, or a key that stands twice in the ring; TOO_LARGE, BAD_POINT, BAD_SCALAR;
            UNPROVEN if it does not hold.
    """
    transcript, ring, signature = claim
    size = signature_size(len(ring.keys))
    if len(signature) != size:
        raise Refused(Reason.MALFORMED, f"a signature of {len(ring.keys)} members has {size} bytes")
    parts = [signature[at : at + ENCODING_SIZE] for at in range(0, size, ENCODING_SIZE)]
    first, *answers = [decode_scalar(part) for part in parts[1:]]
    counterpart = decode_nonzero(group, parts[0])
    members = _decode(group, ring)
    _begin(transcript, ring)
    factors = _aggregate(transcript, parts[0])
    joint = group.multiscalar(group.vector(factors), (members.image, counterpart))
    drawn = first
    for place, answer in enumerate(answers):
        drawn = _challenge(transcript, *_sides(group, members, joint, factors, (place, drawn, answer)))
    if drawn != first:
        raise Refused(Reason.UNPROVEN, "the ring signature does not close")


def linked(first: Ring, second: Ring) -> bool:
    """Tell whether two rings spend one coin: what a chain must never accept twice."""
    return first.image == second.image


def _decode(group: Group, ring: Ring) -> _Members:
    """Check a statement's sizes, then decode it."""
    signature_size(len(ring.keys))
    if len(ring.commitments) != len(ring.keys):
        raise Refused(Reason.MALFORMED, f"{len(ring.commitments)} commitments for {len(ring.keys)} keys")
    # Two equal members would be one, so the ring would hide the spender among fewer than it says.
    if len(set(ring.keys)) != len(ring.keys):
        raise Refused(Reason.MALFORMED, "a key stands twice in the ring")
    image, commitment = decode_nonzero(group, ring.image), decode_nonzero(group, ring.commitment)
    keys = [decode_nonzero(group, key) for key in ring.keys]
    # The very commitment of a member, used again, would show that it is the one that is spent.
    if ring.commitment in ring.commitments:
        raise Refused(Reason.MALFORMED, "the new commitment is that of a member")
    differences = [group.subtract(decode_nonzero(group, one), commitment) for one in ring.commitments]
    bases = [_image_base(group, key) for key in ring.keys]
    return _Members(pedersen(group).blinding_base, keys, differences, bases, image)


def _image_base(group: Group, key: bytes) -> Point:
    return hash_to_group(group, Label.KEY_IMAGE, key)


def _begin(transcript: FiatShamir, ring: Ring) -> None:
    """Write the whole statement."""
    transcript.append(b"dom-sep", _DOMAIN)
    append_integer(transcript, b"n", len(ring.keys))
    for key, commitment in zip(ring.keys, ring.commitments, strict=True):
        append_point(transcript, b"P", key)
        append_point(transcript, b"C", commitment)
    append_point(transcript, b"C'", ring.commitment)
    append_point(transcript, b"I", ring.image)


def _aggregate(transcript: FiatShamir, counterpart: bytes) -> tuple[int, int]:
    """Draw how often keys and differences of commitments count."""
    append_point(transcript, b"D", counterpart)
    return transcript.challenge(b"m_P"), transcript.challenge(b"m_C")


def _challenge(transcript: FiatShamir, left: Point, right: Point) -> int:
    """Draw the next member's challenge, from the statement and this member alone: the ring has no beginning."""
    branch = transcript.fork()
    branch.append(b"L", left.encode())
    branch.append(b"R", right.encode())
    return branch.challenge(b"c")


def _sides(
    group: Group, members: _Members, joint: Point, factors: Sequence[int], answered: tuple[int, int, int]
) -> tuple[Point, Point]:
    """Return L and R of a member, from (place, challenge, answer)."""
    place, drawn, answer = answered
    key_factor, difference_factor = (drawn * factor % ORDER for factor in factors)
    scalars: Vector = group.vector((answer, key_factor, difference_factor))
    left = group.multiscalar(scalars, (members.base, members.keys[place], members.differences[place]))
    return left, group.multiscalar(group.vector((answer, drawn)), (members.bases[place], joint))
