"""What the bytes of a ring payment alone have to fulfil."""

from crypto.errors import Reason, Refused
from state.transaction import RingPayment, RingProof


def check_ring_form(payment: RingPayment, proof: RingProof) -> None:
    """Check a payment and its proof by themselves. Raises Refused(NOT_AVAILABLE)."""
    raise Refused(Reason.NOT_AVAILABLE, "payments with ring coins are not taken yet")
