"""libp2p's own QUIC, made fit to be dialled by anybody over IPv6: bounded, and for inbound connections alone.

What py-libp2p 0.8.1 does not do by itself, each with a test in tests/p2p/test_interop.py:

- its listener cannot read an IPv6 address of four parts: nobody would ever be let in;
- it binds with SO_REUSEPORT, so two programs may share a port and each lose half: here a taken port is an error;
- it makes a connection of every first packet, without end: here there are limits, and a rate of datagrams for each
  prefix and for all. A datagram beyond it is dropped, which QUIC takes for a loss;
- the swarm holds one of 250 slots for each inbound connection until the host ends: here until the connection does;
- an exception in a stream's handler ends the host, and three bytes of a peer can cause one: here it resets the stream.

TLS offers X25519MLKEM768 to whoever can do it, and X25519 to the others, as libp2p's programs of today.
"""

import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sized
from typing import Any, cast

import libp2p.transport.quic.listener as listener_module
import trio
from aioquic import tls as aioquic_tls
from libp2p.crypto.keys import PrivateKey
from libp2p.peer.id import ID
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.quic.config import QUICTransportConfig
from libp2p.transport.quic.listener import QUICListener, ServerQuicConnection
from libp2p.transport.quic.transport import QUICTransport
from multiaddr import Multiaddr

from p2p.interop.limits import Buckets, Limits
from p2p.prefix import prefix_group
from p2p.stoq.tls import GROUP, AioquicContext

Handler = Callable[[Any], Awaitable[None]]

# What strangers send is no news to an operator; what matters is counted.
logging.getLogger("libp2p").setLevel(logging.CRITICAL)


class FallbackContext(AioquicContext):
    """aioquic's TLS state machine with the hybrid group first and X25519 behind it."""

    def adopt(self) -> None:
        """Take over a context that aioquic has just made."""
        super().adopt()
        self._supported_groups = [cast("Any", GROUP), aioquic_tls.Group.X25519]

    def _setup_traffic_protection(self, direction: Any, epoch: Any, label: bytes) -> None:
        # The base class refuses everything but the hybrid at this point.
        aioquic_tls.Context._setup_traffic_protection(self, direction, epoch, label)


class ServerConnection(ServerQuicConnection):
    """An inbound connection that asks for the client's certificate, as the library's does, with our TLS groups."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        context: Any = self.tls
        context.__class__ = FallbackContext
        context.adopt()


class Listener(QUICListener):
    """The library's listener behind limits.

    Args:
        handler: is called with each inbound connection, and cancelled when that is closed.
        sock: a bound socket.
        limits: how much strangers may take.
        left: is told of each peer that left.
        options: of the library's listener.

    Attributes:
        dropped: datagrams that were not looked at, and dials that were not answered, by cause.
    """

    def __init__(
        self, handler: Handler, sock: socket.socket, limits: Limits, left: Callable[[ID], None], **options: Any
    ) -> None:
        super().__init__(handler_function=self._while_open, **options)
        self._inner = handler
        self._left = left
        self._live: dict[Any, str] = {}
        self._bound = sock
        self._limits = limits
        self._each = Buckets(limits.datagrams_each)
        self._together = Buckets(limits.datagrams)
        self._dials = Buckets(limits.dials)
        self.dropped: Counter[str] = Counter()

    @property
    def routes(self) -> int:
        """Entries that the library's registry holds: they must go with their connections."""
        registry = self._registry
        tables: tuple[Sized, ...] = (
            registry._initial_connection_ids, registry._connections, registry._pending, registry._connection_id_to_addr,
            registry._connection_addresses, registry._connection_sequence_counters,
        )
        return sum(len(table) for table in tables)

    async def _create_socket(self, host: str, port: int) -> trio.socket.SocketType:
        return trio.socket.from_stdlib_socket(self._bound)

    async def _process_packet(self, data: bytes, addr: tuple[Any, ...]) -> None:
        now = trio.current_time()
        if not self._each.take(prefix_group(addr[0], True, addr[1]), now):
            self.dropped["rate of a prefix"] += 1
        elif not self._together.take(None, now):
            self.dropped["rate of all"] += 1
        else:
            await super()._process_packet(data, (addr[0], addr[1]))

    async def _handle_new_connection(self, data: bytes, addr: tuple[str, int], packet_info: Any) -> Any:
        cause = self._why_not(addr)
        if cause:
            self.dropped[cause] += 1
            return None
        return await super()._handle_new_connection(data, addr, packet_info)

    def _why_not(self, addr: tuple[str, int]) -> str:
        pending, limits = self._registry._pending, self._limits
        group = prefix_group(addr[0], True, addr[1])
        if len(pending) >= limits.handshakes:
            return "handshakes"
        if len(self._live) + len(pending) >= limits.connections:
            return "connections"
        if sum(other == group for other in self._live.values()) >= limits.per_prefix:
            return "connections of a prefix"
        if not self._dials.take(None, trio.current_time()):
            return "rate of dials"
        return ""

    async def _while_open(self, connection: Any) -> None:
        """Let the swarm have a connection until it is closed, and then forget it: the library's registry would not."""
        host, port = connection._remote_addr[:2]
        self._live[connection] = prefix_group(host, True, port)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._inner, connection)
                await connection._closed_event.wait()
                nursery.cancel_scope.cancel()
        except Exception:  # what libp2p makes of one peer is that peer's alone
            await connection.close()
        finally:
            del self._live[connection]
            self._left(connection.peer_id)
            with trio.CancelScope(shield=True):
                await self._remove_connection_by_object(connection)


