"""What nodes saw of a height's votes and proposals, told to each other so that nobody can say two things to two halves.

Votes go from their validator straight to every peer, and are passed on only to who is stuck (`consensus.relay`). So a
validator that tells one half of the network this and the other half that would go unnoticed while blocks are decided
in one round. Therefore every node, a moment after something new came, tells its peers what it holds as bitmaps by
round, kind and block id. Who holds another vote of the same validator, kind and round passes that one on, and
nothing else: among honest validators the answer to sightings is silence.

Of two proposals for one round the signed words are enough for the proof: `SignedOffer` carries them without the block.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Final

from msgspec import Meta

from consensus.relay import MAX_OFFERS, MAX_VOTE_SETS, Held, VoteSet, has_voted, vote_sets
from consensus.types import Proposal, SignedOffer, Vote
from state.encoding import Record
from state.types import BlockIdField, HeightField, RoundField

MAX_CONTRADICTIONS: Final = 64
"""Most messages in answer to one Sightings: one of them is enough to convict its signer."""


class Sightings(Record, frozen=True):
    """What the sender holds of a height: offers as (round, block id), late rounds first; votes as in RoundStatus."""

    height: HeightField
    offers: Annotated[tuple[tuple[RoundField, BlockIdField], ...], Meta(max_length=MAX_OFFERS)]
    votes: Annotated[tuple[VoteSet, ...], Meta(max_length=MAX_VOTE_SETS)]


def offer_of(proposal: Proposal) -> SignedOffer:
    """Return what a proposal's signature covers, and the signature."""
    return SignedOffer(proposal.height, proposal.round, proposal.pol_round, proposal.block_id, proposal.signature)


def sightings_of(held: Held) -> Sightings:
    """Return what to tell peers: the rounds in which most power voted first, since only liars vote far ahead."""
    offers = [
        (round, proposal.block_id)
        for round in sorted(held.proposals, reverse=True)
        for proposal in held.proposals[round]
    ]
    rounds = sorted(held.votes.rounds, key=lambda round: -held.votes.tally(round).power)
    votes = [one for round in rounds for one in vote_sets(held.votes, round)]
    return Sightings(held.height, tuple(offers[:MAX_OFFERS]), tuple(votes[:MAX_VOTE_SETS]))


def contradicting(held: Held, seen: Sightings) -> tuple[SignedOffer | Vote, ...]:
    """Return what we hold that contradicts what a peer saw.

    Of whom we hold two messages already there is nothing to show: that proof goes its own way.
    """
    if seen.height != held.height:
        return ()
    return tuple(islice(_contradicting(held, seen), MAX_CONTRADICTIONS))


def _contradicting(held: Held, seen: Sightings) -> Iterator[SignedOffer | Vote]:
    """Yield what contradicts something that the peer saw, unless it saw that as well."""
    offered = set(seen.offers)
    for round, block_id in seen.offers:
        proposals = held.proposals.get(round, ())
        if len(proposals) == 1 and proposals[0].block_id != block_id and (round, proposals[0].block_id) not in offered:
            yield offer_of(proposals[0])
    voters = {(one.kind, one.round, one.block_id): one.voters for one in seen.votes}
    for one in seen.votes:
        for validator, votes in held.votes.tally(one.round).kinds[one.kind].held.items():
            if len(votes) > 1 or votes[0].block_id == one.block_id or not has_voted(one.voters, validator):
                continue
            if not has_voted(voters.get((one.kind, one.round, votes[0].block_id), b""), validator):
                yield votes[0]


def absent_voters(held: Held, seen: Sightings) -> set[int]:
    """Return the indexes of validators of whom a peer saw a vote, and we none of that kind and round."""
    absent: set[int] = set()
    for one in seen.votes:
        known = held.votes.tally(one.round).kinds[one.kind].held
        bits = int.from_bytes(one.voters, "little")
        absent.update(index for index in range(bits.bit_length()) if bits >> index & 1 and index not in known)
    return {index for index in absent if index < len(held.votes.validators)}
