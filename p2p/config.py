"""Settings of the network, all in one frozen value. The node's configuration fills the few that an operator sees."""

from dataclasses import dataclass, field
from enum import StrEnum

from p2p.network import PeerAddress, PeerId

MIN_DATAGRAM = 1200
"""Bytes: the least that QUIC allows (RFC 9000, section 14)."""
MAX_DATAGRAM = 16_000
"""Bytes: aioquic fails above it [measured]; only a loopback carries so much."""


class CoreName(StrEnum):
    """Which implementation of QUIC's packets: both speak the same protocol."""

    QH3 = "qh3"
    AIOQUIC = "aioquic"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much strangers and peers may take. Counts, bytes and seconds."""

    inbound: int = 64
    """Live connections that others dialled."""
    outbound: int = 32
    """Live connections that we dialled."""
    per_prefix: int = 8
    """Connections and pending handshakes from one /64."""
    loopback_exempt: bool = True
    """A testnet on ::1 is not bound by `per_prefix`."""
    pending: int = 64
    """Inbound handshakes at one time; further first packets are dropped."""
    retry_above: int = 16
    """With more pending handshakes than this, a newcomer must first prove its address (Retry, stateless)."""
    consensus_queue: int = 8 << 20
    transactions_queue: int = 4 << 20
    sync_queue: int = 4 << 20
    gossip_queue: int = 1 << 20
    """Bytes waiting to leave, for each peer and channel."""
    requests: int = 32
    """Unanswered requests of one peer to us, and of us to one peer."""
    penalty: float = 20.0
    """For so many seconds nobody who broke a rule is let in again; longer after each further time (`p2p.bans`)."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    handshake: float = 8.0
    """From first packet to authenticated."""
    silence: float = 2.5
    """A dialled address from which not one packet came for so long is given up: the next attempt asks at once, while a
    running one asks ever more seldom."""
    idle: float = 12.0
    """Without a packet from the peer for so long, the connection is lost."""
    keep_alive: float = 3.0
    """A quiet connection sends a PING this often."""
    redial_least: float = 0.2
    redial_most: float = 1.5
    """A persistent peer is dialled again after a wait that doubles between these, with jitter. Who dials late after a
    restart hears votes by others alone until then; an attempt is a few small packets."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Where to listen, whom to dial, how much to allow.

    `datagram_size` is the UDP payload: 1232 always passes on IPv6, 1452 on Ethernet, up to 16000 on a loopback.
    `allowed` names the only peers that may connect; None lets everybody of the same chain in.
    """

    host: str = "::"
    port: int = 0
    core: CoreName = CoreName.QH3
    persistent: tuple[PeerAddress, ...] = ()
    allowed: frozenset[PeerId] | None = None
    datagram_size: int = 1232
    limits: Limits = field(default_factory=Limits)
    timing: Timing = field(default_factory=Timing)
