"""A connection that has ended holds no memory: no garbage collection is needed to get it back."""

import gc
import struct
import weakref
from collections.abc import Iterator

import pytest
import trio

from crypto.errors import Reason, Refused
from p2p import stalls
from p2p.config import CoreName
from p2p.mesh import Mesh, open_network
from p2p.network import Channel, PeerConnected, PeerDisconnected, RequestReceived
from p2p.stoq.auth import EXPORTER_LABEL
from p2p.stoq.channel import framed
from p2p.stoq.connection import Connection
from p2p.stoq.tls import GROUP
from p2p.wire import GetStatus
from state.encoding import MAX_FRAME, encode
from testnet.attacks.peers import ASK
from testnet.attacks.raid import OURS
from testnet.attacks.stranger import stranger
from tests.p2p.nodes import CHAIN, next_event, node_key, settings, two_nodes, until

Cores = tuple[CoreName, CoreName]


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def only_connection(mesh: Mesh) -> Connection:
    (peer,) = mesh._live.values()
    return peer.connection


@pytest.mark.usefixtures("no_collection")
async def test_both_cores_are_freed_by_reference_counts_alone(cores: Cores) -> None:
    async with two_nodes(*cores) as (a, b):
        ends = [only_connection(mesh) for mesh in (a, b)]
        cores_of = [weakref.ref(end.core.quic) for end in ends]  # type: ignore[attr-defined]
        contexts = [weakref.ref(end.core.quic.tls) for end in ends]  # type: ignore[attr-defined]
        assert all(one() is not None for one in (*cores_of, *contexts))
        ends[0].fail(Reason.CLOSING, "enough")
        await until(lambda: all(one() is None for one in (*cores_of, *contexts)))
        for end in ends:
            assert end.ended[0] is Reason.CLOSING
            assert end.core.group == GROUP
            assert end.core.rtt == 0.0
            assert end.core.closed is not None
            with pytest.raises(Refused) as caught:
                end.core.export(EXPORTER_LABEL, b"")
            assert caught.value.reason is Reason.CONNECTION_LOST


@pytest.mark.usefixtures("no_collection")
async def test_a_broken_handshake_leaves_nothing(cores: Cores) -> None:
    dialer, listener = cores
    async with (
        open_network(settings(listener), node_key(1), CHAIN) as b,
        stranger(b, node_key(0), CHAIN, core=dialer) as party,
    ):
        await until(lambda: len(b._endpoint._connections) == 1)
        (held,) = b._endpoint._connections
        core = weakref.ref(held.core.quic)  # type: ignore[attr-defined]
        del held
        party.connection.fail(Reason.CLOSING, "never mind")
        await until(lambda: core() is None)


@pytest.mark.usefixtures("no_collection")
async def test_a_peer_that_leaves_is_freed_by_reference_counts_alone() -> None:
    async with open_network(settings(), node_key(1), CHAIN) as b, stranger(b, node_key(0), CHAIN) as party:
        await party.authenticate(b)
        await next_event(b.consensus_events, PeerConnected)
        held = [weakref.ref(one) for peer in b._live.values() for one in (peer, peer.requests)]
        await until(lambda: bool(only_connection(b)._receivers))
        party.write(OURS[Channel.SYNC], framed(encode(GetStatus()), struct.pack(">BI", ASK, 1)))
        asked = await next_event(b.bulk_events, RequestReceived)
        assert asked.reply.wanted  # and nobody answers it
        party.connection.fail(Reason.CLOSING, "that was all")
        await next_event(b.consensus_events, PeerDisconnected)
        assert not asked.reply.wanted
        del asked
        await until(lambda: all(one() is None for one in held))  # its connection may be the last that the pump saw


async def test_bytes_of_an_unfinished_frame_go_with_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalls, "SLOWEST", 0.5)
    async with open_network(settings(), node_key(1), CHAIN) as b, stranger(b, node_key(0), CHAIN) as party:
        await party.authenticate(b)
        await next_event(b.consensus_events, PeerConnected)
        end = only_connection(b)
        party.write(6, struct.pack(">I", MAX_FRAME) + bytes(100_000))
        await until(lambda: Channel.TRANSACTIONS in end.unfinished())
        await until(end.gone.is_set)
        assert end.ended[0] is Reason.TIMED_OUT
        assert end.unfinished() == {}
        with trio.fail_after(10):
            await party.connection.gone.wait()
