"""What the network counts. The mutable counters stay in p2p; others get a frozen snapshot."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from crypto.errors import Reason
from p2p.network import Channel


@dataclass(frozen=True, slots=True)
class NetworkMetrics:
    """Totals since start. Bytes are UDP payload bytes.

    Attributes:
        refusals: connections that ended or were turned away, by reason, whoever gave it.
        dropped_frames: frames that `send` or `broadcast` did not take because a queue was full, by channel.
        dropped_datagrams: datagrams from nobody we know, or that broke something, or for which there was no room.
    """

    bytes_sent: int
    bytes_received: int
    datagrams_sent: int
    datagrams_received: int
    dropped_datagrams: int
    retries: int
    handshakes: int
    connections_inbound: int
    connections_outbound: int
    requests_sent: int
    requests_received: int
    frames_sent: Mapping[Channel, int]
    frames_received: Mapping[Channel, int]
    dropped_frames: Mapping[Channel, int]
    refusals: Mapping[Reason, int]


@dataclass(slots=True)
class Counters:
    """The running totals."""

    bytes_sent: int = 0
    bytes_received: int = 0
    datagrams_sent: int = 0
    datagrams_received: int = 0
    dropped_datagrams: int = 0
    retries: int = 0
    handshakes: int = 0
    requests_sent: int = 0
    requests_received: int = 0
    frames_sent: Counter[Channel] = field(default_factory=Counter)
    frames_received: Counter[Channel] = field(default_factory=Counter)
    dropped_frames: Counter[Channel] = field(default_factory=Counter)
    refusals: Counter[Reason] = field(default_factory=Counter)

    def snapshot(self, inbound: int, outbound: int) -> NetworkMetrics:
        """Return a copy, with the numbers of live connections."""
        return NetworkMetrics(
            self.bytes_sent, self.bytes_received, self.datagrams_sent, self.datagrams_received,
            self.dropped_datagrams, self.retries, self.handshakes, inbound, outbound, self.requests_sent,
            self.requests_received, dict(self.frames_sent), dict(self.frames_received), dict(self.dropped_frames),
            dict(self.refusals),
        )
