"""Evidence that no validator could find: only a full node two hops away hears both votes, and gossip brings the proof.

    liar - witness - middle - sentry - three validators        the liar's other peer is one of the validators

The liar tells the validators one vote and the witness both. The two full nodes say nothing on the channel of
consensus, neither votes nor evidence: what they let through is gossip. So the sentry knows of the offence by the topic
of evidence or not at all, and the validators, who run no libp2p, by the sentry.
"""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from apps.token.messages import Transfer
from node.admin import BanPeer, ShowGossip, ask_gossip, ask_peers
from node.api.methods import GetStatus, QueryModule
from node.client import AsyncClient
from node.keystore import Keystore
from node.wallet import message
from p2p.gossip.topics import Topic
from state.types import NATIVE, Amount
from testnet.byzantine.confession import first_lie
from testnet.create import WALLET_PASSWORD
from testnet.network import LocalNetwork
from testnet.purse import Purse
from testnet.treason import accused_in, operator_of, stake_of
from tests.network.lines import connected, gossiping, home_of, network_of, settle

pytestmark = pytest.mark.network

VALIDATORS = ("node0", "node1", "node2")
LIAR, SENTRY, MIDDLE, WITNESS = "node3", "node4", "node5", "node6"
PEERS = {
    "node0": ("node1", "node2", LIAR, SENTRY), "node1": ("node0", "node2", SENTRY), "node2": ("node0", "node1", SENTRY),
    LIAR: ("node0", WITNESS), SENTRY: VALIDATORS, MIDDLE: (SENTRY,), WITNESS: (MIDDLE, LIAR),
}
ROLES = {SENTRY: "sentry", MIDDLE: "full", WITNESS: "full"}
STRANGERS = {SENTRY: (LIAR, WITNESS), MIDDLE: (*VALIDATORS, LIAR), WITNESS: (*VALIDATORS, SENTRY)}
"""Whom discovery must not find."""
SHOWN = 12
"""Digits of a node id in a log."""
PATIENCE = 180.0
"""Seconds for each step of seven processes on a slow machine."""


class Word(NamedTuple):
    """A line of a node's log: who told it of an offence, empty if gossip did, and the height of the offence."""

    told_by: str
    height: int


def words(network: LocalNetwork, name: str) -> list[Word]:
    """Return how a node learned of each offence."""
    names = {member.peer_id[:SHOWN]: member.name for member in network.members}
    fields = [
        dict(word.split("=", 1) for word in line.split() if "=" in word)
        for line in network.log(network.member(name)).read_text("utf-8", "replace").splitlines()
        if "double signing" in line
    ]
    return [Word(names.get(one["told_by"], one["told_by"]), int(one["height"])) for one in fields]


def made(root: Path) -> LocalNetwork:
    network = network_of(root, validators=4, others=3)
    for name, others in PEERS.items():
        settle(network, name, ROLES.get(name, "validator"), others)
    return network


@pytest.fixture
def stand() -> Iterator[LocalNetwork]:
    with tempfile.TemporaryDirectory(prefix="nexus-word-") as folder:  # the operator's sockets need a short path
        network = made(Path(folder) / "net")
        for name in (MIDDLE, WITNESS):
            network.let_lie(name, "silent")
        witness = network.member(WITNESS).peer_id
        network.let_lie(LIAR, "double_prevote", "--both", witness, "--deaf")
        honest = [name for name in PEERS if name != LIAR]
        try:
            for name in honest:
                network.start(name)
            running = [home_of(network, name).admin for name in honest]
            network.wait_until(lambda: all(line.exists() for line in running), "they run", PATIENCE)
            keep_apart(network)
            network.start(LIAR)
            yield network
        finally:
            network.stop_all()


def keep_apart(network: LocalNetwork) -> None:
    for name, strangers in STRANGERS.items():
        for stranger in strangers:
            ask_peers(home_of(network, name).admin, BanPeer(network.member(stranger).peer_id))


def wait_for_the_line(network: LocalNetwork) -> None:
    line = {
        "node0": {"node1", "node2", LIAR, SENTRY}, "node1": {"node0", "node2", SENTRY},
        "node2": {"node0", "node1", SENTRY}, LIAR: {"node0", WITNESS}, SENTRY: {*VALIDATORS, MIDDLE},
        MIDDLE: {SENTRY, WITNESS}, WITNESS: {MIDDLE, LIAR},
    }  # fmt: skip
    network.wait_until(lambda: home_of(network, LIAR).admin.exists(), "the liar runs", PATIENCE)
    network.wait_until(
        lambda: all(connected(network, name) == peers for name, peers in line.items()), "the line", PATIENCE
    )
    network.wait_until(lambda: gossiping(network, MIDDLE) == 2 and gossiping(network, WITNESS) == 1, "gossip", PATIENCE)


async def pay(network: LocalNetwork, client: AsyncClient) -> None:
    """Pay a block at a time, for ever."""
    key = Keystore(network.root / "wallets" / "keys").open("faucet", WALLET_PASSWORD).key
    purse = Purse("faucet", key, client)
    while True:
        await purse.call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))


async def test_what_a_full_node_alone_has_seen_is_gossiped_to_a_sentry_and_punished(stand: LocalNetwork) -> None:
    await trio.to_thread.run_sync(wait_for_the_line, stand)
    async with AsyncClient(stand.members[0].url) as client, AsyncClient(stand.member(LIAR).url) as liar:
        operator = await operator_of(client, (await liar.ask(GetStatus())).validator or "")
        before = await stake_of(client, operator)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pay, stand, client)
            height = await accused_in(client, 0, PATIENCE)
            nursery.cancel_scope.cancel()
        after = await stake_of(client, operator)
        info = await client.ask(
            QueryModule(name="slashing/info", parameters={"operator": operator}, height=str(height))
        )
    assert all(words(stand, name) for name in (WITNESS, MIDDLE, SENTRY))
    offence = words(stand, SENTRY)[0].height
    logging.getLogger(__name__).info("the sentry hears of height %s, it is punished at %s", offence, height)

    # in a block, and punished by it
    lie = first_lie(stand.log(stand.member(LIAR)).read_text("utf-8", "replace"))
    assert lie is not None
    assert lie.height <= offence < height
    assert info.value["tombstoned"]
    assert int(after["bonded"]) < int(before["bonded"])

    # it came by gossip, and no other way
    for name in (MIDDLE, SENTRY):
        assert {word.told_by for word in words(stand, name)} == {""}
    told = [word.told_by for name in VALIDATORS for word in words(stand, name)[:1]]  # or the block itself is the first
    assert SENTRY in told
    assert set(told) <= {SENTRY, *VALIDATORS}
    reports = {name: ask_gossip(home_of(stand, name).admin, ShowGossip()) for name in (WITNESS, MIDDLE, SENTRY)}
    assert reports[WITNESS].sent[Topic.EVIDENCE] >= 1
    assert reports[MIDDLE].delivered[Topic.EVIDENCE] >= 1
    assert reports[SENTRY].delivered[Topic.EVIDENCE] >= 1
    assert not any(report.invalid or report.drops for report in reports.values())
