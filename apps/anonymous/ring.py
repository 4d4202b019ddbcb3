"""Payments with ring coins: what they need of the state, and what they change there.

Each ring names coins of one asset, none too young, one of which is spent: which, nobody can tell. So none of them is
ever removed; what must not come twice is the key image. That the payer holds one coin of each ring, and that nothing of
an asset is made or lost, the proofs show. They are sound only while discrete logarithms are hard, so what the ring
coins of an asset hold together is counted in clear: forged coins can come out only at the expense of others.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from apps.anonymous.records import (
    KeptCoin,
    add_coin,
    add_image,
    add_ring_pool,
    check_new_image,
    check_new_key,
    known_coin,
    ring_pool,
)
from apps.prooftask import ProofTask
from apps.transfer import made_event
from apps.validity import View, check_signers
from crypto import ring
from crypto.confidential import Claim
from crypto.errors import Reason, Refused
from crypto.ringpay import RingPaymentClaim, balances_of
from state.changes import Overlay
from state.receipt import Event
from state.records import asset_text, encode_output, output_key
from state.transaction import Decoded, Ring, RingPayment, RingProof, sign_digest
from state.types import NATIVE, Address, AssetId, Height, TxId, WtxId

RING_AGE: Final = 10
"""Blocks that a coin must be old before it may be in a ring: nobody can make coins for a ring that he sees coming."""


class RingMove(NamedTuple):
    """A payment with ring coins that may come next.

    Attributes:
        payment: the payload.
        flows: by asset, what leaves the ring coins: coins in clear and fee.
        claim: what is left to prove.
    """

    payment: RingPayment
    flows: Mapping[AssetId, int]
    claim: RingPaymentClaim

    @property
    def owners(self) -> set[Address]:
        """Nobody is known to have paid."""
        return set()

    def proofs(self, wtxid: WtxId) -> ProofTask:
        """Return what is to be verified of the transaction of this name."""
        return ProofTask(wtxid, ring=self.claim)


def check_ring_payment(payment: RingPayment, decoded: Decoded, view: View) -> RingMove:
    """Check a payment whose form was checked against the state. Its proofs are not verified yet.

    Raises:
        Refused: SURPLUS_SIGNATURE, MISSING_SIGNATURE, COIN_NOT_FOUND, WRONG_ASSET, RING_TOO_YOUNG, IMAGE_USED,
            COIN_KEY_USED, UNBALANCED, TURNSTILE_OVERDRAWN.
    """
    check_signers((), decoded)
    for stated in payment.rings:
        check_new_image(view.reader, stated.image)
    for coin in payment.made:
        check_new_key(view.reader, coin.key)
    members = tuple(_members(stated, view) for stated in payment.rings)
    flows = flows_of(payment, decoded.body.fee)
    for asset, amount in flows.items():
        kept = ring_pool(view.reader, asset)
        if amount > kept:
            raise Refused(
                Reason.TURNSTILE_OVERDRAWN,
                f"{amount} {asset_text(asset)} would leave the ring coins, which hold {kept}",
            )
    return RingMove(payment, flows, ring_claim(payment, decoded, members))


def flows_of(payment: RingPayment, fee: int) -> dict[AssetId, int]:
    """Return what leaves the ring coins, by asset of the rings: coins in clear and the fee. Raises Refused(UNBALANCED).
    """
    flows = {stated.asset: 0 for stated in payment.rings}
    if fee and NATIVE not in flows:
        raise Refused(Reason.UNBALANCED, "the fee is paid in unxs, and no ring is of them")
    for output in payment.outputs:
        if output.asset not in flows:
            raise Refused(Reason.UNBALANCED, f"{asset_text(output.asset)} is made, and none of it is spent")
        flows[output.asset] += output.amount
    if NATIVE in flows:
        flows[NATIVE] += fee
    return flows


def _members(stated: Ring, view: View) -> tuple[KeptCoin, ...]:
    """Look the members of a ring up."""
    kept: list[KeptCoin] = []
    for number in stated.members:
        coin = known_coin(view.reader, number)
        if coin.asset != stated.asset:
            raise Refused(Reason.WRONG_ASSET, f"the ring coin {number} is of {asset_text(coin.asset)}")
        if view.height - coin.height < RING_AGE:
            raise Refused(
                Reason.RING_TOO_YOUNG,
                f"the ring coin {number} is of height {coin.height}: it may be in a ring from {coin.height + RING_AGE}",
            )
        kept.append(coin)
    return tuple(kept)


def ring_claim(
    payment: RingPayment, decoded: Decoded, members: Sequence[Sequence[KeptCoin]]
) -> RingPaymentClaim:
    """Return what a payment has to prove, given the members of each of its rings.

    Raises:
        Refused: MISSING_PROOF, UNBALANCED.
    """
    rings = tuple(
        ring.Ring(
            tuple(coin.key for coin in kept), tuple(coin.commitment for coin in kept), stated.commitment, stated.image
        )
        for stated, kept in zip(payment.rings, members, strict=True)
    )
    flows = flows_of(payment, decoded.body.fee)
    proof = next((one for one in decoded.transaction.proofs if isinstance(one, RingProof)), None)
    if proof is None:
        raise Refused(Reason.MISSING_PROOF, "a payment with ring coins comes without its proof")
    balances = balances_of(
        [(stated.asset, stated.commitment) for stated in payment.rings],
        [(coin.asset, coin.commitment) for coin in payment.made], flows.items(),
    )  # fmt: skip
    made = tuple(coin.commitment for coin in payment.made)
    amounts = Claim(sign_digest(decoded.transaction.body), made, proof.ranges, balances, proof.excesses)
    return RingPaymentClaim(rings, proof.signatures, amounts)


def apply_ring_payment(move: RingMove, txid: TxId, state: Overlay, height: Height) -> list[Event]:
    """Write what was checked; clear outputs are the outputs 0, 1 ... of `txid`.

    Returns:
        Its events: what is spent, then what is made, first ring coins.
    """
    payment, events = move.payment, []
    for asset, amount in move.flows.items():
        add_ring_pool(state, asset, -amount)
    for stated in payment.rings:
        place = add_image(state, stated.image)
        members = " ".join(map(str, stated.members))
        events.append(Event("anonymous/ring", (
            ("image", stated.image.hex()), ("place", str(place)), ("asset", asset_text(stated.asset)),
            ("members", members),
        )))
    for coin in payment.made:
        number = add_coin(state, coin, height)
        events.append(Event("anonymous/coin", (
            ("number", str(number)), ("asset", asset_text(coin.asset)), ("key", coin.key.hex()),
            ("commitment", coin.commitment.hex()),
        )))
    for index, output in enumerate(payment.outputs):
        state.create(output_key(txid, index), encode_output(output))
        events.append(made_event(index, output))
    return events
