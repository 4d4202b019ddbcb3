"""Light verification: from a header that is trusted to a later one, without the blocks between. Pure, with `now`.

Two ways. *Adjacent*: the trusted header names the next validator set, and that set signed the new header.
*Skipping*: more than a third of the power that is trusted signed the new header too, so at least one honest
validator of the trusted set vouches for the set that did; it holds within the trust period, in which who signs two
chains can still be punished. Source: CometBFT spec/light-client/verification.

The checks run from cheap to dear, those of sizes that an attacker chooses last: a header may claim a huge validator
set, so nothing is verified against it before its hash fits. The new header's own > 2/3 comes before the 1/3 overlap.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from consensus.commit import verify_commit_light
from consensus.effects import Verifier
from consensus.types import Commit, Header, ValidatorSet, VoteKind, vote_sign_bytes
from crypto.errors import Reason, Refused
from state.encoding import Codec, Record
from state.types import ChainId, Height
from state.version import SUPPORTED_VERSIONS, check_known

MAX_LIGHT_BLOCK: Final = 4 << 20


class LightBlock(Record, frozen=True):
    """What a light client needs of a block: its header, the commit for it, and the validators of its height."""

    header: Header
    commit: Commit
    validators: ValidatorSet

    @property
    def height(self) -> Height:
        """The header's height."""
        return self.header.height


light_block_codec: Final = Codec(LightBlock, max_size=MAX_LIGHT_BLOCK)


@dataclass(frozen=True, slots=True)
class TrustParams:
    """What a light client takes for safe.

    Attributes:
        chain_id: of the only chain it follows.
        trust_period: ms for which a verified header may vouch for another; at most the unbonding period.
        clock_drift: ms by which a header may be ahead of our clock.
        trust_level: least fraction of trusted power, exceeded, for skipping; between 1/3 and 1.
        versions: protocol versions whose headers are understood; the chain may change between them.
    """

    chain_id: ChainId
    trust_period: int
    clock_drift: int = 10_000
    trust_level: tuple[int, int] = (1, 3)
    versions: tuple[int, ...] = SUPPORTED_VERSIONS

    def __post_init__(self) -> None:
        part, whole = self.trust_level
        if whole <= 0 or not whole <= 3 * part <= 3 * whole:
            raise Refused(Reason.BAD_ARGUMENT, "the trust level lies between 1/3 and 1")


def verify_light(trusted: LightBlock, new: LightBlock, now: int, params: TrustParams, verifier: Verifier) -> None:
    """Check that `new` follows from `trusted`, in one step.

    On UNTRUSTED, verify a header between the two first (`middle_height`), and try again from there.

    Args:
        trusted: verified before, or given by the user.
        new: from anybody; of a greater height.
        now: our clock in ms since 1970.
        params: what is safe.
        verifier: checks signatures.

    Raises:
        Refused: TRUST_EXPIRED, WRONG_HEIGHT, WRONG_CHAIN, BAD_TIME, BAD_HEADER, BAD_COMMIT, BAD_SIGNATURE, or
            UNTRUSTED: nothing is wrong with `new`, but too little of the trusted power signed it.
    """
    verify_from(trusted.header, trusted.validators, new, now, params, verifier)


def verify_from(
    trusted: Header, validators: ValidatorSet, new: LightBlock, now: int, params: TrustParams, verifier: Verifier
) -> None:
    """As `verify_light`, from a trusted header and a trusted set: that of its height or of the next one.

    Raises:
        Refused: as `verify_light`.
    """
    if trusted.time + params.trust_period <= now:
        raise Refused(Reason.TRUST_EXPIRED, "the trusted header is older than the trust period")
    if new.height <= trusted.height:
        raise Refused(Reason.WRONG_HEIGHT, f"height {new.height} is not above the trusted {trusted.height}")
    if new.header.time <= trusted.time:
        raise Refused(Reason.BAD_TIME, "the time does not rise above that of the trusted header")
    if new.header.time > now + params.clock_drift:
        raise Refused(Reason.BAD_TIME, "the header is from the future")
    adjacent = new.height == trusted.height + 1
    if adjacent and new.header.validators_hash != trusted.next_validators_hash:
        raise Refused(Reason.BAD_HEADER, "the validators are not those that the trusted header names")
    check_light_block(new, params.chain_id, verifier, params.versions)
    if adjacent:
        if new.header.previous != trusted.block_id:
            raise Refused(Reason.BAD_HEADER, "the header does not follow the trusted one")
    else:
        _check_overlap(validators, new, params, verifier)


