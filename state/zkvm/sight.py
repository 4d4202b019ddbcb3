"""What a program sees of the transaction that runs it, and what its prover knows besides."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from crypto.constraints import Opening
from state.transaction import Output
from state.types import Address, Height


class Sight(NamedTuple):
    """The public side.

    Attributes:
        script: address of the script that the program belongs to.
        inputs, outputs: of the transaction, in its order.
        data: arguments of the call; they lie on the stack when the program begins, the last one on top.
        mintime, maxtime: the first and the last height at which the transaction may be in a block.
        signers: whose signatures it carries.
    """

    script: bytes
    inputs: tuple[Output, ...]
    outputs: tuple[Output, ...]
    data: tuple[bytes, ...]
    mintime: Height
    maxtime: Height
    signers: frozenset[Address]


class Secrets(NamedTuple):
    """What the prover knows.

    Attributes:
        openings: what each commitment holds that the program looks at.
        allocated: the numbers of `alloc`, in order.
    """

    openings: Mapping[bytes, Opening]
    allocated: Iterator[int]
