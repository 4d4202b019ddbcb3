"""Proofs that a program ran: made by whoever runs it, verified by everybody else, a block's together."""

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

from crypto.batch import Fault, find_faults
from crypto.constraints import ConstraintSystem
from crypto.errors import Reason, Refused
from crypto.group import available, load
from crypto.r1cs import ConstraintClaim, ConstraintProofs
from crypto.transcript import Transcript
from state.zkvm.machine import MAX_MULTIPLIERS, run_program
from state.zkvm.sight import Secrets, Sight

PROTOCOL: Final = b"zkvm/1"


class ProgramClaim(NamedTuple):
    """A proof that a program ran in a transaction.

    Attributes:
        context: 32 bytes, the digest that the transaction's owners sign: program, call, inputs, outputs, fee, data.
        system: what running the program as a verifier gave.
        proof: of this system.
    """

    context: bytes
    system: ConstraintSystem
    proof: bytes


def prove_program(program: bytes, sight: Sight, secrets: Secrets, context: bytes, entropy: bytes) -> bytes:
    """Run a program with all that is secret, and return the proof; empty if nothing is left to prove.

    Args:
        program: its bytes.
        sight: the transaction.
        secrets: openings and free numbers.
        context: the digest that the transaction's owners sign.
        entropy: 32 fresh random bytes.

    Raises:
        Refused: as `run_program`; UNPROVEN if a hidden condition does not hold or an opening does not open.
    """
    ran = run_program(program, sight, secrets)
    if not ran.needs_proof:
        return b""
    return program_proofs().prove(Transcript(PROTOCOL, context), ran.system, entropy)


def check_proof_size(system: ConstraintSystem, proof: bytes, *, needed: bool) -> None:
    """Check the length of a proof of a system before it is verified.

    Raises:
        Refused: MISSING_PROOF, SURPLUS_PROOF, MALFORMED; PROGRAM_TOO_COSTLY.
    """
    if not proof and needed:
        raise Refused(Reason.MISSING_PROOF, "the program leaves something to prove, and there is no proof")
    if proof and not needed:
        raise Refused(Reason.SURPLUS_PROOF, "the program leaves nothing to prove, and there is a proof")
    if needed and len(proof) != program_proofs().proof_size(system):
        size = program_proofs().proof_size(system)
        raise Refused(Reason.MALFORMED, f"the proof of this program has {size} bytes, not {len(proof)}")


def program_faults(claims: Sequence[ProgramClaim], entropy: bytes) -> tuple[Fault, ...]:
    """Return which of the claims do not hold, and why; all are verified as one sum.

    Args:
        claims: with proofs of the right size.
        entropy: 32 random bytes that nobody knew when the proofs were made.
    """

    def verify(some: Sequence[ProgramClaim]) -> None:
        program_proofs().verify_batch(
            [ConstraintClaim(Transcript(PROTOCOL, one.context), one.system, one.proof) for one in some], entropy
        )

    return find_faults(claims, verify)


@cache
def program_proofs() -> ConstraintProofs:
    """Return the proofs over the backend to use: one object for the life of the process."""
    return ConstraintProofs(load(available()[0]), MAX_MULTIPLIERS)
