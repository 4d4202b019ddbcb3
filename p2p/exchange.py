"""Peer exchange: what a node tells its peers about others, and what it takes from them."""

import ipaddress
from collections.abc import Callable
from typing import Annotated, Final

from msgspec import Meta

from crypto.errors import Reason, Refused
from p2p.addressbook import AddressBook
from p2p.external import OutsideView
from p2p.network import PeerId, PeerInfo
from p2p.prefix import LOOPBACK, prefix_group, prefix_of
from p2p.records import Place, SignedRecord
from state.encoding import Codec, Record, encode

MAX_TOLD: Final = 64
"""Records in one answer: 200 KB."""
ASKED: Final = 32
"""Records that we ask for."""
MIN_INTERVAL: Final = 2000
"""ms between two answers to one peer."""
MAX_REMEMBERED: Final = 4096


class GetPeers(Record, frozen=True, tag=1):
    """Ask for records of other nodes, and show one's own."""

    most: Annotated[int, Meta(ge=1, le=MAX_TOLD)]
    own: Annotated[tuple[SignedRecord, ...], Meta(max_length=1)]


class Peers(Record, frozen=True, tag=2):
    """The sender's own record, if it can be dialled, and records of nodes that it has reached."""

    records: Annotated[tuple[SignedRecord, ...], Meta(max_length=MAX_TOLD)]
    seen: Place
    """Where the sender sees the asker: the source of its packets."""


get_peers_codec: Final = Codec(GetPeers, 8192)
peers_codec: Final = Codec(Peers)


class NoMeeting:
    """Tells nothing about peers: for networks whose members are all known."""

    def answer(self, peer: PeerInfo, payload: bytes) -> bytes:
        """See `Meeting`. Raises Refused(NOT_AVAILABLE)."""
        raise Refused(Reason.NOT_AVAILABLE, "this node tells nothing about its peers")


class Exchange:
    """Both ends of the exchange over one address book.

    Args:
        book: where records are kept.
        hidden: peers that nobody is told about: the validator behind a sentry.
        loopback_exempt: as in `Limits`.
        clock: ms since 1970.

    Attributes:
        own: our own record, if we can be dialled; empty until it is published.
        outside: where peers that we dialled see us.
    """

    def __init__(
        self, book: AddressBook, hidden: frozenset[PeerId], loopback_exempt: bool, clock: Callable[[], int]
    ) -> None:
        self.own: tuple[SignedRecord, ...] = ()
        self.outside = OutsideView()
        self._book = book
        self._hidden = hidden
        self._exempt = loopback_exempt
        self._clock = clock
        self._answered: dict[PeerId, int] = {}

    def question(self) -> bytes:
        """Return the request to send to a peer."""
        return encode(GetPeers(ASKED, self.own))

    def answer(self, peer: PeerInfo, payload: bytes) -> bytes:
        """See `Meeting`.

        Raises:
            Refused: MALFORMED, NOT_CANONICAL; PROTOCOL_VIOLATION if it shows another's record; NOT_AVAILABLE if it
                asked a moment ago; as `check_record`.
        """
        now = self._clock()
        question = get_peers_codec.decode(payload)
        if now - self._answered.get(peer.peer_id, 0) < MIN_INTERVAL:
            raise Refused(Reason.NOT_AVAILABLE, "you asked a moment ago")
        if len(self._answered) >= MAX_REMEMBERED:
            self._answered = {who: at for who, at in self._answered.items() if now - at < MIN_INTERVAL}
        self._answered[peer.peer_id] = now
        for signed in question.own:
            if signed.record.peer_id != peer.peer_id:
                raise Refused(Reason.PROTOCOL_VIOLATION, "the record is of another node")
            self._take(signed, peer, now)
        told = self._book.sample(question.most, {peer.peer_id, *self._hidden})
        seen = Place(ipaddress.IPv6Address(peer.host.partition("%")[0]).packed, peer.port)
        return encode(Peers((*self.own, *told)[: question.most], seen))

    def take_answer(self, peer: PeerInfo, payload: bytes) -> int:
        """Keep what a peer told; return how many records were news.

        Raises:
            Refused: MALFORMED, NOT_CANONICAL; as `check_record`, but for BAD_TIME: clocks differ.
        """
        now = self._clock()
        news = 0
        answer = peers_codec.decode(payload)
        if not peer.inbound:  # who dialled us sees the address that it dialled
            seen = str(ipaddress.IPv6Address(answer.seen.host)), answer.seen.port
            self.outside.note(prefix_group(peer.host, self._exempt, peer.port), seen)
        for signed in answer.records[:ASKED]:
            news += self._take(signed, peer, now)
        return news

    def _take(self, signed: SignedRecord, peer: PeerInfo, now: int) -> bool:
        hosts = [str(ipaddress.IPv6Address(place.host)) for place in signed.record.places]
        if prefix_of(peer.host) != LOOPBACK and any(prefix_of(host) == LOOPBACK for host in hosts):
            return False  # a stranger's loopback is not ours
        try:
            changed = self._book.add(signed, prefix_group(peer.host, self._exempt, peer.port), now)
        except Refused as refused:
            if refused.reason is Reason.BAD_TIME:
                return False
            raise
        own_place = signed.record.peer_id == peer.peer_id and any(
            host == peer.host and place.port == peer.port
            for host, place in zip(hosts, signed.record.places, strict=True)
        )
        if own_place:  # it speaks from the very socket that it says it listens on, and proved its address and key
            self._book.reached(peer.peer_id, now)
        return changed
