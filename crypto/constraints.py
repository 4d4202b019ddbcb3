"""Rank-1 constraint systems: what a computation is to a proof.

A system has variables: the two factors and the product of each multiplier, and values that somebody committed to. A
`Linear` is a sum of variables times constants. A statement is that the products are right and that some linear
combinations are zero. `crypto.r1cs` proves statements; `crypto.gadgets` writes them.

Prover and verifier run the same code over the same class. A prover's system knows what each variable stands for, a
verifier's answers None: whoever builds a system decides nothing by a value, or the two statements would differ.

Source: Bünz et al., "Bulletproofs" (IEEE S&P 2018), section 5.1; the form with committed values is that of the crate
`bulletproofs` (its notes on R1CS proofs), without its second phase of randomised constraints.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from crypto.errors import Reason, Refused
from crypto.hashing import Label
from crypto.ristretto import ORDER, encode_scalar

MAX_MULTIPLIERS: Final = 4096
"""In one system: 64 ranges of 64 bits, or 16 hashes. The generators of a larger one would take 0.1 s to derive."""
MAX_TERMS: Final = 1 << 18
"""Products in the constraints of one system, together: 0.2 s of work for whoever verifies."""
MAX_COMMITTED: Final = 1024


class Kind(IntEnum):
    """What a variable is."""

    ONE = 0
    LEFT = 1
    RIGHT = 2
    PRODUCT = 3
    COMMITTED = 4


class Variable(NamedTuple):
    """One variable, by its place among those of its kind. ONE stands for the number 1."""

    kind: Kind
    place: int


ONE: Final = Variable(Kind.ONE, 0)
_OF_MULTIPLIER: Final = (Kind.LEFT, Kind.RIGHT, Kind.PRODUCT)


@dataclass(frozen=True, slots=True)
class Linear:
    """A sum of variables times constants. Constants are kept below ORDER and are never zero."""

    terms: dict[Variable, int]

    def __add__(self, other: "Linear | int") -> "Linear":
        return self._with(other, 1)

    def __neg__(self) -> "Linear":
        return self.scale(-1)

    def __sub__(self, other: "Linear | int") -> "Linear":
        return self._with(other, -1)

    def _with(self, other: "Linear | int", sign: int) -> "Linear":
        terms = dict(self.terms)
        for variable, factor in linear(other).terms.items():
            total = (terms.get(variable, 0) + sign * factor) % ORDER
            if total:
                terms[variable] = total
            else:
                terms.pop(variable, None)
        return Linear(terms)

    def scale(self, factor: int) -> "Linear":
        """Return this sum times a constant."""
        if not factor % ORDER:
            return Linear({})
        return Linear({variable: own * factor % ORDER for variable, own in self.terms.items()})

    @property
    def constant(self) -> int | None:
        """The number that this is whatever the variables are, or None if it depends on them."""
        if not self.terms:
            return 0
        return self.terms.get(ONE) if len(self.terms) == 1 else None


def linear(value: Linear | int) -> Linear:
    """Return a number as a sum; a sum stays what it is."""
    if isinstance(value, Linear):
        return value
    return Linear({ONE: value % ORDER} if value % ORDER else {})


def total(summands: Iterable[Linear]) -> Linear:
    """Return the sum of sums, in time proportional to their terms."""
    terms: dict[Variable, int] = {}
    for summand in summands:
        for variable, factor in summand.terms.items():
            terms[variable] = terms.get(variable, 0) + factor
    return Linear({variable: factor % ORDER for variable, factor in terms.items() if factor % ORDER})


class Multiplier(NamedTuple):
    """The factors and the product of one multiplier."""

    left: Linear
    right: Linear
    product: Linear


class Opening(NamedTuple):
    """What a commitment holds; its maker alone knows."""

    value: int
    blinding: int


class ConstraintSystem:
    """Variables and constraints, in the order in which they were made.

    Attributes:
        commitments: encoded, of the values committed to; a prover's system has them from `openings`.
        constraints: sums that are zero.
        multipliers: how many there are.
    """

    def __init__(self, *, proving: bool) -> None:
        """Begin with nothing.

        Args:
            proving: whether the values of the variables are known here.
        """
        self.proving: Final = proving
        self.commitments: list[bytes] = []
        self.constraints: list[Linear] = []
        self.multipliers = 0
        self._terms = 0
        self._values: dict[Variable, int] = {ONE: 1}
        self._openings: list[Opening] = []

    def commit(self, commitment: bytes, opening: Opening | None = None) -> Linear:
        """Take in a committed value.

        Args:
            commitment: its 32 bytes; whether they are a point shows when the proof is made or verified.
            opening: what it holds: for a prover's system, and for it alone.

        Raises:
            Refused: PROGRAM_TOO_COSTLY beyond MAX_COMMITTED.
        """
        if (opening is not None) is not self.proving:
            raise ValueError("openings are for provers, and they need all of them")
        if len(self.commitments) == MAX_COMMITTED:
            raise Refused(Reason.PROGRAM_TOO_COSTLY, f"a proof is over {MAX_COMMITTED} committed values at most")
        variable = Variable(Kind.COMMITTED, len(self.commitments))
        self.commitments.append(commitment)
        if opening is not None:
            self._openings.append(opening)
            self._values[variable] = opening.value % ORDER
        return Linear({variable: 1})

    def allocate(self, left: int | None, right: int | None) -> Multiplier:
        """Add a multiplier whose factors nothing binds yet.

        Args:
            left: value of the left factor; None in a verifier's system.
            right: value of the right factor, likewise.

        Raises:
            Refused: PROGRAM_TOO_COSTLY beyond MAX_MULTIPLIERS.
        """
        if ((left is not None) and (right is not None)) is not self.proving:
            raise ValueError("values are for provers, and they need both")
        if self.multipliers == MAX_MULTIPLIERS:
            raise Refused(Reason.PROGRAM_TOO_COSTLY, f"a proof has {MAX_MULTIPLIERS} multipliers at most")
        places = [Variable(kind, self.multipliers) for kind in _OF_MULTIPLIER]
        self.multipliers += 1
        if left is not None and right is not None:
            self._values.update(zip(places, (left % ORDER, right % ORDER, left * right % ORDER), strict=True))
        return Multiplier(*[Linear({place: 1}) for place in places])

    def multiply(self, left: Linear, right: Linear) -> Linear:
        """Return the product of two sums. A constant factor costs no multiplier.

        Raises:
            Refused: PROGRAM_TOO_COSTLY.
        """
        for factor, other in ((left, right), (right, left)):
            constant = factor.constant
            if constant is not None:
                return other.scale(constant)
        made = self.allocate(self.value(left), self.value(right))
        self.constrain(left - made.left)
        self.constrain(right - made.right)
        return made.product

    def constrain(self, zero: Linear) -> None:
        """State that a sum is zero. Whether it is shows when the proof is made.

        Raises:
            Refused: PROGRAM_TOO_COSTLY beyond MAX_TERMS.
        """
        self._terms += len(zero.terms)
        if self._terms > MAX_TERMS:
            raise Refused(Reason.PROGRAM_TOO_COSTLY, f"the constraints of a proof have {MAX_TERMS} terms at most")
        self.constraints.append(zero)

    def value(self, of: Linear) -> int | None:
        """Return what a sum is in a prover's system, below ORDER; None in a verifier's."""
        if not self.proving:
            return None
        return sum(factor * self._values[variable] for variable, factor in of.terms.items()) % ORDER

    def assignment(self, kind: Kind) -> list[int]:
        """Return the values of all variables of a kind, in a prover's system."""
        count = len(self.commitments) if kind is Kind.COMMITTED else self.multipliers
        return [self._values[Variable(kind, place)] for place in range(count)]

    def failing(self) -> int | None:
        """Return the place of a constraint that does not hold in a prover's system; None if all do."""
        return next((place for place, zero in enumerate(self.constraints) if self.value(zero)), None)

    @property
    def openings(self) -> tuple[Opening, ...]:
        """What the commitments hold; empty in a verifier's system."""
        return tuple(self._openings)

    def digest(self) -> bytes:
        """Return 32 bytes that stand for the whole statement but the commitments: counts and constraints."""
        hashed = hashlib.sha3_256(Label.CONSTRAINTS.prefix)
        for count in (self.multipliers, len(self.commitments), len(self.constraints)):
            hashed.update(count.to_bytes(8, "little"))
        encoded: dict[int, bytes] = {}  # of a few factors, most of them 1 and -1, that come again and again
        for constraint in self.constraints:
            parts = [len(constraint.terms).to_bytes(8, "little")]
            for (kind, place), factor in sorted(constraint.terms.items()):
                if factor not in encoded:
                    encoded[factor] = encode_scalar(factor)
                parts += (kind << 32 | place).to_bytes(8, "little"), encoded[factor]
            hashed.update(b"".join(parts))
        return hashed.digest()

    def weighted(self, z: int) -> "Weighted":
        """Return all constraints as one: the i-th times z^(i+1), summed, by kinds of variables.

        Committed values and the constant stand on the other side of the equation, with the other sign.
        """
        count, weight = self.multipliers, z
        columns = [[0] * size for size in (1, count, count, count, len(self.commitments))]  # in the order of `Kind`
        for constraint in self.constraints:
            for (kind, place), factor in constraint.terms.items():
                columns[kind][place] += weight * factor
            weight = weight * z % ORDER
        (constant,), left, right, product, committed = columns
        return Weighted(left, right, product, [-value for value in committed], -constant % ORDER)


class Weighted(NamedTuple):
    """One constraint: <left, a_L> + <right, a_R> + <product, a_O> = <committed, v> + constant. Not reduced."""

    left: list[int]
    right: list[int]
    product: list[int]
    committed: list[int]
    constant: int
