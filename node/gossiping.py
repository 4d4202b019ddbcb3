"""Gossip by libp2p, for nodes whose role asks for it. Imported by name (see `node.gossip`): it costs 40 MB.

What comes in goes to the driver like what comes over STOQ: transactions into its slow lane, evidence to the pool, word
of a block to the core, which then asks the peers for it. What goes out: transactions that this node passes on, in
batches; evidence that is news here; blocks that were committed here, unless somebody else was faster.
"""

import logging
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import trio
from libp2p.peer.id import ID

from consensus.types import Evidence
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.config import NodeConfig
from node.driver import wall_clock
from node.events import BlockCommitted, EventFeed
from node.gossip import ContentRules, Ears, GossipPeer, GossipReport, HeardLearning
from node.logs import logger
from node.peering import Peering
from p2p.gossip.host import Gossip, open_gossip
from p2p.gossip.topics import (
    MAX_MESSAGE,
    EvidenceAnnouncement,
    LearningAnnouncement,
    Stage,
    Topic,
    announce_block,
    announce_learning,
    block_announcement_codec,
    evidence_announcement_codec,
    gossiped_transactions_codec,
    learning_announcement_codec,
)
from p2p.gossip.transport import StoqTransport, name_of
from p2p.mesh import Mesh
from p2p.network import Channel, GossipCounts, Lanes, Link, Network, NetworkEvent, PeerAddress, PeerId, PeerInfo
from p2p.prefix import prefix_group
from p2p.records import SignedRecord, make_record
from p2p.wire import TransactionBatch, batch_codec
from state.encoding import encode
from state.types import BlockId, Height, Round

FRESH: Final = 20_000
"""ms: a block older than that is caught up with, not news."""
PATIENCE: Final = 0.15
"""Seconds: a block is announced after a wait drawn from 0 to this, unless somebody else announced it meanwhile."""
KNOWN: Final = 256
"""Blocks whose announcement is remembered."""
SHOWN: Final = 64
"""Announcements of federated learning that are kept for the operator."""
WAITING: Final = 256
"""Messages that wait for the driver at most; what comes on top is dropped, and counted."""
BATCH_BYTES: Final = MAX_MESSAGE - 1024
"""Transaction bytes of one message."""
LOOK_UP: Final = 20.0
"""Seconds that a look-up in the DHT may take."""
RECORD_EVERY: Final = 3600.0
"""Seconds after which our record is put into the DHT again: who is nearest to its place may have changed."""
RECORD_SOON: Final = 20.0
"""Seconds after which it is put there for the second time: at first hardly anybody is connected."""

_log = logger("p2p")
logging.getLogger("libp2p").setLevel(logging.CRITICAL)  # it logs what peers send and what it does with it


class GossipLanes:
    """The GOSSIP channels, and the counts of what went over them. See `p2p.network.Lanes`."""

    def __init__(self, transport: StoqTransport, gossip: Gossip, bridge: "Bridge") -> None:
        self._transport = transport
        self._gossip = gossip
        self._bridge = bridge

    def opened(self, link: Link) -> None:
        """See `Lanes`."""
        self._transport.opened(link)

    def frame(self, link: Link, payload: bytes) -> None:
        """See `Lanes`."""
        self._transport.frame(link, payload)

    def counts(self) -> GossipCounts:
        """See `Lanes`."""
        tally = self._gossip.tally
        return GossipCounts(
            len(self._gossip.peers()), tally.sent, tally.delivered, tally.duplicates, tally.invalid,
            self._gossip.drops.by_cause + self._bridge.drops,
        )


