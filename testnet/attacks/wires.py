"""An internet in memory for libp2p's pubsub: hosts, connections and streams with latency, on trio's clock.

It is what `Pubsub` and `GossipSub` of libp2p 0.8.1 see of a host: names, keys, a peerstore, notifications of
connections, and one stream each way between two peers. Limits on inbound connections are those of the mesh, which in a
real node stands before libp2p.
"""

import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.io.abc import Reader
from libp2p.network.stream.exceptions import StreamEOF, StreamReset
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from multiaddr import Multiaddr

from p2p.config import Limits
from p2p.prefix import prefix_of

Serve = Callable[["MemoryStream"], Awaitable[None]]
LIMITS: Final = Limits()


class _Pipe:
    """Bytes one way, each piece readable `delay` seconds after it was written."""

    def __init__(self, delay: Callable[[], float]) -> None:
        self._delay = delay
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._news = trio.Event()
        self._last = 0.0
        self.ended = False

    def put(self, data: bytes) -> None:
        self._last = max(self._last, trio.current_time() + self._delay())
        self._pieces.append((self._last, data))
        self._news.set()

    def end(self) -> None:
        self.ended = True
        self._news.set()

    async def take(self) -> bytes | None:
        """Return the next piece; None at the end."""
        while not self._pieces:
            if self.ended:
                return None
            self._news = trio.Event()
            await self._news.wait()
        at, data = self._pieces.popleft()
        await trio.sleep_until(at)
        return data


class _Far:
    """Where a stream's other end is, as `stream.muxed_conn`."""

    is_closed = False

    def __init__(self, peer_id: ID, host: str) -> None:
        self.peer_id = peer_id
        self.remote_addr = (host, 1)


class MemoryStream(Reader):
    """One end of a stream, as libp2p's INetStream to those who read and write it."""

    metric_send_channel = None

    def __init__(self, far: _Far, protocol: str, inward: _Pipe, outward: _Pipe) -> None:
        self.muxed_conn = far
        self._protocol = protocol
        self._inward = inward
        self._outward = outward
        self._buffer = b""
        self._at = 0

    def get_protocol(self) -> str:
        """Return what it was opened for."""
        return self._protocol

    async def read(self, n: int | None = None) -> bytes:
        """Return at most `n` bytes. Raises StreamEOF."""
        if self._at == len(self._buffer):
            piece = await self._inward.take()
            if piece is None:
                raise StreamEOF("the stream ended")
            self._buffer, self._at = piece, 0
        end = len(self._buffer) if n is None else min(self._at + n, len(self._buffer))
        part, self._at = self._buffer[self._at : end], end
        return part

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises StreamReset once the stream has ended."""
        if self._outward.ended:
            raise StreamReset("the stream has ended")
        self._outward.put(bytes(data))
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        """End both ways."""
        self._inward.end()
        self._outward.end()

    reset = close


class Internet:
    """Who is there and who is connected with whom.

    Args:
        latency: seconds one way.
        jitter: share by which it varies, either way.
        rng: draws latencies and keys.
        nursery: for handlers of streams.
    """

    def __init__(self, latency: float, jitter: float, rng: random.Random, nursery: trio.Nursery) -> None:
        self.rng = rng
        self.hosts: dict[ID, MemoryHost] = {}
        self.refused = 0
        self._latency = latency
        self._jitter = jitter
        self._nursery = nursery

    def delay(self) -> float:
        """Return the latency of one piece."""
        return self._latency * self.rng.uniform(1 - self._jitter, 1 + self._jitter)

    async def connect(self, dialer: "MemoryHost", listener: "MemoryHost") -> bool:
        """Connect two hosts unless they are; False if the listener has no room, by the limits of the mesh."""
        if dialer is listener or listener.name in dialer.linked:
            return True
        prefix = prefix_of(dialer.address)
        if listener.inbound.total() >= LIMITS.inbound or listener.inbound[prefix] >= LIMITS.per_prefix:
            self.refused += 1
            return False
        listener.inbound[prefix] += 1
        dialer.linked[listener.name] = listener
        listener.linked[dialer.name] = dialer
        await dialer.announce(listener)
        await listener.announce(dialer)
        return True

    def open(self, here: "MemoryHost", there: "MemoryHost", protocol: str) -> MemoryStream:
        """Return our end of a new stream; the other one goes to the handler over there."""
        to, back = _Pipe(self.delay), _Pipe(self.delay)
        far = MemoryStream(_Far(here.name, here.address), protocol, to, back)
        self._nursery.start_soon(there.serve, far)
        return MemoryStream(_Far(there.name, there.address), protocol, back, to)


class _Connection:
    """A connection, as a notifee sees it."""

    def __init__(self, far: _Far) -> None:
        self.muxed_conn = far


class MemoryHost:
    """A host, and its network, of libp2p. `handler` of streams and `notifees` are set by pubsub."""

    def __init__(self, internet: Internet, address: str) -> None:
        self.internet = internet
        self.address = address
        self.linked: dict[ID, MemoryHost] = {}
        self.inbound: Counter[str] = Counter()
        self._keys = create_new_key_pair(internet.rng.randbytes(32))
        self.name = ID.from_pubkey(self._keys.public_key)
        self._store = PeerStore()
        self._handler: Serve | None = None
        self._notifees: list[Any] = []
        internet.hosts[self.name] = self

    async def announce(self, other: "MemoryHost") -> None:
        """Tell pubsub of a new connection."""
        for notifee in self._notifees:
            await notifee.connected(self, _Connection(_Far(other.name, other.address)))

    async def serve(self, stream: MemoryStream) -> None:
        """Run the handler on a stream that another host opened; what it makes of one peer is that peer's alone."""
        try:
            if self._handler is not None:
                await self._handler(stream)
        except Exception:
            await stream.close()

    # ---- what pubsub asks of a host

    def get_id(self) -> ID:
        """Return the name."""
        return self.name

    def get_network(self) -> "MemoryHost":
        """Return the network: the host itself."""
        return self

    def get_private_key(self) -> Any:
        """Return the Ed25519 key that signs messages."""
        return self._keys.private_key

    def get_public_key(self) -> Any:
        """Return its public key."""
        return self._keys.public_key

    def get_peerstore(self) -> PeerStore:
        """Return the peerstore."""
        return self._store

    def get_addrs(self) -> list[Multiaddr]:
        """Return where it listens."""
        return [Multiaddr(f"/ip6/{self.address}/udp/1/quic-v1")]

    def set_stream_handler(self, _protocol: str, handler: Serve) -> None:
        """Serve streams by it."""
        self._handler = handler

    async def new_stream(self, peer_id: ID, protocols: Sequence[str]) -> MemoryStream:
        """Open a stream to a peer that we are connected with."""
        await trio.lowlevel.checkpoint()
        return self.internet.open(self, self.linked[peer_id], protocols[0])

    # ---- what it asks of a network

    def register_notifee(self, notifee: Any) -> None:
        """Tell it of connections."""
        self._notifees.append(notifee)

    def get_connections(self, peer_id: ID) -> list[_Connection]:
        """Return the connection with a peer, if there is one."""
        return [_Connection(_Far(peer_id, ""))] if peer_id in self.linked else []
