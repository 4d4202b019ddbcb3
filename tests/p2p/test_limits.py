"""Address validation under load, connection limits, and memory under a slow reader."""

import socket
import struct
from contextlib import AsyncExitStack

import pytest
import trio

from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from p2p.config import CoreName, Limits, Timing
from p2p.mesh import open_network
from p2p.network import Channel, FrameReceived, PeerConnected, RequestReceived
from p2p.prefix import prefix_of
from p2p.stoq import endpoint
from p2p.stoq.channel import CREDIT
from p2p.stoq.endpoint import bind
from p2p.stoq.retry import TOKEN_LIFE, RetryTokens
from state.encoding import MAX_FRAME
from testnet.attacks.stranger import band, stranger
from tests.p2p.nodes import CHAIN, address_of, next_event, node_key, settings, two_nodes, until

Cores = tuple[CoreName, CoreName]


async def test_a_newcomer_proves_its_address_when_many_wait(cores: Cores) -> None:
    dialer, listener = cores
    limits = Limits(retry_above=1)
    async with (
        open_network(settings(listener, limits=limits), node_key(1), CHAIN) as b,
        stranger(b, node_key(2), CHAIN),
        stranger(b, node_key(3), CHAIN),
    ):
        assert b.metrics.retries == 0
        async with open_network(settings(dialer, address_of(b)), node_key(0), CHAIN) as a:
            await next_event(a.consensus_events, PeerConnected)
            assert b.metrics.retries > 0
            assert a.metrics.refusals == {}


async def test_a_retry_is_stateless_and_cannot_be_forged() -> None:
    async with (
        open_network(settings(limits=Limits(retry_above=-1)), node_key(1), CHAIN) as b,
        open_network(settings(CoreName.QH3, address_of(b)), node_key(0), CHAIN) as a,
    ):
        await next_event(a.consensus_events, PeerConnected)
        assert b.metrics.retries > 0
        assert a.metrics.refusals == {}
        forged = b"\xc3" + struct.pack(">IB", 1, 8) + bytes(8) + b"\x08" + bytes(8) + b"\x40\x40" + bytes(64)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as raw:
            for _ in range(100):
                raw.sendto(forged + b"\x44\x00" + bytes(1300), ("::1", b.port))
            before = b.metrics.retries
            await until(lambda: b.metrics.retries > before + 50)
        assert len(b._endpoint._connections) == 1


def test_tokens_are_for_one_address_one_id_and_a_short_time() -> None:
    tokens = RetryTokens()
    here, there = ("::1", 5, 0, 0), ("::1", 6, 0, 0)
    token = tokens.make(here, b"original", b"retryid1", 100.0)
    assert tokens.check(token, here, b"retryid1", 100.0) == b"original"
    assert tokens.check(token, here, b"retryid1", 100.0 + TOKEN_LIFE) == b"original"
    assert tokens.check(token, here, b"retryid1", 100.1 + TOKEN_LIFE) is None
    assert tokens.check(token, there, b"retryid1", 100.0) is None
    assert tokens.check(token, here, b"retryid2", 100.0) is None
    assert RetryTokens().check(token, here, b"retryid1", 100.0) is None
    for place in range(len(token)):
        changed = token[:place] + bytes([token[place] ^ 1]) + token[place + 1 :]
        assert tokens.check(changed, here, b"retryid1", 100.0) is None
        assert tokens.check(token[:place], here, b"retryid1", 100.0) is None