class Wide:
    """The network with gossip as one of its ways. See `p2p.network.Network`.

    Args:
        mesh: reaches peers over STOQ.
        gossip: reaches everybody who takes part.
        transport: knows which peer is which.
        rules: of this chain.
    """

    def __init__(self, mesh: Mesh, gossip: Gossip, transport: StoqTransport, rules: ContentRules) -> None:
        self.peer_id = mesh.peer_id
        self.port = mesh.port
        self.consensus_events: trio.MemoryReceiveChannel[NetworkEvent] = mesh.consensus_events
        self.bulk_events: trio.MemoryReceiveChannel[NetworkEvent] = mesh.bulk_events
        self._mesh = mesh
        self._gossip = gossip
        self._transport = transport
        self._chain_id = rules.chain_id

    @property
    def external_address(self) -> str:
        """See `Network`."""
        return self._mesh.external_address

    @external_address.setter
    def external_address(self, place: str) -> None:
        self._mesh.external_address = place

    def send(self, peer_id: PeerId, channel: Channel, payload: bytes) -> bool:
        """See `Network`."""
        return self._mesh.send(peer_id, channel, payload)

    def broadcast(self, channel: Channel, payload: bytes, *, heard: bool = False) -> int:
        """See `Network`: transactions go by gossip to whoever listens there, over STOQ to the others."""
        if channel is not Channel.TRANSACTIONS:
            return self._mesh.broadcast(channel, payload)
        names = self._gossip.listeners(Topic.TRANSACTIONS)
        listeners = {node for name in names if (node := self._transport.node_of(name)) is not None}
        if listeners and not heard and not self._publish(payload):
            listeners = set()
        return len(listeners) + self._mesh.broadcast(channel, payload, without=listeners)

    def accuse(self, evidence: Evidence, consensus_key: bytes) -> None:
        """See `Network`."""
        self._gossip.publish(Topic.EVIDENCE, encode(EvidenceAnnouncement(self._chain_id, evidence, consensus_key)))

    def request(self, peer_id: PeerId, payload: bytes, timeout: float) -> AsyncIterator[bytes]:
        """See `Network`."""
        return self._mesh.request(peer_id, payload, timeout)

    def peers(self) -> tuple[PeerInfo, ...]:
        """See `Network`."""
        return self._mesh.peers()

    def disconnect(self, peer_id: PeerId, reason: Reason, detail: str) -> None:
        """See `Network`."""
        self._mesh.disconnect(peer_id, reason, detail)

    def _publish(self, payload: bytes) -> bool:
        """Publish a frame of transactions in messages; False if one of them is too large or must wait too long."""
        parts: list[list[bytes]] = [[]]
        size = 0
        for raw in batch_codec.decode(payload).transactions:
            if len(raw) > BATCH_BYTES:
                return False
            if size + len(raw) + 5 > BATCH_BYTES:
                parts.append([])
                size = 0
            parts[-1].append(raw)
            size += len(raw) + 5
        return all(self._gossip.publish(Topic.TRANSACTIONS, encode(TransactionBatch(tuple(part)))) for part in parts)


