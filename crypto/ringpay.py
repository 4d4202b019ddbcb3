"""Ring payments: coins spent out of rings, others made, and nothing of an asset made or lost on the way.

    S = s * H             a wallet's spend key; whoever knows s spends
    P = S + t * H         the key of one coin, for a random t that only its owner is told beside the maker
    I = (s + t) * Hp(P)   its key image: each coin has one, and only its owner can tell which

For each coin that is spent, a CLSAG (`crypto.ring`) over its ring shows that the payer holds the secret of one member,
that I is its image and that a new commitment C' holds its amount. The C', the commitments of the coins made and what
leaves in clear balance as those of a transfer with hidden amounts do, with the same proofs (`crypto.confidential`).
The transcripts of the signatures begin with a context of 32 bytes, the hash of all that the payment says, and the place
of the ring. Those of sums and ranges begin with a hash of this context and of the signatures: so a payment's proofs are
one, and who replaces a signature fails at the sums, which are cheap and need no member of a ring.

Sums and range proofs of many payments are verified as one. Signatures are not: each of their challenges waits for the
one before. All is classical: a quantum computer finds every s and reads out of old signatures who spent.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

from crypto import ring
from crypto.batch import Fault
from crypto.confidential import Balance, Claim, ConfidentialProofs, Opening, proofs_with
from crypto.errors import Reason, Refused
from crypto.group import available, load
from crypto.hashing import Label, digest
from crypto.pedersen import pedersen
from crypto.ring import Ring, RingClaim, Spend, key_image, public_key, signature_size
from crypto.ristretto import Group, decode_nonzero
from crypto.transcript import Transcript, append_integer

RING_PROTOCOL: Final = b"ring payment/1"


class RingSpend(NamedTuple):
    """A coin that is spent, as only its owner knows it.

    Attributes:
        asset: what it is of; empty for the native token.
        ring: among whom it hides, with the new commitment and the image.
        place: of the coin in the ring.
        secret: s + t of its key.
        opening: what it holds.
        blinding: of the new commitment.
    """

    asset: bytes
    ring: Ring
    place: int
    secret: int
    opening: Opening
    blinding: int


class RingMade(NamedTuple):
    """A coin that is made: what it is of, and what it holds."""

    asset: bytes
    opening: Opening


class RingPaymentProof(NamedTuple):
    """What a payment shows: a signature for each ring, one range proof, a signature under each asset's excess."""

    signatures: tuple[bytes, ...]
    ranges: bytes
    excesses: tuple[bytes, ...]


class RingPaymentClaim(NamedTuple):
    """A payment's proofs, with all that they are about.

    Attributes:
        rings: of the coins that are spent, in order.
        signatures: one for each.
        amounts: the sums and the new coins, in the payment's context. What it spends are the rings' new commitments.
    """

    rings: tuple[Ring, ...]
    signatures: tuple[bytes, ...]
    amounts: Claim

    @property
    def bound(self) -> Claim:
        """The sums and the new coins, as they are proven: after the signatures."""
        return self.amounts._replace(context=_after(self.amounts.context, self.signatures))


# ---- keys


def one_time_key(group: Group, spend_key: bytes, tweak: int) -> bytes:
    """Return the key P = S + t * H of a new coin for the wallet with this spend key.

    Raises:
        Refused: BAD_POINT if `spend_key` is none, or together with `tweak` gives the identity.
    """
    owner = decode_nonzero(group, spend_key)
    key = group.add(owner, group.multiply(tweak, pedersen(group).blinding_base)).encode()
    decode_nonzero(group, key)
    return key


