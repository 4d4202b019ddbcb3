"""Blocks of the height in progress."""

from consensus.block import make_header, make_proposal
from node.candidates import Candidates
from node.mempool import Limits, Mempool
from state.types import WtxId
from tests.consensus.parts import genesis_tip, hash32, make_validators


def test_missing_bodies_are_named_in_the_order_of_the_proposal() -> None:
    """Not in that of a set, which differs from process to process: found by the simulator under two hash seeds."""
    tip = genesis_tip(make_validators([10]))
    wtxids = [WtxId(hash32(f"transaction {number}")) for number in range(50)]
    header = make_header(
        tip, time=tip.time + 1, proposer=tip.validators.validators[0].address, wtxids=wtxids, last_commit=tip.commit
    )
    candidates = Candidates(Mempool(Limits()))
    candidates.add(make_proposal(header, wtxids, tip.commit))
    assert candidates.missing == tuple(wtxids)
