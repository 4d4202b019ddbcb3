"""A hash that is cheap inside a proof: Poseidon over the scalars of Ristretto255.

Hashes of bits cost some 20,000 multipliers in a constraint system, this one 243. The S-box is x^5: x^3 is no
permutation modulo ORDER, as 3 divides ORDER - 1, and 5 does not. Width 3 (two inputs and a capacity), 8 full and 57
partial rounds: what the paper's section 5.4 and tables ask for at 128 bits over a prime of some 255 bits, its margin
included. Constants come from SHAKE256 of a public name instead of the paper's Grain register, the matrix is a Cauchy
matrix as in the paper; its round numbers assume such a matrix. It is younger and less studied than SHA-3: use it
inside proofs alone.

Source: Grassi, Khovratovich, Rechberger, Roy, Schofnegger, "Poseidon" (USENIX Security 2021).
"""

import hashlib
from functools import cache
from typing import Final, NamedTuple

from crypto.constraints import ConstraintSystem, Linear, linear, total
from crypto.hashing import Label
from crypto.ristretto import ORDER, UNIFORM_SIZE, scalar_from_uniform

WIDTH: Final = 3
FULL_ROUNDS: Final = 8
PARTIAL_ROUNDS: Final = 57
_CAPACITY: Final = 2
"""Begins the state: two inputs, each one element. Another use of the permutation begins with another number."""


class Parameters(NamedTuple):
    """Constants of a round for each element, and the rows of the matrix."""

    constants: tuple[tuple[int, ...], ...]
    matrix: tuple[tuple[int, ...], ...]


@cache
def parameters() -> Parameters:
    """Return the constants, always the same."""
    rounds = FULL_ROUNDS + PARTIAL_ROUNDS
    stream = hashlib.shake_256(Label.ALGEBRAIC_HASH.prefix).digest(rounds * WIDTH * UNIFORM_SIZE)
    drawn = [scalar_from_uniform(stream[at : at + UNIFORM_SIZE]) for at in range(0, len(stream), UNIFORM_SIZE)]
    constants = tuple(tuple(drawn[at : at + WIDTH]) for at in range(0, len(drawn), WIDTH))
    # A Cauchy matrix: every square part of it is invertible, so no difference stays in few elements.
    matrix = tuple(
        tuple(pow(row + WIDTH + column, -1, ORDER) for column in range(WIDTH)) for row in range(WIDTH)
    )
    return Parameters(constants, matrix)


def digest(left: int, right: int) -> int:
    """Return the hash of two scalars, a scalar."""
    state = [_CAPACITY, left % ORDER, right % ORDER]
    for place, constants in enumerate(parameters().constants):
        state = [(element + constant) % ORDER for element, constant in zip(state, constants, strict=True)]
        boxes = WIDTH if _is_full(place) else 1
        state[:boxes] = [pow(element, 5, ORDER) for element in state[:boxes]]
        state = [
            sum(factor * element for factor, element in zip(row, state, strict=True)) % ORDER
            for row in parameters().matrix
        ]
    return state[0]


def compress(system: ConstraintSystem, left: Linear, right: Linear) -> Linear:
    """Return the hash of two sums inside a proof. Cost: 3 multipliers for each S-box, 243 in all.

    Raises:
        Refused: PROGRAM_TOO_COSTLY.
    """
    state = [linear(_CAPACITY), left, right]
    for place, constants in enumerate(parameters().constants):
        state = [element + constant for element, constant in zip(state, constants, strict=True)]
        boxes = WIDTH if _is_full(place) else 1
        state[:boxes] = [_fifth_power(system, element) for element in state[:boxes]]
        state = [
            total(element.scale(factor) for factor, element in zip(row, state, strict=True))
            for row in parameters().matrix
        ]
    return state[0]


def _is_full(place: int) -> bool:
    """Tell whether all elements go through the S-box in a round: the first and the last four."""
    return not FULL_ROUNDS // 2 <= place < FULL_ROUNDS // 2 + PARTIAL_ROUNDS


def _fifth_power(system: ConstraintSystem, element: Linear) -> Linear:
    square = system.multiply(element, element)
    return system.multiply(system.multiply(square, square), element)
