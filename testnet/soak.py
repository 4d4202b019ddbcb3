"""`kill -9` at random: nodes of a network under load are killed and started again, and nothing promised may be lost.

    senders pay through any node, one payment after the other, and note what a node called committed
    cycle: wait a random while, kill a random node (sometimes again while it starts), start it, wait until it votes
    at the end: every noted payment stands on every node in the block that was named; there is one chain; no two
    votes of one validator contradict each other, in no node's logs, blocks or archive of votes
"""

import random
import signal
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

import msgspec
import trio

from apps.token.messages import Transfer
from consensus.log import OfferEntry, VoteEntry, decode_entries
from crypto.errors import Reason, Refused
from node.api.methods import GetBlock, GetStatus
from node.client import AsyncClient
from node.home import Home
from node.wallet import message
from state.types import NATIVE, Amount
from testnet.network import LocalNetwork
from testnet.purse import Purse
from testnet.scrape import Scraper
from testnet.senders import load_senders
from testnet.view import look

SENDERS: Final = 8
"""Accounts that pay, each one payment at a time."""
MAX_PAUSE: Final = 1.5
"""Seconds that pass at most before a kill."""
SECOND_KILL: Final = 0.25
"""Share of the cycles in which the node dies again soon after its start."""
NEW_EACH: Final = 5
"""Payments that have to become final in every cycle after the restart."""
PATIENCE: Final = 60.0
"""Seconds within which that has to happen."""
TROUBLE: Final = ("double signing", '"level": "error"', "[error", "Traceback")
"""What must not stand in a node's log."""


class SoakReport(msgspec.Struct, frozen=True):
    """What was done, and what was found."""

    seed: int
    cycles: int
    kills: int
    acknowledged: int
    """Payments that a node called committed: all of them were found on all nodes."""
    height: int
    votes: int
    """Votes and proposals of all nodes' archives that were compared."""
    problems: list[str]


def soak(network: LocalNetwork, cycles: int, seed: int, progress: Callable[[str], None]) -> SoakReport:
    """Kill and restart nodes of a running network.

    Args:
        network: runs, with all nodes connected.
        cycles: kills, but for second ones.
        seed: of victims and moments.
        progress: is told one line a cycle.

    Raises:
        Refused: NODE_DIED if a node ends by itself; TIMED_OUT if one does not come back, or payments stop.
    """
    return trio.run(_soak, network, cycles, seed, progress)


async def _soak(network: LocalNetwork, cycles: int, seed: int, progress: Callable[[str], None]) -> SoakReport:
    dice = random.Random(seed)
    keys = load_senders(network.root / "senders", SENDERS)
    acknowledged: dict[str, int] = {}
    kills = 0
    async with trio.open_nursery() as nursery:
        clients = [AsyncClient(member.url) for member in network.members]
        for key in keys:
            purses = [Purse("sender", key, client) for client in clients]
            nursery.start_soon(_keep_paying, purses, random.Random(dice.random()), acknowledged)
        for cycle in range(1, cycles + 1):
            victim, killed = await _kill_one(network, dice)
            kills += killed
            await _see_payments(acknowledged, len(acknowledged) + NEW_EACH)
            progress(f"cycle {cycle} of {cycles}: {victim} killed; {len(acknowledged)} payments acknowledged")
        nursery.cancel_scope.cancel()
    progress("comparing the nodes")
    height, problems = await _compare(network, acknowledged)
    problems += _told_evidence(network)
    network.stop_all()
    votes, contradictions = compare_archives(network)
    problems += contradictions + [found for member in network.members for found in _trouble(network, member.name)]
    return SoakReport(seed, cycles, kills, len(acknowledged), height, votes, problems)


async def _keep_paying(purses: list[Purse], dice: random.Random, acknowledged: dict[str, int]) -> None:
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


