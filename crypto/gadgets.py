"""Statements that many constraint systems are made of: bits, ranges, equality, choices, paths in a Merkle tree.

Each takes a system and sums of its variables, adds what has to hold, and returns sums. A prover's system gets values
beside them; what is added never depends on a value. The costs are in multipliers.
"""

from collections.abc import Sequence
from typing import Final

from crypto.algebraic import compress
from crypto.constraints import ConstraintSystem, Linear, linear, total
from crypto.ristretto import ORDER

MOST_BITS: Final = 252
"""Of a range: 2^252 is just below the order of the group."""


def boolean(system: ConstraintSystem, value: int | None) -> Linear:
    """Return a new variable that is 0 or 1. Cost: 1.

    Args:
        system: where it is added.
        value: 0 or 1 in a prover's system, None in a verifier's.
    """
    bit = system.allocate(value, None if value is None else 1 - value)
    system.constrain(bit.left + bit.right - 1)
    system.constrain(bit.product)
    return bit.left


def in_range(system: ConstraintSystem, of: Linear, bits: int) -> tuple[Linear, ...]:
    """State that a sum is in 0 .. 2^bits - 1; return its bits, the lowest first. Cost: `bits`."""
    if not 0 < bits <= MOST_BITS:
        raise ValueError(f"a range has 1 to {MOST_BITS} bits, not {bits}")
    value = system.value(of)
    made = tuple(boolean(system, None if value is None else value >> place & 1) for place in range(bits))
    system.constrain(total([of.scale(-1), *(bit.scale(1 << place) for place, bit in enumerate(made))]))
    return made


def equal(system: ConstraintSystem, left: Linear, right: Linear) -> None:
    """State that two sums are equal. Cost: 0."""
    system.constrain(left - right)


def is_zero(system: ConstraintSystem, of: Linear) -> Linear:
    """Return a sum that is 1 if another is zero, else 0. Cost: 2.

    For a zero the first product leaves no choice but 1; for anything else the second leaves none but 0.
    """
    value = system.value(of)
    inverse = None if value is None else pow(value, -1, ORDER) if value else 0
    first = system.allocate(value, inverse)
    system.constrain(first.left - of)
    answer = linear(1) - first.product
    second = system.allocate(value, system.value(answer))
    system.constrain(second.left - of)
    system.constrain(second.right - answer)
    system.constrain(second.product)
    return answer


def is_equal(system: ConstraintSystem, left: Linear, right: Linear) -> Linear:
    """Return a sum that is 1 if two are equal, else 0. Cost: 2."""
    return is_zero(system, left - right)


def both(system: ConstraintSystem, left: Linear, right: Linear) -> Linear:
    """Return 1 if both bits are 1, else 0. Cost: 1."""
    return system.multiply(left, right)


def either(system: ConstraintSystem, left: Linear, right: Linear) -> Linear:
    """Return 1 if at least one of two bits is 1, else 0. Cost: 1."""
    return left + right - system.multiply(left, right)


def negated(bit: Linear) -> Linear:
    """Return 1 if a bit is 0, else 0. Cost: 0."""
    return linear(1) - bit


def chosen(system: ConstraintSystem, bit: Linear, one: Linear, zero: Linear) -> Linear:
    """Return `one` if a bit is 1, else `zero`. Cost: 1."""
    return zero + system.multiply(bit, one - zero)


def merkle_root(
    system: ConstraintSystem, leaf: Linear, turns: Sequence[Linear], siblings: Sequence[Linear]
) -> Linear:
    """Return the root that a path leads to. Cost: one hash (`crypto.algebraic`) and 1 for each step.

    Args:
        system: where it is added.
        leaf: what the path begins with.
        turns: from the leaf up, bits: 1 if the node is the right child.
        siblings: from the leaf up, the other child.
    """
    node = leaf
    for turn, sibling in zip(turns, siblings, strict=True):
        left = chosen(system, turn, sibling, node)
        node = compress(system, left, node + sibling - left)
    return node
