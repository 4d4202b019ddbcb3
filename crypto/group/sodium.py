"""Ristretto255 on libsodium, through `rbcl`: needs nothing but a wheel, and is the reference for the other backend.

libsodium takes and gives encoded points, so a point here is its encoding. It has no multiscalar multiplication; a
product is one constant-time multiplication a point.
"""

import importlib
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from pathlib import Path
from typing import Final, Self

import rbcl

from crypto.errors import Reason, Refused
from crypto.ristretto import ENCODING_SIZE, IDENTITY, ORDER, UNIFORM_SIZE, Point, Vector

# The wheel unpacks the library into the temporary folder at each import and leaves it there; it is loaded by now.
Path(importlib.import_module("rbcl._sodium").lib_path).unlink(missing_ok=True)

_is_valid_point = rbcl.crypto_core_ristretto255_is_valid_point
_HIGHEST: Final = 0x80


@dataclass(frozen=True, slots=True)
class SodiumPoint:
    """A point, as its canonical encoding."""

    encoding: bytes

    def encode(self) -> bytes:
        """Return the canonical encoding, 32 bytes."""
        return self.encoding


@dataclass(frozen=True, slots=True)
class SodiumVector:
    """Scalars as Python integers."""

    elements: list[int]

    def __len__(self) -> int:
        return len(self.elements)

    def __add__(self, other: Self) -> Self:
        return type(self)([(a + b) % ORDER for a, b in zip(self.elements, other.elements, strict=True)])

    def __mul__(self, other: Self) -> Self:
        return type(self)([a * b % ORDER for a, b in zip(self.elements, other.elements, strict=True)])

    def scale(self, factor: int) -> Self:
        """Return every element times `factor`."""
        return type(self)([element * factor % ORDER for element in self.elements])

    def shift(self, summand: int) -> Self:
        """Return every element plus `summand`."""
        return type(self)([(element + summand) % ORDER for element in self.elements])

    def inner(self, other: Self) -> int:
        """Return the inner product, below ORDER."""
        if len(self) != len(other):
            raise ValueError(f"vectors of {len(self)} and {len(other)} scalars")
        total: int = sum(map(operator.mul, self.elements, other.elements))
        return total % ORDER

    def slice(self, begin: int, end: int) -> Self:
        """Return the elements from `begin` up to, not including, `end`."""
        return type(self)(self.elements[begin:end])

    def join(self, other: Self) -> Self:
        """Return these elements and then those of `other`."""
        return type(self)(self.elements + other.elements)

    def reverse(self) -> Self:
        """Return the elements from the last to the first."""
        return type(self)(self.elements[::-1])

    def integers(self) -> list[int]:
        """Return the elements, each below ORDER."""
        return list(self.elements)


class SodiumGroup:
    """The group on libsodium."""

    name: Final = "sodium"

    def __init__(self) -> None:
        self.base: Final[Point] = SodiumPoint(_base_times(1))

    def decode(self, encoding: bytes) -> Point:
        """Return the point of a canonical encoding.

        Raises:
            Refused: BAD_POINT.
        """
        # libsodium 1.0.18 does not look at the highest bit: a point would have two encodings, a coin two key images.
        if len(encoding) != ENCODING_SIZE or encoding[-1] & _HIGHEST or not _is_valid_point(encoding):
            raise Refused(Reason.BAD_POINT, "the bytes are no canonical encoding of a Ristretto255 point")
        return SodiumPoint(encoding)

    def from_uniform(self, uniform: bytes) -> Point:
        """Return the point derived from 64 bytes."""
        if len(uniform) != UNIFORM_SIZE:
            raise ValueError(f"a point is derived from {UNIFORM_SIZE} bytes, not {len(uniform)}")
        return SodiumPoint(rbcl.crypto_core_ristretto255_from_hash(uniform))

    def add(self, left: Point, right: Point) -> Point:
        """Return the sum."""
        return SodiumPoint(rbcl.crypto_core_ristretto255_add(left.encode(), right.encode()))

    def subtract(self, left: Point, right: Point) -> Point:
        """Return `left` minus `right`."""
        return SodiumPoint(rbcl.crypto_core_ristretto255_sub(left.encode(), right.encode()))

    def multiply(self, scalar: int, point: Point) -> Point:
        """Return `scalar` times `point`."""
        return SodiumPoint(_times(scalar % ORDER, point.encode()))

    def multiscalar(self, scalars: Vector, points: Sequence[Point]) -> Point:
        """Return the sum of scalar times point."""
        total = IDENTITY
        for scalar, point in zip(scalars.integers(), points, strict=True):
            # Bits and their complements, of which a range proof's first commitment is made, cost one addition.
            if scalar == ORDER - 1:
                total = rbcl.crypto_core_ristretto255_sub(total, point.encode())
            elif scalar:
                part = point.encode() if scalar == 1 else _times(scalar, point.encode())
                total = part if total == IDENTITY else rbcl.crypto_core_ristretto255_add(total, part)
        return SodiumPoint(total)

    def vector(self, integers: Sequence[int]) -> Vector:
        """Return these integers modulo ORDER."""
        return SodiumVector([integer % ORDER for integer in integers])

    def powers(self, base: int, count: int) -> Vector:
        """Return 1, base, base^2 ... : `count` of them."""
        return SodiumVector(list(accumulate(repeat(base, count - 1), _product, initial=1)) if count else [])


def _product(left: int, right: int) -> int:
    return left * right % ORDER


def _times(scalar: int, encoding: bytes) -> bytes:
    # libsodium reports a product that is the identity as an error; both its causes are known here.
    if not scalar or encoding == IDENTITY:
        return IDENTITY
    product: bytes = rbcl.crypto_scalarmult_ristretto255(scalar.to_bytes(ENCODING_SIZE, "little"), encoding)
    return product


def _base_times(scalar: int) -> bytes:
    product: bytes = rbcl.crypto_scalarmult_ristretto255_base(scalar.to_bytes(ENCODING_SIZE, "little"))
    return product


GROUP: Final = SodiumGroup()
