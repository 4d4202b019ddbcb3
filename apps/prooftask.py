"""Zero-knowledge proofs that a block's transactions stand on: verified together, after everything else holds."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from crypto.accounts import Closing
from crypto.batch import Fault
from crypto.confidential import Claim, default_proofs
from crypto.errors import Refused
from crypto.hashing import Label, digest
from crypto.quisquis import PaymentClaim, default_quisquis
from crypto.ringpay import RingPaymentClaim, default_ring_payments
from state.types import WtxId
from state.zkvm.proving import ProgramClaim, program_faults


class ClosingClaim(NamedTuple):
    """That an anonymous account may be closed, and the proof of that."""

    closing: Closing
    proof: bytes


class ProofTask(NamedTuple):
    """Proofs that a transaction stands on and that are not verified yet.

    A wtxid names them with all that they are about: body and proofs, and by their outpoints the outputs spent.

    Attributes:
        wtxid: of the transaction.
        claim: about its hidden amounts, if it moves any.
        program: about the program that it runs, if that leaves something to prove.
        account: about the anonymous accounts that it renews.
        ring: about the ring coins that it spends.
        closings: about the anonymous accounts that a call closes. A call that fails on them may be in a block, so only
            the mempool has them verified beforehand.
    """

    wtxid: WtxId
    claim: Claim | None = None
    program: ProgramClaim | None = None
    account: PaymentClaim | None = None
    ring: RingPaymentClaim | None = None
    closings: tuple[ClosingClaim, ...] = ()


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
    faults: dict[int, Refused] = {}

    def collect(places: Sequence[int], found: Sequence[Fault]) -> None:
        faults.update({places[fault.place]: fault.refused for fault in found})

    accounts = {place: task.account for place, task in enumerate(tasks) if task.account is not None}
    rings = {place: task.ring for place, task in enumerate(tasks) if task.ring is not None}
    programs = {place: task.program for place, task in enumerate(tasks) if task.program is not None}
    amounts = {place: task.claim for place, task in enumerate(tasks) if task.claim is not None}
    if accounts:
        collect(tuple(accounts), default_quisquis().faults(tuple(accounts.values()), entropy))
    if rings:
        collect(tuple(rings), default_ring_payments().faults(tuple(rings.values()), entropy))
    if programs:
        collect(tuple(programs), program_faults(tuple(programs.values()), entropy))
    if amounts:
        collect(tuple(amounts), default_proofs().faults(tuple(amounts.values()), entropy))
    for place, task in enumerate(tasks):
        try:
            for closing, proof in task.closings:
                default_quisquis().verify_closing(closing, proof)
        except Refused as refused:
            faults[place] = refused
    return tuple(Fault(place, faults[place]) for place in sorted(faults))


def proofs_hold(tasks: Sequence[ProofTask]) -> tuple[Fault, ...]:
    """Verify every proof, now. The weights follow from the transactions and from all that they weigh."""
    return faults_of(tasks, digest(Label.BATCH_WEIGHTS, b"".join(task.wtxid for task in tasks)))
