"""Two connections with one peer, and a peer that comes back."""

from contextlib import suppress

import pytest
import trio

from crypto.errors import Reason, Refused
from p2p.config import CoreName
from p2p.mesh import open_network
from p2p.network import Channel, FrameReceived, PeerAddress, PeerConnected, PeerDisconnected
from p2p.stoq.endpoint import bind
from tests.p2p.nodes import CHAIN, address_of, next_event, node_id, node_key, settings, two_nodes, until

Cores = tuple[CoreName, CoreName]


def free_port() -> int:
    sock = bind("::1", 0)
    with sock:
        return int(sock.getsockname()[1])


async def test_of_crossed_dials_the_smaller_ids_stays(cores: Cores) -> None:
    first, second = cores
    ports = free_port(), free_port()
    async with (
        open_network(
            settings(first, PeerAddress(node_id(1), "::1", ports[1]), port=ports[0]), node_key(0), CHAIN
        ) as a,
        open_network(
            settings(second, PeerAddress(node_id(0), "::1", ports[0]), port=ports[1]), node_key(1), CHAIN
        ) as b,
    ):
        with suppress(Refused):
            await b._dial(address_of(a))  # at once, without the wait that avoids it
        await until(lambda: bool(a.peers() and b.peers()) and not a.peers()[0].inbound and b.peers()[0].inbound)
        await trio.sleep(0.4)
        assert [peer.inbound for peer in a.peers()] == [False]
        assert [peer.inbound for peer in b.peers()] == [True]
        assert a.send(b.peer_id, Channel.CONSENSUS, b"over the one that stayed")
        assert (await next_event(b.consensus_events, FrameReceived)).payload == b"over the one that stayed"


async def test_a_dial_by_the_larger_id_does_not_replace(cores: Cores) -> None:
    async with two_nodes(*cores) as (a, b):
        with pytest.raises(Refused) as refused:
            await b._dial(address_of(a))
        assert refused.value.reason is Reason.REPLACED
        assert [peer.inbound for peer in b.peers()] == [True]
        assert a.send(b.peer_id, Channel.CONSENSUS, b"still the first")
        assert (await next_event(b.consensus_events, FrameReceived)).payload == b"still the first"


async def test_a_second_dial_by_the_same_side_replaces(cores: Cores) -> None:
    async with two_nodes(*cores) as (a, b):
        await a._dial(address_of(b))
        for mesh in (a, b):
            assert (await next_event(mesh.consensus_events, PeerDisconnected)).reason is Reason.REPLACED
            await next_event(mesh.consensus_events, PeerConnected)
        await until(lambda: len(a.peers()) == len(b.peers()) == 1)
        assert a.send(b.peer_id, Channel.CONSENSUS, b"over the new one")
        assert (await next_event(b.consensus_events, FrameReceived)).payload == b"over the new one"


async def test_a_restarted_peer_is_heard_at_once(cores: Cores) -> None:
    """The peer dies without a word, and its successor has the larger id and dials: the stale connection must yield."""
    first, second = cores
    async with open_network(settings(first), node_key(0), CHAIN) as a:
        for number in range(3):
            async with open_network(settings(second, address_of(a)), node_key(1), CHAIN) as b:
                await next_event(a.consensus_events, PeerConnected)
                await next_event(b.consensus_events, PeerConnected)
                assert b.send(a.peer_id, Channel.CONSENSUS, bytes([number]))
                assert (await next_event(a.consensus_events, FrameReceived)).payload == bytes([number])
                b._endpoint._socket.close()  # as a kill: nothing leaves any more
                b._endpoint._connections.clear()
                b._nursery.cancel_scope.cancel()
        assert a.metrics.handshakes == 3
        assert a.metrics.refusals[Reason.REPLACED] == 2