async def _kill_one(network: LocalNetwork, dice: random.Random) -> tuple[str, int]:
    """Kill a random node after a random time, start it, and wait until all are back; return who, and how often."""
    name, kills = dice.choice(network.members).name, 1
    await trio.sleep(dice.uniform(0.0, MAX_PAUSE))
    await _restart(network, name)
    if dice.random() < SECOND_KILL:
        await trio.sleep(dice.uniform(0.2, 2.0))
        await _restart(network, name)
        kills = 2
    await trio.to_thread.run_sync(
        network.wait_until, lambda: all(row.state == "running" for row in look(network)), f"{name} comes back"
    )
    return name, kills


async def _restart(network: LocalNetwork, name: str) -> None:
    await trio.to_thread.run_sync(partial(network.stop, name, signal.SIGKILL))
    await trio.to_thread.run_sync(network.start, name)


async def _see_payments(acknowledged: dict[str, int], wanted: int) -> None:
    with trio.move_on_after(PATIENCE):
        while len(acknowledged) < wanted:
            await trio.sleep(0.05)
        return
    raise Refused(Reason.TIMED_OUT, f"no {NEW_EACH} payments became final within {PATIENCE:.0f} s")


async def _compare(network: LocalNetwork, acknowledged: dict[str, int]) -> tuple[int, list[str]]:
    """Look for every acknowledged payment on every node; return the last height, and what is wrong."""
    last = max(acknowledged.values(), default=0)
    problems: list[str] = []
    chains: list[list[str]] = []
    for member in network.members:
        client = AsyncClient(member.url)
        with trio.fail_after(PATIENCE):
            while int((await client.ask(GetStatus())).height) < last:
                await trio.sleep(0.1)
        found: dict[str, int] = {}
        ids = []
        for height in range(1, last + 1):
            block = await client.ask(GetBlock(height=str(height)))
            ids.append(block.header.block_id)
            found.update(dict.fromkeys((one.txid for one in block.transactions), height))
            if block.evidence:
                problems.append(f"{member.name}: block {height} holds evidence of double signing")
        chains.append(ids)
        missing = [txid for txid, height in acknowledged.items() if found.get(txid) != height]
        problems += [f"{member.name}: {txid} is not in block {acknowledged[txid]}" for txid in missing]
    if any(chain != chains[0] for chain in chains):
        problems.append("the nodes hold different chains")
    return last, problems


def compare_archives(network: LocalNetwork) -> tuple[int, list[str]]:
    """Compare what all nodes remember of votes and proposals; return how many, and each pair that contradicts."""
    said: dict[tuple[object, ...], set[bytes]] = defaultdict(set)
    count = 0
    for member in network.members:
        for place, block_id in _archived(Home(network.home(member))):
            said[place].add(block_id)
            count += 1
    return count, [f"two things were signed at {place}" for place, ids in said.items() if len(ids) > 1]


def _archived(home: Home) -> Iterator[tuple[tuple[object, ...], bytes]]:
    for path in home.vote_archive:
        entries, _ = decode_entries(path.read_bytes() if path.exists() else b"")
        for entry in entries:
            if isinstance(entry, VoteEntry):
                vote = entry.vote
                yield (vote.validator, vote.height, vote.round, vote.kind.name), vote.block_id
            elif isinstance(entry, OfferEntry):
                yield ("proposal", entry.offer.height, entry.offer.round), entry.offer.block_id


def _told_evidence(network: LocalNetwork) -> list[str]:
    """Return what the nodes' metrics say of double signing since their last start."""
    with Scraper() as scraper:
        counts = {member.name: scraper.total(member, "nexus_evidence_total") for member in network.members}
    return [f"{name} learned {count:.0f} proofs of double signing" for name, count in counts.items() if count]


def _trouble(network: LocalNetwork, name: str) -> Iterable[str]:
    log = network.log(network.member(name)).read_text("utf-8", "replace")
    return [f"{name}: {line}" for line in log.splitlines() if any(word in line for word in TROUBLE)]
