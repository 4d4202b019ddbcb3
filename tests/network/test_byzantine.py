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
from node.api.methods import GetBlock, GetStatus
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

PAYMENTS = 3
LIAR = 3
LAST = (*EQUIVOCATIONS, "false_evidence")
"""Whoever does one of these is not trusted with anything afterwards."""
ORDER = (*(name for name in BEHAVIOURS if name not in LAST), *LAST)


@dataclass
class Stand:
    """A network whose last node changes its ways, and two people who pay each other through the others."""

    network: LocalNetwork
    scraper: Scraper
    clients: list[AsyncClient]
    purses: list[Purse]

    async def become(self, behaviour: str) -> None:
        """Restart the liar with a new behaviour, and wait until it takes part again."""
        name = self.network.members[LIAR].name
        await trio.to_thread.run_sync(self.network.stop, name)
        self.network.let_lie(name, behaviour)
        await trio.to_thread.run_sync(self.network.start, name)
        await trio.to_thread.run_sync(self.network.wait_until, self._is_there, f"{name} is back as {behaviour}")

    def _is_there(self) -> bool:
        rows = look(self.network)
        return rows[LIAR].state == "running" and bool(rows[LIAR].peers)

    async def pay(self) -> None:
        """Pay a few times; each payment must be final."""
        for number in range(PAYMENTS):
            purse = self.purses[number % len(self.purses)]
            await purse.call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))

    def known(self) -> list[float]:
        """Return how many offences each honest node has learned of."""
        return [self.scraper.total(member, "nexus_evidence_total") for member in self.network.members[:LIAR]]

    async def check_one_chain(self) -> None:
        """The honest nodes have the same block at the greatest height that all have."""
        honest = self.clients[:LIAR]
        height = min([int((await client.ask(GetStatus())).height) for client in honest])
        assert len({(await client.ask(GetBlock(height=str(height)))).header.block_id for client in honest}) == 1


@asynccontextmanager
async def stand() -> AsyncIterator[Stand]:
    with running_network() as network, Scraper() as scraper:
        keys = load_senders(network.root / "senders", 2)
        clients = [AsyncClient(member.url) for member in network.members]
        purses = [Purse("payer", key, client) for key, client in zip(keys, clients, strict=False)]
        yield Stand(network, scraper, clients, purses)
        for client in clients:
            await client.close()


async def test_every_way_to_lie_as_a_process() -> None:
    async with stand() as made:
        for behaviour in ORDER:
            begun = trio.current_time()
            before = made.known()
            await made.become(behaviour)
            with trio.fail_after(90):
                if behaviour == "withheld_bodies":
                    await hide_a_payment(made)
                await made.pay()
                while behaviour in EQUIVOCATIONS and not all(
                    now > then for now, then in zip(made.known(), before, strict=True)
                ):
                    await made.pay()
                await made.check_one_chain()
            if behaviour not in EQUIVOCATIONS:
                assert made.known() == before
            sys.stdout.write(f"{behaviour}: {trio.current_time() - begun:.1f} s\n")
        assert not any(row.state == "died" for row in look(made.network))
        await check_the_logs_name_the_liar(made.network)


async def check_the_logs_name_the_liar(network: LocalNetwork) -> None:
    """`nexus debug accountability` on the running nodes' homes names one validator, for all that it signed twice."""
    homes = [str(network.home(member)) for member in network.members[:LIAR]]
    command = [sys.executable, "-m", "node.cli.main", "--output", "json", "debug", "accountability", *homes]
    ended = await trio.run_process(command, capture_stdout=True)
    found = json.loads(ended.stdout)
    (named,) = found["named"]
    assert all(name in named["faults"] for name in EQUIVOCATIONS)
    assert (found["forks"], found["logs"]) == ([], LIAR)
    liar = load_node_key(Home(network.root / network.members[LIAR].name).keys / f"{CONSENSUS_KEY}.json", None)
    assert named["validator"] == liar.address.hex()


async def hide_a_payment(made: Stand) -> None:
    """Give the liar a payment that it will propose and show to nobody."""
    keys = load_senders(made.network.root / "senders", 3)
    purse = Purse("hidden", keys[2], made.clients[LIAR])
    try:
        signed = await purse.signed_call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))
        await purse.submit(signed.raw, wait="accepted")
    except Refused:
        raise AssertionError("the liar takes payments like everybody") from None
