"""The committed chain, as a proposer fills its blocks."""

import pytest
from msgspec.structs import replace

from consensus.evidence import duplicate_vote
from consensus.types import CommitSignature, Evidence, VoteKind, proposal_codec
from node.chain import wtxid_room
from p2p.wire import ProposalMessage
from state.encoding import MAX_FRAME, encode
from state.types import WtxId
from tests.consensus.parts import commit_of, genesis_tip, hash32, make_validators, offered, signed_vote, tip_after

TIP = genesis_tip(make_validators([10] * 4))
FALCON = bytes(1281)


@pytest.mark.parametrize("signers", [0, 4, 256])
@pytest.mark.parametrize("accused", [0, 64])
def test_the_largest_proposal_fits_into_a_frame(signers: int, accused: int) -> None:
    first = offered(TIP, 0)
    tip = tip_after(TIP, first, commit_of(TIP, first, (0, 1, 2)))
    commit = replace(tip.commit, signatures=tuple(CommitSignature(index, FALCON) for index in range(signers)))
    votes = [replace(signed_vote(TIP, 1, VoteKind.PREVOTE, 1, hash32(text)), signature=FALCON) for text in "ab"]
    evidence: tuple[Evidence, ...] = (duplicate_vote(TIP.validators.validators[1].address, *votes),) * accused
    room = wtxid_room(commit, evidence)
    assert room > 15_000
    wtxids = (WtxId(hash32("x")),) * min(room, 25_000)
    proposal = replace(
        offered(tip, 0, last_commit=commit, evidence=evidence), wtxids=wtxids, signature=FALCON
    )
    raw = encode(ProposalMessage(proposal))
    assert len(raw) <= MAX_FRAME
    assert proposal_codec.decode(encode(proposal)) == proposal
    if room < 25_000:
        assert len(raw) > MAX_FRAME - 16_384
