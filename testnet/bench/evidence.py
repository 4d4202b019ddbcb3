"""How fast a validator that signs two things is known to everybody, and on chain.

For each injection a new network of four real processes is made, one of them lying: it votes (or proposes) one thing
towards one half of the honest nodes and another towards the other half. Its log tells when. The clock stops when the
metrics of all three honest nodes show the evidence; all processes share this machine's clock.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import trio

from apps.token.messages import Transfer
from crypto.errors import Reason, Refused
from node.api.methods import GetStatus, QueryModule
from node.client import AsyncClient
from node.wallet import message
from state.types import NATIVE, Amount
from testnet.bench.temporary import running_network
from testnet.byzantine.behaviours import EQUIVOCATIONS
from testnet.byzantine.confession import first_lie
from testnet.measure import Figure, figure, json_lines, percentile
from testnet.network import LocalNetwork
from testnet.purse import Purse
from testnet.scrape import Scraper
from testnet.senders import load_senders
from testnet.treason import accused_in, operator_of

LIAR = "node3"
LOOK_EVERY = 0.01
"""Seconds between two looks at the metrics."""
PATIENCE = 30.0
"""Seconds within which an injection is over, or it failed."""
KNOWN_TARGET = 1.0
HEIGHTS_TARGET = 2.0


class Injection(NamedTuple):
    """One lie. `known` in seconds; `blocks` from the block that it is about to the one that slashed and tombstoned."""

    behaviour: str
    known: float
    blocks: int


def inject(behaviour: str) -> Injection:
    """Make a network with a liar, wait for its first lie, and measure.

    Raises:
        Refused: TIMED_OUT if it does not come about; NODE_DIED.
    """
    with running_network(senders=1, liars={LIAR: behaviour}) as network, Scraper() as scraper:
        operator, known_at = trio.run(provoke, network, scraper)
        lie = first_lie(network.log(network.member(LIAR)).read_text("utf-8", "replace"))
        if lie is None:
            raise Refused(Reason.INTERNAL, "there is evidence, but no lie in the liar's log")
        blocks = trio.run(slashed_in, network, operator, lie.height) - lie.height
        for member in network.members:
            network.stop(member.name, signal.SIGKILL)
        return Injection(behaviour, known_at - lie.at, blocks)


async def provoke(network: LocalNetwork, scraper: Scraper) -> tuple[str, float]:
    """Pay until the liar has lied and everybody knows; return its operator, and when they knew (s since 1970)."""
    async with AsyncClient(network.members[0].url) as client, AsyncClient(network.member(LIAR).url) as liar:
        operator = await operator_of(client, (await liar.ask(GetStatus())).validator or "")
        (key,) = load_senders(network.root / "senders", 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pay, Purse("payer", key, client))
            known_at = await trio.to_thread.run_sync(wait_until_known, network, scraper)
            nursery.cancel_scope.cancel()
    return operator, known_at


async def pay(purse: Purse) -> None:
    """Pay a block at a time: a liar that proposes lies when its turn comes."""
    while True:
        await purse.call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))


def wait_until_known(network: LocalNetwork, scraper: Scraper) -> float:
    """Return when the metrics of every honest node showed evidence, in seconds since 1970."""
    waiting = [member for member in network.members if member.name != LIAR]
    deadline = time.monotonic() + PATIENCE
    while True:
        waiting = [member for member in waiting if not scraper.total(member, "nexus_evidence_total")]
        if not waiting:
            return time.time()
        network.check_alive()
        if time.monotonic() > deadline:
            names = ", ".join(member.name for member in waiting)
            raise Refused(Reason.TIMED_OUT, f"{names} know of no evidence after {PATIENCE:.0f} s")
        time.sleep(LOOK_EVERY)


async def slashed_in(network: LocalNetwork, operator: str, start: int) -> int:
    """Return the first height above `start` whose block holds evidence, if the accused is tombstoned after it.

    Raises:
        Refused: TIMED_OUT; INTERNAL if it is not slashed.
    """
    async with AsyncClient(network.members[0].url) as client:
        height = await accused_in(client, start)
        answer = await client.ask(
            QueryModule(name="slashing/info", parameters={"operator": operator}, height=str(height))
        )
    if not answer.value["tombstoned"]:
        raise Refused(Reason.INTERNAL, f"block {height} accuses the liar and does not punish it")
    return height


def figures(done: list[Injection], failed: int) -> Iterator[Figure]:
    """Yield the lines of a run."""
    known = [one.known for one in done]
    about = f"{len(done)} injections in networks of their own, votes and proposals to disjoint halves of 3 honest nodes"
    yield figure("evidence known everywhere p50", percentile(known, 0.5), "s", None, about)
    yield figure("evidence known everywhere p99", percentile(known, 0.99), "s", KNOWN_TARGET, "reference: target")
    yield figure("evidence known everywhere slowest", max(known, default=float("nan")), "s")
    for behaviour in EQUIVOCATIONS:
        mine = [one.known for one in done if one.behaviour == behaviour]
        yield figure(f"evidence of {behaviour} slowest", max(mine, default=float("nan")), "s", None, f"{len(mine)}")
    blocks = [float(one.blocks) for one in done]
    yield figure("evidence to slash p99", percentile(blocks, 0.99), "blocks", HEIGHTS_TARGET, "reference: target")
    yield figure("evidence to slash, most", max(blocks, default=float("nan")), "blocks")
    yield figure("evidence injections failed", float(failed), "injections")


def main() -> int:
    """Inject, print a line of progress for each, then the figures."""
    parser = argparse.ArgumentParser(prog="nexus bench evidence", description=__doc__)
    parser.add_argument("--injections", type=int, default=100)
    given = parser.parse_args()
    done: list[Injection] = []
    failed = 0
    for number in range(given.injections):
        behaviour = EQUIVOCATIONS[number % len(EQUIVOCATIONS)]
        try:
            one = inject(behaviour)
        except Refused as refused:
            failed += 1
            print(f"{number + 1}/{given.injections} {behaviour}: {refused}", file=sys.stderr)
            continue
        done.append(one)
        told = f"known after {one.known:.3f} s, slashed {one.blocks} blocks later"
        print(f"{number + 1}/{given.injections} {behaviour}: {told}", file=sys.stderr)
    for line in json_lines(figures(done, failed)):
        print(line)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
