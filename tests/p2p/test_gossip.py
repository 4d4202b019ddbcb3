"""libp2p over real STOQ connections: identify, gossipsub, kad-dht; who a name stands for; guards of private hooks."""

import inspect
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

pytest.importorskip("libp2p", reason="the extra libp2p needs libgmp-dev to be built")

from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.pubsub import pubsub as pubsub_module
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.mcache import MessageCache
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.records.utils import InvalidRecordType
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset
from libp2p.transport.exceptions import OpenConnectionError
from multiaddr import Multiaddr

from crypto.errors import Reason, Refused
from p2p.bans import Bans
from p2p.exchange import NoMeeting
from p2p.gossip.host import ContentCache, CountingQueue, Gossip, message_id, open_gossip
from p2p.gossip.published import RecordValidator, place_of
from p2p.gossip.score import SpecScorer, TopicWeights, score_params
from p2p.gossip.streams import WINDOW, Kind, StoqConnection, frame_of, split_frame
from p2p.gossip.topics import MAX_MESSAGE
from p2p.gossip.transport import StoqTransport, name_of
from p2p.mesh import Company, Mesh, open_network, wall_clock
from p2p.network import Channel, PeerAddress, PeerId, PeerInfo
from p2p.records import SignedRecord, make_record
from state.encoding import encode
from state.types import ChainId
from tests.p2p.crowd import crowd_key, drain
from tests.p2p.nodes import CHAIN, settings, until

TOPIC = "nexus/test"


@dataclass
class Party:
    mesh: Mesh
    gossip: Gossip
    transport: StoqTransport
    known: dict[ID, PeerAddress]
    heard: list[bytes] = field(default_factory=list)

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(self.mesh.peer_id, "::1", self.mesh.port)


def valid(message: bytes) -> bool:
    return not message.startswith(b"bad")


def record(index: int) -> SignedRecord:
    return make_record(crowd_key(index), CHAIN, (), wall_clock())


@asynccontextmanager
async def party(index: int, shown: SignedRecord | None = None) -> AsyncIterator[Party]:
    """A node with libp2p over its mesh."""
    key = crowd_key(index)
    known: dict[ID, PeerAddress] = {}
    meshes: list[Mesh] = []

    async def connect(address: PeerAddress) -> PeerInfo:
        return await meshes[0].connect(address)

    transport = StoqTransport(shown or record(index), CHAIN, known.get, connect, wall_clock)
    heard: list[bytes] = []
    company = Company(NoMeeting(), Bans(20.0), wall_clock, transport)
    gossiping = open_gossip(key, transport, ("::1", 0), {TOPIC: valid}, lambda _, message: heard.append(message))
    opening = open_network(settings(), key, CHAIN, company)
    async with gossiping as gossip, opening as mesh, trio.open_nursery() as nursery:
        meshes.append(mesh)
        nursery.start_soon(drain, mesh)
        yield Party(mesh, gossip, transport, known, heard)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def parties(count: int) -> AsyncIterator[list[Party]]:
    async with AsyncExitStack() as stack:
        made: list[Party] = []
        for index in range(count):
            made.append(await stack.enter_async_context(party(index)))
            for other in made[:-1]:
                made[-1].mesh.dial(other.address)
        yield made


def named(one: Party) -> ID:
    return name_of(one.transport._own.record.ed25519)


async def test_messages_reach_everybody_once_and_invalid_ones_nobody() -> None:
    async with parties(3) as all_of_them:
        await until(lambda: all(len(one.gossip.peers()) == 2 for one in all_of_them))
        assert {named(one) for one in all_of_them} == {one.gossip.name for one in all_of_them}
        await until(lambda: all(len(one.gossip._pubsub.router.mesh.get(TOPIC, ())) == 2 for one in all_of_them))
        for number in range(40):
            assert all_of_them[number % 3].gossip.publish(TOPIC, b"message %d" % number)
        assert all_of_them[0].gossip.publish(TOPIC, bytes(MAX_MESSAGE))
        expected = [
            sorted([b"message %d" % number for number in range(40) if number % 3 != place]
                   + [bytes(MAX_MESSAGE)] * bool(place))
            for place in range(3)
        ]
        await until(lambda: [sorted(one.heard) for one in all_of_them] == expected)
        for one in all_of_them:
            assert one.gossip.tally.delivered[TOPIC] == len(one.heard) and not one.gossip.tally.invalid
            assert not one.gossip.drops.by_cause
        assert not all_of_them[0].gossip.publish(TOPIC, bytes(MAX_MESSAGE + 1))
        assert all_of_them[0].gossip.drops.by_cause == {"too large": 1}


