"""Blocks and their headers: how they are made from the tip, and what makes one right.

Two kinds of fault are kept apart. *Contents* that differ from what the header commits to are the fault of whoever
passed the message on: the header's signer never signed them. A *header* that differs from what the chain's rules
give is the fault of its proposer, and of nobody who relays it.
"""

from collections.abc import Sequence

from consensus.commit import verify_commit, verify_commit_light
from consensus.effects import Verifier
from consensus.types import EMPTY_COMMIT, Block, Commit, Evidence, Header, Proposal, Tip
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.merkle import merkle_root
from state.encoding import encode
from state.types import Address, Height, Round, WtxId


def transactions_root(wtxids: Sequence[WtxId]) -> bytes:
    """Return the Merkle root over the wtxids in block order."""
    return merkle_root(wtxids)


def evidence_root(evidence: Sequence[Evidence]) -> bytes:
    """Return the Merkle root over the evidence's encodings."""
    return merkle_root([encode(item) for item in evidence])


def wtxids_of(transactions: Sequence[bytes]) -> tuple[WtxId, ...]:
    """Return the wtxid of each transaction's wire bytes."""
    return tuple(WtxId(digest(Label.WTX, raw)) for raw in transactions)


def make_header(
    tip: Tip,
    *,
    time: int,
    proposer: Address,
    wtxids: Sequence[WtxId],
    last_commit: Commit,
    evidence: Sequence[Evidence] = (),
) -> Header:
    """Return the header of the block after `tip`. `time` in ms; it is raised to the tip's time + 1 if need be."""
    return Header(
        version=tip.version,
        chain_id=tip.chain_id,
        height=Height(tip.height + 1),
        time=max(time, tip.time + 1),
        proposer=proposer,
        previous=tip.block_id,
        last_commit_hash=last_commit.hash,
        transactions_root=transactions_root(wtxids),
        state_root=tip.state_root,
        receipts_root=tip.receipts_root,
        validators_hash=tip.validators.hash,
        next_validators_hash=tip.next_validators.hash,
        evidence_root=evidence_root(evidence),
        beacon=tip.beacon,
    )


def make_proposal(
    header: Header, wtxids: Sequence[WtxId], last_commit: Commit, evidence: Sequence[Evidence] = (), round: int = 0
) -> Proposal:
    """Return the unsigned first proposal of a new block: what answers BuildBlock."""
    return Proposal(
        round=Round(round),
        pol_round=-1,
        header=header,
        wtxids=tuple(wtxids),
        last_commit=last_commit,
        evidence=tuple(evidence),
        signature=b"",
    )


def check_contents(
    header: Header, wtxids: Sequence[WtxId], last_commit: Commit, evidence: Sequence[Evidence]
) -> None:
    """Check that the parts are those that the header commits to.

    Raises:
        Refused: BAD_HEADER.
    """
    if transactions_root(wtxids) != header.transactions_root:
        raise Refused(Reason.BAD_HEADER, "the transactions are not those of the header")
    if last_commit.hash != header.last_commit_hash:
        raise Refused(Reason.BAD_HEADER, "the last commit is not that of the header")
    if evidence_root(evidence) != header.evidence_root:
        raise Refused(Reason.BAD_HEADER, "the evidence is not that of the header")


def check_header(tip: Tip, header: Header) -> None:
    """Check every field that the tip determines; the time only for its rise, the proposer only for membership.

    Raises:
        Refused: WRONG_HEIGHT, WRONG_CHAIN, WRONG_VERSION, BAD_TIME, UNKNOWN_VALIDATOR, or BAD_HEADER naming the field.
    """
    if header.height != tip.height + 1:
        raise Refused(Reason.WRONG_HEIGHT, f"the header is of height {header.height}, expected {tip.height + 1}")
    if header.chain_id != tip.chain_id:
        raise Refused(Reason.WRONG_CHAIN, "the header is of another chain")
    if header.version != tip.version:
        raise Refused(Reason.WRONG_VERSION, f"protocol version {header.version}, in force is {tip.version}")
    if header.time <= tip.time:
        raise Refused(Reason.BAD_TIME, f"time {header.time} does not rise above {tip.time}")
    if tip.validators.index_of(header.proposer) is None:
        raise Refused(Reason.UNKNOWN_VALIDATOR, "the proposer is not in the validator set")
    expected = {
        "previous": tip.block_id,
        "state_root": tip.state_root,
        "receipts_root": tip.receipts_root,
        "validators_hash": tip.validators.hash,
        "next_validators_hash": tip.next_validators.hash,
        "beacon": tip.beacon,
    }
    for field, value in expected.items():
        if getattr(header, field) != value:
            raise Refused(Reason.BAD_HEADER, f"{field} is not the one that the chain gives")


def check_last_commit(tip: Tip, last_commit: Commit, verifier: Verifier) -> None:
    """Check the commit that a new block carries for the tip, every signature of it: rewards hang on each.

    Raises:
        Refused: BAD_COMMIT or BAD_SIGNATURE.
    """
    if last_commit == tip.commit:
        return
    if tip.height == EMPTY_COMMIT.height:
        raise Refused(Reason.BAD_COMMIT, "the first block carries the empty commit")
    verify_commit(tip.chain_id, tip.previous_validators, tip.height, tip.block_id, last_commit, verifier)


def check_committed_block(tip: Tip, block: Block, commit: Commit, verifier: Verifier) -> None:
    """Check a block that somebody else says is final, before it is executed: what a node that catches up needs.

    The signatures of `block.last_commit` are not checked one by one: those who signed `commit` did, and the header
    holds their hash.

    Raises:
        Refused: BAD_HEADER and the other reasons of `check_header`, BAD_COMMIT, BAD_SIGNATURE.
    """
    check_header(tip, block.header)
    check_contents(block.header, wtxids_of(block.transactions), block.last_commit, block.evidence)
    verify_commit_light(tip.chain_id, tip.validators, block.header.height, block.header.block_id, commit, verifier)
