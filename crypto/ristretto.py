"""The prime-order group Ristretto255 (RFC 9496): what every proof of this code base computes in.

One narrow interface, `Group`, and two backends that agree on every byte: `crypto.group.sodium` (libsodium) and
`crypto.group.native` (curve25519-dalek, a wheel of its own). `crypto.group.default` chooses.

A point counts by its canonical 32-byte encoding, whoever made it. Scalars are integers modulo ORDER; a `Vector` holds
many of them in the form in which the backend computes fastest.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, Protocol, Self

from crypto.errors import Reason, Refused
from crypto.hashing import Label

ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""The number of points: l of RFC 9496, a prime."""
ENCODING_SIZE: Final = 32
"""Bytes of an encoded point, and of an encoded scalar."""
UNIFORM_SIZE: Final = 64
"""Bytes from which a point or a scalar is derived without a noticeable bias."""
IDENTITY: Final = bytes(ENCODING_SIZE)
"""The encoding of the neutral element."""


class Point(Protocol):
    """An element of the group. Opaque: only the group that made it computes with it."""

    def encode(self) -> bytes:
        """Return the canonical encoding, 32 bytes."""
        ...


class Vector(Protocol):
    """Scalars, one beside another. Immutable; operations go element by element and want equal lengths.

    A length that differs is a fault of the calling code, never of a peer's bytes: it raises ValueError.
    """

    def __len__(self) -> int: ...

    def __add__(self, other: Self) -> Self: ...

    def __mul__(self, other: Self) -> Self: ...

    def scale(self, factor: int) -> Self:
        """Return every element times `factor`."""
        ...

    def shift(self, summand: int) -> Self:
        """Return every element plus `summand`."""
        ...

    def inner(self, other: Self) -> int:
        """Return the inner product, below ORDER."""
        ...

    def slice(self, begin: int, end: int) -> Self:
        """Return the elements from `begin` up to, not including, `end`."""
        ...

    def join(self, other: Self) -> Self:
        """Return these elements and then those of `other`."""
        ...

    def reverse(self) -> Self:
        """Return the elements from the last to the first."""
        ...

    def integers(self) -> list[int]:
        """Return the elements, each below ORDER."""
        ...


class Group(Protocol):
    """What a backend offers."""

    @property
    def name(self) -> str:
        """What `nexus bench` and tests call this backend."""
        ...

    @property
    def base(self) -> Point:
        """The generator of RFC 9496, section 4."""
        ...

    def decode(self, encoding: bytes) -> Point:
        """Return the point of a canonical encoding. The identity is one.

        Raises:
            Refused: BAD_POINT.
        """
        ...

    def from_uniform(self, uniform: bytes) -> Point:
        """Return the point that RFC 9496, section 4.3.4, derives from 64 bytes; nobody knows its logarithm."""
        ...

    def add(self, left: Point, right: Point) -> Point:
        """Return the sum."""
        ...

    def subtract(self, left: Point, right: Point) -> Point:
        """Return `left` minus `right`."""
        ...

    def multiply(self, scalar: int, point: Point) -> Point:
        """Return `scalar` times `point`; the curve arithmetic takes the same time for every scalar."""
        ...

    def multiscalar(self, scalars: Vector, points: Sequence[Point]) -> Point:
        """Return the sum of scalar times point. Its time depends on the scalars: for public ones, and for provers.

        Raises:
            ValueError: there are not as many scalars as points.
        """
        ...

    def vector(self, integers: Sequence[int]) -> Vector:
        """Return these integers modulo ORDER."""
        ...

    def powers(self, base: int, count: int) -> Vector:
        """Return 1, base, base^2 ... : `count` of them."""
        ...


def hash_to_group(group: Group, label: Label, data: bytes) -> Point:
    """Return the point derived from SHA3-512 of a label and `data`."""
    return group.from_uniform(hashlib.sha3_512(label.prefix + data).digest())


def encode_scalar(scalar: int) -> bytes:
    """Return 32 little-endian bytes of a scalar modulo ORDER."""
    return (scalar % ORDER).to_bytes(ENCODING_SIZE, "little")


def decode_scalar(encoding: bytes) -> int:
    """Return the scalar of its one canonical encoding.

    Raises:
        Refused: BAD_SCALAR if it is not 32 bytes or not below ORDER.
    """
    if len(encoding) != ENCODING_SIZE:
        raise Refused(Reason.BAD_SCALAR, f"a scalar has {ENCODING_SIZE} bytes, not {len(encoding)}")
    scalar = int.from_bytes(encoding, "little")
    if scalar >= ORDER:
        raise Refused(Reason.BAD_SCALAR, "the scalar is not below the order of the group")
    return scalar


def scalar_from_uniform(uniform: bytes) -> int:
    """Return 64 little-endian bytes modulo ORDER."""
    return int.from_bytes(uniform, "little") % ORDER


def invert_all(scalars: Sequence[int]) -> list[int]:
    """Return the inverses of scalars that are not zero modulo ORDER, for the price of one (Montgomery's trick)."""
    before = [1]
    for scalar in scalars:
        before.append(before[-1] * scalar % ORDER)
    inverse = pow(before[-1], -1, ORDER)
    inverses: list[int] = []
    for scalar, product in zip(reversed(scalars), reversed(before[:-1]), strict=True):
        inverses.append(inverse * product % ORDER)
        inverse = inverse * scalar % ORDER
    return inverses[::-1]


def decode_nonzero(group: Group, encoding: bytes) -> Point:
    """Return the point of a canonical encoding that is not the identity.

    Raises:
        Refused: BAD_POINT.
    """
    if encoding == IDENTITY:
        raise Refused(Reason.BAD_POINT, "the identity stands where a proof needs another point")
    return group.decode(encoding)


def is_identity(point: Point) -> bool:
    """Tell whether this is the neutral element."""
    return point.encode() == IDENTITY