async def test_identify_and_the_dht_work_over_it() -> None:
    async with parties(2) as (one, other):
        await until(lambda: len(one.gossip.peers()) == 1)
        store = one.gossip.host.get_peerstore()
        await until(lambda: other.gossip.name in store.peers_with_addrs())
        await until(lambda: "/meshsub/1.1.0" in store.get_protocols(other.gossip.name))
        assert store.pubkey(other.gossip.name).to_bytes() == other.transport._own.record.ed25519
        found = await one.gossip.dht.find_peer(other.gossip.name)
        assert found is not None and found.peer_id == other.gossip.name


async def test_libp2p_dials_by_a_record_or_not_at_all() -> None:
    async with party(0) as one, party(1) as other:
        maddr = Multiaddr(f"/ip6/::1/udp/{other.mesh.port}/quic-v1/p2p/{other.gossip.name}")
        with pytest.raises(OpenConnectionError):
            await one.transport.dial(maddr)
        one.known[other.gossip.name] = other.address
        await one.gossip.host.get_network().dial_addr(maddr, other.gossip.name)
        await until(lambda: len(one.gossip.peers()) == len(other.gossip.peers()) == 1)


async def test_a_name_that_belongs_to_another_node_is_not_believed() -> None:
    async with party(0) as honest, party(1, shown=record(2)) as liar:
        liar.mesh.dial(honest.address)
        await until(lambda: honest.mesh.metrics.refusals.get(Reason.WRONG_PEER, 0) > 0)
        assert not honest.gossip.peers()


@pytest.mark.parametrize("frames", [
    [b""], [b"\x09\x00\x00\x00\x01"], [frame_of(Kind.OPEN, 1)],
    [frame_of(Kind.RECORD, 0, b"nonsense")],
    [frame_of(Kind.RECORD, 0, encode(record(5)))] * 2,
    [frame_of(Kind.RECORD, 0, encode(record(5))), frame_of(Kind.OPEN, 2)],
    [frame_of(Kind.RECORD, 0, encode(record(5))), frame_of(Kind.OPEN, 1), frame_of(Kind.OPEN, 1)],
    [frame_of(Kind.RECORD, 0, encode(record(5))), frame_of(Kind.OPEN, 1), frame_of(Kind.CREDIT, 1, b"x")],
    [frame_of(Kind.RECORD, 0, encode(record(5)))] + [frame_of(Kind.OPEN, 2 * n + 1) for n in range(400)],
], ids=[
    "empty", "kind", "before the record", "nonsense", "two records", "our id", "taken id", "credit", "many",
])
async def test_who_breaks_the_rules_of_the_streams_loses_the_connection_alone(frames: list[bytes]) -> None:
    async with parties(2) as (one, other):
        await until(lambda: len(one.gossip.peers()) == 1)
        async with open_network(settings(), crowd_key(5), CHAIN) as rogue, trio.open_nursery() as nursery:
            nursery.start_soon(drain, rogue)
            await rogue.connect(one.address)
            for frame in frames:
                if frame:
                    rogue.send(one.mesh.peer_id, Channel.GOSSIP, frame)
                else:
                    rogue.send(one.mesh.peer_id, Channel.GOSSIP, b"\x00")
            await until(lambda: not rogue.peers())
            nursery.cancel_scope.cancel()
        assert other.gossip.publish(TOPIC, b"still there")
        await until(lambda: b"still there" in one.heard)


async def test_garbage_on_a_stream_ends_that_stream_and_not_the_host() -> None:
    async with parties(2) as (one, other):
        await until(lambda: len(one.gossip.peers()) == 1)
        (connection,) = other.transport._latest.values()
        stream = await connection.open_stream()
        await stream.write(b"\x02\xff\n")  # not UTF-8: multiselect raises UnicodeDecodeError
        assert one.gossip.publish(TOPIC, b"alive")
        await until(lambda: b"alive" in other.heard)


async def test_a_restarted_peer_is_heard_again() -> None:
    async with party(0) as one:
        for number in range(2):
            async with party(1) as other:
                other.mesh.dial(one.address)
                await until(lambda: len(one.gossip.peers()) == len(other.gossip.peers()) == 1)
                await trio.sleep(1.2)
                assert other.gossip.publish(TOPIC, b"life %d" % number)
                await until(lambda: b"life %d" % number in one.heard)  # noqa: B023
            await until(lambda: not one.gossip.peers())


