"""What the log's entries of one height say about where we stood: pure, used once after a restart.

Three things must survive a crash: what we signed (never to be signed again, not even the same: Falcon is
randomised), our lock, and the valid value with its block. The lock is our last precommit for a block: the paper
sets the lock (L38, L39) and precommits (L40) in one step. The valid value is the last block written for a polka
(L42, L43). What peers sent is only there to save asking them again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from consensus.log import BlockEntry, LogEntry, ProposalEntry, VoteEntry
from consensus.round_machine import NO_ROUND, RoundState, RoundStep
from consensus.types import Proposal, Vote, VoteKind
from state.types import Height, Round


@dataclass(frozen=True, slots=True)
class Recovered:
    """A height as the log has it.

    Attributes:
        state: where to go on; the step is UNSTARTED if we had not prevoted in its round.
        own_votes: every vote that we signed, by round and kind.
        own_proposals: every proposal that we signed, by round.
        votes: all votes, ours included, in order.
        proposals: all proposals, ours included, in order, each once.
    """

    state: RoundState
    own_votes: dict[tuple[Round, VoteKind], Vote]
    own_proposals: dict[Round, Proposal]
    votes: tuple[Vote, ...]
    proposals: tuple[Proposal, ...]


def recover(
    entries: Sequence[LogEntry], height: Height, own_index: int | None, proposer: Callable[[Round], int]
) -> Recovered:
    """Return what the entries of `height` say.

    Args:
        entries: of that height, in the log's order.
        height: which.
        own_index: our place in the validator set, or None.
        proposer: the index of a round's proposer.
    """
    votes = tuple(entry.vote for entry in entries if isinstance(entry, VoteEntry))
    offered = [entry.proposal for entry in entries if isinstance(entry, ProposalEntry | BlockEntry)]
    proposals = {(proposal.round, proposal.block_id): proposal for proposal in offered}
    own_votes: dict[tuple[Round, VoteKind], Vote] = {}
    for vote in votes:
        if vote.validator == own_index:
            own_votes.setdefault((vote.round, vote.kind), vote)
    own_proposals: dict[Round, Proposal] = {}
    for proposal in proposals.values():
        if own_index is not None and proposer(proposal.round) == own_index:
            own_proposals.setdefault(proposal.round, proposal)
    state = RoundState(height)
    for entry in entries:
        if isinstance(entry, BlockEntry) and entry.proposal.round > state.valid_round:
            state = replace(state, valid_value=entry.proposal.block_id, valid_round=entry.proposal.round)
    state = _with_own(state, own_votes, own_proposals)
    return Recovered(state, own_votes, own_proposals, votes, tuple(proposals.values()))


def _with_own(
    state: RoundState, votes: Mapping[tuple[Round, VoteKind], Vote], proposals: Mapping[Round, Proposal]
) -> RoundState:
    """Return the state with the lock and the place that our own messages show."""
    for (round, kind), vote in votes.items():
        if kind is VoteKind.PRECOMMIT and vote.block_id and round > state.locked_round:
            state = replace(state, locked_value=vote.block_id, locked_round=round)
    round = max((*proposals, *(round for round, _ in votes)), default=NO_ROUND)
    step = RoundStep.UNSTARTED
    if (round, VoteKind.PREVOTE) in votes:
        step = RoundStep.PREVOTE
    if (round, VoteKind.PRECOMMIT) in votes:
        step = RoundStep.PRECOMMIT
    return replace(state, round=round, step=step)
