"""An attacker in gossip: it grafts itself into every mesh that it can reach, and forwards what suits it."""

from collections.abc import Sequence
from typing import Final

import trio
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils.varint import encode_varint_prefixed, read_varint_prefixed_bytes_limited

from p2p.gossip.host import MAX_MESSAGE, message_id
from testnet.attacks.scenario import Behaviour
from testnet.attacks.wires import Internet, MemoryHost, MemoryStream

MAX_RPC: Final = 4 * MAX_MESSAGE


class Sybil:
    """One attacking node.

    Args:
        host: its host.
        topic: what it attacks.
        behaviour: how.
        censored: the node whose messages it keeps to itself, if it censors.
        nursery: for its tasks.
    """

    def __init__(
        self, host: MemoryHost, topic: str, behaviour: Behaviour, censored: ID, nursery: trio.Nursery
    ) -> None:
        self.host = host
        self.grafts = 0
        self._topic = topic
        self._behaviour = behaviour
        self._censored = censored
        self._nursery = nursery
        self._rng = host.internet.rng
        self._out: dict[ID, MemoryStream] = {}
        self._mesh: dict[ID, None] = {}
        self._seen: set[bytes] = set()
        self._attacks_from = 0.0
        host.set_stream_handler(PROTOCOL_ID_V11, self._serve)

    async def attack(self, internet: Internet, targets: Sequence[MemoryHost]) -> None:
        """Connect with as many of the targets as let it."""
        self._attacks_from = trio.current_time() + self._behaviour.idle
        for target in targets:
            if await internet.connect(self.host, target):
                self._out[target.name] = await self.host.new_stream(target.name, [PROTOCOL_ID_V11])
                await self._say(target.name, rpc_pb2.RPC(
                    subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=self._topic)]
                ))
                await self._graft(target.name)

    async def _serve(self, stream: MemoryStream) -> None:
        peer = stream.muxed_conn.peer_id
        while True:
            rpc = rpc_pb2.RPC()
            rpc.ParseFromString(await read_varint_prefixed_bytes_limited(stream, MAX_RPC))
            for prune in rpc.control.prune:
                self._mesh.pop(peer, None)
                if prune.topicID == self._topic and self._behaviour.regraft_delay:
                    self._nursery.start_soon(self._regraft, peer)
            for _ in rpc.control.graft:
                self._mesh[peer] = None
            for message in rpc.publish:
                await self._take(message, peer)

    async def _regraft(self, peer: ID) -> None:
        behaviour = self._behaviour
        await trio.sleep(behaviour.regraft_backoff + self._rng.random() * behaviour.regraft_delay)
        await self._graft(peer)

    async def _graft(self, peer: ID) -> None:
        self.grafts += 1
        self._mesh[peer] = None
        await self._say(peer, rpc_pb2.RPC(
            control=rpc_pb2.ControlMessage(graft=[rpc_pb2.ControlGraft(topicID=self._topic)])
        ))

    async def _take(self, message: rpc_pb2.Message, forwarder: ID) -> None:
        key = message_id(message)
        if key in self._seen:
            return
        self._seen.add(key)
        if trio.current_time() >= self._attacks_from:
            if self._behaviour.censors and message.from_id == self._censored.to_bytes():
                return
            if self._rng.random() < self._behaviour.drop:
                return
        for peer in list(self._mesh):
            if peer != forwarder and peer.to_bytes() != message.from_id:
                await self._say(peer, rpc_pb2.RPC(publish=[message]))

    async def _say(self, peer: ID, rpc: rpc_pb2.RPC) -> None:
        stream = self._out.get(peer)
        if stream is not None:
            try:
                await stream.write(encode_varint_prefixed(rpc.SerializeToString()))
            except StreamError:
                del self._out[peer]
