"""The listener that anybody may dial: what stock libp2p gets of it, and what it does not let them do."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio

pytest.importorskip("libp2p")

import libp2p.transport.quic.transport as quic_module
from aioquic import tls as aioquic_tls
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.ping import PingService
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.quic.transport import QUICTransport
from libp2p.utils import encode_varint_prefixed
from libp2p.utils.varint import read_varint_prefixed_bytes_limited
from msgspec import json
from multiaddr import Multiaddr

from crypto.errors import Reason, Refused
from p2p.interop.announcement import TOPIC, OpenBlock, open_block_codec
from p2p.interop.host import OpenHost, open_host
from p2p.interop.limits import REMEMBERED, Buckets, Limits, Rate
from p2p.interop.questions import MAX_ANSWER, MAX_QUESTION, PROTOCOL
from p2p.interop.quic import InboundTransport, ServerConnection
from p2p.stoq.endpoint import bind
from p2p.stoq.tls import GROUP, AioquicContext, make_certificate
from state.types import BlockId, ChainId, Height

SEED = b"s" * 32
HERE = ("::1", 0)
PATIENCE = 20
CERTIFICATE, KEY = make_certificate()


class Dialer(QuicConnection):
    """aioquic as a client that does not mind the four parts of an IPv6 address."""

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        super().receive_datagram(data, addr[:2], now)


@pytest.fixture(autouse=True)
def dialling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quic_module, "NativeQUICConnection", Dialer)


async def answer(question: bytes) -> bytes:
    if question == b"no":
        raise Refused(Reason.NOT_AVAILABLE, "there is none")
    return b"x" * int(question[1:]) if question[:1] == b"x" else b"answer to " + question


@asynccontextmanager
async def stranger(number: int) -> AsyncIterator[tuple[Any, Pubsub]]:
    """Run a stock host with pubsub."""
    host: Any = new_host(
        key_pair=(pair := create_new_key_pair(bytes([number]) * 32)), transports=[QUICTransport(pair.private_key)]
    )
    router = GossipSub(
        protocols=[PROTOCOL_ID_V11], degree=6, degree_low=4, degree_high=12, heartbeat_interval=1,
        spam_protection_enabled=False,
    )
    pubsub = Pubsub(host, router)
    async with host.run([]), background_trio_service(pubsub), background_trio_service(router):
        await pubsub.wait_until_ready()
        yield host, pubsub


async def dial(host: Any, listener: OpenHost) -> ID:
    name = ID.from_string(listener.name)
    await host.get_network().dial_addr(Multiaddr(f"/ip6/::1/udp/{listener.port}/quic-v1"), name)
    return name


async def ask(host: Any, name: ID, question: bytes) -> bytes:
    stream = await host.new_stream(name, [TProtocol(PROTOCOL)])
    await stream.write(encode_varint_prefixed(question))
    found: bytes = await read_varint_prefixed_bytes_limited(stream, MAX_ANSWER)
    return found


def reason_in(raw: bytes) -> Reason:
    return Reason(json.decode(raw)["error"]["reason"])


async def until(condition: Any) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.02)


def block(height: int) -> OpenBlock:
    return OpenBlock(ChainId(b"c" * 32), Height(height), BlockId(b"b" * 32), 5)


# ---- buckets


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    buckets = Buckets(Rate(2, 3))
    assert [buckets.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert buckets.take("b", 0.0)
    assert [buckets.take("a", 1.0) for _ in range(3)] == [True, True, False]
    assert [buckets.take("a", 100.0) for _ in range(4)] == [True, True, True, False]


def test_buckets_stay_few() -> None:
    buckets = Buckets(Rate(1, 1))
    for number in range(3 * REMEMBERED):
        buckets.take(number, 0.0)
    assert len(buckets) == REMEMBERED


# ---- TLS


@pytest.mark.parametrize("hybrid", [True, False])
async def test_the_hybrid_where_the_peer_has_it_and_x25519_where_not(hybrid: bool) -> None:
    class Client(QuicConnection):
        def _initialize(self, peer_cid: bytes) -> None:
            super()._initialize(peer_cid)
            context: Any = self.tls
            if hybrid:
                context.__class__ = AioquicContext
                context.adopt()
            else:
                context._supported_groups = [aioquic_tls.Group.X25519]

    server_side = QuicConfiguration(is_client=False, alpn_protocols=["libp2p"])
    server_side.certificate = x509.load_pem_x509_certificate(CERTIFICATE)
    server_side.private_key = serialization.load_pem_private_key(KEY, None)
    client = Client(
        configuration=QuicConfiguration(is_client=True, alpn_protocols=["libp2p"], verify_mode=ssl.CERT_NONE)
    )
    client.connect(("::1", 2), now=0.0)
    server = ServerConnection(
        configuration=server_side, original_destination_connection_id=client.original_destination_connection_id
    )
    for _ in range(4):
        for data, _ in client.datagrams_to_send(now=0.0):
            server.receive_datagram(data, ("::1", 1), now=0.0)
        for data, _ in server.datagrams_to_send(now=0.0):
            client.receive_datagram(data, ("::1", 2), now=0.0)
    assert client._handshake_complete
    assert server._handshake_complete
    shares = [key for key in server.tls._ec_private_keys if type(key).__name__ == "_HybridPrivateKey"]
    assert len(shares) == (1 if hybrid else 0)
    assert server.tls._supported_groups == [GROUP, aioquic_tls.Group.X25519]


# ---- what a stranger gets


async def test_a_stranger_pings_asks_and_hears_of_blocks() -> None:
    async with open_host(SEED, HERE, answer) as listener, stranger(1) as (host, pubsub):
        name = await dial(host, listener)
        assert await PingService(host).ping(name, 2)
        assert await ask(host, name, b"q") == b"answer to q"
        assert reason_in(await ask(host, name, b"no")) is Reason.NOT_AVAILABLE
        assert reason_in(await ask(host, name, b"x%d" % (MAX_ANSWER + 1))) is Reason.TOO_LARGE
        assert reason_in(await ask(host, name, bytes(MAX_QUESTION + 1))) is Reason.TOO_LARGE
        heard = await pubsub.subscribe(TOPIC)
        await until(lambda: listener.figures()["listeners"] == 1)
        await listener.announce(block(7))
        with trio.fail_after(PATIENCE):
            assert open_block_codec.decode((await heard.get()).data) == block(7)


async def test_what_strangers_publish_reaches_nobody() -> None:
    async with open_host(SEED, HERE, answer) as listener, stranger(1) as (host, pubsub), stranger(2) as (other, quiet):
        await dial(host, listener)
        await dial(other, listener)
        await pubsub.subscribe(TOPIC)
        heard = await quiet.subscribe(TOPIC)
        await until(lambda: listener.figures()["listeners"] == 2)
        await until(lambda: len(pubsub.peer_topics.get(TOPIC, ())) == 1)
        for height in range(5):
            await pubsub.publish(TOPIC, b"a lie %d" % height)
        await until(lambda: listener.figures().get("refused publish", 0) >= 5)
        await listener.announce(block(8))
        with trio.fail_after(PATIENCE):
            assert open_block_codec.decode((await heard.get()).data) == block(8)


async def test_questions_beyond_the_rate_are_refused_by_name() -> None:
    limits = Limits(questions_each=Rate(0.001, 2))
    async with open_host(SEED, HERE, answer, limits) as listener, stranger(1) as (host, _), stranger(2) as (other, _):
        name = await dial(host, listener)
        await dial(other, listener)
        assert [await ask(host, name, b"q") for _ in range(2)] == [b"answer to q"] * 2
        assert reason_in(await ask(host, name, b"q")) is Reason.RATE_LIMITED
        assert await ask(other, name, b"q") == b"answer to q"


async def test_who_floods_with_control_messages_is_let_go() -> None:
    limits = Limits(messages_each=Rate(0.001, 5))
    async with open_host(SEED, HERE, answer, limits) as listener, stranger(1) as (host, _):
        name = await dial(host, listener)
        stream = await host.new_stream(name, [PROTOCOL_ID_V11])
        message = rpc_pb2.RPC(control=rpc_pb2.ControlMessage(ihave=[rpc_pb2.ControlIHave(topicID=TOPIC)]))
        for _ in range(10):
            await stream.write(encode_varint_prefixed(message.SerializeToString()))
        await until(lambda: listener.figures()["connections"] == 0)
        assert listener.figures()["refused rate"] == 1


async def test_three_bytes_do_not_end_the_host() -> None:
    async with open_host(SEED, HERE, answer) as listener, stranger(1) as (host, _):
        name = await dial(host, listener)
        connection = host.get_network().get_connections(name)[0]
        stream = await connection.muxed_conn.open_stream()
        await stream.write(b"\x02\xff\n")
        with trio.fail_after(PATIENCE):
            assert await ask(host, name, b"q") == b"answer to q"


async def test_connections_are_few_and_nothing_stays_of_those_that_left() -> None:
    limits = Limits(connections=3, idle=2.0)
    async with open_host(SEED, HERE, answer, limits) as listener:
        for number in range(1, 6):
            async with stranger(number) as (host, _):
                name = await dial(host, listener)
                assert await ask(host, name, b"q") == b"answer to q"
                if number % 2:  # the others just fall silent
                    await host.disconnect(name)
            await until(lambda: listener.figures()["connections"] == 0)
        await until(lambda: listener.figures()["remembered"] <= 1)
        assert listener.figures()["routes"] == 0


async def test_one_more_than_may_connect_is_not_answered() -> None:
    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(open_host(SEED, HERE, answer, Limits(connections=3)))
        hosts = [(await stack.enter_async_context(stranger(number)))[0] for number in range(1, 5)]
        for host in hosts[:3]:
            await dial(host, listener)
        with trio.move_on_after(1.5) as scope:
            await dial(hosts[3], listener)
        assert scope.cancelled_caught
        assert listener.figures()["connections"] == 3
        assert listener.figures()["dropped connections"] >= 1


async def test_datagrams_beyond_the_rate_are_dropped() -> None:
    limits = Limits(datagrams_each=Rate(0.001, 5))
    async with open_host(SEED, HERE, answer, limits) as listener, stranger(1) as (host, _):
        with trio.move_on_after(1.5):
            await ask(host, await dial(host, listener), b"q")
        assert listener.figures()["dropped rate of a prefix"] >= 1


async def test_it_dials_nobody() -> None:
    pair = create_new_key_pair(SEED)
    transport = InboundTransport(pair.private_key, sock := bind(*HERE), Limits(), lambda _: None)
    with pytest.raises(OpenConnectionError):
        await transport.dial(Multiaddr("/ip6/::1/udp/1/quic-v1"))
    sock.close()


async def test_a_taken_port_is_named() -> None:
    async with open_host(SEED, HERE, answer) as listener:
        with pytest.raises(Refused) as refused:
            async with open_host(SEED, ("::1", listener.port), answer):
                pass
        assert refused.value.reason is Reason.PORT_IN_USE