def balances_of(
    spent: Sequence[tuple[bytes, bytes]], made: Sequence[tuple[bytes, bytes]], public: Iterable[tuple[bytes, int]]
) -> tuple[Balance, ...]:
    """Return what a payment has to show of each asset, in rising order.

    Args:
        spent: asset and new commitment of each ring.
        made: asset and commitment of each coin that is made.
        public: of each asset, coins made in clear and fee.

    Raises:
        Refused: UNBALANCED for an asset that is made and not spent.
    """
    clear = dict(public)
    before: dict[bytes, list[bytes]] = {}
    after: dict[bytes, list[bytes]] = {}
    for side, found in ((spent, before), (made, after)):
        for asset, commitment in side:
            found.setdefault(asset, []).append(commitment)
    for asset in (*after, *(asset for asset, amount in clear.items() if amount)):
        if asset not in before:
            raise Refused(Reason.UNBALANCED, f"{asset.hex() or 'the native token'} is made, and none of it is spent")
    return tuple(
        Balance(asset, tuple(before[asset]), tuple(after.get(asset, ())), clear.get(asset, 0))
        for asset in sorted(before)
    )


class RingPayments:
    """Makes and verifies the proofs of ring payments, over one backend.

    Args:
        group: the backend.
        proofs: of sums and ranges, over the same one.
    """

    def __init__(self, group: Group, proofs: ConfidentialProofs) -> None:
        self._group = group
        self._proofs = proofs

    # ---- the owner's side

    def spend_key(self, secret: int) -> bytes:
        """Return the spend key S = s * H of a wallet."""
        return public_key(self._group, secret)

    def one_time_key(self, spend_key: bytes, tweak: int) -> bytes:
        """Return the key of a new coin (`one_time_key`)."""
        return one_time_key(self._group, spend_key, tweak)

    def image(self, secret: int) -> bytes:
        """Return the key image of the coin whose key has this secret, s + t."""
        return key_image(self._group, secret)

    def commit(self, opening: Opening) -> bytes:
        """Return the commitment that holds this."""
        return self._proofs.commit(opening)

    def prove(
        self, context: bytes, spent: Sequence[RingSpend], made: Sequence[RingMade], public: Mapping[bytes, int],
        entropy: bytes,
    ) -> RingPaymentProof:
        """Return the proofs of a payment.

        Args:
            context: 32 bytes, the hash of all that the payment says.
            spent: for each ring, in order.
            made: for each new coin, in order.
            public: by asset, coins made in clear and fee.
            entropy: 32 fresh random bytes.

        Raises:
            Refused: UNPROVEN if it does not balance, or a coin is not the one at its place; UNBALANCED for an asset
                that is not spent; TOO_LARGE, AMOUNT_OUT_OF_RANGE, MALFORMED, BAD_POINT.
        """
        balances = balances_of(
            [(one.asset, one.ring.commitment) for one in spent],
            [(one.asset, self.commit(one.opening)) for one in made], public.items(),
        )
        signatures = tuple(
            ring.sign(
                self._group, _transcript(context, number), one.ring,
                Spend(one.place, one.secret, one.opening.blinding - one.blinding), entropy,
            )
            for number, one in enumerate(spent)
        )
        after = _after(context, signatures)
        excesses = []
        for balance in balances:
            comes = sum(one.blinding for one in spent if one.asset == balance.asset)
            goes = sum(one.opening.blinding for one in made if one.asset == balance.asset)
            excesses.append(self._proofs.prove_excess(after, balance, comes - goes, entropy))
        ranges = self._proofs.prove_ranges(after, [one.opening for one in made], entropy)
        return RingPaymentProof(signatures, ranges, tuple(excesses))

    # ---- everybody's side

    def check_form(self, claim: RingPaymentClaim) -> None:
        """Count signatures and bytes: what is wrong in form costs no product.

        Raises:
            Refused: MISSING_PROOF, SURPLUS_PROOF, MALFORMED, TOO_LARGE.
        """
        check_signatures_form([len(one.keys) for one in claim.rings], claim.signatures)
        self._proofs.check_range_size(len(claim.amounts.made), claim.amounts.ranges)

    def verify(self, claim: RingPaymentClaim, entropy: bytes) -> None:
        """Verify one payment's proofs; `entropy` as in `faults`.

        Raises:
            Refused: MISSING_PROOF or SURPLUS_PROOF for a wrong number, MALFORMED for a wrong length or a ring that
                hides less than it says, TOO_LARGE, BAD_POINT, BAD_SCALAR, BAD_EXCESS, BAD_RANGE_PROOF,
                BAD_RING_SIGNATURE.
        """
        self.check_form(claim)
        self.verify_alone(claim, entropy)
        self._verify_signatures(claim)

    def verify_alone(self, claim: RingPaymentClaim, entropy: bytes) -> None:
        """Verify what needs no member of a ring: the sums, the new coins, and that the payer made these signatures.

        Whether they hold, this does not say.

        Args:
            claim: its rings may be without members.
            entropy: as in `faults`.

        Raises:
            Refused: as `verify`, but for BAD_RING_SIGNATURE.
        """
        self._proofs.verify(claim.bound, entropy)

    def faults(self, claims: Sequence[RingPaymentClaim], entropy: bytes) -> tuple[Fault, ...]:
        """Return which of the claims do not hold, and why: sums and ranges of all as one, then ring by ring.

        Args:
            claims: of any number of payments.
            entropy: 32 random bytes that nobody knew when the proofs were made.
        """
        found: dict[int, Refused] = {}
        counted: list[int] = []
        for place, claim in enumerate(claims):
            try:
                self.check_form(claim)
            except Refused as refused:
                found[place] = refused
            else:
                counted.append(place)
        for fault in self._proofs.faults([claims[place].bound for place in counted], entropy):
            found[counted[fault.place]] = fault.refused
        left = [place for place in counted if place not in found]
        for fault in self.signature_faults([claims[place] for place in left]):
            found[left[fault.place]] = fault.refused
        return tuple(Fault(place, found[place]) for place in sorted(found))

    def signature_faults(self, claims: Sequence[RingPaymentClaim]) -> tuple[Fault, ...]:
        """Return whose signatures do not hold: what is left of `faults` if the amounts are verified among others'."""
        found = []
        for place, claim in enumerate(claims):
            try:
                self.check_form(claim)
                self._verify_signatures(claim)
            except Refused as refused:
                found.append(Fault(place, refused))
        return tuple(found)

    def _verify_signatures(self, claim: RingPaymentClaim) -> None:
        for number, (stated, signature) in enumerate(zip(claim.rings, claim.signatures, strict=True)):
            transcript = _transcript(claim.amounts.context, number)
            try:
                ring.verify(self._group, RingClaim(transcript, stated, signature))
            except Refused as refused:
                if refused.reason is Reason.UNPROVEN:
                    detail = f"the signature of ring {number} does not hold, or is another transaction's"
                    raise Refused(Reason.BAD_RING_SIGNATURE, detail) from None
                raise


