"""Real processes that are not all peers of each other: a restarted validator without one link, one behind two sentries.

What counts is what the blocks say: whose precommits they include, and that nobody is jailed. One of four validators is
dead all the while, so a block needs the votes of all the others, and whoever gets them late is late with every block.
"""

import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from apps.token.messages import Transfer
from crypto.errors import Refused
from node.api.methods import GetStatus, QueryModule
from node.client import AsyncClient, Client
from node.config import load_config, save_config
from node.home import Home
from node.keystore import Keystore
from node.wallet import message
from state.params import ChainParams, SecurityParams, StakingParams
from state.types import NATIVE, Amount
from testnet.create import WALLET_PASSWORD, Rules, add_node, create_network
from testnet.network import LocalNetwork
from testnet.purse import Purse

pytestmark = pytest.mark.network

WINDOW = 16
RULES = Rules(
    chain=ChainParams(evidence_window=1_000),
    security=SecurityParams(evidence_age=10_000, unbonding=4_000, trust_period=3_000, epoch_length=1_000),
    staking=StakingParams(unbonding_blocks=8, downtime_window=WINDOW, min_signed=5_000, jail_blocks=4),
)


def settle(network: LocalNetwork, name: str, role: str, peers: Sequence[str]) -> None:
    """Give a node its role and its peers, before it starts."""
    home = Home(network.home(network.member(name)))
    places = tuple(f"{one.peer_id}@[::1]:{one.listen_port}" for one in map(network.member, peers))
    save_config(home.config, replace(load_config(home.config, {}), role=role, persistent_peers=places))


def peers(network: LocalNetwork, name: str) -> int:
    """Return how many peers a node has; -1 while it does not answer."""
    try:
        with Client(network.member(name).url) as client:
            return int(client.ask(GetStatus()).peers)
    except Refused:
        return -1


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nexus-links-") as folder:
        yield Path(folder) / "net"


async def pay(network: LocalNetwork, client: AsyncClient, payments: int) -> None:
    """Pay at the node of a client, one after the other."""
    key = Keystore(network.root / "wallets" / "keys").open("faucet", WALLET_PASSWORD).key
    faucet = Purse("faucet", key, client)
    for _ in range(payments):
        await faucet.call(message("token/transfer", Transfer(NATIVE, faucet.address, Amount(1))))


async def check_present(client: AsyncClient) -> None:
    """Nobody but the dead one is jailed, and the last commits in blocks hold nearly all precommits of the others."""
    height = int((await client.ask(GetStatus())).height)
    for one in await ask(client, "staking/validators"):
        info = await ask(client, "slashing/info", operator=one["operator"])
        if one["moniker"] != "node3":
            assert not info["jailed"]
            # counted up to the last one that it missed
            assert int(info["missed"]) <= 2 or int(info["last_missed"]) <= height - WINDOW


async def ask(client: AsyncClient, name: str, **parameters: str) -> Any:
    return (await client.ask(QueryModule(name=name, parameters=parameters))).value


async def test_a_validator_that_restarts_without_one_link_is_not_jailed(root: Path) -> None:
    create_network(root, 4, senders=0, rules=RULES)
    network = LocalNetwork(root)
    settle(network, "node0", "validator", ["node2", "node3"])
    settle(network, "node1", "validator", ["node2", "node3"])
    try:
        network.start_all()
        network.wait_until(lambda: peers(network, "node1") == 2, "two connections")
        async with AsyncClient(network.member("node1").url) as client:
            await pay(network, client, 3)
            network.stop("node0", signal.SIGKILL)
            await pay(network, client, 2)
            network.start("node0")
            network.wait_until(lambda: peers(network, "node0") == 2, "two connections")
            network.stop("node3", signal.SIGKILL)
            await pay(network, client, WINDOW + 4)
            await check_present(client)
    finally:
        network.stop_all()


async def test_a_validator_behind_sentries_signs_every_height(root: Path) -> None:
    create_network(root, 4, senders=0, rules=RULES)
    for _ in range(2):
        add_node(root)
    network = LocalNetwork(root)
    sentries, others = ["node4", "node5"], ["node1", "node2", "node3"]
    settle(network, "node0", "guarded", sentries)
    for name in others:
        settle(network, name, "validator", [*sentries, *(other for other in others if other != name)])
    for name in sentries:
        settle(network, name, "sentry", ["node0", *others, *(other for other in sentries if other != name)])
    try:
        for member in network.members:
            network.start(member.name)
        network.wait_until(lambda: peers(network, "node0") == 2 and peers(network, "node1") == 4, "the connections")
        async with AsyncClient(network.member("node1").url) as client:
            await pay(network, client, 4)
            network.stop("node3", signal.SIGKILL)
            await pay(network, client, WINDOW + 4)
            await check_present(client)
            network.stop("node4", signal.SIGKILL)
            await pay(network, client, WINDOW + 4)
            await check_present(client)
    finally:
        network.stop_all()