class InboundTransport(QUICTransport):
    """QUIC for the swarm: listens on one socket, and dials nobody.

    Args:
        key: libp2p's key of this host.
        sock: a bound IPv6 UDP socket; belongs to the transport from now on.
        limits: how much strangers may take.
        left: is told of each peer that left.

    Attributes:
        port: UDP port.
        listeners: those that `create_listener` made, for their counters.
    """

    def __init__(self, key: PrivateKey, sock: socket.socket, limits: Limits, left: Callable[[ID], None]) -> None:
        super().__init__(key, _config(limits))
        self.port = int(sock.getsockname()[1])
        self._sock = sock
        self._limits = limits
        self._left = left
        self.listeners: list[Listener] = []
        vars(listener_module)["ServerQuicConnection"] = ServerConnection

    def set_swarm(self, swarm: Any) -> None:
        """See QUICTransport; makes an exception in a stream's handler a reset of that stream."""
        super().set_swarm(swarm)
        swarm.set_stream_handler(_guarded(swarm.common_stream_handler))

    def create_listener(self, handler_function: Handler) -> Listener:
        """Return the listener; `handler_function` is called with every inbound connection, while it lives."""
        configs = {name: config for name, config in self._quic_configs.items() if name.endswith("_server")}
        listener = Listener(
            handler_function, self._sock, self._limits, self._left, transport=self, quic_configs=configs,
            config=self._config, security_manager=self._security_manager,
        )
        self.listeners.append(listener)
        self._listeners.append(listener)
        return listener

    async def dial(self, maddr: Multiaddr) -> Any:
        """Refuse: this host is dialled. Raises OpenConnectionError."""
        raise OpenConnectionError("this host dials nobody")


def _config(limits: Limits) -> QUICTransportConfig:
    """Return the library's settings: small windows, few streams, short waits."""
    window = 64 << 10
    return QUICTransportConfig(
        idle_timeout=limits.idle, max_datagram_size=1232, enable_draft29=False,
        MAX_CONCURRENT_STREAMS=limits.streams, MAX_INCOMING_STREAMS=limits.streams,
        STREAM_FLOW_CONTROL_WINDOW=window, CONNECTION_FLOW_CONTROL_WINDOW=4 * window,
        MAX_STREAM_RECEIVE_BUFFER=2 * window, STREAM_RECEIVE_BUFFER_HIGH_WATERMARK=window,
        STREAM_RECEIVE_BUFFER_LOW_WATERMARK=window // 2, STREAM_SEND_BUFFER_HIGH_WATERMARK=4 * window,
        STREAM_SEND_BUFFER_LOW_WATERMARK=window, STREAM_WRITE_CHUNK_SIZE=window // 4, NEGOTIATE_TIMEOUT=5.0,
        STREAM_MEMORY_LIMIT_PER_STREAM=4 * window, STREAM_MEMORY_LIMIT_PER_CONNECTION=64 * window,
    )


def _guarded(handler: Handler) -> Handler:
    async def guarded(stream: Any) -> None:
        try:
            await handler(stream)
        except Exception:
            await stream.reset()

    return guarded
