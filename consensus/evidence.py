"""Proofs that a validator signed two things where it may sign one, or something that no honest validator signs.

Two votes conflict by block id at the same height, round and kind; never by their signature bytes, since Falcon is
randomised and signing twice is no fault. Who made them, or punishes them, is not decided here: this module builds
the proof and checks that it proves something about a given validator set.

Two headers of one height that were both committed (a fork, or an attack on a light client) were made in one of three
ways (CometBFT, spec/light-client/accountability):

- *equivocation*: both in one round; who signed both is at fault, and two precommits prove it;
- *lunatic*: the conflicting header holds what does not follow from the chain; whoever signed it is at fault;
- *amnesia*: in two rounds, both headers possible; the signatures alone prove nothing about anybody, because a lock may
  rightly be given up for a newer polka. The logs of honest nodes tell more.
"""

from typing import Final

from consensus.effects import Verifier
from consensus.light import LightBlock
from consensus.types import (
    Commit,
    DuplicateProposal,
    DuplicateVote,
    Evidence,
    Header,
    LightClientAttack,
    Proposal,
    SignedOffer,
    ValidatorSet,
    Vote,
    VoteKind,
    proposal_sign_bytes,
    vote_sign_bytes,
)
from crypto.errors import Reason, Refused
from state.types import Address, ChainId, Height

_DERIVED: Final = (
    "version", "chain_id", "validators_hash", "next_validators_hash", "state_root", "receipts_root", "beacon",
)
"""Fields of a header that the blocks before it determine."""


def duplicate_vote(validator: Address, one: Vote, other: Vote) -> DuplicateVote:
    """Return the evidence of two conflicting votes, in canonical order."""
    first, second = sorted((one, other), key=lambda vote: vote.block_id)
    return DuplicateVote(validator, first, second)


def duplicate_proposal(
    validator: Address, one: Proposal | SignedOffer, other: Proposal | SignedOffer
) -> DuplicateProposal:
    """Return the evidence of two conflicting proposals, in canonical order."""
    first, second = sorted((one, other), key=lambda proposal: proposal.block_id)
    return DuplicateProposal(
        validator,
        one.height,
        one.round,
        (first.pol_round, first.block_id, first.signature),
        (second.pol_round, second.block_id, second.signature),
    )


def fork_evidence(
    trusted: LightBlock, conflicting: LightBlock, common_height: Height, common: ValidatorSet
) -> tuple[Evidence, ...]:
    """Return what two committed headers of one height prove, and about whom; nothing in a case of amnesia.

    Args:
        trusted: of this chain, verified.
        conflicting: of another header of that height, verified by itself (`consensus.light.check_light_block`).
        common_height: the last height below it at which both ways agree, as far as is known.
        common: the validators of that height.

    Raises:
        Refused: BAD_EVIDENCE if the two do not conflict.
    """
    ours, theirs = trusted.header, conflicting.header
    if ours.height != theirs.height or ours.block_id == theirs.block_id:
        raise Refused(Reason.BAD_EVIDENCE, "the headers are not two of one height")
    commit = conflicting.commit
    if not is_possible(ours, theirs):
        signers = [(conflicting.validators.validators[one.validator].address, one) for one in commit.signatures]
        return tuple(
            LightClientAttack(address, common_height, ours, theirs, commit.round, one.signature)
            for address, one in signers if common.index_of(address) is not None
        )
    if trusted.commit.round != commit.round:
        return ()
    both = {one.validator: one.signature for one in trusted.commit.signatures}
    return tuple(
        duplicate_vote(
            trusted.validators.validators[one.validator].address,
            _precommit(trusted.commit, one.validator, both[one.validator]),
            _precommit(commit, one.validator, one.signature),
        )
        for one in commit.signatures if one.validator in both
    )


def is_possible(trusted: Header, other: Header) -> bool:
    """Tell whether an honest validator of the trusted header's chain may have signed the other one of its height.

    What these fields hold follows from the blocks before. With at most a third of the power at fault there is one
    chain of such blocks, so no honest validator signs a header that has anything else there.
    """
    return all(getattr(other, field) == getattr(trusted, field) for field in _DERIVED)


