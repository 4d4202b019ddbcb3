"""A payment out of an anonymous account, from amount and receiver to a transaction: nobody signs, proofs authorise it.

The fee is always the least that the chain takes, the same for all: whoever chose his own would be known by it.
"""

from dataclasses import dataclass

from apps.anonymous.records import account_id
from crypto.errors import Reason, Refused
from crypto.quisquis import Payment, PaymentProof, Quisquis, default_quisquis
from crypto.ristretto import UNIFORM_SIZE
from node.amounts import format_amount
from node.anonymous.choosing import Hiding, Randomness
from node.anonymous.index import Own
from node.anonymous.keys import AnonymousKeys, random_scalar
from node.anonymous.search import BOUND
from node.wallet import ChainPoint, Progress, Signed, body_of, find_work, finish, least_fee, no_progress
from state.encoding import encode
from state.transaction import (
    ACCOUNT_KEY_SIZE,
    ACCOUNT_SIZE,
    MOVEMENT_PROOF,
    PAIR_RANGE_PROOF,
    SET_SIZE,
    SHUFFLE_PROOF,
    AccountPayment,
    AccountProof,
    sign_digest,
)
from state.types import Amount, Height

_ENTROPY = 32


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be paid: `amount` unxs to an encoded key, or without a key into the second account of the set."""

    amount: Amount
    to: bytes = b""


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment that is ready to be sent, the accounts that it makes, and its last height."""

    signed: Signed
    outputs: tuple[bytes, ...]
    expiry: Height


def payment_fee(point: ChainPoint) -> Amount:
    """Return the fee of a payment in unxs: all have one size."""
    payload = AccountPayment((bytes(32),) * SET_SIZE, bytes(ACCOUNT_KEY_SIZE), (bytes(ACCOUNT_SIZE),) * (SET_SIZE + 1))
    shuffle = bytes(SHUFFLE_PROOF)
    proof = AccountProof(
        bytes((SET_SIZE + 1) * ACCOUNT_SIZE), bytes(ACCOUNT_SIZE), shuffle, shuffle, bytes(64),
        bytes(MOVEMENT_PROOF), bytes(PAIR_RANGE_PROOF),
    )  # fmt: skip
    return least_fee(point, payload, (), None, (proof,))


def check_amount(amount: int) -> None:
    """Check that whoever gets an amount can find it. Raises Refused(AMOUNT_OUT_OF_RANGE)."""
    if not 0 < amount < BOUND:
        raise Refused(
            Reason.AMOUNT_OUT_OF_RANGE, f"what an account holds is found by trying: pay from 1 unxs to {most()} at once"
        )


def most() -> str:
    """Return the most that is paid at once, for people."""
    return format_amount(BOUND - 1)


def select_payer(own: tuple[Own, ...], needed: int) -> Own:
    """Return the account that pays: the smallest that can, so that the largest can pay what only it can.

    Raises:
        Refused: INSUFFICIENT_FUNDS.
    """
    able = [one for one in own if one.known and one.amount >= needed]
    if able:
        return min(able, key=lambda one: (one.amount, one.account))
    total = sum(one.amount for one in own if one.known)
    unknown = sum(not one.known for one in own)
    if total >= needed:
        raise Refused(
            Reason.INSUFFICIENT_FUNDS,
            f"one account has to pay {format_amount(needed)}, yours hold that only together: "
            "`nexus anonymous gather` puts two of them into one",
        )
    told = f"; of {unknown} more the amount is not known (`nexus anonymous scan --amount`)" if unknown else ""
    raise Refused(
        Reason.INSUFFICIENT_FUNDS, f"{format_amount(needed)} is needed, the accounts hold {format_amount(total)}{told}"
    )


def draft_anonymous(
    point: ChainPoint, keys: AnonymousKeys, payer: Own, hiding: Hiding, wish: Wish, fee: Amount, random: Randomness,
    progress: Progress = no_progress, proofs: Quisquis | None = None,
) -> Paid:
    """Return the payment with its proof. Takes 0.05 to 0.3 s.

    Args:
        point: the chain.
        keys: of the wallet.
        payer: the account that pays; its amount is known.
        hiding: the set, the payer's account the first of our own in it.
        wish: what is to be paid.
        fee: from `payment_fee`.
        random: see `Randomness`.
        progress: is told of the hashcash.
        proofs: over which backend.

    Raises:
        Refused: as `crypto.quisquis.Quisquis.arrange`.
    """
    proofs = proofs or default_quisquis()
    rho = random_scalar(random(UNIFORM_SIZE))
    # Without a receiver the new account is one of our own that holds nothing, as a set has to have ten.
    receiver = proofs.renewed(wish.to, rho) if wish.to else proofs.key(keys.secret, rho)
    inputs = (*hiding.members, proofs.account(receiver, 0))
    paid = SET_SIZE if wish.to else inputs.index(hiding.own[1])
    payment = Payment(inputs.index(hiding.own[0]), keys.secret, payer.amount, paid, wish.amount, fee)
    arranged = proofs.arrange(inputs, payment, random(_ENTROPY))
    payload = AccountPayment(tuple(map(account_id, hiding.members)), receiver, arranged.outputs)
    body = find_work(body_of(point, payload, fee, None), point.difficulty, progress)
    proof = proofs.prove(sign_digest(encode(body)), arranged, random(_ENTROPY))
    return Paid(finish(body, (), (as_record(proof),)), arranged.outputs, body.expiry)


def as_record(proof: PaymentProof) -> AccountProof:
    """Return a proof as a transaction carries it."""
    return AccountProof(*proof)