def check_light_block(
    block: LightBlock, chain_id: ChainId, verifier: Verifier, versions: tuple[int, ...] = SUPPORTED_VERSIONS
) -> None:
    """Check that the three parts belong together: the set is the header's, and more than 2/3 of it signed.

    Raises:
        Refused: WRONG_VERSION, WRONG_CHAIN, BAD_HEADER, BAD_COMMIT, BAD_SIGNATURE.
    """
    check_known(block.header.version, versions, f"header {block.height}")
    if block.header.chain_id != chain_id:
        raise Refused(Reason.WRONG_CHAIN, "the header is of another chain")
    if block.validators.hash != block.header.validators_hash:
        raise Refused(Reason.BAD_HEADER, "the validators are not those of the header")
    addresses = [validator.address for validator in block.validators.validators]
    if any(one >= other for one, other in pairwise(addresses)):
        # A set that names one validator twice would count its power twice.
        raise Refused(Reason.BAD_HEADER, "the validators are not in rising order of address")
    verify_commit_light(chain_id, block.validators, block.height, block.header.block_id, block.commit, verifier)


def check_first(block: LightBlock, genesis_validators: ValidatorSet, chain_id: ChainId, verifier: Verifier) -> None:
    """Check block 1 against the genesis document: for a chain younger than the trust period.

    Raises:
        Refused: WRONG_HEIGHT, BAD_HEADER, and those of `check_light_block`.
    """
    if block.height != 1:
        raise Refused(Reason.WRONG_HEIGHT, f"height {block.height}, expected the first")
    if bytes(block.header.previous) != chain_id or block.header.validators_hash != genesis_validators.hash:
        raise Refused(Reason.BAD_HEADER, "the first block does not follow from this genesis")
    check_light_block(block, chain_id, verifier)


