"""One authenticated peer: its connection, its requests, and the tasks that hand its frames to the node."""

from collections import deque

import trio

from crypto.errors import Reason, Refused
from p2p.config import Limits
from p2p.metrics import Counters
from p2p.network import (
    Channel,
    FrameReceived,
    Lanes,
    Meeting,
    NetworkEvent,
    PeerConnected,
    PeerDisconnected,
    PeerId,
    PeerInfo,
    RequestReceived,
)
from p2p.requests import RequestReply, Requests
from p2p.stoq.auth import RemoteIdentity
from p2p.stoq.channel import framed
from p2p.stoq.connection import Connection


class GossipLink:
    """The `Link` of one connection."""

    def __init__(self, connection: Connection, peer_id: PeerId) -> None:
        self.peer_id = peer_id
        self.host, self.port = connection.address[0], connection.address[1]
        self.inbound = connection.inbound
        self.gone = connection.gone
        self._connection = connection

    async def send(self, payload: bytes) -> None:
        """See `Link`."""
        await self._connection.send(Channel.GOSSIP, framed(payload))


class Peer:
    """Delivers frames straight from the pump while the node keeps up, and through a task when it does not.

    Args:
        connection: authenticated, not yet opened.
        remote: who it is.
        consensus: where CONSENSUS frames and the peer's coming and going are sent.
        bulk: where TRANSACTIONS frames and requests are sent.
        meeting: answers requests about peers.
        lanes: uses the GOSSIP channel.
    """

    def __init__(
        self, connection: Connection, remote: RemoteIdentity, limits: Limits, counters: Counters,
        consensus: trio.MemorySendChannel[NetworkEvent], bulk: trio.MemorySendChannel[NetworkEvent],
        meeting: Meeting, lanes: Lanes,
    ) -> None:
        self.connection = connection
        self.remote = remote
        self.peer_id = remote.peer_id
        self.done = trio.Event()
        """Set when the node has been told that the peer is gone."""
        self.requests = Requests(connection, limits.requests, self._on_ask, self._on_meet)
        self._counters = counters
        self._consensus = consensus
        self._bulk = bulk
        self._asks: deque[tuple[bytes, RequestReply]] = deque()
        self._asked = trio.Event()
        self._meeting = meeting
        self._lanes = lanes
        self._link = GossipLink(connection, remote.peer_id)
        self._meets_in, self._meets = trio.open_memory_channel[tuple[bytes, RequestReply]](limits.requests)
        self._held = {Channel.CONSENSUS: trio.Event(), Channel.TRANSACTIONS: trio.Event()}

    @property
    def info(self) -> PeerInfo:
        """What the node shows of it."""
        connection = self.connection
        return PeerInfo(
            self.peer_id, connection.address[0], connection.address[1], connection.inbound, connection.opened_at,
            connection.bytes_sent, connection.bytes_received, connection.core.rtt,
        )

    async def serve(self) -> None:
        """Announce the peer to the node and hand over its frames until the connection is gone."""
        await self._consensus.send(PeerConnected(self.peer_id, self.connection.inbound))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, Channel.CONSENSUS, self._consensus)
            nursery.start_soon(self._deliver, Channel.TRANSACTIONS, self._bulk)
            nursery.start_soon(self._deliver_asks)
            nursery.start_soon(self._answer_meets)
            nursery.start_soon(self.requests.watch)
            self._lanes.opened(self._link)
            self.connection.open(self)
            await self.connection.gone.wait()
            nursery.cancel_scope.cancel()
        self.requests.close()

    async def farewell(self) -> None:
        """Tell the node that the peer is gone."""
        reason, detail = self.connection.ended
        await self._consensus.send(PeerDisconnected(self.peer_id, reason, detail))

    def on_frame(self, channel: Channel, payload: bytes) -> bool:
        """See `p2p.stoq.connection.Receiver`."""
        self._counters.frames_received[channel] += 1
        if channel is Channel.SYNC:
            self.requests.on_frame(payload)
            return True
        if channel is Channel.GOSSIP:
            self._lanes.frame(self._link, payload)
            return True
        events = self._consensus if channel is Channel.CONSENSUS else self._bulk
        try:
            events.send_nowait(FrameReceived(self.peer_id, channel, payload))
        except trio.WouldBlock:
            self._held[channel].set()
            return False
        return True

    def _on_ask(self, payload: bytes, reply: RequestReply) -> None:
        self._counters.requests_received += 1
        if not self._asks:
            try:
                self._bulk.send_nowait(RequestReceived(self.peer_id, payload, reply))
            except trio.WouldBlock:
                pass
            else:
                self.requests.taken(payload)
                return
        self._asks.append((payload, reply))
        self._asked.set()

    def _on_meet(self, payload: bytes, reply: RequestReply) -> None:
        try:
            self._meets_in.send_nowait((payload, reply))
        except trio.WouldBlock:
            raise Refused(Reason.PROTOCOL_VIOLATION, "too many requests about peers at one time") from None

    async def _answer_meets(self) -> None:
        async for payload, reply in self._meets:
            self.requests.taken(payload)
            try:
                await reply.send(self._meeting.answer(self.info, payload))
                await reply.end()
            except Refused as refused:
                await reply.refuse(refused.reason, refused.detail)
                if refused.reason.permanent:
                    self.connection.fail(refused.reason, refused.detail)

    async def _deliver(self, channel: Channel, events: trio.MemorySendChannel[NetworkEvent]) -> None:
        while True:
            await self._held[channel].wait()
            self._held[channel] = trio.Event()
            while (payload := self.connection.next_payload(channel)) is not None:
                await events.send(FrameReceived(self.peer_id, channel, payload))
                self.connection.taken(channel, len(payload))

    async def _deliver_asks(self) -> None:
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            while self._asks:
                payload, reply = self._asks[0]
                await self._bulk.send(RequestReceived(self.peer_id, payload, reply))
                self._asks.popleft()
                self.requests.taken(payload)
