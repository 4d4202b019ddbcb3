"""Loss, reordering, silence and a cut road."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from crypto.errors import Reason
from p2p.config import CoreName
from p2p.mesh import Mesh, open_network
from p2p.network import Channel, FrameReceived, PeerAddress, PeerConnected, PeerDisconnected
from tests.p2p.nodes import CHAIN, QUICK, next_event, node_key, settings
from tests.p2p.udp_proxy import Road

Cores = tuple[CoreName, CoreName]
PATIENT = replace(QUICK, handshake=20.0, idle=20.0)


@asynccontextmanager
async def over(road: Road, cores: Cores, timing: object = PATIENT) -> AsyncIterator[tuple[Mesh, Mesh]]:
    dialer, listener = cores
    async with trio.open_nursery() as nursery:
        async with open_network(settings(listener, timing=timing), node_key(1), CHAIN) as b:
            await nursery.start(road.run, b.port)
            address = PeerAddress(b.peer_id, "::1", road.port)
            async with open_network(settings(dialer, address, timing=timing), node_key(0), CHAIN) as a:
                await next_event(a.consensus_events, PeerConnected, 30)
                await next_event(b.consensus_events, PeerConnected, 30)
                yield a, b
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
async def test_everything_arrives_in_order_over_a_bad_road(cores: Cores, seed: int) -> None:
    road = Road(loss=0.05, shuffle=0.1, seed=seed)
    async with over(road, cores) as (a, b):
        payloads = [bytes([number]) * (1 + number * 2000) for number in range(30)]

        async def send(sender: Mesh, receiver: Mesh) -> None:
            for payload in payloads:
                while not sender.send(receiver.peer_id, Channel.CONSENSUS, payload):
                    await trio.sleep(0.01)

        async def check(receiver: Mesh) -> None:
            for payload in payloads:
                assert (await next_event(receiver.consensus_events, FrameReceived, 60)).payload == payload

        async with trio.open_nursery() as nursery:
            for one, other in ((a, b), (b, a)):
                nursery.start_soon(send, one, other)
                nursery.start_soon(check, one)
        assert road.dropped > 0
        assert len(a.peers()) == len(b.peers()) == 1


async def test_a_long_silence_keeps_the_connection(cores: Cores) -> None:
    timing = replace(QUICK, idle=1.5, keep_alive=0.2)
    async with over(Road(), cores, timing) as (a, b):
        await trio.sleep(3.0)
        assert a.metrics.handshakes == b.metrics.handshakes == 1
        assert a.send(b.peer_id, Channel.CONSENSUS, b"still here")
        assert (await next_event(b.consensus_events, FrameReceived)).payload == b"still here"


async def test_a_cut_road_is_noticed_and_mended(cores: Cores) -> None:
    road = Road()
    timing = replace(QUICK, idle=0.8, keep_alive=0.2, handshake=1.0)
    async with over(road, cores, timing) as (a, b):
        road.cut = True
        for mesh in (a, b):
            lost = await next_event(mesh.consensus_events, PeerDisconnected)
            assert lost.reason is Reason.CONNECTION_LOST
        road.cut = False
        for mesh in (a, b):
            await next_event(mesh.consensus_events, PeerConnected)
        assert b.send(a.peer_id, Channel.CONSENSUS, b"again")
        assert (await next_event(a.consensus_events, FrameReceived)).payload == b"again"
