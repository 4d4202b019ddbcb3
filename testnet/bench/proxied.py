"""A testnet whose nodes reach each other through the proxy alone, for the length of a measurement or a test."""

import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import trio

from apps.token.messages import Transfer
from crypto.errors import Refused
from node.client import AsyncClient
from node.config import load_config, save_config
from node.home import Home
from node.wallet import message
from p2p.address import format_peer_address
from p2p.network import PeerAddress, PeerId
from state.types import NATIVE, Amount
from testnet.bench.temporary import connected
from testnet.create import create_network
from testnet.network import LocalNetwork
from testnet.proxy import HOST, ProxyThread, Weather, running_proxy
from testnet.purse import Purse
from testnet.senders import load_senders

CONNECT_TIMEOUT: Final = 120.0
"""Seconds within which all nodes find each other: handshakes take some round trips, and dialling again is patient."""
SENDERS: Final = 16


@dataclass(frozen=True, slots=True)
class Proxied:
    """A running network and what lies between its nodes."""

    network: LocalNetwork
    proxy: ProxyThread


@contextmanager
def proxied_network(size: int, weather: Weather) -> Iterator[Proxied]:
    """Make and start a network behind a proxy; stop and remove it at the end.

    Raises:
        Refused: NODE_DIED, TIMED_OUT.
    """
    root = Path(tempfile.mkdtemp(prefix="nexus-testnet-"))
    try:
        create_network(root, size, SENDERS)
        network = LocalNetwork(root)
        with running_proxy([member.listen_port for member in network.members], weather) as proxy:
            _lead_through(network, proxy)
            try:
                network.start_all()
                network.wait_until(lambda: connected(network), "the nodes find each other", CONNECT_TIMEOUT)
                yield Proxied(network, proxy)
            finally:
                LocalNetwork(root).stop_all()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _lead_through(network: LocalNetwork, proxy: ProxyThread) -> None:
    """Let every node dial the fronts of the others instead of their real ports."""
    for place, member in enumerate(network.members):
        peers = [
            format_peer_address(PeerAddress(PeerId(bytes.fromhex(other.peer_id)), HOST, proxy.fronts[place, number]))
            for number, other in enumerate(network.members) if number != place
        ]
        home = Home(network.home(member))
        config = load_config(home.config, {})
        save_config(home.config, msgspec.structs.replace(config, persistent_peers=tuple(peers)))


@dataclass(slots=True)
class Payments:
    """What became of payments: seconds from submission to the node's word that it is committed."""

    delays: list[float]
    refused: list[str]


async def pay_steadily(urls: list[str], keys_from: Path, count: int, pace: float, found: Payments) -> None:
    """Pay through nodes in turn, one payment every `pace` seconds, whether or not earlier ones are done."""
    dice = random.Random(1)
    keys = load_senders(keys_from, SENDERS)
    clients = [AsyncClient(url, timeout=90.0) for url in urls]
    async with trio.open_nursery() as nursery:
        idle, returned = trio.open_memory_channel[int](SENDERS)
        for number in range(SENDERS):
            idle.send_nowait(number)
        for _ in range(count):
            number = await returned.receive()
            purse = Purse("sender", keys[number], dice.choice(clients))
            nursery.start_soon(_pay, purse, number, idle, found)
            await trio.sleep(pace)


async def _pay(purse: Purse, number: int, idle: trio.MemorySendChannel[int], found: Payments) -> None:
    try:
        signed = await purse.signed_call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))
        begun = time.perf_counter()
        await purse.do(signed)
        found.delays.append(time.perf_counter() - begun)
    except Refused as refused:
        found.refused.append(str(refused))
    await idle.send(number)
