"""Load on a running testnet: payments at a given rate to all nodes, and when each was final on all of them.

The loop is open: payments leave at their time, whether or not earlier ones were answered. A payment counts as final
when the last of the nodes reports its block, all with the same block id; times are those of this process's clock.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final, NamedTuple

import msgspec
import trio

from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.api.methods import GetBlock
from node.api.stream import BlockEvent, Subscribe
from node.client import AsyncClient, Client
from state.transaction import decode_transaction
from state.types import Address
from testnet.coins import prepare_coins, terms_now
from testnet.measure import Usage, falcon_verify_seconds, percentile, usage
from testnet.network import LocalNetwork
from testnet.refusals import leaves
from testnet.senders import Unsigned, load_senders, payment_body, sign_all

TICK: Final = 0.1
"""Seconds between two batches to each node."""
DRAIN: Final = 30.0
"""Seconds that accepted payments get to become final after the last was sent."""
CORES: Final = 2
"""Cores that the ceiling is reckoned for, as in the target."""
SIGNERS: Final = 2
"""Processes that sign."""


class Payment(NamedTuple):
    """One signed payment."""

    txid: bytes
    raw: bytes


class Offered(NamedTuple):
    """What was asked for, and what was measured before it began. Times in seconds."""

    rate: float
    duration: float
    senders: int
    signing: float
    verify: float


class NodeReport(msgspec.Struct, frozen=True):
    """What one node used: CPU seconds over the window, resident bytes at its end."""

    name: str
    cpu_seconds: float
    memory: int


class LoadReport(msgspec.Struct, frozen=True):
    """What came of a load. Times in seconds."""

    rate: float
    duration: float
    senders: int
    signing: float
    offered: int
    accepted: int
    refused: dict[str, int]
    committed: int
    elapsed: float
    """From the first submission to the last commit on all nodes."""
    p50: float
    p99: float
    slowest: float
    verify: float
    """One Falcon verification, measured just before."""
    nodes: list[NodeReport]

    @property
    def per_second(self) -> float:
        """Payments a second that became final on all nodes."""
        return self.committed / self.elapsed if self.elapsed else 0.0

    @property
    def cpu_each(self) -> float:
        """CPU seconds a payment, over all nodes."""
        return sum(node.cpu_seconds for node in self.nodes) / max(1, self.committed)

    @property
    def ceiling(self) -> float:
        """Payments a second that signature checking alone would allow: every node checks every signature."""
        return CORES / (len(self.nodes) * self.verify)


class Watch:
    """What is known of the load while it runs: when payments left, when blocks arrived where."""

    def __init__(self, nodes: int) -> None:
        self.sent: dict[bytes, float] = {}
        self.refused: Counter[str] = Counter()
        self.answered = 0
        self.arrivals: list[dict[int, tuple[str, float]]] = [{} for _ in range(nodes)]
        """For each node: height -> (block id, time)."""
        self.counted = [0] * nodes
        """Transactions in the blocks that each node has reported."""

    @property
    def accepted(self) -> int:
        """Payments that a node took."""
        return self.answered - sum(self.refused.values())


def run_load(
    network: LocalNetwork, rate: float, duration: float, senders: int, progress: Callable[[str], None]
) -> LoadReport:
    """Prepare, sign, then offer `rate` payments a second for `duration` seconds and wait until they are final.

    Raises:
        Refused: NODE_DIED, or what a node refused while the load was prepared; BAD_ARGUMENT.
    """
    if rate <= 0 or duration <= 0:
        raise Refused(Reason.BAD_ARGUMENT, "rate and duration have to be above 0")
    network.check_alive()
    stopped = [member.name for member in network.members if not network.is_running(member)]
    if stopped:
        raise Refused(Reason.UNREACHABLE, f"{', '.join(stopped)} does not run; nexus testnet up starts it")
    keys = load_senders(network.root / "senders", senders)
    total = max(1, round(rate * duration))
    begun = time.perf_counter()
    with Client(network.members[0].url, timeout=30.0) as client:
        payments = sign_payments(client, keys, total, progress)
    signing = time.perf_counter() - begun
    progress(f"signed {total} payments of {senders} senders in {signing:.1f} s (not counted)")
    verify = falcon_verify_seconds()
    watch = Watch(len(network.members))
    before = [usage(member.process) for member in network.members]
    trio.run(_offer_and_follow, [member.url for member in network.members], payments, rate, watch, progress)
    after = [usage(member.process) for member in network.members]
    network.check_alive()
    with Client(network.members[0].url, timeout=30.0) as client:
        final = final_times(client, watch)
    offered = Offered(rate, duration, senders, signing, verify)
    return make_report(network, offered, watch, final, list(zip(before, after, strict=True)))


def sign_payments(
    client: Client, keys: Sequence[SecretKey], total: int, progress: Callable[[str], None]
) -> list[Payment]:
    """Return signed payments, the senders taking turns; every payment spends two coins that no other spends."""
    each = -(-total // len(keys))
    coins = prepare_coins(client, keys, 2 * each, SIGNERS, progress)
    terms = terms_now(client)
    addresses = [Address(key.address) for key in keys]
    unsigned = []
    for number in range(total):
        turn, sender = divmod(number, len(keys))
        to = addresses[(sender + 1) % len(keys)]
        one, other = coins[sender][2 * turn], coins[sender][2 * turn + 1]
        body = payment_body(terms, addresses[sender], to, one, other)
        unsigned.append(Unsigned(sender, body, False, terms.difficulty))
    done = 0

    def signed(count: int) -> None:
        nonlocal done
        done += count
        progress(f"signing {done} of {total}")

    raws = sign_all(keys, unsigned, SIGNERS, signed)
    return [Payment(decode_transaction(raw).txid, raw) for raw in raws]


async def _offer_and_follow(
    urls: Sequence[str], payments: Sequence[Payment], rate: float, watch: Watch, progress: Callable[[str], None]
) -> None:
    """Send everything at its time while listening to all nodes, then wait for the rest to become final.

    Raises:
        Refused: if a node's events break off.
    """
    try:
        await _run(urls, payments, rate, watch, progress)
    except* Refused as group:
        raise next(leaves(group)) from None


async def _run(
    urls: Sequence[str], payments: Sequence[Payment], rate: float, watch: Watch, progress: Callable[[str], None]
) -> None:
    async with AsyncExitStack() as stack, trio.open_nursery() as listeners:
        clients = [await stack.enter_async_context(AsyncClient(url, timeout=30.0)) for url in urls]
        for place, client in enumerate(clients):
            await listeners.start(_listen, client, place, watch)
        async with trio.open_nursery() as senders:
            await _offer(clients, payments, rate, watch, senders, progress)
        with trio.move_on_after(DRAIN):
            while min(watch.counted) < watch.accepted:
                await trio.sleep(0.02)
        listeners.cancel_scope.cancel()


async def _listen(
    client: AsyncClient, place: int, watch: Watch, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    async with client.events(Subscribe(id="load", topic="blocks")) as events:
        task_status.started()
        async for event in events:
            if isinstance(event, BlockEvent):
                watch.arrivals[place][int(event.height)] = (event.header.block_id, time.perf_counter())
                watch.counted[place] += event.transactions


async def _offer(
    clients: Sequence[AsyncClient], payments: Sequence[Payment], rate: float, watch: Watch, senders: trio.Nursery,
    progress: Callable[[str], None],
) -> None:
    begun, sent, ticks = time.perf_counter(), 0, 0
    while sent < len(payments):
        ticks += 1
        await trio.sleep(max(0.0, begun + ticks * TICK - time.perf_counter()))
        due = min(len(payments), round((time.perf_counter() - begun) * rate))
        now = payments[sent:due]
        sent = max(sent, due)
        for place, client in enumerate(clients):
            share = now[place :: len(clients)]
            if share:
                senders.start_soon(_submit, client, share, watch)
        if ticks % 5 == 0:
            progress(f"sent {sent} of {len(payments)}, final {min(watch.counted)}")


async def _submit(client: AsyncClient, share: Sequence[Payment], watch: Watch) -> None:
    moment = time.perf_counter()
    for payment in share:
        watch.sent[payment.txid] = moment
    try:
        results = await client.submit([payment.raw for payment in share])
    except Refused as refused:
        watch.answered += len(share)
        watch.refused[refused.reason.value] += len(share)
        return
    watch.answered += len(results)
    watch.refused.update(result.reason for result in results if result.reason)


def final_times(client: Client, watch: Watch) -> dict[bytes, float]:
    """Return when each payment was final on all nodes: the last node's report of its block.

    Raises:
        Refused: PROTOCOL_VIOLATION if two nodes reported different blocks at one height.
    """
    everywhere = set(watch.arrivals[0]).intersection(*watch.arrivals[1:])
    final: dict[bytes, float] = {}
    for height in sorted(everywhere):
        reports = [arrived[height] for arrived in watch.arrivals]
        if len({block_id for block_id, _ in reports}) != 1:
            raise Refused(Reason.PROTOCOL_VIOLATION, f"the nodes disagree about block {height}")
        moment = max(at for _, at in reports)
        for transaction in client.ask(GetBlock(height=str(height))).transactions:
            txid = bytes.fromhex(transaction.txid)
            if txid in watch.sent:
                final[txid] = moment
    return final


def make_report(
    network: LocalNetwork, load: Offered, watch: Watch, final: dict[bytes, float], used: Sequence[tuple[Usage, Usage]]
) -> LoadReport:
    """Put the figures together. `used` holds each node's usage before and after the window."""
    delays = [moment - watch.sent[txid] for txid, moment in final.items()]
    first = min(watch.sent.values(), default=0.0)
    return LoadReport(
        rate=load.rate, duration=load.duration, senders=load.senders, signing=load.signing, offered=len(watch.sent),
        accepted=watch.accepted, refused=dict(watch.refused), committed=len(final),
        elapsed=max(final.values(), default=first) - first, p50=percentile(delays, 0.50), p99=percentile(delays, 0.99),
        slowest=max(delays, default=float("nan")), verify=load.verify,
        nodes=[
            NodeReport(member.name, after.cpu - before.cpu, after.memory)
            for member, (before, after) in zip(network.members, used, strict=True)
        ],
    )
