"""Passes on what a node hears of consensus to the peers that hear it from nobody else, at once.

`consensus.routes` knows who those are. Here is what it takes to tell peers our own wishes, and to find another way to a
validator when a peer has seen what should have come here long ago. The look at who is stuck (`Core`, every
500 ms) stays as the last resort: it needs no memory of anybody.
"""

from typing import Final

from consensus.effects import PassOn
from consensus.engine import Engine
from consensus.relay import RoundStatus
from consensus.routes import Routes
from consensus.sightings import Sightings
from consensus.types import Proposal, ValidatorSet, Vote
from node.actions import Action, Send
from p2p.network import Channel, PeerId
from p2p.wire import ProposalMessage, RoundStatusMessage, VoteMessage, WishesMessage
from state.encoding import encode
from state.types import Address, Height

MAX_DOUBTS: Final = 64
"""Words of peers that are looked at again."""


class Passing:
    """What a node passes on, and asks to have passed on.

    Args:
        engine: whose messages these are.
        own: the address of our consensus key; None for a node that only follows.

    Attributes:
        passed: messages that were sent on, each counted once for each receiver.
    """

    def __init__(self, engine: Engine, own: Address | None) -> None:
        self.passed = 0
        self._engine = engine
        self._routes = Routes(own)
        self._doubts: dict[tuple[PeerId, Height], Sightings] = {}

    def opened(self, peer_id: PeerId) -> None:
        """A peer is there."""
        self._routes.opened(peer_id)

    def closed(self, peer_id: PeerId) -> None:
        """A peer is gone."""
        self._routes.closed(peer_id)
        self._doubts = {key: seen for key, seen in self._doubts.items() if key[0] != peer_id}

    def wishes(self, peer_id: PeerId, message: WishesMessage) -> None:
        """Take what a peer wants to have passed on."""
        self._routes.wishes(peer_id, message.validators)

    def sent(self, peer_id: PeerId, message: Vote | Proposal) -> None:
        """Note that a peer has a message, before the engine takes it."""
        self._routes.sent(peer_id, message)

    def status(self, peer_id: PeerId, status: RoundStatus) -> None:
        """Note what a peer holds."""
        self._routes.saw(peer_id, status.height, status.offers, status.votes)

    def saw(self, peer_id: PeerId, seen: Sightings) -> bool:
        """Note what a peer saw; return whether something of it is missing here, to be looked at again in a moment."""
        self._routes.saw(peer_id, seen.height, seen.offers, seen.votes)
        if self._engine.unseen(seen) and len(self._doubts) < MAX_DOUBTS:
            self._doubts[peer_id, seen.height] = seen
        return bool(self._doubts)

    def relies_on(self, peer_id: PeerId) -> bool:
        """Return whether what this peer sends reaches some other peer through us alone, for all we know."""
        return self._routes.relies_on(peer_id)

    def pass_on(self, effect: PassOn) -> list[Action]:
        """Return what sends a message on."""
        self._routes.begin(self._engine.step.height)
        receivers = self._routes.came(effect.message, effect.signer, PeerId(effect.sender))
        self.passed += len(receivers)
        if not receivers:
            return []
        frame = message_frame(effect.message)
        return [Send(PeerId(peer_id), Channel.CONSENSUS, frame) for peer_id in receivers]

    def tell(self, validators: ValidatorSet) -> list[Action]:
        """Return what tells peers of changed wishes."""
        news = self._routes.news(validator.address for validator in validators.validators)
        return [Send(PeerId(peer_id), Channel.CONSENSUS, encode(WishesMessage(wanted))) for peer_id, wanted in news]

    def mend(self, validators: ValidatorSet) -> list[Action]:
        """Ask who has seen what is still missing here for it, and to pass on such things from now on."""
        doubts, self._doubts = self._doubts, {}
        mended: list[PeerId] = []
        for (peer_id, _), seen in doubts.items():
            mended += [peer_id for signer in self._engine.unseen(seen) if self._routes.lost(signer, peer_id)]
        if not mended:
            return []
        status = encode(RoundStatusMessage(self._engine.round_status()))
        return [*self.tell(validators), *(Send(one, Channel.CONSENSUS, status) for one in dict.fromkeys(mended))]


def message_frame(message: Proposal | Vote) -> bytes:
    """Return the CONSENSUS frame of a proposal or vote."""
    return encode(VoteMessage(message) if isinstance(message, Vote) else ProposalMessage(message))