class Gossiper:
    """A node's gossip. See `node.gossip.Gossiping`.

    Args:
        key: the node key.
        gossip: the host.
        transport: its transport.
        peering: of this node.
        rules: what may be passed on.
        bridge: what the host delivered, and whom it may dial.
    """

    def __init__(
        self, key: SecretKey, gossip: Gossip, transport: StoqTransport, peering: Peering, rules: ContentRules,
        bridge: "Bridge",
    ) -> None:
        self.lanes: Lanes = GossipLanes(transport, gossip, bridge)
        self._key = key
        self._gossip = gossip
        self._transport = transport
        self._peering = peering
        self._rules = rules
        self._bridge = bridge

    def over(self, mesh: Mesh) -> Network:
        """See `Gossiping`."""
        return Wide(mesh, self._gossip, self._transport, self._rules)

    async def run(self, mesh: Mesh, ears: Ears, feed: EventFeed) -> None:
        """See `Gossiping`."""
        self._bridge.attach(mesh)
        await self._transport.listen_at(self._peering.config.host, mesh.port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hand_over, ears)
            nursery.start_soon(self._follow, feed, nursery)
            nursery.start_soon(self._keep_record)
            async for news in self._bridge.urgent:
                if isinstance(news, int):
                    ears.hear_block(news)
                else:
                    ears.accuse(news)

    def report(self) -> GossipReport:
        """See `Gossiping`."""
        tally = self._gossip.tally
        names = {name: self._transport.node_of(name) for name in self._gossip.peers()}
        peers = [
            GossipPeer(node.hex(), round(self._gossip.score(name), 2)) for name, node in names.items() if node
        ]
        return GossipReport(
            True, peers, dict(tally.sent), dict(tally.delivered), dict(tally.duplicates), dict(tally.invalid),
            dict(self.lanes.counts().drops), {reason.value: n for reason, n in self._rules.refusals.items()},
            self._gossip.dht.get_routing_table_size(), [_shown(one) for one in self._bridge.learning],
        )

    async def find(self, peer_id: PeerId) -> tuple[PeerAddress, ...]:
        """See `Gossiping`."""
        signed = None
        with trio.move_on_after(LOOK_UP), self._bridge.looking():
            signed = await self._gossip.look_up(peer_id)
        if signed is None:
            raise Refused(Reason.NOT_AVAILABLE, "nobody in the DHT knows a record of that node")
        with suppress(Refused):
            self._peering.book.add(signed, prefix_group("::", False, 0), wall_clock())
        return signed.record.addresses

    async def announce_learning(self, task: bytes, round: int, stage: int, content: bytes, size: int) -> None:
        """See `Gossiping`."""
        if stage not in Stage._value2member_map_:
            raise Refused(Reason.BAD_ARGUMENT, "a stage is 1 (round), 2 (update) or 3 (model)")
        announcement = await trio.to_thread.run_sync(
            announce_learning, self._key, self._rules.chain_id, task, Round(round), Stage(stage), content, size
        )
        if not self._gossip.publish(Topic.LEARNING, encode(announcement)):
            raise Refused(Reason.NOT_AVAILABLE, "too much waits to be published; try again in a moment")

    # ---- tasks

    async def _hand_over(self, ears: Ears) -> None:
        async for raws in self._bridge.transactions:
            await ears.hear_transactions(raws)

    async def _follow(self, feed: EventFeed, nursery: trio.Nursery) -> None:
        while True:
            with suppress(Refused), feed.subscribe(WAITING) as blocks:  # SLOW_READER: we were catching up
                async for event in blocks:
                    if wall_clock() - event.header.time < FRESH and self._gossip.listeners(Topic.BLOCKS):
                        nursery.start_soon(self._announce, event)

    async def _announce(self, event: BlockCommitted) -> None:
        await trio.sleep(random.uniform(0, PATIENCE))
        if not self._bridge.is_news(event.height, event.block_id):
            return
        announcement = await trio.to_thread.run_sync(
            announce_block, self._key, self._rules.chain_id, event.height, event.block_id
        )
        self._gossip.publish(Topic.BLOCKS, encode(announcement))

    async def _keep_record(self) -> None:
        """Show our newest record to peers, and put it into the DHT now and then."""
        published: tuple[SignedRecord, ...] = ()
        due = 0.0
        while True:
            own = self._peering.own_records
            if own and (own != published or trio.current_time() >= due) and self._gossip.peers():
                self._transport.show(own[0])
                with trio.move_on_after(LOOK_UP), self._bridge.looking():
                    await self._gossip.publish_record(own[0])
                due = trio.current_time() + (RECORD_SOON if own != published else RECORD_EVERY)
                published = own
            await trio.sleep(1.0)


