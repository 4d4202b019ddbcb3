"""What a peer gets that breaks the rules: its connection ends by name, and nobody else's."""

import os
import random
import socket
import struct
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from p2p.config import CoreName, Limits
from p2p.mesh import Mesh, open_network
from p2p.network import Channel, FrameReceived, PeerAddress, PeerConnected, PeerDisconnected, RequestReceived
from p2p.requests import MAX_CANCELLED
from p2p.stoq.auth import EXPORTER_LABEL, auth_digest, introduce
from p2p.stoq.channel import CREDIT, framed
from p2p.stoq.control import STOQ_VERSION, ControlMessage, Credit, Hello, Proof
from state.encoding import MAX_FRAME, encode
from testnet.attacks import stranger as attacker
from testnet.attacks.stranger import Stranger, stranger
from tests.p2p.nodes import CHAIN, next_event, node_id, node_key, settings, two_nodes, until

Cores = tuple[CoreName, CoreName]
CONSENSUS_STREAM, TRANSACTIONS_STREAM, SYNC_STREAM = 2, 6, 10


async def ending(party: Stranger) -> Reason:
    with trio.fail_after(60):
        await party.connection.gone.wait()
    return party.connection.ended[0]


def frame_of(size: int) -> bytes:
    return struct.pack(">I", size)


VIOLATIONS = {
    "frame over the cap": (CONSENSUS_STREAM, frame_of(MAX_FRAME + 1)),
    "huge frame": (TRANSACTIONS_STREAM, frame_of(0xFFFF_FFFF)),
    "empty frame": (TRANSACTIONS_STREAM, frame_of(0)),
    "short request frame": (SYNC_STREAM, framed(b"\x01\x00")),
    "unknown request kind": (SYNC_STREAM, framed(b"\x09\x00\x00\x00\x01")),
    "empty request": (SYNC_STREAM, framed(b"\x01\x00\x00\x00\x01")),
    "unknown stream": (18, b"x"),
    "second bidirectional stream": (4, b"x"),
    "second hello": (0, framed(encode(Proof(b"\x01" * 1281))) * 3),
    "falling credit": (0, framed(encode(Credit(1, 5)))),
    "more than the credit": (TRANSACTIONS_STREAM, frame_of(MAX_FRAME) + bytes(CREDIT)),
}


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_a_broken_rule_ends_that_connection_alone(listener: Cores, name: str) -> None:
    stream_id, data = VIOLATIONS[name]
    async with two_nodes(*listener) as (a, b), stranger(b, node_key(2), CHAIN, listener[0]) as party:
        await party.authenticate(b)
        party.write(stream_id, data)
        assert await ending(party) is Reason.PROTOCOL_VIOLATION
        gone = await next_event(b.consensus_events, PeerDisconnected)
        assert (gone.peer_id, gone.reason) == (node_id(2), Reason.PROTOCOL_VIOLATION)
        assert b.metrics.refusals[Reason.PROTOCOL_VIOLATION] == 1
        assert a.send(b.peer_id, Channel.CONSENSUS, b"alive")
        assert (await next_event(b.consensus_events, FrameReceived)).payload == b"alive"


@pytest.mark.parametrize("data", [b"\xc1", b"\x93\x01\x02", b"\x81\xa1a\x01", b"\x93\x03\x01\xcd\x00\x05"])
async def test_malformed_control_messages(listener: Cores, data: bytes) -> None:
    async with open_network(settings(listener[1]), node_key(1), CHAIN) as b:
        for first in (b"", b"authenticated"):
            async with stranger(b, SecretKey.generate(), CHAIN, listener[0]) as party:
                if first:
                    await party.authenticate(b)
                party.write(0, framed(data))
                assert await ending(party) in (Reason.MALFORMED, Reason.NOT_CANONICAL)


@pytest.mark.parametrize("stream_id", [CONSENSUS_STREAM, 14, 4])
async def test_nothing_is_taken_before_authentication(listener: Cores, stream_id: int) -> None:
    async with open_network(settings(listener[1]), node_key(1), CHAIN) as b:
        async with stranger(b, node_key(0), CHAIN, listener[0]) as party:
            party.write(stream_id, framed(b"early"))
            assert await ending(party) is Reason.PROTOCOL_VIOLATION
        async with stranger(b, node_key(0), CHAIN, listener[0]) as party:
            party.connection.say(Credit(1, 1 << 40))
            assert await ending(party) is Reason.PROTOCOL_VIOLATION
        assert b.consensus_events.statistics().current_buffer_used == 0


async def prove(party: Stranger, mesh: Mesh, role: str, exporter: bytes, signer: SecretKey) -> Reason:
    """Sign with chosen parts; return how it ended."""
    remote = await introduce(party.connection, party.identity, mesh.peer_id)
    theirs = Hello(1, CHAIN, remote.public_key, remote.instance, remote.port)
    signature = signer.sign(auth_digest(role, exporter, party.identity.hello, theirs))
    party.connection.say(Proof(signature))
    return await ending(party)


