"""Two real nodes on ::1, over each QUIC core and across them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import trio

from crypto.keys import SecretKey
from p2p.address import peer_id_of
from p2p.config import CoreName, NetworkConfig, Timing
from p2p.mesh import Mesh, open_network
from p2p.network import NetworkEvent, PeerAddress, PeerConnected, PeerId
from state.types import ChainId

CHAIN = ChainId(b"\x11" * 32)
OTHER_CHAIN = ChainId(b"\x22" * 32)
QUICK = Timing(handshake=3.0, idle=1.5, keep_alive=0.3, redial_least=0.05, redial_most=0.3)


@cache
def node_key(index: int) -> SecretKey:
    """A node key that is the same throughout a test run; key 0 has the smallest node id."""
    return _keys()[index]


def node_id(index: int) -> PeerId:
    return peer_id_of(node_key(index).public_key)


@cache
def _keys() -> list[SecretKey]:
    return sorted((SecretKey.generate() for _ in range(6)), key=lambda key: peer_id_of(key.public_key))


def settings(core: CoreName = CoreName.QH3, *dial: PeerAddress, **changes: Any) -> NetworkConfig:
    return replace(NetworkConfig(host="::1", core=core, persistent=dial, timing=QUICK), **changes)


def address_of(mesh: Mesh) -> PeerAddress:
    return PeerAddress(mesh.peer_id, "::1", mesh.port)


async def next_event(events: trio.MemoryReceiveChannel[NetworkEvent], kind: type[Any], seconds: float = 60.0) -> Any:
    """Return the next event of a kind; others before it are dropped."""
    with trio.fail_after(seconds):
        while True:
            event = await events.receive()
            if isinstance(event, kind):
                return event


@asynccontextmanager
async def two_nodes(
    dialer: CoreName = CoreName.QH3, listener: CoreName = CoreName.QH3, **changes: Any
) -> AsyncIterator[tuple[Mesh, Mesh]]:
    """The dialer and the listener, connected. `changes` go to both configurations."""
    async with (
        open_network(settings(listener, **changes), node_key(1), CHAIN) as b,
        open_network(settings(dialer, address_of(b), **changes), node_key(0), CHAIN) as a,
    ):
        await next_event(a.consensus_events, PeerConnected)
        await next_event(b.consensus_events, PeerConnected)
        yield a, b


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something that is bound to happen. The bound costs time only where something is wrong."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.01)
