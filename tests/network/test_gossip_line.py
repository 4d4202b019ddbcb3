"""Validators - sentry - full node - full node, all real processes: what enters at the far end reaches a block."""

import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from apps.token.messages import Transfer
from node.admin import AnnounceLearning, BanPeer, FindPeer, ShowGossip, ask_gossip, ask_peers
from node.api.methods import GetBlock
from node.client import AsyncClient
from node.keystore import Keystore
from node.wallet import message
from p2p.gossip.topics import Topic
from state.types import NATIVE, Amount
from testnet.create import WALLET_PASSWORD
from testnet.network import LocalNetwork
from testnet.purse import Purse
from tests.network.lines import connected, gossiping, home_of, network_of, place, settle

pytestmark = pytest.mark.network

VALIDATORS = ("node0", "node1")
SENTRY, NEAR, FAR = "node2", "node3", "node4"


@pytest.fixture
def line() -> Iterator[LocalNetwork]:
    with tempfile.TemporaryDirectory(prefix="nexus-line-") as folder:  # the operator's sockets need a short path
        network = made(Path(folder) / "net")
        try:
            for member in network.members:
                network.start(member.name, "--sync", "blocks")
            yield network
        finally:
            network.stop_all()


def made(root: Path) -> LocalNetwork:
    network = network_of(root, validators=2, others=3)
    for name, other in (VALIDATORS, VALIDATORS[::-1]):
        settle(network, name, "validator", (other,))
    settle(network, SENTRY, "sentry", VALIDATORS)
    settle(network, NEAR, "full", (SENTRY,))
    settle(network, FAR, "full", (NEAR,))
    return network


def keep_apart(network: LocalNetwork) -> None:
    """Let the far node know the near one alone, whatever it hears of others."""
    far = home_of(network, FAR).admin
    for name in (*VALIDATORS, SENTRY):
        ask_peers(far, BanPeer(network.member(name).peer_id))
    near = home_of(network, NEAR).admin
    for name in VALIDATORS:
        ask_peers(near, BanPeer(network.member(name).peer_id))


async def test_a_transaction_two_hops_from_any_validator_reaches_a_block(line: LocalNetwork) -> None:
    line.wait_until(lambda: all(home_of(line, member.name).admin.exists() for member in line.members), "all run", 60)
    keep_apart(line)
    line.wait_until(lambda: connected(line, FAR) == {NEAR} and connected(line, NEAR) == {SENTRY, FAR}, "a line", 60)
    line.wait_until(lambda: gossiping(line, NEAR) == 2 and gossiping(line, FAR) == 1, "gossip", 60)
    far = line.member(FAR)
    faucet = Keystore(line.root / "wallets" / "keys").open("faucet", WALLET_PASSWORD).key
    took = []
    async with AsyncClient(far.url) as client:
        purse = Purse("faucet", faucet, client)
        for _number in range(4):
            begun = time.monotonic()
            receipt = await purse.do(await purse.signed_call(
                message("token/transfer", Transfer(NATIVE, purse.address, Amount(1)))
            ))
            took.append(round(time.monotonic() - begun, 2))
            assert connected(line, FAR) == {NEAR}
            async with AsyncClient(line.members[0].url) as validator:  # the same block, made by validators
                mine = await client.ask(GetBlock(height=str(receipt.height)))
                assert (await validator.ask(GetBlock(height=str(receipt.height)))).header == mine.header
            await trio.sleep(1.5)
    logging.getLogger(__name__).info("seconds to a block, as the far node sees it: %s", took)
    reports = {
        name: ask_gossip(home_of(line, name).admin, ShowGossip()) for name in (SENTRY, NEAR, FAR)
    }
    assert reports[FAR].sent[Topic.TRANSACTIONS] >= 4
    assert reports[SENTRY].delivered[Topic.TRANSACTIONS] >= 4
    assert reports[FAR].delivered[Topic.BLOCKS] >= 4
    assert not any(report.drops or report.invalid for report in reports.values())
    quiet = ask_gossip(home_of(line, VALIDATORS[0]).admin, ShowGossip())
    assert not quiet.running  # a validator needs no libp2p

    # an announcement of federated learning, and the DHT
    order = AnnounceLearning("11" * 32, 7, 2, "22" * 32, 1000)
    ask_gossip(home_of(line, FAR).admin, order)
    line.wait_until(
        lambda: ask_gossip(home_of(line, SENTRY).admin, ShowGossip()).learning != [], "learning", 30
    )
    (heard,) = ask_gossip(home_of(line, SENTRY).admin, ShowGossip()).learning
    assert (heard.announcer, heard.round, heard.stage, heard.size) == (far.peer_id, 7, "update", 1000)
    found = ask_peers(home_of(line, NEAR).admin, FindPeer(far.peer_id))
    assert place(far) in {peer.peer for peer in found.known}