class Bridge:
    """What the host asks of the node and tells it, whether the node is ready or not.

    Args:
        peering: its book says where a node is.

    Attributes:
        transactions: batches that wait for the driver.
        urgent: announced heights and evidence that wait for the driver.
        learning: the last announcements of federated learning.
        drops: what was dropped because nobody took it in time.
    """

    def __init__(self, peering: Peering) -> None:
        self._peering = peering
        self._mesh: tuple[Mesh, ...] = ()
        self._looking = 0
        self._dialled: set[PeerId] = set()
        self._announced: dict[tuple[Height, BlockId], None] = {}
        self._transactions_in, self.transactions = trio.open_memory_channel[tuple[bytes, ...]](WAITING)
        self._urgent_in, self.urgent = trio.open_memory_channel[Height | Evidence](WAITING)
        self.learning: deque[LearningAnnouncement] = deque(maxlen=SHOWN)
        self.drops: Counter[str] = Counter()

    def attach(self, mesh: Mesh) -> None:
        """The network is open."""
        self._mesh = (mesh,)

    # ---- what was delivered

    def deliver(self, topic: str, message: bytes) -> None:
        """Take a message that passed its topic's rule."""
        try:
            match topic:
                case Topic.TRANSACTIONS:
                    self._transactions_in.send_nowait(gossiped_transactions_codec.decode(message).transactions)
                case Topic.BLOCKS:
                    announcement = block_announcement_codec.decode(message)
                    self.is_news(announcement.height, announcement.block_id)
                    self._urgent_in.send_nowait(announcement.height)
                case Topic.EVIDENCE:
                    self._urgent_in.send_nowait(evidence_announcement_codec.decode(message).evidence)
                case Topic.LEARNING:
                    self.learning.append(learning_announcement_codec.decode(message))
        except trio.WouldBlock:
            self.drops["the node is busy"] += 1

    def is_news(self, height: Height, block_id: BlockId) -> bool:
        """Note that a block is announced; return whether it is for the first time."""
        if (height, block_id) in self._announced:
            return False
        self._announced[height, block_id] = None
        if len(self._announced) > KNOWN:
            del self._announced[next(iter(self._announced))]
        return True

    # ---- whom libp2p may dial

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Let libp2p dial whom the book knows: for a question of ours to the DHT. Who was dialled for it is left again.

        At other times it dials nobody: how many peers a node has is discovery's to say.
        """
        self._looking += 1
        try:
            yield
        finally:
            self._looking -= 1
            if not self._looking:
                for mesh in self._mesh:
                    for peer_id in self._dialled - mesh.kept:
                        mesh.disconnect(peer_id, Reason.CLOSING, "asked about other nodes")
                self._dialled.clear()

    def where(self, name: ID) -> PeerAddress | None:
        """Return where a peer of libp2p is, if it may be dialled now."""
        if not self._looking:
            return None
        found = (entry for entry in self._peering.book.entries() if name_of(entry.signed.record.ed25519) == name)
        entry = next(found, None)
        return None if entry is None else entry.address

    async def connect(self, address: PeerAddress) -> PeerInfo:
        """Dial for libp2p. Raises Refused."""
        if not self._mesh:
            raise Refused(Reason.NOT_AVAILABLE, "the network is not open yet")
        (mesh,) = self._mesh
        is_there = any(peer.peer_id == address.peer_id for peer in mesh.peers())
        peer = await mesh.connect(address)
        if not is_there:
            self._dialled.add(address.peer_id)
        return peer


@asynccontextmanager
async def opened(
    key: SecretKey, config: NodeConfig, peering: Peering, rules: ContentRules, topics: Sequence[Topic]
) -> AsyncIterator[Gossiper]:
    """Run libp2p while the context lasts. See `node.gossip.open_gossiping`."""
    bridge = Bridge(peering)
    record = await trio.to_thread.run_sync(make_record, key, rules.chain_id, (), wall_clock())
    transport = StoqTransport(record, rules.chain_id, bridge.where, bridge.connect, wall_clock)
    here = (config.listen_host, config.listen_port)
    async with open_gossip(key, transport, here, rules.validators(topics), bridge.deliver) as gossip:
        yield Gossiper(key, gossip, transport, peering, rules, bridge)


def _shown(one: LearningAnnouncement) -> HeardLearning:
    return HeardLearning(
        one.announcer.hex(), one.task.hex(), one.round, one.stage.name.lower(), one.content.hex(), one.size
    )