async def test_pending_handshakes_are_bounded(cores: Cores) -> None:
    patient = settings(cores[1], limits=Limits(pending=3, retry_above=100), timing=Timing(handshake=60.0))
    async with open_network(patient, node_key(1), CHAIN) as b, trio.open_nursery() as nursery:

        async def linger() -> None:
            async with stranger(b, SecretKey.generate(), CHAIN, cores[0]):
                await trio.sleep_forever()

        for _ in range(6):
            nursery.start_soon(linger)
        await until(lambda: b.metrics.refusals.get(Reason.TOO_MANY_CONNECTIONS, 0) > 0)
        assert len(b._endpoint._pending) == 3
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("crowd", [4, 1])
async def test_handshakes_held_open_from_a_few_prefixes_keep_nobody_out(
    monkeypatch: pytest.MonkeyPatch, crowd: int
) -> None:
    """All places are taken, `crowd` of them by each prefix, for a minute: who comes from elsewhere gets the oldest."""
    homes: dict[int, str] = {}
    monkeypatch.setattr(endpoint, "prefix_group", lambda _host, _exempt, port: homes.setdefault(port, "elsewhere"))
    limits = Limits(pending=8, per_prefix=crowd, retry_above=100, loopback_exempt=False)
    patient = settings(limits=limits, timing=Timing(handshake=60.0))
    async with open_network(patient, node_key(1), CHAIN) as b, AsyncExitStack() as stack:
        place = b._endpoint
        for number in range(8):
            sock = bind("::1", 0)
            homes[sock.getsockname()[1]] = f"crowd{number // crowd}"
            strangers = await stack.enter_async_context(band(b, CHAIN, sock=sock))
            await strangers.dial(node_key(2))
        first, *others = place._pending
        async with open_network(settings(CoreName.QH3, address_of(b)), node_key(0), CHAIN) as a:
            await next_event(a.consensus_events, PeerConnected)
            assert b.metrics.retries > 0  # it had to prove its address before anybody lost a place for it
        assert first.ended == (Reason.TOO_MANY_CONNECTIONS, first.ended[1])
        assert list(place._pending) == others
        assert place._pending_prefixes.total() == 7


async def test_who_has_begun_just_now_or_comes_from_the_crowd_itself_gets_no_place_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    homes: dict[int, str] = {}
    monkeypatch.setattr(endpoint, "prefix_group", lambda _host, _exempt, port: homes.setdefault(port, "crowd"))
    monkeypatch.setattr(endpoint, "UNDISTURBED", 0.0)
    limits = Limits(pending=2, per_prefix=8, retry_above=100, loopback_exempt=False)
    patient = settings(limits=limits, timing=Timing(handshake=60.0))
    async with open_network(patient, node_key(1), CHAIN) as b, AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(stranger(b, node_key(2), CHAIN))
        held = list(b._endpoint._pending)

        async def knock() -> None:
            before = b.metrics.refusals.get(Reason.TOO_MANY_CONNECTIONS, 0)
            async with open_network(settings(CoreName.QH3, address_of(b)), node_key(0), CHAIN):
                await until(lambda: b.metrics.refusals.get(Reason.TOO_MANY_CONNECTIONS, 0) > before)
            assert list(b._endpoint._pending) == held

        await knock()  # of the crowd
        monkeypatch.setattr(endpoint, "UNDISTURBED", 60.0)
        monkeypatch.setattr(endpoint, "prefix_group", lambda _host, _exempt, _port: "elsewhere")
        await knock()


@pytest.mark.parametrize("limits", [Limits(inbound=2), Limits(per_prefix=2, loopback_exempt=False)])
async def test_one_connection_too_many_is_told_so(cores: Cores, limits: Limits) -> None:
    dialer, listener = cores
    async with open_network(settings(listener, limits=limits), node_key(1), CHAIN) as b:
        config = settings(dialer, address_of(b))
        async with open_network(config, node_key(0), CHAIN) as a, open_network(config, node_key(2), CHAIN) as c:
            for mesh in (a, c):
                await next_event(mesh.consensus_events, PeerConnected)
            async with open_network(config, node_key(3), CHAIN) as d:
                await until(lambda: b.peer_id in d.dial_failures)
                assert d.dial_failures[b.peer_id].reason is Reason.TOO_MANY_CONNECTIONS
                assert len(b.peers()) == 2
    async with (
        open_network(settings(listener, limits=Limits(per_prefix=1)), node_key(1), CHAIN) as b,
        open_network(settings(dialer, address_of(b)), node_key(0), CHAIN) as a,
        open_network(settings(dialer, address_of(b)), node_key(2), CHAIN) as c,
    ):  # the loopback is exempt by the named parameter
        await next_event(a.consensus_events, PeerConnected)
        await next_event(c.consensus_events, PeerConnected)


