"""Transactions that are no calls, of whichever kind: checked against the state, then written."""

from typing import NamedTuple

from apps.anonymous.accounts import AccountMove, apply_account_payment, check_account_payment, payment_claim
from apps.anonymous.ring import RingMove, apply_ring_payment, check_ring_payment, ring_claim
from apps.hidden import check_ranges
from apps.script import check_spend
from apps.transfer import Spending, apply_spend, successions
from apps.validity import View
from crypto.hashing import Label, digest
from crypto.quisquis import default_quisquis
from crypto.ringpay import default_ring_payments
from state.changes import Overlay
from state.receipt import Event, Succession
from state.transaction import (
    SET_SIZE,
    AccountPayment,
    Anonymous,
    Decoded,
    RingPayment,
    Spend,
    made_by,
)
from state.types import Address, Height

Move = Spending | AccountMove | RingMove
"""What a checked transaction does. `owners` are those that are known to pay; `proofs(wtxid)` is left to verify."""


class Moved(NamedTuple):
    """What writing a move gave."""

    events: list[Event]
    touched: set[Address]
    successions: list[Succession]


def check_move(
    payload: Spend | Anonymous, decoded: Decoded, keys: tuple[bytes, ...], view: View
) -> Move:
    """Check a transaction whose form was checked. Proofs are only counted.

    Args:
        payload: of the transaction.
        decoded: the transaction.
        keys: the public keys of its signers.
        view: the chain.

    Raises:
        Refused: as `check_spend`, `check_account_payment`, `check_ring_payment`.
    """
    if isinstance(payload, AccountPayment):
        return check_account_payment(payload, decoded, view)
    if isinstance(payload, RingPayment):
        return check_ring_payment(payload, decoded, view)
    return check_spend(payload, decoded, keys, view)


def check_alone(decoded: Decoded) -> None:
    """Verify what the bytes of a transaction whose form was checked show by themselves: as much of its proofs as is
    about nothing in the state.

    Of an anonymous payment nobody but the payer makes other bytes that pass, of the same body: a proof that is left out
    here is bound to those that are not. Of a transfer or script, what is shown but ranges waits for the outputs spent.

    Raises:
        Refused: MISSING_PROOF, MALFORMED, BAD_POINT, BAD_SCALAR, BAD_RANGE_PROOF, BAD_EXCESS, BAD_MOVEMENT,
            BAD_SHUFFLE, UNBALANCED.
    """
    payload = decoded.body.payload
    seed = digest(Label.BATCH_WEIGHTS, decoded.wtxid)
    if isinstance(payload, AccountPayment):
        nobody = (payload.receiver * 2,) * SET_SIZE
        default_quisquis().verify_alone(payment_claim(payload, decoded, nobody), seed)
    elif isinstance(payload, RingPayment):
        default_ring_payments().verify_alone(ring_claim(payload, decoded, [()] * len(payload.rings)), seed)
    else:
        check_ranges(decoded)


def apply_move(move: Move, decoded: Decoded, state: Overlay, height: Height) -> Moved:
    """Write what `check_move` allowed in the block at `height`."""
    made = made_by(decoded.body.payload)
    touched = move.owners | {output.owner for output in made}
    if isinstance(move, AccountMove):
        return Moved(apply_account_payment(move, state, height), touched, [])
    if isinstance(move, RingMove):
        return Moved(apply_ring_payment(move, decoded.txid, state, height), touched, [])
    return Moved(
        apply_spend(made, decoded, move, state), touched, successions(move.spent, made, decoded.txid)
    )
