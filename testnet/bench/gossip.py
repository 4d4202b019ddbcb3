"""Gossip: CPU of a delivery and the time it takes, with real hosts over real STOQ; and a model for networks too large.

The hosts run in one process and share its processor, so at 20 of them the times are those of a queue; the model is
given the same meshes and the same one processor when it is held against them. Messages are signed block announcements,
checked by the same rule as in a node. What the hosts cost while nothing is said is measured first, and taken off.
"""

import argparse
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import trio

from crypto.errors import Refused
from crypto.keys import SecretKey
from p2p.bans import Bans
from p2p.config import NetworkConfig
from p2p.exchange import NoMeeting
from p2p.gossip.host import Gossip, open_gossip
from p2p.gossip.topics import Topic, announce_block, block_announcement_codec, check_block
from p2p.gossip.transport import StoqTransport
from p2p.mesh import Company, Mesh, open_network, wall_clock
from p2p.network import PeerAddress, PeerInfo
from p2p.records import make_record
from state.encoding import encode
from state.types import BlockId, ChainId, Height
from testnet.chart import Axis, Series, line_chart
from testnet.measure import Figure, figure, json_lines, percentile
from testnet.router_model import Graph, delivery_times, drawn_links, mesh_graph

CHAIN: Final = ChainId(b"\x42" * 32)
LOADS: Final = ((4, 40, 10.0), (10, 24, 4.0), (20, 12, 1.0))
"""Nodes, messages, messages a second."""
NEIGHBOURS: Final = 8
"""Peers that a node of a larger network dials."""
SETTLED: Final = 20.0
"""Seconds that the meshes may take to form."""
QUIET: Final = 4.0
"""Seconds for which idle hosts are watched."""
SIZES: Final = (4, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
ROUNDS: Final = 5
"""Messages that the model sends at each size."""
LINK: Final = (0.02, 0.15)
"""Seconds of a link of the model: one way, across a continent or an ocean."""
PICTURE: Final = Path(__file__).resolve().parents[2] / "docs" / "gossip-delivery.svg"


@dataclass(frozen=True, slots=True)
class Party:
    """One host."""

    mesh: Mesh
    gossip: Gossip
    heard: dict[int, "Moment"]


class Moment(NamedTuple):
    """Now, by the clock and by what this process has used of a processor. Seconds."""

    clock: float
    worked: float


def moment() -> Moment:
    """Return now."""
    return Moment(time.perf_counter(), time.process_time())


@dataclass(frozen=True, slots=True)
class Measured:
    """What one size gave: seconds of each delivery, of the process, of a transmission; and who meshed with whom."""

    nodes: int
    delays: list[float]
    worked: list[float]
    """Processor seconds of this process until each delivery: what the delays would be on a machine of our own."""
    missed: int
    cpu: float
    idle: float
    """Cores of all hosts together while nothing is said."""
    transmissions: int
    graph: Graph
    origins: list[int]


def rule(raw: bytes) -> bool:
    """Return whether a message is a good announcement."""
    try:
        check_block(block_announcement_codec.decode(raw), CHAIN)
    except Refused:
        return False
    return True


@asynccontextmanager
async def party() -> AsyncIterator[Party]:
    """Run one host and its network."""
    key = SecretKey.generate()
    heard: dict[int, Moment] = {}
    record = make_record(key, CHAIN, (), wall_clock())

    async def connect(address: PeerAddress) -> PeerInfo:
        raise AssertionError("nobody is dialled for libp2p here")

    def deliver(_topic: str, raw: bytes) -> None:
        heard[block_announcement_codec.decode(raw).height] = moment()

    transport = StoqTransport(record, CHAIN, lambda _: None, connect, wall_clock)
    company = Company(NoMeeting(), Bans(20.0), wall_clock, transport)
    gossiping = open_gossip(key, transport, ("::1", 0), {Topic.BLOCKS: rule}, deliver)
    opening = open_network(NetworkConfig(host="::1", datagram_size=8000), key, CHAIN, company)
    async with gossiping as gossip, opening as mesh, trio.open_nursery() as nursery:
        for events in (mesh.consensus_events, mesh.bulk_events):
            nursery.start_soon(_forget, events)
        yield Party(mesh, gossip, heard)
        nursery.cancel_scope.cancel()


async def _forget(events: trio.MemoryReceiveChannel[Any]) -> None:
    async for _ in events:
        pass


async def measure(nodes: int, messages: int, rate: float) -> Measured:
    """Run so many hosts, send messages from one after the other, and return what came of it."""
    rng = random.Random(nodes)
    key = SecretKey.generate()
    raws = [encode(announce_block(key, CHAIN, Height(n + 1), BlockId(bytes(32)))) for n in range(messages)]
    async with AsyncExitStack() as stack:
        parties: list[Party] = []
        for _ in range(nodes):
            one = await stack.enter_async_context(party())
            for other in rng.sample(parties, min(NEIGHBOURS, len(parties))):
                one.mesh.dial(PeerAddress(other.mesh.peer_id, "::1", other.mesh.port))
            parties.append(one)
        await _settle(parties)
        graph = meshes(parties)
        idle = await _idle()
        before, begun, since = _transmissions(parties), time.process_time(), time.perf_counter()
        sent: dict[int, Moment] = {}
        for number, raw in enumerate(raws):
            sent[number + 1] = moment()
            parties[number % nodes].gossip.publish(Topic.BLOCKS, raw)
            await trio.sleep(1 / rate)
        await trio.sleep(2.0)
        cpu = time.process_time() - begun - idle * (time.perf_counter() - since)
        heard = [(sent[height], at) for one in parties for height, at in one.heard.items()]
        delays = [at.clock - since.clock for since, at in heard]
        worked = [at.worked - since.worked for since, at in heard]
        return Measured(
            nodes, delays, worked, messages * (nodes - 1) - len(delays), cpu, idle, _transmissions(parties) - before,
            graph, [number % nodes for number in range(messages)],
        )


async def _idle() -> float:
    used, since = time.process_time(), time.perf_counter()
    await trio.sleep(QUIET)
    return (time.process_time() - used) / (time.perf_counter() - since)


async def _settle(parties: list[Party]) -> None:
    least = min(4, len(parties) - 1)
    with trio.move_on_after(SETTLED):
        while any(len(mesh) < least for mesh in meshes(parties)):
            await trio.sleep(0.2)
        await trio.sleep(2.0)


def meshes(parties: list[Party]) -> Graph:
    """Return who is in whose mesh."""
    places = {one.gossip.name: number for number, one in enumerate(parties)}
    return [[places[peer] for peer in one.gossip.mesh(Topic.BLOCKS) if peer in places] for one in parties]


def _transmissions(parties: list[Party]) -> int:
    return sum(one.gossip.tally.delivered[Topic.BLOCKS] + one.gossip.tally.duplicates[Topic.BLOCKS] for one in parties)


def figures_of(measured: Measured) -> list[Figure]:
    """Return the lines of one size."""
    name, deliveries = f"gossip {measured.nodes} nodes", max(len(measured.delays), 1)
    note = f"{len(measured.delays)} deliveries, {measured.missed} missed, {measured.transmissions} transmissions"
    return [
        figure(f"{name} cpu", 1000 * measured.cpu / deliveries, "ms a delivery", None, f"{note}; one process"),
        figure(f"{name} idle", measured.idle / measured.nodes, "cores a host"),
        figure(f"{name} p50", 1000 * percentile(measured.delays, 0.5), "ms"),
        figure(f"{name} p99", 1000 * percentile(measured.delays, 0.99), "ms"),
    ]


def said_by_model(measured: Measured, cost: float) -> list[float]:
    """Return the delays that the model gives for the same meshes and origins on one processor."""
    return [
        delay for origin in measured.origins
        for delay in delivery_times(measured.graph, origin, cost, lambda _one, _other: 0.0, one_processor=True)
    ]


def checked(measured: Measured, cost: float) -> list[Figure]:
    """Return what the model says of one size beside what was measured, in processor time: others use the machine."""
    said = said_by_model(measured, cost)
    note = "a model, given the meshes and the cost; the reference is the real router's, in processor time"
    return [
        figure(f"model {measured.nodes} nodes {label}", 1000 * percentile(said, share), "ms",
               1000 * percentile(measured.worked, share), note)
        for label, share in (("p50", 0.5), ("p99", 0.99))
    ]


def modelled(cost: float) -> list[tuple[int, float, float]]:
    """Return size, p50 and p99 (seconds) of networks whose nodes have a core each and links of LINK."""
    rows = []
    for nodes in SIZES:
        rng = random.Random(nodes)
        graph, link = mesh_graph(nodes, rng), drawn_links(rng, *LINK)
        delays = [
            delay for _ in range(ROUNDS) for delay in delivery_times(graph, rng.randrange(nodes), cost, link)
        ]
        rows.append((nodes, percentile(delays, 0.5), percentile(delays, 0.99)))
    return rows


def picture(rows: list[tuple[int, float, float]]) -> str:
    """Return the plot of the model's rows."""
    return line_chart(
        "Delivery of a block announcement: a model of the router", Axis("nodes", (1, 10, 100, 1000, 10_000), True),
        Axis("milliseconds until delivered", (0, 100, 200, 300, 400, 500, 600, 700, 800)),
        [
            Series("model, p99", [(nodes, 1000 * high) for nodes, _, high in rows]),
            Series("model, p50", [(nodes, 1000 * middle) for nodes, middle, _ in rows]),
        ],
    )


def main() -> int:
    """Measure, compare, and write the picture if that is asked for."""
    parser = argparse.ArgumentParser(prog="nexus bench gossip", description=__doc__)
    parser.add_argument("--plot", type=Path, nargs="?", const=PICTURE, help="write the picture, by default in docs/")
    given, _ = parser.parse_known_args()
    results = [trio.run(measure, *load) for load in LOADS]
    for line in json_lines(line for measured in results for line in figures_of(measured)):
        print(line)
    cost = median(measured.cpu / max(measured.transmissions, 1) for measured in results)
    rows = modelled(cost)
    lines = [
        figure("gossip cpu of a transmission", 1000 * cost, "ms", None, "median of the sizes; what the model is given"),
        *(line for measured in results for line in checked(measured, cost)),
        *(
            figure(f"model {nodes} nodes, own cores, {LINK[0] * 1000:.0f}-{LINK[1] * 1000:.0f} ms links, {label}",
                   1000 * value, "ms", None, "a model")
            for nodes, middle, high in rows if nodes in (20, 100, 1000, 10_000)
            for label, value in (("p50", middle), ("p99", high))
        ),
    ]
    for line in json_lines(lines):
        print(line)
    if given.plot is not None:
        given.plot.write_text(picture(rows), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
