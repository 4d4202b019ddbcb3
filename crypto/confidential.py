"""Hidden amounts: what a transfer with Pedersen commitments has to show, proven and verified one by one or in batches.

For each asset alone, with C the commitments and `public` what leaves in clear (fee included) less what comes in clear:

    excess = sum of C spent - sum of C made - public * B = x * H      so the amounts balance, if x is known
    a Schnorr signature under the excess, to the base H               shows that x is known (Maxwell's balance proof)
    one range proof over all C made                                   shows that no amount is negative: 0 .. 2^64 - 1

Both transcripts begin with the same context of 32 bytes, the hash of all that the transfer says. Commitments are padded
to a power of two with H, which commits to 0 with blinding 1. Source: Maxwell, "Confidential Transactions" (2015); the
proofs are those of `crypto.sigma` and `crypto.rangeproof`. Sound while discrete logarithms are hard.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from crypto import sigma
from crypto.batch import Fault, find_faults
from crypto.errors import Reason, Refused
from crypto.group import available, load
from crypto.pedersen import Pedersen
from crypto.rangeproof import RangeClaim, RangeProofs
from crypto.ristretto import Group, Point, decode_nonzero
from crypto.sigma import Statement
from crypto.transcript import Transcript

RANGE_PROTOCOL: Final = b"confidential range/1"
EXCESS_PROTOCOL: Final = b"confidential excess/1"
_HALF: Final = 32


class Balance(NamedTuple):
    """What moves of one asset: hidden coins spent and made by their commitments, and the clear rest.

    Attributes:
        asset: its id; empty for the native token.
        spent: commitments of hidden coins that are spent.
        made: commitments of hidden coins that are made.
        public: clear coins made and fee, less clear coins spent.
    """

    asset: bytes
    spent: tuple[bytes, ...]
    made: tuple[bytes, ...]
    public: int


class Claim(NamedTuple):
    """A transfer's proofs, with all that they are about.

    Attributes:
        context: 32 bytes, the hash of all that the transfer says.
        made: commitments of all hidden coins that it makes, in order.
        ranges: the range proof over them; empty if there are none.
        balances: of each asset with hidden coins, in rising order of asset.
        excesses: a signature for each balance.
    """

    context: bytes
    made: tuple[bytes, ...]
    ranges: bytes
    balances: tuple[Balance, ...]
    excesses: tuple[bytes, ...]


class Opening(NamedTuple):
    """What a commitment holds. Whoever knows it sees the amount; it takes more to spend a coin."""

    amount: int
    blinding: int


@dataclass(frozen=True, slots=True)
class _Parts:
    """One claim, decoded: nothing of it is proven yet."""

    excesses: tuple[sigma.Claim, ...]
    ranges: tuple[RangeClaim, ...]


class ConfidentialProofs:
    """Makes and verifies the proofs of transfers with hidden coins, over one backend.

    Attributes:
        ranges: the range proofs.
    """

    def __init__(self, group: Group) -> None:
        """Derive the generators: 60 ms on libsodium. `default_proofs` does it once."""
        self._group = group
        self.ranges: Final = RangeProofs(group)
        self._pedersen: Final[Pedersen] = self.ranges.pedersen
        self._padding: Final = self._pedersen.blinding_base.encode()

    def commit(self, opening: Opening) -> bytes:
        """Return the commitment that holds this."""
        return self._pedersen.commit(opening.amount, opening.blinding).encode()

    def opens(self, commitment: bytes, opening: Opening) -> bool:
        """Tell whether a commitment holds this."""
        return self._pedersen.opens(commitment, opening.amount, opening.blinding)

    def range_size(self, made: int) -> int:
        """Return the bytes of the range proof of a transfer that makes so many hidden coins.

        Raises:
            Refused: TOO_LARGE for more than MAX_COMMITMENTS.
        """
        return self.ranges.proof_size(padded(made)) if made else 0

    # ---- proving

    def prove_ranges(self, context: bytes, made: Sequence[Opening], entropy: bytes) -> bytes:
        """Return the range proof over the hidden coins that a transfer makes, in order; empty if there are none.

        Args:
            context: 32 bytes, the hash of all that the transfer says, the commitments included.
            made: what the coins hold.
            entropy: 32 fresh random bytes.

        Raises:
            Refused: TOO_LARGE, AMOUNT_OUT_OF_RANGE.
        """
        if not made:
            return b""
        missing = padded(len(made)) - len(made)
        values = [opening.amount for opening in made] + [0] * missing
        blindings = [opening.blinding for opening in made] + [1] * missing
        return self.ranges.prove(Transcript(RANGE_PROTOCOL, context), values, blindings, entropy).proof

    def prove_excess(self, context: bytes, balance: Balance, excess: int, entropy: bytes) -> bytes:
        """Return the signature under the excess of one asset.

        Args:
            context: as for `prove_ranges`.
            balance: what moves.
            excess: blindings of the coins spent less blindings of the coins made.
            entropy: 32 fresh random bytes.

        Raises:
            Refused: UNPROVEN if the amounts do not balance; BAD_POINT if the blindings do not differ.
        """
        return sigma.prove(
            self._group, _excess_transcript(context, balance), self._statement(balance), (excess,), entropy
        )

    # ---- verifying

    def verify(self, claim: Claim, entropy: bytes) -> None:
        """Verify one transfer's proofs.

        Raises:
            Refused: MISSING_PROOF or SURPLUS_PROOF for a wrong number of signatures, MALFORMED for a wrong length,
                TOO_LARGE for too many coins, BAD_POINT, BAD_SCALAR, BAD_EXCESS, BAD_RANGE_PROOF.
        """
        parts = self._parts(claim)
        _named(Reason.BAD_EXCESS, "the hidden amounts do not balance, or the signature is another transaction's",
               lambda: sigma.verify_batch(self._group, parts.excesses, entropy))
        self._verify_ranges(parts.ranges, entropy)

    def verify_ranges(self, context: bytes, made: tuple[bytes, ...], ranges: bytes, entropy: bytes) -> None:
        """Verify the range proof of a transfer by itself: all that can be said of its bytes without the coins spent.

        Raises:
            Refused: MISSING_PROOF, SURPLUS_PROOF, MALFORMED, TOO_LARGE, BAD_POINT, BAD_SCALAR, BAD_RANGE_PROOF.
        """
        self.check_range_size(len(made), ranges)
        self._verify_ranges(self._range_claims(context, made, ranges), entropy)

    def _verify_ranges(self, claims: tuple[RangeClaim, ...], entropy: bytes) -> None:
        _named(Reason.BAD_RANGE_PROOF, "the range proof over the new hidden coins does not hold",
               lambda: self.ranges.verify_batch(claims, entropy))

    def verify_batch(self, claims: Sequence[Claim], entropy: bytes) -> None:
        """Verify the proofs of many transfers as two sums with random weights.

        Args:
            claims: of any size.
            entropy: 32 random bytes that nobody knew when the proofs were made.

        Raises:
            Refused: as `verify`, for some of them: `faults` finds out which.
        """
        parts = [self._parts(claim) for claim in claims]
        sigma.verify_batch(self._group, [one for part in parts for one in part.excesses], entropy)
        self.ranges.verify_batch([one for part in parts for one in part.ranges], entropy)

    def faults(self, claims: Sequence[Claim], entropy: bytes) -> tuple[Fault, ...]:
        """Return which of the claims do not hold, and why; `entropy` as in `verify_batch`."""

        def verify(some: Sequence[Claim]) -> None:
            if len(some) == 1:
                self.verify(some[0], entropy)
            else:
                self.verify_batch(some, entropy)

        return find_faults(claims, verify)

    def _parts(self, claim: Claim) -> _Parts:
        """Count first, decode then: what is wrong in form costs no product."""
        if len(claim.excesses) < len(claim.balances):
            raise Refused(Reason.MISSING_PROOF, f"{len(claim.balances)} assets move in hidden coins")
        if len(claim.excesses) > len(claim.balances):
            raise Refused(Reason.SURPLUS_PROOF, f"only {len(claim.balances)} assets move in hidden coins")
        self.check_range_size(len(claim.made), claim.ranges)
        if any(len(excess) != 2 * _HALF for excess in claim.excesses):
            raise Refused(Reason.MALFORMED, f"a signature under an excess has {2 * _HALF} bytes")
        excesses = tuple(
            sigma.Claim(_excess_transcript(claim.context, balance), self._statement(balance), proof)
            for balance, proof in zip(claim.balances, claim.excesses, strict=True)
        )
        return _Parts(excesses, self._range_claims(claim.context, claim.made, claim.ranges))

    def _range_claims(self, context: bytes, made: tuple[bytes, ...], ranges: bytes) -> tuple[RangeClaim, ...]:
        """Return the range proof over the commitments, filled up; nothing if there are none."""
        if not made:
            return ()
        commitments = made + (self._padding,) * (padded(len(made)) - len(made))
        return (RangeClaim(Transcript(RANGE_PROTOCOL, context), commitments, ranges),)

    def check_range_size(self, made: int, ranges: bytes) -> None:
        """Check the length of a range proof for so many new hidden coins.

        Raises:
            Refused: TOO_LARGE, MISSING_PROOF, SURPLUS_PROOF, MALFORMED.
        """
        size = self.range_size(made)
        if len(ranges) == size:
            return
        if not ranges:
            raise Refused(Reason.MISSING_PROOF, "new hidden coins come without a range proof")
        if not size:
            raise Refused(Reason.SURPLUS_PROOF, "a range proof, and no new hidden coins")
        raise Refused(Reason.MALFORMED, f"a range proof over {made} hidden coins has {size} bytes, not {len(ranges)}")

    def _statement(self, balance: Balance) -> Statement:
        excess = self._pedersen.excess(self._decoded(balance.spent), self._decoded(balance.made), balance.public)
        return sigma.schnorr(self._pedersen.blinding_base, excess)

    def _decoded(self, commitments: Iterable[bytes]) -> list[Point]:
        return [decode_nonzero(self._group, commitment) for commitment in commitments]


def _named(reason: Reason, detail: str, verify: Callable[[], None]) -> None:
    """Give a proof that does not hold the name of what it should have shown."""
    try:
        verify()
    except Refused as refused:
        if refused.reason is Reason.UNPROVEN:
            raise Refused(reason, detail) from None
        raise


def padded(made: int) -> int:
    """Return the next power of two."""
    return 1 << (made - 1).bit_length()


def _excess_transcript(context: bytes, balance: Balance) -> Transcript:
    transcript = Transcript(EXCESS_PROTOCOL, context)
    transcript.append(b"asset", balance.asset)
    return transcript


@cache
def proofs_with(backend: str) -> ConfidentialProofs:
    """Return the proofs over a backend by its name (`crypto.group`): one object for the life of the process."""
    return ConfidentialProofs(load(backend))


@cache
def default_proofs() -> ConfidentialProofs:
    """Return the proofs over the backend to use (`crypto.group.default`)."""
    return proofs_with(available()[0])
