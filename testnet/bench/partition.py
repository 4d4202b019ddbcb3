"""Recovery after a partition heals: how soon the next block stands on all nodes.

The network is cut so that nobody has a quorum, while payments wait; then the cut is taken away. The reference is two
timeouts of the round that was reached.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

import trio

from consensus.round_machine import RoundStep
from consensus.timing import timeout
from consensus.types import ConsensusParams
from crypto.errors import Reason, Refused
from node.api.methods import GetStatus
from node.api.stream import BlockEvent, Subscribe
from node.client import AsyncClient
from testnet.bench.proxied import Payments, Proxied, pay_steadily, proxied_network
from testnet.measure import Figure, figure, json_lines
from testnet.proxy import Direction, Weather, halves

SIZE: Final = 4
LOOK: Final = 0.02
"""Seconds between two looks at what came."""
PATIENCE: Final = 60.0
"""Seconds after which a network that was healed counts as dead."""


class Recovery(NamedTuple):
    """What was seen of one partition: the round that was reached, and the seconds until the next block everywhere."""

    round: int
    seconds: float

    @property
    def allowed(self) -> float:
        """Two timeouts of that round, in seconds."""
        return 2 * timeout(ConsensusParams(), RoundStep.PROPOSE, self.round) / 1000


def everybody_alone(size: int) -> frozenset[Direction]:
    """Return the cuts that leave every node alone."""
    return frozenset((one, other) for one in range(size) for other in range(size) if one != other)


SHAPES: Final[dict[str, Callable[[int], frozenset[Direction]]]] = {
    "halves": lambda size: halves(size, size // 2),
    "alone": everybody_alone,
}


class Watch:
    """The blocks of every node, when they came."""

    def __init__(self, size: int) -> None:
        self.arrivals: list[dict[int, float]] = [{} for _ in range(size)]

    @property
    def top(self) -> int:
        """The greatest height of all."""
        return max(max(arrived, default=0) for arrived in self.arrivals)

    async def follow(self, client: AsyncClient, place: int) -> None:
        """Note the blocks of one node as it tells of them."""
        async with client.events(Subscribe(id="partition", topic="blocks")) as events:
            async for event in events:
                if isinstance(event, BlockEvent):
                    self.arrivals[place][int(event.height)] = time.perf_counter()

    async def everywhere(self, height: int) -> float:
        """Wait until every node has a block; return when the last one got it."""
        while not all(height in arrived for arrived in self.arrivals):
            await trio.sleep(LOOK)
        return max(arrived[height] for arrived in self.arrivals)


async def recover_from(
    here: Proxied, watch: Watch, clients: list[AsyncClient], cut: frozenset[Direction], duration: float
) -> Recovery:
    """Cut the network for a while, heal it, and wait for the next block on all nodes.

    Raises:
        Refused: TIMED_OUT if it does not come.
    """
    calm = here.proxy.weather
    here.proxy.change(replace(calm, cut=cut))
    await trio.sleep(duration)
    top, reached = watch.top, max([(await client.ask(GetStatus())).round for client in clients])
    here.proxy.change(calm)
    healed = time.perf_counter()
    with trio.move_on_after(PATIENCE):
        return Recovery(reached, await watch.everywhere(top + 1) - healed)
    raise Refused(Reason.TIMED_OUT, f"no block {top + 1} within {PATIENCE:.0f} s after the partition healed")


async def measure(here: Proxied, given: argparse.Namespace) -> list[Figure]:
    """Pay all the time, so that there is always something to decide; cut and heal meanwhile."""
    lines = []
    urls = [member.url for member in here.network.members]
    clients, watch = [AsyncClient(url) for url in urls], Watch(SIZE)
    async with trio.open_nursery() as nursery:
        for place, client in enumerate(clients):
            nursery.start_soon(watch.follow, client, place)
        nursery.start_soon(pay_steadily, urls, here.network.root / "senders", 10**9, 0.25, Payments([], []))
        for shape in SHAPES:
            for _ in range(given.times):
                await trio.sleep(given.calm)
                seen = await recover_from(here, watch, clients, SHAPES[shape](SIZE), given.duration)
                about = f"cut for {given.duration:.0f} s at round {seen.round}; reference: two timeouts of that round"
                lines.append(figure(f"partition {shape}", seen.seconds, "s", seen.allowed, about))
        nursery.cancel_scope.cancel()
    return lines


def main() -> int:
    """Cut and heal in every shape, and print the lines."""
    parser = argparse.ArgumentParser(prog="nexus bench partition", description=__doc__)
    parser.add_argument("--duration", type=float, default=8.0, help="seconds that the network stays cut")
    parser.add_argument("--calm", type=float, default=4.0, help="seconds between two cuts")
    parser.add_argument("--times", type=int, default=1, help="how often in each shape")
    parser.add_argument("--round-trip", type=float, default=0.02, help="seconds")
    given = parser.parse_args()
    with proxied_network(SIZE, Weather(delay=given.round_trip / 2)) as here:
        lines = trio.run(measure, here, given)
    for line in json_lines(lines):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
