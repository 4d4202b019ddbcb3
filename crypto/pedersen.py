"""Pedersen commitments: C = value * B + blinding * H.

They hide perfectly: a commitment fits every value, so no computer, quantum ones included, reads an amount out of it.
They bind only as long as nobody finds the logarithm of H to the base B; a quantum computer could, and could then open
a commitment to another value.

B is the generator of RFC 9496 and H = from_uniform(SHA3-512(encoding of B)), as in the crate `bulletproofs`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from crypto.ristretto import Group, Point


@dataclass(frozen=True, slots=True)
class Pedersen:
    """The two generators over one backend."""

    group: Group
    value_base: Point
    blinding_base: Point

    def commit(self, value: int, blinding: int) -> Point:
        """Return the commitment; the arithmetic on the curve takes the same time for every value and blinding."""
        left = self.group.multiply(value, self.value_base)
        return self.group.add(left, self.group.multiply(blinding, self.blinding_base))

    def opens(self, commitment: bytes, value: int, blinding: int) -> bool:
        """Tell whether (value, blinding) opens an encoded commitment."""
        return self.commit(value, blinding).encode() == commitment

    def excess(self, inputs: Iterable[Point], outputs: Iterable[Point], public: int) -> Point:
        """Return the sum of inputs less that of outputs less `public` times B.

        It is a multiple of H alone, of which the spender knows the factor, exactly if the amounts balance.
        """
        total = self.group.multiply(-public, self.value_base)
        for point in inputs:
            total = self.group.add(total, point)
        for point in outputs:
            total = self.group.subtract(total, point)
        return total


def pedersen(group: Group) -> Pedersen:
    """Return the generators over a backend."""
    blinding_base = group.from_uniform(hashlib.sha3_512(group.base.encode()).digest())
    return Pedersen(group, group.base, blinding_base)
