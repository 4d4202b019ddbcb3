"""Four validators on this machine with hidden transfers alone: how many a second, and when each is final.

Each of some senders turns clear coins into hidden ones, and then makes transfers of two into two, proven and signed
beforehand. They are submitted first slowly, for the time until each is in a block, then all at once. The reference is
what the machine's cores could verify if they did nothing else: each of four nodes verifies the proofs alone, once.
"""

import argparse
import os
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

import trio

from crypto.keys import SecretKey
from node.client import AsyncClient
from node.hidden.index import Placed, WalletIndex
from node.hidden.paying import Payment, Purse, Spendable, clear_coin, draft_hidden
from node.hidden.viewing import Viewer, view_keys, viewing_seed
from node.wallet import Account, Signed, sign_draft
from state.transaction import MAX_HIDDEN, decode_transaction
from state.types import NATIVE, Address, Amount, Height
from testnet.bench.confidential import make_bench, verify_seconds
from testnet.bench.temporary import running_network
from testnet.measure import Figure, figure, json_lines, percentile
from testnet.network import LocalNetwork
from testnet.purse import Purse as Person
from testnet.senders import load_senders

SENDERS: Final = 16
NODES: Final = 4
PACE: Final = 10
"""Transfers a second while the time until they are final is taken."""
SLOW: Final = 40
"""Transfers at that pace; the rest comes at once."""
EACH: Final = 2_000_000
"""unxs in each hidden coin: enough for the fee."""


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="nexus bench confidential-network", description=__doc__)
    parser.add_argument("--senders", type=int, default=SENDERS)
    senders = parser.parse_args().senders
    with running_network(NODES, senders) as network:
        for line in json_lines(trio.run(measured, network, senders)):
            print(line, flush=True)
    return 0


async def measured(network: LocalNetwork, senders: int) -> list[Figure]:
    """Return the figures of a network that is up."""
    keys = load_senders(network.root / "senders", senders)
    clients = [AsyncClient(member.url, timeout=60.0) for member in network.members]
    try:
        transfers = await prepared(clients, keys)
        latencies = await paced(clients, transfers[:SLOW])
        seconds = await at_once(clients, transfers[SLOW:])
    finally:
        for client in clients:
            await client.close()
    rate = (len(transfers) - SLOW) / seconds
    alone = verify_seconds(make_bench(2))
    ceiling = (os.cpu_count() or 1) / (NODES * alone)
    note = f"{len(transfers) - SLOW} two into two; reference: what {os.cpu_count()} cores could verify on {NODES} nodes"
    paced_note = f"{PACE} a second; from submission until its block is told"
    return [
        figure("hidden transfers on four validators", rate, "tx/s", ceiling, note),
        figure("hidden transfer final, median", percentile(latencies, 0.5), "s", note=paced_note),
        figure("hidden transfer final, 95 %", percentile(latencies, 0.95), "s", note=paced_note),
    ]


async def prepared(clients: Sequence[AsyncClient], keys: Sequence[SecretKey]) -> list[Signed]:
    """Give every sender hidden coins, and return transfers of two of them each, signed and not sent."""
    transfers: list[Signed] = []
    for place, key in enumerate(keys):
        person = Person(f"sender {place}", key, clients[place % len(clients)])
        spread = await _spread(person)
        receipt = await person.do(spread)
        point, coins = await person.point(), _found(person, spread, Height(int(receipt.height)))
        account = Account(person.address, key.public_key, registered=True)
        view = view_keys(viewing_seed(key))
        for pair in _pairs(coins):
            payment = Payment(person.address, NATIVE, Amount(EACH), view.receiving)
            draft = draft_hidden(point, Purse(account, view, pair), [payment], secrets.token_bytes)
            transfers.append(sign_draft(draft, {person.address: key}))
    return transfers


async def _spread(person: Person) -> Signed:
    """Return the transfer of a clear coin into as many hidden coins as one transfer makes."""
    account, _ = await person.account()
    keys = view_keys(viewing_seed(person.key))
    coins = [clear_coin(one.outpoint, one.coin) for one in (await person.coins())[:1]]
    payments = [Payment(person.address, NATIVE, Amount(EACH), keys.receiving)] * (MAX_HIDDEN - 1)
    draft = draft_hidden(await person.point(), Purse(account, keys, coins), payments, secrets.token_bytes)
    return sign_draft(draft, {person.address: person.key})


def _found(person: Person, signed: Signed, height: Height) -> list[Spendable]:
    decoded = decode_transaction(signed.raw)
    keys = view_keys(viewing_seed(person.key))
    index = WalletIndex(Viewer(decoded.body.chain_id, Address(person.address), keys.incoming))
    index.take(Placed(height, 0, decoded))
    return [Spendable(one.outpoint, one.asset, one.opening, one.commitment) for one in index.unspent()]


def _pairs(coins: Sequence[Spendable]) -> Iterator[Sequence[Spendable]]:
    return (coins[start : start + 2] for start in range(0, len(coins) - 1, 2))


async def paced(clients: Sequence[AsyncClient], transfers: Sequence[Signed]) -> list[float]:
    """Submit at a steady pace; return how long each took until its block was told."""
    latencies: list[float] = []

    async def one(client: AsyncClient, signed: Signed) -> None:
        begun = time.monotonic()
        await client.submit_one(signed.raw, wait="committed", timeout=60.0)
        latencies.append(time.monotonic() - begun)

    async with trio.open_nursery() as nursery:
        for place, signed in enumerate(transfers):
            nursery.start_soon(one, clients[place % len(clients)], signed)
            await trio.sleep(1 / PACE)
    return latencies


async def at_once(clients: Sequence[AsyncClient], transfers: Sequence[Signed]) -> float:
    """Submit everything, to all nodes in equal parts; return the seconds until the last one is in a block."""
    begun = time.monotonic()
    async with trio.open_nursery() as nursery:
        for place, client in enumerate(clients):
            nursery.start_soon(_submit_all, client, [one.raw for one in transfers[place :: len(clients)]])
    return time.monotonic() - begun


async def _submit_all(client: AsyncClient, raws: Sequence[bytes]) -> None:
    results = await client.submit(raws, wait="committed", timeout=100.0)
    assert all(not result.reason for result in results), [result.reason for result in results if result.reason]


if __name__ == "__main__":
    sys.exit(main())