class Wire:
    """A link that remembers what is sent."""

    peer_id, host, port, inbound = PeerId(bytes(32)), "::1", 7, True

    def __init__(self) -> None:
        self.gone = trio.Event()
        self.sent: list[tuple[Kind, int, bytes]] = []

    async def send(self, payload: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(split_frame(payload))


async def test_a_stream_holds_no_more_than_its_window_and_gives_credit_for_what_is_read() -> None:
    wire = Wire()
    connection = StoqConnection(wire, PEER)
    connection.feed(Kind.OPEN, 1, b"")
    stream = await connection.accept_stream()
    connection.feed(Kind.DATA, 1, bytes(WINDOW))
    assert len(await stream.read()) == WINDOW
    assert wire.sent == [(Kind.CREDIT, 1, WINDOW.to_bytes(4, "big"))]
    connection.feed(Kind.DATA, 1, bytes(WINDOW))
    with pytest.raises(Refused) as refused:
        connection.feed(Kind.DATA, 1, b"x")
    assert refused.value.reason is Reason.PROTOCOL_VIOLATION


async def test_a_writer_waits_for_credit() -> None:
    wire = Wire()
    connection = StoqConnection(wire, PEER)
    stream = await connection.open_stream()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.write, bytes(WINDOW + 5))
        await trio.testing.wait_all_tasks_blocked()
        assert sum(len(body) for kind, _, body in wire.sent if kind is Kind.DATA) == WINDOW
        connection.feed(Kind.CREDIT, stream.stream_id, (5).to_bytes(4, "big"))
    assert sum(len(body) for kind, _, body in wire.sent if kind is Kind.DATA) == WINDOW + 5


async def test_ends_of_a_stream_have_the_names_that_libp2p_sorts_by() -> None:
    connection = StoqConnection(Wire(), PEER)
    one, two, three = [await connection.open_stream() for _ in range(3)]
    connection.feed(Kind.DATA, one.stream_id, b"last")
    connection.feed(Kind.END, one.stream_id, b"")
    assert await one.read() == b"last"
    with pytest.raises(MuxedStreamEOF):
        await one.read()
    await one.write(b"half closed")
    connection.feed(Kind.STOP, two.stream_id, b"")
    with pytest.raises(MuxedStreamClosed):
        await two.write(b"x")
    connection.feed(Kind.RESET, three.stream_id, b"")
    for call in (three.read(), three.write(b"x")):
        with pytest.raises(MuxedStreamReset):
            await call
    connection.feed(Kind.DATA, three.stream_id, b"too late")  # crossed the reset: dropped
    one.set_deadline(0)
    one._ended = False
    with pytest.raises(MuxedStreamReset):
        await one.read()


# ---- the scorer, on a clock of its own


def scorer(now: list[float], **changes: float) -> SpecScorer:
    return SpecScorer(score_params(), TopicWeights(**changes), lambda: now[0])


PEER = ID(b"\x01" * 34)


def test_time_and_first_deliveries_are_rewarded_up_to_a_cap() -> None:
    now = [0.0]
    one = scorer(now)
    one.on_join_mesh(PEER, TOPIC)
    for _ in range(200):
        one.on_first_delivery(PEER, TOPIC)
    assert one.topic_score(PEER, TOPIC) == pytest.approx(10.0)
    now[0] = 10_000.0
    assert one.topic_score(PEER, TOPIC) == pytest.approx(20.0)


def test_the_deficit_counts_after_activation_and_stays_after_leaving() -> None:
    now = [0.0]
    one = scorer(now, mesh_deliveries_threshold=4.0, time_in_mesh_weight=0.0, first_deliveries_weight=0.0)
    one.on_join_mesh(PEER, TOPIC)
    now[0] = 59.0
    assert one.topic_score(PEER, TOPIC) == 0.0
    now[0] = 61.0
    one.on_mesh_delivery(PEER, TOPIC)
    assert one.topic_score(PEER, TOPIC) == -9.0
    one.on_leave_mesh(PEER, TOPIC)
    assert one.topic_score(PEER, TOPIC) == -9.0
    one.remove_peer(PEER)
    assert one.topic_score(PEER, TOPIC) == -9.0
    for _ in range(601):
        one.on_heartbeat()
    assert -0.2 < one.topic_score(PEER, TOPIC) <= 0.0


