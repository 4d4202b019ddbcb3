"""Liars who vote."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from consensus.effects import SignProposal, SignVote
from consensus.types import NIL, Vote, VoteKind
from crypto.hashing import Label, digest
from node.actions import Action, Sign
from node.logic import NodeLogic
from p2p.network import PeerId
from p2p.wire import ConsensusMessage, VoteMessage
from state.types import BlockId, Height, Round
from testnet.byzantine.wrapper import Seat, Wrapper, is_status

REPLAYED: Final = 16
"""Old votes that are sent again with each new one."""
FLOOD: Final = (2, 3, 4, 5, 6, 7, 1000, 2**31 - 1 - 10**6)
"""Rounds ahead for which the flooder votes."""


class DoubleVote(Wrapper):
    """Votes for one thing towards one half of the network, and for another towards the other half.

    The other thing is another proposal of the round if there is one, else nil; for who would vote nil, the proposal of
    the round or a block that does not exist. The half that comes first gets the lower block id, so that accomplices
    tell the same half the same.
    """

    def __init__(self, inner: NodeLogic, seat: Seat, kind: VoteKind) -> None:
        super().__init__(inner, seat)
        self._kind = kind
        self._others: dict[tuple[Height, Round, BlockId], Vote] = {}

    def saying(self, message: ConsensusMessage, receivers: Sequence[PeerId]) -> list[Action]:
        """Split own votes."""
        if not isinstance(message, VoteMessage) or message.vote.kind is not self._kind:
            return self.tell(message, receivers) if self.is_own(message) or is_status(message) else []
        if not self.is_own(message):
            return []
        vote = message.vote
        low, high = sorted((vote, self._other(vote)), key=lambda one: one.block_id)
        return [
            *self.tell(VoteMessage(low), self.seat.audience(receivers, first_half=True)),
            *self.tell(VoteMessage(high), self.seat.audience(receivers, first_half=False)),
        ]

    def _other(self, vote: Vote) -> Vote:
        place = vote.height, vote.round, vote.block_id
        if place not in self._others:
            offered = [offer.block_id for offer in self.seat.offers.get((vote.height, vote.round), ())]
            others = sorted(value for value in offered if value != vote.block_id)
            fallback = NIL if vote.block_id else BlockId(digest(Label.BLOCK, bytes(self.seat.address)))
            other = others[0] if others else fallback
            self._others = {kept: one for kept, one in self._others.items() if kept[0] >= vote.height}
            self._others[place] = self.seat.sign_vote(replace(vote, block_id=other))
            self.seat.confess(f"double_{self._kind.name.lower()}", vote.height, vote.round)
        return self._others[place]


class Amnesia(Wrapper):
    """Forgets its lock: prevotes what a later round offers, and offers fresh blocks although it holds a valid one."""

    def __init__(self, inner: NodeLogic, seat: Seat) -> None:
        super().__init__(inner, seat)
        self._locked: dict[Height, BlockId] = {}

    def signing(self, task: Sign) -> Sign:
        """Vote for another block than the one precommitted."""
        wanted = task.task
        if isinstance(wanted, SignProposal):
            proposal = wanted.proposal
            if proposal.pol_round < 0:
                return task
            header = replace(proposal.header, time=proposal.header.time + 1, proposer=self.seat.address)
            return self.seat.proposal_task(replace(proposal, header=header, pol_round=-1))
        if wanted.kind is VoteKind.PRECOMMIT:
            if wanted.block_id:
                self._locked = {wanted.height: wanted.block_id}
            return task
        return self._prevote(task, wanted)

    def _prevote(self, task: Sign, wanted: SignVote) -> Sign:
        locked = self._locked.get(wanted.height)
        offered = [offer.block_id for offer in self.seat.offers.get((wanted.height, wanted.round), ())]
        if locked is None or wanted.block_id or not offered or locked in offered:
            return task
        return self.seat.vote_task(wanted, offered[0])


class ReplayedVotes(Wrapper):
    """Sends old votes again and again, its own and those of others, of this height and of heights long decided."""

    def __init__(self, inner: NodeLogic, seat: Seat) -> None:
        super().__init__(inner, seat)
        self._next = 0

    def saying(self, message: ConsensusMessage, receivers: Sequence[PeerId]) -> list[Action]:
        """Add old votes to each vote."""
        actions = self.tell(message, receivers)
        if isinstance(message, VoteMessage):
            heard = self.seat.heard
            for _ in range(min(REPLAYED, len(heard))):
                self._next = (self._next + 7) % len(heard)
                actions += self.tell(VoteMessage(heard[self._next]), self.seat.peers)
        return actions


class FutureRoundFlood(Wrapper):
    """With each prevote, votes for many rounds that nobody is in."""

    def saying(self, message: ConsensusMessage, receivers: Sequence[PeerId]) -> list[Action]:
        """Add votes of later rounds."""
        actions = self.tell(message, receivers)
        if isinstance(message, VoteMessage) and self.seat.is_own(message.vote):
            vote = message.vote
            if vote.kind is VoteKind.PREVOTE:
                for ahead in FLOOD:
                    later = replace(vote, round=Round(vote.round + ahead), block_id=NIL)
                    actions += self.tell(VoteMessage(self.seat.sign_vote(later)), receivers)
        return actions
