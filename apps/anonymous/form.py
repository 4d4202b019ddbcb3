"""What the bytes of an anonymous payment alone have to fulfil: checked before any account, coin or proof."""

from itertools import pairwise

from apps.anonymous.ringform import check_ring_form
from crypto.errors import Reason, Refused
from crypto.ristretto import ENCODING_SIZE, IDENTITY
from state.transaction import AccountPayment, AccountProof, Anonymous, Decoded, RingPayment, RingProof


def check_anonymous_form(payment: Anonymous, decoded: Decoded) -> None:
    """Check a payment by itself, and that it comes with a proof of its kind.

    Raises:
        Refused: MISSING_PROOF, SURPLUS_PROOF; DUPLICATE_INPUT, BAD_ARGUMENT, BAD_POINT; and as `check_ring_form`.
    """
    proofs = decoded.transaction.proofs
    if not proofs:
        raise Refused(Reason.MISSING_PROOF, "an anonymous payment comes without its proof")
    if isinstance(payment, AccountPayment) and isinstance(proofs[0], AccountProof):
        _check_accounts(payment)
    elif isinstance(payment, RingPayment) and isinstance(proofs[0], RingProof):
        check_ring_form(payment, proofs[0])
    else:
        raise Refused(Reason.SURPLUS_PROOF, "the proof is one of another kind of payment")


def _check_accounts(payment: AccountPayment) -> None:
    """Check the form of a payment between accounts; that points are points, its proof says."""
    for one, next_one in pairwise(payment.accounts):
        if one == next_one:
            raise Refused(Reason.DUPLICATE_INPUT, f"the account {one.hex()} comes twice")
        if one > next_one:
            raise Refused(Reason.BAD_ARGUMENT, "the accounts are not in rising order")
    if len(set(payment.outputs)) != len(payment.outputs):
        raise Refused(Reason.BAD_ARGUMENT, "two new accounts are alike")
    for encoding in (payment.receiver, *payment.outputs):
        if IDENTITY in (encoding[at : at + ENCODING_SIZE] for at in range(0, len(encoding), ENCODING_SIZE)):
            raise Refused(Reason.BAD_POINT, "the identity is part of an account or of a key")
