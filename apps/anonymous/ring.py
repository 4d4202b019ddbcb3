"""Payments with ring coins: what they need of the state, and what they change there. None is taken yet."""

from typing import NamedTuple

from apps.prooftask import ProofTask
from apps.validity import View
from crypto.errors import Reason, Refused
from crypto.ringpay import RingPaymentClaim
from state.changes import Overlay
from state.receipt import Event
from state.transaction import Decoded, RingPayment
from state.types import Address, Height, TxId, WtxId


class RingMove(NamedTuple):
    """A payment with ring coins that may come next.

    Attributes:
        payment: the payload.
        fee: what leaves the native ring coins besides the clear outputs.
        claim: what is left to prove.
    """

    payment: RingPayment
    fee: int
    claim: RingPaymentClaim

    @property
    def owners(self) -> set[Address]:
        """Nobody is known to have paid."""
        return set()

    def proofs(self, wtxid: WtxId) -> ProofTask:
        """Return what is to be verified of the transaction of this name."""
        return ProofTask(wtxid, ring=self.claim)


def check_ring_payment(payment: RingPayment, decoded: Decoded, view: View) -> RingMove:
    """Check a payment whose form was checked against the state. Raises Refused(NOT_AVAILABLE)."""
    raise Refused(Reason.NOT_AVAILABLE, "payments with ring coins are not taken yet")


def apply_ring_payment(move: RingMove, txid: TxId, state: Overlay, height: Height) -> list[Event]:
    """Write what was checked; clear outputs are the outputs 0, 1 ... of `txid`. Raises Refused(NOT_AVAILABLE)."""
    raise Refused(Reason.NOT_AVAILABLE, "payments with ring coins are not taken yet")
