"""Payments between anonymous accounts: what they need of the state, and what they change there.

Whoever pays, is paid and helps to hide looks the same: nine accounts are replaced by nine others in the same slots, and
a tenth is added. That the new ones hold what the old ones held, less the fee, and that a payer agreed, is shown by the
proof alone. It is sound only while discrete logarithms are hard, so what accounts hold together is counted in clear:
forged money can leave them at the expense of their owners, never above that count.
"""

from collections.abc import Sequence
from typing import NamedTuple

from apps.anonymous.records import (
    KeptAccount,
    add_held,
    append_account,
    check_free,
    forget_account,
    held,
    known_account,
    put_account,
)
from apps.prooftask import ProofTask
from apps.validity import View, check_signers
from crypto.errors import Reason, Refused
from crypto.quisquis import PaymentClaim, PaymentProof
from state.changes import Overlay
from state.receipt import Event
from state.transaction import AccountPayment, AccountProof, Decoded, sign_digest
from state.types import Address, Height, WtxId


class AccountMove(NamedTuple):
    """A payment between accounts that may come next.

    Attributes:
        payment: the payload.
        accounts: those that it renews, in its order.
        fee: what leaves the accounts.
        claim: what is left to prove.
    """

    payment: AccountPayment
    accounts: tuple[KeptAccount, ...]
    fee: int
    claim: PaymentClaim

    @property
    def owners(self) -> set[Address]:
        """Nobody is known to have paid."""
        return set()

    def proofs(self, wtxid: WtxId) -> ProofTask:
        """Return what is to be verified of the transaction of this name."""
        return ProofTask(wtxid, account=self.claim)


def check_account_payment(payment: AccountPayment, decoded: Decoded, view: View) -> AccountMove:
    """Check a payment whose form was checked against the state. Its proof is not verified yet.

    Raises:
        Refused: SURPLUS_SIGNATURE, MISSING_SIGNATURE, ACCOUNT_NOT_FOUND, ACCOUNT_EXISTS, TURNSTILE_OVERDRAWN.
    """
    check_signers((), decoded)
    kept = tuple(known_account(view.reader, name) for name in payment.accounts)
    for account in payment.outputs:
        check_free(view.reader, account)
    fee = decoded.body.fee
    if fee > held(view.reader):
        raise Refused(Reason.TURNSTILE_OVERDRAWN, f"the accounts hold {held(view.reader)} unxs, the fee is {fee}")
    return AccountMove(payment, kept, fee, payment_claim(payment, decoded, tuple(one.account for one in kept)))


def payment_claim(payment: AccountPayment, decoded: Decoded, accounts: Sequence[bytes]) -> PaymentClaim:
    """Return what a payment has to prove, given the bytes of the accounts that it renews.

    Raises:
        Refused: MISSING_PROOF.
    """
    shown = next((proof for proof in decoded.transaction.proofs if isinstance(proof, AccountProof)), None)
    if shown is None:
        raise Refused(Reason.MISSING_PROOF, "a payment between accounts comes without its proof")
    proof = PaymentProof(
        shown.mixed, shown.moved, shown.first, shown.second, shown.amounts, shown.movement, shown.ranges
    )
    inputs = (*accounts, payment.receiver * 2)  # the new account holds 0, with blinding 1
    return PaymentClaim(
        sign_digest(decoded.transaction.body), inputs, payment.outputs, decoded.body.fee, proof
    )


def apply_account_payment(move: AccountMove, state: Overlay, height: Height) -> list[Event]:
    """Write what was checked: each new account into the slot of an old one, the last behind all others."""
    payment = move.payment
    for name in payment.accounts:
        forget_account(state, name)
    for kept, account in zip(move.accounts, payment.outputs, strict=False):
        put_account(state, account, kept.slot, height)
    append_account(state, payment.outputs[-1], height)
    add_held(state, -move.fee)
    slots = " ".join(str(kept.slot) for kept in move.accounts)
    return [Event("anonymous/accounts", (("slots", slots), ("fee", str(move.fee))))]