def check_signatures_form(sizes: Sequence[int], signatures: Sequence[bytes]) -> None:
    """Check number and length of signatures for rings of these sizes.

    Raises:
        Refused: MISSING_PROOF, SURPLUS_PROOF, MALFORMED, TOO_LARGE.
    """
    if len(signatures) != len(sizes):
        reason = Reason.MISSING_PROOF if len(signatures) < len(sizes) else Reason.SURPLUS_PROOF
        raise Refused(reason, f"{len(signatures)} signatures for {len(sizes)} rings")
    for size, signature in zip(sizes, signatures, strict=True):
        if len(signature) != signature_size(size):
            raise Refused(Reason.MALFORMED, f"a signature over {size} members has {signature_size(size)} bytes")


def _after(context: bytes, signatures: Iterable[bytes]) -> bytes:
    """Return the context of what is proven after the signatures."""
    return digest(Label.RING_AMOUNTS, context + b"".join(signatures))


def _transcript(context: bytes, number: int) -> Transcript:
    transcript = Transcript(RING_PROTOCOL, context)
    append_integer(transcript, b"ring", number)
    return transcript


@cache
def ring_payments_with(backend: str) -> RingPayments:
    """Return the proofs over a backend by its name (`crypto.group`): one object for the life of the process."""
    return RingPayments(load(backend), proofs_with(backend))


@cache
def default_ring_payments() -> RingPayments:
    """Return the proofs over the backend to use (`crypto.group.default`)."""
    return ring_payments_with(available()[0])
