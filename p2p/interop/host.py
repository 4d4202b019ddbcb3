"""A libp2p host of its own for peers of stock libp2p: its own key, its own pubsub, and one way only.

It needs nothing of the node but what it is given: blocks to announce, and a function that answers questions. It has no
Falcon key and knows no chain; a peer that wants certainty checks proofs. Whoever dials it gets ping, identify, one
topic, and /nexus/proof/1.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig
from libp2p.peer.id import ID
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from p2p.interop.announcement import TOPIC, OpenBlock
from p2p.interop.feed import FeedPubsub
from p2p.interop.limits import Limits
from p2p.interop.questions import PROTOCOL, Answer, Questions
from p2p.interop.quic import InboundTransport
from p2p.stoq.endpoint import bind
from state.encoding import encode

SEED: Final = 32
"""Bytes of the key's seed."""
_PUSHED: Final = TProtocol("/ipfs/id/push/1.0.0")


class OpenHost:
    """A running host. Made by `open_host`.

    Attributes:
        port: UDP port.
    """

    def __init__(self, host: Any, pubsub: FeedPubsub, questions: Questions, transport: InboundTransport) -> None:
        self.port = int(transport.port)
        self._host = host
        self._pubsub = pubsub
        self._questions = questions
        self._transport = transport

    @property
    def name(self) -> str:
        """Its name in libp2p."""
        return str(self._host.get_id())

    def address(self, host: str) -> str:
        """Return what a peer dials, given the IPv6 address that it reaches this machine by."""
        return f"/ip6/{host}/udp/{self.port}/quic-v1/p2p/{self.name}"

    async def announce(self, block: OpenBlock) -> None:
        """Tell every subscriber of a block."""
        await self._pubsub.publish(TOPIC, encode(block))

    def figures(self) -> dict[str, int]:
        """Return how much there is, and how much was refused, by name."""
        found = {
            "connections": len(self._host.get_network().get_connections()),
            "remembered": len(self._host.get_peerstore().peer_data_map),
            "listeners": len(self._pubsub.peer_topics.get(TOPIC, ())), "answered": self._questions.answered,
        }
        found |= {f"refused {kind}": count for kind, count in self._pubsub.refused.items()}
        for listener in self._transport.listeners:
            found["routes"] = found.get("routes", 0) + listener.routes
            found |= {f"dropped {cause}": count for cause, count in listener.dropped.items()}
        return found


@asynccontextmanager
async def open_host(
    seed: bytes, place: tuple[str, int], answer: Answer, limits: Limits | None = None
) -> AsyncIterator[OpenHost]:
    """Run a host while the context lasts.

    Args:
        seed: 32 secret bytes, from which its Ed25519 key follows. Never a node's.
        place: IPv6 address and UDP port to listen on; port 0 for any free one.
        answer: answers questions.
        limits: how much strangers may take.

    Raises:
        Refused: PORT_IN_USE, BAD_CONFIG.
    """
    limits = limits or Limits()
    sock = bind(*place)
    key = create_new_key_pair(seed)
    here = Multiaddr(f"/ip6/{place[0]}/udp/{sock.getsockname()[1]}/quic-v1")

    def left(peer: ID | None) -> None:
        """Keep nothing of a peer that is gone: else each dial with a new name would stay in memory."""
        if peer is not None and not host.get_network().get_connections(peer):
            host.get_peerstore().peer_data_map.pop(peer, None)

    transport = InboundTransport(key.private_key, sock, limits, left)
    host: Any = new_host(
        key_pair=key, transports=[transport], listen_addrs=[here], disable_identify_address_discovery=True,
        connection_config=ConnectionConfig(
            low_watermark=0, min_connections=0, high_watermark=limits.connections, max_connections=limits.connections,
            max_connections_per_peer=2, inbound_stream_protocol_negotiation_timeout=5.0,
        ),
    )
    host.remove_stream_handler(_PUSHED)
    pubsub = FeedPubsub(host, TOPIC, limits)
    questions = Questions(answer, limits)
    host.set_stream_handler(TProtocol(PROTOCOL), questions.serve)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(host.run([here]))
        services: tuple[Any, ...] = (pubsub, pubsub.router)
        for service in services:
            await stack.enter_async_context(background_trio_service(service))
        await pubsub.wait_until_ready()
        async with trio.open_nursery() as nursery:
            subscription = await pubsub.subscribe(TOPIC)
            nursery.start_soon(_forget, subscription)
            yield OpenHost(host, pubsub, questions, transport)
            nursery.cancel_scope.cancel()


async def _forget(subscription: Any) -> None:
    """Take our own messages from the queue, so that it never fills."""
    while True:
        await subscription.get()
