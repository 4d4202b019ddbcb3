"""Liars who propose."""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from consensus.block import evidence_root, transactions_root, wtxids_of
from consensus.effects import SignProposal
from consensus.evidence import duplicate_vote
from consensus.types import Evidence, Proposal, Vote
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from node.actions import Action, Send, SendAll, Sign
from node.logic import NodeLogic
from p2p.network import Channel, PeerId
from p2p.wire import (
    ConsensusMessage,
    EvidenceMessage,
    GetTransactions,
    ProposalMessage,
    VoteMessage,
    request_codec,
)
from state.types import Address, BlockId, Round, WtxId
from testnet.byzantine.wrapper import Seat, Wrapper, is_status


class EquivocatingProposal(Wrapper):
    """Proposes one valid block to one half of the network, and another to the other half."""

    def __init__(self, inner: NodeLogic, seat: Seat) -> None:
        super().__init__(inner, seat)
        self._twins: dict[BlockId, Proposal] = {}

    def saying(self, message: ConsensusMessage, receivers: Sequence[PeerId]) -> list[Action]:
        """Split own proposals: the half that comes first gets the lower block id."""
        if not isinstance(message, ProposalMessage):
            return self.tell(message, receivers) if self.is_own(message) or is_status(message) else []
        if not self.is_own(message):
            return []
        if message.proposal.pol_round >= 0:
            return self.tell(message, receivers)
        twin = self._twin(message.proposal)
        low, high = sorted((message.proposal, twin), key=lambda one: one.block_id)
        self.seat.note(ProposalMessage(twin))
        return [
            *self.tell(ProposalMessage(low), self.seat.audience(receivers, first_half=True)),
            *self.tell(ProposalMessage(high), self.seat.audience(receivers, first_half=False)),
        ]

    def _twin(self, proposal: Proposal) -> Proposal:
        """Return a block that differs in its time by a millisecond."""
        if proposal.block_id not in self._twins:
            later = replace(proposal, header=replace(proposal.header, time=proposal.header.time + 1))
            twin = self.seat.sign_proposal(later)
            self.seat.confess("equivocating_proposal", proposal.height, proposal.round)
            self._twins = {proposal.block_id: twin, twin.block_id: proposal}
        return self._twins[proposal.block_id]


class WrongProofOfLock(Wrapper):
    """Says that its block has a proof of lock which nobody ever saw: in its own rounds, and ahead of them."""

    def signing(self, task: Sign) -> Sign:
        """Claim that the round before had a polka."""
        if isinstance(task.task, SignProposal) and task.task.proposal.round > 0:
            proposal = task.task.proposal
            return self.seat.proposal_task(replace(proposal, pol_round=proposal.round - 1))
        return task

    def saying(self, message: ConsensusMessage, receivers: Sequence[PeerId]) -> list[Action]:
        """When a block is offered, offer another one for a later round of ours, with a polka that never was."""
        actions = self.tell(message, receivers)
        if isinstance(message, VoteMessage) and self.seat.is_own(message.vote):
            vote = message.vote
            for offer in self.seat.offers.get((vote.height, vote.round), ())[:1]:
                for round in (vote.round + 1, vote.round + 2):
                    if self.seat.proposer(Round(round)).address == self.seat.address:
                        actions += self.tell(ProposalMessage(self._false(offer, Round(round))), receivers)
        return actions

    def _false(self, offer: Proposal, round: Round) -> Proposal:
        header = replace(offer.header, time=offer.header.time + 2, proposer=self.seat.address)
        return self.seat.sign_proposal(replace(offer, header=header, round=round, pol_round=round - 1))


class InvalidBlock(Wrapper):
    """Proposes blocks that break a rule of validity: a transaction twice, or one of the last block again."""

    def signing(self, task: Sign) -> Sign:
        """Spoil the list of transactions, in a header that fits it."""
        if not isinstance(task.task, SignProposal):
            return task
        proposal = task.task.proposal
        wtxids = (*proposal.wtxids, self._surplus(proposal))
        header = replace(proposal.header, transactions_root=transactions_root(wtxids))
        return self.seat.proposal_task(replace(proposal, header=header, wtxids=wtxids))

    def _surplus(self, proposal: Proposal) -> WtxId:
        chain = self.seat.chain
        if chain.height and proposal.height % 2:
            old = wtxids_of(chain.block(chain.height).block.transactions)
            if old:
                return old[0]
        return proposal.wtxids[0] if proposal.wtxids else WtxId(digest(Label.WTX, b"nothing"))


class InvalidStateRoot(Wrapper):
    """Proposes blocks on a state that nobody else has."""

    def signing(self, task: Sign) -> Sign:
        """Change the state root."""
        if not isinstance(task.task, SignProposal):
            return task
        proposal = task.task.proposal
        header = replace(proposal.header, state_root=digest(Label.BLOCK, proposal.header.state_root))
        return self.seat.proposal_task(replace(proposal, header=header))


class WithheldBodies(Wrapper):
    """Proposes transactions that were given to it alone, and shows them to nobody."""

    def rewrite(self, action: Action) -> list[Action]:
        """Keep transactions back."""
        match action:
            case Send(_, Channel.TRANSACTIONS, _) | SendAll(Channel.TRANSACTIONS, _):
                return []
        return super().rewrite(action)

    def answers(self, payload: bytes, moniker: str, port: int) -> Iterator[bytes]:
        """Give no transaction away."""
        if isinstance(request_codec.decode(payload), GetTransactions):
            raise Refused(Reason.NOT_AVAILABLE, "not now")
        return super().answers(payload, moniker, port)


class FalseEvidence(Wrapper):
    """Accuses the innocent: towards its peers, and in its blocks."""

    def saying(self, message: ConsensusMessage, receivers: Sequence[PeerId]) -> list[Action]:
        """With each vote, accuse who voted just before."""
        actions = self.tell(message, receivers)
        if isinstance(message, VoteMessage) and self.seat.is_own(message.vote):
            for evidence in self._accusations():
                actions += self.tell(EvidenceMessage(evidence), receivers)
        return actions

    def signing(self, task: Sign) -> Sign:
        """Put an accusation into the block, in a header that fits it."""
        accusations = self._accusations()
        if not isinstance(task.task, SignProposal) or not accusations:
            return task
        proposal = task.task.proposal
        header = replace(proposal.header, evidence_root=evidence_root(accusations))
        return self.seat.proposal_task(replace(proposal, header=header, evidence=accusations))

    def _accusations(self) -> tuple[Evidence, ...]:
        """Return a proof that is none: a vote of somebody else, and another one that we signed in its name."""
        heard = [vote for vote in self.seat.heard if vote.validator != self.seat.index]
        validators = self.seat.chain.tip.validators.validators
        return tuple(
            duplicate_vote(Address(validators[vote.validator].address), vote, self._forged(vote))
            for vote in heard[-1:] if vote.validator < len(validators)
        )

    def _forged(self, vote: Vote) -> Vote:
        return self.seat.sign_vote(replace(vote, block_id=BlockId(digest(Label.BLOCK, vote.signature))))


