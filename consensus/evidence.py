"""Proofs that a validator signed two things where it may sign one.

Two votes conflict by block id at the same height, round and kind; never by their signature bytes, since Falcon is
randomised and signing twice is no fault. Who made them, or punishes them, is not decided here: this module builds
the proof and checks that it proves something about a given validator set.
"""

from consensus.effects import Verifier
from consensus.types import (
    DuplicateProposal,
    DuplicateVote,
    Evidence,
    Proposal,
    SignedOffer,
    ValidatorSet,
    Vote,
    proposal_sign_bytes,
    vote_sign_bytes,
)
from crypto.errors import Reason, Refused
from state.types import Address, ChainId, Height


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


def height_of(evidence: Evidence) -> Height:
    """Return the height at which the fault was committed."""
    return evidence.height if isinstance(evidence, DuplicateProposal) else evidence.first.height


def verify_evidence(chain_id: ChainId, validators: ValidatorSet, evidence: Evidence, verifier: Verifier) -> None:
    """Check that the evidence proves a fault of its validator, who is in `validators`, the set of that height.

    Raises:
        Refused: UNKNOWN_VALIDATOR, BAD_EVIDENCE if the two do not conflict or are out of order, BAD_SIGNATURE.
    """
    index = validators.index_of(evidence.validator)
    if index is None:
        raise Refused(Reason.UNKNOWN_VALIDATOR, "the accused is not in the validator set of that height")
    public_key = validators.validators[index].public_key
    if isinstance(evidence, DuplicateProposal):
        signed = _signed_proposals(chain_id, evidence)
    else:
        signed = _signed_votes(chain_id, evidence, index)
    for message, signature in signed:
        if not verifier.verify(public_key, message, signature):
            raise Refused(Reason.BAD_SIGNATURE, "one of the two was not signed by the accused")


def _signed_votes(chain_id: ChainId, evidence: DuplicateVote, index: int) -> list[tuple[bytes, bytes]]:
    first, second = evidence.first, evidence.second
    if (first.kind, first.height, first.round) != (second.kind, second.height, second.round):
        raise Refused(Reason.BAD_EVIDENCE, "the votes are not of one height, round and kind")
    if first.validator != index or second.validator != index:
        raise Refused(Reason.BAD_EVIDENCE, "the votes do not name the accused")
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


def _check_order(first: bytes, second: bytes) -> None:
    if first == second:
        raise Refused(Reason.BAD_EVIDENCE, "both are for the same block: that is no fault")
    if first > second:
        raise Refused(Reason.BAD_EVIDENCE, "the lower block id comes first")
