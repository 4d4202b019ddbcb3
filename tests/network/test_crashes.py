"""SIGKILL to real validators under load: what the API called committed is on every node afterwards."""

import random
import signal
import sys
from functools import partial

import pytest
import trio

from apps.token.messages import Transfer
from crypto.errors import Refused
from node.api.methods import GetBlock, GetReceipt, GetStatus
from node.client import AsyncClient
from node.wallet import message
from state.types import NATIVE, Amount
from testnet.bench.temporary import running_network
from testnet.network import LocalNetwork
from testnet.purse import Purse
from testnet.senders import load_senders
from testnet.view import look

pytestmark = [pytest.mark.network, pytest.mark.slow]

KILLS = 20
SENDERS = 8


async def keep_paying(purses: list[Purse], dice: random.Random, acknowledged: dict[str, int]) -> None:
    """Pay one payment after the other, each through any node, and note those that were called committed."""
    while True:
        purse = dice.choice(purses)
        try:
            signed = await purse.signed_call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))
            receipt = await purse.do(signed)
        except Refused:
            await trio.sleep(0.05)  # the node is gone or behind: nothing was promised
        else:
            acknowledged[signed.txid.hex()] = int(receipt.height)


async def kill_one(network: LocalNetwork, dice: random.Random) -> None:
    """Kill a random node after a random time, start it again, and wait until it votes; sometimes kill it before."""
    name = dice.choice(network.members).name
    await trio.sleep(dice.uniform(0.0, 1.5))
    await trio.to_thread.run_sync(partial(network.stop, name, signal.SIGKILL))
    await trio.to_thread.run_sync(network.start, name)
    if dice.random() < 0.25:
        await trio.sleep(dice.uniform(0.2, 2.0))
        await trio.to_thread.run_sync(partial(network.stop, name, signal.SIGKILL))
        await trio.to_thread.run_sync(network.start, name)
    await trio.to_thread.run_sync(
        network.wait_until, lambda: all(row.state == "running" for row in look(network)), f"{name} comes back"
    )


async def test_a_committed_transaction_survives_kills_of_random_nodes() -> None:
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")
    dice = random.Random(seed)
    acknowledged: dict[str, int] = {}
    with running_network() as network:
        keys = load_senders(network.root / "senders", SENDERS)
        async with trio.open_nursery() as nursery:
            clients = [AsyncClient(member.url) for member in network.members]
            for key in keys:
                purses = [Purse("sender", key, client) for client in clients]
                nursery.start_soon(keep_paying, purses, random.Random(dice.random()), acknowledged)
            for _ in range(KILLS):
                before = len(acknowledged)
                await kill_one(network, dice)
                with trio.fail_after(60):
                    while len(acknowledged) < before + 5:
                        await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        assert len(acknowledged) >= 5 * KILLS
        await check_all(network, acknowledged)
    sys.stdout.write(f"{len(acknowledged)} acknowledged transactions, {KILLS} kills\n")


async def check_all(network: LocalNetwork, acknowledged: dict[str, int]) -> None:
    """Every node has every acknowledged transaction, in the block that was named, and all have one chain."""
    last = max(acknowledged.values())
    ids = []
    for member in network.members:
        async with AsyncClient(member.url) as client:
            with trio.fail_after(60):
                while int((await client.ask(GetStatus())).height) < last:
                    await trio.sleep(0.1)
            for txid, height in acknowledged.items():
                receipt = (await client.ask(GetReceipt(txid=txid))).receipt
                assert (int(receipt.height), receipt.reason) == (height, "")
            ids.append([
                (await client.ask(GetBlock(height=str(height)))).header.block_id for height in range(1, last + 1)
            ])
    assert all(chain == ids[0] for chain in ids)
