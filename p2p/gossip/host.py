"""A libp2p host over STOQ: identify, gossipsub v1.1 and kad-dht, set up so that a chain can use them.

What 0.8.1 does by default would break one, and is set otherwise here (each has a test in tests/p2p/test_gossip.py):

- the spam protection drops what exceeds 10 messages a second and forwarder, our own included: off;
- the mesh is mended every 120 s: every second; and what "adapts" that interval raises it to 60 s (of a base of 1 s)
  when a node has no score outside topics, or many peers come: off;
- the scorer is not told whom the heartbeat grafts, and back-offs are not kept: `ScoredGossipSub`;
- sequence numbers go on from the second of the start, so that a node that sent many messages and restarts repeats some
  and is shut out for equivocation: they go on from the microsecond;
- v1.2 answers every message with an IDONTWANT to everybody: v1.1 alone;
- message ids are (sender, a counter of seconds): a node that restarts is not heard. Ids are hashes of the content, in
  the cache of what is offered too (`ContentCache`);
- 32 messages wait for a peer, the rest is dropped without a word: `CountingQueue`, larger, and counted;
- known peers are dialled by themselves below 150 connections, and this cannot be set off: they pass through
  `StoqTransport.dial`, so whoever gives it `find` decides whom libp2p may dial.

Validators are synchronous functions of the bytes alone: libp2p keeps their verdict by message id, so a verdict that
depends on who forwarded, on the height or on the time would be kept for everybody and for ever.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

import libp2p.pubsub.pubsub as pubsub_module
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.network.config import ConnectionConfig
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.mcache import CacheEntry, MessageCache
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.records.validator import NamespacedValidator
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from crypto.hashing import Label, digest
from crypto.keys import SecretKey
from p2p.gossip.published import NAMESPACE, RecordValidator, place_of, stored_record
from p2p.gossip.score import WEIGHTS, SpecScorer, score_params
from p2p.gossip.topics import MAX_MESSAGE as MAX_MESSAGE
from p2p.gossip.transport import StoqTransport
from p2p.network import PeerId
from p2p.records import SignedRecord, gossip_seed
from state.encoding import encode

DHT_PREFIX: Final = TProtocol("/nexus")
"""Tells 0.8.1 that this DHT holds none of the records of the public one; it still speaks /ipfs/kad/1.0.0."""
QUEUE: Final = 1024
"""RPCs that wait for one peer."""
PACE: Final = 100.0
"""Messages of our own that leave in a second."""
RATE: Final = 300.0
"""Messages of one peer that are looked at in a second; what comes faster is dropped, and counted: others bring it."""
BURST: Final = 1500
"""Messages of one peer that may come at once."""
MAX_WAITING: Final = 1024
"""Messages of our own that wait for their turn."""
DEGREE, DEGREE_LOW, DEGREE_HIGH = 6, 4, 12
"""Mesh peers of a topic, as the specification advises."""

Validator = Callable[[bytes], bool]
Deliver = Callable[[str, bytes], None]


class Drops:
    """Messages that were not sent or not looked at, by cause: nothing is dropped silently. Queues of peers count for
    the process.
    """

    def __init__(self) -> None:
        self.by_cause: Counter[str] = Counter()


class Tally:
    """What went through the topics, by topic.

    Attributes:
        sent: our own messages.
        delivered: messages of others that were valid, each once.
        duplicates: messages that came again.
        invalid: messages whose bytes were wrong.
    """

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.duplicates: Counter[str] = Counter()
        self.invalid: Counter[str] = Counter()


class Bucket:
    """A rate with room for bursts: of what one peer may send us."""

    def __init__(self, now: float) -> None:
        self._level, self._at = float(BURST), now

    def take(self, now: float) -> bool:
        """Return whether there is room for one more."""
        self._level = min(self._level + (now - self._at) * RATE, BURST)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


class CountingQueue(RpcQueue):  # type: ignore[misc]
    """What waits for one peer. Pubsub makes it by its name in its own module, so `open_gossip` puts it there."""

    drops = Drops()

    def __init__(self) -> None:
        super().__init__(max_size=QUEUE)

    def push(self, rpc: Any, priority: bool = False) -> bool:
        """See RpcQueue; counts what it does not take."""
        taken = bool(super().push(rpc, priority))
        if not taken:
            self.drops.by_cause["queue of a peer"] += 1
        return taken


class ContentCache(MessageCache):
    """The messages of the last heartbeats, by our ids. 0.8.1 keeps them by (sender, counter) whatever the ids are: then
    nobody finds what is offered among what was seen, and asks for all of it again, every heartbeat [measured: twice the
    transmissions at 10 nodes].
    """

    def put(self, msg: rpc_pb2.Message) -> None:
        """See MessageCache."""
        name = message_id(msg)
        if name not in self.msgs:
            self.msgs[name] = msg
            self.history[0].append(CacheEntry(name, msg.topicIDs))


class ScoredGossipSub(GossipSub):
    """GossipSub with what the specification of v1.1 asks of scores and back-offs, and 0.8.1 leaves out.

    - The scorer hears of everybody in the mesh; 0.8.1 forgets those whom `join` and the heartbeat graft.
    - Whose score is negative is pruned, and not grafted. 0.8.1 waits until a mesh is too large.
    - Who was pruned because a mesh was too large stays out for the back-off, and pays for grafting before its end. So
      an attacker that grafts again and again does not push the honest ones out.
    """

    def _notify_mesh_peer_added(self, peer_id: ID, topic: str) -> None:
        super()._notify_mesh_peer_added(peer_id, topic)
        if self.scorer is not None:
            self.scorer.on_join_mesh(peer_id, topic)

    def mesh_heartbeat(self) -> tuple[defaultdict[ID, list[str]], defaultdict[ID, list[str]]]:
        """See GossipSub."""
        bad = [
            (peer, topic) for topic, mesh in self.mesh.items() for peer in mesh
            if self.scorer is not None and self.scorer.score(peer, [topic]) < 0
        ]
        for peer, topic in bad:
            self.mesh[topic].discard(peer)
            if self.scorer is not None:
                self.scorer.on_leave_mesh(peer, topic)
            self._add_back_off(peer, topic, False)
        grafts, prunes = super().mesh_heartbeat()
        for peer, topics in prunes.items():
            for topic in topics:
                self._add_back_off(peer, topic, False)
        for peer, topic in bad:
            prunes[peer].append(topic)
        return grafts, prunes

    async def handle_graft(self, graft_msg: rpc_pb2.ControlGraft, sender_peer_id: ID) -> None:
        """See GossipSub."""
        topic = graft_msg.topicID
        if self.scorer is not None and topic in self.mesh:
            if self._check_back_off(sender_peer_id, topic):
                self.scorer.penalize_behavior(sender_peer_id, 1.0)
            elif self.scorer.score(sender_peer_id, [topic]) < 0:
                self._add_back_off(sender_peer_id, topic, False)
                await self.emit_prune(topic, sender_peer_id, False, False)
                return
        await super().handle_graft(graft_msg, sender_peer_id)


class ScoredPubsub(Pubsub):
    """Pubsub that tells the scorer of duplicates, without which P3 would punish whoever is second."""

    def __init__(self, host: Any, router: GossipSub, **options: Any) -> None:
        super().__init__(host, router, **options)
        self.counter = int(time.time() * 1e6)
        self.scorer = SpecScorer(score_params())
        router.scorer = self.scorer
        self.tally = Tally()
        self.drops = Drops()
        self._seen_at: dict[bytes, float] = {}
        self._buckets: dict[ID, Bucket] = {}

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """See Pubsub."""
        now = trio.current_time()
        if msg_forwarder != self.my_id and not self._bucket(msg_forwarder, now).take(now):
            self.drops.by_cause["rate of a peer"] += 1
            return
        self._seen_at = {key: at for key, at in self._seen_at.items() if now - at < WEIGHTS.mesh_deliveries_window}
        key = message_id(msg)
        if key in self._seen_at and self._is_msg_seen(msg) and msg_forwarder != self.my_id:
            for topic in msg.topicIDs[:1]:
                self.scorer.on_mesh_delivery(msg_forwarder, topic)
                self.tally.duplicates[topic] += 1
        self._seen_at.setdefault(key, now)
        await super().push_msg(msg_forwarder, msg)

    def _bucket(self, peer: ID, now: float) -> Bucket:
        if peer not in self._buckets:
            self._buckets = {known: one for known, one in self._buckets.items() if known in self.peers}
            self._buckets[peer] = Bucket(now)
        return self._buckets[peer]


def message_id(message: rpc_pb2.Message) -> bytes:
    """Return the id of a message: a hash of topic and content, whoever sent it."""
    topic = message.topicIDs[0].encode() if message.topicIDs else b""
    return digest(Label.GOSSIP_ID, len(topic).to_bytes(2, "big") + topic[:65535] + message.data)


class Gossip:
    """Topics over libp2p. Made by `open_gossip`.

    Attributes:
        dht: kad-dht, in server mode.
        drops: what was not sent.
        tally: what went through the topics.
    """

    def __init__(self, host: Any, router: GossipSub, pubsub: ScoredPubsub, dht: KadDHT, drops: Drops) -> None:
        self.host = host
        self.dht = dht
        self.drops = drops
        self.tally = pubsub.tally
        self._router = router
        self._pubsub = pubsub
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._news = trio.Event()

    @property
    def name(self) -> ID:
        """Our name in libp2p."""
        return self.host.get_id()

    def peers(self) -> tuple[ID, ...]:
        """Return the peers that speak gossipsub with us."""
        return tuple(self._pubsub.peers)

    def listeners(self, topic: str) -> frozenset[ID]:
        """Return the peers that take part in a topic, as they told us."""
        return frozenset(self._pubsub.peer_topics.get(topic, ()))

    def mesh(self, topic: str) -> frozenset[ID]:
        """Return the peers that messages of a topic are sent to at once."""
        return frozenset(self._router.mesh.get(topic, ()))

    def score(self, peer: ID) -> float:
        """Return the score of a peer over all topics."""
        return float(self._pubsub.scorer.score(peer, list(self._pubsub.topic_ids)))

    async def publish_record(self, signed: SignedRecord) -> None:
        """Put our own record into the DHT, in the place of an older one."""
        with suppress(ValueError):  # one as new is there
            await self.dht.put_value(place_of(signed.record.peer_id), encode(signed))

    async def look_up(self, peer_id: PeerId) -> SignedRecord | None:
        """Ask the DHT for a node's record, which is checked, the one made last; None if nobody knows it.

        0.8.1 asks nobody while we hold a record ourselves, however old it is: so ours is put aside meanwhile.
        """
        place, store = place_of(peer_id), self.dht.value_store
        held = store.get(place.encode())
        store.remove(place.encode())
        best = None if held is None else stored_record(held.value)
        try:
            told = stored_record(await self.dht.get_value(place))
            if told is not None and (best is None or told.record.epoch > best.record.epoch):
                best = told
        finally:
            if best is not None and not store.has(place.encode()):
                store.put(place.encode(), encode(best))
        return best

    def publish(self, topic: str, message: bytes) -> bool:
        """Send a message to everybody, in its turn; False, and counted, if it is too large or too many wait."""
        if len(message) > MAX_MESSAGE:
            self.drops.by_cause["too large"] += 1
            return False
        if len(self._waiting) >= MAX_WAITING:
            self.drops.by_cause["own queue"] += 1
            return False
        self._waiting.append((topic, message))
        self._news.set()
        return True

    async def send_waiting(self) -> None:
        """Send what waits, at most PACE messages a second, until cancelled."""
        while True:
            while self._waiting:
                topic, message = self._waiting.popleft()
                await self._pubsub.publish(topic, message)
                self.tally.sent[topic] += 1
                await trio.sleep(1 / PACE)
            self._news = trio.Event()
            await self._news.wait()

    async def receive(self, topic: str, deliver: Deliver) -> None:
        """Hand over what others say on a topic until cancelled; `deliver` must not wait."""
        subscription = await self._pubsub.subscribe(topic)
        own = self.name.to_bytes()
        while True:
            message = await subscription.get()
            if message.from_id != own:
                self.tally.delivered[topic] += 1
                deliver(topic, message.data)


@asynccontextmanager
async def open_gossip(
    key: SecretKey, transport: StoqTransport, host_address: tuple[str, int], topics: Mapping[str, Validator],
    deliver: Deliver,
) -> AsyncIterator[Gossip]:
    """Run a host over a transport while the context lasts. Open it before the mesh, with the transport as its lanes.

    Args:
        key: the node key; libp2p's own key follows from it.
        transport: over the mesh.
        host_address: where the mesh listens, for identify.
        topics: what to take part in, with the validator of each.
        deliver: gets (topic, message) of valid messages, each once.
    """
    drops = CountingQueue.drops = Drops()
    vars(pubsub_module)["RpcQueue"] = CountingQueue
    here = Multiaddr(f"/ip6/{host_address[0]}/udp/{host_address[1] or 1}/quic-v1")
    host = new_host(
        key_pair=create_new_key_pair(gossip_seed(key)), transports=[transport], listen_addrs=[here],
        connection_config=ConnectionConfig(low_watermark=0, min_connections=0),
    )
    router, pubsub = make_pubsub(host, topics)
    pubsub.drops = drops
    dht = KadDHT(
        host, DHTMode.SERVER, enable_providers=False, validator_changed=True, protocol_prefix=DHT_PREFIX,
        strict_validation=True, max_peers_per_subnet=0,
        validator=NamespacedValidator({NAMESPACE: RecordValidator(transport.chain_id, transport.clock)}, True),
    )
    gossip = Gossip(host, router, pubsub, dht, drops)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(host.run([here]))
        for service in (pubsub, router, dht):
            await stack.enter_async_context(background_trio_service(service))
        await pubsub.wait_until_ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gossip.send_waiting)
            for topic in topics:
                nursery.start_soon(gossip.receive, topic, deliver)
            yield gossip
            nursery.cancel_scope.cancel()


def make_pubsub(host: Any, topics: Mapping[str, Validator]) -> tuple[GossipSub, ScoredPubsub]:
    """Return router and pubsub of a host, both still to be run, as every node has them."""
    router = ScoredGossipSub(
        protocols=[PROTOCOL_ID_V11], degree=DEGREE, degree_low=DEGREE_LOW, degree_high=DEGREE_HIGH,
        heartbeat_interval=1, spam_protection_enabled=False, adaptive_gossip_enabled=False, score_params=score_params(),
    )
    router.mcache = ContentCache(router.mcache.window_size, router.mcache.history_size)
    pubsub = ScoredPubsub(
        host, router, strict_signing=True, msg_id_constructor=message_id, max_inbound_rpc_size=4 * MAX_MESSAGE
    )
    for topic, validator in topics.items():
        pubsub.set_topic_validator(topic, _content_only(topic, validator, pubsub.tally), is_async_validator=False)
    return router, pubsub


def _content_only(topic: str, validator: Validator, tally: Tally) -> Callable[[ID, rpc_pb2.Message], bool]:
    def validate(_forwarder: ID, message: rpc_pb2.Message) -> bool:
        good = len(message.data) <= MAX_MESSAGE and validator(message.data)
        if not good:
            tally.invalid[topic] += 1
        return good

    return validate