def test_a_silent_topic_costs_an_honest_peer_next_to_nothing() -> None:
    now = [0.0]
    one = scorer(now, time_in_mesh_weight=0.0)
    one.on_join_mesh(PEER, TOPIC)
    now[0] = 3600.0
    assert one.topic_score(PEER, TOPIC) == pytest.approx(-0.04)


def test_three_invalid_messages_and_nobody_listens_though_the_bonus_was_full() -> None:
    now = [0.0]
    one = scorer(now)
    one.on_join_mesh(PEER, TOPIC)
    for _ in range(200):
        one.on_first_delivery(PEER, TOPIC)
    now[0] = 10_000.0
    one.on_invalid_message(PEER, TOPIC)
    assert one.allow_publish(PEER, [TOPIC])
    one.on_invalid_message(PEER, TOPIC)
    one.on_invalid_message(PEER, TOPIC)
    assert one.is_graylisted(PEER, [TOPIC]) and not one.allow_publish(PEER, [TOPIC])


# ---- guards: what we rely on in libp2p 0.8.1 and is not promised


def test_private_hooks_are_where_we_use_them() -> None:
    connection = inspect.getsource(SwarmConn.__init__)
    for attribute in ('"swarm"', '"remove_stream"', '"on_close"'):
        assert f"setattr(self.muxed_conn, {attribute}" in connection or f"setattr(muxed_conn, {attribute}" in connection
    assert "self.common_stream_handler" in inspect.getsource(Swarm.set_stream_handler)
    assert "isinstance(read_write_closer, IMuxedConn)" in inspect.getsource(Swarm)
    assert "isinstance(raw_conn, IMuxedConn)" in inspect.getsource(Swarm)
    assert "queue = RpcQueue()" in inspect.getsource(Pubsub)
    assert "_is_msg_seen" in inspect.getsource(Pubsub.push_msg)
    assert "scorer.on_first_delivery(msg_forwarder, topic)" in inspect.getsource(Pubsub.push_msg)
    assert "on_mesh_delivery" not in inspect.getsource(Pubsub) + inspect.getsource(GossipSub)
    defaults = inspect.signature(GossipSub.__init__).parameters
    assert (defaults["heartbeat_interval"].default, defaults["spam_protection_enabled"].default) == (120, True)


def test_what_is_offered_has_the_ids_of_what_was_seen() -> None:
    assert "default_msg_id_fn(msg)" in inspect.getsource(MessageCache.put)  # or else ContentCache may go
    cache = ContentCache(3, 5)
    one = rpc_pb2.Message(from_id=b"a", seqno=b"1", data=b"same", topicIDs=[TOPIC])
    other = rpc_pb2.Message(from_id=b"b", seqno=b"2", data=b"same", topicIDs=[TOPIC])
    for message in (one, one, other):
        cache.put(message)
    assert cache.window(TOPIC) == [message_id(one)] == [message_id(other)]
    assert cache.get(message_id(other)) == one
    for _ in range(5):
        cache.shift()
    assert cache.get(message_id(one)) is None


async def test_the_dht_knows_where_a_node_is_that_is_in_no_book() -> None:
    async with party(0) as far, party(1) as between, party(2) as near:
        far.mesh.dial(between.address)
        near.mesh.dial(between.address)
        await until(lambda: [len(one.gossip.peers()) for one in (far, between, near)] == [1, 2, 1])
        older, newer = (
            make_record(crowd_key(0), CHAIN, (("::1", port),), wall_clock() - age) for port, age in ((1, 1000), (7, 0))
        )
        await far.gossip.publish_record(older)
        await far.gossip.publish_record(newer)
        assert not near.known and far.mesh.peer_id not in {peer.peer_id for peer in near.mesh.peers()}
        assert await near.gossip.look_up(far.mesh.peer_id) == newer
        assert await near.gossip.look_up(PeerId(bytes(32))) is None


async def test_what_we_hold_of_the_dht_ourselves_may_be_older_than_what_others_know() -> None:
    async with party(0) as far, party(1) as between, party(2) as near:
        older, newer = (
            make_record(crowd_key(0), CHAIN, (("::1", port),), wall_clock() - age) for port, age in ((1, 1000), (7, 0))
        )
        near.gossip.dht.value_store.put(place_of(far.mesh.peer_id).encode(), encode(older))
        assert await near.gossip.look_up(far.mesh.peer_id) == older  # there is nobody to ask
        far.mesh.dial(between.address)
        await until(lambda: len(between.gossip.peers()) == len(far.gossip.peers()) == 1)
        await far.gossip.publish_record(newer)
        near.mesh.dial(between.address)
        await until(lambda: [len(one.gossip.peers()) for one in (far, between, near)] == [1, 2, 1])
        assert await near.gossip.look_up(far.mesh.peer_id) == newer
        assert await near.gossip.look_up(far.mesh.peer_id) == newer