def _precommit(commit: Commit, validator: int, signature: bytes) -> Vote:
    return Vote(VoteKind.PRECOMMIT, commit.height, commit.round, commit.block_id, validator, signature)


def height_of(evidence: Evidence) -> Height:
    """Return the height of the validator set that the accused belongs to; for double signing that of the fault."""
    match evidence:
        case DuplicateVote():
            return evidence.first.height
        case DuplicateProposal():
            return evidence.height
        case LightClientAttack():
            return evidence.common_height


def verify_evidence(chain_id: ChainId, validators: ValidatorSet, evidence: Evidence, verifier: Verifier) -> None:
    """Check that the evidence proves a fault of its validator, who is in `validators`, the set of that height.

    Raises:
        Refused: UNKNOWN_VALIDATOR, BAD_SIGNATURE, BAD_EVIDENCE if the two do not conflict, are out of order, or prove
            nothing about the accused. That `trusted` is a header of this chain is for the caller to know.
    """
    index = validators.index_of(evidence.validator)
    if index is None:
        raise Refused(Reason.UNKNOWN_VALIDATOR, "the accused is not in the validator set of that height")
    if isinstance(evidence, DuplicateVote) and evidence.first.validator != index:
        raise Refused(Reason.BAD_EVIDENCE, "the votes do not name the accused")
    check_signed_by(chain_id, validators.validators[index].public_key, evidence, verifier)


def check_signed_by(chain_id: ChainId, public_key: bytes, evidence: Evidence, verifier: Verifier) -> None:
    """Check that the holder of a key signed what no validator may sign, whether it was a validator or not.

    Raises:
        Refused: BAD_SIGNATURE; BAD_EVIDENCE if the two do not conflict or are out of order.
    """
    match evidence:
        case DuplicateVote():
            signed = _signed_votes(chain_id, evidence)
        case DuplicateProposal():
            signed = _signed_proposals(chain_id, evidence)
        case LightClientAttack():
            signed = _signed_header(chain_id, evidence)
    for message, signature in signed:
        if not verifier.verify(public_key, message, signature):
            raise Refused(Reason.BAD_SIGNATURE, "what it is about was not signed by the accused")


def _signed_votes(chain_id: ChainId, evidence: DuplicateVote) -> list[tuple[bytes, bytes]]:
    first, second = evidence.first, evidence.second
    if (first.kind, first.height, first.round) != (second.kind, second.height, second.round):
        raise Refused(Reason.BAD_EVIDENCE, "the votes are not of one height, round and kind")
    if first.validator != second.validator:
        raise Refused(Reason.BAD_EVIDENCE, "the votes do not name the same validator")
    _check_order(first.block_id, second.block_id)
    return [
        (vote_sign_bytes(chain_id, vote.kind, vote.height, vote.round, vote.block_id), vote.signature)
        for vote in (first, second)
    ]


def _signed_proposals(chain_id: ChainId, evidence: DuplicateProposal) -> list[tuple[bytes, bytes]]:
    _check_order(evidence.first[1], evidence.second[1])
    return [
        (proposal_sign_bytes(chain_id, evidence.height, evidence.round, pol_round, block_id), signature)
        for pol_round, block_id, signature in (evidence.first, evidence.second)
    ]


def _signed_header(chain_id: ChainId, evidence: LightClientAttack) -> list[tuple[bytes, bytes]]:
    header = evidence.conflicting
    if header.height != evidence.trusted.height:
        raise Refused(Reason.BAD_EVIDENCE, "the headers are not two of one height")
    if evidence.common_height > header.height:
        raise Refused(Reason.BAD_EVIDENCE, "the common height lies above the headers")
    if is_possible(evidence.trusted, header):
        raise Refused(Reason.BAD_EVIDENCE, "the header follows from the chain: signing it is no fault by itself")
    message = vote_sign_bytes(chain_id, VoteKind.PRECOMMIT, header.height, evidence.round, header.block_id)
    return [(message, evidence.signature)]


def _check_order(first: bytes, second: bytes) -> None:
    if first == second:
        raise Refused(Reason.BAD_EVIDENCE, "both are for the same block: that is no fault")
    if first > second:
        raise Refused(Reason.BAD_EVIDENCE, "the lower block id comes first")
