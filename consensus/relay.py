"""What a peer lacks: the paper assumes that what one honest validator has, every other gets; this makes it so.

Each node tells its peers which proposals and votes of the present height it holds, as bitmaps by round, kind and
block id, and passes on what the other's bitmap lacks. Because the bitmaps are by block id, two nodes that hold
different halves of an equivocation exchange them, and both have the evidence. Nodes that do not vote take part.

A peer at another height gets nothing from here: the commit and block of a finished height are the sync's business.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Final, NamedTuple, Self

from msgspec import Meta

from consensus.round_machine import NO_ROUND, RoundStep
from consensus.types import MAX_VALIDATORS, Proposal, ValidatorSet, Vote, VoteKind
from consensus.vote_keeper import VoteKeeper
from state.encoding import Codec, Record
from state.types import BlockId, BlockIdField, Height, HeightField, Round, RoundField, VotedBlockId

MAX_VOTE_SETS: Final = 64
MAX_OFFERS: Final = 16
MAX_LACKING: Final = 4 * MAX_VALIDATORS
"""Most messages passed on in answer to one status."""


class VoteSet(Record, frozen=True):
    """Who is known to have voted for one block id (or nil).

    Bit i of `voters`, counted from the lowest of byte 0, is validator i.
    """

    kind: VoteKind
    round: RoundField
    block_id: VotedBlockId
    voters: Annotated[bytes, Meta(max_length=MAX_VALIDATORS // 8)]


class RoundStatus(Record, frozen=True):
    """Where a node stands at its height, and what it holds of it. `round` is 0 before the first round begins."""

    height: HeightField
    round: RoundField
    step: RoundStep
    offers: Annotated[tuple[tuple[RoundField, BlockIdField], ...], Meta(max_length=MAX_OFFERS)]
    votes: Annotated[tuple[VoteSet, ...], Meta(max_length=MAX_VOTE_SETS)]


status_codec: Final = Codec(RoundStatus)


class Held(NamedTuple):
    """What the engine holds of its height: a view, true until its next input.

    Attributes:
        height: of the chain; 0 before the engine was started.
        round: NO_ROUND before the first.
        step: within the round.
        proposals: by round; a second one conflicts with the first.
        votes: all of them.
    """

    height: Height
    round: Round
    step: RoundStep
    proposals: Mapping[Round, Sequence[Proposal]]
    votes: VoteKeeper

    @classmethod
    def nothing(cls) -> Self:
        """Return the view of an engine that was not started."""
        return cls(Height(0), NO_ROUND, RoundStep.UNSTARTED, {}, VoteKeeper(ValidatorSet(())))


def status_of(held: Held) -> RoundStatus:
    """Return what to tell peers.

    The rounds told are those that matter: the present, the proof-of-lock rounds of its proposals, later ones, and
    the one before.
    """
    rounds = _rounds_to_tell(held)
    offers = [
        (proposal.round, proposal.block_id) for round in rounds for proposal in held.proposals.get(Round(round), ())
    ]
    votes = [vote_set for round in rounds for vote_set in vote_sets(held.votes, Round(round))]
    # the present round first: what does not fit is old
    return RoundStatus(
        height=held.height,
        round=Round(max(held.round, 0)),
        step=held.step,
        offers=tuple(offers[:MAX_OFFERS]),
        votes=tuple(votes[:MAX_VOTE_SETS]),
    )


def lacking(held: Held, status: RoundStatus) -> tuple[Proposal | Vote, ...]:
    """Return what we hold and the peer needs: proposals before votes, its round before others, at most MAX_LACKING."""
    if status.height != held.height:
        return ()
    return tuple(islice(_lacking(held, status), MAX_LACKING))


def _lacking(held: Held, status: RoundStatus) -> Iterator[Proposal | Vote]:
    rounds = [status.round]
    if held.round > status.round:
        rounds.append(Round(held.round))  # more than a third of the power in a later round takes the peer there
    offered = set(status.offers)
    proposals = [proposal for round in rounds for proposal in held.proposals.get(round, ())]
    for proposal in proposals:
        if (proposal.round, proposal.block_id) not in offered:
            yield proposal
    known = {(votes.kind, votes.round, votes.block_id): votes.voters for votes in status.votes}
    locks = {proposal.pol_round for proposal in proposals if proposal.pol_round >= 0}
    if status.round > 0:
        locks.add(status.round - 1)  # a commit of the round that the peer has just left
    for round in (*rounds, *sorted(locks - set(rounds), reverse=True)):
        for kind in VoteKind:
            for vote in held.votes.tally(Round(round)).kinds[kind].votes():
                voters = known.get((kind, vote.round, vote.block_id), b"")
                if not has_voted(voters, vote.validator):
                    yield vote


def _rounds_to_tell(held: Held) -> list[int]:
    present = max(held.round, 0)
    rounds = [present]
    for proposal in held.proposals.get(Round(present), ()):
        if proposal.pol_round >= 0:
            rounds.append(proposal.pol_round)
    rounds += sorted(round for round in held.votes.rounds if round > present)
    rounds.append(present - 1)
    return list(dict.fromkeys(round for round in rounds if round >= 0))


def vote_sets(votes: VoteKeeper, round: Round) -> Iterator[VoteSet]:
    """Yield who voted for what in a round."""
    for kind in VoteKind:
        voters: dict[BlockId, int] = {}
        for vote in votes.tally(round).kinds[kind].votes():
            voters[vote.block_id] = voters.get(vote.block_id, 0) | 1 << vote.validator
        # the most voters first: what does not fit into the status are the odd votes of equivocators
        for block_id, bits in sorted(voters.items(), key=lambda item: -item[1].bit_count()):
            yield VoteSet(kind, round, block_id, bits.to_bytes((bits.bit_length() + 7) // 8, "little"))


def has_voted(voters: bytes, index: int) -> bool:
    """Whether a validator's bit is set."""
    return index // 8 < len(voters) and bool(voters[index // 8] >> index % 8 & 1)