def test_a_record_in_the_dht_is_a_nodes_own_and_of_two_the_newer_one_counts() -> None:
    judge = RecordValidator(CHAIN, wall_clock)
    older, newer = (make_record(crowd_key(3), CHAIN, (), wall_clock() - age) for age in (1000, 0))
    place = place_of(newer.record.peer_id)
    judge.validate(place, encode(newer))
    assert judge.select(place, [encode(older), encode(newer), encode(older)]) == 1
    stale = make_record(crowd_key(3), CHAIN, (), wall_clock() - 15 * 24 * 3600 * 1000)
    other_chain = make_record(crowd_key(3), ChainId(bytes(32)), (), wall_clock())
    for value in (b"", encode(newer)[:-1], encode(stale), encode(other_chain)):
        with pytest.raises(InvalidRecordType):
            judge.validate(place, value)
    with pytest.raises(InvalidRecordType):
        judge.validate(place_of(PeerId(bytes(32))), encode(newer))


async def test_the_queue_is_ours_and_counts_what_it_drops() -> None:
    async with parties(2) as (one, _):
        await until(lambda: len(one.gossip.peers()) == 1)
        assert vars(pubsub_module)["RpcQueue"] is CountingQueue
        (queue,) = one.gossip._pubsub.peer_queues.values()
        assert isinstance(queue, CountingQueue)
        queue.close()
        assert not queue.push(object())
        assert CountingQueue.drops.by_cause["queue of a peer"] >= 1


def test_what_adapts_the_heartbeat_would_stop_it_and_is_off() -> None:
    stock = GossipSub([], 6, 4, 12, heartbeat_interval=1)
    stock._adapt_heartbeat_parameters(0.65)  # of a healthy node whose peers have no score outside topics
    assert stock.heartbeat_interval == 60
    stock._adapt_heartbeat_parameters(0.3)
    assert stock.heartbeat_interval == 30


async def test_the_scorer_hears_of_everybody_in_the_mesh_and_sequence_numbers_outlive_a_restart() -> None:
    assert "scorer" not in inspect.getsource(GossipSub.join)
    async with parties(2) as (one, other):
        await until(lambda: len(one.gossip.peers()) == 1)
        router = one.gossip._pubsub.router
        assert isinstance(router, GossipSub) and isinstance(router.scorer, SpecScorer)
        assert not router.adaptive_gossip_enabled
        await until(lambda: len(router.mesh.get(TOPIC, ())) == 1)
        await router.leave(TOPIC)
        router.scorer.remove_peer(other.gossip.name)
        router.back_off.clear()
        await router.join(TOPIC)  # grafts by itself, and says nothing to the scorer
        assert not math.isinf(router.scorer._counters[other.gossip.name][TOPIC].grafted_at)
        assert one.gossip._pubsub.counter > 10**15


async def test_who_grafts_in_the_back_off_pays_and_whose_score_is_negative_leaves_the_mesh() -> None:
    async with parties(2) as (one, other):
        await until(lambda: len(one.gossip.peers()) == 1)
        router = one.gossip._pubsub.router
        assert isinstance(router, GossipSub) and isinstance(router.scorer, SpecScorer)
        await until(lambda: len(router.mesh.get(TOPIC, ())) == 1)
        name, graft = other.gossip.name, rpc_pb2.ControlGraft(topicID=TOPIC)
        for _ in range(2):
            router.scorer.on_invalid_message(name, TOPIC)
        grafts, prunes = router.mesh_heartbeat()
        assert (dict(grafts), dict(prunes), router.mesh[TOPIC]) == ({}, {name: [TOPIC]}, set())
        router.back_off.clear()
        await router.handle_graft(graft, name)
        assert router.mesh[TOPIC] == set() and router._check_back_off(name, TOPIC)
        paid = router.scorer.behavior_penalty[name]
        for _ in range(4):
            await router.handle_graft(graft, name)
        assert router.scorer.behavior_penalty[name] == pytest.approx(paid + 4)
