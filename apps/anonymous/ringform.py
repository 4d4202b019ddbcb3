"""What the bytes of a ring payment alone have to fulfil."""

from itertools import pairwise

from crypto.confidential import default_proofs
from crypto.errors import Reason, Refused
from crypto.group import default
from crypto.ringpay import check_signatures_form
from crypto.ristretto import decode_nonzero
from state.records import asset_text
from state.transaction import RingPayment, RingProof


def check_ring_form(payment: RingPayment, proof: RingProof) -> None:
    """Check a payment and its proof by themselves.

    Raises:
        Refused: DUPLICATE_INPUT for a member or an image that comes twice; BAD_ARGUMENT for members out of order or two
            new coins with one key; BAD_POINT for a key that is none; UNBALANCED for an asset that is not spent;
            MISSING_PROOF, SURPLUS_PROOF, MALFORMED for the proof.
    """
    for stated in payment.rings:
        for one, next_one in pairwise(stated.members):
            if one == next_one:
                raise Refused(Reason.DUPLICATE_INPUT, f"the ring coin {one} comes twice in one ring")
            if one > next_one:
                raise Refused(Reason.BAD_ARGUMENT, "the members of a ring are not in rising order")
    if len({stated.image for stated in payment.rings}) != len(payment.rings):
        raise Refused(Reason.DUPLICATE_INPUT, "a key image comes twice: one coin would be spent twice")
    if len({coin.key for coin in payment.made}) != len(payment.made):
        raise Refused(Reason.BAD_ARGUMENT, "two new ring coins have one key")
    spent = {stated.asset for stated in payment.rings}
    for asset in (*(coin.asset for coin in payment.made), *(coin.asset for coin in payment.outputs)):
        if asset not in spent:
            raise Refused(Reason.UNBALANCED, f"{asset_text(asset)} is made, and none of it is spent")
    check_signatures_form([len(stated.members) for stated in payment.rings], proof.signatures)
    if len(proof.excesses) != len(spent):
        reason = Reason.MISSING_PROOF if len(proof.excesses) < len(spent) else Reason.SURPLUS_PROOF
        raise Refused(reason, f"{len(proof.excesses)} signatures for {len(spent)} assets")
    default_proofs().check_range_size(len(payment.made), proof.ranges)
    for coin in payment.made:
        decode_nonzero(default(), coin.key)
