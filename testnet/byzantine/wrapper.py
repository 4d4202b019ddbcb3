"""What every lying validator is made of: the honest core inside, and a seat that knows key, peers and chain.

A wrapper has the core's methods (`node.logic.NodeLogic`). It passes events in and looks at the actions that come out:
what is said on CONSENSUS goes through `saying`, what is to be signed through `signing`. Wrappers may stand around each
other. They hold the validator's signer, so whatever they make up is signed as well as the truth.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from msgspec.structs import replace

from consensus.effects import Signer, SignProposal, SignVote
from consensus.proposer import proposer_of
from consensus.types import Proposal, Validator, Vote, proposal_sign_bytes, vote_sign_bytes
from crypto.errors import Refused
from crypto.schemes import address_of
from node.actions import Action, Send, SendAll, Sign, Timer
from node.chain import Chain
from node.logic import NodeLogic
from node.logs import logger
from node.signatures import Verdict
from p2p.network import Channel, PeerId
from p2p.wire import (
    ConsensusMessage,
    ProposalMessage,
    RoundStatusMessage,
    VoteMessage,
    consensus_message_codec,
)
from state.encoding import encode
from state.types import Address, BlockId, Height, Round

_log = logger("consensus")


class Seat:
    """A liar's place in the network.

    Args:
        signer: its consensus key.
        chain: its chain.
        accomplices: peers that lie with it; they hear both halves of everything.

    Attributes:
        peers: who is connected, in order of their ids.
        offers: proposals that were seen, by height and round.
        heard: votes of others in order of arrival, the last few hundred.
    """

    def __init__(self, signer: Signer, chain: Chain, accomplices: frozenset[PeerId]) -> None:
        self.chain = chain
        self.address = Address(address_of(signer.public_key))
        self.peers: list[PeerId] = []
        self.offers: dict[tuple[Height, Round], list[Proposal]] = {}
        self.heard: list[Vote] = []
        self._signer = signer
        self._accomplices = accomplices

    @property
    def index(self) -> int | None:
        """Our place in the set that votes now, or None."""
        return self.chain.tip.validators.index_of(self.address)

    def is_own(self, vote: Vote) -> bool:
        """Whether a vote of the height in progress is ours."""
        return vote.validator == self.index and vote.height == self.chain.height + 1

    def proposer(self, round: Round) -> Validator:
        """Return who proposes in a round of the height in progress."""
        tip = self.chain.tip
        return tip.validators.validators[proposer_of(tip.validators, tip.priorities, round)]

    def halves(self) -> tuple[list[PeerId], list[PeerId]]:
        """Return two disjoint halves of the honest peers. Accomplices with the same peers find the same halves."""
        honest = [peer for peer in self.peers if peer not in self._accomplices]
        middle = (len(honest) + 1) // 2
        return honest[:middle], honest[middle:]

    def audience(self, receivers: Sequence[PeerId], first_half: bool) -> list[PeerId]:
        """Return those of the receivers who are in one half, and the accomplices."""
        half = self.halves()[0 if first_half else 1]
        return [peer for peer in receivers if peer in half or peer in self._accomplices]

    def note(self, message: ConsensusMessage) -> None:
        """Remember what was said."""
        if isinstance(message, ProposalMessage):
            place = message.proposal.height, message.proposal.round
            known = self.offers.setdefault(place, [])
            if all(other.block_id != message.proposal.block_id for other in known):
                known.append(message.proposal)
            for old in [place for place in self.offers if place[0] < self.chain.height - 1]:
                del self.offers[old]
        elif isinstance(message, VoteMessage):
            self.heard.append(message.vote)
            del self.heard[:-512]

    def confess(self, what: str, height: Height, round: Round) -> None:
        """Log a lie as it is told: the time of the line is what measurements count from."""
        _log.warning("lie", what=what, height=height, round=round)

    def sign_vote(self, vote: Vote) -> Vote:
        """Return the vote with our signature."""
        message = vote_sign_bytes(self.chain.tip.chain_id, vote.kind, vote.height, vote.round, vote.block_id)
        return replace(vote, signature=self._signer.sign(message))

    def sign_proposal(self, proposal: Proposal) -> Proposal:
        """Return the proposal with our signature."""
        return replace(proposal, signature=self._signer.sign(self.proposal_bytes(proposal)))

    def proposal_bytes(self, proposal: Proposal) -> bytes:
        """Return what a proposal signs."""
        return proposal_sign_bytes(
            self.chain.tip.chain_id, proposal.height, proposal.round, proposal.pol_round, proposal.block_id
        )

    def vote_task(self, task: SignVote, block_id: BlockId) -> Sign:
        """Return the order to sign another value than the core wants."""
        changed = SignVote(task.kind, task.height, task.round, block_id, task.validator)
        message = vote_sign_bytes(self.chain.tip.chain_id, task.kind, task.height, task.round, block_id)
        return Sign(changed, message)

    def proposal_task(self, proposal: Proposal) -> Sign:
        """Return the order to sign another proposal than the core wants."""
        return Sign(SignProposal(proposal), self.proposal_bytes(proposal))


class Wrapper:
    """Stands around a core and does nothing: what lies overrides `saying`, `signing` or `rewrite`.

    Args:
        inner: the core, or another wrapper.
        seat: shared by all wrappers of one validator.
    """

    def __init__(self, inner: NodeLogic, seat: Seat) -> None:
        self.inner = inner
        self.seat = seat

    # ---- what to override

    def saying(self, message: ConsensusMessage, receivers: Sequence[PeerId]) -> list[Action]:
        """Return what to do instead of saying this to those."""
        return self.tell(message, receivers)

    def signing(self, task: Sign) -> Sign:
        """Return what to sign instead."""
        return task

    def rewrite(self, action: Action) -> list[Action]:
        """Return what to do instead of an action."""
        match action:
            case SendAll(Channel.CONSENSUS, payload):
                return self._say(payload, self.seat.peers)
            case Send(peer_id, Channel.CONSENSUS, payload):
                return self._say(payload, [peer_id])
            case Sign():
                return [self.signing(action)]
        return [action]

    def is_own(self, message: ConsensusMessage) -> bool:
        """Whether we sign it ourselves. Who says two things passes on nothing else: it would betray an accomplice."""
        match message:
            case VoteMessage(vote):
                return self.seat.is_own(vote)
            case ProposalMessage(proposal):
                in_progress = proposal.height == self.seat.chain.height + 1
                return in_progress and self.seat.proposer(proposal.round).address == self.seat.address
        return False

    @staticmethod
    def tell(message: ConsensusMessage, receivers: Sequence[PeerId]) -> list[Action]:
        """Return the actions that say this to those."""
        payload = encode(message)
        return [Send(peer_id, Channel.CONSENSUS, payload) for peer_id in receivers]

    def _say(self, payload: bytes, receivers: Sequence[PeerId]) -> list[Action]:
        message = consensus_message_codec.decode(payload)
        self.seat.note(message)
        return self.saying(message, list(receivers))

    def _out(self, actions: list[Action]) -> list[Action]:
        return [changed for action in actions for changed in self.rewrite(action)]

    # ---- the core's methods

    def start(self, now: int) -> list[Action]:
        """Begin."""
        return self._out(self.inner.start(now))

    def timer_over(self, timer: Timer, now: int) -> list[Action]:
        """A timer ran out."""
        return self._out(self.inner.timer_over(timer, now))

    def signed(self, task: SignVote | SignProposal, signature: bytes, now: int) -> list[Action]:
        """A signature that was asked for is there."""
        return self._out(self.inner.signed(task, signature, now))

    def peer_connected(self, peer_id: PeerId, now: int) -> list[Action]:
        """A peer is there."""
        self.seat.peers = sorted({*self.seat.peers, peer_id})
        return self._out(self.inner.peer_connected(peer_id, now))

    def peer_disconnected(self, peer_id: PeerId, now: int) -> list[Action]:
        """A peer is gone."""
        self.seat.peers = [other for other in self.seat.peers if other != peer_id]
        return self._out(self.inner.peer_disconnected(peer_id, now))

    def consensus_frame(self, peer_id: PeerId, payload: bytes, now: int) -> list[Action]:
        """A frame came on CONSENSUS."""
        with suppress(Refused):  # the core says so itself
            self.seat.note(consensus_message_codec.decode(payload))
        return self._out(self.inner.consensus_frame(peer_id, payload, now))

    def misbehaved(self, peer_id: PeerId, refused: Refused, now: int) -> list[Action]:
        """A peer sent something that does not even decode."""
        return self._out(self.inner.misbehaved(peer_id, refused, now))

    def announced(self, height: Height, now: int) -> list[Action]:
        """Gossip says that a node has the block of this height."""
        return self._out(self.inner.announced(height, now))

    def transactions(self, raws: Sequence[bytes], sender: PeerId, report: int, now: int) -> list[Action]:
        """Transactions came."""
        return self._out(self.inner.transactions(raws, sender, report, now))

    def verified(self, ticket: int, verdicts: Sequence[Verdict], now: int) -> list[Action]:
        """Signatures of transactions are checked."""
        return self._out(self.inner.verified(ticket, verdicts, now))

    def answer_frame(self, ticket: int, peer_id: PeerId, frame: bytes, now: int) -> list[Action]:
        """A frame of an answer came."""
        return self._out(self.inner.answer_frame(ticket, peer_id, frame, now))

    def answer_over(self, ticket: int, peer_id: PeerId, refused: Refused | None, now: int) -> list[Action]:
        """An answer is complete, or was refused."""
        return self._out(self.inner.answer_over(ticket, peer_id, refused, now))

    def answers(self, payload: bytes, moniker: str, port: int) -> Iterator[bytes]:
        """Yield the frames that answer a peer's request."""
        return self.inner.answers(payload, moniker, port)


def is_status(message: ConsensusMessage) -> bool:
    """Whether it tells where we stand: a liar who keeps that back learns nothing itself."""
    return isinstance(message, RoundStatusMessage)
