"""The steps of an anonymous payment: what everybody sees of it, and its proofs, verified again.

Accounts that it renewed are gone from the state; a node that keeps the state before its block still has them. Without
them everything but the first shuffle can be verified. Ring coins are never removed, so rings can always be.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from apps.anonymous.accounts import payment_claim
from apps.anonymous.records import KeptCoin, account_id
from apps.anonymous.ring import flows_of, ring_claim
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.quisquis import default_quisquis
from crypto.ringpay import default_ring_payments
from node.steps import Step, Verdict, checked
from state.records import asset_text
from state.transaction import SET_SIZE, AccountPayment, AccountProof, Decoded, RingPayment

UNSEEN = "the node does not have the accounts any more: that they were shuffled cannot be checked"


class Members(NamedTuple):
    """Among what a payment hides, as far as a node still knows it.

    Attributes:
        accounts: bytes of accounts by id.
        coins: ring coins by number.
    """

    accounts: Mapping[bytes, bytes]
    coins: Mapping[int, KeptCoin]


NOBODY = Members({}, {})


def account_steps(payment: AccountPayment, decoded: Decoded, members: Members) -> list[Step]:
    """Return the steps between the signers' and the receipt's of a payment between accounts."""
    known = [members.accounts.get(name) for name in payment.accounts]
    gone = [
        {"account": name.hex(), "found in": "the state before" if account else "nowhere"}
        for name, account in zip(payment.accounts, known, strict=True)
    ]
    fee = {"fee": str(int(decoded.body.fee)), "turnstile": f"{-decoded.body.fee:+d}"}
    added = [
        {"account": account_id(output).hex(), "in the slot of": before}
        for output, before in zip(payment.outputs, (*(name.hex() for name in payment.accounts), "none"), strict=True)
    ]
    return [
        Step("accounts renewed", Verdict.DONE, "", fee, gone),
        _account_proof(payment, decoded, [one for one in known if one is not None]),
        Step("accounts added", Verdict.DONE, "", {}, added),
    ]


def _account_proof(payment: AccountPayment, decoded: Decoded, known: Sequence[bytes]) -> Step:
    seed = digest(Label.BATCH_WEIGHTS, decoded.wtxid)
    sizes = [
        sum(len(getattr(proof, name)) for name in AccountProof.__struct_fields__)
        for proof in decoded.transaction.proofs if isinstance(proof, AccountProof)
    ]
    facts = {"bytes": sum(sizes), "shuffles": 2}
    if len(known) == SET_SIZE:
        return checked(
            "proof of payment",
            lambda: default_quisquis().verify(payment_claim(payment, decoded, known), seed), facts,
        )
    nobody = (payment.receiver * 2,) * SET_SIZE
    step = checked(
        "proof of payment",
        lambda: default_quisquis().verify_alone(payment_claim(payment, decoded, nobody), seed), facts | {"shuffles": 1},
    )
    return step if step.verdict is Verdict.FAILS else Step(step.step, Verdict.UNKNOWN, UNSEEN, step.facts)


def ring_steps(payment: RingPayment, decoded: Decoded, members: Members) -> list[Step]:
    """Return the steps between the signers' and the receipt's of a payment with ring coins."""
    rings = [
        {"asset": asset_text(one.asset), "image": one.image.hex(), "members": " ".join(map(str, one.members))}
        for one in payment.rings
    ]
    made = [
        {"asset": asset_text(one.asset), "key": one.key.hex(), "commitment": one.commitment.hex()}
        for one in payment.made
    ]
    leaves = [
        {"asset": asset_text(asset), "turnstile": f"{-amount:+d}"}
        for asset, amount in sorted(flows_of(payment, decoded.body.fee).items())
    ]

    def verify() -> None:
        missing = [number for one in payment.rings for number in one.members if number not in members.coins]
        if missing:
            raise Refused(Reason.COIN_NOT_FOUND, f"there is no ring coin {missing[0]}")
        rings = [tuple(members.coins[number] for number in one.members) for one in payment.rings]
        claim = ring_claim(payment, decoded, rings)
        default_ring_payments().verify(claim, digest(Label.BATCH_WEIGHTS, decoded.wtxid))

    return [
        Step("images shown", Verdict.DONE, "", {}, rings),
        Step("sums", Verdict.DONE, "", {}, leaves),
        checked("proof of payment", verify, {"rings": len(rings), "commitments": len(made)}),
        Step("ring coins added", Verdict.DONE, "", {}, made),
    ]
