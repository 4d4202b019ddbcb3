"""What the node sees of its peers: events in, frames out. The implementation is `p2p/mesh.py` over `p2p/stoq/`."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NewType, Protocol

import trio

from consensus.types import Evidence
from crypto.errors import Reason

PeerId = NewType("PeerId", bytes)
"""32 bytes: H("node-id", the node's Falcon-1024 public key)."""


class Channel(IntEnum):
    """One long-lived framed stream per pair of peers and channel, so that votes never wait behind bulk."""

    CONSENSUS = 1
    TRANSACTIONS = 2
    SYNC = 3
    GOSSIP = 4
    """Streams of libp2p, see `p2p.gossip.streams`."""


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where to dial: `ID@[ADDR]:PORT`."""

    peer_id: PeerId
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A live, authenticated connection. Bytes are counted on the wire; `rtt` is in seconds."""

    peer_id: PeerId
    host: str
    port: int
    inbound: bool
    connected_at: float
    bytes_sent: int
    bytes_received: int
    rtt: float


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """The peer passed mutual authentication; frames may be sent from now on."""

    peer_id: PeerId
    inbound: bool


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """The connection is gone."""

    peer_id: PeerId
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """One frame (at most MAX_FRAME bytes) on CONSENSUS or TRANSACTIONS, in the order of its sender."""

    peer_id: PeerId
    channel: Channel
    payload: bytes


class Reply(Protocol):
    """Answers one request. The other side gets the frames in order, then the end or the refusal."""

    @property
    def wanted(self) -> bool:
        """False once the other side has taken it back or is gone; it is to be ended or refused all the same."""
        ...

    async def send(self, payload: bytes) -> None:
        """Add one frame to the answer; it may leave only with the next one or the end. Waits while the peer is slow."""
        ...

    async def end(self) -> None:
        """Finish the answer."""
        ...

    async def refuse(self, reason: Reason, detail: str) -> None:
        """Finish with a named refusal."""
        ...


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A peer asks on SYNC."""

    peer_id: PeerId
    payload: bytes
    reply: Reply


NetworkEvent = PeerConnected | PeerDisconnected | FrameReceived | RequestReceived


class Meeting(Protocol):
    """Answers what peers ask about other peers. The implementation is `p2p.exchange.Exchange`."""

    def answer(self, peer: PeerInfo, payload: bytes) -> bytes:
        """Return the answer to a request of kind MEET.

        Raises:
            Refused: for a permanent reason the connection is closed, too.
        """
        ...


class Link(Protocol):
    """The GOSSIP channel of a live connection."""

    peer_id: PeerId
    host: str
    port: int
    inbound: bool
    gone: trio.Event

    async def send(self, payload: bytes) -> None:
        """Queue a frame, waiting for room. Raises Refused once the connection is gone."""
        ...


@dataclass(frozen=True, slots=True)
class GossipCounts:
    """What went through gossip since the start: by topic, drops by cause."""

    peers: int = 0
    sent: Mapping[str, int] = field(default_factory=dict)
    delivered: Mapping[str, int] = field(default_factory=dict)
    duplicates: Mapping[str, int] = field(default_factory=dict)
    invalid: Mapping[str, int] = field(default_factory=dict)
    drops: Mapping[str, int] = field(default_factory=dict)


class Lanes(Protocol):
    """Who uses the GOSSIP channels. The implementation is `p2p.gossip.transport`."""

    def opened(self, link: Link) -> None:
        """A connection is there."""
        ...

    def frame(self, link: Link, payload: bytes) -> None:
        """A frame came. Raises Refused, which ends the connection."""
        ...

    def counts(self) -> GossipCounts:
        """Return what went through them."""
        ...


class NoLanes:
    """Nobody does: frames are dropped."""

    def opened(self, link: Link) -> None:
        """See `Lanes`."""

    def frame(self, link: Link, payload: bytes) -> None:
        """See `Lanes`."""

    def counts(self) -> GossipCounts:
        """See `Lanes`."""
        return GossipCounts()


class Network(Protocol):
    """A set of authenticated peers. `open_network(...)` in `p2p/mesh.py` is the async context manager that makes one.

    Two event streams, so that a full transaction queue never delays a vote: `consensus_events` carries
    PeerConnected, PeerDisconnected and CONSENSUS frames, `bulk_events` TRANSACTIONS frames and requests. Both are
    bounded: while the node does not read, the peer's stream window stays shut (back-pressure, no memory growth).
    """

    peer_id: PeerId
    port: int
    external_address: str
    """`[ADDR]:PORT` where others are told to dial us; empty while that is not known."""
    consensus_events: trio.MemoryReceiveChannel[NetworkEvent]
    bulk_events: trio.MemoryReceiveChannel[NetworkEvent]

    def send(self, peer_id: PeerId, channel: Channel, payload: bytes) -> bool:
        """Queue a frame without waiting. False (and counted) if the peer is gone or its queue is full."""
        ...

    def broadcast(self, channel: Channel, payload: bytes, *, heard: bool = False) -> int:
        """Queue a frame for every peer, but if `heard` only for such as do not gossip; return how many took it.

        What is for everybody on TRANSACTIONS goes by gossip to those who gossip.
        """
        ...

    def accuse(self, evidence: Evidence, consensus_key: bytes) -> None:
        """Tell evidence by gossip, if this node takes part in it."""
        ...

    def request(self, peer_id: PeerId, payload: bytes, timeout: float) -> AsyncIterator[bytes]:
        """Ask on SYNC; yield the answer's frames.

        Raises:
            Refused: the peer's own reason, or TIMED_OUT (seconds without a frame), CONNECTION_LOST, TOO_LARGE.
        """
        ...

    def peers(self) -> tuple[PeerInfo, ...]:
        """Return the live peers."""
        ...

    def disconnect(self, peer_id: PeerId, reason: Reason, detail: str) -> None:
        """Close the connection, and count the reason."""
        ...
