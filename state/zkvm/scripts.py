"""Scripts: programs under one address, of which a transaction shows the one that it runs.

The address is the root of a Merkle tree (`crypto.merkle`) over the programs, in order; the others stay unknown until
they are run.
"""

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta

from crypto.errors import Reason, Refused
from crypto.merkle import inclusion_proof, merkle_root, verify_inclusion
from state.encoding import Record
from state.types import Hash32

MAX_PROGRAMS: Final = 1 << 16
"""Under one address."""
_MAX_PATH: Final = 16


class CallProof(Record, frozen=True):
    """Shows that a program is the `index`-th of the `size` under an address; `path` are the siblings, leaf to root."""

    index: Annotated[int, Meta(ge=0, le=MAX_PROGRAMS - 1)]
    size: Annotated[int, Meta(ge=1, le=MAX_PROGRAMS)]
    path: Annotated[tuple[Hash32, ...], Meta(max_length=_MAX_PATH)]


def script_address(programs: Sequence[bytes]) -> bytes:
    """Return the 32-byte address of a script.

    Raises:
        Refused: BAD_ARGUMENT for no program, or too many.
    """
    if not 1 <= len(programs) <= MAX_PROGRAMS:
        raise Refused(Reason.BAD_ARGUMENT, f"a script has 1 to {MAX_PROGRAMS} programs, not {len(programs)}")
    return merkle_root(programs)


def prove_call(programs: Sequence[bytes], index: int) -> CallProof:
    """Return the proof that a transaction shows beside one of the programs. Raises Refused(BAD_ARGUMENT)."""
    return CallProof(index, len(programs), inclusion_proof(programs, index))


def check_call_proof(address: bytes, program: bytes, proof: CallProof) -> None:
    """Check that a program is one of those under an address. Raises Refused(WRONG_SCRIPT)."""
    try:
        verify_inclusion(address, program, proof.index, proof.size, proof.path)
    except Refused:
        raise Refused(Reason.WRONG_SCRIPT, f"the program is none of those under {address.hex()}") from None
