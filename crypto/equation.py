"""What a Bulletproof says in the end: a sum of points that is the identity. Many are checked as one sum.

The generators that all proofs share stand apart from the points of a single one, so that in a batch each is multiplied
once. Source: Bünz et al., "Bulletproofs" (IEEE S&P 2018), section 6.1.
"""

from collections.abc import Sequence
from typing import NamedTuple

from crypto.innerproduct import add_padded
from crypto.pedersen import Pedersen
from crypto.ristretto import Point, Vector, is_identity


class Equation(NamedTuple):
    """One proof. Integers need not be reduced.

    Attributes:
        value, blinding: how often the two generators of Pedersen commitments.
        left, right: how often each generator of the left and right vector.
        scalars, points: what belongs to this proof alone.
    """

    value: int
    blinding: int
    left: Vector
    right: Vector
    scalars: list[int]
    points: list[Point]


class Bases(NamedTuple):
    """The shared generators: of commitments, and of the left and the right vectors."""

    pedersen: Pedersen
    left: Sequence[Point]
    right: Sequence[Point]


def all_hold(bases: Bases, equations: Sequence[Equation], weights: Sequence[int]) -> bool:
    """Tell whether the weighted sum of the equations is the identity; `weights` are as many, random and not zero."""
    group = bases.pedersen.group
    value, blinding, scalars, points = 0, 0, list[int](), list[Point]()
    left, right = group.vector(()), group.vector(())
    for equation, weight in zip(equations, weights, strict=True):
        value, blinding = value + weight * equation.value, blinding + weight * equation.blinding
        left = add_padded(group, left, equation.left.scale(weight))
        right = add_padded(group, right, equation.right.scale(weight))
        scalars += [weight * scalar for scalar in equation.scalars]
        points += equation.points
    total = group.vector((value, blinding, *scalars)).join(left).join(right)
    shared = [*bases.left[: len(left)], *bases.right[: len(right)]]
    own = [bases.pedersen.value_base, bases.pedersen.blinding_base, *points]
    return is_identity(group.multiscalar(total, own + shared))