async def test_outbound_connections_are_bounded() -> None:
    async with (
        open_network(settings(), node_key(1), CHAIN) as b,
        open_network(settings(limits=Limits(outbound=0)), node_key(0), CHAIN) as a,
    ):
        with pytest.raises(Refused) as refused:
            await a._dial(address_of(b))
        assert refused.value.reason is Reason.TOO_MANY_CONNECTIONS


def test_prefixes() -> None:
    assert prefix_of("2001:db8:1:2:3:4:5:6") == prefix_of("2001:db8:1:2::9") == "2001:db8:1:2::"
    assert prefix_of("fe80::1%eth0") == "fe80::"
    assert prefix_of("::1") == "::"


async def test_a_reader_that_sleeps_holds_a_bounded_number_of_bytes(cores: Cores) -> None:
    """Windows open on reading, not on arrival: the rest waits at the sender, whose queue then says no."""
    limits = Limits(transactions_queue=6 << 20)
    async with two_nodes(*cores, limits=limits) as (a, b):
        payload = bytes(256 << 10)
        refused_in_a_row = 0
        while refused_in_a_row < 40:
            accepted_now = a.send(b.peer_id, Channel.TRANSACTIONS, payload)
            refused_in_a_row = 0 if accepted_now else refused_in_a_row + 1
            await trio.sleep(0 if accepted_now else 0.01)
        inbox = b._live[a.peer_id].connection._inboxes[Channel.TRANSACTIONS]
        slots = b.bulk_events.statistics().current_buffer_used
        assert slots == b.bulk_events.statistics().max_buffer_size
        assert CREDIT // 2 < len(inbox._buffer) <= CREDIT
        assert not a.send(b.peer_id, Channel.TRANSACTIONS, payload)
        assert a.metrics.dropped_frames[Channel.TRANSACTIONS] > 0
        assert a.send(b.peer_id, Channel.CONSENSUS, b"a vote passes")
        assert (await next_event(b.consensus_events, FrameReceived)).payload == b"a vote passes"
        accepted = a.metrics.frames_sent[Channel.TRANSACTIONS]
        for _ in range(accepted):
            assert (await next_event(b.bulk_events, FrameReceived)).payload == payload
        assert a.send(b.peer_id, Channel.TRANSACTIONS, b"room again")
        assert (await next_event(b.bulk_events, FrameReceived)).payload == b"room again"


async def test_an_answer_waits_for_a_slow_asker(cores: Cores) -> None:
    sent = 0

    async def serve(event: RequestReceived) -> None:
        nonlocal sent
        for _ in range(12):
            await event.reply.send(bytes(MAX_FRAME - 5))
            sent += 1
        await event.reply.end()

    async with two_nodes(*cores, limits=Limits(sync_queue=2 << 20)) as (a, b), trio.open_nursery() as nursery:
        asked = a.request(b.peer_id, b"much", 10)

        async def begin() -> None:
            await serve(await next_event(b.bulk_events, RequestReceived))

        nursery.start_soon(begin)
        await anext(asked)
        await trio.sleep(0.4)
        assert sent <= 1 + (CREDIT + (2 << 20)) // MAX_FRAME + 2
        assert len([frame async for frame in asked]) == 11
        assert sent == 12


async def test_votes_pass_bulk(cores: Cores) -> None:
    """With the bulk queue full, a vote arrives before the bulk that was queued before it."""
    async with two_nodes(*cores) as (a, b):
        for _ in range(3):
            assert a.send(b.peer_id, Channel.TRANSACTIONS, bytes(MAX_FRAME))
        assert a.send(b.peer_id, Channel.CONSENSUS, b"vote")
        await next_event(b.consensus_events, FrameReceived)
        assert b.bulk_events.statistics().current_buffer_used < 3