def middle_height(trusted: Height, new: Height) -> Height:
    """Return the height to ask for after UNTRUSTED. Raises Refused(UNTRUSTED) if there is none between the two."""
    if new <= trusted + 1:
        raise Refused(Reason.UNTRUSTED, f"no header lies between {trusted} and {new}")
    return Height((trusted + new) // 2)


def skip(
    trusted: LightBlock, target: Height, now: int, params: TrustParams, verifier: Verifier
) -> Generator[Height, LightBlock, tuple[LightBlock, ...]]:
    """Go from a trusted block to a height by bisection: yields heights that it needs, is sent their light blocks.

    Args:
        trusted: verified before.
        target: a greater height.
        now: our clock in ms since 1970.
        params: what is safe.
        verifier: checks signatures.

    Returns:
        The verified blocks after `trusted`, rising, the last one of height `target`.

    Raises:
        Refused: as `verify_light`; WRONG_HEIGHT if it is sent a block that it did not ask for.
    """
    way: list[LightBlock] = []
    pending = [(yield from _asked(target))]
    while pending:
        try:
            verify_light(trusted, pending[-1], now, params, verifier)
        except Refused as refused:
            if refused.reason is not Reason.UNTRUSTED:
                raise
            pending.append((yield from _asked(middle_height(trusted.height, pending[-1].height))))
            continue
        trusted = pending.pop()
        way.append(trusted)
    return tuple(way)


def _asked(height: Height) -> Generator[Height, LightBlock, LightBlock]:
    block = yield height
    if block.height != height:
        raise Refused(Reason.WRONG_HEIGHT, f"asked for header {height}, got {block.height}")
    return block


def verify_run(
    trusted: LightBlock, headers: Sequence[Header], last: LightBlock, params: TrustParams, verifier: Verifier
) -> None:
    """Check every header after a trusted block up to one that is signed, without regard to age.

    For the way from a genesis that is older than the trust period. Each header holds its predecessor's id, so the
    signatures under the last one are enough while the set stays the same: a run ends, at the latest, where a header
    names another set as the next.

    Args:
        trusted: verified before.
        headers: of the heights after it, none left out.
        last: the last of them, with its commit and validators.
        params: what is safe; the trust period is not looked at.
        verifier: checks signatures.

    Raises:
        Refused: BAD_HEADER, BAD_TIME, WRONG_HEIGHT, and those of `check_light_block`.
    """
    if not headers or last.header != headers[-1]:
        raise Refused(Reason.BAD_HEADER, "the signed header is not the last of the run")
    for before, header in pairwise((trusted.header, *headers)):
        if header.height != before.height + 1:
            raise Refused(Reason.WRONG_HEIGHT, f"header {header.height} stands where {before.height + 1} belongs")
        if header.previous != before.block_id or header.validators_hash != before.next_validators_hash:
            raise Refused(Reason.BAD_HEADER, f"header {header.height} does not follow the one before")
        if header.time <= before.time:
            raise Refused(Reason.BAD_TIME, f"the time of header {header.height} does not rise")
        check_known(header.version, params.versions, f"header {header.height}")
    if any(header.next_validators_hash != headers[0].validators_hash for header in headers[:-1]):
        raise Refused(Reason.BAD_HEADER, "the set changes within the run, where nobody signs")
    check_light_block(last, params.chain_id, verifier, params.versions)


def run_length(headers: Sequence[Header]) -> int:
    """Return how many of these headers, each the next of the one before, `verify_run` takes at once."""
    for count, header in enumerate(headers, start=1):
        if header.next_validators_hash != headers[0].validators_hash:
            return count
    return len(headers)


def check_earlier(trusted: Header, earlier: Sequence[Header]) -> None:
    """Check headers below a trusted one: each is the one whose id the header above it holds.

    Args:
        trusted: verified before.
        earlier: falling heights from `trusted.height - 1` on.

    Raises:
        Refused: BAD_HEADER.
    """
    for above, header in pairwise((trusted, *earlier)):
        if header.height != above.height - 1 or header.block_id != above.previous:
            raise Refused(Reason.BAD_HEADER, f"header {above.height} does not follow the header {header.height}")


def conflict(one: LightBlock, other: LightBlock) -> bool:
    """Return whether two light blocks, each verified, prove a fork: two headers of one height."""
    return one.height == other.height and one.header.block_id != other.header.block_id


def _check_overlap(trusted: ValidatorSet, new: LightBlock, params: TrustParams, verifier: Verifier) -> None:
    """Check that enough of the trusted power signed the new commit, whose signers are named by another set."""
    part, whole = params.trust_level
    commit = new.commit
    message = vote_sign_bytes(params.chain_id, VoteKind.PRECOMMIT, commit.height, commit.round, commit.block_id)
    power = 0
    for signature in commit.signatures:
        signer = new.validators.validators[signature.validator]
        index = trusted.index_of(signer.address)
        if index is None:
            continue
        # The key is the trusted set's: an address is a hash of a key, but the new set is only what somebody sent.
        known = trusted.validators[index]
        if not verifier.verify(known.public_key, message, signature.signature):
            raise Refused(Reason.BAD_SIGNATURE, f"the precommit of validator {signature.validator} does not verify")
        power += known.power
        if power * whole > trusted.total_power * part:
            return
    raise Refused(Reason.UNTRUSTED, f"power {power} of {trusted.total_power} that is trusted signed the header")