async def test_wrong_proofs_are_refused_by_name(cores: Cores) -> None:
    """Another key, another role, and the proof of another connection (a replay): never is the listener seen to sign."""
    async with open_network(settings(cores[1]), node_key(1), CHAIN) as b:
        async with stranger(b, node_key(0), CHAIN, cores[0]) as party:
            exporter = party.connection.core.export(b"EXPORTER-stoq-auth-1", b"")
            assert await prove(party, b, "dialer", exporter, node_key(3)) is Reason.BAD_SIGNATURE
        async with stranger(b, node_key(0), CHAIN, cores[0]) as party:
            replayed = exporter
            assert party.connection.core.export(b"EXPORTER-stoq-auth-1", b"") != replayed
            assert await prove(party, b, "dialer", replayed, node_key(0)) is Reason.BAD_SIGNATURE
        async with stranger(b, node_key(0), CHAIN, cores[0]) as party:
            exporter = party.connection.core.export(b"EXPORTER-stoq-auth-1", b"")
            assert await prove(party, b, "listener", exporter, node_key(0)) is Reason.BAD_SIGNATURE
        assert b.metrics.refusals[Reason.BAD_SIGNATURE] == 3
        assert b.peers() == () and b.metrics.handshakes == 0


async def test_a_byte_for_byte_replay_of_an_authentication_is_refused() -> None:
    """The recorded hello and proof of a true node, sent again over a new TLS session."""
    async with open_network(settings(), node_key(1), CHAIN) as b:
        async with stranger(b, node_key(0), CHAIN) as party:
            said: list[ControlMessage] = []
            say = party.connection.say

            def record(message: ControlMessage) -> None:
                said.append(message)
                say(message)

            party.connection.say = record  # type: ignore[method-assign]
            await party.authenticate(b)
            await until(lambda: len(b.peers()) == 1)
        await next_event(b.consensus_events, PeerDisconnected)
        async with stranger(b, node_key(5), CHAIN) as party:
            for message in said:
                party.connection.say(message)
            assert await ending(party) is Reason.BAD_SIGNATURE
        assert b.peers() == ()


async def test_wrong_versions_and_keys_are_named(cores: Cores) -> None:
    hello = Hello(1, CHAIN, node_key(0).public_key, bytes(16), 1)
    wrong = {
        Reason.WRONG_VERSION: replace_record(hello, version=9),
        Reason.WRONG_GENESIS: replace_record(hello, chain_id=b"\x33" * 32),
        Reason.BAD_KEY: replace_record(hello, public_key=b"\x02" + node_key(0).public_key[1:]),
        Reason.WRONG_PEER: replace_record(hello, public_key=node_key(1).public_key),
    }
    async with open_network(settings(cores[1]), node_key(1), CHAIN) as b:
        for reason, message in wrong.items():
            async with stranger(b, node_key(0), CHAIN, cores[0]) as party:
                party.connection.say(message)
                assert await ending(party) is reason
                assert b.metrics.refusals[reason] == 1


def replace_record(hello: Hello, **changes: object) -> Hello:
    fields = {name: getattr(hello, name) for name in hello.__struct_fields__}
    return Hello(**(fields | changes))


