"""Each way to lie as a real process among honest ones: payments go on, and who signs twice is caught."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from apps.token.messages import Transfer
from crypto.errors import Refused
from node.api.methods import GetBlock, GetStatus, GetValidators
from node.client import AsyncClient
from node.home import Home
from node.keystore import CONSENSUS_KEY, load_node_key
from node.wallet import message
from state.types import NATIVE, Amount
from testnet.bench.temporary import running_network
from testnet.byzantine.behaviours import BEHAVIOURS, EQUIVOCATIONS
from testnet.network import LocalNetwork
from testnet.purse import Purse
from testnet.scrape import Scraper
from testnet.senders import load_senders
from testnet.view import look

pytestmark = pytest.mark.network

PAYMENTS = 2
SIZE = 7
HONEST = 3
"""The first nodes never lie."""
ORDER = (
    *((name, 6) for name in BEHAVIOURS if name not in (*EQUIVOCATIONS, "false_evidence")),
    ("equivocating_proposal", 6), ("double_prevote", 5), ("double_precommit", 4), ("false_evidence", 3),
)
"""Who does what: one after the other, so that at most one of those that still vote lies at a time. Who signs twice is
out of the set for ever, and peers do not let in for a while who accused the innocent."""


@dataclass
class Stand:
    """A network in which one node after the other changes its ways, and two people who pay each other meanwhile."""

    network: LocalNetwork
    scraper: Scraper
    clients: list[AsyncClient]
    purses: list[Purse]

    async def become(self, behaviour: str, place: int) -> None:
        """Restart a node with a new behaviour, and wait until it takes part again."""
        name = self.network.members[place].name
        await trio.to_thread.run_sync(self.network.stop, name)
        self.network.let_lie(name, behaviour)
        await trio.to_thread.run_sync(self.network.start, name)

        def is_there() -> bool:
            row = look(self.network)[place]
            return row.state == "running" and bool(row.peers)

        await trio.to_thread.run_sync(self.network.wait_until, is_there, f"{name} is back as {behaviour}")

    async def pay(self) -> None:
        """Pay a few times; each payment must be final."""
        for number in range(PAYMENTS):
            purse = self.purses[number % len(self.purses)]
            await purse.call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))

    def known(self) -> list[float]:
        """Return how many offences each honest node has learned of."""
        return [self.scraper.total(member, "nexus_evidence_total") for member in self.network.members[:HONEST]]

    async def tombstoned(self) -> int:
        """Return how many validators are out for ever."""
        found = await self.clients[0].ask(GetValidators())
        return SIZE - len(found.validators)

    async def check_one_chain(self) -> None:
        """The honest nodes have the same block at the greatest height that all have."""
        honest = self.clients[:HONEST]
        height = min([int((await client.ask(GetStatus())).height) for client in honest])
        assert len({(await client.ask(GetBlock(height=str(height)))).header.block_id for client in honest}) == 1


@asynccontextmanager
async def stand() -> AsyncIterator[Stand]:
    with running_network(SIZE, senders=3) as network, Scraper() as scraper:
        keys = load_senders(network.root / "senders", 2)
        clients = [AsyncClient(member.url) for member in network.members]
        purses = [Purse("payer", key, client) for key, client in zip(keys, clients, strict=False)]
        yield Stand(network, scraper, clients, purses)
        for client in clients:
            await client.close()


async def test_every_way_to_lie_as_a_process() -> None:
    async with stand() as made:
        for behaviour, place in ORDER:
            begun = trio.current_time()
            before, gone = made.known(), await made.tombstoned()
            await made.become(behaviour, place)
            with trio.fail_after(90):
                if behaviour == "withheld_bodies":
                    await hide_a_payment(made)
                await made.pay()
                if behaviour in EQUIVOCATIONS:
                    while not all(now > then for now, then in zip(made.known(), before, strict=True)):
                        await made.pay()
                    while await made.tombstoned() != gone + 1:
                        await made.pay()
                else:
                    assert made.known() == before
                await made.check_one_chain()
            sys.stdout.write(f"{behaviour}: {trio.current_time() - begun:.1f} s\n")
        assert not any(row.state == "died" for row in look(made.network))
        await check_the_logs_name_the_liars(made.network)


async def check_the_logs_name_the_liars(network: LocalNetwork) -> None:
    """`nexus debug accountability` on the running nodes' homes names who signed twice, and for what."""
    homes = [str(network.home(member)) for member in network.members[:HONEST]]
    command = [sys.executable, "-m", "node.cli.main", "--output", "json", "debug", "accountability", *homes]
    found = json.loads((await trio.run_process(command, capture_stdout=True)).stdout)
    assert (found["forks"], found["logs"]) == ([], HONEST)
    faults = {one["validator"]: one["faults"] for one in found["named"]}
    expected = {consensus_address(network, place): name for name, place in ORDER if name in EQUIVOCATIONS}
    assert set(faults) == set(expected)
    assert all(name in faults[validator] for validator, name in expected.items())


def consensus_address(network: LocalNetwork, place: int) -> str:
    home = Home(network.home(network.members[place]))
    return load_node_key(home.keys / f"{CONSENSUS_KEY}.json", None).address.hex()


async def hide_a_payment(made: Stand) -> None:
    """Give the liar a payment that it will propose and show to nobody."""
    keys = load_senders(made.network.root / "senders", 3)
    purse = Purse("hidden", keys[2], made.clients[6])
    try:
        signed = await purse.signed_call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))
        await purse.submit(signed.raw, wait="accepted")
    except Refused:
        raise AssertionError("the liar takes payments like everybody") from None
