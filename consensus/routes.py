"""Which way the votes and proposals of each validator come to a node, and to which peers it passes them on at once.

What a validator signs goes straight to its own peers. A node that is no peer of it has it from others, and each node
tells its peers whose messages it wants to have passed on: in the beginning everybody's, and once a validator's messages
have come from one peer, from that one alone. So paths grow into one tree for each validator (as in Plumtree: Leitão,
Pereira, Rodrigues, "Epidemic Broadcast Trees", 2007). Where all are peers of each other every tree is a star with the
validator in its middle, and nobody passes on anything: what a validator signs itself goes to all its peers unasked.

Nobody has to say who it is for that, or whom it knows: who is first with a message is a way to its signer. A way that
is lost shows by the peer being gone, or by another peer having seen what did not come (`lost`); then the validator's
messages are wanted from more peers than one for a while, so a peer that passes on now and then gains little.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from consensus.effects import PeerId
from consensus.relay import VoteSet, has_voted
from consensus.types import MAX_VALIDATORS, Proposal, Vote
from state.types import Address, BlockId, Height, Round

CAUTION: Final = 8
"""Heights after a loss during which no way to a validator is given up."""
MAX_KNOWN: Final = 8 * MAX_VALIDATORS
"""Messages of the present heights that are remembered as known to a peer; without the rest it may get one twice."""


def _key(message: Vote | Proposal) -> tuple[object, ...]:
    """Return what makes two messages the same: never the signature, which is random."""
    if isinstance(message, Vote):
        return message.height, message.round, message.kind, message.validator, message.block_id
    return message.height, message.round, message.block_id


@dataclass(slots=True)
class _Peer:
    """What is known of a peer.

    Attributes:
        wishes: whose messages it wants, once it has said so; until then everybody's.
        told: what it was told of our wishes.
        known: keys of messages of the present heights that it has.
        voters: who voted for what at the present heights, as far as it said that it knows.
    """

    wishes: tuple[frozenset[Address], ...] = ()
    told: tuple[frozenset[Address], ...] = ()
    known: set[tuple[object, ...]] = field(default_factory=set)
    voters: dict[tuple[object, ...], bytes] = field(default_factory=dict)

    def wants(self, signer: Address) -> bool:
        """Whether it wants this validator's messages."""
        return all(signer in wishes for wishes in self.wishes)

    def has(self, message: Vote | Proposal) -> bool:
        """Whether it has the message, as far as we know."""
        if _key(message) in self.known:
            return True
        if not isinstance(message, Vote):
            return False
        told = self.voters.get((message.height, message.round, message.kind, message.block_id), b"")
        return has_voted(told, message.validator)

    def note(self, key: tuple[object, ...]) -> None:
        """Remember that it has a message."""
        if len(self.known) < MAX_KNOWN:
            self.known.add(key)


class Routes:
    """What a node knows of the ways to it and from it.

    Args:
        own: the address of our consensus key: nobody has to pass on what we signed. None for a node without one.
    """

    def __init__(self, own: Address | None) -> None:
        self._own = own
        self._peers: dict[PeerId, _Peer] = {}
        self._sources: dict[Address, set[PeerId]] = {}
        """By validator: the peers from which its messages come; without an entry nobody knows."""
        self._careful: dict[Address, Height] = {}
        self._height = Height(0)
        self._links: set[PeerId] = set()
        self._changed = False

    # ---- peers

    def opened(self, peer: PeerId) -> None:
        """A peer is there; it wants everything until it says otherwise, and knows no wishes of ours."""
        self.closed(peer)
        self._peers[peer] = _Peer()

    def closed(self, peer: PeerId) -> None:
        """A peer is gone, and no message comes that way."""
        self._peers.pop(peer, None)
        self._changed = True
        for validator in [one for one, peers in self._sources.items() if peer in peers]:
            self._sources[validator].discard(peer)
            if not self._sources[validator]:
                del self._sources[validator]

    def wishes(self, peer: PeerId, validators: Iterable[Address]) -> None:
        """Take what a peer wants to have passed on."""
        if peer in self._peers:
            self._peers[peer].wishes = (frozenset(validators),)
            self._changed = True

    def sent(self, peer: PeerId, message: Vote | Proposal) -> None:
        """Note that a peer has a message, because it came from it."""
        if peer in self._peers:
            self._peers[peer].note(_key(message))

    def saw(
        self, peer: PeerId, height: Height, offers: Iterable[tuple[Round, BlockId]], votes: Iterable[VoteSet]
    ) -> None:
        """Note what a peer says that it holds of the height in progress."""
        if peer not in self._peers or height != self._height:
            return
        self._peers[peer].voters = {(height, one.round, one.kind, one.block_id): one.voters for one in votes}
        for round, block_id in offers:
            self._peers[peer].note((height, round, block_id))

    # ---- messages

    def came(self, message: Vote | Proposal, signer: Address, sender: PeerId) -> list[PeerId]:
        """Take a message that is new and good; return the peers to pass it on to.

        Args:
            message: of a validator.
            signer: the validator.
            sender: the peer that brought it first.
        """
        self._learn(signer, sender, message.height)
        return [
            peer for peer, about in self._peers.items()
            if peer != sender and about.wants(signer) and not about.has(message)
        ]

    def _learn(self, signer: Address, sender: PeerId, height: Height) -> None:
        sources = self._sources.get(signer)
        if sender not in self._peers or sources == {sender}:
            return
        self._changed = True
        if sources and self._careful.get(signer, 0) > height:
            sources.add(sender)
        else:
            self._sources[signer] = {sender}

    def lost(self, signer: Address, peer: PeerId) -> bool:
        """Take the word of a peer that it holds a message which did not come here; return whether that way is new."""
        sources = self._sources.get(signer)
        if not sources or peer in sources or peer not in self._peers:
            return False
        sources.add(peer)
        self._careful[signer] = Height(self._height + CAUTION)
        return True

    def relies_on(self, source: PeerId) -> bool:
        """Return whether some peer has through us what comes to us from this one, so that the two are no peers."""
        if self._changed:
            self._changed = False
            ways = [(signer, next(iter(peers))) for signer, peers in self._sources.items() if len(peers) == 1]
            self._links = {
                way for peer, about in self._peers.items() for signer, way in ways
                if way != peer and about.wishes and about.wants(signer)
            }
        return source in self._links

    # ---- from height to height

    def begin(self, height: Height) -> None:
        """Forget what peers had of earlier heights."""
        if height != self._height:
            self._height = height
            for about in self._peers.values():
                about.known.clear()
                about.voters = {}

    def news(self, validators: Iterable[Address]) -> list[tuple[PeerId, tuple[Address, ...]]]:
        """Return what each peer has to be told of our wishes: who has the last word already is not in it.

        Args:
            validators: who votes.
        """
        others = [one for one in validators if one != self._own]
        for gone in self._sources.keys() - set(others):
            del self._sources[gone]
            self._careful.pop(gone, None)
        news = []
        for peer, about in self._peers.items():
            wanted = frozenset(one for one in others if peer in self._sources.get(one, (peer,)))
            if about.told != (wanted,) and (about.told or self._sources):
                about.told = (wanted,)
                news.append((peer, tuple(sorted(wanted))))
        return news
