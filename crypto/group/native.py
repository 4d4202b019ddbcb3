"""Ristretto255 on curve25519-dalek, through the wheel `nexus-native` (sources in crypto/native): the fast backend."""

from collections.abc import Sequence
from typing import Final

import nexus_native as kernel

from crypto.errors import Reason, Refused
from crypto.ristretto import Point, Vector


class NativeGroup:
    """The group on curve25519-dalek; products of 16 points or more run with the interpreter released."""

    name: Final = "native"

    def __init__(self) -> None:
        self.base: Final[Point] = kernel.base()

    def decode(self, encoding: bytes) -> Point:
        """Return the point of a canonical encoding.

        Raises:
            Refused: BAD_POINT.
        """
        point: Point | None = kernel.decode(encoding)
        if point is None:
            raise Refused(Reason.BAD_POINT, "the bytes are no canonical encoding of a Ristretto255 point")
        return point

    def from_uniform(self, uniform: bytes) -> Point:
        """Return the point derived from 64 bytes."""
        point: Point = kernel.from_uniform(uniform)
        return point

    def add(self, left: Point, right: Point) -> Point:
        """Return the sum."""
        point: Point = kernel.add(left, right)
        return point

    def subtract(self, left: Point, right: Point) -> Point:
        """Return `left` minus `right`."""
        point: Point = kernel.subtract(left, right)
        return point

    def multiply(self, scalar: int, point: Point) -> Point:
        """Return `scalar` times `point`."""
        product: Point = kernel.multiply(scalar, point)
        return product

    def multiscalar(self, scalars: Vector, points: Sequence[Point]) -> Point:
        """Return the sum of scalar times point."""
        total: Point = kernel.multiscalar(scalars, points)
        return total

    def vector(self, integers: Sequence[int]) -> Vector:
        """Return these integers modulo ORDER."""
        vector: Vector = kernel.vector(integers)
        return vector

    def powers(self, base: int, count: int) -> Vector:
        """Return 1, base, base^2 ... : `count` of them."""
        vector: Vector = kernel.powers(base, count)
        return vector


GROUP: Final = NativeGroup()
