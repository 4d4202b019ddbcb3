"""Zero-knowledge proofs that a block's transactions stand on: verified together, after everything else holds."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from crypto.batch import Fault
from crypto.confidential import Claim, default_proofs
from crypto.hashing import Label, digest
from state.types import WtxId
from state.zkvm.proving import ProgramClaim, program_faults


class ProofTask(NamedTuple):
    """Proofs that a transaction stands on and that are not verified yet.

    A wtxid names them with all that they are about: body and proofs, and by their outpoints the outputs spent.

    Attributes:
        wtxid: of the transaction.
        claim: about its hidden amounts, if it moves any.
        program: about the program that it runs, if that leaves something to prove.
    """

    wtxid: WtxId
    claim: Claim | None
    program: ProgramClaim | None = None


ProofCheck = Callable[[Sequence[ProofTask]], Sequence[Fault]]
"""Verifies the proofs of a block's transactions at once and returns what does not hold, by place and in order. It must
give the same answer as `proofs_hold`; it may remember answers, by wtxid."""


def faults_of(tasks: Sequence[ProofTask], entropy: bytes) -> tuple[Fault, ...]:
    """Verify every proof, now: those of one kind as one sum.

    Args:
        tasks: of any number of transactions.
        entropy: 32 bytes that nobody knew when the proofs were made.

    Returns:
        What does not hold, in order; of each transaction one fault.
    """
    amounts = [(place, task.claim) for place, task in enumerate(tasks) if task.claim is not None]
    programs = [(place, task.program) for place, task in enumerate(tasks) if task.program is not None]
    faults = {
        programs[fault.place][0]: fault.refused
        for fault in program_faults([program for _, program in programs], entropy)
    }
    for fault in default_proofs().faults([claim for _, claim in amounts], entropy) if amounts else ():
        faults[amounts[fault.place][0]] = fault.refused
    return tuple(Fault(place, faults[place]) for place in sorted(faults))


def proofs_hold(tasks: Sequence[ProofTask]) -> tuple[Fault, ...]:
    """Verify every proof, now. The weights follow from the transactions and from all that they weigh."""
    return faults_of(tasks, digest(Label.BATCH_WEIGHTS, b"".join(task.wtxid for task in tasks)))
