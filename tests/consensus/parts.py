"""Small real parts for consensus tests: keyed-hash signatures, validator sets, tips and blocks."""

import hashlib
from collections.abc import Sequence

from msgspec.structs import replace

from consensus.block import make_header, make_proposal
from consensus.commit import make_commit
from consensus.proposer import advance, start_priorities
from consensus.types import (
    EMPTY_COMMIT,
    Commit,
    Evidence,
    Proposal,
    Tip,
    Validator,
    ValidatorSet,
    Vote,
    VoteKind,
    make_validator_set,
    proposal_sign_bytes,
    vote_sign_bytes,
)
from state.types import Address, BlockId, ChainId, Height, Round, WtxId

CHAIN = ChainId(b"\x07" * 32)
GENESIS_TIME = 1_700_000_000_000


class KeyedHash:
    """Signatures for tests: the hash of key and message. Anybody could forge them; nobody here does."""

    def __init__(self, public_key: bytes = b"") -> None:
        self.public_key = public_key
        self.checked = 0

    def sign(self, message: bytes) -> bytes:
        return signature(self.public_key, message)

    def verify(self, public_key: bytes, message: bytes, signed: bytes) -> bool:
        self.checked += 1
        return signed == signature(public_key, message)


def signature(public_key: bytes, message: bytes) -> bytes:
    return hashlib.sha256(b"signed" + public_key + message).digest()


def hash32(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def make_validators(powers: Sequence[int]) -> ValidatorSet:
    return make_validator_set([
        Validator(Address(hash32(f"address {index}")), b"\x01" + hash32(f"key {index}"), power, Address(bytes(32)))
        for index, power in enumerate(powers)
    ])


def genesis_tip(validators: ValidatorSet) -> Tip:
    return Tip(
        chain_id=CHAIN,
        height=Height(0),
        block_id=BlockId(bytes(CHAIN)),
        time=GENESIS_TIME,
        commit=EMPTY_COMMIT,
        state_root=hash32("state"),
        receipts_root=hash32("receipts"),
        beacon=hash32("beacon"),
        previous_validators=validators,
        validators=validators,
        next_validators=validators,
        priorities=start_priorities(validators),
        needs_proof_block=False,
    )


def tip_after(tip: Tip, proposal: Proposal, commit: Commit) -> Tip:
    """The tip after a block, with an application that only hashes."""
    return tip._replace(
        height=proposal.height,
        block_id=proposal.block_id,
        time=proposal.header.time,
        commit=commit,
        state_root=hashlib.sha256(tip.state_root + proposal.block_id).digest(),
        receipts_root=hashlib.sha256(tip.receipts_root + proposal.block_id).digest(),
        previous_validators=tip.validators,
        validators=tip.next_validators,
        priorities=advance(tip.validators, tip.priorities),
        needs_proof_block=bool(proposal.wtxids),
    )


def signed_vote(
    tip: Tip, index: int, kind: VoteKind, round: int, block_id: bytes, height: int | None = None
) -> Vote:
    at = Height(tip.height + 1 if height is None else height)
    message = vote_sign_bytes(tip.chain_id, kind, at, Round(round), BlockId(block_id))
    public_key = tip.validators.validators[index].public_key
    return Vote(kind, at, Round(round), BlockId(block_id), index, signature(public_key, message))


def offered(
    tip: Tip, proposer: int, round: int = 0, *, time: int | None = None, wtxids: Sequence[str] = (),
    evidence: Sequence[Evidence] = (), last_commit: Commit | None = None,
) -> Proposal:
    """A signed first proposal by this validator."""
    commit = tip.commit if last_commit is None else last_commit
    ids = [WtxId(hash32(text)) for text in wtxids]
    header = make_header(
        tip, time=tip.time + 1000 if time is None else time, proposer=tip.validators.validators[proposer].address,
        wtxids=ids, last_commit=commit, evidence=evidence,
    )
    return sign_proposal(tip, make_proposal(header, ids, commit, evidence, round), proposer)


def sign_proposal(tip: Tip, proposal: Proposal, proposer: int) -> Proposal:
    message = proposal_sign_bytes(
        tip.chain_id, proposal.height, proposal.round, proposal.pol_round, proposal.block_id
    )
    return replace(proposal, signature=signature(tip.validators.validators[proposer].public_key, message))


def commit_of(tip: Tip, proposal: Proposal, signers: Sequence[int], round: int = 0) -> Commit:
    votes = [signed_vote(tip, index, VoteKind.PRECOMMIT, round, proposal.block_id) for index in signers]
    return make_commit(proposal.height, Round(round), proposal.block_id, votes)
