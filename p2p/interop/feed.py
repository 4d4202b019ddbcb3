"""Gossipsub that goes one way: what we publish goes out, what peers publish is dropped before anybody looks at it.

No signature of a peer's message is checked, no id of it is remembered and no validator runs, so nothing that a peer
says can get in the way of what we say next.
"""

from collections import Counter
from typing import Any, Final

import trio
from libp2p.exceptions import ParseError
from libp2p.io.exceptions import IncompleteReadError, IOException, MessageTooLarge
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from p2p.interop.limits import Buckets, Limits

DEGREE, DEGREE_LOW, DEGREE_HIGH = 32, 16, 64
"""Mesh peers: they have nobody else to hear from, so all of them are in the mesh."""
_NEVER: Final = ("ihave", "idontwant")
"""Parts of a control message that only matter to somebody who wants messages."""


class FeedPubsub(Pubsub):
    """Pubsub with one topic and one publisher: us.

    Attributes:
        refused: what peers sent and nobody looked at, by kind.
    """

    def __init__(self, host: Any, topic: str, limits: Limits) -> None:
        router = GossipSub(
            protocols=[PROTOCOL_ID_V11], degree=DEGREE, degree_low=DEGREE_LOW, degree_high=DEGREE_HIGH,
            heartbeat_interval=1, spam_protection_enabled=False, do_px=False,
        )
        super().__init__(
            host, router, strict_signing=True, max_inbound_rpc_size=limits.message, max_subscriptions_per_rpc=8,
            max_subscriptions_per_peer=1, allowed_topics={topic},
        )
        self.refused: Counter[str] = Counter()
        self._rates = Buckets(limits.messages_each)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Send a message of ours."""
        if msg_forwarder == self.my_id:
            await super().push_msg(msg_forwarder, msg)

    async def continuously_read_stream(self, stream: Any) -> None:
        """Read subscriptions and control messages of a peer, at its rate; let it go if it sends more, or nonsense."""
        peer = stream.muxed_conn.peer_id
        try:
            while self.manager.is_running:
                raw = await read_varint_prefixed_bytes_limited(stream, self.max_inbound_rpc_size)
                if not self._rates.take(peer, trio.current_time()):
                    self.refused["rate"] += 1
                    await self.host.disconnect(peer)
                    return
                await self._obey(peer, raw)
        except (MessageTooLarge, ParseError):
            self.refused["nonsense"] += 1
            await self.host.disconnect(peer)
        except (StreamError, IncompleteReadError, IOException, RawConnError):
            self._handle_dead_peer(peer)

    async def _obey(self, peer: ID, raw: bytes) -> None:
        message = rpc_pb2.RPC()
        try:
            message.ParseFromString(raw)
        except Exception as error:
            raise ParseError(str(error)) from None
        self.refused["publish"] += len(message.publish)
        for subscription in message.subscriptions[: self.max_subscriptions_per_rpc]:
            self.handle_subscription(peer, subscription)
        if message.HasField("control"):
            for part in _NEVER:
                message.control.ClearField(part)
            for prune in message.control.prune:
                prune.ClearField("peers")  # whom else to dial: nobody
            message.ClearField("senderRecord")
            await self.router.handle_rpc(message, peer)