async def test_a_silent_stranger_is_put_out(
    cores: Cores, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the end of TLS nobody can be told a reason: however long it takes, the time is up only after it."""
    mock_clock.rate = 1.0
    monkeypatch.setattr(attacker, "IDLE", 600.0)
    timing = replace(settings().timing, handshake=60.0, idle=600.0)
    async with open_network(settings(cores[1], timing=timing), node_key(1), CHAIN) as b:
        async with stranger(b, node_key(0), CHAIN, cores[0]) as party:
            (inbound,) = b._endpoint._pending
            await inbound.handshaken.wait()
            assert not party.connection.gone.is_set()
            mock_clock.jump(timing.handshake)
            assert await ending(party) is Reason.TIMED_OUT
        assert b._endpoint._pending == {}


async def test_random_truncated_and_repeated_datagrams_change_nothing(cores: Cores) -> None:
    """Garbage of every shape, from a stranger and in the middle of a conversation."""
    dice = random.Random(7)
    async with two_nodes(*cores) as (a, b):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as raw:
            for number in range(600):
                size = dice.choice((1, 5, 40, 1200, 1232, 4000))
                data = bytearray(dice.randbytes(size))
                if number % 3 == 0 and size >= 1200:  # the look of a first packet
                    data[:6] = b"\xc3\x00\x00\x00\x01\x08"
                elif number % 3 == 1:  # the look of a known connection's packet
                    data[:9] = b"\x43" + dice.choice(list(b._endpoint._routes))
                raw.sendto(data, ("::1", b.port))
                if number % 50 == 0:
                    await trio.sleep(0.01)
                    assert a.send(b.peer_id, Channel.CONSENSUS, number.to_bytes(2, "big"))
                    event = await next_event(b.consensus_events, FrameReceived)
                    assert event.payload == number.to_bytes(2, "big")
        await until(lambda: b.metrics.dropped_datagrams > 100)
        assert len(b.peers()) == 1 and len(b._endpoint._connections) == 1
        assert b._endpoint._pending == {}


async def test_a_listener_that_answers_garbage_does_not_hurt_the_dialer(cores: Cores) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as raw:
        raw.bind(("::1", 0))
        raw.setblocking(False)
        sock = trio.socket.from_stdlib_socket(raw)
        from_here = raw.getsockname()[1]
        dice = random.Random(3)
        async with open_network(settings(cores[0]), node_key(0), CHAIN) as a, trio.open_nursery() as nursery:

            async def answer() -> None:
                while True:
                    data, sender = await sock.recvfrom(65536)
                    changed = bytearray(data)
                    changed[dice.randrange(len(changed))] ^= 0xFF
                    for reply in (os.urandom(len(data)), data, bytes(changed), data[: len(data) // 2]):
                        await sock.sendto(reply, sender)

            nursery.start_soon(answer)
            with pytest.raises(Refused) as refused:
                await a._dial(PeerAddress(node_id(3), "::1", from_here))
            # Its own first packet, sent back, begins a connection with itself: that is named too.
            assert refused.value.reason in (Reason.UNREACHABLE, Reason.HANDSHAKE_FAILED, Reason.WRONG_PEER)
            assert a.peers() == ()
            nursery.cancel_scope.cancel()


async def test_limits_on_requests_of_one_peer() -> None:
    async with (
        open_network(settings(limits=Limits(requests=3)), node_key(1), CHAIN) as b,
        stranger(b, node_key(0), CHAIN) as party,
    ):
        await party.authenticate(b)
        await next_event(b.consensus_events, PeerConnected)
        for number in range(4):
            party.write(SYNC_STREAM, framed(struct.pack(">BI", 1, number) + b"ask"))
        assert await ending(party) is Reason.PROTOCOL_VIOLATION


async def test_who_leaves_while_we_sign_does_no_harm(listener: Cores) -> None:
    """The proof takes a thread 12 ms: many leave in that time, each at another moment of it."""
    async with two_nodes(*listener) as (a, b):
        for number in range(12):
            async with stranger(b, node_key(2), CHAIN, listener[0]) as party:
                remote = await introduce(party.connection, party.identity, b.peer_id)
                exporter = party.connection.core.export(EXPORTER_LABEL, b"")
                theirs = Hello(STOQ_VERSION, CHAIN, remote.public_key, remote.instance, remote.port)
                message = auth_digest("dialer", exporter, party.identity.hello, theirs)
                party.connection.say(Proof(node_key(2).sign(message)))
                await trio.sleep(0.001 * number)
                party.connection.fail(Reason.CLOSING, "changed my mind")
        assert b.send(a.peer_id, Channel.CONSENSUS, b"alive")
        assert (await next_event(a.consensus_events, FrameReceived)).payload == b"alive"


async def test_who_asks_and_cancels_without_end_loses_the_connection() -> None:
    """Each cancelled request frees its place at once, so only what the node has not let go of yet can be counted."""
    pair = framed(struct.pack(">BI", 1, 7) + b"ask") + framed(struct.pack(">BI", 5, 7))
    async with open_network(settings(), node_key(1), CHAIN) as b, stranger(b, node_key(0), CHAIN) as party:
        await party.authenticate(b)
        for _ in range(MAX_CANCELLED):
            party.write(SYNC_STREAM, pair)
        replies = [(await next_event(b.bulk_events, RequestReceived)).reply for _ in range(MAX_CANCELLED)]
        await until(lambda: not any(reply.wanted for reply in replies))
        await replies[0].end()  # what is let go of does not count
        for reply in replies[1:9]:
            await reply.refuse(Reason.NOT_AVAILABLE, "nobody listens")
        for _ in range(9):
            party.write(SYNC_STREAM, pair)
        for _ in range(9):
            await next_event(b.bulk_events, RequestReceived)
        assert not party.connection.gone.is_set()
        party.write(SYNC_STREAM, pair)
        assert await ending(party) is Reason.PROTOCOL_VIOLATION


async def test_a_refusal_to_somebody_who_goes_meanwhile_is_no_fault() -> None:
    async with (
        open_network(settings(limits=Limits(sync_queue=1 << 16)), node_key(1), CHAIN) as b,
        stranger(b, node_key(0), CHAIN) as party,
    ):
        await party.authenticate(b)
        party.write(SYNC_STREAM, framed(struct.pack(">BI", 1, 1) + b"ask"))
        reply = (await next_event(b.bulk_events, RequestReceived)).reply
        with trio.move_on_after(0.5):
            for _ in range(64):
                await reply.send(bytes(1 << 18))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reply.refuse, Reason.NOT_AVAILABLE, "the block is gone")
            await trio.sleep(0.1)
            party.connection.fail(Reason.CLOSING, "enough")
        assert not reply.wanted
